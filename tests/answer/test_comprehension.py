"""Self-supervised comprehension: what is aimed at, that no answer is read, and what is passed over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from tenfold.answer import fitting
from tenfold.answer.batching import collate
from tenfold.answer.cloze import with_cloze_questions
from tenfold.answer.config import ContextSettings, FitSettings, NetSettings, ReaderSettings, SsocSettings, WordSettings
from tenfold.answer.examples import Encoder, Example
from tenfold.answer.parsing import load_parser
from tenfold.answer.reader import TextbookReader
from tenfold.answer.retrieval import Query, Retrieval, is_judgement, query
from tenfold.answer.solver import Batch
from tenfold.answer.textbook import Lesson, Paragraph, Question, Textbook
from tenfold.answer.vectors import HashedVectors
from tenfold.answer.word_bank import WordBank
from tenfold.answer.words import STOP_WORDS, split_words
from tenfold.core.errors import UsageError

from .small_books import colour_book, diagram_book

SMALL = ReaderSettings(
    net=NetSettings(hidden=8, characters=6),
    words=WordSettings(dim=8),
    ssoc=SsocSettings(epochs=2, paragraphs=4, learning_rate=1e-2),
    fit=FitSettings(epochs=2, batch_size=8, learning_rate=1e-2),
)


def encoder() -> Encoder:
    return Encoder(WordBank(HashedVectors(8)), load_parser("rules"), ContextSettings())


def both() -> Textbook:
    return colour_book(count=3).and_also([diagram_book()])


def weights(*books: Textbook, seed: int = 0) -> dict[str, torch.Tensor]:
    return TextbookReader(SMALL, seed=seed).adapt(*books).solver.state_dict()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def statements(*texts: str) -> Textbook:
    paragraphs = (Paragraph("p0", "Rain falls from clouds."), Paragraph("p1", "The sun is hot."))
    questions = tuple(Question(f"q{k}", text, ("true", "false"), 0) for k, text in enumerate(texts))
    return Textbook("statements", (Lesson("l", "L", paragraphs, (), questions),))


# the target


@pytest.mark.parametrize("scope", ["lesson", "book"])
@pytest.mark.parametrize("count", [2, 3, 9])
def test_the_target_is_the_paragraph_of_the_highest_tf_idf(scope: str, count: int) -> None:
    book = both()
    settings = SsocSettings(paragraphs=count, scope=scope)  # type: ignore[arg-type]
    found = Retrieval(book, settings.scope)
    groups = {group[0].name: group for group in encoder().comprehension(book, settings)}
    assert list(groups) == [question.name for _, question in book.pairs()]
    for lesson, question in book.pairs():
        places = range(1) if is_judgement(question) else range(len(question.choices))
        assert len(groups[question.name]) == len(places)
        for place, example in zip(places, groups[question.name], strict=True):
            (best,) = found.best([query(lesson, question, place)], count)
            names = [pair.found[0].paragraph.name for pair in example.pairs]
            assert names == [each.paragraph.name for each in best]
            assert all(len(pair.found) == 1 for pair in example.pairs)
            similar = [pair.found[0].similarity for pair in example.pairs]
            assert similar[example.answer] == max(similar)


def test_each_paragraph_is_read_with_the_same_question_and_candidate() -> None:
    for group in encoder().comprehension(colour_book(count=1), SsocSettings(paragraphs=4)):
        for example in group:
            assert len({id(pair.choice) for pair in example.pairs if pair.choice.flags.any()}) <= 1
            assert len({tuple(pair.question.rows.tolist()) for pair in example.pairs}) == 1
            assert len({id(pair.context) for pair in example.pairs}) == 4


def test_the_context_is_one_paragraph_alone() -> None:
    made = Encoder(WordBank(HashedVectors(8)), load_parser("rules"), ContextSettings(paragraphs=3))
    for group in made.comprehension(colour_book(count=1), SsocSettings(paragraphs=4)):
        assert all(len(pair.found) == 1 for example in group for pair in example.pairs)


# no label


def test_the_weights_are_the_same_with_other_answers_or_none() -> None:
    book = both()
    expected = weights(book)
    turned = book._with_questions(
        lambda each: replace(each, answer=((each.answer or 0) + 1) % len(each.choices), evidence=())
    )
    assert turned != book
    assert same(expected, weights(turned))
    assert same(expected, weights(book.without_answers()))
    assert not same(expected, weights(book, seed=1))
    assert not same(expected, TextbookReader(SMALL).solver.state_dict())


def test_examples_carry_no_answer_but_the_target() -> None:
    for book in (both(), both().without_answers()):
        groups = encoder().comprehension(book, SsocSettings())
        assert {example.answer for group in groups for example in group} == {0}
        assert not any(example.ordered for group in groups for example in group)


# order


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Example]]:
    seen: list[Sequence[Example]] = []

    def recording(examples: Sequence[Example]) -> Batch:
        seen.append(examples)
        return collate(examples)

    monkeypatch.setattr(fitting, "collate", recording)
    return seen


def test_the_order_is_drawn_or_the_place_alone_would_give_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = recorded(monkeypatch)
    TextbookReader(SMALL).adapt(colour_book(count=4), epochs=6)
    answers = [example.answer for batch in seen for example in batch]
    assert len(answers) == 6 * 16
    counts = [answers.count(place) for place in range(4)]
    assert min(counts) > 10  # 24 are expected
    for batch in seen:
        for example in batch:
            similar = [pair.found[0].similarity for pair in example.pairs]
            assert similar[example.answer] == max(similar)


def test_every_epoch_takes_one_candidate_of_each_question(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = recorded(monkeypatch)
    book = colour_book(count=4)
    TextbookReader(SMALL).adapt(book, epochs=8)
    names = [example.name for batch in seen for example in batch]
    assert all(names.count(question.name) == 8 for _, question in book.pairs())
    taken: dict[str, set[tuple[int, ...]]] = {}
    for batch in seen:
        for example in batch:
            taken.setdefault(example.name, set()).add(tuple(example.pairs[0].choice.words.tolist()))
    assert sum(len(each) for each in taken.values()) > 2 * len(taken)


# what is passed over


def test_a_lesson_of_one_paragraph_is_passed_over() -> None:
    book = both()
    short = replace(book.lessons[0], paragraphs=book.lessons[0].paragraphs[:1])
    mixed = Textbook("mixed", (short, *book.lessons[1:]))
    groups = encoder().comprehension(mixed, SsocSettings())
    assert {group[0].name for group in groups} == {
        each.name for lesson in book.lessons[1:] for each in lesson.questions
    }
    assert encoder().comprehension(Textbook("short", (short,)), SsocSettings()) == []
    with pytest.raises(UsageError, match="short: no question has two paragraphs to choose from"):
        TextbookReader(SMALL).adapt(Textbook("short", (short,)))
    whole = encoder().comprehension(mixed, SsocSettings(scope="book"))
    assert len(whole) == sum(mixed.counts.values())


def test_a_lesson_without_a_paragraph_is_passed_over() -> None:
    bare = Textbook("bare", (replace(colour_book().lessons[0], paragraphs=()),))
    assert encoder().comprehension(bare, SsocSettings()) == []


def test_what_adapts_has_a_question() -> None:
    with pytest.raises(UsageError, match="no book: no question has two paragraphs"):
        TextbookReader(SMALL).adapt()


def silent_book(count: int = 2) -> Textbook:
    return colour_book(count=count)._with_questions(lambda question: None)


def test_a_lesson_without_a_question_is_asked_for_its_sentences() -> None:
    """Each sentence of five words without its rarest, which is the only choice."""
    made = with_cloze_questions(silent_book(1))
    found = [question for _, question in made.pairs()]
    lamp = next(each for each in found if each.name == "c0/0/cloze1")
    assert (lamp.text, lamp.choices, lamp.answer) == ("The  of this house is red.", ("lamp",), None)
    assert len(found) == 8
    words = [word.text for each in found for word in split_words(each.text)]
    assert not any(each.choices[0] in STOP_WORDS for each in found)
    assert len(words) == sum(len(split_words(each.text)) for each in made.lessons[0].paragraphs) - 8
    for example in (group[0] for group in encoder().comprehension(made, SsocSettings())):
        name = example.name.rpartition("/")[0]
        assert example.pairs[0].found[0].paragraph.name == name


def test_lessons_with_questions_keep_them_alone() -> None:
    book = colour_book(count=1).and_also([diagram_book()])
    assert with_cloze_questions(book) == book
    mixed = Textbook("mixed", (*silent_book(1).lessons, *diagram_book().lessons))
    made = with_cloze_questions(mixed)
    assert made.lessons[1] == mixed.lessons[1]
    assert len(made.lessons[0].questions) == 8


@pytest.mark.parametrize("text", ["", "Too short this.", "It is what it is and no more of the same.", "..."])
def test_sentences_that_tell_nothing_are_not_asked(text: str) -> None:
    lesson = Lesson("l", "L", (Paragraph("p", text), Paragraph("q", "The sun.")))
    assert not with_cloze_questions(Textbook("b", (lesson,))).lessons[0].questions


def test_a_book_without_a_question_is_adapted_to() -> None:
    assert not same(weights(silent_book()), TextbookReader(SMALL).solver.state_dict())
    assert same(weights(silent_book()), weights(silent_book()))


def test_a_book_that_nothing_can_be_asked_of_is_refused_in_a_sentence() -> None:
    short = Textbook("short", (Lesson("l", "L", (Paragraph("p", "Rain falls."), Paragraph("q", "Snow falls."))),))
    with pytest.raises(UsageError, match="no question has two paragraphs"):
        TextbookReader(SMALL).adapt(short)


# judgements


def test_a_judgement_takes_one_candidate_and_both_words_are_met() -> None:
    book = statements("Rain falls.", "Rain falls from clouds.", "The sun is hot.", "The sun is very hot.")
    made = encoder()
    groups = made.comprehension(book, SsocSettings())
    assert [len(group) for group in groups] == [1, 1, 1, 1]
    word = {int(made.bank.words((text,))[0]) for text in ("true", "false")}
    assert {int(group[0].pairs[0].choice.words[0]) for group in groups} == word
    for (_, question), (example,) in zip(book.pairs(), groups, strict=True):
        (best,) = Retrieval(book).best([Query("l", question.text)], 2)
        assert [pair.found[0] for pair in example.pairs] == best


# it learns


def test_the_nearest_paragraph_is_learned() -> None:
    settings = replace(SMALL, ssoc=replace(SMALL.ssoc, epochs=15))
    book, unseen = colour_book(), colour_book(20, 4)
    reader = TextbookReader(settings)

    def share_right() -> float:
        encoder = reader._ready()
        groups = encoder.comprehension(unseen, settings.ssoc)
        examples = [example for group in groups for example in group]
        rows = fitting.answer_all(reader._tables(), examples)
        return sum(int(row.argmax()) == 0 for row in rows) / len(rows)

    before = share_right()
    reader.adapt(book)
    assert share_right() > max(0.7, before + 0.2)


def test_a_question_like_no_paragraph_teaches_nothing() -> None:
    asked = Question("q", "???", ("!", "?"))
    paragraphs = (Paragraph("p0", "Rain falls."), Paragraph("p1", "The sun is hot."))
    book = Textbook("odd", (Lesson("l", "L", paragraphs, (), (asked,)),))
    assert encoder().comprehension(book, SsocSettings()) == []
