"""Which position of the teacher teaches which of the student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..core.errors import UsageError
from .dataflow import watch
from .positions import Position, find_positions, named_positions
from .teacher import teaching


@dataclass(frozen=True)
class Pair:
    """Two positions that are matched."""

    teacher: Position
    student: Position
    weight: float
    """of this position's distance among the others"""
    margin: str
    """where the teacher's margin comes from: "bn", "bn of the residual branch", "data", "given" or "none\""""


class Pairs(tuple[Pair, ...]):
    """The matched positions, the shallowest first. Prints as a table."""

    def __str__(self) -> str:
        rows = [("teacher", "C x H x W", "student", "C x H x W", "margin", "weight")]
        rows += [
            (
                pair.teacher.name,
                " x ".join(map(str, pair.teacher.shape)),
                pair.student.name,
                " x ".join(map(str, pair.student.shape)),
                pair.margin,
                f"{pair.weight:g}",
            )
            for pair in self
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        return "\n".join(
            "  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )


def pair_positions(
    teacher: nn.Module,
    student: nn.Module,
    example: Tensor,
    names: Sequence[str | tuple[str, str]] | None,
) -> list[tuple[Position, Position]]:
    """The positions of both networks, two by two, the shallowest first.

    Found ones are matched from the deep end, so that the last stages belong together; a network with more stages keeps its
    first ones unmatched. Named ones are matched as they are named.

    Raises:
        UsageError: see `find_positions` and `named_positions`.
    """
    with teaching(teacher, "running"):
        teacher_flow = watch(teacher, example)
    # as it will train: some networks run more in train mode, and positions are counted
    before = [(module, module.training) for module in student.modules()]
    student.train()
    try:
        with torch.random.fork_rng(devices=_devices(example)):
            student_flow = watch(student, example)
    finally:
        for module, training in before:
            module.training = training
    if names is None:
        found = (find_positions(teacher, teacher_flow), find_positions(student, student_flow, learns=True))
        count = min(map(len, found))
        return list(zip(found[0][-count:], found[1][-count:], strict=True))
    if not names:
        raise UsageError("positions is empty, but must name at least one")
    both = [(name, name) if isinstance(name, str) else tuple(name) for name in names]
    if isinstance(names, str) or any(len(pair) != 2 for pair in both):
        raise UsageError(f"positions is {names!r}, but must be a list of names or of pairs (teacher's, student's)")
    return list(
        zip(
            named_positions(teacher, teacher_flow, [name for name, _ in both]),
            named_positions(student, student_flow, [name for _, name in both]),
            strict=True,
        )
    )


def _devices(example: Tensor) -> list[torch.device]:
    return [example.device] if example.is_cuda else []
