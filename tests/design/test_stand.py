from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("mujoco")

from tenfold.design.stand import LONG, THICK, WIDE, Bench, Seat, Stand, StandBody, hidden_share

TASK = Stand()
WANTS = {"angle_deg": 60.0}


def easel() -> StandBody:
    """A wide wedge, made by hand: a seat with a lip, and a block behind the phone from which the phone's place is cut."""
    first = [0.2, -0.4, -0.8, -1.0, 1.0, 1.0, -1.0, -1.0]
    block = [1.0, 0.2, 0.5, -1.0, 0.7, -1.0, 0.6, 0.0]
    return TASK.space.build(np.array([first, block]))


def wedge(angle: float) -> StandBody:
    cells = np.zeros((20, 12, 18), dtype=bool)
    for x in range(20):
        cells[x, :, : max(1, min(18, x))] = True
    return StandBody(cells, 0.006, Seat(-0.01, 0.05, math.radians(angle)))


def test_a_plain_stand_holds_the_phone_about_where_it_was_put() -> None:
    verdict = TASK.test(easel(), TASK.wish(), 0)
    assert verdict.scores["hold"] > 0.5
    assert abs(verdict.facts["angle_deg"] - 60) < 10
    assert verdict.facts["mass_g"] == pytest.approx(1000 * 1240 * easel().bulk().volume)


def test_the_angle_counts_against_the_one_asked_for() -> None:
    solid = easel()
    scores = [TASK.judge(solid, {"angle_deg": wanted}, np.random.default_rng(0)).scores for wanted in (60.0, 40.0)]
    assert scores[0]["angle"] > 2 * scores[1]["angle"]
    assert scores[0]["hold"] == scores[1]["hold"]


def test_the_same_seed_gives_the_same_verdict_and_others_nearly() -> None:
    solid, wish = easel(), TASK.wish()
    assert TASK.test(solid, wish, 5) == TASK.test(solid, wish, 5)
    scores = [wish.score(TASK.test(solid, wish, seed).scores) for seed in range(10)]
    assert np.std(scores) < 0.02


def test_without_friction_the_phone_slides() -> None:
    slippery, rough = Bench(wedge(45), friction=1e-3), Bench(wedge(45), friction=1.0)
    for bench in (slippery, rough):
        bench.scene.run(0.6)
    assert slippery.lost(0.04, math.cos(0.3))
    assert not rough.lost(0.04, math.cos(0.3))


def test_no_cell_is_in_the_phones_way() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        solid = TASK.space.build(rng.uniform(-1, 1, (8, 8)))
        seat = solid.seat
        along, out = np.meshgrid(np.linspace(1e-4, LONG - 1e-4, 60), np.linspace(1e-4, THICK - 1e-4, 8))
        places = np.array([seat.x, seat.z]) + along[..., None] * seat.along + out[..., None] * seat.out
        index = np.floor((places - solid.corner[[0, 2]]) / solid.cell).astype(int).reshape(-1, 2)
        inside = ((index >= 0) & (index < (20, 18))).all(axis=1)
        assert not solid.cells.any(axis=1)[tuple(index[inside].T)].any()


def test_hidden_is_the_share_of_the_screen_behind_cells() -> None:
    cells = np.zeros((20, 12, 18), dtype=bool)
    cells[2, :, :5] = True  # a wall 30 mm high before a phone that stands upright
    end, axes = np.array([0.0, 0.0, 0.0]), np.eye(3)
    solid = StandBody(cells, 0.006, Seat(0.0, 0.0, math.pi / 2))
    assert hidden_share(solid, end, axes) == pytest.approx(0.03 / LONG, abs=0.021)
    cells[2, :6] = False
    assert hidden_share(solid, end, axes) == pytest.approx(0.03 / LONG / 2, abs=0.011)
    cells[:] = False
    cells[15] = True  # behind it
    assert hidden_share(solid, end, axes) == 0
    assert cells.shape[1] * 0.006 == pytest.approx(WIDE)


@pytest.mark.parametrize("number", [-1.0, 0.0, 1.0, None])
def test_every_design_is_judged(number: float | None) -> None:
    rng = np.random.default_rng(1)
    for count in range(1, 9):
        steps = rng.uniform(-1, 1, (count, 8)) if number is None else np.full((count, 8), number)
        verdict = TASK.test(TASK.space.build(steps), TASK.wish(), count)
        assert all(math.isfinite(value) for value in [*verdict.scores.values(), *verdict.facts.values()])
        assert TASK.space.describe(steps)
