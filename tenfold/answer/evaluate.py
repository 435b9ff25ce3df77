"""`tenfold eval`: what a run has learned answers its questions again, or those of another book."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.errors import UsageError
from ..core.legs import State, one_thread, rows_asked
from ..core.progress import meter
from ..core.trained import open_trained
from .config import ENCODERS, Config, EvalOptions
from .tables import metrics_of
from .trainings import Training, answers_of, trainings_of, workbench_of


def evaluate(folder: Path, options: EvalOptions) -> dict[str, float]:
    """Answer questions with what a run has learned (`tenfold eval`): its own, or another book's.

    The sentence encoders' rows are left out: their weights are not kept.

    Returns:
        "<row>/<column>" of the rows asked for; see the README for both.

    Raises:
        UsageError: the folder is not a run of this method, it has learned nothing yet, a book is missing, or there is no such row.
    """
    config, learned = load_run(folder)
    wanted = rows_asked({each: state for each, state in learned.items() if each.method not in ENCODERS}, options.rows)
    if not wanted:
        raise UsageError(f"{folder} has the rows {', '.join(config.methods)} alone, whose weights are not kept")
    config = _asked(config, options)
    answers = {}
    with meter("questions", len(wanted)) as shown, one_thread():
        for training, state in wanted.items():
            answers[training] = answers_of(config, training, workbench_of(config, training, state), state)
            shown.advance(note=training.file)
    return metrics_of(config, answers)


def load_run(folder: Path) -> tuple[Config, dict[Training, State]]:
    """The settings of a finished run, and what each of its trainings has learned.

    Raises:
        UsageError: the folder is not a run of this method, or it has learned nothing yet.
    """
    config, state = open_trained(folder, "answer", Config)
    missing = [training.file for training in trainings_of(config) if training.file not in state["trainings"]]
    if missing:
        raise UsageError(f"{folder} has not learned {missing[0]}, which its config.json names; has it been edited?")
    return config, {training: state["trainings"][training.file] for training in trainings_of(config)}


def _asked(config: Config, options: EvalOptions) -> Config:
    if options.book is None and options.split is None:
        return config
    changed: dict[str, Any] = {"test": options.book or config.book.test, "test_split": options.split}
    if changed["test"] is None:
        raise UsageError("split is given, but the run holds lessons of its own book out; name the book too")
    return replace(config, book=replace(config.book, **changed, holdout=0.0))
