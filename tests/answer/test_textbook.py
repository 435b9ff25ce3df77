"""Textbooks: what is opened as what, what is refused, and what a book can do."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tenfold.answer.textbook import Diagram, Lesson, Paragraph, Part, Question, Textbook
from tenfold.core.errors import UsageError


def book() -> Textbook:
    def lesson(name: str, *kinds: str) -> Lesson:
        questions = tuple(
            Question(f"{name}/q{number}", "What?", ("a", "b"), 1, kind, evidence=(f"{name}/1",))  # type: ignore[arg-type]
            for number, kind in enumerate(kinds, 1)
        )
        return Lesson(name, f"About {name}", (Paragraph(f"{name}/1", "Text."),), (), questions)

    lessons = (lesson("rocks", "true or false", "diagram"), lesson("water", "multiple choice", "diagram"))
    return Textbook("book", lessons, (("q9", "why"),))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", "x", r"a\.txt ends in '\.txt', but must be a TQA file, its folder or zip, a file of true/false"),
        ("a.json", [], r"a\.json holds a list of nothing, but must be a TQA file"),
        ("a.json", {}, r"a\.json holds an object, but"),
        ("a.json", 3, r"a\.json holds 3, but"),
        ("a.json", [1], r"a\.json holds a list of 1, but"),
        ("a.json", [[]], r"a\.json holds a list of a list, but"),
        ("a.json", [{"id": 1, "text": ""}], r"a\.json holds a list of objects with id, text, but"),
        ("a.zip", "x", r"a\.zip cannot be read as a zip file"),
        ("empty/a.png", "x", r"the folder .*empty holds a\.png, but must be a TQA file"),
        ("missing", None, r"missing does not exist, but must be a TQA file"),
    ],
)
def test_what_is_of_no_known_layout_is_named(tmp_path: Path, name: str, content: object, sentence: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if content is not None:
        path.write_text(json.dumps(content), encoding="utf-8")
    opened = path.parent if path.parent.name == "empty" else path
    with pytest.raises(UsageError, match=sentence):
        Textbook.load(opened)


def test_empty_folders_and_zips_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the folder .* holds nothing"):
        Textbook.load(tmp_path)
    zipfile.ZipFile(tmp_path / "a.zip", "w").close()
    with pytest.raises(UsageError, match=r"a\.zip holds nothing"):
        Textbook.load(tmp_path / "a.zip")


def test_markdown_is_opened_as_such_and_has_no_splits(tmp_path: Path) -> None:
    (tmp_path / "rocks.md").write_text("Rocks are hard.", encoding="utf-8")
    for path in (tmp_path, tmp_path / "rocks.md"):
        assert Textbook.load(path) == Textbook.from_markdown(str(path))
        assert Textbook.load(str(path)).lessons[0].paragraphs == (Paragraph("rocks/1", "Rocks are hard."),)
        with pytest.raises(UsageError, match=r"split is 'val', but .* is markdown, which has no splits"):
            Textbook.load(path, "val")
    with pytest.raises(UsageError, match="split is 'dev', but must be one of train, val, test, or none for all"):
        Textbook.load(tmp_path, "dev")


def test_a_book_without_answers_has_no_trace_of_them() -> None:
    blind = book().without_answers()
    assert all(question.answer is None and question.evidence == () for _, question in blind.pairs())
    assert [question.text for _, question in blind.pairs()] == ["What?"] * 4
    assert blind.lessons[0].paragraphs == book().lessons[0].paragraphs


def test_books_are_counted_cut_and_joined() -> None:
    whole = book()
    assert whole.counts == {"true or false": 1, "multiple choice": 1, "diagram": 2}
    assert whole.of_kinds(["diagram"]).counts == {"true or false": 0, "multiple choice": 0, "diagram": 2}
    parts = [whole.only([name]) for name in ("rocks", "water")]
    assert [len(part.lessons) for part in parts] == [1, 1]
    joined = parts[0].and_also(parts[1:])
    assert joined.lessons == whole.lessons
    assert joined.name == "book and book"
    assert joined.left_out == whole.left_out * 2
    with pytest.raises(UsageError, match="has the lesson rocks more than once"):
        whole.and_also([whole])


def test_things_are_found_by_name() -> None:
    whole = book()
    assert whole.lesson("water") is whole.lesson("About water")
    assert whole.paragraph("water/1").text == "Text."
    with pytest.raises(UsageError, match="there is no lesson 'fire' in book, which has rocks, water"):
        whole.lesson("fire")
    with pytest.raises(UsageError, match="there is no paragraph 'fire/1' in book"):
        whole.paragraph("fire/1")
    with pytest.raises(UsageError, match="there is no lesson 'fire'"):
        whole.only(["fire"])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="question q has 0 choices, but must have 1 to 12"):
        Question("q", "What?", ())
    with pytest.raises(UsageError, match="question q has answer 2, but its choices are 0 to 1"):
        Question("q", "What?", ("a", "b"), 2)
    with pytest.raises(UsageError, match="question q has no text"):
        Question("q", " ", ("a",))
    with pytest.raises(UsageError, match=r"diagram d has the link \(0, 1\), but its parts are numbered 0 to 0"):
        Diagram("d", (Part("a", (0, 0, 1, 1)),), ((0, 1),))
    with pytest.raises(UsageError, match="book has the paragraph p more than once"):
        Textbook("book", (Lesson("a", "", (Paragraph("p", "x"),)), Lesson("b", "", (Paragraph("p", "y"),))))
