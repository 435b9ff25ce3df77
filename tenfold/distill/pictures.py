"""What a person sees of a run: how good each network is, and which pictures the teacher's features helped with."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

import torch
from torch import Tensor, nn

from ..core.figures import picture_grid, save_png
from ..core.pictures import as_rgb
from ..core.run import Run
from .evaluate import Evaluator
from .stages import TEACHER

SHOWN = 8
LOOKED_AT = 2000


@torch.no_grad()
def draw_pictures(
    run: Run, evaluator: Evaluator, networks: Mapping[str, nn.Module], metrics: Mapping[str, float]
) -> None:
    """Write the run's pictures into samples/, from its networks and from some held-out images."""
    with run.sample("accuracy of each network.png") as path:
        save_png(path, accuracy_figure({name: metrics[f"{name}/accuracy"] for name in networks}))
    if not {"alone", "features"} <= set(networks):
        return
    rows = torch.linspace(0, len(evaluator.images) - 1, min(LOOKED_AT, len(evaluator.images))).long()
    pictures, targets = evaluator.images.fetch(rows)
    inputs = evaluator.task.normalized(pictures.to(evaluator.fabric.device))
    classes = {name: _classes(networks[name], inputs) for name in ("alone", "features")}
    right = {name: found == targets for name, found in classes.items()}
    for title, chosen, wrong in (
        ("right with features, wrong alone", right["features"] & ~right["alone"], "alone"),
        ("right alone, wrong with features", right["alone"] & ~right["features"], "features"),
    ):
        found = chosen.nonzero()[:, 0]
        if len(found):
            # evenly over the set, which may be sorted by class
            picked = found[torch.linspace(0, len(found) - 1, min(SHOWN, len(found))).long()]
            names = evaluator.task.classes
            captions = [f"{names[targets[row]]}, not {names[classes[wrong][row]]}" for row in picked]
            with run.sample(f"{title}.png") as path:
                picture_grid(as_rgb(pictures[picked]), captions, columns=SHOWN).save(path)


def accuracy_figure(accuracies: Mapping[str, float]) -> bytes:
    """A bar for each network, the teacher's in grey and the method's in colour, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.6 + 0.42 * len(accuracies)), dpi=200, layout="constrained", facecolor="white")
    axes = figure.subplots()
    names = list(accuracies)[::-1]
    values = [100 * accuracies[name] for name in names]
    colours = ["#9a9a9a" if name == TEACHER else "#1f6fb2" if name == "features" else "#b9cfe3" for name in names]
    bars = axes.barh(names, values, color=colours)
    axes.bar_label(bars, [f"{value:.1f}" for value in values], padding=3)
    # bars from 0 would hide a difference of a point
    axes.set_xlim(max(0, min(values) - 3), min(102, max(values) + 1.5))
    axes.set_xlabel("accuracy in percent (the axis does not begin at 0)")
    axes.spines[["top", "right"]].set_visible(False)
    data = BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()


def _classes(network: nn.Module, inputs: Tensor) -> Tensor:
    return torch.cat([network(part).argmax(1) for part in inputs.split(256)]).cpu()
