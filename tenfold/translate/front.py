"""The trade-off surface of a dial: every loss at every mixture of a grid. P mixtures, L losses."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core.checkpoint import writing
from ..core.errors import UsageError
from ..core.modes import evaluating
from .mixture import simplex_grid


@dataclass(frozen=True)
class Front:
    """What a sweep found."""

    names: tuple[str, ...]
    """of the losses"""
    mixes: Tensor
    """float32 (P, L), the mixtures, those of a grid over the simplex"""
    losses: Tensor
    """float64 (P, L), the mean of each loss at each mixture"""

    def __post_init__(self) -> None:
        if self.mixes.shape != self.losses.shape or self.mixes.shape[1:] != (len(self.names),):
            raise UsageError(
                f"mixes {tuple(self.mixes.shape)} and losses {tuple(self.losses.shape)} must both be (P, {len(self.names)})"
            )

    def at(self, mix: Sequence[float] | Tensor) -> dict[str, float]:
        """The losses at the mixture of the grid that is nearest to `mix`, by name.

        Raises:
            UsageError: `mix` has not one share for each loss.
        """
        wanted = torch.as_tensor(mix, dtype=torch.float32)
        if wanted.shape != (len(self.names),):
            raise UsageError(
                f"mix is {wanted.tolist()}, but must have {len(self.names)} shares: {', '.join(self.names)}"
            )
        nearest = int((self.mixes - wanted).square().sum(1).argmin())
        return dict(zip(self.names, self.losses[nearest].tolist(), strict=True))

    def objective(self) -> Tensor:
        """sum_n S_n L_n at each mixture, float64 (P,)."""
        return (self.mixes * self.losses).sum(1)

    def non_dominated(self) -> Tensor:
        """Which mixtures are on the Pareto front: no other is as good in all losses and better in one. Bool (P,)."""
        known = ~self.losses.isnan().any(1)
        better = (self.losses[:, None] <= self.losses[None]).all(2) & (self.losses[:, None] < self.losses[None]).any(2)
        return known & ~better.any(0)

    def pick(self, minimize: str, **at_most: float) -> Tensor:
        """The mixture, (L,), of the least loss `minimize` among those that keep the other losses within bounds.

        Args:
            minimize: a loss.
            at_most: the largest value allowed of other losses, by name.

        Raises:
            UsageError: a loss is unknown, or no mixture keeps the bounds; the message has the least value to be had.
        """
        allowed = torch.ones(len(self.losses), dtype=torch.bool)
        for name, bound in at_most.items():
            column = self.losses[:, self._place(name)]
            allowed &= column <= bound
            if not (column <= bound).any():
                raise UsageError(f"{name} is at most {bound:g} nowhere: the least is {float(column.min()):g}")
        if not allowed.any():
            raise UsageError(f"no mixture keeps all of {at_most}")
        column = self.losses[:, self._place(minimize)].nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf)
        column[~allowed] = math.inf
        return self.mixes[int(column.argmin())]

    def regret(self, best: Tensor) -> Tensor:
        """How much larger the mixed objective is than the best possible one at each mixture, `best` (P,): float64 (P,)."""
        return self.objective() - best.double()

    def picture(self, path: Path | None = None) -> bytes:
        """A PNG: two losses against each other, three as triangles, more as one curve for each edge; also saved at `path`."""
        from .front_figure import front_figure

        return front_figure(self, path)

    def save(self, path: Path | str) -> None:
        """Write a .csv with a column for each share and each loss."""
        columns = [*(f"share {name}" for name in self.names), *(f"loss {name}" for name in self.names)]
        rows = torch.cat([self.mixes.double(), self.losses], 1).tolist()
        with writing(Path(path)), Path(path).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([columns, *rows])

    @classmethod
    def load(cls, path: Path | str) -> Front:
        """What `save` wrote.

        Raises:
            UsageError: the file is missing or damaged.
        """
        try:
            with Path(path).open(encoding="utf-8", newline="") as file:
                header, *rows = list(csv.reader(file))
            values = torch.tensor([[float(value) for value in row] for row in rows], dtype=torch.float64)
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read as the table of a front: {error}") from error
        count = len(header) // 2
        names = tuple(column.removeprefix("share ") for column in header[:count])
        wanted = [*(f"share {name}" for name in names), *(f"loss {name}" for name in names)]
        if not names or header != wanted or values.ndim != 2 or values.shape[1] != len(header):
            raise UsageError(
                f"{path} has the columns {', '.join(header)}, but must have a share and a loss of each name"
            )
        return cls(names, values[:, :count].float(), values[:, count:])

    def _place(self, name: str) -> int:
        if name not in self.names:
            raise UsageError(f"there is no loss {name!r}; the losses are {', '.join(self.names)}")
        return self.names.index(name)


@torch.no_grad()
def sweep(
    model: nn.Module,
    losses: Callable[[Tensor, Any, Tensor], Tensor],
    batches: Iterable[Any],
    *,
    names: Sequence[str],
    mixes: Tensor,
    forward: Callable[[Any, Tensor], Tensor],
    count: Callable[[Any], int],
) -> Front:
    """The mean losses of a model at each mixture; every batch is seen under all of them before the next is taken.

    Args:
        model: put into `eval` mode meanwhile.
        losses: (output, batch, shares (N, L)) -> (N, L).
        batches: as many as there are.
        names: of the losses.
        mixes: (P, L).
        forward: (batch, shares (N, L)) -> output.
        count: batch -> N.

    Raises:
        UsageError: there is no batch.
    """
    sums = torch.zeros(len(mixes), len(names), dtype=torch.float64)
    seen = 0
    with evaluating(model):
        for batch in batches:
            size = count(batch)
            for row, mix in enumerate(mixes):
                shares = mix.expand(size, -1)
                found = losses(forward(batch, shares), batch, shares)
                sums[row] += found.double().sum(0).cpu()
            seen += size
    if seen == 0:
        raise UsageError("there is nothing to sweep over: the loader gave no batch")
    return Front(tuple(names), mixes.cpu(), sums / seen)


def grid_of(grid: int | Tensor, losses: int) -> Tensor:
    """The mixtures that are asked for: points along each edge of the simplex, or the mixtures themselves, (P, L)."""
    if not isinstance(grid, Tensor):
        return simplex_grid(losses, grid)
    if grid.ndim != 2 or grid.shape[1] != losses or len(grid) == 0:
        raise UsageError(f"grid has the shape {tuple(grid.shape)}, but must be (P, {losses}), P at least 1")
    return grid.float()
