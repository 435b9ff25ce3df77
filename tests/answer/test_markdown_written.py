"""Chapters written as markdown are read back the same; any text at all is read, or refused with a sentence."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.answer.markdown import read_markdown, write_markdown
from tenfold.answer.markup import escaped, plain
from tenfold.answer.textbook import Diagram, Lesson, Paragraph, Part, Question, Textbook
from tenfold.core.errors import UsageError

PIECES = [
    "# Quiz",
    "## a",
    "1. b?",
    "- [ ] c",
    " - [x] d",
    "> evidence: text",
    "> e",
    "text",
    "",
    "```",
    "<!--",
    "-->",
    "![p](q.png)",
    "---",
    "==",
    "a | b",
    "[1]: x",
    "",
]
MARKS = "*_`[]()!<>#-+=|~\\:.1x \u00e9"
lines = st.builds(
    lambda text: " ".join(text.split()),
    st.one_of(st.text(MARKS, min_size=1, max_size=12), st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)),
).filter(bool)
titles = lines.filter(lambda line: line.casefold() not in ("quiz", "questions", "exercises"))


@given(lines)
@settings(max_examples=200, deadline=None)
def test_escaped_text_is_plain_again(line: str) -> None:
    assert plain(escaped(line)) == line


@st.composite
def lessons(draw: st.DrawFn, name: str) -> Lesson:
    found = draw(st.lists(st.tuples(lines, st.one_of(st.just(""), titles)), min_size=1, max_size=4))
    paragraphs = tuple(Paragraph(f"{name}/{place}", text, topic) for place, (text, topic) in enumerate(found, 1))
    held = [paragraph.text.casefold() for paragraph in paragraphs]
    unique = [p.name for p in paragraphs if sum(p.text.casefold() in text for text in held) == 1]
    questions = []
    for number in range(1, draw(st.integers(1, 4))):
        choices = tuple(draw(st.one_of(st.just(["True", "false"]), st.lists(lines, min_size=1, max_size=3))))
        answer = draw(st.one_of(st.none(), st.integers(0, len(choices) - 1)))
        evidence = tuple(draw(st.lists(st.sampled_from(unique), unique=True, max_size=2)) if unique else ())
        words = sorted(choice.casefold() for choice in choices)
        kind = "true or false" if words == ["false", "true"] else "multiple choice"
        questions.append(Question(f"{name}/q{number}", draw(lines), choices, answer, kind, None, evidence))  # type: ignore[arg-type]
    return Lesson(name, draw(titles), paragraphs, (), tuple(questions))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_back(data: st.DataObject) -> None:
    names = sorted(data.draw(st.sets(st.sampled_from(["a", "a b", "a.b", "L_0002", "quiz", "\u00e9"]), min_size=1)))
    with TemporaryDirectory() as folder:
        inner = Path(folder) / "my book"
        chapters = tuple(data.draw(lessons(name)) for name in sorted(names, key=lambda name: f"{name}.md"))
        book = Textbook("my book", chapters)
        write_markdown(book, inner)
        assert read_markdown(inner) == book


@given(
    st.one_of(
        st.text(MARKS + "\n\n", max_size=60),
        st.text(st.characters(), max_size=40),
        st.lists(st.sampled_from(PIECES)).map("\n".join),
    )
)
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.md"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        with suppress(UsageError):
            assert read_markdown(path).lessons[0].paragraphs


def test_pictures_are_written_with_what_is_in_them(tmp_path: Path) -> None:
    (tmp_path / "old.png").write_bytes(b"picture")
    parts = (Part("core", (0.5, 1, 2, 3)), Part("crust", (4, 5, 6, 7)))
    linked = Diagram("sub/a b.png", parts, ((0, 1),), tmp_path / "old.png", "cap [tion]")
    bare = Diagram("c.png", parts, None, tmp_path / "old.png")
    other = Diagram("c.png", parts[:1], None, tmp_path / "old.png")

    def lesson(name: str, shown: Diagram) -> Lesson:
        asked = Question(f"{name}/q1", "What is A?", ("a",), 0, "diagram", shown)
        again = Question(f"{name}/q2", "What is B?", ("b",), None, "diagram", shown)
        return Lesson(name, name, (Paragraph(f"{name}/1", "Text."),), (linked,), (asked, again))

    write_markdown(Textbook("book", (lesson("x", bare), lesson("y", other))), tmp_path / "book")
    book = read_markdown(tmp_path / "book")
    assert book.left_out == ()
    for chapter, name, held in zip(book.lessons, ("c.png", "y/c.png"), (bare, other), strict=True):
        [shown] = chapter.diagrams
        assert (shown.name, shown.parts, shown.links, shown.caption) == (linked.name, parts, ((0, 1),), "cap [tion]")
        assert shown.picture is not None
        assert shown.picture.read_bytes() == b"picture"
        for question in chapter.questions:
            assert question.kind == "diagram"
            assert question.diagram is not None
            assert (question.diagram.name, question.diagram.parts, question.diagram.links) == (name, held.parts, None)


def test_a_chapter_may_have_the_name_quiz(tmp_path: Path) -> None:
    book = Textbook("book", (Lesson("Quiz", "Quiz", (Paragraph("Quiz/1", "Text."),)),))
    write_markdown(book, tmp_path / "book")
    assert read_markdown(tmp_path / "book") == book


def test_what_markdown_cannot_hold_is_refused(tmp_path: Path) -> None:
    text = (Paragraph("p", "Text."),)

    def one(*questions: Question, name: str = "a", title: str = "A", topic: str = "", diagram: str = "") -> Textbook:
        paragraphs = (Paragraph("p", "Text.", topic), Paragraph("r", "text. More."))
        return Textbook("book", (Lesson(name, title, paragraphs, (Diagram(diagram),) if diagram else (), questions),))

    for book, sentence in (
        (one(name="../a"), r"lesson '\.\./a' of book cannot be written, since its name is no plain file name"),
        (one(name=".a"), r"lesson '\.a' of book cannot be written"),
        (one(title="Quiz"), r"lesson a has the title 'Quiz', which begins a quiz"),
        (one(topic="Exercises"), r"lesson a has the topic 'Exercises', which begins a quiz"),
        (one(diagram="../a.png"), r"diagram '\.\./a\.png' cannot be written"),
        (one(diagram="/a.png"), r"diagram '/a\.png' cannot be written"),
        (one(Question("q", "What?", ("a", " "))), r"question q has a choice without text"),
        (one(Question("q", "What?", ("a",), evidence=("p",))), r"question q has the evidence p, but no words"),
        (one(Question("q", "What?", ("a",), evidence=("z",))), r"question q has the evidence z, but no words"),
        (one(title="\ud800"), r"a\.md cannot be written"),
    ):
        with pytest.raises(UsageError, match=sentence):
            write_markdown(book, tmp_path / "book")
    assert list(tmp_path.rglob("*.*")) == []
    write_markdown(Textbook("book", (Lesson("a", "A", text),)), tmp_path)
    with pytest.raises(UsageError, match=r"a\.md exists already, and is not written over"):
        write_markdown(Textbook("book", (Lesson("a", "B", text),)), tmp_path)
    assert read_markdown(tmp_path).lessons[0].title == "A"
