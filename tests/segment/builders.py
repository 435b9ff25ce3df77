"""What the tests of segment share: norms and slopes that are not new, and the paper's block written out."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.segment.concentrated import ConcentratedConv2d

Network = TypeVar("Network", bound=nn.Module)


def randomised(network: Network) -> Network:
    """The network in evaluation mode, its norms and slopes as if it had been trained."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                if module.affine:
                    nn.init.uniform_(module.weight, 0.5, 1.5)
                    nn.init.normal_(module.bias, std=0.3)
                if module.running_mean is not None and module.running_var is not None:
                    module.running_mean.normal_(std=0.3)
                    module.running_var.uniform_(0.5, 2.0)
            if isinstance(module, nn.PReLU):
                nn.init.uniform_(module.weight, -0.5, 1.5)
    return network.eval()


def norm_by_hand(x: Tensor, norm: nn.BatchNorm2d, eps: float) -> Tensor:
    """Batch norm from its formula: the batch's own statistics in training, the running ones else."""
    mean, variance = norm.running_mean, norm.running_var
    if norm.training:
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    assert mean is not None
    assert variance is not None
    scaled = (x - mean[:, None, None]) / torch.sqrt(variance[:, None, None] + eps)
    return scaled * norm.weight[:, None, None] + norm.bias[:, None, None]


def prelu_by_hand(x: Tensor, activation: nn.PReLU) -> Tensor:
    return torch.where(x > 0, x, x * activation.weight[:, None, None])


def concentrated_by_hand(block: ConcentratedConv2d, x: Tensor) -> Tensor:
    """The seven operations of the paper's block, with the block's weights."""
    d, channels = block.dilation, block.in_channels
    if block.concentration is not None:
        part = block.concentration
        x = F.conv2d(x, part.vertical.weight, padding=(d - 1, 0), groups=channels)
        x = prelu_by_hand(norm_by_hand(x, part.vertical_norm, 1e-5), part.activation)
        x = F.conv2d(x, part.horizontal.weight, padding=(0, d - 1), groups=channels)
        x = norm_by_hand(x, part.horizontal_norm, 1e-5)
    x = F.conv2d(x, block.depthwise.weight, stride=block.stride, padding=d, dilation=d, groups=channels)
    mixed = torch.einsum("nchw,oc->nohw", x, block.pointwise.weight[:, :, 0, 0])
    return mixed if block.pointwise.bias is None else mixed + block.pointwise.bias[:, None, None]
