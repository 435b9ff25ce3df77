"""Disentanglement and completeness (Eastwood and Williams 2018, DCI) from plain arrays: no data set object, any sampling.

N rows, n latents, K factors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.errors import UsageError

Regressor = Literal["random_forest", "gradient_boosting", "lasso"]


@dataclass(frozen=True)
class DCI:
    """What `dci` finds. Plain averages, as the paper's table has them, and those weighted by importance, as Eastwood and Williams'."""

    disentanglement: float
    """in [0, 1]; 1: each latent matters to one factor alone; averaged over latents"""
    completeness: float
    """in [0, 1]; 1: each factor is in one latent alone; averaged over factors"""
    informativeness: float
    """1 less the held-out squared error, in units of the factors' variance, averaged over factors; at most 1"""
    weighted_disentanglement: float
    """the same as `disentanglement`, but latents count by how much they matter"""
    weighted_completeness: float
    """the same as `completeness`, but factors count by how well they are in the latents at all"""
    importance: NDArray[np.float64]
    """(n, K): how much a factor's regressor uses a latent; columns sum to 1, or are 0 where it uses none"""
    per_latent: NDArray[np.float64]
    """(n,): disentanglement of each"""
    per_factor: NDArray[np.float64]
    """(K,): completeness of each"""


def dci(
    latents: ArrayLike,
    factors: ArrayLike,
    *,
    regressor: Regressor = "random_forest",
    test_share: float = 0.2,
    seed: int = 0,
) -> DCI:
    """Score latents (N, n) against the factors (N, K) that they should tell apart.

    Args:
        latents: finite numbers; at least 20 rows and 2 latents.
        factors: finite numbers; at least 2 factors. Classes may be numbered.
        regressor: random_forest as the paper has it, gradient_boosting, or lasso.
        test_share: of the rows, the last after shuffling, that informativeness is measured on.
        seed: of the shuffle and the regressors.

    Raises:
        UsageError: an array is of another shape, too small, or has numbers that are not finite.
    """
    x, y = (_table(values, name) for values, name in ((latents, "latents"), (factors, "factors")))
    if len(x) != len(y) or len(x) < 20:
        raise UsageError(f"there are {len(x)} latents and {len(y)} factors, but must be as many of both, at least 20")
    if not 0 < test_share < 1:
        raise UsageError(f"test_share is {test_share}, but must be between 0 and 1")
    spread = x.std(0)
    x = (x - x.mean(0)) / np.where(spread > 0, spread, 1)
    order = np.random.default_rng(seed).permutation(len(x))
    cut = len(x) - max(1, round(test_share * len(x)))
    if cut < 10:
        raise UsageError(
            f"test_share is {test_share}, which leaves {cut} of {len(x)} rows to learn from, but must leave 10"
        )
    train, test = order[:cut], order[cut:]
    columns, scores = [], []
    for factor in y.T:
        importance, score = _fit(x[train], factor[train], x[test], factor[test], regressor, seed)
        columns.append(importance)
        scores.append(score)
    return _scores(np.stack(columns, 1), float(np.mean(scores)))


def _scores(importance: NDArray[np.float64], informativeness: float) -> DCI:
    """D_i = 1 - H_K(P_i.) and C_j = 1 - H_n(P_.j) (Eastwood and Williams, section 2), H with as many as the base."""
    latents, factors = importance.shape
    per_latent = 1 - _entropy(importance, base=factors)
    per_factor = 1 - _entropy(importance.T, base=latents)
    total = importance.sum()
    weights = importance.sum(1) / total if total > 0 else np.zeros(latents)
    shares = importance.sum(0) / total if total > 0 else np.zeros(factors)
    return DCI(
        disentanglement=float(per_latent.mean()),
        completeness=float(per_factor.mean()),
        informativeness=informativeness,
        weighted_disentanglement=float(weights @ per_latent),
        weighted_completeness=float(shares @ per_factor),
        importance=importance,
        per_latent=per_latent,
        per_factor=per_factor,
    )


def _entropy(rows: NDArray[np.float64], *, base: int) -> NDArray[np.float64]:
    """Of each row (R, base), made to sum to 1, its entropy to that base; 1 where a row is 0, as it tells nothing apart."""
    sums = rows.sum(1, keepdims=True)
    p = np.where(sums > 0, rows / np.where(sums > 0, sums, 1), 1 / base)
    logs = np.log(np.where(p > 0, p, 1))
    entropy: NDArray[np.float64] = -(p * logs).sum(1) / np.log(base)
    return entropy


def _fit(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    x_test: NDArray[np.float64],
    y_test: NDArray[np.float64],
    regressor: Regressor,
    seed: int,
) -> tuple[NDArray[np.float64], float]:
    """Importance of each latent for a factor, summing to 1, and the share of the held-out variance explained."""
    if np.ptp(y) == 0:
        return np.zeros(x.shape[1]), 0.0
    middle, unit = y.mean(), y.std()
    y, y_test = (y - middle) / unit, (y_test - middle) / unit
    model = _regressor(regressor, seed)
    model.fit(x, y)
    raw = np.abs(model.coef_) if regressor == "lasso" else model.feature_importances_
    importance = raw / raw.sum() if raw.sum() > 0 else raw
    left = np.square(y_test - model.predict(x_test)).mean()
    return np.asarray(importance, dtype=np.float64), float(1 - left)


def _regressor(name: Regressor, seed: int):  # type: ignore[no-untyped-def]
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import LassoCV

    known = {
        "random_forest": lambda: RandomForestRegressor(30, max_features=None, min_samples_leaf=3, random_state=seed),
        "gradient_boosting": lambda: GradientBoostingRegressor(random_state=seed),
        "lasso": lambda: LassoCV(random_state=seed),
    }
    if name not in known:
        raise UsageError(f"regressor is {name!r}, but must be one of {', '.join(known)}")
    return known[name]()


def _table(values: ArrayLike, name: str) -> NDArray[np.float64]:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2:
        raise UsageError(
            f"{name} have shape {table.shape}, but must be a row for each sample, at least two numbers each"
        )
    if not np.isfinite(table).all():
        raise UsageError(f"{name} have numbers that are not finite")
    return table
