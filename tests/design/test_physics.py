"""The engine against mechanics by hand: falling, tipping, sliding; and that it tells when it breaks down."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import mujoco
import numpy as np
import pytest

from tenfold.design.assembly import Assembly
from tenfold.design.physics import ENGINE, GRAVITY, Scene, in_engine, ring, set_inertia
from tenfold.design.revolve import RevolvedProfile
from tenfold.design.solid import PLASTIC, WOOD, Part


def box(width: float, height: float) -> Assembly:
    """On the ground, as deep as wide."""
    return Assembly([Part("box", (width / 2, width / 2, height / 2), (0.0, 0.0, height / 2))])


def standing(width: float, height: float, *, friction: float = 1.0) -> Scene:
    """A box of wood that has come to rest."""
    scene = Scene(friction=friction)
    scene.add(box(width, height), WOOD)
    scene.start()
    scene.run(0.3)
    return scene


# mechanics


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.5])
def test_what_is_free_falls(seconds: float) -> None:
    scene = Scene(timestep=0.0005)
    scene.add(box(0.1, 0.1), WOOD, at=(0.2, -0.1, 5.0))
    scene.start()
    scene.run(seconds)
    assert scene.place() == pytest.approx([0.2, -0.1, 5 - GRAVITY * seconds**2 / 2], abs=0.002)
    assert scene.data.qvel[2] == pytest.approx(-GRAVITY * seconds, rel=1e-6)
    assert scene.tilt() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("shove", [(3.0, 0.0), (0.0, -2.0), (1.5, 4.0)])
def test_the_floor_leaves_what_is_in_the_air_behind(shove: tuple[float, float]) -> None:
    scene = Scene(timestep=0.0005)
    scene.add(box(0.1, 0.1), WOOD, at=(0.0, 0.0, 5.0))
    scene.start()
    scene.run(0.4, shove=shove)
    assert scene.place()[:2] == pytest.approx(-0.08 * np.array(shove), abs=0.002)
    speed = scene.data.qvel[:2].copy()
    scene.run(0.2)  # and it does so no longer once the floor goes on evenly
    assert scene.data.qvel[:2] == pytest.approx(speed)


@pytest.mark.parametrize(("width", "height"), [(0.1, 0.3), (0.04, 0.1), (0.2, 0.5), (0.3, 0.4), (0.05, 0.08)])
@pytest.mark.parametrize("way", [0.0, 90.0, 180.0])
def test_a_box_tips_above_its_width_to_its_height_and_not_below(width: float, height: float, way: float) -> None:
    fallen = {}
    for share in (0.95, 1.05):
        scene = standing(width, height)
        push = share * GRAVITY * width / height
        for part in np.linspace(0, 1, 51)[1:]:  # slowly, so that nothing rocks
            shove = push * part * np.array([math.cos(math.radians(way)), math.sin(math.radians(way))])
            scene.run(0.02, shove=(float(shove[0]), float(shove[1])))
        scene.run(1.0, shove=(float(shove[0]), float(shove[1])))
        fallen[share] = scene.tilt()
        assert scene.sane
    assert fallen[0.95] < 0.1
    assert fallen[1.05] > 0.5


@pytest.mark.parametrize("friction", [0.2, 0.5, 0.8])
def test_a_flat_box_slides_above_the_friction_and_not_below(friction: float) -> None:
    for share in (0.5, 0.9, 1.1, 1.5):
        scene = standing(0.2, 0.04, friction=friction)
        before = scene.place()[0]
        scene.run(0.5, shove=(share * friction * GRAVITY, 0.0))
        slid = before - scene.place()[0]
        if share < 1:
            assert abs(slid) < 0.01
        else:
            assert slid == pytest.approx((share - 1) * friction * GRAVITY * 0.125, rel=0.04)
        assert scene.tilt() < 0.1


def test_without_friction_the_floor_slips_away() -> None:
    scene = standing(0.2, 0.04, friction=0.0)
    scene.run(0.5, shove=(2.0, 0.0))
    assert scene.place()[0] == pytest.approx(-0.25, rel=0.02)


def test_what_stands_stays() -> None:
    scene = standing(0.1, 0.2)
    scene.run(3.0)
    assert scene.place() == pytest.approx([0, 0, 0], abs=0.001)
    assert scene.tilt() == pytest.approx(0, abs=1e-3)


# what is put into it


@pytest.mark.parametrize("seed", range(3))
def test_a_body_has_the_mass_and_the_inertia_of_its_solid(seed: int) -> None:
    solid = RevolvedProfile().build(np.random.default_rng(seed).uniform(-1, 1, (8, 3)))
    scene = Scene()
    scene.add(solid, PLASTIC)
    scene.start()
    body, bulk = scene.model.body("design"), solid.bulk()
    assert body.mass[0] == pytest.approx(1240 * bulk.volume)
    assert body.ipos == pytest.approx(bulk.centre)
    assert sorted(body.inertia) == pytest.approx(sorted(np.linalg.eigvalsh(1240 * bulk.inertia)), abs=1e-9)


def test_pieces_weigh_nothing_of_their_own() -> None:
    scene = Scene()
    scene.add(Assembly([Part("box", (0.1, 0.1, 0.1), (0.0, 0.0, 0.1))] * 2), WOOD)
    scene.start()
    assert scene.model.body("design").mass[0] == pytest.approx(2 * 700 * 0.2**3)


def test_a_body_without_mass_still_compiles() -> None:
    scene = Scene()
    body = scene.spec.worldbody.add_body(name="dust")
    body.add_freejoint()
    set_inertia(body, 0.0, np.zeros(3), np.zeros((3, 3)))
    scene.start()
    scene.run(0.1)
    assert scene.sane
    assert scene.model.body("dust").mass[0] > 0


@pytest.mark.parametrize("degrees", [0.0, 30.0, 90.0, 135.0, 180.0])
def test_tilt_is_how_far_it_leans(degrees: float) -> None:
    half = math.radians(degrees) / 2
    for axis in ([1.0, 0.0], [0.0, 1.0], [0.6, -0.8]):
        scene = Scene()
        turn = (math.cos(half), axis[0] * math.sin(half), axis[1] * math.sin(half), 0.0)
        scene.add(box(0.1, 0.1), WOOD, at=(1.0, 2.0, 3.0), turn=turn)
        scene.start()
        assert scene.tilt() == pytest.approx(math.radians(degrees), abs=1e-6)
        assert scene.place() == pytest.approx([1, 2, 3])


def test_bodies_are_told_apart_by_their_names() -> None:
    scene = Scene()
    for number in range(3):
        scene.add(box(0.1, 0.1), WOOD, name=f"box {number}", at=(float(number), 0.0, 1.0))
    scene.start()
    assert [scene.place(f"box {number}")[0] for number in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError):
        scene.tilt()


def test_a_place_that_was_told_stays_and_a_frame_goes_along() -> None:
    scene = Scene()
    scene.add(box(0.1, 0.2), WOOD, at=(0.0, 0.0, 1.0))
    scene.start()
    place, frame = scene.place(), scene.frame()
    assert frame.reshape(3, 3) == pytest.approx(np.eye(3))
    scene.data.qvel[3:] = [5.0, 0.0, 0.0]
    scene.run(0.2)
    assert place.tolist() == [0, 0, 1]
    assert np.array_equal(frame, scene.data.body("design").xmat)
    assert frame[8] == pytest.approx(math.cos(1.0), abs=0.03)
    scene.start()  # anew, with a frame of its own
    assert scene.frame()[8] == pytest.approx(1)


@pytest.mark.parametrize("use", [Scene.restart, Scene.tilt, Scene.place, lambda scene: scene.run(1.0)])
def test_there_is_no_time_before_the_start(use: Callable[[Scene], object]) -> None:
    scene = Scene()
    scene.add(box(0.1, 0.1), WOOD)
    with pytest.raises(AssertionError, match="start the scene first"):
        use(scene)


# time


@pytest.mark.parametrize(("seconds", "steps"), [(0.0, 1), (1e-9, 1), (0.004, 1), (0.009, 2), (0.011, 3), (1.0, 250)])
def test_time_is_whole_steps_and_at_least_one(seconds: float, steps: int) -> None:
    scene = Scene(timestep=0.004)
    scene.start()
    scene.run(seconds)
    assert scene.data.time == pytest.approx(0.004 * steps)


def film(scene: Scene) -> list[bytes]:
    found = []
    for number in range(20):
        scene.run(0.05, shove=(6.0 * math.cos(number), 6.0 * math.sin(number)))
        found.append(scene.data.qpos.tobytes() + scene.data.qvel.tobytes())
    return found


def test_a_restart_repeats_bit_for_bit() -> None:
    scene = Scene()
    scene.add(box(0.05, 0.2), WOOD, at=(0.0, 0.0, 0.1))
    scene.start()
    first = film(scene)
    assert scene.tilt() > 0.1
    for _ in range(2):
        scene.restart()
        assert (scene.data.time, scene.tilt()) == (0, 0)
        assert film(scene) == first
    assert len(set(first)) == 20


def test_another_scene_of_the_same_is_the_same() -> None:
    films = []
    for _ in range(2):
        scene = Scene()
        scene.add(box(0.05, 0.2), WOOD)
        scene.start()
        films.append(film(scene))
    assert films[0] == films[1]


def test_after_a_restart_nothing_is_left_of_a_shove() -> None:
    scene = Scene()
    scene.add(box(0.1, 0.1), WOOD, at=(0.0, 0.0, 1.0))
    scene.start()
    before = scene.data.qacc.copy()
    scene.run(0.1, shove=(5.0, 0.0))
    scene.restart()
    assert scene.data.qacc == pytest.approx(before)


# breaking down


@pytest.mark.parametrize("speed", [math.nan, math.inf, 1e12, -1e300])
def test_numbers_that_explode_are_told_and_no_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speed: float
) -> None:
    monkeypatch.chdir(tmp_path)
    scene = standing(0.1, 0.2)
    assert scene.sane
    scene.data.qvel[:] = speed
    scene.run(0.1)
    assert not scene.sane
    scene.run(0.5)  # the engine itself has begun anew, and looks well
    assert np.isfinite(scene.data.qpos).all()
    assert not scene.sane
    assert list(tmp_path.iterdir()) == []
    scene.restart()
    scene.run(0.1)
    assert scene.sane


def test_a_place_that_is_no_number_is_told_at_once() -> None:
    for values in ("qpos", "qvel"):
        scene = standing(0.1, 0.2)
        getattr(scene.data, values)[0] = math.nan
        assert not scene.sane


def test_others_hear_warnings_again_afterwards() -> None:
    heard: list[str] = []
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(heard.append)
    try:
        scene = standing(0.1, 0.2)
        scene.data.qvel[0] = math.nan
        scene.run(0.1)
        assert heard == []
        with pytest.raises(ZeroDivisionError), in_engine():
            raise ZeroDivisionError
        scene.restart()  # one warning of a kind is said once
        scene.data.qvel[0] = math.nan
        mujoco.mj_step(scene.model, scene.data)
        assert len(heard) == 1
    finally:
        mujoco.set_mju_user_warning(before)


def test_the_time_in_the_engine_is_counted() -> None:
    scene = Scene()
    scene.add(box(0.1, 0.2), WOOD)
    seconds = [ENGINE["seconds"]]
    calls: list[Callable[[], None]] = [scene.start, lambda: scene.run(1.0), scene.restart]
    for call in calls:
        call()
        seconds.append(ENGINE["seconds"])
    assert (np.diff(seconds) > 0).all()
    scene.tilt()
    assert ENGINE["seconds"] == seconds[-1]


# directions


@pytest.mark.parametrize("count", [1, 2, 3, 7, 24])
def test_directions_are_evenly_around(count: int) -> None:
    ways = ring(count, np.random.default_rng(count))
    assert ways.shape == (count, 2)
    assert np.linalg.norm(ways, axis=1) == pytest.approx(np.ones(count))
    after = np.roll(ways, -1, axis=0)
    turned = (ways * after).sum(1) + 1j * (ways[:, 0] * after[:, 1] - ways[:, 1] * after[:, 0])
    assert turned == pytest.approx(np.full(count, np.exp(2j * math.pi / count)))


def test_the_first_direction_is_anywhere_and_the_seed_says_where() -> None:
    first = [ring(2, np.random.default_rng(seed))[0] for seed in range(400)]
    angles = np.arctan2(*np.array(first).T[::-1])
    assert np.histogram(angles, 4, (0, math.pi))[0].min() > 70
    assert np.array_equal(ring(5, np.random.default_rng(3)), ring(5, np.random.default_rng(3)))
    assert ring(0, np.random.default_rng(0)).shape == (0, 2)
