"""The generator: a residual network for pictures with conditional attention at three places. N pictures, H x W pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError
from .attention import ConditioningName, resized_map
from .mixture import Mix, batched
from .symmetrized import Symmetrized

Doubling = Literal["transposed", "nearest"]
Norm = Literal["instance", "layer"]
STRIDE = 4
"""by which the trunk sees pictures smaller"""


class ResidualBlock(nn.Module):
    """x + two 3 x 3 convolutions with norms, a ReLU between them and none behind: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int, norm: Norm = "instance") -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.second = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.norms = nn.ModuleList([make_norm(norm, channels), make_norm(norm, channels)])

    def forward(self, features: Tensor) -> Tensor:
        inner = F.relu(self.norms[0](self.first(features)))
        found: Tensor = features + self.norms[1](self.second(inner))
        return found


class ResidualGenerator(nn.Module):
    """Johnson's and CycleGAN's generator, 11,378,179 parameters as published: pictures in [-1, 1] -> pictures in [-1, 1].

    Modules `stem`, `down`, `trunk`, `up` and `out` follow each other, so that each can be named by `symmetrize`.

    Args:
        width: channels of the stem, doubled by each of the two halvings (paper: 64).
        blocks: residual blocks (paper: 9).
        skip: give the picture, times a factor for each channel (module `keep`), plus what was found, clipped, instead of its
            tanh (ours): what norms take from a picture need not be found again.
        doubling: transposed convolutions (paper), or nearest (ours): repeated pixels and a convolution, without their grid.
        norm: instance (paper), or layer (ours): over all channels together, which keeps a picture's colours and contrast.

    Raises:
        UsageError: a number is below 1.
    """

    def __init__(
        self,
        *,
        width: int = 64,
        blocks: int = 9,
        skip: bool = False,
        doubling: Doubling = "transposed",
        norm: Norm = "instance",
    ) -> None:
        if width < 1 or blocks < 1:
            raise UsageError(f"width is {width} and blocks {blocks}, but both must be at least 1")
        stem = nn.Conv2d(3, width, 7, padding=3, padding_mode="reflect")
        down = [
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1),
        ]
        up = [_doubled(4 * width, 2 * width, doubling), _doubled(2 * width, width, doubling)]
        out = nn.Conv2d(width, 3, 7, padding=3, padding_mode="reflect")
        super().__init__()
        self.stem = _normed(norm, stem)
        self.down = nn.Sequential(*(_normed(norm, layer) for layer in down))
        self.trunk = nn.Sequential(*(ResidualBlock(4 * width, norm) for _ in range(blocks)))
        self.up = nn.Sequential(*(_normed(norm, *layers) for layers in up))
        self.out = out
        self.keep = Kept() if skip else None

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) in [-1, 1], H and W from 16 on -> the same."""
        height, width = pictures.shape[2:]
        pictures = F.pad(pictures, rest_of(pictures), mode="reflect")  # the doublings give multiples of 4 only
        found: Tensor = self.out(self.up(self.trunk(self.down(self.stem(pictures)))))
        made = torch.tanh(found) if self.keep is None else clipped(self.keep(pictures) + found)
        return made[:, :, :height, :width]


class Kept(nn.Module):
    """A factor for each of a picture's three channels, 1 at first."""

    def __init__(self) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.ones(3))

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures * self.factors.view(-1, 1, 1)


