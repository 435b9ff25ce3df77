from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tenfold.segment import C3Net, C3NetV2, ConcentratedConv2d, DepthwiseNet, ESPNet, fuse
from tenfold.segment.dense import DilatedSegmenter
from tenfold.segment.fused import FusedConcentrated, FusedPyramid
from tenfold.segment.pyramid import DilatedPyramid, concentrated

from .builders import randomised

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
NETWORKS: list[Any] = [C3Net, C3NetV2, DepthwiseNet, ESPNet]


def assert_same(found: Tensor, wanted: Tensor) -> None:
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    if wanted.numel():
        assert (found - wanted).abs().max() <= TOLERANCE[wanted.dtype] * wanted.abs().max()


def small(kind: Any, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return randomised(kind(6, **{"depths": (1, 1), **options}))


def norms(network: nn.Module) -> list[str]:
    return [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.fixture(autouse=True)
def _without_gradients() -> object:
    torch.manual_seed(0)
    with torch.no_grad():
        yield


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rates", [(2, 4, 8, 16), (2, 3, 7, 13), (1, 5)])
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_fused_network_is_the_network(kind: Any, rates: tuple[int, ...], dtype: torch.dtype) -> None:
    network = small(kind, rates=rates).to(dtype)
    fused = fuse(network)
    for size in [(64, 48), (41, 67), (1, 3)]:
        x = torch.randn(2, 3, *size, dtype=dtype)
        assert_same(fused(x), network(x))
        assert_same(fused.encode(x), network.encode(x))  # type: ignore[operator]


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2), st.integers(1, 40), st.integers(1, 40), st.booleans())
def test_pictures_of_any_size(count: int, height: int, width: int, last: bool) -> None:
    network = small(C3Net).double()
    x = torch.randn(count, 3, height, width, dtype=torch.float64)
    given_ = x.contiguous(memory_format=torch.channels_last) if last else x
    assert_same(fuse(network)(given_), network(x))
    assert torch.equal(given_, x)


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_network_itself_stays_as_it_is(kind: Any) -> None:
    network = small(kind).train()
    network.get_submodule("encoder.stem").eval()
    modes = [module.training for module in network.modules()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pieces = list(network.modules())
    fused = fuse(network)
    assert [module.training for module in network.modules()] == modes
    assert list(network.modules()) == pieces
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert not any(module.training for module in fused.modules())
    assert not any(parameter.requires_grad for parameter in fused.parameters())
    for value in fused.state_dict().values():
        value.zero_()
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_norms_of_the_modules_are_gone() -> None:
    for kind in (C3Net, C3NetV2):
        fused = fuse(small(kind))
        assert isinstance(fused, kind)
        kinds = [type(module) for module in fused.modules()]
        assert kinds.count(FusedPyramid) == (5 if kind is C3Net else 4)
        assert not {DilatedPyramid, ConcentratedConv2d} & set(kinds)
        # left are those that no convolution directly comes before
        left = {"encoder.after_half.norm", "encoder.after_quarter.norm", "encoder.after_eighth.norm", "after_encoder"}
        assert set(norms(fused)) == left | ({"before_merge.norm"} if kind is C3Net else set())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", [{}, {"bias": True}, {"stride": 2}, {"stride": 2, "bias": True}])
@pytest.mark.parametrize("dilation", [1, 2, 7, 16])
def test_a_concentrated_convolution_alone(dilation: int, options: Any, dtype: torch.dtype) -> None:
    block = randomised(ConcentratedConv2d(6, 9, dilation=dilation, **options)).to(dtype)
    fused = fuse(block)
    assert dilation == 1 or "stride" in options or isinstance(fused, FusedConcentrated)
    for size in [(16, 32), (9, 11), (1, 1)]:
        x = torch.randn(2, 6, *size, dtype=dtype)
        assert_same(fused(x), block(x))


@pytest.mark.parametrize("options", [{}, {"residual": False}, {"stride": 2}, {"hierarchical": True}])
@pytest.mark.parametrize("rates", [(2, 4, 5), (1, 3), (2,)])
def test_a_pyramid_alone(rates: tuple[int, ...], options: Any) -> None:
    pyramid = randomised(DilatedPyramid(11, 11, rates=rates, branch=concentrated, **options)).double()
    fused, x = fuse(pyramid), torch.randn(2, 11, 9, 12, dtype=torch.float64)
    assert_same(fused(x), pyramid(x))


def test_branches_with_a_bias() -> None:
    def branch(inputs: int, outputs: int, rate: int) -> nn.Module:
        return ConcentratedConv2d(inputs, outputs, dilation=rate, bias=True)

    pyramid = randomised(DilatedPyramid(12, 12, rates=(2, 3), branch=branch)).double()
    x = torch.randn(1, 12, 9, 12, dtype=torch.float64)
    assert_same(fuse(pyramid)(x), pyramid(x))


def test_a_convolution_and_the_norm_after_it_in_a_sequence() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Sequential(OrderedDict(conv=nn.Conv2d(4, 5, 3, padding=1, groups=1), norm=nn.BatchNorm2d(5, affine=False))),
        nn.Conv2d(5, 5, 3, groups=5),
        nn.ReLU(),
        nn.BatchNorm2d(5),  # of the activation: stays
        nn.Conv2d(5, 2, 1),
        nn.BatchNorm2d(2, track_running_stats=False),  # of the batch at hand: stays
    )
    randomised(network).double()
    fused, x = fuse(network), torch.randn(4, 3, 8, 9, dtype=torch.float64)
    assert norms(fused) == ["6", "8"]
    assert_same(fused(x), network(x))


