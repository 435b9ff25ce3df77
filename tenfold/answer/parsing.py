"""Dependency parsers: which words of a sentence depend on one another. Their interface, the simplest one, and a cache.

`load_parser` gives one by name. The others are in modules of their own: `rules`, `link_grammar` and `spacy_parser`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import quote

from ..core.errors import UsageError
from .words import split_words

PARSERS = ("rules", "link-grammar", "window")
"""names that `load_parser` knows, besides spacy:PIPELINE"""


class Parse(NamedTuple):
    """Words of one sentence, and which of them depend on one another."""

    words: tuple[str, ...]
    """as `split_words` gives them"""
    links: tuple[tuple[int, int], ...]
    """places (i, j) in `words` with i < j, sorted, none twice; the direction is not kept"""


class DependencyParser(Protocol):
    """Anything that parses sentences."""

    @property
    def name(self) -> str:
        """Tells parsers of different results apart."""

    def __call__(self, sentences: Sequence[str]) -> list[Parse]:
        """One parse for each sentence, in their order."""


def load_parser(name: str) -> DependencyParser:
    """The parser of a name.

    Args:
        name: "rules" (English, needs nothing), "link-grammar" (English, Debian's program), "spacy:NAME" (an installed pipeline,
            or its folder; any language), or "window" (each word with its next; any language).

    Raises:
        UsageError: there is no such parser, or its program or pipeline is not installed.
        ModuleNotFoundError: spaCy is not installed.
    """
    if name == "rules":
        from .rules import RuleParser

        return RuleParser()
    if name == "link-grammar":
        from .link_grammar import LinkGrammarParser

        return LinkGrammarParser()
    if name == "window":
        return WindowParser()
    kind, _, pipeline = name.partition(":")
    if kind == "spacy" and pipeline:
        from .spacy_parser import SpacyParser

        return SpacyParser(pipeline)
    raise UsageError(f"parser is {name!r}, but must be one of {', '.join(PARSERS)} or spacy:PIPELINE")


class WindowParser:
    """Links each word with its next: for languages that no other parser here knows."""

    name = "window"

    def __call__(self, sentences: Sequence[str]) -> list[Parse]:
        return [parse_of([word.text for word in split_words(sentence)], ()) for sentence in sentences]


def parse_of(words: Sequence[str], links: Iterable[tuple[int, int]]) -> Parse:
    """A parse of links in any direction and order, made whole: parts that no link joins are joined where they are neighbours.

    So its graph is connected, and of links that form no ring it becomes a tree.
    """
    part = list(range(len(words)))

    def root(place: int) -> int:
        while part[place] != place:
            part[place] = part[part[place]]
            place = part[place]
        return place

    kept = {(min(pair), max(pair)) for pair in links if pair[0] != pair[1]}
    for one, other in kept:
        part[root(one)] = root(other)
    for place in range(1, len(words)):
        if root(place - 1) != root(place):
            part[root(place - 1)] = root(place)
            kept.add((place - 1, place))
    return Parse(tuple(words), tuple(sorted(kept)))


class ParseCache:
    """A parser that parses each different sentence once, and may keep the parses in a file.

    The file is one of JSON lines, named after the parser. Several processes may add to it at once. Lines that are damaged, or
    cut off by a process that died, are passed over and their sentences parsed again.

    Example:
        parser = ParseCache(load_parser("link-grammar"), Path("cache"))
        parser(["Ice melts."])
    """

    def __init__(self, parser: DependencyParser, folder: Path | None = None) -> None:
        """`folder`: where the file is, made if it is missing; None keeps the parses in memory alone.

        Raises:
            UsageError: the folder is a file, or cannot be written to; found when the first sentence is parsed.
        """
        self.parser = parser
        self.file = None if folder is None else folder / f"{quote(parser.name, safe='')}.jsonl"
        self.hits = 0
        """sentences asked for that were known"""
        self.misses = 0
        """sentences that had to be parsed"""
        self._known: dict[str, Parse] | None = None

    @property
    def name(self) -> str:
        """The name of the parser whose parses are kept."""
        return self.parser.name

    def __call__(self, sentences: Sequence[str]) -> list[Parse]:
        """One parse for each sentence, in their order.

        Raises:
            UsageError: the folder is a file, or cannot be written to.
        """
        if self._known is None:
            self._known = self._read()
        known = self._known
        missing = [sentence for sentence in dict.fromkeys(sentences) if sentence not in known]
        self.misses += len(missing)
        self.hits += len(sentences) - len(missing)
        if missing:
            fresh = dict(zip(missing, self.parser(missing), strict=True))
            known.update(fresh)
            self._write(fresh)
        return [known[sentence] for sentence in sentences]

    def _read(self) -> dict[str, Parse]:
        if self.file is None or not self.file.is_file():
            return {}
        known = {}
        with self.file.open("rb") as lines:
            for line in lines:
                entry = _entry_of(line)
                # a pipeline may have been exchanged, or the rule for words: what does not fit the sentence is stale
                if entry is not None and entry[1].words == tuple(word.text for word in split_words(entry[0])):
                    known[entry[0]] = entry[1]
        return known

    def _write(self, fresh: dict[str, Parse]) -> None:
        if self.file is None:
            return
        lines = [json.dumps([sentence, parse.words, parse.links]) for sentence, parse in fresh.items()]
        # the first newline ends a line that another process left unfinished; one write keeps ours in one piece
        data = ("\n" + "\n".join(lines) + "\n").encode()
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                while data:
                    data = data[os.write(descriptor, data) :]
            finally:
                os.close(descriptor)
        except OSError as error:
            raise UsageError(f"{self.file} cannot be written to: {error.strerror or error}") from error


def _entry_of(line: bytes) -> tuple[str, Parse] | None:
    """The sentence and parse in a line of the file; None where it is no such line."""
    try:
        sentence, words, links = json.loads(line)
    except (ValueError, TypeError, RecursionError):
        return None
    if not isinstance(sentence, str) or not _is_list_of(words, str) or not _is_list_of(links, list):
        return None
    for pair in links:
        if not (_is_list_of(pair, int) and len(pair) == 2 and 0 <= pair[0] < pair[1] < len(words)):
            return None
    ordered = sorted({(pair[0], pair[1]) for pair in links})
    return sentence, Parse(tuple(words), tuple(ordered))


def _is_list_of(value: object, kind: type) -> bool:
    return isinstance(value, list) and all(type(item) is kind for item in value)
