"""What a printer asks of a surface before it prints it, and the surface as a file that other programs open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.checkpoint import replace_file
from ..core.errors import UsageError
from .solid import Surface

ENDINGS = (".stl", ".obj", ".glb")
"""of files that `export` writes"""
_RAYS = 400
_THIN = 0.01  # of all walls measured are at most this thin: ours, so that one sharp corner is not taken for a wall
_FACING = np.cos(np.radians(45))  # the sides of a wall are closer to parallel than this: ours
_PAIRS = 4_000_000  # of rays and faces compared at a time


@dataclass(frozen=True)
class MeshReport:
    """A surface as a printer sees it. That faces cut through each other is not looked for."""

    watertight: bool
    """whether every edge belongs to exactly two faces, which run along it in opposite directions"""
    bodies: int
    """pieces that hang together by their edges; a hollow within one is none of its own"""
    volume_ml: float
    """of the material"""
    area_cm2: float
    box_mm: tuple[float, float, float]
    """sides along x, y and z"""
    thinnest_mm: float
    """a wall than which 1 % of 400 spots spread over the surface are thinner; 0 where nothing has a thickness"""
    overhang_share: float
    """of the area, in [0, 1]: faces down, leans more than 45 degrees from the vertical, and does not lie on the ground"""

    def printable(self, least_wall_mm: float = 0.8) -> bool:
        """Whether it is one closed body with walls of at least so many millimetres; overhangs can be supported."""
        return self.watertight and self.bodies == 1 and self.volume_ml > 0 and self.thinnest_mm >= least_wall_mm


def check(surface: Surface) -> MeshReport:
    """Look a surface over.

    A wall is as thick as a ray that goes straight in from one side and meets the other; where the sides are more than 45 degrees
    from parallel it is an edge, not a wall. Rays start at 400 spots that are always the same.
    """
    vertices, faces = surface.vertices, surface.faces
    if not len(faces):
        return MeshReport(False, 0, 0.0, 0.0, (0.0, 0.0, 0.0), 0.0, 0.0)
    corners = vertices[faces]
    crosses = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(crosses, axis=1) / 2
    normals = crosses / np.maximum(2 * areas, 1e-300)[:, None]
    closed = watertight(surface)
    volumes = _volumes(corners)
    low, high = corners.min((0, 1)), corners.max((0, 1))
    sides = (high - low) * 1000
    grounded = (corners[..., 2] <= low[2] + 1e-5).all(1)  # 0.01 mm, less than a printer's layer
    hanging = (-normals[:, 2] > _FACING + 1e-9) & ~grounded
    return MeshReport(
        watertight=closed,
        bodies=_bodies(faces, volumes, closed),
        volume_ml=float(volumes.sum()) * 1e6,
        area_cm2=float(areas.sum()) * 1e4,
        box_mm=(float(sides[0]), float(sides[1]), float(sides[2])),
        thinnest_mm=_thinnest(corners, normals, areas) * 1000,
        overhang_share=float(areas[hanging].sum() / max(areas.sum(), 1e-300)),
    )


def watertight(surface: Surface) -> bool:
    """Whether every edge is shared by exactly two faces that run along it in opposite directions; nothing at all is not."""
    starts, ends = surface.faces.ravel(), surface.faces[:, [1, 2, 0]].ravel()
    if not len(starts) or (starts == ends).any():
        return False
    count = int(surface.faces.max()) + 1
    there, back = np.sort(starts * count + ends), np.sort(ends * count + starts)
    return bool((np.diff(there) > 0).all() and np.array_equal(there, back))


def welded(surface: Surface) -> Surface:
    """The surface with corners that are less than about a micrometre apart made one, as programs do that read single precision."""
    grid = np.round(surface.vertices * 1e6).astype(np.int64)
    _, first, place = np.unique(grid, axis=0, return_index=True, return_inverse=True)
    return Surface(surface.vertices[first], place.ravel()[surface.faces])


def export(surface: Surface, path: Path | str, *, name: str = "design") -> None:
    """Write a surface to a file for printing (.stl, .obj) or for the web (.glb), whole or not at all.

    Numbers are millimetres in all three. z is up in STL and OBJ; in GLB y is, as glTF has it: x stays, y becomes -z. Programs take
    the numbers of a GLB for metres, so that a cup shows as tall as a tower; it looks the same, and measures the same as the others.

    Args:
        surface: a closed one.
        path: ends in .stl, .obj or .glb, in a folder that exists.
        name: what the object is called in the file, as far as the format has room for it.

    Raises:
        UsageError: the ending is another, there is no such folder, the surface is not closed, or the file cannot be written.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise UsageError(f"{path.name} ends in {ending or 'nothing'!r}, but must end in {', '.join(ENDINGS)}")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent} to write {path.name} to")
    if not watertight(surface):
        raise UsageError(f"the surface for {path.name} is not closed, but must be so that it can be printed")
    replace_file(path, mesh_bytes(surface, ending[1:], name=name))


