"""TQA's format: a whole lesson of it, and every trap that the released files have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tenfold.answer import json_values
from tenfold.answer.books import open_book
from tenfold.answer.textbook import Diagram, Lesson, Paragraph, Part, Question, Textbook
from tenfold.core.errors import UsageError

from .tqa_lessons import Entry, asked, content, whole_lesson, written


def read(folder: Path, lesson: Entry) -> Textbook:
    return open_book(written(folder, [lesson]), None)


def read_question(folder: Path, entry: Entry, name: str = "NDQ_1") -> Question:
    book = read(folder, {"globalID": "L_1", "questions": {"nonDiagramQuestions": {name: entry}}})
    assert book.left_out == ()
    return book.lessons[0].questions[0]


def left_out(folder: Path, entry: Entry) -> str:
    book = read(folder, {"globalID": "L_1", "questions": {"nonDiagramQuestions": {"NDQ_1": entry}}})
    assert book.lessons[0].questions == ()
    [(name, reason)] = book.left_out
    assert name == "NDQ_1"
    return reason


def test_a_whole_lesson(tmp_path: Path) -> None:
    (tmp_path / "teaching_images").mkdir()
    (tmp_path / "teaching_images" / "cut_2.png").touch()
    description = "The picture shows the layers. The core is inside."
    picture = (tmp_path / "teaching_images" / "cut_2.png").resolve()
    assert read(tmp_path, whole_lesson()) == Textbook(
        "tqa_v1_val",
        (
            Lesson(
                "L_0002",
                "layers of the earth",
                (
                    Paragraph("L_0002/T_0009/1", "The crust is thin.", "The crust"),
                    Paragraph("L_0002/T_0009/2", "It is cold.", "The crust"),
                    Paragraph("L_0002/T_0012/1", "The mantle is hot. It flows.", "The mantle"),
                    Paragraph("L_0002/Vocabulary/1", "mantle: layer of hot rock", "Vocabulary"),
                    Paragraph("L_0002/Introduction/1", "What is below us?", "Introduction"),
                    Paragraph("L_0002/Lesson Summary/1", "Earth has layers.", "Lesson Summary"),
                    Paragraph("L_0002/DD_0001/1", description),
                ),
                (
                    Diagram("cut_2.png", (Part("core", (1, 2, 3, 4)),), None, picture, description),
                    Diagram("bare_3.png"),
                ),
                (
                    Question("NDQ_1", "Which layer is hot?", ("crust", "mantle"), 1),
                    Question("NDQ_2", "The crust is hot.", ("true", "false"), 1, "true or false"),
                    Question("NDQ_3", "hot rock", tuple("tuvwxyz"), 6),
                    Question(
                        "DQ_1",
                        "What is A?",
                        ("crust", "core"),
                        0,
                        "diagram",
                        Diagram(
                            "layers_1.png",
                            (Part("A", (261, 340, 331, 356)), Part("inner core", (-5, 1262, 328.5, 1343))),
                        ),
                    ),
                ),
            ),
        ),
    )


def test_topics_come_in_the_order_of_their_numbers_not_of_their_letters(tmp_path: Path) -> None:
    topics = {key: content(key) | {"orderID": order} for key, order in (("a", "t_10"), ("b", "t_9"), ("c", 2))}
    lesson = read(tmp_path, {"globalID": "L_1", "topics": topics}).lessons[0]
    assert [paragraph.text for paragraph in lesson.paragraphs] == ["c", "b", "a"]


def test_long_stretches_are_cut_evenly_at_sentences(tmp_path: Path) -> None:
    text = " ".join(f"Sentence {number} is here." for number in range(11))
    lesson = read(tmp_path, {"globalID": "L_1", "topics": {"T_1": content(f"{text} \n{text[:60]}")}}).lessons[0]
    counts = [paragraph.text.count("Sentence") for paragraph in lesson.paragraphs]
    assert counts == [3, 4, 4, 3]
    assert " ".join(paragraph.text for paragraph in lesson.paragraphs[:3]) == text


@pytest.mark.parametrize("key", ["a", "A", "a.", "(A)", " a) "])
def test_letters_may_carry_marks_and_come_in_any_order(tmp_path: Path, key: str) -> None:
    entry = asked("What?", "first", "second", "third", answer="A.")
    texts = entry["answerChoices"]
    entry["answerChoices"] = {"c": texts["c"], "B": texts["b"], key: texts["a"]}
    question = read_question(tmp_path, entry)
    assert question.choices == ("first", "second", "third")
    assert question.answer == 0


@pytest.mark.parametrize("empty", [{}, {"processedText": None}, {"processedText": "  "}])
def test_raw_text_stands_in_without_its_numbering(tmp_path: Path, empty: Entry) -> None:
    question = read_question(
        tmp_path,
        {
            "beingAsked": {**empty, "rawText": "12.  What is\nhot? "},
            "idStructural": "12. ",
            "answerChoices": {
                "a": {**empty, "rawText": "a. the A. core"},
                "b": {**empty, "idStructural": "b)", "rawText": "b) crust"},
                "c": {**empty, "idStructural": "c.", "rawText": "lava"},
            },
            "correctAnswer": {**empty, "rawText": "12.b"},
        },
    )
    assert question == Question("NDQ_1", "What is hot?", ("the A. core", "crust", "lava"), 1)


@pytest.mark.parametrize(
    ("processed", "raw", "answer"),
    [(None, "1.false", 1), ("", "3. True", 0), ("false", "", 1), ("z", "7.true", 0), ("b", "1.true", 1)],
)
def test_true_or_false_may_have_its_answer_as_a_word(
    tmp_path: Path, processed: str | None, raw: str, answer: int
) -> None:
    entry = asked("It is.", "true", "false", answer="", sub_kind="True or False")
    entry["correctAnswer"] = {"processedText": processed, "rawText": raw}
    question = read_question(tmp_path, entry)
    assert (question.kind, question.answer) == ("true or false", answer)


@pytest.mark.parametrize("hidden", [None, {}, {"processedText": "", "rawText": None}])
def test_a_hidden_answer_is_not_known(tmp_path: Path, hidden: Entry | None) -> None:
    assert read_question(tmp_path, asked("What?", "x", answer="a") | {"correctAnswer": hidden}).answer is None


def test_questions_that_cannot_be_taken_are_noted(tmp_path: Path) -> None:
    assert left_out(tmp_path, asked("What?", "x", "y", answer="c")) == "its answer 'c' is not among its choices a, b"
    assert "not among" in left_out(tmp_path, asked("What?", "x", "y", answer="ab"))
    assert left_out(tmp_path, asked("", "x", answer="a") | {"beingAsked": None}) == "it has no text"
    assert left_out(tmp_path, asked("What?", answer="a")) == "it has 0 choices, but must have 1 to 12"
    assert left_out(tmp_path, asked("What?", "x", " ", answer="a") | {"answerChoices": {"b": {}}}) == (
        "its choice b has no text"
    )
    twice = asked("What?", "x", answer="a")
    twice["answerChoices"]["A."] = twice["answerChoices"]["a"]
    assert left_out(tmp_path, twice) == "it has the choice a twice"


def test_kinds_are_told_by_more_than_one_key(tmp_path: Path) -> None:
    plain = asked("What?", "x", answer="a")
    assert read_question(tmp_path, plain, "DQ_9").kind == "diagram"
    assert read_question(tmp_path, plain | {"questionType": "Diagram Multiple Choice"}).kind == "diagram"
    assert read_question(tmp_path, plain).kind == "multiple choice"
    assert read_question(tmp_path, asked("What?", "False", "True", answer="a", sub_kind="")).kind == "true or false"
    only_path = read_question(tmp_path, plain | {"imagePath": "question_images/a.png"}, "DQ_9")
    assert only_path.diagram == Diagram("a.png")


@pytest.mark.parametrize("target", ["../out.png", "/etc/hostname", "missing.png", "a\0.png", "x" * 5000, "teaching"])
def test_pictures_are_taken_from_inside_the_folder_alone(tmp_path: Path, target: str) -> None:
    (tmp_path / "out.png").touch()
    (tmp_path / "val" / "teaching").mkdir(parents=True)
    (tmp_path / "val" / "in.png").touch()
    entry = asked("What?", "x", answer="a", imageName="p.png")
    for path, taken in ((target, False), ("in.png", True)):
        book = read(
            tmp_path / "val",
            {"globalID": "L_1", "questions": {"diagramQuestions": {"DQ_1": entry | {"imagePath": path}}}},
        )
        diagram = book.lessons[0].questions[0].diagram
        assert diagram is not None
        assert (diagram.picture is not None) == taken
        assert book.left_out == ()


def at(*path: str, value: object) -> Callable[[Entry], None]:
    def damage(lesson: Entry) -> None:
        for key in path[:-1]:
            lesson = lesson[key]
        lesson[path[-1]] = value

    return damage


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (at("globalID", value=2), r"lesson number 1, globalID is 2, but must be a text"),
        (at("globalID", value=None), r"lesson number 1 has no globalID"),
        (at("lessonName", value=[]), r"lesson L_0002, lessonName is a list, but must be a text"),
        (at("topics", value=[]), r"lesson L_0002, topics is a list, but must be an object"),
        (at("topics", "T_0009", value="x"), r"topics T_0009 is a text, but must be an object"),
        (at("topics", "T_0009", "content", value=3), r"topics T_0009, content is 3, but must be an object"),
        (at("topics", "T_0009", "content", "text", value={}), r"topics T_0009, text is an object"),
        (at("adjunctTopics", "Vocabulary", "crust", value=1), r"Vocabulary, word 'crust' is 1"),
        (at("adjunctTopics", "Introduction", value=True), r"adjunctTopics Introduction is True"),
        (at("questions", value="x"), r"lesson L_0002, questions is a text"),
        (at("questions", "diagramQuestions", value=[1]), r"diagramQuestions is a list"),
        (at("questions", "nonDiagramQuestions", "NDQ_1", value=[]), r"question NDQ_1 is a list"),
        (at("questions", "nonDiagramQuestions", "NDQ_1", "beingAsked", value="x"), r"NDQ_1, beingAsked is a text"),
        (at("questions", "nonDiagramQuestions", "NDQ_1", "answerChoices", value=["x"]), r"NDQ_1, answerChoices is a"),
        (at("questions", "nonDiagramQuestions", "NDQ_1", "answerChoices", "a", value="x"), r"NDQ_1, choice a is a"),
        (at("questions", "nonDiagramQuestions", "NDQ_1", "correctAnswer", value="d"), r"NDQ_1, correctAnswer is a"),
        (at("questions", "nonDiagramQuestions", "NDQ_1", "questionType", value=1), r"NDQ_1, questionType is 1"),
        (at("questions", "diagramQuestions", "DQ_1", "imagePath", value=1.5), r"DQ_1, imagePath is 1.5"),
        (at("instructionalDiagrams", "DD_0001", value=None), None),
        (at("instructionalDiagrams", "DD_0001", value=0), r"diagram DD_0001 is 0"),
        (at("diagramAnnotations", value=1), r"lesson L_0002, diagramAnnotations is 1"),
        (at("diagramAnnotations", "cut_2.png", value={}), r"annotations of cut_2.png is an object"),
        (at("diagramAnnotations", "cut_2.png", value=[[]]), r"cut_2.png, text number 1 is a list"),
        (at("diagramAnnotations", "cut_2.png", value=[{"text": "a"}]), r"rectangle must be two corners .* None"),
        (
            at("diagramAnnotations", "cut_2.png", value=[{"text": "a", "rectangle": [[1, 2], [3, "x"]]}]),
            r"rectangle is a text, but must be a finite number",
        ),
        (
            at("diagramAnnotations", "cut_2.png", value=[{"text": "a", "rectangle": [[1, 2], [3, float("nan")]]}]),
            r"rectangle is nan, but must be a finite number",
        ),
        (
            at("diagramAnnotations", "cut_2.png", value=[{"text": "a", "rectangle": [[1, 2], [3, True]]}]),
            r"rectangle is True, but must be a finite number",
        ),
        (
            at("diagramAnnotations", "cut_2.png", value=[{"text": "a", "rectangle": [[1, 2], [3, 10**400]]}]),
            r"rectangle is a number of 401 digits",
        ),
    ],
)
def test_what_is_of_a_wrong_type_is_named(
    tmp_path: Path, damage: Callable[[Entry], None], sentence: str | None
) -> None:
    lesson = whole_lesson()
    damage(lesson)
    if sentence is None:
        read(tmp_path, lesson)
    else:
        with pytest.raises(UsageError, match=rf"tqa_v1_val\.json.*{sentence}"):
            read(tmp_path, lesson)


@pytest.mark.parametrize("data", [b"[", b"\xff\xfe", b"[" * 100_000, b'{"a": ' + b"9" * 9999 + b"}"])
def test_damaged_json_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "tqa_v1_val.json"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"tqa_v1_val\.json cannot be read as JSON"):
        open_book(path, None)


def test_half_a_surrogate_pair_does_not_get_in(tmp_path: Path) -> None:
    path = tmp_path / "tqa_v1_val.json"
    path.write_text('[{"globalID": "L_1", "lessonName": "a \\ud800 b"}]', encoding="utf-8")
    assert open_book(path, None).lessons[0].title == "a \ufffd b"


def test_the_split_of_a_file_is_in_its_name(tmp_path: Path) -> None:
    path = written(tmp_path, [whole_lesson()])
    assert open_book(path, "val") == open_book(path, None)
    with pytest.raises(UsageError, match=r"split is 'train', but .*tqa_v1_val\.json, by its name, is the split val"):
        open_book(path, "train")
    other = written(tmp_path, [whole_lesson()], "interval.json")
    with pytest.raises(UsageError, match="does not name its split"):
        open_book(other, "val")


def test_a_file_may_be_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_values.read_json_file, "__kwdefaults__", {"at_most": 10})
    with pytest.raises(UsageError, match=r"tqa_v1_val\.json has \d+ bytes, but must have 10 at most"):
        read(tmp_path, whole_lesson())
