"""`LatentDensity` on distributions whose density is known; what it keeps, what it refuses, and the rows it reads."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from scipy.stats import kstest
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, Normal

from tenfold.core.checkpoint import load_state, save_state
from tenfold.core.errors import UsageError
from tenfold.core.number_files import read_rows
from tenfold.generate.config import FitSettings
from tenfold.generate.coordinates import Coordinates, Order
from tenfold.generate.density import LatentDensity, split_rows
from tenfold.generate.fitting import Progress, log_likelihoods, maximize_likelihood
from tenfold.generate.network import Norm
from tenfold.generate.rows import as_rows

QUICK: dict[str, Any] = {"epochs": 6, "learning_rate": 1e-2}
"""settings of a fit that has to be one, not a good one"""
ORDERS: tuple[Order, ...] = ("index", "variance", "pca", (2, 0, 1))
ORDERS_WITH_A_PREFIX: tuple[Order, ...] = ("index", "variance", (2, 0, 1))


def chain(count: int, seed: int) -> Tensor:
    """Rows (N, 3) in which each column depends on those before it; `log_likelihood` is theirs."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 3, generator=random, dtype=torch.float64)
    coins = torch.rand(count, 2, generator=random)
    first = torch.where(coins[:, 0] < 0.3, -2 + 0.5 * noise[:, 0], 1 + 0.4 * noise[:, 0])
    second = 0.8 * first + 0.3 * noise[:, 1]
    third = torch.where(coins[:, 1] < 0.5, 1.0, -1.0) * (1 + 0.5 * second.abs()) + 0.25 * noise[:, 2]
    return torch.stack([first, second, third], 1)


def log_likelihood(rows: Tensor) -> Tensor:
    """The true log-density of `chain`."""
    first, second, third = rows.unbind(1)
    peak = 1 + 0.5 * second.abs()
    either = Categorical(torch.tensor([0.5, 0.5], dtype=torch.float64))
    uneven = Categorical(torch.tensor([0.3, 0.7], dtype=torch.float64))
    of_first = MixtureSameFamily(uneven, Normal(torch.tensor([-2.0, 1.0]).double(), torch.tensor([0.5, 0.4]).double()))
    of_third = MixtureSameFamily(either, Normal(torch.stack([peak, -peak], 1), 0.25))
    return of_first.log_prob(first) + Normal(0.8 * first, 0.3).log_prob(second) + of_third.log_prob(third)


@cache
def learned(order: Order = "index") -> LatentDensity:
    """A good fit of 6,000 rows of `chain`, not stopped early, which the rounding of a processor decides about; leave it as it is."""
    settings = {"epochs": 30, "patience": 30, "learning_rate": 1e-2, "batch_size": 256}
    return LatentDensity(3, 8, order=order).fit(chain(6000, 0), **settings)


@cache
def quick(order: Order = "index", norm: Norm = "batch") -> LatentDensity:
    """A hasty fit of columns of different spreads; tests must leave it as it is."""
    return small(3, order=order, norm=norm).fit(chain(400, 0) * torch.tensor([1.0, 5.0, 0.2]), **QUICK)


def small(dim: int, components: int = 3, **options: Any) -> LatentDensity:
    return LatentDensity(dim, components, base_width=8, **options)


def order_of(density: LatentDensity) -> list[int]:
    return density.coordinates.order.tolist()


def integral(density: LatentDensity, *axes: Tensor) -> float:
    """Of exp(log_prob) over a grid, by the trapezoid rule."""
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    with torch.no_grad():
        values = density.log_prob(grid).double().exp()
    for axis in reversed(axes):
        values = torch.trapezoid(values, axis)
    return float(values)


def line(low: float, high: float, count: int) -> Tensor:
    return torch.linspace(low, high, count, dtype=torch.float64)


def weights_of(module: nn.Module) -> list[Tensor]:
    return [tensor.clone().nan_to_num(-7.0) for tensor in module.state_dict().values()]


def same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# the density is one


@pytest.mark.parametrize("order", ["index", "variance", "pca", [0]])
@pytest.mark.parametrize("standardize", [True, False])
def test_the_density_of_one_dimension_integrates_to_one(order: Order, standardize: bool) -> None:
    random = torch.Generator().manual_seed(0)
    # (N, 1), mean 5, spread 0.01, two peaks; without standardising, what the network sees has those units too
    rows = 5 + 0.01 * torch.randn(500, 1, generator=random, dtype=torch.float64)
    density = (
        small(1, order=order, standardize=standardize, floor=1e-4).double().fit(rows, epochs=15, learning_rate=0.1)
    )
    spread = float(rows.std()) if standardize else 1.0
    axis = line(5 - 40 * spread, 5 + 40 * spread, 400_001)
    assert integral(density, axis) == pytest.approx(1.0, abs=1e-3)
    if standardize:
        # in the latents' own units: about -log(0.01 sqrt(2 pi e)) = 3.19 nats a row, not -1.42
        assert float(density.log_prob(rows).detach().mean()) == pytest.approx(3.19, abs=0.3)


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("order", ["index", "variance", "pca", (1, 0)])
def test_the_density_of_two_dimensions_integrates_to_one(order: Order, norm: Norm) -> None:
    rows = chain(400, 0)[:, :2] @ torch.tensor([[1.0, 2.0], [0.3, 1.0]]).double() + torch.tensor([5.0, -3.0]).double()
    density = small(2, order=order, norm=norm).double().fit(rows, epochs=12, learning_rate=1e-2)
    axes = [line(float(rows[:, i].min()) - 12, float(rows[:, i].max()) + 12, 700) for i in range(2)]
    assert integral(density, *axes) == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("order", ["index", (2, 0, 1)])
def test_stretched_latents_have_the_density_of_stretched_latents(order: Order) -> None:
    rows, other = chain(300, 0), chain(50, 1)
    stretch, shift = torch.tensor([2.0, 0.01, 300.0]).double(), torch.tensor([5.0, -1.0, 1000.0]).double()
    plain = small(3, order=order).double().fit(rows, **QUICK)
    stretched = small(3, order=order).double().fit(rows * stretch + shift, **QUICK)
    found = stretched.log_prob(other * stretch + shift)
    torch.testing.assert_close(found, plain.log_prob(other) - stretch.log().sum(), rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(stretched.typicality(other * stretch + shift), plain.typicality(other))
    same = plain.sample(20, seed=1) * stretch + shift
    torch.testing.assert_close(stretched.sample(20, seed=1), same, rtol=1e-5, atol=1e-5)


def test_turned_latents_have_the_same_density_in_principal_components() -> None:
    rows, other = chain(300, 0), chain(50, 1)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).Q
    plain = small(3, order="pca").double()
    plain.prepare(rows)
    turned = small(3, order="pca").double()
    turned.prepare(3 * rows @ turn + 7)
    assert float(turned.coordinates.log_volume()) == pytest.approx(
        float(plain.coordinates.log_volume()) - 3 * math.log(3), abs=1e-9
    )
    ours, theirs = plain.coordinates(other), turned.coordinates(3 * other @ turn + 7)
    torch.testing.assert_close(ours.abs(), theirs.abs(), rtol=1e-6, atol=1e-6)  # the sign of a component is free
    seen = plain.coordinates(rows)
    torch.testing.assert_close(seen.T @ seen / 300, torch.eye(3).double(), rtol=1e-8, atol=1e-8)
    assert (plain.coordinates.scale[:-1] >= plain.coordinates.scale[1:]).all()


