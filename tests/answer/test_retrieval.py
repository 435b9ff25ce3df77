"""Retrieval against TF-IDF written out again, and at its edges: ties, scopes, empty texts, judgements."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from tenfold.answer import retrieval as module
from tenfold.answer.config import Scope
from tenfold.answer.retrieval import Query, Retrieval, is_judgement, query, stems
from tenfold.answer.textbook import Lesson, Paragraph, Question, Textbook

from .small_books import colour_book, diagram_book


def book_of(*lessons: Sequence[str], topics: Sequence[str] = ()) -> Textbook:
    """Lessons a, b, ... of paragraphs a/0, a/1, ..."""
    made = []
    for number, texts in enumerate(lessons):
        name = "abcdef"[number]
        named = [Paragraph(f"{name}/{k}", text, topics[k] if k < len(topics) else "") for k, text in enumerate(texts)]
        made.append(Lesson(name, name.upper(), tuple(named)))
    return Textbook("small", tuple(made))


def by_hand(texts: Sequence[str], asked: str) -> list[float]:
    """Cosines of (1 + log count) (log((1 + N) / (1 + n)) + 1)."""
    counts = [Counter(stems(text)) for text in texts]
    inside = Counter(word for each in counts for word in each)
    idf = {word: math.log((1 + len(texts)) / (1 + count)) + 1 for word, count in inside.items()}

    def vector(count: Counter[str]) -> dict[str, float]:
        return {word: (1 + math.log(n)) * idf[word] for word, n in count.items() if word in idf}

    def length(values: dict[str, float]) -> float:
        return math.sqrt(sum(value**2 for value in values.values()))

    wanted = vector(Counter(stems(asked)))
    found = []
    for each in map(vector, counts):
        dot = sum(value * wanted.get(word, 0.0) for word, value in each.items())
        found.append(dot / (length(each) * length(wanted)) if dot else 0.0)
    return found


TEXTS = (
    "The sun warms the sea, and the sea warms the air.",
    "Rain falls from clouds. Clouds are made of drops.",
    "Rivers run to the sea when rain falls.",
    "A stone lies in the sun.",
)


@pytest.mark.parametrize("asked", ["What warms the sea?", "clouds clouds rain", "the", "Rivers running falls", "zebra"])
def test_similarities_are_the_cosines_of_tf_idf(asked: str) -> None:
    (found,) = Retrieval(book_of(TEXTS)).best([Query("a", asked)], 4)
    expected = by_hand(TEXTS, asked)
    for each in found:
        assert each.similarity == pytest.approx(expected[int(each.paragraph.name[-1])], abs=1e-6)
    order = sorted(range(4), key=lambda place: -expected[place])
    assert [each.paragraph.name for each in found] == [f"a/{place}" for place in order]


def test_the_topic_is_part_of_the_text() -> None:
    book = book_of(["It is hot.", "It is cold."], topics=["Lava", "Ice"])
    (found,) = Retrieval(book).best([Query("a", "ice")], 1)
    assert found[0].paragraph.name == "a/1"


def test_equal_paragraphs_stand_in_the_order_of_the_book() -> None:
    mixed = ["Rain falls.", "Rain rain falls, and falls on rain.", "The sun shines."] * 40
    (found,) = Retrieval(book_of(mixed)).best([Query("a", "falls")], 200)
    for kind in range(3):
        places = [int(each.paragraph.name[2:]) for each in found if each.paragraph.text == mixed[kind]]
        assert places == list(range(kind, 120, 3))
    (nothing,) = Retrieval(book_of(mixed)).best([Query("a", "zebra")], 200)
    assert [each.paragraph.name for each in nothing] == [f"a/{k}" for k in range(120)]
    assert {each.similarity for each in nothing} == {0.0}


def test_a_lesson_is_looked_through_alone_and_a_book_whole() -> None:
    book = book_of(["The sun is hot.", "Ice is cold."], ["Lava is hot, and the sun too.", "The sun, the sun."])
    asked = [Query("a", "sun"), Query("b", "sun"), Query("a", "ice"), Query("a", "sun")]
    by_lesson = Retrieval(book).best(asked, 9)
    assert [{each.paragraph.name[0] for each in found} for found in by_lesson] == [{"a"}, {"b"}, {"a"}, {"a"}]
    assert by_lesson[0] == by_lesson[3]
    by_book = Retrieval(book, "book").best(asked, 9)
    assert [len(found) for found in by_book] == [4] * 4
    assert by_book[0] == by_book[1]
    assert by_book[0][0].paragraph.name == "b/1"
    alike = {each.paragraph.name: each.similarity for each in by_book[0]}
    assert all(alike[each.paragraph.name] == pytest.approx(each.similarity) for each in by_lesson[0])


def test_the_best_are_as_many_as_asked_or_as_there_are() -> None:
    book = book_of(TEXTS, [], ["Alone."])
    for count in (1, 3, 4, 9):
        four, none, one = Retrieval(book).best([Query("a", "sea"), Query("b", "sea"), Query("c", "sea")], count)
        assert (len(four), len(none), len(one)) == (min(4, count), 0, 1)


@pytest.mark.parametrize("scope", ["lesson", "book"])
def test_a_book_without_a_word_gives_its_first_paragraphs(scope: Scope) -> None:
    book = book_of(["", "...", "!?"], ["--"])
    (found,) = Retrieval(book, scope).best([Query("a", "anything")], 2)
    assert [(each.paragraph.name, each.similarity) for each in found] == [("a/0", 0.0), ("a/1", 0.0)]
    assert Retrieval(book, scope).rarity("anything") == 1.0


def test_an_empty_paragraph_or_query_has_no_similarity() -> None:
    found, nothing = Retrieval(book_of(["", "The sun."])).best([Query("a", "sun"), Query("a", "")], 2)
    assert found[0].paragraph.name == "a/1"
    assert found[0].similarity == pytest.approx(0.5**0.5)  # "the" is a word too
    assert found[1].similarity == 0
    assert [each.similarity for each in nothing] == [0, 0]


@pytest.mark.parametrize("scope", ["lesson", "book"])
def test_no_query_has_no_result(scope: Scope) -> None:
    assert Retrieval(book_of(TEXTS), scope).best([], 2) == []


def test_similarities_are_never_above_1() -> None:
    texts = [" ".join(f"w{k}" for k in range(n, n + 9)) for n in range(30)]
    found = Retrieval(book_of(texts)).best([Query("a", text) for text in texts], 1)
    assert all(0.99 < each[0].similarity <= 1 for each in found)
    assert [each[0].paragraph.name for each in found] == [f"a/{k}" for k in range(30)]


def test_many_queries_are_cut_into_blocks_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [Query("a", text) for text in ("sea", "rain", "sun", "clouds", "stone", "sea rain", "sun")]
    whole = Retrieval(book_of(TEXTS)).best(asked, 4)
    monkeypatch.setattr(module, "CHUNK", 5)
    assert Retrieval(book_of(TEXTS)).best(asked, 4) == whole


def test_rarity_is_1_of_a_word_in_one_paragraph_and_falls_with_each_more() -> None:
    book = book_of(["sun one", "sun two", "sun two"], ["sun"])
    found = Retrieval(book)
    rarest = math.log(5 / 2) + 1
    assert found.rarity("one") == pytest.approx(1.0)
    assert found.rarity("two") == pytest.approx((math.log(5 / 3) + 1) / rarest)
    assert found.rarity("sun") == pytest.approx(1 / rarest)
    assert found.rarity("zebra") == 1.0
    assert Retrieval(book, "book").rarity("sun") == found.rarity("sun")


def test_rarity_is_never_above_1() -> None:
    found = [Retrieval(book_of([f"w{k}" for k in range(count)])).rarity("w0") for count in range(1, 60)]
    assert max(found) <= 1


def test_words_are_compared_by_their_stems() -> None:
    assert stems("Layers, moving layers!") == ["layer", "move", "layer"]
    (found,) = Retrieval(book_of(["The layer moves.", "The core rests."])).best([Query("a", "moving layers")], 2)
    assert found[0].paragraph.name == "a/0"


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        (("true", "false"), True),
        (("False.", " TRUE "), True),
        (("yes", "No"), True),
        (("true",), True),
        (("true", "false", "maybe"), False),
        (("truth", "lie"), False),
        (("the sun", "false"), False),
    ],
)
def test_choices_that_only_judge_are_known(choices: tuple[str, ...], expected: bool) -> None:
    assert is_judgement(Question("q", "Is it so?", choices)) is expected


def test_a_judgement_asks_for_the_question_alone() -> None:
    lesson = diagram_book().lessons[0]
    statement, choice = lesson.questions[1:]
    assert {query(lesson, statement, place) for place in range(2)} == {Query("w", statement.text)}
    assert query(lesson, choice, 1) == Query("w", "What warms the sea? the sun")


def test_each_colour_question_finds_its_thing() -> None:
    book = colour_book()
    asked = list(book.pairs())
    assert all(question.answer is not None for _, question in asked)
    found = Retrieval(book).best([query(lesson, each, each.answer or 0) for lesson, each in asked], 1)
    assert [each[0].paragraph.name for each in found] == [question.evidence[0] for _, question in asked]


@pytest.mark.parametrize("text", ["太阳是热的", "الشمس حارة", "Ο ήλιος είναι ζεστός"])  # noqa: RUF001
def test_other_scripts_are_found(text: str) -> None:
    (found,) = Retrieval(book_of(["The moon.", text])).best([Query("a", text)], 1)
    assert found[0].paragraph.text == text
    assert found[0].similarity == pytest.approx(1.0)


def test_a_lesson_that_is_not_there_is_a_key_error() -> None:
    for texts in (TEXTS, ("",)):
        with pytest.raises(KeyError):
            Retrieval(book_of(texts)).best([Query("z", "sun")], 1)


def test_similarities_are_plain_numbers() -> None:
    (found,) = Retrieval(book_of(TEXTS)).best([Query("a", "sun")], 1)
    assert type(found[0].similarity) is float
    assert not isinstance(found[0].similarity, np.floating)
