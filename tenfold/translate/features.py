"""What pictures look like to the perceptual and style losses: VGG-16's features, or a fixed bank of filters without weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.batches import derive_seed
from ..core.errors import UsageError
from ..core.task import IMAGENET_MEAN, IMAGENET_STD
from ..nets.vgg_features import VGGFeatures

LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
CONTENT = 1
"""which of a network's layers the perceptual loss looks at: relu2_2"""


class FilterBank(nn.Module):
    """Random 7 x 7 filters, rectified, at four scales (ours, after Ustyuzhaninov et al., arXiv:1606.00021): no file needed.

    Such statistics carry colour and texture, but not what objects are. The same filters for ever.

    Args:
        filters: at each scale, at least 1.
        scales: how many; each next one sees the picture at half the size.
    """

    weight: Tensor

    def __init__(self, *, filters: int = 48, scales: int = 4) -> None:
        super().__init__()
        if filters < 1 or scales < 1:
            raise UsageError(f"filters is {filters} and scales {scales}, but both must be at least 1")
        self.scales = scales
        random = torch.Generator().manual_seed(derive_seed("filter bank"))
        weight = torch.randn(filters, 3, 7, 7, generator=random)
        # a third of the filters keep a mean, and so see colour; the others see change alone
        weight[filters // 3 :] -= weight[filters // 3 :].mean((2, 3), keepdim=True)
        weight /= weight.flatten(1).norm(dim=1)[:, None, None, None]
        self.register_buffer("weight", weight)

    def one(self, images: Tensor, scale: int) -> Tensor:
        """What `forward` gives at one scale."""
        for _ in range(scale):
            images = F.avg_pool2d(images, 2)
        return self._filtered(images)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Pictures (N, 3, H, W), normalised as ImageNet's -> features (N, filters, H / 2^s, W / 2^s) for each scale s."""
        found = []
        for _ in range(self.scales):
            if min(images.shape[2:]) < 4:
                break
            found.append(self._filtered(images))
            images = F.avg_pool2d(images, 2)
        return found

    def _filtered(self, images: Tensor) -> Tensor:
        return F.relu(F.conv2d(F.pad(images, (3, 3, 3, 3), mode="reflect"), self.weight))


class Looks(nn.Module):
    """Features of pictures in [-1, 1], from a network that is not trained.

    Args:
        network: pictures (N, 3, H, W), normalised as ImageNet's -> a list of tensors (N, C, h, w), such as `VGGFeatures`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(-1, 1, 1))

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> (N, C, h, w) of each layer."""
        found: Sequence[Tensor] = self.network(self._normalized(pictures))
        return list(found)

    def content(self, pictures: Tensor) -> Tensor:
        """The layer that the perceptual loss looks at, (N, C, h, w), without the work for deeper ones where that is known."""
        images = self._normalized(pictures)
        if isinstance(self.network, FilterBank):
            return self.network.one(images, CONTENT)
        if isinstance(self.network, VGGFeatures):
            return self.network.first(images, CONTENT + 1)[CONTENT]
        found: Tensor = self.network(images)[CONTENT]
        return found

    def _normalized(self, pictures: Tensor) -> Tensor:
        return ((pictures + 1) / 2 - self.mean) / self.std


def make_looks(vgg: Path | None) -> Looks:
    """VGG-16's features from a file, or without one the filter bank's.

    Raises:
        UsageError: the file is missing, damaged or of another network.
    """
    return Looks(FilterBank() if vgg is None else VGGFeatures.load(vgg.expanduser(), LAYERS))
