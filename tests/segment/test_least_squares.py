from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.segment import ConcentratedConv2d, least_squares
from tenfold.segment.least_squares import fit_concentrated

from .builders import randomised


def pair(inputs: int, outputs: int, dilation: int = 2, **options: Any) -> tuple[ConcentratedConv2d, nn.Conv2d]:
    """A block as if trained, and a convolution of its shape, in double precision."""
    torch.manual_seed(0)
    block = randomised(ConcentratedConv2d(inputs, outputs, dilation=dilation, **options)).double()
    bias, stride = options.get("bias", False), options.get("stride", 1)
    return block, nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=bias).double()


def noise(channels: int, count: int = 3, size: tuple[int, int] = (20, 23)) -> Tensor:
    return torch.randn(count, channels, *size, dtype=torch.float64)


def smooth(channels: int) -> Tensor:
    """Activations as networks have them: channels that go together, neighbours that resemble each other, positive."""
    mixed = torch.einsum("nchw,oc->nohw", noise(channels, size=(26, 28)), torch.randn(channels, channels).double())
    return F.avg_pool2d(mixed, 5, stride=1).relu()


def measured(block: nn.Module, convolution: nn.Conv2d, inputs: Tensor) -> float:
    """The relative squared error, by running both."""
    with torch.no_grad():
        wanted = convolution(inputs)
        missing = (block(inputs) - wanted).square().sum()
        if convolution.bias is not None:
            wanted = wanted - convolution.bias[:, None, None]
        return float(missing / wanted.square().sum())


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dilation", [1, 2, 5])
def test_a_separable_convolution_is_found_again(dilation: int, bias: bool, stride: int) -> None:
    block, convolution = pair(6, 8, dilation, bias=bias, stride=stride)
    k, p = torch.randn(1, 6, 3, 3, dtype=torch.float64), torch.randn(8, 6, 1, 1, dtype=torch.float64)
    convolution.weight.data = k * p
    x = smooth(6)
    assert fit_concentrated(block, convolution, x) < 1e-8
    other = noise(6)  # what it does holds for inputs that it has not seen, too
    assert measured(block, convolution, x) < 1e-8
    assert measured(block, convolution, other) < 1e-6


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("inputs", [noise, smooth])
@pytest.mark.parametrize("dilation", [1, 2, 7])
def test_the_error_is_the_one_measured(dilation: int, inputs: Any, bias: bool, stride: int) -> None:
    block, convolution = pair(6, 8, dilation, bias=bias, stride=stride)
    x = inputs(6)
    error = fit_concentrated(block, convolution, x)
    assert 0 < error < 1
    assert error == pytest.approx(measured(block, convolution, x), rel=1e-3)


def test_the_error_of_wide_layers_is_the_one_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    block, convolution = pair(6, 8)
    x = smooth(6)
    monkeypatch.setattr(least_squares, "LARGEST", 53)  # 54 numbers in k
    rough = fit_concentrated(block, convolution, x)
    assert rough == pytest.approx(measured(block, convolution, x), rel=1e-3)
    monkeypatch.setattr(least_squares, "LARGEST", 54)
    assert fit_concentrated(block, convolution, x) < 0.98 * rough


@pytest.mark.parametrize("each", [100, 96, 48, 44, 33])
def test_of_many_patches_some_from_everywhere_stand_for_all(each: int, monkeypatch: pytest.MonkeyPatch) -> None:
    block, convolution = pair(4, 6)
    x = F.interpolate(smooth(4), (44, 48))
    whole = fit_concentrated(block, convolution, x)
    monkeypatch.setattr(least_squares, "PATCHES", len(x) * each)
    assert fit_concentrated(block, convolution, x) != whole
    assert measured(block, convolution, x) < 1.5 * whole


