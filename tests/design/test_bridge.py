"""The bridge: what the engine makes of bars against what is calculated by hand, and what breaks when."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tenfold.design.bridge import Bridge, Rig, clearance
from tenfold.design.solid import PLASTIC
from tenfold.design.truss import SPAN, TrussBridge

HEIGHT = 0.06
SLOPE = math.hypot(SPAN / 2, HEIGHT)


def king_post(strut: float, tie: float = 0.004, post: float = 0.004) -> TrussBridge:
    """Two struts from the supports to an apex, from which a post holds the middle of the deck."""
    return TrussBridge(
        np.array([(-SPAN / 2, 0), (SPAN / 2, 0), (0, 0), (0, HEIGHT)]),
        np.array([(0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]),
        np.array([tie, tie, strut, strut, post]),
        (0, 2, 1),
    )


def truss(*rows: tuple[float, ...]) -> np.ndarray:
    out = np.zeros((len(rows), 4))
    for number, row in enumerate(rows):
        out[number, : len(row)] = row
    return out


def test_forces_in_a_king_post_are_those_of_the_hand():
    rig = Rig(king_post(0.008), PLASTIC)
    rig.load(0.0, 4.0)
    assert rig.settle(100)
    tie, strut = 2 * SPAN / 2 / HEIGHT, -2 * SLOPE / HEIGHT
    assert rig.forces() == pytest.approx([tie, tie, strut, strut, 4.0], rel=0.02)


def test_a_bar_grows_longer_by_what_is_calculated():
    rig = Rig(king_post(0.008), PLASTIC)
    rig.load(0.0, 4.0)
    assert rig.settle(100)
    stretched = float(rig.data.ten_length[4]) - HEIGHT
    assert stretched == pytest.approx(4.0 * HEIGHT / (PLASTIC.stiffness * math.pi / 4 * 0.004**2), rel=0.02)


@pytest.mark.parametrize(("strut", "buckles"), [(0.003, True), (0.005, True), (0.006, True), (0.02, False)])
def test_slender_bars_buckle_and_stocky_ones_are_crushed(strut, buckles):
    rig = Rig(king_post(strut, tie=0.04, post=0.04), PLASTIC)
    euler = math.pi**2 * PLASTIC.stiffness * math.pi / 64 * strut**4 / SLOPE**2
    crushed = PLASTIC.strength * math.pi / 4 * strut**2
    assert (euler < crushed) == buckles
    expected = 2 * min(euler, crushed) * HEIGHT / SLOPE
    borne, _, _ = rig.bears(0.0, expected)
    assert borne == pytest.approx(expected, rel=0.03)


def test_the_thinner_the_earlier_it_falls_and_the_more_it_sags():
    found = [Rig(king_post(0.01, tie, tie), PLASTIC).bears(0.0, 400.0) for tie in (0.003, 0.004, 0.005, 0.006)]
    assert np.all(np.diff([borne for borne, _, _ in found]) > 0)
    assert np.all(np.diff([sag for _, sag, _ in found]) < 0)


def test_a_deck_alone_is_a_chain_and_falls():
    task = Bridge()
    verdict = task.test(task.space.build(truss((1, 1))), task.wish(), 0)
    assert set(verdict.scores.values()) == {0.0}


def test_same_seed_same_verdict_and_every_design_can_be_judged():
    task, random = Bridge(), np.random.default_rng(0)
    designs = [np.full((7, 4), value) for value in (-1.0, 0.0, 1.0)]
    designs += [random.uniform(-1, 1, (7, 4)) for _ in range(6)]
    designs += [random.choice([-1.0, 1.0], (7, 4)) for _ in range(6)]
    for design in designs:
        first, second = (task.test(task.space.build(design), task.wish(), 3) for _ in range(2))
        assert first == second
        assert np.isfinite([*first.scores.values(), *first.facts.values()]).all()


def test_a_bridge_is_its_own_mirror_image():
    random = np.random.default_rng(1)
    for _ in range(10):
        bridge = Bridge.space.build(random.uniform(-1, 1, (7, 4)))
        places = {tuple(place) for place in bridge.joints.round(9) + 0.0}
        assert places == {tuple(place) for place in (bridge.joints * (-1, 1)).round(9) + 0.0}


def test_volume_is_that_of_its_pieces():
    bridge = Bridge.space.build(np.random.default_rng(2).uniform(-1, 1, (7, 4)))
    assert bridge.volume == pytest.approx(bridge.bulk().volume)


def test_surface_is_one_closed_body_on_the_ground():
    trimesh = pytest.importorskip("trimesh")
    bridge = Bridge.space.build(truss((0, 1), (0.2, 0.8, 0, 0.9)))
    surface = bridge.surface()
    mesh = trimesh.Trimesh(surface.vertices, surface.faces, process=False)
    assert mesh.is_watertight
    assert mesh.body_count == 1
    assert 0.5 * bridge.volume < mesh.volume < bridge.volume
    assert surface.vertices[:, 2].min() == pytest.approx(0, abs=1e-4)


def test_what_is_below_the_deck_takes_from_the_clearance():
    above, below = (Bridge.space.build(truss((0, 0), (0, z, 0, 0.9))) for z in (1, -1))
    assert clearance(above) == pytest.approx(1)
    assert 0.2 < clearance(below) < 0.7


def test_steps_say_what_became_of_them():
    space = Bridge.space
    steps = truss((0, 0), (0, 1, 0, -1), (0, -0.2, 0, 0), (0, -0.2, 0, 1))
    said = [space.describe(steps[: count + 1]) for count in range(4)]
    assert said[0].startswith("deck")
    assert "left out" in said[1]
    assert "moved off the deck" in said[2]
    assert "too near" in said[3]