def test_a_norm_after_a_concentrated_convolution_stays_right() -> None:
    block = ConcentratedConv2d(4, 6, dilation=3)
    network = randomised(nn.Sequential(block, nn.BatchNorm2d(6), nn.ReLU())).double()
    x = torch.randn(2, 4, 9, 9, dtype=torch.float64)
    assert_same(fuse(network)(x), network(x))


def test_parts_that_are_shared() -> None:
    block = ConcentratedConv2d(4, 4, dilation=2, bias=True)
    convolution, norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
    network = nn.Sequential(
        nn.Sequential(block, nn.ReLU(), block),
        nn.Sequential(convolution, norm, nn.ReLU(), convolution, norm),
        nn.Sequential(convolution, nn.BatchNorm2d(4), block),
    )
    randomised(network).double()
    x = torch.randn(2, 4, 9, 9, dtype=torch.float64)
    assert_same(fuse(network)(x), network(x))


class Theirs(nn.Module):
    """Someone else's network, with concentrated convolutions in it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.blocks = nn.ModuleDict(
            {"a": ConcentratedConv2d(8, 8, dilation=2), "b": ConcentratedConv2d(8, 4, dilation=4)}
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.norm(self.stem(x)).relu()
        return {"out": self.blocks["b"](self.blocks["a"](x)).tanh()}


def test_inside_any_network() -> None:
    network = randomised(Theirs()).double()
    fused, x = fuse(network), torch.randn(2, 3, 20, 21, dtype=torch.float64)
    assert_same(fused(x)["out"], network(x)["out"])
    assert norms(fused) == ["norm"]  # whether it follows the convolution cannot be known


@pytest.mark.parametrize("name", ["drn-a-50", "drn-c-26", "drn-d-22"])
def test_dilated_residual_networks_lose_their_norms(name: str) -> None:
    network = randomised(DilatedSegmenter(name, 5, width=4, pyramid=True)).double()
    fused, x = fuse(network), torch.randn(1, 3, 33, 40, dtype=torch.float64)
    assert norms(fused) == (["backbone.bn1"] if name == "drn-a-50" else [])  # that one is in no block
    assert_same(fused(x), network(x))


@pytest.mark.parametrize("kind", NETWORKS)
def test_to_fuse_again_changes_nothing(kind: Any) -> None:
    fused, x = fuse(small(kind)), torch.randn(1, 3, 24, 32)
    again = fuse(fused)
    assert torch.equal(again(x), fused(x))
    assert list(again.state_dict()) == list(fused.state_dict())


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_state_is_all_that_a_fused_network_knows(kind: Any) -> None:
    first, other = fuse(small(kind)), fuse(randomised(small(kind)))
    x = torch.randn(1, 3, 24, 32)
    assert not torch.equal(first(x), other(x))
    other.load_state_dict(first.state_dict())
    assert torch.equal(first(x), other(x))


@pytest.mark.parametrize("kind", NETWORKS)
def test_networks_fuse_themselves(kind: Any) -> None:
    network, x = small(kind), torch.randn(1, 3, 16, 24)
    assert torch.equal(network.fuse()(x), fuse(network)(x))  # type: ignore[operator]


@pytest.mark.parametrize("kind", [C3Net, C3NetV2])
def test_a_fused_network_can_be_exported(kind: Any) -> None:
    network, x = small(kind, depths=(0, 0)), torch.randn(1, 3, 24, 32)
    program = torch.export.export(fuse(network), (x,))
    assert_same(program.module()(x), network(x))
