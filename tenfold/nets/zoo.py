"""The networks by name, as command lines and settings spell them."""

from __future__ import annotations

import re
from typing import Literal

from ..core.errors import UsageError
from .resnet import BasicBlock, Block, Bottleneck, PreActivationBlock, ResNet, Shortcut

NETS = "resnet-N (6n+2), resnetA-N (6n+2, padded shortcuts), preresnet-N (6n+2), wrn-N-K (6n+4), resnet18, resnet34, resnet50, resnet101, resnet152"

_IMAGENET: dict[str, tuple[Block, tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
}
_SMALL: dict[str, tuple[Block, Shortcut]] = {
    "resnet": (BasicBlock, "projection"),
    "resnetA": (BasicBlock, "pad"),
    "preresnet": (PreActivationBlock, "projection"),
}


def stage_blocks(name: str) -> tuple[int, ...]:
    """How many blocks each stage of the named network has.

    Raises:
        UsageError: the name is not one of `NETS`, or its depth does not fit the family.
    """
    if name in _IMAGENET:
        return _IMAGENET[name][1]
    if found := re.fullmatch(r"wrn-(\d+)-([1-9]\d*)", name):
        return (_per_stage(name, int(found[1]), 4),) * 3
    if found := re.fullmatch(r"(resnet|resnetA|preresnet)-(\d+)", name):
        return (_per_stage(name, int(found[2]), 2),) * 3
    raise UsageError(f"net is {name!r}, but must be one of {NETS}")


def build_net(
    name: str,
    *,
    classes: int,
    channels: int = 3,
    width: int = 16,
    half_stem: bool = False,
    blocks: tuple[int, ...] | None = None,
) -> ResNet:
    """Build a network by name; see `NETS`.

    Args:
        name: such as `resnet-56` (for 32-pixel pictures), `wrn-28-4` or `resnet101` (for 224-pixel pictures).
        classes: number of classes.
        channels: channels of the pictures.
        width: channels of the first stage, of the small networks only.
        half_stem: the small networks' stem halves the resolution.
        blocks: blocks of each stage, instead of those the name says: a shallower or deeper relative.

    Raises:
        UsageError: the name is not one of `NETS`, or its depth does not fit the family.
    """
    counts = blocks or stage_blocks(name)
    if name in _IMAGENET:
        return ResNet(_IMAGENET[name][0], counts, classes=classes, channels=channels, width=64, stem="imagenet")
    stem: Literal["half", "small"] = "half" if half_stem else "small"
    if found := re.fullmatch(r"wrn-\d+-([1-9]\d*)", name):
        wide = width * int(found[1])
        return ResNet(
            PreActivationBlock, counts, classes=classes, channels=channels, width=wide, stem=stem, stem_width=width
        )
    block, shortcut = _SMALL[name.rpartition("-")[0]]
    return ResNet(block, counts, classes=classes, channels=channels, width=width, stem=stem, shortcut=shortcut)


def _per_stage(name: str, depth: int, extra: int) -> int:
    if depth <= extra or (depth - extra) % 6:
        raise UsageError(
            f"net is {name!r}, but its depth must be 6n+{extra}, such as {6 * 3 + extra} or {6 * 9 + extra}"
        )
    return (depth - extra) // 6
