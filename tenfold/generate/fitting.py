"""Learning a density by likelihood, with early stopping on held-out rows; the same loop for the method and its rivals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..core.batches import derive_seed
from ..core.device import sync_batch_norms
from ..core.schedule import learning_rate
from .config import FitSettings

if TYPE_CHECKING:
    from ..core.device import Fabric

CHUNK = 4096
"""rows whose likelihood is computed at once in evaluation"""


@dataclass
class Progress:
    """Where a fit stands; `state` and `of` make it a checkpoint and back."""

    epoch: int = 0
    """epochs done"""
    best: float = -math.inf
    """the highest held-out log-likelihood so far, nats a row"""
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    history: list[tuple[float, float]] = field(default_factory=list)
    """of each epoch: mean log-likelihood of the training rows while they were learned, and of the held-out rows after"""
    weights: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """As plain values and tensors."""
        return dict(vars(self))

    @classmethod
    def of(cls, state: dict[str, Any]) -> Progress:
        """The inverse of `state`."""
        return cls(**state)


def maximize_likelihood(
    density: nn.Module,
    rows: Tensor,
    held_out: Tensor,
    settings: FitSettings,
    *,
    seed: int,
    fabric: Fabric | None = None,
    progress: Progress | None = None,
    after_epoch: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Train `density` so that rows are likely, and leave it in `eval` mode with the weights of its best epoch.

    It stops when the held-out likelihood has not risen for `settings.patience` epochs. Everything follows from the seed and
    the epoch.

    Args:
        density: a module: rows (n, D) -> log-likelihoods (n,).
        rows: (N, D), on the CPU.
        held_out: (M, D), rows that are not trained on.
        settings: the optimisation.
        seed: of the order of the rows.
        fabric: of the processes that share the work; None is this process, on the device of the module.
        progress: where an earlier fit was stopped; None starts anew.
        after_epoch: called with the progress, which a checkpoint can hold.
    """
    progress = progress or Progress()
    device = next(density.parameters()).device if fabric is None else fabric.device
    density = sync_batch_norms(density).to(device)
    optimizer = torch.optim.AdamW(
        density.parameters(), settings.learning_rate, (settings.momentum, 0.999), weight_decay=settings.weight_decay
    )
    wrapped: nn.Module = density
    if fabric is not None:
        wrapped, optimizer = fabric.setup(density, optimizer)  # type: ignore[assignment]
    if progress.weights:
        density.load_state_dict(progress.weights)
        optimizer.load_state_dict(progress.optimizer)
    world, rank = (1, 0) if fabric is None else (fabric.world_size, fabric.global_rank)
    size = max(1, min(settings.batch_size, len(rows)) // world)
    steps = max(1, len(rows) // (size * world))
    while progress.epoch < settings.epochs and progress.epoch - progress.best_epoch < settings.patience:
        density.train()
        order = torch.randperm(len(rows), generator=_generator(seed, progress.epoch))
        noise = _generator(seed, progress.epoch, rank)
        total = 0.0
        for step in range(steps):
            rate = learning_rate(
                settings.learning_rate,
                settings.schedule,
                (progress.epoch + step / steps) / settings.epochs,
                steps_at=settings.steps_at,
                factor=0.5,
            )
            for group in optimizer.param_groups:
                group["lr"] = rate
            batch = rows[order[(step * world + rank) * size :][:size]].to(device)
            if settings.noise > 0:
                batch = batch + settings.noise * torch.randn(batch.shape, generator=noise).to(device)
            loss = -wrapped(batch).mean()
            optimizer.zero_grad(set_to_none=True)
            if fabric is None:
                loss.backward()
            else:
                fabric.backward(loss)
            nn.utils.clip_grad_norm_(density.parameters(), settings.clip)
            optimizer.step()
            total -= float(loss.detach())
        density.eval()
        held = float(log_likelihoods(density, held_out).mean())
        progress.epoch += 1
        progress.history.append((total / steps, held))
        if held > progress.best:
            progress.best, progress.best_epoch = held, progress.epoch
            progress.best_weights = _copies(density)
        progress.weights, progress.optimizer = _copies(density), optimizer.state_dict()
        after_epoch(progress)
    if progress.best_weights:
        density.load_state_dict(progress.best_weights)
    density.eval()
    return progress


@torch.no_grad()
def log_likelihoods(density: nn.Module, rows: Tensor) -> Tensor:
    """(N, D) -> (N,), nats, on the CPU; computed in chunks on the density's device."""
    device = next(iter([*density.parameters(), *density.buffers()])).device
    parts = [density(chunk.to(device)).cpu() for chunk in rows.split(CHUNK)]
    return torch.cat(parts) if parts else torch.empty(0)


def _copies(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _generator(*parts: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed("density", *parts))
