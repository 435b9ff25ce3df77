"""Chapters in markdown: what is read as what, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tenfold.answer import markdown
from tenfold.answer.markdown import read_embedded, read_markdown
from tenfold.answer.markup import plain
from tenfold.answer.textbook import Diagram, Lesson, Paragraph, Part, Question
from tenfold.core.errors import UsageError

CHAPTER = """\
---
author: nobody
---
# Layers of the *Earth*

Earth has layers.
They differ.

## The crust

The **crust** is `thin` and [cold](https://example.org "why").

![The layers, cut _open_](diagrams/layers.png)

## Quiz

Answer these.

1. Which layer is
   hottest?
   - [ ] crust
   - [x] inner core,
     deep below
   > evidence: EARTH has  *layers*
   > evidence: the crust is thin

2) The crust is warm.
   * [ ] True
   * [X] False

### More

3. ![](<diagrams/layers.png>) What is A?
   - [ ] mantle

## After the quiz

A last word.
"""


def read(folder: Path, text: str, name: str = "earth.md") -> Lesson:
    (folder / name).write_text(text, encoding="utf-8")
    return read_markdown(folder / name).lessons[0]


def texts(folder: Path, text: str) -> list[str]:
    return [paragraph.text for paragraph in read(folder, text).paragraphs]


def test_a_whole_chapter(tmp_path: Path) -> None:
    (tmp_path / "diagrams").mkdir()
    (tmp_path / "diagrams" / "layers.png").touch()
    annotations = [{"text": "crust", "rectangle": [[9, 2], [3, 4]]}]
    (tmp_path / "diagrams" / "layers.json").write_text(json.dumps(annotations), encoding="utf-8")
    shown = Diagram(
        "diagrams/layers.png",
        (Part("crust", (3, 2, 9, 4)),),
        None,
        (tmp_path / "diagrams" / "layers.png").resolve(),
        "The layers, cut open",
    )
    asked = Diagram(shown.name, shown.parts, None, shown.picture)
    assert read(tmp_path, CHAPTER) == Lesson(
        "earth",
        "Layers of the Earth",
        (
            Paragraph("earth/1", "Earth has layers. They differ."),
            Paragraph("earth/2", "The crust is thin and cold.", "The crust"),
            Paragraph("earth/3", "A last word.", "After the quiz"),
        ),
        (shown,),
        (
            Question(
                "earth/q1",
                "Which layer is hottest?",
                ("crust", "inner core, deep below"),
                1,
                evidence=("earth/1", "earth/2"),
            ),
            Question("earth/q2", "The crust is warm.", ("True", "False"), 1, "true or false"),
            Question("earth/q3", "What is A?", ("mantle",), None, "diagram", asked),
        ),
    )


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_newlines_and_byte_order_marks_of_other_systems(tmp_path: Path, newline: str, mark: str) -> None:
    (tmp_path / "earth.md").write_bytes((mark + CHAPTER).replace("\n", newline).encode())
    lesson = read_markdown(tmp_path / "earth.md").lessons[0]
    assert lesson.title == "Layers of the Earth"
    assert lesson.paragraphs[0] == Paragraph("earth/1", "Earth has layers. They differ.")
    assert [len(question.choices) for question in lesson.questions] == [2, 2, 1]


@pytest.mark.parametrize(
    ("text", "paragraphs"),
    [
        ("a\nb\n\n \nc", ["a b", "c"]),
        ("- one\n- two\n  goes on\n\n- three\n\n  and on\n\nnext", ["one two goes on three and on", "next"]),
        ("1. one\n2. two", ["one two"]),
        ("text:\n- one\n- two", ["text:", "one two"]),
        ("It was in\n1986. So it was.", ["It was in 1986. So it was."]),
        ("> quoted\n> words\n>\n> more\n\n> apart", ["quoted words", "more", "apart"]),
        ("before\n> quoted\nlazily", ["before", "quoted lazily"]),
        ("a\n```python\n# not a heading\n```\nb", ["a b"]),
        ("a\n\n~~~~\n```\n~~~\n~~~~\n\nb", ["a", "b"]),
        ("a <!-- hidden --> b\n<!--\n# no\n\n-->\nc", ["a b", "c"]),
        ("a\n<!-- a whole line -->\nb", ["a b"]),
        ("a\n\n| x | y |\n|---|---|\n| 1 | 2 |\n\nb", ["a", "b"]),
        ("x | y\n:-- | --:\n1 | 2\nb", ["b"]),
        ("a or b | c", ["a or b | c"]),
        ("a\n\n***\n\n- - -\n\nb", ["a", "b"]),
        ("see [here][1] now\n\n[1]: https://example.org", ["see here now"]),
        ("![only a picture](x.png)\n\nb ![in ![the midst](y.png) here", ["b ![in here"]),
        ("---\nno: end\n\nb", ["no: end", "b"]),
    ],
)
def test_what_is_a_paragraph(tmp_path: Path, text: str, paragraphs: list[str]) -> None:
    assert texts(tmp_path, text) == paragraphs


@pytest.mark.parametrize(
    ("marked", "text"),
    [
        ("**bold** *it* __bold__ _it_ ***both***", "bold it bold it both"),
        ("2 * 3 * 4 and snake_case_name", "2 * 3 * 4 and snake_case_name"),
        (r"\*not\* \[it\] \_x\_", "*not* [it] _x_"),
        (r"*a \* b*", "a * b"),
        ("**bold with *it* inside** after", "bold with it inside after"),
        ("`a * b * c` ``x ` y``", "a * b * c x ` y"),
        ("[text](https://a.b/c_(d) 'title') <https://a.b>", "text https://a.b"),
        ("a < b > c", "a < b > c"),
        ("***", "***"),
    ],
)
def test_marks_are_taken_off(marked: str, text: str) -> None:
    assert plain(marked) == text


def test_marks_within_marks_have_an_end() -> None:
    assert plain("*_" * 3000 + "x" + "_*" * 3000).strip("*_") == "x"


def test_headings_are_topics_and_the_first_is_the_title(tmp_path: Path) -> None:
    lesson = read(
        tmp_path, "a\n\n## One ##\n\nb\n\n# Title #\n\nc\n\nTwo\n---\nd\n\n# Three\n\ne\n\n##\n\nf\n\n####### no"
    )
    assert lesson.title == "Title"
    assert [(paragraph.text, paragraph.topic) for paragraph in lesson.paragraphs] == [
        ("a", ""),
        ("b", "One"),
        ("c", ""),
        ("d", "Two"),
        ("e", "Three"),
        ("f", ""),
        ("####### no", ""),
    ]
    assert read(tmp_path, "Title\n=====\n\na").title == "Title"
    assert read(tmp_path, "a").title == "earth"


@pytest.mark.parametrize("heading", ["# Quiz", "## QUESTIONS", "###### *exercises*", "Quiz\n----"])
def test_a_quiz_may_have_several_names(tmp_path: Path, heading: str) -> None:
    lesson = read(tmp_path, f"a\n\n{heading}\n\n1. What?\n   - [x] b")
    assert lesson.questions == (Question("earth/q1", "What?", ("b",), 0),)
    assert [paragraph.text for paragraph in lesson.paragraphs] == ["a"]


def test_a_quiz_ends_at_the_next_heading_of_its_level(tmp_path: Path) -> None:
    parts = ["## Quiz", "### Questions", "1. What?\n- [ ] b", "### More", "2. Why?\n- [ ] c", "## End", "d"]
    lesson = read(tmp_path, "a\n\n" + "\n\n".join(parts))
    assert [question.text for question in lesson.questions] == ["What?", "Why?"]
    assert [(paragraph.text, paragraph.topic) for paragraph in lesson.paragraphs] == [("a", ""), ("d", "End")]


@pytest.mark.parametrize(
    ("quiz", "sentence"),
    [
        ("1. What?", r"question earth/q1 has 0 choices, but must have 1 to 12"),
        ("1. What?\n" + "- [ ] a\n" * 13, r"question earth/q1 has 13 choices"),
        ("1.\n   - [ ] a", r"question earth/q1 has no text, in line 5"),
        ("1. ![](x.png)\n   - [ ] a", r"question earth/q1 has no text"),
        ("1. ![](x.png) ![](y.png) a?\n   - [ ] a", r"question earth/q1 has 2 pictures"),
        ("1. What?\n   - [ ]\n   - [x] b", r"question earth/q1 has a choice without text, in line 6"),
        ("1. What?\n   - [x] a\n   - [x] b", r"question earth/q1 has 2 choices ticked, but must have one, or none"),
        ("1. What?\n   - a", r"line 6 is '- a', but in a quiz must be a question such as"),
        ("1. What?\n   - [ ] a\n   > because", r"line 7 is '> because', but in a quiz must be"),
        ("1. What?\n   - [ ] a\n\nstray", r"line 8 is 'stray', but in a quiz must be"),
        ("- [ ] a", r"line 5 has a choice before the first question"),
        (
            "1. What?\n   - [ ] a\n   > evidence: fire",
            r"question earth/q1 has the evidence 'fire', which no paragraphs of the chapter",
        ),
        (
            "1. What?\n   - [ ] a\n   > evidence: water",
            r"question earth/q1 has the evidence 'water', which 2 paragraphs",
        ),
        ("1. What?\n   - [ ] a\n   > evidence:", r"question earth/q1 has evidence without words"),
        ("```\n1. What?", r"line 5 begins a code block that has no end"),
        ("<!-- 1. What?\n\n", r"line 5 begins a comment that has no end"),
    ],
)
def test_a_quiz_that_is_not_of_the_format_is_refused(tmp_path: Path, quiz: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=rf"earth\.md, {sentence}"):
        read(tmp_path, f"Water is wet.\n\nFish need water.\n## Quiz\n{quiz}")


@pytest.mark.parametrize("target", ["../out.png", "/etc/hostname", "https://example.org/a.png", "", "sub", "a\0b.png"])
def test_pictures_outside_of_the_book_are_left_out(tmp_path: Path, target: str) -> None:
    folder = tmp_path / "book"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "out.png").touch()
    (folder / "a.md").write_text(f"a ![]({target})\n# Quiz\n1. ![]({target}) What?\n - [ ] b", encoding="utf-8")
    book = read_markdown(folder)
    assert book.left_out == ((target, "a.md names this picture, which is not in the folder of the book"),)
    assert book.lessons[0].diagrams == ()
    question = book.lessons[0].questions[0]
    assert (question.kind, question.diagram) == ("diagram", None)


@pytest.mark.parametrize("target", ["missing.png", "x" * 300 + ".png"])
def test_a_missing_picture_is_noted(tmp_path: Path, target: str) -> None:
    (tmp_path / "a.md").write_text(f"a ![cap]({target})", encoding="utf-8")
    book = read_markdown(tmp_path)
    assert [name for name, _ in book.left_out] == [target]
    if target == "missing.png":
        assert book.left_out[0][1] == "a.md names this picture, but there is no such file"
        assert book.lessons[0].diagrams == (Diagram(target, caption="cap"),)


def test_a_diagram_may_have_links(tmp_path: Path) -> None:
    parts = [{"text": text, "rectangle": [[0, 0], [1, 1]]} for text in "ab"]
    annotations = tmp_path / "x.json"
    annotations.write_text(json.dumps({"parts": parts, "links": [[0, 1]]}), encoding="utf-8")
    diagram = read(tmp_path, "a ![](x.png)").diagrams[0]
    assert [part.text for part in diagram.parts] == ["a", "b"]
    assert diagram.links == ((0, 1),)
    for wrong, sentence in (
        ({"links": [[0]]}, r"x\.json has the link \[0\], but a link must be two numbers of parts"),
        ({"links": [[0, True]]}, r"x\.json has the link \[0, True\]"),
        ({"links": 1}, r"x\.json, links is 1, but must be a list"),
        ({"parts": parts, "links": [[0, 2]]}, r"diagram x\.png has the link \(0, 2\)"),
        ("x", r"x\.json is a text, but must be an object"),
        ([{"text": "a", "rectangle": 1}], r"x\.json, text number 1, rectangle is 1"),
    ):
        annotations.write_text(json.dumps(wrong), encoding="utf-8")
        with pytest.raises(UsageError, match=sentence):
            read(tmp_path, "a ![](x.png)")


def test_a_folder_is_read_in_the_order_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "my book"
    (folder / "deeper").mkdir(parents=True)
    for name in ("b.md", "a.MD", "c.markdown", "notes.txt", ".hidden.md", "deeper/d.md"):
        (folder / name).write_text(name, encoding="utf-8")
    book = read_markdown(folder)
    assert book.name == "my book"
    assert [lesson.name for lesson in book.lessons] == ["a", "b", "c"]


def test_chapters_without_text(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Title\n\n![](x.png)\n\n## Quiz\n\n1. What?\n - [ ] a", encoding="utf-8")
    for path in (tmp_path, tmp_path / "a.md"):
        with pytest.raises(UsageError, match=r"a\.md has no paragraph of text, but a chapter must have one"):
            read_markdown(path)
    (tmp_path / "b.md").write_text("text", encoding="utf-8")
    book = read_markdown(tmp_path)
    assert [lesson.name for lesson in book.lessons] == ["b"]
    assert book.left_out[-1] == ("a", "a.md has no paragraph of text")


def test_what_is_no_chapter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"the folder .* holds no file that ends in \.md or \.markdown"):
        read_markdown(tmp_path)
    with pytest.raises(UsageError, match=r"no\.md does not exist, but must be a markdown file or a folder"):
        read_markdown(tmp_path / "no.md")
    (tmp_path / "a.md").write_bytes(b"caf\xe9")
    with pytest.raises(UsageError, match=r"a\.md is not text in UTF-8"):
        read_markdown(tmp_path)
    monkeypatch.setattr(markdown, "MOST_BYTES", 3)
    with pytest.raises(UsageError, match=r"a\.md has 4 bytes, but a chapter must have 3 at most"):
        read_markdown(tmp_path / "a.md")


def test_the_embedded_book_has_text_questions_and_answers() -> None:
    book = read_embedded()
    assert book.name == "embedded"
    assert book.left_out == ()
    assert all(lesson.paragraphs and lesson.questions for lesson in book.lessons)
    assert all(question.answer is not None for _, question in book.pairs())
