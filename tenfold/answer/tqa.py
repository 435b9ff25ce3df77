"""TQA's format: one JSON file for a split, a list of lessons (Kembhavi et al., CVPR 2017).

A lesson's text is in its topics, its adjunct topics (introduction, summary, vocabulary ...) and the descriptions of its
instructional diagrams. It is cut at line ends, and long stretches into paragraphs of five sentences at most. Questions that cannot
be taken, such as those whose answer is not among their choices, are left out and noted; their published number includes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ..core.errors import UsageError
from .json_values import as_lines, as_list, as_mapping, as_number, as_text
from .textbook import MOST_CHOICES, Box, Diagram, Kind, Lesson, Paragraph, Part, Question, Textbook
from .words import split_sentences

MOST_SENTENCES = 5
"""of one paragraph"""

_NUMBERING = re.compile(r"\(?(?:[0-9]+|[A-Za-z])[.)]\s*")
_LETTER = re.compile(r"(?:[0-9]+\s*[.)])?\s*\(?([A-Za-z])[.)]*")
_TRUE_OR_FALSE = re.compile(r"\b(true|false)\b", re.IGNORECASE)


class _UnusableError(Exception):
    """Why a question is left out."""


def read_tqa(lessons: object, name: str, file: str, folder: Path | None) -> Textbook:
    """A textbook from what a JSON file of TQA holds.

    Args:
        lessons: the file's list of lessons.
        name: of the book.
        file: what the file is called in messages.
        folder: that the paths of pictures start from; None where pictures are out of reach. A picture is taken only if it exists and
            lies inside.

    Raises:
        UsageError: something in it is of a wrong type, or there twice; the lesson and question are named.
    """
    left_out: list[tuple[str, str]] = []
    read = tuple(
        _lesson(as_mapping(lesson, f"{file}, lesson number {number}"), number, file, folder, left_out)
        for number, lesson in enumerate(as_list(lessons, file), 1)
    )
    return Textbook(name, read, tuple(left_out))


def read_parts(annotations: object, where: str) -> tuple[Part, ...]:
    """The texts of a diagram, from a list of {"text": ..., "rectangle": [[x, y], [x, y]]}; those without text are passed over.

    The corners may come in any order.

    Raises:
        UsageError: it is not such a list.
    """
    parts = []
    for number, annotation in enumerate(as_list(annotations, where), 1):
        place = f"{where}, text number {number}"
        entry = as_mapping(annotation, place)
        text = as_text(entry.get("text"), f"{place}, text")
        if text:
            parts.append(Part(text, _box(entry.get("rectangle"), f"{place}, rectangle")))
    return tuple(parts)


def inside(folder: Path, target: str) -> Path | None:
    """The path of `target` below a folder, whether it exists or not; None where it leads out of the folder."""
    try:
        path = (folder / target).resolve()
        path.is_file()  # raises here, where it is caught, if the name is too long
        return path if path.is_relative_to(folder.resolve()) else None
    except (OSError, ValueError, RuntimeError):  # too long, of a null character, or a ring of links
        return None


def _lesson(
    entry: Mapping[str, Any], number: int, file: str, folder: Path | None, left_out: list[tuple[str, str]]
) -> Lesson:
    name = as_text(entry.get("globalID"), f"{file}, lesson number {number}, globalID")
    if not name:
        raise UsageError(f"{file}, lesson number {number} has no globalID, but each lesson must have one")
    where = f"{file}, lesson {name}"
    annotations = as_mapping(entry.get("diagramAnnotations"), f"{where}, diagramAnnotations")
    paragraphs, diagrams = list(_topics(entry, name, where)), []
    for key, shown in as_mapping(entry.get("instructionalDiagrams"), f"{where}, instructionalDiagrams").items():
        place = f"{where}, diagram {key}"
        shown = as_mapping(shown, place)
        description = _text_of(shown, place)
        paragraphs += _paragraphs(description, f"{name}/{key}", "")
        diagram = _diagram(shown, annotations, folder, place, description)
        diagrams += [] if diagram is None else [diagram]
    questions = []
    for key, asked, is_diagrams in _questions(entry, where):
        try:
            questions.append(_question(key, asked, is_diagrams, annotations, folder, f"{where}, question {key}"))
        except _UnusableError as reason:
            left_out.append((key, str(reason)))
    title = as_text(entry.get("lessonName"), f"{where}, lessonName") or name
    return Lesson(name, title, tuple(paragraphs), tuple(diagrams), tuple(questions))


def _topics(entry: Mapping[str, Any], lesson: str, where: str) -> Iterator[Paragraph]:
    for group in ("topics", "adjunctTopics"):
        topics = {
            key: as_mapping(topic, f"{where}, {group} {key}")
            for key, topic in as_mapping(entry.get(group), f"{where}, {group}").items()
        }
        # the released files have no orderID with the topics, whose keys count in the lesson's order
        for key in sorted(topics, key=lambda key: (_counting(topics[key].get("orderID")), _counting(key))):
            topic, place = topics[key], f"{where}, {group} {key}"
            heading = as_text(topic.get("topicName"), f"{place}, topicName") or (key if group != "topics" else "")
            content = topic.get("content")
            if key.strip().casefold() == "vocabulary" and not isinstance(content, dict):
                text = _vocabulary(topic, place)
            else:
                text = as_lines(as_mapping(content, f"{place}, content").get("text"), f"{place}, text")
            yield from _paragraphs(text, f"{lesson}/{key}", heading)


def _vocabulary(words: Mapping[str, Any], where: str) -> str:
    defined = ((word, as_text(definition, f"{where}, word {word!r}")) for word, definition in words.items())
    return "\n".join(f"{' '.join(word.split())}: {definition}" for word, definition in defined if definition)


def _counting(value: object) -> list[tuple[str, int]]:
    """A key that sorts "t_10" after "t_9"."""
    pieces = re.findall(r"([^0-9]*)([0-9]*)", "" if value is None else str(value))
    return [(text, int(digits[:18] or -1)) for text, digits in pieces]


def _paragraphs(text: str, name: str, topic: str) -> list[Paragraph]:
    stretches = [stretch for line in text.splitlines() for stretch in _stretches(" ".join(line.split()))]
    return [Paragraph(f"{name}/{number}", stretch, topic) for number, stretch in enumerate(stretches, 1)]


def _stretches(line: str) -> Iterator[str]:
    """Pieces of about the same number of sentences, `MOST_SENTENCES` at most."""
    sentences = split_sentences(line)
    pieces = -(-len(sentences) // MOST_SENTENCES)
    for piece in range(pieces):
        first, end = (len(sentences) * cut // pieces for cut in (piece, piece + 1))
        yield " ".join(sentences[first:end])


def _questions(entry: Mapping[str, Any], where: str) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    groups = as_mapping(entry.get("questions"), f"{where}, questions")
    for group in ("nonDiagramQuestions", "diagramQuestions"):
        for key, asked in as_mapping(groups.get(group), f"{where}, {group}").items():
            yield key, as_mapping(asked, f"{where}, question {key}"), group == "diagramQuestions"


def _question(
    name: str,
    entry: Mapping[str, Any],
    is_diagrams: bool,
    annotations: Mapping[str, Any],
    folder: Path | None,
    where: str,
) -> Question:
    asked = as_mapping(entry.get("beingAsked"), f"{where}, beingAsked")
    text = _text_of(asked, f"{where}, beingAsked", as_text(entry.get("idStructural"), f"{where}, idStructural"))
    if not text:
        raise _UnusableError("it has no text")
    choices = _choices(entry, where)
    kind = _kind(name, entry, is_diagrams, choices, where)
    diagram = _diagram(entry, annotations, folder, where) if kind == "diagram" else None
    return Question(name, text, tuple(choices.values()), _answer(entry, choices, where), kind, diagram)


def _choices(entry: Mapping[str, Any], where: str) -> dict[str, str]:
    """Letter -> choice, in the order of the letters."""
    choices: dict[str, str] = {}
    for key, choice in as_mapping(entry.get("answerChoices"), f"{where}, answerChoices").items():
        place = f"{where}, choice {key}"
        choice = as_mapping(choice, place)
        letter = key.strip(" .()[]").lower()
        if letter in choices:
            raise _UnusableError(f"it has the choice {letter} twice")
        choices[letter] = _text_of(choice, place, as_text(choice.get("idStructural"), f"{place}, idStructural"))
        if not choices[letter]:
            raise _UnusableError(f"its choice {letter} has no text")
    if not 1 <= len(choices) <= MOST_CHOICES:
        raise _UnusableError(f"it has {len(choices)} choices, but must have 1 to {MOST_CHOICES}")
    return dict(sorted(choices.items()))


def _kind(name: str, entry: Mapping[str, Any], is_diagrams: bool, choices: Mapping[str, str], where: str) -> Kind:
    kind, sub_kind = (
        as_text(entry.get(key), f"{where}, {key}").casefold() for key in ("questionType", "questionSubType")
    )
    if is_diagrams or name.startswith("DQ_") or kind.startswith("diagram"):
        return "diagram"
    if "true or false" in (kind, sub_kind) or _words_of(choices) == ["false", "true"]:
        return "true or false"
    return "multiple choice"


def _words_of(choices: Mapping[str, str]) -> list[str]:
    return sorted(choice.strip(" .").casefold() for choice in choices.values())


def _answer(entry: Mapping[str, Any], choices: Mapping[str, str], where: str) -> int | None:
    given = as_mapping(entry.get("correctAnswer"), f"{where}, correctAnswer")
    processed, raw = (as_text(given.get(key), f"{where}, correctAnswer") for key in ("processedText", "rawText"))
    if not processed and not raw:
        return None  # the answers of a test may be hidden
    letters = list(choices)
    letter = _LETTER.fullmatch(processed or raw)
    if letter and letter[1].lower() in choices:
        return letters.index(letter[1].lower())
    if _words_of(choices) == ["false", "true"]:
        word = _TRUE_OR_FALSE.search(processed) or _TRUE_OR_FALSE.search(raw)
        if word:
            return [choice.strip(" .").casefold() for choice in choices.values()].index(word[1].lower())
    raise _UnusableError(f"its answer {processed or raw!r} is not among its choices {', '.join(letters)}")


def _text_of(entry: Mapping[str, Any], where: str, numbering: str | None = None) -> str:
    """The cleaned text; the raw one, without its number or letter, where there is no cleaned one."""
    processed = as_text(entry.get("processedText"), where)
    if processed:
        return processed
    raw = as_text(entry.get("rawText"), where)
    if numbering is None:
        return raw
    if numbering and raw.startswith(numbering):
        return raw[len(numbering) :].strip()
    return _NUMBERING.sub("", raw, count=1) if _NUMBERING.match(raw) else raw


def _diagram(
    entry: Mapping[str, Any], annotations: Mapping[str, Any], folder: Path | None, where: str, caption: str = ""
) -> Diagram | None:
    target = as_text(entry.get("imagePath"), f"{where}, imagePath")
    name = as_text(entry.get("imageName"), f"{where}, imageName") or PurePosixPath(target).name
    if not name:
        return None
    path = inside(folder, target) if folder and target else None
    picture = path if path and path.is_file() else None
    return Diagram(name, read_parts(annotations.get(name), f"{where}, annotations of {name}"), None, picture, caption)


def _box(rectangle: object, where: str) -> Box:
    corners = [as_list(corner, where) for corner in as_list(rectangle, where)]
    if [len(corner) for corner in corners] != [2, 2]:
        raise UsageError(f"{where} must be two corners of two numbers each, but is {rectangle!r:.80}")
    (left, right), (top, bottom) = (sorted(as_number(corner[axis], where) for corner in corners) for axis in (0, 1))
    return left, top, right, bottom
