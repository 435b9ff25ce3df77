"""Bodies turned on a lathe or thrown on a wheel: a wall raised ring by ring from a foot, hollow above its floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .solid import Bulk, Part, Solid, Surface
from .space import DesignSpace, Steps, between

SEGMENTS = 96
"""sides of the mesh"""
NODES, WEIGHTS = np.polynomial.legendre.leggauss(3)
"""three points integrate what is asked here exactly: polynomials of degree 5 and less"""


@dataclass(frozen=True)
class Profile:
    """Half of a section through the axis, straight from knot to knot. K knots from the ground up."""

    heights: NDArray[np.float64]
    """of the knots, rising from 0, (K,)"""
    outer: NDArray[np.float64]
    """radius of the outside at each knot, above 0, (K,)"""
    inner: NDArray[np.float64]
    """radius of the hollow at each knot, as if it went down to the ground, above 0, (K,)"""
    floor: float
    """thickness of the bottom: the hollow begins here; below the highest knot"""

    def cavity(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(heights, radii) of the hollow, from the floor to the rim."""
        above = self.heights > self.floor
        heights = np.concatenate([[self.floor], self.heights[above]])
        return heights, np.interp(heights, self.heights, self.inner)


class Revolved(Solid):
    """What a profile becomes when it is turned about its axis."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def bulk(self) -> Bulk:
        whole = _moments(self.profile.heights, self.profile.outer)
        hollow = _moments(*self.profile.cavity())
        volume, first, around, second = (a - b for a, b in zip(whole, hollow, strict=True))
        height = first / volume
        # of a slice across the axis half as much as around it, and what its height adds
        across = around / 2 + second - volume * height**2
        return Bulk(volume, np.array([0.0, 0.0, height]), np.diag([across, across, around]))

    def capacity(self) -> float:
        """Of the hollow up to the rim, m³."""
        return _moments(*self.profile.cavity())[0]

    def parts(self) -> list[Part]:
        """A flat cylinder inside the outside at each knot: what it stands on, and what it would fall on."""
        profile = self.profile
        half = 0.001
        places = np.clip(profile.heights, half, profile.heights[-1] - half)
        return [
            Part("cylinder", (float(radius), half), (0.0, 0.0, float(height)))
            for height, radius in zip(places, profile.outer, strict=True)
        ]

    def surface(self) -> Surface:
        profile = self.profile
        heights, radii = profile.cavity()
        line = np.concatenate(
            [np.stack([profile.outer, profile.heights], 1), np.stack([radii, heights], 1)[::-1]]
        )  # up the outside and down the inside
        return _turned(line, bottom=0.0, top=profile.floor)


class RevolvedProfile(DesignSpace):
    """A foot, and rings that are raised on it one by one.

    Numbers of the first step: radius of the foot, thickness of the bottom, wall at the bottom. Of each other step: how high the wall is
    raised, how far it leans out or in, its thickness there. Walls are measured across, so that a leaning wall is no thinner.
    """

    steps = 8
    width = 3

    FOOT = (0.020, 0.050)
    BOTTOM = (0.002, 0.010)
    RISE = (0.006, 0.026)
    LEAN = (-0.7, 0.7)
    """of the outside, to the height: 35 degrees at most, which prints without support"""
    WALL = (0.0012, 0.0060)
    RADIUS = (0.015, 0.070)

    def build(self, steps: Steps) -> Revolved:
        foot, bottom, wall = self._foot(steps[0])
        heights, outer, walls = [0.0], [foot], [wall]
        for step in steps[1:]:
            height, radius, wall = self._ring(step, outer[-1])
            heights.append(heights[-1] + height)
            outer.append(radius)
            walls.append(wall)
        if len(heights) == 1:  # a bottom alone: shown with the least wall that there is
            heights.append(bottom + self.RISE[0])
            outer.append(foot)
            walls.append(wall)
        knots, radii = np.array(heights), np.array(outer)
        inner = np.maximum(radii - np.array(walls) * _across(knots, radii), 0.004)
        return Revolved(Profile(knots, radii, inner, min(bottom, 0.5 * heights[-1])))

    def describe(self, steps: Steps) -> str:
        if len(steps) == 1:
            foot, bottom, wall = self._foot(steps[0])
            return f"a foot {2000 * foot:.0f} mm across, its bottom {1000 * bottom:.1f} mm thick"
        before = self.build(steps[:-1]).profile.outer[len(steps) - 2]
        height, radius, wall = self._ring(steps[-1], before)
        lean = f"{'out' if radius > before else 'in'} by {1000 * abs(radius - before):.0f}"
        return f"raise the wall by {1000 * height:.0f} mm, {lean} mm to {2000 * radius:.0f} mm across, {1000 * wall:.1f} mm thick"

    def _foot(self, step: NDArray[np.float64]) -> tuple[float, float, float]:
        return between(step[0], *self.FOOT), between(step[1], *self.BOTTOM), between(step[2], *self.WALL)

    def _ring(self, step: NDArray[np.float64], before: float) -> tuple[float, float, float]:
        """(height, outer radius at its top, wall) of a ring upon one that ends with the radius `before`."""
        height = between(step[0], *self.RISE)
        radius = min(max(before + height * between(step[1], *self.LEAN), self.RADIUS[0]), self.RADIUS[1])
        return height, radius, between(step[2], *self.WALL)


def _moments(heights: NDArray[np.float64], radii: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Of a body of revolution: volume, and the integrals of z, of the squared distance from the axis, and of z squared."""
    half, middle = np.diff(heights) / 2, (heights[1:] + heights[:-1]) / 2
    z = middle + half * NODES[:, None]
    r = (radii[1:] + radii[:-1]) / 2 + np.diff(radii) / 2 * NODES[:, None]
    weight = np.pi * half * WEIGHTS[:, None] * r**2
    volume, first, around, second = (float((weight * value).sum()) for value in (1.0, z, r**2 / 2, z**2))
    return volume, first, around, second


