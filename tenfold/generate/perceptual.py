"""The perceptual loss: squared error between features of a network that a person gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from ..core.task import IMAGENET_MEAN, IMAGENET_STD
from ..nets.vgg_features import VGGFeatures
from .autoencoder import Range, to_unit
from .config import TrainSettings

Features = Callable[[Tensor], Sequence[Tensor]]
PAPER_LAYERS = ("relu1_1", "relu2_1", "relu3_1")


class PerceptualLoss(nn.Module):
    """weight x the sum over layers of the mean squared difference of features (paper: half the sum, VGG-19, weight 0.1).

    Args:
        features: pictures (N, 3, H, W) -> a list of feature tensors, such as `tenfold.nets.VGGFeatures`. A module is not trained.
        weight: factor of the sum; 0.5 is the paper's.
        mean: subtracted from pictures in [0, 1], each channel; ImageNet's by default.
        std: then divided by.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        features: Features,
        *,
        weight: float = 0.5,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        if isinstance(features, nn.Module):
            features.eval().requires_grad_(False)
        self.features = features
        self.weight = weight
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: Tensor, rebuilt: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1], C 1 or 3, and rebuilt ones -> a number."""
        with torch.no_grad():
            wanted = self.features(self._prepared(images))
        found = self.features(self._prepared(rebuilt))
        return self.weight * torch.stack([(a - b).square().mean() for a, b in zip(wanted, found, strict=True)]).sum()

    def train(self, mode: bool = True) -> Self:
        """The features stay in `eval` mode: they are not trained."""
        super().train(mode)
        if isinstance(self.features, nn.Module):
            self.features.eval()
        return self

    def _prepared(self, images: Tensor) -> Tensor:
        return (images.expand(-1, 3, -1, -1) - self.mean) / self.std


def perceptual_loss(
    settings: TrainSettings, output: Range, device: torch.device
) -> Callable[[Tensor, Tensor], Tensor] | None:
    """What the settings ask for, on pictures in the decoder's range; None for none.

    Raises:
        UsageError: the file of weights is missing or of another network.
    """
    if settings.perceptual == 0:
        return None
    assert settings.perceptual_weights is not None
    loss = PerceptualLoss(VGGFeatures.load(settings.perceptual_weights, PAPER_LAYERS)).to(device)
    return lambda images, rebuilt: settings.perceptual * loss(to_unit(images, output), to_unit(rebuilt, output))