# it learns what there is to learn


@pytest.mark.parametrize(("order", "distance"), [("index", 0.05), ("pca", 0.05), ((2, 0, 1), 0.05)])
def test_a_known_density_is_recovered(order: Order, distance: float) -> None:
    rows = chain(4000, 1)
    true, found = log_likelihood(rows), learned(order).log_prob(rows).detach()
    assert 0 < float(true.mean() - found.mean()) < distance
    assert float((true - found).abs().median()) < 0.2
    gaussian = torch.distributions.MultivariateNormal(rows.mean(0), rows.T.cov())
    assert float(found.mean()) > float(gaussian.log_prob(rows).mean()) + 1


@pytest.mark.parametrize("order", ["index", "pca", (2, 0, 1)])
def test_samples_are_like_the_rows(order: Order) -> None:
    rows, samples = chain(4000, 1), learned(order).sample(4000, seed=2).double()
    torch.testing.assert_close(samples.mean(0), rows.mean(0), rtol=0, atol=0.12)
    torch.testing.assert_close(samples.T.cov(), rows.T.cov(), rtol=0.1, atol=0.12)
    for column in range(3):
        assert kstest(samples[:, column].numpy(), rows[:, column].numpy()).statistic < 0.06
    assert float(log_likelihood(samples).mean()) > float(log_likelihood(rows).mean()) - 0.3


def test_samples_are_as_likely_as_rows_it_has_not_seen() -> None:
    held = float(learned().log_prob(chain(4000, 1)).detach().mean())
    drawn = float(learned().log_prob(learned().sample(4000, seed=3)).detach().mean())
    assert drawn == pytest.approx(held, abs=0.12)


def test_a_low_temperature_draws_likelier_rows() -> None:
    likely = [
        float(learned().log_prob(learned().sample(1000, temperature=heat, seed=0)).detach().mean())
        for heat in (0.1, 0.5, 1.0, 2.0)
    ]
    assert likely == sorted(likely, reverse=True)
    assert likely[0] > likely[2] + 0.5


def test_typicality_is_even_over_new_rows_and_low_for_outliers() -> None:
    found = learned().typicality(chain(4000, 1))
    assert ((found >= 0) & (found <= 1)).all()
    assert kstest(found.numpy(), "uniform").statistic < 0.15  # 200 held-out rows
    outliers = chain(50, 2) + torch.tensor([8.0, -8.0, 0.0])
    assert (learned().typicality(outliers) < 0.02).all()
    assert (learned().typicality(torch.full((2, 3), 1e30)) == 0).all()
    # too likely is untypical, too
    modes = learned().sample(2000, temperature=1e-3, seed=0)
    best = modes[learned().log_prob(modes).argmax()]
    assert float(learned().typicality(best)) < 0.05


def test_typicality_by_its_definition() -> None:
    density = quick()
    rows, random = chain(500, 3) * torch.tensor([1.0, 5.0, 0.2]), torch.Generator().manual_seed(0)
    held = density.log_prob(rows).detach()
    density = small(3).eval()
    density.load_state_dict(quick().state_dict())
    density.settle(Progress(), rows)
    for place in torch.randint(500, (20,), generator=random).tolist():
        below = float((held <= held[place]).float().mean())
        assert float(density.typicality(rows[place])) == pytest.approx(1 - abs(2 * below - 1), abs=0.01)
    assert density.median == pytest.approx(float(held.median()), abs=0.05)


