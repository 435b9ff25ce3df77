"""Which channels of a network belong together, and where a task cuts them.

A *group* is every channel axis that has to be cut at the same places, because its values are added to one another or filtered
one by one. A *layout* says what the channel axis of a tensor is made of: pieces of groups, one behind the other (one piece
after a convolution, several after `torch.cat`), each channel standing for one feature or, after a flattening, for many.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..core.errors import UsageError


class Group:
    """Channel axes that are cut at the same places. Two groups become one by `join`."""

    def __init__(self, channels: int) -> None:
        """A new group of one layer's `channels`."""
        self._channels = channels
        self._quantum = 1
        self._joined: Group | None = None

    @property
    def root(self) -> Group:
        """The group that this one has become a part of, or itself."""
        return self if self._joined is None else self._joined.root

    @property
    def channels(self) -> int:
        """Channels in the model as it was given."""
        return self.root._channels

    @property
    def quantum(self) -> int:
        """A cut lies at a multiple of this many channels: group norms and grouped convolutions keep their groups whole."""
        return self.root._quantum

    def whole(self, channels: int) -> None:
        """Let cuts lie at multiples of `channels` only."""
        self.root._quantum = math.lcm(self.root._quantum, channels)

    def join(self, other: Group) -> None:
        """Make one group of this and another one of equally many channels."""
        mine, others = self.root, other.root
        if mine is not others:
            mine._quantum = math.lcm(mine._quantum, others._quantum)
            others._joined = mine


@dataclass(eq=False)
class Places:
    """How many positions of a picture were flattened into features; unknown until a layer behind says how many it reads."""

    count: int | None = None


@dataclass(frozen=True)
class Piece:
    """One group's channels within a layout."""

    group: Group
    repeat: int = 1
    """features that each channel stands for, one behind the other"""
    places: Places | None = None
    """more of them, from a flattening"""

    @property
    def features(self) -> int:
        """Features for each channel."""
        return self.repeat * (1 if self.places is None else self.places.count or 1)


@dataclass(frozen=True)
class Layout:
    """What the channel axis (dimension 1) of a tensor is made of. Without pieces it is the network's own input, never cut."""

    pieces: tuple[Piece, ...] = ()
    flat: bool = False
    """whether the tensor is (N, features), without height and width"""

    @property
    def is_input(self) -> bool:
        return not self.pieces

    def fit(self, features: int, reader: str) -> None:
        """Note that the layer `reader` reads so many features, which may tell how many places a flattening had.

        Raises:
            UsageError: that many cannot be.
        """
        if self.is_input:
            return
        unknown = {id(piece.places): piece.places for piece in self.pieces if piece.places and not piece.places.count}
        total = sum(piece.group.channels * piece.features for piece in self.pieces)
        if not unknown and total == features:
            return
        known = sum(p.group.channels * p.features for p in self.pieces if p.places is None or p.places.count)
        places, odd = divmod(features - known, max(1, total - known))
        if len(unknown) != 1 or odd or places < 1:
            raise UsageError(f"{reader} reads {features} features, but {total} channels come to it")
        (one,) = unknown.values()
        one.count = places

    def tie(self, other: Layout, where: str) -> Layout:
        """Note that tensors of both layouts are combined channel by channel at `where`.

        Raises:
            UsageError: their channels do not correspond.
        """
        if self.is_input or other.is_input:
            if self.is_input and other.is_input:
                return self
            raise UsageError(f"{where} combines the network's input with features, which cannot be cut by task")
        mine = [(piece.group.channels, piece.repeat, piece.places) for piece in self.pieces]
        others = [(piece.group.channels, piece.repeat, piece.places) for piece in other.pieces]
        if mine != others:
            sizes = " and ".join("+".join(str(channels) for channels, *_ in side) for side in (mine, others))
            raise UsageError(f"{where} combines tensors of {sizes} channels, which cannot be cut at the same places")
        for piece, twin in zip(self.pieces, other.pieces, strict=True):
            piece.group.join(twin.group)
        return self


@dataclass
class Cuts:
    """Where each task's slice ends in every group: from the shares that the tasks take of the model's width.

    Task j (from 0) uses the channels before `at(group, j)`; its own are those from `at(group, j - 1)` on.
    """

    shares: list[float] = field(default_factory=list)
    """of each task, of the model's width; they may sum to more than 1"""

    def at(self, group: Group, task: int) -> int:
        """Channels of all tasks up to and with `task`; 0 for task -1. Every task has at least one quantum."""
        end = 0
        for share in _sums(self.shares[: task + 1]):
            wanted = round(group.channels * share / group.quantum) * group.quantum
            end = max(wanted, end + group.quantum)
        return end

    def width(self, layout: Layout, task: int, *, since: int = -1) -> int:
        """Features of a layout that belong to the tasks after `since` up to and with `task`."""
        return sum(self.sizes(layout, task, since=since))

    def sizes(self, layout: Layout, task: int, *, since: int = -1) -> list[int]:
        """`width` of each piece."""
        return [(self.at(p.group, task) - self.at(p.group, since)) * p.features for p in layout.pieces]

    def places(self, layout: Layout, task: int, *, since: int, frame: int | None) -> Tensor:
        """int64: where the features of the tasks after `since`, up to `task`, lie among all those of task `frame`.

        `frame` None is the model as it was given.
        """
        found, offset = [], 0
        for piece in layout.pieces:
            start, stop = (self.at(piece.group, end) * piece.features for end in (since, task))
            found.append(torch.arange(offset + start, offset + stop))
            channels = piece.group.channels if frame is None else self.at(piece.group, frame)
            offset += channels * piece.features
        return torch.cat(found)


def _sums(shares: Sequence[float]) -> list[float]:
    return [math.fsum(shares[: count + 1]) for count in range(len(shares))]
