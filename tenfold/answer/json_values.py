"""Values of a JSON file from outside, checked as they are taken: what is wrong is named, with the place where it stands.

`where` is that place in words, such as "tqa_v1_val.json, lesson L_0002". A value that is missing or null counts as empty.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ..core.errors import UsageError

MOST_BYTES = 400_000_000
"""of a JSON file; the largest of TQA has well below a hundred million"""


def read_json_file(path: Path, *, at_most: int = MOST_BYTES) -> Any:
    """What a JSON file holds.

    Raises:
        UsageError: it is above `at_most` bytes, cannot be read, or is not JSON.
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= at_most else b""
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if size > at_most:
        raise UsageError(f"{path} has {size} bytes, but must have {at_most} at most")
    return parse_json(data, str(path))


def parse_json(data: bytes, where: str) -> Any:
    """What bytes of JSON hold.

    Raises:
        UsageError: they are not JSON.
    """
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # a UnicodeDecodeError and a JSONDecodeError are ValueErrors
        raise UsageError(f"{where} cannot be read as JSON: {error}") from error


def as_mapping(value: object, where: str) -> dict[str, Any]:
    """An object of JSON; empty where there is none.

    Raises:
        UsageError: it is something else.
    """
    return _checked(value, dict, where) or {}


def as_list(value: object, where: str) -> list[Any]:
    """A list of JSON; empty where there is none.

    Raises:
        UsageError: it is something else.
    """
    return _checked(value, list, where) or []


def as_text(value: object, where: str) -> str:
    """A text of JSON on one line, each stretch of white space one space; empty where there is none.

    Raises:
        UsageError: it is something else.
    """
    return " ".join(as_lines(value, where).split())


def as_lines(value: object, where: str) -> str:
    """A text of JSON as it stands; empty where there is none.

    Raises:
        UsageError: it is something else.
    """
    text: str = _checked(value, str, where) or ""
    # JSON may escape half of a surrogate pair, which no file and no tokenizer takes
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def as_number(value: object, where: str) -> float:
    """A finite number of JSON.

    Raises:
        UsageError: it is something else.
    """
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError as error:
        raise UsageError(f"{where} is a number of {len(str(value))} digits, but must be a finite number") from error
    raise UsageError(f"{where} is {described(value)}, but must be a finite number")


def described(value: object) -> str:
    """What kind of value of JSON this is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool | int | float):
        return str(value)
    names = {"dict": "an object", "list": "a list", "str": "a text"}
    return names.get(type(value).__name__, type(value).__name__)


def _checked(value: object, kind: type, where: str) -> Any:
    if value is None or isinstance(value, kind):
        return value
    raise UsageError(f"{where} is {described(value)}, but must be {described(kind())}")
