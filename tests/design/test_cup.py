"""Cups: what they hold, how they stand, and that every one gets a score."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tenfold.design.assembly import Assembly
from tenfold.design.cup import CARRIED, LEVELS, Cup, pinch_force
from tenfold.design.revolve import Profile, Revolved
from tenfold.design.solid import PLASTIC, Part
from tenfold.design.task import Verdict

CUP = Cup()


def cup(*outer: float, height: float = 0.1, wall: float = 0.003, floor: float = 0.004) -> Revolved:
    """Radii evenly from the ground to the rim, metres."""
    heights, radii = np.linspace(0, height, len(outer)), np.array(outer)
    return Revolved(Profile(heights, radii, radii - wall, floor))


WIDE = cup(0.035, 0.035, 0.035)
NARROW = cup(0.015, 0.015, 0.035, 0.035, 0.035, 0.035)


def judged(solid: Revolved, seed: int = 0, **wants: float) -> Verdict:
    return CUP.test(solid, CUP.wish(wants), seed)


def drawn(seed: int) -> Revolved:
    return CUP.space.build(np.random.default_rng(seed).uniform(-1, 1, (8, 3)))


def well_formed(verdict: Verdict) -> bool:
    """A score in [0, 1] for every goal, and facts that are numbers."""
    fair = all(0 <= score <= 1 for score in verdict.scores.values())
    return fair and len(verdict.scores) == 5 and all(math.isfinite(fact) for fact in verdict.facts.values())


# facts by hand


def test_it_is_measured_as_by_hand() -> None:
    facts = judged(WIDE).facts
    hollow, whole = math.pi * 0.032**2 * 0.096, math.pi * 0.035**2 * 0.1
    assert facts["capacity_ml"] == pytest.approx(1e6 * hollow, rel=1e-6)
    assert facts["mass_g"] == pytest.approx(1e3 * 1240 * (whole - hollow), rel=1e-6)
    assert facts["height_mm"] == pytest.approx(100)
    assert judged(WIDE).scores["light"] == pytest.approx(0.5 ** (facts["mass_g"] / 120))


@pytest.mark.parametrize("asked", [100.0, 250.0, 450.0])
def test_what_is_kept_is_at_most_what_was_poured_and_what_fits(asked: float) -> None:
    for solid in (WIDE, NARROW, cup(0.02, 0.02, height=0.04), *map(drawn, range(6))):
        found = judged(solid, hold_ml=asked)
        assert found.facts["kept_ml"] <= min(asked, found.facts["capacity_ml"]) * (1 + 1e-9)
        assert found.scores["hold"] == pytest.approx(found.facts["kept_ml"] / asked)


def test_a_cup_that_is_too_small_holds_a_part_of_what_is_wanted() -> None:
    small = cup(0.02, 0.02, height=0.04)
    capacity = math.pi * 0.017**2 * 0.036 * 1e6
    for asked in (100.0, 400.0):
        found = judged(small, hold_ml=asked)
        assert 0 < found.scores["hold"] <= capacity / asked


def test_a_low_wide_bowl_stands_and_a_tall_one_keeps_all_of_a_sip() -> None:
    low, tall = judged(cup(0.06, 0.06, height=0.05)), judged(cup(0.04, 0.04, height=0.13), hold_ml=100)
    assert low.facts["stands_g"] > 0.6
    assert low.scores["stand"] > 0.8
    assert tall.scores["hold"] == 1


def test_a_fuller_cup_spills_more() -> None:
    spilt = []
    for asked in (150.0, 250.0, 300.0):
        found = judged(WIDE, hold_ml=asked)
        assert found.facts["capacity_ml"] > asked
        spilt.append(asked - found.facts["kept_ml"])
    assert spilt[0] < 1e-6
    assert spilt[0] < spilt[1] < spilt[2]


# standing


@pytest.mark.parametrize("seed", range(4))
def test_a_narrow_foot_stands_less_than_a_wide_one(seed: int) -> None:
    narrow, wide = judged(NARROW, seed), judged(WIDE, seed)
    assert narrow.facts["mass_g"] == pytest.approx(wide.facts["mass_g"], rel=0.35)
    assert narrow.facts["stands_g"] < wide.facts["stands_g"] / 1.5
    assert narrow.scores["stand"] < wide.scores["stand"]


def test_wider_feet_stand_no_less() -> None:
    stood = [judged(cup(foot, foot, 0.035, 0.035, 0.035), 1).facts["stands_g"] for foot in (0.012, 0.018, 0.025, 0.035)]
    assert stood == sorted(stood)
    assert stood[0] < stood[-1] / 2


def test_a_tall_cup_falls_where_statics_says() -> None:
    """Empty but for little; its half width to the height of its centre is what it stands in g, and a short shove a little more."""
    solid = cup(0.02, 0.02, height=0.2, wall=0.006)
    found = judged(solid, 0, hold_ml=100)
    ratio = 0.02 / float(solid.bulk().centre[2])
    assert 0.8 * ratio - LEVELS[0] <= found.facts["stands_g"] <= 2.5 * ratio


def test_a_cup_that_falls_while_it_is_carried_has_spilled_all() -> None:
    found = judged(cup(0.015, 0.015, height=0.25))
    assert found.facts["stands_g"] < LEVELS[CARRIED - 1]
    assert (found.scores["hold"], found.facts["kept_ml"]) == (0, 0)


@pytest.mark.parametrize("seed", range(6))
def test_none_stands_more_than_the_hardest_shove(seed: int) -> None:
    assert judged(cup(0.06, 0.06, height=0.04), seed).facts["stands_g"] <= LEVELS[-1] * 1.15


@pytest.mark.parametrize("foot", [0.015, 0.02, 0.035])
def test_standing_is_a_share_of_the_hardest_shove_as_the_goal_says(foot: float) -> None:
    assert "share of 0.9 g" in next(goal.about for goal in CUP.goals if goal.name == "stand")
    found = judged(cup(foot, foot, 0.035, 0.035, 0.035), 1)
    assert found.scores["stand"] == pytest.approx(min(1.0, found.facts["stands_g"] / LEVELS[-1]), abs=1e-6)


# light and handy


def test_a_heavier_cup_is_less_light() -> None:
    found = [judged(cup(0.035, 0.035, wall=wall)) for wall in (0.0015, 0.003, 0.006)]
    masses = [each.facts["mass_g"] for each in found]
    assert masses == sorted(masses)
    light = [each.scores["light"] for each in found]
    assert 1 > light[0] > light[1] > light[2] > 0


@pytest.mark.parametrize(
    ("radius", "handy"), [(0.035, 1.0), (0.0425, 1.0), (0.045, 0.8), (0.055, 0.0), (0.07, 0.0), (0.02, 0.2 * 0.04)]
)
def test_a_hand_and_a_mouth_have_their_sizes(radius: float, handy: float) -> None:
    assert judged(cup(radius, radius, wall=0.002)).scores["handy"] == pytest.approx(handy, abs=1e-6)


def test_a_narrow_rim_is_less_handy() -> None:
    """The lip is 25 mm in radius: 10 of the 25 mm too small; the middle is as wanted."""
    heights, outer = np.array([0.0, 0.07, 0.1]), np.array([0.035, 0.035, 0.027])
    solid = Revolved(Profile(heights, outer, outer - 0.002, 0.004))
    assert judged(solid).scores["handy"] == pytest.approx(0.6, abs=1e-6)


# repeats, and every design


def test_the_same_seed_gives_the_same_verdict() -> None:
    for seed in range(4):
        solid = drawn(seed)
        one, other = judged(solid, seed), Cup().test(drawn(seed), Cup().wish(), seed)
        assert one == other
    assert len({judged(drawn(2), seed).facts["stands_g"] for seed in range(5)}) > 1


def test_what_was_judged_before_leaves_no_trace() -> None:
    first = judged(WIDE, 5)
    judged(NARROW, 1)
    assert judged(WIDE, 5) == first


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("count", range(1, 9))
def test_the_least_the_middle_and_the_most_are_judged(value: float, count: int) -> None:
    solid = CUP.space.build(np.full((count, 3), value))
    for asked in (100.0, 450.0):
        assert well_formed(judged(solid, hold_ml=asked))


@pytest.mark.slow
def test_two_hundred_cups_have_scores_and_they_differ() -> None:
    scores = []
    for seed in range(200):
        found = judged(drawn(seed), seed)
        assert well_formed(found)
        scores.append([found.scores[goal.name] for goal in CUP.goals])
    assert np.std(scores, axis=0).min() > 0.05


def test_what_is_not_turned_is_no_cup() -> None:
    with pytest.raises(AssertionError):
        CUP.test(Assembly([Part("sphere", (0.1,), (0.0, 0.0, 0.1))]), CUP.wish(), 0)


# firm


def test_a_pinch_is_that_of_a_thin_ring() -> None:
    pinch = pinch_force(WIDE.profile, PLASTIC)
    radius, wall, high = 0.0335, 0.003, 0.1 / 3
    assert pinch == pytest.approx(0.001 * 2.3e9 * high * wall**3 / 12 / (0.149 * radius**3), rel=1e-6)
    assert judged(WIDE).scores["firm"] == pytest.approx(pinch / (pinch + 20))


def test_a_wall_of_twice_the_thickness_bears_about_eight_times_the_pinch() -> None:
    thin, thick = (pinch_force(cup(0.035, 0.035, wall=wall).profile, PLASTIC) for wall in (0.0015, 0.003))
    assert thick / thin == pytest.approx(8, rel=0.1)
