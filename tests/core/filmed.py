"""Videos and animations, written as people have them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

STEP = 20
"""how much brighter each frame is than the one before it"""


def video(file: Path, *, count: int = 10, codec: str = "mpeg4", size: tuple[int, int] = (64, 48)) -> Path:
    """A video of grey frames, each brighter than the one before, its left half black."""
    av = pytest.importorskip("av")
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=5)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(count):
            pixels = np.full((size[1], size[0], 3), STEP * number, np.uint8)
            pixels[:, : size[0] // 2] = 0
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode())
    return file


def sound(file: Path) -> Path:
    """An MP4 of nothing but silence."""
    av = pytest.importorskip("av")
    with av.open(str(file), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


def turned(file: Path) -> Path:
    """The MP4 with a note, as phones leave it, that it has to be turned clockwise to be upright."""
    data = file.read_bytes()
    header = data.index(b"tkhd") + 4
    assert data[header] == 0, "of version 0"
    start = header + 40
    matrix = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    file.write_bytes(data[:start] + matrix + data[start + len(matrix) :])
    return file


def animation(file: Path, *, count: int = 3) -> Path:
    """Frames of 8 x 6 pixels, each brighter than the one before; the ending of the file says in which format."""
    pictures = [Image.new("RGB", (8, 6), (STEP * number, 0, 0)) for number in range(1, count + 1)]
    lossless = {"lossless": True} if file.suffix == ".webp" else {}
    pictures[0].save(file, save_all=True, append_images=pictures[1:], duration=100, **lossless)
    return file
