"""Training of a resizable network and its baselines: `train(config, run)`.

Every random number follows from (seed, step): a run that was killed and resumed ends as the uninterrupted one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..core.augment import augment
from ..core.batches import Batch, TrainBatches, derive_seed
from ..core.data import ImageSet, load_images
from ..core.device import in_memory_order, sync_batch_norms, total
from ..core.schedule import learning_rate
from ..core.task import Task
from .config import Config, TrainSettings
from .evaluate import Evaluator, evaluate_given, evaluate_stage
from .network import ResizableNet
from .objective import ClassificationObjective, Losses, ResizableObjective
from .pictures import draw_pictures
from .stages import Stage, calibration_pictures, stages

if TYPE_CHECKING:
    from ..core.run import Run


def train(config: Config, run: Run) -> dict[str, float]:
    """Train the resizable network and the baselines of `config`, evaluate all, and return the final metrics.

    Metrics are named "row/column", such as "resizable 0.80/accuracy"; accuracies and relative costs lie in [0, 1].
    Goes on from the run's last checkpoint where there is one. The resizable network's weights are checkpoint "best".
    """
    images = load_images(config.data, "train")
    held_out = load_images(config.data, "validation" if config.data.holdout else "test")
    task = Task.of(config.data, images)
    evaluator = Evaluator(config, task, held_out, run.fabric)
    deciding = calibration_pictures(config, task, images)
    state = run.restore() or {"done": [], "metrics": {}, "progress": None}
    metrics: dict[str, float] = dict(state["metrics"])
    if config.net.weights is not None and not metrics:
        metrics |= evaluate_given(evaluator)
    for stage in stages(config, task):
        if stage.name in state["done"]:
            continue
        network = fit(stage, config, run, images, task, state)
        if stage.name == "resizable" and isinstance(network, ResizableNet) and config.calibration:
            plain, as_trained = deciding.to(run.fabric.device)
            network.calibrate(plain, as_trained=as_trained)
        metrics |= evaluate_stage(stage, network, evaluator, deciding)
        if stage.name == "resizable" and isinstance(network, ResizableNet):
            run.save({"network": network.state_dict(), "task": task.state()}, name="best")
            draw_pictures(run, evaluator, network, metrics)
        state = {"done": [*state["done"], stage.name], "metrics": metrics, "progress": None}
        run.save(state)
    return metrics


def fit(stage: Stage, config: Config, run: Run, images: ImageSet, task: Task, state: dict[str, Any]) -> nn.Module:
    """Train one network and return it, in `eval` mode; goes on from `state["progress"]` where that is set."""
    settings, fabric = config.train, run.fabric
    seed = derive_seed(config.seed, stage.name)
    network = in_memory_order(sync_batch_norms(stage.network), config.compute)
    batches = TrainBatches(images, settings.batch_size, seed=seed, rank=fabric.global_rank, world=fabric.world_size)
    objective, optimizer = fabric.setup(_objective(network, settings), _optimizer(network, settings))
    steps = settings.epochs * batches.steps_per_epoch
    step, sums = 0, torch.zeros(len(Losses._fields) + 1, device=fabric.device)
    if state["progress"] is not None:
        step, sums = state["progress"]["step"], state["progress"]["sums"].to(fabric.device)
        network.load_state_dict(state["progress"]["network"])
        optimizer.load_state_dict(state["progress"]["optimizer"])

    network.train()
    with run.progress(stage.name, steps) as meter:
        meter.advance(step)
        for epoch in range(step // batches.steps_per_epoch, settings.epochs):
            for batch in batches.epoch(epoch, start=step % batches.steps_per_epoch):
                share = step / steps
                rate = learning_rate(settings.learning_rate, settings.schedule, share)
                for group in optimizer.param_groups:
                    group["lr"] = rate * group["factor"]
                torch.manual_seed(batch.seed)  # for what a network draws itself, such as dropout
                inputs, targets, scales, soft = _inputs(batch, config, network, task, fabric.device, share)
                losses: Losses = objective(inputs, targets, scales, soft)
                optimizer.zero_grad(set_to_none=True)
                fabric.backward(losses.total)
                optimizer.step()

                sums += torch.stack([*(loss.detach().float() for loss in losses), torch.ones_like(losses.total)])
                step += 1
                meter.advance()
                if step % settings.save_every == 0 and step % batches.steps_per_epoch:
                    run.save(state | {"progress": _progress(step, sums, network, optimizer)})
            sums = _log_epoch(run, stage.name, step, sums, rate)
            run.save(state | {"progress": _progress(step, sums, network, optimizer)})
    return network.eval()


def soft_probability(config: Config, share: float) -> float | None:
    """The probability of a sigmoid gate when `share` of the training is done; None while all gates are held open."""
    if share < config.train.open_share:
        return None
    gated = (share - config.train.open_share) / (1 - config.train.open_share)
    return config.gate.soft_probability * (1 - gated if config.train.soft_schedule == "linear" else 1)


def _inputs(
    batch: Batch, config: Config, network: nn.Module, task: Task, device: torch.device, share: float
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """One step's pictures, classes, requested scales (N,) and soft gates (L,), on the device."""
    settings = config.train
    pictures = augment(batch, pad=settings.pad, flip=settings.flip).to(device, non_blocking=True)
    pictures = task.normalized(pictures, channels_last=config.compute.channels_last)
    low, high = settings.scale_min, settings.scale_max
    scales = batch.draw(lambda generator, size: low + (high - low) * torch.rand(size, generator=generator), "scale")
    probability, soft = soft_probability(config, share), None
    if isinstance(network, ResizableNet) and probability is not None:
        # one draw for each batch and gate, the same on every process
        generator = torch.Generator().manual_seed(derive_seed(batch.seed, "soft"))
        soft = torch.rand(len(network.blocks), generator=generator) < probability
    return pictures, batch.targets.to(device), scales.to(device), soft


def _objective(network: nn.Module, settings: TrainSettings) -> nn.Module:
    return (
        ResizableObjective(network, settings) if isinstance(network, ResizableNet) else ClassificationObjective(network)
    )


def _optimizer(network: nn.Module, settings: TrainSettings) -> torch.optim.SGD:
    """SGD; the gates have a learning rate of their own and no weight decay, which would push their logits to 0."""
    gates = list(network.gate_parameters()) if isinstance(network, ResizableNet) else []
    gate_ids = {id(parameter) for parameter in gates}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in gate_ids]
    groups: list[dict[str, Any]] = [{"params": rest, "factor": 1.0, "weight_decay": settings.weight_decay}]
    if gates:
        groups.append({"params": gates, "factor": settings.gate_learning_rate, "weight_decay": 0.0})
    return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=0.9, nesterov=True)


def _progress(step: int, sums: Tensor, network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return {"step": step, "sums": sums, "network": network.state_dict(), "optimizer": optimizer.state_dict()}


def _log_epoch(run: Run, stage: str, step: int, sums: Tensor, rate: float) -> Tensor:
    """Log the epoch's mean losses over all processes and return the sums of the next one."""
    *losses, count = total(run.fabric, sums).tolist()
    names = [f"{name} loss" for name in Losses._fields]
    run.log(
        step,
        {name: loss / count for name, loss in zip(names, losses, strict=True)} | {"learning rate": rate},
        stage=stage,
    )
    return torch.zeros_like(sums)
