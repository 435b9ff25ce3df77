"""The picture of a front: for two losses a curve, for three triangles, for more a panel for each pair."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..core.figures import FAINT, INK, PALETTE, rendered, save_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .front import Front

LEVELS = 12


def front_figure(front: Front, path: Path | None) -> bytes:
    """A PNG of about 1500 pixels across; also saved at `path`."""
    from matplotlib.figure import Figure

    count = len(front.names)
    triangles = count == 3 and len(front.mixes) >= 6
    panels = 3 if triangles else max(1, count * (count - 1) // 2)
    columns = min(panels, 3)
    rows = math.ceil(panels / columns)
    figure = Figure(figsize=(5.0 * columns, 4.3 * rows), dpi=110, layout="constrained", facecolor="white")
    axes = np.atleast_1d(figure.subplots(rows, columns)).reshape(-1)
    for place in axes[panels:]:
        place.set_axis_off()
    if triangles:
        for number, place in enumerate(axes[:3]):
            _triangle(front, number, place)
    elif count == 1:
        _pair(front, 0, 0, axes[0])
    else:
        pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
        for (a, b), place in zip(pairs, axes, strict=False):
            _pair(front, a, b, place)
    data = rendered(figure, "png")
    if path is not None:
        save_png(path, data)
    return data


def _triangle(front: Front, number: int, axes: Axes) -> None:
    """One loss over the whole triangle of mixtures, its least value marked."""
    corners = torch.tensor([[0.5, math.sqrt(3) / 2], [0.0, 0.0], [1.0, 0.0]])
    x, y = (front.mixes @ corners).double().T.numpy()
    values = front.losses[:, number].numpy()
    drawn: Any
    flat = int(torch.linalg.matrix_rank(front.mixes.double() - front.mixes.double().mean(0), atol=1e-6)) < 2
    if np.isfinite(values).all() and float(np.ptp(values)) > 0 and not flat:
        drawn = axes.tricontourf(x, y, values, levels=LEVELS, cmap="viridis")
    else:
        drawn = axes.scatter(x, y, c=values, cmap="viridis")
    axes.figure.colorbar(drawn, ax=axes, shrink=0.75)
    least = int(np.nanargmin(values)) if np.isfinite(values).any() else 0
    axes.plot(x[least], y[least], "o", markersize=9, color=PALETTE[1], markeredgecolor="white", zorder=3)
    for name, (across, up) in zip(front.names, corners.tolist(), strict=True):
        axes.annotate(
            name,
            (across, up),
            xytext=(0, 8 if up > 0 else -14),
            textcoords="offset points",
            ha="center",
            color=INK,
            fontsize=10,
            parse_math=False,
        )
    axes.set_title(f"loss {front.names[number]}", loc="left", color=INK, fontsize=11, parse_math=False)
    axes.set_aspect("equal")
    axes.margins(0.12)
    axes.set_axis_off()


def _pair(front: Front, a: int, b: int, axes: Axes) -> None:
    """Two losses against each other along the edge between them, or over all mixtures where there is none."""
    others = [n for n in range(len(front.names)) if n not in (a, b)]
    on_edge = (front.mixes[:, others].abs().sum(1) < 1e-6) if others else torch.ones(len(front.mixes), dtype=torch.bool)
    chosen = on_edge if int(on_edge.sum()) >= 2 else torch.ones_like(on_edge)
    order = front.mixes[chosen][:, a].argsort()
    x, y = front.losses[chosen][order][:, a].numpy(), front.losses[chosen][order][:, b].numpy()
    axes.plot(x, y, "-o", color=PALETTE[0], markersize=4, linewidth=1.4)
    axes.plot(x[-1:], y[-1:], "o", color=PALETTE[1], markersize=8)
    axes.annotate(
        f"all {front.names[a]}", (x[-1], y[-1]), xytext=(6, 6), textcoords="offset points", color=INK, parse_math=False
    )
    axes.set_xlabel(f"loss {front.names[a]}", color=INK, parse_math=False)
    axes.set_ylabel(f"loss {front.names[b]}", color=INK, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(FAINT)
    axes.tick_params(colors=INK)
