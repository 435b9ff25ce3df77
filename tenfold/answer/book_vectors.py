"""Word vectors fitted on the book alone: they need no file and no label.

Words that keep the same company are alike: the positive pointwise mutual information of words near each other, and its best
approximation of low rank. A book has too few words for the many meanings that files of vectors know, but it has its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch

from ..core.batches import derive_seed
from ..core.config import require
from ..core.errors import UsageError
from .vectors import StaticVectors

Numbers = np.ndarray[Any, np.dtype[Any]]
_SMOOTHING = 0.75
"""power of the counts of neighbours: a rare neighbour says less than its count alone would have it"""
_DENSE = 512
"""up to so many words all singular values are computed; beyond, only the largest"""


def fit_book_vectors(
    sentences: Sequence[Sequence[str]], *, dim: int = 64, window: int = 5, least: int = 1, seed: int = 0
) -> StaticVectors:
    """Vectors of a book's words, in lower case, the most frequent first. Ours; the same for the same sentences and seed.

    A word's row is its row of U sqrt(S), where U S V^T is the truncated singular value decomposition of the words' positive
    pointwise mutual information, scaled to the length sqrt(dim), so that a number is 1 in root mean square. A book whose matrix
    has a rank below `dim` gets as many columns that say something, and zeros in the others; a word without any company gets
    zeros alone.

    Args:
        sentences: each as its words. No window reaches beyond its sentence.
        dim: D, the numbers of a vector, at least 1.
        window: neighbours on either side of a word, at least 1.
        least: words that occur less often are left out, at least 1; they keep their places.
        seed: of the decomposition's start, which decides only the last digits.

    Raises:
        UsageError: a setting is out of its range, or no word occurs often enough.
    """
    for name, value in (("dim", dim), ("window", window), ("least", least)):
        require(value >= 1, name, value, "at least 1")
    lowered = [[word.lower() for word in words] for words in sentences]
    counts = Counter(word for words in lowered for word in words)
    kept = sorted((word for word, count in counts.items() if count >= least), key=lambda word: (-counts[word], word))
    if not kept:
        raise UsageError(f"the book has no word that occurs {least} times or more, so no word vectors can be fitted")
    information = _positive_information(_neighbours(lowered, kept, window))
    table = np.zeros((len(kept), dim))
    factors = _factors(information, min(dim, len(kept)), seed)
    table[:, : factors.shape[1]] = factors
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    table *= np.divide(np.sqrt(dim), lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return StaticVectors("book", kept, torch.from_numpy(table).float())


def _neighbours(sentences: Sequence[Sequence[str]], kept: Sequence[str], window: int) -> Any:
    """How often each word (row) has each word (column) in its window: a sparse matrix (V, V), symmetric."""
    places = {word: place for place, word in enumerate(kept)}
    gap = [-1] * window
    line = np.array(gap + [place for words in sentences for place in [places.get(w, -1) for w in words] + gap])
    pairs = [np.stack([line[:-distance], line[distance:]]) for distance in range(1, window + 1)]
    left, right = np.concatenate(pairs, 1)
    both = (left >= 0) & (right >= 0)
    left, right = left[both], right[both]
    sparse = import_module("scipy.sparse")
    shape = (len(kept), len(kept))
    counts = sparse.coo_array((np.ones(len(left)), (left, right)), shape=shape).tocsr()
    return counts + counts.T


def _positive_information(counts: Any) -> Any:
    """max(0, log p(word, neighbour) - log p(word) p(neighbour)), where that is positive; the last p from smoothed counts."""
    pairs = counts.tocoo()
    words = counts.sum(1)
    smoothed = counts.sum(0) ** _SMOOTHING
    row, column = pairs.coords
    expected = words[row] * smoothed[column] / max(smoothed.sum(), 1.0)
    information = np.log(pairs.data / expected)
    positive = information > 0
    sparse = import_module("scipy.sparse")
    return sparse.csr_array((information[positive], (row[positive], column[positive])), shape=counts.shape)


def _factors(matrix: Any, rank: int, seed: int) -> Numbers:
    """U sqrt(S) of the largest singular values, at most `rank` of them, largest first; (V, R).

    Each column's number of largest size is positive: a decomposition leaves the signs open, and they would differ by machine.
    """
    if not matrix.nnz:  # the iteration for large matrices fails on it
        return np.zeros((matrix.shape[0], 0))
    if matrix.shape[0] <= max(_DENSE, rank):
        left, values, _ = np.linalg.svd(matrix.toarray())
        left, values = left[:, :rank], values[:rank]
    else:
        start = np.random.default_rng(derive_seed(seed, "book vectors")).standard_normal(matrix.shape[0])
        left, values, _ = import_module("scipy.sparse.linalg").svds(matrix, k=rank, v0=start)
        largest_first = np.argsort(-values)
        left, values = left[:, largest_first], values[largest_first]
    says_something = values > 1e-6 * values[0]
    left, values = left[:, says_something], values[says_something]
    peaks = left[np.abs(left).argmax(0), np.arange(left.shape[1])]
    return left * np.sign(peaks) * np.sqrt(values)
