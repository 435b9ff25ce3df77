"""An engine that draws shapes with numpy alone: a depth buffer, smooth shading, and the shadows that a shape throws on itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]

_MOST = 2_000_000  # numbers worked on at a time
_CELLS = 512  # of a side of the map of what the light reaches


@dataclass(frozen=True)
class Shape:
    """A surface made ready to be drawn: its box in the middle of x and y, its lowest point at z = 0, half its diagonal 1."""

    corners: Numbers
    """(F, 3, 3), of each face"""
    normals: Numbers
    """(F, 3, 3), of length 1, at each corner: bent where the surface is round, and not across edges"""
    closed: bool
    """whether no face can be seen from behind"""


@dataclass(frozen=True)
class View:
    """Where a camera is and what it sees."""

    place: Numbers
    """(3,)"""
    axes: Numbers
    """(3, 3): right, up and back, each a row"""
    half: tuple[float, float]
    """tangents of half the angles of view, across and up"""
    width: int
    """of the picture, pixels"""
    height: int

    def sight(self, points: Numbers) -> tuple[Numbers, Numbers]:
        """Pixels (..., 2), rows downwards, of points (..., 3) before the camera, and how far they are along its axis (...)."""
        seen = (points - self.place) @ self.axes.T
        away = np.maximum(-seen[..., 2], 1e-9)
        x, y = (seen[..., axis] / (away * self.half[axis]) for axis in (0, 1))
        return np.stack([(1 + x) / 2 * self.width, (1 - y) / 2 * self.height], -1), away


def paint_plainly(
    shape: Shape, view: View, light: Numbers, colour: Numbers
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw a shape by numpy.

    Args:
        shape: of at least one face.
        view: from where, and how large.
        light: direction that it comes from, (3,), of length 1.
        colour: red, green and blue (3,) in [0, 1].

    Returns:
        The picture (H, W, 3), and where there is anything of the shape in it (H, W).
    """
    whole, shape = shape, _towards(shape, view.place - shape.corners[:, 0])
    pixels, away = view.sight(shape.corners)
    face, first, second = rastered(pixels, -1 / away, view.width, view.height)
    there = face >= 0
    face, first, second = face[there], first[there], second[there]
    # what is linear in the picture is not so in space
    weights = np.stack([1 - first - second, first, second], 1) / away[face]
    weights /= weights.sum(1, keepdims=True)
    places = np.einsum("pc,pci->pi", weights, shape.corners[face])
    normals = np.einsum("pc,pci->pi", weights, shape.normals[face])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    towards = view.place - places
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    origin, along, across = np.moveaxis(shape.corners[face], 1, 0)
    flat = np.cross(along - origin, across - origin)
    # the inside of what is not closed
    normals[np.einsum("pi,pi->p", flat, towards) < 0] *= -1
    lit = np.maximum(normals @ light, 0)
    facing = lit > 0
    lit[facing] *= _lit(whole, light, places[facing], normals[facing])
    side = view.axes.T @ np.array([0.75, 0.1, 0.65])
    halfway = light + towards
    halfway /= np.linalg.norm(halfway, axis=1, keepdims=True)
    gloss = np.maximum(np.einsum("pi,pi->p", normals, halfway), 0) ** 40 * (lit > 0)
    sky = 0.30 + 0.16 * normals[:, 2]
    shade = sky + 0.95 * lit + 0.14 * np.maximum(normals @ side, 0)
    linear = colour**2.2 * shade[:, None] + 0.10 * gloss[:, None]
    picture = np.zeros((view.height, view.width, 3), np.uint8)
    picture[there] = (linear.clip(0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)
    return picture, there


def _towards(shape: Shape, directions: Numbers) -> Shape:
    """A closed shape without the faces that are seen from behind in these directions (F, 3); an open one as it is."""
    if not shape.closed:
        return shape
    origin, along, across = np.moveaxis(shape.corners, 1, 0)
    kept = np.einsum("fi,fi->f", np.cross(along - origin, across - origin), directions) > 0
    return Shape(shape.corners[kept], shape.normals[kept], True)


def _lit(shape: Shape, light: Numbers, places: Numbers, normals: Numbers) -> Numbers:
    """How much of the light, in [0, 1], reaches places (P, 3) with these normals past the rest of the shape."""
    shape = _towards(shape, np.broadcast_to(light, (len(shape.corners), 3)))
    right = np.cross([0.0, 0.0, 1.0], light)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(light, right), light])
    corners = shape.corners @ axes.T
    low, high = corners.min((0, 1)), corners.max((0, 1))
    scale = (_CELLS - 4) / float((high - low)[:2].max())
    face, first, second = rastered((corners[..., :2] - low[:2]) * scale + 2, -corners[..., 2], _CELLS, _CELLS)
    depths = corners[face, :, 2]
    highest = depths[..., 0] * (1 - first - second) + depths[..., 1] * first + depths[..., 2] * second
    highest = np.where(face >= 0, highest, -np.inf)
    # a step off the surface, the longer the more it slants: else its own cells would shade it
    slant = np.sqrt(np.maximum(1 - (normals @ light) ** 2, 0))[:, None]
    seen = (places + normals * (0.5 + 2.5 * slant) / scale) @ axes.T
    at = ((seen[:, :2] - low[:2]) * scale + 2).astype(np.int64)
    lit = np.zeros(len(places))
    for across in (-1, 0, 1):
        for up in (-1, 0, 1):
            column, row = (at + np.array([across, up])).clip(0, _CELLS - 1).T
            lit += seen[:, 2] + 1.5 / scale >= highest[row, column]
    return lit / 9


