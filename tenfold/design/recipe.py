"""A finished design: the list of its modelling steps, what was wished, and how it was tested. It is replayed, shown, printed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

import numpy as np

from ..core.checkpoint import replace_file
from ..core.errors import UsageError
from .mesh import MeshReport, check, export
from .solid import Solid
from .space import Steps
from .task import Task, Verdict, Wish
from .tasks import find_task

if TYPE_CHECKING:
    from PIL.Image import Image

FORMAT = 1
"""of recipes"""
MOST_TESTS = 1000
"""that a recipe may ask for"""


@dataclass(frozen=True, eq=False)
class Design:
    """Modelling steps for a task. Nothing but them and seeds is kept, and all else follows."""

    task: Task
    steps: Steps
    """(T, width), each number in [-1, 1]"""
    wish: Wish
    seeds: tuple[int, ...]
    """of each of its tests, at least one, in [0, 2**31)"""
    verdict: Verdict
    """what the tests have found, averaged"""

    @classmethod
    def tested(cls, task: Task, steps: Steps, wish: Wish, seeds: Sequence[int]) -> Design:
        """A design of these steps, tested now, once for each seed."""
        solid = task.space.build(steps)
        return cls(task, steps, wish, tuple(seeds), averaged([task.test(solid, wish, seed) for seed in seeds]))

    @property
    def score(self) -> float:
        """How well the wish is met, in [0, 1]."""
        return self.wish.score(self.verdict.scores)

    @property
    def solid(self) -> Solid:
        """What the steps build."""
        return self.task.space.build(self.steps)

    @property
    def words(self) -> list[str]:
        """Each step as a designer would say it."""
        return [self.task.space.describe(self.steps[: count + 1]) for count in range(len(self.steps))]

    def replay(self) -> Design:
        """The same steps built and tested again: the same score, bit for bit."""
        return self.tested(self.task, self.steps, self.wish, self.seeds)

    def retested(self, seeds: Sequence[int], goals: Mapping[str, float] | None = None) -> Design:
        """The same steps after other tests, scores and facts averaged over them.

        Args:
            seeds: of the tests, at least one.
            goals: another wish; none keeps the design's.
        """
        wish = self.wish if goals is None else self.task.wish(goals)
        return self.tested(self.task, self.steps, wish, seeds)

    def report(self) -> MeshReport:
        """What a printer asks of the mesh: watertight, walls, overhang, volume, box."""
        return check(self.solid.surface())

    def export(self, path: Path | str) -> Path:
        """Write the mesh in millimetres: .stl, .obj or .glb.

        Raises:
            UsageError: another ending, a folder that does not exist, or a file that cannot be written.
        """
        export(self.solid.surface(), path, name=f"tenfold {self.task.name}")
        return Path(path)

    def picture(self, **options: Any) -> Image:
        """A picture of it; see `drawing.draw`."""
        from .drawing import draw

        return draw(self.solid.surface(), **options)

    def sheet(self, path: Path | str | None = None, *, columns: int = 4) -> Image:
        """A picture after each step, with what the step did; also written to a file if a path is given."""
        from .drawing import draw_sheet

        built = [self.task.space.build(self.steps[: count + 1]).surface() for count in range(len(self.steps))]
        captions = [f"{number}. {words}" for number, words in enumerate(self.words, 1)]
        return _written(draw_sheet(built, captions, columns), path)

    def recipe(self) -> dict[str, Any]:
        """All that a replay takes, as plain JSON values."""
        return {
            "format": FORMAT,
            "task": task_name(self.task),
            "goals": self.wish.values,
            "seeds": list(self.seeds),
            "steps": self.steps.tolist(),
            "score": self.score,
            "scores": self.verdict.scores,
            "facts": self.verdict.facts,
        }

    def save(self, path: Path | str) -> Path:
        """Write the recipe, with each step in words, as JSON."""
        text = json.dumps(self.recipe() | {"words": self.words}, indent=1, allow_nan=False)
        replace_file(Path(path), (text + "\n").encode())
        return Path(path)

    @classmethod
    def load(cls, path: Path | str, task: Task | None = None) -> Design:
        """Read a recipe, build it and test it again.

        Args:
            path: of the JSON file.
            task: for a task of one's own that its recipe cannot name.

        Raises:
            UsageError: the file is not a recipe; the message says what is wrong.
        """
        try:
            recipe = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(f"{path} is not a recipe of a design: {error}") from error
        return cls.from_recipe(recipe, task, where=str(path))

    @classmethod
    def from_recipe(cls, recipe: Any, task: Task | None = None, *, where: str = "the recipe") -> Design:
        """The design of a recipe, built and tested again; see `load`."""
        if not isinstance(recipe, dict) or type(recipe.get("format")) is not int or recipe["format"] != FORMAT:
            raise UsageError(f"{where} is not a recipe of format {FORMAT}")
        missing = {"task", "goals", "seeds", "steps"} - set(recipe)
        if missing:
            raise UsageError(f"{where} has no {sorted(missing)[0]}")
        # a name from a file imports nothing that did not come along: a recipe is data, not a program
        if task is None and ":" in str(recipe["task"]):
            raise UsageError(f"{where} is for the task {recipe['task']}: give it as `task`")
        if task is not None and not is_named(task, str(recipe["task"])):
            raise UsageError(f"{where} is for the task {recipe['task']}, but task is {task_name(task)}")
        task = task or find_task(str(recipe["task"]))
        seeds = recipe["seeds"]
        if not isinstance(seeds, list) or not 1 <= len(seeds) <= MOST_TESTS or not all(map(_is_seed, seeds)):
            raise UsageError(
                f"{where} has the seeds {str(seeds)[:60]}, but must have 1 to {MOST_TESTS} whole numbers from 0 to 2**31 - 1"
            )
        if not isinstance(recipe["goals"], dict):
            raise UsageError(f"{where} has the goals {recipe['goals']!r}, but must have a name and a number for each")
        return cls.tested(task, _steps(recipe["steps"], task, where), task.wish(recipe["goals"]), seeds)


class Portfolio(list[Design]):
    """Several designs, best first."""

    @overload
    def __getitem__(self, place: SupportsIndex) -> Design: ...

    @overload
    def __getitem__(self, place: slice) -> Portfolio: ...

    def __getitem__(self, place: SupportsIndex | slice) -> Design | Portfolio:
        """A design, or some of them as a portfolio."""
        return Portfolio(super().__getitem__(place)) if isinstance(place, slice) else super().__getitem__(place)

    def sheet(self, path: Path | str | None = None, *, columns: int = 4) -> Image:
        """A contact sheet with scores and facts; also written to a file if a path is given.

        Raises:
            UsageError: there is no design.
        """
        from .drawing import draw_sheet

        return _written(
            draw_sheet([design.solid.surface() for design in self], [caption(each) for each in self], columns), path
        )

    def export(self, folder: Path | str, *, kind: str = "stl") -> list[Path]:
        """Write every mesh and recipe: `<task>-1.stl`, `<task>-1.json`, ...; the folder is made."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        return list(self._exported(folder, kind))

    def _exported(self, folder: Path, kind: str) -> Iterator[Path]:
        for number, design in enumerate(self, 1):
            name = f"{design.task.name.lower()}-{number}"
            design.save(folder / f"{name}.json")
            yield design.export(folder / f"{name}.{kind}")


