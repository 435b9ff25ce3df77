"""The contract of a demo: something trained that takes declared inputs and gives declared outputs, one call a prediction.

A method's `demo.load(run folder)` returns a `Demo`. Its inputs are declared by the method's `DemoOptions` dataclass, whose
fields name, type and explain them, so that a command line or a page can ask for them without loading torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image

Kind = Literal["picture", "pictures", "table", "text", "mesh"]


@dataclass(frozen=True)
class Output:
    """One declared output of a demo."""

    name: str
    kind: Kind
    about: str
    """one line: what it shows"""


@dataclass(frozen=True)
class Rows:
    """A small table: column names, and rows of as many texts."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Pictures:
    """Any number of pictures, made one after the other while they are taken."""

    count: int
    """how many there will be, about; 0 if that is not known"""
    made: Iterator[tuple[str, Image]]
    """(path of the file below the folder that is written to, such as "mask/street.png", picture)"""


@dataclass(frozen=True)
class Files:
    """Files that a person opens elsewhere: a mesh, and what belongs to it."""

    made: Mapping[str, bytes]
    """name of each file, such as "cup.stl" -> what it holds"""


class Demo(Protocol):
    """A trained method, ready to be called with its `DemoOptions`."""

    outputs: tuple[Output, ...]

    def __call__(self, options: Any) -> dict[str, Any]:
        """One prediction: a value for each declared output, by name; a picture is a PIL image, a table is
        `Rows`, pictures are `Pictures`, a mesh is `Files`.

        Raises:
            UsageError: an input is missing, damaged or out of range.
        """
        ...
