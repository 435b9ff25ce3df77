"""Word vectors: the interface that graphs and readers use, the look-up table, and the loader of all kinds.

`StaticVectors` gives a word the same vector everywhere: GloVe's (`glove`), or those fitted on the book itself (`book_vectors`).
So does `HashedVectors`, which knows nothing but which words are the same. A sentence encoder's (`sentence_encoder`) depend on
the sentence around the word.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.batches import derive_seed
from ..core.config import require
from ..core.errors import UsageError
from ..core.number_files import check_finite
from .config import WordSettings
from .textbook import Textbook
from .words import split_sentences, split_words

VECTORS = ("hashed", "book", "glove", "encoder")
"""the kinds that `load_vectors` knows"""
_JOINTS = re.compile("[-\u2010\u2011\u2013'\u2019]+")


class WordVectors(ABC):
    """Gives each word of a text a vector."""

    name: str
    dim: int
    """D, the numbers of a vector"""
    contextual: bool
    """whether a word's vector depends on the words around it"""

    @abstractmethod
    def of(self, texts: Sequence[Sequence[str]]) -> list[Tensor]:
        """The vectors of texts, each given as its words in their order.

        Returns:
            float32 (words, D) on the CPU for each text; an unknown word is a row of zeros.
        """


class StaticVectors(WordVectors):
    """A table with a row for each word. What it lacks as written it looks up in lower case, then in parts; see `spellings`."""

    contextual = False

    def __init__(self, name: str, words: Sequence[str], table: Tensor) -> None:
        """Vectors `table` (V, D) of V different words.

        Raises:
            UsageError: words and rows do not match, a word is there twice, or a number is not finite.
        """
        if table.ndim != 2 or 0 in table.shape or len(words) != len(table):
            raise UsageError(
                f"{name} has {len(words)} words and a table of shape {tuple(table.shape)}, but must have a row for each word"
            )
        check_finite(table, name)
        self.name = name
        self.words = tuple(words)
        self.table = table.detach().float().cpu()
        self.dim = table.shape[1]
        self._rows = {word: row for row, word in enumerate(self.words)}
        if len(self._rows) != len(self.words):
            twice = next(word for row, word in enumerate(self.words) if self._rows[word] != row)
            raise UsageError(f"{name} has the word {twice!r} more than once")

    def of(self, texts: Sequence[Sequence[str]]) -> list[Tensor]:
        """See `WordVectors.of`."""
        return _assembled(texts, self._vector, self.dim)

    def coverage(self, texts: Sequence[Sequence[str]]) -> float:
        """Share in [0, 1] of the texts' words, each counted as often as it occurs, that have a vector; 0 where there are none."""
        found = [bool(self._found(word)) for words in texts for word in words]
        return sum(found) / max(1, len(found))

    def state(self) -> dict[str, Any]:
        """What `of_state` makes the same vectors of, for a checkpoint."""
        return {"name": self.name, "words": list(self.words), "table": self.table}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> StaticVectors:
        """The vectors that `state` was asked of.

        Raises:
            UsageError: the state is not of this kind, or its parts do not match.
        """
        if set(state) != {"name", "words", "table"}:
            raise UsageError(f"the state of word vectors has {', '.join(state)}, but must have name, words and table")
        return cls(state["name"], state["words"], state["table"])

    def _found(self, word: str) -> list[int]:
        """Rows whose mean is the word's vector; none where the word is unknown."""
        for spelling in (word, word.lower()):
            if spelling in self._rows:
                return [self._rows[spelling]]
        return [self._rows[part] for part in _parts(word) if part in self._rows]

    def _vector(self, word: str) -> Tensor:
        rows = self._found(word)
        return self.table[rows].mean(0) if rows else torch.zeros(self.dim)


