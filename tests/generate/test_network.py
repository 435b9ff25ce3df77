"""The network against the paper's own, written here with padding and nn.Conv1d; what it sees, how it draws, what it costs."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tenfold.core.cost import executed_macs
from tenfold.core.errors import UsageError
from tenfold.generate.loss import mixture_draw, mixture_of
from tenfold.generate.network import CausalNet, Draw, Norm, check_net, draw_cached, draw_naive

NORMS: tuple[Norm, ...] = ("batch", "layer")


class OverChannels(nn.Module):
    """Layer norm over the channels of (N, C, length)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


class Padded(nn.Module):
    """The paper's network: 2^L zeros before the vector, a channel that tells zeros from values, valid convolutions."""

    def __init__(self, net: CausalNet, norm: Norm) -> None:
        super().__init__()
        dim = net.dim
        depth = next(depth for depth in range(20) if 2**depth >= dim)
        self.zeros = 2**depth
        layers: list[nn.Module] = []
        for number in range(depth):
            ours = net.layers[number]
            outputs, inputs = ours.weight.shape[0], ours.weight.shape[1] // 2
            convolution = nn.Conv1d(inputs, outputs, 2, dilation=2**number)
            convolution.weight.data = torch.stack([ours.weight[:, :inputs], ours.weight[:, inputs:]], 2)
            convolution.bias.data = ours.bias.data
            normal = (nn.BatchNorm1d(outputs) if norm == "batch" else OverChannels(outputs)).double()
            (normal if norm == "batch" else normal.norm).load_state_dict(ours.norm.state_dict())
            layers += [convolution, normal, nn.LeakyReLU(0.2)]
        head = nn.Conv1d(*net.head.weight.shape[1:], 1)
        head.weight.data, head.bias.data = net.head.weight.data[0].T[:, :, None], net.head.bias.data[0, 0]
        self.all = nn.Sequential(*layers, head)
        self.double().eval()

    def forward(self, values: Tensor) -> Tensor:
        """(N, D) -> (N, D, 3K)."""
        zeros = values.new_zeros(len(values), self.zeros)
        vector = torch.cat([zeros, values], 1)
        real = torch.cat([zeros, torch.ones_like(values)], 1)
        return self.all(torch.stack([vector, real], 1)[:, :, :-1]).transpose(1, 2)


def lively(dim: int, norm: Norm = "batch", *, components: int = 2, width: int = 4, cap: int | None = 12) -> CausalNet:
    """A network in double precision and evaluation whose every weight and statistic matters."""
    torch.manual_seed(dim)
    net = CausalNet(dim, components=components, base_width=width, max_width=cap, norm=norm).double().eval()
    with torch.no_grad():
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.randn_like(tensor) * 0.4)
        for part in net.modules():
            if isinstance(part, nn.BatchNorm1d):
                part.running_var.copy_(torch.rand_like(part.running_var) + 0.3)
    return net


def noisy(count: int, dim: int) -> Draw:
    """Draws with the same noise in every call."""
    random = torch.Generator().manual_seed(1)
    uniform, normal = (make(count, dim, generator=random).double() for make in (torch.rand, torch.randn))
    return lambda raw, place: mixture_draw(mixture_of(raw, floor=0.01), uniform[:, place], normal[:, place])


@pytest.mark.parametrize(
    ("dim", "components", "count"),
    [
        (8, 30, 11_370),
        (15, 30, 33_898),
        (32, 30, 111_722),
        (63, 30, 398_442),
        (64, 30, 398_442),
        (100, 30, 1_496_170),
        (200, 30, 5_788_778),
        (256, 50, 5_911_718),
    ],
)
def test_sizes_are_the_papers(dim: int, components: int, count: int) -> None:
    with torch.device("meta"):
        net = CausalNet(dim, components=components)
    assert sum(parameter.numel() for parameter in net.parameters()) == count


def test_a_width_cap_caps() -> None:
    widths = [layer.weight.shape[0] for layer in CausalNet(100, base_width=8, max_width=20).layers]
    assert widths == [8, 16, 20, 20, 20, 20, 20]


def test_weights_start_small_and_biases_at_zero() -> None:
    net = CausalNet(64)
    for layer in (*net.layers, net.head):
        assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.25)
        assert not layer.bias.any()
    twin = lively(16)
    twin.initialise()
    for layer in twin.layers:
        assert not layer.norm.running_mean.any()
        assert (layer.norm.running_var == 1).all()
        assert (layer.norm.weight == 1).all()
        assert not layer.norm.bias.any()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dim", [1, 2, 3, 5, 8, 15, 33, 100])
