"""A design space of seats on legs, put together of a round board, straight rods below it, and rods between those."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .assembly import Assembly, rod
from .solid import Part
from .space import DesignSpace, Steps, between

LEFT_OUT_LEG, LEFT_OUT_RING = -0.5, 0.0
"""where the number of a diameter is below, there is no leg, or no ring of rods"""
TURNS = (0, 10, -10, 20, -20, 30, -30)
"""degrees that a leg is turned by, in this order, until it is clear of those that are there"""
CLEAR = 0.005
"""between two legs, m"""


@dataclass(frozen=True)
class Leg:
    """A straight rod from the floor into the seat."""

    top: NDArray[np.float64]
    """end of its axis within the seat, (3,), m"""
    foot: NDArray[np.float64]
    """lower end of its axis, (3,), m; the lowest point of its rim is at 0"""
    radius: float
    """m"""


@dataclass(frozen=True)
class Bar:
    """A straight rod between the axes of two legs."""

    legs: tuple[int, int]
    """which"""
    ends: tuple[NDArray[np.float64], NDArray[np.float64]]
    """(3,) each, m, on those axes"""
    radius: float
    """m"""


@dataclass(frozen=True)
class Board:
    """A round seat."""

    radius: float
    """m"""
    thickness: float
    """m"""
    height: float
    """of its top, m"""


class Seating(Assembly):
    """A seat on legs as one body that remembers what it was put together of.

    Args:
        board: the seat.
        legs: any number.
        bars: between legs.
    """

    def __init__(self, board: Board, legs: Sequence[Leg] = (), bars: Sequence[Bar] = ()) -> None:
        self.board, self.legs, self.bars = board, list(legs), list(bars)
        middle = board.height - board.thickness / 2
        seat = Part("cylinder", (board.radius, board.thickness / 2), (0.0, 0.0, middle))
        rods = [rod(leg.foot, leg.top, leg.radius) for leg in legs] + [rod(*bar.ends, bar.radius) for bar in bars]
        super().__init__([seat, *rods])

    @property
    def volume(self) -> float:
        """Of `bulk`, without the rest of it, m³."""
        return sum(math.pi * piece.size[0] ** 2 * 2 * piece.size[1] for piece in self.parts())


class LeggedSeat(DesignSpace):
    """A round seat, then five legs, then two rings of stretchers; legs and rings may be left out.

    The four numbers of the seat's step are its radius, 110 to 220 mm; thickness, 15 to 40 mm; height of its top, 300 to 600 mm; and one
    that says nothing.

    Those of a leg: which way it stands, -180° to 180°; how far from the middle it is joined, as a share of what the seat has room for,
    0.2 to 1; how much further out its foot is, -40 to 140 mm; its diameter, 18 to 50 mm from -0.5 up, and no leg below.

    Those of stretchers, rods from each leg to the next one round: their height, 0.15 to 0.75 of the seat's; their diameter, 10 to 30 mm from
    0 up, but at most 0.9 of the thinnest leg's, and none below; and two that say nothing.

    A leg that would stand in another is turned by up to 30°, and left out where that does not help. Without legs the seat lies on the
    floor.
    """

    steps: ClassVar[int] = 8
    width: ClassVar[int] = 4
    legs: ClassVar[int] = 5
    """steps that are legs, after the one of the seat"""

    def build(self, steps: Steps) -> Seating:
        return self._build(steps)[0]

    def describe(self, steps: Steps) -> str:
        return self._build(steps)[1]

    def _build(self, steps: Steps) -> tuple[Seating, str]:
        """The seating, and its last step in words."""
        said = ""
        board = Board(
            between(steps[0][0], 0.11, 0.22), between(steps[0][1], 0.015, 0.04), between(steps[0][2], 0.3, 0.6)
        )
        if len(steps) == 1:
            said = f"seat: {_mm(2 * board.radius)} across, {_mm(board.thickness)} thick, its top at {_mm(board.height)}"
        legs: list[Leg] = []
        for numbers in steps[1 : 1 + self.legs]:
            leg, said = _leg(numbers, board, legs)
            if leg is not None:
                legs.append(leg)
        rings: list[tuple[float, float]] = []
        bars: list[Bar] = []
        for numbers in steps[1 + self.legs :]:
            added, said = _ring(numbers, board, legs, rings)
            bars += added
        if not legs:
            board = Board(board.radius, board.thickness, board.thickness)
        return Seating(board, legs, bars), said


def _leg(numbers: NDArray[np.float64], board: Board, others: Sequence[Leg]) -> tuple[Leg | None, str]:
    if numbers[3] < LEFT_OUT_LEG:
        return None, "leg: left out"
    radius = between(_from(numbers[3], LEFT_OUT_LEG), 0.018, 0.05) / 2
    splay = between(numbers[2], -0.04, 0.14)
    # a leaning leg's cut through the board is longer than it is wide
    slant = math.atan2(splay, board.height - board.thickness)
    room = board.radius - radius / math.cos(slant) - 0.5 * board.thickness * abs(math.tan(slant))
    joined = between(numbers[1], 0.2, 1.0) * room
    out = max(joined + splay, 0.02)
    high = board.height - board.thickness / 2
    # the rim of a leaning leg's upper end must not come out on top
    high = min(high, board.height - radius * abs(math.sin(slant)) - 0.001)
    low = 0.0
    for _ in range(3):
        low = radius * math.sin(math.atan2(abs(out - joined), high - low))
    for turn in TURNS:
        angle = math.pi * numbers[0] + math.radians(turn)
        way = np.array([math.cos(angle), math.sin(angle), 0.0])
        leg = Leg(joined * way + [0, 0, high], out * way + [0, 0, low], radius)
        if all(_gap(leg, other) > CLEAR for other in others):
            degrees = (math.degrees(angle) + 180) % 360 - 180
            said = (
                f"leg: {_mm(2 * radius)} thick, at {degrees:.0f}°, {_mm(joined)} from the middle, "
                f"its foot at {_mm(out)}" + (f", turned by {turn}° to be clear of another" if turn else "")
            )
            return leg, said
    return None, "leg: left out, as it would stand in another"


def _ring(
    numbers: NDArray[np.float64], board: Board, legs: Sequence[Leg], rings: list[tuple[float, float]]
) -> tuple[list[Bar], str]:
    """Rods from each leg to the next, in words too; `rings` are heights and radii of those there, to which it is added."""
    if numbers[1] < LEFT_OUT_RING:
        return [], "stretchers: left out"
    if len(legs) < 2:
        return [], "stretchers: left out, as there are no two legs to join"
    height = between(numbers[0], 0.15, 0.75) * board.height
    radius = between(_from(numbers[1], LEFT_OUT_RING), 0.01, 0.03) / 2
    radius = min(radius, 0.9 * min(leg.radius for leg in legs))
    if any(abs(height - there) < radius + thick + CLEAR for there, thick in rings):
        return [], "stretchers: left out, as there are others at that height"
    rings.append((height, radius))
    order = sorted(range(len(legs)), key=lambda index: math.atan2(legs[index].foot[1], legs[index].foot[0]))
    pairs = list(zip(order, [*order[1:], order[0]], strict=True))[: 1 if len(legs) == 2 else None]
    bars = [Bar((one, two), (_at(legs[one], height), _at(legs[two], height)), radius) for one, two in pairs]
    return bars, f"stretchers: {_mm(2 * radius)} thick, at a height of {_mm(height)}, {len(bars)} of them"


def _at(leg: Leg, height: float) -> NDArray[np.float64]:
    """The point (3,) of a leg's axis at a height."""
    share = (height - leg.foot[2]) / (leg.top[2] - leg.foot[2])
    point: NDArray[np.float64] = leg.foot + share * (leg.top - leg.foot)
    return point


def _gap(one: Leg, two: Leg) -> float:
    """Least distance between two legs' sides, measured level."""
    low, high = (one.foot - two.foot)[:2], (one.top - two.top)[:2]
    rise = high - low
    along = float(rise @ rise)
    share = min(1.0, max(0.0, -float(low @ rise) / along)) if along > 0 else 0.0
    return float(np.linalg.norm(low + share * rise)) - one.radius - two.radius


def _from(number: float, least: float) -> float:
    """A number of [least, 1] as one of [-1, 1]."""
    return 2 * (float(number) - least) / (1 - least) - 1


def _mm(metres: float) -> str:
    return f"{1000 * metres:.0f} mm"
