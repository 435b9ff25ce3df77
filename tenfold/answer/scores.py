"""Accuracies in the columns of the published tables of TQA, and how sure they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..core.batches import derive_seed
from .textbook import Kind, Textbook

COLUMNS: Mapping[str, tuple[Kind, ...]] = {
    "true-false": ("true or false",),
    "text choice": ("multiple choice",),
    "text all": ("true or false", "multiple choice"),
    "diagram": ("diagram",),
    "all": ("true or false", "multiple choice", "diagram"),
}
"""columns of the published tables, and the questions that each counts"""
Bits = NDArray[np.float64]


class Scores:
    """Which questions of a book were answered rightly.

    Args:
        right: 1 or 0 for each question whose answer is known, by name.
        kinds: the kind of each.
    """

    def __init__(self, right: Mapping[str, float], kinds: Mapping[str, Kind]) -> None:
        self.right = dict(right)
        self.kinds = {name: kinds[name] for name in right}

    def bits(self, column: str = "all") -> Bits:
        """1 or 0 for each question of a column, in the book's order."""
        chosen = COLUMNS[column]
        return np.array([value for name, value in self.right.items() if self.kinds[name] in chosen])

    def columns(self) -> dict[str, float]:
        """The share of right answers in each column that has questions."""
        found = {column: self.bits(column) for column in COLUMNS}
        return {column: float(bits.mean()) for column, bits in found.items() if len(bits)}

    @property
    def count(self) -> int:
        """Questions whose answer is known."""
        return len(self.right)


def score(book: Textbook, probabilities: Mapping[str, Tensor | Sequence[float]]) -> Scores:
    """Compare probabilities with the known answers. Of several largest ones each counts its share.

    Args:
        book: with answers; questions without one are not counted.
        probabilities: of each question's choices, by the question's name.

    Raises:
        KeyError: a question is missing.
    """
    right: dict[str, float] = {}
    kinds: dict[str, Kind] = {}
    for _, question in book.pairs():
        if question.answer is None:
            continue
        row = np.asarray(probabilities[question.name], dtype=np.float64)
        best = row >= row.max()
        right[question.name] = float(best[question.answer] / best.sum())
        kinds[question.name] = question.kind
    return Scores(right, kinds)


def interval(values: Bits, *, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over questions.

    Args:
        values: (Q,) one for each question: right or wrong, its mean over trainings, or a difference of two such.
        resamples: how often questions are drawn anew.
        seed: of that.
    """
    if not len(values):
        return float("nan"), float("nan")
    random = np.random.default_rng(derive_seed(seed, "interval"))
    means = [values[random.integers(len(values), size=len(values))].mean() for _ in range(resamples)]
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