class SymGenerator(Symmetrized):
    """The paper's generator: `ResidualGenerator` with a conditioning behind its stem, its halvings and its trunk.

    model(pictures, mix=[0.5, 0.3, 0.2]) takes and gives pictures (N, 3, H, W) in [-1, 1] of any size from 16 x 16 on.
    Attention adds 104,400 parameters, 0.92 %, to the published size.

    Args:
        losses: L, or the name of each loss.
        width: channels of the stem (paper: 64).
        blocks: residual blocks (paper: 9).
        conditioning: attention (the paper's), film, concat.
        reduction: see `ConditionalAttention`.
        skip: see `ResidualGenerator`; what is kept of the picture is conditioned too.
        doubling: see `ResidualGenerator`.
        norm: see `ResidualGenerator`.
        last: also condition behind the doublings (ours; the authors' code makes that place too, but never calls it).

    Raises:
        UsageError: a number is out of range, or a name is given twice.
    """

    def __init__(
        self,
        losses: int | Sequence[str] = 3,
        *,
        width: int = 64,
        blocks: int = 9,
        conditioning: ConditioningName = "attention",
        reduction: int = 4,
        skip: bool = False,
        doubling: Doubling = "transposed",
        norm: Norm = "instance",
        last: bool = False,
    ) -> None:
        network = ResidualGenerator(width=width, blocks=blocks, skip=skip, doubling=doubling, norm=norm)
        places = {"stem": width, "down": 4 * width, "trunk": 4 * width}
        places |= ({"up": width} if last else {}) | ({"keep": 3} if skip else {})
        at, channels = tuple(places), tuple(places.values())
        super().__init__(network, losses, at, channels, conditioning=conditioning, reduction=reduction)
        if network.keep is not None and conditioning == "attention":
            nn.init.constant_(network.keep.factors, 2.0)  # attention begins near 1/2: together they keep the picture

    def forward(self, pictures: Tensor, *, mix: Mix) -> Tensor:  # type: ignore[override]
        """Pictures (N, 3, H, W) in [-1, 1] under a mixture (see `Symmetrized`) -> pictures of the same size and range.

        Raises:
            UsageError: the pictures are smaller than 16 x 16, or of another number of channels, or the mixture does not fit.
        """
        if pictures.ndim != 4 or pictures.shape[1] != 3 or min(pictures.shape[2:]) < 16:
            raise UsageError(
                f"pictures have the shape {tuple(pictures.shape)}, but must be (N, 3, H, W) from 16 x 16 on"
            )
        if isinstance(mix, Tensor) and mix.ndim >= 3:  # a map goes where the pictures go
            mix = F.pad(resized_map(batched(mix, len(pictures)), pictures), rest_of(pictures), mode="replicate")
        found: Tensor = super().forward(pictures, mix=mix)
        return found


def rest_of(pictures: Tensor) -> tuple[int, int, int, int]:
    """What `F.pad` adds at the right and bottom to reach multiples of 4."""
    return 0, -pictures.shape[3] % STRIDE, 0, -pictures.shape[2] % STRIDE


def clipped(pictures: Tensor) -> Tensor:
    """Pictures in [-1, 1]. Of what is clipped, gradients pass that lead back inside: it can return, but not run away."""
    return _Clip.apply(pictures) if torch.is_grad_enabled() else pictures.clamp(-1, 1)  # type: ignore[no-untyped-call]


class _Clip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pictures: Tensor) -> Tensor:
        ctx.save_for_backward(pictures)
        return pictures.clamp(-1, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (pictures,) = ctx.saved_tensors
        outwards = ((pictures > 1) & (gradient < 0)) | (
            (pictures < -1) & (gradient > 0)
        )  # a step is against the gradient
        return gradient.masked_fill(outwards, 0)


def make_norm(norm: Norm, channels: int) -> nn.Module:
    """An instance norm without scale and shift, or one over all channels and positions, with them."""
    return nn.InstanceNorm2d(channels) if norm == "instance" else nn.GroupNorm(1, channels)


def _normed(norm: Norm, *layers: nn.Module) -> nn.Sequential:
    """Layers of which the last is a convolution, a norm, a ReLU."""
    channels = layers[-1].out_channels
    assert isinstance(channels, int)
    return nn.Sequential(*layers, make_norm(norm, channels), nn.ReLU())


def _doubled(inputs: int, outputs: int, doubling: Doubling) -> list[nn.Module]:
    if doubling == "transposed":
        return [nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)]
    return [nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")]
