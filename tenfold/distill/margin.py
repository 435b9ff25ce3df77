"""Margins of the teacher's ReLU: the mean of what a channel is when it is negative. C channels.

The paper takes a channel before the ReLU for normal, with the mean mu and spread sigma that its batch normalisation gives it:

    m = E[x | x < 0] = mu - sigma phi(mu / sigma) / Phi(-mu / sigma)
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

MarginForm = Literal["paper", "exact"]
RARELY = 0.001
"""below this chance of a negative value the paper's code takes -3 sigma"""
FAR = 30.0
"""mu / sigma beyond which phi / Phi loses its digits to cancellation and a series takes over"""


def normal_margin(mean: Tensor, spread: Tensor, *, form: MarginForm = "paper") -> Tensor:
    """The margin of channels that are normal with this mean and spread.

    Args:
        mean: (C,), the norm's bias.
        spread: (C,), the norm's weight; its sign does not matter.
        form: `paper` is -3 sigma where a negative value has a chance of at most 0.001, a jump from about -0.28 sigma;
            `exact` keeps to the formula, which goes to 0 there.

    Returns:
        (C,) float32, at most 0. A channel without spread has min(mean, 0).
    """
    mu, sigma = mean.detach().double(), spread.detach().double().abs()
    ratio = mu / sigma.clamp(min=torch.finfo(torch.float64).tiny)
    # log Phi keeps its precision where Phi itself is 0
    hazard = torch.exp(-0.5 * ratio.square() - 0.5 * math.log(2 * math.pi) - torch.special.log_ndtr(-ratio))
    margin = mu - sigma * hazard
    # for large a: phi(a) / Phi(-a) - a = 1/a - 2/a^3 + 10/a^5 - ...
    far = ratio > FAR
    inverse = 1 / torch.where(far, ratio, 1.0)
    margin = torch.where(far, -sigma * (inverse - 2 * inverse**3 + 10 * inverse**5), margin)
    if form == "paper":
        margin = torch.where(torch.special.ndtr(-ratio) > RARELY, margin, -3 * sigma)
    # without spread, or with so little that the ratio overflows, every value is the mean
    margin = torch.where((sigma == 0) | ~margin.isfinite(), mu.clamp(max=0), margin)
    return margin.clamp(max=0).float()


class GivenMargin(nn.Module):
    """A margin that is known: (C,), at most 0."""

    margin: Tensor

    def __init__(self, margin: Tensor) -> None:
        super().__init__()
        self.register_buffer("margin", margin.detach().clone().float())

    def update(self, features: Tensor) -> None:
        """Nothing to learn."""


class StreamingMargin(nn.Module):
    """The mean of a channel's negative values over the first batches seen: for residual sums, other norms or none.

    The recipe for teachers without batch normalisation is the authors'; keeping sums and counts instead of a mean of batch
    means is ours, so that the order and size of batches do not matter.

    Args:
        channels: C.
        limit: batches after which the margin stays as it is.
    """

    sums: Tensor
    counts: Tensor

    def __init__(self, channels: int, *, limit: int = 50) -> None:
        super().__init__()
        self.limit = limit
        self.batches = 0
        self.register_buffer("sums", torch.zeros(channels))
        self.register_buffer("counts", torch.zeros(channels))

    @torch.no_grad()
    def update(self, features: Tensor) -> None:
        """Take in a batch (N, C, H, W); from the limit on, nothing."""
        if self.batches >= self.limit:
            return
        self.batches += 1
        negative = features.detach().float().clamp(max=0)
        added = torch.stack([negative.sum((0, 2, 3)), (negative < 0).float().sum((0, 2, 3))])
        if dist.is_initialized():
            dist.all_reduce(added)  # every process has the margins of all pictures
        self.sums += added[0]
        self.counts += added[1]

    @property
    def margin(self) -> Tensor:
        """(C,) float32; 0 for a channel that was never negative."""
        return self.sums / self.counts.clamp(min=1)

    def get_extra_state(self) -> int:
        return self.batches

    def set_extra_state(self, state: int) -> None:
        self.batches = int(state)
