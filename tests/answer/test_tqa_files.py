"""TQA as it is released: its folder, its zip, and the published numbers of its questions."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from tenfold.answer import books
from tenfold.answer.books import check_counts, open_book, remarks_on
from tenfold.answer.textbook import PUBLISHED_COUNTS, Lesson, Question, Textbook
from tenfold.core.errors import UsageError

from .tqa_lessons import Entry, asked, written


def lesson_of(split: str, version: int = 1) -> Entry:
    entry = asked("What?", "x", "y", answer="a" if version == 2 else "", imagePath="p.png", imageName="p.png")
    return {"globalID": f"L_{split}", "questions": {"diagramQuestions": {f"DQ_{split}": entry}}}


def released(folder: Path, base: str) -> Path:
    for split in ("train", "val", "test"):
        written(folder, [lesson_of(split)], f"{base}{split}/tqa_v1_{split}.json")
        (folder / f"{base}{split}" / "p.png").touch()
    written(folder, [lesson_of("test", version=2)], f"{base}test/tqa_v2_test.json")
    return folder


def packed(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


@pytest.mark.parametrize("base", ["", "tqa_train_val_test/"])
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_the_released_folder_and_zip(tmp_path: Path, base: str, form: str) -> None:
    path = released(tmp_path / "tqa", base)
    if form == "zip":
        path = packed(path, tmp_path / "tqa.ZIP")
    book = open_book(path, None)
    assert book.name == "tqa_v1_train and tqa_v1_val and tqa_v2_test"
    assert [lesson.name for lesson in book.lessons] == ["L_train", "L_val", "L_test"]
    assert [question.answer for _, question in book.pairs()] == [None, None, 0]
    pictures = [question.diagram and question.diagram.picture for _, question in book.pairs()]
    assert all((picture is None) == (form == "zip") for picture in pictures)
    assert book.left_out == ()
    one = open_book(path, "val")
    assert (one.name, [lesson.name for lesson in one.lessons]) == ("tqa_v1_val", ["L_val"])


def test_a_folder_of_one_split_has_no_other(tmp_path: Path) -> None:
    folder = released(tmp_path, "") / "val"
    assert open_book(folder, "val").name == "tqa_v1_val"
    with pytest.raises(UsageError, match=r"split is 'test', but .*val has val"):
        open_book(folder, "test")


def test_zips_are_checked_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = packed(released(tmp_path / "tqa", ""), tmp_path / "good.zip")
    cut = tmp_path / "cut.zip"
    cut.write_bytes(good.read_bytes()[:-40])
    bent = bytearray(good.read_bytes())
    place = bent.index(b"tqa_v1_val.json") + 20
    bent[place : place + 60] = b"\0" * 60
    (tmp_path / "bent.zip").write_bytes(bent)
    for name in ("cut.zip", "bent.zip"):
        with pytest.raises(UsageError, match=rf"{name} cannot be read as a zip file"):
            open_book(tmp_path / name, "val")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("../val/tqa_v1_val.json", "[]")
    with pytest.raises(UsageError, match=r"other\.zip holds \.\./val/tqa_v1_val\.json, but must be a TQA file"):
        open_book(tmp_path / "other.zip", None)
    monkeypatch.setattr(books, "MOST_BYTES", 100)
    with pytest.raises(UsageError, match=r"entry val/tqa_v1_val\.json has more than 100 bytes"):
        open_book(good, "val")


def counted(true_false: int, multiple: int, diagram: int, left: int = 0, left_diagrams: int = 0) -> Textbook:
    kinds = ["true or false"] * true_false + ["multiple choice"] * multiple + ["diagram"] * diagram
    questions = tuple(
        Question(f"q{number}", "?", ("a",), None, kind)  # type: ignore[arg-type]
        for number, kind in enumerate(kinds)
    )
    notes = tuple((f"NDQ_{number}", "") for number in range(left)) + tuple(
        (f"DQ_{number}", "") for number in range(left_diagrams)
    )
    return Textbook("book", (Lesson("L_1", "", (), (), questions),), notes)


def test_published_counts_are_compared() -> None:
    assert check_counts(counted(998, 1530, 2781), "val") is None
    assert check_counts(counted(996, 1529, 2780, 3, 1), "val") is None
    few = check_counts(counted(998, 1530, 2780), "val")
    assert few == "book has 5308 questions and 0 more that were left out, but TQA's val split has 5309"
    for wrong in (counted(999, 1529, 2781), counted(998, 1530, 2780, 1), counted(1000, 1520, 2781, 8)):
        assert sum(wrong.counts.values()) + len(wrong.left_out) == sum(PUBLISHED_COUNTS["val"].values())
        sentence = check_counts(wrong, "val")
        assert sentence is not None
        assert "TQA's val split has 998 true or false, 1530 multiple choice, 2781 diagram" in sentence
    assert check_counts(counted(1, 2, 3), "test") == (
        "book has 6 questions and 0 more that were left out, but TQA's test split has 5797"
    )
    assert check_counts(counted(0, 5797, 0), "test") is None
    assert check_counts(counted(1, 2, 3), "mine") is None


def test_remarks_say_what_was_left_out_and_that_a_split_is_not_whole() -> None:
    assert remarks_on(counted(998, 1530, 2781), "val") == []
    assert remarks_on(counted(998, 1530, 2781)) == []  # of which split is not known
    short = counted(998, 1529, 2780, 1)
    left, difference = remarks_on(short, "val")
    assert left == "book: 1 left out, the first is NDQ_0: "
    assert "TQA's val split has 5309" in difference
    named = replace(short, name="tqa_v1_val", left_out=())
    assert len(remarks_on(named)) == 1
    lessons = (replace(short.lessons[0], name="chapter"),)
    assert remarks_on(replace(named, lessons=lessons)) == []  # no book of TQA's
