"""What a run translates and to what: its corners, its sets of pictures, its style pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..core.augment import random_windows
from ..core.batches import Batch, TrainBatches, derive_seed
from ..core.data import ImageSet
from ..core.domains import Named, load_domain, named
from ..core.embedded_sets import PICTURES, embedded_style, embedded_styles
from ..core.errors import UsageError
from ..core.pictures import open_picture, to_input
from ..core.sources import Split
from .config import Config, PictureSettings


class Corners(NamedTuple):
    """The names of the losses, in their order: the source's, then the domains', then the styles'."""

    source: str
    domains: tuple[str, ...]
    styles: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of all L of them."""
        return (self.source, *self.domains, *self.styles)


@dataclass(frozen=True)
class Task:
    """Where everything is. Nothing is read before it is asked for."""

    settings: PictureSettings
    source: Named
    domains: tuple[Named, ...]
    styles: tuple[Named, ...]

    @classmethod
    def of(cls, settings: PictureSettings) -> Task:
        """What the settings name.

        Raises:
            UsageError: something does not exist, or two corners have one name.
        """
        source = named(settings.source, PICTURES, "data.source")
        domains = tuple(named(text, PICTURES, "data.domains") for text in settings.domains)
        styles = tuple(named(text, embedded_styles(), "data.styles") for text in settings.styles)
        names = [one.name for one in (source, *domains, *styles)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"two corners are called {twice!r}: give one another name, as NAME=PATH")
        return cls(settings, source, domains, styles)

    @property
    def corners(self) -> Corners:
        """The names."""
        return Corners(
            self.source.name, tuple(one.name for one in self.domains), tuple(one.name for one in self.styles)
        )

    def sets(self, split: Split) -> list[ImageSet]:
        """The source's pictures, then those of each domain.

        Raises:
            UsageError: a folder holds no picture, too few for the split, or one that cannot be read.
        """
        given = self.settings
        return [
            load_domain(one, split, size=given.size, holdout=given.holdout, limit=given.limit)
            for one in (self.source, *self.domains)
        ]

    def style_pictures(self) -> list[Tensor]:
        """Each style picture's central square, (1, 3, S, S) in [-1, 1].

        Raises:
            UsageError: a file cannot be read.
        """
        side = self.settings.style_size
        pictures = [embedded_style(one.name) if one.place is None else open_picture(one.place) for one in self.styles]
        return [to_signed(to_input(picture, shape=(3, side, side))[None]) for picture in pictures]


class Unpaired:
    """Batches of the source and of each domain side by side, each set in an order of its own, for ever.

    Everything follows from (seed, step): any step can be resumed.

    Args:
        sets: the source's pictures, then each domain's.
        config: batch size, window, seed.
        rank: this process's number in [0, world).
        world: the number of processes.

    Raises:
        UsageError: the batch is larger than a set, or no multiple of the processes.
    """

    def __init__(self, sets: Sequence[ImageSet], config: Config, *, rank: int = 0, world: int = 1) -> None:
        self._crop, self._flip = config.data.crop, config.data.flip
        self._batches = [
            TrainBatches(
                images,
                config.train.batch_size,
                seed=derive_seed(config.seed, "pictures", number),
                rank=rank,
                world=world,
            )
            for number, images in enumerate(sets)
        ]
        self.steps_per_epoch = max(batches.steps_per_epoch for batches in self._batches)

    def from_step(self, step: int) -> Iterator[tuple[Batch, list[Tensor]]]:
        """From the step on: the source's batch, which numbers are drawn by, and windows (n, 3, c, c) in [-1, 1] of each set."""
        for found in zip(*(_endless(batches, step) for batches in self._batches), strict=True):
            yield found[0], [to_signed(random_windows(batch, size=self._crop, flip=self._flip)) for batch in found]


def to_signed(pixels: Tensor) -> Tensor:
    """uint8 pixels as the float32 in [-1, 1] that the networks read and give."""
    return pixels.float() / 127.5 - 1


def to_bytes(pictures: Tensor) -> Tensor:
    """The inverse: uint8 pixels, on the CPU."""
    return ((pictures.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()


def held_out_split(config: Config) -> Split:
    """The split that results are of."""
    return "validation" if config.data.holdout > 0 else "test"


def _endless(batches: TrainBatches, step: int) -> Iterator[Batch]:
    epoch, start = divmod(step, batches.steps_per_epoch)
    while True:
        yield from batches.epoch(epoch, start=start)
        epoch, start = epoch + 1, 0
