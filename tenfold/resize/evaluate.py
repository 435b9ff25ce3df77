"""Accuracy against cost: of a stage at the end of its training, and of a finished run at any scale (`tenfold eval`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from ..core.batches import EvalBatches, derive_seed
from ..core.data import ImageSet, load_images
from ..core.device import total
from ..core.metrics import Accuracy
from ..core.run import Run
from ..core.task import Task
from ..core.trained import open_trained
from .config import Config, EvalOptions
from .freeze import block_usage, choose_blocks, freeze_blocks
from .gate import Mode
from .network import ResizableNet
from .stages import Calibration, Stage, build_network, build_resizable, calibration_pictures

CURVE = (0.4, 0.5, 0.6, 0.65, 0.7, 0.8, 0.9, 1.0)
"""The scales of the accuracy-cost curve, beside those the baselines are compared at."""

Predict = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Pictures (N, C, H, W) to logits (N, classes) and relative costs (N,)."""


class Measured(NamedTuple):
    """Means over a set of pictures, in [0, 1]."""

    accuracy: float
    cost: float


@dataclass(frozen=True)
class Evaluator:
    """Measures networks of one run on its held-out pictures, shared among the processes."""

    config: Config
    task: Task
    images: ImageSet
    fabric: Fabric

    @torch.no_grad()
    def measure(self, predict: Predict, *, batch_size: int = 256) -> Measured:
        accuracy, cost = Accuracy(), 0.0
        rank, world, device = self.fabric.global_rank, self.fabric.world_size, self.fabric.device
        for pictures, targets in EvalBatches(self.images, batch_size, rank=rank, world=world):
            channels_last = self.config.compute.channels_last
            logits, costs = predict(self.task.normalized(pictures.to(device), channels_last=channels_last))
            accuracy.update(logits, targets.to(device))
            cost += float(costs.sum())
        sums = torch.tensor([*accuracy.counts.tolist(), cost], dtype=torch.float32, device=device)
        right, count, cost = total(self.fabric, sums).tolist()
        return Measured(right / count, cost / count)

    def plain(self, network: nn.Module, cost: float, *, batch_size: int = 256) -> Measured:
        """An ordinary network whose relative cost is known."""
        return self.measure(lambda x: (network(x), x.new_full((len(x),), cost)), batch_size=batch_size)

    def resized(self, network: ResizableNet, scale: float, mode: Mode, *, batch_size: int = 64) -> Measured:
        """A resizable network at one requested scale."""

        def predict(pictures: Tensor) -> tuple[Tensor, Tensor]:
            outputs = network.outputs(pictures, scale, mode=mode)
            return outputs.logits, outputs.cost

        return self.measure(predict, batch_size=batch_size)

    def frozen(self, network: ResizableNet, scale: float, deciding: Calibration, *, batch_size: int = 64) -> Measured:
        """A resizable network frozen at one scale by the pictures `deciding`."""
        plain, as_trained = deciding.to(self.fabric.device)
        keep = choose_blocks(block_usage(network, plain, scale), network, scale)
        return self.plain(freeze_blocks(network, keep, as_trained), network.cost_of(keep), batch_size=batch_size)


def evaluate_given(evaluator: Evaluator) -> dict[str, float]:
    """The row of the network that `net.weights` hold, before any training of ours."""
    network = build_network(evaluator.config, evaluator.task).to(evaluator.fabric.device).eval()
    return _row("as given", evaluator.plain(network, 1.0))


def evaluate_stage(stage: Stage, network: nn.Module, evaluator: Evaluator, deciding: Calibration) -> dict[str, float]:
    """The rows that one trained network adds to the run's table. `deciding` are training pictures to freeze by."""
    config = evaluator.config
    if not isinstance(network, ResizableNet):
        return _row(stage.name, evaluator.plain(network, stage.cost))
    if stage.name == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(config.seed, "random gates", evaluator.fabric.global_rank))
            return _curve(network, evaluator, "random", config.compare_at)
    scales = sorted({*CURVE, *config.compare_at})
    metrics = _curve(network, evaluator, "resizable", scales)
    gaps = [abs(metrics[f"resizable {scale:.2f}/relative cost"] - scale) for scale in scales]
    metrics["resizable/largest cost gap"] = max(gaps)
    for scale in config.compare_at:
        metrics |= _row(f"batch {scale:.2f}", evaluator.resized(network, scale, "batch"))
        metrics |= _row(f"frozen {scale:.2f}", evaluator.frozen(network, scale, deciding))
    return metrics


def evaluate(folder: Path, options: EvalOptions) -> dict[str, float]:
    """Test a finished run at the scales and in the mode of `options`, on its held-out images (`tenfold eval`).

    Returns:
        "<mode> <scale>/accuracy" and "<mode> <scale>/relative cost", all in [0, 1].

    Raises:
        UsageError: the folder is not a run of this method, it has no trained network yet, or its data is missing.
    """
    config, task, network = load_run(folder)
    run = Run.open(folder)
    images = load_images(config.data, "validation" if config.data.holdout else "test")
    evaluator = Evaluator(config, task, images, run.fabric)
    network = network.to(run.fabric.device)
    deciding = (
        calibration_pictures(config, task, load_images(config.data, "train")) if options.mode == "frozen" else None
    )
    metrics: dict[str, float] = {}
    with run.progress("eval", len(options.scale)) as meter:
        for scale in options.scale:
            if deciding is not None:
                found = evaluator.frozen(network, scale, deciding, batch_size=options.batch_size)
            else:
                mode: Mode = "batch" if options.mode == "batch" else "sample"
                found = evaluator.resized(network, scale, mode, batch_size=options.batch_size)
            metrics |= _row(f"{options.mode} {scale:.2f}", found)
            meter.advance()
    return metrics


def load_run(folder: Path) -> tuple[Config, Task, ResizableNet]:
    """The settings, the task and the trained resizable network of a run folder, in `eval` mode on the CPU.

    Raises:
        UsageError: the folder is not a run of this method, or it has no trained network yet.
    """
    config, state = open_trained(folder, "resize", Config)
    task = Task.from_state(state["task"])
    # the run's own weights replace all others: the file it started from need not exist any more
    network = build_resizable(replace(config, net=replace(config.net, weights=None)), task)
    network.load_state_dict(state["network"])
    return config, task, network.eval()


def _curve(network: ResizableNet, evaluator: Evaluator, name: str, scales: Sequence[float]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for scale in scales:
        metrics |= _row(f"{name} {scale:.2f}", evaluator.resized(network, scale, "sample", batch_size=256))
    return metrics


def _row(name: str, found: Measured) -> dict[str, float]:
    return {f"{name}/accuracy": found.accuracy, f"{name}/relative cost": found.cost}
