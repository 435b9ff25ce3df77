"""Training of light segmentation networks side by side: `train(config, run)`.

Every random number follows from (seed, step): a run that was killed and resumed ends as the uninterrupted one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..core.augment import augment_masked
from ..core.batches import TrainBatches, derive_seed
from ..core.device import in_memory_order, sync_batch_norms, total
from ..core.masks import MaskedImages, load_masked
from ..core.schedule import learning_rate
from ..core.task import Task
from .config import Config
from .evaluate import Evaluator, held_out_split
from .loss import class_weights
from .objective import Objective, Step, decay_groups, mean_loss
from .pictures import draw_pictures
from .stages import Stage, build_network, stages_of

if TYPE_CHECKING:
    from ..core.run import Run


def train(config: Config, run: Run) -> dict[str, float]:
    """Train every network of the settings, its encoder first, evaluate all, and return the metrics.

    Metrics are named "row/column", such as "c3net/mean iou". Goes on from the run's last checkpoint where there is one. All
    trained networks are in the checkpoint "best".
    """
    images = load_masked(config.data, "train")
    held_out = load_masked(config.data, held_out_split(config))
    task = Task.of(config.data, images)
    weights = class_weights(images.class_shares()) if config.train.class_weights else torch.ones(len(images.classes))
    state = run.restore() or {"networks": {}, "done": [], "metrics": {}, "progress": None}
    networks = {name: build_network(name, config, task) for name in config.networks}
    for name, network in networks.items():
        sync_batch_norms(in_memory_order(network, config.compute)).to(run.fabric.device)
        if name in state["networks"]:
            network.load_state_dict(state["networks"][name])
    evaluator = Evaluator(config, task, held_out, run.fabric)
    for stage in stages_of(config, networks):
        if stage.name in state["done"]:
            continue
        network = networks[stage.network]
        fit(stage, network, config, run, images, task, weights, state)
        metrics = evaluator.row(stage.network, network) if stage.whole else {}
        state = {
            "networks": {**state["networks"], stage.network: network.state_dict()},
            "done": [*state["done"], stage.name],
            "metrics": {**state["metrics"], **metrics},
            "progress": None,
        }
        run.save(state)
    trained = {name: network.eval().state_dict() for name, network in networks.items()}
    run.save({"networks": trained, "task": task.state(), "colours": torch.from_numpy(images.colours)}, name="best")
    draw_pictures(run, evaluator, networks)
    return dict(state["metrics"])


def fit(
    stage: Stage,
    network: nn.Module,
    config: Config,
    run: Run,
    images: MaskedImages,
    task: Task,
    weights: Tensor,
    state: dict[str, Any],
) -> None:
    """Train one stage of a network in place; goes on from `state["progress"]` where that is set."""
    settings, fabric = config.train, run.fabric
    batch_size = settings.batch_size if stage.whole else settings.encoder_batch_size
    # one order of batches and one augmentation for every network, so that they differ in nothing but the network
    batches = TrainBatches(
        images,
        batch_size,
        seed=derive_seed(config.seed, "whole" if stage.whole else "encoder"),
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    objective = Objective(network, weights, whole=stage.whole).to(fabric.device)
    groups = decay_groups(objective.trained(), convolutions=settings.weight_decay, norms=settings.norm_decay)
    optimizer = torch.optim.Adam(groups, settings.learning_rate)
    stepping, optimizer = fabric.setup(objective, optimizer)
    steps = batches.steps_per_epoch * _passes(stage, config, network)
    step, sums = 0, torch.zeros(len(Step._fields), device=fabric.device)
    if state["progress"] is not None:
        step, sums = state["progress"]["step"], state["progress"]["sums"].to(fabric.device)
        objective.load_state_dict(state["progress"]["objective"])
        optimizer.load_state_dict(state["progress"]["optimizer"])

    stepping.train()
    with run.progress(stage.name, steps) as meter:
        meter.advance(step)
        for epoch in range(step // batches.steps_per_epoch, steps // batches.steps_per_epoch):
            size = _pass_size(images.shape, settings.sizes[epoch % len(settings.sizes)])
            for batch in batches.epoch(epoch, start=step % batches.steps_per_epoch):
                rate = learning_rate(
                    settings.learning_rate,
                    settings.schedule,
                    step / steps,
                    steps_at=settings.steps_at,
                    factor=settings.step_factor,
                )
                for group in optimizer.param_groups:
                    group["lr"] = rate
                torch.manual_seed(batch.seed)  # for what a network draws itself, such as dropout
                pictures, labels = augment_masked(batch, size=size, crop=settings.crop, flip=settings.flip)
                inputs = task.normalized(
                    pictures.to(fabric.device, non_blocking=True), channels_last=config.compute.channels_last
                )
                found: Step = stepping(inputs, labels.to(fabric.device))
                optimizer.zero_grad(set_to_none=True)
                fabric.backward(mean_loss(found, total(fabric, found.weight), fabric.world_size))
                optimizer.step()

                sums += torch.stack([value.detach().float() for value in found])
                step += 1
                meter.advance()
                if step % settings.save_every == 0 and step % batches.steps_per_epoch:
                    run.save(state | {"progress": _progress(step, sums, objective, optimizer)})
            sums = _log_epoch(run, stage, step, sums, rate)
            run.save(state | {"progress": _progress(step, sums, objective, optimizer)})
    network.eval()


def _passes(stage: Stage, config: Config, network: nn.Module) -> int:
    """Epochs of a stage; a network that is trained in one stage gets those of both."""
    settings = config.train
    if not stage.whole:
        return settings.encoder_epochs
    alone = len(stages_of(config, {stage.network: network})) == 1
    return settings.epochs + (settings.encoder_epochs if alone else 0)


def _pass_size(shape: tuple[int, int, int], scale: float) -> tuple[int, int]:
    """Height and width of a pass, multiples of 8 so that no pixel has to be invented at the border."""
    height, width = (max(8, round(side * scale / 8) * 8) for side in shape[1:])
    return height, width


def _progress(step: int, sums: Tensor, objective: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return {"step": step, "sums": sums, "objective": objective.state_dict(), "optimizer": optimizer.state_dict()}


def _log_epoch(run: Run, stage: Stage, step: int, sums: Tensor, rate: float) -> Tensor:
    """Log the epoch's mean loss over all pixels and processes, and return the sums of the next one."""
    loss, weight, right, labelled = total(run.fabric, sums).tolist()
    values = {"loss": loss / max(weight, 1e-9), "pixel accuracy": right / max(labelled, 1), "learning rate": rate}
    run.log(step, values, stage=stage.name)
    return torch.zeros_like(sums)
