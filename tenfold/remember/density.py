"""An index module by density: a Gaussian over fixed features of each task's inputs. Ours; the default.

The features are what the first task's slice computes. They are at hand for nothing, and they never change, so what was learned
of a task stays right whatever follows. Learning is one pass and a covariance: no gradients, no raw input kept.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError
from .index import IndexModule, Inputs

if TYPE_CHECKING:
    from .stacknet import StackNet

GRID = 4
"""The input itself is a feature, averaged to so many places each way."""
LONGEST = 128
"""A vector of more features is averaged, neighbours together, to so many."""
ASIDE = 10
"""Each of so many inputs is kept aside for the floor, where there is a rejection."""


class DensityIndex(IndexModule):
    """The task under whose Gaussian an input is likeliest: log N(f(x); mean_j, covariance_j), in nats.

    f(x) are the means and standard deviations, over the picture, of what the early layers of the first task read, and the
    input itself at low resolution; each kind divided by its spread over the first task's inputs.
    """

    def __init__(self, *, reject: float = 0.0, layers: float = 1 / 3, ridge: float = 1e-4) -> None:
        """An index module that knows no task yet.

        Args:
            reject: see `IndexModule`.
            layers: share of the first task's layers, the early ones, whose inputs are features, in [0, 1]; more of them tell
                like tasks apart a little better, and the numbers kept grow with the square of the features.
            ridge: added to the variance of every feature, in units of the first task's; above 0.

        Raises:
            UsageError: an argument is out of range.
        """
        super().__init__(reject=reject)
        if not 0 <= layers <= 1:
            raise UsageError(f"layers is {layers}, but must be between 0 and 1")
        if ridge <= 0:
            raise UsageError(f"ridge is {ridge}, but must be above 0")
        self.layers = layers
        self.ridge = ridge
        self.gaussians = nn.ModuleList()
        self._scales: list[float] = []

    def scores(self, inputs: Tensor, net: StackNet) -> Tensor:
        features = self._features(inputs, net)
        if not len(self.gaussians):
            return features.new_zeros((len(inputs), 0))
        return torch.stack([gaussian(features) for gaussian in self.gaussians], 1)

    def _learn(self, inputs: Inputs, net: StackNet) -> Tensor | None:
        if not self._scales:
            self._scales = _spreads(inputs, net, self.layers)
        gaussian, aside = _Gaussian(), []
        moments = _Moments()
        seen = 0
        for batch in inputs():
            features = self._features(batch, net)
            if self.reject > 0:
                kept = (torch.arange(seen, seen + len(batch)) % ASIDE == ASIDE - 1).to(features.device)
                aside.append(features[kept])
                features = features[~kept]
            seen += len(batch)
            moments.add(features)
        gaussian.settle(moments, self.ridge)
        self.gaussians.append(gaussian)
        held = torch.cat(aside) if aside else torch.empty(0)
        return gaussian(held) if len(held) else None

    def _features(self, inputs: Tensor, net: StackNet) -> Tensor:
        parts = zip(_kinds(inputs, net, self.layers), self._scales, strict=True)
        return torch.cat([part / scale for part, scale in parts], 1)

    def _state(self, tasks: int) -> Any:
        gaussians = [gaussian.state_dict() for gaussian in list(self.gaussians)[:tasks]]
        return {"layers": self.layers, "scales": self._scales if tasks else [], "gaussians": gaussians}

    def _load(self, learned: Any) -> None:
        self.layers = float(learned["layers"])
        self._scales = [float(scale) for scale in learned["scales"]]
        self.gaussians = nn.ModuleList()
        for values in learned["gaussians"]:
            gaussian = _Gaussian(values["mean"].shape[0])
            gaussian.load_state_dict(values)
            self.gaussians.append(gaussian)


class _Gaussian(nn.Module):
    """log N(x; mean, covariance), whitened: the covariance is kept as the inverse of its Cholesky factor."""

    def __init__(self, size: int = 0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("whitener", torch.zeros(size, size, dtype=torch.float64))

    def settle(self, moments: _Moments, ridge: float) -> None:
        mean, covariance = moments.result()
        factor = torch.linalg.cholesky(covariance + ridge * torch.eye(len(mean), dtype=mean.dtype, device=mean.device))
        eye = torch.eye(len(mean), dtype=mean.dtype, device=mean.device)
        self.mean = mean
        self.whitener = torch.linalg.solve_triangular(factor, eye, upper=False)

    def forward(self, features: Tensor) -> Tensor:
        """(N, D) -> (N,), nats."""
        white = (features.double() - self.mean) @ self.whitener.T
        size = len(self.mean)
        return -0.5 * white.square().sum(1) + self.whitener.diagonal().log().sum() - 0.5 * size * math.log(2 * math.pi)


class _Moments:
    """Mean and covariance of rows that come batch by batch, without cancellation: batches are centred at their own means."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(())
        self.scatter = torch.zeros(())

    def add(self, rows: Tensor) -> None:
        if not len(rows):
            return
        rows = rows.double()
        mean = rows.mean(0)
        centred = rows - mean
        if self.count == 0:
            self.count, self.mean, self.scatter = len(rows), mean, centred.T @ centred
            return
        total = self.count + len(rows)
        step = mean - self.mean
        self.scatter = self.scatter + centred.T @ centred + torch.outer(step, step) * (self.count * len(rows) / total)
        self.mean = self.mean + step * (len(rows) / total)
        self.count = total

    def result(self) -> tuple[Tensor, Tensor]:
        return self.mean, self.scatter / max(1, self.count)


def _kinds(inputs: Tensor, net: StackNet, layers: float) -> list[Tensor]:
    """The features of each kind, (N, some) each."""
    values = net.features(inputs)
    parts = [_low_resolution(inputs)]
    for value in values[: max(1, round(layers * len(values)))]:
        if value.ndim == 2:
            parts.append(_shortened(value))
        else:
            places = value.float().flatten(2)
            mean = places.mean(2)
            # not `std`, which warns of an empty batch
            parts += [mean, (places - mean[:, :, None]).square().mean(2).sqrt()]
    return [part.float() for part in parts]


def _low_resolution(inputs: Tensor) -> Tensor:
    if inputs.ndim == 4:
        return F.adaptive_avg_pool2d(inputs.float(), (min(GRID, inputs.shape[2]), min(GRID, inputs.shape[3]))).flatten(
            1
        )
    return _shortened(inputs.float().flatten(1))


def _shortened(values: Tensor) -> Tensor:
    return values if values.shape[1] <= LONGEST else F.adaptive_avg_pool1d(values.float()[:, None], LONGEST)[:, 0]


def _spreads(inputs: Inputs, net: StackNet, layers: float) -> list[float]:
    """Of each kind of feature, the root of its mean variance over the first task's inputs; 1 for one that never varies."""
    moments: list[_Moments] = []
    for batch in inputs():
        parts = _kinds(batch, net, layers)
        moments = moments or [_Moments() for _ in parts]
        for moment, part in zip(moments, parts, strict=True):
            moment.add(part)
    spreads = [float(moment.result()[1].diagonal().mean().sqrt()) for moment in moments]
    return [spread if spread > 1e-6 else 1.0 for spread in spreads]