@pytest.mark.parametrize("order", ORDERS)
def test_the_spread_is_the_standard_deviation_of_the_latents(order: Order) -> None:
    rows = chain(400, 0) * torch.tensor([1.0, 5.0, 0.2])
    density = small(3, order=order)
    density.prepare(rows)
    torch.testing.assert_close(density.spread.double(), rows.std(0, correction=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("order", ORDERS)
def test_latents_are_standardised_or_keep_their_spreads(order: Order) -> None:
    rows = chain(400, 0) * torch.tensor([1.0, 5.0, 0.2])
    for standardize in (True, False):
        density = small(3, order=order, standardize=standardize).double()
        density.prepare(rows)
        seen = density.coordinates(rows)
        torch.testing.assert_close(density.coordinates.inverse(seen), rows)
        wanted = torch.ones(3).double() if standardize else rows.std(0, correction=0)[order_of(density)]
        if standardize or order != "pca":
            torch.testing.assert_close(seen.std(0, correction=0), wanted)
        else:
            assert float(density.coordinates.log_volume()) == 0.0


def test_the_most_varying_come_first() -> None:
    assert order_of(quick("variance")) == [1, 0, 2]
    assert order_of(quick("index")) == [0, 1, 2]
    assert order_of(quick((2, 0, 1))) == [2, 0, 1]


# conditions


@pytest.mark.parametrize("order", ORDERS_WITH_A_PREFIX)
def test_given_values_stand_in_their_columns(order: Order) -> None:
    density = quick(order)
    places, values = order_of(density), torch.tensor([0.123, -0.777, 0.05])
    free = density.sample(4, seed=0)
    for length in range(4):
        rows = density.sample(4, given=values[:length], seed=0)
        assert rows.shape == (4, 3)
        assert torch.equal(rows[:, places[:length]], values[:length].expand(4, length))
        if length in (1, 2):
            assert rows[:, places[length]].unique().numel() == 4
    assert torch.equal(density.sample(4, given=[], seed=0), free)
    assert torch.equal(density.sample((), given=values.tolist()), values[torch.tensor(places).argsort()])


@pytest.mark.parametrize("order", ORDERS_WITH_A_PREFIX)
def test_each_row_can_have_its_own_condition(order: Order) -> None:
    density = quick(order)
    values = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(0))
    rows = density.sample((2, 3), given=values, seed=0)
    torch.testing.assert_close(rows[..., order_of(density)[:2]], values)
    torch.testing.assert_close(rows[1, 2], density.sample((2, 3), given=values[1, 2], seed=0)[1, 2])


@pytest.mark.parametrize("order", ORDERS)
def test_the_log_density_is_that_of_a_prefix_and_of_the_rest_given_it(order: Order) -> None:
    density, rows = quick(order), chain(30, 1)
    whole = density.log_prob(rows)
    parts = [density.log_prob(rows, given=length) for length in range(4)]
    torch.testing.assert_close(parts[0], whole)
    assert torch.equal(parts[3], torch.zeros(30))
    if order != "pca":
        # the prefix alone has a density that does not change with the rest
        changed = rows.clone()
        changed[:, order_of(density)[2:]] += 1
        torch.testing.assert_close(
            whole - parts[2], density.log_prob(changed) - density.log_prob(changed, given=2), rtol=1e-4, atol=1e-4
        )
        assert not torch.allclose(parts[2], density.log_prob(changed, given=2))


@pytest.mark.parametrize("order", ORDERS_WITH_A_PREFIX)
def test_the_density_given_a_prefix_integrates_to_one_in_the_latents_units(order: Order) -> None:
    density = quick(order)
    rows = chain(1, 5).repeat(20_001, 1) * torch.tensor([1.0, 5.0, 0.2])
    last = order_of(density)[2]
    spread = float(density.spread[last])
    rows[:, last] = line(-20 * spread, 20 * spread, 20_001)
    with torch.no_grad():
        values = density.log_prob(rows, given=2).double().exp()
    assert float(torch.trapezoid(values, rows[:, last])) == pytest.approx(1.0, abs=1e-3)


def test_samples_given_a_prefix_follow_it() -> None:
    rows = learned().sample(2000, given=[1.2], seed=0).double()
    assert float(rows[:, 1].mean()) == pytest.approx(0.8 * 1.2, abs=0.1)
    assert float(rows[:, 1].std()) == pytest.approx(0.3, abs=0.06)
    rows = learned().sample(2000, given=[1.0, 0.8], seed=0).double()
    assert sorted(rows[:, 2].abs().quantile(torch.tensor([0.1, 0.5]).double()).tolist()) == pytest.approx(
        [1.4 - 1.28 * 0.25, 1.4], abs=0.15
    )
    assert float((rows[:, 2] > 0).double().mean()) == pytest.approx(0.5, abs=0.1)


def test_principal_components_take_no_prefix() -> None:
    with pytest.raises(UsageError, match="order 'pca' the dimensions are mixtures of all"):
        quick("pca").sample(3, given=[1.0])


# the manners of a distribution and of a module


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_shapes_are_those_of_a_distribution(order: Order, norm: Norm) -> None:
    density = quick(order, norm)
    assert density.event_shape == (3,)
    assert density.batch_shape == ()
    for asked, wanted in (
        ((), (3,)),
        (3, (3, 3)),
        ((2, 3), (2, 3, 3)),
        (0, (0, 3)),
        ((2, 0), (2, 0, 3)),
        ([4], (4, 3)),
    ):
        rows = density.sample(asked)
        assert rows.shape == wanted
        assert rows.isfinite().all()
        for score in (density.log_prob(rows), density.typicality(rows), density(rows), density.log_prob(rows, given=1)):
            assert score.shape == wanted[:-1]
    assert density.log_prob_terms(torch.zeros(2, 5, 3)).shape == (2, 5, 3)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_rows_are_scored_one_by_one(norm: Norm) -> None:
    density, rows = quick(norm=norm), chain(12, 1)
    together = density.log_prob(rows.view(3, 4, 3)).flatten()
    alone = torch.stack([density.log_prob(row) for row in rows])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_latents_of_any_type_are_scored_as_what_they_are() -> None:
    rows = torch.tensor([[1, 0, 2], [-1, 1, 0]])
    wanted = quick().log_prob(rows.float())
    for dtype in (torch.int64, torch.uint8, torch.float16, torch.bfloat16, torch.float64):
        some = rows.clamp(min=0) if dtype == torch.uint8 else rows
        wanted = quick().log_prob(some.float())
        found = quick().log_prob(some.to(dtype))
        assert found.dtype == torch.float32
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("order", ORDERS)
def test_double_precision_is_the_same_density(order: Order) -> None:
    double = small(3, order=order)
    double.load_state_dict(quick(order).state_dict())
    double.double().eval()
    rows = chain(20, 1)
    found = double.log_prob(rows)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), quick(order).log_prob(rows), rtol=1e-3, atol=1e-3)
    drawn = double.sample((2, 5), seed=3)
    assert drawn.dtype == torch.float64
    torch.testing.assert_close(drawn.float(), quick(order).sample((2, 5), seed=3), rtol=1e-3, atol=1e-3)
    assert double.typicality(rows).dtype == torch.float64


@pytest.mark.parametrize("order", ORDERS)
def test_gradients_flow_to_the_latents(order: Order) -> None:
    double = small(3, order=order)
    double.load_state_dict(quick(order).state_dict())
    double.double().eval()
    rows = chain(3, 1).requires_grad_()
    assert torch.autograd.gradcheck(double.log_prob, (rows,))


def test_latents_far_away_have_a_slope_back() -> None:
    rows = torch.full((1, 3), 60.0, requires_grad=True)
    score = quick().log_prob(rows)
    score.sum().backward()
    assert score.isfinite().all()
    assert rows.grad is not None
    assert rows.grad.isfinite().all()
    assert float(rows.grad[0, 2]) < -1  # the last in the order: no other term has a slope in it


