from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg
from torch import Tensor

from tenfold.core.errors import UsageError
from tenfold.core.realism import frechet_distance, precision_and_recall


def rows(count: int, features: int, *, seed: int = 0) -> Tensor:
    """Features that go together and have different means."""
    random = torch.Generator().manual_seed(seed)
    mixing = torch.randn(features, features, generator=random, dtype=torch.float64)
    means = 3 * torch.randn(features, generator=random, dtype=torch.float64)
    return torch.randn(count, features, generator=random, dtype=torch.float64) @ mixing + means


def by_matrix_root(real: Tensor, made: Tensor) -> float:
    """The formula as it is written, with the root of a matrix that is not symmetric."""
    first, second = (part.double().numpy() for part in (real, made))
    one, other = (torch.cov(part.double().T).reshape(real.shape[1], -1).numpy() for part in (real, made))
    root = linalg.sqrtm(one @ other)
    means = ((first.mean(0) - second.mean(0)) ** 2).sum()
    return float(means + one.trace() + other.trace() - 2 * root.real.trace())


def neighbourhoods(base: list[list[float]], asked: list[list[float]], k: int) -> float:
    """The share of asked rows that lie within some base row's distance to its k-th nearest other row."""
    inside = 0
    for row in asked:
        for place, centre in enumerate(base):
            others = sorted(math.dist(centre, other) for number, other in enumerate(base) if number != place)
            if math.dist(row, centre) <= others[k - 1]:
                inside += 1
                break
    return inside / len(asked)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(8, 40), st.integers(8, 40), st.integers(0, 1000))
def test_the_distance_is_the_formula_with_the_root_of_the_product(
    features: int, count: int, other: int, seed: int
) -> None:
    real, made = rows(count, features, seed=seed), rows(other, features, seed=seed + 1)
    assert frechet_distance(real, made) == pytest.approx(by_matrix_root(real, made), rel=1e-6, abs=1e-6)


def test_distances_of_single_features_by_hand() -> None:
    # means 0 and 3, variances 2 and 8: 9 + (sqrt 8 - sqrt 2)^2
    real, made = torch.tensor([[-1.0], [1.0]]), torch.tensor([[1.0], [5.0]])
    assert frechet_distance(real, made) == pytest.approx(9 + 2, rel=1e-12)
    assert frechet_distance(real, real + 5) == pytest.approx(25, rel=1e-12)
    assert frechet_distance(real, real * 3) == pytest.approx(8, rel=1e-12)


def test_features_that_vary_apart_add_their_distances() -> None:
    real = torch.tensor([[-1.0, -2.0], [-1.0, 2.0], [1.0, -2.0], [1.0, 2.0]])
    made = real * torch.tensor([3.0, 0.5]) + torch.tensor([1.0, -2.0])
    spread = torch.tensor([1.0, 2.0]) * math.sqrt(4 / 3)
    wanted = 1 + 4 + (2 * spread[0]) ** 2 + (0.5 * spread[1]) ** 2
    assert frechet_distance(real, made) == pytest.approx(float(wanted), rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.integers(2, 30), st.integers(0, 1000))
def test_a_set_has_no_distance_from_itself(features: int, count: int, seed: int) -> None:
    real = rows(count, features, seed=seed)
    assert frechet_distance(real, real.flip(0)) == pytest.approx(0, abs=1e-6 * float(real.square().sum()))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.integers(2, 12), st.integers(2, 12), st.integers(0, 1000))
def test_the_distance_is_the_same_both_ways_and_after_a_common_rotation_and_shift(
    features: int, count: int, other: int, seed: int
) -> None:
    real, made = rows(count, features, seed=seed), rows(other, features, seed=seed + 1)
    distance = frechet_distance(real, made)
    near = pytest.approx(distance, rel=1e-5, abs=1e-5)
    assert frechet_distance(made, real) == near
    turn = torch.linalg.qr(rows(features, features, seed=seed + 2)).Q
    shift = rows(2, features, seed=seed + 3)[0]
    assert frechet_distance(real @ turn + shift, made @ turn + shift) == near


@pytest.mark.parametrize("count", [2, 3, 20])
def test_fewer_rows_than_features_give_a_finite_distance(count: int) -> None:
    real, made = rows(count, 64), rows(count, 64, seed=1)
    distance = frechet_distance(real.float(), made.float())
    assert math.isfinite(distance)
    assert distance == pytest.approx(by_matrix_root(real.float(), made.float()), rel=1e-3)
    assert distance > 0
    assert abs(frechet_distance(real, real)) < 1e-6 * float(real.var(0).sum())


def test_features_that_never_vary_count_by_their_means() -> None:
    still = torch.full((5, 3), 2.0)
    assert frechet_distance(still, still + 1) == pytest.approx(3)
    assert frechet_distance(still, still) == 0


