"""Every word that was read, by number: the tables that `WordFeatures` takes vectors and characters from."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from .vectors import WordVectors
from .word_features import spell

Words = tuple[str, ...]


class WordBank:
    """Numbers for the words of texts, and the tables behind them, which grow as texts are added.

    Of vectors that depend on the context each occurrence has a row of its own; of others each word has one.

    Args:
        vectors: of the words.

    Attributes:
        size: texts so far.
    """

    def __init__(self, vectors: WordVectors) -> None:
        self.vectors = vectors
        self._words: dict[str, int] = {"": 0}
        self._rows: dict[Words, Tensor] = {}
        self._tables: list[Tensor] = [torch.zeros(1, vectors.dim)]  # row 0 is padding
        self._count = 1
        self.size = 0
        self._spelled: list[Tensor] = [spell([""])]

    def add(self, texts: Iterable[Words]) -> None:
        """Make texts known; all new ones are looked up together."""
        new = [text for text in dict.fromkeys(texts) if text not in self._rows]
        self.size += len(new)
        fresh = [word for word in dict.fromkeys(word for text in new for word in text) if word not in self._words]
        for word in fresh:
            self._words[word] = len(self._words)
        self._spelled.append(spell(fresh))
        if not self.vectors.contextual:
            if fresh:
                self._tables.append(torch.cat(self.vectors.of([(word,) for word in fresh])))
            for text in new:
                self._rows[text] = self.words(text)
            return
        for text, vectors in zip(new, self.vectors.of(new), strict=True):
            self._rows[text] = torch.arange(self._count, self._count + len(text))
            self._tables.append(vectors.half())
            self._count += len(text)

    def rows(self, text: Words) -> Tensor:
        """int64 (T,): rows of the table of vectors for a text that was added."""
        return self._rows[text]

    def words(self, text: Words) -> Tensor:
        """int64 (T,): rows of the table of characters for a text that was added."""
        return torch.tensor([self._words[word] for word in text], dtype=torch.int64)

    def tables(self) -> tuple[Tensor, Tensor]:
        """Vectors (R, dim) and characters (W, 16) of all words so far."""
        half = self.vectors.contextual  # a row for every occurrence takes much memory
        self._tables = [torch.cat([table.half() if half else table for table in self._tables])]
        self._spelled = [torch.cat(self._spelled)]
        return self._tables[0], self._spelled[0]
