"""A textbook: lessons of paragraphs and diagrams, and the questions about them. Immutable, plain data; loads no torch.

`Textbook.load` reads the TQA format, the file of retrieved true/false sentences, and folders of markdown chapters; each reader is a
module of its own (`tqa`, `retrieved`, `markdown`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..core.errors import UsageError

Kind = Literal["true or false", "multiple choice", "diagram"]
KINDS: tuple[Kind, ...] = ("true or false", "multiple choice", "diagram")
MOST_CHOICES = 12
"""of one question; TQA has up to seven"""
Box = tuple[float, float, float, float]
"""left, top, right, bottom in pixels, left <= right and top <= bottom"""


@dataclass(frozen=True)
class Paragraph:
    """A stretch of text that can be the evidence of an answer."""

    name: str
    """where it stands, unique in the book, such as "L_0002/T_0012/1" """
    text: str
    topic: str = ""
    """the heading it stands under"""


@dataclass(frozen=True)
class Part:
    """A text in a diagram: a word or a few."""

    text: str
    box: Box


@dataclass(frozen=True)
class Diagram:
    """What is known of a picture: its texts, where they are, and which of them a line or an arrow joins."""

    name: str
    """as the book names it; a file name, mostly"""
    parts: tuple[Part, ...] = ()
    links: tuple[tuple[int, int], ...] | None = None
    """pairs of places in `parts`; None where nobody has said: nearness decides then"""
    picture: Path | None = None
    """its file, where there is one"""
    caption: str = ""

    def __post_init__(self) -> None:
        for pair in self.links or ():
            if not all(0 <= end < len(self.parts) for end in pair):
                raise UsageError(
                    f"diagram {self.name} has the link {pair}, but its parts are numbered 0 to {len(self.parts) - 1}"
                )


@dataclass(frozen=True)
class Question:
    """A question with its choices; what is right is known or not."""

    name: str
    """unique in the book, such as "NDQ_000102" """
    text: str
    choices: tuple[str, ...]
    answer: int | None = None
    """place of the right choice, from 0; None where it is not known"""
    kind: Kind = "multiple choice"
    diagram: Diagram | None = None
    evidence: tuple[str, ...] = ()
    """names of the paragraphs in which a person finds the answer, where somebody has said; no model reads this"""

    def __post_init__(self) -> None:
        count = len(self.choices)
        if not 1 <= count <= MOST_CHOICES:
            raise UsageError(f"question {self.name} has {count} choices, but must have 1 to {MOST_CHOICES}")
        if self.answer is not None and not 0 <= self.answer < count:
            raise UsageError(f"question {self.name} has answer {self.answer}, but its choices are 0 to {count - 1}")
        if not self.text.strip():
            raise UsageError(f"question {self.name} has no text")


@dataclass(frozen=True)
class Lesson:
    """One chapter: what its questions are answered from."""

    name: str
    """unique in the book, such as "L_0002" """
    title: str
    paragraphs: tuple[Paragraph, ...]
    diagrams: tuple[Diagram, ...] = ()
    """that explain the lesson; a question's own is with the question"""
    questions: tuple[Question, ...] = ()


