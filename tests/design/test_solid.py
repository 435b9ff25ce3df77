"""Quaternions that turn upwards into a direction, and what is known of materials."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tenfold.design.solid import PLASTIC, WOOD, Material, Part, Solid, turn_to

NUMBER = st.floats(-10, 10, allow_nan=False)
AXES = [(0, 0, 1), (0, 0, -1), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0)]


def turned(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where z goes, as another library has it."""
    theirs: Any = trimesh.transformations
    matrix: NDArray[np.float64] = theirs.quaternion_matrix(turn_to(direction))
    return matrix[:3, 2]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("length", [1e-6, 1.0, 1e6])
def test_upwards_turns_into_every_axis(axis: tuple[int, int, int], length: float) -> None:
    assert turned(length * np.array(axis, dtype=np.float64)) == pytest.approx(axis, abs=1e-9)


@given(NUMBER, NUMBER, NUMBER)
@settings(deadline=None, max_examples=100)
def test_upwards_turns_into_any_direction(x: float, y: float, z: float) -> None:
    direction = np.array([x, y, z])
    length = np.linalg.norm(direction)
    if length > 1e-3:
        assert turned(direction) == pytest.approx(direction / length, abs=1e-5)
        assert np.linalg.norm(turn_to(direction)) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("aside", [1e-2, 1e-4, 1e-5, 3e-6, 1e-6, 1e-7, 1e-9, 0.0])
def test_nearly_straight_down_is_nearly_straight_down(aside: float) -> None:
    for way in ([1.0, 0.0], [0.0, -1.0], [-0.6, 0.8]):
        direction = np.array([aside * way[0], aside * way[1], -1.0])
        direction /= np.linalg.norm(direction)
        assert turned(direction) == pytest.approx(direction, abs=3e-6)


def test_the_shortest_way_is_turned() -> None:
    """About an axis that lies level: nothing spins about itself."""
    for direction in np.random.default_rng(0).normal(size=(20, 3)):
        w, _, _, spin = turn_to(direction)
        assert spin == 0
        assert w >= 0
        angle = np.arccos(direction[2] / np.linalg.norm(direction))
        assert 2 * np.arccos(w) == pytest.approx(angle, abs=1e-6)


def test_up_needs_no_turn() -> None:
    assert turn_to(np.array([0.0, 0.0, 3.0])) == (1.0, 0.0, 0.0, 0.0)
    assert Part("sphere", (1.0,), (0.0, 0.0, 0.0)).turn == (1.0, 0.0, 0.0, 0.0)


def test_materials_are_in_si_units_and_stay_as_they_are() -> None:
    assert 1200 < PLASTIC.density < 1300
    assert 600 < WOOD.density < 1000 < PLASTIC.density
    for material in (PLASTIC, WOOD):
        assert 1e9 < material.stiffness < 1e11
        assert 1e6 < material.strength < material.stiffness / 50
    with pytest.raises(dataclasses.FrozenInstanceError):
        WOOD.density = 1.0  # type: ignore[misc]
    assert (Material("foam", 30.0).stiffness, Material("foam", 30.0).strength) == (0, 0)


def test_a_solid_must_tell_its_bulk_parts_and_surface() -> None:
    with pytest.raises(TypeError, match=r"bulk.*parts.*surface"):
        Solid()  # type: ignore[abstract]
