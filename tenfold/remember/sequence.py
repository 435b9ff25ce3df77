"""The tasks of a sequence: any sets of labelled pictures, or some of their classes, made alike in size and channels."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..core.config import DataConfig
from ..core.data import ImageSet, load_images
from ..core.errors import UsageError
from ..core.sources import Split
from ..core.task import Task
from .config import SequenceSettings

LIKE_ALL = 0.5
"""The mean and the standard deviation that every set's pixels, in [0, 1], are normalised with: which set a picture is of, and so
which numbers would be the set's own, is what has to be inferred."""


@dataclass(frozen=True)
class Wanted:
    """One entry of `SequenceSettings.tasks`, read."""

    name: str
    """as the task is called"""
    set: str
    """as of `DataConfig.name`"""
    classes: range | None
    root: Path | None

    @classmethod
    def of(cls, text: str) -> Wanted:
        """Read NAME, NAME:FIRST-LAST, and either with @FOLDER behind it.

        Raises:
            UsageError: it is of another form, or LAST is below FIRST.
        """
        wanted, _, root = text.partition("@")
        found = re.fullmatch(r"((?:hf:)?[^:]+)(?::(\d+)-(\d+))?", wanted)
        if not found or (found[2] and int(found[2]) > int(found[3])):
            raise UsageError(
                f"{text!r} names no task; write NAME, or NAME:FIRST-LAST for some classes, and @FOLDER behind"
            )
        classes = range(int(found[2]), int(found[3]) + 1) if found[2] else None
        return cls(wanted, found[1], classes, Path(root) if root else None)


class TaskImages:
    """One split of one task: pictures of the sequence's size and channels, and targets from 0."""

    def __init__(self, images: ImageSet, wanted: Wanted, *, channels: int) -> None:
        """`images`: the whole set's split."""
        chosen = wanted.classes or range(len(images.classes))
        if chosen.stop > len(images.classes):
            last = len(images.classes) - 1
            raise UsageError(
                f"{wanted.name} asks for class {chosen.stop - 1}, but {images.name} has classes 0 to {last}"
            )
        self.name = wanted.name
        self.set = wanted.set
        self.split = images.split
        self.lazy = images.lazy
        self.classes = images.classes[chosen.start : chosen.stop]
        self.shape = (channels, *images.shape[1:])
        self._images = images
        self._first = chosen.start
        self._rows = ((images.targets >= chosen.start) & (images.targets < chosen.stop)).nonzero()[:, 0]
        self.targets = images.targets[self._rows] - chosen.start

    def __len__(self) -> int:
        return len(self._rows)

    def fetch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 (B, C, H, W) and targets int64 (B,) at the indices, int64 (B,)."""
        images, targets = self._images.fetch(self._rows[indices])
        if images.shape[1] != self.shape[0]:
            images = images.expand(-1, self.shape[0], -1, -1)
        return images, targets - self._first


class AllTasks:
    """The training pictures of all tasks as one set; a target is task * `STRIDE` + class."""

    STRIDE = 10_000
    name = "all tasks"
    split = "train"

    def __init__(self, tasks: list[TaskImages]) -> None:
        """The tasks in their order."""
        self.tasks = tasks
        self.lazy = any(task.lazy for task in tasks)
        self._owner = torch.cat([torch.full((len(task),), place) for place, task in enumerate(tasks)])
        self._row = torch.cat([torch.arange(len(task)) for task in tasks])

    def __len__(self) -> int:
        return len(self._row)

    def fetch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """As of each task."""
        owner, row = self._owner[indices], self._row[indices]
        images, targets = None, torch.empty_like(row)
        for place in owner.unique().tolist():
            chosen = owner == place
            found, labels = self.tasks[place].fetch(row[chosen])
            images = found.new_empty((len(row), *found.shape[1:])) if images is None else images
            images[chosen], targets[chosen] = found, labels + place * self.STRIDE
        assert images is not None, "a batch has at least one picture"
        return images, targets


def load_sequence(settings: SequenceSettings, split: Split) -> list[TaskImages]:
    """One split of every task.

    Raises:
        UsageError: a set is unknown, or its files are missing or damaged; a class does not exist; a task's classes are none.
    """
    wanted = [Wanted.of(text) for text in settings.tasks]
    configs = [
        DataConfig(
            name=each.set,
            root=each.root or settings.root,
            size=settings.size,
            holdout=settings.holdout,
            # the limit is of each task's pictures, and a task may be a few of the set's classes
            limit=None,
        )
        for each in wanted
    ]
    sets = [load_images(config, split) for config in configs]
    sizes = {images.shape[1:] for images in sets}
    if len(sizes) > 1:
        size = max(max(shape) for shape in sizes)
        sets = [load_images(replace(config, size=size), split) for config in configs]
    channels = max(images.shape[0] for images in sets)
    tasks = [TaskImages(images, each, channels=channels) for images, each in zip(sets, wanted, strict=True)]
    return [_limited(task, settings.limit) for task in tasks]


def task_of(images: TaskImages) -> Task:
    """What a task's pictures are, normalised like those of every other task."""
    same = (LIKE_ALL,) * images.shape[0]
    return Task(images.shape, images.classes, same, same)


def _limited(task: TaskImages, limit: int | None) -> TaskImages:
    """The first `limit` pictures in an order that goes round the classes."""
    if limit is not None and limit < len(task):
        places = torch.empty_like(task.targets)
        for label in task.targets.unique():
            own = task.targets == label
            places[own] = torch.arange(int(own.sum()))
        chosen = torch.argsort(places, stable=True)[:limit].sort().values
        task._rows, task.targets = task._rows[chosen], task.targets[chosen]
    return task
