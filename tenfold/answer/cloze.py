"""Questions for a book that has none, made of its own sentences, so that the self-supervised stage has something to find. Ours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .retrieval import Retrieval
from .textbook import Lesson, Question, Textbook
from .words import STOP_WORDS, Word, split_sentences, split_words, stem

FEWEST_WORDS = 5
"""of a sentence that becomes a question"""


def with_cloze_questions(book: Textbook) -> Textbook:
    """The book, in which every lesson without a question gets one from each sentence of five words or more.

    The sentence without its rarest word is the question and that word the only choice. There is nothing to answer: such a question is
    for finding the paragraph that belongs to it.
    """
    retrieval = Retrieval(book)
    lessons = [lesson if lesson.questions else _asked(lesson, retrieval) for lesson in book.lessons]
    return replace(book, lessons=tuple(lessons))


def _asked(lesson: Lesson, retrieval: Retrieval) -> Lesson:
    return replace(lesson, questions=tuple(_questions(lesson, retrieval)))


def _questions(lesson: Lesson, retrieval: Retrieval) -> Iterator[Question]:
    for paragraph in lesson.paragraphs:
        for number, sentence in enumerate(split_sentences(paragraph.text), 1):
            words = split_words(sentence)
            rarest = _rarest(words, retrieval)
            if rarest is not None and len(words) >= FEWEST_WORDS:
                rest = f"{sentence[: rarest.start]}{sentence[rarest.end :]}"
                yield Question(f"{paragraph.name}/cloze{number}", rest, (rarest.text,))


def _rarest(words: list[Word], retrieval: Retrieval) -> Word | None:
    """The first of the rarest words that carry meaning."""
    telling = [word for word in words if word.text not in STOP_WORDS]
    return max(telling, key=lambda word: retrieval.rarity(stem(word.text)), default=None)
