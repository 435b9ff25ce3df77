"""How good the networks of a run are: at the end of each training, and of a finished run (`tenfold eval`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from ..core.batches import EvalBatches
from ..core.cost import executed_macs
from ..core.data import ImageSet, load_images
from ..core.device import total
from ..core.errors import UsageError
from ..core.metrics import Accuracy
from ..core.run import Run
from ..core.task import Task
from ..core.trained import open_trained
from .config import Config, EvalOptions
from .stages import TEACHER, build_student, build_teacher, stage_names


@dataclass(frozen=True)
class Evaluator:
    """Measures networks of one run on its held-out pictures, shared among the processes."""

    config: Config
    task: Task
    images: ImageSet
    fabric: Fabric
    teacher: nn.Module | None

    @torch.no_grad()
    def row(self, name: str, network: nn.Module, *, batch_size: int = 256) -> dict[str, float]:
        """The row of one network: accuracy and, where there is a teacher, agreement with it and MACs relative to its own."""
        network = network.to(self.fabric.device).eval()
        channels_last, device = self.config.compute.channels_last, self.fabric.device
        accuracy, agreement = Accuracy(), Accuracy()
        rank, world = self.fabric.global_rank, self.fabric.world_size
        for pictures, targets in EvalBatches(self.images, batch_size, rank=rank, world=world):
            inputs = self.task.normalized(pictures.to(device), channels_last=channels_last)
            logits = network(inputs)
            accuracy.update(logits, targets.to(device))
            if self.teacher is not None:
                taught = logits if name == TEACHER else self.teacher(inputs)
                agreement.update(logits, taught.argmax(1))
        counts = torch.cat([accuracy.counts, agreement.counts]).to(device=device, dtype=torch.float32)
        right, count, same, compared = total(self.fabric, counts).tolist()
        metrics = {f"{name}/accuracy": right / count}
        if self.teacher is not None:
            example = torch.zeros(1, *self.task.shape, device=self.fabric.device)
            relative = executed_macs(network, example) / executed_macs(self.teacher, example)
            metrics |= {f"{name}/agreement": same / compared, f"{name}/relative cost": relative}
        return metrics


def evaluate(folder: Path, options: EvalOptions) -> dict[str, float]:
    """Test the networks of a finished run on its held-out images (`tenfold eval`).

    Returns:
        "<network>/accuracy", "<network>/agreement" and "<network>/relative cost".

    Raises:
        UsageError: the folder is not a run of this method, it has no trained network yet, or its data is missing.
    """
    config, task, networks = load_run(folder)
    unknown = sorted(set(options.network) - set(networks))
    if unknown:
        raise UsageError(f"network is {unknown[0]!r}, but {folder} has {', '.join(networks)}")
    run = Run.open(folder)
    images = load_images(config.data, "validation" if config.data.holdout else "test")
    for network in networks.values():
        network.to(run.fabric.device)
    evaluator = Evaluator(config, task, images, run.fabric, networks.get(TEACHER))
    metrics: dict[str, float] = {}
    chosen = options.network or tuple(networks)
    with run.progress("eval", len(chosen)) as meter:
        for name in chosen:
            metrics |= evaluator.row(name, networks[name], batch_size=options.batch_size)
            meter.advance()
    return metrics


def load_run(folder: Path) -> tuple[Config, Task, dict[str, nn.Module]]:
    """The settings, the task and the trained networks of a run folder by name, in `eval` mode on the CPU.

    Raises:
        UsageError: the folder is not a run of this method, or it has no trained network yet.
    """
    config, state = open_trained(folder, "distill", Config)
    task = Task.from_state(state["task"])
    networks: dict[str, nn.Module] = {}
    for name in stage_names(config):
        # the run's own weights replace all others: the file the teacher came from need not exist any more
        network = build_teacher(config, task, weights=False) if name == TEACHER else build_student(config, task)
        network.load_state_dict(state["networks"][name])
        networks[name] = network.eval()
    return config, task, networks
