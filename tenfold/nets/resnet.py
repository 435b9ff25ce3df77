"""Residual networks: basic and bottleneck blocks (He et al., arXiv:1512.03385), pre-activation and wide blocks
(arXiv:1603.05027, arXiv:1605.07146), with the stem for small pictures or the one for ImageNet.

Parameter names are those of torchvision (`conv1`, `bn1`, `layer1.0.conv1`, `downsample`, `fc`), so its weights load.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Shortcut = Literal["pad", "projection"]
Stem = Literal["small", "half", "imagenet"]


def conv3x3(inputs: int, outputs: int, stride: int = 1, *, dilation: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps the resolution but for its stride; no bias, a norm follows."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)


def initialise_convolutions(network: nn.Module) -> None:
    """Draw the weights of all convolutions anew, as suits ReLUs (He et al., arXiv:1502.01852), by their fan-out."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class PadShortcut(nn.Module):
    """Option A of arXiv:1512.03385: subsample, and pad the new channels with zeros on both sides; no parameters."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = (outputs - inputs) // 2
        self.after = outputs - inputs - self.before

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


def make_shortcut(kind: Shortcut, inputs: int, outputs: int, stride: int, *, norm: bool) -> nn.Module | None:
    """What a block adds to its residual branch where the shape changes; None where the input itself fits.

    Args:
        kind: `projection` is a 1x1 convolution, `pad` is option A without parameters.
        norm: whether a BatchNorm follows the projection.
    """
    if stride == 1 and inputs == outputs:
        return None
    if kind == "pad":
        return PadShortcut(inputs, outputs, stride)
    convolution = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs)) if norm else nn.Sequential(convolution)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; (N, inputs, H, W) -> (N, width, H / stride, W / stride)."""

    expansion = 1

    def __init__(
        self, inputs: int, width: int, stride: int = 1, *, shortcut: Shortcut = "projection", dilation: int = 1
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(inputs, width, stride, dilation=dilation)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, dilation=dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = make_shortcut(shortcut, inputs, width, stride, norm=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions; (N, inputs, H, W) -> (N, 4 width, H / stride, W / stride); stride in the 3x3."""

    expansion = 4

    def __init__(
        self, inputs: int, width: int, stride: int = 1, *, shortcut: Shortcut = "projection", dilation: int = 1
    ) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride, dilation=dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = make_shortcut(shortcut, inputs, outputs, stride, norm=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class PreActivationBlock(nn.Module):
    """Norm and ReLU before each of two 3x3 convolutions; a projection reads the activated input, as in wide ResNets."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int = 1, *, shortcut: Shortcut = "projection") -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv3x3(inputs, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = make_shortcut(shortcut, inputs, width, stride, norm=False)

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu(self.bn1(x))
        out = self.conv2(self.relu(self.bn2(self.conv1(active))))
        return out + (x if self.downsample is None else self.downsample(active))


Block = type[BasicBlock] | type[Bottleneck] | type[PreActivationBlock]


class ResNet(nn.Module):
    """A residual network: (N, channels, H, W) -> logits (N, classes), for any H and W of at least 8.

    Args:
        block: the kind of residual block.
        blocks: number of blocks of each stage; stages after the first halve the resolution.
        classes: number of classes.
        channels: channels of the input pictures.
        width: channels of the first stage's inner convolutions; each stage doubles it.
        stem: `small` is one 3x3 convolution; `half` is the same with stride 2; `imagenet` is 7x7 stride 2 and a pooling.
        stem_width: channels after the stem; `width` when not given (wide networks keep 16).
        shortcut: what a block that changes shape adds: a 1x1 projection, or option A's padding without parameters.
    """

    def __init__(
        self,
        block: Block,
        blocks: Sequence[int],
        *,
        classes: int,
        channels: int = 3,
        width: int = 16,
        stem: Stem = "small",
        stem_width: int | None = None,
        shortcut: Shortcut = "projection",
    ) -> None:
        super().__init__()
        inputs = stem_width or width
        if stem == "imagenet":
            self.conv1 = nn.Conv2d(channels, inputs, 7, stride=2, padding=3, bias=False)
            self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            self.conv1 = conv3x3(channels, inputs, stride=2 if stem == "half" else 1)
            self.maxpool = nn.Identity()
        pre_activation = issubclass(block, PreActivationBlock)
        self.bn1 = nn.Identity() if pre_activation else nn.BatchNorm2d(inputs)
        self.relu = nn.Identity() if pre_activation else nn.ReLU(inplace=True)
        self.stages = len(blocks)
        for stage, count in enumerate(blocks):
            layers = []
            for position in range(count):
                stride = 2 if stage > 0 and position == 0 else 1
                layers.append(block(inputs, width << stage, stride, shortcut=shortcut))
                inputs = (width << stage) * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.final = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True)) if pre_activation else nn.Identity()
        self.fc = nn.Linear(inputs, classes)
        initialise_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        x = self.final(x)
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
