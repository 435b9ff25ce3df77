"""Names of files that are written side by side."""

from __future__ import annotations


def free_name(name: str, taken: set[str]) -> str:
    """The name, numbered where it is taken, which it then is; on some systems a and A are one file."""
    free, number = name, 1
    while free.casefold() in taken:
        number += 1
        free = f"{name}~{number}"
    taken.add(free.casefold())
    return free
