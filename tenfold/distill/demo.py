"""A distilled student on a person's own pictures, beside its teacher and the student that learned alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.demo import Output, Rows
from ..core.figures import picture_grid
from ..core.pictures import as_rgb, find_pictures, open_picture, to_input
from ..core.task import Task
from .config import DemoOptions
from .evaluate import load_run

BATCH = 64


class DistillDemo:
    """Names the class of pictures, by every network of a run; made by `load`."""

    outputs = (
        Output("predictions", "table", "for each picture: the class and its probability by each network of the run"),
        Output("sheet", "picture", "the pictures as the networks see them, with the last network's class"),
    )

    def __init__(self, networks: Mapping[str, nn.Module], task: Task) -> None:
        self.networks = networks
        self.task = task

    @torch.no_grad()
    def __call__(self, options: DemoOptions) -> dict[str, Any]:
        """Predict the pictures that `options` names; see `outputs`.

        Raises:
            UsageError: a file is missing or is not a picture, or a folder holds none.
        """
        files = find_pictures(options.images)
        channels, height, width = self.task.shape
        rows, captions, seen = [], [], []
        for start in range(0, len(files), BATCH):
            chosen = files[start : start + BATCH]
            pictures = torch.stack([to_input(open_picture(file), shape=(channels, height, width)) for file in chosen])
            named = [self._named(network, self.task.normalized(pictures)) for network in self.networks.values()]
            rows += [(str(file), *texts) for file, *texts in zip(chosen, *named, strict=True)]
            captions += named[-1]
            seen.append(as_rgb(pictures))
        sheet = picture_grid(np.concatenate(seen), captions, columns=min(6, len(files)))
        return {"predictions": Rows(("picture", *self.networks), tuple(rows)), "sheet": sheet}

    def _named(self, network: nn.Module, inputs: Tensor) -> list[str]:
        probabilities, classes = network(inputs).softmax(1).max(1)
        return [
            f"{self.task.classes[number]} {chance:.0%}"
            for number, chance in zip(classes.tolist(), probabilities.tolist(), strict=True)
        ]


def load(folder: Path) -> DistillDemo:
    """The demo of a finished run; it needs the run folder only, not the data set.

    Raises:
        UsageError: the folder is not a run of this method, or it has no trained network yet.
    """
    _, task, networks = load_run(folder)
    return DistillDemo(networks, task)
