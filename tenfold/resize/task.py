"""What a network of a run must fit: the pictures it reads and the classes it names."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..core.batches import derive_seed
from ..core.data import ImageSet, normalize
from .config import Config

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
    def of(cls, config: Config, images: ImageSet) -> Task:
        own = config.data.normalize == "own"
        mean, std = (images.mean, images.std) if own else (IMAGENET_MEAN, IMAGENET_STD)
        return cls(images.shape, images.classes, mean, std)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Task:
        return cls(**{name: tuple(value) for name, value in state.items()})

    def state(self) -> dict[str, Any]:
        return asdict(self)

    def normalized(self, pictures: Tensor, *, channels_last: bool = False) -> Tensor:
        """uint8 (N, C, H, W) in [0, 255] as the float32 that the networks read."""
        result = normalize(pictures, self.mean, self.std)
        return result.to(memory_format=torch.channels_last) if channels_last else result


def calibration_images(config: Config, task: Task, images: ImageSet) -> Tensor:
    """The first `config.calibration` of the training images in an order of the seed's, normalised: (N, C, H, W)."""
    generator = torch.Generator().manual_seed(derive_seed(config.seed, "calibration"))
    rows = torch.randperm(len(images), generator=generator)[: max(config.calibration, 1)]
    return task.normalized(images.fetch(rows)[0], channels_last=config.compute.channels_last)
