"""Pictures with a class for every pixel from any layout, as one thing: `MaskedImages`. N pictures, K classes, H x W."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import NamedTuple, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from . import mask_sources
from .config import MaskedDataConfig
from .data import Statistics
from .errors import UsageError
from .mask_files import IGNORE as IGNORE
from .mask_files import Bytes
from .mask_sources import MaskSource
from .sources import Split, missing_split, shuffled

MEMORY = 1 << 30
"""Bytes of pictures and labels up to which a set is kept in memory once decoded."""
SAMPLE = 500
"""Training pictures that the mean and standard deviation are measured on, at most."""
CHUNK = 64
"""Pictures handled at once where a whole set would fill the memory."""


class Decoded(NamedTuple):
    """Pictures that were resized to fit into H x W, the rest at the right and bottom filled."""

    images: Tensor
    """uint8 (B, 3, H, W), filled with 0"""
    labels: Tensor
    """uint8 (B, H, W), filled with `IGNORE`"""
    stored: Tensor
    """int64 (B, 2): the height and width as stored"""


class MaskedImages:
    """One split of a set of pictures with a class for every pixel.

    Attributes:
        name: as in `MaskedDataConfig.name`.
        split: train, validation or test.
        classes: the name of each of the K classes; labels are indices into it, or `IGNORE`.
        colours: uint8 (K, 3), RGB, to show each class in.
        shape: (3, H, W) of every picture that `fetch` gives.
        lazy: whether every `fetch` decodes files, and so is worth calling ahead of time; a set that takes at most
            `MEMORY` is decoded whole by the first `fetch` or `picture` and kept.
    """

    def __init__(
        self,
        name: str,
        split: str,
        *,
        source: MaskSource,
        rows: Tensor,
        size: tuple[int, int] | None,
        measure: Callable[[], Statistics],
    ) -> None:
        self.name = name
        self.split = split
        self.classes = source.classes
        self.colours = source.colours
        self._source = source
        self._rows: list[int] = rows.tolist()
        self._resize = size is not None
        self._measure = measure
        height, width = size or _stored_size(source, self._rows[0])
        self.shape = (3, height, width)
        self.lazy = len(self) * 4 * height * width > MEMORY

    @property
    def mean(self) -> tuple[float, ...]:
        """Per channel, of the whole train split whatever this split is, in pixel units from 0 to 1; without filling."""
        return self._statistics.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Per channel, as `mean`."""
        return self._statistics.std

    @cached_property
    def _statistics(self) -> Statistics:
        return self._measure()  # late, because it decodes up to 500 pictures

    def __len__(self) -> int:
        return len(self._rows)

    def fetch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures uint8 (B, 3, H, W) and labels uint8 (B, H, W) at the indices, int64 (B,).

        Pictures are resized (antialiased bilinear, labels nearest), their aspect kept, to the largest size that fits
        into H x W; the rest at the right and bottom is 0 in pictures and `IGNORE` in labels.

        Raises:
            UsageError: a picture or mask cannot be read or does not fit the other; the file is named.
        """
        if self.lazy:
            return self._decode(indices.tolist())[:2]
        return self._memory.images[indices], self._memory.labels[indices]

    def picture(self, index: int) -> tuple[Tensor, Tensor]:
        """One picture as `fetch` gives it but not filled, uint8 (3, h, w), and its labels as stored, uint8 (H0, W0).

        Raises:
            UsageError: as `fetch`.
        """
        height, width = self.shape[1:]
        if not self.lazy and self._memory.stored[index].tolist() == [height, width]:
            return self._memory.images[index].clone(), self._memory.labels[index].clone()
        picture, labels = self._open(index)
        return _pixels(_fitted(picture, height, width)), torch.from_numpy(labels.copy())

    def class_shares(self) -> Tensor:
        """float64 (K,): the share of each class among the labelled pixels of this split, as `fetch` gives them.

        Raises:
            UsageError: as `fetch`, or no pixel is labelled.
        """
        return self._shares.clone()

    @cached_property
    def _shares(self) -> Tensor:
        counts = torch.zeros(IGNORE + 1, dtype=torch.int64)
        for indices in torch.arange(len(self)).split(CHUNK):
            counts += torch.bincount(self.fetch(indices)[1].flatten(), minlength=IGNORE + 1)
        labelled = counts[: len(self.classes)].double()
        if labelled.sum() == 0:
            raise UsageError(f"no pixel of {self.name} ({self.split}) is labelled")
        return labelled / labelled.sum()

    @cached_property
    def _memory(self) -> Decoded:
        return self._decode(list(range(len(self))))

    def _open(self, index: int) -> tuple[Image.Image, Bytes]:
        picture, labels = self._source.open(self._rows[index])
        _, height, width = self.shape
        if not self._resize and picture.size != (width, height):
            first, other = self._source.name(self._rows[0]), self._source.name(self._rows[index])
            raise UsageError(
                f"{other} is {picture.width} x {picture.height} pixels, but {first} is {width} x {height}: pictures of"
                " several sizes need data.height and data.width"
            )
        return picture, labels

    def _decode(self, indices: list[int]) -> Decoded:
        count, (channels, height, width) = len(indices), self.shape
        images = torch.zeros((count, channels, height, width), dtype=torch.uint8)
        labels = torch.full((count, height, width), IGNORE, dtype=torch.uint8)
        stored = torch.empty((count, 2), dtype=torch.int64)

        def place(position: int, index: int) -> None:
            picture, mask = self._open(index)
            fitted = _fitted(picture, height, width)
            nearest = Image.fromarray(mask).resize(fitted.size, Image.Resampling.NEAREST)
            stored[position] = torch.tensor(mask.shape)
            images[position, :, : fitted.height, : fitted.width] = _pixels(fitted)
            labels[position, : fitted.height, : fitted.width] = torch.from_numpy(np.array(nearest))

        in_threads(place, range(count), indices)
        return Decoded(images, labels, stored)


def load_masked(config: MaskedDataConfig, split: Split) -> MaskedImages:
    """One split of the set that the settings name.

    The validation split is the share `config.holdout` of train, which train then lacks; with a holdout of 0 it is the
    set's own, where it has one. Every choice (holdout, limit, the sets' own splits) is always the same.

    Raises:
        UsageError: the set is unknown, `config.root` or a file in it is missing or damaged, `config.classes` is needed,
            or there is no such split.
    """
    if config.name not in LAYOUTS:
        raise UsageError(f"data.name is {config.name!r}, but must be one of {', '.join(LAYOUTS)}")
    if split not in get_args(Split):
        raise UsageError(f"the split is {split!r}, but must be one of {', '.join(get_args(Split))}")
    layout = LAYOUTS[config.name]
    held = split == "validation" and config.holdout > 0
    if split == "validation" and not held and not layout.own_validation:
        raise UsageError(missing_split(split, config.name))
    source = layout.read(config, "train" if held else split)
    rows = torch.arange(source.count)
    if config.holdout > 0 and split != "test":
        rows = rows[_held_out(source.count, config.holdout) == held]
    if config.limit is not None:
        rows = _even(rows, config.limit)
    if len(rows) == 0:
        raise UsageError(f"{config.name} has too few pictures for a {split} split")
    measure = partial(_train_statistics, config)
    return MaskedImages(config.name, split, source=source, rows=rows, size=_size(config), measure=measure)


def measure_pictures(source: MaskSource, size: tuple[int, int] | None) -> Statistics:
    """Per-channel mean and standard deviation of at most `SAMPLE` pictures, evenly chosen and fitted into `size`.

    Returns:
        In pixel units from 0 to 1; the standard deviation is at least 1/255.
    """
    rows = _even(torch.arange(source.count), SAMPLE).tolist()
    moments = torch.empty((len(rows), 2, 3), dtype=torch.float64)
    pixels = torch.empty(len(rows), dtype=torch.float64)

    def place(position: int, row: int) -> None:
        picture, _ = source.open(row)
        values = _pixels(_fitted(picture, *size) if size else picture).flatten(1).double()
        moments[position] = torch.stack((values.sum(1), values.square().sum(1)))
        pixels[position] = values.shape[1]

    in_threads(place, range(len(rows)), rows)
    mean, square = moments.sum(0) / pixels.sum()
    std = (square - mean**2).clamp_min(1).sqrt()  # a channel of one value everywhere would be divided by zero
    return Statistics(tuple((mean / 255).tolist()), tuple((std / 255).tolist()))


def fitted_pixels(picture: Image.Image, height: int, width: int) -> Tensor:
    """An RGB picture as uint8 (3, h, w), resized, its aspect kept, to the largest size that fits into height x width."""
    return _pixels(_fitted(picture, height, width))


def in_threads(work: Callable[[int, int], None], positions: range, rows: list[int]) -> None:
    """`work(position, row)` for each, in several threads; the first error ends it."""
    # a pool for each call: one kept longer would be dead, but not look so, in a forked process
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        try:
            for _ in pool.map(work, positions, rows):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


class Layout(NamedTuple):
    """How a named set is read."""

    read: Callable[[MaskedDataConfig, Split], MaskSource]
    own_validation: bool = False
    """it may come with a validation split"""


LAYOUTS = {
    "scenes": Layout(mask_sources.read_embedded),
    "camvid": Layout(mask_sources.read_camvid, own_validation=True),
    "cityscapes": Layout(mask_sources.read_cityscapes),
    "voc": Layout(mask_sources.read_voc),
    "folder": Layout(mask_sources.read_folder, own_validation=True),
}


def _size(config: MaskedDataConfig) -> tuple[int, int] | None:
    return None if config.height is None or config.width is None else (config.height, config.width)


def _train_statistics(config: MaskedDataConfig) -> Statistics:
    """Of all stored training pictures, so that neither the split nor holdout and limit change the numbers."""
    return measure_pictures(LAYOUTS[config.name].read(config, "train"), _size(config))


def _held_out(count: int, share: float) -> Tensor:
    """Bool (count,): a fixed random `share`, at least one and never all."""
    held = torch.zeros(count, dtype=torch.bool)
    held[shuffled(count)[: min(max(round(count * share), 1), count - 1)]] = True
    return held


def _even(rows: Tensor, limit: int) -> Tensor:
    """At most `limit` of the rows, evenly spaced."""
    return rows if len(rows) <= limit else rows[torch.arange(limit) * len(rows) // limit]


def _stored_size(source: MaskSource, row: int) -> tuple[int, int]:
    picture, _ = source.open(row)
    return picture.height, picture.width


def _fitted(picture: Image.Image, height: int, width: int) -> Image.Image:
    """Resized (antialiased), its aspect kept, to the largest size that fits into height x width."""
    scale = min(height / picture.height, width / picture.width)
    size = (max(1, min(width, round(picture.width * scale))), max(1, min(height, round(picture.height * scale))))
    return picture if picture.size == size else picture.resize(size, Image.Resampling.BILINEAR)


def _pixels(picture: Image.Image) -> Tensor:
    """An RGB picture as uint8 (3, H, W)."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
