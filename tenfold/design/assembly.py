"""Bodies put together of simple pieces: boxes, cylinders, capsules and spheres that overlap where they are joined."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .mesh import watertight, welded
from .solid import Bulk, Part, Solid, Surface, Vector, turn_to

CHORD = 5e-5
"""how far the sides of a mesh of something round may lie within it, m"""
SEGMENTS = (16, 96)
"""how many sides it has at least and at most"""
SWELLS = (0.0, 1e-5, 3e-5)
"""m that pieces are made larger by at most, each by another share of it, one after the other until nothing merely touches"""
GOLDEN = 0.618


class Assembly(Solid):
    """Pieces that are one body.

    Where pieces overlap the engine's mass counts the overlap twice, which no design can gain by; the exported surface is their union.

    Args:
        pieces: at least one.
    """

    def __init__(self, pieces: Sequence[Part]) -> None:
        assert pieces, "an assembly needs at least one piece"
        self._pieces = list(pieces)

    def parts(self) -> list[Part]:
        return list(self._pieces)

    def bulk(self) -> Bulk:
        found = [_bulk_of(piece) for piece in self._pieces]
        volume = sum(each.volume for each in found)
        centre = np.sum([each.volume * each.centre for each in found], axis=0) / volume
        inertia = np.zeros((3, 3))
        for each in found:
            inertia += each.inertia + each.volume * steiner(each.centre - centre)
        return Bulk(volume, centre, inertia)

    def surface(self) -> Surface:
        import manifold3d

        for swell in SWELLS:
            pieces = [_manifold(piece, swell * (number * GOLDEN % 1)) for number, piece in enumerate(self._pieces)]
            found = surface_of(manifold3d.Manifold.batch_boolean(pieces, manifold3d.OpType.Add))
            # where pieces only touch, in an edge or a point, programs that join equal corners find four faces at an edge
            if watertight(welded(found)):
                break
        return found


def rod(start: NDArray[np.float64], end: NDArray[np.float64], radius: float) -> Part:
    """A cylinder between two points, (3,) each; two points that are one become a sphere."""
    length = float(np.linalg.norm(end - start))
    middle: Vector = tuple(float(value) for value in (start + end) / 2)  # type: ignore[assignment]
    if length < 1e-9:
        return Part("sphere", (radius,), middle)
    return Part("cylinder", (radius, length / 2), middle, turn_to(end - start))


def rotation(turn: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """The matrix (3, 3) of a quaternion (w, x, y, z)."""
    w, x, y, z = np.array(turn) / np.linalg.norm(turn)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def steiner(offset: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inertia (3, 3) about a point of a mass of 1 that is `offset` (3,) away from it."""
    return float(offset @ offset) * np.eye(3) - np.outer(offset, offset)


def surface_of(manifold: object) -> Surface:
    """The triangles of one of manifold3d's bodies."""
    mesh = manifold.to_mesh()  # type: ignore[attr-defined]
    return Surface(np.asarray(mesh.vert_properties[:, :3], np.float64), np.asarray(mesh.tri_verts, np.int64))


def _bulk_of(piece: Part) -> Bulk:
    size = piece.size
    if piece.kind == "box":
        volume = 8 * math.prod(size)
        x, y, z = (value**2 / 3 for value in size)
        diagonal = volume * np.array([y + z, x + z, x + y])
    elif piece.kind == "cylinder":
        volume = math.pi * size[0] ** 2 * 2 * size[1]
        across = volume * (size[0] ** 2 / 4 + size[1] ** 2 / 3)
        diagonal = np.array([across, across, volume * size[0] ** 2 / 2])
    elif piece.kind == "sphere":
        volume = 4 / 3 * math.pi * size[0] ** 3
        diagonal = np.full(3, 0.4 * volume * size[0] ** 2)
    else:
        volume, diagonal = _capsule(*size)
    turn = rotation(piece.turn)
    return Bulk(volume, np.array(piece.at), turn @ np.diag(diagonal) @ turn.T)


def _capsule(radius: float, half: float) -> tuple[float, NDArray[np.float64]]:
    """Volume and the diagonal of the inertia: a cylinder and the two halves of a ball, whose centres are 3/8 of a radius out."""
    tube, ball = math.pi * radius**2 * 2 * half, 4 / 3 * math.pi * radius**3
    along = tube * radius**2 / 2 + 0.4 * ball * radius**2
    ends = ball * (0.4 * radius**2 + half**2 + 0.75 * half * radius)
    across = tube * (radius**2 / 4 + half**2 / 3) + ends
    return tube + ball, np.array([across, across, along])


def _sides(radius: float) -> int:
    """Sides of something round whose middles lie `CHORD` within it, a multiple of four."""
    needed = math.pi / math.acos(1 - min(CHORD / radius, 0.5))
    return 4 * round(min(max(needed, SEGMENTS[0]), SEGMENTS[1]) / 4)


def _manifold(piece: Part, swell: float) -> object:
    import manifold3d

    size = tuple(value + swell for value in piece.size)
    if piece.kind == "box":
        made = manifold3d.Manifold.cube(tuple(2 * value for value in size), True)
    elif piece.kind == "sphere":
        made = manifold3d.Manifold.sphere(size[0], _sides(size[0]))
    else:
        made = manifold3d.Manifold.cylinder(2 * size[1], size[0], size[0], _sides(size[0]), True)
    if piece.kind == "capsule":
        ends = [manifold3d.Manifold.sphere(size[0], _sides(size[0])).translate((0, 0, z)) for z in (-size[1], size[1])]
        made = manifold3d.Manifold.batch_boolean([made, *ends], manifold3d.OpType.Add)
    return made.transform(np.hstack([rotation(piece.turn), np.array(piece.at)[:, None]]))
