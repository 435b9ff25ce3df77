"""Markdown taken apart: its sections, the paragraphs in them, and the marks within a line; and text written so that it has no marks.

This is the part of markdown that prose needs. Code blocks, tables, comments and front matter are passed over; what else it does not
know stays text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ..core.errors import UsageError

DEEPEST = 8
"""marks within marks that are taken off"""


class Line(NamedTuple):
    """A line of a file, and its number from 1."""

    number: int
    text: str


class Section(NamedTuple):
    """A heading and the lines below it, to the next heading of any level. Before the first heading, level 0 and no heading."""

    level: int
    heading: str
    lines: list[Line]


class Picture(NamedTuple):
    """A picture as a line of markdown names it."""

    caption: str
    target: str


_FENCE = re.compile(r"\s*(`{3,}(?=[^`]*$)|~{3,})")
_COMMENT = re.compile(r"(?<!\\)<!--")
_HEADING = re.compile(r" {0,3}(#{1,6})((?:[ \t].*)?)")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*")
_BREAK = re.compile(r"\s*([-*_])\s*(?:\1\s*){2,}")
_ITEM = re.compile(r"\s*(?:[-*+]|([0-9]{1,9})[.)])(?:\s+|$)")
_QUOTE = re.compile(r" {0,3}(?:> ?)+")
_LINK_TARGET = re.compile(r" {0,3}\[[^\]]+\]:\s")
_LABEL = r"\[((?:\\.|[^\[\]\\])*)\]"
_PICTURE = re.compile(rf"(?<!\\)!{_LABEL}\(\s*(?:<([^<>]*)>|([^\s()]*))(?:\s+(?:\"[^\"]*\"|'[^']*'))?\s*\)")
_MARKS = re.compile(
    r"\\(?P<escaped>[!-/:-@\[-`{-~])"
    r"|(?<!`)(?P<ticks>`++)(?P<code>.{1,1000}?)(?<!`)(?P=ticks)(?!`)"
    r"|!?\[(?P<label>(?:\\.|[^\[\]\\])*)\](?:\([^()]*(?:\([^()]*\)[^()]*)?\)|\[[^\[\]]*\])"
    r"|<(?P<address>https?://[^\s<>]*)>"
    r"|(?P<stars>\*{1,3})(?=\*{0,4}[^\s*])(?P<starred>(?:\\.|[^\\]){1,1000}?)(?<=\S)(?P=stars)"
    r"|(?<!\w)(?P<lows>_{1,3})(?=_{0,4}[^\s_])(?P<lowed>(?:\\.|[^\\]){1,1000}?)(?<=\S)(?P=lows)(?!\w)",
    re.DOTALL,
)
_MARKS_ANYWHERE = re.compile(r"[\\`*\[\]<#]|(?<!\w)_|_(?!\w)")
_MARK_AT_START = re.compile(r"([0-9]*)([-+>|~=.)])")


def sections(text: str, where: str) -> Iterator[Section]:
    """The sections of a file, in order; the first is that before any heading.

    Raises:
        UsageError: a code block or a comment is not closed; `where` and the line are named.
    """
    current = Section(0, "", [])
    for line in _visible(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), where):
        heading, underline = _HEADING.fullmatch(line.text), _UNDERLINE.fullmatch(line.text)
        if heading:
            yield current
            current = Section(len(heading[1]), _without_closing(heading[2]), [])
        elif underline and current.lines and _is_prose(current.lines[-1].text):
            above = current.lines.pop().text
            yield current
            current = Section(1 if "=" in underline[1] else 2, above.strip(), [])
        else:
            current.lines.append(line)
    yield current


def paragraphs(lines: list[Line]) -> list[str]:
    """The paragraphs of a section, with the marks in their lines still in them. A list is one, and so is a quotation."""
    blocks: list[list[str]] = []
    kind, apart = "", True
    for line in _without_tables(lines):
        quote = _QUOTE.match(line)
        text = line[quote.end() :] if quote else line
        if not text.strip() or is_break(text):
            apart = True
            continue
        item = None if quote else _ITEM.match(text)
        if kind == "list" and not quote and (item or text.startswith("  ")):
            follows = True
        elif (
            item
        ):  # a line of prose may begin with a number and a full stop: only a 1 begins a list in the midst of prose
            follows = not apart and kind == "text" and item[1] not in (None, "1")
        else:
            follows = not apart and (kind == "quote" or not quote)
        if not follows:
            kind = "quote" if quote else "list" if item else "text"
            blocks.append([])
        blocks[-1].append(text[item.end() :] if item and kind == "list" else text)
        apart = False
    return [" ".join(block) for block in blocks]


def is_break(text: str) -> bool:
    """Whether a line is a rule across the page, such as "---"."""
    return _BREAK.fullmatch(text) is not None


def take_pictures(text: str) -> tuple[str, list[Picture]]:
    """A stretch of markdown without its pictures, and these."""
    pictures = [Picture(plain(match[1]), match[2] or match[3] or "") for match in _PICTURE.finditer(text)]
    return _PICTURE.sub(" ", text), pictures


def plain(text: str) -> str:
    """The text of a stretch of markdown on one line: without marks of emphasis, of code and of links."""
    return " ".join(_unmarked(text, DEEPEST).split())


def escaped(text: str) -> str:
    """Markdown, on one line, of which `plain` gives the text, and which begins no list, quotation, heading or table."""
    marked = _MARKS_ANYWHERE.sub(r"\\\g<0>", " ".join(text.split()))
    begins = _MARK_AT_START.match(marked)
    return f"{begins[1]}\\{marked[begins.end(1) :]}" if begins else marked


def _unmarked(text: str, deepest: int) -> str:
    def inner(match: re.Match[str]) -> str:
        literal = match["escaped"] or match["code"] or match["address"]
        marked = match["label"] or match["starred"] or match["lowed"] or ""
        return literal or _unmarked(marked, deepest - 1)

    return _MARKS.sub(inner, text) if deepest else text


def _visible(lines: list[str], where: str) -> Iterator[Line]:
    """The lines that are text: without front matter, code blocks and comments."""
    first = _front_matter(lines)
    fence, in_comment, opened = "", False, 0
    for number, text in enumerate(lines[first:], first + 1):
        begins = _FENCE.match(text)
        if fence:
            if begins and begins[1].startswith(fence) and text.strip() == begins[1]:
                fence = ""
        elif begins and not in_comment:
            fence, opened = begins[1], number
        else:
            shown, ends_in_comment = _without_comments(text, in_comment)
            if ends_in_comment and (not in_comment or "-->" in text):
                opened = number
            in_comment = ends_in_comment
            if shown.strip() or shown == text:
                yield Line(number, shown)
    if fence or in_comment:
        raise UsageError(f"{where}, line {opened} begins a {'code block' if fence else 'comment'} that has no end")


def _without_comments(text: str, in_comment: bool) -> tuple[str, bool]:
    """A line without its comments, and whether it ends inside of one."""
    shown: list[str] = []
    while text or not shown:
        if in_comment:
            _, end, text = text.partition("-->")
            in_comment = not end
            shown.append("")
        else:
            begins = _COMMENT.search(text)
            shown.append(text[: begins.start()] if begins else text)
            text = text[begins.end() :] if begins else ""
            in_comment = begins is not None
    return "".join(shown), in_comment


def _front_matter(lines: list[str]) -> int:
    """How many lines it has."""
    if lines[0].rstrip() != "---":
        return 0
    ends = (number for number, line in enumerate(lines[1:], 2) if line.rstrip() in ("---", "..."))
    return next(ends, 0)


def _without_closing(heading: str) -> str:
    """A heading without the number signs that may close it."""
    kept = heading.rstrip()
    opened = kept.rstrip("#")
    return (opened if opened != opened.rstrip() or not opened else kept).strip()


def _is_prose(text: str) -> bool:
    marks = (_ITEM.match(text), _QUOTE.match(text), is_break(text), text.lstrip().startswith("|"))
    return bool(text.strip()) and not any(marks)


def _without_tables(lines: list[Line]) -> Iterator[str]:
    in_table = False
    for place, (_, text) in enumerate(lines):
        below = lines[place + 1].text if place + 1 < len(lines) else ""
        begins = text.lstrip().startswith("|") or ("|" in below and "-" in below and not below.strip("|-: \t"))
        in_table = "|" in text and (in_table or begins)
        if not in_table and not _LINK_TARGET.match(text):
            yield text
