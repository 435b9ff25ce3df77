"""Liquid in a hollow: volumes upright and leaning against closed forms, and a pendulum that swings as liquid does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tenfold.design.liquid import DENSITY, SWING, Hollow, Slosh, lean_of
from tenfold.design.physics import GRAVITY, Scene, set_inertia
from tenfold.design.revolve import Profile, RevolvedProfile

FIRST = 1.8412
"""zero of the derivative of J1, from a table"""


def vessel(low: float, high: float, height: float, *, floor: float = 0.01) -> Profile:
    """A frustum whose hollow begins at the floor; `height` is the hollow's."""
    slope = (high - low) / height
    inner = np.array([low - slope * floor, high])
    return Profile(np.array([0.0, height + floor]), inner + 0.003, inner, floor)


def cylinder(radius: float, height: float) -> Hollow:
    return Hollow(vessel(radius, radius, height))


def drawn(seed: int) -> Profile:
    return RevolvedProfile().build(np.random.default_rng(seed).uniform(-1, 1, (8, 3))).profile


# upright


@pytest.mark.parametrize(("radius", "height"), [(0.035, 0.1), (0.02, 0.3), (0.1, 0.02)])
def test_a_cylinder_holds_what_the_formula_says(radius: float, height: float) -> None:
    hollow = cylinder(radius, height)
    assert hollow.capacity == pytest.approx(math.pi * radius**2 * height, rel=1e-9)
    assert (hollow.lip, hollow.floor, hollow.rim) == pytest.approx((radius, 0.01, height + 0.01))


@pytest.mark.parametrize(("low", "high"), [(0.02, 0.05), (0.05, 0.02)])
def test_a_frustum_holds_what_the_formula_says(low: float, high: float) -> None:
    hollow = Hollow(vessel(low, high, 0.1))
    assert hollow.capacity == pytest.approx(math.pi * 0.1 / 3 * (low**2 + low * high + high**2), rel=1e-3)
    assert hollow.lip == pytest.approx(high)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.37, 0.5, 0.99, 1.0])
def test_half_as_much_stands_half_as_high_in_a_cylinder(share: float) -> None:
    hollow = cylinder(0.04, 0.12)
    level = hollow.level(share * hollow.capacity)
    assert level == pytest.approx(0.01 + share * 0.12)
    assert hollow.radius(level) == pytest.approx(0.04)
    if share > 0:
        assert hollow.centre(level) == pytest.approx(0.01 + share * 0.06, abs=0.001)


@pytest.mark.parametrize(("low", "high"), [(0.02, 0.05), (0.05, 0.02)])
@pytest.mark.parametrize("height", [0.03, 0.05, 0.08])
def test_a_level_is_that_of_its_volume(low: float, high: float, height: float) -> None:
    there = low + (high - low) * height / 0.1
    volume = math.pi * height / 3 * (low**2 + low * there + there**2)
    hollow = Hollow(vessel(low, high, 0.1))
    assert hollow.level(volume) - 0.01 == pytest.approx(height, rel=0.01)
    assert hollow.radius(hollow.level(volume)) == pytest.approx(there, rel=0.01)


def test_what_does_not_fit_stands_at_the_rim_and_none_on_the_floor() -> None:
    for seed in range(5):
        hollow = Hollow(drawn(seed))
        assert hollow.level(3 * hollow.capacity) == hollow.level(hollow.capacity) == hollow.rim
        assert hollow.level(0.0) == hollow.floor
        levels = [hollow.level(share * hollow.capacity) for share in np.linspace(0, 1, 20)]
        assert (np.diff(levels) > 0).all()
        centres = [hollow.centre(level) for level in levels[1:]]
        assert (np.diff(centres) > 0).all()
        assert hollow.floor < centres[0] < centres[-1] < hollow.rim


@pytest.mark.parametrize("seed", range(5))
def test_slices_hold_what_the_profile_holds(seed: int) -> None:
    profile = RevolvedProfile().build(np.random.default_rng(seed).uniform(-1, 1, (8, 3)))
    assert Hollow(profile.profile).capacity == pytest.approx(profile.capacity(), rel=0.003)


# leaning