def test_features_of_low_precision_are_computed_in_double() -> None:
    real, made = rows(50, 8).half(), rows(50, 8, seed=1).half()
    assert frechet_distance(real, made) == pytest.approx(by_matrix_root(real, made), rel=1e-6)
    # a mean far from 0 leaves the distance, where single precision would lose it
    far, distance = real.float() + 4096, frechet_distance(real.float(), real.float() * 1.25)
    assert frechet_distance(far, real.float() * 1.25 + 4096) == pytest.approx(distance, rel=1e-2)


points = st.lists(st.lists(st.integers(-4, 4), min_size=2, max_size=2), min_size=5, max_size=12)


@settings(max_examples=60, deadline=None)
@given(points, points, st.integers(1, 4))
def test_precision_and_recall_are_those_of_a_loop(real: list[list[int]], made: list[list[int]], k: int) -> None:
    found = precision_and_recall(torch.tensor(real).float(), torch.tensor(made).float(), neighbours=k)
    assert found == pytest.approx((neighbourhoods(real, made, k), neighbourhoods(made, real, k)))  # type: ignore[arg-type]


def test_the_neighbourhood_reaches_to_the_third_nearest_row_unless_told_otherwise() -> None:
    real = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    assert precision_and_recall(real, torch.tensor([[14.0], [14.1], [14.2], [14.3]])) == (0.25, 0.0)
    # the reach of the last is 7 - 1 = 6 with two neighbours
    assert precision_and_recall(real, torch.tensor([[13.0], [13.1], [13.2], [13.3]]), neighbours=2) == (0.25, 0.0)


def test_equal_sets_have_all_and_distant_sets_nothing() -> None:
    real = rows(100, 40).float()
    assert precision_and_recall(real, real.flip(0)) == (1.0, 1.0)
    assert precision_and_recall(real, real + 1000) == (0.0, 0.0)


def test_rows_that_repeat_are_found_again_far_from_the_origin() -> None:
    # with 4 copies of each row the reach is 0, and a distance computed from squares would not be
    real = (torch.randn(300, 40, generator=torch.Generator().manual_seed(0)) + 10).repeat_interleave(4, 0)
    assert precision_and_recall(real, real.roll(5, 0)) == (1.0, 1.0)


def test_a_collapsed_set_has_precision_without_recall() -> None:
    real = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    middle = 0.01 * torch.randn(300, 2, generator=torch.Generator().manual_seed(1))
    precision, recall = precision_and_recall(real, middle)
    assert precision == 1
    assert recall < 0.05
    assert precision_and_recall(middle, real) == (recall, precision)


def test_sets_of_many_rows_are_scored_as_if_at_once() -> None:
    random = torch.Generator().manual_seed(0)
    real, made = torch.randn(1030, 3, generator=random), torch.randn(2060, 3, generator=random) * 1.5
    wanted = []
    for base, asked in ((real.double(), made.double()), (made.double(), real.double())):
        apart = (base[:, None] - base).square().sum(2).sqrt()
        reach = apart.sort(1).values[:, 3]
        hits = [bool(((base - row).square().sum(1).sqrt() <= reach).any()) for row in asked]
        wanted.append(sum(hits) / len(hits))
    assert precision_and_recall(real, made) == pytest.approx(tuple(wanted), abs=1e-12)
    assert 0.5 < wanted[0] < wanted[1] < 1


FITTING = torch.zeros(5, 3)


@pytest.mark.parametrize("score", [frechet_distance, precision_and_recall])
@pytest.mark.parametrize("wrong", [torch.zeros(5), torch.zeros(5, 4), torch.zeros(1, 3), torch.zeros(5, 3, 1)])
def test_shapes_that_do_not_fit_are_refused(score: object, wrong: Tensor) -> None:
    for real, made in ((FITTING, wrong), (wrong, FITTING)):
        with pytest.raises(
            UsageError, match=r"features have shapes \(.*\) and \(.*\), but must be \(N, F\) and \(M, F\)"
        ):
            score(real, made)  # type: ignore[operator]


def test_neighbours_need_rows() -> None:
    for real, made in ((FITTING, FITTING[:3]), (FITTING[:3], FITTING)):
        with pytest.raises(UsageError, match=r"there are \d and \d rows of features, but must be more than 3 of each"):
            precision_and_recall(real, made)
    assert precision_and_recall(FITTING[:4], FITTING) == (1.0, 1.0)
    for number in (0, -1):
        with pytest.raises(UsageError, match=f"neighbours is {number}, but must be at least 1"):
            precision_and_recall(FITTING, FITTING, neighbours=number)
