"""Dilated residual networks (Yu, Koltun and Funkhouser, arXiv:1705.09914): an eighth of the resolution, never less.

(N, 3, H, W) -> features (N, C, H / 8, W / 8), or logits of a classifier over them. Layer names are those of the authors'
code. Shape letters: N batch, C channels, H x W pixels.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError
from .resnet import BasicBlock, Bottleneck, conv3x3, initialise_convolutions

Kind = Literal["A", "C", "D"]
_DEPTHS: dict[str, tuple[Kind, tuple[int, ...]]] = {
    "drn-a-50": ("A", (3, 4, 6, 3)),
    "drn-c-26": ("C", (1, 1, 2, 2, 2, 2, 1, 1)),
    "drn-c-42": ("C", (1, 1, 3, 4, 6, 3, 1, 1)),
    "drn-d-22": ("D", (1, 1, 2, 2, 2, 2, 1, 1)),
    "drn-d-38": ("D", (1, 1, 3, 4, 6, 3, 1, 1)),
}
_STRIDES = (1, 2, 2, 2, 1, 1, 1, 1)
_DILATIONS = (1, 1, 1, 1, 2, 4, 2, 1)
_WIDTHS = (1, 2, 4, 8, 16, 32, 32, 32)
"""of the stages, in units of the stem's"""


class DRN(nn.Module):
    """A dilated residual network of kind C or D, whose last two stages have no shortcuts and less dilation.

    Args:
        kind: C has residual blocks in its first two and plain blocks of two convolutions in its last two stages; D has
            single convolutions in their place.
        blocks: blocks, or convolutions, of the eight stages.
        classes: of the classifier.
        channels: of the pictures.
        width: channels of the stem; 16 is the published network.
    """

    def __init__(
        self,
        kind: Literal["C", "D"],
        blocks: tuple[int, ...],
        *,
        classes: int,
        channels: int = 3,
        width: int = 16,
    ) -> None:
        super().__init__()
        self.layer0 = nn.Sequential(
            nn.Conv2d(channels, width, 7, padding=3, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        inputs = width
        for stage, (count, relative) in enumerate(zip(blocks, _WIDTHS, strict=True)):
            outputs, stride, dilation = relative * width, _STRIDES[stage], _DILATIONS[stage]
            plain = stage in (6, 7) or (kind == "D" and stage in (0, 1))
            if plain:
                convolutions = count if kind == "D" else 2 * count
                layer = _plain(inputs, outputs, convolutions, stride=stride, dilation=dilation)
            else:
                layer = _residual(inputs, outputs, count, stride=stride, dilation=dilation)
            self.add_module(f"layer{stage + 1}", layer)
            inputs = outputs
        self.out_channels = inputs
        self.fc = nn.Conv2d(inputs, classes, 1)
        initialise_convolutions(self)

    def features(self, images: Tensor) -> Tensor:
        x = self.layer0(images)
        for stage in range(len(_WIDTHS)):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return x

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(F.adaptive_avg_pool2d(self.features(images), 1)).flatten(1)


class DilatedResNet(nn.Module):
    """Kind A: a ResNet of bottlenecks whose last two stages dilate by 2 and 4 instead of halving the resolution.

    Args:
        blocks: of the four stages.
        classes: of the classifier.
        channels: of the pictures.
        width: channels of the stem; 64 is the published network. Parameter names are torchvision's, so its weights load.
    """

    def __init__(self, blocks: tuple[int, ...], *, classes: int, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = width
        for stage, (count, stride, dilation) in enumerate(zip(blocks, (1, 2, 1, 1), (1, 1, 2, 4), strict=True)):
            layers = []
            for position in range(count):
                first = stride if position == 0 else 1
                layers.append(Bottleneck(inputs, width << stage, first, dilation=dilation))
                inputs = (width << stage) * Bottleneck.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.out_channels = inputs
        self.fc = nn.Linear(inputs, classes)
        initialise_convolutions(self)

    def features(self, images: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for stage in range(4):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return x

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(self.features(images), 1), 1))


def build_drn(name: str, *, classes: int, channels: int = 3, width: int = 16) -> DRN | DilatedResNet:
    """A dilated residual network by name: drn-a-50, drn-c-26, drn-c-42, drn-d-22 or drn-d-38.

    Args:
        name: as above.
        classes: of the classifier.
        channels: of the pictures.
        width: 16 is the published network; all channels are proportional to it.

    Raises:
        UsageError: there is no such network.
    """
    if name not in _DEPTHS:
        raise UsageError(f"net is {name!r}, but must be one of {', '.join(_DEPTHS)}")
    kind, blocks = _DEPTHS[name]
    if kind == "A":
        return DilatedResNet(blocks, classes=classes, channels=channels, width=4 * width)
    return DRN(kind, blocks, classes=classes, channels=channels, width=width)


def _residual(inputs: int, outputs: int, count: int, *, stride: int, dilation: int) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride, dilation=dilation)
    return nn.Sequential(first, *[BasicBlock(outputs, outputs, dilation=dilation) for _ in range(count - 1)])


def _plain(inputs: int, outputs: int, count: int, *, stride: int, dilation: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for position in range(count):
        convolution = conv3x3(inputs, outputs, stride if position == 0 else 1, dilation=dilation)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        inputs = outputs
    return nn.Sequential(*layers)
