from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.cost import executed_macs
from tenfold.core.errors import UsageError
from tenfold.segment import C3Net, C3NetV2, DepthwiseNet, ESPNet
from tenfold.segment.concentrated import ConcentratedConv2d
from tenfold.segment.networks import LightNet

from ..nets.builders import copy_in_order, lived_in, parameters
from .builders import norm_by_hand, randomised

NETWORKS: list[Any] = [C3Net, C3NetV2, DepthwiseNet, ESPNet]
SHALLOW = {C3Net: (1, 1), C3NetV2: (1, 1), DepthwiseNet: (0, 1), ESPNet: (1, 0)}


def small(kind: Any, classes: int = 6) -> LightNet:
    torch.manual_seed(0)
    return randomised(kind(classes, depths=SHALLOW[kind]))


def concentrations(network: nn.Module) -> list[ConcentratedConv2d]:
    return [module for module in network.modules() if isinstance(module, ConcentratedConv2d)]


# as counted in the authors' code, without the reduction that it computes twice
@pytest.mark.parametrize(
    ("kind", "options", "weights", "billions"),
    [
        (C3Net, {}, 198_434, 3.133),
        (C3Net, {"rates": (2, 3, 7, 13)}, 191_614, 3.051),
        (C3NetV2, {}, 187_378, 2.292),
        (ESPNet, {}, 365_109, 4.780),
    ],
)
def test_networks_have_the_published_size(kind: Any, options: Any, weights: int, billions: float) -> None:
    with torch.device("meta"):
        network = kind(20, **options).eval()
        macs = executed_macs(network, torch.empty(1, 3, 512, 1024))
    assert parameters(network) == weights
    assert round(macs / 1e9, 3) == billions


def test_the_naive_network_is_c3net_without_its_concentrations() -> None:
    naive, network = small(DepthwiseNet), randomised(C3Net(6, depths=SHALLOW[DepthwiseNet]))
    branches = concentrations(network)
    taken = sum(parameters(branch.concentration) for branch in branches if branch.concentration is not None)
    assert parameters(naive) == parameters(network) - taken
    assert taken > 0
    for branch in branches:
        branch.concentration = None
    copy_in_order(network, naive)
    x = torch.randn(1, 3, 24, 32)
    assert torch.equal(naive(x), network(x))