def single_kernels(convolution: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """k (C, 9) and P (O, C) nearest to the weights themselves, by singular values, whatever is read."""
    kernel = convolution.weight.detach().flatten(2).transpose(0, 1)  # C x O x T
    left, values, right = torch.linalg.svd(kernel, full_matrices=False)
    return right[:, 0], (left[:, :, 0] * values[:, :1]).T


@pytest.mark.parametrize("inputs", [noise, smooth])
@pytest.mark.parametrize(("channels", "outputs"), [(8, 8), (5, 12), (12, 3)])
def test_it_beats_the_singular_values_of_the_weights_and_chance(channels: int, outputs: int, inputs: Any) -> None:
    block, convolution = pair(channels, outputs)
    x = inputs(channels)
    chance = measured(block, convolution, x)
    error = fit_concentrated(block, convolution, x)
    depthwise, pointwise = single_kernels(convolution)
    with torch.no_grad():
        block.depthwise.weight.copy_(depthwise.view_as(block.depthwise.weight))
        block.pointwise.weight.copy_(pointwise.view_as(block.pointwise.weight))
    nearest = measured(block, convolution, x)
    assert error < nearest < chance


def test_a_fit_to_what_is_read_beats_one_that_knows_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    block, convolution = pair(8, 8)
    x = smooth(8)
    informed = fit_concentrated(block, convolution, x)
    identity = torch.eye(72, dtype=torch.float64)
    monkeypatch.setattr(least_squares, "_second_moments", lambda *_: identity)
    fit_concentrated(block, convolution, x)
    assert informed < 0.7 * measured(block, convolution, x)


def test_more_rounds_do_not_make_it_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    block, convolution = pair(8, 8)
    x, errors = smooth(8), []
    for rounds in (0, 1, 2, 5, 20):
        monkeypatch.setattr(least_squares, "ROUNDS", rounds)
        errors.append(fit_concentrated(block, convolution, x))
    assert all(later <= earlier * (1 + 1e-4) for earlier, later in pairwise(errors))
    assert errors[-1] < 0.95 * errors[0]


def test_no_other_pointwise_weights_are_better() -> None:
    block, convolution = pair(5, 6)
    x = smooth(5)
    fit_concentrated(block, convolution, x)
    best, kept = measured(block, convolution, x), block.pointwise.weight.detach().clone()
    for _ in range(20):
        block.pointwise.weight.data = kept + 0.02 * kept.abs().mean() * torch.randn_like(kept)
        assert measured(block, convolution, x) > best * (1 - 1e-4)


@pytest.mark.parametrize("dilation", [1, 3])
def test_the_block_is_then_k_and_p_alone(dilation: int) -> None:
    block, convolution = pair(6, 8, dilation, bias=True)
    x = smooth(6)
    fit_concentrated(block, convolution, x)

    def comprehended(x: Tensor) -> Tensor:
        k, p = block.depthwise.weight, block.pointwise.weight
        return F.conv2d(F.conv2d(x, k, padding=dilation, dilation=dilation, groups=6), p, convolution.bias)

    for given in (x, noise(6)):
        torch.testing.assert_close(block(given), comprehended(given), rtol=1e-6, atol=1e-6)
    if block.concentration is not None:
        torch.testing.assert_close(block.concentration(x), x, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(block.train()(x), comprehended(x), rtol=1e-4, atol=1e-4)


def test_the_bias_is_taken_over() -> None:
    block, convolution = pair(4, 5, bias=True)
    fit_concentrated(block, convolution, smooth(4))
    assert block.pointwise.bias is not None
    assert convolution.bias is not None
    assert torch.equal(block.pointwise.bias, convolution.bias)


@pytest.mark.parametrize("dead", [[2], [0, 5], list(range(6))])
def test_channels_that_are_never_active(dead: list[int]) -> None:
    block, convolution = pair(6, 8)
    x = smooth(6)
    x[:, dead] = 0
    error = fit_concentrated(block, convolution, x)
    assert 0 <= error < 1
    assert all(value.isfinite().all() for value in block.state_dict().values())
    torch.testing.assert_close(block.train()(x).isfinite().all(), torch.tensor(True))
    alive = measured(block.eval(), convolution, x) if len(dead) < 6 else 0.0
    assert alive <= 1.001 * error + 1e-9


def test_the_convolution_and_what_it_reads_stay_as_they_are() -> None:
    block, convolution = pair(4, 5, bias=True)
    x = smooth(4)
    before, weight = x.clone(), convolution.weight.detach().clone()
    fit_concentrated(block, convolution, x)
    assert torch.equal(x, before)
    assert torch.equal(convolution.weight, weight)
    assert all(parameter.requires_grad for parameter in block.parameters())


def test_single_precision_is_as_good() -> None:
    block, convolution = pair(6, 8, bias=True)
    x = smooth(6)
    wanted = fit_concentrated(block, convolution, x)
    block, convolution, x = block.float(), convolution.float(), x.float()
    assert fit_concentrated(block, convolution, x) == pytest.approx(wanted, rel=1e-3)
    assert measured(block, convolution, x) == pytest.approx(wanted, rel=1e-3)
