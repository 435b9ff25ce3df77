"""Training of one slice in a plain loop, for `StackNet.fit_task`: no run folder, no resuming."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from ..core.errors import UsageError
from ..core.schedule import learning_rate as rate_at

if TYPE_CHECKING:
    from .stacknet import Loader, StackNet


def fit_slice(
    net: StackNet,
    name: str,
    loader: Loader,
    *,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] | None,
) -> list[float]:
    """See `StackNet.fit_task`; the slice is trained and left unfinished, the network in evaluation mode."""
    parameters = list(net.task_parameters(name))
    if not parameters:
        raise UsageError(f"{name} is finished: it cannot be trained any more")
    if epochs < 1:
        raise UsageError(f"epochs is {epochs}, but must be at least 1")
    ours = optimizer is None
    stepping = (
        optimizer(parameters)
        if optimizer is not None
        else torch.optim.SGD(parameters, learning_rate, 0.9, weight_decay=weight_decay, nesterov=True)
    )
    classes, device = net.classes[net.tasks.index(name)], parameters[0].device
    net.train()
    losses = []
    for epoch in range(epochs):
        batches, total = 0, torch.zeros((), device=device)
        length = len(loader) if isinstance(loader, Sized) else 0
        for images, labels in loader:
            if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
                raise UsageError(f"{name} has labels {labels.min()} to {labels.max()}, but classes 0 to {classes - 1}")
            if ours:
                done = (epoch + (batches / length if length else 0)) / epochs
                for group in stepping.param_groups:
                    group["lr"] = rate_at(learning_rate, "cosine", min(done, 1.0))
            loss = F.cross_entropy(net(images.to(device), task=name), labels.to(device))
            stepping.zero_grad(set_to_none=True)
            loss.backward()
            stepping.step()
            total += loss.detach()
            batches += 1
        if not batches:
            raise UsageError(
                f"the loader of {name} gave no batch in epoch {epoch + 1}; it must be one that starts anew"
            )
        losses.append(float(total) / batches)
    net.eval()
    return losses
