"""Reduce, transform at several rates of dilation, merge: the module that ESPNet and C3Net are made of.

Shape letters: N batch, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .concentrated import KERNEL, ConcentratedConv2d

EPS = 1e-3
"""of every batch norm outside of a concentration, as in the authors' code; it matters for loading their weights"""

Branch = Callable[[int, int, int], nn.Module]
"""(input channels, output channels, rate) -> a convolution that keeps the resolution"""


def concentrated(inputs: int, outputs: int, rate: int) -> nn.Module:
    """A branch of C3Net: concentrated-comprehensive; at rate 1, where nothing is left out between taps, dense."""
    return ConcentratedConv2d(inputs, outputs, dilation=rate) if rate > 1 else dense(inputs, outputs, rate)


def dense(inputs: int, outputs: int, rate: int) -> nn.Module:
    """A branch of ESPNet: an ordinary dilated convolution."""
    return nn.Conv2d(inputs, outputs, KERNEL, padding=rate, dilation=rate, bias=False)


def depthwise(inputs: int, outputs: int, rate: int) -> nn.Module:
    """What C3Net improves upon: the same branch without concentration, a depthwise dilated and a 1x1 convolution."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, KERNEL, padding=rate, dilation=rate, groups=inputs, bias=False),
        nn.Conv2d(inputs, outputs, 1, bias=False),
    )


class NormAct(nn.Module):
    """Batch norm, then PReLU with a slope for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, eps=EPS)
        self.activation = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(x))


class ConvNormAct(nn.Module):
    """A convolution without bias, batch norm, PReLU; keeps the resolution but for its stride."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, separable: bool = False) -> None:
        super().__init__()
        if separable:
            self.convolution: nn.Module = nn.Sequential(
                nn.Conv2d(inputs, inputs, kernel, stride=stride, padding=kernel // 2, groups=inputs, bias=False),
                nn.Conv2d(inputs, outputs, 1, bias=False),
            )
        else:
            self.convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.after = NormAct(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.convolution(x))


class UpNormAct(nn.Module):
    """Twice the resolution by a transposed convolution, batch norm, PReLU: (N, C, H, W) -> (N, C, 2 H, 2 W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = doubling(channels)
        self.after = NormAct(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.convolution(x))


def doubling(channels: int) -> nn.ConvTranspose2d:
    """A transposed convolution to twice the resolution whose outputs do not overlap."""
    return nn.ConvTranspose2d(channels, channels, 2, stride=2, bias=False)


class DilatedPyramid(nn.Module):
    """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride), seen at several rates at once.

    A convolution reduces the input to n = floor(outputs / number of rates) channels, once; a branch for each rate reads
    that, the first with the channels that are left over; their outputs are concatenated, the input is added where it fits,
    and norm and PReLU follow.

    Args:
        inputs: channels read.
        outputs: channels given, at least as many as there are rates.
        rates: dilations of the branches.
        branch: what makes a branch.
        hierarchical: add up the branches after the first, one on top of the other, before they are concatenated; ESPNet's
            remedy for the grid artefacts of dilation.
        stride: 1 reduces by a 1x1 convolution, 2 by a 3x3 of stride 2.
        residual: add the input, where it has the shape of the output.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        rates: Sequence[int],
        branch: Branch,
        hierarchical: bool = False,
        stride: int = 1,
        residual: bool = True,
    ) -> None:
        super().__init__()
        inner = outputs // len(rates)
        kernel = 1 if stride == 1 else KERNEL
        self.reduce = nn.Conv2d(inputs, inner, kernel, stride=stride, padding=kernel // 2, bias=False)
        widths = [outputs - (len(rates) - 1) * inner, *[inner] * (len(rates) - 1)]
        self.branches = nn.ModuleList(branch(inner, width, rate) for width, rate in zip(widths, rates, strict=True))
        self.after = NormAct(outputs)
        self.hierarchical = hierarchical
        self.residual = residual and stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        reduced = self.reduce(x)  # once: the authors' code computes it twice and throws the first away
        found = [branch(reduced) for branch in self.branches]
        if self.hierarchical:
            for number in range(2, len(found)):
                found[number] = found[number] + found[number - 1]
        merged = torch.cat(found, 1)
        return self.after(x + merged if self.residual else merged)
