"""A trained resizable network on a person's own pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.demo import Output, Rows
from ..core.figures import picture_grid
from ..core.pictures import as_rgb, find_pictures, open_picture, to_input
from ..core.task import Task
from .config import DemoOptions
from .evaluate import load_run
from .network import ResizableNet

BATCH = 64


class ResizeDemo:
    """Names the class of pictures at a chosen cost; made by `load`."""

    outputs = (
        Output(
            "predictions",
            "table",
            "for each picture: class, probability, cost and blocks used, and the whole network's class",
        ),
        Output("sheet", "picture", "the pictures as the network sees them, with their predictions"),
    )

    def __init__(self, network: ResizableNet, task: Task) -> None:
        self.network = network
        self.task = task

    @torch.no_grad()
    def __call__(self, options: DemoOptions) -> dict[str, Any]:
        """Predict the pictures that `options` names; see `outputs`.

        Raises:
            UsageError: a file is missing or is not a picture, or a folder holds none.
        """
        files = find_pictures(options.images)
        rows, captions, seen = [], [], []
        for start in range(0, len(files), BATCH):
            chosen = files[start : start + BATCH]
            pictures = torch.stack([to_input(open_picture(file), shape=self._shape) for file in chosen])
            inputs = self.task.normalized(pictures)
            whole = self.network.full(inputs).argmax(1)
            found = self.network.outputs(inputs, options.scale, mode="sample")
            probabilities, classes = found.logits.softmax(1).max(1)
            for index, file in enumerate(chosen):
                name = self.task.classes[classes[index]]
                used = f"{int(found.gates[index].sum())}/{len(self.network.blocks)}"
                cells = (
                    f"{probabilities[index]:.1%}",
                    f"{found.cost[index]:.2f}",
                    used,
                    self.task.classes[whole[index]],
                )
                rows.append((str(file), name, *cells))
                captions.append(f"{name} {probabilities[index]:.0%}, cost {found.cost[index]:.2f}")
            seen.append(as_rgb(pictures))
        columns = ("picture", "class", "probability", "cost", "blocks", "whole network")
        sheet = picture_grid(np.concatenate(seen), captions, columns=min(6, len(files)))
        return {"predictions": Rows(columns, tuple(rows)), "sheet": sheet}

    @property
    def _shape(self) -> tuple[int, int, int]:
        channels, height, width = self.task.shape
        return channels, height, width


def load(folder: Path) -> ResizeDemo:
    """The demo of a finished run; it needs the run folder only, not the data set.

    Raises:
        UsageError: the folder is not a run of this method, or it has no trained network yet.
    """
    _, task, network = load_run(folder)
    return ResizeDemo(network, task)
