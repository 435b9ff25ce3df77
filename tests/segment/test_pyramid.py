from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.segment.concentrated import ConcentratedConv2d
from tenfold.segment.pyramid import (
    Branch,
    ConvNormAct,
    DilatedPyramid,
    NormAct,
    UpNormAct,
    concentrated,
    dense,
    depthwise,
)

from .builders import concentrated_by_hand, norm_by_hand, prelu_by_hand, randomised

FOUR, FIVE = (2, 4, 8, 16), (1, 2, 4, 8, 16)


def pyramid(inputs: int, outputs: int, rates: tuple[int, ...], branch: Branch, **options: Any) -> DilatedPyramid:
    torch.manual_seed(0)
    return randomised(DilatedPyramid(inputs, outputs, rates=rates, branch=branch, **options)).double()


def branch_by_hand(module: nn.Module, x: Tensor, rate: int) -> Tensor:
    if isinstance(module, ConcentratedConv2d):
        assert module.dilation == rate
        return concentrated_by_hand(module, x)
    first, *others = (each for each in module.modules() if isinstance(each, nn.Conv2d))
    x = F.conv2d(x, first.weight, padding=rate, dilation=rate, groups=x.shape[1] if others else 1)
    for pointwise in others:
        x = torch.einsum("nchw,oc->nohw", x, pointwise.weight[:, :, 0, 0])
    return x


def after_by_hand(module: NormAct, x: Tensor) -> Tensor:
    return prelu_by_hand(norm_by_hand(x, module.norm, 1e-3), module.activation)


def by_hand(
    module: DilatedPyramid, x: Tensor, rates: tuple[int, ...], *, stride: int, sums: bool, residual: bool
) -> Tensor:
    reduced = F.conv2d(x, module.reduce.weight, stride=stride, padding=0 if stride == 1 else 1)
    found = [branch_by_hand(branch, reduced, rate) for branch, rate in zip(module.branches, rates, strict=True)]
    if sums:
        found = [found[0], *(sum(found[1 : number + 1], torch.tensor(0.0)) for number in range(1, len(found)))]
    merged = torch.cat(found, 1)
    return after_by_hand(module.after, merged + x if residual else merged)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("rates", [FOUR, FIVE, (3,)])
@pytest.mark.parametrize("branch", [concentrated, dense, depthwise])
@pytest.mark.parametrize("sums", [False, True])
def test_it_reduces_transforms_and_merges(sums: bool, branch: Branch, rates: tuple[int, ...], training: bool) -> None:
    cases: list[tuple[int, int, dict[str, Any], bool]] = [
        (20, 20, {}, True),
        (20, 20, {"residual": False}, False),
        (20, 20, {"stride": 2}, False),
        (9, 22, {"stride": 2}, False),
        (40, 20, {}, False),
    ]
    for inputs, outputs, options, added in cases:
        module = pyramid(inputs, outputs, rates, branch, hierarchical=sums, **options).train(training)
        stride = options.get("stride", 1)
        x = torch.randn(2, inputs, 9, 12, dtype=torch.float64)
        wanted = by_hand(module, x, rates, stride=stride, sums=sums, residual=added)
        assert wanted.shape == (2, outputs, 9 if stride == 1 else 5, 12 if stride == 1 else 6)
        torch.testing.assert_close(module(x), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("outputs", "rates", "reduced", "first"),
    [
        (20, FOUR, 5, 5),
        (20, FIVE, 4, 4),
        (64, FOUR, 16, 16),
        (64, FIVE, 12, 16),
        (128, FOUR, 32, 32),
        (128, FIVE, 25, 28),
        (19, FOUR, 4, 7),
    ],
)
def test_channels_that_are_left_over_go_to_the_first_branch(
    outputs: int, rates: tuple[int, ...], reduced: int, first: int
) -> None:
    module = pyramid(8, outputs, rates, dense)
    x = torch.randn(1, 8, 5, 6, dtype=torch.float64)
    seen: list[tuple[int, int]] = []
    for branch in module.branches:
        branch.register_forward_hook(lambda _, inputs, out: seen.append((inputs[0].shape[1], out.shape[1])))
    module(x)
    assert seen == [(reduced, first), *[(reduced, reduced)] * (len(rates) - 1)]


def test_it_reduces_once() -> None:
    module = pyramid(20, 20, FOUR, concentrated)
    calls: list[object] = []
    module.reduce.register_forward_hook(lambda *_: calls.append(None))
    module(torch.randn(1, 20, 6, 6, dtype=torch.float64))
    assert len(calls) == 1


def test_branches_at_rate_one_are_dense() -> None:
    assert isinstance(concentrated(4, 6, 1), nn.Conv2d)
    assert isinstance(concentrated(4, 6, 2), ConcentratedConv2d)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("separable", [False, True])
def test_convolution_norm_activation(separable: bool, kernel: int, stride: int) -> None:
    module = randomised(ConvNormAct(4, 6, kernel, stride=stride, separable=separable)).double()
    x = torch.randn(2, 4, 7, 8, dtype=torch.float64)
    first, *others = (each.weight for each in module.modules() if isinstance(each, nn.Conv2d))
    wanted = F.conv2d(x, first, stride=stride, padding=kernel // 2, groups=4 if separable else 1)
    for weight in others:
        wanted = torch.einsum("nchw,oc->nohw", wanted, weight[:, :, 0, 0])
    assert len(others) == separable
    torch.testing.assert_close(module(x), after_by_hand(module.after, wanted))


def test_upsampling_writes_a_square_for_every_pixel() -> None:
    module = randomised(UpNormAct(3)).double()
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    squares = torch.einsum("nchw,coij->nohiwj", x, module.convolution.weight)
    torch.testing.assert_close(module(x), after_by_hand(module.after, squares.reshape(2, 3, 8, 10)))
