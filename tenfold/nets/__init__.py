"""Backbones that two or more methods share: residual networks for small and for large pictures."""

from __future__ import annotations

from .resnet import BasicBlock, Bottleneck, PreActivationBlock, ResNet
from .zoo import NETS, build_net

__all__ = ["NETS", "BasicBlock", "Bottleneck", "PreActivationBlock", "ResNet", "build_net"]