@pytest.mark.parametrize(("radius", "height"), [(0.035, 0.1), (0.03, 0.3), (0.1, 0.05)])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_a_leaning_cylinder_keeps_what_the_formula_says(radius: float, height: float, share: float) -> None:
    """The surface goes through the lip and meets the wall above the floor."""
    tangent = share * height / (2 * radius)
    kept = cylinder(radius, height).held(math.atan(tangent))
    assert kept == pytest.approx(math.pi * radius**2 * (height - radius * tangent), rel=0.002)


def test_a_surface_through_the_middle_of_the_floor_keeps_two_thirds_of_a_square() -> None:
    """The hoof of Archimedes."""
    assert cylinder(0.04, 0.1).held(math.atan(0.1 / 0.04)) == pytest.approx(2 / 3 * 0.04**2 * 0.1, rel=0.002)


def test_a_cylinder_on_its_side_is_empty() -> None:
    hollow = cylinder(0.04, 0.1)
    for lean in (math.pi / 2, 2.0, math.pi):
        assert 0 <= hollow.held(lean) < 1e-3 * hollow.capacity


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("degrees", [10.0, 30.0, 60.0])
def test_what_a_leaning_vessel_keeps_is_what_lies_below_the_surface(seed: int, degrees: float) -> None:
    """Points thrown into the hollow, counted below the plane through the lip."""
    profile = drawn(seed)
    hollow = Hollow(profile)
    heights, radii = profile.cavity()
    widest, random = float(radii.max()), np.random.default_rng(seed)
    points = random.uniform([-widest, -widest, heights[0]], [widest, widest, heights[-1]], (200_000, 3))
    inside = np.hypot(points[:, 0], points[:, 1]) < np.interp(points[:, 2], heights, radii)
    below = points[:, 2] - heights[-1] < (points[:, 0] - radii[-1]) * math.tan(math.radians(degrees))
    wanted = (inside & below).mean() * 4 * widest**2 * (heights[-1] - heights[0])
    assert hollow.held(math.radians(degrees)) == pytest.approx(wanted, rel=0.02, abs=0.005 * hollow.capacity)


@pytest.mark.parametrize("seed", range(5))
def test_the_more_it_leans_the_less_it_keeps(seed: int) -> None:
    hollow = Hollow(drawn(seed))
    kept = [hollow.held(lean) for lean in np.linspace(0, math.pi / 2, 60)]
    assert kept[0] == hollow.capacity
    assert (np.diff(kept) <= 1e-15).all()
    assert min(kept) >= 0
    assert hollow.held(2e-6) == pytest.approx(hollow.capacity, rel=1e-3)


# the pendulum


def sloshing(radius: float, depth: float) -> Slosh:
    hollow = cylinder(radius, 2 * depth)
    return Slosh.of(hollow, hollow.capacity / 2)


@pytest.mark.parametrize(("radius", "depth"), [(0.03, 0.15), (0.05, 0.3)])
def test_deep_liquid_swings_by_its_width_alone(radius: float, depth: float) -> None:
    found = sloshing(radius, depth)
    assert found.length == pytest.approx(radius / FIRST, rel=1e-3)
    assert found.moving == pytest.approx(radius / (2.2 * depth), rel=1e-3)
    assert found.mass == pytest.approx(DENSITY * math.pi * radius**2 * depth)
    assert found.centre == pytest.approx(0.01 + depth / 2, rel=0.01)


def test_shallow_liquid_swings_as_a_long_wave() -> None:
    """With the speed sqrt(g h): its frequency is 1.841 sqrt(g h) / r."""
    radius, depth = 0.2, 0.005
    found = sloshing(radius, depth)
    assert math.sqrt(GRAVITY / found.length) == pytest.approx(FIRST * math.sqrt(GRAVITY * depth) / radius, rel=1e-3)
    assert found.moving == pytest.approx(FIRST / 2.2, rel=1e-3)


@pytest.mark.parametrize("share", [0.0, 1e-9, 1e-3, 0.5, 1.0, 5.0])
def test_any_amount_is_a_pendulum(share: float) -> None:
    for seed in range(4):
        hollow = Hollow(drawn(seed))
        found = Slosh.of(hollow, share * hollow.capacity)
        assert 0 < found.moving <= 0.95
        assert 0 < found.length < math.inf
        assert found.mass == pytest.approx(DENSITY * share * hollow.capacity)
        assert 0 <= found.centre <= hollow.rim


