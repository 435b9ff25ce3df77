"""Weights of a concentrated convolution that does what a dense dilated one does, as well as it can, on real activations.

The concentration begins as the identity, so that what remains is a depthwise dilated kernel k and a 1x1 convolution P in
the place of a dense kernel W: minimise E |W x - P k x|^2 over the patches x that the layer sees. Both are linear problems
with the other held fixed, and need only the second moments of the patches. (Ours; the paper trains from scratch.)

Shape letters: C input channels, O output channels, T = 9 taps.
"""

from __future__ import annotations

from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .concentrated import KERNEL, ConcentratedConv2d

TAPS = KERNEL * KERNEL
ROUNDS = 5
RIDGE = 1e-5
"""relative to the mean second moment; keeps channels that are never active solvable"""
PATCHES = 40_000
"""at most so many patches are looked at"""
LARGEST = 5000
"""above so many numbers in k, solving for them takes too long, and the best single kernel of each channel is kept"""


@torch.no_grad()
def fit_concentrated(block: ConcentratedConv2d, convolution: nn.Conv2d, inputs: Tensor) -> float:
    """Set the block's weights so that it imitates the convolution on these inputs, and return the relative error.

    Args:
        block: of the convolution's shape; changed in place.
        convolution: 3x3, of the block's dilation and stride.
        inputs: (N, C, H, W), what the convolution reads; at least one picture.

    Returns:
        Sum of squared differences over the sum of squares of the convolution's output (without its bias), in [0, 1].
    """
    _make_identity(block, inputs)
    kernel = convolution.weight.detach().double().flatten(2)  # O x C x T
    moments = _second_moments(inputs, convolution)
    depthwise = _single_kernels(kernel, moments)
    pointwise = _solve_pointwise(kernel, moments, depthwise)
    if kernel.shape[1] * TAPS <= LARGEST:
        for _ in range(ROUNDS):
            depthwise = _solve_depthwise(kernel, moments, pointwise)
            pointwise = _solve_pointwise(kernel, moments, depthwise)
    block.depthwise.weight.copy_(depthwise.view_as(block.depthwise.weight))
    block.pointwise.weight.copy_(pointwise.view_as(block.pointwise.weight))
    if block.pointwise.bias is not None and convolution.bias is not None:
        block.pointwise.bias.copy_(convolution.bias)
    return _relative_error(kernel, moments, depthwise, pointwise)


def _make_identity(block: ConcentratedConv2d, inputs: Tensor) -> None:
    """Let the concentration give back what it reads: kernels of one tap, slopes of 1, norms that undo themselves."""
    if block.concentration is None:
        return
    part = block.concentration
    variance, mean = torch.var_mean(inputs.float(), dim=(0, 2, 3), correction=0)
    for kernel in (part.vertical.weight, part.horizontal.weight):
        kernel.zero_()
        kernel[..., kernel.shape[2] // 2, kernel.shape[3] // 2] = 1
    part.activation.weight.fill_(1)
    for norm in (part.vertical_norm, part.horizontal_norm):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(mean)


def _second_moments(inputs: Tensor, convolution: nn.Conv2d) -> Tensor:
    """E x x^T of the patches x but for its scale, (C T, C T) in double precision, from `PATCHES` of them, evenly chosen."""
    rate, stride = convolution.dilation[0], convolution.stride[0]
    size = inputs.shape[1] * TAPS
    total = torch.zeros(size, size, dtype=torch.float64, device=inputs.device)
    each = max(1, PATCHES // len(inputs))
    for picture in inputs.float().split(1):
        patches = F.unfold(picture, KERNEL, dilation=rate, padding=rate, stride=stride)[0]
        step = -(-patches.shape[1] // each)
        while step > 1 and gcd(step, -(-picture.shape[3] // stride)) > 1:
            step += 1  # one that divides the width would look at some columns only
        patches = patches[:, ::step].double()
        total += patches @ patches.T
    # the scale of the activations decides nothing; without it, the equations are solvable whatever it is
    moments = total / total.diagonal().mean().clamp_min(1e-300)
    return _with_ridge(moments)


def _single_kernels(kernel: Tensor, moments: Tensor) -> Tensor:
    """k (C, T): of each channel, the one kernel that serves all outputs best, were the channels independent."""
    channels = kernel.shape[1]
    blocks = moments.view(channels, TAPS, channels, TAPS).diagonal(dim1=0, dim2=2).permute(2, 0, 1)  # C x T x T
    root = torch.linalg.cholesky(blocks)
    # W_c x has the energy |W_c root|^2: its first right singular vector is the best kernel, seen through root
    _, _, right = torch.linalg.svd(kernel.transpose(0, 1) @ root, full_matrices=False)
    return _of_unit_length(torch.linalg.solve_triangular(root.mT, right[:, 0, :, None], upper=True)[..., 0])


def _solve_pointwise(kernel: Tensor, moments: Tensor, depthwise: Tensor) -> Tensor:
    """P (O, C), given k."""
    channels = len(depthwise)
    half = (moments.view(channels, TAPS, -1) * depthwise[:, :, None]).sum(1)  # C x (C T): k E x x^T
    gram = (half.view(channels, channels, TAPS) * depthwise).sum(2)
    cross = kernel.flatten(1) @ half.T  # O x C
    return torch.cholesky_solve(cross.T, torch.linalg.cholesky(_with_ridge(gram))).T


def _solve_depthwise(kernel: Tensor, moments: Tensor, pointwise: Tensor) -> Tensor:
    """k (C, T), given P."""
    channels = kernel.shape[1]
    mixed = pointwise.T @ pointwise  # C x C
    size = channels * TAPS
    system = (moments.view(channels, TAPS, channels, TAPS) * mixed[:, None, :, None]).reshape(size, size)
    wanted = (pointwise.T @ kernel.flatten(1) @ moments).view(channels, channels, TAPS)
    right = wanted.diagonal(dim1=0, dim2=1).T.reshape(size)
    found = torch.cholesky_solve(right[:, None], torch.linalg.cholesky(_with_ridge(system)))
    return _of_unit_length(found.view(channels, TAPS))


def _with_ridge(matrix: Tensor) -> Tensor:
    ridge = RIDGE * matrix.diagonal().mean().clamp_min(1e-300)
    return matrix + ridge * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)


def _of_unit_length(depthwise: Tensor) -> Tensor:
    """k (C, T) with its scale taken out, which P can have as well: else the one grows while the other vanishes."""
    return depthwise / depthwise.norm(dim=1, keepdim=True).clamp_min(1e-300)


def _relative_error(kernel: Tensor, moments: Tensor, depthwise: Tensor, pointwise: Tensor) -> float:
    wanted = kernel.flatten(1)
    missing = wanted - (pointwise[:, :, None] * depthwise).flatten(1)
    energy = ((wanted @ moments) * wanted).sum()
    return float(((missing @ moments) * missing).sum() / energy.clamp_min(1e-30))
