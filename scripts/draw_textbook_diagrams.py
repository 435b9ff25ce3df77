"""Draw the pictures of the embedded textbook: beside each `diagrams/NAME.json` a `NAME.png` of a few kilobytes.

    python scripts/draw_textbook_diagrams.py            # draws what is missing or out of date
    python scripts/draw_textbook_diagrams.py --check    # says what is, and ends with 1 if there is any

A file is {"size": [width, height], "parts": [{"text": ..., "rectangle": [[left, top], [right, bottom]]}, ...],
"links": [[0, 1], ...]}, and may have "arrows": true for links with heads, and "shapes" drawn below all of it:
{"kind": "ellipse", "rectangle", "polygon", "line" or "arrow", "points": [[x, y], ...], "fill": "#rrggbb", "stroke": "#rrggbb"}.
Each picture carries the checksum of the file it was drawn from. Bad layouts (texts that overlap or do not fit) are
named, and end the script with 1.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from tenfold.answer.canvas import fitted, joint, wrapped
from tenfold.core.figures import FAINT, INK, caption_font

FOLDER = Path(__file__).parents[1] / "tenfold" / "answer" / "book" / "diagrams"
DRAWING = "1"
"""changes when the same file is to give another picture"""
FINE = 3
"""times as large while drawing, so that edges are smooth"""
LARGEST, SMALLEST = 20, 11
"""pixels of a text's font"""
FRAME = (3, 2)
"""pixels from a text's rectangle to its frame, across and down, which it has where there are no shapes"""
MOST_BYTES = 12_000

Point = tuple[float, float]
Rectangle = tuple[float, float, float, float]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="draw nothing; say which pictures are out of date")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the JSON files (default: %(default)s)")
    arguments = parser.parse_args()
    bad = 0
    for path in sorted(arguments.folder.glob("*.json")):
        data = path.read_bytes()
        notes = problems(json.loads(data))
        target, checksum = path.with_suffix(".png"), hashlib.sha256(DRAWING.encode() + data).hexdigest()
        if checksum_of(target) != checksum:
            if arguments.check:
                notes.append("its picture is missing or out of date")
            else:
                target.write_bytes(packed(drawn(json.loads(data)), checksum))
                print(f"{target.name}: {target.stat().st_size:,} bytes")
        for note in notes:
            print(f"{path.name}: {note}", file=sys.stderr)
        bad += len(notes)
    return 1 if bad else 0


def checksum_of(picture: Path) -> str:
    """Of the file that a picture was drawn from; empty where there is no picture."""
    if not picture.is_file():
        return ""
    with Image.open(picture) as image:
        return str(image.info.get("drawn from", ""))


def problems(diagram: dict[str, Any]) -> list[str]:
    """What is wrong with a layout, a sentence each."""
    width, height = diagram["size"]
    parts = [(part["text"], rectangle_of(part)) for part in diagram["parts"]]
    found = [
        f"{text!r} is outside of the picture, or inside out"
        for text, (left, top, right, bottom) in parts
        if not (0 <= left < right <= width and 0 <= top < bottom <= height)
    ]
    found += [f"{text!r} does not fit into its rectangle" for text, box in parts if not fitting(text, box)]
    found += [
        f"{one!r} and {other!r} overlap" for (one, a), (other, b) in combinations(parts, 2) if is_overlapping(a, b)
    ]
    ends = [tuple(link) for link in diagram.get("links", ())]
    found += [f"link {pair} is not of two parts" for pair in ends if not {*pair} <= {*range(len(parts))}]
    return found


