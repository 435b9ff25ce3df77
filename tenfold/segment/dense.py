"""Dilated networks to convert: a plain head, or DeepLab's (Chen et al., arXiv:1706.05587), on a dilated residual network.

Shape letters: N batch, K classes, H x W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..nets.drn import build_drn

RATES = (12, 24, 36)
"""of DeepLab's pyramid, at an eighth of the resolution"""


class DilatedSegmenter(nn.Module):
    """A dilated residual network with a head: (N, 3, H, W) -> logits (N, K, H, W), any H and W.

    Args:
        name: of the backbone, such as drn-d-22; see `tenfold.nets.drn`.
        num_classes: K.
        width: channels of the backbone's stem; 16 is the published network.
        pyramid: DeepLab's pyramid of parallel dilations before the classifier, else the classifier alone (as DRN).
    """

    def __init__(self, name: str, num_classes: int, *, width: int = 16, pyramid: bool = False) -> None:
        super().__init__()
        self.backbone = build_drn(name, classes=num_classes, width=width)
        channels = self.backbone.out_channels
        # the backbone's own classifier of whole pictures has nothing to say here
        self.backbone.fc = nn.Identity()  # type: ignore[assignment]
        self.pyramid = AtrousPyramid(channels, 16 * width) if pyramid else nn.Identity()
        self.classifier = nn.Conv2d(16 * width if pyramid else channels, num_classes, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        logits = self.classifier(self.pyramid(self.backbone.features(pictures)))
        return F.interpolate(logits, pictures.shape[2:], mode="bilinear", align_corners=False)


class AtrousPyramid(nn.Module):
    """DeepLabV3's pyramid: 1x1, 3x3 at three rates, and the picture's mean, concatenated and projected.

    (N, inputs, H, W) -> (N, outputs, H, W).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList([_convolution(inputs, outputs, 1)])
        self.branches.extend(_convolution(inputs, outputs, 3, rate) for rate in RATES)
        self.whole = _convolution(inputs, outputs, 1)
        self.project = _convolution((len(RATES) + 2) * outputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        whole = self.whole(F.adaptive_avg_pool2d(x, 1)).expand(-1, -1, *x.shape[2:])
        return self.project(torch.cat([*(branch(x) for branch in self.branches), whole], 1))


def _convolution(inputs: int, outputs: int, kernel: int, rate: int = 1) -> nn.Sequential:
    padding = rate * (kernel // 2)
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=rate, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
