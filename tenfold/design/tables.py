"""What the trainings of a run come to: the numbers of the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..core.legs import State
from ..core.replicates import difference, estimate, probability_of_improvement
from ..core.rl_curves import by_row, curve_lines
from ..core.rl_training import Training, row_of
from .config import Config
from .trainings import OWN, trainings_of


def final_metrics(config: Config, states: Mapping[Training, State]) -> dict[str, float]:
    """All metrics of a run, named "row/column"; see the README for both."""
    rows = by_row(trainings_of(config), states)
    metrics: dict[str, float] = {}
    for task in config.tasks:
        for method in config.methods:
            row = row_of(task, method)
            metrics |= _named(row, columns_of(rows[row], config.judge.resamples))
    for ours, theirs in pairs(config):
        row = f"{ours} - {theirs.split()[1]}"
        metrics |= _named(row, difference_columns(rows[ours], rows[theirs], config.judge.resamples))
    return metrics


def columns_of(own: Sequence[State], resamples: int) -> dict[str, float]:
    """All columns of a row, from what its replicas have come to."""
    return score_columns(own, resamples) | at_once_columns(own, resamples) | dial_columns(own)


def mean_scores(own: Sequence[State], column: str = "score") -> NDArray[np.float64]:
    """Of each replica the mean over the wishes of what was chosen for them, (R,)."""
    return np.array([np.mean([found[column] for found in state["chosen"].values()]) for state in own])


def score_columns(own: Sequence[State], resamples: int) -> dict[str, float]:
    """Interquartile means over a row's replicas: score with its interval, own wish, found, and each goal's score of the own wish's design."""
    score = estimate(mean_scores(own), resamples=resamples)
    columns = {"score": score.value, "score low": score.low, "score high": score.high}
    columns["own wish"] = estimate([state["chosen"][OWN]["score"] for state in own], resamples=resamples).value
    columns["found"] = estimate(mean_scores(own, "found"), resamples=resamples).value
    for goal in own[0]["chosen"][OWN]["scores"]:
        values = [state["chosen"][OWN]["scores"][goal] for state in own]
        columns[goal] = estimate(values, resamples=resamples).value
    return columns


def at_once_columns(own: Sequence[State], resamples: int) -> dict[str, float]:
    """Of policies: the score of what they make of a wish without chance and without a choice, averaged over the wishes."""
    scores = [float(np.mean(list(state["at once"].values()))) for state in own if "at once" in state]
    return {"at once": estimate(scores, resamples=resamples).value} if scores else {}


def dial_columns(own: Sequence[State]) -> dict[str, float]:
    """Of policies for many wishes: how their designs follow the weight of the goal that wants little material.

    dial falls: share of the turns of the dial, over all replicas, after which the design has no more material than before. heaviest,
    lightest: g at the least and the greatest weight, averaged over replicas.
    """
    masses = np.array([state["dial"] for state in own if "dial" in state])
    if not len(masses):
        return {}
    return {
        "dial falls": float((np.diff(masses, axis=1) <= 1e-9).mean()),
        "heaviest g": float(masses[:, 0].mean()),
        "lightest g": float(masses[:, -1].mean()),
    }


def difference_columns(ours: Sequence[State], theirs: Sequence[State], resamples: int) -> dict[str, float]:
    """The difference of two rows' scores with its interval, and how likely a replica of the first is to be better."""
    scores = mean_scores(ours), mean_scores(theirs)
    found = difference(*scores, resamples=resamples)
    return {
        "score": found.value,
        "score low": found.low,
        "score high": found.high,
        "better": probability_of_improvement(*scores, resamples=resamples).value,
    }


def pairs(config: Config) -> list[tuple[str, str]]:
    """The rows that are compared: the policy's, and each search's for the same task."""
    if "ppo" not in config.methods:
        return []
    rivals = [method for method in config.methods if method != "ppo"]
    return [(row_of(task, "ppo"), row_of(task, rival)) for task in config.tasks for rival in rivals]


def logged_lines(
    config: Config, states: Mapping[Training, State | None], first: int
) -> list[tuple[str, dict[str, float]]]:
    """(row, values) of the points of the learning curves that all replicas of the row have reached, but the `first` of them."""
    rows = by_row(trainings_of(config), states)
    lines = curve_lines(rows, config.evaluations, first, resamples=config.judge.resamples)
    return [(row, {name.replace("return", "best"): value for name, value in values.items()}) for row, values in lines]


def _named(row: str, columns: Mapping[str, float]) -> dict[str, float]:
    return {f"{row}/{name}": value for name, value in columns.items()}
