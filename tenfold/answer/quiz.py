"""The quiz of a markdown chapter: numbered questions, choices to tick, and words of the text that hold the answer.

3. ![](diagrams/layers.png) Which layer lies directly below the crust?
   - [x] mantle
   - [ ] outer core
   > evidence: below the crust lies the mantle
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..core.errors import UsageError
from .markup import Line, Picture, escaped, is_break, plain, take_pictures
from .textbook import MOST_CHOICES, Diagram, Kind, Paragraph, Question

HEADINGS = ("quiz", "questions", "exercises")
"""that begin a quiz, in any case"""

_PATTERNS = {
    "question": re.compile(r" {0,3}[0-9]{1,9}[.)](?:\s+(.*))?"),
    "choice": re.compile(r"\s*[-*+]\s+\[[ ]\](?:\s+(.*))?"),
    "right choice": re.compile(r"\s*[-*+]\s+\[[xX]\](?:\s+(.*))?"),
    "evidence": re.compile(r"\s*>\s*evidence:(.*)", re.IGNORECASE),
}
_OTHER_MARK = re.compile(r"\s*(?:[-*+]\s|>)")


class _Entry(NamedTuple):
    """A question, a choice or a piece of evidence, with the marks within its lines."""

    kind: str
    line: int
    texts: list[str]

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def begins_quiz(heading: str) -> bool:
    """Whether a quiz is below this heading."""
    return plain(heading).casefold() in HEADINGS


def read_quiz(
    lines: list[Line],
    chapter: str,
    where: str,
    paragraphs: Sequence[Paragraph],
    diagram_of: Callable[[Picture], Diagram | None],
) -> tuple[Question, ...]:
    """The questions of a chapter, named "<chapter>/q1" and so on.

    Args:
        lines: those below the heading of the quiz.
        chapter: its name.
        where: what its file is called in messages.
        paragraphs: the chapter's, among which evidence is looked up.
        diagram_of: gives the diagram of a picture; None where it cannot be taken.

    Raises:
        UsageError: a line is no question, choice or evidence; or a question has no text or choices, or two right ones; or words of
            evidence are in no paragraph or in several.
    """
    entries = list(_entries(lines, where))
    starts = [place for place, entry in enumerate(entries) if entry.kind == "question"]
    questions = []
    for number, (start, end) in enumerate(zip(starts, [*starts, len(entries)][1:], strict=True), 1):
        name = f"{chapter}/q{number}"
        questions.append(_question(entries[start:end], name, f"{where}, question {name}", paragraphs, diagram_of))
    return tuple(questions)


def written_question(number: int, question: Question, paragraphs: Sequence[Paragraph], picture: str) -> str:
    """A question as markdown that `read_quiz` reads.

    Args:
        number: from 1.
        question: whatever it is.
        paragraphs: the chapter's, in which its evidence is.
        picture: the mark of its diagram's picture; empty where it has none.

    Raises:
        UsageError: a choice has no text, or no words tell a paragraph of its evidence from the others.
    """
    lines = [f"{number}. {f'{picture} {escaped(question.text)}'.strip()}"]
    for place, choice in enumerate(question.choices):
        if not choice.strip():
            raise UsageError(f"question {question.name} has a choice without text, which markdown cannot hold")
        lines.append(f"   - [{'x' if place == question.answer else ' '}] {escaped(choice)}")
    lines += [f"   > evidence: {escaped(_telling_words(name, question, paragraphs))}" for name in question.evidence]
    return "\n".join(lines)


def _entries(lines: list[Line], where: str) -> Iterator[_Entry]:
    """What stands in a quiz, with lines that go on joined. Prose before the first question is a word to the reader."""
    entry: _Entry | None = None
    goes_on = False
    for number, text in lines:
        found = ((kind, pattern.fullmatch(text)) for kind, pattern in _PATTERNS.items())
        kind, match = next(((kind, match) for kind, match in found if match), ("", None))
        if not text.strip() or is_break(text):
            goes_on = False
        elif match:
            if entry is None and kind != "question":
                raise UsageError(f"{where}, line {number} has a {kind} before the first question")
            if entry:
                yield entry
            entry, goes_on = _Entry(kind, number, [match[1] or ""]), True
        elif entry and (goes_on or text.startswith("  ")) and not _OTHER_MARK.match(text):
            entry.texts.append(text)
        elif entry:
            raise UsageError(
                f"{where}, line {number} is {text.strip()!r:.60}, but in a quiz must be a question such as '1. What is it?', a "
                f"choice such as '- [ ] this', or '> evidence: words'"
            )
    if entry:
        yield entry


def _question(
    entries: list[_Entry],
    name: str,
    where: str,
    paragraphs: Sequence[Paragraph],
    diagram_of: Callable[[Picture], Diagram | None],
) -> Question:
    asked, pictures = take_pictures(entries[0].text)
    text = plain(asked)
    choices = [(plain(entry.text), entry) for entry in entries if entry.kind.endswith("choice")]
    right = [place for place, (_, entry) in enumerate(choices) if entry.kind == "right choice"]
    evidence = [_find(plain(entry.text), paragraphs, where) for entry in entries if entry.kind == "evidence"]
    empty = [entry.line for choice, entry in choices if not choice]
    if not text:
        raise UsageError(f"{where} has no text, in line {entries[0].line}")
    if empty:
        raise UsageError(f"{where} has a choice without text, in line {empty[0]}")
    if not 1 <= len(choices) <= MOST_CHOICES:
        raise UsageError(f"{where} has {len(choices)} choices, but must have 1 to {MOST_CHOICES}, such as '- [ ] this'")
    if len(right) > 1:
        raise UsageError(
            f"{where} has {len(right)} choices ticked, but must have one, or none where the answer is not known"
        )
    if len(pictures) > 1:
        raise UsageError(f"{where} has {len(pictures)} pictures, but must have one at most")
    texts = tuple(choice for choice, _ in choices)
    return Question(
        name,
        text,
        texts,
        right[0] if right else None,
        _kind(texts, bool(pictures)),
        diagram_of(pictures[0]) if pictures else None,
        tuple(dict.fromkeys(evidence)),
    )


def _kind(choices: tuple[str, ...], has_picture: bool) -> Kind:
    if has_picture:
        return "diagram"
    if sorted(choice.casefold() for choice in choices) == ["false", "true"]:
        return "true or false"
    return "multiple choice"


def _find(words: str, paragraphs: Sequence[Paragraph], where: str) -> str:
    """The name of the paragraph that has these words."""
    if not words:
        raise UsageError(f"{where} has evidence without words")
    having = _having(words, paragraphs)
    if len(having) != 1:
        raise UsageError(
            f"{where} has the evidence {words!r:.80}, which {len(having) or 'no'} paragraphs of the chapter have, but one must"
        )
    return having[0]


def _having(words: str, paragraphs: Sequence[Paragraph]) -> list[str]:
    wanted = " ".join(words.split()).casefold()
    return [paragraph.name for paragraph in paragraphs if wanted in " ".join(paragraph.text.split()).casefold()]


def _telling_words(name: str, question: Question, paragraphs: Sequence[Paragraph]) -> str:
    """The first words of a paragraph, as few as tell it from the others, but no fewer than six."""
    words = next((paragraph.text.split() for paragraph in paragraphs if paragraph.name == name), [])
    for count in range(min(6, len(words)), len(words) + 1):
        if _having(" ".join(words[:count]), paragraphs) == [name]:
            return " ".join(words[:count])
    raise UsageError(
        f"question {question.name} has the evidence {name}, but no words of its chapter are in that paragraph alone"
    )
