"""True/false questions with retrieved sentences: what a lesson of one question is, and entries that are dirty."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tenfold.answer.books import open_book
from tenfold.answer.textbook import Lesson, Paragraph, Question, Textbook
from tenfold.core.errors import UsageError


def entry(
    question: str = "rocks are soft.", answer: str | None = "false", split: str = "train", **more: object
) -> dict[str, object]:
    sentences = {"sentence_IR": "rocks are hard.", "sentence_NSP": "sand is soft.", "sentence_NN": "rocks are hard."}
    return {"question": question, "correct_answer": answer, **sentences, "split": split, **more}


def written(folder: Path, *entries: object) -> Path:
    path = folder / "sentences.json"
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


def test_a_question_is_a_lesson_of_its_sentences(tmp_path: Path) -> None:
    book = open_book(written(tmp_path, entry(), entry("sand is soft.", "true", sentence_IR="", sentence_NN=None)), None)
    assert book == Textbook(
        "sentences",
        (
            Lesson(
                "tf_00001",
                "tf_00001",
                (
                    Paragraph("tf_00001/1", "rocks are hard.", "IR"),
                    Paragraph("tf_00001/2", "sand is soft.", "NSP"),
                ),
                (),
                (Question("tf_00001/q", "rocks are soft.", ("true", "false"), 1, "true or false"),),
            ),
            Lesson(
                "tf_00002",
                "tf_00002",
                (Paragraph("tf_00002/1", "sand is soft.", "NSP"),),
                (),
                (Question("tf_00002/q", "sand is soft.", ("true", "false"), 0, "true or false"),),
            ),
        ),
    )


def test_splits_keep_the_names_of_their_lessons(tmp_path: Path) -> None:
    path = written(tmp_path, entry(), entry(split="val"), entry(split="test"), entry(split="val"))
    val = open_book(path, "val")
    assert (val.name, [lesson.name for lesson in val.lessons]) == ("sentences_val", ["tf_00002", "tf_00004"])
    everything = open_book(path, "train").and_also([val, open_book(path, "test")])
    assert {lesson.name for lesson in everything.lessons} == {lesson.name for lesson in open_book(path, None).lessons}
    with pytest.raises(UsageError, match=r"has no questions of the split test; the splits in it are: train"):
        open_book(written(tmp_path, entry()), "test")


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ("true", 0),
        ("False", 1),
        (" true ", 0),
        ("false sources figure 1: ck-12: http://x", 1),
        ("", None),
        (None, None),
    ],
)
def test_answers_are_known_by_their_first_word(tmp_path: Path, answer: str | None, place: int | None) -> None:
    book = open_book(written(tmp_path, entry(answer=answer)), None)
    assert book.left_out == ()
    assert book.lessons[0].questions[0].answer == place


@pytest.mark.parametrize("answer", ["falsely", "yes", "not true", "true/false"])
def test_other_answers_are_left_out(tmp_path: Path, answer: str) -> None:
    book = open_book(written(tmp_path, entry(answer=answer), entry()), None)
    assert book.left_out == (("tf_00001/q", f"its answer is {answer!r}, but must be true or false"),)
    assert [lesson.name for lesson in book.lessons] == ["tf_00002"]


def test_questions_without_text_or_sentences_are_left_out(tmp_path: Path) -> None:
    bare = entry(sentence_IR=" ", sentence_NSP="", sentence_NN=None)
    book = open_book(written(tmp_path, entry(" "), bare), None)
    assert [reason for _, reason in book.left_out] == ["it has no text", "no sentence was retrieved for it"]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (["x"], "question number 2 is a list, but must be an object"),
        (entry(sentence_NN=["x"]), "question number 2, sentence_NN is a list, but must be a text"),
        (entry() | {"correct_answer": True}, "question number 2, correct_answer is True, but must be a text"),
        (entry() | {"question": {}}, "question number 2, question is an object"),
        (entry() | {"split": 1}, "question number 2, split is 1"),
    ],
)
def test_what_is_of_a_wrong_type_is_named(tmp_path: Path, wrong: object, sentence: str) -> None:
    with pytest.raises(UsageError, match=rf"sentences\.json, {sentence}"):
        open_book(written(tmp_path, entry(), wrong), None)
