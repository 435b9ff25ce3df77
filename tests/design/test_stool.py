"""Stools: what can be worked out by hand comes out of the engine, and what is built can be made."""

import math
from typing import Any

import numpy as np
import pytest

from tenfold.design.furniture import Board, Leg, LeggedSeat, Seating
from tenfold.design.physics import GRAVITY, Scene, set_inertia
from tenfold.design.solid import WOOD
from tenfold.design.stool import CHEST, SitTest, Stool, free_length, hang_leg
from tenfold.design.task import Verdict


def stool(
    count: int = 3,
    *,
    out: float = 0.05,
    thick: float = 0.03,
    joined: float = 0.12,
    height: float = 0.45,
    board: float = 0.03,
) -> Seating:
    """Legs evenly around, each as thick and as far out at the foot, in metres."""
    legs = []
    for at in range(count):
        way = np.array([math.cos(2 * math.pi * at / count), math.sin(2 * math.pi * at / count), 0.0])
        top = joined * way + [0, 0, height - board / 2]
        slant = math.atan2(out, height - board / 2)
        legs.append(Leg(top, (joined + out) * way + [0, 0, thick / 2 * math.sin(slant)], thick / 2))
    return Seating(Board(0.165, board, height), legs)


def judged(solid: Seating, seed: int = 0, **wants: float) -> Verdict:
    task = Stool()
    return task.test(solid, task.wish(wants), seed)


@pytest.mark.parametrize("thick", [0.02, 0.03, 0.05])
def test_a_leg_bends_as_a_cantilever_does(thick: float) -> None:
    leg = Leg(np.array([0.0, 0.0, 1.4]), np.array([0.0, 0.0, 1.0]), thick / 2)
    scene = Scene(timestep=0.005)
    held = scene.spec.worldbody.add_body(name="held")
    set_inertia(held, 1.0, np.zeros(3), np.eye(3))
    hang_leg(held, "leg", leg, 1.39, WOOD).add_site(name="foot", pos=[0.0, 0.0, -0.39])
    scene.start()
    body = scene.model.body("leg").id
    length, force = free_length(leg, 1.39), 30.0
    assert length == pytest.approx(0.39)
    # at the middle of the leg, where the engine takes it, with the moment that makes it a force at the foot
    scene.data.xfrc_applied[body] = [force, 0, 0, 0, -force * length / 2, 0]
    scene.run(2.0)
    expected = force * length**3 / (3 * WOOD.stiffness * math.pi * thick**4 / 64)
    assert scene.data.site("foot").xpos[0] == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("count", [3, 4, 5])
def test_a_stiff_stool_tips_where_its_weight_says(count: int) -> None:
    solid = stool(count, thick=0.04, board=0.04)
    test = SitTest(solid, 80.0, WOOD)
    settled = test.sit(0.3)
    way = np.array([math.cos(math.pi / count), math.sin(math.pi / count)])
    inner = 0.17 * math.cos(math.pi / count)
    pushed = test.pushed(way[None], test.state(), settled)
    assert pushed == pytest.approx(test.mass * GRAVITY * inner / (0.45 + CHEST), rel=0.08)


def test_all_of_the_weight_is_on_the_legs() -> None:
    test = SitTest(stool(4, out=0.0), 80.0, WOOD)
    pressed = -test.sit(1.0)[16:28].reshape(4, 3)[:, 2]
    seat = WOOD.density * math.pi * 0.165**2 * 0.03
    assert (pressed > 0).all()
    assert pressed.sum() == pytest.approx((80 + seat) * GRAVITY, rel=0.02)


def test_wide_feet_bear_a_larger_push() -> None:
    found = [judged(stool(out=out)).facts["push_n"] for out in (0.0, 0.05, 0.1)]
    assert found[0] * 1.2 < found[1] < found[2] / 1.2


def test_thin_legs_fail_before_thick_ones() -> None:
    found = [judged(stool(out=0.12, thick=thick), load_kg=120.0) for thick in (0.012, 0.018, 0.03)]
    use = [each.facts["utilisation"] for each in found]
    assert use[0] > 1 > use[2]
    assert use[0] > use[1] > use[2]
    assert found[0].scores["carry"] < 0.7
    assert found[2].scores["carry"] == 1


def test_a_thin_seat_fails() -> None:
    use = [judged(stool(board=board)).facts["utilisation"] for board in (0.01, 0.02, 0.04)]
    assert use[0] > 1 > use[2]
    assert use[0] > use[1] > use[2]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_what_cannot_stand_carries_nobody(count: int) -> None:
    low = LeggedSeat().build(np.full((8, 4), -1.0)) if count == 0 else stool(count)
    found = judged(low)
    assert found.scores["carry"] < 0.6
    assert found.scores["stand"] < 0.15


def test_the_seat_is_as_high_as_wanted() -> None:
    assert judged(stool(height=0.45)).scores["height"] > 0.98
    assert judged(stool(height=0.45), seat_mm=550.0).scores["height"] == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize("seed", range(6))
def test_anything_can_be_built_and_judged(
    seed: int, recwarn: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    random, space = np.random.default_rng(seed), LeggedSeat()
    steps = random.uniform(-1, 1, (8, 4)) if seed > 2 else np.full((8, 4), float(seed - 1))
    for taken in range(1, 9):
        assert space.describe(steps[:taken])
    solid = space.build(steps)
    lowest = solid.surface().vertices[:, 2].min()
    assert lowest == pytest.approx(0, abs=1e-4)
    one, two = judged(solid, seed), judged(space.build(steps), seed)
    assert one == two
    assert all(0 <= score <= 1 for score in one.scores.values())
    assert all(math.isfinite(fact) for fact in one.facts.values())
    assert not list(tmp_path.iterdir())


def test_the_surface_is_one_closed_body() -> None:
    trimesh = pytest.importorskip("trimesh")
    for seed in range(20):
        surface = LeggedSeat().build(np.random.default_rng(seed).uniform(-1, 1, (8, 4))).surface()
        mesh = trimesh.Trimesh(surface.vertices, surface.faces)
        assert mesh.is_watertight
        assert mesh.body_count == 1


def test_legs_keep_clear_of_each_other() -> None:
    steps = np.zeros((8, 4))
    solid = LeggedSeat().build(steps)
    assert 1 < len(solid.legs) < 5
    assert "turned" in LeggedSeat().describe(steps[:3])
    assert "left out" in LeggedSeat().describe(steps[:6])


def test_noise_between_seeds_is_small() -> None:
    task = Stool()
    wish = task.wish()
    scores = [wish.score(task.test(stool(4, thick=0.028), wish, seed).scores) for seed in range(8)]
    assert np.std(scores) < 0.02