def mesh_bytes(surface: Surface, kind: str, *, name: str = "design") -> bytes:
    """What `export` writes, of a surface that may be open.

    Args:
        surface: any.
        kind: stl, obj or glb.
        name: what the object is called.

    Raises:
        UsageError: the kind is another.
    """
    import trimesh

    if f".{kind}" not in ENDINGS:
        raise UsageError(f"kind is {kind!r}, but must be one of {', '.join(ending[1:] for ending in ENDINGS)}")
    points = surface.vertices * 1000
    if kind == "glb":
        points = points[:, [0, 2, 1]] * [1, 1, -1]
    mesh = trimesh.Trimesh(points, surface.faces, process=False)
    return _FORMATS[f".{kind}"](mesh, " ".join(name.split()) or "design")


def _stl(mesh: Any, name: str) -> bytes:
    data: bytes = mesh.export(file_type="stl")
    # a header that begins with "solid" has readers take the file for text
    return f"tenfold {name}, millimetres".encode("ascii", "replace")[:80].ljust(80) + data[80:]


def _obj(mesh: Any, name: str) -> bytes:
    text: str = mesh.export(file_type="obj", header=None)
    return f"# millimetres, z up\no {name}\n{text}\n".encode()


def _glb(mesh: Any, name: str) -> bytes:
    import trimesh

    scene: Any = trimesh.Scene()  # not typed all through
    scene.add_geometry(mesh, node_name=name, geom_name=name)
    data: bytes = scene.export(file_type="glb")
    return data


_FORMATS: dict[str, Callable[[Any, str], bytes]] = {".stl": _stl, ".obj": _obj, ".glb": _glb}


