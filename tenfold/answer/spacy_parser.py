"""Dependency parsers of spaCy: any installed pipeline, for any language that spaCy has one of."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from ..core.errors import UsageError
from .parsing import Parse, parse_of
from .words import split_words


class SpacyParser:
    """Parses with a pipeline of spaCy, an optional library.

    spaCy's tokens are not the words of `split_words`: a word of several tokens has the links of all of them, and tokens that are
    no part of a word, such as marks of punctuation, are passed through, so that what depends on one depends on its head.

    Example:
        parser = SpacyParser("en_core_web_sm")           # after: python -m spacy download en_core_web_sm
        parser(["Ice melts."])
    """

    def __init__(self, pipeline: str) -> None:
        """Load a pipeline.

        A package's own code is imported; a folder only names components, which must be registered already. spaCy reads settings,
        words and weights as JSON, msgpack and plain arrays, and PyTorch's as tensors alone, so that nothing is unpickled to
        objects. A component of another package reads what it likes: load pipelines with such from people you trust.

        Args:
            pipeline: name of an installed package, or path of a folder that `nlp.to_disk` wrote.

        Raises:
            ModuleNotFoundError: spaCy is not installed.
            UsageError: there is no such pipeline, it cannot be read, or nothing in it parses.
        """
        spacy = importlib.import_module("spacy")
        self.name = f"spacy:{pipeline}"
        try:
            self._pipeline: Any = spacy.load(pipeline, exclude=["ner", "textcat"])
        except ModuleNotFoundError:
            raise
        except Exception as error:  # spaCy, thinc and the pipeline's own code raise almost anything on a damaged folder
            raise UsageError(
                f"spaCy cannot load the pipeline {pipeline!r}, which must be the name of an installed one or its folder "
                f"(python -m spacy download en_core_web_sm installs one): {_first_sentence(error)}"
            ) from error
        if not self._parses():
            raise UsageError(
                f"the pipeline {pipeline!r} of spaCy does not parse dependencies, but must have a parser, as en_core_web_sm has "
                "(python -m spacy download en_core_web_sm installs it)"
            )

    def __call__(self, sentences: Sequence[str]) -> list[Parse]:
        """One parse for each sentence, in their order."""
        documents = self._pipeline.pipe(sentences)
        return [_parse_of(document, sentence) for document, sentence in zip(documents, sentences, strict=True)]

    def _parses(self) -> bool:
        """Whether any component says that it sets heads, or is a parser."""
        sets = {
            attribute for name in self._pipeline.pipe_names for attribute in self._pipeline.get_pipe_meta(name).assigns
        }
        return bool(sets & {"token.head", "token.dep"})


def _parse_of(document: Any, sentence: str) -> Parse:
    """The parse of a spaCy document in the words of `split_words`."""
    words = split_words(sentence)
    word_at = {place: number for number, word in enumerate(words) for place in range(word.start, word.end)}
    heads = [token.head.i for token in document]
    numbers = [_word_of(token.idx, len(token), word_at) for token in document]
    links = []
    for token, number in enumerate(numbers):
        head = _nearest_word(token, heads, numbers)
        if number is not None and head is not None:
            links.append((number, head))
    return parse_of([word.text for word in words], links)


def _word_of(start: int, length: int, word_at: dict[int, int]) -> int | None:
    """The first word that a token has letters of; None for a mark or a space."""
    return next((word_at[place] for place in range(start, start + length) if place in word_at), None)


def _nearest_word(token: int, heads: Sequence[int], numbers: Sequence[int | None]) -> int | None:
    """The word of the first token above this one that is part of a word; None where there is none up to the root."""
    while heads[token] != token:
        token = heads[token]
        if numbers[token] is not None:
            return numbers[token]
    return None


def _first_sentence(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