def test_every_output_sees_all_dimensions_before_its_own_and_no_other(dim: int, norm: Norm) -> None:
    net = lively(dim, norm, components=1, width=5)
    values = torch.randn(1, dim, dtype=torch.float64, requires_grad=True)
    outputs = (net(values)[0] * torch.randn(3, dtype=torch.float64)).sum(1)
    assert outputs.shape == (dim,)
    for place in range(dim):
        (slopes,) = torch.autograd.grad(outputs[place], values, retain_graph=True, materialize_grads=True)
        assert (slopes[0, :place] != 0).all(), place
        assert (slopes[0, place:] == 0).all(), place


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dim", [1, 2, 3, 5, 7, 8, 9, 16, 33])
def test_it_is_the_papers_padded_network(dim: int, norm: Norm) -> None:
    net = lively(dim, norm)
    values = torch.randn(4, dim, dtype=torch.float64)
    found = net(values)
    assert found.shape == (4, dim, 6)
    torch.testing.assert_close(found, Padded(net, norm)(values), rtol=1e-10, atol=1e-10)


def test_the_full_widths_are_the_papers_too() -> None:
    torch.manual_seed(0)
    net = CausalNet(15).double().eval()
    values = torch.randn(3, 15, dtype=torch.float64)
    torch.testing.assert_close(net(values), Padded(net, "batch")(values), rtol=1e-10, atol=1e-12)


@given(st.integers(1, 40), st.integers(0, 5), st.sampled_from(NORMS))
@settings(max_examples=30, deadline=None)
def test_rows_do_not_mix_in_evaluation(dim: int, count: int, norm: Norm) -> None:
    net = lively(dim, norm)
    values = torch.randn(count, dim, dtype=torch.float64)
    together = net(values)
    assert together.shape == (count, dim, 6)
    for row in range(count):
        torch.testing.assert_close(together[row], net(values[row : row + 1])[0], rtol=1e-10, atol=1e-10)