class HashedVectors(WordVectors):
    """A random vector for each word there is, of standard normal numbers that follow from the seed and the word. Ours."""

    contextual = False

    def __init__(self, dim: int = 64, seed: int = 0) -> None:
        """Vectors of `dim` numbers, at least 1.

        Raises:
            UsageError: `dim` is less.
        """
        require(dim >= 1, "dim", dim, "at least 1")
        self.name = "hashed"
        self.dim = dim
        self.seed = seed

    def of(self, texts: Sequence[Sequence[str]]) -> list[Tensor]:
        """See `WordVectors.of`; no word is unknown."""
        return _assembled(texts, self._vector, self.dim)

    def _vector(self, word: str) -> Tensor:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "word", word))
        return torch.randn(self.dim, generator=generator)


def _assembled(texts: Sequence[Sequence[str]], vector: Callable[[str], Tensor], dim: int) -> list[Tensor]:
    """The vectors of texts whose words have the same vector everywhere; each different word's is made once."""
    known = {word: vector(word) for word in {word for words in texts for word in words}}
    return [torch.stack([known[word] for word in words]) if words else torch.zeros(0, dim) for words in texts]


def spellings(word: str) -> tuple[str, ...]:
    """All that `StaticVectors` may look up for a word: itself, its lower case, and that's parts.

    Parts stand between hyphens and apostrophes. A part of one letter, such as the s of "earth's", is passed over.
    """
    return tuple(dict.fromkeys((word, word.lower(), *_parts(word))))


def _parts(word: str) -> list[str]:
    parts = _JOINTS.split(word.lower())
    return [part for part in parts if len(part) > 1] if len(parts) > 1 else []


def load_vectors(
    name: str, *, path: Path | None = None, texts: Sequence[str] = (), dim: int = 64, seed: int = 0
) -> WordVectors:
    """Word vectors of one of the kinds in `VECTORS`.

    Args:
        name: `hashed` are random; `book` fits them on `texts`; `glove` reads them from a file or folder; `encoder` is a sentence
            encoder in a folder.
        path: where glove or encoder are; the others use none.
        texts: the book's paragraphs. Where glove is given some, it keeps only their words, which saves memory.
        dim: numbers of a vector of hashed and book, at least 1.
        seed: of hashed and book.

    Raises:
        UsageError: there is no such kind, or the path is not given or not readable as what it must be.
    """
    if name not in VECTORS:
        raise UsageError(f"word vectors are {name!r}, but must be one of {', '.join(VECTORS)}")
    if name == "hashed":
        return HashedVectors(dim, seed)
    if name == "book":
        from .book_vectors import fit_book_vectors

        return fit_book_vectors(_sentences(texts), dim=dim, seed=seed)
    if path is None:
        raise UsageError(f"word vectors of the kind {name} need the path of their {_FILES[name]}")
    if name == "glove":
        from .glove import read_glove

        words = {spelling for words in _sentences(texts) for word in words for spelling in spellings(word)}
        return read_glove(path, keep=words if texts else None)
    from .sentence_encoder import EncoderVectors, SentenceEncoder

    return EncoderVectors(SentenceEncoder.load(path))


def vectors_for(settings: WordSettings, books: Iterable[Textbook]) -> WordVectors:
    """The word vectors that settings name; those of the kind "book" are fitted on these books."""
    texts: list[str] = []
    if settings.vectors == "book":
        texts = [paragraph.text for book in books for paragraph in book.paragraphs]
    return load_vectors(settings.vectors, path=settings.path, texts=texts, dim=settings.dim)


def kept_vectors(vectors: WordVectors) -> dict[str, Any] | None:
    """The state of vectors that are fitted, for a checkpoint; None of those that can be made again."""
    return vectors.state() if isinstance(vectors, StaticVectors) and vectors.name == "book" else None


_FILES = {
    "glove": "file, such as glove.6B.50d.txt",
    "encoder": "folder, which holds model.safetensors and tokenizer.json",
}


def _sentences(texts: Sequence[str]) -> list[list[str]]:
    sentences = (sentence for text in texts for sentence in split_sentences(text))
    return [[word.text for word in split_words(sentence)] for sentence in sentences]
