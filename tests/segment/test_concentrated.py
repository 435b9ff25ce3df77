from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tenfold.core.errors import UsageError
from tenfold.segment import ConcentratedConv2d

from ..nets.builders import parameters
from .builders import concentrated_by_hand, randomised

RATES = [1, 2, 3, 4, 7, 8, 13, 16]


def block(inputs: int, outputs: int, dilation: int, **options: Any) -> ConcentratedConv2d:
    torch.manual_seed(0)
    return randomised(ConcentratedConv2d(inputs, outputs, dilation=dilation, **options))


def assert_equal(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("options", [{}, {"bias": True}, {"stride": 2}])
@pytest.mark.parametrize("dilation", RATES)
def test_it_is_the_papers_block(dilation: int, options: dict[str, Any], training: bool) -> None:
    module = block(5, 7, dilation, **options).double().train(training)
    x = torch.randn(2, 5, 11, 14, dtype=torch.float64)
    assert_equal(module(x), concentrated_by_hand(module, x))


@pytest.mark.parametrize("dilation", RATES)
def test_nothing_comes_after_the_second_norm_but_linear_maps(dilation: int) -> None:
    module = block(3, 4, dilation).double()
    if module.concentration is not None:
        nn.init.ones_(module.concentration.activation.weight)  # the only part that bends
    x, y = torch.randn(2, 1, 3, 20, 20, dtype=torch.float64)
    zero = module(torch.zeros_like(x))
    assert_equal(module(2 * x - 3 * y) - zero, 2 * (module(x) - zero) - 3 * (module(y) - zero))


def seen_by(module: nn.Module, side: int) -> Tensor:
    """Which pixels of a side x side picture the output's middle pixel depends on."""
    x = torch.randn(1, 2, side, side, dtype=torch.float64, requires_grad=True)
    module(x)[0, :, side // 2, side // 2].sum().backward()
    assert x.grad is not None
    return (x.grad != 0).all(1)[0]


@pytest.mark.parametrize("dilation", [2, 3, 4, 7, 8, 13, 16])
def test_an_output_sees_every_pixel_of_its_window_and_no_other(dilation: int) -> None:
    reach = dilation + (dilation - 1)  # of the taps, then of the window gathered around each
    side = 2 * reach + 5
    wanted = torch.zeros(side, side, dtype=torch.bool)
    wanted[2:-2, 2:-2] = True
    assert int(wanted.sum()) == (4 * dilation - 1) ** 2
    assert torch.equal(seen_by(block(2, 3, dilation).double(), side), wanted)


@pytest.mark.parametrize("dilation", RATES)
def test_without_concentration_it_sees_nine_points(dilation: int) -> None:
    module = block(2, 3, dilation).double()
    module.concentration = None
    side = 2 * dilation + 5
    wanted = torch.zeros(side, side, dtype=torch.bool)
    wanted[2 : side - 2 : dilation, 2 : side - 2 : dilation] = True
    assert int(wanted.sum()) == 9
    assert torch.equal(seen_by(module, side), wanted)


@pytest.mark.parametrize("size", [(12, 16), (13, 17), (1, 6), (5, 1)])
@pytest.mark.parametrize("dilation", [1, 2, 3, 8])
def test_a_stride_has_the_shape_of_the_dense_convolution_and_subsamples(dilation: int, size: tuple[int, int]) -> None:
    strided, full = block(4, 6, dilation, stride=2).double(), block(4, 6, dilation).double()
    full.load_state_dict(strided.state_dict())
    x = torch.randn(2, 4, *size, dtype=torch.float64)
    dense = nn.Conv2d(4, 6, 3, dilation=dilation, padding=dilation, stride=2).double()
    assert strided(x).shape == dense(x).shape == (2, 6, (size[0] + 1) // 2, (size[1] + 1) // 2)
    assert_equal(strided(x), full(x)[..., ::2, ::2])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dilation", RATES)
def test_it_has_the_weights_of_the_formula(dilation: int, bias: bool) -> None:
    inputs, outputs = 12, 20
    gathering = 2 * (2 * dilation - 1) * inputs + 5 * inputs if dilation > 1 else 0  # 5: two norms and the slopes
    found = parameters(ConcentratedConv2d(inputs, outputs, dilation=dilation, bias=bias))
    assert found == gathering + 9 * inputs + inputs * outputs + (outputs if bias else 0)


def test_it_has_the_weights_counted_in_the_authors_code() -> None:
    assert parameters(ConcentratedConv2d(32, 32, dilation=2)) == 1664


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2), st.integers(1, 19), st.integers(1, 19), st.sampled_from(RATES), st.integers(1, 3), st.booleans()
)
def test_pictures_of_any_size(count: int, height: int, width: int, dilation: int, stride: int, last: bool) -> None:
    module = block(3, 4, dilation, stride=stride).double()
    x = torch.randn(count, 3, height, width, dtype=torch.float64)
    if last:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = x.contiguous(memory_format=torch.channels_last)
    before = x.clone()
    out = module(x)
    assert out.shape == (count, 4, -(-height // stride), -(-width // stride))
    assert out.dtype == torch.float64
    assert_equal(out, concentrated_by_hand(module, x))
    assert torch.equal(x, before)


@pytest.mark.parametrize("dilation", [1, 2, 13])
def test_gradients_reach_every_parameter(dilation: int) -> None:
    module = block(3, 4, dilation, bias=True).double().train()
    x = torch.randn(2, 3, 16, 15, dtype=torch.float64)
    torch.autograd.backward((module(x) * torch.randn(2, 4, 16, 15)).sum())
    found = {name: parameter.grad for name, parameter in module.named_parameters()}
    assert all(gradient is not None and gradient.abs().max() > 1e-9 for gradient in found.values())


def test_pictures_do_not_mix_in_evaluation() -> None:
    module, x = block(3, 4, 3).double(), torch.randn(3, 3, 9, 9, dtype=torch.float64)
    assert_equal(module(x)[1:2], module(x[1:2]))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"in_channels": 0}, "in_channels is 0, but must be at least 1"),
        ({"out_channels": -1}, "out_channels is -1, but must be at least 1"),
        ({"dilation": 0}, "dilation is 0, but must be at least 1"),
        ({"stride": 0}, "stride is 0, but must be at least 1"),
    ],
)
def test_a_sentence_for_arguments_out_of_range(changed: dict[str, int], message: str) -> None:
    options: dict[str, Any] = {"in_channels": 3, "out_channels": 4, "dilation": 2, "stride": 1} | changed
    with pytest.raises(UsageError) as caught:
        ConcentratedConv2d(**options)
    assert str(caught.value) == message


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (3, 8, 8), (2, 3, 8), ()])
def test_a_sentence_for_inputs_of_another_shape(shape: tuple[int, ...], dilation: int) -> None:
    with pytest.raises(UsageError) as caught:
        block(3, 4, dilation)(torch.zeros(shape))
    assert str(caught.value) == f"the input is {shape}, but must be (N, 3, H, W)"
