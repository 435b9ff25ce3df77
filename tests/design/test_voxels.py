from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("manifold3d")
pytest.importorskip("mujoco")

from tenfold.design.assembly import Assembly
from tenfold.design.physics import GRAVITY, Scene
from tenfold.design.solid import PLASTIC, Part, Surface
from tenfold.design.voxels import VoxelBlocks, Voxels, boxes, standing

CELL = 0.006


def volume(surface: Surface) -> float:
    a, b, c = (surface.vertices[surface.faces[:, corner]] for corner in range(3))
    return float(np.sum(a * np.cross(b, c)) / 6)


def open_edges(surface: Surface) -> int:
    """Edges that are not gone along once in each direction."""
    edges = np.concatenate([surface.faces[:, [0, 1]], surface.faces[:, [1, 2]], surface.faces[:, [2, 0]]])
    there = {tuple(edge) for edge in edges.tolist()}
    assert len(there) == len(edges)
    return sum((end, start) not in there for start, end in there)


def drawn(seed: int) -> Voxels:
    return VoxelBlocks().build(np.random.default_rng(seed).uniform(-1, 1, (8, 8)))


@pytest.mark.parametrize("seed", range(20))
def test_merged_boxes_cover_exactly_the_cells(seed: int) -> None:
    cells = np.random.default_rng(seed).random((7, 6, 5)) < 0.6
    times = np.zeros(cells.shape, dtype=int)
    for low, high in boxes(cells):
        times[low[0] : high[0], low[1] : high[1], low[2] : high[2]] += 1
    np.testing.assert_array_equal(times, cells)


def test_a_full_grid_is_one_box() -> None:
    assert boxes(np.ones((4, 6, 3), dtype=bool)) == [((0, 0, 0), (4, 6, 3))]


def test_bulk_is_that_of_the_box_which_the_cells_fill() -> None:
    bulk = Voxels(np.ones((2, 4, 6), dtype=bool), CELL).bulk()
    box = Assembly([Part("box", (CELL, 2 * CELL, 3 * CELL), (0.0, 0.0, 3 * CELL))]).bulk()
    assert bulk.volume == pytest.approx(box.volume)
    np.testing.assert_allclose(bulk.centre, box.centre, atol=1e-12)
    np.testing.assert_allclose(bulk.inertia, box.inertia, atol=1e-18)


@pytest.mark.parametrize("seed", [0, 3, 4])
def test_surface_is_closed_flat_below_and_of_the_cells_volume(seed: int) -> None:
    body = drawn(seed)
    exact = body.bulk().volume
    smooth, blocky = body.surface(), body.surface(smooth=False)
    for surface, error in ((smooth, 0.06), (blocky, 1e-5)):
        assert open_edges(surface) == 0
        assert volume(surface) == pytest.approx(exact, rel=error)
        assert surface.vertices[:, 2].min() == pytest.approx(0.0, abs=1e-7)


def test_a_wall_of_one_cell_is_not_thinned() -> None:
    cells = np.zeros((9, 12, 12), dtype=bool)
    cells[4] = True
    vertices = Voxels(cells, CELL).surface().vertices
    middle = vertices[(np.abs(vertices[:, 1]) < 0.02) & (np.abs(vertices[:, 2] - 0.035) < 0.01)]
    assert np.abs(middle[:, 0]).min() > 0.97 * CELL / 2


def test_only_what_is_joined_and_stands_is_left() -> None:
    cells = np.zeros((6, 6, 6), dtype=bool)
    cells[0, 0, :2] = True
    cells[1, 1, 0] = True  # meets the others along an edge only
    cells[3:, 3:, 3:] = True  # larger, but in the air
    assert np.argwhere(standing(cells)).tolist() == [[0, 0, 0], [0, 0, 1]]


def test_hollows_are_filled() -> None:
    cells = np.ones((4, 4, 4), dtype=bool)
    cells[1:3, 1:3, 1:3] = False
    assert standing(cells).all()


@pytest.mark.parametrize("number", [-1.0, 0.0, 1.0])
def test_any_design_can_be_built_and_described(number: float) -> None:
    space = VoxelBlocks()
    for count in range(1, 9):
        steps = np.full((count, 8), number)
        assert space.build(steps).cells.any()
        assert space.describe(steps)


def test_leaning_blocks_hold_together() -> None:
    space = VoxelBlocks()
    for lean in np.linspace(-1, 1, 21):
        steps = np.array([[1.0, 0.0, -1.0, -1.0, 1.0, -1.0, 1.0, lean]])
        built = space.build(steps).cells
        np.testing.assert_array_equal(built[:, 6:], space.modelled(steps))


def test_a_post_tips_where_gravity_leans_beyond_its_edge() -> None:
    import mujoco

    wide, high = 4, 18
    cells = np.zeros((20, 12, 18), dtype=bool)
    cells[8 : 8 + wide, 3:9, :high] = True
    scene = Scene(friction=2.0)
    scene.spec.option.cone, scene.spec.option.impratio = mujoco.mjtCone.mjCONE_ELLIPTIC, 10.0
    scene.add(Voxels(cells, CELL), PLASTIC)
    scene.start()
    scene.run(0.2)
    strength = 0.0
    while scene.tilt() < 0.2 and strength < 2 * GRAVITY:
        strength += 0.05
        scene.run(0.15, shove=(strength, 0.0))
    assert strength == pytest.approx(GRAVITY * wide / high, rel=0.05)
