"""Learning a density by likelihood, with early stopping on held-out rows; the same loop for the method and its rivals."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..core.batches import derive_seed
from ..core.device import sync_batch_norms, total
from ..core.errors import UsageError
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
        return vars(self) | {"history": list(self.history), "optimizer": copy.deepcopy(self.optimizer)}

    def end_epoch(self, density: nn.Module, optimizer: torch.optim.Optimizer, training: float, held_out: float) -> None:
        """Count an epoch, and keep its weights where no epoch before had a higher held-out likelihood."""
        self.epoch += 1
        self.history.append((training, held_out))
        self.weights, self.optimizer = _copies(density), optimizer.state_dict()
        if held_out > self.best:
            self.best, self.best_epoch, self.best_weights = held_out, self.epoch, self.weights

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
    after_epoch: Callable[[Progress], None] | None = None,
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

    Raises:
        UsageError: the fit diverged, or the batch size is not a multiple of the number of processes.
    """
    progress = progress or Progress()
    device = next(density.parameters()).device if fabric is None else fabric.device
    density = sync_batch_norms(density).to(device)
    wrapped, optimizer = density, _optimizer(density, settings)
    if fabric is not None:
        wrapped, optimizer = fabric.setup(density, optimizer)
    if progress.weights:
        density.load_state_dict(progress.weights)
        optimizer.load_state_dict(progress.optimizer)
    while progress.epoch < settings.epochs and progress.epoch - progress.best_epoch < settings.patience:
        density.train()
        batches = list(_batches(rows, settings, seed=seed, epoch=progress.epoch, fabric=fabric))
        sums = torch.zeros(2, device=device)
        for step, batch in enumerate(batches):
            share = (progress.epoch + step / len(batches)) / settings.epochs
            for group in optimizer.param_groups:
                group["lr"] = _rate(settings, share)
            loss = -wrapped(batch.to(device)).mean()
            optimizer.zero_grad(set_to_none=True)
            if fabric is None:
                loss.backward()
            else:
                fabric.backward(loss)
            nn.utils.clip_grad_norm_(density.parameters(), settings.clip)
            optimizer.step()
            sums += torch.stack([-loss.detach(), torch.ones_like(loss)])
        density.eval()
        training, steps = (sums if fabric is None else total(fabric, sums)).tolist()
        progress.end_epoch(density, optimizer, training / steps, float(log_likelihoods(density, held_out).mean()))
        if after_epoch is not None:
            after_epoch(progress)
    if not progress.best_weights:
        raise UsageError(
            f"no epoch of {progress.epoch} had a finite held-out likelihood: the fit diverged at the learning rate "
            f"{settings.learning_rate}, which must be lower"
        )
    density.load_state_dict(progress.best_weights)
    density.eval()
    return progress


def _optimizer(density: nn.Module, settings: FitSettings) -> torch.optim.Optimizer:
    betas = (settings.momentum, 0.999)
    return torch.optim.AdamW(density.parameters(), settings.learning_rate, betas, weight_decay=settings.weight_decay)


def _rate(settings: FitSettings, share: float) -> float:
    return learning_rate(settings.learning_rate, settings.schedule, share, steps_at=settings.steps_at, factor=0.5)


def _batches(rows: Tensor, settings: FitSettings, *, seed: int, epoch: int, fabric: Fabric | None) -> Iterator[Tensor]:
    """This process's shares of an epoch's batches; which rows, and their noise, follow from seed and epoch alone."""
    world, rank = (1, 0) if fabric is None else (fabric.world_size, fabric.global_rank)
    random = torch.Generator().manual_seed(derive_seed("density", seed, epoch))
    size = min(settings.batch_size, len(rows))
    if size % world:
        raise UsageError(f"the fit's batch size is {size}, but must be a multiple of the number of processes, {world}")
    spread = rows.std(0, correction=0)
    order = torch.randperm(len(rows), generator=random)
    for chosen in order[: len(rows) // size * size].split(size):
        batch = rows[chosen]
        if settings.noise > 0:
            batch = batch + settings.noise * spread * torch.randn(batch.shape, generator=random)
        yield batch[rank * (size // world) :][: size // world]


@torch.no_grad()
def log_likelihoods(density: nn.Module, rows: Tensor) -> Tensor:
    """(N, D) -> (N,), nats, on the CPU; computed in chunks on the density's device."""
    device = next(iter([*density.parameters(), *density.buffers()])).device
    parts = [density(chunk.to(device)).cpu() for chunk in rows.split(CHUNK)]
    return torch.cat(parts) if parts else torch.empty(0)


def _copies(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
