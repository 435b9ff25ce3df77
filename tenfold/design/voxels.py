"""Bodies of small cubes, and a design space whose steps add or carve blocks of them, as a designer adds and cuts in a CAD program."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .assembly import surface_of
from .solid import Bulk, Part, Solid, Surface
from .space import DesignSpace, Steps, between

Cells = NDArray[np.bool_]
"""which cubes are filled: (nx, ny, nz), or (nx, ny / 2, nz) of one half, its first row next to the middle"""
CARVES = -0.4
"""a step whose first number is below it carves; ours"""
STRAIGHT = 0.25
"""a step whose last number is nearer to 0 than this makes no slope; ours"""
SAMPLES = 3
"""of the field along a cell's side, from which the smooth surface is drawn; ours"""


class Voxels(Solid):
    """A body of equal cubes. The middle of the grid is over the origin, its lowest cubes stand on the ground.

    Args:
        cells: (nx, ny, nz), at least one filled.
        cell: side of a cube, m.
    """

    def __init__(self, cells: Cells, cell: float) -> None:
        assert cells.any(), "a body needs at least one cell"
        self.cells = cells
        self.cell = cell
        self.corner = np.array([-cells.shape[0] * cell / 2, -cells.shape[1] * cell / 2, 0.0])
        """lower corner of the grid, m, (3,)"""
        self._parts: list[Part] = []

    def centres(self) -> NDArray[np.float64]:
        """Middles of the filled cells, m, (n, 3)."""
        return self.corner + (np.argwhere(self.cells) + 0.5) * self.cell

    def bulk(self) -> Bulk:
        middles = self.centres()
        centre = middles.mean(axis=0)
        offset = middles - centre
        spread = offset.T @ offset
        inertia = np.trace(spread) * np.eye(3) - spread + len(middles) * self.cell**2 / 6 * np.eye(3)
        return Bulk(len(middles) * self.cell**3, centre, inertia * self.cell**3)

    def parts(self) -> list[Part]:
        if self._parts:
            return list(self._parts)
        half = self.cell / 2
        found = []
        for low, high in boxes(self.cells):
            size = tuple((end - start) * half for start, end in zip(low, high, strict=True))
            x, y, z = (
                float(base) + (start + end) * half for base, start, end in zip(self.corner, low, high, strict=True)
            )
            found.append(Part("box", size, (x, y, z)))
        self._parts = found
        return list(found)

    def surface(self, *, smooth: bool = True) -> Surface:
        """The outer surface, closed and flat on the ground.

        Args:
            smooth: edges rounded and stairs evened, at about the volume of the cells; else the cells as they are. Where
                these meet along an edge only, both sides have vertices of their own in the same places.
        """
        import manifold3d

        if not smooth:
            cubes = [
                manifold3d.Manifold.cube(tuple(2 * value for value in part.size), True).translate(part.at)
                for part in self.parts()
            ]
            return surface_of(manifold3d.Manifold.batch_boolean(cubes, manifold3d.OpType.Add))
        field, start, level = self._field()
        size = np.array(field.shape) - 1
        bounds = [*start, *(start + size * self.cell / SAMPLES)]
        drawn = manifold3d.Manifold.level_set(
            _between_samples(field, start, SAMPLES / self.cell), bounds, self.cell / 2, level
        )
        pieces = drawn.trim_by_plane((0.0, 0.0, 1.0), 0.0).decompose()
        # a hollow is a piece with its inside out, of negative volume: leaving it out fills it
        return surface_of(max(pieces, key=lambda piece: piece.volume()))

    def _field(self) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """How filled it is around each sample, where the first sample is (3,), and the level that encloses the cells' volume."""
        around = 2
        low = np.pad(self.cells, ((around, around), (around, around), (0, around)))
        # the lowest layer goes on below the ground, so that no edge is rounded there
        grown = np.pad(low, ((0, 0), (0, 0), (around, 0)), mode="edge")
        fine = np.kron(grown, np.ones((SAMPLES, SAMPLES, SAMPLES))).astype(np.float64)
        field = ndimage.gaussian_filter(fine, 0.4 * SAMPLES, mode="nearest")
        above = np.sort(field[:, :, around * SAMPLES :], axis=None)
        level = float(above[-int(self.cells.sum()) * SAMPLES**3])
        start = self.corner - around * self.cell + self.cell / SAMPLES / 2
        return field, start, level


