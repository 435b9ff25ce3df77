"""Bodies of pieces: bulk and surface against another library's, rods between points, and unions."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from tenfold.design.assembly import Assembly, rod, rotation, steiner
from tenfold.design.solid import Part, Surface

Kind = Literal["box", "cylinder", "capsule", "sphere"]
SIZES: dict[Kind, tuple[float, ...]] = {
    "box": (0.05, 0.12, 0.2),
    "cylinder": (0.06, 0.15),
    "capsule": (0.07, 0.1),
    "sphere": (0.11,),
}
TURNED = (0.6, -0.3, 0.5, 0.2)
"""a quaternion that is not of length 1"""
TURNS: Any = trimesh.transformations
every_kind = pytest.mark.parametrize("kind", SIZES)


def theirs(part: Part) -> trimesh.Trimesh:
    """The same piece as trimesh makes and turns it, finely."""
    size = part.size
    mesh: trimesh.Trimesh
    if part.kind == "box":
        mesh = trimesh.creation.box(extents=[2 * value for value in size])
    elif part.kind == "cylinder":
        mesh = trimesh.creation.cylinder(radius=size[0], height=2 * size[1], sections=512)
    elif part.kind == "sphere":
        mesh = trimesh.creation.icosphere(subdivisions=5, radius=size[0])
    else:
        mesh = trimesh.creation.capsule(radius=size[0], height=2 * size[1], count=[128, 128])
        mesh.apply_translation(-mesh.bounds.mean(0))
    unit = np.array(part.turn) / np.linalg.norm(part.turn)
    mesh.apply_transform(TURNS.quaternion_matrix(unit))
    mesh.apply_translation(part.at)
    return mesh


def mesh_of(surface: Surface) -> trimesh.Trimesh:
    return trimesh.Trimesh(surface.vertices, surface.faces, process=False)


def same_bulk(solid: Assembly, mesh: trimesh.Trimesh, rel: float) -> None:
    bulk = solid.bulk()
    assert bulk.volume == pytest.approx(mesh.volume, rel=rel)
    assert bulk.centre == pytest.approx(mesh.center_mass, abs=rel * mesh.scale)
    largest = np.abs(mesh.moment_inertia).max()
    assert bulk.inertia == pytest.approx(mesh.moment_inertia, abs=rel * largest)


# bulk


@every_kind
@pytest.mark.parametrize("turn", [(1.0, 0.0, 0.0, 0.0), TURNED])
def test_a_piece_is_as_heavy_and_turns_as_another_library_says(
    kind: Kind, turn: tuple[float, float, float, float]
) -> None:
    part = Part(kind, SIZES[kind], (0.3, -0.2, 0.5), turn)
    same_bulk(Assembly([part]), theirs(part), 0.002)


def test_pieces_that_do_not_touch_add_up() -> None:
    parts = [
        Part(kind, SIZES[kind], (0.6 * number, 0.3 * number**2, -0.4 * number), TURNED)
        for number, kind in enumerate(SIZES)
    ]
    whole: Any = trimesh.util.concatenate([theirs(part) for part in parts])
    same_bulk(Assembly(parts), whole, 0.002)
    same_bulk(Assembly(parts), mesh_of(Assembly(parts).surface()), 0.01)


def test_a_capsule_between_a_sphere_and_a_cylinder() -> None:
    ball = Assembly([Part("sphere", (0.1,), (0.0, 0.0, 0.0))]).bulk()
    none = Assembly([Part("capsule", (0.1, 1e-9), (0.0, 0.0, 0.0))]).bulk()
    assert none.volume == pytest.approx(ball.volume, rel=1e-6)
    assert none.inertia == pytest.approx(ball.inertia, rel=1e-6)
    long, pole = (Assembly([Part(kind, (0.001, 1.0), (0.0, 0.0, 0.0))]).bulk() for kind in ("capsule", "cylinder"))
    assert long.inertia == pytest.approx(pole.inertia, rel=0.003)


def test_two_halves_of_a_box_are_the_box() -> None:
    whole = Assembly([Part("box", (0.2, 0.1, 0.3), (0.0, 0.0, 0.3))]).bulk()
    halves = Assembly([Part("box", (0.1, 0.1, 0.3), (x, 0.0, 0.3)) for x in (-0.1, 0.1)]).bulk()
    assert halves.volume == pytest.approx(whole.volume)
    assert halves.centre == pytest.approx(whole.centre)
    assert halves.inertia == pytest.approx(whole.inertia)
    assert whole.inertia[2, 2] == pytest.approx(whole.volume * (0.4**2 + 0.2**2) / 12)


@every_kind
def test_a_quarter_turn_changes_places_of_the_inertia(kind: Kind) -> None:
    half = math.sqrt(0.5)
    upright, lying = (
        Assembly([Part(kind, SIZES[kind], (0.0, 0.0, 0.0), turn)]).bulk().inertia
        for turn in ((1.0, 0.0, 0.0, 0.0), (half, half, 0.0, 0.0))
    )
    assert np.diag(lying) == pytest.approx(np.diag(upright)[[0, 2, 1]])
    assert lying - np.diag(np.diag(lying)) == pytest.approx(np.zeros((3, 3)), abs=1e-12)


def test_the_inertia_of_a_mass_at_a_distance() -> None:
    assert steiner(np.array([0.0, 3.0, 0.0])) == pytest.approx(np.diag([9.0, 0.0, 9.0]))
    assert steiner(np.array([1.0, 2.0, 0.0]))[0, 1] == -2.0
    assert steiner(np.zeros(3)) == pytest.approx(np.zeros((3, 3)))


@pytest.mark.parametrize("seed", range(5))
def test_a_quaternion_turns_as_another_library_says(seed: int) -> None:
    turn = np.random.default_rng(seed).normal(size=4)
    found = rotation(tuple(turn))
    assert found == pytest.approx(TURNS.quaternion_matrix(turn / np.linalg.norm(turn))[:3, :3])
    assert found @ found.T == pytest.approx(np.eye(3))
    assert np.linalg.det(found) == pytest.approx(1)


# surfaces


@every_kind
@pytest.mark.parametrize("turn", [(1.0, 0.0, 0.0, 0.0), TURNED])
def test_the_surface_of_a_piece_is_the_piece(kind: Kind, turn: tuple[float, float, float, float]) -> None:
    part = Part(kind, SIZES[kind], (0.3, -0.2, 0.5), turn)
    mesh = mesh_of(Assembly([part]).surface())
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume == pytest.approx(theirs(part).volume, rel=0.012)
    assert mesh.bounds == pytest.approx(theirs(part).bounds, abs=0.001)


def test_what_overlaps_is_in_the_surface_once() -> None:
    solid = Assembly([Part("box", (0.1, 0.1, 0.1), (0.0, 0.0, 0.0)), Part("box", (0.1, 0.1, 0.1), (0.1, 0.05, 0.0))])
    mesh = mesh_of(solid.surface())
    assert mesh.is_watertight
    assert mesh.body_count == 1
    assert solid.bulk().volume == pytest.approx(2 * 0.2**3)
    assert mesh.volume == pytest.approx(2 * 0.2**3 - 0.1 * 0.15 * 0.2)


@every_kind
def test_a_union_is_smaller_than_the_sum_and_larger_than_each(kind: Kind) -> None:
    one, other = (
        Part(kind, SIZES[kind], (0.0, 0.0, 0.0)),
        Part("sphere", (0.09,), (0.04, 0.03, 0.05)),
    )
    mesh = mesh_of(Assembly([one, other]).surface())
    alone = [mesh_of(Assembly([part]).surface()).volume for part in (one, other)]
    assert mesh.is_watertight
    assert max(alone) < mesh.volume < 0.95 * Assembly([one, other]).bulk().volume


def test_one_piece_twice_is_one_piece() -> None:
    part = Part("cylinder", (0.05, 0.1), (0.0, 0.0, 0.1), TURNED)
    once, twice = (mesh_of(Assembly([part] * count).surface()) for count in (1, 2))
    assert twice.volume == pytest.approx(once.volume)
    assert Assembly([part] * 2).bulk().volume == pytest.approx(2 * Assembly([part]).bulk().volume)


def test_pieces_are_the_assemblys_own() -> None:
    pieces = [Part("sphere", (0.1,), (0.0, 0.0, 0.0))]
    solid = Assembly(pieces)
    pieces.clear()
    solid.parts().clear()
    assert len(solid.parts()) == 1


def test_no_piece_is_no_assembly() -> None:
    with pytest.raises(AssertionError, match="at least one piece"):
        Assembly([])


# rods


def ends(part: Part) -> NDArray[np.float64]:
    """Where the axis of a cylinder begins and ends, (2, 3)."""
    unit = np.array(part.turn) / np.linalg.norm(part.turn)
    axis = TURNS.quaternion_matrix(unit)[:3, 2] * part.size[1]
    return np.array([part.at - axis, part.at + axis])


@pytest.mark.parametrize(
    "end", [(0.1, 0.2, 0.3), (0.0, 0.0, 0.5), (0.0, 0.0, -0.5), (-0.4, 0.0, 0.0), (0.0, 1e-6, -0.3), (1e-8, 0.0, -0.3)]
)
def test_a_rod_goes_from_one_point_to_the_other(end: tuple[float, float, float]) -> None:
    start = np.array([0.05, -0.02, 0.1])
    part = rod(start, start + end, 0.01)
    assert (part.kind, part.size[0]) == ("cylinder", 0.01)
    assert ends(part) == pytest.approx(np.array([start, start + end]), abs=1e-6)
    bulk = Assembly([part]).bulk()
    assert bulk.volume == pytest.approx(math.pi * 0.01**2 * np.linalg.norm(end))
    assert bulk.centre == pytest.approx(start + np.array(end) / 2)


def test_a_rod_without_length_is_a_ball() -> None:
    part = rod(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]), 0.02)
    assert part == Part("sphere", (0.02,), (1.0, 2.0, 3.0))
