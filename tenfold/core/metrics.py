"""Numbers that say how good a result is, and how sure one can be of them. Importing this module loads no torch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

BLANK = "\N{EN DASH}"
"""what a table shows where a row has no such metric"""


class Accuracy:
    """The share of predictions that are right, gathered over batches without waiting for the device.

    Example:
        accuracy = Accuracy()
        for images, targets in batches:
            accuracy.update(model(images), targets)
        accuracy.counts = fabric.all_reduce(accuracy.counts, reduce_op="sum")  # only with several processes
        accuracy.value
    """

    counts: Tensor
    """int64 of shape (2,): right predictions and all predictions; add them up over processes"""

    def __init__(self) -> None:
        import torch

        self.counts = torch.zeros(2, dtype=torch.int64)

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Count one batch; an empty one changes nothing.

        Args:
            logits: scores of shape (N, classes) or (N, classes, ...), of any real type. A prediction with a NaN among
                its scores is wrong whatever the target.
            targets: class indices of shape (N) or (N, ...), the shape of `logits` without its second dimension.

        Raises:
            UsageError: the shapes do not fit each other.
        """
        expected = (*logits.shape[:1], *logits.shape[2:])
        if logits.ndim < 2 or tuple(targets.shape) != expected:
            raise UsageError(
                f"targets have shape {tuple(targets.shape)} and logits {tuple(logits.shape)},"
                " but must be (N, ...) and (N, classes, ...)"
            )
        if targets.numel() == 0:
            return
        # argmax would take a NaN for the largest score, so that a diverged network would be right now and then
        right = (logits.argmax(dim=1) == targets) & ~logits.isnan().any(dim=1)
        self.counts = self.counts.to(right.device)
        self.counts[0] += right.sum()
        self.counts[1] += right.numel()

    @property
    def value(self) -> float:
        """The accuracy in [0, 1]; NaN while nothing has been counted."""
        right, total = self.counts.tolist()
        return right / total if total else math.nan


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """The mean and the sample standard deviation (divided by n - 1; 0 for a single value).

    Returns:
        Both in the unit of the values. The spread is NaN when any of several values is infinite or NaN.

    Raises:
        UsageError: there are no values.
    """
    if not values:
        raise UsageError("a mean was asked of no values, but must have at least 1")
    if len(values) == 1:
        return float(values[0]), 0.0
    if not all(map(math.isfinite, values)):
        return sum(values) / len(values), math.nan
    if min(values) == max(values):  # a mean of equal values can be off by a rounding error, and then has a spread
        return float(values[0]), 0.0
    mean = statistics.fmean(values)
    return mean, math.hypot(*(value - mean for value in values)) / math.sqrt(len(values) - 1)


@dataclass(frozen=True)
class Cell:
    """One metric of one row over the finished runs of a table that report it."""

    mean: float
    spread: float
    """sample standard deviation over the runs; 0 for a single one"""
    n: int


@dataclass(frozen=True)
class Table:
    """Runs of one verb and preset with the same settings but for the seed; rows and columns in order of appearance."""

    verb: str
    preset: str
    runs: tuple[Path, ...]
    seeds: tuple[int, ...]
    """seeds of the finished runs, which are the ones in the cells"""
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]
    """(row, column) -> cell; a row without such a metric has no entry"""
    differing: Mapping[str, object]
    """the settings, by dotted name, that set this table apart from others of its verb and preset"""

    @property
    def name(self) -> str:
        """For instance "resize, laptop, data.name = cifar10"."""
        return ", ".join(
            (self.verb, self.preset, *(f"{name} = {plain_text(value)}" for name, value in self.differing.items()))
        )

    @property
    def basis(self) -> str:
        """For instance "mean ± sample standard deviation over 3 runs, seeds 0, 1 and 2"; what the cells rest on."""
        runs = {cell.n for cell in self.cells.values()}
        if not runs:
            return "no finished run yet"
        seeds = f", {seed_names(self.seeds)}" if self.seeds else ""
        if runs == {1}:
            return f"1 run{seeds}"
        most = f"mean ± sample standard deviation over {max(runs)} runs{seeds}"
        return most if len(runs) == 1 else f"{most}; n is given where it is smaller"

    def parts(self) -> list[Table]:
        """The table cut between rows that measure different things: of two neighbours in a part, one has all columns of the other."""
        parts: list[tuple[list[str], set[str]]] = []
        for row in self.rows:
            own = {column for column in self.columns if (row, column) in self.cells}
            if parts and (own <= parts[-1][1] or own >= parts[-1][1]):
                parts[-1] = ([*parts[-1][0], row], parts[-1][1] | own)
            else:
                parts.append(([row], own))
        return [
            replace(
                self,
                rows=tuple(rows),
                columns=tuple(column for column in self.columns if column in columns),
                cells={(row, column): cell for (row, column), cell in self.cells.items() if row in rows},
            )
            for rows, columns in parts
        ]

    def text(self, row: str, column: str) -> str:
        """A cell as people read it, "0.8810 ± 0.0021" or an en dash, with as many decimals as its whole column."""
        cell = self.cells.get((row, column))
        if cell is None:
            return BLANK
        form = _number_format(other.mean for (_, name), other in self.cells.items() if name == column)
        most = max(other.n for other in self.cells.values())
        spread = f" ± {cell.spread:{form}}" if cell.spread != 0 else " ± 0"
        return f"{cell.mean:{form}}{spread if cell.n > 1 else ''}{f' (n={cell.n})' if cell.n < most else ''}"


def plain_text(value: object) -> str:
    """A setting as people read it, for instance "none" or "0.5, 1.0"."""
    if isinstance(value, list):
        return ", ".join(map(plain_text, value)) or "none"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def seed_names(seeds: Sequence[int]) -> str:
    """For instance "seed 0" or "seeds 0, 1 and 2"; at least one seed."""
    names = [str(seed) for seed in seeds]
    return f"seed {names[0]}" if len(names) == 1 else f"seeds {', '.join(names[:-1])} and {names[-1]}"


def _number_format(values: Iterable[float]) -> str:
    """Decimals that give the largest value four digits; where they would hide the smallest, three digits for each."""
    sizes = [abs(value) for value in values if math.isfinite(value) and value != 0]
    if not sizes or all(size == int(size) and size >= 10 for size in sizes):
        return ",.0f" if sizes else ".3f"
    decimals = min(4, max(0, 3 - math.floor(math.log10(max(sizes)))))
    return f",.{decimals}f" if min(sizes) >= 10.0**-decimals else ".3g"
