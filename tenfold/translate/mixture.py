"""Mixtures of losses: drawn at random, laid out as a grid, written by a person. N rows, L losses, H x W pixels."""

from __future__ import annotations

import itertools
import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..core.errors import UsageError

Mix = Tensor | Sequence[float] | Mapping[str, float]
"""Shares of the losses: L numbers, (L,); a row for each sample, (N, L); a map, (L, H, W) or (N, L, H, W); or shares by name"""
TOLERANCE = 0.02
"""How far from the simplex a mixture still counts as on it: 0.33 0.33 0.33 does."""
LARGEST_GRID = 20_000


class OffSimplexWarning(UserWarning):
    """A mixture has shares below 0, or not of sum 1: the network answers, but never met such mixtures in training."""


def sample_mixes(
    count: int, alpha: Sequence[float], *, generator: torch.Generator | None = None, vertices: float = 0.0
) -> Tensor:
    """Mixtures from a Dirichlet distribution, one for each sample (paper: alpha 0.5 for each of its three losses).

    Args:
        count: how many, N.
        alpha: concentration of each of the L losses, all above 0; below 1 favours few losses at a time, 1 is uniform.
        generator: of the random numbers, on the CPU; None is torch's own.
        vertices: share of the samples that get a single loss, each equally often, in [0, 1] (ours; paper: 0).

    Returns:
        float32 (N, L), at least 0, rows of sum 1.

    Raises:
        UsageError: a value is out of range.
    """
    if not alpha or not all(value > 0 and math.isfinite(value) for value in alpha):
        raise UsageError(f"alpha is {tuple(alpha)}, but must be numbers above 0, one for each loss")
    if not 0 <= vertices <= 1:
        raise UsageError(f"vertices is {vertices}, but must be between 0 and 1")
    # normalised gamma variates, as Gamma(a) = Gamma(a + 1) U^(1/a) in logarithms: those of a small alpha underflow themselves
    rates = torch.tensor(list(alpha), dtype=torch.float64).expand(count, len(alpha))
    uniform = torch.rand(rates.shape, generator=generator, dtype=torch.float64).clamp_min(1e-300)
    mixes = (torch._standard_gamma(rates + 1, generator=generator).log() + uniform.log() / rates).softmax(1).float()
    if vertices > 0:
        alone = torch.rand(count, generator=generator) < vertices
        which = torch.randint(len(alpha), (count,), generator=generator)
        mixes = torch.where(alone[:, None], torch.eye(len(alpha))[which], mixes)
    return mixes


def simplex_grid(losses: int, points: int) -> Tensor:
    """All mixtures whose shares are multiples of 1 / (points - 1): float32 (P, L), P = C(points + L - 2, L - 1).

    The first row is all of the first loss, the last all of the last.

    Raises:
        UsageError: fewer than 1 loss or 2 points on an edge, or more than 20,000 mixtures.
    """
    if losses < 1 or points < 2:
        raise UsageError(f"a grid of {points} points for {losses} losses must have at least 2 and 1")
    steps = points - 1
    if math.comb(steps + losses - 1, losses - 1) > LARGEST_GRID:
        raise UsageError(f"a grid of {points} points for {losses} losses has more than {LARGEST_GRID:,} mixtures")
    # stars and bars: the gaps between L - 1 bars among `steps` stars
    counts = []
    for bars in itertools.combinations(range(steps + losses - 1), losses - 1):
        ends = (-1, *bars, steps + losses - 1)
        counts.append([after - before - 1 for before, after in itertools.pairwise(ends)])
    return torch.tensor(counts[::-1], dtype=torch.float32) / steps


def edge(start: int, end: int, *, losses: int, points: int) -> Tensor:
    """Mixtures from all of loss `start` to all of loss `end`, evenly spaced: float32 (points, L)."""
    share = torch.linspace(0, 1, points)[:, None]
    corners = torch.eye(losses)
    return (1 - share) * corners[start] + share * corners[end]


def on_simplex(mix: Tensor) -> bool:
    """Whether the shares along the loss dimension (see `Mix`) are at least 0 and of sum 1, up to 0.02."""
    axis = mix.ndim - 3 if mix.ndim >= 3 else mix.ndim - 1
    return bool((mix >= -TOLERANCE).all() and ((mix.sum(axis) - 1).abs() <= TOLERANCE).all())


def as_mix(mix: Mix, names: Sequence[str]) -> Tensor:
    """What a person gives as a mixture, as a float tensor of the shapes of `Mix`. Tensors are not looked into.

    Warns:
        OffSimplexWarning: numbers that are not on the simplex; tensors are taken as they are, for speed.

    Raises:
        UsageError: an unknown name, another number of shares than losses, or a share that is no finite number.
    """
    if isinstance(mix, Tensor):
        axis = mix.ndim - 3 if mix.ndim >= 3 else mix.ndim - 1
        if not 1 <= mix.ndim <= 4 or mix.shape[axis] != len(names):
            raise UsageError(
                f"mix has the shape {tuple(mix.shape)}, but must be (L,), (N, L), (L, H, W) or (N, L, H, W) with L = "
                f"{len(names)}: {', '.join(names)}"
            )
        return mix
    values = _shares(mix, names)
    # in plain numbers, so that a compiled model need not look into a tensor
    if min(values) < -TOLERANCE or abs(sum(values) - 1) > TOLERANCE:
        text = ", ".join(f"{name} {value:g}" for name, value in zip(names, values, strict=True))
        warnings.warn(
            f"the mixture {text} is off the simplex (shares at least 0, of sum 1) that training covered",
            OffSimplexWarning,
            stacklevel=_to_caller(),
        )
    return torch.tensor(values)


def batched(mix: Tensor, count: int) -> Tensor:
    """A mixture of any of `Mix`'s tensor shapes as one for each of `count` samples: (N, L) or (N, L, H, W).

    Raises:
        UsageError: it has rows, but another number of them.
    """
    if mix.ndim in (1, 3):
        return mix.expand(count, *mix.shape)
    if len(mix) not in (1, count):
        raise UsageError(f"mix has {len(mix)} rows, but must have one or as many as there are samples: {count}")
    return mix.expand(count, *mix.shape[1:])


def _to_caller() -> int:
    """How many calls up, for a warning of the function that asks, the first is that is neither of torch nor of this package."""
    ours = (str(Path(torch.__file__).parent), str(Path(__file__).parent))
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(ours):
        frame, level = frame.f_back, level + 1
    return level


def _shares(mix: Sequence[float] | Mapping[str, float], names: Sequence[str]) -> list[float]:
    if isinstance(mix, Mapping):
        unknown = next((name for name in mix if name not in names), None)
        if unknown is not None:
            raise UsageError(f"mix has {unknown!r}, but the losses are {', '.join(names)}")
        values = [mix.get(name, 0.0) for name in names]
    else:
        values = list(mix)
    if len(values) != len(names):
        raise UsageError(f"mix has {len(values)} shares, but must have {len(names)}: {', '.join(names)}")
    found = [float(value) for value in values]
    if not all(map(math.isfinite, found)):
        raise UsageError(f"mix is {found}, but must be finite numbers")
    return found
