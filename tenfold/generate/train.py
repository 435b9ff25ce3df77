"""Training of the autoencoders and of the densities of their latents: `train(config, run)`.

Every random number follows from (seed, step): a run that was killed and resumed ends as the uninterrupted one.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..core.batches import TrainBatches, derive_seed
from ..core.data import ImageSet
from ..core.device import in_memory_order, sync_batch_norms, total
from .config import Config
from .density import LatentDensity, split_rows
from .evaluate import Evaluator
from .features import InceptionFeatures
from .fitting import Progress, maximize_likelihood
from .learned import Latents, Learned, load_pictures, read_latents
from .models import Losses
from .pictures import draw_pictures
from .rivals import Flow, GaussianMixture
from .stages import Density, Stage, build_density, image_stages, pairs_of

if TYPE_CHECKING:
    from ..core.run import Run

State = dict[str, Any]


def train(config: Config, run: Run) -> dict[str, float]:
    """Train the autoencoders, then the densities of their latents; evaluate all, and return the final metrics.

    Metrics are named "row/column", such as "incremental lde/fid". Goes on from the run's last checkpoint where there is one.
    All that was learned is in the checkpoint "best".
    """
    check_ready(config)
    state: State = run.restore() or {"done": {}, "progress": None}
    pictures = load_pictures(config) if config.latents is None else None
    learned = Learned()
    if pictures is not None:
        learned.task = pictures.task
        for stage in image_stages(config, pictures.task, run.fabric.device):
            network = fit(stage, config, run, pictures.train, state)
            state = _done(run, state, stage.name, network)
            learned.add(stage.name, network)
    latents = read_latents(config, learned, pictures, run.fabric.device)
    for source, kind in pairs_of(config):
        name = f"{source} {kind}"
        density = fit_density(
            name, build_density(kind, config, latents[source].dim), latents[source], config, run, state
        )
        state = _done(run, state, name, density)
        learned.densities[name] = density
    run.save({"task": None if learned.task is None else learned.task.state(), "learned": state["done"]}, name="best")
    evaluator = Evaluator(config, learned, latents, pictures, run)
    metrics = evaluator.all()
    draw_pictures(run, evaluator, metrics)
    return metrics


def check_ready(config: Config) -> None:
    """Miss now what would else be missed after the long part of the training.

    Raises:
        ModuleNotFoundError: the flow is asked for, and its library is not installed.
        UsageError: the file of Inception's features is missing or another thing.
    """
    if "flow" in {kind for _, kind in pairs_of(config)}:
        import_module("zuko")
    if config.latents is None and config.metrics.features == "inception":
        assert config.metrics.inception is not None
        InceptionFeatures(config.metrics.inception)


def fit(stage: Stage, config: Config, run: Run, images: ImageSet, state: State) -> nn.Module:
    """Train one network and return it, in `eval` mode; goes on from `state["progress"]` where that is set."""
    fabric, network = run.fabric, in_memory_order(sync_batch_norms(stage.network), config.compute).to(run.fabric.device)
    if stage.name in state["done"]:
        network.load_state_dict(state["done"][stage.name])
        return network.eval()
    batches = TrainBatches(
        images,
        config.train.batch_size,
        seed=derive_seed(config.seed, "pictures"),  # the same for all autoencoders
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    objective, optimizer = fabric.setup(stage.objective, stage.optimizer())
    steps = stage.epochs * batches.steps_per_epoch
    step, sums = 0, torch.zeros(len(Losses._fields) + 1, device=fabric.device)
    if state["progress"] is not None:
        step, sums = state["progress"]["step"], state["progress"]["sums"].to(fabric.device)
        network.load_state_dict(state["progress"]["network"])
        optimizer.load_state_dict(state["progress"]["optimizer"])

    network.train()
    with run.progress(stage.name, steps) as meter:
        meter.advance(step)
        for epoch in range(step // batches.steps_per_epoch, stage.epochs):
            for batch in batches.epoch(epoch, start=step % batches.steps_per_epoch):
                rate = stage.rate(step / steps)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                losses: Losses = objective(*stage.inputs(batch, step / batches.steps_per_epoch))
                optimizer.zero_grad(set_to_none=True)
                fabric.backward(losses.total)
                optimizer.step()

                sums += torch.stack([*(loss.detach().float() for loss in losses), sums.new_ones(())])
                step += 1
                meter.advance()
                if step % config.train.save_every == 0 and step % batches.steps_per_epoch:
                    run.save(state | {"progress": _progress(step, sums, network, optimizer)})
            sums = _log_epoch(run, stage.name, step, sums, rate)
            run.save(state | {"progress": _progress(step, sums, network, optimizer)})
    return network.eval()


def fit_density(name: str, density: Density, latents: Latents, config: Config, run: Run, state: State) -> Density:
    """Learn one density of training latents and return it, in `eval` mode; goes on from `state["progress"]` where that is set.

    The method and the flow are learned by one loop, with the same tenth of the rows held out to stop by.
    """
    density = density.to(run.fabric.device)
    if name in state["done"]:
        density.load_state_dict(state["done"][name])
        return density.eval()
    seed = derive_seed(config.seed, "density rows")
    if isinstance(density, GaussianMixture):
        density.fit(latents.train, seed=seed)
    if not isinstance(density, LatentDensity | Flow):
        return density.eval()
    rows, held_out = split_rows(latents.train, config.fit.held_out, latents.dim, seed)
    density.prepare(rows)
    settings = config.fit
    if isinstance(density, Flow):
        settings = replace(settings, learning_rate=config.rivals.flow_rate)
    with run.progress(name, config.fit.epochs) as meter:

        def after_epoch(progress: Progress) -> None:
            training, held = progress.history[-1]
            run.log(progress.epoch, {"log-likelihood": training, "held-out log-likelihood": held}, stage=name)
            run.save(state | {"progress": progress.state()})
            meter.advance(note=f"held-out log-likelihood {held:.2f}")

        progress = None if state["progress"] is None else Progress.of(state["progress"])
        meter.advance(0 if progress is None else progress.epoch)
        progress = maximize_likelihood(
            density,
            rows,
            held_out,
            settings,
            seed=seed,
            fabric=run.fabric,
            progress=progress,
            after_epoch=after_epoch,
        )
    if isinstance(density, LatentDensity):
        density.settle(progress, held_out)
    return density.eval()


def _done(run: Run, state: State, name: str, network: nn.Module) -> State:
    """The state with one thing more learned, saved if it is new."""
    if name in state["done"]:
        return state
    state = {"done": state["done"] | {name: network.state_dict()}, "progress": None}
    run.save(state)
    return state


def _progress(step: int, sums: torch.Tensor, network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return {"step": step, "sums": sums, "network": network.state_dict(), "optimizer": optimizer.state_dict()}


def _log_epoch(run: Run, stage: str, step: int, sums: torch.Tensor, rate: float) -> torch.Tensor:
    """Log the epoch's means over all processes; returns sums to begin the next with."""
    *sums_of_losses, count = total(run.fabric, sums).tolist()
    names = ("loss", "error")
    values = {name: value / count for name, value in zip(names, sums_of_losses, strict=True)}
    run.log(step, values | {"learning rate": rate}, stage=stage)
    return torch.zeros_like(sums)
