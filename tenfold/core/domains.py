"""Pictures of one kind, without labels: a folder of them in any usual layout, or an embedded class, as an `ImageSet`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from .data import ImageSet, LazyImages, MemoryImages, Statistics, decode, measure_images
from .embedded_sets import embedded_pictures
from .errors import UsageError
from .pictures import find_pictures, open_picture, to_input
from .sources import Split, evaluation_folder, in_test_part, shuffled

MEMORY = 1 << 30
"""Bytes of pixels up to which a set is decoded at once and kept."""


class Named(NamedTuple):
    """What a person calls a set of pictures, and where it is."""

    name: str
    place: Path | None
    """None for an embedded set of that name"""


def named(text: str, embedded: Sequence[str], setting: str) -> Named:
    """NAME=PATH, or PATH, which is then named by its last part, or the name of an embedded set.

    Args:
        text: what was given.
        embedded: names of embedded sets.
        setting: where it was given, for errors.

    Raises:
        UsageError: it is neither an embedded name nor an existing path.
    """
    if text in embedded:
        return Named(text, None)
    name, equals, path = text.partition("=")
    if Path(text).expanduser().exists():  # its name may have an = in it
        name, equals, path = "", "", text
    place = Path(path if equals else text).expanduser()
    if (equals and not path) or not place.exists():
        raise UsageError(
            f"{setting} has {text!r}, but must be NAME=PATH or PATH of what exists, or one of {', '.join(embedded)}"
        )
    name = name if equals else place.resolve().stem
    if not all(letter.isalnum() or letter in "-_" for letter in name) or not name:
        raise UsageError(f"{setting} has {text!r}, whose name is {name!r}, but must be letters, digits, - and _")
    return Named(name, place)


def load_domain(domain: Named, split: Split, *, size: int, holdout: float = 0.0, limit: int | None = None) -> ImageSet:
    """One split of a set of pictures, as one class: each resized to cover `size` x `size` pixels, then cropped.

    A folder's splits are its `train` and `test` (or `val`) folders, or those of CycleGAN's layout, where `trainA` has a
    `testA` beside it; the pictures of any other folder are split 80 / 20 by their names.

    Args:
        domain: an embedded set (`place` is None) or a folder.
        split: train, validation or test.
        size: pixels of each side.
        holdout: share of the training pictures that are the validation split, and no longer training ones.
        limit: at most so many pictures, a fixed choice.

    Raises:
        UsageError: the folder holds no picture, too few for the split, or one that cannot be read.
    """
    held = split == "validation" and holdout > 0
    part: Split = "train" if held else split
    files = _embedded(domain.name, part) if domain.place is None else _files(domain.place, part)
    rows = torch.arange(len(files))
    if holdout > 0 and split != "test":
        count = min(max(1, round(holdout * len(rows))), len(rows) - 1)
        order = shuffled(len(rows))
        rows = (order[:count] if held else order[count:]).sort().values
    if limit is not None:
        rows = rows[shuffled(len(rows))[:limit].sort().values]
    if len(rows) == 0:
        raise UsageError(f"{domain.place or domain.name} has too few pictures for a {split} split")
    return _image_set(domain.name, split, [files[row] for row in rows.tolist()], size)


def _embedded(name: str, split: Split) -> list[Callable[[], Image.Image]]:
    return [partial(Image.Image.copy, picture) for picture in embedded_pictures(name, split)]


def _files(folder: Path, split: Split) -> list[Callable[[], Image.Image]]:
    if not folder.is_dir():
        raise UsageError(
            f"{folder} {'is a file' if folder.exists() else 'does not exist'}, but must be a folder of pictures"
        )
    return [partial(open_picture, file) for file in _split_files(folder, split)]


def _split_files(folder: Path, split: Split) -> list[Path]:
    if (folder / "train").is_dir():
        return find_pictures([folder / "train" if split == "train" else evaluation_folder(folder, split)])
    twin = folder.parent / ("test" + folder.name.removeprefix("train"))
    if folder.name.startswith("train") and twin.is_dir():
        if split == "validation":
            raise UsageError(f"{folder} has no validation split beside it; data.holdout above 0 cuts one from it")
        return find_pictures([folder if split == "train" else twin])
    if split == "validation":
        raise UsageError(f"{folder} has no validation split; data.holdout above 0 cuts one from its training part")
    files = find_pictures([folder])
    test = in_test_part([file.relative_to(folder).as_posix() for file in files])
    return [file for file, in_test in zip(files, test, strict=True) if in_test == (split == "test")]


def _image_set(name: str, split: str, files: list[Callable[[], Image.Image]], size: int) -> ImageSet:
    targets, shape = torch.zeros(len(files), dtype=torch.int64), (3, size, size)

    def open_row(row: int) -> Image.Image:
        return files[row]()

    def measure() -> Statistics:
        return measure_images(decode(open_row, torch.arange(min(len(files), 500)), size))

    if len(files) * 3 * size * size > MEMORY:
        rows = torch.arange(len(files))
        return LazyImages(
            name, split, classes=(name,), targets=targets, open_row=open_row, rows=rows, size=size, measure=measure
        )
    images = _decoded(files, shape)
    return MemoryImages(name, split, classes=(name,), targets=targets, images=images)


def _decoded(files: list[Callable[[], Image.Image]], shape: tuple[int, int, int]) -> Tensor:
    return torch.stack([to_input(file(), shape=shape) for file in files])
