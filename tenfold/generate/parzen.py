"""The Parzen-window log-likelihood of pictures (Breuleux et al. 2011): how the paper, and those it compares with, judged samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..core.errors import UsageError

WIDTHS = tuple(round(0.1 + 0.01 * step, 2) for step in range(21))
"""standard deviations that are tried: the paper's for MNIST, for pixels in [0, 1]"""
CHUNK = 256


def parzen_log_likelihood(
    samples: Tensor, validation: Tensor, test: Tensor, *, widths: Sequence[float] = WIDTHS
) -> tuple[float, float, float]:
    """Mean log-density of test rows under Gaussians of one width around the samples, the width chosen on validation rows.

    Args:
        samples: (S, P) generated pictures, values in [0, 1].
        validation: (V, P) pictures that choose the width.
        test: (N, P).
        widths: standard deviations to choose from, all above 0.

    Returns:
        Mean over the test rows, its standard error, both in nats, and the width.

    Raises:
        UsageError: the shapes do not fit, a set is empty, or there are no widths.
    """
    for name, rows in (("samples", samples), ("validation", validation), ("test", test)):
        if rows.ndim != 2 or not len(rows) or rows.shape[1] != samples.shape[1]:
            raise UsageError(f"{name} have shape {tuple(rows.shape)}, but must be (N, {samples.shape[-1]}), N above 0")
    if not widths or min(widths) <= 0:
        raise UsageError(f"widths are {tuple(widths)}, but must be numbers above 0")
    samples, validation, test = (rows.detach().double() for rows in (samples, validation, test))
    chosen = _best_width(samples, validation, widths)
    found = parzen(samples, test, chosen)
    error = float(found.std() / math.sqrt(len(found))) if len(found) > 1 else math.nan
    return float(found.mean()), error, chosen


def parzen(samples: Tensor, rows: Tensor, width: float) -> Tensor:
    """log (1 / S) sum_s N(row; sample_s, width^2 I) of each row, (N,), nats, float64."""
    return torch.cat([_log_density(part, width, samples.shape[1]) for part in _distances(samples, rows)])


def _best_width(samples: Tensor, rows: Tensor, widths: Sequence[float]) -> float:
    """The width under which the rows are likeliest; the distances, the costly part, are computed once for all widths."""
    found: dict[float, list[Tensor]] = {width: [] for width in widths}
    for part in _distances(samples, rows):
        for width, values in found.items():
            values.append(_log_density(part, width, samples.shape[1]))
    return max(found, key=lambda width: float(torch.cat(found[width]).mean()))


def _distances(samples: Tensor, rows: Tensor) -> Iterator[Tensor]:
    """Squared distances (n, S) of some rows at a time to all samples."""
    # in double: of rows that nearly agree, the matrix product behind cdist leaves only rounding errors in float32
    samples = samples.double()
    return (torch.cdist(part.double(), samples).square() for part in rows.split(CHUNK))


def _log_density(distances: Tensor, width: float, pixels: int) -> Tensor:
    constant = math.log(distances.shape[1]) + 0.5 * pixels * math.log(2 * math.pi * width**2)
    return torch.logsumexp(-distances / (2 * width**2), 1) - constant
