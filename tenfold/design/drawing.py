"""Pictures of surfaces as a shop would show them: on a light ground, filling the frame, with a soft shadow.

Two engines draw the object itself, MuJoCo's with OpenGL and one of numpy alone, which draws wherever OpenGL cannot; ground, shadow and
framing are the same for both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UsageError
from ..core.figures import picture_grid
from .mesh import watertight
from .opengl import OpenGL
from .painting import Indices, Numbers, Shape, View, paint_plainly, rastered, runs
from .solid import Surface

if TYPE_CHECKING:
    from PIL.Image import Image

COLOUR = "#c8693f"
"""of fired clay"""

_CREASE = math.cos(math.radians(30))  # faces that meet at more than this keep an edge between them: ours
_VIEW = math.tan(math.radians(14))  # half the angle of view along the longer side, narrow as a product's portrait is
_MARGIN = 0.84  # of the picture's sides that the object fills
_FINE = 2  # pixels drawn for each one of a side, so that edges are smooth
_SIZES = (16, 2048)
_BLURS = (
    (0.0, 0.015),
    (0.12, 0.03),
    (0.4, 0.07),
    (0.9, 0.13),
    (2.0, 0.2),
)  # of shadows by the height of what throws them
_ABOVE, _BELOW = np.array([0.975, 0.978, 0.982]), np.array([0.885, 0.895, 0.91])  # the background, from top to bottom


def draw(
    surface: Surface,
    *,
    size: tuple[int, int] = (320, 320),
    colour: str = COLOUR,
    azimuth: float = 35.0,
    elevation: float = 20.0,
    ground: bool = True,
) -> Image:
    """A picture of a surface, RGB; the light comes from above, left of whoever looks.

    Args:
        surface: of any size and anywhere; what has no area is left out.
        size: width and height in pixels, 16 to 2048 each.
        colour: a name or "#rrggbb".
        azimuth: degrees that one has walked around it, against the clock seen from above; at 0 one looks along y, and x goes right.
        elevation: degrees that one looks down on it, -89 to 89; below 0 from underneath.
        ground: whether it stands on something that its shadow falls on.

    Raises:
        UsageError: size, colour or elevation are others.
    """
    return _drawn(shape_of(surface), size, _readable(colour, size, elevation), azimuth, elevation, ground)


def turntable(
    surface: Surface,
    frames: int = 24,
    *,
    size: tuple[int, int] = (320, 320),
    colour: str = COLOUR,
    elevation: float = 20.0,
) -> list[Image]:
    """A surface from all sides, in even steps of a full turn: pictures for an animation without an end.

    All are of one scale. Other arguments are as in `draw`.

    Raises:
        UsageError: frames is below 1, or as in `draw`.
    """
    if frames < 1:
        raise UsageError(f"frames is {frames}, but must be at least 1")
    red, shape = _readable(colour, size, elevation), shape_of(surface)
    angles = 35.0 - 360.0 * np.arange(frames) / frames
    # framed as what the object sweeps over when it turns
    swept = _swept(shape.corners.reshape(-1, 3))
    return [_drawn(shape, size, red, float(angle), elevation, True, around=swept) for angle in angles]


def draw_sheet(
    surfaces: Sequence[Surface], captions: Sequence[str], columns: int, *, size: tuple[int, int] = (240, 240)
) -> Image:
    """Surfaces side by side, each as large as its picture and with its caption below.

    Raises:
        UsageError: there are none, another number of captions, or no columns.
    """
    return picture_grid([draw(surface, size=size) for surface in surfaces], captions, columns=columns)


def shape_of(surface: Surface) -> Shape:
    """A surface made ready to be drawn."""
    corners = surface.vertices[surface.faces].astype(np.float64)
    crosses = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(crosses, axis=1)
    kept = np.isfinite(lengths) & (lengths > 0)
    corners, flat = corners[kept], (crosses / np.maximum(lengths, 1e-300)[:, None])[kept]
    if not len(corners):
        return Shape(corners, corners, True)
    _, joined = np.unique(surface.vertices, axis=0, return_inverse=True)
    normals = _bent(corners, flat, joined.ravel()[surface.faces[kept]])
    low, high = corners.min((0, 1)), corners.max((0, 1))
    middle = np.array([*(low + high)[:2] / 2, low[2]])
    return Shape((corners - middle) / (np.linalg.norm(high - low) / 2), normals, watertight(surface))


def _readable(colour: str, size: tuple[int, int], elevation: float) -> Numbers:
    from PIL import ImageColor

    if not all(_SIZES[0] <= side <= _SIZES[1] for side in size):
        raise UsageError(f"size is {size[0]} x {size[1]}, but each must be between {_SIZES[0]} and {_SIZES[1]}")
    if not -89 <= elevation <= 89:
        raise UsageError(f"elevation is {elevation:g}, but must be between -89 and 89")
    try:
        return np.array(ImageColor.getrgb(colour)[:3]) / 255
    except ValueError as error:
        raise UsageError(f"colour is {colour!r}, but must be a name or #rrggbb") from error


def _drawn(
    shape: Shape,
    size: tuple[int, int],
    colour: Numbers,
    azimuth: float,
    elevation: float,
    ground: bool,
    around: Numbers | None = None,
) -> Image:
    from PIL import Image

    width, height = size
    view = framed(shape.corners.reshape(-1, 3) if around is None else around, size, azimuth, elevation)
    light = _light(azimuth)
    scenery = _scenery(shape, view, light) if ground and len(shape.corners) else _backdrop(width, height)
    picture = np.asarray(_picture(scenery).resize((width * _FINE, height * _FINE), Image.Resampling.BILINEAR))
    if len(shape.corners):
        fine = View(view.place, view.axes, view.half, width * _FINE, height * _FINE)
        painted, there = _paint(shape, fine, light, colour)
        picture = np.where(there[..., None], painted, picture)
    return Image.fromarray(picture).reduce(_FINE)


def _picture(colours: Numbers) -> Image:
    from PIL import Image

    return Image.fromarray((colours * 255 + 0.5).clip(0, 255).astype(np.uint8))


def framed(points: Numbers, size: tuple[int, int], azimuth: float, elevation: float) -> View:
    """The view from a side that these points (N, 3) fill: exact, in closed form.

    A point is within the angle of view of a camera that is pulled back far enough; the furthest that any of them asks for, on either
    side of each axis, gives where the camera has to be.
    """
    turn, lift = math.radians(azimuth), math.radians(elevation)
    right = np.array([math.cos(turn), math.sin(turn), 0.0])
    back = np.array([math.sin(turn) * math.cos(lift), -math.cos(turn) * math.cos(lift), math.sin(lift)])
    axes = np.stack([right, np.cross(back, right), back])
    longest = max(size)
    half = (_VIEW * size[0] / longest, _VIEW * size[1] / longest)
    if not len(points):
        points = np.zeros((1, 3))
    seen = points @ axes.T
    place, needed = np.zeros(3), []
    for axis in (0, 1):
        slope = half[axis] * _MARGIN
        more, less = (float((sign * seen[:, axis] + slope * seen[:, 2]).max()) for sign in (1, -1))
        place[axis] = (more - less) / 2
        needed.append((more + less) / (2 * slope))
    place[2] = max(*needed, float(seen[:, 2].max()) + 0.1)
    for _ in range(4):  # where there is room to spare on an axis, both sides get as much of it
        spread = (seen[:, :2] - place[:2]) / (place[2] - seen[:, 2])[:, None]
        place[:2] += (spread.max(0) + spread.min(0)) / 2 * (place[2] - seen[:, 2].mean())
    return View(place @ axes, axes, half, *size)


def _swept(points: Numbers) -> Numbers:
    """The rings (N, 3) that points run through when they are turned about z, as far out as there are any at a height."""
    if not len(points):
        return points
    heights = points[:, 2]
    which = np.minimum((heights / max(heights.max(), 1e-9) * 32).astype(int), 31)
    radii = np.zeros(32)
    np.maximum.at(radii, which, np.hypot(points[:, 0], points[:, 1]))
    angles = 2 * np.pi * np.arange(64) / 64
    level = np.repeat((np.arange(33) / 32 * heights.max())[[*range(32), *range(1, 33)]], 64)
    wide = np.repeat(np.concatenate([radii, radii]), 64)
    around = np.tile(angles, 64)
    return np.stack([wide * np.cos(around), wide * np.sin(around), level], 1)


def _light(azimuth: float) -> Numbers:
    """Where the light comes from, (3,): from the left of the camera, 52 degrees high. It goes round with the camera."""
    turn, lift = math.radians(azimuth - 55), math.radians(52)
    return np.array([math.sin(turn) * math.cos(lift), -math.cos(turn) * math.cos(lift), math.sin(lift)])


def _backdrop(width: int, height: int) -> Numbers:
    share = ((np.arange(height) + 0.5) / height)[:, None, None]
    return np.broadcast_to(_ABOVE * (1 - share) + _BELOW * share, (height, width, 3)).copy()


def _scenery(shape: Shape, view: View, light: Numbers) -> Numbers:
    """The background (H, W, 3) with the shadow on the ground, which is blurred the more, the higher that which throws it is."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    picture = _backdrop(view.width, view.height)
    # rays through the middles of pixels, and where they meet z = 0
    x, y = ((np.arange(count) + 0.5) / count * 2 - 1 for count in (view.width, view.height))
    rays = (x * view.half[0])[None, :, None] * view.axes[0] - (y * view.half[1])[:, None, None] * view.axes[1]
    rays = rays - view.axes[2]
    down = np.minimum(rays[..., 2], -1e-6)
    if view.place[2] <= 0:
        return picture
    floor = view.place[:2] - rays[..., :2] * (view.place[2] / down)[..., None]
    flat, heights = shape.corners[..., :2], shape.corners[..., 2]
    thrown = flat - heights[..., None] * light[:2] / light[2]
    low = np.minimum(thrown.min((0, 1)), flat.min((0, 1))) - 0.6
    high = np.maximum(thrown.max((0, 1)), flat.max((0, 1))) + 0.6
    scale = 160 / float((high - low).max())
    columns, rows = np.ceil((high - low) * scale).astype(int)
    bright = np.ones((rows, columns))
    cells = (int(columns), int(rows))
    lowest = _lowest((thrown - low) * scale, heights, *cells)
    shade = np.zeros(lowest.shape)
    for number, (_, blur) in enumerate(_BLURS):
        # how near a height is to this one of the heights, so that all shares of a place are 1 together
        share = np.interp(lowest, [height for height, _ in _BLURS], np.eye(len(_BLURS))[number]) * (lowest >= 0)
        if share.any():
            shade += gaussian_filter(share, blur * scale, mode="constant")
    above = _lowest((flat - low) * scale, heights, *cells)
    # what is close above keeps the sky's light off
    near = gaussian_filter(np.exp(-np.maximum(above, 0) / 0.15) * (above >= 0), 0.06 * scale, mode="constant")
    bright = (1 - 0.36 * shade) * (1 - 0.3 * near)
    at = (floor - low) * scale - 0.5
    far = (rays[..., 2] > -1e-6) | (np.abs(floor) > 50).any(-1)
    seen = map_coordinates(bright, [at[..., 1], at[..., 0]], order=1, mode="constant", cval=1.0)
    dark = np.where(far, 0.0, 1 - seen)[..., None]
    return picture * (1 - dark * np.array([1.0, 0.98, 0.95]))  # shadows are a little blue