def is_overlapping(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def rectangle_of(part: dict[str, Any]) -> Rectangle:
    (left, top), (right, bottom) = part["rectangle"]
    return left, top, right, bottom


def fitting(text: str, box: Rectangle) -> tuple[list[str], int] | None:
    return fitted(text, box[2] - box[0], box[3] - box[1], largest=LARGEST, smallest=SMALLEST)


def drawn(diagram: dict[str, Any]) -> Image.Image:
    """The picture of a diagram: shapes, then links, then texts, so that no line crosses a text."""
    width, height = diagram["size"]
    picture = Image.new("RGB", (width * FINE, height * FINE), "white")
    draw = ImageDraw.Draw(picture)
    shapes = diagram.get("shapes", ())
    for shape in shapes:
        draw_shape(draw, shape)
    parts = [(part["text"], rectangle_of(part)) for part in diagram["parts"]]
    wide, high = (0, 0) if shapes else FRAME
    for first, second in diagram.get("links", ()):
        ends = joint(parts[first][1], parts[second][1], gap=3 + max(wide, high))
        draw_line(draw, ends, INK, head=bool(diagram.get("arrows")))
    # one size for all, that of the text with the least room
    size = min((found[1] for found in (fitting(*part) for part in parts) if found), default=SMALLEST)
    for text, box in parts:
        if not shapes:
            grown = (box[0] - wide, box[1] - high, box[2] + wide, box[3] + high)
            draw.rounded_rectangle(
                [FINE * value for value in grown], 6 * FINE, fill="#f3f6fa", outline=FAINT, width=FINE
            )
        draw_text(draw, text, box, size, halo=bool(shapes))
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def draw_shape(draw: ImageDraw.ImageDraw, shape: dict[str, Any]) -> None:
    points = [(x, y) for x, y in shape["points"]]
    fill, stroke = shape.get("fill"), shape.get("stroke")
    if shape["kind"] in ("line", "arrow"):
        draw_line(draw, points, stroke or fill or INK, head=shape["kind"] == "arrow")
        return
    large = [(x * FINE, y * FINE) for x, y in points]
    if shape["kind"] == "polygon":
        draw.polygon(large, fill=fill, outline=stroke, width=2 * FINE)
        return
    left, right = sorted(x for x, _ in large)
    top, bottom = sorted(y for _, y in large)
    method = {"ellipse": draw.ellipse, "rectangle": draw.rectangle}[shape["kind"]]
    method((left, top, right, bottom), fill=fill, outline=stroke, width=2 * FINE if stroke else 0)


def draw_line(draw: ImageDraw.ImageDraw, points: Sequence[Point], colour: str, *, head: bool) -> None:
    """Through points, with a head at the last one."""
    *path, before, tip = points
    length = math.dist(before, tip)
    if head and length:
        along = ((tip[0] - before[0]) / length, (tip[1] - before[1]) / length)
        size = min(11.0, length)
        neck = (tip[0] - size * along[0], tip[1] - size * along[1])
        wide = 0.45 * size
        corners = [
            tip,
            (neck[0] - wide * along[1], neck[1] + wide * along[0]),
            (neck[0] + wide * along[1], neck[1] - wide * along[0]),
        ]
        draw.polygon([(x * FINE, y * FINE) for x, y in corners], fill=colour)
        tip = neck
    draw.line([(x * FINE, y * FINE) for x, y in (*path, before, tip)], fill=colour, width=2 * FINE, joint="curve")


def draw_text(draw: ImageDraw.ImageDraw, text: str, box: Rectangle, size: int, *, halo: bool) -> None:
    """In the middle of a box; with a white halo, which keeps it legible on a shape."""
    lines, font = wrapped(text, size, box[2] - box[0]), caption_font(size * FINE)
    middle, step = (box[0] + box[2]) / 2, 1.2 * size
    top = (box[1] + box[3] - step * (len(lines) - 1)) / 2
    for number, line in enumerate(lines):
        place = (middle * FINE, (top + number * step) * FINE)
        if halo:
            draw.text(place, line, fill="white", font=font, anchor="mm", stroke_width=2 * FINE)
        draw.text(place, line, fill=INK, font=font, anchor="mm")


def packed(picture: Image.Image, checksum: str) -> bytes:
    """A PNG of as many colours as its limit of bytes allows, with the checksum of what it was drawn from."""
    info = PngInfo()
    info.add_text("drawn from", checksum)
    for colours in (64, 32, 16, 8):
        file = io.BytesIO()
        few = picture.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        few.save(file, format="PNG", optimize=True, pnginfo=info)
        if file.tell() <= MOST_BYTES:
            break
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())
