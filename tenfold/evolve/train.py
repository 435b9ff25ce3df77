"""Every method in every environment, several times: `train(config, run)`.

Trainings are independent, and each is cut into legs that are pure functions (see `trainings`): a run that was killed and resumed, or
was spread over other workers, ends as the uninterrupted one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.crew import Crew, crew
from ..core.errors import UsageError
from .config import Config
from .evaluate import final_metrics
from .pictures import draw_pictures
from .tables import Results, curve_lines
from .trainings import State, Training, leg, trainings_of

if TYPE_CHECKING:
    from ..core.progress import Meter
    from ..core.run import Run


def train(config: Config, run: Run) -> dict[str, float]:
    """Train all, and return the final metrics, named "row/column", such as "CartPole-v1 genetic/final return".

    Goes on from the run's checkpoints where there are some: one for each training. Everything learned is in "best".

    Raises:
        UsageError: several processes share the run, which `crew.workers` is for; or an environment will not do.
    """
    if run.fabric.world_size > 1:
        raise UsageError(
            f"{run.fabric.world_size} processes share the run, but must be 1: crew.workers spreads trainings"
        )
    trainings = trainings_of(config)
    logged = (run.restore() or {"logged": 0})["logged"]
    states = {training: run.load(name=training.file) for training in trainings}
    legs = config.train.evaluations
    with (
        run.progress("legs of trainings", legs * len(trainings)) as meter,
        crew(config.crew.workers, config.crew.engine) as workers,
    ):
        meter.advance(sum(state["leg"] for state in states.values() if state))
        waiting = [training for training in trainings if _done(states[training]) < legs]
        for training in waiting[: config.crew.workers]:
            workers.submit(training, leg, config, training, states[training])
        waiting = waiting[config.crew.workers :]
        logged = _log(config, run, states, logged)  # what a run that was stopped had not come to
        while any(_done(state) < legs for state in states.values()):
            _take(workers, config, run, states, waiting, meter)
            logged = _log(config, run, states, logged)
    learned = {training.file: _kept(state) for training, state in states.items() if state}
    run.save({"trainings": learned}, name="best")
    results = Results.of(config, {training: state for training, state in states.items() if state})
    draw_pictures(run, config, results)
    return final_metrics(config, results)


def _take(
    workers: Crew,
    config: Config,
    run: Run,
    states: dict[Training, State | None],
    waiting: list[Training],
    meter: Meter,
) -> None:
    """Wait for a leg, keep what came of it, and give its worker the next: of the same training, or of one that waits."""
    training, state = workers.next()
    states[training] = state
    run.save(state, name=training.file)
    meter.advance(note=f"{training.row} {training.replica}: {state['curve'][-1][1]:.1f}")
    following = training if state["leg"] < config.train.evaluations else waiting.pop(0) if waiting else None
    if following is not None:
        workers.submit(following, leg, config, following, states[following])


def _log(config: Config, run: Run, states: dict[Training, State | None], logged: int) -> int:
    """Log what all replicas of a row have reached, in the same order whoever was first; returns how many lines there are now."""
    lines = curve_lines(config, states, logged)
    for row, values in lines:
        run.log(int(values.pop("steps")), values, stage=row)
    if lines:
        run.save({"logged": logged + len(lines)})
    return logged + len(lines)


def _done(state: State | None) -> int:
    return 0 if state is None else int(state["leg"])


def _kept(state: State) -> State:
    """What the evaluation and the demo need."""
    return {name: state[name] for name in ("policy", "normalizer", "curve", "history", "steps", "seconds")}
