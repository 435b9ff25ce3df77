"""What the trainings of a run come to: curves by row, and the numbers of the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.legs import State
from ..core.rl_curves import Curves, by_row, curve_lines
from ..core.rl_training import Training, row_of
from .config import Config
from .trainings import trainings_of

LOGGED = ("diversity", "mean fitness", "fitness spread", "open genes of elite", "elite changed")
"""columns of a generation that are logged with the curve"""


@dataclass(frozen=True)
class Results(Curves):
    """Of every row "ENV METHOD", what its replicas have shown. R replicas, K evaluations."""

    histories: dict[str, list[list[dict[str, float]]]]
    """for each replica its generations"""
    policies: dict[str, list[dict[str, Any]]]
    """for each replica the state dict"""

    @classmethod
    def of(cls, trainings: Sequence[Training], states: Mapping[Training, State]) -> Results:
        """From the states of all trainings."""
        curves, rows = Curves.of(trainings, states), by_row(trainings, states)
        histories = {row: [state["history"] for state in own] for row, own in rows.items()}
        policies = {row: [state["policy"] for state in own] for row, own in rows.items()}
        return cls(curves.steps, curves.returns, histories, policies)


def pairs(config: Config) -> list[tuple[str, str]]:
    """The rows that are compared: the method's, and each of its rivals' in the same environment."""
    if "genetic" not in config.methods:
        return []
    rivals = [method for method in config.methods if method != "genetic"]
    return [(row_of(env, "genetic"), row_of(env, rival)) for env in config.envs for rival in rivals]


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


def logged_lines(
    config: Config, states: Mapping[Training, State | None], first: int
) -> list[tuple[str, dict[str, float]]]:
    """(row, values) of the evaluations that all replicas of the row have had, with the population's last generation; but the `first`
    of them: see `curve_lines`."""
    rows = by_row(trainings_of(config), states)
    return curve_lines(
        rows, config.train.evaluations, first, resamples=config.metrics.resamples, extra=_generation_columns
    )


def _generation_columns(own: Sequence[State], number: int) -> dict[str, float]:
    """Of the replicas' last generation before the evaluation with this number, where all have had one."""
    last = [_last_generation(state["history"], state["curve"][number][0]) for state in own]
    if not all(last):
        return {}
    return {name: float(np.mean([line[name] for line in last if line])) for name in LOGGED}


def _last_generation(history: list[dict[str, float]], steps: float) -> dict[str, float] | None:
    before = [line for line in history if line["steps"] <= steps]
    return before[-1] if before else None
