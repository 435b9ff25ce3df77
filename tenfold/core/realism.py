"""How like real pictures generated ones are, from features of both. N and M rows, F features."""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import UsageError


def frechet_distance(real: Tensor, made: Tensor) -> float:
    """(m - m')^2 + tr(C + C' - 2 (C C')^(1/2)), of Gaussians with the means and covariances of two sets of features.

    With Inception's features it is the FID (Heusel et al. 2017). It falls with the number of rows, so that only distances of
    equally many may be compared.

    Args:
        real: (N, F), N at least 2.
        made: (M, F), M at least 2.

    Raises:
        UsageError: the shapes do not fit each other, or a feature is not finite.
    """
    _check(real, made)
    real, made = real.double(), made.double()
    first, second = torch.cov(real.T).view(real.shape[1], -1), torch.cov(made.T).view(real.shape[1], -1)
    # the eigenvalues of C C' are those of the symmetric R C' R with R = C^(1/2); none is negative but by rounding
    values, vectors = torch.linalg.eigh(first)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    product = torch.linalg.eigvalsh(root @ second @ root).clamp_min(0).sqrt().sum()
    means = (real.mean(0) - made.mean(0)).square().sum()
    return max(0.0, float(means + first.trace() + second.trace() - 2 * product))  # below zero is rounding


def precision_and_recall(real: Tensor, made: Tensor, *, neighbours: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019), each in [0, 1].

    Precision is the share of generated rows that lie within some real row's distance to its k-th nearest real row: how many
    look real. Recall is the same with the two exchanged: how much of the real can be generated.

    Args:
        real: (N, F), N above k.
        made: (M, F), M above k.
        neighbours: k, at least 1.

    Raises:
        UsageError: the shapes do not fit each other, there are too few rows, a feature is not finite, or `neighbours` is
            below 1.
    """
    _check(real, made)
    if neighbours < 1:
        raise UsageError(f"neighbours is {neighbours}, but must be at least 1")
    if min(len(real), len(made)) <= neighbours:
        raise UsageError(
            f"there are {len(real)} and {len(made)} rows of features, but must be more than {neighbours} of each"
        )
    return _within(real, made, neighbours), _within(made, real, neighbours)


def _within(base: Tensor, rows: Tensor, neighbours: int, chunk: int = 1024) -> float:
    """The share of rows that lie in the neighbourhood of some row of `base`."""
    base, rows = base.double(), rows.double()
    # of each row itself the distance is 0, so that the k-th neighbour is the (k + 1)-th smallest
    reach = torch.cat([torch.cdist(part, base).kthvalue(neighbours + 1, 1).values for part in base.split(chunk)])
    inside = [(torch.cdist(part, base) <= reach).any(1) for part in rows.split(chunk)]
    return float(torch.cat(inside).double().mean())


def _check(real: Tensor, made: Tensor) -> None:
    if real.ndim != 2 or made.ndim != 2 or real.shape[1] != made.shape[1] or min(len(real), len(made)) < 2:
        raise UsageError(
            f"features have shapes {tuple(real.shape)} and {tuple(made.shape)}, but must be (N, F) and (M, F), at least 2 rows"
        )
    if not (real.isfinite().all() and made.isfinite().all()):
        raise UsageError("some features are NaN or infinite, but all must be finite")
