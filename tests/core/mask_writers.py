"""Pictures and masks, written as people have them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 3, 4
RANDOM = np.random.RandomState(0)


def picture(file: Path, *, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """Writes a random picture, without loss if the ending is png; returns its pixels."""
    pixels = RANDOM.randint(0, 256, (size[1], size[0], 3), np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)
    return pixels


def mask(file: Path, labels: Sequence[Sequence[int]] | np.ndarray | int, *, palette: np.ndarray | None = None) -> None:
    """Writes labels, or one everywhere, as a grey or palette file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    values = np.full((HEIGHT, WIDTH), labels) if isinstance(labels, int) else np.array(labels)
    made = Image.fromarray(values.astype(np.uint8))
    if palette is not None:
        made.putpalette(palette.astype(np.uint8).tobytes())
    made.save(file)


def grey_png(file: Path, values: np.ndarray, *, bits: int) -> None:
    """A grey PNG of 1, 2, 4 or 16 bits a pixel, which Pillow does not write as such."""
    packed = []
    for row in values:
        text = "".join(f"{value:0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        packed.append(b"\0" + bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8)))
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(packed))), (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


def mode_of(file: Path) -> str:
    with Image.open(file) as stored:
        return stored.mode
