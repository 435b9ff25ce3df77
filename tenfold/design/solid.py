"""Bodies of one material: what the physics engine needs to know of them, and their surface as a mesh.

Lengths are metres, z points up, and what stands on the ground stands on z = 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Material:
    """What things are made of."""

    name: str
    density: float
    """kg / m³"""
    stiffness: float = 0.0
    """Young's modulus, Pa; 0 where nothing is asked that depends on it"""
    strength: float = 0.0
    """stress that it bears, Pa, safety already taken off"""


PLASTIC = Material("printed plastic (PLA)", 1240.0, 2.3e9, 2.0e7)
"""solid prints; 40 % of the 50 MPa that the plastic bears along its layers"""
WOOD = Material("beech", 700.0, 1.1e10, 3.0e7)
"""a third of the 90 MPa that it bears in bending along the grain"""


@dataclass(frozen=True)
class Part:
    """A convex piece that the engine can bump into."""

    kind: Literal["box", "cylinder", "capsule", "sphere"]
    size: tuple[float, ...]
    """as MuJoCo has it: half sides of a box; radius and half length of a cylinder or a capsule; radius of a sphere"""
    at: Vector
    """its middle"""
    turn: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    """quaternion (w, x, y, z)"""


@dataclass(frozen=True)
class Bulk:
    """How material is distributed, for a density of 1."""

    volume: float
    """m³"""
    centre: NDArray[np.float64]
    """of mass, (3,)"""
    inertia: NDArray[np.float64]
    """about the centre, (3, 3), m⁵"""


@dataclass(frozen=True)
class Surface:
    """Triangles in metres."""

    vertices: NDArray[np.float64]
    """(V, 3)"""
    faces: NDArray[np.int64]
    """(F, 3), seen from outside against the clock"""


class Solid(ABC):
    """A body that a design has come to."""

    @abstractmethod
    def bulk(self) -> Bulk:
        """How its material is distributed."""

    @abstractmethod
    def parts(self) -> list[Part]:
        """Convex pieces that the engine takes it for where it touches something."""

    @abstractmethod
    def surface(self) -> Surface:
        """Its closed surface, as it is exported."""


def turn_to(direction: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """The quaternion that turns z into a direction, (3,), of any length above 0."""
    x, y, z = direction / np.linalg.norm(direction)
    if z < -1 + 1e-12:
        return (0.0, 1.0, 0.0, 0.0)
    half = np.array([1 + z, -y, x, 0.0])
    w, a, b, c = half / np.linalg.norm(half)
    return (float(w), float(a), float(b), float(c))
