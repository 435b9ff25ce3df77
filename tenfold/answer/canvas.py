"""A smooth canvas for pictures of texts and links, texts broken into lines that fit, and attention as colour."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image, ImageColor, ImageDraw

from ..core.config import require
from ..core.figures import INK, PALETTE, caption_font

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

    from .textbook import Box

FINE = 2
"""pixels inside a canvas for each pixel that comes out, so that lines are smooth"""
TEXT, SMALL = 21, 16
"""pixels of fonts"""
BARE, HOT = "#f4f6f9", PALETTE[4]
"""no attention, and the most that is in the picture; between them colours are mixed in proportion"""
LINK = "#7f97b2"
NUMBERED = 5
"""places whose attention is also written down, the strongest ones"""

Point = tuple[float, float]
"""pixels from the left and from the top"""


class Piece(NamedTuple):
    """Of a text broken into lines: `text[start:end]`, and how many pixels from the left it stands."""

    start: int
    end: int
    left: float


class Canvas:
    """A white picture; all places and sizes are in pixels of what comes out."""

    def __init__(self, width: float, height: float) -> None:
        self.image = Image.new("RGB", (math.ceil(width) * FINE, math.ceil(height) * FINE), "white")
        self._draw = ImageDraw.Draw(self.image)

    def text(self, place: Point, text: str, size: int = TEXT, *, colour: str = INK, anchor: str = "lm") -> None:
        self._draw.text(_large(place), text, fill=colour, font=font(size * FINE), anchor=anchor)

    def lines(self, place: Point, lines: Sequence[str], size: int = TEXT, *, anchor: str = "lm") -> float:
        """Lines of text from the middle of the first one on; where the middle of the next would be."""
        for number, line in enumerate(lines):
            self.text((place[0], place[1] + 1.3 * size * number), line, size, anchor=anchor)
        return place[1] + 1.3 * size * len(lines)

    def line(self, points: Sequence[Point], colour: str = LINK, width: float = 2.0) -> None:
        self._draw.line([_large(point) for point in points], colour, round(width * FINE), joint="curve")

    def box(self, box: Box, fill: str | None, outline: str | None = None, width: int = 1, radius: int = 6) -> None:
        corners = (*_large((box[0], box[1])), *_large((box[2], box[3])))
        radius = min(radius, int(min(box[2] - box[0], box[3] - box[1]) / 2))
        self._draw.rounded_rectangle(corners, radius * FINE, fill, outline, width * FINE)

    def attention(self, place: Point, shares: Sequence[float]) -> float:
        """A key to the colours of attention, if there is any, on a line of text; where the next key goes."""
        left, middle = place
        if not any(shares):
            return left
        self.text(place, "attention 0", SMALL)
        left += font(SMALL).getlength("attention 0") + 10
        for step in range(100):
            self.box((left + step, middle - 9, left + step + 1, middle + 9), mixed(step / 99), radius=0)
        most = f"{max(shares):.0%}"
        self.text((left + 110, middle), most, SMALL)
        return left + 110 + font(SMALL).getlength(most) + 44

    def finished(self) -> Image.Image:
        return self.image.reduce(FINE)


def shares_of(weights: Sequence[float] | None, count: int, of: str) -> list[float]:
    """Weights as shares of their sum; zeros where there are none.

    Raises:
        UsageError: the number of weights is not `count`, or one is negative, infinite or NaN.
    """
    if weights is None:
        return [0.0] * count
    require(len(weights) == count, "the number of weights", len(weights), f"{count}, as there are {of}")
    for weight in weights:
        require(math.isfinite(weight) and weight >= 0, "a weight", weight, "finite and not negative")
    whole = sum(weights)
    return [float(weight) / whole if whole else 0.0 for weight in weights]


def strongest(shares: Sequence[float]) -> list[int]:
    """The places whose attention is written down: it is the greatest there, and not below half a percent."""
    order = sorted(range(len(shares)), key=lambda place: -shares[place])
    return [place for place in order[:NUMBERED] if shares[place] >= 0.005]


def heat(shares: Sequence[float], place: int) -> str:
    """The colour of a place."""
    return mixed(shares[place] / max(shares) if any(shares) else 0.0)


def mixed(amount: float) -> str:
    """The colour of an attention, as a share of the greatest in the picture."""
    pairs = zip(ImageColor.getrgb(BARE), ImageColor.getrgb(HOT), strict=True)
    return "#" + "".join(f"{round(bare + amount * (hot - bare)):02x}" for bare, hot in pairs)


def wrapped(text: str, size: int, width: float) -> list[str]:
    """The lines of a text that fit into a width, both in pixels; a single word may be wider. None for an empty text."""
    return [" ".join(text[line[0].start : line[-1].end].split()) for line in broken(text, size, width)]


def broken(text: str, size: int, width: float) -> list[list[Piece]]:
    """A text broken into lines where it has space, and anywhere in more than 40 letters without any."""
    lines: list[list[Piece]] = []
    face, left = font(size), 0.0
    for match in re.finditer(r"\S{1,40}", text):
        long = face.getlength(match[0])
        if not lines or left + long > width:
            lines.append([])
            left = 0.0
        lines[-1].append(Piece(match.start(), match.end(), left))
        left += long + (face.getlength(" ") if text[match.end() : match.end() + 1].isspace() else 0.0)
    return lines


def fitted(text: str, width: float, height: float, *, largest: int, smallest: int) -> tuple[list[str], int] | None:
    """The lines of a text and the largest size of its font, all in pixels, with which they fit into a box; None if none does."""
    for size in range(largest, smallest - 1, -1):
        lines = wrapped(text, size, width)
        if 1.2 * size * len(lines) <= height and all(font(size).getlength(line) <= width for line in lines):
            return lines, size
    return None


def joint(first: Box, second: Box, gap: float = 3.0) -> tuple[Point, Point]:
    """Where a line from one box to another starts and ends: at their edges, and a gap away from them, in pixels.

    Straight across or down where at least half of the narrower box faces the other, else on the way between centres.
    """
    here = (_facing(first, second, 0), _facing(first, second, 1))
    there = (_facing(second, first, 0), _facing(second, first, 1))
    return _edge(first, here, there, gap), _edge(second, there, here, gap)


@lru_cache(maxsize=128)
def font(size: int) -> FreeTypeFont:
    """The font of all texts, of a size in pixels."""
    return caption_font(size)


def middle(box: Box) -> Point:
    """The centre of a box."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _large(point: Point) -> Point:
    return point[0] * FINE, point[1] * FINE


def _facing(a: Box, b: Box, axis: int) -> float:
    low, high = max(a[axis], b[axis]), min(a[axis + 2], b[axis + 2])
    narrower = min(a[axis + 2] - a[axis], b[axis + 2] - b[axis])
    return (low + high) / 2 if high - low >= narrower / 2 else middle(a)[axis]


def _edge(box: Box, inside: Point, towards: Point, gap: float) -> Point:
    """Where the way out of a box leaves it; the middle of the way where that would be beyond it."""
    shares = [0.5]
    for axis in (0, 1):
        step = towards[axis] - inside[axis]
        if step:
            bound = box[axis + 2] + gap if step > 0 else box[axis] - gap
            shares.append((bound - inside[axis]) / step)
    share = min(shares)
    return inside[0] + share * (towards[0] - inside[0]), inside[1] + share * (towards[1] - inside[1])
