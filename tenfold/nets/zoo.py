"""The networks by name, as command lines and settings spell them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn

from ..core.errors import UsageError
from .mobilenet import MobileNetV1, MobileNetV2
from .pyramid import PyramidBlock, PyramidBottleneck, PyramidNet
from .resnet import BasicBlock, Block, Bottleneck, PreActivationBlock, ResNet, Shortcut
from .vgg import VGG

_IMAGENET: dict[str, tuple[Block, tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
}
_VGG: dict[str, tuple[int, ...]] = {
    "vgg8": (1, 1, 1, 1, 1),
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}


@dataclass(frozen=True)
class _Order:
    """What a family builds a network from: the name, taken apart, and the choices of `build_net`."""

    name: re.Match[str]
    blocks: tuple[int, ...]
    """blocks of each stage; empty for a family without shallower relatives"""
    classes: int
    channels: int
    width: int
    stem: Literal["small", "half"]


Build = Callable[[_Order], nn.Module]
CountBlocks = Callable[[re.Match[str]], tuple[int, ...]]


def _resnet(block: Block, shortcut: Shortcut = "projection") -> Build:
    def build(order: _Order) -> ResNet:
        return ResNet(
            block,
            order.blocks,
            classes=order.classes,
            channels=order.channels,
            width=order.width,
            stem=order.stem,
            shortcut=shortcut,
        )

    return build


def _wide_resnet(order: _Order) -> ResNet:
    return ResNet(
        PreActivationBlock,
        order.blocks,
        classes=order.classes,
        channels=order.channels,
        width=order.width * int(order.name[2]),
        stem=order.stem,
        stem_width=order.width,
    )


def _imagenet_resnet(order: _Order) -> ResNet:
    block = _IMAGENET[order.name[0]][0]
    return ResNet(block, order.blocks, classes=order.classes, channels=order.channels, width=64, stem="imagenet")


def _pyramid(block: type[PyramidBlock] | type[PyramidBottleneck], blocks: CountBlocks) -> Build:
    def build(order: _Order) -> PyramidNet:
        return PyramidNet(
            block,
            blocks(order.name),
            alpha=int(order.name[2]),
            classes=order.classes,
            channels=order.channels,
            width=order.width,
            stem=order.stem,
        )

    return build


def _mobilenet(network: type[MobileNetV1] | type[MobileNetV2]) -> Build:
    def build(order: _Order) -> nn.Module:
        return network(
            classes=order.classes,
            channels=order.channels,
            multiplier=order.width / 16,
            stem=order.stem if order.name[1] else "imagenet",
        )

    return build


def _vgg(order: _Order) -> VGG:
    return VGG(
        _VGG[order.name[0]], classes=order.classes, channels=order.channels, width=4 * order.width, stem=order.stem
    )


def _three_stages(layers: int, extra: int) -> CountBlocks:
    """Blocks of three equal stages, where the depth is `layers` n + `extra` for n blocks in each."""

    def count(name: re.Match[str]) -> tuple[int, ...]:
        depth = int(name[1])
        if depth <= extra or (depth - extra) % layers:
            raise UsageError(
                f"net is {name[0]!r}, but its depth must be {layers}n+{extra}, "
                f"such as {layers * 3 + extra} or {layers * 9 + extra}"
            )
        return ((depth - extra) // layers,) * 3

    return count


@dataclass(frozen=True)
class _Family:
    names: str
    """its names, as a user is told them"""
    pattern: str
    """matches a whole name; the depth comes first in it"""
    build: Build
    blocks: CountBlocks | None
    """how many blocks each stage has; None for a family without shallower relatives, whose blocks are not all alike"""


_FAMILIES = (
    _Family("resnet-N (6n+2)", r"resnet-(\d+)", _resnet(BasicBlock), _three_stages(6, 2)),
    _Family("resnetA-N (6n+2, padded shortcuts)", r"resnetA-(\d+)", _resnet(BasicBlock, "pad"), _three_stages(6, 2)),
    _Family("preresnet-N (6n+2)", r"preresnet-(\d+)", _resnet(PreActivationBlock), _three_stages(6, 2)),
    _Family("wrn-N-K (6n+4)", r"wrn-(\d+)-([1-9]\d*)", _wide_resnet, _three_stages(6, 4)),
    _Family(", ".join(_IMAGENET), "|".join(_IMAGENET), _imagenet_resnet, lambda name: _IMAGENET[name[0]][1]),
    _Family("pyramidnet-N-A (6n+2)", r"pyramidnet-(\d+)-([1-9]\d*)", _pyramid(PyramidBlock, _three_stages(6, 2)), None),
    _Family(
        "pyramidnetB-N-A (9n+2, bottlenecks)",
        r"pyramidnetB-(\d+)-([1-9]\d*)",
        _pyramid(PyramidBottleneck, _three_stages(9, 2)),
        None,
    ),
    _Family("mobilenet, mobilenet-small", r"mobilenet(-small)?", _mobilenet(MobileNetV1), None),
    _Family("mobilenetv2, mobilenetv2-small", r"mobilenetv2(-small)?", _mobilenet(MobileNetV2), None),
    _Family(", ".join(_VGG), "|".join(_VGG), _vgg, None),
)

NETS = ", ".join(family.names for family in _FAMILIES)


def stage_blocks(name: str) -> tuple[int, ...]:
    """How many blocks each stage of the named residual network has; those of a stage are alike, but for its first.

    Raises:
        UsageError: the name is not one of `NETS`, its depth does not fit the family, or the network is pyramidal, a
            MobileNet or a VGG, of which no two blocks need be alike.
    """
    family, found = _find(name)
    if family.blocks is None:
        known = ", ".join(family.names for family in _FAMILIES if family.blocks)
        raise UsageError(f"net is {name!r}, which has no shallower relatives; those that have are {known}")
    return family.blocks(found)


def build_net(
    name: str,
    *,
    classes: int,
    channels: int = 3,
    width: int = 16,
    half_stem: bool = False,
    blocks: tuple[int, ...] | None = None,
) -> nn.Module:
    """Build a network by name; see `NETS`. It maps pictures (N, channels, H, W) to logits (N, classes).

    `resnet18` to `resnet152`, `mobilenet` and `mobilenetv2` are for 224-pixel pictures, all others for small ones.

    Args:
        name: such as `resnet-56`, `wrn-28-4`, `pyramidnetB-200-240`, `vgg8`, `mobilenetv2-small` or `resnet101`.
        classes: number of classes.
        channels: channels of the pictures.
        width: 16 is the published network. Residual and pyramidal networks have so many channels after the stem, VGGs
            four times as many in their first stage, MobileNets all channels times width / 16; those of `resnet18` to
            `resnet152` are fixed.
        half_stem: the stem halves the resolution, of the networks for small pictures only.
        blocks: blocks of each stage of a residual network, instead of those the name says: a shallower or deeper
            relative.

    Raises:
        UsageError: the name is not one of `NETS`, its depth does not fit the family, or `blocks` is given for a
            pyramidal network, a MobileNet or a VGG.
    """
    family, found = _find(name)
    counts: tuple[int, ...] = ()
    if family.blocks is not None or blocks is not None:
        named = stage_blocks(name)
        counts = blocks or named
    stem: Literal["half", "small"] = "half" if half_stem else "small"
    return family.build(_Order(found, counts, classes, channels, width, stem))


def _find(name: str) -> tuple[_Family, re.Match[str]]:
    for family in _FAMILIES:
        if found := re.fullmatch(family.pattern, name):
            return family, found
    raise UsageError(f"net is {name!r}, but must be one of {NETS}")
