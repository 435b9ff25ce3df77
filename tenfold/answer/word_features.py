"""Words as vectors: a fixed table of word vectors, and a convolution over each word's characters (equation 4's first two parts)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

LONGEST = 16
"""characters of a word that are read, at most"""
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-'.,+%/"
"""characters of their own; all others share one"""
UNKNOWN = len(ALPHABET) + 1


def spell(words: Sequence[str]) -> Tensor:
    """Characters of words as numbers, int64 (W, 16): 0 is padding, the last number is any character that is not in the alphabet."""
    table = torch.zeros((len(words), LONGEST), dtype=torch.int64)
    for row, word in enumerate(words):
        codes = [ALPHABET.find(character) + 1 or UNKNOWN for character in word[:LONGEST]]
        table[row, : len(codes)] = torch.tensor(codes, dtype=torch.int64)
    return table


class WordTables(Protocol):
    """Where words get their numbers, such as a `WordBank`."""

    size: int
    """changes whenever the tables do"""

    def tables(self) -> tuple[Tensor, Tensor]:
        """Vectors (R, dim) and characters (W, 16) of all words so far."""
        ...


class CharacterConvolution(nn.Module):
    """A word from its characters: embedding, convolutions of widths 2, 3 and 4, the largest value over the word.

    Args:
        width: of the result; the three widths share it as evenly as it goes.
        embedding: width of a character.
    """

    def __init__(self, width: int, embedding: int = 16) -> None:
        super().__init__()
        shares = [width // 3 + (place < width % 3) for place in range(3)]
        self.embedding = nn.Embedding(UNKNOWN + 1, embedding, padding_idx=0)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(embedding, share, kernel, padding=kernel - 1)
            for kernel, share in zip((2, 3, 4), shares, strict=True)
        )

    def forward(self, spelled: Tensor) -> Tensor:
        """int64 (W, 16) -> (W, width)."""
        letters = self.embedding(spelled).transpose(1, 2)
        return torch.cat([convolution(letters).amax(-1) for convolution in self.convolutions], dim=1).tanh()


class WordFeatures(nn.Module):
    """[word vector ; character convolution] for words given by number.

    The tables are not parameters and no part of the state: they belong to the texts that are read (`WordBank`).

    Args:
        vectors: width of the word vectors.
        characters: width of the character convolution; 0 leaves it out.

    Attributes:
        width: of a word's features.
    """

    table: Tensor
    spelling: Tensor

    def __init__(self, vectors: int, characters: int) -> None:
        super().__init__()
        self.characters = CharacterConvolution(characters) if characters else None
        self.width = vectors + characters
        self._source: WordTables | None = None
        self._known = -1
        self.register_buffer("table", torch.zeros(1, vectors), persistent=False)
        self.register_buffer("spelling", torch.zeros(1, LONGEST, dtype=torch.int64), persistent=False)

    def read_from(self, source: WordTables) -> None:
        """Take words from these tables from now on, also those that they get later."""
        self._source, self._known = source, -1

    def _look_up(self) -> None:
        """Fetch the tables again where they have grown."""
        if self._source is not None and self._source.size != self._known:
            table, spelling = self._source.tables()
            self._known = self._source.size
            self.table, self.spelling = table.to(self.table.device), spelling.to(self.spelling.device)

    def forward(self, rows: Tensor, words: Tensor) -> Tensor:
        """int64 (...) and int64 (...) -> (..., width)."""
        self._look_up()
        vectors = self.table[rows].float()
        if self.characters is None:
            return vectors
        # each different word once: a batch has some hundred of them, and thousands of places
        different, place = _different(words)
        return torch.cat([vectors, self.characters(self.spelling[different])[place]], dim=-1)


def _different(words: Tensor) -> tuple[Tensor, Tensor]:
    """The different numbers in the order in which they first come, and the place of each among those.

    Not in the order of the numbers: these depend on what was read before, and sums in another order are rounded otherwise.
    """
    different, place = words.unique(return_inverse=True)
    first = torch.full_like(different, words.numel())
    first.scatter_reduce_(0, place.flatten(), torch.arange(words.numel(), device=words.device), "amin")
    order = first.argsort()
    return different[order], order.argsort()[place]