def _across(heights: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much longer than the wall is its horizontal cut at each knot: by the steeper leaning of the two rings that meet there."""
    lean = np.abs(np.diff(radii) / np.diff(heights))
    steepest = np.maximum(np.concatenate([lean[:1], lean]), np.concatenate([lean, lean[-1:]]))
    return np.sqrt(1 + steepest**2)


def _turned(line: NDArray[np.float64], *, bottom: float, top: float) -> Surface:
    """A line of (radius, height), P points from the ground outside to the floor inside, turned; both ends are closed on the axis."""
    angles = 2 * np.pi * np.arange(SEGMENTS) / SEGMENTS
    points = len(line)
    round_ = np.stack([np.cos(angles), np.sin(angles)], 1)
    x, y = (line[:, 0, None] * round_[:, axis] for axis in (0, 1))  # (P, S)
    rings = np.stack([x, y, np.broadcast_to(line[:, 1, None], x.shape)], 2).reshape(-1, 3)
    vertices = np.concatenate([rings, [[0.0, 0.0, bottom], [0.0, 0.0, top]]])
    here, beside = np.arange(SEGMENTS), (np.arange(SEGMENTS) + 1) % SEGMENTS
    faces = []
    for ring in range(points - 1):
        a, b, c, d = (at + SEGMENTS * number for number in (ring, ring + 1) for at in (here, beside))
        faces += [np.stack([a, b, d], 1), np.stack([a, d, c], 1)]
    first, last = points * SEGMENTS, points * SEGMENTS + 1
    faces.append(np.stack([np.full(SEGMENTS, first), beside, here], 1))
    inside = (points - 1) * SEGMENTS
    faces.append(np.stack([np.full(SEGMENTS, last), inside + here, inside + beside], 1))
    return Surface(vertices, np.concatenate(faces).astype(np.int64))
