"""All trainings of a run, leg by leg, spread over a crew: `run_legs(run, trainings, leg, legs, ...)`.

Trainings are independent, and each is cut into legs that are pure functions from the state after one to that after the next:
everything random in a leg follows from the seed, the training and the leg's number. So it does not matter which process computes
a leg, nor whether the run was stopped before it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch

from .crew import Crew, Engine, crew
from .errors import UsageError
from .progress import meter

if TYPE_CHECKING:
    from .progress import Meter
    from .run import Run

State = dict[str, Any]


class Training(Hashable, Protocol):
    """One of a run's trainings: a frozen dataclass that says which."""

    @property
    def row(self) -> str:
        """What it and its replicas together are called in tables."""

    @property
    def replica(self) -> int:
        """Its number among those, from 0."""

    @property
    def file(self) -> str:
        """A name of its own that a file may have."""


T = TypeVar("T", bound=Training)


def run_legs(
    run: Run,
    trainings: Sequence[T],
    leg: Callable[[T, State | None], State],
    legs: int,
    *,
    workers: int,
    engine: Engine,
    log: Callable[[Mapping[T, State | None], int], int],
) -> dict[T, State]:
    """Do all legs of all trainings, and return the last state of each.

    Goes on from the run's checkpoints where there are some: one for each training, named by its `file`.

    Args:
        run: to keep checkpoints in.
        trainings: in the order in which they begin.
        leg: of a training the state after its next leg, from that after the last, or from None before the first. It is sent to
            workers: a function of a module, or a `functools.partial` of one. Of a state "leg" (how many are done) and "curve" (whose
            last value is shown) are read here.
        legs: of each training.
        workers: legs at a time.
        engine: of the crew.
        log: is called with all states and the number of lines that are logged so far, at first and after each leg; logs what there is
            to log, in the same order whichever training was first; saves {"logged": ...}, and returns how many lines there are now.

    Raises:
        UsageError: several processes share the run, which `crew.workers` is for.
    """
    if run.fabric.world_size > 1:
        raise UsageError(
            f"{run.fabric.world_size} processes share the run, but must be 1: crew.workers spreads trainings"
        )
    logged = (run.restore() or {"logged": 0})["logged"]
    states: dict[T, State | None] = {training: run.load(name=training.file) for training in trainings}
    with run.progress("legs of trainings", legs * len(trainings)) as shown, crew(workers, engine) as hands:
        shown.advance(sum(state["leg"] for state in states.values() if state))
        waiting = [training for training in trainings if _done(states[training]) < legs]
        for training in waiting[:workers]:
            _begin(hands, leg, training, states)
        waiting = waiting[workers:]
        logged = log(states, logged)  # what a run that was stopped had not come to
        while any(_done(state) < legs for state in states.values()):
            training = _take(hands, run, states, shown)
            following = training if _done(states[training]) < legs else waiting.pop(0) if waiting else None
            if following is not None:
                _begin(hands, leg, following, states)
            logged = log(states, logged)
    return {training: state for training, state in states.items() if state}


def evaluate_each(
    label: str,
    wanted: Mapping[T, State],
    evaluate: Callable[[T, State], Any],
    *,
    workers: int,
    engine: Engine,
) -> dict[T, Any]:
    """What `evaluate` says of each training that is done, spread over a crew, with progress.

    Args:
        label: of the progress.
        wanted: trainings and what they have learned.
        evaluate: a function of a module, or a `functools.partial` of one.
        workers: calls at a time.
        engine: of the crew.
    """
    found: dict[T, Any] = {}
    with meter(label, len(wanted)) as shown, crew(workers, engine) as hands:
        for training, state in wanted.items():
            hands.submit(training, _called, evaluate, training, state)
        for _ in wanted:
            training, value = hands.next()
            found[training] = value
            shown.advance(note=f"{training.row} {training.replica}")
    return found


def rows_asked(learned: Mapping[T, State], rows: Sequence[str]) -> dict[T, State]:
    """The trainings of these rows, or of all where none is named.

    Raises:
        UsageError: there is no such row.
    """
    known = list(dict.fromkeys(training.row for training in learned))
    unknown = [row for row in rows if row not in known]
    if unknown:
        raise UsageError(f"rows has {unknown[0]!r}, but the run has {', '.join(known)}")
    return {training: state for training, state in learned.items() if training.row in (rows or known)}


def kept_of(states: Mapping[T, State], names: Sequence[str]) -> dict[str, State]:
    """Of each training, by its `file`, the named parts of its state that it has: what an evaluation and a demo need."""
    return {training.file: {name: state[name] for name in names if name in state} for training, state in states.items()}


def log_lines(run: Run, lines: Sequence[tuple[str, dict[str, float]]], logged: int) -> int:
    """Log (row, values) in this order, each at its "steps"; save and return how many lines there are now."""
    for row, values in lines:
        run.log(int(values["steps"]), {name: value for name, value in values.items() if name != "steps"}, stage=row)
    if lines:
        run.save({"logged": logged + len(lines)})
    return logged + len(lines)


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums of several threads are rounded in another order: with one, a leg is the same in every process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def on_cpu(tree: Any) -> Any:
    """The same nested state with its tensors copied to the CPU."""
    if isinstance(tree, torch.Tensor):
        return tree.detach().cpu().clone()
    if isinstance(tree, dict):
        return {key: on_cpu(value) for key, value in tree.items()}
    return [on_cpu(value) for value in tree] if isinstance(tree, list | tuple) else tree


def _begin(hands: Crew, leg: Callable[[T, State | None], State], training: T, states: Mapping[T, State | None]) -> None:
    """Give a worker the next leg of a training."""
    hands.submit(training, _called, leg, training, states[training])


def _called(leg: Callable[..., Any], training: Any, state: State | None) -> Any:
    """`leg(training, state)`: what workers call is a function of a module, which a partial is not to all of them."""
    return leg(training, state)


def _take(hands: Crew, run: Run, states: dict[T, State | None], shown: Meter) -> T:
    """Wait for a leg, keep what came of it, and say whose it was."""
    training: T
    state: State
    training, state = hands.next()
    states[training] = state
    run.save(state, name=training.file)
    shown.advance(note=f"{training.row} {training.replica}: {state['curve'][-1][1]:.4g}")
    return training


def _done(state: State | None) -> int:
    return 0 if state is None else int(state["leg"])
