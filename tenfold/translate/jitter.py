"""What discriminators are shown, shifted in colour: differentiable augmentation (arXiv:2006.10738). N pictures, H x W pixels.

Were only the domain's pictures shifted, the generator would learn to make shifted ones. So made ones are shifted too, by
numbers of the same distribution, and the generator learns through the shift.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..core.errors import UsageError


def jitter_colours(pictures: Tensor, draws: Tensor) -> Tensor:
    """Pictures of another brightness, then saturation, then contrast; not clipped, and differentiable.

    With b, s, c in [-1/2, 1/2]: brightness adds b, saturation multiplies the differences to each pixel's mean over channels
    by 1 + 2 s, contrast those to each picture's mean by 1 + c.

    Args:
        pictures: (N, C, H, W) in [-1, 1].
        draws: (N, 3), b, s and c of each picture; 0 leaves it as it is.
    """
    brightness, saturation, contrast = draws.to(pictures)[..., None, None, None].unbind(1)
    brighter = pictures + brightness
    grey = brighter.mean(1, keepdim=True)
    coloured = grey + (1 + 2 * saturation) * (brighter - grey)
    mean = coloured.mean((1, 2, 3), keepdim=True)
    return mean + (1 + contrast) * (coloured - mean)


def colour_draws(*count: int, strength: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    """Uniform b, s and c for `jitter_colours`: float32 (*count, 3) in [-strength / 2, strength / 2].

    Args:
        count: how many pictures, and how many draws for each of them.
        strength: in [0, 1]; 1 is the source's, 0 shifts nothing.
        generator: of the random numbers, on the CPU; None is torch's own.
    """
    return strength * (torch.rand(*count, 3, generator=generator) - 0.5)


class ColourJitter:
    """Shifts the colours of pictures in [-1, 1] at random: the `augment` of an `AdversarialLoss` of pictures.

    Args:
        strength: in (0, 1]; 1 is the source's.

    Raises:
        UsageError: the strength is out of range.
    """

    def __init__(self, strength: float = 1.0) -> None:
        if not 0 < strength <= 1:
            raise UsageError(f"strength is {strength}, but must be above 0 and at most 1")
        self.strength = strength

    def __call__(self, pictures: Tensor, generator: torch.Generator) -> Tensor:
        """(N, C, H, W) in [-1, 1] -> the same shape, a little out of that range; `generator` is on the CPU."""
        return jitter_colours(pictures, colour_draws(len(pictures), strength=self.strength, generator=generator))