def test_batch_norm_reads_the_batch_in_training_and_layer_norm_does_not() -> None:
    values = torch.randn(6, 8, dtype=torch.float64)
    for norm, mixes in (("batch", True), ("layer", False)):
        net = lively(8, norm).train()
        difference = float((net(values)[:3] - net(values[:3])).detach().abs().max())
        assert (difference > 1e-3) == mixes


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("dim", "prefix"), [(1, 0), (1, 1), (2, 1), (5, 3), (8, 0), (9, 9), (13, 5), (33, 17)])
@torch.no_grad()
def test_step_by_step_or_whole_or_through_the_papers_network_the_draws_are_the_same(
    dim: int, prefix: int, norm: Norm
) -> None:
    net, draw = lively(dim, norm), noisy(6, dim)
    given = torch.randn(6, prefix, dtype=torch.float64)
    padded = Padded(net, norm)
    rows = torch.zeros(6, dim, dtype=torch.float64)
    rows[:, :prefix] = given
    for place in range(prefix, dim):
        rows[:, place] = draw(padded(rows)[:, place], place)
    cached = draw_cached(net, draw, 6, given)
    assert torch.equal(cached[:, :prefix], given)
    torch.testing.assert_close(cached, rows, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(draw_naive(net, draw, 6, given), rows, rtol=1e-8, atol=1e-8)
    if not prefix:
        torch.testing.assert_close(draw_cached(net, draw, 6), rows, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(draw_naive(net, draw, 6), rows, rtol=1e-8, atol=1e-8)


@torch.no_grad()
def test_given_dimensions_are_not_drawn() -> None:
    net, places = lively(5), []

    def draw(raw: Tensor, place: int) -> Tensor:
        places.append(place)
        assert raw.shape == (3, 6)
        return torch.zeros(3, dtype=torch.float64)

    for sampler in (draw_cached, draw_naive):
        places.clear()
        sampler(net, draw, 3, torch.ones(3, 2, dtype=torch.float64))
        assert places == [2, 3, 4]


@torch.no_grad()
def test_no_rows_can_be_drawn() -> None:
    for sampler in (draw_cached, draw_naive):
        assert sampler(lively(6), noisy(0, 6), 0).shape == (0, 6)


def zeros(raw: Tensor, place: int) -> Tensor:
    return raw.new_zeros(len(raw))


def test_a_cached_draw_costs_the_same_for_every_dimension() -> None:
    spent = {}
    for dim in (33, 50, 64, 128):
        net = CausalNet(dim, components=4, max_width=32).eval()
        column = sum(layer.weight.numel() for layer in (*net.layers, net.head))
        spent[dim] = executed_macs(draw_cached, net, zeros, 2)
        assert spent[dim] == 2 * dim * column
    assert spent[33] * 64 == spent[64] * 33
    assert spent[50] * 64 == spent[64] * 50
    # twice the dimensions have one layer more, seven instead of six, of the widest
    assert 2 * spent[64] < spent[128] < 2 * spent[64] * 7 / 5


@pytest.mark.parametrize("dim", [64, pytest.param(256, marks=pytest.mark.slow)])
def test_a_naive_draw_costs_more_than_ten_times_as_much(dim: int) -> None:
    net = CausalNet(dim, components=4, max_width=64).eval()
    cached, naive = (executed_macs(sampler, net, zeros, 1) for sampler in (draw_cached, draw_naive))
    assert naive > 10 * cached
    assert naive > dim / 2 * cached * 0.95  # half the square


def test_scoring_costs_what_a_cached_draw_costs() -> None:
    net = CausalNet(100, components=4, max_width=32).eval()
    assert executed_macs(net, torch.zeros(3, 100)) == executed_macs(draw_cached, net, zeros, 3)


@pytest.mark.parametrize("name", ["dim", "components", "base_width", "max_width"])
@pytest.mark.parametrize("value", [0, -3, 2.5, True, "8", math.nan])
def test_sizes_that_make_no_network_are_refused(name: str, value: object) -> None:
    sizes = {"dim": 4, "components": 3, "base_width": 8, "max_width": None} | {name: value}
    with pytest.raises(UsageError, match=rf"^{name} is {value!r}, but must be a whole number of at least 1$"):
        check_net(**sizes)


def test_sizes_that_make_a_network_are_not() -> None:
    check_net(1, 1, 1, None)
    check_net(1, 1, 1, 1)


def own(dim: int) -> CausalNet:
    """A network with a last layer for each dimension, all its weights alive."""
    torch.manual_seed(dim)
    net = CausalNet(dim, components=2, base_width=4, heads="own").double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    return net


@pytest.mark.parametrize("dim", [2, 5, 8, 33])
def test_own_heads_are_causal_and_each_is_its_dimensions(dim: int) -> None:
    net = own(dim)
    values = torch.randn(dim, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda z: net(z[None])[0].sum(1), values)
    assert (jacobian.triu() == 0).all()
    assert (jacobian.tril(-1) != 0).sum() == dim * (dim - 1) // 2
    before = net(values[None])
    with torch.no_grad():
        net.head.weight[1] += 1.0
    changed = (net(values[None]) != before).any(2)[0]
    assert changed.tolist() == [place == 1 for place in range(dim)]


@pytest.mark.parametrize(("dim", "prefix"), [(1, 0), (2, 1), (8, 0), (13, 5), (33, 17)])
def test_own_heads_are_drawn_from_step_by_step(dim: int, prefix: int) -> None:
    net, count = own(dim), 6
    given = torch.randn(count, prefix, dtype=torch.float64) if prefix else None
    with torch.no_grad():
        quick = draw_cached(net, noisy(count, dim), count, given)
        slow = draw_naive(net, noisy(count, dim), count, given)
        torch.testing.assert_close(quick, slow)
        # what is drawn is what the whole network describes
        again = mixture_draw(mixture_of(net(quick), floor=0.01), *noise_of(count, dim))
    torch.testing.assert_close(again[:, prefix:], quick[:, prefix:])


def noise_of(count: int, dim: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    uniform, normal = (make(count, dim, generator=random).double() for make in (torch.rand, torch.randn))
    return uniform, normal


def test_components_of_own_heads_begin_apart() -> None:
    head = CausalNet(3, components=3, heads="own").head
    quantiles = torch.tensor([-0.9674, 0.0, 0.9674])  # of N(0, 1) at 1/6, 1/2 and 5/6
    torch.testing.assert_close(head.bias[:, 0, :3], quantiles.expand(3, 3), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(head.bias[:, 0, 3:6].exp(), torch.full((3, 3), 0.5))
    assert (head.bias[:, 0, 6:] == 0).all()


def test_a_second_mode_is_found_soon() -> None:
    """Of components that begin alike none leaves the others for long: 20 passes over 500 rows were not enough."""
    from tenfold.generate import LatentDensity

    random = torch.Generator().manual_seed(0)
    signs = (torch.rand(500, 3, generator=random) < 0.5).float() * 2 - 1
    rows = signs + 0.1 * torch.randn(500, 3, generator=random)
    density = LatentDensity(3, 8).fit(rows, epochs=15, seed=0)
    between = density.log_prob(torch.zeros(1, 3)).item()
    assert density.log_prob(rows).mean().item() > between + 10
