"""Pyramidal residual networks with additive widening (Han et al., arXiv:1610.02915), for small pictures.

Parameter names are those of the authors' PyTorch code (`conv1`, `bn1`, `layer1.0.bn1`, `bn_final`, `fc`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .resnet import conv3x3, initialise_convolutions


class PoolPadShortcut(nn.Module):
    """Average the pixels that a stride merges, and append zero channels; no parameters.

    (N, inputs, H, W) -> (N, outputs, H / stride, W / stride), halves rounded up as a 3x3 convolution does.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.pool = nn.Identity() if stride == 1 else nn.AvgPool2d(stride, ceil_mode=True)
        self.missing = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(self.pool(x), (0, 0, 0, 0, 0, self.missing))


class PyramidBlock(nn.Module):
    """Two 3x3 convolutions, three norms and one ReLU; (N, inputs, H, W) -> (N, width, H / stride, W / stride)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv3x3(inputs, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.bn3 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = PoolPadShortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(self.bn1(x))
        out = self.conv2(self.relu(self.bn2(out)))
        return self.bn3(out) + self.shortcut(x)


class PyramidBottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions; (N, inputs, H, W) -> (N, 4 width, H / stride, W / stride); stride in the 3x3."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn4 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = PoolPadShortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(self.bn1(x))
        out = self.conv2(self.relu(self.bn2(out)))
        out = self.conv3(self.relu(self.bn3(out)))
        return self.bn4(out) + self.shortcut(x)


class PyramidNet(nn.Module):
    """A pyramidal residual network: (N, channels, H, W) -> logits (N, classes), for any H and W of at least 1.

    Args:
        block: the kind of residual block.
        blocks: number of blocks of each stage; stages after the first halve the resolution.
        alpha: channels that all blocks together add to `width`, each the same share of them, at least 0.
        classes: number of classes.
        channels: channels of the input pictures.
        width: channels after the stem.
        stem: one 3x3 convolution, with stride 1 (`small`) or 2 (`half`).
    """

    def __init__(
        self,
        block: type[PyramidBlock] | type[PyramidBottleneck],
        blocks: Sequence[int],
        *,
        alpha: int,
        classes: int,
        channels: int = 3,
        width: int = 16,
        stem: Literal["small", "half"] = "small",
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, width, stride=2 if stem == "half" else 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.stages = len(blocks)
        inputs, made = width, 0
        for stage, count in enumerate(blocks):
            layers = []
            for position in range(count):
                made += 1
                # The paper rounds down; the authors' code, and with it the published sizes, round to the nearest.
                wider = round(width + alpha * made / sum(blocks))
                layers.append(block(inputs, wider, stride=2 if stage > 0 and position == 0 else 1))
                inputs = wider * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.bn_final = nn.BatchNorm2d(inputs)
        self.relu_final = nn.ReLU(inplace=True)
        self.fc = nn.Linear(inputs, classes)
        initialise_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        x = self.bn1(self.conv1(images))
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        x = self.relu_final(self.bn_final(x))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
