"""The cost report: what was asked of the dial and what it gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .gate import Mode

if TYPE_CHECKING:
    from .network import ResizableNet


@dataclass(frozen=True)
class CostRow:
    """One scale of a cost report; costs are relative to the whole network."""

    requested: float
    achieved: float
    """mean over the pictures"""
    lowest: float
    highest: float
    blocks: float
    """mean number of residual branches computed"""


@dataclass(frozen=True)
class CostReport:
    """Requested against achieved cost over several scales; `print` shows a table."""

    rows: tuple[CostRow, ...]
    total_blocks: int
    unit: str
    mode: Mode

    @property
    def largest_gap(self) -> float:
        """The largest difference between requested and achieved cost."""
        return max(abs(row.achieved - row.requested) for row in self.rows)

    def __str__(self) -> str:
        lines = [f"cost in {self.unit}, relative to the whole network; decided per {self.mode}"]
        lines.append(f"{'requested':>9}  {'achieved':>8}  {'per picture':>13}  {'blocks used':>11}")
        for row in self.rows:
            spread = f"{row.lowest:.3f}-{row.highest:.3f}"
            used = f"{row.blocks:.1f}/{self.total_blocks}"
            lines.append(f"{row.requested:9.3f}  {row.achieved:8.3f}  {spread:>13}  {used:>11}")
        return "\n".join(lines)


@torch.no_grad()
def cost_report(
    net: ResizableNet, images: Tensor, *, scales: Sequence[float], mode: Mode, batch_size: int = 64
) -> CostReport:
    """Ask the network for each scale in turn and record the cost of every picture (N, C, H, W)."""
    rows = []
    with net._evaluating():
        for scale in scales:
            passes = [net.outputs(batch, scale, mode=mode) for batch in images.split(batch_size)]
            cost = torch.cat([one.cost for one in passes])
            used = torch.cat([one.gates for one in passes]).sum(1).mean()
            rows.append(CostRow(scale, float(cost.mean()), float(cost.min()), float(cost.max()), float(used)))
    return CostReport(tuple(rows), len(net.blocks), "blocks" if net.settings.cost == "blocks" else "MACs", mode)
