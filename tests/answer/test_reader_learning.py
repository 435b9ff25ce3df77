"""What readers learn, the parts that may be one's own, and that what was saved goes on as if it had not been."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tenfold.answer import Textbook, TextbookReader
from tenfold.answer.config import ContextSettings, NetSettings, WordSettings
from tenfold.answer.parsing import Parse, load_parser
from tenfold.answer.vectors import StaticVectors, WordVectors
from tenfold.answer.words import split_words
from tenfold.core.checkpoint import load_state, save_state
from tenfold.core.errors import UsageError

from .small_books import colour_book, diagram_book
from .test_reader import ASKED, SMALL, chances


class OneHot(WordVectors):
    """Says how long a word is; counts what it is asked."""

    name, dim, contextual = "lengths", 5, False

    def __init__(self) -> None:
        self.seen = 0

    def of(self, texts: Sequence[Sequence[str]]) -> list[Tensor]:
        self.seen += sum(len(text) for text in texts)
        return [torch.eye(5)[[len(word) % 5 for word in text]].reshape(-1, 5) for text in texts]


class CountingParser:
    """Links each word with its next; counts sentences."""

    name = "counting"

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, sentences: Sequence[str]) -> list[Parse]:
        self.seen += len(sentences)
        return load_parser("window")(sentences)


@pytest.fixture(scope="module")
def reader() -> TextbookReader:
    """Nobody may train it further."""
    return TextbookReader(SMALL).adapt(diagram_book()).fit(colour_book())


def same_weights(one: TextbookReader, other: TextbookReader) -> bool:
    mine, theirs = one.solver.state_dict(), other.solver.state_dict()
    return list(mine) == list(theirs) and all(torch.equal(mine[name], theirs[name]) for name in mine)


# learning


def test_adapting_reads_no_answer_and_fitting_does() -> None:
    book = colour_book(count=2)
    turned = book._with_questions(lambda each: replace(each, answer=((each.answer or 0) + 1) % 3, evidence=()))
    assert same_weights(TextbookReader(SMALL).adapt(book), TextbookReader(SMALL).adapt(turned))
    assert not same_weights(TextbookReader(SMALL).fit(book), TextbookReader(SMALL).fit(turned))


def test_probabilities_read_no_answer(reader: TextbookReader) -> None:
    book = diagram_book()
    assert chances(reader, book) == chances(reader, book.without_answers())


def test_stages_repeat_with_the_seed_and_draw_anew_each_time() -> None:
    book = colour_book(count=2)
    first = TextbookReader(SMALL).adapt(book).fit(book)
    assert same_weights(first, TextbookReader(SMALL).adapt(book).fit(book))
    assert not same_weights(first, TextbookReader(SMALL, seed=1).adapt(book).fit(book))
    assert not same_weights(first, TextbookReader(SMALL).fit(book))
    assert not same_weights(TextbookReader(SMALL).fit(book, epochs=2), TextbookReader(SMALL).fit(book).fit(book))


def test_each_stage_has_a_seed_of_its_own_also_after_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr("tenfold.answer.reader.learn", lambda *given, seed: seeds.append(seed))
    book = colour_book(count=1)
    TextbookReader(SMALL).fit(book).fit(book).adapt(book).save(tmp_path)
    TextbookReader.load(tmp_path).fit(book)
    assert len(set(seeds)) == 4
    TextbookReader(SMALL).fit(book)
    assert seeds[4] == seeds[0]


@pytest.mark.parametrize("name", ["adapt", "fit"])
def test_no_epoch_leaves_the_weights(name: str) -> None:
    book = colour_book(count=2)
    reader = TextbookReader(SMALL).read(book)
    getattr(reader, name)(book, epochs=0)
    assert same_weights(reader, TextbookReader(SMALL).read(book))
    with pytest.raises(UsageError, match="epochs is -1, but must be at least 0"):
        getattr(reader, name)(book, epochs=-1)


def test_fitting_needs_an_answer() -> None:
    with pytest.raises(UsageError, match="houses: no question has a known answer"):
        TextbookReader(SMALL).fit(colour_book(count=2).without_answers())
    with pytest.raises(UsageError, match="no book: no question has a known answer"):
        TextbookReader(SMALL).fit()


def test_adapting_needs_a_question_with_two_paragraphs() -> None:
    lessons = tuple(replace(each, paragraphs=each.paragraphs[:1]) for each in colour_book(count=2).lessons)
    with pytest.raises(UsageError, match="houses: no question has two paragraphs to choose from"):
        TextbookReader(SMALL).adapt(Textbook("houses", lessons))
    TextbookReader(SMALL).adapt(Textbook("houses", lessons), colour_book(5, 1))


@pytest.mark.parametrize("name", ["fit", "probabilities"])
def test_a_book_without_questions_is_no_crash(name: str) -> None:
    silent = colour_book(count=2)._with_questions(lambda question: None)
    reader = TextbookReader(SMALL)
    if name == "probabilities":
        assert reader.probabilities(silent) == {}
    else:
        with pytest.raises(UsageError, match="no question has a known answer"):
            reader.fit(silent)


def test_scores_count_what_is_right(reader: TextbookReader) -> None:
    book = diagram_book()
    rows = chances(reader, book)
    right = [rows[each.name].index(max(rows[each.name])) == each.answer for _, each in book.pairs()]
    assert reader.score(book).columns()["all"] == pytest.approx(sum(right) / 3)
    assert reader.score(book.without_answers()).count == 0


# parts of one's own


def test_vectors_and_a_parser_of_ones_own_are_used() -> None:
    vectors, parser = OneHot(), CountingParser()
    reader = TextbookReader(SMALL, vectors=vectors, parser=parser).fit(colour_book(count=1))
    assert vectors.seen
    assert parser.seen
    assert reader.solver.features.width == 5 + 6
    first = parser.seen
    reader.fit(colour_book(count=1))
    assert parser.seen == first  # the same sentences are known


def test_names_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        TextbookReader(replace(SMALL, context=ContextSettings(parser="spacy:no_such_pipeline")))
    gone = replace(SMALL, words=WordSettings("glove", tmp_path / "gone.txt"))
    with pytest.raises(UsageError, match=r"gone\.txt"):
        TextbookReader(gone).fit(colour_book())


def test_vectors_of_the_book_are_fitted_on_what_is_read() -> None:
    settings = replace(SMALL, words=WordSettings("book", dim=8))
    reader = TextbookReader(settings).read(diagram_book()).fit(colour_book(count=1))
    assert isinstance(reader._vectors, StaticVectors)
    assert {"vapour", "house"} <= set(reader._vectors.words)


# keeping


@pytest.mark.parametrize("vectors", ["hashed", "book"])
def test_a_reader_that_was_kept_answers_alike_and_learns_on_alike(vectors: Any, tmp_path: Path) -> None:
    settings = replace(SMALL, words=WordSettings(vectors, dim=8))
    reader = TextbookReader(settings, seed=3).adapt(diagram_book()).fit(colour_book(count=2))
    reader.save(tmp_path / "kept")
    loaded = TextbookReader.load(tmp_path / "kept")
    assert (loaded.settings, loaded.seed, loaded.library) == (settings, 3, ())
    assert same_weights(reader, loaded)
    for book in (diagram_book(), colour_book(7, 2)):
        assert chances(loaded, book) == chances(reader, book)
    asked = loaded.answer(*ASKED, book=colour_book())
    assert asked.probabilities == reader.answer(*ASKED, book=colour_book()).probabilities
    reader.fit(colour_book(4, 1))
    loaded.fit(colour_book(4, 1))
    for name, value in reader.solver.state_dict().items():
        assert torch.allclose(value, loaded.solver.state_dict()[name], atol=1e-5), name


def test_what_is_kept_is_json_and_safetensors(reader: TextbookReader, tmp_path: Path) -> None:
    reader.save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    json.loads((tmp_path / "state.json").read_text())


def test_own_vectors_are_given_again(tmp_path: Path) -> None:
    reader = TextbookReader(SMALL, vectors=OneHot()).fit(colour_book(count=1))
    reader.save(tmp_path)
    again = TextbookReader.load(tmp_path, vectors=OneHot())
    assert chances(again, colour_book(count=1)) == chances(reader, colour_book(count=1))
    with pytest.raises(UsageError, match="weights are of a network of other settings"):
        TextbookReader.load(tmp_path)


def test_own_vectors_of_the_usual_width_are_asked_for(tmp_path: Path) -> None:
    words = sorted(
        {
            word.text
            for lesson in colour_book(count=1).lessons
            for each in lesson.paragraphs
            for word in split_words(each.text)
        }
    )
    TextbookReader(SMALL, vectors=StaticVectors("mine", words, torch.randn(len(words), 8))).fit(
        colour_book(count=1)
    ).save(tmp_path)
    with pytest.raises(UsageError, match="was saved with the vectors mine, but is given hashed"):
        TextbookReader.load(tmp_path)


def test_nothing_learned_is_nothing_to_keep(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has not learned anything yet"):
        TextbookReader(SMALL).save(tmp_path)


def test_a_folder_that_holds_no_reader_is_refused(reader: TextbookReader, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"state\.json"):
        TextbookReader.load(tmp_path)
    save_state(tmp_path, {"something": 1})
    with pytest.raises(UsageError, match="does not hold a reader"):
        TextbookReader.load(tmp_path)
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(UsageError, match="is damaged"):
        TextbookReader.load(tmp_path)


@pytest.mark.parametrize(
    "lost",
    [
        "solver",
        "settings",
        "vectors",
    ],
)
def test_a_reader_that_lacks_a_part_is_refused(reader: TextbookReader, lost: str, tmp_path: Path) -> None:
    reader.save(tmp_path)
    state = load_state(tmp_path)
    save_state(tmp_path, {name: value for name, value in state.items() if name != lost})
    with pytest.raises(UsageError, match="does not hold a reader"):
        TextbookReader.load(tmp_path)


def test_weights_of_another_network_are_refused(reader: TextbookReader) -> None:
    other = TextbookReader(replace(SMALL, net=NetSettings(hidden=9, characters=6)))
    with pytest.raises(UsageError, match="network of other settings"):
        other.restore(reader.state())


def test_a_folder_that_cannot_be_written_is_named(reader: TextbookReader, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write to"):
        reader.save(tmp_path / "file" / "kept")