def test_a_seed_or_a_generator_repeats_the_samples() -> None:
    density = quick()
    state = torch.get_rng_state()
    first = density.sample(5, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(density.sample(5, seed=3), first)
    assert torch.equal(density.sample((5, 1), seed=3)[:, 0], first)
    assert not torch.equal(density.sample(5, seed=4), first)
    assert torch.equal(density.sample(5, generator=torch.Generator().manual_seed(3)), first)
    torch.manual_seed(3)
    assert torch.equal(density.sample(5), first)
    assert not torch.equal(density.sample(5), first)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_sampling_is_in_evaluation_and_leaves_the_mode(norm: Norm) -> None:
    wanted = quick(norm=norm).sample(6, seed=0)
    density = small(3, norm=norm)
    density.load_state_dict(quick(norm=norm).state_dict())
    density.train()
    before = {name: tensor.clone() for name, tensor in density.state_dict().items()}
    assert torch.equal(density.sample(6, seed=0), wanted)
    assert density.training
    assert all(part.training for part in density.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in density.state_dict().items())
    assert not wanted.requires_grad


def test_a_frozen_norm_stays_frozen_when_samples_are_drawn() -> None:
    density = small(3).train()
    frozen = density.net.layers[0].norm.eval()
    density.sample(1)
    assert density.training
    assert not frozen.training


def test_typicality_is_in_evaluation_and_leaves_the_mode() -> None:
    rows = chain(30, 1) * torch.tensor([1.0, 5.0, 0.2])
    density = small(3)
    density.load_state_dict(quick().state_dict())
    density.train()
    before = weights_of(density)
    assert torch.equal(density.typicality(rows), quick().typicality(rows))
    assert same(weights_of(density), before)
    assert density.training


# columns that never vary


def with_constants(rows: Tensor) -> Tensor:
    """(N, 3) -> (N, 5), with 4.25 and 0 at places 1 and 4."""
    blank = torch.zeros_like(rows[:, 0])
    return torch.stack([rows[:, 0], blank + 4.25, rows[:, 1], rows[:, 2], blank], 1)


@pytest.mark.parametrize("order", ["index", "variance", (4, 1, 3, 2, 0), "pca"])
@pytest.mark.parametrize("floor", [1e-3, 0.0])
def test_columns_that_never_vary_are_told_and_kept(order: Order, floor: float) -> None:
    rows = with_constants(chain(300, 0))
    what = "principal components" if order == "pca" else "columns"
    with pytest.warns(UserWarning, match=rf"2 of 5 {what} never vary") as told:
        density = small(5, order=order, floor=floor).fit(rows, **QUICK)
    assert len(told) == 1
    samples = density.sample(50, seed=0)
    torch.testing.assert_close(samples[:, 1], torch.full((50,), 4.25), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(samples[:, 4], torch.zeros(50), rtol=0, atol=1e-5)
    assert (density.spread[[0, 2, 3]] > 0.1).all()
    torch.testing.assert_close(density.spread[[1, 4]], torch.zeros(2), rtol=0, atol=1e-5)
    scores = density.log_prob(rows).detach()
    assert scores.isfinite().all()
    assert float(scores.mean()) > -10
    largest = float(torch.linalg.eigvalsh(torch.cov(rows.T, correction=0)).max().sqrt())
    for column, size in ((1, 4.25), (4, 1.0)):  # a column of zeros has no size
        off = rows.clone()
        off[:, column] += 0.1
        fallen = scores - density.log_prob(off).detach()
        expected = 0.5 * (0.1 / (1e-3 * (largest if order == "pca" else size))) ** 2
        torch.testing.assert_close(fallen, torch.full((300,), expected), rtol=2e-2, atol=1.0)
        assert (density.typicality(off) == 0).all()


@pytest.mark.parametrize("order", ["index", "variance", (1, 0), "pca"])
def test_the_density_of_the_other_columns_integrates_to_one(order: Order) -> None:
    rows = torch.stack([3 + chain(300, 0)[:, 0], torch.full((300,), -2.0).double()], 1)
    with pytest.warns(UserWarning, match="1 of 2 .* never vary"):
        density = small(2, order=order).double().fit(rows, epochs=12, learning_rate=1e-2)
    axis = line(-37, 43, 20_001)
    with torch.no_grad():
        values = density.log_prob(torch.stack([axis, torch.full_like(axis, -2.0)], 1)).exp()
    assert float(torch.trapezoid(values, axis)) == pytest.approx(1.0, abs=1e-3)


def test_a_constant_is_the_same_to_the_network_in_drawing_as_in_scoring() -> None:
    torch.manual_seed(0)
    density = small(5, 1, order=(1, 0, 4, 2, 3)).double().eval()
    with pytest.warns(UserWarning, match="2 of 5 columns never vary"):
        density.prepare(with_constants(chain(100, 0)))
    for parameter in density.net.parameters():
        nn.init.normal_(parameter, std=0.5)
    # one component without a spread: what is drawn is the mean that the network gives
    drawn = density.coordinates(density.sample(3, temperature=1e-20, seed=0))
    with torch.no_grad():
        means = density.net(drawn)[..., 0]
        rows = with_constants(chain(4, 1))
        off = rows + torch.tensor([0.0, 3.0, 0.0, 0.0, 2.0]).double()
        terms, others = density.log_prob_terms(rows), density.log_prob_terms(off)
        fallen = density.log_prob(rows) - density.log_prob(off)
    torch.testing.assert_close(drawn[:, [1, 3, 4]], means[:, [1, 3, 4]], rtol=1e-5, atol=1e-5)
    assert (means[:, [0, 2]].abs() > 1e-3).all()
    assert torch.equal(terms[:, [1, 3, 4]], others[:, [1, 3, 4]])
    torch.testing.assert_close(fallen, torch.full((4,), 0.5 * (9 / 4.25**2 + 4) * 1e6).double())


def test_the_first_of_some_constants_are_named() -> None:
    rows = torch.zeros(30, 12)
    rows[:, 3] = torch.arange(30.0)
    with pytest.warns(UserWarning, match=r"^11 of 12 columns never vary \(0, 1, 2, 4, 5, 6, 7, 8, ...\)"):
        Coordinates(12).fit(rows)


def test_rows_that_are_all_the_same_give_that_row() -> None:
    rows = torch.tensor([1.5, -3.0]).repeat(40, 1)
    with pytest.warns(UserWarning, match=r"2 of 2 columns never vary \(0, 1\)"):
        density = small(2).fit(rows, epochs=1)
    assert torch.equal(density.sample(4), rows[:4])
    assert torch.equal(density.log_prob(rows[:4]), torch.zeros(4))
    assert float(density.log_prob(rows[0] + 1.0).detach()) < -1000


def test_rows_it_was_fitted_on_are_never_punished() -> None:
    rows = chain(300, 0)
    rows[:, 1] = 1e6 + 0.4 * rows[:, 1]  # float32 tells such numbers apart to 0.06
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        density = small(3).fit(rows, **QUICK)
    assert float(density.log_prob(rows).detach().mean()) > -100


def test_the_warning_points_at_the_callers_line() -> None:
    with pytest.warns(UserWarning, match="never vary") as told:
        small(2).fit(torch.stack([torch.arange(30.0), torch.zeros(30)], 1), epochs=1)
    assert told[0].filename == __file__


# what is refused


def rows_with(value: float) -> Tensor:
    rows = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    rows[7, 2] = value
    return rows


@pytest.mark.parametrize(
    ("latents", "sentence"),
    [
        (rows_with(math.nan), r"row 7 of latents has nan in column 2, but must have finite numbers only"),
        (rows_with(math.inf), r"row 7 of latents has inf in column 2"),
        (rows_with(-math.inf).numpy(), r"row 7 of latents has -inf in column 2"),
        (torch.zeros(40, 4), r"latents have shape \(40, 4\), but must be \(N, 3\): the density has dim 3"),
        (torch.zeros(40), r"latents have shape \(40,\), but must be \(N, 3\)"),
        (torch.zeros(40, 3, 1, 1), r"latents have shape \(40, 3, 1, 1\), but must be \(N, 3\)"),
        (torch.zeros(19, 3), r"there are 19 rows of latents, but must be at least 20"),
        (torch.zeros(0, 3), r"there are 0 rows of latents"),
        ((nn.Identity(), [torch.zeros(40, 2)]), r"latents have shape \(40, 2\), but must be \(N, 3\)"),
        ((nn.Identity(), [rows_with(math.nan)]), r"row 7 of latents has nan in column 2"),
        ((nn.Identity(), []), r"the loader gave no batch, but must give at least one"),
    ],
)
def test_rows_that_cannot_be_learned_are_refused(latents: Any, sentence: str) -> None:
    density = small(3)
    before = {name: tensor.clone() for name, tensor in density.state_dict().items()}
    with pytest.raises(UsageError, match=sentence):
        density.fit(latents, epochs=1)
    for name, tensor in density.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("latents", "sentence"),
    [
        (rows_with(math.nan), "row 7 of validation latents has nan in column 2"),
        (torch.zeros(40, 4), r"validation latents have shape \(40, 4\), but must be \(N, 3\)"),
        (torch.zeros(0, 3), "there are 0 rows of validation latents, but must be at least 1"),
        ((nn.Identity(), []), "the loader gave no batch"),
    ],
)
def test_rows_that_cannot_be_held_out_are_refused(latents: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        small(3).fit(chain(40, 0), validation=latents, epochs=1)


@pytest.mark.parametrize(
    "latents",
    [[[1.0, 2.0, 3.0], [1.0, 2.0]] * 20, "latents.csv", None, np.array([["a", "b", "c"]] * 40), [[1j, 2, 3]] * 40],
)
def test_what_is_no_array_of_numbers_is_refused_in_a_sentence(latents: Any) -> None:
    with pytest.raises(UsageError, match="latents"):
        small(3).fit(latents, epochs=1)


@pytest.mark.parametrize("share", [0, 0.0, -0.1, 0.51, 1, math.nan])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(
        UsageError, match=rf"validation is {share}, but must be rows or a share above 0 and at most 0.5"
    ):
        small(3).fit(chain(40, 0), validation=share)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"epochs": 0}, "epochs is 0, but must be at least 1"),
        ({"patience": 0}, "patience is 0, but must be at least 1"),
        ({"batch_size": 0}, "batch_size is 0, but must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0, but must be above 0"),
        ({"learning_rate": math.nan}, "learning_rate is nan, but must be above 0"),
        ({"momentum": 1.0}, "momentum is 1.0, but must be at least 0 and below 1"),
        ({"noise": -1.0}, "noise is -1.0, but must be at least 0"),
        ({"clip": 0.0}, "clip is 0.0, but must be above 0"),
        ({"steps_at": (0.5, 1.5)}, r"steps_at is \(0.5, 1.5\), but must be all between 0 and 1"),
        ({"lr": 0.1}, "there is no setting 'lr' of a fit; there are epochs, patience"),
        ({"schedule": "linear"}, "schedule is '?linear'?, but must be"),
    ],
)
def test_settings_of_a_fit_out_of_range_are_refused(setting: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        small(3).fit(chain(40, 0), **({"epochs": 1} | setting))


def test_held_out_rows_asked_for_as_a_setting_are_held_out_or_refused() -> None:
    wanted = small(3).fit(chain(100, 0), validation=0.4, epochs=1)
    try:
        found = small(3).fit(chain(100, 0), held_out=0.4, epochs=1)
    except UsageError:
        return
    assert torch.equal(found.typical, wanted.typical)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"dim": 0}, "dim is 0, but must be a whole number of at least 1"),
        ({"dim": 2.0}, "dim is 2.0, but must be a whole number of at least 1"),
        ({"components": 0}, "components is 0, but must be a whole number of at least 1"),
        ({"base_width": -1}, "base_width is -1, but must be a whole number of at least 1"),
        ({"max_width": 0}, "max_width is 0, but must be a whole number of at least 1"),
        ({"norm": "group"}, "norm is 'group', but must be batch or layer"),
        ({"floor": -0.1}, "floor is -0.1, but must be at least 0 and below 1"),
        ({"floor": 1}, "floor is 1, but must be at least 0 and below 1"),
        ({"floor": math.nan}, "floor is nan, but must be at least 0 and below 1"),
        ({"order": "random"}, "order is 'random', but must be index, variance, pca or a permutation of 0 to 2"),
        ({"order": [0, 1]}, r"order is \[0, 1\], but must be index, variance, pca or a permutation of 0 to 2"),
        ({"order": [0, 1, 1]}, r"order is \[0, 1, 1\], but must be index, variance, pca or a permutation of 0 to 2"),
        ({"order": [1, 2, 3]}, r"order is \[1, 2, 3\], but must be index, variance, pca or a permutation of 0 to 2"),
        ({"order": [0.5, 1, 2]}, "order is .*0.5.*, but must be"),
        ({"order": None}, "order is None, but must be"),
    ],
)
def test_densities_that_make_no_sense_are_refused(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        LatentDensity(**({"dim": 3} | arguments))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"given": [0.0] * 4}, r"the prefix has shape \(4,\), but must be \(P,\) or .*, P at most 3"),
        ({"given": 1.0}, r"the prefix has shape \(\), but must be \(P,\)"),
        ({"given": torch.zeros(4, 2)}, r"the prefix has shape \(4, 2\), but must be \(2,\) or \(5, 2\)"),
        ({"given": torch.zeros(5, 1, 2)}, r"the prefix has shape \(5, 1, 2\), but must be \(2,\) or \(5, 2\)"),
        ({"given": [0.0, math.nan]}, "the prefix has NaN or infinite values"),
        ({"temperature": 0.0}, "temperature is 0.0, but must be above 0"),
        ({"temperature": -1.0}, "temperature is -1.0, but must be above 0"),
        ({"temperature": math.nan}, "temperature is nan, but must be above 0"),
        ({"temperature": math.inf}, "temperature is inf, but must be"),
        ({"sample_shape": -1}, "sample_shape is -1, but must be"),
        ({"sample_shape": (2, -1)}, r"sample_shape is \(2, -1\), but must be"),
    ],
)
def test_samples_that_make_no_sense_are_refused(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        quick().sample(**({"sample_shape": 5} | arguments))


def test_latents_of_another_width_are_not_scored() -> None:
    for latents in (torch.zeros(2, 4), torch.zeros(4), torch.zeros(()), torch.zeros(3, 1)):
        for score in (quick().log_prob, quick().typicality):
            with pytest.raises(UsageError, match=r"latents have shape \(.*\), but must be \(..., 3\)"):
                score(latents)
    for length in (-1, 4):
        with pytest.raises(UsageError, match=rf"given is {length}, but must be 0 to 3"):
            quick().log_prob(torch.zeros(3), given=length)


def test_what_compares_with_held_out_rows_needs_a_fit() -> None:
    for ask in (lambda density: density.typicality(torch.zeros(3)), lambda density: density.median):
        with pytest.raises(UsageError, match="must be fitted first"):
            ask(small(3))


def test_a_fit_that_diverges_says_so_or_has_a_density() -> None:
    density = small(3)
    try:
        density.fit(chain(200, 0), epochs=3, learning_rate=1e30)
    except UsageError:
        return
    assert density.log_prob(chain(9, 1)).isfinite().all()


# keeping


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_what_is_loaded_is_what_was_saved(order: Order, norm: Norm, tmp_path: Path) -> None:
    density = quick(order, norm)
    density.save(tmp_path / "new" / "density.safetensors")
    loaded = LatentDensity.load(str(tmp_path / "new" / "density.safetensors"))
    rows = chain(20, 1)
    assert not loaded.training
    assert repr(loaded) == repr(density)
    assert torch.equal(loaded.log_prob(rows), density.log_prob(rows))
    assert torch.equal(loaded.typicality(rows), density.typicality(rows))
    assert torch.equal(loaded.sample(5, seed=0), density.sample(5, seed=0))
    assert torch.equal(loaded.spread, density.spread)
    assert loaded.median == density.median


def test_every_setting_is_saved(tmp_path: Path) -> None:
    settings = {
        "order": [1, 0],
        "norm": "layer",
        "base_width": 4,
        "max_width": None,
        "floor": 0.2,
        "standardize": False,
    }
    density = LatentDensity(2, 5, **settings)  # not fitted
    density.save(tmp_path / "a.safetensors")
    loaded = LatentDensity.load(tmp_path / "a.safetensors")
    assert repr(loaded) == repr(density)
    assert (loaded.floor, loaded.standardize) == (0.2, False)
    assert (
        "order=[1, 0], norm='layer', heads='own', base_width=4, max_width=None, floor=0.2, standardize=False"
        in repr(loaded)
    )


def test_constants_and_double_precision_are_saved(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="never vary"):
        density = small(5).double().fit(with_constants(chain(200, 0)), epochs=2)
    density.save(tmp_path / "a.safetensors")
    loaded, rows = LatentDensity.load(tmp_path / "a.safetensors"), with_constants(chain(9, 1))
    assert loaded.dtype == torch.float64
    assert torch.equal(loaded.log_prob(rows), density.log_prob(rows))
    assert torch.equal(loaded.sample(3, seed=0)[:, 1], torch.full((3,), 4.25).double())


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, path)


