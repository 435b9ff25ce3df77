"""Reading the texts in a diagram's picture, where nobody has written down what is in it; needs `rapidocr`."""

from __future__ import annotations

import importlib
import math
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..core.config import require
from ..core.errors import UsageError
from ..core.pictures import decoding, open_picture
from .textbook import Box, Diagram, Part

MOST_PIXELS = 40_000_000
"""of a picture; beyond it, it is refused before it is decoded"""
LONGEST = 2000
"""pixels of a side; what is longer is made smaller before it is read"""


class Line(NamedTuple):
    """A line of text that was found."""

    text: str
    box: Box
    confidence: float
    """0 to 1"""


class OcrReader:
    """Finds texts and where they are, by a small network that runs on the CPU in about a second a picture; no links.

    The network comes with the package `rapidocr`; nothing is downloaded. One reader may be used by several threads,
    which then wait for each other.

    Example:
        diagram = OcrReader()(Path("layers.png"))
        diagram.parts[0]                           # Part(text="outer core", box=(401.0, 203.0, 519.0, 227.0))

    Args:
        confidence: 0 to 1; a line that the network is less sure of is left out.

    Raises:
        UsageError: the confidence is not within 0 to 1.
        ModuleNotFoundError: `rapidocr` or `onnxruntime`, which it runs on, is not installed.
    """

    def __init__(self, *, confidence: float = 0.5) -> None:
        require(0 <= confidence <= 1, "confidence", confidence, "within 0 to 1")
        self.confidence = confidence
        importlib.import_module("onnxruntime")  # without it rapidocr would fail later, and with another error
        self._engine = importlib.import_module("rapidocr").RapidOCR(params={"Global.log_level": "critical"})
        self._lock = threading.Lock()

    def __call__(self, picture: Path) -> Diagram:
        """The texts of a picture, from top to bottom; labels of several lines are one part each. No parts if it has no text.

        Raises:
            UsageError: the file is missing, not a picture, damaged, or has more than 40 million pixels.
        """
        image = _open(picture)
        scale = min(1.0, LONGEST / max(image.size))
        if scale < 1:
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            image = image.resize(size, Image.Resampling.LANCZOS)
        blue_first = np.ascontiguousarray(np.asarray(image)[:, :, ::-1])
        with self._lock:
            # its detector of upside-down text turns short words such as "pupa" round, and few diagrams have such text
            found = self._engine(blue_first, use_cls=False)
        lines = [line for line in _lines(found, scale) if line.confidence >= self.confidence]
        return Diagram(name=picture.name, parts=grouped(lines), picture=picture)


def grouped(lines: Iterable[Line]) -> tuple[Part, ...]:
    """Lines of text as labels, from top to bottom and from left to right.

    A line goes on with a label if it is close below its last line (a gap of at most 0.3 of the lower height of the two),
    about as high (at most 1.6 times), and begins, or has its middle, at the same place (to 0.6 of the lower height).
    """
    labels: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: (line.box[1], line.box[0])):
        label = next((label for label in reversed(labels) if _goes_on(label[-1].box, line.box)), None)
        if label is None:
            labels.append([line])
        else:
            label.append(line)
    return tuple(Part(" ".join(line.text for line in label), _around([line.box for line in label])) for label in labels)


def _open(path: Path) -> Image.Image:
    with decoding(str(path)), Image.open(path) as header:
        pixels = math.prod(header.size)
    if pixels > MOST_PIXELS:
        raise UsageError(f"{path} has {pixels:,} pixels, but must have at most {MOST_PIXELS:,}")
    return open_picture(path)


def _lines(found: Any, scale: float) -> list[Line]:
    """What rapidocr has found, in pixels of the picture before it was made smaller; its fields are None without text."""
    if found.boxes is None or found.txts is None or found.scores is None:
        return []
    lines = []
    for corners, text, confidence in zip(found.boxes, found.txts, found.scores, strict=True):
        shown = " ".join(text.split())
        if shown:
            (left, top), (right, bottom) = np.min(corners, 0) / scale, np.max(corners, 0) / scale
            lines.append(Line(shown, (float(left), float(top), float(right), float(bottom)), float(confidence)))
    return lines


def _goes_on(above: Box, below: Box) -> bool:
    heights = sorted((above[3] - above[1], below[3] - below[1]))
    gap = below[1] - above[3]
    beginnings, middles = abs(above[0] - below[0]), abs(above[0] + above[2] - below[0] - below[2]) / 2
    return (
        -0.5 * heights[0] <= gap <= 0.3 * heights[0]
        and heights[1] <= 1.6 * heights[0]
        and min(beginnings, middles) <= 0.6 * heights[0]
    )


def _around(boxes: Sequence[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)
