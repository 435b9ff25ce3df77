"""Chance, TF-IDF, and encoders: each sees the paragraphs of the method, and no answer of what it is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tenfold.answer.config import ContextSettings, EncoderSettings
from tenfold.answer.examples import Encoder, Example
from tenfold.answer.parsing import load_parser
from tenfold.answer.rivals import chance, fine_tuned, frozen, nearest, readable
from tenfold.answer.textbook import Lesson, Paragraph, Question, Textbook
from tenfold.answer.vectors import HashedVectors
from tenfold.answer.word_bank import WordBank

from .small_books import colour_book, diagram_book, ring
from .tiny_encoder import write_encoder


def encoder(paragraphs: int = 1) -> Encoder:
    return Encoder(WordBank(HashedVectors(4)), load_parser("window"), ContextSettings(paragraphs=paragraphs))


def examples_of(book: Textbook, paragraphs: int = 1) -> list[Example]:
    return encoder(paragraphs).questions(book)


def small_book() -> Textbook:
    """In words that the tiny encoder knows."""
    paragraphs = (
        Paragraph("p0", "the sun is hot."),
        Paragraph("p1", "the moon is cold."),
        Paragraph("p2", "lava is hot."),
    )
    questions = (
        Question("q0", "what is hot?", ("sun", "ice"), 0),
        Question("q1", "what is cold?", ("the moon", "lava", "the sun"), 0),
        Question("q2", "the sun is hot.", ("true", "false"), 0, "true or false"),
        Question("q3", "lava is cold.", ("true", "false"), 1, "true or false"),
    )
    return Textbook("small", (Lesson("l", "L", paragraphs, (), questions),))


def test_chance_gives_all_the_same() -> None:
    book = diagram_book()
    assert [row.tolist() for row in chance(book, examples_of(book))] == [[0.5] * 2, [0.5] * 2, [0.25] * 4]


def test_the_nearest_is_the_candidate_most_like_its_best_paragraph() -> None:
    book = colour_book().and_also([diagram_book()])
    examples = examples_of(book)
    for example, row in zip(examples, nearest(book, examples), strict=True):
        similar = [pair.found[0].similarity for pair in example.pairs]
        assert float(row.sum()) == pytest.approx(1, abs=1e-5)
        assert similar[int(row.argmax())] == max(similar)
        for one, its in zip(similar, row.tolist(), strict=True):
            for other, theirs in zip(similar, row.tolist(), strict=True):
                assert (one > other) == (its > theirs)


def test_the_nearest_answers_what_is_said_in_one_sentence_and_judges_nothing() -> None:
    book = colour_book()
    rows = nearest(book, examples_of(book))
    right = [int(row.argmax()) == question.answer for row, (_, question) in zip(rows, book.pairs(), strict=True)]
    assert all(right)
    statement = nearest(diagram_book(), examples_of(diagram_book()))[1]
    assert statement.tolist() == [0.5, 0.5]


def test_without_a_paragraph_the_nearest_is_chance() -> None:
    book = Textbook("bare", (Lesson("l", "L", (), (), (Question("q", "Which?", ("a", "b", "c")),)),))
    assert nearest(book, examples_of(book))[0].tolist() == pytest.approx([1 / 3] * 3)


def test_what_encoders_read_is_what_the_method_reads() -> None:
    book = small_book()
    for paragraphs in (1, 2):
        examples = examples_of(book, paragraphs)
        for made, example, (_, question) in zip(readable(book, examples), examples, book.pairs(), strict=True):
            assert (made.question, made.choices, made.answer) == (question.text, question.choices, question.answer)
            for context, pair in zip(made.contexts, example.pairs, strict=True):
                assert context == " ".join(found.paragraph.text for found in pair.found)
                assert len(pair.found) == paragraphs


def test_an_own_diagram_is_read_as_its_labels() -> None:
    made = readable(diagram_book(), examples_of(diagram_book()))
    labels = ", ".join(part.text for part in ring().parts)
    assert all(context.endswith(labels) for context in made[0].contexts)
    assert not any(labels in context for context in made[1].contexts)


@pytest.mark.parametrize("rival", [frozen, fine_tuned])
def test_encoders_answer_and_read_no_answer(rival: Callable[..., list[Tensor]], tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="sentence encoders need the library tokenizers")
    path = write_encoder(tmp_path, config={"num_attention_heads": 4}, positions=256)
    settings = EncoderSettings(path=path, epochs=1, batch_size=2)
    book = small_book()
    learned, asked = examples_of(book), examples_of(book.without_answers())
    blank = book._with_questions(lambda each: replace(each, answer=None) if each.name == "q0" else each)

    def answered(train: Textbook, test: Textbook, seed: int = 0) -> list[Any]:
        return [row.tolist() for row in rival(settings, train, learned, test, asked, seed=seed)]

    first = answered(book, book)
    assert [len(row) for row in first] == [2, 3, 2, 2]
    assert all(sum(row) == pytest.approx(1, abs=1e-5) for row in first)
    assert answered(book, book.without_answers()) == first
    assert answered(blank, book) != first
    assert torch.tensor([value for row in first for value in row]).isfinite().all()


def test_an_encoder_of_fewer_positions_is_fine_tuned_too(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="sentence encoders need the library tokenizers")
    path = write_encoder(tmp_path, config={"num_attention_heads": 4}, positions=128)
    book = small_book()
    examples = examples_of(book)
    rows = fine_tuned(EncoderSettings(path=path, epochs=1), book, examples, book, examples, seed=0)
    assert [len(row) for row in rows] == [2, 3, 2, 2]
