"""Interquartile means, intervals and probabilities of improvement against their definitions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tenfold.core.errors import UsageError
from tenfold.core.replicates import (
    Estimate,
    difference,
    estimate,
    interquartile_mean,
    probability_of_improvement,
)

NUMBERS = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=12)


def drawn(count: int, *, seed: int = 0, mean: float = 0.0) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(seed).normal(mean, 1, count)


@pytest.mark.parametrize("count", range(1, 41))
def test_the_interquartile_mean_is_the_trimmed_mean(count: int) -> None:
    values = drawn(count, seed=count) ** 3
    wanted = float(stats.trim_mean(values, 0.25))
    assert interquartile_mean(values) == pytest.approx(wanted, rel=1e-12)
    assert interquartile_mean(values.tolist()) == interquartile_mean(values)
    assert interquartile_mean(values[::-1]) == pytest.approx(wanted, rel=1e-12)
    assert estimate(values, resamples=100).value == interquartile_mean(values)


def test_interquartile_means_by_hand() -> None:
    assert interquartile_mean([7]) == 7
    assert interquartile_mean([0, 3, 100]) == pytest.approx(103 / 3)
    assert interquartile_mean([100, 1, 3, -50]) == 2
    assert interquartile_mean([-100, -99, 1, 2, 3, 4, 99, 100]) == 2.5


def test_values_are_left_as_they_are() -> None:
    values = np.array([3.0, 1.0, 2.0, 0.0])
    estimate(values)
    difference(values, values)
    probability_of_improvement(values, values)
    assert values.tolist() == [3, 1, 2, 0]


def test_intervals_cover_the_true_value_about_as_often_as_they_say() -> None:
    """Of 24 repetitions each; percentile intervals of so few are a little too narrow."""
    truth = 3.0
    found = [estimate(drawn(24, seed=seed, mean=truth), resamples=400, seed=seed) for seed in range(400)]
    covered = np.mean([each.low <= truth <= each.high for each in found])
    assert 0.88 <= covered <= 0.98
    both = [
        difference(drawn(24, seed=seed, mean=1), drawn(24, seed=10_000 + seed), resamples=400) for seed in range(400)
    ]
    assert 0.88 <= np.mean([each.low <= 1 <= each.high for each in both]) <= 0.98
    assert np.mean([each.low for each in found]) == pytest.approx(
        2 * truth - np.mean([each.high for each in found]), abs=0.05
    )


def test_intervals_are_percentiles_of_resampled_interquartile_means() -> None:
    """Against scipy's own bootstrap, which draws other samples."""
    values = drawn(9, seed=5) * 10
    theirs = stats.bootstrap(
        (values,),
        lambda rows, axis: stats.trim_mean(rows, 0.25, axis=axis),
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    ours = estimate(values, resamples=20_000)
    width = theirs.high - theirs.low
    assert (ours.low, ours.high) == (
        pytest.approx(theirs.low, abs=0.04 * width),
        pytest.approx(theirs.high, abs=0.04 * width),
    )
    more = estimate(np.tile(values, 16))
    assert more.high - more.low < 0.4 * width


def test_one_repetition_has_an_interval_without_width() -> None:
    assert estimate([4.5]) == Estimate(4.5, 4.5, 4.5)
    assert difference([4.5], [1.0]) == Estimate(3.5, 3.5, 3.5)
    assert probability_of_improvement([4.5], [1.0]) == Estimate(1, 1, 1)
    assert probability_of_improvement([1.0], [4.5]) == Estimate(0, 0, 0)
    assert probability_of_improvement([1.0], [1.0]) == Estimate(0.5, 0.5, 0.5)
    assert estimate([2.0] * 7) == Estimate(2, 2, 2)


@pytest.mark.parametrize("function", [estimate, lambda values, **options: difference(values, drawn(6), **options)])
def test_the_same_seed_gives_the_same_interval(function: Callable[..., Estimate]) -> None:
    values = drawn(8, seed=1)
    assert function(values) == function(values) == function(values, seed=0, resamples=2000)
    assert function(values, seed=1) != function(values)
    assert function(values, seed=1).value == function(values).value
    assert function(values, resamples=300) != function(values)


def test_a_difference_is_of_the_interquartile_means() -> None:
    ours, theirs = drawn(8, seed=1, mean=4), drawn(12, seed=2)
    found = difference(ours, theirs)
    assert found.value == pytest.approx(stats.trim_mean(ours, 0.25) - stats.trim_mean(theirs, 0.25), rel=1e-12)
    assert found.low < found.value < found.high
    turned = difference(theirs, ours, resamples=20_000)
    assert turned.value == -found.value
    width = found.high - found.low
    assert (-turned.high, -turned.low) == (
        pytest.approx(found.low, abs=0.1 * width),
        pytest.approx(found.high, abs=0.1 * width),
    )


def test_both_sides_of_a_difference_are_resampled_each_by_itself() -> None:
    """The same rows for both would make the difference of equal values always zero."""
    values = drawn(8, seed=3)
    found = difference(values, values)
    assert found.value == 0
    alone = estimate(values)
    assert found.high - found.low == pytest.approx(np.sqrt(2) * (alone.high - alone.low), rel=0.2)
    one = difference(values, [0.0])
    assert one == pytest.approx(alone, abs=0.1)


@settings(max_examples=80, deadline=None)
@given(NUMBERS, NUMBERS)
def test_the_probability_of_improvement_counts_all_pairs(ours: list[float], theirs: list[float]) -> None:
    pairs = list(product(ours, theirs))
    wanted = sum(1.0 if x > y else 0.5 if x == y else 0.0 for x, y in pairs) / len(pairs)
    found = probability_of_improvement(ours, theirs, resamples=100)
    assert found.value == pytest.approx(wanted, abs=1e-12)
    assert 0 <= found.low <= found.high <= 1
    assert probability_of_improvement(theirs, ours, resamples=100).value == pytest.approx(1 - wanted, abs=1e-12)


def test_intervals_of_the_probability_are_those_of_resampled_pairs() -> None:
    ours, theirs = drawn(7, seed=1, mean=0.5), drawn(5, seed=2)
    random = np.random.default_rng(9)
    values = []
    for _ in range(4000):
        x, y = random.choice(ours, 7), random.choice(theirs, 5)
        values.append(np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in product(x, y)]))
    low, high = np.quantile(values, (0.025, 0.975))
    found = probability_of_improvement(ours, theirs, resamples=4000)
    assert (found.low, found.high) == (pytest.approx(low, abs=0.05), pytest.approx(high, abs=0.05))
    assert found == probability_of_improvement(ours, theirs, resamples=4000)
    assert found != probability_of_improvement(ours, theirs, resamples=4000, seed=1)


EMPTY: list[float] = []


@pytest.mark.parametrize(
    ("call", "shape"),
    [
        (lambda: interquartile_mean(EMPTY), r"\(0,\)"),
        (lambda: estimate(EMPTY), r"\(0,\)"),
        (lambda: difference(EMPTY, [1.0]), r"\(0,\)"),
        (lambda: difference([1.0], EMPTY), r"\(0,\)"),
        (lambda: probability_of_improvement(EMPTY, [1.0]), r"\(0,\)"),
        (lambda: probability_of_improvement([1.0], EMPTY), r"\(0,\)"),
        (lambda: estimate(np.zeros((2, 3))), r"\(2, 3\)"),
        (lambda: interquartile_mean(np.array(1.0)), r"\(\)"),
    ],
)
def test_no_values_or_tables_of_them_are_refused(call: Callable[[], object], shape: str) -> None:
    with pytest.raises(UsageError, match=f"^values have shape {shape}, but must be one for each repetition"):
        call()
