"""Normalisation statistics for each part of the dial. Ours.

A block that is skipped changes what every later BatchNorm sees, so one set of running statistics fits no scale well. The bank
keeps a set for each of `POINTS`, estimated on calibration pictures with the gates deciding as they do in use.
P points, C channels of all norms together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

if TYPE_CHECKING:
    from collections.abc import Iterator

# Every point of the dial from 0.4 up: with half as many, requests between two of them lost up to 5 points of accuracy.
POINTS = (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)


class StatisticsBank(nn.Module):
    """The running means and variances of all BatchNorms of a network, at several scales; empty until `record` is called."""

    means: Tensor
    variances: Tensor
    ready: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._norms = tuple(batch_norms(network))
        self._widths = [norm.num_features for norm in self._norms]
        self._selected: int | None = None
        self.register_buffer("means", torch.zeros(len(POINTS), sum(self._widths)))
        self.register_buffer("variances", torch.ones(len(POINTS), sum(self._widths)))
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool))
        self._ready: bool | None = None

    @property
    def in_use(self) -> bool:
        if self._ready is None:
            # asked at every pass: on a GPU the buffer itself would cost a wait each time
            self._ready = bool(self.ready)
        return self._ready

    def select(self, point: int) -> None:
        """Let the norms use the statistics of one point; nothing to do where they do already."""
        if self._selected == point:
            return
        columns = zip(self.means[point].split(self._widths), self.variances[point].split(self._widths), strict=True)
        with torch.no_grad():
            for norm, (mean, variance) in zip(self._norms, columns, strict=True):
                norm.running_mean.copy_(mean)  # type: ignore[union-attr]
                norm.running_var.copy_(variance)  # type: ignore[union-attr]
        self._selected = point

    def record(self, point: int) -> None:
        """Keep the statistics that the norms use now as those of one point."""
        if self._norms:
            self.means[point] = torch.cat([norm.running_mean for norm in self._norms])  # type: ignore[misc]
            self.variances[point] = torch.cat([norm.running_var for norm in self._norms])  # type: ignore[misc]
        self._selected = None

    def use(self, ready: bool) -> None:
        """Switch the bank on, once every point is recorded, or off."""
        self.ready.fill_(ready)
        self.forget()

    def forget(self) -> None:
        """The norms' own statistics or the bank's may have changed: select anew."""
        self._selected = self._ready = None

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        super()._load_from_state_dict(*arguments, **options)
        self.forget()

    def _apply(self, *arguments: Any, **options: Any) -> StatisticsBank:
        self.forget()
        return super()._apply(*arguments, **options)  # type: ignore[no-untyped-call]


def nearest_point(scale: float) -> int:
    """The index of the point nearest to a scale."""
    return min(range(len(POINTS)), key=lambda point: abs(POINTS[point] - scale))


def nearest_points(scales: Tensor) -> Tensor:
    """The index of the point nearest to each scale (N,)."""
    points = torch.tensor(POINTS, device=scales.device)
    return (scales[:, None] - points).abs().argmin(1)


def batch_norms(network: nn.Module) -> Iterator[_BatchNorm]:
    """The norms of a network that keep running statistics."""
    for module in network.modules():
        if isinstance(module, _BatchNorm) and module.running_mean is not None:
            yield module


@torch.no_grad()
def estimate_statistics(network: nn.Module, forward: Callable[[Tensor], Any], batches: Sequence[Tensor]) -> None:
    """Set the running statistics of all norms of `network` to their mean over `forward(batch)` for all batches.

    Batches of one picture are left out where there are others: they have no variance.
    """
    usable = [batch for batch in batches if len(batch) > 1] or list(batches)
    with _collecting(list(batch_norms(network))):
        for batch in usable:
            forward(batch)


@contextmanager
def _collecting(norms: list[_BatchNorm]) -> Iterator[None]:
    before = [(norm.momentum, norm.training) for norm in norms]
    hooks = [norm.register_forward_pre_hook(_collect_unless_single) for norm in norms]
    for norm in norms:
        norm.num_batches_tracked.zero_()  # type: ignore[union-attr]  # a norm that nothing reaches keeps what it has
        norm.momentum = None  # a cumulative mean, every batch alike
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for norm, (momentum, training) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.train(training)


def _collect_unless_single(norm: nn.Module, inputs: tuple[Tensor]) -> None:
    """One value per channel, such as one kept picture of 1 x 1, has no variance to collect."""
    norm.training = inputs[0].numel() > inputs[0].shape[1]
