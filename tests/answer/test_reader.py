"""The reader as its users meet it: adapting, fitting, asking, explaining, saving, and all that may be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tenfold.answer import Textbook, TextbookReader, drawing
from tenfold.answer.config import ContextSettings, FitSettings, NetSettings, ReaderSettings, SsocSettings, WordSettings
from tenfold.answer.text_graph import TextGraph
from tenfold.answer.textbook import Diagram, Lesson, Paragraph, Part
from tenfold.answer.words import split_sentences, split_words
from tenfold.core.errors import UsageError

from .small_books import colour_book, diagram_book, ring

SMALL = ReaderSettings(
    net=NetSettings(hidden=8, characters=6),
    words=WordSettings(dim=8),
    ssoc=SsocSettings(epochs=1, paragraphs=3),
    fit=FitSettings(epochs=1, batch_size=8, learning_rate=1e-2),
)
ASKED = ("Which colour is the lamp?", ("red", "blue", "green"))


@pytest.fixture(scope="module")
def reader() -> TextbookReader:
    """Nobody may train it further."""
    return TextbookReader(SMALL).adapt(diagram_book()).fit(colour_book())


def chances(reader: TextbookReader, book: Textbook) -> dict[str, list[float]]:
    return {name: row.tolist() for name, row in reader.probabilities(book).items()}


# as the package says


def test_the_five_lines_of_the_package(tmp_path: Path) -> None:
    (tmp_path / "L_0002.md").write_text(
        "# Layers\n\nThe core is the hottest layer.\n\nThe crust is thin.\n\n## Quiz\n\n"
        "1. Which layer is thin?\n   - [x] crust\n   - [ ] core\n"
    )
    book = Textbook.load(tmp_path)
    reader = TextbookReader().adapt(book)
    reader.fit(colour_book(count=1))
    answer = reader.answer("Which layer is hottest?", ["crust", "mantle", "core"], lesson="L_0002", explain=True)
    assert answer.choice == ["crust", "mantle", "core"][answer.place]
    assert sum(answer.probabilities) == pytest.approx(1, abs=1e-5)
    assert answer.evidence
    assert all(paragraph in book.lessons[0].paragraphs for paragraph in answer.evidence)


# asking


def test_an_answer_is_the_most_probable_choice(reader: TextbookReader) -> None:
    found = reader.answer(*ASKED, lesson="c0")
    assert found.place == max(range(3), key=found.probabilities.__getitem__)
    assert found.choice == ASKED[1][found.place]
    assert len(found.probabilities) == 3
    assert (found.attended, found.picture) == ((), None)
    assert all(paragraph.name.startswith("c0/") for paragraph in found.evidence)


def test_an_answer_is_that_of_the_question_in_the_book(reader: TextbookReader) -> None:
    for book in (colour_book(), diagram_book()):
        expected = chances(reader, book)
        for lesson, question in book.pairs():
            found = reader.answer(
                question.text, question.choices, lesson=lesson.name, book=book, diagram=question.diagram
            )
            assert found.probabilities == pytest.approx(expected[question.name], abs=1e-5)


def test_a_lesson_has_a_name_and_a_title(reader: TextbookReader) -> None:
    assert reader.answer(*ASKED, lesson="c0") == reader.answer(*ASKED, lesson="House 0")
    assert reader.answer(*ASKED, lesson="Water").evidence[0].name.startswith("w/")


def test_without_a_lesson_the_whole_last_book_is_looked_through(reader: TextbookReader) -> None:
    found = reader.answer("What colour has the bench of this house?", ["red", "blue"])
    assert "bench" in found.evidence[0].text
    other = reader.answer("What warms the sea?", ["the sun", "the moon"], book=diagram_book())
    assert other.evidence[0].name == "w/1"


def test_a_lesson_is_found_in_the_last_book_that_has_it() -> None:
    one = Textbook("one", (Lesson("l", "L", (Paragraph("old", "Rain falls."),)),))
    two = Textbook("two", (Lesson("l", "L", (Paragraph("new", "Rain falls."),)),))
    reader = TextbookReader(SMALL).read(one, two)
    asked: tuple[str, list[str]] = ("What falls?", ["rain", "snow"])
    assert reader.answer(*asked, lesson="l").evidence[0].name == "new"
    assert reader.answer(*asked, lesson="l", book=one).evidence[0].name == "old"
    assert reader.read(one).library == (one, two)


def test_a_statement_is_judged(reader: TextbookReader) -> None:
    found = reader.answer("Rain falls from heavy clouds.", ("true", "false"), lesson="w")
    assert found.choice in ("true", "false")
    assert found.evidence[0].name == "w/3"


def test_asking_changes_no_weight_and_repeats(reader: TextbookReader) -> None:
    before = {name: value.clone() for name, value in reader.solver.state_dict().items()}
    first = reader.answer(*ASKED, lesson="c0")
    reader.answer("What else?", ["this", "that"])
    assert reader.answer(*ASKED, lesson="c0") == first
    assert all(torch.equal(value, before[name]) for name, value in reader.solver.state_dict().items())


@pytest.mark.parametrize("choices", [["red"], [f"choice {k}" for k in range(12)]])
def test_there_may_be_1_to_12_choices(reader: TextbookReader, choices: list[str]) -> None:
    assert len(reader.answer("Which?", choices, lesson="c0").probabilities) == len(choices)


@pytest.mark.parametrize(
    ("question", "choices", "message"),
    [
        ("", ["a", "b"], "has no text"),
        ("  ", ["a", "b"], "has no text"),
        ("Which?", [], r"choices are \[\], but must be 1 to 12 texts"),
        ("Which?", ["a", " "], "must be 1 to 12 texts"),
        ("Which?", ["a", 3], "must be 1 to 12 texts"),
        ("Which?", [str(k) for k in range(13)], "13 choices, but must have 1 to 12"),
    ],
)
def test_questions_and_choices_that_will_not_do(
    reader: TextbookReader, question: str, choices: list[Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        reader.answer(question, choices, lesson="c0")


def test_one_text_is_not_a_list_of_choices(reader: TextbookReader) -> None:
    with pytest.raises(UsageError, match="choices"):
        reader.answer("Which?", "red", lesson="c0")


def test_an_unknown_lesson_is_said_with_those_there_are(reader: TextbookReader) -> None:
    with pytest.raises(UsageError, match=r"there is no lesson 'c77' in houses, which has c0, c1"):
        reader.answer(*ASKED, lesson="c77")
    with pytest.raises(UsageError, match=r"there is no lesson 'c0' in water, which has w"):
        reader.answer(*ASKED, lesson="c0", book=diagram_book())


def test_without_a_book_there_is_nothing_to_answer_from() -> None:
    with pytest.raises(UsageError, match="no book has been read yet"):
        TextbookReader(SMALL).answer(*ASKED)


def test_without_a_paragraph_there_is_nothing_to_answer_from() -> None:
    empty = Textbook("bare", (Lesson("l", "Bare lesson", ()),))
    for lesson, name in (("l", "Bare lesson"), (None, "bare")):
        with pytest.raises(UsageError, match=f"{name} has no paragraph"):
            TextbookReader(SMALL).answer(*ASKED, lesson=lesson, book=empty)


def test_an_untrained_reader_answers_too() -> None:
    found = TextbookReader(SMALL).read(colour_book()).answer(*ASKED)
    assert sum(found.probabilities) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("text", ["太阳", "الشمس", "???", "🌋"])
def test_any_text_can_be_asked(reader: TextbookReader, text: str) -> None:
    book = Textbook("odd", (Lesson("l", "L", (Paragraph("p", f"{text} {text}."), Paragraph("q", "..."))),))
    found = reader.answer(text, [text, "x"], book=book, explain=True)
    assert sum(found.probabilities) == pytest.approx(1, abs=1e-5)
    assert isinstance(found.picture, Image.Image)


# explaining


def test_an_explanation_has_words_of_the_evidence_whose_weights_sum_to_1(reader: TextbookReader) -> None:
    for book in (colour_book(), diagram_book()):
        for lesson, question in book.pairs():
            found = reader.answer(question.text, question.choices, lesson=lesson.name, book=book, explain=True)
            said = [word.text for paragraph in found.evidence for word in split_words(paragraph.text)]
            places = iter(said)
            assert all(look.word in places for look in found.attended)  # in their order
            assert sum(look.weight for look in found.attended) == pytest.approx(1, abs=1e-4)
            assert all(look.weight >= 0 for look in found.attended)
            assert isinstance(found.picture, Image.Image)
            plain = reader.answer(question.text, question.choices, lesson=lesson.name, book=book)
            assert found[:4] == plain[:4]


def test_a_diagram_is_counted_attended_and_drawn(reader: TextbookReader) -> None:
    found = reader.answer("How many stages are there?", ["four", "five"], lesson="w", diagram=ring(), explain=True)
    assert "four" in [look.word for look in found.attended]
    assert found.picture is not None
    without = reader.answer("How many stages are there?", ["four", "five"], lesson="w", explain=True)
    assert without.picture is not None
    assert found.picture.height > without.picture.height
    assert found.probabilities != without.probabilities


def test_a_picture_is_read_by_the_readers_own_reader(tmp_path: Path) -> None:
    Image.new("RGB", (400, 200), "white").save(tmp_path / "ring.png")
    blank = Diagram("ring.png", picture=tmp_path / "ring.png")
    asked = ("What comes after clouds form?", ["rain falls", "vapour rises"])
    known = TextbookReader(SMALL, diagrams=lambda picture: ring()).read(diagram_book())
    found = known.answer(*asked, lesson="w", diagram=blank, explain=True)
    expected = known.answer(*asked, lesson="w", diagram=ring())
    assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-6)
    plain = TextbookReader(SMALL).read(diagram_book()).answer(*asked, lesson="w", diagram=blank)
    assert plain.probabilities != pytest.approx(expected.probabilities, abs=1e-6)


def test_a_picture_that_is_none_is_refused(reader: TextbookReader, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_text("no picture")
    with pytest.raises(UsageError, match=r"no\.png"):
        reader.answer(*ASKED, lesson="c0", diagram=Diagram("no", picture=tmp_path / "no.png"), explain=True)


def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, TextGraph]]:
    """What explanation sheets are given from now on: the text, and the graph of it."""
    seen: list[tuple[str, TextGraph]] = []
    sheet = drawing.explanation_sheet

    def recording(
        question: str, choices: Any, probabilities: Any, answer: Any, text: str, graph: Any, *rest: Any
    ) -> Any:
        seen.append((text, graph))
        return sheet(question, choices, probabilities, answer, text, graph, *rest)

    monkeypatch.setattr(drawing, "explanation_sheet", recording)
    return seen


@pytest.mark.parametrize(
    "texts",
    [
        ("Rain falls. It is wet.", "Snow falls too."),
        ("Rain falls on the list", "Snow falls too"),
    ],
    ids=["full stops", "no full stop"],
)
def test_the_words_that_are_shaded_are_those_of_the_graph(
    texts: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = shown(monkeypatch)
    book = Textbook("b", (Lesson("l", "L", tuple(Paragraph(f"p{k}", text) for k, text in enumerate(texts))),))
    reader = TextbookReader(replace(SMALL, context=ContextSettings(paragraphs=2))).read(book)
    reader.answer("What falls?", ["rain", "snow"], lesson="l", explain=True)
    ((text, graph),) = seen
    sentences = [[word.text for word in split_words(sentence)] for sentence in split_sentences(text)]
    for word, sentence, position in zip(graph.words, graph.sentence, graph.position, strict=True):
        assert sentences[sentence][position] == word


def test_a_question_with_a_lesson_diagram_and_parts_of_signs_is_answered(reader: TextbookReader) -> None:
    signs = Diagram("signs", (Part("?", (0, 0, 5, 5)), Part("→", (9, 9, 12, 12))))
    book = Textbook("b", (Lesson("l", "L", (Paragraph("p", "Rain falls."),), (signs,), ()),))
    found = reader.answer("What falls?", ["rain", "snow"], book=book, lesson="l", diagram=signs, explain=True)
    assert sum(found.probabilities) == pytest.approx(1, abs=1e-5)


def test_the_embedded_book_can_be_asked(reader: TextbookReader) -> None:
    book = Textbook.embedded()
    found = reader.answer("Which layer is liquid?", ["crust", "outer core"], book=book, lesson="Layers of the Earth")
    assert found.evidence[0].name.startswith("01-layers")


def test_an_explained_question_about_a_diagram_says_which_labels_were_looked_at() -> None:
    book = diagram_book()
    question = book.lessons[0].questions[0]
    reader = TextbookReader(ReaderSettings(net=NetSettings(hidden=8, characters=0))).fit(book, epochs=1)
    found = reader.answer(question.text, question.choices, lesson="Water", diagram=question.diagram, explain=True)
    assert [look.word for look in found.labels] == ["vapour rises", "clouds form", "rain falls", "rivers run"]
    assert sum(look.weight for look in found.labels) == pytest.approx(1, abs=1e-5)
    assert reader.answer("What warms the sea?", ("sun", "moon"), lesson="Water", explain=True).labels == ()
