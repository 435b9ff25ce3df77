"""Batches in which everything follows from (seed, epoch, step): no global random state, so any step can be resumed.

A batch has one global size whatever the number of processes; each process takes its share of the rows, and the random
numbers an image gets depend on its row in the global batch alone.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from .errors import UsageError

S = TypeVar("S")
T = TypeVar("T")

AHEAD = 2
"""How many batches of a lazy set are decoded before they are asked for."""


class Batch(NamedTuple):
    """One process's share of a global batch."""

    images: Tensor
    """uint8 (n, C, H, W), this process's share"""
    targets: Tensor
    """what the set gives: int64 (n,) classes of images, uint8 (n, H, W) classes of pixels"""
    rows: slice | Tensor
    """where the share lies within the global batch"""
    size: int
    """images in the global batch"""
    seed: int
    """one number for each (seed, epoch, step), the same on every process"""

    def draw(self, make: Callable[[torch.Generator, int], Tensor], purpose: str) -> Tensor:
        """Random numbers for this share's images, the same for an image however many processes share the batch.

        Args:
            make: (CPU generator, size) -> tensor whose first dimension is `size`, the whole global batch.
            purpose: what they are for; the same purpose gives the same numbers again, another one independent numbers.

        Returns:
            The rows of `make`'s tensor that belong to this share, on the device of `images`.
        """
        generator = torch.Generator().manual_seed(derive_seed(self.seed, purpose))
        return make(generator, self.size)[self.rows].to(self.images.device)


def derive_seed(*parts: int | str) -> int:
    """A seed in [0, 2**63) that follows from the parts alone: the same on every machine and in every process."""
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Fetchable(Protocol):
    """A set that batches can be made of: an `ImageSet`, `MaskedImages`, or whatever else has these."""

    name: str
    split: str

    @property
    def lazy(self) -> bool:
        """Whether `fetch` decodes files, and so is worth calling ahead of time."""

    def __len__(self) -> int: ...

    def fetch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 (B, C, H, W) and the targets of the set, (B, ...), at the indices, int64 (B,)."""


class TrainBatches:
    """Shuffled batches of a training set; the last incomplete batch of an epoch is dropped.

    Args:
        images: the training set.
        batch_size: images in a global batch, over all processes together.
        seed: decides the order of every epoch and all that is drawn from its batches.
        rank: this process's number in [0, world).
        world: the number of processes.

    Raises:
        UsageError: `batch_size` is not a multiple of `world`, or larger than the set.
    """

    def __init__(self, images: Fetchable, batch_size: int, *, seed: int, rank: int = 0, world: int = 1) -> None:
        if batch_size < 1 or batch_size % world:
            raise UsageError(
                f"the batch size is {batch_size}, but must be a multiple of the number of processes, {world}"
            )
        if batch_size > len(images):
            raise UsageError(
                f"the batch size is {batch_size}, but must be at most {len(images)}, the images in "
                f"{images.name} ({images.split})"
            )
        share = batch_size // world
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.steps_per_epoch = len(images) // batch_size
        self._rows = slice(rank * share, (rank + 1) * share)

    def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of epoch `number` (from 0), from step `start` on; exactly those an uninterrupted epoch gives."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", number))
        order = torch.randperm(len(self.images), generator=generator)

        def make(step: int) -> Batch:
            chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
            seed = derive_seed(self.seed, "batch", number, step)
            return Batch(*self.images.fetch(chosen[self._rows]), rows=self._rows, size=self.batch_size, seed=seed)

        steps = range(start, self.steps_per_epoch)
        return made_ahead(make, steps) if self.images.lazy else map(make, steps)


class EvalBatches:
    """(images, targets) as the set gives them (see `Batch`), in its order, with the last short batch.

    Each of `world` processes gets one contiguous stretch, so that together they see every image exactly once; stretches
    may differ by one image and, in a set smaller than `world`, be empty.
    """

    def __init__(self, images: Fetchable, batch_size: int = 256, *, rank: int = 0, world: int = 1) -> None:
        if batch_size < 1:
            raise UsageError(f"the batch size is {batch_size}, but must be at least 1")
        self.images = images
        self.batch_size = batch_size
        share = stretch(len(images), rank=rank, world=world)
        self._share = torch.arange(share.start, share.stop)

    def __len__(self) -> int:
        return -(-len(self._share) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        chunks = (self._share[i : i + self.batch_size] for i in range(0, len(self._share), self.batch_size))
        return made_ahead(self.images.fetch, chunks) if self.images.lazy else map(self.images.fetch, chunks)


def stretch(count: int, *, rank: int, world: int) -> range:
    """The places, of 0 .. count - 1, that process `rank` of `world` looks at: together they look at each exactly once."""
    return range(rank * count // world, (rank + 1) * count // world)


def made_ahead(make: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """`map(make, items)`, in a background thread that works `AHEAD` items ahead and ends with the iterator."""
    remaining = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        pending = deque(pool.submit(make, item) for item in islice(remaining, AHEAD))
        try:
            while pending:
                made = pending.popleft().result()
                pending.extend(pool.submit(make, item) for item in islice(remaining, 1))
                yield made
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
