"""What a person sees of a run: what is remembered after each task, and which tasks are taken for one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..core.figures import picture_grid, rendered, save_png
from ..core.pictures import as_rgb
from ..core.run import Run
from .evaluate import Evaluator
from .generator import GeneratorIndex
from .learner import Learner, StackLearner

COLOURS = {
    "stack": "#1f6fb2",
    "finetune": "#b04a4a",
    "lwf": "#c98a2b",
    "ewc": "#7a5ca8",
    "packnet": "#3f8f6b",
    "joint": "#9a9a9a",
}
SHOWN = 8


def draw_pictures(
    run: Run,
    evaluator: Evaluator,
    learners: Mapping[Any, Learner],
    accuracies: Mapping[str, Sequence[Sequence[float]]],
    confusion: Tensor | None,
    metrics: Mapping[str, float],
) -> None:
    """Write the run's pictures into samples/."""
    with run.sample("what is remembered after each task.png") as path:
        save_png(path, memory_figure(accuracies, evaluator.names))
    with run.sample("task known and task inferred.png") as path:
        save_png(path, averages_figure(metrics, list(learners)))
    if confusion is not None:
        with run.sample("which task a picture is taken for.png") as path:
            save_png(path, confusion_figure(confusion, evaluator.names))
    stack = learners.get("stack")
    if isinstance(stack, StackLearner) and isinstance(stack.net.index, GeneratorIndex):
        with run.sample("what the generators remember.png") as path:
            _generated(stack.net.index, evaluator).save(path)


def memory_figure(accuracies: Mapping[str, Sequence[Sequence[float]]], names: Sequence[str]) -> bytes:
    """For each task, each method's accuracy on it (task known) from when it was learned to the end, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.6 * len(names) + 1.2, 3), dpi=150, layout="constrained", facecolor="white")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for task, (axes, name) in enumerate(zip(panels, names, strict=True)):
        for method, rows in accuracies.items():
            colour = COLOURS.get(method, "black")
            if len(rows) < len(names):  # joint training learns all at once
                axes.axhline(100 * rows[-1][task], color=colour, linestyle=":", label=method)
                continue
            times = range(task + 1, len(names) + 1)
            values = [100 * rows[time - 1][task] for time in times]
            axes.plot(times, values, color=colour, marker="o", markersize=4, label=method)
        axes.set_title(name, fontsize=10)
        axes.set_xlim(0.8, len(names) + 0.2)
        axes.set_xticks(range(1, len(names) + 1))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("accuracy in percent")
    figure.supxlabel("tasks learned so far", fontsize=10)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return rendered(figure, "png")


def averages_figure(metrics: Mapping[str, float], methods: Sequence[str]) -> bytes:
    """Average accuracy of each method with the task known (pale) and inferred (full), as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.8 + 0.45 * len(methods)), dpi=150, layout="constrained", facecolor="white")
    axes = figure.subplots()
    for place, method in enumerate(reversed(methods)):
        colour = COLOURS.get(method, "black")
        known, inferred = metrics[f"{method}/known"], metrics.get(f"{method}/inferred")
        axes.barh(place, 100 * known, color=colour, alpha=0.35, height=0.7)
        text = f"{100 * known:.1f} known"
        if inferred is not None:
            axes.barh(place, 100 * inferred, color=colour, height=0.4)
            text += f", {100 * inferred:.1f} inferred"
        axes.text(100 * known + 1, place, text, va="center", fontsize=9)
    axes.set_yticks(range(len(methods)), list(reversed(methods)))
    axes.set_xlim(0, 135)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("average accuracy over the tasks in percent, after the last one")
    axes.spines[["top", "right"]].set_visible(False)
    return rendered(figure, "png")


def confusion_figure(confusion: Tensor, names: Sequence[str]) -> bytes:
    """(tasks, tasks + 1) shares: rows are true tasks, columns inferred ones, the last one none; as a PNG."""
    from matplotlib.figure import Figure

    unknown = bool(confusion[:, -1].any())
    shares = confusion if unknown else confusion[:, :-1]
    columns = [*names, "none"] if unknown else [*names]
    figure = Figure(figsize=(2 + 0.9 * len(columns), 1.4 + 0.6 * len(names)), dpi=150, layout="constrained")
    figure.set_facecolor("white")
    axes = figure.subplots()
    axes.imshow(shares.numpy(), vmin=0, vmax=1, cmap="Blues", aspect="auto")
    for row, values in enumerate(shares.tolist()):
        for column, value in enumerate(values):
            colour = "white" if value > 0.6 else "black"
            axes.text(column, row, f"{100 * value:.1f}", ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("taken for, in percent")
    axes.set_ylabel("true task")
    return rendered(figure, "png")


def _generated(index: GeneratorIndex, evaluator: Evaluator) -> Any:
    random = torch.Generator().manual_seed(0)
    pictures, captions = [], []
    for task, name in enumerate(evaluator.names):
        made = index.generate(task, SHOWN, generator=random).cpu()
        pictures.append(((made + 1) * 127.5).round().clamp(0, 255).to(torch.uint8))
        captions += [name] * SHOWN
    return picture_grid(as_rgb(torch.cat(pictures)), captions, columns=SHOWN)
