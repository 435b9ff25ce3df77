"""What a network of a run must fit: the pictures it reads and the classes it names."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from .config import DataConfig, MaskedDataConfig
from .data import ImageSet, normalize
from .masks import MaskedImages

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Task:
    """Kept with the trained weights, so that they are usable where the data set is not."""

    shape: tuple[int, ...]
    """(C, H, W) of the pictures"""
    classes: tuple[str, ...]
    """names, in the order of the logits"""
    mean: tuple[float, ...]
    """of each channel, for values in [0, 1]"""
    std: tuple[float, ...]
    """of each channel, for values in [0, 1]"""

    @classmethod
    def of(cls, config: DataConfig | MaskedDataConfig, images: ImageSet | MaskedImages) -> Task:
        """What pictures of this set are, normalised as the settings say."""
        own = config.normalize == "own"
        mean, std = (images.mean, images.std) if own else (IMAGENET_MEAN, IMAGENET_STD)
        return cls(images.shape, images.classes, mean, std)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Task:
        return cls(**{name: tuple(value) for name, value in state.items()})

    def state(self) -> dict[str, Any]:
        return asdict(self)

    def normalized(self, pictures: Tensor, *, channels_last: bool = False) -> Tensor:
        """Pixels (N, C, H, W) in [0, 255], of any type, as the float32 that the networks read."""
        result = normalize(pictures, self.mean, self.std)
        return result.to(memory_format=torch.channels_last) if channels_last else result
