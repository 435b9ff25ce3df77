"""Networks made by hand from one function, or built without drawing weights, and pictures for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Handmade(nn.Module):
    """Runs `steps(self, images)` with layers for it: 3 to 4 channels in `a`, 4 to 4 elsewhere; `down` halves (H, W)."""

    def __init__(self, steps: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.steps = steps
        self.a = nn.Conv2d(3, 4, 3, padding=1)
        self.b, self.c, self.d = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.down = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.norm, self.other = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.relu = nn.ReLU()
        self.inplace = nn.ReLU(inplace=True)
        self.relu6 = nn.ReLU6(inplace=True)
        self.noted: list[Tensor] = []

    def forward(self, images: Tensor) -> Any:
        self.noted = []
        return self.steps(self, images)

    def note(self, x: Tensor) -> Tensor:
        """Keep a copy of what is to be read, and hand it on."""
        self.noted.append(x.detach().clone())
        return x


def images(size: int = 16, *, count: int = 2, seed: int = 0) -> Tensor:
    """(count, 3, size, size), normal."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def unfilled(build: Callable[[], nn.Module]) -> nn.Module:
    """A network in `eval` mode whose weights are whatever lay in memory: which tensors it makes does not depend on them."""
    with torch.device("meta"):
        network = build()
    return network.to_empty(device="cpu").eval()
