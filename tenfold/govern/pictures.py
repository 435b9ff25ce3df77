"""What a person sees of a run: heat maps of the latents, traversals, curves, scores, and agents governed and free side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..core.figures import picture_grid, rendered, save_png
from ..core.legs import State
from ..core.replicates import estimate
from ..core.rl_curves import Curves, by_row, curves_figure, improvement_figure, plain_axes
from ..core.rl_environments import ATARI
from ..core.rl_training import Training, row_of, seed_of
from .behaviour import Sweep, play_frames
from .config import Config
from .governor import Governor
from .observations import names_of
from .tables import pairs
from .trainings import explore, player_in, read_observations, sweep_of, trainings_of, world_model
from .vae import SPAN, ActionConditionalVAE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..core.run import Run

COLOURS = {
    "ac-beta-vae": "#0072b2",
    "ac-vae": "#56b4e9",
    "ac-ae": "#009e73",
    "beta-vae": "#e69f00",
    "vae": "#cc79a7",
    "plain": "#d55e00",
}
NAMES = {
    "ac-beta-vae": "AC-beta-VAE",
    "ac-vae": "AC-VAE",
    "ac-ae": "AC-AE",
    "beta-vae": "beta-VAE",
    "vae": "VAE",
    "plain": "the plain algorithm",
}
SCORES = ("disentanglement", "completeness")
TURNS = 7
"""values of a latent in a traversal"""
SIDE = 240
"""pixels that pictures of an animation fit into"""
MILLISECONDS = 60
"""of a picture of an animation"""


def draw_pictures(run: Run, config: Config, states: Mapping[Training, State]) -> None:
    """Write the run's pictures into samples/."""
    trainings = trainings_of(config)
    for env in config.explore.envs:
        if SCORES[0] in states[Training(env, config.explore.models[0], 0)]["scores"]:
            with run.sample(f"scores in {_plain(env)}.png") as path:
                save_png(path, scores_figure(config, env, states))
        _draw_traversals(run, config, env, states)
    if config.envs:
        curves, resamples = Curves.of(trainings, states), config.metrics.resamples
        with run.sample("learning curves.png") as path:
            save_png(path, curves_figure(curves, config.envs, config.methods, NAMES, COLOURS, resamples))
        if pairs(config):
            label = "probability that a training with AC-beta-VAE is better"
            with run.sample("probability of improvement.png") as path:
                save_png(path, improvement_figure(curves, pairs(config), resamples, label=label))
    for env in config.envs:
        _draw_agents(run, config, env, states)


