"""What one training step minimises, for the resizable network and for its baselines.

One module with one forward call a step, because data parallelism synchronises gradients of exactly that.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import TrainSettings
from .loss import scale_loss, self_distillation
from .network import ResizableNet


class Losses(NamedTuple):
    """Scalars; `total` is the one to differentiate."""

    total: Tensor
    task: Tensor
    scale: Tensor
    distill: Tensor


class ClassificationObjective(nn.Module):
    """Cross-entropy of an ordinary network."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor, targets: Tensor, scales: Tensor, soft: Tensor | None) -> Losses:
        task = F.cross_entropy(self.net(images).float(), targets)
        return Losses(task, task.detach(), task.new_zeros(()), task.new_zeros(()))


class ResizableObjective(nn.Module):
    """L = Lc + lambda Ls (the paper's two terms), plus the full-scale path as a teacher where that is asked for (ours).

    With `soft` None the gates are left open and only the network learns.
    """

    def __init__(self, net: ResizableNet, settings: TrainSettings) -> None:
        super().__init__()
        self.net = net
        self.settings = settings

    def forward(self, images: Tensor, targets: Tensor, scales: Tensor, soft: Tensor | None) -> Losses:
        settings, zero = self.settings, torch.zeros((), device=images.device)
        if soft is None:
            task = F.cross_entropy(self.net.full(images).float(), targets)
            return Losses(task, task.detach(), zero, zero)
        outputs = self.net.outputs(images, scales, soft=soft)
        task = F.cross_entropy(outputs.logits.float(), targets)
        scale = scale_loss(outputs.cost, scales)
        total = task + settings.scale_weight * scale
        distill = zero
        if settings.distill_weight:
            full = self.net.full(images)
            distill = self_distillation(outputs.logits, full, settings.temperature)
            total = total + settings.distill_weight * distill + F.cross_entropy(full.float(), targets)
        return Losses(total, task.detach(), scale.detach(), distill.detach())
