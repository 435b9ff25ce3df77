"""Image sets that come with the package; where each is from is said in `embedded/ATTRIBUTION.md`."""

from __future__ import annotations

import io
import lzma
import zipfile
from functools import cache
from importlib import import_module, resources
from pathlib import PurePosixPath

import numpy as np
import torch
from PIL import Image

from .config import DataConfig
from .errors import UsageError
from .pictures import decode_picture, to_input
from .sources import DIGITS, GARMENTS, Bytes, Source, Split, missing_split, place_in_class, shuffled

GARMENTS_TRAIN = 1000
"""Training images of each class in the embedded file; the rest of each class is for testing."""
DIGITS_TEST = 36
"""Test images of each digit, which makes 1,437 / 360."""
PICTURES = ("ink", "paintings", "photos")
PICTURE_SIDE = 128


def read_garments(_config: DataConfig, split: Split) -> Source:
    """The embedded subset of Fashion-MNIST: 1,000 / 200 images of each class, 28 x 28 grey."""
    stored = _garments()
    part = stored[:, :GARMENTS_TRAIN] if split == "train" else stored[:, GARMENTS_TRAIN:]
    targets = torch.arange(part.shape[0]).repeat_interleave(part.shape[1])
    order = shuffled(len(targets))
    images = torch.from_numpy(part.reshape(-1, 1, *part.shape[2:]))
    return Source(GARMENTS, targets[order], images[order])


@cache
def _garments() -> Bytes:
    """(10 classes, 1200, 28, 28)."""
    packed = resources.files("tenfold.core.embedded").joinpath("garments.npy.xz").read_bytes()
    stored: Bytes = np.load(io.BytesIO(lzma.decompress(packed)), allow_pickle=False)
    return stored


def read_digits(_config: DataConfig, split: Split) -> Source:
    """scikit-learn's handwritten digits, 8 x 8 grey, its values 0..16 scaled to 0..255."""
    bunch = import_module("sklearn.datasets").load_digits()
    images = torch.from_numpy(np.rint(bunch.images * (255 / 16)).astype(np.uint8))[:, None]
    targets = torch.from_numpy(bunch.target).to(torch.int64)
    chosen = (place_in_class(targets) < DIGITS_TEST) == (split == "test")
    return Source(DIGITS, targets[chosen], images[chosen])


def read_pictures(_config: DataConfig, split: Split) -> Source:
    """Embedded 128 x 128 crops of East Asian ink paintings, of paintings around 1880, and of photographs, in colour."""
    stored = [embedded_pictures(name, split) for name in PICTURES]
    targets = torch.arange(len(PICTURES)).repeat_interleave(torch.tensor([len(pictures) for pictures in stored]))
    order = shuffled(len(targets))
    images = torch.stack(
        [to_input(picture, shape=(3, PICTURE_SIDE, PICTURE_SIDE)) for pictures in stored for picture in pictures]
    )
    return Source(PICTURES, targets[order], images[order])


def embedded_pictures(name: str, split: Split) -> list[Image.Image]:
    """The pictures of one class of the set `pictures`, in RGB, in an order that is always the same; it has train and test.

    Raises:
        UsageError: there is no such class or split.
    """
    if name not in PICTURES:
        raise UsageError(f"there are no embedded pictures {name!r}, only {', '.join(PICTURES)}")
    if split == "validation":
        raise UsageError(missing_split(split, name))
    return [_opened(path) for path in _paths() if path.startswith(f"{name}/{split}/")]


def embedded_style(name: str) -> Image.Image:
    """A whole painting, 256 pixels along its shorter side, that pictures can be given the style of.

    Raises:
        UsageError: there is none of that name.
    """
    path = f"styles/{name}.webp"
    if path not in _paths():
        raise UsageError(f"there is no embedded style {name!r}, only {', '.join(embedded_styles())}")
    return _opened(path)


def embedded_styles() -> tuple[str, ...]:
    """The names that `embedded_style` knows."""
    return tuple(PurePosixPath(path).stem for path in _paths() if path.startswith("styles/"))


@cache
def _archive() -> zipfile.ZipFile:
    packed = resources.files("tenfold.core.embedded").joinpath("pictures.zip").read_bytes()
    return zipfile.ZipFile(io.BytesIO(packed))


@cache
def _paths() -> tuple[str, ...]:
    return tuple(sorted(_archive().namelist()))


def _opened(path: str) -> Image.Image:
    return decode_picture(_archive().read(path), path)
