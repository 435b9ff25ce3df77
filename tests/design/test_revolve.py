"""Bodies of revolution: volumes and inertia by hand, walls as thick as asked, and meshes that close."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from tenfold.design.revolve import SEGMENTS, Profile, Revolved, RevolvedProfile

SPACE = RevolvedProfile()
POLYGON = SEGMENTS / (2 * math.pi) * math.sin(2 * math.pi / SEGMENTS)
"""area of the polygon, to that of its circle"""
NOTHING = 1e-7
"""radius of a hollow that is none"""


def turned(outer: list[float], inner: list[float], *, height: float = 0.1, floor: float = 0.004) -> Revolved:
    """Knots evenly from the ground to the height."""
    heights = np.linspace(0, height, len(outer))
    return Revolved(Profile(heights, np.array(outer), np.array(inner), floor))


def drawn(count: int, seed: int, *, extreme: bool = False) -> NDArray[np.float64]:
    steps = np.random.default_rng(seed).uniform(-1, 1, (count, 3))
    return np.sign(steps) if extreme else steps


def mesh_of(solid: Revolved) -> trimesh.Trimesh:
    surface = solid.surface()
    return trimesh.Trimesh(surface.vertices, surface.faces, process=False)


# volumes and inertia by hand


@pytest.mark.parametrize(("radius", "height", "wall", "floor"), [(0.04, 0.1, 0.003, 0.005), (0.03, 0.2, 0.01, 0.08)])
@pytest.mark.parametrize("knots", [2, 3, 9])
def test_a_cylinder_holds_and_weighs_what_the_formula_says(
    radius: float, height: float, wall: float, floor: float, knots: int
) -> None:
    solid = turned([radius] * knots, [radius - wall] * knots, height=height, floor=floor)
    hollow = math.pi * (radius - wall) ** 2 * (height - floor)
    assert solid.capacity() == pytest.approx(hollow, rel=1e-9)
    assert solid.bulk().volume == pytest.approx(math.pi * radius**2 * height - hollow, rel=1e-9)
    middle = (math.pi * radius**2 * height**2 / 2 - hollow * (height + floor) / 2) / solid.bulk().volume
    assert solid.bulk().centre == pytest.approx([0, 0, middle], rel=1e-9)
    assert mesh_of(solid).volume == pytest.approx(POLYGON * solid.bulk().volume, rel=1e-9)


@pytest.mark.parametrize(("low", "high"), [(0.02, 0.05), (0.05, 0.02), (0.03, 0.03)])
def test_a_frustum_holds_what_the_formula_says(low: float, high: float) -> None:
    solid = turned([low + 0.01, high + 0.01], [low, high], height=0.12, floor=0.0)
    volume = math.pi * 0.12 / 3 * (low**2 + low * high + high**2)
    around = math.pi * 0.12 / 3 * ((low + 0.01) ** 2 + (low + 0.01) * (high + 0.01) + (high + 0.01) ** 2)
    assert solid.capacity() == pytest.approx(volume, rel=1e-9)
    assert solid.bulk().volume == pytest.approx(around - volume, rel=1e-9)


def test_the_hollow_of_a_cone_begins_at_its_floor() -> None:
    solid = turned([0.03, 0.06], [0.02, 0.05], height=0.09, floor=0.03)
    assert solid.capacity() == pytest.approx(math.pi * 0.06 / 3 * (0.03**2 + 0.03 * 0.05 + 0.05**2), rel=1e-9)


@pytest.mark.parametrize(("radius", "height"), [(0.04, 0.1), (0.1, 0.01), (0.01, 0.3)])
def test_a_full_cylinder_turns_as_the_formula_says(radius: float, height: float) -> None:
    bulk = turned([radius] * 4, [NOTHING] * 4, height=height).bulk()
    across = bulk.volume * (3 * radius**2 + height**2) / 12
    wanted = np.diag([across, across, bulk.volume * radius**2 / 2])
    assert bulk.inertia == pytest.approx(wanted, rel=1e-6)
    assert bulk.centre == pytest.approx([0, 0, height / 2], rel=1e-6)


def test_a_full_cone_turns_as_the_formula_says() -> None:
    bulk = turned([0.05, NOTHING], [NOTHING, NOTHING / 10], height=0.2).bulk()
    across = bulk.volume * (0.15 * 0.05**2 + 0.0375 * 0.2**2)
    assert bulk.volume == pytest.approx(math.pi * 0.05**2 * 0.2 / 3, rel=1e-4)
    assert bulk.centre[2] == pytest.approx(0.05, rel=1e-4)
    assert bulk.inertia == pytest.approx(np.diag([across, across, 0.3 * bulk.volume * 0.05**2]), rel=1e-4)


@pytest.mark.parametrize("thin", [1e-5, 0.02])
def test_a_tube_turns_as_the_formula_says(thin: float) -> None:
    radius, height = 0.04, 0.1
    bulk = turned([radius] * 2, [radius - thin] * 2, height=height, floor=0.0).bulk()
    squares = radius**2 + (radius - thin) ** 2
    across = bulk.volume * (3 * squares + height**2) / 12
    assert bulk.inertia == pytest.approx(np.diag([across, across, bulk.volume * squares / 2]), rel=1e-9)
    if thin < 1e-4:
        assert bulk.inertia[2, 2] == pytest.approx(bulk.volume * radius**2, rel=1e-3)
        assert bulk.volume == pytest.approx(2 * math.pi * radius * thin * height, rel=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_a_mesh_of_any_design_is_as_heavy_and_turns_as_its_bulk(seed: int) -> None:
    solid = SPACE.build(drawn(8, seed))
    bulk, mesh = solid.bulk(), mesh_of(solid)
    assert mesh.center_mass == pytest.approx(bulk.centre, abs=1e-9)
    assert mesh.moment_inertia == pytest.approx(bulk.inertia, rel=0.003, abs=1e-12)


# walls


def apart(point: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]) -> float:
    """From a point to a straight line between two others."""
    along = np.clip((point - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
    return float(np.linalg.norm(point - start - along * (end - start)))


@pytest.mark.parametrize("lean", [-1.0, -0.5, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("wall", [-1.0, 0.0, 1.0])
def test_a_wall_that_leans_evenly_is_as_thick_as_asked(lean: float, wall: float) -> None:
    steps = np.array([[1.0 if lean < 0 else -1.0, 0, wall], *[[-1.0, lean, wall]] * 4])
    profile = SPACE.build(steps).profile
    asked = {-1: 0.0012, 0: 0.0036, 1: 0.0060}[int(wall)]
    outer, inner = (np.stack([radii, profile.heights], 1) for radii in (profile.outer, profile.inner))
    assert np.diff(profile.outer) == pytest.approx(np.diff(profile.heights) * lean * SPACE.LEAN[1], abs=1e-9)
    assert apart(inner[2], outer[0], outer[-1]) == pytest.approx(asked, rel=1e-9)


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_no_wall_is_thinner_than_asked_when_measured_across(seed: int, extreme: bool) -> None:
    steps = drawn(8, seed, extreme=extreme)
    profile = SPACE.build(steps).profile
    asked = np.interp(steps[:, 2], [-1, 1], [0.0012, 0.0060])
    least = np.minimum(asked[1:], asked[:-1])  # of the wall from knot to knot
    outside, inside = (
        list(pairwise(np.stack([radii, profile.heights], 1))) for radii in (profile.outer, profile.inner)
    )
    for one, out in zip(least, outside, strict=True):
        for other, within in zip(least, inside, strict=True):
            found = min([apart(end, *within) for end in out] + [apart(end, *out) for end in within])
            assert found >= min(one, other) * (1 - 1e-9)


# what is built


@pytest.mark.parametrize("count", range(1, SPACE.steps + 1))
def test_every_list_of_steps_builds_a_closed_mesh(count: int) -> None:
    for seed in range(12):
        solid = SPACE.build(drawn(count, seed, extreme=seed % 3 == 0))
        mesh = mesh_of(solid)
        assert mesh.is_watertight
        assert mesh.is_winding_consistent
        assert mesh.euler_number == 2
        assert mesh.body_count == 1
        assert mesh.volume == pytest.approx(solid.bulk().volume, rel=0.01)
        assert mesh.volume == pytest.approx(POLYGON * solid.bulk().volume, rel=1e-8)
        assert mesh.bounds[0, 2] == 0
        assert mesh.bounds[1, 2] == solid.profile.heights[-1]


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("count", [1, 2, 8])
def test_the_least_the_middle_and_the_most_are_vessels(value: float, count: int) -> None:
    solid = SPACE.build(np.full((count, 3), value))
    profile, bulk = solid.profile, solid.bulk()
    assert (np.diff(profile.heights) > 0).all()
    assert (profile.outer > profile.inner).all()
    assert (profile.inner > 0).all()
    assert 0 < profile.floor < profile.heights[-1]
    assert solid.capacity() > 0
    assert bulk.volume > 0
    assert 0 < bulk.centre[2] < profile.heights[-1]
    assert (np.linalg.eigvalsh(bulk.inertia) > 0).all()


def test_the_first_step_is_the_foot_and_the_others_are_rings() -> None:
    profile = SPACE.build(np.array([[1.0, -1.0, 0.0], [1.0, 0.0, 0.0], [-1.0, -1.0, 0.0]])).profile
    assert profile.heights == pytest.approx([0, 0.026, 0.032])
    assert profile.outer == pytest.approx([0.05, 0.05, 0.0458])
    assert profile.floor == pytest.approx(0.002)


@pytest.mark.parametrize(("lean", "most"), [(1.0, 0.070), (-1.0, 0.015)])
def test_no_ring_leaves_the_range_of_radii(lean: float, most: float) -> None:
    profile = SPACE.build(np.array([[0.0, 0.0, 0.0], *[[1.0, lean, 0.0]] * 7])).profile
    assert profile.outer[-1] == pytest.approx(most)
    assert (np.abs(np.diff(profile.outer)) <= np.diff(profile.heights) + 1e-12).all()


def test_a_step_more_leaves_what_there_was_in_place() -> None:
    steps = drawn(8, 3)
    for count in range(2, 8):
        less, more = SPACE.build(steps[:count]).profile, SPACE.build(steps[: count + 1]).profile
        assert np.array_equal(less.heights, more.heights[:-1])
        assert np.array_equal(less.outer, more.outer[:-1])


def test_what_it_stands_on_is_its_own_foot() -> None:
    for seed in range(5):
        solid = SPACE.build(drawn(8, seed))
        parts = solid.parts()
        lows = [part.at[2] - part.size[1] for part in parts]
        assert lows[0] == pytest.approx(0, abs=1e-12)
        assert min(lows) >= -1e-12
        assert max(part.at[2] + part.size[1] for part in parts) == pytest.approx(solid.profile.heights[-1])
        assert [part.size[0] for part in parts] == solid.profile.outer.tolist()


def test_steps_are_told_in_millimetres() -> None:
    steps = np.array([[1.0, -1.0, 0.0], [1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]])
    told = [SPACE.describe(steps[:count]) for count in (1, 2, 3)]
    assert told == [
        "a foot 100 mm across, its bottom 2.0 mm thick",
        "raise the wall by 26 mm, out by 18 mm to 136 mm across, 1.2 mm thick",
        "raise the wall by 6 mm, in by 4 mm to 128 mm across, 6.0 mm thick",
    ]