def _volumes(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each face (F, 3, 3) adds to the volume, (F,), m³; seen from the middle, which loses the least to rounding."""
    first, second, third = np.moveaxis(corners - corners.mean((0, 1)), 1, 0)
    volumes: NDArray[np.float64] = np.einsum("fi,fi->f", first, np.cross(second, third)) / 6
    return volumes


def _bodies(faces: NDArray[np.int64], volumes: NDArray[np.float64], closed: bool) -> int:
    """Components of faces that share edges; of a closed surface only those that bound material from outside."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = np.sort(np.stack([faces, faces[:, [1, 2, 0]]], axis=2).reshape(-1, 2), axis=1)
    _, which = np.unique(edges[:, 0] * (int(faces.max()) + 1) + edges[:, 1], return_inverse=True)
    owners, count = np.repeat(np.arange(len(faces)), 3), len(faces) + int(which.max()) + 1
    graph = coo_array((np.ones(len(which), np.int8), (owners, len(faces) + which)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    labels = labels[: len(faces)]
    if not closed:
        return len(np.unique(labels))
    return int((np.bincount(labels, weights=volumes) > 0).sum())


def _thinnest(corners: NDArray[np.float64], normals: NDArray[np.float64], areas: NDArray[np.float64]) -> float:
    """The low quantile of the walls that rays from spots on the surface find, m."""
    total = float(areas.sum())
    if total <= 0:
        return 0.0
    places = (np.arange(_RAYS) + 0.5) / _RAYS * total
    chosen = np.minimum(np.searchsorted(np.cumsum(areas), places), len(areas) - 1)
    # spots of an even sequence in the unit square, folded into the triangle
    first, second = np.modf(np.arange(1, _RAYS + 1)[:, None] * np.array([0.7548776662466927, 0.5698402909980532]))[0].T
    folded = first + second > 1
    first, second = np.where(folded, 1 - first, first), np.where(folded, 1 - second, second)
    origin, along, across = np.moveaxis(corners[chosen], 1, 0)
    starts = origin + first[:, None] * (along - origin) + second[:, None] * (across - origin)
    lengths, facing = _first_hits(starts, -normals[chosen], chosen, corners, normals)
    walls = lengths[facing > _FACING]
    if not len(walls):  # all edges and no walls, such as a tetrahedron
        walls = lengths[np.isfinite(lengths)]
    return float(np.quantile(walls, _THIN)) if len(walls) else 0.0


def _first_hits(
    starts: NDArray[np.float64],
    directions: NDArray[np.float64],
    own: NDArray[np.int64],
    corners: NDArray[np.float64],
    normals: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far rays (R, 3) go to the first face but their own (R,), and how squarely they meet it from within: inf and 0 for none.

    Faces whose ball a ray misses are left out first; of the others each is cut with it after Möller and Trumbore (1997).
    """
    centres = corners.mean(1)
    radii = np.linalg.norm(corners - centres[:, None], axis=2).max(1)
    lengths, facing = np.full(len(starts), np.inf), np.zeros(len(starts))
    for begin in range(0, len(starts), step := max(1, _PAIRS // len(corners))):
        rays = slice(begin, begin + step)
        start, direction = starts[rays], directions[rays]
        ahead = direction @ centres.T - np.einsum("ri,ri->r", direction, start)[:, None]
        apart = (start**2).sum(1)[:, None] - 2 * start @ centres.T + (centres**2).sum(1)
        near = (apart - ahead**2 <= radii**2 * 1.001 + 1e-12) & (ahead > -radii)
        ray, face = np.nonzero(near)
        ray, face = ray[face != own[rays][ray]], face[face != own[rays][ray]]
        length = _cut(start[ray], direction[ray], corners[face])
        order = np.argsort(-length, kind="stable")
        ray, face, length = ray[order], face[order], length[order]
        ray, face, length = ray[np.isfinite(length)], face[np.isfinite(length)], length[np.isfinite(length)]
        lengths[begin + ray] = length  # of what goes to one place the last stays: the nearest
        facing[begin + ray] = np.einsum("ri,ri->r", direction[ray], normals[face])
    return lengths, facing


def _cut(
    start: NDArray[np.float64], direction: NDArray[np.float64], corners: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far each of N rays goes to its own face, (N,); inf where it does not meet it."""
    origin, along, across = np.moveaxis(corners, 1, 0)
    along, across, offset = along - origin, across - origin, start - origin
    normal = np.cross(along, across)
    slope = -np.einsum("ni,ni->n", direction, normal)
    safe = np.where(np.abs(slope) > 1e-300, slope, np.inf)
    turned = np.cross(offset, direction)
    first = np.einsum("ni,ni->n", across, turned) / safe
    second = -np.einsum("ni,ni->n", along, turned) / safe
    length = np.einsum("ni,ni->n", offset, normal) / safe
    rim = 1e-9  # so that no ray slips through between two faces
    meets = np.isfinite(safe) & (first >= -rim) & (second >= -rim) & (first + second <= 1 + rim) & (length > 1e-7)
    return np.where(meets, length, np.inf)
