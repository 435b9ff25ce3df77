"""Classes of pixels as people look at them: colours over the picture, and masks as other programs read them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from ..core.mask_files import IGNORE, Bytes


def overlaid(picture: Image.Image, labels: Bytes, colours: Bytes, *, opacity: float) -> Image.Image:
    """The picture under its classes' colours.

    Args:
        picture: RGB, H x W.
        labels: uint8 (H, W); pixels of `IGNORE` stay as they are.
        colours: uint8 (K, 3).
        opacity: in [0, 1].
    """
    pixels = np.asarray(picture, dtype=np.float32)
    table = np.zeros((IGNORE + 1, 3), dtype=np.float32)
    table[: len(colours)] = colours
    strength = np.where(labels == IGNORE, 0.0, opacity).astype(np.float32)[..., None]
    return Image.fromarray(np.rint(pixels * (1 - strength) + table[labels] * strength).astype(np.uint8))


def palette_mask(labels: Bytes, colours: Bytes) -> Image.Image:
    """Labels, uint8 (H, W), as a palette picture: its values are the labels, its palette shows the classes' colours."""
    mask = Image.frombytes("P", (labels.shape[1], labels.shape[0]), np.ascontiguousarray(labels).tobytes())
    mask.putpalette([*colours.ravel().tolist(), *[0] * (3 * (IGNORE + 1 - len(colours)))])
    return mask


def legend(classes: Sequence[str], colours: Bytes) -> Image.Image:
    """A swatch and a name for each class, in one column."""
    row, width = 22, 34 + max(8 * len(name) for name in classes)
    sheet = Image.new("RGB", (width, row * len(classes) + 8), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (name, colour) in enumerate(zip(classes, colours.tolist(), strict=True)):
        top = 6 + row * number
        draw.rectangle((6, top, 24, top + 14), fill=tuple(colour), outline="#555555")
        draw.text((32, top + 1), name, fill="#1f242d")
    return sheet
