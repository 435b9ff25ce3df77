"""Actions of every kind of space as numbers, by hand and by property."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.core.errors import UsageError
from tenfold.govern import ActionMap

SPACES: list[tuple[spaces.Space[Any], int]] = [
    (spaces.Discrete(4), 4),
    (spaces.Discrete(3, start=-1), 3),
    (spaces.Box(-1, 1, (2,)), 2),
    (spaces.Box(-2, 3, (2, 3)), 6),
    (spaces.Box(0, 1, ()), 1),
    (spaces.MultiDiscrete([3, 2, 5]), 3),
    (spaces.MultiBinary(4), 4),
    (spaces.MultiBinary([2, 3]), 6),
]


@pytest.mark.parametrize(("space", "width"), SPACES, ids=str)
def test_every_space_gives_float_rows_of_its_width(space: spaces.Space[Any], width: int) -> None:
    space.seed(0)
    mapped = ActionMap(space)
    actions = np.stack([space.sample() for _ in range(7)])
    found = mapped(actions)
    assert (mapped.width, found.shape, found.dtype) == (width, (7, width), torch.float32)
    assert torch.equal(found, mapped(torch.from_numpy(actions)))
    assert torch.equal(found[2:4], mapped(actions[2:4]))
    assert found.abs().max() <= 3


@pytest.mark.parametrize("start", [0, 5, -2])
def test_a_choice_is_one_hot_from_its_start(start: int) -> None:
    mapped = ActionMap(spaces.Discrete(3, start=start))
    wanted = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    actions = np.array([2, 0, 1]) + start
    assert mapped(actions).tolist() == wanted
    assert mapped(actions[:, None]).tolist() == wanted
    assert mapped(torch.from_numpy(actions).float()).tolist() == wanted


def test_a_choice_keeps_its_own_when_many_are_given() -> None:
    mapped = ActionMap(spaces.Discrete(9))
    actions = np.random.default_rng(0).integers(9, size=50)
    assert mapped(actions).argmax(1).tolist() == actions.tolist()
    assert (mapped(actions).sum(1) == 1).all()


def test_a_box_is_kept_within_its_bounds_each_number_within_its_own() -> None:
    box = spaces.Box(np.array([-1, 0], np.float32), np.array([2, 0.5], np.float32))
    actions = np.array([[5.0, -1.0], [-5.0, 0.7], [1.5, 0.25]])
    assert ActionMap(box)(actions).tolist() == [[2, 0], [-1, 0.5], [1.5, 0.25]]


def test_a_box_without_bounds_and_a_box_of_rows() -> None:
    assert ActionMap(spaces.Box(-np.inf, np.inf, (1,)))(np.array([[1e6]])).tolist() == [[1e6]]
    low = np.array([[0, 0], [-1, -1]], np.float32)
    mapped = ActionMap(spaces.Box(low, low + 1))
    assert mapped(np.array([[[2.0, -2.0], [2.0, -2.0]]])).tolist() == [[1, 0, 0, -1]]


def test_several_choices_are_even_steps_from_minus_one_to_one() -> None:
    mapped = ActionMap(spaces.MultiDiscrete([3, 2, 5]))
    assert mapped(np.array([[0, 0, 0], [1, 1, 1], [2, 0, 3], [2, 1, 4]])).tolist() == [
        [-1, -1, -1],
        [0, 1, -0.5],
        [1, -1, 0.5],
        [1, 1, 1],
    ]


def test_several_choices_that_begin_elsewhere_are_steps_from_there() -> None:
    mapped = ActionMap(spaces.MultiDiscrete([3, 2], start=[5, -1]))
    assert mapped(np.array([[5, -1], [6, 0], [7, 0]])).tolist() == [[-1, -1], [0, 1], [1, 1]]


def test_a_choice_of_one_moves_nothing() -> None:
    assert ActionMap(spaces.MultiDiscrete([1, 3]))(np.array([[0, 2]])).tolist() == [[0, 1]]


def test_switches_are_themselves() -> None:
    actions = np.array([[0, 1, 1], [1, 0, 0]], np.int8)
    assert ActionMap(spaces.MultiBinary(3))(actions).tolist() == actions.tolist()


@pytest.mark.parametrize(
    "space",
    [
        spaces.Dict({"a": spaces.Discrete(2)}),
        spaces.Tuple((spaces.Discrete(2), spaces.Discrete(2))),
        spaces.MultiDiscrete([[2, 3], [2, 3]]),
        spaces.Text(3),
    ],
    ids=lambda space: type(space).__name__,
)
def test_other_spaces_are_refused(space: spaces.Space[Any]) -> None:
    with pytest.raises(UsageError, match="but must be Discrete, Box, MultiDiscrete with one row, or MultiBinary"):
        ActionMap(space)


@given(st.lists(st.integers(2, 6), min_size=1, max_size=4), st.integers(0, 999))
@settings(deadline=None, max_examples=40)
def test_steps_keep_their_order_and_their_distance(counts: list[int], seed: int) -> None:
    mapped = ActionMap(spaces.MultiDiscrete(counts))
    place = seed % len(counts)
    actions = np.zeros((counts[place], len(counts)), np.int64)
    actions[:, place] = np.arange(counts[place])
    found = mapped(actions)
    assert found[:, place].numpy() == pytest.approx(np.linspace(-1, 1, counts[place]))
    others = [other for other in range(len(counts)) if other != place]
    assert (found[:, others] == -1).all()


@given(
    st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=5),
    st.floats(-5, 5, width=32),
    st.floats(0, 5, width=32),
)
@settings(deadline=None, max_examples=60)
def test_within_the_bounds_a_box_is_as_it_was(numbers: list[float], low: float, more: float) -> None:
    high = float(np.float32(low) + np.float32(more))
    box = spaces.Box(low, high, (len(numbers),))
    mapped = ActionMap(box)
    inside = mapped(np.array([numbers], np.float32))
    assert inside[0].tolist() == np.clip(np.array(numbers, np.float32), np.float32(low), np.float32(high)).tolist()
    assert torch.equal(mapped(inside), inside)
