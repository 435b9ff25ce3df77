"""Backbones that two or more methods share: residual, pyramidal, plain and depthwise networks, and their names."""

from __future__ import annotations

from .mobilenet import MobileNetV1, MobileNetV2
from .pyramid import PyramidBlock, PyramidBottleneck, PyramidNet
from .resnet import BasicBlock, Bottleneck, PreActivationBlock, ResNet
from .vgg import VGG
from .vgg_features import VGGFeatures
from .zoo import NETS, build_net

__all__ = [
    "NETS",
    "VGG",
    "BasicBlock",
    "Bottleneck",
    "MobileNetV1",
    "MobileNetV2",
    "PreActivationBlock",
    "PyramidBlock",
    "PyramidBottleneck",
    "PyramidNet",
    "ResNet",
    "VGGFeatures",
    "build_net",
]
