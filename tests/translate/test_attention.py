"""Conditional attention and its rivals against the formulas of the notes, written here for one sample at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tenfold.core.errors import UsageError
from tenfold.translate import Concatenation, ConditionalAttention, FeatureModulation, SqueezeExcitation
from tenfold.translate.attention import CONDITIONINGS, ConditioningName, FixedMix, make_conditioning, resized_map

POSITIONS = [(), (7,), (4, 5), (2, 3, 4)]
DTYPES = [torch.float32, torch.float64, torch.bfloat16]


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def shares(seed: int, *shape: int, axis: int = 1) -> Tensor:
    return normal(seed, *shape).softmax(axis)


def conditioning(
    kind: ConditioningName, channels: int = 8, losses: int = 3, *, reduction: int = 4, seed: int = 0
) -> nn.Module:
    """One with random weights everywhere, in double precision; the rivals start as the identity."""
    made = make_conditioning(kind, channels, losses, reduction=reduction).double()
    for number, value in enumerate(made.parameters()):
        value.data.copy_(normal(seed + number, *value.shape))
    return made


def attention(part: nn.Module, features: Tensor, mix: Tensor) -> Tensor:
    """y = mean F; c = ReLU(W_s S + b_s); A = sigmoid(W_2 ReLU(W_1 [y; c] + b_1) + b_2); A F; features (C, P...)."""
    assert isinstance(part, ConditionalAttention)
    y = torch.stack([channel.mean() for channel in features])
    c = (part.embed.weight @ mix + part.embed.bias).clamp(min=0)
    hidden = (part.squeeze.weight @ torch.cat([y, c]) + part.squeeze.bias).clamp(min=0)
    gates = 1 / (1 + (-(part.excite.weight @ hidden + part.excite.bias)).exp())
    return torch.stack([gate * channel for gate, channel in zip(gates, features, strict=True)])


def film(part: nn.Module, features: Tensor, mix: Tensor) -> Tensor:
    """(1 + gamma(S)) F + beta(S)."""
    assert isinstance(part, FeatureModulation)
    found = part.modulate.weight @ (part.embed.weight @ mix + part.embed.bias).clamp(min=0) + part.modulate.bias
    gamma, beta = found[: len(features)], found[len(features) :]
    return torch.stack([(1 + g) * channel + b for g, b, channel in zip(gamma, beta, features, strict=True)])


def concat(part: nn.Module, features: Tensor, mix: Tensor) -> Tensor:
    """F + W_2 ReLU(W_1 [F; S] + b_1) + b_2 at each position."""
    assert isinstance(part, Concatenation)
    flat = features.reshape(len(features), -1)
    columns = []
    for place in range(flat.shape[1]):
        hidden = (part.join.weight @ torch.cat([flat[:, place], mix]) + part.join.bias).clamp(min=0)
        columns.append(flat[:, place] + part.spread.weight @ hidden + part.spread.bias)
    return torch.stack(columns, 1).reshape(features.shape)


FORMULAS: dict[ConditioningName, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    "attention": attention,
    "film": film,
    "concat": concat,
}
each_kind = pytest.mark.parametrize("kind", CONDITIONINGS)


# the equations


@each_kind
@given(
    seed=st.integers(0, 2**31),
    rows=st.integers(1, 4),
    channels=st.integers(1, 9),
    losses=st.integers(1, 4),
    reduction=st.integers(1, 12),
    positions=st.sampled_from(POSITIONS),
)
@settings(max_examples=40, deadline=None)
def test_each_sample_is_what_the_formula_says(
    kind: ConditioningName,
    seed: int,
    rows: int,
    channels: int,
    losses: int,
    reduction: int,
    positions: tuple[int, ...],
) -> None:
    part = conditioning(kind, channels, losses, reduction=reduction, seed=seed)
    features, mix = normal(seed + 50, rows, channels, *positions), shares(seed + 51, rows, losses)
    found = part(features, mix)
    wanted = torch.stack([FORMULAS[kind](part, one, own) for one, own in zip(features, mix, strict=True)])
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@each_kind
def test_a_map_is_the_formula_at_each_position(kind: ConditioningName) -> None:
    part = conditioning(kind)
    features, mix = normal(1, 2, 8, 3, 4), shares(2, 2, 3, 3, 4)
    found = part(features, mix)
    for row in range(2):
        for y in range(3):
            for x in range(4):
                wanted = FORMULAS[kind](part, features[row], mix[row, :, y, x])[:, y, x]
                torch.testing.assert_close(found[row, :, y, x], wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("channels", [64, 256])
def test_attention_has_the_parameters_of_the_notes(channels: int) -> None:
    part = ConditionalAttention(channels, 3)
    shapes = sorted(tuple(value.shape) for value in part.parameters())
    quarter = channels // 4
    wanted = [(channels, 3), (channels,), (quarter, 2 * channels), (quarter,), (channels, quarter), (channels,)]
    assert shapes == sorted(wanted)
    assert sum(value.numel() for value in part.parameters()) == {64: 3_408, 256: 50_496}[channels]


@pytest.mark.parametrize("kind", ["film", "concat"])
@pytest.mark.parametrize("shape", [(2, 8), (2, 8, 5), (2, 8, 3, 4)])
def test_the_rivals_start_as_the_identity(kind: ConditioningName, shape: tuple[int, ...]) -> None:
    part = make_conditioning(kind, 8, 3).double()
    features = normal(0, *shape)
    assert torch.equal(part(features, shares(1, 2, 3)), features)


def test_concatenation_is_not_removed_by_the_norm_behind_it() -> None:
    part, norm = conditioning("concat"), nn.InstanceNorm2d(8)
    features = normal(1, 1, 8, 6, 6)
    one, other = (norm(part(features, torch.eye(3).double()[[place]])) for place in (0, 1))
    assert float((one - other).detach().abs().max()) > 0.1


# invariants


@each_kind
@pytest.mark.parametrize("size", [(6, 4), (12, 8), (3, 2), (1, 1), (5, 9), (7, 3)], ids=str)
def test_a_constant_map_equals_a_vector(kind: ConditioningName, size: tuple[int, int]) -> None:
    part = conditioning(kind)
    features, mix = normal(1, 2, 8, 6, 4), shares(2, 2, 3)
    flat = mix[:, :, None, None].expand(-1, -1, *size)
    torch.testing.assert_close(part(features, flat), part(features, mix), rtol=1e-12, atol=1e-12)


@each_kind
def test_a_map_acts_locally(kind: ConditioningName) -> None:
    part = conditioning(kind, reduction=1)
    features, mix = normal(1, 1, 8, 6, 6), shares(2, 1, 3, 6, 6)
    turned = mix.clone()
    turned[:, :, 2:4, 5] = turned[:, :, 2:4, 5].roll(1, 1)
    changed = (part(features, mix) != part(features, turned)).any(1)[0]
    wanted = torch.zeros(6, 6, dtype=torch.bool)
    wanted[2:4, 5] = True
    assert torch.equal(changed, wanted)


@each_kind
@pytest.mark.parametrize("positions", POSITIONS, ids=str)
def test_rows_are_independent(kind: ConditioningName, positions: tuple[int, ...]) -> None:
    part = conditioning(kind)
    features, mix = normal(1, 5, 8, *positions), shares(2, 5, 3)
    looped = torch.cat([part(features[[row]], mix[[row]]) for row in range(5)])
    torch.testing.assert_close(part(features, mix), looped, rtol=1e-12, atol=1e-12)
    features[2] = torch.nan
    found = part(features, mix)
    assert found[2].isnan().all()
    torch.testing.assert_close(found[[0, 1, 3, 4]], looped[[0, 1, 3, 4]], rtol=1e-12, atol=1e-12)


@each_kind
@pytest.mark.parametrize("positions", POSITIONS, ids=str)
def test_a_mixture_built_in_is_the_constant_mixture(kind: ConditioningName, positions: tuple[int, ...]) -> None:
    part = conditioning(kind)
    features, mix = normal(1, 4, 8, *positions), shares(2, 1, 3)[0]
    torch.testing.assert_close(part.fixed(mix)(features), part(features, mix.expand(4, -1)), rtol=1e-12, atol=1e-12)


def test_attention_under_a_constant_mixture_is_squeeze_excitation() -> None:
    part = conditioning("attention", 8, 3)
    block = part.fixed(torch.tensor([0.2, 0.3, 0.5]))
    assert isinstance(block, SqueezeExcitation)
    assert {name: tuple(value.shape) for name, value in block.named_parameters()} == {
        "squeeze.weight": (2, 8),
        "squeeze.bias": (2,),
        "excite.weight": (8, 2),
        "excite.bias": (8,),
    }
    features = normal(3, 2, 8, 5, 5)
    hidden = (features.mean((2, 3)) @ block.squeeze.weight.T + block.squeeze.bias).relu()
    gates = (hidden @ block.excite.weight.T + block.excite.bias).sigmoid()
    torch.testing.assert_close(block(features), features * gates[:, :, None, None])
    part.excite.weight.data.zero_()
    assert float(block.excite.weight.detach().abs().sum()) > 0, "it shares no memory with what it came from"


def test_attention_whose_mixture_is_ignored_is_squeeze_excitation_at_any_mixture() -> None:
    part = conditioning("attention")
    part.squeeze.weight.data[:, 8:] = 0
    features = normal(1, 3, 8, 4, 4)
    block = part.fixed(torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(part(features, shares(2, 3, 3)), block(features), rtol=1e-12, atol=1e-12)


def test_the_rivals_keep_the_mixture_as_a_buffer_of_their_own() -> None:
    mix = torch.tensor([0.2, 0.3, 0.5])
    block = conditioning("film").fixed(mix)
    assert isinstance(block, FixedMix)
    mix.zero_()
    assert block.state_dict()["mix"].tolist() == pytest.approx([0.2, 0.3, 0.5])


@each_kind
def test_gradients_are_those_of_differences(kind: ConditioningName) -> None:
    part = conditioning(kind, 4, 2)
    for features, mix in [
        (normal(1, 3, 4), shares(2, 3, 2)),
        (normal(1, 2, 4, 3), shares(2, 2, 2)),
        (normal(1, 2, 4, 3, 2), shares(2, 2, 2, 3, 2)),
        (normal(1, 1, 4, 3, 2), shares(2, 1, 2, 2, 2)),
    ]:
        assert torch.autograd.gradcheck(part, (features.requires_grad_(), mix.requires_grad_()))


@pytest.mark.parametrize("kind", ["attention", "film"])
@pytest.mark.parametrize("position", ["vector", "map"])
def test_a_loss_without_a_share_leaves_its_embedding_alone(kind: ConditioningName, position: str) -> None:
    part = conditioning(kind, 16)
    mix = torch.tensor([[0.4, 0.0, 0.6], [0.9, 0.0, 0.1]]).double()
    if position == "map":
        mix = mix[:, :, None, None].repeat(1, 1, 3, 3)
    part(normal(1, 2, 16, 3, 3), mix).square().sum().backward()
    gradient = part.embed.weight.grad
    assert (gradient[:, 1] == 0).all()
    assert (gradient[:, [0, 2]].abs().sum(0) > 0).all()


# shapes, precisions, memory


@each_kind
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("positions", POSITIONS, ids=str)
def test_shapes_and_precisions_are_kept(kind: ConditioningName, dtype: torch.dtype, positions: tuple[int, ...]) -> None:
    part = conditioning(kind)
    features, mix = normal(1, 3, 8, *positions), shares(2, 3, 3)
    wanted = part(features, mix)
    found = part.to(dtype)(features.to(dtype), mix.to(dtype))
    assert (found.dtype, found.shape) == (dtype, features.shape)
    tolerance = {torch.float32: 1e-5, torch.float64: 0, torch.bfloat16: 0.2}[dtype]
    torch.testing.assert_close(found.double(), wanted, rtol=tolerance, atol=tolerance)


@each_kind
def test_channels_last_stays_channels_last(kind: ConditioningName) -> None:
    part = conditioning(kind)
    features = normal(1, 2, 8, 5, 6)
    for mix in (shares(2, 2, 3), shares(2, 2, 3, 5, 6)):
        found = part(features.contiguous(memory_format=torch.channels_last), mix)
        assert found.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(found, part(features, mix), rtol=1e-12, atol=1e-12)


@each_kind
def test_no_samples_give_no_samples(kind: ConditioningName) -> None:
    assert conditioning(kind)(normal(0, 0, 8, 3, 3), normal(0, 0, 3)).shape == (0, 8, 3, 3)


# maps of another size


def test_a_larger_map_gives_each_position_its_areas_mean() -> None:
    mix = shares(1, 2, 3, 6, 8)
    found = resized_map(mix, normal(0, 2, 5, 3, 2))
    assert found.shape == (2, 3, 3, 2)
    for y in range(3):
        for x in range(2):
            area = mix[:, :, 2 * y : 2 * y + 2, 4 * x : 4 * x + 4]
            torch.testing.assert_close(found[:, :, y, x], area.mean((2, 3)))


def test_a_smaller_map_is_interpolated() -> None:
    mix = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(1, 2, 1, 2)
    found = resized_map(mix, torch.zeros(1, 5, 2, 4))
    assert found[0, 0].tolist() == [[1.0, 0.75, 0.25, 0.0]] * 2
    assert found[0, 1].tolist() == [[0.0, 0.25, 0.75, 1.0]] * 2


@given(st.integers(0, 99), st.tuples(*[st.integers(1, 9)] * 4))
@settings(deadline=None)
def test_a_resized_map_stays_on_the_simplex(seed: int, sizes: tuple[int, int, int, int]) -> None:
    found = resized_map(shares(seed, 2, 3, *sizes[:2]), torch.zeros(2, 5, *sizes[2:]))
    assert found.shape == (2, 3, *sizes[2:])
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(1), torch.ones(2, *sizes[2:]).double())


@each_kind
@pytest.mark.parametrize("positions", [(), (7,), (2, 3, 4)], ids=str)
def test_a_map_needs_features_of_pictures(kind: ConditioningName, positions: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"a map of mixtures needs features \(N, C, H, W\)"):
        conditioning(kind)(normal(0, 2, 8, *positions), shares(1, 2, 3, 4, 4))


# errors


@each_kind
@pytest.mark.parametrize("name", ["channels", "losses", "reduction"])
@pytest.mark.parametrize("given_number", [0, -1])
def test_numbers_below_1_are_refused(kind: ConditioningName, name: str, given_number: int) -> None:
    numbers = {"channels": 8, "losses": 3, "reduction": 4, name: given_number}
    with pytest.raises(UsageError, match=f"{name} is {given_number}, but must be at least 1"):
        make_conditioning(kind, numbers["channels"], numbers["losses"], reduction=numbers["reduction"])


def test_an_unknown_conditioning_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="conditioning is 'flim', but must be one of attention, film, concat"):
        make_conditioning("flim", 8, 3)  # type: ignore[arg-type]
