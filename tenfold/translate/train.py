"""Training of a generator over all mixtures beside its rivals: `train(config, run)`.

Every random number follows from (seed, step): a run that was killed and resumed ends as the uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..core.batches import Batch, derive_seed
from ..core.data import ImageSet
from ..core.device import in_memory_order, total
from ..core.schedule import learning_rate
from . import loss
from .config import Config
from .evaluate import Evaluator
from .features import make_looks
from .jitter import colour_draws
from .objective import Critics, PictureLosses, Translation
from .pictures import draw_pictures
from .replay import MixtureReplay
from .scales import LossScales
from .stages import Stage, build_generator, stages_of
from .task import Task, Unpaired, held_out_split

if TYPE_CHECKING:
    from ..core.run import Run


def train(config: Config, run: Run) -> dict[str, float]:
    """Train every network of the settings, compare them on held-out pictures, and return the metrics.

    Metrics are named "row/column", such as "sgn/ink". Goes on from the run's last checkpoint where there is one. All
    trained networks are in the checkpoint "best".
    """
    task = Task.of(config.data)
    sets, held_out = task.sets("train"), task.sets(held_out_split(config))
    device, corners = run.fabric.device, task.corners
    losses = PictureLosses(make_looks(config.loss.vgg), task.style_pictures(), config.loss).to(device)
    state = run.restore() or {"networks": {}, "critics": {}, "scales": {}, "progress": None}
    networks: dict[str, nn.Module] = {}
    critics: dict[str, Critics] = {}
    for stage in stages_of(config, corners):
        networks[stage.name] = in_memory_order(build_generator(stage, config, corners), config.compute).to(device)
        critics[stage.name] = build_critics(config, task).to(device)
        if stage.name in state["networks"]:
            networks[stage.name].load_state_dict(state["networks"][stage.name])
            critics[stage.name].load_state_dict(state["critics"][stage.name])
            continue
        scales = fit(stage, networks[stage.name], critics[stage.name], losses, config, run, sets, state)
        state = {
            "networks": {**state["networks"], stage.name: networks[stage.name].state_dict()},
            "critics": {**state["critics"], stage.name: critics[stage.name].state_dict()},
            "scales": {**state["scales"], stage.name: scales.factors.detach().cpu()},
            "progress": None,
        }
        run.save(state)
    best = {name: state[name] for name in ("networks", "scales")}
    run.save(best | {"corners": list(corners)}, name="best")
    evaluator = Evaluator(config, corners, losses, held_out, networks, run)
    metrics = evaluator.all()
    draw_pictures(run, evaluator)
    return metrics


def fit(
    stage: Stage,
    network: nn.Module,
    critics: Critics,
    losses: PictureLosses,
    config: Config,
    run: Run,
    sets: Sequence[ImageSet],
    state: dict[str, Any],
) -> LossScales:
    """Train one generator and its critics in place; goes on from `state["progress"]` where that is set."""
    settings, fabric, device = config.train, run.fabric, run.fabric.device
    names = Task.of(config.data).corners.names
    batches = Unpaired(sets, config, rank=fabric.global_rank, world=fabric.world_size)
    steps = settings.epochs * batches.steps_per_epoch
    objective = Translation(network, losses, critics, identity=config.loss.identity, active=stage.active)
    optimizer = torch.optim.Adam(network.parameters(), settings.learning_rate, betas=(0.5, 0.999))
    stepping, optimizer = fabric.setup(objective, optimizer)
    parts = {"network": network, "critics": critics, "optimizer": optimizer}
    domains = slice(1, len(sets))
    learns_critics = any(stage.active[domains])
    if learns_critics:
        critic_optimizer = torch.optim.Adam(critics.parameters(), settings.critic_rate, betas=(0.5, 0.999))
        judging, critic_optimizer = fabric.setup(critics, critic_optimizer)
        parts["critic optimizer"] = critic_optimizer
    replay = MixtureReplay(settings.replay, seed=derive_seed(config.seed, "replay", fabric.global_rank))
    scales = LossScales(stage.losses, mode=config.loss.scales).to(device)
    parts["scales"] = scales
    step, sums = 0, torch.zeros(stage.losses + 2, device=device)
    if state["progress"] is not None:
        step, sums = state["progress"]["step"], state["progress"]["sums"].to(device)
        for name, part in parts.items():
            part.load_state_dict(state["progress"][name])
        replay.load_state_dict(state["progress"]["replay"], device)

    network.train()
    with run.progress(stage.name, steps) as meter:
        meter.advance(step)
        for batch, windows in batches.from_step(step):
            if step == steps:
                break
            optimizer.param_groups[0]["lr"] = learning_rate(settings.learning_rate, "linear", step / steps)
            pictures, *real = (part.to(device, non_blocking=True) for part in windows)
            mix = stage.mixes(batch, settings).to(device)
            shift, critic_shift = shifts(batch, settings.critic_jitter)

            critics.requires_grad_(False)
            made, found = stepping(pictures, real, mix, shift)
            scales.fold(*(total(fabric, part) for part in scales.statistics(found, mix)))
            value = loss.mixed_loss(found, mix, scales.factors)
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(value)
            optimizer.step()

            critics.requires_grad_(True)
            critic_value = torch.zeros((), device=device)
            if learns_critics:
                critic_optimizer.param_groups[0]["lr"] = learning_rate(settings.critic_rate, "linear", step / steps)
                shown, shares = replay.exchange(made, mix)
                critic_value = judging(shown, shares[:, domains], real, critic_shift)
                critic_optimizer.zero_grad(set_to_none=True)
                fabric.backward(critic_value)
                if settings.critic_clip is not None:
                    fabric.clip_gradients(judging, critic_optimizer, max_norm=settings.critic_clip)
                critic_optimizer.step()

            sums += torch.cat([torch.stack([value.detach(), critic_value.detach()]), found.detach().mean(0)])
            step += 1
            meter.advance()
            if step % settings.save_every == 0 or step % batches.steps_per_epoch == 0:
                if step % batches.steps_per_epoch == 0:
                    sums = log_epoch(run, stage, step, sums / batches.steps_per_epoch, names, critics=learns_critics)
                progress = {name: part.state_dict() for name, part in parts.items()}
                progress |= {"step": step, "sums": sums, "replay": replay.state_dict()}
                run.save(state | {"progress": progress})
    network.eval()
    critics.requires_grad_(True)
    return scales


def build_critics(config: Config, task: Task) -> Critics:
    """Untrained discriminators; all of a run begin with the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "critics"))
        return Critics(len(task.domains), config.net, penalty=config.train.critic_penalty)


def shifts(batch: Batch, strength: float) -> tuple[Tensor | None, Tensor | None]:
    """How colours are shifted before critics look: (n, 3) of what is made, (n, 2, 3) of the replay's and the domains'."""
    if strength == 0:
        return None, None
    draws = batch.draw(lambda generator, size: colour_draws(size, 3, strength=strength, generator=generator), "colours")
    return draws[:, 0], draws[:, 1:]


def log_epoch(run: Run, stage: Stage, step: int, means: Tensor, names: Sequence[str], *, critics: bool) -> Tensor:
    """Log the epoch's means over all processes, and return the sums of the next one."""
    objective, discriminators, *losses = (total(run.fabric, means) / run.fabric.world_size).tolist()
    needed = zip(names, losses, stage.active, strict=True)
    line = {"objective": objective} | {f"loss {name}": value for name, value, active in needed if active}
    run.log(step, line | ({"discriminators": discriminators} if critics else {}), stage=stage.name)
    return torch.zeros_like(means)
