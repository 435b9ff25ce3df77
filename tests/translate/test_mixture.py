"""Mixtures: their distribution against closed forms, the grid against counting, and what a person may write."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import beta, kstest

from tenfold.core.errors import UsageError
from tenfold.translate import OffSimplexWarning, sample_mixes, simplex_grid
from tenfold.translate.mixture import as_mix, batched, edge, on_simplex

NAMES = ("recon", "gan", "style")
SEEDS = st.integers(0, 2**31)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# drawn at random


@pytest.mark.parametrize(
    ("alpha", "mean_of_largest", "above_09", "below_001"), [(0.5, 0.70, 0.153, 0.28), (1.0, 0.61, 0.030, 0.060)]
)
def test_the_statistics_of_the_papers_distribution(
    alpha: float, mean_of_largest: float, above_09: float, below_001: float
) -> None:
    mixes = sample_mixes(200_000, (alpha,) * 3, generator=seeded())
    largest, least = mixes.max(1).values, mixes.min(1).values
    assert float(largest.mean()) == pytest.approx(mean_of_largest, abs=0.005)
    assert float((largest > 0.9).float().mean()) == pytest.approx(above_09, abs=0.003)
    assert float((least < 0.01).float().mean()) == pytest.approx(below_001, abs=0.005)


@pytest.mark.parametrize("alpha", [(0.5, 0.5, 0.5), (2.0, 0.7), (1.0, 3.0, 0.3, 0.2)])
def test_each_share_has_its_beta_distribution(alpha: Sequence[float]) -> None:
    count = 20_000
    mixes = sample_mixes(count, alpha, generator=seeded(1)).double().numpy()
    for place, own in enumerate(alpha):
        found = kstest(mixes[:, place], beta(own, sum(alpha) - own).cdf)
        # rounding to single precision puts shares of a small alpha on 0 and 1 exactly, by less than this distance
        assert found.statistic < 1.95 / math.sqrt(count)  # Kolmogorov-Smirnov, 0.1 %


@given(SEEDS, st.integers(0, 20), st.lists(st.floats(0.01, 1e6), min_size=1, max_size=6), st.sampled_from([0.0, 0.3]))
@settings(deadline=None)
def test_drawn_mixtures_are_on_the_simplex(seed: int, count: int, alpha: list[float], vertices: float) -> None:
    mixes = sample_mixes(count, alpha, generator=seeded(seed), vertices=vertices)
    assert (mixes.shape, mixes.dtype) == ((count, len(alpha)), torch.float32)
    assert (mixes >= 0).all()
    torch.testing.assert_close(mixes.double().sum(1), torch.ones(count, dtype=torch.float64), rtol=0, atol=1e-6)


def test_draws_follow_from_their_generator_alone() -> None:
    state = torch.random.get_rng_state()
    first = sample_mixes(5, (0.5, 0.5), generator=seeded(3), vertices=0.5)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(17)
    assert torch.equal(sample_mixes(5, (0.5, 0.5), generator=seeded(3), vertices=0.5), first)
    assert not torch.equal(sample_mixes(5, (0.5, 0.5), generator=seeded(4), vertices=0.5), first)
    torch.manual_seed(5)
    implicit = sample_mixes(5, (0.5, 0.5))
    torch.manual_seed(5)
    assert torch.equal(sample_mixes(5, (0.5, 0.5)), implicit)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_that_share_of_the_samples_has_a_single_loss_each_equally_often(share: float) -> None:
    count = 20_000
    mixes = sample_mixes(count, (50.0, 50.0, 50.0), generator=seeded(2), vertices=share)
    alone = mixes.max(1).values == 1
    assert ((mixes == 0).sum(1)[alone] == 2).all()
    assert float(alone.float().mean()) == pytest.approx(share, abs=0.01)
    for place in range(3):
        assert float((mixes[:, place] == 1).float().mean()) == pytest.approx(share / 3, abs=0.01)


def test_a_tiny_alpha_gives_vertices() -> None:
    largest = sample_mixes(4_000, (1e-3,) * 3, generator=seeded()).max(1).values
    assert float((largest > 0.9).float().mean()) > 0.98


@pytest.mark.parametrize("alpha", [(), (0.5, 0.0), (0.5, -1.0), (0.5, math.inf), (math.nan, 0.5)])
def test_an_alpha_that_is_no_concentration_is_refused(alpha: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match=r"alpha is .* above 0"):
        sample_mixes(2, alpha)


@pytest.mark.parametrize("vertices", [-0.1, 1.1, math.nan])
def test_a_share_of_vertices_outside_0_to_1_is_refused(vertices: float) -> None:
    with pytest.raises(UsageError, match=r"vertices is .* between 0 and 1"):
        sample_mixes(2, (0.5, 0.5), vertices=vertices)


# laid out as a grid


@given(st.integers(1, 5), st.integers(2, 8))
@settings(deadline=None)
def test_the_grid_is_every_mixture_of_these_steps_once(losses: int, points: int) -> None:
    grid = simplex_grid(losses, points)
    steps = points - 1
    assert grid.shape == (math.comb(points + losses - 2, losses - 1), losses)
    found = {tuple(row) for row in (grid * steps).round().int().tolist()}
    assert found == {row for row in itertools.product(range(points), repeat=losses) if sum(row) == steps}
    assert len(found) == len(grid)
    torch.testing.assert_close(grid, (grid * steps).round() / steps, rtol=0, atol=1e-7)
    torch.testing.assert_close(grid.sum(1), torch.ones(len(grid)), rtol=0, atol=1e-6)
    assert grid.dtype == torch.float32


@given(st.integers(2, 5), st.integers(2, 8))
@settings(deadline=None)
def test_the_grid_goes_from_the_first_loss_to_the_last(losses: int, points: int) -> None:
    grid = simplex_grid(losses, points)
    assert grid[0].tolist() == [1.0] + [0.0] * (losses - 1)
    assert grid[-1].tolist() == [0.0] * (losses - 1) + [1.0]
    assert [tuple(row) for row in grid.tolist()] == sorted(map(tuple, grid.tolist()), reverse=True)


def test_a_grid_by_hand() -> None:
    assert simplex_grid(3, 3).tolist() == [
        [1.0, 0.0, 0.0],
        [0.5, 0.5, 0.0],
        [0.5, 0.0, 0.5],
        [0.0, 1.0, 0.0],
        [0.0, 0.5, 0.5],
        [0.0, 0.0, 1.0],
    ]
    assert simplex_grid(1, 4).tolist() == [[1.0]]


@pytest.mark.parametrize(("losses", "points"), [(0, 3), (3, 1), (-1, 5), (2, 0)])
def test_a_grid_of_nothing_is_refused(losses: int, points: int) -> None:
    with pytest.raises(UsageError, match=f"a grid of {points} points for {losses} losses must have at least 2 and 1"):
        simplex_grid(losses, points)


def test_a_grid_too_large_is_refused_before_it_is_made() -> None:
    assert len(simplex_grid(2, 20_000)) == 20_000
    with pytest.raises(UsageError, match="more than 20,000 mixtures"):
        simplex_grid(2, 20_001)
    with pytest.raises(UsageError, match="more than 20,000 mixtures"):
        simplex_grid(30, 1_000_000)


def test_an_edge_goes_evenly_from_one_loss_to_another() -> None:
    found = edge(2, 0, losses=3, points=5)
    assert found.tolist() == [[0, 0, 1], [0.25, 0, 0.75], [0.5, 0, 0.5], [0.75, 0, 0.25], [1, 0, 0]]


# written by a person


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
@settings(deadline=None)
def test_shares_on_the_simplex_are_taken_as_they_are(values: list[float]) -> None:
    assume(sum(values) > 1e-3)
    shares = [value / sum(values) for value in values]
    names = [f"loss {number}" for number in range(len(shares))]
    wanted = torch.tensor(shares)
    assert torch.equal(as_mix(shares, names), wanted)
    assert torch.equal(as_mix(tuple(shares), names), wanted)
    shuffled = dict(reversed(list(zip(names, shares, strict=True))))
    assert torch.equal(as_mix(shuffled, names), wanted)
    assert torch.equal(as_mix(np.array(shares), names), wanted)  # type: ignore[arg-type]


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=5))
@settings(deadline=None)
def test_it_warns_where_and_only_where_numbers_leave_the_simplex(values: list[float]) -> None:
    distance = max(abs(sum(values) - 1), -min(values))
    assume(abs(distance - 0.02) > 1e-5)
    names = list(map(str, range(len(values))))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = as_mix(values, names)
        as_mix(torch.tensor(values), names)
    assert [one.category for one in caught] == [OffSimplexWarning] * (distance > 0.02)
    assert torch.equal(found, torch.tensor(values))


@pytest.mark.parametrize(
    "mix", [[0.33, 0.33, 0.33], [1, 0, 0], [1.01, -0.01, 0.0], {"gan": 0.5, "style": 0.5}, (0.1, 0.2, 0.7)]
)
def test_rounded_shares_are_on_the_simplex(mix: Sequence[float] | Mapping[str, float]) -> None:
    assert as_mix(mix, NAMES).shape == (3,)  # a warning would be an error


@pytest.mark.parametrize("mix", [[0, 1.5, 0], [0.3, 0.3, 0.3], [1.2, -0.2, 0], {"gan": 0.5}, {}])
def test_numbers_off_the_simplex_answer_with_a_warning_that_names_them(
    mix: Sequence[float] | Mapping[str, float],
) -> None:
    with pytest.warns(OffSimplexWarning, match=r"the mixture recon \S+, gan \S+, style \S+ is off the simplex"):
        found = as_mix(mix, NAMES)
    assert found.tolist() == pytest.approx([mix.get(name, 0) for name in NAMES] if isinstance(mix, dict) else list(mix))


def test_names_that_are_left_out_have_no_share() -> None:
    assert as_mix({"style": 1.0}, NAMES).tolist() == [0, 0, 1]


@pytest.mark.parametrize("shape", [(3,), (5, 3), (3, 4, 6), (2, 3, 4, 6)])
def test_tensors_are_the_very_same_and_not_looked_into(shape: tuple[int, ...]) -> None:
    mix = torch.full(shape, 7.0)
    assert as_mix(mix, NAMES) is mix


@pytest.mark.parametrize("shape", [(), (2,), (3, 2), (2, 3, 4), (3, 2, 4, 4), (1, 1, 3, 4, 4)])
def test_tensors_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError) as refused:
        as_mix(torch.zeros(shape), NAMES)
    assert str(refused.value) == (
        f"mix has the shape {shape}, but must be (L,), (N, L), (L, H, W) or (N, L, H, W) with L = 3: recon, gan, style"
    )


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ([0.5, 0.5], "mix has 2 shares, but must have 3: recon, gan, style"),
        ([], "mix has 0 shares, but must have 3: recon, gan, style"),
        ({"gam": 1.0}, "mix has 'gam', but the losses are recon, gan, style"),
        ([math.nan, 0, 1], "must be finite numbers"),
        ({"gan": math.inf}, "must be finite numbers"),
    ],
)
def test_what_is_no_mixture_of_these_losses_is_refused(
    mix: Sequence[float] | Mapping[str, float], message: str
) -> None:
    with pytest.raises(UsageError) as refused:
        as_mix(mix, NAMES)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("mix", "wanted"),
    [
        (torch.tensor([0.5, 0.5]), True),
        (torch.tensor([[0.5, 0.5], [0.5, 0.6]]), False),
        (torch.tensor([[0.5, 0.5], [1.0, 0.0]]), True),
        (torch.full((2, 3, 5), 0.5), True),
        (torch.full((3, 2, 5), 1 / 3), True),
        (torch.full((4, 2, 3, 5), 0.5), True),
        (torch.full((2, 4, 3, 5), 0.5), False),
        (torch.tensor([1.5, -0.5]), False),
    ],
)
def test_the_simplex_is_looked_for_along_the_losses(mix: torch.Tensor, wanted: bool) -> None:
    assert on_simplex(mix) is wanted


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((3,), (4, 3)), ((1, 3), (4, 3)), ((4, 3), (4, 3)), ((3, 5, 6), (4, 3, 5, 6)), ((1, 3, 5, 6), (4, 3, 5, 6))],
)
def test_one_mixture_is_for_every_sample(shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    mix = torch.rand(shape, generator=seeded())
    found = batched(mix, 4)
    assert found.shape == wanted
    assert torch.equal(found, mix.broadcast_to(wanted))


@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (2, 3, 5, 6)])
def test_rows_for_other_samples_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=rf"mix has {shape[0]} rows, but must have one or as many .* samples: 4"):
        batched(torch.zeros(shape), 4)
