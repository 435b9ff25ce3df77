"""Which paragraphs a candidate is judged by: those most like it by TF-IDF, in its lesson or in the whole book."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .config import Scope
from .textbook import Lesson, Paragraph, Question, Textbook
from .words import split_words, stem

CHUNK = 1 << 25
"""similarities that are held at once"""
JUDGEMENTS = frozenset({"true", "false", "yes", "no"})


class Found(NamedTuple):
    """A paragraph, and how like the question it is."""

    paragraph: Paragraph
    similarity: float
    """cosine of the TF-IDF vectors, in [0, 1]"""


class Query(NamedTuple):
    """What is looked for, and where."""

    lesson: str
    text: str


def stems(text: str) -> list[str]:
    """The stems of a text's words, in order."""
    return [stem(word.text) for word in split_words(text)]


def is_judgement(question: Question) -> bool:
    """Whether the choices only judge the question, as true and false do, and so are nothing to look for in a text."""
    return all(choice.strip().lower().rstrip(".") in JUDGEMENTS for choice in question.choices)


def query(lesson: Lesson, question: Question, choice: int) -> Query:
    """What is looked for, for one candidate: the question's words and the candidate's."""
    text = question.text if is_judgement(question) else f"{question.text} {question.choices[choice]}"
    return Query(lesson.name, text)


class Retrieval:
    """TF-IDF over the paragraphs of a book. A word's rarity is counted over the whole book, paragraphs are ranked in their scope.

    Args:
        book: what is looked through. One without any word is fine: every similarity is 0 then.
        scope: lesson or book.
    """

    def __init__(self, book: Textbook, scope: Scope = "lesson") -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.scope = scope
        self.paragraphs = book.paragraphs
        self._places: dict[str, NDArray[np.int64]] = {}
        start = 0
        for lesson in book.lessons:
            self._places[lesson.name] = np.arange(start, start + len(lesson.paragraphs))
            start += len(lesson.paragraphs)
        self._vectorizer = TfidfVectorizer(analyzer=stems, sublinear_tf=True, dtype=np.float32)
        texts = [f"{paragraph.topic} {paragraph.text}" for paragraph in self.paragraphs]
        self._matrix: Any = None
        self._rarest = 1.0
        if any(stems(text) for text in texts):
            self._matrix = self._vectorizer.fit_transform(texts)
            self._rarest = math.log((1 + len(texts)) / 2) + 1  # of a stem that one paragraph has

    def rarity(self, word_stem: str) -> float:
        """How rare a stem is in the book, in (0, 1]: its inverse document frequency over the largest there can be."""
        if self._matrix is None:
            return 1.0
        place = self._vectorizer.vocabulary_.get(word_stem)
        return 1.0 if place is None else min(1.0, float(self._vectorizer.idf_[place]) / self._rarest)

    def best(self, queries: Sequence[Query], count: int) -> list[list[Found]]:
        """The `count` most similar paragraphs for each query, the best first, equal ones in the book's order; fewer where there are fewer.

        Raises:
            KeyError: a lesson is not of the book.
        """
        if not queries:
            return []
        if self._matrix is None:
            return [[Found(self.paragraphs[place], 0.0) for place in self._scope(each)[:count]] for each in queries]
        different = list(dict.fromkeys(queries))
        asked = self._vectorizer.transform([each.text for each in different])
        found: dict[Query, list[Found]] = {}
        for rows, places in self._groups(different):
            block = np.asarray((asked[rows] @ self._matrix[places].T).todense())
            for row, similar in zip(rows, block, strict=True):
                found[different[row]] = self._ranked(similar, places, count)
        return [found[each] for each in queries]

    def _groups(self, queries: Sequence[Query]) -> Iterator[tuple[list[int], NDArray[np.int64]]]:
        """Queries with the same scope, and the paragraphs in it: together they are looked up much faster."""
        by_lesson: dict[str, list[int]] = {}
        for row, each in enumerate(queries):
            by_lesson.setdefault(each.lesson if self.scope == "lesson" else "", []).append(row)
        for lesson, rows in by_lesson.items():
            places = self._places[lesson] if self.scope == "lesson" else np.arange(len(self.paragraphs))
            step = max(1, CHUNK // max(1, len(places)))
            for start in range(0, len(rows), step):
                yield rows[start : start + step], places

    def _scope(self, each: Query) -> list[int]:
        return (
            [int(place) for place in self._places[each.lesson]]
            if self.scope == "lesson"
            else list(range(len(self.paragraphs)))
        )

    def _ranked(self, similar: NDArray[np.float32], places: NDArray[np.int64], count: int) -> list[Found]:
        order = np.argsort(-similar, kind="stable")[:count]
        return [Found(self.paragraphs[int(places[row])], min(1.0, float(similar[row]))) for row in order]
