"""What the trainings of a run are worth: tables of final returns, areas, comparisons; and `tenfold eval`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from ..core.errors import UsageError
from ..core.legs import State, evaluate_each
from ..core.rl_curves import area_columns, comparisons, return_columns
from ..core.rl_training import Training
from ..core.trained import open_trained
from .config import Config, EvalOptions
from .tables import Results, pairs, population_columns
from .trainings import evaluate as play
from .trainings import trainings_of

VOTERS = ("genetic", "random")
"""methods that have a population"""


def final_metrics(config: Config, results: Results) -> dict[str, float]:
    """All metrics of a run, named "row/column"; see the README for both."""
    metrics: dict[str, float] = {}
    resamples = config.metrics.resamples
    for row in results.returns:
        columns = return_columns(results.finals(row), resamples) | area_columns(results.areas(row), resamples)
        columns |= population_columns(results.histories[row])
        metrics |= {f"{row}/{name}": value for name, value in columns.items()}
    return metrics | comparisons(results, pairs(config), resamples)


def evaluate(folder: Path, options: EvalOptions) -> dict[str, float]:
    """Let the policies of a run play again (`tenfold eval`): with its own number of episodes, the very same ones.

    Returns:
        "<row>/final return", "final low" and "final high" of the rows asked for.

    Raises:
        UsageError: the folder is not a run of this method, it has no trained network yet, there is no such row, or a vote is
            asked of a method without a population.
    """
    config, learned = load_run(folder)
    rows = list(dict.fromkeys(training.row for training in learned))
    playing = [row for row in rows if not options.vote or row.split()[1] in VOTERS]
    chosen = list(options.rows) or playing
    if not chosen:
        raise UsageError(f"vote is True, but no method of the run has a population: it has {', '.join(config.methods)}")
    unknown = [row for row in chosen if row not in rows]
    if unknown:
        raise UsageError(f"rows has {unknown[0]!r}, but the run has {', '.join(rows)}")
    single = [row for row in chosen if row not in playing]
    if single:
        raise UsageError(f"rows has {single[0]!r}, which has no population to vote")
    wanted = {training: state for training, state in learned.items() if training.row in chosen}
    finals = evaluate_each(
        "trained policies",
        wanted,
        partial(_mean_return, config, options=options),
        workers=config.crew.workers,
        engine=config.crew.engine,
    )
    metrics: dict[str, float] = {}
    for row in chosen:
        values = np.array([finals[training] for training in wanted if training.row == row])
        metrics |= {f"{row}/{name}": value for name, value in return_columns(values, config.metrics.resamples).items()}
    return metrics


def load_run(folder: Path) -> tuple[Config, dict[Training, State]]:
    """The settings of a finished run, and what each of its trainings has learned.

    Raises:
        UsageError: the folder is not a run of this method, or it has no trained network yet.
    """
    config, state = open_trained(folder, "evolve", Config)
    return config, {training: state["trainings"][training.file] for training in trainings_of(config)}


def _mean_return(config: Config, training: Training, state: State, options: EvalOptions) -> float:
    return float(np.mean(play(config, training, state, episodes=options.episodes, vote=options.vote)))
