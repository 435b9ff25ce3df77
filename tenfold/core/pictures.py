"""Opening the pictures that people name: any common format, upright, in RGB, or one sentence that says why not."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from .errors import UsageError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""What counts as a picture inside a folder; a file named directly is opened whatever it is called."""


def find_pictures(paths: Sequence[Path]) -> list[Path]:
    """The files named, and every picture in the folders named, at any depth and sorted by path within each folder.

    Hidden files and folders (a leading dot) are passed over; a picture named twice is given once.

    Raises:
        UsageError: a path does not exist, or there is no picture in what was named.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path} does not exist, but must be a picture or a folder of pictures")
        found.update(dict.fromkeys(_pictures_below(path) if path.is_dir() else [path]))
    if not found:
        named = ", ".join(map(str, paths)) or "an empty list"
        raise UsageError(f"no picture in {named}; looked for {', '.join(EXTENSIONS)}")
    return list(found)


def open_picture(path: Path) -> Image.Image:
    """The whole picture in mode RGB, 8 bits a channel, turned upright by its EXIF orientation; transparency on white.

    Grey, palette, CMYK and 16-bit grey pictures are converted; of an animation this is the first frame.

    Raises:
        UsageError: the file is missing, not a picture, damaged, or so large that it looks like a decompression bomb.
    """
    return _decode(path, str(path))


def decode_picture(data: bytes, name: str) -> Image.Image:
    """`open_picture` for an encoded picture already in memory; `name` says in errors which one it is."""
    return _decode(BytesIO(data), name)


def to_input(picture: Image.Image, *, shape: tuple[int, int, int]) -> Tensor:
    """A picture as a network takes it: uint8 (C, H, W), resized to cover H x W, then cropped at the centre.

    Args:
        picture: in any mode that converts to RGB.
        shape: (C, H, W) in pixels; C is 3 for colour or 1 for grey.

    Raises:
        UsageError: C is neither 1 nor 3.
    """
    channels, height, width = shape
    if channels not in (1, 3):
        raise UsageError(f"pictures cannot become inputs of {channels} channels, only of 1 (grey) or 3 (colour)")
    cropped = cover(picture.convert("L" if channels == 1 else "RGB"), height, width)
    return torch.from_numpy(np.array(cropped).reshape(height, width, channels)).permute(2, 0, 1).contiguous()


def cover(picture: Image.Image, height: int, width: int, *, margin: float = 1.0) -> Image.Image:
    """Resized (antialiased) to just cover `margin` times height x width, then cropped to its central height x width."""
    scale = max(round(width * margin) / picture.width, round(height * margin) / picture.height)
    full_width = max(width, round(picture.width * scale))
    full_height = max(height, round(picture.height * scale))
    left, top = (full_width - width) // 2, (full_height - height) // 2
    across, down = picture.width / full_width, picture.height / full_height
    # only the crop is computed: a picture of 1 x 100,000 pixels, resized whole, would fill the memory
    box = (
        left * across,
        top * down,
        min((left + width) * across, picture.width),
        min((top + height) * down, picture.height),
    )
    return picture.resize((width, height), Image.Resampling.BILINEAR, box=box)


def _pictures_below(folder: Path) -> list[Path]:
    found: list[str] = []
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            os.path.join(where, name)
            for name in names
            if name.lower().endswith(EXTENSIONS) and not name.startswith(".")
        ]
    return [Path(name) for name in sorted(found)]


def _decode(file: Path | BytesIO, name: str) -> Image.Image:
    with decoding(name), Image.open(file) as picture:
        picture.load()
        return to_rgb(ImageOps.exif_transpose(picture))


@contextmanager
def decoding(name: str, *, kind: str = "picture") -> Iterator[None]:
    """Turn whatever the body's decoder raises into one sentence about the file called `name`, of a `kind`.

    Raises:
        UsageError: the file is missing, not of this kind, damaged, or so large that it looks like a decompression bomb.
    """
    try:
        yield
    except UsageError:
        raise
    except FileNotFoundError as error:
        raise UsageError(f"{name} does not exist, but must be a {kind}") from error
    except Image.DecompressionBombError as error:
        raise UsageError(
            f"{name} is larger than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, which is refused"
        ) from error
    except UnidentifiedImageError as error:
        raise UsageError(f"{name} is not a picture in a format that can be read") from error
    except MemoryError:
        raise
    # on damaged files the decoders raise almost anything: OSError, SyntaxError, struct.error, IndexError, ...
    except Exception as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{name} cannot be read as a {kind}: {reason}") from error


def to_rgb(picture: Image.Image) -> Image.Image:
    """A decoded picture in mode RGB, 8 bits a channel, transparency on white; 16-bit grey is scaled, not clipped."""
    if picture.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion to RGB clips at 255 instead of scaling
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its pixels are whole numbers of more than 16 bits")
        return Image.fromarray((values // 256).astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def as_rgb(pictures: Tensor) -> NDArray[np.uint8]:
    """uint8 (N, C, H, W) with 1 or 3 channels as uint8 (N, H, W, 3)."""
    return pictures.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().cpu().numpy()
