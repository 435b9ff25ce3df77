"""Liquid in a hollow that is moved: not its drops, but how its surface leans, and what that spills.

The first way in which liquid sloshes, to and fro, is that of a pendulum, the rest of it moves with the vessel: the equivalent
mechanical model of tanks (Abramson, NASA SP-106, 1966; here of a cylinder as wide as the surface and as deep as the liquid). At rest, and
under a steady push, the surface stands exactly across the pendulum; in motion it is taken to do so, which leaves out waves and splashes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from .physics import GRAVITY, set_inertia
from .revolve import Profile

DENSITY = 1000.0
"""of water, kg / m³"""
FIRST = 1.841
"""of the first way of sloshing in a cylinder: zero of the derivative of the Bessel function J1"""
DAMPING = 0.03
"""share of the critical; water in cups has 1 to 5 %"""
SWING = 70.0
"""degrees that the pendulum swings at most, along each axis"""
SLICES = 48


class Hollow:
    """The hollow of a profile, cut into level slices, for volumes upright and leaning.

    Args:
        profile: of the vessel.
    """

    def __init__(self, profile: Profile) -> None:
        heights, radii = profile.cavity()
        edges = np.linspace(heights[0], heights[-1], SLICES + 1)
        self.rim, self.lip = float(heights[-1]), float(radii[-1])
        self.floor = float(heights[0])
        self._z = (edges[1:] + edges[:-1]) / 2
        self._r = np.interp(self._z, heights, radii)
        self._thick = float(edges[1] - edges[0])
        self._filled = np.concatenate([[0.0], np.cumsum(np.pi * self._r**2 * self._thick)])
        self._edges = edges

    @property
    def capacity(self) -> float:
        """Up to the rim, m³."""
        return float(self._filled[-1])

    def level(self, volume: float) -> float:
        """Height of the surface of so much liquid, upright; the rim's where it does not fit."""
        return float(np.interp(volume, self._filled, self._edges))

    def radius(self, height: float) -> float:
        """Of the hollow at a height."""
        return float(np.interp(height, self._z, self._r))

    def centre(self, level: float) -> float:
        """Height of the centre of mass of liquid up to a level above the floor."""
        weight = np.pi * self._r**2 * np.clip(level - self._edges[:-1], 0, self._thick)
        return float((weight * self._z).sum() / max(weight.sum(), 1e-12))

    def held(self, lean: float) -> float:
        """What stays in where the surface leans by an angle (rad, from 0 up to a right angle) against the rim, m³.

        The surface meets the lip on the lower side; of each slice a segment of its circle is below it.
        """
        if lean <= 1e-6:
            return self.capacity
        cut = np.clip(self.lip - (self.rim - self._z) / math.tan(min(lean, 1.57)), -self._r, self._r)
        area = self._r**2 * np.arccos(cut / self._r) - cut * np.sqrt(np.maximum(self._r**2 - cut**2, 0))
        return float(area.sum() * self._thick)


@dataclass(frozen=True)
class Slosh:
    """So much liquid in a hollow, as a fixed mass and a pendulum."""

    mass: float
    """of all of it, kg"""
    moving: float
    """share of the mass that swings"""
    length: float
    """of the pendulum, m"""
    centre: float
    """height of the centre of mass, m"""

    @classmethod
    def of(cls, hollow: Hollow, volume: float) -> Slosh:
        """The pendulum of a cylinder with the radius of the surface and the depth of the liquid (Abramson, table 6.1, first mode)."""
        level = hollow.level(volume)
        radius, depth = hollow.radius(level), max(level - hollow.floor, 1e-4)
        stretch = math.tanh(FIRST * depth / radius)
        share = radius / (2.2 * depth) * stretch
        return cls(DENSITY * volume, share, radius / (FIRST * stretch), hollow.centre(level))

    def hang(self, body: Any) -> None:
        """Add it to MuJoCo's body of the vessel: the pendulum, hung so that it rests where the liquid's centre is, and the rest fixed there."""
        fixed = body.add_body(name="still liquid", pos=[0, 0, self.centre])
        set_inertia(fixed, self.mass * (1 - self.moving), np.zeros(3), np.zeros((3, 3)))
        swinging = body.add_body(name="sloshing", pos=[0, 0, self.centre + self.length])
        mass = self.mass * self.moving
        set_inertia(swinging, mass, np.array([0.0, 0.0, -self.length]), np.zeros((3, 3)))
        damping = 2 * DAMPING * mass * self.length**2 * math.sqrt(GRAVITY / self.length)
        for axis in ([1, 0, 0], [0, 1, 0]):
            joint = swinging.add_joint(type=mujoco.mjtJoint.mjJNT_HINGE, axis=axis, damping=damping)
            # two hinges lose an axis at a right angle; what leans so far has spilled all that it can
            joint.limited, joint.range = mujoco.mjtLimited.mjLIMITED_TRUE, [-SWING, SWING]


def lean_of(surface: NDArray[np.float64], vessel: NDArray[np.float64]) -> float:
    """Angle between the pendulum, whose frame is `surface` (9,), and the vessel's axis, of the frame `vessel` (9,), rad."""
    cosine = float(surface[2::3] @ vessel[2::3])
    return math.acos(max(-1.0, min(1.0, cosine)))
