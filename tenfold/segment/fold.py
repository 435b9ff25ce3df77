"""A network made ready for inference: norms folded into the convolutions before them, exactly, and pyramids in one piece."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..nets.resnet import BasicBlock, Bottleneck
from .concentrated import ConcentratedConv2d
from .fused import FoldedBranch, FusedConcentrated, FusedPyramid
from .networks import C3NetV2
from .pyramid import ConvNormAct, DilatedPyramid, UpNormAct

M = TypeVar("M", bound=nn.Module)


@torch.no_grad()
def fuse(model: M) -> M:
    """A copy of a network, for inference, that computes the same faster; the model itself is left as it is.

    Folded are the norms of concentrated convolutions and of C3Net's modules, wherever in the model these are, those of our
    residual blocks, and those that follow a convolution in an `nn.Sequential`. Outputs differ by rounding: 1e-5 relative
    to the largest. The copy is in `eval` mode and has no gradients; it is meant to stay so.
    """
    # one that is itself a foldable part becomes another module, hence the wrapping
    box = nn.ModuleDict({"model": copy.deepcopy(model).eval()})
    _fold_below(box)
    fused = box["model"].eval().requires_grad_(False)  # what was put in is new, hence in training mode
    # the kernels that this is about want channels last; a convolution's output follows its weight
    return fused.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _fold_below(parent: nn.Module) -> None:
    if isinstance(parent, C3NetV2):
        parent.classifies_first = True
    if isinstance(parent, BasicBlock | Bottleneck):
        for number in (1, 2, 3):
            _fold_pair(parent, f"conv{number}", f"bn{number}")
    if isinstance(parent, nn.Sequential):
        names = list(parent._modules)
        for first, second in pairwise(names):
            _fold_pair(parent, first, second)
    for name, child in list(parent.named_children()):
        folded = _folded(child)
        if folded is child:
            _fold_below(child)
        else:
            setattr(parent, name, folded)


def _folded(module: nn.Module) -> nn.Module:
    """What takes the place of a module, or the module itself."""
    if isinstance(module, ConcentratedConv2d) and _has_fused_form(module):
        return FusedConcentrated(folded_branch(module))
    if isinstance(module, DilatedPyramid) and not module.hierarchical:
        branches = list(module.branches)
        if all(isinstance(branch, ConcentratedConv2d) and _has_fused_form(branch) for branch in branches):
            return _fused_pyramid(module)
    if isinstance(module, ConvNormAct):
        last = module.convolution[1] if isinstance(module.convolution, nn.Sequential) else module.convolution
        before = [module.convolution[0]] if isinstance(module.convolution, nn.Sequential) else []
        assert isinstance(last, nn.Conv2d)
        return nn.Sequential(*before, fuse_conv_bn_eval(last, module.after.norm), module.after.activation)
    if isinstance(module, UpNormAct):
        convolution = fuse_conv_bn_eval(module.convolution, module.after.norm, transpose=True)
        return nn.Sequential(convolution, module.after.activation)
    return module


def folded_branch(block: ConcentratedConv2d, scale: Tensor | None = None) -> FoldedBranch:
    """The weights of a concentrated convolution of dilation 2 or more, its norms folded into the kernels before them.

    Args:
        block: left as it is.
        scale: (O,), of a norm that follows; None is 1.
    """
    assert block.concentration is not None, "without dilation there is nothing to fold"
    part = block.concentration
    vertical, vertical_bias = _normed(part.vertical, part.vertical_norm)
    horizontal, horizontal_bias = _normed(part.horizontal, part.horizontal_norm)
    pointwise, bias = block.pointwise.weight.flatten(1), block.pointwise.bias
    if scale is not None:
        pointwise, bias = pointwise * scale[:, None], None if bias is None else bias * scale
    return FoldedBranch(
        dilation=block.dilation,
        vertical=vertical.flatten(1),
        vertical_bias=vertical_bias,
        slope=part.activation.weight,
        horizontal=horizontal.flatten(1),
        horizontal_bias=horizontal_bias,
        depthwise=block.depthwise.weight[:, 0],
        pointwise=pointwise,
        pointwise_bias=bias,
    )


def _fused_pyramid(module: DilatedPyramid) -> FusedPyramid:
    norm = module.after.norm
    scale, shift = _scale_and_shift(norm)
    branches, start = [], 0
    for branch in module.branches:
        assert isinstance(branch, ConcentratedConv2d)
        end = start + branch.out_channels
        branches.append(replace(folded_branch(branch, scale[start:end]), pointwise_bias=None))
        if branch.pointwise.bias is not None:
            shift[start:end] += branch.pointwise.bias * scale[start:end]
        start = end
    return FusedPyramid(
        module.reduce.weight,
        module.reduce.stride[0],
        branches=branches,
        residual_scale=scale if module.residual else None,
        bias=shift,
        slope=module.after.activation.weight,
    )


def _has_fused_form(block: ConcentratedConv2d) -> bool:
    return block.concentration is not None and block.stride == 1


def _fold_pair(parent: nn.Module, first: str, second: str) -> None:
    """Fold the norm named `second` into the convolution named `first`, where they are such."""
    convolution, norm = getattr(parent, first, None), getattr(parent, second, None)
    if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None:
        setattr(parent, first, fuse_conv_bn_eval(convolution, norm))
        setattr(parent, second, nn.Identity())


def _normed(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    folded = fuse_conv_bn_eval(convolution, norm)
    assert folded.bias is not None
    return folded.weight, folded.bias


def _scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return scale, norm.bias - norm.running_mean * scale
