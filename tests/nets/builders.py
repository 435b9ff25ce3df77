"""What the tests of networks share: norms that are not new, and weights from another implementation."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def lived_in(network: Network, images: Tensor) -> Network:
    """The network in evaluation mode, its norms with random factors and shifts and the statistics of `images`."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            module.momentum = None  # of one batch: its own statistics
    with torch.no_grad():
        network.train()(images)
    return network.eval()


def copy_in_order(source: nn.Module, target: nn.Module) -> None:
    """Copy the state of a network that has the same layers in the same order under other names."""
    state = source.state_dict().values()
    target.load_state_dict(dict(zip(target.state_dict(), state, strict=True)))
