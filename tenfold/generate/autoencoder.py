"""The paper's autoencoder for square pictures ("ae00" of the released code). N pictures, C channels, S x S pixels, D latents."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from ..core.batches import derive_seed
from ..core.errors import UsageError

Range = Literal["tanh", "sigmoid"]
NormStart = Literal["standard", "paper"]
SLOPE = 0.2


def blocks_of(size: int) -> tuple[int, int]:
    """How many convolutions the paper has for pictures of S pixels, and the side that the last one covers whole.

    Raises:
        UsageError: pictures of that size cannot be halved so often, or are below 8 pixels.
    """
    count = int(math.log2(size)) - 1 if size >= 8 else 0
    if count < 2 or size % (1 << (count - 1)):
        allowed = ", ".join(str(side) for side in (8, 16, 24, 28, 32, 48, 64, 96, 128, 256))
        raise UsageError(f"pictures are {size} pixels wide, but must be such as {allowed}: halved again and again")
    return count, size >> (count - 1)


def _widths(count: int, width: int) -> list[int]:
    return [width << number for number in range(count - 1)]


class Encoder(nn.Sequential):
    """Pictures (N, C, S, S) -> latents (N, D), unbounded.

    Convolutions of kernel 4 that halve the picture, each but the first with batch norm, all with leaky ReLU (0.2); then one over
    the whole of what is left.

    Args:
        size: S; see `blocks_of`.
        latent: D; a VAE takes 2 D, means and log variances.
        channels: C.
        width: channels of the first convolution; every further one doubles them (paper: 64).
        norm_start: batch norm's first scale: 1, or `paper`: N(0, 0.02).
    """

    def __init__(
        self, size: int, latent: int, *, channels: int = 1, width: int = 64, norm_start: NormStart = "standard"
    ) -> None:
        count, side = blocks_of(size)
        layers: list[nn.Module] = []
        inputs = channels
        for number, outputs in enumerate(_widths(count, width)):
            layers.append(nn.Conv2d(inputs, outputs, 4, 2, 1))
            if number:
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.LeakyReLU(SLOPE))
            inputs = outputs
        super().__init__(*layers, nn.Conv2d(inputs, latent, side), nn.Flatten())
        initialise(self, norm_start)


class Decoder(nn.Sequential):
    """Latents (N, D) -> pictures (N, C, S, S) in [-1, 1] (`tanh`) or [0, 1] (`sigmoid`): the encoder's mirror.

    The first transposed convolution has neither norm nor activation behind it, as in the released code.

    Args:
        size: S; see `blocks_of`.
        latent: D.
        channels: C.
        width: channels before the last convolution (paper: 64).
        output: the last step.
        norm_start: as the encoder's.
    """

    def __init__(
        self,
        size: int,
        latent: int,
        *,
        channels: int = 1,
        width: int = 64,
        output: Range = "tanh",
        norm_start: NormStart = "standard",
    ) -> None:
        count, side = blocks_of(size)
        widths = _widths(count, width)[::-1]
        layers: list[nn.Module] = [
            nn.Unflatten(1, (latent, 1, 1)),
            nn.ConvTranspose2d(latent, widths[0], side),
        ]
        for inputs, outputs in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(inputs, outputs, 4, 2, 1),
                nn.BatchNorm2d(outputs),
                nn.LeakyReLU(SLOPE),
            ]
        layers += [nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1), nn.Tanh() if output == "tanh" else nn.Sigmoid()]
        super().__init__(*layers)
        initialise(self, norm_start)


def initialise(module: nn.Module, norm_start: NormStart, *, seed: int | None = None) -> None:
    """Orthogonal convolutions, no bias; batch norm's scale 1, or N(0, 0.02) as the released code has it.

    Args:
        module: an encoder, a decoder, or what has both.
        norm_start: the kind of scale.
        seed: every layer's weights follow from it and the layer's name, whatever other layers there are; None takes torch's
            global generator.
    """
    for name, part in module.named_modules():
        if seed is not None:
            torch.manual_seed(derive_seed(seed, name))
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.orthogonal_(part.weight)
            assert part.bias is not None
            nn.init.zeros_(part.bias)
        elif isinstance(part, nn.BatchNorm2d) and norm_start == "paper":
            nn.init.normal_(part.weight, 0.0, 0.02)


def to_unit(images: Tensor, output: Range) -> Tensor:
    """Pictures in the decoder's range -> [0, 1]."""
    return (images + 1) / 2 if output == "tanh" else images


def from_bytes(images: Tensor, output: Range) -> Tensor:
    """uint8 pictures -> float32 in the decoder's range."""
    unit = images.float() / 255
    return unit * 2 - 1 if output == "tanh" else unit


def to_bytes(images: Tensor, output: Range) -> Tensor:
    """Pictures in the decoder's range -> uint8, rounded."""
    return (to_unit(images, output) * 255).round().clamp(0, 255).to(torch.uint8)
