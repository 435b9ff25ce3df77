"""What is wished for, and how verdicts are kept within their ranges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.core.errors import UsageError
from tenfold.design.assembly import Assembly
from tenfold.design.revolve import RevolvedProfile
from tenfold.design.solid import WOOD, Part, Solid
from tenfold.design.task import Goal, Task, Verdict, Want, Wish

BALL = Assembly([Part("sphere", (0.1,), (0.0, 0.0, 0.1))])


class Tower(Task):
    """Scores what it is told to."""

    name = "Tower"
    space = RevolvedProfile()
    goals = (Goal("high", "the higher", 3.0), Goal("cheap", "the cheaper"), Goal("odd", "asked for by nobody", 0.0))
    wants = (Want("floors", "so many", 4.0, 2.0, 12.0), Want("only", "as it is", 7.0, 7.0, 7.0))
    material = WOOD

    def __init__(self, scores: Mapping[str, Any] | None = None) -> None:
        self.scores = {"high": 0.5, "cheap": 0.5, "odd": 0.5} if scores is None else dict(scores)
        self.asked: list[dict[str, float]] = []

    def judge(self, solid: Solid, wants: Mapping[str, float], random: np.random.Generator) -> Verdict:
        self.asked.append(dict(wants))
        return Verdict(self.scores, {"drawn": random.random()})


TASK = Tower()
NAMES = "Tower has high, cheap, odd, floors, only"


# wishes


def test_what_is_not_named_is_as_the_task_has_it() -> None:
    plain = Wish({"high": 3.0, "cheap": 1.0, "odd": 0.0}, {"floors": 4.0, "only": 7.0})
    assert TASK.wish() == TASK.wish({}) == TASK.wish(None) == plain
    other = TASK.wish({"cheap": 2, "floors": 12})
    assert other == Wish({"high": 3.0, "cheap": 2.0, "odd": 0.0}, {"floors": 12.0, "only": 7.0})
    assert TASK.wish() == plain  # of its own


def test_a_wish_is_wished_again_by_its_values() -> None:
    wish = TASK.wish({"odd": 0.25, "high": 0, "floors": 2})
    assert wish.values == {"high": 0.0, "cheap": 1.0, "odd": 0.25, "floors": 2.0, "only": 7.0}
    assert TASK.wish(wish.values) == wish


@pytest.mark.parametrize("number", [2, 2.0, np.float32(2), np.int64(2)])
def test_any_number_is_a_number(number: float) -> None:
    wish = TASK.wish({"cheap": number})
    assert wish.weights["cheap"] == 2
    assert type(wish.weights["cheap"]) is float


@pytest.mark.parametrize(
    ("goals", "message"),
    [
        ({"hgih": 1.0}, f"goals has 'hgih', but {NAMES}"),
        ({"": 1.0}, f"goals has '', but {NAMES}"),
        ({"high": -0.5}, "the weight of high is -0.5, but must be at least 0"),
        ({"high": 0.0, "cheap": 0}, "all goals of Tower have the weight 0, but one must have more"),
        ({"floors": 12.5}, "floors is 12.5, but must be between 2 and 12"),
        ({"floors": 1.0}, "floors is 1, but must be between 2 and 12"),
        ({"only": 8.0}, "only is 8, but must be between 7 and 7"),
    ],
)
def test_wishes_that_cannot_be_are_refused(goals: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        TASK.wish(goals)
    assert str(refused.value) == message


@pytest.mark.parametrize("name", ["high", "floors"])
@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, True, np.True_, "3", None, [3.0], np.array(3.0), np.float32("nan")]
)
def test_what_is_no_number_is_refused(name: str, value: Any) -> None:
    with pytest.raises(UsageError) as refused:
        TASK.wish({name: value})
    assert str(refused.value) == f"{name} is {value!r}, but must be a number"


def test_a_whole_number_beyond_all_floats_is_refused_in_words() -> None:
    with pytest.raises(UsageError, match="but must be a number"):
        TASK.wish({"high": 10**400})


def test_large_weights_are_refused_or_weigh_alike() -> None:
    try:
        wish = TASK.wish({"high": 1e308, "cheap": 1e308})
    except UsageError:
        return
    assert wish.score({"high": 1.0, "cheap": 0.0, "odd": 0.0}) == pytest.approx(0.5)
    assert np.isfinite(TASK.describe(wish)).all()


# scores


def test_a_score_is_the_weighted_mean() -> None:
    scores = {"high": 0.9, "cheap": 0.1, "odd": 1.0}
    assert TASK.wish().score(scores) == pytest.approx((3 * 0.9 + 0.1) / 4)
    assert TASK.wish({"high": 0, "cheap": 0, "odd": 0.01}).score(scores) == pytest.approx(1)


@given(st.lists(st.floats(0, 100), min_size=3, max_size=3), st.lists(st.floats(0, 1), min_size=3, max_size=3))
@settings(deadline=None, max_examples=60)
def test_a_score_is_between_the_worst_and_the_best(weights: list[float], scores: list[float]) -> None:
    names = ["high", "cheap", "odd"]
    if sum(weights) < 1e-6:
        return
    wish = TASK.wish(dict(zip(names, weights, strict=True)))
    found = wish.score(dict(zip(names, scores, strict=True)))
    assert min(scores) - 1e-9 <= found <= max(scores) + 1e-9
    doubled = TASK.wish({name: 2 * weight for name, weight in zip(names, weights, strict=True)})
    assert doubled.score(dict(zip(names, scores, strict=True))) == pytest.approx(found)


# wishes that are drawn


def test_drawn_weights_are_a_quarter_to_four_times_their_own() -> None:
    random = np.random.default_rng(0)
    drawn = [TASK.draw_wish(random) for _ in range(500)]
    shares = np.array([[wish.weights["high"] / 3, wish.weights["cheap"]] for wish in drawn])
    assert shares.min() >= 0.25
    assert shares.max() <= 4
    assert (shares.min(0) < 0.27).all()
    assert (shares.max(0) > 3.7).all()
    assert np.log(shares).mean(0) == pytest.approx([0, 0], abs=0.15)
    assert abs(np.corrcoef(shares.T)[0, 1]) < 0.15
    assert {wish.weights["odd"] for wish in drawn} == {0}
    assert all(wish.wants == {"floors": 4, "only": 7} for wish in drawn)


def test_what_is_fixed_is_not_drawn() -> None:
    random = np.random.default_rng(0)
    fixed = {"high": 0.0, "floors": 9.0}
    drawn = [TASK.draw_wish(random, fixed) for _ in range(20)]
    assert {(wish.weights["high"], wish.wants["floors"]) for wish in drawn} == {(0, 9)}
    assert len({wish.weights["cheap"] for wish in drawn}) == 20
    assert fixed == {"high": 0.0, "floors": 9.0}
    with pytest.raises(UsageError, match="goals has 'deep'"):
        TASK.draw_wish(random, {"deep": 1.0})


def test_the_same_seed_draws_the_same_wish() -> None:
    one, other, third = (TASK.draw_wish(np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert one == other != third


# what the policy reads


def test_a_wish_is_described_by_shares_and_places_in_ranges() -> None:
    told = TASK.describe(TASK.wish())
    assert told.dtype == np.float32
    assert told == pytest.approx([0.5, -0.5, -1.0, -0.6, 0.0])
    assert TASK.describe(TASK.wish({"floors": 12}))[3] == 1
    assert TASK.describe(TASK.wish({"floors": 2}))[3] == -1


@given(st.lists(st.floats(0, 1e6), min_size=3, max_size=3), st.floats(2, 12))
@settings(deadline=None, max_examples=60)
def test_a_description_is_within_its_range_and_tells_shares(weights: list[float], floors: float) -> None:
    if sum(weights) < 1e-6:
        return
    goals = dict(zip(["high", "cheap", "odd"], weights, strict=True))
    told = TASK.describe(TASK.wish(goals | {"floors": floors}))
    assert np.abs(told).max() <= 1
    assert ((told[:3] + 1) / 2).sum() == pytest.approx(1, abs=1e-5)
    doubled = TASK.wish({name: 2 * weight for name, weight in goals.items()} | {"floors": floors})
    assert TASK.describe(doubled) == pytest.approx(told, abs=1e-6)


# tests


def test_scores_are_cut_to_their_range_and_no_number_is_nothing() -> None:
    found = Tower({"high": 1.7, "cheap": -0.2, "odd": math.nan}).test(BALL, TASK.wish(), 0)
    assert found.scores == {"high": 1, "cheap": 0, "odd": 0}
    found = Tower({"high": np.float32(0.25), "cheap": -math.inf, "odd": 1}).test(BALL, TASK.wish(), 0)
    assert found.scores == {"high": 0.25, "cheap": 0, "odd": 1}
    assert {type(score) for score in found.scores.values()} == {float}
    assert all(
        0 <= s <= 1 for s in Tower(dict.fromkeys(TASK.scores, math.inf)).test(BALL, TASK.wish(), 0).scores.values()
    )


def test_scores_are_in_the_order_of_the_goals() -> None:
    found = Tower({"odd": 0.1, "cheap": 0.2, "high": 0.3}).test(BALL, TASK.wish(), 0)
    assert list(found.scores) == ["high", "cheap", "odd"]


@pytest.mark.parametrize("scores", [{}, {"high": 1, "cheap": 1}, {"high": 1, "cheap": 1, "old": 1}])
def test_scores_of_other_goals_are_refused(scores: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"Tower\.judge has scored") as refused:
        Tower(scores).test(BALL, TASK.wish(), 0)
    assert str(refused.value).endswith("but the goals are ['cheap', 'high', 'odd']")
    assert str(sorted(scores)) in str(refused.value)


def test_a_goal_too_many_is_refused_as_well() -> None:
    with pytest.raises(ValueError, match="'more'"):
        Tower({"high": 1, "cheap": 1, "odd": 1, "more": 1}).test(BALL, TASK.wish(), 0)


def test_the_judge_gets_the_wants_and_all_chance_from_the_seed() -> None:
    task = Tower()
    drawn = [task.test(BALL, task.wish({"floors": 5}), seed).facts["drawn"] for seed in (0, 0, 1, 2**31 - 1)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3
    assert task.asked == [{"floors": 5, "only": 7}] * 4


def test_a_task_must_say_how_it_is_judged() -> None:
    with pytest.raises(TypeError, match="judge"):
        Task()  # type: ignore[abstract]
