"""`tenfold eval`: the designs that a run has found are tested again."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ..core.legs import State, evaluate_each, one_thread, rows_asked
from ..core.rl_training import Training
from ..core.trained import open_trained
from .archive import Archive
from .config import Config, EvalOptions
from .tables import columns_of
from .tasks import find_task
from .trainings import judged, trainings_of


def evaluate(folder: Path, options: EvalOptions) -> dict[str, float]:
    """Judge what a run has found once more (`tenfold eval`): with its own number of tests, by the very same ones.

    Returns:
        "<row>/score" and the other columns of the rows asked for; see the README.

    Raises:
        UsageError: the folder is not a run of this method, it has found nothing yet, or there is no such row.
    """
    config, learned = load_run(folder)
    wanted = rows_asked(learned, options.rows)
    found = evaluate_each(
        "designs",
        wanted,
        partial(_judged, config, held_out=options.held_out),
        workers=config.crew.workers,
        engine=config.crew.engine,
    )
    metrics: dict[str, float] = {}
    for row in dict.fromkeys(training.row for training in wanted):
        own = [found[training] for training in wanted if training.row == row]
        metrics |= {f"{row}/{name}": value for name, value in columns_of(own, config.judge.resamples).items()}
    return metrics


def load_run(folder: Path) -> tuple[Config, dict[Training, State]]:
    """The settings of a finished run, and what each of its trainings has found.

    Raises:
        UsageError: the folder is not a run of this method, or it has found nothing yet.
    """
    config, state = open_trained(folder, "design", Config)
    return config, {training: state["trainings"][training.file] for training in trainings_of(config)}


def _judged(config: Config, training: Training, state: State, held_out: int | None) -> State:
    archive = Archive.from_state(find_task(training.env), state["archive"])
    with one_thread():
        return judged(config, training, archive, state.get("model"), held_out=held_out)