def of_other_settings(path: Path) -> None:
    header = {"format": "tenfold.generate.LatentDensity 1", "settings": json.dumps({"dim": 3, "colour": "red"})}
    save_file({"weight": torch.zeros(3)}, path, header)


def without_settings(path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, path, {"format": "tenfold.generate.LatentDensity 1"})


def without_weights(path: Path) -> None:
    header = {"format": "tenfold.generate.LatentDensity 1", "settings": json.dumps({"dim": 3}), "dtype": "float32"}
    save_file({"typical": torch.zeros(1001)}, path, header)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (damaged, "is not a whole safetensors file"),
        (emptied, "is not a whole safetensors file"),
        (foreign, "is not a file of a LatentDensity: its header says None"),
        (of_other_settings, "is damaged: its settings do not make a density"),
        (without_settings, "is damaged: its settings do not make a density"),
        (without_weights, "lacks the weight"),
        (Path.unlink, "does not exist, but must be a file that LatentDensity.save wrote"),
    ],
)
def test_files_that_hold_no_density_are_refused(spoil: Callable[[Path], None], sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    quick().save(path)
    spoil(path)
    with pytest.raises(UsageError, match=rf"a\.safetensors {sentence}"):
        LatentDensity.load(path)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write to"):
        quick().save(tmp_path / "file" / "a.safetensors")


# fits


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_the_seed_repeats_a_fit_bit_by_bit(norm: Norm) -> None:
    rows = chain(100, 0)
    torch.manual_seed(1)
    first = small(3, norm=norm).fit(rows, seed=5, noise=0.1, epochs=3)
    torch.manual_seed(2)
    density = small(3, norm=norm)
    state = torch.get_rng_state()
    density.fit(rows, seed=5, noise=0.1, epochs=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert same(weights_of(density), weights_of(first))
    assert density.history == first.history
    # a second fit of the same density knows nothing of the first
    density.fit(rows[:50], seed=6, epochs=2)
    assert not same(weights_of(density), weights_of(first))
    density.fit(rows, seed=5, noise=0.1, epochs=3)
    assert same(weights_of(density), weights_of(first))
    assert density.history == first.history


def test_one_seed_decides_the_weights_the_rows_kept_aside_and_the_batches() -> None:
    given = FitSettings(epochs=2, batch_size=16, noise=0.1)
    density = small(3).fit(chain(100, 0).float(), seed=5, settings=given)
    by_hand = small(3)
    rows, held = split_rows(chain(100, 0).float(), 0.1, 3, 5)
    by_hand.prepare(rows)
    torch.manual_seed(5)
    by_hand.net.initialise()
    progress = maximize_likelihood(by_hand, rows, held, given, seed=5)
    assert same(weights_of(by_hand.net), weights_of(density.net))
    assert progress.history == density.history


def test_another_seed_is_another_fit() -> None:
    one, other = (small(3).fit(chain(100, 0), seed=seed, epochs=2) for seed in (0, 1))
    assert not same(weights_of(one.net), weights_of(other.net))
    # and holds other rows out
    assert not torch.equal(one.coordinates.mean, other.coordinates.mean)


@pytest.mark.parametrize("kind", [torch.Tensor.float, torch.Tensor.double, torch.Tensor.numpy, torch.Tensor.tolist])
def test_a_fit_leaves_the_rows_and_takes_them_in_any_form(kind: Callable[[Tensor], Any]) -> None:
    rows = chain(60, 0).float().double()
    before, wanted = rows.clone(), small(3).fit(rows.float(), epochs=2)
    found = small(3).fit(kind(rows), epochs=2)
    assert torch.equal(rows, before)
    assert not found.training
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(weights_of(found), weights_of(wanted), strict=True))


def test_rows_that_need_gradients_or_have_few_bits_are_learned() -> None:
    small(3).fit(chain(60, 0).requires_grad_(), epochs=1)
    small(3).fit(chain(60, 0).to(torch.bfloat16), epochs=1)
    small(3).fit((10 * chain(60, 0)).long(), epochs=1)


def test_a_share_of_the_rows_is_kept_aside() -> None:
    rows = chain(100, 0)
    for share, aside in ((0.1, 10), (0.5, 50), (0.001, 1)):
        learning, held = split_rows(rows, share, 3, 7)
        assert held.shape == (aside, 3)
        assert sorted(torch.cat([learning, held])[:, 0].tolist()) == sorted(rows[:, 0].tolist())
        assert torch.equal(split_rows(rows, share, 3, 7)[1], held)
        assert not torch.equal(split_rows(rows, share, 3, 8)[1], held)
        density = small(3).double().fit(rows, validation=share, seed=7, epochs=1)
        torch.testing.assert_close(density.coordinates.mean, learning.mean(0))
        scores = density.log_prob(held).detach()
        torch.testing.assert_close(density.typical[[0, -1]], torch.stack([scores.min(), scores.max()]))
    assert torch.equal(
        small(3).double().fit(rows, epochs=1).typical, small(3).double().fit(rows, validation=0.1, epochs=1).typical
    )


def test_rows_to_stop_by_can_be_given() -> None:
    rows, held = chain(100, 0), chain(30, 1)
    density = small(3).double().fit(rows, validation=held, **QUICK)
    torch.testing.assert_close(density.coordinates.mean, rows.mean(0))  # all of them are learned
    scores = density.log_prob(held).detach()
    best = max(held for _, held in density.history)
    assert float(scores.mean()) == pytest.approx(best, abs=1e-9)
    assert density.median == pytest.approx(float(scores.quantile(0.5)), abs=1e-9)
    one = small(3).fit(rows, validation=held[:1], epochs=1)
    assert (one.typical == one.typical[0]).all()


def test_it_stops_by_patience_and_keeps_the_best_epoch() -> None:
    rows, held = chain(40, 0), chain(200, 1)  # so few rows are learned by heart
    density = small(3, 8).double().fit(rows, validation=held, epochs=300, patience=4, learning_rate=3e-2, batch_size=20)
    held_out = [value for _, value in density.history]
    best = max(held_out)
    assert len(held_out) < 300
    assert held_out.index(best) == len(held_out) - 1 - 4
    assert float(density.log_prob(held).detach().mean()) == pytest.approx(best, abs=1e-9)
    assert best > held_out[-1]


def test_without_a_reason_it_does_not_stop() -> None:
    density = small(3).fit(chain(200, 0), epochs=5, patience=5)
    assert len(density.history) == 5


def test_settings_are_taken_and_changed() -> None:
    rows, given = chain(100, 0), FitSettings(epochs=4, learning_rate=1e-2)
    assert len(small(3).fit(rows, settings=given).history) == 4
    changed = small(3).fit(rows, settings=given, epochs=2)
    assert len(changed.history) == 2
    assert same(weights_of(changed), weights_of(small(3).fit(rows, epochs=2, learning_rate=1e-2)))
    for other in ({"schedule": "steps"}, {"batch_size": 10}, {"momentum": 0.5}, {"weight_decay": 0.5}, {"noise": 0.1}):
        assert not same(weights_of(changed), weights_of(small(3).fit(rows, settings=given, epochs=2, **other)))


class Watched(nn.Module):
    """A density that remembers the first column of what it learns."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen: list[list[float]] = []

    def forward(self, rows: Tensor) -> Tensor:
        if self.training:
            self.seen.append(rows[:, 0].tolist())
        return -self.weight.square() + 0 * rows[:, 0]


def test_every_epoch_has_the_rows_in_another_order() -> None:
    rows, density = torch.arange(22.0)[:, None], Watched()
    maximize_likelihood(density, rows, rows[:2], FitSettings(epochs=3, batch_size=5), seed=0)
    assert [len(batch) for batch in density.seen] == [5] * 12  # 4 full batches each; the rest waits for another epoch
    epochs = [[row for batch in density.seen[4 * i : 4 * i + 4] for row in batch] for i in range(3)]
    for epoch in epochs:
        assert len(set(epoch)) == 20
        assert epoch != sorted(epoch)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert {row for epoch in epochs for row in epoch} == set(range(22))


@pytest.mark.parametrize("stop", [1, 3, 5])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_fit_that_was_stopped_and_resumed_ends_as_the_straight_one(stop: int, norm: Norm, tmp_path: Path) -> None:
    rows, held = chain(90, 0).float(), chain(40, 1).float()
    given = FitSettings(epochs=14, patience=6, learning_rate=1e-1, batch_size=32, noise=0.05)

    def fresh(seed: int) -> LatentDensity:
        torch.manual_seed(seed)
        density = small(3, norm=norm, heads="shared")
        density.prepare(rows)
        return density

    def until(progress: Progress) -> None:
        save_state(tmp_path, progress.state())
        if progress.epoch == stop:
            raise KeyboardInterrupt

    straight = fresh(0)
    wanted = maximize_likelihood(straight, rows, held, given, seed=3)
    with pytest.raises(KeyboardInterrupt):
        maximize_likelihood(fresh(0), rows, held, given, seed=3, after_epoch=until)
    resumed = fresh(1)
    found = maximize_likelihood(resumed, rows, held, given, seed=3, progress=Progress.of(load_state(tmp_path)))
    assert same(weights_of(resumed), weights_of(straight))
    assert [tuple(pair) for pair in found.history] == wanted.history
    assert (found.epoch, found.best, found.best_epoch) == (wanted.epoch, wanted.best, wanted.best_epoch)
    assert not resumed.training
    assert norm == "layer" or wanted.best_epoch < wanted.epoch  # weights of an epoch that is past are kept, too
    # and one that had ended is not learned further
    again = maximize_likelihood(fresh(2), rows, held, given, seed=3, progress=Progress.of(wanted.state()))
    assert again.epoch == wanted.epoch


def test_a_state_stays_what_it_was_when_the_fit_goes_on() -> None:
    rows, held = chain(90, 0).float(), chain(40, 1).float()
    given = FitSettings(epochs=4, learning_rate=1e-2, batch_size=32)
    states: list[dict[str, Any]] = []
    torch.manual_seed(0)
    straight = small(3)
    straight.prepare(rows)
    maximize_likelihood(straight, rows, held, given, seed=3, after_epoch=lambda now: states.append(now.state()))
    assert [len(state["history"]) for state in states] == [1, 2, 3, 4]
    resumed = small(3)
    maximize_likelihood(resumed, rows, held, given, seed=3, progress=Progress.of(states[1]))
    assert same(weights_of(resumed), weights_of(straight))


@given(st.integers(0, 9000))
@settings(max_examples=10, deadline=None)
def test_likelihoods_in_chunks_are_those_at_once(count: int) -> None:
    rows = torch.randn(count, 2, generator=torch.Generator().manual_seed(count))

    class Sum(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            assert len(rows) <= 4096
            return rows.sum(1)

    module = Sum()
    module.register_buffer("place", torch.zeros(1))
    assert torch.equal(log_likelihoods(module, rows), rows.sum(1))


# models and files as sources


def encoder() -> nn.Sequential:
    """(N, 1, 4, 4) -> (N, 3, 1, 1), with a batch norm that would notice being trained."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 3, 2))


def test_a_model_and_its_data_are_learned_and_left_as_they_were() -> None:
    model, images = encoder().train(), torch.rand(60, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    before = weights_of(model)
    loader = [(part, torch.zeros(len(part))) for part in images.split(16)]
    density = small(3).fit((model, loader), epochs=2)
    assert all(part.training for part in model.modules())
    assert same(weights_of(model), before)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    with torch.no_grad():
        latents = model.eval()(images).flatten(1)
    torch.testing.assert_close(as_rows((model, loader), 3), latents)
    model.train()
    plain = small(3).fit(latents, epochs=2)
    torch.testing.assert_close(density.coordinates.mean, plain.coordinates.mean)
    small(3).fit(chain(40, 0), validation=(model, [images]), epochs=1)
    assert model.training


@pytest.mark.parametrize("training", [True, False])
def test_parts_of_a_model_in_another_mode_stay_in_it(training: bool) -> None:
    model = encoder().train(training)
    model[1].train(not training)  # a batch norm frozen for fine-tuning, as in most recipes
    as_rows((model, [torch.rand(4, 1, 4, 4)]), 3)
    assert [part.training for part in model.modules()] == [training, training, not training, training, training]


def test_a_model_that_fails_is_left_as_it_was() -> None:
    model = encoder().train()
    with pytest.raises(RuntimeError):
        as_rows((model, [torch.rand(4, 2, 4, 4)]), 3)
    assert all(part.training for part in model.modules())


def test_a_function_and_batches_without_targets_are_learned() -> None:
    batches = [chain(30, seed) for seed in range(3)]
    rows = as_rows((lambda batch: 2 * batch, iter(batches)), 3)
    torch.testing.assert_close(rows, 2 * torch.cat(batches))
    assert as_rows((lambda batch: batch[:, :, None, None], [[batch, "label"] for batch in batches]), 3).shape == (90, 3)


NUMBERS = torch.tensor([[1.0, -2.5], [3e-2, 4.0], [0.0, 7.0]])


def written(path: Path) -> Path:
    """`NUMBERS` in the format that the name asks for."""
    array = NUMBERS.numpy()
    match path.suffix.lower():
        case ".npy":
            np.save(path, array.astype(np.float64))
        case ".npz":
            np.savez(path, rows=array)
        case ".safetensors":
            save_file({"rows": NUMBERS.half() if "half" in path.name else NUMBERS}, path)
        case _:
            path.write_text("1,-2.5\n3e-2, 4\n\n0,7\n")
    return path


@pytest.mark.parametrize("name", ["a.csv", "A.CSV", "a.npy", "a.npz", "a.safetensors", "half.safetensors"])
def test_numbers_are_read_from_files(name: str, tmp_path: Path) -> None:
    rows = read_rows(written(tmp_path / name))
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows, NUMBERS, rtol=1e-3, atol=1e-4)


def test_a_line_of_names_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("\ufeffheight,'width, in cm'\r\n1,-2.5\r\n".replace("'", '"').encode())
    assert read_rows(path).tolist() == [[1.0, -2.5]]
    path.write_text("\ufeff5,6\n1,-2.5\n", encoding="utf-8")
    assert read_rows(path).tolist() == [[5.0, 6.0], [1.0, -2.5]]


def test_of_several_arrays_the_one_called_latents_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", labels=np.arange(3), latents=NUMBERS.numpy())
    save_file({"labels": torch.arange(3), "latents": NUMBERS}, tmp_path / "a.safetensors")
    for name in ("a.npz", "a.safetensors"):
        assert torch.equal(read_rows(tmp_path / name), NUMBERS)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.csv", "1,2\n3\n", "has 1 columns in line 2, but 2 in the lines before"),
        ("a.csv", "x,y\n\n1,2\n1,2,3\n", "has 3 columns in line 4, but 2 in the lines before"),
        ("a.csv", "1,2\n3,four\n", "has 'four' in line 2, but must have numbers only"),
        ("a.csv", "1,2\n3,\n", "has '' in line 2, but must have numbers only"),
        ("a.csv", "name,2\n3,4\n", "has 'name' in line 1, but must have numbers only"),
        ("a.csv", "1,2\n3,nan\n", "row 1 of .*a.csv has nan in column 1, but must have finite numbers only"),
        ("a.csv", "1,2\n-inf,3\n", "row 1 of .*a.csv has -inf in column 0"),
        ("a.csv", "x,y\n", "has no line of numbers"),
        ("a.csv", "", "has no line of numbers"),
        ("a.csv", "\xff\xfe", "cannot be read as a file of numbers|has no line of numbers"),
        ("a.txt", "1,2\n", r"ends in '\.txt', but must be one of \.csv, \.npy, \.npz, \.safetensors"),
        ("a", "1,2\n", "ends in '', but must be one of"),
        ("a.npy", "1,2\n", "cannot be read as a file of numbers"),
        ("a.npz", "1,2\n", "cannot be read as a file of numbers"),
        ("a.safetensors", "1,2\n", "cannot be read as a file of numbers"),
    ],
)
def test_files_of_other_things_are_refused(name: str, text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match=sentence):
        read_rows(tmp_path / name)


