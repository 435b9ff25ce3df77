"""TQA's true/false questions with retrieved sentences: one JSON file, a list of questions with up to three sentences each.

The sentences were found by three ways of retrieval: IR (words in common), NSP and NN (two neural ones). A question's lesson is not
known, so each question is a lesson of its own, whose paragraphs are its sentences.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..core.errors import UsageError
from .json_values import as_list, as_mapping, as_text
from .textbook import Lesson, Paragraph, Question, Textbook

RETRIEVALS = ("IR", "NSP", "NN")
"""ways of retrieval, in the order of a lesson's paragraphs, whose `topic` is the first way that found them"""
CHOICES = ("true", "false")

# one answer of the released file has the page's footer behind it
_ANSWER = re.compile(r"(true|false)(?:\s.*)?", re.IGNORECASE)


def read_retrieved(questions: object, name: str, file: str, split: str | None) -> Textbook:
    """A textbook from what such a file holds: lesson "tf_00001" has the file's first question, "tf_00001/q".

    Args:
        questions: the file's list of questions.
        name: of the book, to which the split is added.
        file: what the file is called in messages.
        split: train, val or test; None takes all of it. Lessons have the same names either way.

    Raises:
        UsageError: something in it is of a wrong type, or it has no question of the split.
    """
    lessons: list[Lesson] = []
    left_out: list[tuple[str, str]] = []
    splits = set()
    for number, entry in enumerate(as_list(questions, file), 1):
        where = f"{file}, question number {number}"
        entry = as_mapping(entry, where)
        own_split = as_text(entry.get("split"), f"{where}, split")
        splits.add(own_split)
        if split in (None, own_split):
            lesson = _lesson(entry, f"tf_{number:05d}", where)
            if isinstance(lesson, str):
                left_out.append((f"tf_{number:05d}/q", lesson))
            else:
                lessons.append(lesson)
    if split is not None and split not in splits:
        known = ", ".join(sorted(filter(None, splits))) or "none"
        raise UsageError(f"{file} has no questions of the split {split}; the splits in it are: {known}")
    return Textbook(name if split is None else f"{name}_{split}", tuple(lessons), tuple(left_out))


def _lesson(entry: Mapping[str, Any], name: str, where: str) -> Lesson | str:
    """The lesson, or why it is left out."""
    found: dict[str, str] = {}
    for retrieval in RETRIEVALS:
        sentence = as_text(entry.get(f"sentence_{retrieval}"), f"{where}, sentence_{retrieval}")
        if sentence:
            found.setdefault(sentence, retrieval)
    text = as_text(entry.get("question"), f"{where}, question")
    answer = as_text(entry.get("correct_answer"), f"{where}, correct_answer")
    known = _ANSWER.fullmatch(answer)
    if not text:
        return "it has no text"
    if not found:
        return "no sentence was retrieved for it"
    if answer and not known:
        return f"its answer is {answer!r}, but must be true or false"
    paragraphs = [
        Paragraph(f"{name}/{number}", sentence, retrieval)
        for number, (sentence, retrieval) in enumerate(found.items(), 1)
    ]
    place = CHOICES.index(known[1].lower()) if known else None
    question = Question(f"{name}/q", text, CHOICES, place, "true or false")
    return Lesson(name, name, tuple(paragraphs), questions=(question,))
