"""Chapters in markdown: one file is a lesson, its headings are topics, and below the heading "Quiz" are its questions.

Such as this::

    # Layers of the Earth

    A paragraph; empty lines part paragraphs.

    ![The layers of the Earth, cut open](diagrams/layers.png)

    ## Quiz

    1. Which layer is hottest?
       - [ ] crust
       - [x] inner core
       > evidence: the temperature in the inner core

A lesson has the name of its file and the title of its first heading. A quiz goes up to the next heading of the same or a higher level.
No choice ticked means that the answer is not known. Words of evidence, which may be left out, are in one paragraph of the chapter
alone. A picture is below the folder of the book; beside "layers.png" a file "layers.json" may say what is in it, as a list of TQA's
{"text": ..., "rectangle": [[x, y], [x, y]]} or as {"parts": the same list, "links": [[0, 1], ...]}.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path

from ..core.errors import UsageError
from .json_values import as_list, as_mapping, read_json_file
from .markup import Line, Picture, escaped, paragraphs, plain, sections, take_pictures
from .quiz import begins_quiz, read_quiz, written_question
from .textbook import Diagram, Lesson, Paragraph, Part, Textbook
from .tqa import inside, read_parts

ENDINGS = (".md", ".markdown")
MOST_BYTES = 20_000_000
"""of a chapter"""

_PLAIN_NAME = re.compile(r"(?![. ])[^/\\<>:\"|?*\x00-\x1f\x7f]{1,200}(?<![. ])")


def read_markdown(path: Path) -> Textbook:
    """A textbook from one chapter or a folder of them, in the order of the files' names. Folders within it hold pictures alone.

    Raises:
        UsageError: there is no chapter; or one is not readable text, or its quiz is not of the format; or none has a paragraph. A
            chapter without any is left out where another has some.
    """
    files = _chapters(path)
    left_out: list[tuple[str, str]] = []
    lessons = []
    for file in files:
        lesson = _Chapter(file, left_out).read()
        if lesson.paragraphs:
            lessons.append(lesson)
        else:
            left_out.append((file.stem, f"{file.name} has no paragraph of text"))
    if not lessons:
        raise UsageError(f"{files[0]} has no paragraph of text, but a chapter must have one")
    resolved = path.resolve()
    name = resolved.name if path.is_dir() else resolved.stem
    return Textbook(name, tuple(lessons), tuple(dict.fromkeys(left_out)))


def read_embedded() -> Textbook:
    """The small book that comes with the package."""
    return replace(read_markdown(Path(str(resources.files(__package__) / "book"))), name="embedded")


def write_markdown(book: Textbook, folder: Path) -> None:
    """Write each lesson as a chapter that `read_markdown` reads, with the pictures of its diagrams and what is in them.

    Chapters name their paragraphs and questions anew, and lose what was left out of the book. A diagram whose picture is missing is
    written too, and noted as such when the chapter is read.

    Raises:
        UsageError: a lesson or diagram has no plain name of a file, or its file exists already; or a heading would begin a quiz; or
            a question's choices or evidence cannot be written.
    """
    for lesson in book.lessons:
        if not _PLAIN_NAME.fullmatch(lesson.name):
            raise UsageError(
                f"lesson {lesson.name!r} of {book.name} cannot be written, since its name is no plain file name"
            )
    writer = _Writer(folder)
    for lesson in book.lessons:
        writer.write(lesson)


def read_diagram(picture: Path, name: str, caption: str = "") -> Diagram:
    """A diagram from its picture, and from the .json beside it where there is one.

    Args:
        picture: its file; where there is none the diagram is without it.
        name: of the diagram.
        caption: what stands below it.

    Raises:
        UsageError: the .json is damaged or of another form.
    """
    parts, links = _annotations(picture.with_suffix(".json"))
    return Diagram(name, parts, links, picture if picture.is_file() else None, caption)


def _chapters(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UsageError(f"{path} does not exist, but must be a markdown file or a folder of them")
    files = [
        file for file in path.iterdir() if file.suffix.lower() in ENDINGS and file.name[0] != "." and file.is_file()
    ]
    if not files:
        raise UsageError(f"the folder {path} holds no file that ends in {' or '.join(ENDINGS)}")
    return sorted(files, key=lambda file: file.name)


class _Chapter:
    """Reads one file."""

    def __init__(self, file: Path, left_out: list[tuple[str, str]]) -> None:
        self._file = file
        self._left_out = left_out
        self._diagrams: list[Diagram] = []

    def read(self) -> Lesson:
        name = self._file.stem
        title, found, quiz = self._sorted(_text_of(self._file))
        texts = tuple(Paragraph(f"{name}/{number}", text, topic) for number, (topic, text) in enumerate(found, 1))
        diagrams = tuple(self._diagrams)
        questions = read_quiz(quiz, name, str(self._file), texts, self._diagram) if texts else ()
        return Lesson(name, title or name, texts, diagrams, questions)

    def _sorted(self, text: str) -> tuple[str, list[tuple[str, str]], list[Line]]:
        """The title, (topic, text) of each paragraph, and the lines of the quiz."""
        title, topic, quiz_level = "", "", 0
        found: list[tuple[str, str]] = []
        quiz: list[Line] = []
        for section in sections(text, str(self._file)):
            if begins_quiz(section.heading) and not (quiz_level and section.level > quiz_level):
                quiz_level = section.level
            elif not quiz_level or section.level <= quiz_level:
                quiz_level = 0
                heading = plain(section.heading)
                if section.level == 1 and not title:
                    title, topic = heading, ""
                else:
                    topic = heading
            if quiz_level:
                quiz += [*section.lines, Line(0, "")]
            else:
                found += [(topic, paragraph) for paragraph in self._paragraphs(section.lines)]
        return title, found, quiz

    def _paragraphs(self, lines: list[Line]) -> list[str]:
        texts = []
        for paragraph in paragraphs(lines):
            text, pictures = take_pictures(paragraph)
            texts.append(plain(text))
            self._diagrams += [diagram for picture in pictures if (diagram := self._diagram(picture))]
        return [text for text in texts if text]

    def _diagram(self, picture: Picture) -> Diagram | None:
        target = picture.target
        path = inside(self._file.parent, target) if target and "://" not in target else None
        if path is None or path.is_dir():
            self._left_out.append(
                (target, f"{self._file.name} names this picture, which is not in the folder of the book")
            )
            return None
        if not path.is_file():
            self._left_out.append((target, f"{self._file.name} names this picture, but there is no such file"))
        return read_diagram(path, target, picture.caption)


def _text_of(file: Path) -> str:
    try:
        size = file.stat().st_size
        data = file.read_bytes() if size <= MOST_BYTES else b""
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not text in UTF-8, but a chapter must be: {error}") from error
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error}") from error
    if size > MOST_BYTES:
        raise UsageError(f"{file} has {size} bytes, but a chapter must have {MOST_BYTES} at most")
    return text


def _annotations(file: Path) -> tuple[tuple[Part, ...], tuple[tuple[int, int], ...] | None]:
    """The parts and links of a diagram, from the file beside its picture, where there is one."""
    if not file.is_file():
        return (), None
    held, where = read_json_file(file, at_most=MOST_BYTES), str(file)
    if isinstance(held, list):
        return read_parts(held, where), None
    known = as_mapping(held, where)
    links = known.get("links")
    return read_parts(known.get("parts"), f"{where}, parts"), None if links is None else tuple(_links(links, where))


def _links(links: object, where: str) -> Iterator[tuple[int, int]]:
    for link in as_list(links, f"{where}, links"):
        ends = as_list(link, f"{where}, links")
        if len(ends) != 2 or not all(type(end) is int for end in ends):
            raise UsageError(f"{where} has the link {link!r:.80}, but a link must be two numbers of parts")
        yield ends[0], ends[1]


class _Writer:
    """Writes the chapters of one book."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._drawn: dict[str, Diagram] = {}

    def write(self, lesson: Lesson) -> None:
        if begins_quiz(lesson.title) and lesson.title != lesson.name:
            raise UsageError(f"lesson {lesson.name} has the title {lesson.title!r}, which begins a quiz in markdown")
        blocks = [] if begins_quiz(lesson.title) else [f"# {escaped(lesson.title)}"]
        topic = ""
        for paragraph in lesson.paragraphs:
            if paragraph.topic != topic:
                topic = paragraph.topic
                if begins_quiz(topic):
                    raise UsageError(f"lesson {lesson.name} has the topic {topic!r}, which begins a quiz in markdown")
                blocks.append(f"## {escaped(topic)}".strip())
            blocks.append(escaped(paragraph.text))
        blocks += [self._picture(diagram, lesson) for diagram in lesson.diagrams]
        blocks += ["## Quiz"] if lesson.questions else []
        for number, question in enumerate(lesson.questions, 1):
            picture = self._picture(question.diagram, lesson) if question.diagram else ""
            blocks.append(written_question(number, question, lesson.paragraphs, picture))
        self._write_new(f"{lesson.name}.md", "\n\n".join(blocks) + "\n")

    def _picture(self, diagram: Diagram, lesson: Lesson) -> str:
        """The mark of a diagram's picture, whose files are written if they are not yet."""
        if not all(_PLAIN_NAME.fullmatch(part) for part in diagram.name.split("/")):
            raise UsageError(f"diagram {diagram.name!r} cannot be written, since its name is no plain file name")
        # lessons may say different things of a picture of the same name
        for name in (diagram.name, f"{lesson.name}/{diagram.name}"):
            if name not in self._drawn:
                self._draw(name, diagram)
            known = self._drawn[name]
            if (known.parts, known.links, known.picture) == (diagram.parts, diagram.links, diagram.picture):
                return f"![{escaped(diagram.caption)}](<{name}>)"
        raise UsageError(f"lesson {lesson.name} has two diagrams {diagram.name} that differ, but a picture is one file")

    def _draw(self, name: str, diagram: Diagram) -> None:
        self._drawn[name] = diagram
        if diagram.picture:
            self._write_new(name, diagram.picture)
        if diagram.parts or diagram.links is not None:
            parts = [{"text": part.text, "rectangle": [part.box[:2], part.box[2:]]} for part in diagram.parts]
            held = parts if diagram.links is None else {"parts": parts, "links": diagram.links}
            self._write_new(str(Path(name).with_suffix(".json")), json.dumps(held, indent=1))

    def _write_new(self, name: str, content: str | Path) -> None:
        path = self._folder / name
        try:
            data = content.encode() if isinstance(content, str) else content.read_bytes()
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(data)
        except FileExistsError as error:
            raise UsageError(f"{path} exists already, and is not written over") from error
        except (OSError, UnicodeError) as error:
            raise UsageError(f"{path} cannot be written: {error}") from error