def rastered(points: Numbers, depths: Numbers, width: int, height: int) -> tuple[Indices, Numbers, Numbers]:
    """Which face is nearest at the middle of every pixel, and where within it.

    Args:
        points: pixels (F, 3, 2) of the corners, columns first.
        depths: of the corners, (F, 3), the less the nearer, linear across a face.

    Returns:
        Face, or -1, and the weights of its second and third corner, (height, width) each.
    """
    nearest = np.full(height * width, np.inf)
    face = np.full(height * width, -1, np.int64)
    weights = np.zeros((2, height * width))
    origin, along, across = points[:, 0], points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
    size = along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0]
    size = np.where(np.abs(size) > 1e-12, size, np.inf)
    rows = points[..., 1]
    top = np.ceil(rows.min(1) - 0.5).clip(0, height).astype(np.int64)
    bottom = np.ceil(rows.max(1) - 0.5).clip(0, height).astype(np.int64)
    for owner, row in runs(bottom - top):
        row = row + top[owner]
        left, right = _span(points[owner], row + 0.5)
        begin = np.ceil(left - 0.5).clip(0, width).astype(np.int64)
        end = np.ceil(right - 0.5).clip(0, width).astype(np.int64)
        for line, column in runs(np.maximum(end - begin, 0)):
            who, column = owner[line], column + begin[line]
            x, y = column + 0.5 - origin[who, 0], row[line] + 0.5 - origin[who, 1]
            first = (x * across[who, 1] - y * across[who, 0]) / size[who]
            second = (y * along[who, 0] - x * along[who, 1]) / size[who]
            start = depths[who, 0]
            depth = start + first * (depths[who, 1] - start) + second * (depths[who, 2] - start)
            pixel = row[line] * width + column
            np.minimum.at(nearest, pixel, depth)
            won = depth == nearest[pixel]
            pixel = pixel[won]
            face[pixel], weights[0, pixel], weights[1, pixel] = who[won], first[won], second[won]
    return face.reshape(height, width), weights[0].reshape(height, width), weights[1].reshape(height, width)


def _span(triangles: Numbers, y: Numbers) -> tuple[Numbers, Numbers]:
    """From where to where each of N triangles (N, 3, 2) covers its line y (N,)."""
    left, right = np.full(len(y), np.inf), np.full(len(y), -np.inf)
    for corner in range(3):
        one, other = triangles[:, corner], triangles[:, (corner + 1) % 3]
        crosses = (one[:, 1] <= y) != (other[:, 1] <= y)
        rise = np.where(crosses, other[:, 1] - one[:, 1], 1.0)
        x = one[:, 0] + (y - one[:, 1]) / rise * (other[:, 0] - one[:, 0])
        left, right = np.where(crosses, np.minimum(left, x), left), np.where(crosses, np.maximum(right, x), right)
    return left, right


def runs(counts: Indices) -> Iterator[tuple[Indices, Indices]]:
    """0 .. count - 1 for each of these counts (N,), and whose they are; as many at a time as fit into memory well."""
    ends, begin = np.cumsum(counts), 0
    while begin < len(counts):
        done = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + _MOST, side="right")))
        part = counts[begin:end]
        yield np.repeat(np.arange(begin, end), part), np.arange(part.sum()) - np.repeat(np.cumsum(part) - part, part)
        begin = end
