"""Columns, ties and intervals by hand, and the arithmetic of published tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.stats import binom

from tenfold.answer.scores import COLUMNS, Scores, interval, score
from tenfold.answer.tables import by_question, difference_columns, row_columns
from tenfold.answer.textbook import PUBLISHED_COUNTS, Kind, Lesson, Question, Textbook

from .small_books import diagram_book

KINDS: Sequence[Kind] = ("true or false", "multiple choice", "diagram")


def scores_of(**right: tuple[float, Kind]) -> Scores:
    return Scores(
        {name: value for name, (value, _) in right.items()}, {name: kind for name, (_, kind) in right.items()}
    )


def asking(*questions: Question) -> Textbook:
    return Textbook("small", (Lesson("l", "L", (), (), questions),))


def test_columns_count_their_kinds() -> None:
    found = scores_of(
        a=(1, "true or false"), b=(0, "true or false"), c=(1, "multiple choice"), d=(0, "diagram"), e=(0.5, "diagram")
    )
    assert found.columns() == {
        "true-false": 0.5,
        "text choice": 1.0,
        "text all": pytest.approx(2 / 3),
        "diagram": 0.25,
        "all": 0.5,
    }
    assert found.count == 5
    assert found.bits("diagram").tolist() == [0, 0.5]
    assert found.bits().tolist() == [1, 0, 1, 0, 0.5]


def test_a_column_without_questions_is_left_out() -> None:
    assert set(scores_of(a=(1, "diagram")).columns()) == {"diagram", "all"}
    assert Scores({}, {}).columns() == {}
    assert Scores({}, {}).count == 0


@pytest.mark.parametrize(
    ("shares", "text", "every"),
    [
        ((57.41, 40.00, 36.35), 46.88, 41.36),
        ((50.50, 31.05, 31.82), 38.73, 35.11),
        ((50.50, 30.98, 32.83), 38.69, 35.62),
        ((50.40, 30.46, 32.72), 38.33, 35.39),
        ((62.73, 49.54, 37.61), 54.75, 45.77),
    ],
    ids=["IGMN", "MemN+VQA", "MemN+DPG", "BiDAF+DPG", "f-GCN1+SSOC"],
)
def test_published_aggregates_come_of_their_columns(shares: Sequence[float], text: float, every: float) -> None:
    right: dict[str, float] = {}
    kinds: dict[str, Kind] = {}
    for kind, share in zip(KINDS, shares, strict=True):
        count = PUBLISHED_COUNTS["val"][kind]
        for number in range(count):
            right[f"{kind}{number}"] = float(number < round(share / 100 * count))
            kinds[f"{kind}{number}"] = kind
    found = {column: 100 * value for column, value in Scores(right, kinds).columns().items()}
    assert len(right) == 998 + 1530 + 2781
    assert [found[column] for column in ("true-false", "text choice", "diagram")] == pytest.approx(shares, abs=0.02)
    assert found["text all"] == pytest.approx(text, abs=0.015)
    assert found["all"] == pytest.approx(every, abs=0.015)


def test_answers_are_compared_with_the_book() -> None:
    book = diagram_book()
    found = score(book, {"w/q1": [0.4, 0.6], "w/q2": torch.tensor([0.7, 0.3]), "w/q3": [0.1, 0.7, 0.1, 0.1]})
    assert found.right == {"w/q1": 0, "w/q2": 1, "w/q3": 1}
    assert found.kinds == {"w/q1": "diagram", "w/q2": "true or false", "w/q3": "multiple choice"}
    assert list(found.right) == [question.name for _, question in book.pairs()]


@pytest.mark.parametrize(
    ("row", "right"),
    [
        ([0.25] * 4, 0.25),
        ([0.4, 0.4, 0.1, 0.1], 0.5),
        ([0.1, 0.4, 0.4, 0.1], 0.0),
        ([0.3, 0.3, 0.3, 0.1], 1 / 3),
        ([0.4, 0.2, 0.2, 0.2], 1.0),
    ],
)
def test_equal_ones_share(row: list[float], right: float) -> None:
    found = score(asking(Question("q", "Which?", ("a", "b", "c", "d"), 0)), {"q": row})
    assert found.right["q"] == pytest.approx(right)


def test_questions_without_an_answer_are_not_counted_and_a_missing_one_is_an_error() -> None:
    known, blank = Question("known", "Which?", ("a", "b"), 1), Question("blank", "Which?", ("a", "b"))
    assert score(asking(known, blank), {"known": [0, 1]}).right == {"known": 1}
    with pytest.raises(KeyError):
        score(asking(known), {"blank": [0, 1]})


# intervals


def test_the_interval_of_equal_values_is_them() -> None:
    assert interval(np.full(7, 0.3)) == pytest.approx((0.3, 0.3))
    assert interval(np.array([1.0])) == (1.0, 1.0)


@pytest.mark.parametrize(("count", "right"), [(2, 1), (40, 10), (100, 50), (100, 95)])
def test_the_interval_is_that_of_a_binomial(count: int, right: int) -> None:
    """Draws with replacement of 0 and 1 have a binomial sum, whose quantiles are known."""
    low, high = interval(np.repeat([1.0, 0.0], [right, count - right]), resamples=4000)
    expected = [binom.ppf(share, count, right / count) / count for share in (0.025, 0.975)]
    assert low == pytest.approx(expected[0], abs=1.01 / count)
    assert high == pytest.approx(expected[1], abs=1.01 / count)


def test_the_interval_repeats_and_follows_the_seed_alone() -> None:
    values = np.random.default_rng(0).random(50)
    np.random.seed(1)  # noqa: NPY002
    assert interval(values) == interval(values)
    assert interval(values) != interval(values, seed=1)


def test_no_question_has_no_interval() -> None:
    assert all(map(math.isnan, interval(np.array([]))))


# rows of tables


def test_replicas_that_were_asked_the_same_are_averaged_question_by_question() -> None:
    one = scores_of(a=(1, "diagram"), b=(0, "multiple choice"))
    two = scores_of(a=(0, "diagram"), c=(1, "true or false"))
    assert by_question([one, two], "all") == {"a": 0.5, "b": 0, "c": 1}
    assert by_question([one, two], "text all") == {"b": 0, "c": 1}
    found = row_columns([one, two], 200)
    assert {column: found[column] for column in COLUMNS} == {
        "true-false": 1,
        "text choice": 0,
        "text all": 0.5,
        "diagram": 0.5,
        "all": 0.5,
    }
    assert found["low"] <= 0.5 <= found["high"]
    assert found["spread"] == 0


def test_the_spread_is_over_replicas() -> None:
    right, wrong = scores_of(a=(1, "diagram"), b=(1, "diagram")), scores_of(a=(0, "diagram"), b=(0, "diagram"))
    assert row_columns([right, wrong], 200)["spread"] == pytest.approx(np.std([1, 0], ddof=1))
    assert row_columns([Scores({}, {})], 200) == {}


def test_differences_are_of_the_questions_that_both_were_asked() -> None:
    ours = [scores_of(a=(1, "diagram"), b=(1, "diagram"), c=(1, "diagram"))]
    theirs = [scores_of(b=(0, "diagram"), c=(1, "diagram"), d=(1, "diagram"))]
    found = difference_columns(ours, theirs, 400)
    assert found["all"] == 0.5
    assert (found["low"], found["high"]) == (0, 1)
    assert difference_columns(ours, [scores_of(z=(1, "diagram"))], 200) == {}
    same = difference_columns(ours, ours, 200)
    assert same == {"all": 0, "low": 0, "high": 0}