@pytest.mark.parametrize("name", ["a.csv", "a.npy", "a.npz", "a.safetensors"])
def test_missing_files_and_folders_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"{name} does not exist, but must be a file of latents"):
        read_rows(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match=rf"{name} does not exist, but must be a file of latents"):
        read_rows(tmp_path / name)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.array([[1, None]], dtype=object), "cannot be read as a file of numbers"),
        (np.array([["a", "b"]]), "cannot be read as a file of numbers"),
        (np.array([[1 + 2j, 3]]), "holds complex numbers, but must hold real ones"),
        (np.zeros(3), r"holds an array of shape \(3,\), but must hold \(N, D\)"),
        (np.zeros((2, 0)), r"holds an array of shape \(2, 0\), but must hold \(N, D\)"),
        (np.zeros((0, 2)), r"holds an array of shape \(0, 2\), but must hold \(N, D\)"),
        (np.array([[1.0, np.nan]]), "row 0 of .* has nan in column 1"),
    ],
)
def test_arrays_of_other_things_are_refused(array: Any, sentence: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    np.savez(tmp_path / "a.npz", array)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(UsageError, match=sentence):
            read_rows(tmp_path / name)


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    array = np.array([[Bomb(tmp_path / "made")]], dtype=object)
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    np.savez(tmp_path / "a.npz", array)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(UsageError, match="cannot be read as a file of numbers"):
            read_rows(tmp_path / name)
        assert not (tmp_path / "made").exists()


def test_several_arrays_without_a_name_to_go_by_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", one=NUMBERS.numpy(), other=NUMBERS.numpy())
    save_file({"one": NUMBERS, "other": NUMBERS.clone()}, tmp_path / "a.safetensors")
    for name in ("a.npz", "a.safetensors"):
        with pytest.raises(UsageError, match="holds one, other, but must hold one array, or one called latents"):
            read_rows(tmp_path / name)
    np.savez(tmp_path / "b.npz")
    with pytest.raises(UsageError, match="holds nothing, but must hold one array"):
        read_rows(tmp_path / "b.npz")