@dataclass(frozen=True)
class Textbook:
    """Lessons, and what the reader of the file left out of them.

    Example:
        book = Textbook.load("tqa_v1_val.json")
        book.counts                                # {"true or false": 998, "multiple choice": 1530, "diagram": 2781}
        book.lesson("L_0002").questions[0].text
    """

    name: str
    lessons: tuple[Lesson, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    """(name of a question or picture, why it could not be taken), in the order of the file"""

    def __post_init__(self) -> None:
        for kind, names in (
            ("lesson", [lesson.name for lesson in self.lessons]),
            ("question", [question.name for _, question in self.pairs()]),
            ("paragraph", [paragraph.name for paragraph in self.paragraphs]),
        ):
            twice = [name for name, count in Counter(names).items() if count > 1]
            if twice:
                raise UsageError(f"{self.name} has the {kind} {twice[0]} more than once")

    @classmethod
    def load(cls, path: str | Path, split: str | None = None) -> Textbook:
        """A textbook from a file or folder of any layout that is known.

        Args:
            path: a TQA file (`tqa_v1_val.json`), its folder or the released zip; a file of true/false questions with retrieved
                sentences; or a markdown file, or a folder of them.
            split: train, val or test where the path holds several; None takes all of it.

        Raises:
            UsageError: the path is missing, of no known layout, damaged, or has no such split.
        """
        from .books import open_book

        return open_book(Path(path), split)

    @classmethod
    def from_markdown(cls, path: str | Path) -> Textbook:
        """A textbook from one markdown chapter or a folder of them; see `tenfold.answer.markdown` for the format.

        Raises:
            UsageError: there is no chapter, or one is not readable text, or a quiz in it is not of the format.
        """
        from .markdown import read_markdown

        return read_markdown(Path(path))

    @classmethod
    def embedded(cls) -> Textbook:
        """The small book that comes with the package, written for it."""
        from .markdown import read_embedded

        return read_embedded()

    @property
    def counts(self) -> dict[Kind, int]:
        """Questions of each kind."""
        found = Counter(question.kind for _, question in self.pairs())
        return {kind: found[kind] for kind in KINDS}

    @property
    def paragraphs(self) -> tuple[Paragraph, ...]:
        """Of all lessons, in the book's order."""
        return tuple(paragraph for lesson in self.lessons for paragraph in lesson.paragraphs)

    def pairs(self) -> Iterator[tuple[Lesson, Question]]:
        """Every question with its lesson, in the book's order."""
        return ((lesson, question) for lesson in self.lessons for question in lesson.questions)

    def lesson(self, name: str) -> Lesson:
        """The lesson of this name, or of this title.

        Raises:
            UsageError: there is none; the message lists some that there are.
        """
        for lesson in self.lessons:
            if name in (lesson.name, lesson.title):
                return lesson
        known = ", ".join(lesson.name for lesson in self.lessons[:8])
        more = f" and {len(self.lessons) - 8} more" if len(self.lessons) > 8 else ""
        raise UsageError(f"there is no lesson {name!r} in {self.name}, which has {known or 'none'}{more}")

    def paragraph(self, name: str) -> Paragraph:
        """The paragraph of this name.

        Raises:
            UsageError: there is none.
        """
        for paragraph in self.paragraphs:
            if paragraph.name == name:
                return paragraph
        raise UsageError(f"there is no paragraph {name!r} in {self.name}")

    def without_answers(self) -> Textbook:
        """The same book for a reader who is not to know what is right: no answer and no evidence is left in it."""
        return self._with_questions(lambda question: replace(question, answer=None, evidence=()))

    def of_kinds(self, kinds: Collection[Kind]) -> Textbook:
        """The same lessons with the questions of these kinds alone."""
        return self._with_questions(lambda question: question if question.kind in kinds else None)

    def only(self, lessons: Collection[str]) -> Textbook:
        """The book of these lessons alone, by name.

        Raises:
            UsageError: there is no such lesson.
        """
        for name in lessons:
            self.lesson(name)
        return replace(self, lessons=tuple(lesson for lesson in self.lessons if lesson.name in lessons))

    def and_also(self, others: Iterable[Textbook]) -> Textbook:
        """One book of this one's lessons and those of others, whose names must differ.

        Raises:
            UsageError: a lesson, question or paragraph would be there twice.
        """
        books = [self, *others]
        return Textbook(
            " and ".join(book.name for book in books),
            tuple(lesson for book in books for lesson in book.lessons),
            tuple(note for book in books for note in book.left_out),
        )

    def _with_questions(self, change: Callable[[Question], Question | None]) -> Textbook:
        lessons = []
        for lesson in self.lessons:
            changed = (change(question) for question in lesson.questions)
            lessons.append(replace(lesson, questions=tuple(question for question in changed if question is not None)))
        return replace(self, lessons=tuple(lessons))


PUBLISHED_COUNTS: Mapping[str, Mapping[Kind, int]] = {
    "val": {"true or false": 998, "multiple choice": 1530, "diagram": 2781},
}
"""questions of each kind in a split of TQA, where the published tables imply them"""
PUBLISHED_QUESTIONS: Mapping[str, int] = {"train": 15154, "val": 5309, "test": 5797}
"""questions in each split of TQA, as its page says"""
