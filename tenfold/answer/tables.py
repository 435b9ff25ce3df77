"""What the trainings of a run come to: the numbers of the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..core.legs import State
from ..core.metrics import mean_and_spread
from .config import Config, MethodName
from .scores import COLUMNS, Scores, interval, score
from .trainings import Training, evidence_of, trainings_of, workbench

COMPARED: tuple[tuple[MethodName, MethodName], ...] = (
    ("full", "no text"),
    ("full", "plain"),
    ("full", "no ssoc"),
    ("full", "no graph"),
    ("full open", "full"),
    ("full", "tf-idf"),
    ("full", "encoder"),
    ("full", "cross-encoder"),
)
"""whose accuracies are compared question by question"""


def final_metrics(config: Config, states: Mapping[Training, State]) -> dict[str, float]:
    """All metrics of a run, named "row/column"; see the README for both."""
    return metrics_of(config, {training: state["answers"] for training, state in states.items()})


def metrics_of(config: Config, answers: Mapping[Training, Mapping[str, list[float]]]) -> dict[str, float]:
    """The metrics of trainings by the probabilities that each gives its questions' choices."""
    rows: dict[str, list[Scores]] = {}
    metrics: dict[str, float] = {}
    evidence: dict[str, list[float]] = {}
    for training in trainings_of(config):
        if training in answers:
            bench = workbench(config, training.replica)
            rows.setdefault(training.row, []).append(score(bench.test, answers[training]))
            evidence.setdefault(training.row, []).extend(evidence_of(bench, answers[training]).values())
    for row, own in rows.items():
        metrics |= {f"{row}/{column}": value for column, value in row_columns(own, config.resamples).items()}
        if evidence[row] and row not in ("chance", "no text"):
            metrics[f"{row}/evidence"] = float(np.mean(evidence[row]))
    for ours, theirs in COMPARED:
        if ours in rows and theirs in rows:
            columns = difference_columns(rows[ours], rows[theirs], config.resamples)
            metrics |= {f"{ours} - {theirs}/{column}": value for column, value in columns.items()}
    return metrics


def row_columns(own: Sequence[Scores], resamples: int) -> dict[str, float]:
    """Of a row's replicas: accuracy in each published column, the interval of `all`, and the spread of `all` over replicas."""
    found = {}
    for column in COLUMNS:
        means = list(by_question(own, column).values())
        if means:
            found[column] = float(np.mean(means))
    if "all" not in found:
        return {}
    found["low"], found["high"] = interval(np.array(list(by_question(own, "all").values())), resamples=resamples)
    found["spread"] = mean_and_spread([float(each.bits().mean()) for each in own if each.count])[1]
    return found


def difference_columns(ours: Sequence[Scores], theirs: Sequence[Scores], resamples: int) -> dict[str, float]:
    """How much more often ours are right, question by question, with the interval of that."""
    first, second = by_question(ours, "all"), by_question(theirs, "all")
    gain = np.array([first[name] - second[name] for name in first if name in second])
    if not len(gain):
        return {}
    low, high = interval(gain, resamples=resamples)
    return {"all": float(gain.mean()), "low": low, "high": high}


def by_question(own: Sequence[Scores], column: str) -> dict[str, float]:
    """Of each question of a column the share of the replicas that answered it rightly, of those that were asked it."""
    found: dict[str, list[float]] = {}
    for each in own:
        for name, value in each.right.items():
            if each.kinds[name] in COLUMNS[column]:
                found.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def logged_lines(
    config: Config, states: Mapping[Training, State | None], first: int
) -> list[tuple[str, dict[str, float]]]:
    """(row, values) of the points of the learning curves that all replicas of the row have reached, but the `first` of them."""
    lines: list[tuple[str, dict[str, float]]] = []
    for method in config.methods:
        own = [
            state["curve"] if (state := states[each]) else [] for each in trainings_of(config) if each.method == method
        ]
        reached = min(len(curve) for curve in own)
        for point in range(reached):
            accuracy = float(np.mean([curve[point][1] for curve in own]))
            lines.append((method, {"steps": float(point + 1), "accuracy": accuracy}))
        if reached < config.legs:
            break
    return lines[first:]