def averaged(verdicts: Sequence[Verdict]) -> Verdict:
    """The mean of the scores and facts of several tests, at least one."""
    scores, facts = (
        {name: float(np.mean([each[name] for each in rows])) for name in rows[0]}
        for rows in ([each.scores for each in verdicts], [each.facts for each in verdicts])
    )
    return Verdict(scores, facts)


def caption(design: Design) -> str:
    """A design's score, and the score of each goal."""
    goals = ", ".join(f"{name} {value:.2f}" for name, value in design.verdict.scores.items())
    return f"{design.score:.3f}: {goals}"


def task_name(task: Task) -> str:
    """How `find_task` finds it again: its name, or `package.module:Class`."""
    kind = type(task)
    return task.name if kind.__module__.startswith("tenfold.design.") else f"{kind.__module__}:{kind.__qualname__}"


def is_named(task: Task, name: str) -> bool:
    """Whether a task is the one of this name, whichever module its class now lives in."""
    return task_name(task).rpartition(":")[2] == name.rpartition(":")[2]


def _steps(given: Any, task: Task, where: str) -> Steps:
    space = task.space
    try:
        steps = np.array(given)
    except ValueError as error:
        raise UsageError(f"{where} has steps that are no numbers: {error}") from error
    if steps.dtype.kind not in "if":  # texts, null, true, whole numbers beyond all others
        raise UsageError(f"{where} has steps that are no numbers: {str(given)[:60]}")
    if steps.ndim != 2 or steps.shape[1] != space.width or not 1 <= len(steps) <= space.steps:
        raise UsageError(
            f"{where} has steps of shape {steps.shape}, but {task.name} has 1 to {space.steps} steps of {space.width} numbers"
        )
    if not (np.abs(steps) <= 1).all():
        raise UsageError(f"{where} has steps with numbers beyond -1 and 1, such as {steps[~(np.abs(steps) <= 1)][0]:g}")
    return steps.astype(np.float64)


def _is_seed(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**31


def _written(picture: Image, path: Path | str | None) -> Image:
    if path is not None:
        picture.save(path)
    return picture
