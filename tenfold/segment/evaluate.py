"""How good the networks of a run are: at the end of each training, and of a finished run (`tenfold eval`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.batches import stretch
from ..core.confusion import Confusion
from ..core.cost import executed_macs
from ..core.device import total
from ..core.errors import UsageError
from ..core.mask_files import Bytes
from ..core.masks import MaskedImages, load_masked
from ..core.progress import Meter
from ..core.run import Run
from ..core.task import Task
from ..core.trained import open_trained
from .config import Config, EvalOptions
from .stages import build_network


@dataclass(frozen=True)
class Evaluator:
    """Measures networks of one run on its held-out pictures, shared among the processes."""

    config: Config
    task: Task
    images: MaskedImages
    fabric: Fabric

    @torch.no_grad()
    def confusion(self, network: nn.Module, *, batch_size: int = 16, meter: Meter | None = None) -> Confusion:
        """What the network takes every labelled pixel for, at the size that its label was stored in."""
        network = network.to(self.fabric.device).eval()
        confusion = Confusion(len(self.task.classes))
        for pictures, labels in self._batches(batch_size):
            logits = self.logits(network, pictures, (labels.shape[1], labels.shape[2]))
            confusion.update(logits, labels.to(self.fabric.device))
            if meter is not None:
                meter.advance(len(labels))
        counts = confusion.counts.to(self.fabric.device, torch.float64)
        confusion.counts = total(self.fabric, counts).long().cpu()
        return confusion

    @torch.no_grad()
    def logits(self, network: nn.Module, pictures: Tensor, size: tuple[int, int]) -> Tensor:
        """Of uint8 pictures (N, 3, h, w), resized bilinearly to `size` where that is another: (N, K, *size)."""
        inputs = self.task.normalized(pictures.to(self.fabric.device), channels_last=self.config.compute.channels_last)
        logits: Tensor = network(inputs)
        same = tuple(logits.shape[2:]) == size
        return logits if same else F.interpolate(logits, size, mode="bilinear", align_corners=False)

    def row(self, name: str, network: nn.Module) -> dict[str, float]:
        """The row of one network."""
        return _row(name, network, self.confusion(network), self.task)

    def share(self) -> range:
        """The pictures that this process looks at."""
        return stretch(len(self.images), rank=self.fabric.global_rank, world=self.fabric.world_size)

    def _batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Pictures, and labels as stored, in batches of as many neighbours as have one size."""
        waiting: list[tuple[Tensor, Tensor]] = []
        for index in self.share():
            found = self.images.picture(index)
            fits = bool(waiting) and all(a.shape == b.shape for a, b in zip(found, waiting[0], strict=True))
            if waiting and (not fits or len(waiting) == batch_size):
                yield _stacked(waiting)
                waiting = []
            waiting.append(found)
        if waiting:
            yield _stacked(waiting)


def held_out_split(config: Config) -> Literal["validation", "test"]:
    """The split that results are of."""
    return "validation" if config.validate or config.data.holdout else "test"


def evaluate(folder: Path, options: EvalOptions) -> dict[str, float]:
    """Test the networks of a finished run on its held-out pictures (`tenfold eval`).

    Returns:
        "<network>/mean iou", "<network>/pixel accuracy", ...; with `per_class`, "<class>/<network>": the intersection over
        union of the class.

    Raises:
        UsageError: the folder is not a run of this method, it has no trained network yet, or its data is missing.
    """
    trained = load_run(folder)
    unknown = sorted(set(options.network) - set(trained.networks))
    if unknown:
        raise UsageError(f"network is {unknown[0]!r}, but {folder} has {', '.join(trained.networks)}")
    run = Run.open(folder)
    images = load_masked(trained.config.data, held_out_split(trained.config))
    evaluator = Evaluator(trained.config, trained.task, images, run.fabric)
    chosen = options.network or tuple(trained.networks)
    metrics: dict[str, float] = {}
    with run.progress("eval", len(chosen) * len(evaluator.share())) as meter:
        for name in chosen:
            network = trained.networks[name]
            confusion = evaluator.confusion(network, batch_size=options.batch_size, meter=meter)
            if options.per_class:
                values = [*confusion.iou, confusion.mean_iou]
                rows = [*trained.task.classes, "mean"]
                metrics |= {f"{row}/{name}": value for row, value in zip(rows, values, strict=True)}
            else:
                metrics |= _row(name, network, confusion, trained.task)
    return metrics


@dataclass(frozen=True)
class TrainedRun:
    """What a finished run holds."""

    config: Config
    task: Task
    colours: Bytes
    """uint8 (K, 3), to show each class in"""
    networks: dict[str, nn.Module]
    """by name, in `eval` mode on the CPU"""


def load_run(folder: Path) -> TrainedRun:
    """The settings, the task and the trained networks of a run folder.

    Raises:
        UsageError: the folder is not a run of this method, or it has no trained network yet.
    """
    config, state = open_trained(folder, "segment", Config)
    task = Task.from_state(state["task"])
    networks: dict[str, nn.Module] = {}
    for name in config.networks:
        network = build_network(name, config, task)
        network.load_state_dict(state["networks"][name])
        networks[name] = network.eval()
    return TrainedRun(config, task, np.asarray(state["colours"], dtype=np.uint8), networks)


def _row(name: str, network: nn.Module, confusion: Confusion, task: Task) -> dict[str, float]:
    device = next(network.parameters()).device
    macs = executed_macs(network.eval(), torch.zeros(1, *task.shape, device=device))
    return {
        f"{name}/mean iou": confusion.mean_iou,
        f"{name}/pixel accuracy": confusion.pixel_accuracy,
        f"{name}/parameters": float(sum(parameter.numel() for parameter in network.parameters())),
        f"{name}/GMACs": macs / 1e9,
    }


def _stacked(found: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    pictures, labels = zip(*found, strict=True)
    return torch.stack(pictures), torch.stack(labels)
