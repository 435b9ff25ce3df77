"""The heart's world: what actions do to its factors, and factors to its picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tenfold.core.errors import UsageError
from tenfold.govern.heart import COLOURS, FACTORS, NAME, SMALL, HeartEnv, draw_heart

COUNTS = np.array([8, 8, 12, 6, 3])
STEPS = st.lists(st.lists(st.integers(0, 2), min_size=4, max_size=4), max_size=25)
MIDDLE = (3, 3, 0, 2, 0)
AREA = 3.6617
"""of (u^2 + v^2 - 1)^3 = u^2 v^3"""


def begun(factors: Sequence[int], **given_settings: Any) -> tuple[HeartEnv, NDArray[np.uint8]]:
    env = HeartEnv(**given_settings)
    return env, env.reset(seed=0, options={"factors": factors})[0]


def drawn(*factors: int, size: int = 64) -> NDArray[np.uint8]:
    return draw_heart(np.array(factors), COUNTS, size)


def middle_of(picture: NDArray[np.uint8]) -> tuple[float, float]:
    """Row and column of the centre of mass."""
    mass = picture.sum(2).astype(float)
    places = np.arange(len(mass))
    return float(mass.sum(1) @ places / mass.sum()), float(mass.sum(0) @ places / mass.sum())


# the environment


@pytest.mark.parametrize(("name", "size"), [(NAME, 64), (SMALL, 32)])
def test_it_is_registered_and_an_environment_of_gymnasium(name: str, size: int) -> None:
    env = gym.make(name)
    picture, info = env.reset(seed=0)
    assert (picture.shape, picture.dtype) == ((size, size, 3), np.uint8)
    assert env.observation_space.contains(picture)
    assert info["factors"].shape == (5,)
    assert info["factors"].dtype == np.float64
    env.close()


def test_it_keeps_the_rules() -> None:
    check_env(HeartEnv(size=16), skip_render_check=True)


def test_factors_follow_the_actions_and_the_colour_goes_its_own_way() -> None:
    env, _ = begun((3, 4, 5, 2, 0))
    found = [env.step(np.array(action))[4]["factors"].tolist() for action in ([2, 0, 1, 2], [1, 1, 2, 0], [0, 2, 0, 1])]
    assert found == [[4, 3, 5, 3, 1], [4, 3, 6, 2, 2], [3, 4, 5, 2, 0]]


def test_the_edges_of_the_world_and_the_turn_without_end() -> None:
    env, _ = begun((7, 0, 11, 5, 2))
    assert env.step(np.array([2, 0, 2, 2]))[4]["factors"].tolist() == [7, 0, 0, 5, 0]
    env, _ = begun((0, 7, 0, 0, 1))
    assert env.step(np.array([0, 2, 0, 0]))[4]["factors"].tolist() == [0, 7, 11, 0, 2]


@given(STEPS, st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_factors_stay_in_the_world_and_no_action_touches_the_colour(steps: list[list[int]], seed: int) -> None:
    env = HeartEnv(size=8)
    _, info = env.reset(seed=seed)
    factors = info["factors"]
    for action in steps:
        picture, reward, terminated, _, info = env.step(np.array(action))
        after, moved = info["factors"], np.array(action) - 1
        wanted = (factors[:4] + moved).clip(0, COUNTS[:4] - 1)
        wanted[2] = (factors[2] + moved[2]) % 12
        assert after.tolist() == [*wanted, (factors[4] + 1) % 3]
        assert (reward, terminated) == (0, False)
        assert np.array_equal(picture, draw_heart(after.astype(int), COUNTS, 8))
        factors = after


@pytest.mark.parametrize("steps", [1, 7, 30])
def test_an_episode_is_cut_after_its_steps(steps: int) -> None:
    env = HeartEnv(size=8) if steps == 30 else HeartEnv(size=8, steps=steps)
    for _ in range(2):
        env.reset(seed=0)
        cuts = [env.step(np.ones(4, dtype=np.int64))[3] for _ in range(steps)]
        assert cuts == [False] * (steps - 1) + [True]


def test_it_begins_anywhere_and_the_same_seed_shows_the_same() -> None:
    def film(seed: int) -> list[NDArray[np.uint8]]:
        env = HeartEnv(size=16)
        env.action_space.seed(seed)
        pictures = [env.reset(seed=seed)[0]]
        pictures += [env.step(env.action_space.sample())[0] for _ in range(5)]
        return [*pictures, env.reset()[0]]

    assert all(np.array_equal(one, other) for one, other in zip(film(3), film(3), strict=True))
    env = HeartEnv(size=8)
    starts = np.array([env.reset(seed=seed)[1]["factors"] for seed in range(200)])
    assert starts.min(0).tolist() == [0] * 5
    assert starts.max(0).tolist() == (COUNTS - 1).tolist()


def test_what_was_told_is_not_changed_by_later_steps() -> None:
    env, picture = begun(MIDDLE)
    _, info = env.reset(seed=1, options={"factors": MIDDLE})
    kept = picture.copy()
    env.step(np.array([2, 2, 2, 2]))
    assert info["factors"].tolist() == list(MIDDLE)
    assert np.array_equal(picture, kept)


def test_it_is_drawn_where_that_is_asked_for() -> None:
    env, picture = begun(MIDDLE, render_mode="rgb_array")
    assert np.array_equal(env.render(), picture)
    assert begun(MIDDLE)[0].render() is None


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [("size", 7, 8), ("positions", 1, 2), ("rotations", 1, 2), ("scales", 1, 2), ("steps", 0, 1)],
)
def test_worlds_too_small_are_refused(name: str, value: int, least: int) -> None:
    with pytest.raises(UsageError, match=f"{name} is {value}, but must be at least {least}"):
        HeartEnv(**{name: value})
    HeartEnv(**{name: least}).reset(seed=0)


@pytest.mark.parametrize("factors", [(0, 0, 0, 0), (8, 0, 0, 0, 0), (0, 0, 0, 0, 3), (-1, 0, 0, 0, 0), 3])
def test_factors_of_no_world_are_refused(factors: Any) -> None:
    with pytest.raises(UsageError, match="must be five whole numbers below"):
        HeartEnv(size=8).reset(options={"factors": factors})


# the picture


def test_the_names_of_the_factors() -> None:
    assert FACTORS == ("vertical", "horizontal", "rotation", "scale", "colour")
    assert COLOURS == ("red", "green", "blue")


@pytest.mark.parametrize(("place", "axis", "sign"), [(0, 0, -1), (1, 1, 1)])
def test_up_is_up_and_right_is_right(place: int, axis: int, sign: int) -> None:
    middles = []
    for unit in range(8):
        factors = list(MIDDLE)
        factors[place] = unit
        middles.append(middle_of(drawn(*factors)))
    moved = np.diff(np.array(middles), axis=0)
    assert (sign * moved[:, axis] > 1).all()
    assert moved[:, axis] == pytest.approx(np.full(7, sign * 64 * 0.37 / 7), abs=0.3)  # even steps
    assert np.abs(moved[:, 1 - axis]).max() < 0.1


def test_an_action_moves_the_picture() -> None:
    for place, axis, sign in ((0, 0, -1), (1, 1, 1)):
        env, before = begun(MIDDLE)
        action = np.ones(4, dtype=np.int64)
        action[place] = 2
        after = env.step(action)[0]
        assert sign * (middle_of(after)[axis] - middle_of(before)[axis]) > 1


def test_larger_is_larger() -> None:
    masses = [int(drawn(3, 3, 0, scale, 0).sum()) / 255 for scale in range(6)]
    radii = 64 * 0.11 * (1 + np.arange(6) / 5)
    assert masses == pytest.approx((AREA * radii**2).tolist(), rel=0.03)


@pytest.mark.parametrize("colour", range(3))
def test_the_colour_is_in_its_own_channel_alone(colour: int) -> None:
    picture = drawn(3, 3, 4, 2, colour)
    others = [channel for channel in range(3) if channel != colour]
    assert picture[..., colour].max() == 255
    assert (picture[..., others] == 0).all()
    assert np.array_equal(picture[..., colour], drawn(3, 3, 4, 2, 0)[..., 0])


@pytest.mark.parametrize("size", [32, 64])
def test_the_whole_heart_is_in_the_picture_wherever_it_is(size: int) -> None:
    for rotation, scale in product(range(12), (0, 5)):
        # in a corner as large as in the middle: nothing is cut off
        wanted = AREA * (size * 0.11 * (1 + scale / 5)) ** 2
        for vertical, horizontal in product((0, 7), (0, 7)):
            mass = drawn(vertical, horizontal, rotation, scale, 0, size=size).sum() / 255
            assert mass == pytest.approx(wanted, rel=0.02 if size == 64 else 0.06)


@pytest.mark.parametrize("rotation", range(12))
def test_a_heart_in_one_corner_is_that_in_the_other(rotation: int) -> None:
    """Of a side of 100 pixels hearts have 37 to move in."""
    counts = np.array([2, 2, 12, 6, 3])
    for scale in (0, 5):
        one, other = (draw_heart(np.array([at, at, rotation, scale, 0]), counts, 100) for at in (0, 1))
        apart = np.abs(np.roll(one, (-37, 37), (0, 1)).astype(int) - other.astype(int))
        assert apart.max() <= 64  # a quarter of a pixel, where rounding decides
        assert (apart > 0).sum() <= 8


def test_a_full_turn_shows_the_same_and_half_a_turn_does_not() -> None:
    env, before = begun(MIDDLE)
    pictures = []
    for _ in range(12):
        env.step(np.array([1, 1, 2, 1]))
        factors = env.factors.copy()
        factors[4] = 0
        pictures.append(draw_heart(factors, COUNTS, 64))
    assert np.array_equal(pictures[-1], before)
    assert all(not np.array_equal(picture, before) for picture in pictures[:-1])


def test_half_a_turn_is_the_picture_upside_down() -> None:
    counts = np.array([3, 3, 12, 6, 3])  # with a middle
    upright, turned = (draw_heart(np.array([1, 1, rotation, 5, 0]), counts, 64) for rotation in (0, 6))
    assert np.abs(turned[::-1, ::-1].astype(int) - upright.astype(int)).mean() < 0.3
    assert np.array_equal(upright, upright[:, ::-1])  # upright it is even
    assert middle_of(upright)[0] < middle_of(turned)[0]  # its point is below


def test_all_worlds_of_a_small_one_look_different() -> None:
    counts = np.array([3, 3, 4, 2, 3])
    every = [draw_heart(np.array(factors), counts, 32).tobytes() for factors in product(*map(range, counts))]
    assert len(set(every)) == len(every) == 216