def _draw_agents(run: Run, config: Config, env: str, states: Mapping[Training, State]) -> None:
    """Heat maps of the first replica's models; the first model's sweep, and its animation."""
    models: list[str] = [method for method in config.methods if method != "plain"]
    if not models:
        return
    read = {
        method: read_observations(config, Training(env, method, 0), states[Training(env, method, 0)])
        for method in models
    }
    if env.startswith(ATARI):
        for method, (vae, seen) in read.items():
            with run.sample(f"traversals in {_plain(env)}, {method}.png") as path:
                traversal_grid(vae, seen[len(seen) // 2]).save(path)
    else:
        with run.sample(f"sensitivity in {_plain(env)}.png") as path:
            save_png(path, sensitivity_figure(env, read))
    method = models[0]
    state = states[Training(env, method, 0)]
    if "sweep" not in state:
        return
    sweep = sweep_of(state["sweep"])
    if not env.startswith(ATARI):
        with run.sample(f"governing in {_plain(env)}.png") as path:
            save_png(path, governing_figure(env, sweep))
    frames = governed_frames(config, Training(env, method, 0), state, _strongest(sweep))
    if frames:
        with run.sample(f"governed in {_plain(env)}.webp") as path:
            frames[0].save(path, save_all=True, append_images=frames[1:], duration=MILLISECONDS, loop=0, quality=60)


def _draw_traversals(run: Run, config: Config, env: str, states: Mapping[Training, State]) -> None:
    """What the first replica's models draw while each latent is turned, where a world is pictures."""
    seen = explore(env, 64, seed_of(config.seed, Training(env, "", 0), "shown")).observations
    if seen.dtype != np.uint8 or seen.ndim != 4:
        return
    for model in config.explore.models:
        training = Training(env, model, 0)
        vae = world_model(config, training, states[training]).eval()
        with run.sample(f"traversals in {_plain(env)}, {model}.png") as path:
            traversal_grid(vae, seen[40]).save(path)


def sensitivity_figure(env: str, read: Mapping[str, tuple[ActionConditionalVAE, NDArray[Any]]]) -> bytes:
    """The paper's figure 6: how far each number of the next state moves while a latent is turned, a panel for each model, as a PNG.

    In units of each number's own spread, so that no number is bright because it is measured in small units.
    """
    from matplotlib.figure import Figure

    first = next(iter(read.values()))[0]
    width = max(4.5, 0.42 * int(np.prod(first.target)) + 1.6)
    height = 0.36 * first.latent + 1.5
    figure = Figure(figsize=(width, height * len(read)), dpi=150, layout="constrained", facecolor="white")
    panels = figure.subplots(len(read), 1, squeeze=False).flatten()
    for panel, (method, (vae, seen)) in zip(panels, read.items(), strict=True):
        moved = (vae.sensitivity(seen) / vae.spread).flatten(1)
        _heat(panel, moved.numpy(), names_of(env, moved.shape[1]), vae.mapped, "Blues")
        share = float(moved[: vae.mapped].sum() / moved.sum())
        panel.set_title(f"{NAMES[method]}: {share:.0%} of it in the mapped latents", fontsize=10, loc="left")
    return rendered(figure, "png")


def governing_figure(env: str, sweep: Sweep) -> bytes:
    """How holding a mapped latent moves what the agent does: its observations' means, and its reward, as a PNG."""
    from matplotlib.figure import Figure

    shifts = sweep.shifts()
    size = (max(8.0, 0.42 * shifts.shape[1] + 5.0), max(2.8, 0.36 * len(shifts) + 1.6))
    figure = Figure(figsize=size, dpi=150, layout="constrained", facecolor="white")
    heat, rewards = figure.subplots(1, 2, width_ratios=(max(2.0, shifts.shape[1] / 6), 1.4))
    title = f"mean observation at {sweep.values[-1]:g} less that at {sweep.values[0]:g}, in the free agent's spreads"
    _heat(heat, shifts, names_of(env, shifts.shape[1]), len(shifts), "RdBu")
    heat.set_title(title, fontsize=9, loc="left")
    for dim, row in enumerate(sweep.rewards()):
        rewards.plot(sweep.values, row, marker="o", markersize=3, linewidth=1.4, label=f"z{dim}")
    rewards.axhline(sweep.free.reward, color="#8a93a0", linestyle=":", linewidth=1.2, label="free")
    rewards.legend(frameon=False, fontsize=7, ncols=2)
    plain_axes(rewards, "value that the latent is held at", "reward of a step")
    return rendered(figure, "png")


def scores_figure(config: Config, env: str, states: Mapping[Training, State]) -> bytes:
    """Disentanglement and completeness of every model, with 95 % intervals over the replicas, as a PNG."""
    from matplotlib.figure import Figure

    rows = by_row(trainings_of(config), states)
    figure = Figure(figsize=(7.2, 1.2 + 0.4 * len(config.explore.models)), dpi=150, layout="constrained")
    for panel, name in zip(figure.subplots(1, 2, sharey=True), SCORES, strict=True):
        for place, model in enumerate(config.explore.models[::-1]):
            values = [state["scores"][name] for state in rows[row_of(env, model)]]
            found = estimate(values, resamples=config.metrics.resamples)
            panel.barh(place, found.value, color=COLOURS[model], height=0.6)
            panel.plot([found.low, found.high], [place, place], color="#1f2933", linewidth=1.5)
        panel.set_yticks(range(len(config.explore.models)), [NAMES[each] for each in config.explore.models[::-1]])
        panel.set_xlim(0, 1)
        plain_axes(panel, name, "")
    return rendered(figure, "png")


def traversal_grid(vae: ActionConditionalVAE, observation: NDArray[np.uint8]) -> Image.Image:
    """Next states while each latent in turn goes from -3 to 3, a row for each latent, the mapped ones first."""
    places = torch.linspace(-0.6 * SPAN, 0.6 * SPAN, TURNS)
    images, captions = [], []
    for dim in range(vae.latent):
        turned = vae.traverse(observation, dim, places)[:, 0]
        for place, picture in zip(places.tolist(), turned, strict=True):
            images.append(as_picture(picture.numpy()))
            captions.append(f"{'mapped ' if dim < vae.mapped else ''}z{dim} = {place:.0f}")
    return picture_grid(images, captions, columns=TURNS)


def as_picture(values: NDArray[np.float32]) -> Image.Image:
    """Numbers in [0, 1] as a picture of at least 64 pixels a side: (H, W, C) or (C, H, W), of one channel or three."""
    if values.shape[0] in (1, 3) and values.shape[-1] not in (1, 3):
        values = values.transpose(1, 2, 0)
    pixels = np.round(255 * values.clip(0, 1)).astype(np.uint8)
    image = Image.fromarray(np.repeat(pixels, 3, 2) if pixels.shape[2] == 1 else pixels)
    scale = max(1, 64 // min(image.size))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def governed_frames(config: Config, training: Training, state: State, dim: int) -> list[Image.Image]:
    """The agent with a latent at its least value, free, and at its greatest, side by side, from the same start; none without drawings."""
    settings = config.governing
    columns: list[list[Image.Image]] = []
    for value in (settings.values[0], None, settings.values[-1]):
        seed = seed_of(config.seed, training, "governing")
        model, environments = player_in(config, training, state, count=1, seed=seed, drawn=True)
        limit = max(5.0, *map(abs, settings.values))
        player = model if value is None else Governor(model, set={dim: value}, others=settings.others, limit=limit)
        try:
            steps = settings.frames * 2
            made = list(play_frames(player, environments, steps=steps, seed=seed))
        finally:
            environments.close()
        columns.append([_small(image) for image in made[::2]])
    if not all(columns):
        return []
    length = max(map(len, columns))
    names = (f"z{dim} = {settings.values[0]:g}", "free", f"z{dim} = {settings.values[-1]:g}")
    # an episode that is over stays where it ended
    together = [[column[min(step, len(column) - 1)] for column in columns] for step in range(length)]
    return [picture_grid(row, names, columns=3) for row in together]


def _small(image: Image.Image) -> Image.Image:
    image.thumbnail((SIDE, SIDE))
    return image


def _strongest(sweep: Sweep) -> int:
    """The latent that moves what the agent observes furthest."""
    return int(np.abs(sweep.shifts()).max(1).argmax())


def _heat(panel: Axes, values: NDArray[np.float64], names: Sequence[str], mapped: int, colours: str) -> None:
    top = max(float(np.abs(values).max()), 1e-9)
    least = -top if colours == "RdBu" else 0.0
    panel.imshow(values, aspect="auto", cmap=colours, vmin=least, vmax=top, interpolation="nearest")
    panel.set_xticks(range(values.shape[1]), names, fontsize=7, rotation=45, ha="right")
    panel.set_yticks(range(len(values)), [f"z{dim}{' mapped' if dim < mapped else ''}" for dim in range(len(values))])
    panel.tick_params(labelsize=7, length=0)
    if values.size <= 400:
        for row, column in np.ndindex(*values.shape):
            strong = abs(values[row, column]) > 0.6 * top
            panel.text(
                column,
                row,
                f"{values[row, column]:.1f}",
                ha="center",
                va="center",
                fontsize=6,
                color="white" if strong else "#1f2933",
            )


def _plain(env: str) -> str:
    return env.replace("/", " ").replace(":", " ")
