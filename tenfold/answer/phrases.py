"""The phrases of a tagged English sentence: runs of words that belong together, each with its head. Ours.

A phrase is found by a regular expression over the tags, which are one letter each; see `lexicon.Tag`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from .lexicon import Tag

PhraseKind = Literal[
    "noun",
    "verb",
    "participle",
    "infinitive",
    "adjective",
    "preposition",
    "opener",
    "relative",
    "conjunction",
    "adverb",
]


class Phrase(NamedTuple):
    """Words `start` to `end` (not included), all of which depend on the word at `head`, in the end."""

    kind: PhraseKind
    start: int
    end: int
    head: int
    after_mark: bool
    """whether a mark of punctuation stands before it"""


_MODIFIER = r"(?:R(?=R?[A#])|A|AC(?=A)|#|(?<![NMP])E(?=[NMA])|(?<=[D#AE])[EG](?=[NMA]))"
_PATTERNS: tuple[tuple[PhraseKind, re.Pattern[str]], ...] = (
    ("infinitive", re.compile(r"T[RZ]*(?:V|Y+(?:[RZ]*[EG])?)")),
    ("noun", re.compile(rf"D{{0,2}}{_MODIFIER}*[NM](?:[NM#]|G(?=[NM]))*|D{{0,2}}{_MODIFIER}*#|P|D(?:{_MODIFIER}|D)*")),
    ("verb", re.compile(r"[RZ]*(?:[XHU]Z?(?:[RZ]*Y)*(?:[RZ]*[VBFEG])?|[VBF])")),
    ("participle", re.compile(r"[RZ]*(?:Y(?:[RZ]*[YEG])*|[EG])")),
    ("adjective", re.compile(r"R*A(?:CR*A)*")),
)
_SINGLE: dict[Tag, PhraseKind] = {
    "I": "preposition", "T": "preposition", "S": "opener", "W": "relative", "C": "conjunction", "R": "adverb", "Z": "adverb",
    "D": "noun",
}  # fmt: skip


def phrases(tags: Sequence[Tag], breaks: Sequence[bool]) -> Iterator[Phrase]:
    """The phrases of a sentence from left to right; each word is in one.

    Args:
        tags: of the n words.
        breaks: whether a mark of punctuation stands before each of them; no phrase goes over one, but for marks between
            adjectives.
    """
    shown = "".join(tags)
    ends = [place for place in range(1, len(shown)) if breaks[place] and shown[place - 1 : place + 1] != "AA"]
    ends.append(len(shown))
    start = 0
    for limit in ends:
        while start < limit:
            phrase = _phrase_at(shown, start, limit, breaks[start])
            yield phrase
            start = phrase.end


def links_within(phrase: Phrase, words: Sequence[str], tags: Sequence[Tag]) -> Iterator[tuple[int, int]]:
    """(word, its head) of all words of a phrase but the head."""
    for place in range(phrase.start, phrase.end):
        if place == phrase.head:
            continue
        before = tags[place - 1] if place > phrase.start else ""
        after = tags[place + 1] if place + 1 < phrase.end else ""
        if tags[place] == "C":
            yield place, place - 1
        elif before == "C" and tags[place] == "A":
            yield place, place - 2
        elif after in ("A", "#") and (tags[place] == "R" or words[place] in ("more", "most", "less", "least")):
            yield place, place + 1
        else:
            yield place, phrase.head


def _phrase_at(shown: str, start: int, limit: int, after_mark: bool) -> Phrase:
    for kind, pattern in _PATTERNS:
        match = pattern.match(shown, start, limit)
        if match is not None:
            return Phrase(kind, start, match.end(), _head(kind, shown, start, match.end()), after_mark)
    return Phrase(_SINGLE[shown[start]], start, start + 1, start, after_mark)


def _head(kind: PhraseKind, shown: str, start: int, end: int) -> int:
    """The last noun of a noun phrase, the first of adjectives, the last verb of a group, and what comes nearest to that."""
    if kind == "adjective":
        return shown.index("A", start)
    last = max(shown.rfind(tag, start, end) for tag in ("NM" if kind == "noun" else "VBFEG"))
    if last < 0 and kind != "noun":
        last = max(shown.rfind(tag, start, end) for tag in "XHUY")
    return last if last >= 0 else end - 1
