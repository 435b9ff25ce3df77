"""`tenfold eval`: agents play again, and models are scored again."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from ..core.legs import State, evaluate_each, one_thread, rows_asked
from ..core.rl_curves import return_columns
from ..core.rl_training import Training
from ..core.trained import open_trained
from .config import Config, EvalOptions
from .tables import score_columns
from .trainings import evaluate as play
from .trainings import score, trainings_of


def evaluate(folder: Path, options: EvalOptions) -> dict[str, float]:
    """Judge what a run has learned once more (`tenfold eval`): with its own number of episodes, by the very same ones.

    Returns:
        "<row>/final return", "final low" and "final high" of the agents asked for, and the scores of their models; of the models of
        worlds their scores.

    Raises:
        UsageError: the folder is not a run of this method, it has no trained network yet, or there is no such row.
    """
    config, learned = load_run(folder)
    wanted = rows_asked(learned, options.rows)
    found = evaluate_each(
        "trained models",
        wanted,
        partial(_judged, config, options=options),
        workers=config.crew.workers,
        engine=config.crew.engine,
    )
    metrics: dict[str, float] = {}
    for row in dict.fromkeys(training.row for training in wanted):
        own = [found[training] for training in wanted if training.row == row]
        columns: dict[str, float] = {}
        if "return" in own[0]:
            returns = np.array([each["return"] for each in own])
            columns |= return_columns(returns, config.metrics.resamples)
        columns |= score_columns(config, own)
        metrics |= {f"{row}/{name}": value for name, value in columns.items()}
    return metrics


def load_run(folder: Path) -> tuple[Config, dict[Training, State]]:
    """The settings of a finished run, and what each of its trainings has learned.

    Raises:
        UsageError: the folder is not a run of this method, or it has no trained network yet.
    """
    config, state = open_trained(folder, "govern", Config)
    return config, {training: state["trainings"][training.file] for training in trainings_of(config)}


def _judged(config: Config, training: Training, state: State, options: EvalOptions) -> State:
    with one_thread():
        judged: State = {"scores": score(config, training, state)}
        if training.env in config.envs:
            judged["return"] = float(np.mean(play(config, training, state, episodes=options.episodes)))
    return judged
