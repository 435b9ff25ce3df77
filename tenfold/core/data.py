"""Labelled images from any source, as one thing: an `ImageSet`. N images, C channels, H x W pixels, uint8."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar, NamedTuple, get_args

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from . import embedded_sets, sources
from .config import DataConfig
from .errors import UsageError
from .pictures import cover, to_input
from .sources import Source, Split, place_in_class

MARGIN = 8 / 7
"""Lazily decoded pictures are resized to this many times the wanted size, then cropped at the centre."""
SAMPLE = 2000
"""Pictures of a lazy set that its mean and standard deviation are measured on, at most."""
CHUNK = 4096
"""Images handled at once where float copies of a whole set would fill the memory."""


class Statistics(NamedTuple):
    """Per-channel mean and standard deviation of the train split, in pixel units from 0 to 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class ImageSet(ABC):
    """One split of a set of labelled images.

    Attributes:
        name: as in `DataConfig.name`.
        split: train, validation or test.
        classes: the name of each class; targets are indices into it.
        targets: int64 (N,).
        shape: (C, H, W) of every image.
        lazy: whether `fetch` decodes files, and so is worth calling ahead of time.
    """

    lazy: ClassVar[bool]

    def __init__(
        self,
        name: str,
        split: str,
        *,
        classes: tuple[str, ...],
        targets: Tensor,
        shape: tuple[int, int, int],
        measure: Callable[[], Statistics],
    ) -> None:
        self.name = name
        self.split = split
        self.classes = classes
        self.targets = targets
        self.shape = shape
        self._measure = measure

    @property
    def mean(self) -> tuple[float, ...]:
        """Per channel, of the whole train split whatever this split is, in pixel units from 0 to 1."""
        return self._statistics.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Per channel, as `mean`."""
        return self._statistics.std

    @cached_property
    def _statistics(self) -> Statistics:
        return self._measure()  # late, because a lazy set decodes up to 2,000 pictures for it

    def __len__(self) -> int:
        return len(self.targets)

    @abstractmethod
    def fetch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 (B, C, H, W) and targets int64 (B,) at the indices, int64 (B,).

        Raises:
            UsageError: a picture of a lazy set cannot be read; the file is named.
        """


class MemoryImages(ImageSet):
    """Images held in memory as one uint8 tensor (N, C, H, W); without `measure`, mean and std are their own."""

    lazy = False

    def __init__(
        self,
        name: str,
        split: str,
        *,
        classes: tuple[str, ...],
        targets: Tensor,
        images: Tensor,
        measure: Callable[[], Statistics] | None = None,
    ) -> None:
        channels, height, width = images.shape[1:]
        measure = measure or partial(measure_images, images)
        super().__init__(
            name, split, classes=classes, targets=targets, shape=(channels, height, width), measure=measure
        )
        self.images = images

    def fetch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.images[indices], self.targets[indices]


class LazyImages(ImageSet):
    """Pictures decoded when fetched, in several threads: short side to 8/7 of `size`, then the central square, RGB."""

    lazy = True

    def __init__(
        self,
        name: str,
        split: str,
        *,
        classes: tuple[str, ...],
        targets: Tensor,
        open_row: Callable[[int], Image.Image],
        rows: Tensor,
        size: int,
        measure: Callable[[], Statistics],
    ) -> None:
        super().__init__(name, split, classes=classes, targets=targets, shape=(3, size, size), measure=measure)
        self._open_row = open_row
        self._rows = rows

    def fetch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        images = decode(self._open_row, self._rows[indices], self.shape[1])
        return images, self.targets[indices]


@dataclass(frozen=True)
class Format:
    """How a named set is read."""

    read: Callable[[DataConfig, Split], Source]
    statistics: Statistics | None = None
    """known numbers of its train split; measured where none are given"""
    own_validation: bool = False
    """it may come with a validation split"""