def hung(slosh: Slosh) -> Scene:
    """In a vessel that stands fast."""
    scene = Scene(timestep=0.001)
    held = scene.spec.worldbody.add_body(name="held", pos=[0, 0, 1.0])
    set_inertia(held, 1.0, np.zeros(3), np.eye(3))
    slosh.hang(held)
    scene.start()
    return scene


@pytest.mark.parametrize(("radius", "depth"), [(0.03, 0.15), (0.035, 0.05), (0.08, 0.02)])
@pytest.mark.parametrize("axis", [0, 1])
def test_it_swings_as_often_as_its_length_says_and_calms_down(radius: float, depth: float, axis: int) -> None:
    slosh = sloshing(radius, depth)
    scene = hung(slosh)
    scene.data.qpos[axis] = 0.1
    angles = []
    for _ in range(3000):
        scene.run(0.001)
        angles.append(float(scene.data.qpos[axis]))
    seen = np.array(angles)
    crossed = np.flatnonzero((seen[:-1] > 0) & (seen[1:] <= 0))
    period = (crossed[-1] - crossed[0]) * 0.001 / (len(crossed) - 1)
    assert 2 * math.pi / period == pytest.approx(math.sqrt(GRAVITY / slosh.length), rel=0.02)
    peaks = np.array([part.max() for part in np.split(seen, crossed + 1)[1:5]])
    assert peaks[1:] / peaks[:-1] == pytest.approx(np.full(3, math.exp(-2 * math.pi * 0.03)), rel=0.03)
    assert np.abs(seen[-200:]).max() < 0.05


@pytest.mark.parametrize("share", [0.1, 0.3, 0.7])
@pytest.mark.parametrize("way", [0.0, 90.0, 225.0])
def test_under_a_steady_push_the_surface_leans_as_a_level_does(share: float, way: float) -> None:
    scene = hung(sloshing(0.035, 0.08))
    push = share * GRAVITY
    shove = (push * math.cos(math.radians(way)), push * math.sin(math.radians(way)))
    seen = []
    for _ in range(1200):
        scene.run(0.01, shove=shove)
        seen.append(lean_of(scene.frame("sloshing"), scene.frame("held")))
    assert seen[-1] == pytest.approx(math.atan(share), rel=0.01)
    assert max(seen) > 1.5 * math.atan(share)  # at first it swings beyond
    normal = scene.frame("sloshing")[2::3]
    assert normal[:2] @ np.array(shove) > 0  # liquid stays behind: the surface rises there
    assert normal == pytest.approx(np.array([*shove, GRAVITY]) / math.hypot(push, GRAVITY), abs=0.01)


def test_it_swings_no_further_than_it_may() -> None:
    scene = hung(sloshing(0.035, 0.08))
    for _ in range(100):
        scene.run(0.02, shove=(20 * GRAVITY, 0.0))
        assert scene.sane
    assert math.degrees(lean_of(scene.frame("sloshing"), scene.frame("held"))) == pytest.approx(SWING, abs=3)


def test_liquid_adds_its_mass_where_it_is() -> None:
    slosh = sloshing(0.04, 0.06)
    scene = hung(slosh)
    masses, places = scene.model.body_mass[2:], scene.data.xipos[2:]
    assert masses.sum() == pytest.approx(slosh.mass)
    assert masses[1] / masses.sum() == pytest.approx(slosh.moving)
    assert places == pytest.approx(np.array([[0, 0, 1 + slosh.centre]] * 2))


def test_the_angle_between_a_surface_and_a_vessel() -> None:
    upright = np.eye(3).ravel()
    for angle in (0.0, 0.3, 1.5, math.pi):
        cosine, sine = math.cos(angle), math.sin(angle)
        leaning = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]).ravel()
        assert lean_of(leaning, upright) == pytest.approx(angle, abs=1e-7)
        assert lean_of(upright, leaning) == pytest.approx(angle, abs=1e-7)
        assert lean_of(leaning, leaning) == pytest.approx(0, abs=1e-7)
