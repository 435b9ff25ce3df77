"""All tested designs: the front against its definition, the best for any weights, and there and back through a checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("mujoco")

from tenfold.core.checkpoint import load_state, save_state
from tenfold.core.errors import UsageError
from tenfold.design.archive import Archive, front_of
from tenfold.design.task import Verdict
from tenfold.design.workshop import Order, workshop

from .toy import Toy

TOY = Toy()
OWN = {"large": 1.0, "low": 2.0}


def filled(count: int, *, seed: int = 0, wants: dict[str, float] | None = None) -> Archive:
    """Random designs and their verdicts."""
    random = np.random.default_rng(seed)
    wish = TOY.wish(wants)
    orders = [Order(random.uniform(-1, 1, (3, 3)), wish.values, int(random.integers(2**31))) for _ in range(count)]
    archive = Archive(TOY, wish.wants)
    with workshop(TOY) as shop:
        archive.add(orders, shop.test(orders))
    return archive


def given_scores(rows: list[tuple[float, float]]) -> Archive:
    """Designs whose numbers are all the same within each, and rise from one to the next by 0.1."""
    archive = Archive(TOY, TOY.wish().wants)
    orders = [Order(np.full((3, 3), 0.1 * number), TOY.wish().values, number) for number in range(len(rows))]
    archive.add(
        orders, [Verdict({"large": large, "low": low}, {"number": float(n)}) for n, (large, low) in enumerate(rows)]
    )
    return archive


def undominated(scores: NDArray[np.float64]) -> list[int]:
    """By definition, row against row; of equal rows the first."""
    found = []
    for number, row in enumerate(scores):
        beaten = any((other >= row).all() and (other > row).any() for other in scores)
        again = any(np.array_equal(other, row) for other in scores[:number])
        if not beaten and not again:
            found.append(number)
    return found


# the front


@given(st.integers(0, 40), st.integers(1, 5), st.integers(1, 12), st.integers(0, 10**6))
@settings(deadline=None, max_examples=150)
def test_the_front_is_what_nothing_dominates(rows: int, columns: int, levels: int, seed: int) -> None:
    """Few levels give many equal numbers, and equal rows."""
    scores = np.random.default_rng(seed).integers(0, levels, (rows, columns)) / levels
    assert front_of(scores) == undominated(scores)


def test_the_front_of_some_points_by_hand() -> None:
    rows = [(0.0, 1.0), (0.5, 0.5), (0.5, 0.5), (0.4, 0.5), (1.0, 0.0), (1.0, 0.2), (0.2, 0.9)]
    assert front_of(np.array(rows)) == [0, 1, 5, 6]
    assert given_scores(rows).front() == [0, 1, 5, 6]


def test_the_best_for_any_weights_scores_as_the_best_of_the_front() -> None:
    archive = filled(80)
    front = archive.front()
    for share in np.linspace(0.01, 0.99, 9):
        values = archive.values({"large": share, "low": 1 - share})
        assert values[front].max() == values.max()


# values


def test_values_are_weighted_means() -> None:
    archive = given_scores([(0.0, 1.0), (0.5, 0.5), (1.0, 0.25)])
    assert archive.values({"large": 1, "low": 3}) == pytest.approx([0.75, 0.5, 0.4375])
    assert archive.values({"low": 0, "large": 7}) == pytest.approx([0.0, 0.5, 1.0])
    assert archive.values({"large": 2, "low": 6}) == pytest.approx(archive.values({"large": 0.1, "low": 0.3}))


def test_a_design_of_it_scores_what_it_says() -> None:
    archive = filled(12)
    for weights in (OWN, {"large": 9.0, "low": 0.5}):
        for number, value in enumerate(archive.values(weights)):
            design = archive.design(number, weights)
            assert design.score == pytest.approx(value, abs=1e-12)
            assert design.wish.weights == weights
            assert design.replay().verdict == design.verdict
    assert archive.design(0).wish == TOY.wish()


def test_its_designs_have_the_wants_that_they_were_tested_for() -> None:
    archive = filled(2, wants={"size_ml": 80.0})
    design = archive.design(0, {"large": 3.0})
    assert design.wish == TOY.wish({"large": 3.0, "size_ml": 80.0})
    assert design.replay().verdict == design.verdict


# the best


def test_the_best_come_best_first_and_of_equal_ones_the_first() -> None:
    archive = given_scores([(0.1, 0.1), (0.9, 0.9), (0.5, 0.5), (0.9, 0.9), (0.2, 0.2)])
    assert archive.best(OWN, 3) == [1, 3, 2]
    assert archive.best(OWN) == [1]
    assert archive.best(OWN, 99) == [1, 3, 2, 4, 0]
    assert archive.best(OWN, 0) == []


def test_the_best_are_as_far_apart_as_asked_for() -> None:
    """Neighbours are 0.1 apart."""
    archive = given_scores([(0.9 - 0.1 * number, 0.5) for number in range(9)])
    assert archive.best(OWN, 9, apart=0.05) == list(range(9))
    assert archive.best(OWN, 9, apart=0.15) == [0, 2, 4, 6, 8]
    assert archive.best(OWN, 2, apart=0.35) == [0, 4]
    assert archive.best(OWN, 9, apart=5.0) == [0]


@pytest.mark.parametrize("apart", [0.0, 0.4, 0.7])
def test_nothing_better_is_passed_over_without_a_reason(apart: float) -> None:
    archive = filled(60)
    values, steps = archive.values(OWN), archive.steps.reshape(60, -1)
    chosen = archive.best(OWN, 10, apart=apart)
    distance = np.sqrt(((steps[:, None] - steps[chosen]) ** 2).mean(2))
    between = distance[chosen] + np.eye(len(chosen)) * 9
    assert between.min() >= apart
    assert (np.diff(values[chosen]) <= 0).all()
    for number in set(range(60)) - set(chosen):
        near = any(
            distance[number, place] < apart and values[each] >= values[number] for place, each in enumerate(chosen)
        )
        assert near or (len(chosen) == 10 and values[number] <= values[chosen[-1]])


# there and back


@pytest.mark.parametrize("count", [0, 1, 20])
def test_a_checkpoint_gives_the_same_archive_back(count: int, tmp_path: Path) -> None:
    archive = filled(count, wants={"size_ml": 75.0})
    save_state(tmp_path / "archive", {"archive": archive.state()})
    again = Archive.from_state(TOY, load_state(tmp_path / "archive")["archive"])
    assert (len(again), again.wants) == (count, {"size_ml": 75.0})
    assert np.array_equal(again.steps, archive.steps)
    assert np.array_equal(again.scores, archive.scores)
    assert again.front() == archive.front()
    for number in range(count):
        ours, theirs = archive.design(number), again.design(number)
        assert ours.recipe() == theirs.recipe()
        assert theirs.replay().verdict == theirs.verdict
    if count:
        assert np.array_equal(again.fact("luck"), archive.fact("luck"))


def test_an_archive_goes_on_after_it_came_back() -> None:
    whole, again = filled(12), Archive.from_state(TOY, filled(12).first(7).state())
    orders = [
        Order(steps, TOY.wish().values, seed) for steps, seed in zip(whole.steps[7:], whole._seeds[7:], strict=True)
    ]
    with workshop(TOY) as shop:
        again.add(orders, shop.test(orders))
    assert np.array_equal(again.steps, whole.steps)
    assert np.array_equal(again.scores, whole.scores)


def test_the_first_designs_alone() -> None:
    archive = filled(9)
    first = archive.first(4)
    assert len(first) == 4
    assert np.array_equal(first.scores, archive.scores[:4])
    assert len(archive) == 9
    assert len(archive.first(99)) == 9


def test_an_empty_archive_has_shapes_and_nothing_in_it() -> None:
    archive = Archive(TOY, TOY.wish().wants)
    assert (archive.steps.shape, archive.scores.shape, archive.values(OWN).shape) == ((0, 3, 3), (0, 2), (0,))
    assert archive.front() == []


def test_an_empty_archive_has_no_best() -> None:
    assert Archive(TOY, TOY.wish().wants).best(OWN, 3) == []


def test_weights_that_the_task_does_not_have_are_refused() -> None:
    with pytest.raises(UsageError, match="goals has 'soft'"):
        filled(1).design(0, {"soft": 1.0})
