"""Encoders and decoders: layers for vectors and, as in the paper's own world, for pictures; convolutions for the screens of games."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn


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
    """Latents to one channel-first picture of at least 36 pixels a side: the usual three convolutions of games, backwards."""

    def __init__(self, latent: int, shape: tuple[int, int, int], *, width: int = 512) -> None:
        super().__init__()
        channels, height, breadth = shape
        sizes = [(height, breadth)]
        for kernel, stride in ((8, 4), (4, 2), (3, 1)):
            sizes.append(tuple((side - kernel) // stride + 1 for side in sizes[-1]))  # type: ignore[arg-type]
        # what a stride has left over at the far edge is added again
        over = [
            tuple(
                after - ((before - 1) * stride + kernel) for after, before in zip(sizes[at], sizes[at + 1], strict=True)
            )
            for at, (kernel, stride) in enumerate(((8, 4), (4, 2), (3, 1)))
        ]
        self.layers = nn.Sequential(
            nn.Linear(latent, width),
            nn.ReLU(),
            nn.Linear(width, 64 * sizes[3][0] * sizes[3][1]),
            nn.ReLU(),
            nn.Unflatten(1, (64, *sizes[3])),
            nn.ConvTranspose2d(64, 64, 3, 1, output_padding=over[2]),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 4, 2, output_padding=over[1]),
            nn.ReLU(),
            nn.ConvTranspose2d(32, channels, 8, 4, output_padding=over[0]),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """(B, n) -> (B, C, H, W)."""
        return self.layers(latents)


def dense(widths: Sequence[int], activation: type[nn.Module]) -> list[nn.Module]:
    """Linear layers of these widths, an activation between any two."""
    layers: list[nn.Module] = []
    for before, after in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.Linear(before, after), activation()]
    return layers[:-1]


def halves_at_zero(layer: nn.Linear) -> None:
    """Let the second half of a layer's outputs begin at 0: sigma of 1, whatever the state."""
    with torch.no_grad():
        half = layer.out_features // 2
        layer.weight[half:].zero_()
        layer.bias[half:].zero_()