def _lowest(places: Numbers, heights: Numbers, columns: int, rows: int) -> Numbers:
    """The lowest height above every cell (rows, columns) of what lies over these places (F, 3, 2); -1 for nothing."""
    face, first, second = rastered(places, heights, columns, rows)
    within = np.stack([1 - first - second, first, second], -1)
    found: Numbers = np.where(face >= 0, np.maximum((heights[face] * within).sum(-1), 0), -1.0)
    return found


def _bent(corners: Numbers, flat: Numbers, faces: Indices) -> Numbers:
    """Normals at corners (F, 3, 3): means of the faces that meet there at less than a crease, weighted by their angles there."""
    sides = np.roll(corners, -1, 1) - corners
    sides /= np.maximum(np.linalg.norm(sides, axis=2, keepdims=True), 1e-300)
    angles = np.arccos(np.clip(-np.einsum("fci,fci->fc", sides, np.roll(sides, 1, 1)), -1, 1)).ravel()
    at = faces.ravel()
    order = np.argsort(at, kind="stable")
    counts = np.bincount(at)
    starts = np.cumsum(counts) - counts
    normals = np.empty((len(at), 3))
    for corner, number in runs(counts[at]):
        other = order[starts[at[corner]] + number]
        meeting = flat[other // 3]
        weight = angles[other] * (np.einsum("pi,pi->p", meeting, flat[corner // 3]) >= _CREASE)
        first = np.flatnonzero(number == 0)
        normals[corner[first]] = np.add.reduceat(meeting * weight[:, None], first)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.where(lengths > 1e-9, normals / np.maximum(lengths, 1e-9), np.repeat(flat, 3, 0))
    return normals.reshape(-1, 3, 3)


@cache
def _opengl() -> OpenGL | None:
    """The engine with OpenGL; None where there is none. Asked once in a process."""
    try:
        return OpenGL()
    except Exception:  # no driver, no library: whatever it is, numpy draws
        return None


def _paint(shape: Shape, view: View, light: Numbers, colour: Numbers) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    engine = _opengl()
    if engine is not None:
        with suppress(Exception):  # a mesh that MuJoCo refuses, a forked process
            return engine.paint(shape, view, light, colour)
    return paint_plainly(shape, view, light, colour)
