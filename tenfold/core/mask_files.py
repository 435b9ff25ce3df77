"""Masks, which are files of a class for every pixel, and the legends that say what the values in them mean.

Values are taken as they are stored: the indices of a palette, and grey of few or many bits unscaled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .errors import UsageError

Bytes = np.ndarray[Any, np.dtype[np.uint8]]

IGNORE = 255
"""The label of pixels that are neither learned from nor scored."""
REFUSED = -1
"""Stands in tables for a stored value that a mask must not have."""
UNSCORED = {"void", "ignore", "unlabelled", "unlabeled"}
"""Names of classes, in any case, whose pixels get the label `IGNORE`."""
STEPS = {"L;2": 85, "L;4": 17}
"""Pillow spreads the values of 2-bit and 4-bit grey over 0..255, which multiplies them by these."""


@dataclass(frozen=True)
class Legend:
    """What the values stored in masks mean."""

    classes: tuple[str, ...]
    colours: Bytes
    """uint8 (K, 3)"""
    labels: tuple[int, ...]
    """what each value from 0 stands for; `IGNORE` stands for itself, and no other value is allowed"""
    by_colour: Mapping[tuple[int, ...], int]
    """what each (R, G, B) stands for; empty where masks are not read by colour"""


def usual_colours(count: int) -> Bytes:
    """uint8 (count, 3): the well-known colours of VOC's palette, class 0 black; distinct for up to 256 classes."""
    numbers, colours = np.arange(count), np.zeros((count, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((numbers >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def read_legend(file: Path) -> Legend:
    """The classes in a text or CSV file: a line NAME or NAME R G B for each label from 0, spaces or commas between.

    A first line name,r,g,b and what follows a # are passed over. Classes named in `UNSCORED` become `IGNORE`.

    Raises:
        UsageError: the file is missing, or is not as described.
    """
    lines = read_lines(file)
    if re.fullmatch(r"name[\s,]+r[\s,]+g[\s,]+b", lines[0], re.IGNORECASE):
        del lines[0]
    names, colours = zip(*[_entry(line, file) for line in lines], strict=True) if lines else ((), ())
    scored = tuple(name for name in names if name.lower() not in UNSCORED)
    if not scored or len(names) > IGNORE:
        raise UsageError(f"{file} has {len(scored)} scored classes in {len(names)} lines, but must have 1 to {IGNORE}")
    if None in colours and any(colours):
        raise UsageError(f"{file} gives {names[colours.index(None)]} no colour, but must give every class one, or none")
    _refuse_repeated(scored, "name", file)
    _refuse_repeated([colour for colour in colours if colour], "colour", file)
    labels = tuple(scored.index(name) if name in scored else IGNORE for name in names)
    by_colour = dict(zip(colours, labels, strict=True)) if any(colours) else {}
    shown = [colour for colour, label in by_colour.items() if label != IGNORE] or usual_colours(len(scored))
    return Legend(scored, np.array(shown, np.uint8), labels, by_colour)


def _entry(line: str, file: Path) -> tuple[str, tuple[int, ...] | None]:
    """Name and colour in a line of a file of classes."""
    coloured = re.fullmatch(r"(?:(.*?)[\s,]+)?(\d+)[\s,]+(\d+)[\s,]+(\d+)", line)
    name, *numbers = coloured.groups() if coloured else (line,)
    colour = tuple(map(int, numbers))
    if not name or "," in name or max(colour, default=0) > 255:
        raise UsageError(f"{file} has the line {line!r}, but must have lines NAME or NAME R G B, colours from 0 to 255")
    return name, colour or None


def _refuse_repeated(values: Sequence[object], what: str, file: Path) -> None:
    repeated = [value for number, value in enumerate(values) if value in values[:number]]
    if repeated:
        raise UsageError(f"{file} has the {what} {repeated[0]} more than once")


def read_lines(file: Path) -> list[str]:
    """The lines of a text file, at least one, without comments (from # on) and empty lines.

    Raises:
        UsageError: the file is missing, is no text, or has no such line.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError(f"{file} does not exist, but must be a text file") from error
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{file} cannot be read as text: {error}") from error
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    if not any(lines):
        raise UsageError(f"{file} is empty")
    return [line for line in lines if line]


@dataclass(frozen=True)
class Stored:
    """A mask as its file holds it."""

    values: Bytes
    """uint8 (H, W), or (H, W, 3) of a colour picture"""
    palette: Bytes
    """uint8 (n, 3): the colour that each value of (H, W) is shown in"""
    lossy: bool
    """it is a JPEG"""


def read_labels(file: Path, meaning: Legend) -> Bytes:
    """The labels in a mask: uint8 (H, W), classes or `IGNORE`.

    Grey and palette masks hold values; a colour mask, and one whose palette (or grey) shows a value in the colour of
    another class, is read by colour where the legend has colours.

    Raises:
        UsageError: the file is missing, damaged, of a kind that holds no labels, or has a value or colour that is not
            in the legend.
    """
    stored = _stored(file)
    values = stored.values
    if values.ndim == 3 and not meaning.by_colour:
        raise UsageError(
            f"{file} is a colour picture, but must be grey or palette, its values being labels"
            " (data.classes of a folder may give each class a colour)"
        )
    if values.ndim == 3:
        return _by_colour(values, file, meaning, lossy=stored.lossy)
    table = np.full(256, REFUSED)
    table[: len(meaning.labels)] = meaning.labels
    table[IGNORE] = IGNORE
    shown = [(table[value], tuple(stored.palette[value].tolist())) for value in np.unique(values)]
    if any(meaning.by_colour.get(colour, label) != label for label, colour in shown):
        return _by_colour(stored.palette[values], file, meaning, lossy=stored.lossy)
    if stored.lossy:
        raise UsageError(f"{file} is a JPEG, which changes labels; masks must be stored without loss, as PNG is")
    labels = table[values]
    if labels.min() == REFUSED:
        y, x = np.argwhere(labels == REFUSED)[0]
        allowed = f"labels 0 to {len(meaning.labels) - 1} or {IGNORE} (ignored)"
        raise UsageError(f"{file} has label {values[y, x]} at pixel x = {x}, y = {y}, but must have {allowed}")
    return labels.astype(np.uint8)


def _stored(file: Path) -> Stored:
    try:
        with Image.open(file) as picture:
            packing = picture.tile[0][3] if picture.tile else None  # loading forgets it
            step = STEPS.get(str(packing[0] if isinstance(packing, tuple) else packing), 1)
            picture.load()
            values, palette = _verbatim(picture)
            return Stored(values // step, palette[::step], lossy=picture.format in ("JPEG", "MPO"))
    except FileNotFoundError as error:
        raise UsageError(f"{file} does not exist, but must be a mask") from error
    except MemoryError:
        raise
    # on damaged files the decoders raise almost anything: OSError, SyntaxError, struct.error, IndexError, ...
    except Exception as error:
        raise UsageError(f"{file} cannot be read as a mask: {error}") from error


def _verbatim(picture: Image.Image) -> tuple[Bytes, Bytes]:
    """Values, uint8 (H, W) or (H, W, 3), and the palette of the former."""
    greys = np.arange(256, dtype=np.uint8)[:, None].repeat(3, 1)
    pixels = np.asarray(picture)
    if picture.mode in ("1", "L"):
        return pixels.astype(np.uint8), greys if picture.mode == "L" else greys[::255]
    if picture.mode == "P":
        colours = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
        return pixels, np.pad(colours, ((0, 256 - len(colours)), (0, 0)))
    if picture.mode.startswith("I"):
        if pixels.min() < 0 or pixels.max() > 255:
            raise ValueError(f"it has values up to {pixels.max()}, but labels go from 0 to 255")
        return pixels.astype(np.uint8), greys
    if picture.mode in ("LA", "RGBA") and pixels[..., -1].min() < 255:
        raise ValueError("some of its pixels are transparent")
    if picture.mode in ("LA", "RGB", "RGBA"):
        return pixels[..., 0] if picture.mode == "LA" else pixels[..., :3], greys
    raise ValueError(f"its mode is {picture.mode}, but must be grey, palette or RGB")


def _by_colour(pixels: Bytes, file: Path, meaning: Legend, *, lossy: bool) -> Bytes:
    known = np.array(sorted((_code(np.array(colour)), label) for colour, label in meaning.by_colour.items()))
    codes = _code(pixels)
    places = np.searchsorted(known[:, 0], codes).clip(max=len(known) - 1)
    strange = known[places, 0] != codes
    if strange.any():
        y, x = np.argwhere(strange)[0]
        colour = " ".join(map(str, pixels[y, x].tolist()))
        reason = ": it is a JPEG, which changes colours, and masks must be stored without loss" if lossy else ""
        raise UsageError(f"{file} has colour {colour} at pixel x = {x}, y = {y}, which is no class's{reason}")
    return known[places, 1].astype(np.uint8)


def _code(colours: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(..., 3) -> (...): one number for each colour."""
    return colours.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
