"""Legs of many trainings: the result is the same wherever they run, whoever is first, and whatever the run was stopped after."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tenfold.core.errors import UsageError
from tenfold.core.run import Run

pytest.importorskip("gymnasium")
pytest.importorskip("stable_baselines3")

from tenfold.core import legs
from tenfold.core.legs import State, run_legs
from tenfold.core.rl_training import Training, trainings_of

TRAININGS = trainings_of(("A-v0", "x:B-v0"), ("ours",), 2)
LEGS = 3


@dataclass(frozen=True)
class Config:
    seed: int = 0


def leg(factor: int, training: Training, state: State | None) -> State:
    done = 0 if state is None else state["leg"]
    worth = float(factor * (done + 1) + training.replica + len(training.env))
    return {"leg": done + 1, "curve": [*([] if state is None else state["curve"]), [10 * (done + 1), worth]]}


def log(run: Run, states: Mapping[Training, State | None], logged: int) -> int:
    """A line for each leg, training by training up to the first that is not done."""
    lines = []
    for training, state in states.items():
        curve = [] if state is None else state["curve"]
        lines += [(training, *point) for point in curve]
        if len(curve) < LEGS:
            break
    for training, steps, value in lines[logged:]:
        run.log(int(steps), {"return": value}, stage=f"{training.row} {training.replica}")
    if len(lines) > logged:
        run.save({"logged": len(lines)})
    return len(lines)


def created(folder: Path) -> Run:
    return Run.create(folder, verb="any", preset="custom", config=Config())


def worked(run: Run, *, workers: int = 1, function: Callable[..., State] = leg) -> dict[Training, State]:
    return run_legs(
        run, TRAININGS, partial(function, 100), LEGS, workers=workers, engine="processes", log=partial(log, run)
    )


def logged(run: Run) -> list[tuple[str, int, float]]:
    return [(line["stage"], line["step"], line["return"]) for line in run.metrics()]


WANTED: dict[Training, State] = {}
for each in TRAININGS:
    points = [[10 * number, 100.0 * number + each.replica + len(each.env)] for number in range(1, LEGS + 1)]
    WANTED[each] = {"leg": LEGS, "curve": points}
LINES = [
    (f"{training.row} {training.replica}", steps, value)
    for training, state in WANTED.items()
    for steps, value in state["curve"]
]


def test_every_training_gets_all_its_legs(tmp_path: Path) -> None:
    run = created(tmp_path)
    found = worked(run)
    assert found == WANTED
    assert list(found) == TRAININGS
    assert logged(run) == LINES
    assert [run.load(name=training.file) for training in TRAININGS] == list(WANTED.values())


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    run = created(tmp_path)
    worked(run)

    def refused(factor: int, training: Training, state: State | None) -> State:
        raise AssertionError

    assert worked(Run.open(run.path), function=refused) == WANTED
    assert logged(run) == LINES


@pytest.mark.slow
def test_processes_change_nothing(tmp_path: Path) -> None:
    """A partial of a function of a module is sent to them."""
    run = created(tmp_path)
    assert worked(run, workers=2) == WANTED
    assert logged(run) == LINES


class StopError(Exception):
    pass


@pytest.mark.parametrize("wanted", range(1, 3 * LEGS * len(TRAININGS)))
def test_it_may_be_stopped_after_anything_it_saves(wanted: int, tmp_path: Path) -> None:
    run, save, count = created(tmp_path), Run.save, 0

    def stopping(run: Run, *arguments: Any, **options: Any) -> None:
        nonlocal count
        save(run, *arguments, **options)
        count += 1
        if count == wanted:
            raise StopError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "save", stopping)
        try:
            worked(run)
        except StopError:
            stopped = True
        else:
            stopped = False
    assert stopped == (wanted <= 2 * LEGS * len(TRAININGS))  # each leg, and each line
    resumed = Run.open(run.path)
    assert worked(resumed) == WANTED
    assert logged(resumed) == LINES


class Shuffled:
    """A crew whose calls end in any order."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._running: list[tuple[Any, Callable[..., Any], tuple[Any, ...]]] = []
        self.most = 0

    def submit(self, tag: Any, function: Callable[..., Any], *args: Any) -> None:
        self._running.append((tag, function, copy.deepcopy(args)))
        self.most = max(self.most, len(self._running))

    def next(self) -> tuple[Any, Any]:
        tag, function, args = self._running.pop(self._random.randrange(len(self._running)))
        return tag, function(*args)


@pytest.mark.parametrize("workers", [2, 3, 9])
@pytest.mark.parametrize("seed", range(4))
def test_the_order_in_which_legs_are_ready_changes_nothing(
    seed: int, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands = Shuffled(seed)

    @contextmanager
    def shuffled(count: int, engine: str) -> Iterator[Shuffled]:
        assert (count, engine) == (workers, "processes")
        yield hands

    monkeypatch.setattr(legs, "crew", shuffled)
    run = created(tmp_path)
    assert worked(run, workers=workers) == WANTED
    assert hands.most == min(workers, len(TRAININGS))
    assert logged(run) == LINES


def test_what_is_sent_is_a_function_of_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray takes no other: not a partial, for one."""
    sent = []

    class Watching(Shuffled):
        def submit(self, tag: Any, function: Callable[..., Any], *args: Any) -> None:
            sent.append(function)
            super().submit(tag, function, *args)

    @contextmanager
    def watching(count: int, engine: str) -> Iterator[Shuffled]:
        yield Watching(0)

    monkeypatch.setattr(legs, "crew", watching)
    worked(created(tmp_path))
    assert all(getattr(legs, function.__name__) is function for function in sent)
    assert len(sent) == LEGS * len(TRAININGS)


def test_several_processes_for_one_run_are_refused(tmp_path: Path) -> None:
    fabric: Any = SimpleNamespace(world_size=2, is_global_zero=True, barrier=lambda: None)
    run = Run.open(created(tmp_path).path, fabric=fabric)
    with pytest.raises(
        UsageError, match=r"^2 processes share the run, but must be 1: crew\.workers spreads trainings$"
    ):
        worked(run)
