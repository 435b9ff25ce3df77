"""The generator: a residual network for pictures with conditional attention at three places. N pictures, H x W pixels."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError
from .attention import ConditioningName
from .mixture import Mix
from .symmetrize import Symmetrized

STRIDE = 4
"""by which the trunk sees pictures smaller"""


class ResidualBlock(nn.Module):
    """x + two 3 x 3 convolutions with instance norms, a ReLU between them and none behind: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.second = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.norms = nn.ModuleList([nn.InstanceNorm2d(channels), nn.InstanceNorm2d(channels)])

    def forward(self, features: Tensor) -> Tensor:
        inner = F.relu(self.norms[0](self.first(features)))
        found: Tensor = features + self.norms[1](self.second(inner))
        return found


class ResidualGenerator(nn.Sequential):
    """Johnson's and CycleGAN's generator, 11,378,179 parameters as published: pictures in [-1, 1] -> pictures in [-1, 1].

    Modules `stem`, `down`, `trunk`, `up` and `out` follow each other, so that each can be named by `symmetrize`.

    Args:
        width: channels of the stem, doubled by each of the two halvings (paper: 64).
        blocks: residual blocks (paper: 9).

    Raises:
        UsageError: a number is below 1.
    """

    def __init__(self, *, width: int = 64, blocks: int = 9) -> None:
        if width < 1 or blocks < 1:
            raise UsageError(f"width is {width} and blocks {blocks}, but both must be at least 1")
        stem = nn.Conv2d(3, width, 7, padding=3, padding_mode="reflect")
        down = [
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1),
        ]
        up = [
            nn.ConvTranspose2d(4 * width, 2 * width, 3, stride=2, padding=1, output_padding=1),
            nn.ConvTranspose2d(2 * width, width, 3, stride=2, padding=1, output_padding=1),
        ]
        out = nn.Conv2d(width, 3, 7, padding=3, padding_mode="reflect")
        super().__init__(
            OrderedDict(
                stem=_normed(stem),
                down=nn.Sequential(*(_normed(layer) for layer in down)),
                trunk=nn.Sequential(*(ResidualBlock(4 * width) for _ in range(blocks))),
                up=nn.Sequential(*(_normed(layer) for layer in up)),
                out=nn.Sequential(out, nn.Tanh()),
            )
        )


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

    Raises:
        UsageError: a number is out of range, or a name is given twice.
    """

    SITES = ("stem", "down", "trunk")

    def __init__(
        self,
        losses: int | Sequence[str] = 3,
        *,
        width: int = 64,
        blocks: int = 9,
        conditioning: ConditioningName = "attention",
        reduction: int = 4,
    ) -> None:
        network = ResidualGenerator(width=width, blocks=blocks)
        channels = (width, 4 * width, 4 * width)
        super().__init__(network, losses, self.SITES, channels, conditioning=conditioning, reduction=reduction)

    def forward(self, pictures: Tensor, *, mix: Mix) -> Tensor:  # type: ignore[override]
        """Pictures (N, 3, H, W) in [-1, 1] under a mixture (see `Symmetrized`) -> pictures of the same size and range.

        Raises:
            UsageError: the pictures are smaller than 16 x 16, or of another number of channels, or the mixture does not fit.
        """
        if pictures.ndim != 4 or pictures.shape[1] != 3 or min(pictures.shape[2:]) < 16:
            raise UsageError(
                f"pictures have the shape {tuple(pictures.shape)}, but must be (N, 3, H, W) from 16 x 16 on"
            )
        height, width = pictures.shape[2:]
        across, down = -width % STRIDE, -height % STRIDE
        if across or down:  # the doublings give multiples of 4 only
            pictures = F.pad(pictures, (0, across, 0, down), mode="reflect")
        found: Tensor = super().forward(pictures, mix=mix)
        return found[:, :, :height, :width]


def _normed(layer: nn.Module) -> nn.Sequential:
    """A convolution, an instance norm without scale and shift, a ReLU."""
    channels = layer.out_channels
    assert isinstance(channels, int)
    return nn.Sequential(layer, nn.InstanceNorm2d(channels), nn.ReLU())
