"""Concentrated-comprehensive convolutions for inference: the same function as their layers, computed faster on a CPU.

The layers as written are slow there for one reason above others: a depthwise convolution that pads more than about six
columns has, in oneDNN, no kernel of its own (the dilated 3x3 in any layout, the one along the rows unless channels are
last) and falls to a matrix product per channel, 6 to 30 times slower. The rest is reordering and memory traffic. What is
done about it, each step an equality of real numbers:

- Everything is channels last, where oneDNN's depthwise kernels need no reordering. Reductions and pointwise
  convolutions are matrix products of (pixels, channels).
- Folding: in channels last, ``f`` neighbouring columns of ``C`` channels are, without a copy, one column of ``f * C``
  channels. A depthwise convolution whose step along the row is a multiple of ``f`` is one with a step ``f`` times
  smaller there. So a dilation of 16 becomes 1, its padding too, and a column convolution of 5 channels one of 80, which
  fill the vector registers.
- A dilated 3x3 that does not fold far enough gets its padding as zeros that the horizontal convolution before it has
  left room for.
- The last norm and the residual start the output; each branch adds its pointwise convolution in place. Nothing is
  concatenated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError

WIDEST_PADDING = 6
"""columns: up to here oneDNN has a depthwise 3x3 kernel that pads"""

LANES = 16
"""float32 numbers in the widest vector register"""

LARGE = 2**20
"""numbers: activations above this are activated in place, block by block; a second tensor of their size would have its
memory mapped anew, page by page, in every call"""

BLOCK = 2**16
"""numbers activated at a time: they stay in the second-level cache"""


@dataclass(frozen=True)
class FoldedBranch:
    """One branch, n channels to ``out``, with its norms folded into the convolutions before them; K = 2 * dilation - 1.

    The biases stay where they are: a 3x3 pads its input with zeros, so moving a bias past it is inexact at borders.
    """

    dilation: int
    """of the depthwise 3x3, in pixels, at least 1"""
    vertical: Tensor
    """(n, K): depthwise, down the columns"""
    vertical_bias: Tensor
    """(n,)"""
    slope: Tensor
    """(n,): of the PReLU between vertical and horizontal"""
    horizontal: Tensor
    """(n, K): depthwise, along the rows"""
    horizontal_bias: Tensor
    """(n,)"""
    depthwise: Tensor
    """(n, 3, 3)"""
    pointwise: Tensor
    """(out, n), times the scale of any norm that follows"""
    pointwise_bias: Tensor | None = None
    """(out,), times that scale too; None is 0"""


class FusedConcentrated(nn.Module):
    """One branch alone: (N, n, H, W) to (N, out, H, W), for inference.

    On a CPU the layers are computed in this form, chosen from n, the dilation d and the width W:

    - the vertical convolution folds the fewest columns (a power of two that divides W) that make n a multiple of 16;
    - the 3x3 folds gcd(d, W) columns, unless d is at most 6 and n a multiple of 16, where it is fast as it is;
    - where more than 6 columns of padding are left, they are made by the horizontal convolution.

    Elsewhere the layers are computed as they are written. Raises UsageError for tensors that do not fit each other.
    """

    vertical: Tensor
    vertical_bias: Tensor
    slope: Tensor
    horizontal: Tensor
    horizontal_bias: Tensor
    depthwise: Tensor
    pointwise: Tensor
    pointwise_bias: Tensor | None

    def __init__(self, branch: FoldedBranch) -> None:
        super().__init__()
        _check_branch(branch)
        self.dilation = branch.dilation
        self.channels = len(branch.vertical_bias)
        self.register_buffer("vertical", _own(branch.vertical[:, None, :, None]))
        self.register_buffer("vertical_bias", _own(branch.vertical_bias))
        self.register_buffer("slope", _own(branch.slope))
        self.register_buffer("horizontal", _own(branch.horizontal[:, None, None, :]))
        self.register_buffer("horizontal_bias", _own(branch.horizontal_bias))
        self.register_buffer("depthwise", _own(branch.depthwise[:, None]))
        self.register_buffer("pointwise", _own(branch.pointwise))
        bias = branch.pointwise_bias
        self.register_buffer("pointwise_bias", None if bias is None else _own(bias))

    def forward(self, x: Tensor) -> Tensor:
        """(N, n, H, W) to (N, out, H, W), any H and W from 1, any N from 0; channels last on a CPU."""
        if x.device.type != "cpu":
            return F.conv2d(self.spatial(x), self.pointwise[:, :, None, None], self.pointwise_bias)
        y = self.spatial(x.contiguous(memory_format=torch.channels_last))
        return F.linear(y.permute(0, 2, 3, 1), self.pointwise, self.pointwise_bias).permute(0, 3, 1, 2)

    def spatial(self, x: Tensor) -> Tensor:
        """All but the pointwise convolution: (N, n, H, W), on a CPU channels last, to (N, n, H, W)."""
        if x.device.type != "cpu":
            y = F.prelu(self._vertical(x, 1), self.slope)
            return self._dilated(self._horizontal(y, 0), 1)
        width = x.shape[3]
        columns = _columns_for_lanes(self.channels, width)
        y = F.prelu(self._vertical(_fold(x, columns), columns), _tile(self.slope, columns))
        y = _unfold(y, columns)
        columns = self._columns_for_dilation(width)
        if self.dilation // columns > WIDEST_PADDING:
            return self._dilated_with_margin(y)
        return _unfold(self._dilated(_fold(self._horizontal(y, 0), columns), columns), columns)

    def _columns_for_dilation(self, width: int) -> int:
        if self.dilation <= WIDEST_PADDING and self.channels % LANES == 0:
            return 1
        return gcd(self.dilation, width)

    def _vertical(self, x: Tensor, columns: int) -> Tensor:
        weight, bias = _tile(self.vertical, columns), _tile(self.vertical_bias, columns)
        return F.conv2d(x, weight, bias, padding=(self.dilation - 1, 0), groups=len(bias))

    def _horizontal(self, x: Tensor, margin: int) -> Tensor:
        padding = (0, self.dilation - 1 + margin)
        return F.conv2d(x, self.horizontal, self.horizontal_bias, padding=padding, groups=self.channels)

    def _dilated(self, x: Tensor, columns: int) -> Tensor:
        weight = _tile(self.depthwise, columns)
        step = (self.dilation, self.dilation // columns)
        return F.conv2d(x, weight, padding=step, dilation=step, groups=len(weight))

    def _dilated_with_margin(self, x: Tensor) -> Tensor:
        """Horizontal convolution and 3x3, the columns of padding between them made by the first and set to zero."""
        d = self.dilation
        y = self._horizontal(x, d)
        y[..., :d] = 0
        y[..., -d:] = 0
        return F.conv2d(y, self.depthwise, padding=(d, 0), dilation=d, groups=self.channels)


class FusedPyramid(nn.Module):
    """The whole module for inference: PReLU(cat(branches of the reduced x) + residual_scale * x + bias).

    ``reduce_weight`` is (n, Cin, k, k) with odd k, applied with stride ``reduce_stride`` and padding k // 2.
    ``branches`` have n channels each, and Cout outputs together. ``bias`` and ``slope`` are (Cout,), and so is
    ``residual_scale``, given when x is added (Cin == Cout, stride 1). All tensors become buffers.

    Raises UsageError for tensors that do not fit each other.
    """

    reduce_weight: Tensor
    residual_scale: Tensor | None
    bias: Tensor
    slope: Tensor

    def __init__(
        self,
        reduce_weight: Tensor,
        reduce_stride: int,
        *,
        branches: Sequence[FoldedBranch],
        residual_scale: Tensor | None,
        bias: Tensor,
        slope: Tensor,
    ) -> None:
        super().__init__()
        _check_pyramid(reduce_weight, reduce_stride, branches, residual_scale, bias, slope)
        self.stride = reduce_stride
        self.branches = nn.ModuleList(FusedConcentrated(branch) for branch in branches)
        ends = [0]
        for branch in branches:
            ends.append(ends[-1] + len(branch.pointwise))
        self.outputs = [slice(start, end) for start, end in pairwise(ends)]
        self.register_buffer("reduce_weight", _own(reduce_weight))
        self.register_buffer("residual_scale", None if residual_scale is None else _own(residual_scale))
        self.register_buffer("bias", _own(bias))
        self.register_buffer("slope", _own(slope))

    def forward(self, x: Tensor) -> Tensor:
        """(N, Cin, H, W) to (N, Cout, H', W'), any H and W from 1, any N from 0; channels last on a CPU."""
        return self._on_cpu(x) if x.device.type == "cpu" else self._as_written(x)

    def _as_written(self, x: Tensor) -> Tensor:
        reduced = F.conv2d(x, self.reduce_weight, stride=self.stride, padding=self.reduce_weight.shape[2] // 2)
        y = torch.cat([branch(reduced) for branch in self.branches], dim=1) + self.bias[:, None, None]
        if self.residual_scale is not None:
            y = torch.addcmul(y, x, self.residual_scale[:, None, None])
        return F.prelu(y, self.slope)

    def _on_cpu(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        reduced = self._reduced(x)
        batch, _, height, width = reduced.shape
        pixels = batch * height * width
        if self.residual_scale is None:
            y = self.bias.expand(pixels, -1).contiguous()
        else:
            y = torch.addcmul(self.bias, _rows(x), self.residual_scale)
        for branch, outputs in zip(self.branches, self.outputs, strict=True):
            assert isinstance(branch, FusedConcentrated)
            y[:, outputs].addmm_(_rows(branch.spatial(reduced)), branch.pointwise.t())
        return _activated(y, self.slope).view(batch, height, width, len(self.bias)).permute(0, 3, 1, 2)

    def _reduced(self, x: Tensor) -> Tensor:
        size = self.reduce_weight.shape[2]
        if size == 1 and self.stride == 1:
            return F.linear(x.permute(0, 2, 3, 1), self.reduce_weight[:, :, 0, 0]).permute(0, 3, 1, 2)
        return F.conv2d(x, self.reduce_weight, stride=self.stride, padding=size // 2)


def _own(weight: Tensor) -> Tensor:
    """A copy, so that loading a state here does not write into the network that the weight is from."""
    return weight.detach().clone(memory_format=torch.contiguous_format)


def _fold(x: Tensor, columns: int) -> Tensor:
    """(N, C, H, W) to (N, columns * C, H, W / columns); of a channels-last tensor a view."""
    if columns == 1:
        return x
    batch, channels, height, width = x.shape
    folded = x.permute(0, 2, 3, 1).reshape(batch, height, width // columns, columns * channels)
    return folded.permute(0, 3, 1, 2)


def _unfold(x: Tensor, columns: int) -> Tensor:
    """The inverse of _fold."""
    if columns == 1:
        return x
    batch, channels, height, width = x.shape
    unfolded = x.permute(0, 2, 3, 1).reshape(batch, height, width * columns, channels // columns)
    return unfolded.permute(0, 3, 1, 2)


def _tile(weight: Tensor, columns: int) -> Tensor:
    """The weights of the channels of one column, for each of the folded ones."""
    return weight if columns == 1 else weight.repeat(columns, *[1] * (weight.dim() - 1))


def _rows(x: Tensor) -> Tensor:
    """(N, C, H, W) to (N * H * W, C); of a channels-last tensor a view."""
    batch, channels, height, width = x.shape
    return x.permute(0, 2, 3, 1).reshape(batch * height * width, channels)


def _columns_for_lanes(channels: int, width: int) -> int:
    return gcd(LANES // gcd(LANES, channels), width)


def _activated(y: Tensor, slope: Tensor) -> Tensor:
    """PReLU of (pixels, channels), in place where that is large."""
    if y.requires_grad or y.numel() <= LARGE:
        return F.prelu(y, slope)
    step = max(1, BLOCK // y.shape[1])
    for start in range(0, len(y), step):
        block = y[start : start + step]
        block.copy_(F.prelu(block, slope))
    return y


def _check_branch(branch: FoldedBranch) -> None:
    d = branch.dilation
    if d < 1:
        raise UsageError(f"A branch has a dilation of {d}; it is at least 1.")
    if branch.vertical.dim() != 2 or branch.pointwise.dim() != 2:
        raise UsageError("The vertical and the pointwise weights of a branch are matrices: (n, K) and (out, n).")
    n = len(branch.vertical)
    _check_shape("vertical", branch.vertical, (n, 2 * d - 1))
    _check_shape("vertical_bias", branch.vertical_bias, (n,))
    _check_shape("slope", branch.slope, (n,))
    _check_shape("horizontal", branch.horizontal, (n, 2 * d - 1))
    _check_shape("horizontal_bias", branch.horizontal_bias, (n,))
    _check_shape("depthwise", branch.depthwise, (n, 3, 3))
    _check_shape("pointwise", branch.pointwise, (len(branch.pointwise), n))
    if branch.pointwise_bias is not None:
        _check_shape("pointwise_bias", branch.pointwise_bias, (len(branch.pointwise),))


def _check_pyramid(
    reduce_weight: Tensor,
    stride: int,
    branches: Sequence[FoldedBranch],
    residual_scale: Tensor | None,
    bias: Tensor,
    slope: Tensor,
) -> None:
    if not branches:
        raise UsageError("A pyramid was given no branches; it has at least one.")
    if reduce_weight.dim() != 4 or reduce_weight.shape[2] % 2 == 0:
        raise UsageError(f"reduce_weight is {tuple(reduce_weight.shape)}; it is (n, Cin, k, k) with odd k.")
    if stride < 1:
        raise UsageError(f"reduce_stride is {stride}; it is at least 1.")
    n, inputs, size, _ = reduce_weight.shape
    outputs = sum(len(branch.pointwise) for branch in branches)
    _check_shape("reduce_weight", reduce_weight, (n, inputs, size, size))
    for branch in branches:
        _check_shape("vertical_bias", branch.vertical_bias, (n,))
    _check_shape("bias", bias, (outputs,))
    _check_shape("slope", slope, (outputs,))
    if residual_scale is not None:
        _check_shape("residual_scale", residual_scale, (outputs,))
        if inputs != outputs or stride != 1:
            raise UsageError(f"{inputs} inputs with stride {stride} cannot be added to {outputs} outputs.")


def _check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise UsageError(f"{name} is {tuple(tensor.shape)}; the other tensors of its module make it {shape}.")