def _between_samples(
    field: NDArray[np.float64], start: NDArray[np.float64], per_metre: float
) -> Callable[[float, float, float], float]:
    """The function that goes straight from sample to sample, and is 0 beyond them."""
    wide, deep, high = field.shape
    values = field.ravel().tolist()
    x0, y0, z0 = (float(value) for value in start)

    def at(x: float, y: float, z: float) -> float:
        a, b, c = (x - x0) * per_metre, (y - y0) * per_metre, (z - z0) * per_metre
        i, j, k = math.floor(a), math.floor(b), math.floor(c)
        if i < 0 or j < 0 or k < 0 or i > wide - 2 or j > deep - 2 or k > high - 2:
            return 0.0
        a, b, c = a - i, b - j, c - k
        p = (i * deep + j) * high + k
        q = p + deep * high
        near = (values[p] * (1 - c) + values[p + 1] * c) * (1 - b)
        near += (values[p + high] * (1 - c) + values[p + high + 1] * c) * b
        far = (values[q] * (1 - c) + values[q + 1] * c) * (1 - b)
        far += (values[q + high] * (1 - c) + values[q + high + 1] * c) * b
        return float(near * (1 - a) + far * a)

    return at


def boxes(cells: Cells) -> list[tuple[tuple[int, int, int], tuple[int, int, int]]]:
    """Boxes that together are exactly the cells and do not overlap: first corner and the one past the last, in cells.

    Greedy: a row of cells along y grows along x and then z, or the other way round, whichever becomes larger.
    """
    wide, _, high = cells.shape
    powers = [1 << bit for bit in range(cells.shape[1])]
    # each row along y as the bits of one number: whole rows are compared at once
    rows = (np.moveaxis(cells, 1, 2) @ np.array(powers, dtype=np.int64)).tolist()
    found = []
    for x, column in enumerate(rows):
        for z in range(high):
            while column[z]:
                least = column[z] & -column[z]
                run = column[z] & ~(column[z] + least)  # the lowest row of ones without a gap
                ends = [
                    _grown(rows, run, x, z, wide, high, along_x_first=True),
                    _grown(rows, run, x, z, wide, high, along_x_first=False),
                ]
                right, top = max(ends, key=lambda end: (end[0] - x) * (end[1] - z))
                for i in range(x, right):
                    for k in range(z, top):
                        rows[i][k] &= ~run
                start = least.bit_length() - 1
                found.append(((x, start, z), (right, run.bit_length(), top)))
    return found


def _grown(
    rows: list[list[int]], run: int, x: int, z: int, wide: int, high: int, *, along_x_first: bool
) -> tuple[int, int]:
    """How far a run of cells at (x, z) can grow: one past the last x, and z."""
    right, top = x + 1, z + 1
    if along_x_first:
        while right < wide and rows[right][z] & run == run:
            right += 1
    while top < high and _full([row[top] for row in rows[x:right]], run):
        top += 1
    if not along_x_first:
        while right < wide and _full(rows[right][z:top], run):
            right += 1
    return right, top


def _full(rows: list[int], run: int) -> bool:
    """Whether all rows have the whole run."""
    return reduce(and_, rows, run) == run


