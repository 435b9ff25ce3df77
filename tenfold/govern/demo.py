"""A governed agent beside its free self: an episode of each to look at, what it comes to, and the latents of observations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from stable_baselines3.common.vec_env import VecEnv

from ..core.demo import Output, Rows
from ..core.errors import UsageError
from ..core.figures import picture_grid
from ..core.legs import State, one_thread
from ..core.number_files import read_rows
from ..core.rl_environments import as_observations
from ..core.rl_training import Training
from .behaviour import behave, play_frames
from .config import Config, DemoOptions
from .evaluate import load_run
from .governor import Governor, latents_of
from .observations import names_of
from .pictures import sensitivity_figure
from .trainings import player_in, read_observations

COLUMNS = 6
SHOWN = 8
"""observations whose latents are shown where none are given"""
SIDE = 240
"""pixels that pictures of the episode fit into"""


class GovernDemo:
    """Plays free and governed; made by `load`."""

    outputs = (
        Output(
            "behaviour", "table", "what the free and the governed agent come to: reward, and means of the observations"
        ),
        Output("episode", "picture", "both from the same start, the free agent above"),
        Output(
            "latents",
            "table",
            "for each observation given, or of the free agent's episode: mu and sigma of every latent",
        ),
        Output("sensitivity", "picture", "how far each number of the next state moves while a latent is turned"),
    )

    def __init__(self, config: Config, learned: dict[Training, State]) -> None:
        self._config, self._learned = config, learned

    def __call__(self, options: DemoOptions) -> dict[str, Any]:
        """Play and read; see `outputs`.

        Raises:
            UsageError: the run has no such environment, model, replica or latent, or a file does not hold observations.
        """
        training = self._training(options)
        state = self._learned[training]
        given = [row for path in options.observations for row in read_rows(path, array="observations").numpy()]
        with one_thread():
            model, environments = player_in(self._config, training, state, count=1, seed=options.seed, drawn=True)
            try:
                held = dict(zip(options.latents, options.values, strict=True))
                governor = Governor(model, set=held, others="keep" if options.keep else "zero")
                players = {"free": model, ", ".join(f"z{dim} = {value:g}" for dim, value in held.items()): governor}
                rows = _behaviours(players, environments, training.env, options)
                sheet = _sheet(players, environments, options)
                vae, seen = read_observations(self._config, training, state, count=40)
                latents = _latents(model, np.stack(as_observations(given, environments)) if given else seen[:SHOWN])
                heat = _heat_map(training, vae, seen)
            finally:
                environments.close()
        return {"behaviour": rows, "episode": sheet, "latents": latents, "sensitivity": heat}

    def _training(self, options: DemoOptions) -> Training:
        models = [method for method in self._config.methods if method != "plain"]
        training = Training(options.env or self._config.envs[0], options.method or models[0], options.replica)
        if training not in self._learned or training.method == "plain":
            raise UsageError(
                f"env is {training.env!r}, method {training.method!r} and replica {options.replica}, but the run has agents with"
                f" {', '.join(models)} in {', '.join(self._config.envs)}, replicas 0 to {self._config.train.replicas - 1}"
            )
        return training


def load(folder: Path) -> GovernDemo:
    """The governed agents of a run folder.

    Raises:
        UsageError: the folder is not a run of this method, has no trained network yet, or has no agents with latents.
    """
    config, learned = load_run(folder)
    if not config.envs or set(config.methods) <= {"plain"}:
        raise UsageError(
            f"{folder} has no agents with latents, which the demo needs; it has {', '.join(config.methods)}"
        )
    return GovernDemo(config, learned)


def _behaviours(players: dict[str, Any], environments: VecEnv, env: str, options: DemoOptions) -> Rows:
    """A row for each thing that is measured, a column for each player."""
    found = [behave(player, environments, steps=options.steps, seed=options.seed) for player in players.values()]
    rows = [("reward of a step", *(f"{each.reward:.3g}" for each in found))]
    if found[0].mean.size <= 64:
        names = names_of(env, found[0].mean.size)
        rows += [(f"mean {name}", *(f"{each.mean[at]:.3g}" for each in found)) for at, name in enumerate(names)]
    return Rows(("what", *players), tuple(rows))


def _sheet(players: dict[str, Any], environments: VecEnv, options: DemoOptions) -> Image.Image:
    """Pictures evenly over both episodes; a grey one where the environment cannot be drawn here."""
    images, captions = [], []
    for name, player in players.items():
        made = list(play_frames(player, environments, steps=options.steps, seed=options.seed))
        if not made:
            return picture_grid([Image.new("RGB", (SIDE, SIDE // 2), "#8a93a0")], ["cannot be drawn here"], columns=1)
        for step in np.linspace(0, len(made) - 1, options.frames).round().astype(int):
            made[step].thumbnail((SIDE, SIDE))
            images.append(made[step])
            captions.append(f"{name}, step {step}")
    return picture_grid(images, captions, columns=min(COLUMNS, options.frames))


def _latents(model: Any, observations: NDArray[Any]) -> Rows:
    mu, sigma = latents_of(model, observations)
    columns = ("observation", *(f"z{dim}" for dim in range(mu.shape[1])))
    rows = [
        (str(number), *(f"{mean:.2f} ± {spread:.2f}" for mean, spread in zip(*pair, strict=True)))
        for number, pair in enumerate(zip(mu.tolist(), sigma.tolist(), strict=True))
    ]
    return Rows(columns, tuple(rows))


def _heat_map(training: Training, vae: Any, seen: NDArray[Any]) -> Image.Image:
    from io import BytesIO

    from .pictures import traversal_grid

    if len(vae.target) > 1:
        return traversal_grid(vae, seen[len(seen) // 2])
    picture = Image.open(BytesIO(sensitivity_figure(training.env, {training.method: (vae, seen)})))
    return picture.convert("RGB")
