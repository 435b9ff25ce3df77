"""Encoders and decoders: layers for vectors and, as in the paper's own world, for pictures; convolutions for the screens of games."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import UsageError


class FlatEncoder(nn.Module):
    """Layers from states of a shape, laid out flat, to (B, 2n).

    Args:
        shape: of a state.
        hidden: widths of the layers before the last.
        latent: n.
        activation: class of what follows each of them.
    """

    def __init__(
        self, shape: tuple[int, ...], hidden: Sequence[int], latent: int, *, activation: type[nn.Module] = nn.ReLU
    ) -> None:
        super().__init__()
        self.shape = shape
        self.layers = nn.Sequential(nn.Flatten(), *dense((int(np.prod(shape)), *hidden, 2 * latent), activation))
        self.last = cast(nn.Linear, self.layers[-1])

    def forward(self, states: Tensor) -> Tensor:
        """(B, ...) -> (B, 2n)."""
        return self.layers(states)


class FlatDecoder(nn.Module):
    """Layers from latents to states of a shape."""

    def __init__(
        self, latent: int, hidden: Sequence[int], shape: tuple[int, ...], *, activation: type[nn.Module] = nn.ReLU
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(*dense((latent, *hidden, int(np.prod(shape))), activation), nn.Unflatten(1, shape))

    def forward(self, latents: Tensor) -> Tensor:
        """(B, n) -> (B, ...)."""
        return self.layers(latents)


class ScreenDecoder(nn.Module):
    """Latents to a channel-first picture: the three convolutions that read the screens of games, backwards.

    Args:
        latent: n.
        channels: of the picture.
        size: its height and breadth, at least 36.
        width: of the layer between.
    """

    def __init__(self, latent: int, channels: int, size: tuple[int, int], *, width: int = 512) -> None:
        super().__init__()
        if min(size) < 36:
            raise UsageError(f"pictures have {size[0]} x {size[1]} pixels, but must have at least 36 a side")
        over_first, over_second, over_third = (_left_over(size, depth)[1] for depth in range(3))
        third, _ = _left_over(size, 2)
        self.layers = nn.Sequential(
            nn.Linear(latent, width),
            nn.ReLU(),
            nn.Linear(width, 64 * third[0] * third[1]),
            nn.ReLU(),
            nn.Unflatten(1, (64, *third)),
            nn.ConvTranspose2d(64, 64, 3, 1, output_padding=over_third),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 4, 2, output_padding=over_second),
            nn.ReLU(),
            nn.ConvTranspose2d(32, channels, 8, 4, output_padding=over_first),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """(B, n) -> (B, C, H, W)."""
        return self.layers(latents)


CONVOLUTIONS = ((8, 4), (4, 2), (3, 1))
"""kernel and stride of each, as the screens of games are read (Mnih et al. 2015)"""


def _left_over(size: tuple[int, int], depth: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Height and breadth after so many convolutions and one, and what the stride of the last leaves over at the far edges."""
    sides, over = size, (0, 0)
    for kernel, stride in CONVOLUTIONS[: depth + 1]:
        over = ((sides[0] - kernel) % stride, (sides[1] - kernel) % stride)
        sides = ((sides[0] - kernel) // stride + 1, (sides[1] - kernel) // stride + 1)
    return sides, over


def dense(widths: Sequence[int], activation: type[nn.Module]) -> list[nn.Module]:
    """Linear layers of these widths, an activation between any two."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), activation()]
    return layers[:-1]


def halves_at_zero(layer: nn.Linear) -> None:
    """Let the second half of a layer's outputs begin at 0: sigma of 1, whatever the state."""
    with torch.no_grad():
        half = layer.out_features // 2
        layer.weight[half:].zero_()
        layer.bias[half:].zero_()
