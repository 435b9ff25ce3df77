"""The discriminator: a small network that judges overlapping patches of a picture by themselves. N pictures, H x W pixels."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ..core.errors import UsageError

SLOPE = 0.2
CriticNorm = Literal["instance", "none"]


class PatchDiscriminator(nn.Module):
    """pix2pix's PatchGAN, 2,764,737 parameters as published: pictures (N, 3, H, W) in [-1, 1] -> scores (N, 1, h, w).

    Convolutions of 4 x 4, instance norms without scale and shift but in the first and last layer, no sigmoid; it knows
    nothing of the mixture. With three halvings each score is of 70 x 70 pixels. Weights start as N(0, 0.02).

    Args:
        width: channels of the first layer (paper: 64); each further one doubles them, up to eight times.
        layers: halvings (paper: 3); 2 make patches of 34 x 34 pixels, for smaller pictures.
        norm: instance (paper), or none (ours): instance norms take away how bright and how strong each channel is, so that
            a discriminator with them hardly sees a picture's colours and contrast, and lets them go too far.

    Raises:
        UsageError: a number is below 1.
    """

    def __init__(self, *, width: int = 64, layers: int = 3, norm: CriticNorm = "instance") -> None:
        if width < 1 or layers < 1:
            raise UsageError(f"width is {width} and layers {layers}, but both must be at least 1")
        parts: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        channels = width
        for number in range(1, layers + 1):
            wider = width * min(2**number, 8)
            stride = 2 if number < layers else 1
            parts.append(nn.Conv2d(channels, wider, 4, stride=stride, padding=1))
            parts += [nn.InstanceNorm2d(wider), nn.LeakyReLU(SLOPE)] if norm == "instance" else [nn.LeakyReLU(SLOPE)]
            channels = wider
        parts.append(nn.Conv2d(channels, 1, 4, padding=1))
        super().__init__()
        self.layers = nn.Sequential(*parts)
        for part in parts:
            if isinstance(part, nn.Conv2d):
                nn.init.normal_(part.weight, 0, 0.02)

    def forward(self, pictures: Tensor) -> Tensor:
        """Scores of the patches: near 1 for those of the domain, near 0 for made ones."""
        found: Tensor = self.layers(pictures)
        return found
