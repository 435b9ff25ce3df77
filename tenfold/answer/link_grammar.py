"""A dependency parser for English that is a program: `link-parser` of link-grammar.

One process parses some hundreds of sentences. It gets each as one line of words and commas, made here, so that no text can be
taken for one of its commands. What it cannot parse, or not in time, is left to the rules of `tenfold.answer.rules`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from ..core.errors import UsageError
from .parsing import Parse, parse_of
from .rules import RuleParser
from .words import split_words

_TOKEN = re.compile(r"\(([^()\s]+)\)")
_LINK = re.compile(r"\[(\d+) (\d+) \d+ \((?!PH)[^()]*\)\]")  # PH is of sounds: "an" before a vowel
_PAUSE = re.compile(r"[^\s\w.'\"\u2018\u2019\u201c\u201d]")
"""a mark that parts words; a full stop inside of a sentence is an abbreviation's"""
_WALLS = ("LEFT-WALL", "RIGHT-WALL")
_MARKS = frozenset(",;%.?")
_MARK, _WALL = -1, -2
"""in place of a word's number"""
_LONGEST_WORD = 60
"""letters; the program cuts longer ones"""


class LinkGrammarParser:
    """Parses English with the program `link-parser`, which must be installed.

    Each word's links are those of the best linkage; links to walls and marks of punctuation are left out, and words that only
    a mark joins are linked to one another. The graph is connected, but may have rings. Sentences without a linkage of all
    their words, of more than `longest` words, or that take more than a second, are parsed by rules.
    """

    name = "link-grammar"

    def __init__(
        self, program: str = "link-parser", *, longest: int = 60, chunk: int = 300, patience: float = 60.0
    ) -> None:
        """A parser that starts the program when it is called.

        Args:
            program: name or path of it.
            longest: sentences of more words than this are parsed by rules, at least 1.
            chunk: sentences that one process gets, at least 1.
            patience: seconds after which a process is ended, above 0; the rest of its sentences are parsed by rules.

        Raises:
            UsageError: the program or its dictionary is not installed, or a number is not of its range.
        """
        found = shutil.which(program)
        if found is None:
            raise UsageError(f"the program {program} is not installed; it is in Debian's package link-grammar")
        for name, value in (("longest", longest), ("chunk", chunk), ("patience", patience)):
            if not value > 0:
                raise UsageError(f"{name} is {value}, but must be above 0")
        self.program = str(Path(found).absolute())
        self.longest, self.chunk, self.patience = longest, chunk, patience
        self._rules = RuleParser()
        if self.by_program(["Ice melts."]) == [None]:
            raise UsageError(
                f"the program {self.program} does not parse, but must be link-grammar's with its English dictionary, which is "
                "in Debian's package link-grammar-dictionaries-en"
            )

    def __call__(self, sentences: Sequence[str]) -> list[Parse]:
        """One parse for each sentence, in their order."""
        found = self.by_program(sentences)
        missing = [sentence for sentence, parse in zip(sentences, found, strict=True) if parse is None]
        by_rules = iter(self._rules(missing))
        return [next(by_rules) if parse is None else parse for parse in found]

    def by_program(self, sentences: Sequence[str]) -> list[Parse | None]:
        """The program's own parse of each sentence; None for those that are left to the rules."""
        return [
            parse
            for start in range(0, len(sentences), self.chunk)
            for parse in self._chunk(sentences[start : start + self.chunk])
        ]

    def _chunk(self, sentences: Sequence[str]) -> list[Parse | None]:
        lines = [self._line_of(sentence) for sentence in sentences]
        asked = [line for line in lines if line]
        answers = iter(_answers(self._run(asked), asked))
        parses: list[Parse | None] = []
        for sentence, line in zip(sentences, lines, strict=True):
            links = _links_of(next(answers), line) if line else None
            parses.append(None if links is None else parse_of([word.text for word in split_words(sentence)], links))
        return parses

    def _line_of(self, sentence: str) -> str:
        """A sentence as the program gets it: its words, with commas where marks were; empty for one that it is not to get.

        It begins with a letter or a digit, and a command with another sign.
        """
        words = split_words(sentence)
        if not 0 < len(words) <= self.longest or any(word.end - word.start > _LONGEST_WORD for word in words):
            return ""
        ends = [*(word.start for word in words[1:]), len(sentence)]
        pieces = []
        for word, end in zip(words, ends, strict=True):
            gap = sentence[word.end : end]
            pieces.append(sentence[word.start : word.end])
            if word is words[-1]:
                pieces.append("?" if "?" in gap else ".")
            elif _PAUSE.search(gap):
                pieces.append(";" if ";" in gap else "%" if gap.startswith("%") else ",")
        return " ".join(pieces)

    def _run(self, lines: Sequence[str]) -> str:
        """What the program prints for these lines; less than all of it, where it was ended."""
        if not lines:
            return ""
        output = ["-verbosity=0", "-graphics=0", "-postscript=1", "-walls=1", "-echo=1"]
        # a linkage is to hold all words: to look for others, which leave words out, takes four times as long
        search = ["-null=0", "-panic=0", "-spell=0", "-limit=100", "-timeout=1"]
        given = "".join(f"{line}\n" for line in lines).encode()
        try:
            printed = subprocess.run(  # noqa: S603
                [self.program, "en", *output, *search],
                input=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=self.patience,
                check=False,
                cwd=os.path.abspath(os.sep),  # it looks for its dictionary in the working folder first
                env={**os.environ, "LC_ALL": "C.UTF-8"},
            ).stdout
        except subprocess.TimeoutExpired as error:
            printed = error.stdout or b""
        except OSError as error:
            raise UsageError(f"the program {self.program} cannot be started: {error.strerror}") from error
        return printed.decode(errors="replace")


