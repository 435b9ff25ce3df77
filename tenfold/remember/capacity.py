"""What the tasks of a stack use, what is left, and what the next one would cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..core.cost import executed_macs
from .channels import Cuts
from .slices import make_plain, make_slice

if TYPE_CHECKING:
    from .stacknet import StackNet


@dataclass(frozen=True)
class Use:
    """What one task uses."""

    name: str
    share: float
    """of the model's width, its own"""
    own: int
    """numbers of its slice and its head"""
    reads: int
    """numbers of all slices that it computes with, its own and the earlier ones, and its head"""
    plain: int
    """numbers of its plain network, with zeros where earlier filters would read later channels"""
    macs: int | None
    """multiply-accumulates of one input, where an example was given"""


@dataclass(frozen=True)
class Capacity:
    """The tasks of a stack, what is left of the model, and a next task; prints as a table."""

    tasks: tuple[Use, ...]
    left: float
    """share of the model's width that no task has taken"""
    next: Use
    """a task as `add_task` would add it, with as many classes as the last one has"""
    model: int
    """numbers of the model as it was given"""
    model_macs: int | None
    """multiply-accumulates of the model for one input"""
    index: int
    """numbers that the index module keeps"""

    @property
    def total(self) -> int:
        """Numbers of all tasks together, without the index module."""
        return sum(task.own for task in self.tasks)

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("task", "share", "own", "reads", "plain", "MACs")]
        rows += [_row(task) for task in self.tasks]
        rows.append(("all", f"{sum(task.share for task in self.tasks):.2f}", f"{self.total:,}", "", "", ""))
        rows.append(_row(self.next, name="next"))
        copies = f"{len(self.tasks)} x {self.model:,}" if len(self.tasks) != 1 else f"{self.model:,}"
        macs = "" if self.model_macs is None else f"{self.model_macs:,}"
        rows.append(("copies", "", copies, "", f"{self.model:,}", macs))
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        lines = [
            "  ".join(
                text.ljust(width) if place == 0 else text.rjust(width)
                for place, (text, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        lines.append(f"left of the model's width: {self.left:.0%}; the index module keeps {self.index:,} numbers")
        return "\n".join(lines)


def measure(net: StackNet, *, grow: float, example: Tensor | None) -> Capacity:
    """See `StackNet.capacity`."""
    one = None if example is None else example[:1].to("meta")
    anatomy, uses, before = net.anatomy, [], 0
    cuts = Cuts([*net.shares, grow])
    classes = [*net.classes, net.classes[-1] if net.classes else 10]
    with torch.device("meta"):
        for number, (name, share) in enumerate(zip([*net.tasks, "next"], cuts.shares, strict=True)):
            part = make_slice(anatomy, cuts, number, classes[number])
            plain = make_plain(anatomy, cuts, number, classes[number])
            head = size_of(part.get_submodule(anatomy.head))
            own = size_of(part)
            macs = None if one is None else executed_macs(plain, one)
            uses.append(Use(name, share, own, before + own, size_of(plain), macs))
            before += own - head
    layers = anatomy.layers.values()
    model = sum(size_of(layer.module) for layer in layers)
    model_macs = None if one is None else _model_macs(net, one)
    return Capacity(tuple(uses[:-1]), net.left, uses[-1], model, model_macs, net.index.size())


def size_of(module: nn.Module) -> int:
    """Numbers of a module's parameters and statistics."""
    return sum(value.numel() for value in module.state_dict().values() if value.ndim)


def _model_macs(net: StackNet, one: Tensor) -> int:
    with torch.device("meta"):
        return executed_macs(make_plain(net.anatomy, Cuts([1.0]), 0, net.anatomy.classes), one)


def _row(use: Use, *, name: str | None = None) -> tuple[str, ...]:
    numbers = [f"{value:,}" for value in (use.own, use.reads, use.plain)]
    return (name or use.name, f"{use.share:.2f}", *numbers, "" if use.macs is None else f"{use.macs:,}")
