"""What a person sees of a run: accuracy against cost, which block is used when, and which pictures need more."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

import torch
from torch import Tensor

from ..core.figures import picture_grid, save_png, trade_off_figure
from ..core.pictures import as_rgb
from ..core.run import Run
from .evaluate import CURVE, Evaluator
from .freeze import block_usage
from .network import ResizableNet

SHOWN = 8


@torch.no_grad()
def draw_pictures(run: Run, evaluator: Evaluator, network: ResizableNet, metrics: Mapping[str, float]) -> None:
    """Write the run's pictures into samples/, from its metrics and from some held-out images."""
    rows = torch.linspace(0, len(evaluator.images) - 1, min(512, len(evaluator.images))).long()
    pictures, targets = evaluator.images.fetch(rows)
    inputs = evaluator.task.normalized(pictures.to(evaluator.fabric.device))
    with run.sample("accuracy against cost.png") as path:
        trade_off_figure(
            path, **trade_off(metrics), x_label="cost relative to the whole network", y_label="accuracy", title=""
        )
    usage = torch.stack([block_usage(network, inputs, scale) for scale in CURVE]).cpu()
    with run.sample("blocks used at each scale.png") as path:
        save_png(path, usage_figure(usage))
    cost = network.outputs(inputs, 0.65, mode="sample").cost.cpu()
    order = cost.argsort(stable=True)
    chosen = torch.cat([order[:SHOWN], order[-SHOWN:]])
    names = [evaluator.task.classes[target] for target in targets[chosen]]
    captions = [f"{name}: {float(cost[row]):.2f}" for name, row in zip(names, chosen, strict=True)]
    with run.sample("least and most computed at 0.65.png") as path:
        picture_grid(as_rgb(pictures[chosen]), captions, columns=SHOWN).save(path)


def trade_off(metrics: Mapping[str, float]) -> dict[str, dict[str, tuple]]:  # type: ignore[type-arg]
    """Curves and points of the accuracy-cost picture, from final metrics named "row/column"."""
    found: dict[str, list[tuple[float, float]]] = {}
    for key, accuracy in metrics.items():
        row, _, column = key.rpartition("/")
        if column == "accuracy":
            found.setdefault(row.split()[0], []).append((metrics[f"{row}/relative cost"], accuracy))
    points = {name: values[0] for name, values in found.items() if len(values) == 1}
    curves = {name: tuple(zip(*sorted(values), strict=True)) for name, values in found.items() if len(values) > 1}
    order = sorted(curves, key=lambda name: (name != "resizable", name))
    return {"curves": {name: curves[name] for name in order}, "points": points}


def usage_figure(usage: Tensor) -> bytes:
    """How often each block is computed: (scales of `CURVE`, L) in [0, 1], as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.2), dpi=200, layout="constrained", facecolor="white")
    axes = figure.subplots()
    shown = axes.imshow(usage.numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto", origin="lower")
    axes.set_yticks(range(len(CURVE)), [f"{scale:.2f}" for scale in CURVE])
    axes.set_xticks(range(0, usage.shape[1], max(1, usage.shape[1] // 12)))
    axes.set_xlabel("residual block, from the input on")
    axes.set_ylabel("requested cost")
    axes.spines[:].set_visible(False)
    figure.colorbar(shown, label="share of pictures that compute it")
    data = BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()
