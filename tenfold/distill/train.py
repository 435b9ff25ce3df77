"""Training of a teacher and of a student by each method: `train(config, run)`.

Every random number follows from (seed, step): a run that was killed and resumed ends as the uninterrupted one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..core.augment import augment
from ..core.batches import TrainBatches, derive_seed
from ..core.data import ImageSet, load_images
from ..core.device import in_memory_order, sync_batch_norms, total
from ..core.schedule import learning_rate
from ..core.task import Task
from .config import Config
from .evaluate import Evaluator
from .objective import FeatureMethod, Losses, make_objective
from .pictures import draw_pictures
from .stages import TEACHER, build_student, build_teacher, example_images, stage_names

if TYPE_CHECKING:
    from ..core.run import Run


def train(config: Config, run: Run) -> dict[str, float]:
    """Train the teacher, unless its weights are given, and a student by each method, evaluate all, and return the metrics.

    Metrics are named "row/column", such as "features/accuracy". Goes on from the run's last checkpoint where there is one. All
    trained networks are in the checkpoint "best".
    """
    images = load_images(config.data, "train")
    held_out = load_images(config.data, "validation" if config.data.holdout else "test")
    task = Task.of(config.data, images)
    state = run.restore() or {"networks": {}, "metrics": {}, "progress": None}
    metrics: dict[str, float] = dict(state["metrics"])
    few = load_images(replace(config.data, limit=config.student.images), "train") if config.student.images else images
    teacher = build_teacher(config, task)
    networks = {TEACHER: teacher} | {method: build_student(config, task) for method in config.methods}
    for name, network in networks.items():
        # the teacher too, whose norms look at the batch: at all of it, in whatever processes it is
        sync_batch_norms(in_memory_order(network, config.compute)).to(run.fabric.device)
        if name in state["networks"]:
            network.load_state_dict(state["networks"][name])
    evaluator = Evaluator(
        config, task, held_out, run.fabric, teacher.eval() if TEACHER in stage_names(config) else None
    )
    for name in stage_names(config):
        if name in state["networks"]:
            continue
        if name != TEACHER or config.teacher.weights is None:
            seen, taught_by = (images, None) if name == TEACHER else (few, teacher)
            fit(name, networks[name], config, run, seen, task, state, teacher=taught_by)
        metrics |= evaluator.row(name, networks[name])
        trained = {**state["networks"], name: networks[name].state_dict()}
        state = {"networks": trained, "metrics": metrics, "progress": None}
        run.save(state)
    networks = {name: networks[name].eval() for name in stage_names(config)}
    best = {name: network.state_dict() for name, network in networks.items()}
    run.save({"networks": best, "task": task.state()}, name="best")
    draw_pictures(run, evaluator, networks, metrics)
    return metrics


def fit(
    name: str,
    network: nn.Module,
    config: Config,
    run: Run,
    images: ImageSet,
    task: Task,
    state: dict[str, Any],
    *,
    teacher: nn.Module | None,
) -> None:
    """Train one network in place, by the method `name`; goes on from `state["progress"]` where that is set."""
    settings, fabric = _of_stage(config, name), run.fabric
    # one order of batches for every student, so that methods differ in nothing but the method
    batches = TrainBatches(
        images,
        settings.batch_size,
        seed=derive_seed(config.seed, "batches", TEACHER if teacher is None else "student"),
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    objective = _objective(name, teacher, network, example_images(config, task, images).to(fabric.device), config)
    optimizer = torch.optim.SGD(
        objective.parameters(), settings.learning_rate, 0.9, weight_decay=settings.weight_decay, nesterov=True
    )
    stepping, optimizer = fabric.setup(objective, optimizer)
    steps = settings.epochs * batches.steps_per_epoch
    step, sums = 0, torch.zeros(len(Losses._fields) + 1, device=fabric.device)
    if state["progress"] is not None:
        step, sums = state["progress"]["step"], state["progress"]["sums"].to(fabric.device)
        objective.load_state_dict(state["progress"]["objective"])
        optimizer.load_state_dict(state["progress"]["optimizer"])

    stepping.train()
    with run.progress(name, steps) as meter:
        meter.advance(step)
        for epoch in range(step // batches.steps_per_epoch, settings.epochs):
            for batch in batches.epoch(epoch, start=step % batches.steps_per_epoch):
                share = step / steps
                rate = learning_rate(settings.learning_rate, settings.schedule, share, steps_at=settings.steps_at)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                if settings.reset_momentum and _falls(settings.steps_at, step, steps):
                    optimizer.state.clear()
                torch.manual_seed(batch.seed)  # for what a network draws itself, such as dropout
                pictures = augment(batch, pad=settings.pad, flip=settings.flip, reflect=settings.reflect)
                inputs = task.normalized(
                    pictures.to(fabric.device, non_blocking=True), channels_last=config.compute.channels_last
                )
                losses: Losses = stepping(inputs, batch.targets.to(fabric.device))
                optimizer.zero_grad(set_to_none=True)
                fabric.backward(losses.total)
                optimizer.step()

                sums += torch.stack([*(loss.detach().float() for loss in losses), torch.ones_like(losses.total)])
                step += 1
                meter.advance()
                if step % settings.save_every == 0 and step % batches.steps_per_epoch:
                    run.save(state | {"progress": _progress(step, sums, objective, optimizer)})
            sums = _log_epoch(run, name, step, sums, rate, objective)
            run.save(state | {"progress": _progress(step, sums, objective, optimizer)})
    network.eval()


def _of_stage(config: Config, name: str) -> Any:
    epochs = config.teacher.epochs if name == TEACHER else None
    return replace(config.train, epochs=epochs or config.train.epochs)


def _objective(name: str, teacher: nn.Module | None, network: nn.Module, example: Tensor, config: Config) -> nn.Module:
    with torch.random.fork_rng(devices=[example.device] if example.is_cuda else []):
        torch.manual_seed(derive_seed(config.seed, "connectors"))
        objective = make_objective(name, teacher, network, example, config).to(example.device)
    return sync_batch_norms(in_memory_order(objective, config.compute))


def _falls(steps_at: tuple[float, ...], step: int, steps: int) -> bool:
    """Whether the learning rate falls at this very step."""
    return any((step - 1) / steps < at <= step / steps for at in steps_at)


def _progress(step: int, sums: Tensor, objective: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return {"step": step, "sums": sums, "objective": objective.state_dict(), "optimizer": optimizer.state_dict()}


def _log_epoch(run: Run, name: str, step: int, sums: Tensor, rate: float, objective: nn.Module) -> Tensor:
    """Log the epoch's mean losses over all processes and return the sums of the next one."""
    *losses, count = total(run.fabric, sums).tolist()
    values = {f"{field} loss": loss / count for field, loss in zip(Losses._fields, losses, strict=True)}
    values["learning rate"] = rate
    if isinstance(objective, FeatureMethod):
        values |= {"alpha": objective.distiller.alpha, "gradient ratio": objective.distiller.gradient_ratio}
    run.log(step, values, stage=name)
    return torch.zeros_like(sums)
