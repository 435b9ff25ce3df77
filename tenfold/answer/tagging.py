"""The parts of speech of the words of an English sentence, without a model: the cheapest row of tags.

Each word's possible tags have a cost (`lexicon.candidates`), and so has each pair of neighbours. Besides, a clause is to have one
finite verb: a second one without a conjunction between costs, and so does the lack of any. Ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from .lexicon import Tag, candidates

FINITE = frozenset("XHUVBF")
"""tags of words that can be the verb, or the first auxiliary, of a clause"""
_START = "^"
_DEFAULT = 1.2

# of each tag: the costs of the tags after it; what is missing costs _DEFAULT
_AFTER: dict[str, dict[str, str]] = {
    "^": {"0": "DNMPISRACW#", "0.8": "GXUH", "1.5": "EVT", "4": "BFZY"},
    ",": {"0": "DNMPICWS#RA", "0.6": "GEXUHBVF", "1.5": "TY"},
    "D": {"0": "ANM#", "0.8": "RGE", "1.5": "D", "5": "VBFXHUYZICSWPT"},
    "#": {"0": "NMA", "0.8": "IXBC#", "4": "VFYPD"},
    "A": {"0": "NM", "0.5": "ACI", "0.9": "TRSX", "2": "BFEHU", "3": "VDPZ"},
    "N": {"0": "IXBFCWU", "0.3": "HN", "0.5": "M", "0.7": "ERSTG", "2.2": "VADP#", "4": "YZ"},
    "M": {"0": "IXVFCWHU", "0.7": "ERSTG", "1.4": "N", "2": "ADPM#", "2.5": "B", "4": "YZ"},
    "P": {"0": "XHUVBF", "0.4": "RI", "1": "CTWS", "2.5": "ADPEG#", "3": "NMYZ"},
    "I": {"0": "DNMAP#", "0.3": "G", "1": "W", "2": "REISC", "5": "VBFXHUYZT"},
    "T": {"0": "VY", "2": "R", "8": "DNMPIXHUZBFEGCSWAT#"},
    "X": {"0": "EAGDRZY", "0.4": "NMIP#", "1": "TSCW", "4": "VBFXHU"},
    "U": {"0": "VYRZ", "1.5": "PDNM", "4": "EFBGXHUAICST"},
    "H": {"0": "ERZY", "0.3": "DANM#", "0.6": "TP", "4": "VBFXHUG"},
    "Y": {"0": "EADGR", "0.4": "I", "0.7": "NMP#", "1": "TC", "4": "VBFXHU"},
    "Z": {"0": "VEADGRY", "0.7": "INM", "4": "BFXHU"},
    "V": {"0": "DNMAPIRS#", "0.5": "TCG", "1": "W", "2": "E", "3": "VBFXHUYZ"},
    "B": {"0": "DNMAPIRS#", "0.5": "TCG", "1": "W", "2": "E", "3": "VBFXHUYZ"},
    "F": {"0": "DNMAPIRS#", "0.5": "TCG", "1": "W", "2": "E", "3": "VBFXHUYZ"},
    "E": {"0": "IR", "0.4": "TCSD", "0.7": "NM", "0.9": "AX", "3": "VBFUHYZ"},
    "G": {"0": "DNMIAP", "0.5": "RCXTS#", "1.5": "BFUHGE", "3": "VYZ"},
    "R": {"0": "AVBFEGIX#", "0.2": "R", "0.5": "DPCSUH", "1.2": "NMTW", "3": "ZY"},
    "C": {"0": "NMADVBFEGPRI#", "0.5": "XSUH", "1": "TW", "3": "CYZ"},
    "S": {"0": "DNMPA#", "0.6": "RGIE", "2": "XHUVBFSCWT", "4": "YZ"},
    "W": {"0": "XHUVBF", "0.3": "DPNM", "0.8": "RA", "3": "EGYZICSWT"},
}  # fmt: skip


def _costs() -> dict[str, dict[str, float]]:
    every = "DNMPITXHUYZVBFEGRCSWA#"
    table = {}
    for tag, rows in _AFTER.items():
        table[tag] = dict.fromkeys(every, _DEFAULT)
        for cost, after in rows.items():
            table[tag] |= dict.fromkeys(after, float(cost))
    return table


_COSTS = _costs()


class _Clause(NamedTuple):
    """What the clause that is being read has."""

    has_verb: bool = False
    is_open: bool = False
    """whether its auxiliary waits for a verb"""
    may_have_another: bool = False
    """whether one more finite verb may come: of the clause around this one, or after a conjunction"""


_SECOND_VERB = 2.5
_NO_VERB = 2.0


class _Way(NamedTuple):
    """The cheapest way to a state, and the state before it."""

    cost: float
    before: tuple[Tag, _Clause] | None


def tag_words(words: Sequence[str], breaks: Sequence[bool]) -> list[Tag]:
    """The tag of each word (n words, n tags).

    Args:
        words: lower case, at least one.
        breaks: whether a mark of punctuation stands before each word.
    """
    ways: dict[tuple[Tag, _Clause], _Way] = {(_START, _Clause()): _Way(0.0, None)}
    columns = []
    for word, broken in zip(words, breaks, strict=True):
        ways = _step(ways, word, broken)
        columns.append(ways)
    state = min(ways, key=lambda state: ways[state].cost + (0.0 if state[1].has_verb else _NO_VERB))
    tags = []
    for column in reversed(columns):
        tags.append(state[0])
        state = column[state].before or state
    return tags[::-1]


def _step(ways: dict[tuple[Tag, _Clause], _Way], word: str, broken: bool) -> dict[tuple[Tag, _Clause], _Way]:
    found: dict[tuple[Tag, _Clause], _Way] = {}
    options = candidates(word)
    for state, way in ways.items():
        before, clause = state
        row = _COSTS["," if broken and before != _START else before]
        for tag, own in options:
            extra, after = _clause_after(clause, before, tag, broken)
            cost = way.cost + own + row[tag] + extra
            known = found.get((tag, after))
            if known is None or cost < known.cost:
                found[tag, after] = _Way(cost, state)
    return found


@cache
def _clause_after(clause: _Clause, before: Tag, tag: Tag, broken: bool) -> tuple[float, _Clause]:
    """(cost, what the clause has then) of a word's tag after the tag before it."""
    if tag in "RZ":
        return 0.0, clause
    if tag in "SW":
        return 0.0, _Clause(may_have_another=not clause.has_verb or clause.may_have_another)
    if tag == "C":
        return 0.0, clause._replace(is_open=False, may_have_another=True)
    if tag not in FINITE or before == "T":
        return 0.0, clause if tag in "PY" else clause._replace(is_open=False)
    if clause.is_open and tag in "VH":
        return 0.0, clause._replace(is_open=False)
    cost = 0.0
    another = clause.may_have_another
    if clause.has_verb:
        cost = 0.0 if another else _SECOND_VERB / 2 if broken else _SECOND_VERB
        another = False
    return cost, _Clause(True, tag in "XHU", another)
