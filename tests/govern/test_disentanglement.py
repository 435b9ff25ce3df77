"""DCI where the answer is known: latents that are factors, mixtures of them, doubles, and noise."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tenfold.core.errors import UsageError
from tenfold.govern import dci
from tenfold.govern.disentanglement import Regressor, _scores

Table = NDArray[np.float64]
REGRESSORS: tuple[Regressor, ...] = ("random_forest", "gradient_boosting", "lasso")


def factors_of(count: int = 300, factors: int = 3, seed: int = 0) -> Table:
    return np.random.default_rng(seed).uniform(-1, 1, (count, factors))


def noise(count: int, latents: int, seed: int = 9) -> Table:
    return np.random.default_rng(seed).normal(size=(count, latents))


# scores by hand


def test_scores_by_hand() -> None:
    importance = np.array([[1.0, 0.0], [0.0, 0.5], [0.0, 0.5], [0.0, 0.0]])
    found = _scores(importance, 0.7)
    assert found.per_latent.tolist() == [1, 1, 1, 0]
    assert found.per_factor == pytest.approx([1, 1 - math.log(2) / math.log(4)])
    assert found.disentanglement == pytest.approx(0.75)
    assert found.weighted_disentanglement == pytest.approx(1)
    assert found.completeness == found.weighted_completeness == pytest.approx(0.75)
    assert found.informativeness == 0.7


def test_weights_are_shares_of_importance() -> None:
    importance = np.array([[0.75, 0.75], [0.25, 0.0]])
    found = _scores(importance, 0.0)
    entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert found.per_latent == pytest.approx([0, 1], abs=1e-12)
    assert found.per_factor == pytest.approx([1 - entropy, 1])
    assert found.weighted_disentanglement == pytest.approx(0.25 / 1.75)
    assert found.weighted_completeness == pytest.approx((1 - entropy) / 1.75 + 0.75 / 1.75)


def test_where_nothing_matters_all_scores_are_zero() -> None:
    found = _scores(np.zeros((3, 2)), 0.0)
    scores = (found.disentanglement, found.completeness, found.weighted_disentanglement, found.weighted_completeness)
    assert scores == pytest.approx((0, 0, 0, 0), abs=1e-12)


@given(st.integers(2, 5), st.integers(2, 4), st.integers(0, 999), st.floats(0, 0.9))
@settings(deadline=None, max_examples=60)
def test_scores_are_between_zero_and_one_and_follow_a_permutation(
    latents: int, factors: int, seed: int, empty: float
) -> None:
    random = np.random.default_rng(seed)
    importance = random.random((latents, factors)) * (random.random((latents, factors)) >= empty)
    found = _scores(importance, 0.0)
    for each in (found.per_latent, found.per_factor):
        assert each.min() > -1e-12
        assert each.max() < 1 + 1e-12
    rows, columns = random.permutation(latents), random.permutation(factors)
    moved = _scores(importance[rows][:, columns], 0.0)
    assert moved.per_latent == pytest.approx(found.per_latent[rows])
    assert moved.per_factor == pytest.approx(found.per_factor[columns])
    for name in ("disentanglement", "completeness", "weighted_disentanglement", "weighted_completeness"):
        assert getattr(moved, name) == pytest.approx(getattr(found, name))
        assert 0 - 1e-12 <= getattr(found, name) <= 1 + 1e-12


@given(st.integers(2, 4), st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_the_size_of_importance_does_not_matter(factors: int, seed: int) -> None:
    importance = np.random.default_rng(seed).random((3, factors))
    one, other = _scores(importance, 0.0), _scores(7 * importance, 0.0)
    assert one.per_latent == pytest.approx(other.per_latent)
    assert one.weighted_completeness == pytest.approx(other.weighted_completeness)


# whole


@pytest.mark.parametrize("regressor", REGRESSORS)
def test_latents_that_are_factors_are_told_apart(regressor: Regressor) -> None:
    factors = factors_of(200)
    found = dci(-3 * factors + 5, factors, regressor=regressor)
    assert found.importance.shape == (3, 3)
    assert (found.importance.argmax(0) == np.arange(3)).all()
    assert found.importance.sum(0) == pytest.approx(np.ones(3))
    assert found.disentanglement > 0.9
    assert found.completeness > 0.9
    assert found.informativeness > 0.95


@pytest.mark.parametrize("regressor", REGRESSORS)
def test_mixed_latents_are_not(regressor: Regressor) -> None:
    factors = factors_of(factors=2)
    turn = np.array([[1.0, 1.0], [1.0, -1.0]]) / math.sqrt(2)
    mixed, straight = dci(factors @ turn, factors, regressor=regressor), dci(factors, factors, regressor=regressor)
    assert mixed.disentanglement < 0.3
    assert mixed.completeness < 0.3
    assert straight.disentanglement - mixed.disentanglement > 0.6
    assert mixed.informativeness > 0.8  # nothing is lost in them


def test_the_order_of_latents_and_factors_does_not_matter() -> None:
    factors = factors_of()
    latents = factors + 0.2 * noise(300, 3)
    one = dci(latents, factors)
    other = dci(latents[:, [2, 0, 1]], factors[:, [1, 2, 0]])
    assert other.disentanglement == pytest.approx(one.disentanglement, abs=0.03)
    assert other.completeness == pytest.approx(one.completeness, abs=0.03)
    assert other.importance == pytest.approx(one.importance[[2, 0, 1]][:, [1, 2, 0]], abs=0.03)


def test_units_of_latents_do_not_matter() -> None:
    factors = factors_of()
    latents = factors + 0.2 * noise(300, 3)
    for regressor in ("random_forest", "lasso"):
        one = dci(latents, factors, regressor=cast(Regressor, regressor))
        other = dci(latents * [1e-4, 1, 1e4] + [5, 0, -1], factors, regressor=cast(Regressor, regressor))
        assert other.importance == pytest.approx(one.importance, abs=0.02)


def test_a_factor_in_two_latents_is_less_complete_but_as_disentangled() -> None:
    factors = factors_of(factors=2)
    twice = np.column_stack([factors, factors[:, 0]])
    clean = dci(np.column_stack([factors, noise(300, 1)]), factors)
    # two latents alike: which of them a tree asks is by chance
    found = dci(twice + 1e-3 * noise(300, 3), factors)
    assert found.per_factor[0] < clean.per_factor[0] - 0.2
    assert found.per_factor[1] > 0.9
    assert found.disentanglement > 0.9


def test_a_latent_that_never_changes_counts_as_zero() -> None:
    factors = factors_of()
    found = dci(np.column_stack([factors, np.full(300, 2.5)]), factors)
    assert (found.importance[3] == 0).all()
    assert found.per_latent[3] == pytest.approx(0, abs=1e-12)
    assert found.disentanglement == pytest.approx(found.per_latent[:3].sum() / 4)
    assert found.weighted_disentanglement > 0.9


def test_a_factor_that_never_changes_is_in_no_latent() -> None:
    factors = np.column_stack([factors_of(factors=2), np.full(300, 4.0)])
    found = dci(factors_of(factors=2), factors)
    assert (found.importance[:, 2] == 0).all()
    assert found.per_factor[2] == pytest.approx(0, abs=1e-12)
    assert found.weighted_completeness > 0.9
    assert found.informativeness == pytest.approx(2 / 3, abs=0.05)


@pytest.mark.parametrize("regressor", ["random_forest", "lasso"])
def test_noise_tells_nothing(regressor: Regressor) -> None:
    found = dci(noise(300, 3), factors_of(), regressor=regressor)
    assert found.informativeness < 0.2
    assert found.disentanglement < 0.5 or found.importance.sum() < 3


def test_the_same_seed_scores_the_same() -> None:
    factors = factors_of(100)
    latents = factors + 0.3 * noise(100, 3)
    state = np.random.get_state()[1]  # noqa: NPY002 - what must not change
    one, same, other = (dci(latents, factors, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.importance, same.importance)
    assert one.informativeness == same.informativeness
    assert not np.array_equal(one.importance, other.importance)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_lists_and_numbered_classes_are_taken() -> None:
    classes = np.random.default_rng(0).integers(3, size=(200, 2))
    found = dci((classes * 2.0).tolist(), classes.tolist())
    assert found.disentanglement > 0.9


# refusals


@pytest.mark.parametrize(
    ("latents", "factors", "sentence"),
    [
        (np.zeros((30, 2)), np.zeros((29, 2)), "there are 30 latents and 29 factors, but must be as many of both"),
        (np.zeros((19, 2)), np.zeros((19, 2)), "there are 19 latents and 19 factors, .*at least 20"),
        (np.zeros((30, 1)), np.zeros((30, 2)), r"latents have shape \(30, 1\)"),
        (np.zeros((30, 2)), np.zeros((30, 1)), r"factors have shape \(30, 1\)"),
        (np.zeros(30), np.zeros((30, 2)), r"latents have shape \(30,\)"),
        (np.full((30, 2), np.nan), np.zeros((30, 2)), "latents have numbers that are not finite"),
        (np.zeros((30, 2)), np.full((30, 2), np.inf), "factors have numbers that are not finite"),
    ],
)
def test_arrays_of_another_kind_are_refused(latents: Any, factors: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        dci(latents, factors)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 2.0])
def test_shares_that_are_none_are_refused(share: float) -> None:
    with pytest.raises(UsageError, match=f"test_share is {share}, but must be between 0 and 1"):
        dci(factors_of(40), factors_of(40), test_share=share)


def test_other_regressors_are_refused() -> None:
    with pytest.raises(
        UsageError, match="regressor is 'svm', but must be one of random_forest, gradient_boosting, lasso"
    ):
        dci(factors_of(40), factors_of(40), regressor=cast(Regressor, "svm"))


def test_a_share_that_leaves_no_row_to_learn_from_is_refused() -> None:
    with pytest.raises(UsageError):
        dci(factors_of(20), factors_of(20), test_share=0.98)


def test_a_factor_that_held_out_rows_do_not_vary_leaves_informativeness_of_a_sane_size() -> None:
    factors = factors_of(40)
    found = dci(factors + 0.1 * noise(40, 3), factors, test_share=0.01)
    assert found.informativeness > -1000


def test_units_of_factors_do_not_matter() -> None:
    latents, factors = noise(100, 2), factors_of(100, 2)
    one, other = dci(latents, factors), dci(latents, 1e-8 * factors)
    assert other.informativeness == pytest.approx(one.informativeness, abs=0.05)


def test_too_few_rows_for_lasso_are_refused() -> None:
    with pytest.raises(UsageError):
        dci(factors_of(20), factors_of(20), regressor="lasso", test_share=0.8)
