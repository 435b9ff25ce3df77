"""What few repetitions of a noisy experiment say: interquartile means, bootstrap intervals, probability of improvement.

The reporting standard of reinforcement learning (Agarwal et al. 2021, "Deep RL at the edge of the statistical precipice").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError


class Estimate(NamedTuple):
    """A value with the ends of its interval."""

    value: float
    low: float
    high: float


def interquartile_mean(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Mean of the middle half: the lowest and highest quarter, rounded down to whole values, are left out.

    Raises:
        UsageError: there is no value.
    """
    return float(_middle_mean(_row(values)[None])[0])


def estimate(values: Sequence[float] | NDArray[np.float64], *, resamples: int = 2000, seed: int = 0) -> Estimate:
    """The interquartile mean of R repetitions with its 95 % percentile bootstrap interval; of one it has no width.

    Raises:
        UsageError: there is no value.
    """
    row = _row(values)
    drawn = np.random.default_rng(seed).integers(len(row), size=(resamples, len(row)))
    low, high = np.quantile(_middle_mean(row[drawn]), (0.025, 0.975))
    return Estimate(interquartile_mean(row), float(low), float(high))


def difference(
    ours: Sequence[float] | NDArray[np.float64],
    theirs: Sequence[float] | NDArray[np.float64],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """The interquartile mean of ours above that of theirs, each resampled by itself; 95 % percentile bootstrap interval.

    Raises:
        UsageError: there is no value of one of the two.
    """
    rows = [_row(ours), _row(theirs)]
    random = np.random.default_rng(seed)
    first, second = (_middle_mean(row[random.integers(len(row), size=(resamples, len(row)))]) for row in rows)
    low, high = np.quantile(first - second, (0.025, 0.975))
    return Estimate(interquartile_mean(rows[0]) - interquartile_mean(rows[1]), float(low), float(high))


def probability_of_improvement(
    ours: Sequence[float] | NDArray[np.float64],
    theirs: Sequence[float] | NDArray[np.float64],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """How likely a repetition of ours is to be better than one of theirs, equal ones counting half; 95 % bootstrap interval.

    Above one half with a lower end above one half is an improvement; see Agarwal et al., section 4.3.

    Raises:
        UsageError: there is no value of one of the two.
    """
    x, y = _row(ours), _row(theirs)
    wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    random = np.random.default_rng(seed)
    rows, columns = (random.integers(len(each), size=(resamples, len(each))) for each in (x, y))
    drawn = wins[rows[:, :, None], columns[:, None, :]].mean((1, 2))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Estimate(float(wins.mean()), float(low), float(high))


def _row(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    row = np.asarray(values, dtype=np.float64)
    if row.ndim != 1 or not len(row):
        raise UsageError(f"values have shape {row.shape}, but must be one for each repetition, at least one")
    return row


def _middle_mean(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row (K, R) its interquartile mean."""
    cut = rows.shape[1] // 4
    means: NDArray[np.float64] = np.sort(rows, axis=1)[:, cut : rows.shape[1] - cut].mean(1)
    return means
