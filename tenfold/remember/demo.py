"""A trained stack on a person's own pictures: which task each is of, and what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.demo import Output, Rows
from ..core.errors import UsageError
from ..core.figures import picture_grid
from ..core.pictures import as_rgb, find_pictures, open_picture, to_input
from ..core.task import Task
from .config import DemoOptions
from .evaluate import load_run
from .learner import StackLearner
from .stacknet import StackNet

BATCH = 64


class RememberDemo:
    """Tells the task and the class of pictures; made by `load`."""

    outputs = (
        Output("predictions", "table", "for each picture: its task, the class and its probability"),
        Output("sheet", "picture", "the pictures as the network sees them, with task and class"),
    )

    def __init__(self, net: StackNet, tasks: Sequence[Task]) -> None:
        self.net = net
        self.tasks = tasks

    @torch.no_grad()
    def __call__(self, options: DemoOptions) -> dict[str, Any]:
        """Predict the pictures that `options` names; see `outputs`.

        Raises:
            UsageError: a file is missing or is not a picture, a folder holds none, or there is no such task.
        """
        if options.task is not None and options.task not in self.net.tasks:
            raise UsageError(f"task is {options.task!r}, but the run has {', '.join(self.net.tasks)}")
        files = find_pictures(options.images)
        channels, height, width = self.tasks[0].shape
        rows, captions, seen = [], [], []
        for start in range(0, len(files), BATCH):
            chosen = files[start : start + BATCH]
            pictures = torch.stack([to_input(open_picture(file), shape=(channels, height, width)) for file in chosen])
            named = self._named(self.tasks[0].normalized(pictures), options.task)
            rows += [(str(file), *texts) for file, texts in zip(chosen, named, strict=True)]
            captions += [f"{task}: {label}" for task, label in named]
            seen.append(as_rgb(pictures))
        sheet = picture_grid(np.concatenate(seen), captions, columns=min(6, len(files)))
        how = "task, given" if options.task else "task, inferred"
        return {"predictions": Rows(("picture", how, "class"), tuple(rows)), "sheet": sheet}

    def _named(self, inputs: torch.Tensor, task: str | None) -> list[tuple[str, str]]:
        if task is None:
            numbers, logits = self.net(inputs)
        else:
            numbers = torch.full((len(inputs),), self.net.tasks.index(task))
            logits = self.net(inputs, task=numbers)
        chances, classes = logits.softmax(1).max(1)
        named = []
        for number, chance, label in zip(numbers.tolist(), chances.tolist(), classes.tolist(), strict=True):
            if number < 0:
                named.append(("none of them", "-"))
            else:
                named.append((self.net.tasks[number], f"{self.tasks[number].classes[label]} {chance:.0%}"))
        return named


def load(folder: Path) -> RememberDemo:
    """The trained stack of a run folder.

    Raises:
        UsageError: the folder is not a run of this method, has no trained network yet, or was trained without a stack.
    """
    _, tasks, learners = load_run(folder)
    stack = learners.get("stack")
    if not isinstance(stack, StackLearner):
        raise UsageError(
            f"{folder} was trained without the method stack, which the demo needs; it has {', '.join(learners)}"
        )
    return RememberDemo(stack.net, tasks)