def _answers(printed: str, lines: Sequence[str]) -> list[str]:
    """What was printed for each line, of which each is repeated before its answer; empty for those that were not come to."""
    answers: list[list[str]] = []
    for shown in printed.split("\n"):
        if len(answers) < len(lines) and shown == lines[len(answers)]:
            answers.append([])
        elif answers:
            answers[-1].append(shown)
    answers += [[] for _ in lines[len(answers) :]]
    return ["\n".join(answer) for answer in answers]


def _links_of(answer: str, line: str) -> set[tuple[int, int]] | None:
    """Links between the words of a line, by place; None where there is no linkage, or it is not one of these words."""
    tokens_shown, found, links_shown = answer.partition(")]\n")
    places = _places_of([match[1] for match in _TOKEN.finditer(tokens_shown + found)], line)
    if places is None:
        return None
    links: set[tuple[int, int]] = set()
    beside_marks: dict[int, list[int]] = {}
    for match in _LINK.finditer(links_shown):
        one, other = int(match[1]), int(match[2])
        if max(one, other) >= len(places):
            return None
        if places[one] >= 0 and places[other] >= 0:
            links.add((places[one], places[other]))
        elif _MARK in (places[one], places[other]) and max(places[one], places[other]) >= 0:
            mark = one if places[one] == _MARK else other
            beside_marks.setdefault(mark, []).append(max(places[one], places[other]))
    for words in beside_marks.values():
        links |= {(min(words), word) for word in words}
    return links


def _places_of(tokens: Sequence[str], line: str) -> list[int] | None:
    """For each token of a linkage, the place of the word it is or is a part of, or `_MARK` or `_WALL`.

    A token is shown with a subscript, and one without a link in brackets: "runs.v", "[the]", "xenon[?].n". None where the
    tokens are not those of the line.
    """
    pieces = line.split(" ")
    numbers = list(accumulate((piece not in _MARKS for piece in pieces), initial=0))
    places: list[int] = []
    at = done = 0
    for token in tokens:
        if token in _WALLS:
            places.append(_WALL)
            continue
        if at == len(pieces):
            return None
        rest = pieces[at][done:]
        shown = token[1:-1] if token[0] == "[" and token[-1] == "]" else token
        common = _common_letters(shown, rest)
        if common == 0:
            return None
        places.append(_MARK if pieces[at] in _MARKS else numbers[at])
        done += common
        if done >= len(pieces[at]):
            at, done = at + 1, 0
    return places if at == len(pieces) else None


def _common_letters(one: str, other: str) -> int:
    """How many letters both begin with, capital or not."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a.lower() != b.lower()), min(len(one), len(other)))
