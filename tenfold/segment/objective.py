"""What a step of training computes: the loss of every labelled pixel, and how many of them are right."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..core.masks import IGNORE
from .loss import pixel_cross_entropy
from .networks import ENCODER_STRIDE, LightNet


class Step(NamedTuple):
    """Sums over one process's share of a batch."""

    loss: Tensor
    """weighted cross entropy"""
    weight: Tensor
    """of the labelled pixels"""
    right: Tensor
    """labelled pixels whose largest logit is that of their class"""
    labelled: Tensor


class Objective(nn.Module):
    """A network, or its encoder alone, with the loss that it is trained by.

    Args:
        network: gives logits (N, K, H, W).
        weights: (K,), what pixels of each class count for.
        whole: False trains the encoder by every eighth label along each side, as the authors do.
    """

    weights: Tensor

    def __init__(self, network: nn.Module, weights: Tensor, *, whole: bool) -> None:
        super().__init__()
        self.network = network
        self.whole = whole
        self.register_buffer("weights", weights.float(), persistent=False)

    def forward(self, pictures: Tensor, labels: Tensor) -> Step:
        """Pictures (N, 3, H, W), normalised, and labels int64 (N, H, W)."""
        if self.whole:
            logits = self.network(pictures)
        else:
            assert isinstance(self.network, LightNet), "only these have an encoder of their own"
            logits = self.network.encode(pictures)
            labels = labels[:, ::ENCODER_STRIDE, ::ENCODER_STRIDE]
        loss = pixel_cross_entropy(logits.float(), labels, self.weights)
        labelled = labels != IGNORE
        right = logits.detach().argmax(1) == labels  # no class has the number of ignored labels
        return Step(loss.total, loss.weight, right.sum(), labelled.sum())

    def trained(self) -> nn.Module:
        """The part whose parameters learn."""
        if self.whole:
            return self.network
        assert isinstance(self.network, LightNet), "only these have an encoder of their own"
        return self.network.encoder


def decay_groups(module: nn.Module, *, convolutions: float, norms: float) -> list[dict[str, object]]:
    """The parameters in groups for an optimiser: convolutions, depthwise convolutions, which have no decay, and the rest.

    Args:
        convolutions: L2 penalty of the kernels of convolutions and linear layers.
        norms: of parameters of one dimension: norms, slopes and biases.
    """
    depthwise = {
        id(part.weight)
        for part in module.modules()
        if isinstance(part, nn.Conv2d) and part.groups > 1 and part.groups == part.in_channels
    }
    groups: dict[float, list[nn.Parameter]] = {convolutions: [], 0.0: [], norms: []}
    for parameter in module.parameters():
        one = parameter.ndim < 2
        groups[0.0 if id(parameter) in depthwise else norms if one else convolutions].append(parameter)
    return [{"params": parameters, "weight_decay": decay} for decay, parameters in groups.items() if parameters]


def mean_loss(step: Step, weight_of_all: Tensor, processes: int) -> Tensor:
    """The loss whose gradients, averaged over the processes, are those of the mean over all their pixels.

    A batch without any labelled pixel has the loss 0.
    """
    return step.loss * processes / weight_of_all.clamp(min=torch.finfo(torch.float32).tiny)
