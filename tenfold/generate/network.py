"""The autoregressive mixture network: dilated causal convolutions over the dimensions of a vector.

Shapes: N rows, D dimensions, C channels, K mixture components. Values lie along the convolution's axis, channels last.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError

Norm = Literal["batch", "layer"]
Heads = Literal["shared", "own"]
SLOPE = 0.2
WEIGHT_STD = 0.02


class CausalNet(nn.Module):
    """Values (N, D) -> for each dimension what describes its mixture, (N, D, 3K), from the dimensions before it alone.

    Layer i = 0 .. L-1, L = ceil(log2 D), is a convolution of kernel 2 and dilation 2^i, a norm and a leaky ReLU (0.2); the head
    is a convolution of kernel 1. The first layer reads two channels: the value before, and 1, or twice 0 where there is none.
    Every output sees all dimensions before its own.

    The paper pads the input with 2^L zeros on the left. What a layer computes there is the same in every column, and the same
    as in the first column that counts; so that one stands for them all here, and only D columns are ever computed.

    Args:
        dim: D, at least 1.
        components: K, at least 1.
        base_width: C after the first layer; every layer doubles it.
        max_width: up to this many; None is the paper, which never stops (dims above 64 notice).
        norm: over the batch (paper), or over each column's own channels.
        heads: the last layer: one for all dimensions (paper), or one for each (ours). All layers before it are shared by all
            dimensions, and only see from the padding which one they are at.
    """

    def __init__(
        self,
        dim: int,
        *,
        components: int = 30,
        base_width: int = 16,
        max_width: int | None = None,
        norm: Norm = "batch",
        heads: Heads = "shared",
    ) -> None:
        super().__init__()
        self.dim = dim
        depth = math.ceil(math.log2(dim))
        widths = [2, *(min(base_width << i, max_width or base_width << i) for i in range(depth))]
        self.layers = nn.ModuleList(
            CausalLayer(widths[i], widths[i + 1], dilation=1 << i, norm=norm) for i in range(depth)
        )
        self.head = Head(widths[-1], 3 * components, copies=1 if heads == "shared" else dim)
        self.initialise()

    def initialise(self) -> None:
        """New weights N(0, 0.02^2), no biases; norms as if they had seen nothing.

        With own heads the components begin apart, at the quantiles of N(0, 1) and half as wide (ours): of equal ones none has
        a reason to leave the others, and a dimension of two modes may stay between them for long.
        """
        for part in self.modules():
            if isinstance(part, CausalLayer | Head):
                nn.init.normal_(part.weight, std=WEIGHT_STD)
                nn.init.zeros_(part.bias)
            elif isinstance(part, nn.BatchNorm1d | nn.LayerNorm):
                part.reset_parameters()
        if len(self.head.bias) > 1:
            components = self.head.bias.shape[-1] // 3
            shares = (torch.arange(components) + 0.5) / components
            with torch.no_grad():
                self.head.bias[..., :components] = math.sqrt(2) * torch.erfinv(2 * shares - 1)
                self.head.bias[..., components : 2 * components] = math.log(0.5)

    def forward(self, values: Tensor) -> Tensor:
        """(N, D) -> (N, D, 3K); the last value is not looked at."""
        columns = torch.stack([values, torch.ones_like(values)], 2)
        columns = F.pad(columns[:, :-1], (0, 0, 1, 0))
        for layer in self.layers:
            columns = layer(columns)
        return self.head(columns)


class Head(nn.Module):
    """What the last layer says of each dimension: (N, D, C) -> (N, D, O), with one set of weights or one for each dimension."""

    def __init__(self, inputs: int, outputs: int, *, copies: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(copies, inputs, outputs))
        self.bias = nn.Parameter(torch.empty(copies, 1, outputs))

    def forward(self, columns: Tensor) -> Tensor:
        if len(self.weight) == 1:
            return columns @ self.weight[0] + self.bias[0]
        return torch.baddbmm(self.bias, columns.transpose(0, 1), self.weight).transpose(0, 1)

    def at(self, column: Tensor, place: int) -> Tensor:
        """The same of one dimension: (N, C) -> (N, O)."""
        number = place if len(self.weight) > 1 else 0
        return column @ self.weight[number] + self.bias[number]


class CausalLayer(nn.Module):
    """A convolution of kernel 2, a norm and a leaky ReLU: (N, D, C) -> (N, D, C')."""

    def __init__(self, inputs: int, outputs: int, *, dilation: int, norm: Norm) -> None:
        super().__init__()
        self.dilation = dilation
        self.weight = nn.Parameter(torch.empty(outputs, 2 * inputs))
        """the tap of the earlier column, then that of the present one"""
        self.bias = nn.Parameter(torch.empty(outputs))
        self.norm: nn.Module = nn.BatchNorm1d(outputs) if norm == "batch" else nn.LayerNorm(outputs)

    def forward(self, columns: Tensor) -> Tensor:
        # before the first column is padding, and the padding's columns are all like the first
        first = columns[:, :1].expand(-1, self.dilation, -1)
        earlier = torch.cat([first, columns[:, : -self.dilation]], 1)
        return self.joined(earlier, columns)

    def joined(self, earlier: Tensor, now: Tensor) -> Tensor:
        """One output column for each pair of input columns, (..., C) each."""
        outputs = F.linear(torch.cat([earlier, now], -1), self.weight, self.bias)
        flat = outputs.flatten(0, -2)  # one kind of norm or the other, over the channels of each column
        return F.leaky_relu(self.norm(flat), SLOPE).view(outputs.shape)

    def step(self) -> tuple[int, Join]:
        """The dilation, and `joined` in evaluation as few operations: for one row at a time, calling them is what takes time."""
        weight, bias = self.weight, self.bias
        if isinstance(self.norm, nn.LayerNorm):
            return self.dilation, lambda pair: F.leaky_relu(self.norm(F.linear(pair, weight, bias)), SLOPE)
        assert isinstance(self.norm, nn.BatchNorm1d)
        assert self.norm.running_mean is not None
        assert self.norm.running_var is not None
        factor = self.norm.weight * (self.norm.running_var + self.norm.eps).rsqrt()
        scaled, shifted = factor[:, None] * weight, factor * (bias - self.norm.running_mean) + self.norm.bias
        return self.dilation, lambda pair: F.leaky_relu_(F.linear(pair, scaled, shifted), SLOPE)


Join = Callable[[Tensor], Tensor]
"""An earlier column and the present one, (N, 2 C) -> the output column, (N, C')"""


class Stepper:
    """The network in evaluation, one column after the other: each layer keeps the columns it will look at again."""

    def __init__(self, net: CausalNet) -> None:
        self._net = net
        self._layers = [layer.step() for layer in net.layers if isinstance(layer, CausalLayer)]
        self._past: list[deque[Tensor]] = []
        self._place = -1

    def __call__(self, value: Tensor | None, count: int) -> Tensor:
        """What describes the next dimension, (N, 3K).

        Args:
            value: (N,), of the dimension before; None for the first.
            count: N.
        """
        weight = self._net.head.weight
        column = weight.new_zeros(count, 2) if value is None else torch.stack([value, torch.ones_like(value)], 1)
        for number, (dilation, join) in enumerate(self._layers):
            if value is None:
                self._past.append(deque([column] * dilation))
            earlier = self._past[number].popleft()
            self._past[number].append(column)
            column = join(torch.cat([earlier, column], 1))
        self._place += 1
        return self._net.head.at(column, self._place)


Draw = Callable[[Tensor, int], Tensor]
"""(N, 3K) outputs of a dimension, and its number -> its values (N,)"""


def draw_cached(net: CausalNet, draw: Draw, count: int, given: Tensor | None = None) -> Tensor:
    """Draw N rows, dimension by dimension; each costs one column of the network, so all cost D.

    Args:
        net: in evaluation.
        draw: gives the values of a dimension.
        count: N.
        given: (N, P), the first P dimensions.

    Returns:
        (N, D).
    """
    step = Stepper(net)
    prefix = 0 if given is None else given.shape[1]
    rows: list[Tensor] = []
    for place in range(net.dim):
        raw = step(rows[-1] if rows else None, count)
        rows.append(given[:, place] if given is not None and place < prefix else draw(raw, place))
    return torch.stack(rows, 1)


def draw_naive(net: CausalNet, draw: Draw, count: int, given: Tensor | None = None) -> Tensor:
    """`draw_cached` by the whole network for every dimension: D times the work, as in the released code. To compare with."""
    prefix = 0 if given is None else given.shape[1]
    rows = net.head.weight.new_zeros(count, net.dim)
    if given is not None:
        rows[:, :prefix] = given
    for place in range(prefix, net.dim):
        rows[:, place] = draw(look_again(net, rows, place), place)
    return rows


def look_again(net: CausalNet, rows: Tensor, place: int) -> Tensor:
    """What describes dimension `place`, (N, 3K), by the network over all columns before it, of rows (N, D)."""
    columns = torch.stack([rows, torch.ones_like(rows)], 2)[:, :place]
    columns = F.pad(columns, (0, 0, 1 << len(net.layers), 0))  # the paper's padding, all of it
    for layer in net.layers:
        assert isinstance(layer, CausalLayer)
        columns = layer.joined(columns[:, : -layer.dilation], columns[:, layer.dilation :])
    return net.head.at(columns[:, -1], place)


def check_net(dim: int, components: int, base_width: int, max_width: int | None) -> None:
    """Raise a `UsageError` for sizes that make no network."""
    for name, value in (("dim", dim), ("components", components), ("base_width", base_width), ("max_width", max_width)):
        if value is not None and (isinstance(value, bool) or not hasattr(value, "__index__") or value < 1):
            raise UsageError(f"{name} is {value!r}, but must be a whole number of at least 1")