def encoder_by_hand(network: LightNet, pictures: Tensor, kernel: int) -> dict[str, Tensor]:
    encoder = network.encoder
    halves = F.avg_pool2d(pictures, kernel, stride=2, padding=kernel // 2 if kernel == 3 else 0)
    quarters = F.avg_pool2d(halves, kernel, stride=2, padding=kernel // 2 if kernel == 3 else 0)
    stem = encoder.stem(pictures)
    half = encoder.after_half(torch.cat([stem, halves], 1))
    first = encoder.down_quarter(half)
    last = encoder.stage_quarter(first)
    quarter = encoder.after_quarter(torch.cat([last, first, quarters], 1))
    low = encoder.down_eighth(quarter)
    eighth = encoder.after_eighth(torch.cat([low, encoder.stage_eighth(low)], 1))
    logits = torch.einsum("nchw,oc->nohw", eighth, encoder.classifier.weight[:, :, 0, 0])
    return {"stem": stem, "half": half, "last": last, "quarter": quarter, "logits": logits}


def up(x: Tensor, weight: Tensor) -> Tensor:
    squares = torch.einsum("nchw,coij->nohiwj", x, weight)
    return squares.reshape(len(x), weight.shape[1], 2 * x.shape[2], 2 * x.shape[3])


@pytest.mark.parametrize("classes", [6, 2])  # with 2, the last pyramid reads as many channels as it gives
@pytest.mark.parametrize("kind", [C3Net, DepthwiseNet, ESPNet])
def test_espnets_frame(kind: Any, classes: int) -> None:
    network = small(kind, classes).double()
    assert not isinstance(network, C3NetV2)
    x = torch.randn(2, 3, 16, 24, dtype=torch.float64)
    found = encoder_by_hand(network, x, 3 if kind is ESPNet else 2)
    net: Any = network
    above = up(norm_by_hand(found["logits"], net.after_encoder, 1e-3), net.up_quarter.weight)
    projected = torch.einsum("nchw,oc->nohw", found["quarter"], net.project_quarter.weight[:, :, 0, 0])
    merged = net.merge_quarter(net.before_merge(torch.cat([projected, above], 1)))
    assert not net.merge_quarter.residual
    merged = net.merge_half(torch.cat([net.up_half(merged), found["half"]], 1))
    torch.testing.assert_close(network(x), up(merged, net.up_full.weight))
    torch.testing.assert_close(network.encode(x), found["logits"])


def interpolation(size: int) -> Tensor:
    """(2 size, size): bilinear, the corners on the corners."""
    places = torch.arange(2 * size, dtype=torch.float64) * (size - 1) / (2 * size - 1)
    return (1 - (places[:, None] - torch.arange(size)).abs()).clamp(min=0)


def bilinear(x: Tensor) -> Tensor:
    return interpolation(x.shape[2]) @ x @ interpolation(x.shape[3]).T


def test_the_second_version_upsamples_bilinearly() -> None:
    network = small(C3NetV2).double()
    net: Any = network
    x = torch.randn(2, 3, 16, 24, dtype=torch.float64)
    found = encoder_by_hand(network, x, 2)
    above = bilinear(norm_by_hand(found["logits"], net.after_encoder, 1e-3))
    above = bilinear(net.merge_quarter(torch.cat([above, found["last"]], 1)))
    above = bilinear(net.merge_half(torch.cat([above, found["stem"]], 1)))
    torch.testing.assert_close(network(x), torch.einsum("nchw,oc->nohw", above, net.classifier.weight[:, :, 0, 0]))


@pytest.mark.parametrize("kind", NETWORKS)
@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2), st.integers(1, 70), st.integers(1, 70))
def test_pictures_of_any_size_are_repeated_at_their_edge(kind: Any, count: int, height: int, width: int) -> None:
    network = small(kind)
    x = torch.randn(count, 3, height, width)
    rows, columns = (torch.arange(-(-size // 8) * 8).clamp(max=size - 1) for size in (height, width))
    padded = x[:, :, rows][..., columns]
    with torch.no_grad():
        out, low = network(x), network.encode(x)
        assert out.shape == (count, 6, height, width)
        assert low.shape == (count, 6, len(rows) // 8, len(columns) // 8)
        whole = network.decode(network.encoder(padded))  # no other padding may be at work
        assert torch.equal(out, whole[..., :height, :width])
        assert torch.equal(low, network.encoder(padded).logits)


@pytest.mark.parametrize("kind", NETWORKS)
def test_gradients_reach_every_parameter(kind: Any) -> None:
    # in evaluation: in training a norm takes away what a bias adds where a small map leaves a kernel its middle tap
    x = torch.randn(2, 3, 32, 40)
    network = lived_in(small(kind, 20), x).double()
    out = network(x.double())
    torch.autograd.backward((out * torch.randn(out.shape)).sum())
    found = {name: parameter.grad for name, parameter in network.named_parameters()}
    lacking = [name for name, gradient in found.items() if gradient is None or gradient.abs().max() < 1e-9]
    assert lacking == []


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_encoder_alone_learns_without_the_decoder(kind: Any) -> None:
    network = small(kind).train()
    torch.autograd.backward(network.encode(torch.randn(2, 3, 16, 16)).square().sum())
    learned = {name.partition(".")[0] for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert learned == {"encoder"}
    assert all(parameter.grad is not None for parameter in network.encoder.parameters())


@pytest.mark.parametrize("kind", NETWORKS)
def test_depths_and_rates_are_those_given(kind: Any) -> None:
    network = kind(7, rates=(3, 5), depths=(3, 4))
    assert len(network.encoder.stage_quarter) == 3
    assert len(network.encoder.stage_eighth) == 4
    for pyramid in (network.encoder.down_quarter, *network.encoder.stage_eighth):
        rates = [next(part for part in branch.modules() if hasattr(part, "dilation")) for branch in pyramid.branches]
        assert [part.dilation for part in rates] in ([3, 5], [(3, 3), (5, 5)])


@pytest.mark.parametrize("classes", [1, 2, 3])
@pytest.mark.parametrize("kind", NETWORKS)
def test_fewer_classes_than_rates_will_do(kind: Any, classes: int) -> None:
    network = randomised(kind(classes, depths=(0, 0)))
    assert network(torch.randn(1, 3, 8, 16)).shape == (1, classes, 8, 16)


@pytest.mark.parametrize("kind", NETWORKS)
def test_as_many_rates_as_channels_will_do(kind: Any) -> None:
    network = randomised(kind(3, rates=(2,) * 64, depths=(0, 0)))
    assert network(torch.randn(1, 3, 8, 8)).shape == (1, 3, 8, 8)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (3, 8, 8), (1, 3, 0, 8), (1, 3, 8, 0), (1, 3, 8)])
def test_a_sentence_for_pictures_of_another_shape(shape: tuple[int, ...], kind: Any) -> None:
    network = small(kind)
    for call in (network, network.encode):
        with pytest.raises(UsageError) as caught:
            call(torch.zeros(shape))
        assert str(caught.value) == f"pictures are {shape}, but must be (N, 3, H, W) with H and W at least 1"


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(
    ("classes", "options", "message"),
    [
        (20, {"rates": ()}, "rates are (), but must be 1 to 64, each at least 1"),
        (20, {"rates": (2, 0)}, "rates are (2, 0), but must be 1 to 64, each at least 1"),
        (20, {"rates": (1,) * 65}, f"rates are {(1,) * 65}, but must be 1 to 64, each at least 1"),
        (0, {}, "num_classes is 0, but must be at least 1"),
        (20, {"depths": (1,)}, "depths are (1,), but must be two numbers of modules, each at least 0"),
        (20, {"depths": (1, -1)}, "depths are (1, -1), but must be two numbers of modules, each at least 0"),
    ],
)
def test_a_sentence_for_arguments_out_of_range(classes: int, options: Any, message: str, kind: Any) -> None:
    with pytest.raises(UsageError) as caught:
        kind(classes, **options)
    assert str(caught.value) == message