def standing(cells: Cells) -> Cells:
    """What is left of cells (nx, ny, nz) as one body: the largest piece that touches the ground, hollows within it filled.

    Pieces are joined by whole faces. Where nothing touches the ground, two cells in the middle of it are put there.
    """
    labels, count = ndimage.label(cells)
    if count > 1:
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        ground = np.unique(labels[:, :, 0])
        ground = ground[ground > 0]
        cells = labels == ground[np.argmax(sizes[ground])] if len(ground) else np.zeros_like(cells)
    if not cells[:, :, 0].any():
        cells = np.zeros_like(cells)
        middle = cells.shape[1] // 2
        cells[cells.shape[0] // 2, middle - 1 : middle + 1, 0] = True
        return cells
    free, pieces = ndimage.label(np.pad(~cells, 1, constant_values=True))
    return cells if pieces == 1 else (free != free[0, 0, 0])[1:-1, 1:-1, 1:-1]


@dataclass(frozen=True)
class Block:
    """Cells from corner to corner, in cells of one half; the other half is its mirror image."""

    carve: bool
    x: tuple[int, int]
    """of its lowest layer, first and one past the last"""
    y: tuple[int, int]
    """from the middle outwards"""
    z: tuple[int, int]
    lean: float
    """how many cells further along x each layer is than the one below, in [-1, 1]"""

    def put(self, cells: Cells) -> None:
        """Add it to the cells of a half, or carve it out of them."""
        wide, _, high = cells.shape
        for layer in range(self.z[0], min(self.z[1], high)):
            # a layer reaches under the next, to share faces with it
            moved = sorted(round(self.lean * (layer + more - self.z[0])) for more in (0, 1))
            first, end = max(0, self.x[0] + moved[0]), min(wide, self.x[1] + moved[1])
            if first < end:
                cells[first:end, self.y[0] : self.y[1], layer] = not self.carve


class VoxelBlocks(DesignSpace):
    """Blocks are added or carved, one each step; a body is modelled as one half and mirrored at y = 0.

    Numbers of a step: carve or add (`CARVES`), middle and length along x, bottom (the lower third is the ground) and height,
    where it begins beside the middle (the lower half: at the middle) and how wide it is, and how much it leans along x. Lengths
    go with the square of their number, so that thin things are easily made; ours. A block may be joined to the rest by a later
    step: what is not joined in the end is left out.
    """

    counts: ClassVar[tuple[int, int, int]] = (20, 12, 18)
    """cells along x, y (even) and z"""
    cell: ClassVar[float] = 0.006
    """side of a cell, m"""
    steps = 8
    width = 8

    @property
    def half(self) -> tuple[int, int, int]:
        """Cells of the half that is modelled."""
        return (self.counts[0], self.counts[1] // 2, self.counts[2])

    def block(self, step: NDArray[np.float64]) -> Block:
        """A step (8,) as the block that it adds or carves."""
        across, deep, high = self.half
        kind, middle, length, bottom, height, begin, wide, lean = (float(number) for number in step)
        long = 1 + int((across - 1) * between(length, 0, 1) ** 2 + 0.5)
        left = max(0, min(across - 1, int(between(middle, 0, across) - long / 2 + 0.5)))
        low = int(max(0.0, between(bottom, -high / 2, high - 1) + 0.5))
        inner = int(max(0.0, between(begin, -deep, deep - 1) + 0.5))
        outer = inner + 1 + int((deep - inner - 1) * between(wide, 0, 1) + 0.5)
        top = min(high, low + 1 + int((high - 1) * between(height, 0, 1) ** 2 + 0.5))
        slope = math.copysign(max(0.0, abs(lean) - STRAIGHT) / (1 - STRAIGHT), lean)
        return Block(kind < CARVES, (left, min(across, left + long)), (inner, outer), (low, top), slope)

    def modelled(self, steps: Steps) -> Cells:
        """The half (nx, ny / 2, nz) as steps have left it, joined or not."""
        cells = np.zeros(self.half, dtype=np.bool_)
        for step in steps:
            self.block(step).put(cells)
        return cells

    def whole(self, steps: Steps) -> Cells:
        """The body (nx, ny, nz) as it is built."""
        half = self.modelled(steps)
        return standing(np.concatenate([half[:, ::-1], half], axis=1))

    def build(self, steps: Steps) -> Voxels:
        return Voxels(self.whole(steps), self.cell)

    def describe(self, steps: Steps) -> str:
        block = self.block(steps[-1])
        return f"{self.wording(block)}: {self.outcome(steps, carve=block.carve)}"

    def wording(self, block: Block) -> str:
        """A block in words and millimetres, x from the middle of the grid."""
        mm = 1000 * self.cell
        x = [(value - self.counts[0] / 2) * mm for value in block.x]
        text = (
            f"{'carve' if block.carve else 'add'} a block from {x[0]:.0f} to {x[1]:.0f} mm, "
            f"{block.z[0] * mm:.0f} to {block.z[1] * mm:.0f} mm high, "
        )
        if block.y[0]:
            text += f"{block.y[0] * mm:.0f} to {block.y[1] * mm:.0f} mm on both sides of the middle"
        else:
            text += f"{2 * block.y[1] * mm:.0f} mm wide"
        if block.lean:
            way = "back" if block.lean > 0 else "forward"
            text += f", leaning {math.degrees(math.atan(abs(block.lean))):.0f}° {way}"
        return text

    def outcome(self, steps: Steps, *, carve: bool) -> str:
        """What the last step has changed of what is built, in cm³."""
        cm3 = (100 * self.cell) ** 3
        before = self.modelled(steps[:-1])
        after = self.modelled(steps)
        if np.array_equal(before, after):
            return "left out, there is nothing to carve" if carve else "left out, nothing new"
        change = int(self.whole(steps).sum()) - (int(self.whole(steps[:-1]).sum()) if len(steps) > 1 else 0)
        if carve:
            lost = int(before.sum() - after.sum()) * 2
            text = f"{-change * cm3:.1f} cm³ less" if change < 0 else "left out, there is nothing to carve"
            return text + (", some no longer joined" if -change > lost else "")
        if change <= 0:
            return "left out so far, it joins nothing that stands"
        return f"{change * cm3:.1f} cm³ more"
