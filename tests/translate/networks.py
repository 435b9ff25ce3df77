"""Networks of several kinds, small and in double precision, to be given a dial."""

from __future__ import annotations

import threading

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def shares(seed: int, *shape: int, axis: int = 1) -> Tensor:
    return normal(seed, *shape).softmax(axis)


def shaken(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network in double precision, with all its weights drawn by the seed and none of them zero."""
    for number, value in enumerate(network.double().parameters()):
        value.data.copy_(normal(seed + number, *value.shape) / max(1, value[0].numel()) ** 0.5)
    return network


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 2)).double()


class UNet(nn.Module):
    """Pictures of any size from 4 x 4 on; its skips need features of the size of the features above."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.deep = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.SiLU())
        self.up = nn.Conv2d(12, 4, 3, padding=1)
        self.out = nn.Conv2d(4, 3, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        high = F.relu(self.enter(pictures))
        low = self.deep(F.relu(self.down(high)))
        large = F.interpolate(low, high.shape[2:], mode="nearest")
        return self.out(F.relu(self.up(torch.cat([high, large], 1))))


class Sequences(nn.Module):
    """Sequences (N, C, L) to as long ones."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(3, 6, 3, padding=1)
        self.last = nn.Conv1d(6, 2, 3, padding=1)

    def forward(self, sequences: Tensor) -> Tensor:
        return self.last(F.relu(self.first(sequences)))


class Windows(nn.Module):
    """Works on the four quarters of each picture by themselves, as networks with windows do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(3, 6, 3, padding=1)
        self.last = nn.Linear(6, 2)

    def forward(self, pictures: Tensor) -> Tensor:
        count, channels, height, width = pictures.shape
        parts = pictures.view(count, channels, 2, height // 2, 2, width // 2).permute(0, 2, 4, 1, 3, 5)
        found = self.inner(parts.flatten(0, 2)).mean((2, 3))
        return self.last(found.view(count, 4, 6).mean(1))


class Detector(nn.Module):
    """Gives a dictionary, and has a module that gives a tuple and one that it never calls."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.memory = nn.LSTM(8, 8, batch_first=True)
        self.boxes = nn.Linear(8, 4)
        self.spare = nn.Linear(8, 8)

    def forward(self, inputs: Tensor, *, scale: float = 1.0) -> dict[str, Tensor]:
        features = F.relu(self.body(inputs)) * scale
        remembered, _ = self.memory(features[:, None])
        return {"boxes": self.boxes(features), "memory": remembered[:, 0]}


class Meeting(nn.Module):
    """Lets all threads of a barrier come in before any goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier: threading.Barrier | None = None

    def forward(self, features: Tensor) -> Tensor:
        if self.barrier is not None:
            self.barrier.wait(timeout=20)
        return features
