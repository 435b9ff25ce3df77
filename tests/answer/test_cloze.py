"""Questions that a book without any is given."""

from __future__ import annotations

from dataclasses import replace

from tenfold.answer.cloze import with_cloze_questions
from tenfold.answer.config import NetSettings, ReaderSettings, SsocSettings
from tenfold.answer.reader import TextbookReader
from tenfold.answer.textbook import Lesson, Paragraph, Textbook

from .small_books import colour_book

TEXT = (
    Paragraph("a/1", "The heart pumps blood through the body. It beats."),
    Paragraph("a/2", "The lungs take oxygen from the air into the blood."),
)


def plain_book() -> Textbook:
    return Textbook("plain", (Lesson("a", "The body", TEXT),))


def test_a_sentence_without_its_rarest_word_asks_for_it() -> None:
    questions = with_cloze_questions(plain_book()).lessons[0].questions
    assert [question.name for question in questions] == ["a/1/cloze1", "a/2/cloze1"]
    assert questions[0].choices == ("heart",)
    assert questions[0].text.split() == ["The", "pumps", "blood", "through", "the", "body."]
    assert all(question.answer is None and len(question.choices) == 1 for question in questions)
    assert "blood" not in {choice for question in questions for choice in question.choices}


def test_a_lesson_with_questions_keeps_them() -> None:
    book = colour_book(count=2)
    assert with_cloze_questions(book) == book
    mixed = replace(book, lessons=(book.lessons[0], replace(book.lessons[1], questions=())))
    changed = with_cloze_questions(mixed)
    assert changed.lessons[0] == book.lessons[0]
    assert changed.lessons[1].questions


def test_names_stay_unique_in_the_book() -> None:
    book = colour_book(count=6)
    with_cloze_questions(replace(book, lessons=tuple(replace(lesson, questions=()) for lesson in book.lessons)))


def test_a_reader_adapts_to_a_book_without_questions() -> None:
    settings = ReaderSettings(net=NetSettings(hidden=8, characters=0), ssoc=SsocSettings(epochs=2))
    reader = TextbookReader(settings)
    before = {name: weight.clone() for name, weight in reader.solver.state_dict().items()}
    reader.adapt(plain_book())
    assert any(not weight.equal(before[name]) for name, weight in reader.solver.state_dict().items())
    answer = reader.answer("Which organ pumps blood?", ("heart", "lungs"), lesson="The body")
    assert answer.evidence[0].name in ("a/1", "a/2")


def test_an_empty_book_has_nothing_to_ask() -> None:
    empty = Textbook("empty", (Lesson("e", "E", ()),))
    assert with_cloze_questions(empty) == empty
