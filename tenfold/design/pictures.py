"""What a person sees of a run: what was designed, step by step and for every wish, the front of the goals, and learning curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.figures import rendered, save_png
from ..core.legs import State
from ..core.replicates import estimate
from ..core.rl_curves import Curves, plain_axes
from ..core.rl_training import Training, row_of
from .archive import Archive, front_of
from .config import Config
from .designer import APART
from .drawing import draw_sheet, turntable
from .recipe import Portfolio, caption
from .task import Task
from .tasks import find_task
from .trainings import DIAL, OWN, chosen_design, dial_steps, policy_of, trainings_of, wishes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

    from ..core.run import Run

COLOURS = {"ppo": "#0072b2", "cma-es": "#d55e00", "climbing": "#009e73", "random": "#8a93a0"}
NAMES = {"ppo": "PPO", "cma-es": "CMA-ES", "climbing": "hill climbing", "random": "random search"}
SHOWN = 8
"""designs of a contact sheet"""
FRAMES, SIDE, MILLISECONDS = 24, 240, 90
"""of the best design turning round: pictures, pixels of a side, and how long each is seen"""


def draw_pictures(run: Run, config: Config, states: Mapping[Training, State]) -> None:
    """Write the run's pictures, and the best meshes and recipes, into samples/."""
    with run.sample("learning curves.png") as path:
        save_png(path, curves_picture(config, states))
    for name in config.tasks:
        task = find_task(name)
        plain = name.replace("/", "-").replace(":", "-")
        with run.sample(f"front of {plain}.png") as path:
            save_png(path, front_picture(config, task, name, states))
        with run.sample(f"wishes for {plain}.png") as path:
            wishes_picture(config, task, name, states).save(path)
        _write_best(run, config, task, name, states)
        if "ppo" in config.methods and "dial" in states[Training(name, "ppo", 0)]:
            with run.sample(f"dial of {plain}.png") as path:
                dial_picture(config, task, states[Training(name, "ppo", 0)]).save(path)


def _write_best(run: Run, config: Config, task: Task, name: str, states: Mapping[Training, State]) -> None:
    """A contact sheet of the first method's first replica, its best design step by step, and that design's mesh and recipe."""
    state = states[Training(name, config.methods[0], 0)]
    wish = wishes_of(config, task)[OWN]
    archive = Archive.from_state(task, state["archive"]).first(config.calls)
    sheet = Portfolio(archive.design(number, wish.weights) for number in archive.best(wish.weights, SHOWN, apart=APART))
    best = chosen_design(task, state, wish, OWN)
    plain = name.replace("/", "-").replace(":", "-")
    with run.sample(f"designs of {plain}.png") as path:
        sheet.sheet(path)
    with run.sample(f"steps of {plain}.png") as path:
        best.sheet(path)
    frames = turntable(best.solid.surface(), FRAMES, size=(SIDE, SIDE))
    with run.sample(f"best {plain}.webp") as path:
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=MILLISECONDS, loop=0, quality=60)
    for ending in ("stl", "glb"):
        with run.sample(f"best {plain}.{ending}") as path:
            best.export(path)
    with run.sample(f"best {plain}.json") as path:
        best.save(path)


def wishes_picture(config: Config, task: Task, name: str, states: Mapping[Training, State]) -> Image:
    """A row for each method, its first replica; a column for each wish: the design that was chosen."""
    wishes = wishes_of(config, task)
    shown, captions = [], []
    for method in config.methods:
        for wish_name, wish in wishes.items():
            design = chosen_design(task, states[Training(name, method, 0)], wish, wish_name)
            shown.append(design.solid.surface())
            wanted = "own weights" if wish_name == OWN else f"more {wish_name}"
            captions.append(f"{NAMES[method]}, {wanted}: {caption(design)}")
    return draw_sheet(shown, captions, len(wishes))


def dial_picture(config: Config, task: Task, state: State) -> Image:
    """What a trained policy makes, without chance, while the weight of the goal that wants little material grows."""
    built = [
        task.space.build(steps).surface() for steps in dial_steps(config, task, policy_of(config, task, state["model"]))
    ]
    captions = [
        f"weight of {task.light} x {factor:g}: {mass:.0f} g" for factor, mass in zip(DIAL, state["dial"], strict=True)
    ]
    return draw_sheet(built, captions, len(built))


def front_picture(config: Config, task: Task, name: str, states: Mapping[Training, State]) -> bytes:
    """All designs of each method's first replica, and the front of two: the goal of little material (or the first), and the others' mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), dpi=150, layout="constrained", facecolor="white")
    panel: Axes = figure.subplots()
    goals = [goal.name for goal in task.goals]
    across = goals.index(task.light) if task.light else 0
    weights = np.array([goal.weight * (goal.name != goals[across]) for goal in task.goals])
    if weights.sum() == 0:
        weights = np.array([float(goal.name != goals[across]) for goal in task.goals])
    for method in config.methods:
        scores = Archive.from_state(task, states[Training(name, method, 0)]["archive"]).first(config.calls).scores
        rest = scores @ weights / max(weights.sum(), 1e-12)
        both = np.stack([scores[:, across], rest], 1)
        front = both[front_of(both)]
        front = front[np.argsort(front[:, 0])]
        panel.plot(*both.T, ".", color=COLOURS[method], markersize=2, alpha=0.15)
        panel.plot(*front.T, "-o", color=COLOURS[method], markersize=3, linewidth=1.5, label=NAMES[method])
    plain_axes(panel, goals[across], "the other goals, weighted")
    panel.set_title(f"{name}: what every method has found, first training", fontsize=10, loc="left")
    panel.legend(frameon=False, fontsize=8)
    return rendered(figure, "png")


def curves_picture(config: Config, states: Mapping[Training, State]) -> bytes:
    """Best score so far by the searches' own tests, averaged over the wishes, with 95 % intervals over the replicas; a panel for each task."""
    from matplotlib.figure import Figure

    curves = Curves.of(trainings_of(config), states)
    columns = min(len(config.tasks), 2)
    rows = -(-len(config.tasks) // columns)
    figure = Figure(figsize=(5.2 * columns, 3.4 * rows), dpi=150, layout="constrained", facecolor="white")
    panels: Any = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel in panels[len(config.tasks) :]:
        panel.set_visible(False)
    for panel, task in zip(panels, config.tasks, strict=False):
        for method in config.methods:
            row = row_of(task, method)
            found = np.array([estimate(each, resamples=config.judge.resamples) for each in curves.returns[row].T])
            panel.plot(curves.steps[row], found[:, 0], color=COLOURS[method], label=NAMES[method], linewidth=1.8)
            panel.fill_between(
                curves.steps[row], found[:, 1], found[:, 2], color=COLOURS[method], alpha=0.15, linewidth=0
            )
        panel.set_title(task, fontsize=10, loc="left")
        plain_axes(panel, "simulator calls", "best score so far")
    panels[0].legend(frameon=False, fontsize=8)
    return rendered(figure, "png")
