"""Networks of depthwise convolutions, for 224-pixel and for small pictures: MobileNet (Howard et al., arXiv:1704.04861)
and MobileNetV2 (Sandler et al., arXiv:1801.04381).

MobileNetV2's parameter names are those of torchvision (`features.1.conv.0.0`, `classifier.1`), so its weights load.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .resnet import Stem, initialise_convolutions

_V1_BLOCKS = (
    # channels, stride
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *[(512, 1)] * 5,
    (1024, 2),
    (1024, 1),
)
_V2_STAGES = (
    # channels, blocks, stride of the first block
    (16, 1, 1),
    (24, 2, 2),
    (32, 3, 2),
    (64, 4, 2),
    (96, 3, 1),
    (160, 3, 2),
    (320, 1, 1),
)
_V2_EXPANSION = 6  # of every block but those of the first stage, which have no expansion
_V2_FEATURES = 1280


class SeparableBlock(nn.Sequential):
    """A 3x3 depthwise and a 1x1 convolution, each followed by norm and ReLU.

    (N, inputs, H, W) -> (N, outputs, H / stride, W / stride).
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(
            _convolution(inputs, inputs, 3, stride=stride, groups=inputs, activation=nn.ReLU),
            _convolution(inputs, outputs, 1, activation=nn.ReLU),
        )


class MobileNetV1(nn.Module):
    """MobileNet: (N, channels, H, W) -> logits (N, classes), for any H and W of at least 1.

    Args:
        classes: number of classes.
        channels: channels of the input pictures.
        multiplier: the paper's width multiplier, above 0; scales the channels of every layer.
        stem: `imagenet` divides the resolution by 32; `small` leaves out the first two halvings, of the stem and of the
            second block, so that 32 pixels end as 4x4; `half` leaves out that of the second block only.
    """

    def __init__(self, *, classes: int, channels: int = 3, multiplier: float = 1.0, stem: Stem = "imagenet") -> None:
        super().__init__()
        stem_stride, first_stride = _first_strides(stem)
        inputs = _scaled(32, multiplier)
        layers: list[nn.Module] = [_convolution(channels, inputs, 3, stride=stem_stride, activation=nn.ReLU)]
        for position, (plain, stride) in enumerate(_V1_BLOCKS):
            outputs = _scaled(plain, multiplier)
            layers.append(SeparableBlock(inputs, outputs, first_stride if position == 1 else stride))
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, classes)
        initialise_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        x = self.features(images)
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class InvertedResidual(nn.Module):
    """Expand by a 1x1, filter by a 3x3 depthwise, project by a linear 1x1 convolution, and add the input where it fits.

    (N, inputs, H, W) -> (N, outputs, H / stride, W / stride). Without expansion (1) the first convolution is left out.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, *, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(_convolution(inputs, hidden, 1, activation=nn.ReLU6))
        layers += [
            _convolution(hidden, hidden, 3, stride=stride, groups=hidden, activation=nn.ReLU6),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """MobileNetV2: (N, channels, H, W) -> logits (N, classes), for any H and W of at least 1.

    Args:
        classes: number of classes.
        channels: channels of the input pictures.
        multiplier: the paper's width multiplier, above 0; scales the channels of every layer, in multiples of 8; the
            1280 features before the classifier never become fewer.
        stem: `imagenet` divides the resolution by 32; `small` leaves out the first two halvings, of the stem and of the
            second stage, so that 32 pixels end as 4x4; `half` leaves out that of the second stage only.
        dropout: share of the features dropped before the classifier in training, in [0, 1].
    """

    def __init__(
        self,
        *,
        classes: int,
        channels: int = 3,
        multiplier: float = 1.0,
        stem: Stem = "imagenet",
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        stem_stride, first_stride = _first_strides(stem)
        inputs = _to_eights(32 * multiplier)
        layers: list[nn.Module] = [_convolution(channels, inputs, 3, stride=stem_stride, activation=nn.ReLU6)]
        for stage, (plain, count, stride) in enumerate(_V2_STAGES):
            outputs = _to_eights(plain * multiplier)
            strides = [first_stride if stage == 1 else stride] + [1] * (count - 1)
            for each in strides:
                layers.append(InvertedResidual(inputs, outputs, each, expansion=_V2_EXPANSION if stage > 0 else 1))
                inputs = outputs
        features = _to_eights(_V2_FEATURES * max(1.0, multiplier))
        layers.append(_convolution(inputs, features, 1, activation=nn.ReLU6))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(features, classes))
        initialise_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        x = self.features(images)
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def _convolution(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    activation: type[nn.ReLU] | type[nn.ReLU6],
    stride: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), activation(inplace=True))


def _first_strides(stem: Stem) -> tuple[int, int]:
    """The strides of the stem and of the first block that would halve the resolution after it."""
    return (1 if stem == "small" else 2), (2 if stem == "imagenet" else 1)


def _scaled(channels: int, multiplier: float) -> int:
    return max(1, round(channels * multiplier))


def _to_eights(channels: float) -> int:
    """The nearest multiple of 8, at least 8, and not below nine tenths of what was asked for."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8
