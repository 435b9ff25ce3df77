"""What the trainings of a run come to: curves by row, and the numbers of the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.replicates import difference, estimate, probability_of_improvement
from .config import Config
from .trainings import State, Training, trainings_of

COLUMNS = {"final": ("final return", "final low", "final high"), "area": ("area", "area low", "area high")}
"""of an estimate: its value and the ends of its interval"""
LOGGED = ("diversity", "mean fitness", "fitness spread", "open genes of elite", "elite changed")
"""columns of a generation that are logged with the curve"""


@dataclass(frozen=True)
class Results:
    """Of every row "ENV METHOD", what its replicas have shown. R replicas, K evaluations."""

    steps: dict[str, NDArray[np.float64]]
    """environment steps at each evaluation, (K,)"""
    returns: dict[str, NDArray[np.float64]]
    """mean return of each evaluation, (R, K)"""
    histories: dict[str, list[list[dict[str, float]]]]
    """for each replica its generations"""
    policies: dict[str, list[dict[str, Any]]]
    """for each replica the state dict"""

    @classmethod
    def of(cls, config: Config, states: Mapping[Training, State]) -> Results:
        """From the states of all trainings."""
        steps, returns, histories, policies = {}, {}, {}, {}
        for row, own in _by_row(config, states).items():
            curves = np.array([state["curve"] for state in own])
            steps[row], returns[row] = curves[0, :, 0], curves[:, :, 1]
            histories[row] = [state["history"] for state in own]
            policies[row] = [state["policy"] for state in own]
        return cls(steps, returns, histories, policies)

    def finals(self, row: str) -> NDArray[np.float64]:
        """Each replica's return at the last evaluation, (R,)."""
        finals: NDArray[np.float64] = self.returns[row][:, -1]
        return finals

    def areas(self, row: str) -> NDArray[np.float64]:
        """Mean height of each replica's learning curve, (R,): the area under it divided by its length."""
        areas: NDArray[np.float64] = self.returns[row].mean(1)
        return areas


def return_columns(config: Config, finals: NDArray[np.float64]) -> dict[str, float]:
    """Interquartile mean and 95 % interval of the final returns (R,)."""
    return dict(zip(COLUMNS["final"], _estimated(config, finals), strict=True))


def area_columns(config: Config, areas: NDArray[np.float64]) -> dict[str, float]:
    """The same of the areas under the learning curves (R,)."""
    return dict(zip(COLUMNS["area"], _estimated(config, areas), strict=True))


def comparisons(config: Config, results: Results) -> dict[str, float]:
    """Rows "ENV genetic - RIVAL": differences of the interquartile means with 95 % intervals, and how likely one training of the
    method is to end better, and to have the larger area, than one of the rival."""
    metrics: dict[str, float] = {}
    for ours, theirs in pairs(config):
        row = f"{ours} - {theirs.split()[1]}"
        for column, of in (("final", results.finals), ("area", results.areas)):
            found = difference(of(ours), of(theirs), resamples=config.metrics.resamples)
            metrics |= {f"{row}/{name}": value for name, value in zip(COLUMNS[column], found, strict=True)}
            metrics[f"{row}/{column} better"] = probability_of_improvement(of(ours), of(theirs)).value
    return metrics


def pairs(config: Config) -> list[tuple[str, str]]:
    """The rows that are compared: the method's, and each of its rivals' in the same environment."""
    if "genetic" not in config.methods:
        return []
    rivals = [method for method in config.methods if method != "genetic"]
    return [(f"{env} genetic", f"{env} {rival}") for env in config.envs for rival in rivals]


def population_columns(histories: list[list[dict[str, float]]]) -> dict[str, float]:
    """Of the replicas' generations: how many, how often the elite changed, and what the two phases brought, in units of return.

    The gains are means over generations; see `phase_gains`.
    """
    lines = [line for history in histories for line in history]
    if not lines:
        return {}
    columns = {
        "generations": len(lines) / len(histories),
        "elite changes": float(np.mean([line["elite changed"] for line in lines])),
    }
    for name, place in (("gain in elite phase", 0), ("gain in population phase", 1)):
        gains = np.concatenate([phase_gains(history)[place] for history in histories])
        if np.isfinite(gains).any():
            columns[name] = float(np.nanmean(gains))
    return columns


def phase_gains(history: list[dict[str, float]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return gained in each elite phase, (G,), and in the population phase after it, (G,), of G generations; NaN where not known.

    In the elite phase: the elite's mean return in its last half above that in its first, which the gradient brought. In the population
    phase: the next elite's in the first half of its own phase above that of this one's last half, which selection and gradient brought.
    The fitness that the new elite was chosen by is not used: the best of several is lucky, too.
    """
    first, last = (
        np.array([line[f"elite return at {end}"] for line in history], dtype=float) for end in ("first", "last")
    )
    return last - first, np.append(first[1:] - last[:-1], np.nan)[: len(history)]


def curve_lines(
    config: Config, states: Mapping[Training, State | None], first: int
) -> list[tuple[str, dict[str, float]]]:
    """(row, values) of the evaluations that all replicas of the row have had: row by row, up to the first that is not there yet.

    The `first` of them are passed over: their intervals, which take time, were computed before.
    """
    reached = []
    for row, own in _by_row(config, states).items():
        count = min((len(state["curve"]) for state in own), default=0)
        reached += [(row, own, number) for number in range(count)]
        if count < config.train.evaluations:
            break
    return [(row, _at_evaluation(config, own, number)) for row, own, number in reached[first:]]


def _at_evaluation(config: Config, own: list[State], number: int) -> dict[str, float]:
    """Of the replicas' evaluation with this number: steps, return with its interval, and the population's last generation."""
    at = [state["curve"][number] for state in own]
    found = estimate([value for _, value in at], resamples=config.metrics.resamples)
    values = {"steps": float(at[0][0]), "return": found.value, "return low": found.low, "return high": found.high}
    last = [_last_generation(state["history"], steps) for state, (steps, _) in zip(own, at, strict=True)]
    if all(last):
        values |= {name: float(np.mean([line[name] for line in last if line])) for name in LOGGED}
    return values


def _last_generation(history: list[dict[str, float]], steps: float) -> dict[str, float] | None:
    before = [line for line in history if line["steps"] <= steps]
    return before[-1] if before else None


def _by_row(config: Config, states: Mapping[Training, Any]) -> dict[str, list[Any]]:
    """The states of the replicas of each row; none where one has not begun."""
    rows: dict[str, list[Any]] = {}
    for training in trainings_of(config):
        rows.setdefault(training.row, []).append(states[training])
    return {row: [] if None in own else own for row, own in rows.items()}


def _estimated(config: Config, values: NDArray[np.float64]) -> tuple[float, float, float]:
    return estimate(values, resamples=config.metrics.resamples)
