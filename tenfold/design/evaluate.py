"""`tenfold eval`: the designs that a run has found are tested again."""

from __future__ import annotations

from pathlib import Path

from ..core.crew import crew
from ..core.errors import UsageError
from ..core.progress import meter
from ..core.rl_training import State, Training, one_thread
from ..core.trained import open_trained
from .archive import Archive
from .config import Config, EvalOptions
from .tables import dial_columns, score_columns
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
    rows = list(dict.fromkeys(training.row for training in learned))
    unknown = [row for row in options.rows if row not in rows]
    if unknown:
        raise UsageError(f"rows has {unknown[0]!r}, but the run has {', '.join(rows)}")
    wanted = [training for training in learned if training.row in (options.rows or rows)]
    found: dict[Training, State] = {}
    with meter("designs", len(wanted)) as shown, crew(config.crew.workers, config.crew.engine) as workers:
        for training in wanted:
            workers.submit(training, _judged, config, training, learned[training], options.held_out)
        for _ in wanted:
            training, again = workers.next()
            found[training] = again
            shown.advance(note=f"{training.row} {training.replica}")
    metrics: dict[str, float] = {}
    for row in dict.fromkeys(training.row for training in wanted):
        own = [found[training] for training in wanted if training.row == row]
        columns = score_columns(own, config.judge.resamples) | dial_columns(own)
        metrics |= {f"{row}/{name}": value for name, value in columns.items()}
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
