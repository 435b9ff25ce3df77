"""Calibration of the dial: thresholds that make the achieved cost the requested one. Ours.

First the normalisation statistics of each part of the dial (`statistics.py`), then its thresholds.

Training draws achieved cost towards the request, but hard steps, a finite loss weight and few blocks leave a gap. The gates'
logits vary from picture to picture, so a common threshold t(S) can close it: for each S of a grid, the cost of

    g_l = 1[z_l(x, S) > t(S)]

over the calibration pictures falls step by step in t, and the step where it meets S is found from the sorted logits. Logits of
later blocks depend on earlier decisions, hence a few rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..core.errors import UsageError
from .gate import Mode
from .loss import relative_cost
from .statistics import POINTS, estimate_statistics, nearest_point

if TYPE_CHECKING:
    from .network import ResizableNet

ROUNDS = 10
TOLERANCE = 0.004
NEARLY_WHOLE = 0.99
LIMIT = 30.0  # beyond every logit seen: all gates closed, or all open


@torch.no_grad()
def calibrate(
    net: ResizableNet, images: Tensor, *, as_trained: Tensor | None = None, batch_size: int = 64
) -> ResizableNet:
    """Set `net`'s thresholds for both modes from pictures alone and return it; its weights stay as they are.

    Args:
        net: a trained resizable network; its `train`/`eval` mode is left as it was.
        images: (N, C, H, W) pictures like those it will see, some hundreds, normalised: not test pictures. The thresholds make
            their cost the requested one.
        as_trained: (M, C, H, W) pictures augmented as in training, which the norm statistics are estimated on: random crops have
            black borders, and without them statistics are other than those that the weights were trained with. None takes
            `images`, for networks that were trained on pictures as they are.
        batch_size: size of the batches that decide together in mode ``"batch"``.

    Raises:
        UsageError: there are no pictures.
    """
    from .network import MODES

    as_trained = images if as_trained is None else as_trained
    if not len(images) or not len(as_trained):
        raise UsageError("calibration was given 0 pictures, but needs at least 1")
    if net.block_costs.isnan().any():
        net.measure(images)
    batches = images.split(batch_size)
    with net._evaluating():
        _reset(net)
        _record_statistics(net, batches, as_trained.split(batch_size))
        for row, mode in enumerate(MODES):
            net.dial_thresholds[row] = _dial(net, batches, mode)
    return net


def _reset(net: ResizableNet) -> None:
    """Undo an earlier calibration: thresholds 0, and the statistics of the whole network for all."""
    if net.statistics.in_use:
        net.statistics.select(len(POINTS) - 1)
    net.statistics.use(False)
    net.dial_thresholds.zero_()


def _record_statistics(net: ResizableNet, batches: tuple[Tensor, ...], as_trained: tuple[Tensor, ...]) -> None:
    """Fill the bank from 1 downwards, each point starting from the statistics of its neighbour.

    A point below 1 needs a threshold first, so that the gates decide as they will; the dial's own come after, with these
    statistics.
    """
    threshold = 0.0
    for point in reversed(range(len(POINTS))):
        scale = max(POINTS[point], net.lowest_cost)
        if scale < 1:
            threshold = _threshold(net, batches, scale, "sample", threshold)
        estimate_statistics(net.network, _deciding(net, scale, threshold), as_trained)
        net.statistics.record(point)
    net.statistics.use(True)


def _deciding(net: ResizableNet, scale: float, threshold: float) -> Callable[[Tensor], None]:
    def forward(images: Tensor) -> None:
        scales = torch.tensor(scale, device=images.device).expand(len(images))
        # the whole network asks its gates too, though they all open: their own norms want statistics like any other
        with net._asking(scales, threshold if scale < 1 else -torch.inf, "sample"):
            net._run(images)

    return forward


def _dial(net: ResizableNet, batches: tuple[Tensor, ...], mode: Mode) -> Tensor:
    """The thresholds of all scales (K,), found from the largest scale down, each search starting at its neighbour."""
    thresholds: list[float] = []
    for scale in net.dial_scales.flip(0).tolist():
        start = thresholds[-1] if thresholds and abs(thresholds[-1]) < LIMIT else 0.0
        # 1 itself needs no threshold; its entry is where requests just below it are interpolated to
        thresholds.append(_threshold(net, batches, min(scale, NEARLY_WHOLE), mode, start))
    return torch.tensor(thresholds[::-1])


def _threshold(net: ResizableNet, batches: tuple[Tensor, ...], scale: float, mode: Mode, start: float) -> float:
    """The threshold whose cost on the batches is nearest to `scale`: the logits' guess, kept inside a shrinking bracket."""
    if scale <= net.lowest_cost:
        return LIMIT
    low, high, threshold = -LIMIT, LIMIT, start
    best, smallest = threshold, float("inf")
    for _ in range(ROUNDS):
        logits, cost = _ask(net, batches, scale, threshold, mode)
        if abs(cost - scale) < smallest:
            best, smallest = threshold, abs(cost - scale)
        if smallest < TOLERANCE:
            break
        low, high = (threshold, high) if cost > scale else (low, threshold)
        guess = _meeting(logits, net.block_costs, net.fixed_cost, scale)
        threshold = guess if low < guess < high else _between(low, high)
    return best


def _ask(
    net: ResizableNet, batches: tuple[Tensor, ...], scale: float, threshold: float, mode: Mode
) -> tuple[Tensor, float]:
    """The gates' logits (R, L) before the threshold, a row for each decision, and the mean cost they lead to."""
    rows, gates = [], []
    if net.statistics.in_use:
        net.statistics.select(nearest_point(scale))
    for images in batches:
        scales = torch.tensor(scale, device=images.device).expand(len(images))
        with net._asking(scales, threshold, mode) as dial:
            net._run(images)
            logits = torch.stack([dial.logits[index] for index in range(len(net.blocks))], 1) + threshold
            rows.append(logits.mean(0, keepdim=True) if mode == "batch" else logits)
            gates.append(net._answers(dial, images))
    return torch.cat(rows), float(relative_cost(torch.cat(gates), net.block_costs, net.fixed_cost).mean())


def _meeting(logits: Tensor, block_costs: Tensor, fixed_cost: Tensor, scale: float) -> float:
    """The threshold at which these logits (R, L), opened from the largest down, cost nearest to `scale`."""
    values, order = logits.flatten().sort(descending=True)
    costs = block_costs.expand_as(logits).flatten()[order].cumsum(0) / len(logits)
    achieved = torch.cat([fixed_cost.view(1), fixed_cost + costs]) / (fixed_cost + block_costs.sum())
    opened = int((achieved - scale).abs().argmin())
    edges = torch.cat([values[:1] + 1, values, values[-1:] - 1])
    return float(edges[opened] + edges[opened + 1]) / 2


def _between(low: float, high: float) -> float:
    """A point inside the bracket; a bracket still open on one side is searched near its closed one."""
    if high == LIMIT and low > -LIMIT:
        return min(low + 1, (low + high) / 2)
    if low == -LIMIT and high < LIMIT:
        return max(high - 1, (low + high) / 2)
    return (low + high) / 2
