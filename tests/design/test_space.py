"""Modelling steps: what they are as numbers, and as what the policy sees them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tenfold.design.revolve import RevolvedProfile
from tenfold.design.space import DesignSpace, between, readable

SPACE = RevolvedProfile()


def test_numbers_become_lengths() -> None:
    assert [between(number, 2.0, 6.0) for number in (-1.0, -0.5, 0.0, 1.0)] == [2, 3, 4, 6]
    assert between(1.0, 5.0, 5.0) == 5
    assert type(between(np.float32(0.5), 0.0, 1.0)) is float  # type: ignore[arg-type]


# steps as they are read


def test_a_step_that_is_fine_stays_as_it_is() -> None:
    step = np.array([-1.0, 0.25, 1.0])
    found = readable(step, 3)
    assert np.array_equal(found, step)
    assert found.dtype == np.float64
    found[0] = 0.5
    assert step[0] == -1


def test_what_is_beyond_is_cut_and_what_is_no_number_is_nought() -> None:
    found = readable(np.array([math.nan, math.inf, -math.inf, 1.5, -7e300, 0.5]), 6)
    assert found.tolist() == [0, 1, -1, 1, -1, 0.5]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64, np.bool_])
def test_numbers_of_any_kind_and_shape_are_read(dtype: Any) -> None:
    for shape in ((4,), (1, 4), (2, 2)):
        found = readable(np.array([0, 1, 1, 0], dtype=dtype).reshape(shape), 4)
        assert found.tolist() == [0, 1, 1, 0]
        assert found.dtype == np.float64


@pytest.mark.parametrize("size", [0, 1, 2, 4, 30])
def test_steps_of_another_width_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"^a step has {size} numbers, but must have 3$"):
        readable(np.zeros(size), 3)


# steps as they are seen


@pytest.mark.parametrize("count", range(SPACE.steps + 1))
def test_the_policy_sees_which_step_is_next_and_all_that_were_taken(count: int) -> None:
    taken = np.random.default_rng(count).uniform(-1, 1, (count, 3))
    seen = SPACE.observe(taken)
    assert seen.shape == (8 + 8 * 3,)
    assert seen.dtype == np.float32
    assert np.flatnonzero(seen[:8]).tolist() == ([count] if count < 8 else [])
    assert seen[:8].sum() == (1 if count < 8 else 0)
    assert seen[8 : 8 + 3 * count] == pytest.approx(taken.ravel(), abs=1e-7)
    assert not seen[8 + 3 * count :].any()
    assert np.abs(seen).max() <= 1


def test_other_steps_look_different() -> None:
    steps = np.zeros((2, 3))
    assert not np.array_equal(SPACE.observe(steps), SPACE.observe(steps[:1]))
    other = steps.copy()
    other[1, 2] = 0.5
    assert np.flatnonzero(SPACE.observe(steps) != SPACE.observe(other)).tolist() == [8 + 5]
    assert not steps.any()


def test_more_steps_than_a_design_has_are_refused() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        SPACE.observe(np.zeros((9, 3)))


def test_a_space_must_say_how_it_builds() -> None:
    with pytest.raises(TypeError, match=r"build.*describe"):
        DesignSpace()  # type: ignore[abstract]
