"""Freezing: one scale, one set of blocks, no gates left; an ordinary network that exports and compiles."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..core.errors import UsageError
from .gate import GatedBlock
from .statistics import estimate_statistics, nearest_point

if TYPE_CHECKING:
    from .network import ResizableNet


@torch.no_grad()
def block_usage(net: ResizableNet, images: Tensor, scale: float, *, batch_size: int = 64) -> Tensor:
    """How often each block is used by images (N, C, H, W) at a scale, each picture deciding for itself: (L,) in [0, 1]."""
    with net._evaluating():
        gates = torch.cat([net.outputs(batch, scale, mode="sample").gates for batch in images.split(batch_size)])
    return gates.mean(0)


def choose_blocks(usage: Tensor, net: ResizableNet, scale: float) -> list[bool]:
    """Which blocks to keep: the most used ones, as many as bring the cost nearest to `scale`."""
    if scale >= 1:
        return [True] * len(net.blocks)
    order = usage.argsort(descending=True, stable=True)
    whole = net.fixed_cost + net.block_costs.sum()
    achieved = torch.cat([net.fixed_cost.view(1), net.fixed_cost + net.block_costs[order].cumsum(0)]) / whole
    kept = set(order[: int((achieved - scale).abs().argmin())].tolist())
    return [index in kept for index in range(len(net.blocks))]


def freeze(
    net: ResizableNet,
    scale: float,
    images: Tensor,
    *,
    as_trained: Tensor | None = None,
    batch_size: int = 64,
    refresh: bool | None = None,
) -> nn.Module:
    """A copy of the wrapped network with the blocks that `images` use least at `scale` taken out, and no gates.

    Kept blocks are the original modules; a dropped one leaves its shortcut (an `nn.Identity` where nothing else remains).
    The result is in `eval` mode and has no data-dependent branch: torch.export, ONNX and torch.compile take it.

    Args:
        net: a resizable network.
        scale: requested cost in (0, 1]; the frozen cost is the nearest that whole blocks can make.
        images: (N, C, H, W) pictures to decide by, normalised as in training; no labels needed.
        as_trained: (M, C, H, W) pictures augmented as in training, to estimate statistics on (see `calibrate`); None takes `images`.
        batch_size: pictures per pass.
        refresh: estimate the BatchNorm statistics of the smaller network, for which there should be some hundreds of pictures.
            When not given: if the network is calibrated and blocks are dropped.

    Raises:
        UsageError: the scale is outside (0, 1], or there are no pictures.
    """
    as_trained = images if as_trained is None else as_trained
    if not len(images) or not len(as_trained):
        raise UsageError("freeze was given 0 pictures, but needs at least 1 to see which blocks they use")
    keep = choose_blocks(block_usage(net, images, scale, batch_size=batch_size), net, scale)
    return freeze_blocks(net, keep, as_trained, batch_size=batch_size, refresh=refresh)


def freeze_blocks(
    net: ResizableNet, keep: list[bool], images: Tensor, *, batch_size: int = 64, refresh: bool | None = None
) -> nn.Module:
    """`freeze` once it is known which blocks to keep (L entries); `images` are to estimate statistics on."""
    small = keep_blocks(net, keep)
    if net.calibrated and not all(keep) if refresh is None else refresh:
        estimate_statistics(small, small, images.split(batch_size))
    return small


def keep_blocks(net: ResizableNet, keep: list[bool]) -> nn.Module:
    """A copy of the wrapped network, in `eval` mode, with only the blocks where `keep` (L entries) is true."""
    whole = copy.deepcopy(net).eval()
    if whole.statistics.in_use:
        whole.statistics.select(nearest_point(net.cost_of(keep)))
    network = whole.network
    for name, used in zip(net.block_names, keep, strict=True):
        gated = network.get_submodule(name)
        assert isinstance(gated, GatedBlock)
        parent, _, child = name.rpartition(".")
        # an earlier block that is kept or skipped ends in the same activation, so idle exits stay idle
        setattr(network.get_submodule(parent), child, gated.block if used else gated.skipped())
    return network
