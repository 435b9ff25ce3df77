"""What a README promises: its code blocks, its commands, its headings and its links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path


def blocks(text: str, language: str) -> list[str]:
    """The bodies of the fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str, program: str) -> list[list[str]]:
    """Every call of `program` in the sh blocks, as its arguments; shell variables become the number 1."""
    source = "\n".join(blocks(text, "sh")).replace("\\\n", " ")
    calls = []
    for line in source.splitlines():
        words = shlex.split(re.sub(r"\$\{?\w+\}?", "1", line), comments=True)
        calls += [part[part.index(program) + 1 :] for part in _parts(words) if program in part]
    return calls


def headings(text: str) -> list[str]:
    """The texts of the headings of the second level."""
    return re.findall(r"^## (.+)$", _without_code(text), flags=re.MULTILINE)


def broken_links(file: Path) -> list[str]:
    """The links and pictures of a page that lead to no file, or to no heading of one."""
    text = _without_code(file.read_text(encoding="utf-8"))
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"(https?|mailto):", link):
            continue
        name, _, heading = link.partition("#")
        target = file.parent / name if name else file
        if not target.exists() or (heading and heading not in _anchors(target)):
            broken.append(link)
    return broken


def _anchors(file: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", _without_code(file.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def _parts(words: list[str]) -> list[list[str]]:
    """A line of shell, cut where one command ends and the next begins."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word in ("|", "&&", "||", ";", "do", "done", ">"):
            parts.append([])
        else:
            parts[-1].append(word.removesuffix(";"))
            if word.endswith(";"):
                parts.append([])
    return parts
