"""Designs for a wish: the best that a run has tested, or what its policy makes of it; as pictures, numbers, steps, a mesh and a recipe."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

from ..core.demo import Files, Output, Rows
from ..core.errors import UsageError
from ..core.legs import State, one_thread
from ..core.rl_training import Training
from .archive import Archive
from .config import Config, DemoOptions, numbers_of
from .designer import finalists, most_likely_steps, seeds_of
from .evaluate import load_run
from .mesh import mesh_bytes
from .recipe import Design, Portfolio
from .task import Task, Wish
from .tasks import find_task
from .trainings import policy_of, wants_of

TESTS = 3
"""of each design that is shown"""


class DesignDemo:
    """Designs on request; made by `load`."""

    outputs = (
        Output("designs", "picture", "the designs, best first, with what they score"),
        Output("steps", "picture", "the best one after each of its modelling steps"),
        Output("recipe", "table", "its modelling steps in words"),
        Output("scores", "table", "what its tests have found, and what a printer asks of its mesh"),
        Output("mesh", "mesh", "its mesh in millimetres, and the recipe that builds it again"),
    )

    def __init__(self, config: Config, learned: dict[Training, State]) -> None:
        self._config, self._learned = config, learned

    def __call__(self, options: DemoOptions) -> dict[str, Any]:
        """Design; see `outputs`.

        Raises:
            UsageError: the run has no such task, policy or replica, there is no such goal, or the recipe cannot be read.
        """
        with one_thread():
            found = self._designs(options)
        best = found[0]
        name = best.task.name.lower()
        return {
            "designs": found.sheet(),
            "steps": best.sheet(),
            "recipe": Rows(("step", "what is done"), tuple((str(at), text) for at, text in enumerate(best.words, 1))),
            "scores": _scores(best),
            "mesh": Files(
                {
                    f"{name}.{options.kind}": mesh_bytes(best.solid.surface(), options.kind, name=f"tenfold {name}"),
                    f"{name}.json": (json.dumps(best.recipe() | {"words": best.words}, indent=1) + "\n").encode(),
                }
            ),
        }

    def _designs(self, options: DemoOptions) -> Portfolio:
        name = options.task or self._config.tasks[0]
        if name not in self._config.tasks:
            raise UsageError(f"task is {name!r}, but the run has {', '.join(self._config.tasks)}")
        task = find_task(name)
        if options.recipe is not None:
            return Portfolio([Design.load(options.recipe, task if ":" in name else None)])
        given = numbers_of(options.goals, "goals")
        wants = {want.name for want in task.wants} & set(given)
        if wants:
            raise UsageError(
                f"goals has {min(wants)}, but the run was trained for what it wants: train one with --wants"
            )
        wish = task.wish(wants_of(self._config, task) | given)
        if options.by == "policy":
            return Portfolio([self._by_policy(task, name, wish, options.replica)])
        archives = [state["archive"] for training, state in self._learned.items() if training.env == name]
        seeds = seeds_of(self._config.seed, "demo", count=TESTS)
        each = [
            finalists(Archive.from_state(task, state), wish, options.count, seeds=seeds, spare=1) for state in archives
        ]
        return Portfolio(sorted(chain(*each), key=lambda design: -design.score)[: options.count])

    def _by_policy(self, task: Task, name: str, wish: Wish, replica: int) -> Design:
        training = Training(name, "ppo", replica)
        if training not in self._learned:
            raise UsageError(
                f"by is policy and replica is {replica}, but the run has {self._config.replicas} trainings of each of {', '.join(self._config.methods)}"
            )
        model = policy_of(self._config, task, self._learned[training]["model"])
        return Design.tested(task, most_likely_steps(model, task, wish), wish, [0])


def load(folder: Path) -> DesignDemo:
    """The designs and policies of a run folder.

    Raises:
        UsageError: the folder is not a run of this method, or it has found nothing yet.
    """
    return DesignDemo(*load_run(folder))


def _scores(design: Design) -> Rows:
    report = design.report()
    rows = [("score", f"{design.score:.3f}")]
    rows += [(goal, f"{value:.3f}") for goal, value in design.verdict.scores.items()]
    rows += [(fact, f"{value:.4g}") for fact, value in design.verdict.facts.items()]
    rows += [
        ("watertight", "yes" if report.watertight else "no"),
        ("volume ml", f"{report.volume_ml:.1f}"),
        ("box mm", " x ".join(f"{side:.0f}" for side in report.box_mm)),
        ("thinnest wall mm", f"{report.thinnest_mm:.1f}"),
        ("share that overhangs", f"{report.overhang_share:.2f}"),
        ("printable", "yes" if report.printable() else "no"),
    ]
    return Rows(("what", "value"), tuple(rows))