FORMATS = {
    "garments": Format(embedded_sets.read_garments),
    "digits": Format(embedded_sets.read_digits),
    "pictures": Format(embedded_sets.read_pictures),
    "cifar10": Format(
        partial(sources.read_cifar, sources.CIFAR10),
        Statistics((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    ),
    "cifar100": Format(
        partial(sources.read_cifar, sources.CIFAR100),
        Statistics((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    ),
    "mnist": Format(partial(sources.read_mnist, sources.MNIST), Statistics((0.1307,), (0.3081,))),
    "fashion-mnist": Format(partial(sources.read_mnist, sources.FASHION_MNIST), Statistics((0.2860,), (0.3530,))),
    "kmnist": Format(partial(sources.read_mnist, sources.KMNIST)),
    "svhn": Format(sources.read_svhn),
    "folder": Format(sources.read_folder, own_validation=True),
    "hf:OWNER/NAME": Format(sources.read_hub, own_validation=True),
}


def load_images(config: DataConfig, split: Split) -> ImageSet:
    """One split of the set that the settings name.

    The validation split is the share `config.holdout` of each class of train, which train then lacks; with a holdout
    of 0 it is the set's own, where it has one. Every choice (holdout, limit, the sets' own splits) is always the same.

    Raises:
        UsageError: the set is unknown, `config.root` or a file in it is missing or damaged, `config.size` is needed, or
            there is no such split.
    """
    form = _format(config.name)
    if split not in get_args(Split):
        raise UsageError(f"the split is {split!r}, but must be one of {', '.join(get_args(Split))}")
    held = split == "validation" and config.holdout > 0
    if split == "validation" and not held and not form.own_validation:
        raise UsageError(sources.missing_split(split, config.name))
    source = form.read(config, "train" if held else split)
    rows = torch.arange(len(source.targets))
    if config.holdout > 0 and split != "test":
        rows = rows[_held_out(source.targets, config.holdout) == held]
    if config.limit is not None:
        rows = rows[_balanced(source.targets[rows], config.limit)]
    if len(rows) == 0:
        raise UsageError(f"no class of {config.name} has enough images for a {split} split")
    return _image_set(config, split, source, rows, partial(_train_statistics, config))


def normalize(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """uint8 (N, C, H, W) to float32 of mean 0 and standard deviation 1 per channel, on the device of `images`.

    Args:
        images: pixels from 0 to 255.
        mean: C numbers in pixel units from 0 to 1.
        std: C positive numbers in the same units.
    """
    means = torch.tensor(mean, device=images.device).view(-1, 1, 1)
    stds = torch.tensor(std, device=images.device).view(-1, 1, 1)
    return (images.float() - means * 255) / (stds * 255)


def measure_images(images: Tensor) -> Statistics:
    """Per-channel mean and standard deviation of uint8 (N, C, H, W), in pixel units from 0 to 1; std at least 1/255."""
    values = [_moments(chunk) for chunk in torch.split(images, CHUNK)]
    pixels = len(images) * images[0, 0].numel()
    mean = torch.stack([first for first, _ in values]).sum(0) / pixels
    variance = torch.stack([second for _, second in values]).sum(0) / pixels - mean**2
    std = variance.clamp_min(1).sqrt()  # a channel of one value everywhere would be divided by zero
    return Statistics(tuple((mean / 255).tolist()), tuple((std / 255).tolist()))


def decode(open_row: Callable[[int], Image.Image], rows: Tensor, size: int) -> Tensor:
    """The pictures at `rows`, int64 (B,), as uint8 (B, 3, size, size), decoded in several threads."""
    images = torch.empty((len(rows), 3, size, size), dtype=torch.uint8)

    def place(position: int, row: int) -> None:
        images[position] = to_input(cover(open_row(row), size, size, margin=MARGIN), shape=(3, size, size))

    # a pool for each call: one kept longer would be dead, but not look so, in a forked process
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        for _ in pool.map(place, range(len(rows)), rows.tolist()):
            pass
    return images


def _format(name: str) -> Format:
    known = "hf:OWNER/NAME" if name.startswith("hf:") else name
    if known not in FORMATS:
        raise UsageError(f"data.name is {name!r}, but must be one of {', '.join(FORMATS)}")
    return FORMATS[known]


def _image_set(
    config: DataConfig, split: Split, source: Source, rows: Tensor, measure: Callable[[], Statistics]
) -> ImageSet:
    name, classes, targets = config.name, source.classes, source.targets[rows]
    if isinstance(source.images, Tensor):
        images = source.images if len(rows) == len(source.images) else source.images[rows]
        images = images if config.size is None else _resized(images, config.size)
        return MemoryImages(name, split, classes=classes, targets=targets, images=images, measure=measure)
    assert config.size is not None, "readers of lazy sets require a size"
    return LazyImages(
        name,
        split,
        classes=classes,
        targets=targets,
        open_row=source.images,
        rows=rows,
        size=config.size,
        measure=measure,
    )


def _train_statistics(config: DataConfig) -> Statistics:
    """Of all stored training images, so that neither the split nor holdout and limit change the numbers."""
    form = _format(config.name)
    if form.statistics is not None:
        return form.statistics
    source = form.read(config, "train")
    if isinstance(source.images, Tensor):
        return measure_images(source.images)
    assert config.size is not None, "readers of lazy sets require a size"
    sample = _balanced(source.targets, SAMPLE)
    return measure_images(decode(source.images, sample, config.size))


def _held_out(targets: Tensor, share: float) -> Tensor:
    """Bool (N,): a fixed random `share` of each class, at least one image of it and never all."""
    counts = torch.bincount(targets)
    quotas = torch.minimum((counts * share).round().clamp_min(1), counts - 1)
    return place_in_class(targets) < quotas[targets]


def _balanced(targets: Tensor, limit: int) -> Tensor:
    """At most `limit` indices in rising order, a fixed choice as even over the classes as their sizes allow."""
    return torch.argsort(place_in_class(targets), stable=True)[:limit].sort().values


def _resized(images: Tensor, size: int) -> Tensor:
    """uint8 (N, C, size, size), antialiased bilinear."""
    if images.shape[2:] == (size, size):
        return images
    small = images.new_empty((*images.shape[:2], size, size))
    for source, target in zip(torch.split(images, CHUNK), torch.split(small, CHUNK), strict=True):
        scaled = F.interpolate(source.float(), (size, size), mode="bilinear", antialias=True)
        target.copy_(scaled.round_().clamp_(0, 255))
    return small


def _moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of the values and of their squares over each channel, float64 (C,)."""
    values = images.transpose(0, 1).flatten(1).double()
    return values.sum(1), values.square().sum(1)
