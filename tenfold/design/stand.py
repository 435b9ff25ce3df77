"""A stand that a phone leans on: it is to hold the phone through shakes and taps, at the angle asked for, its screen free."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from .assembly import Assembly
from .physics import Scene
from .solid import PLASTIC, Material, Part, Solid
from .space import Steps, between
from .task import Goal, Task, Verdict, Want
from .voxels import Cells, VoxelBlocks, Voxels

WIDE, LONG, THICK = 0.072, 0.150, 0.009
"""of the phone, m"""
HALVES = np.array([THICK / 2, WIDE / 2, LONG / 2])
PHONE = Material("phone", 0.19 / (WIDE * LONG * THICK))
"""0.19 kg, evenly spread"""
FRICTION = 0.5
"""of plastic on a table and of the phone on plastic; from 0.3 to 0.6 is usual"""
STRONGEST = 5.0
"""the strongest shake, m/s²: just above FRICTION times gravity, where a stand slides and feels no more; ours"""
TAP = 2.5
"""the strongest press of a finger, N; ours"""
LEVELS = 6
"""that shakes and presses grow by; ours"""
HOLDING = 0.08
"""seconds that each level lasts; ours"""
SETTLING = 0.4
"""seconds that the phone has to come to rest; ours"""
FLOOR, PHONE_ONLY = 1, 2
"""bits of MuJoCo's that say what can touch what"""
FOOT = 0.001
"""radius of the points that a stand touches the table with, m"""
HEAVY = 0.3
"""a stand of this mass, kg, is not light at all; ours"""


@dataclass(frozen=True)
class Seat:
    """Where a phone is to stand: leaning back, towards larger x, its screen to smaller x."""

    x: float
    """of its lowest edge, which is the back one, m"""
    z: float
    angle: float
    """between table and screen, rad"""

    @property
    def along(self) -> NDArray[np.float64]:
        """From the lower end to the upper, (x, z)."""
        return np.array([math.cos(self.angle), math.sin(self.angle)])

    @property
    def out(self) -> NDArray[np.float64]:
        """From the back to the screen and on to who looks at it, (x, z)."""
        return np.array([-math.sin(self.angle), math.cos(self.angle)])


class StandBody(Voxels):
    """A stand, and where the phone is put on it."""

    def __init__(self, cells: Cells, cell: float, seat: Seat) -> None:
        super().__init__(cells, cell)
        self.seat = seat


class StandBlocks(VoxelBlocks):
    """The first step places the phone and makes a seat with a lip for it; each other one adds or carves a block.

    Numbers of the first step: angle, the front edge's place along x, the back edge's height, and of the seat the lip's height, half
    width, depth, how wide a gap the lip has in the middle, and thickness (the lower
    half: down to the ground). Front and height are whole cells, so that the phone touches
    seat and lip from the beginning. All cells that the phone reaches into, slid in from above, are cut away at last: no block
    is ever in its way. The cut leaves whole cells, so behind the phone there may be nearly a cell of air, into which it leans.
    """

    def seat(self, first: NDArray[np.float64]) -> tuple[Seat, tuple[int, int]]:
        """Where the first step (8,) places the phone, and the cell (x, z) behind the lip and on the seat."""
        angle = math.radians(between(float(first[0]), 30, 80))
        front = 1 + int(between(float(first[1]), 0, self.counts[0] // 2) + 0.5)
        rise = 1 + int(between(float(first[2]), 0, 5) + 0.5)
        x = (front - self.counts[0] / 2) * self.cell + THICK * math.sin(angle)
        return Seat(x, rise * self.cell, angle), (front, rise)

    def seat_cells(self, first: NDArray[np.float64]) -> tuple[Cells, tuple[int, int, int, int, int]]:
        """The half (nx, ny / 2, nz) with seat and lip, and in cells lip, half width, depth, half the gap, and thickness."""
        _, (front, rise) = self.seat(first)
        lip = 1 + int(between(float(first[3]), 0, 4) + 0.5)
        wide = 1 + int(between(float(first[4]), 0, self.half[1] - 1) + 0.5)
        deep = 1 + int(between(float(first[5]), 0, 7) + 0.5)
        gap = int(between(float(first[6]), 0, wide - 1) + 0.5)
        under = int(max(0.0, between(float(first[7]), -rise, rise - 1)) + 0.5)
        cells = np.zeros(self.half, dtype=np.bool_)
        cells[front - 1 : front + deep, :wide, under:rise] = True
        cells[front - 1, gap:wide, rise : rise + lip] = True
        return cells, (lip, wide, deep, gap, rise - under)

    def modelled(self, steps: Steps) -> Cells:
        if len(steps) == 0:
            return np.zeros(self.half, dtype=np.bool_)
        cells, _ = self.seat_cells(steps[0])
        for step in steps[1:]:
            self.block(step).put(cells)
        return cells & ~self.reached(self.seat(steps[0])[0])[:, None, :]

    def reached(self, seat: Seat) -> Cells:
        """Which cells, seen from the side (nx, nz), a phone reaches into that is slid in along its length."""
        half = self.cell / 2
        x = ((np.arange(self.counts[0]) + 0.5) - self.counts[0] / 2)[:, None] * self.cell
        z = ((np.arange(self.counts[2]) + 0.5) * self.cell)[None, :]
        reach = half * (math.cos(seat.angle) + math.sin(seat.angle)) - 1e-9
        along, out = seat.along, seat.out
        up = along[0] * (x - seat.x) + along[1] * (z - seat.z)
        off = out[0] * (x - seat.x) + out[1] * (z - seat.z)
        front = seat.x + THICK * out[0]
        # a square and a strip are apart if they are so along a side of the one or of the other
        meets: Cells = (up > -reach) & (off > -reach) & (off < THICK + reach)
        return meets & (x + half > front + 1e-9) & (z + half > seat.z + 1e-9)

    def build(self, steps: Steps) -> StandBody:
        seat, _ = self.seat(steps[0])
        return StandBody(self.whole(steps), self.cell, seat)

    def describe(self, steps: Steps) -> str:
        if len(steps) > 1:
            return super().describe(steps)
        seat, (front, _) = self.seat(steps[0])
        _, (lip, wide, deep, gap, thick) = self.seat_cells(steps[0])
        mm = 1000 * self.cell
        slit = f", the lip with a gap of {2 * gap * mm:.0f} mm" if gap else ""
        text = (
            f"place the phone at {math.degrees(seat.angle):.0f}°, its front edge at {(front - self.counts[0] / 2) * mm:.0f} mm, "
            f"{1000 * seat.z:.0f} mm high, on a seat {2 * wide * mm:.0f} mm wide, {(deep + 1) * mm:.0f} mm deep and "
            f"{thick * mm:.0f} mm thick with a lip of {lip * mm:.0f} mm{slit}: "
        )
        return text + self.outcome(steps, carve=False)


class Stand(Task):
    """A phone stand. The phone is let go in its place; then the table shakes, and a finger presses, ever harder.

    Wherever two cells meet the plastic is at least 6 mm thick: it bears 0.7 Nm, five times what the phone weighs 75 mm out,
    so its strength is not asked for.
    """

    name = "Stand"
    space = StandBlocks()
    goals = (
        Goal("hold", "how hard the table may shake and a finger press before the phone or its stand falls over", 1.5),
        Goal("angle", "how near the phone comes to rest to the angle asked for", 1.0),
        Goal("view", "how little of the screen is hidden by the stand", 1.0),
        Goal("light", "how little plastic it takes, of a stand that holds the phone", 1.0),
    )
    wants = (Want("angle_deg", "between table and screen, in degrees", 60.0, 35.0, 75.0),)
    material = PLASTIC
    light = "light"

    def judge(self, solid: Solid, wants: Mapping[str, float], random: np.random.Generator) -> Verdict:
        assert isinstance(solid, StandBody), "the solid must come from StandBlocks, which know where the phone is put"
        bench = Bench(solid)
        mass = float(bench.scene.model.body("design").mass[0])
        facts = {"mass_g": 1000 * mass, "cells": float(solid.cells.sum())}
        rested = bench.settle()
        if rested < 1:
            scores = {"hold": 0.1 * rested, "angle": 0.0, "view": 0.0, "light": 0.0}
            return Verdict(scores, facts | {"angle_deg": 0.0, "shake_ms2": 0.0, "hidden_share": 1.0})
        angle = bench.angle()
        hidden = hidden_share(solid, *bench.pose())
        shares = bench.trials(random)
        scores = {
            "hold": 0.1 + 0.9 * float(np.mean(shares)),
            "angle": math.exp(-abs(angle - wants["angle_deg"]) / 8),
            "view": math.exp(-hidden / 0.2),
            "light": max(0.0, 1 - mass / HEAVY),
        }
        shake = STRONGEST * float(np.mean(shares[:3]))
        return Verdict(scores, facts | {"angle_deg": angle, "shake_ms2": shake, "hidden_share": hidden})


class Bench:
    """A table with a stand and a phone on it.

    Args:
        solid: the stand, with the phone's place.
        friction: of everything on everything.
    """

    def __init__(self, solid: StandBody, friction: float = FRICTION) -> None:
        seat = solid.seat
        self.scene = Scene(timestep=0.005, friction=friction)
        stand = self.scene.add(solid, PLASTIC)
        _put_on_feet(stand, solid, friction)
        middle = np.array([seat.x, seat.z]) + LONG / 2 * seat.along + THICK / 2 * seat.out
        lean = math.pi / 2 - seat.angle
        phone = self.scene.add(
            Assembly([Part("box", (THICK / 2, WIDE / 2, LONG / 2), (0.0, 0.0, 0.0))]),
            PHONE,
            name="phone",
            at=(float(middle[0]), 0.0, float(middle[1])),
            turn=(math.cos(lean / 2), 0.0, math.sin(lean / 2), 0.0),
        )
        phone.geoms[0].contype, phone.geoms[0].conaffinity = 0, FLOOR | PHONE_ONLY
        self.scene.start()
        self._bodies = [int(self.scene.model.body(name).id) for name in ("design", "phone")]
        # views, not copies: they follow the engine
        self._places, self._axes = self.scene.data.xpos, self.scene.data.xmat.reshape(-1, 3, 3)
        self._rest: tuple[Any, Any] | None = None
        self._held = self.pose()
        self._leaning = self._axes[self._bodies[1]].copy()

    def settle(self) -> float:
        """Let the phone go: the share of the time until it has slipped off or tipped the stand, 1 if it has not."""
        parts = 8
        for part in range(parts):
            self.scene.run(SETTLING / parts)
            if self.lost(0.04, math.cos(math.radians(20))):
                return part / parts
        data = self.scene.data
        self._rest = (data.qpos.copy(), data.qvel.copy())
        self._held = self.pose()
        self._leaning = self._axes[self._bodies[1]].copy()
        return 1.0 if self.scene.sane else 0.0

    def trials(self, random: np.random.Generator) -> list[float]:
        """How much of each trial is borne, all from rest: shakes to the front, the back and a side, and a press beside the middle."""
        side, beside = random.choice([-1.0, 1.0], 2)
        dither = random.random(4)
        ways = ((-1.0, 0.0), (1.0, 0.0), (0.0, float(side)))
        shares = [self.shaken(way, float(moved)) for way, moved in zip(ways, dither, strict=False)]
        return [*shares, self.pressed(0.02 * float(beside), float(dither[3]))]

    def shaken(self, way: tuple[float, float], dither: float) -> float:
        """The share of STRONGEST at which the phone is lost while the table accelerates.

        Args:
            way: where to, a unit vector.
            dither: moves all levels, in [0, 1): what is between two levels then counts on average.
        """
        self._calm()
        share = 0.0
        for tried in (np.arange(LEVELS) + dither + 0.5) / LEVELS:
            strength = STRONGEST * min(1.0, float(tried))
            self.scene.run(HOLDING, shove=(strength * way[0], strength * way[1]))
            if self.lost(0.015, math.cos(math.radians(12))):
                break
            share = float(tried)
        return min(1.0, share) if self.scene.sane else 0.0

    def pressed(self, beside: float, dither: float) -> float:
        """The share of TAP at which the phone is lost while a finger presses on it, 20 mm below its upper end.

        Args:
            beside: how far from the middle of the screen, m.
            dither: as of `shaken`.
        """
        self._calm()
        axes, force = self._leaning, self.scene.data.xfrc_applied[self._bodies[1]]
        push = TAP * axes[:, 0]
        turning = np.cross(axes @ (-THICK / 2, beside, LONG / 2 - 0.02), push)
        share = 0.0
        for tried in (np.arange(LEVELS) + dither + 0.5) / LEVELS:
            force[:3], force[3:] = min(1.0, tried) * push, min(1.0, tried) * turning
            self.scene.run(HOLDING)
            if self.lost(0.015, math.cos(math.radians(12))):
                break
            share = float(tried)
        force[:] = 0
        return min(1.0, share) if self.scene.sane else 0.0

    def _calm(self) -> None:
        """Everything back to where it came to rest."""
        assert self._rest is not None, "settle first"
        data = self.scene.data
        data.qpos[:], data.qvel[:] = self._rest
        data.qacc_warmstart[:] = 0

    def lost(self, far: float, turned: float) -> bool:
        """Whether the phone has left its place on the stand, or touches the table, or the stand has tipped.

        Args:
            far: how far the phone may shift on the stand, m.
            turned: how far it may turn on it, and the stand may tip: the angle's cosine.
        """
        stand, phone = self._bodies
        if not self._axes[stand, 2, 2] >= turned:  # neither is nan
            return True
        low = self._places[phone, 2] - np.abs(self._axes[phone, 2]) @ HALVES
        if low < 0.002:
            return True
        place, axes = self.pose()
        was, before = self._held
        return math.dist(place, was) > far or float(np.vdot(before, axes)) < 1 + 2 * turned

    def pose(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The middle of the phone's lower end (3,) and its axes (3, 3), as the stand sees them."""
        stand, phone = self._bodies
        base, turn = self._axes[stand], self._axes[phone]
        return base.T @ (self._places[phone] - LONG / 2 * turn[:, 2] - self._places[stand]), base.T @ turn

    def angle(self) -> float:
        """Between table and screen, degrees; above 90 it hangs over."""
        up = self._axes[self._bodies[1], :, 2]
        return math.degrees(math.atan2(float(up[2]), float(up[0])))


def _put_on_feet(body: Any, stand: Voxels, friction: float) -> None:
    """Let a stand touch the table at the outermost corners of its ground only: it tips over the same edges, and the engine is faster.

    What hangs over the ground still touches the table where the stand leans.
    """
    for geom, part in zip(body.geoms, stand.parts(), strict=True):
        if part.at[2] - part.size[2] < stand.cell / 2:
            geom.contype, geom.conaffinity = PHONE_ONLY, 0
    ground = stand.cells[:, :, 0]
    rows = np.flatnonzero(ground.any(axis=1))
    first = ground[rows].argmax(axis=1)
    last = ground.shape[1] - ground[rows, ::-1].argmax(axis=1)
    corners = np.stack([np.concatenate([rows, rows, rows + 1, rows + 1]), np.concatenate([first, last] * 2)], axis=1)
    outermost = stand.corner[:2] + corners[ConvexHull(corners).vertices] * stand.cell
    for x, y in outermost.tolist():
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_SPHERE,
            size=[FOOT, 0.0, 0.0],
            pos=[x, y, FOOT],
            friction=[friction, 0.005, 0.0001],
            contype=0,
            conaffinity=FLOOR,
        )


def hidden_share(stand: Voxels, end: NDArray[np.float64], axes: NDArray[np.float64]) -> float:
    """How much of the screen cells stand before, seen at a right angle to it, in [0, 1].

    Args:
        stand: the cells.
        end: middle of the phone's lower end, as the stand sees it, (3,).
        axes: of the phone, as columns: away from the screen's back side to the rear, to the side, up; (3, 3).
    """
    rows, columns = 50, 24
    seen = (stand.centres() - end) @ axes
    before = seen[seen[:, 0] < -THICK / 2]
    reach = stand.cell / 2 * float(abs(axes[0, 2]) + abs(axes[2, 2]))
    up = before[:, None, 2] + np.linspace(-reach, reach, 7)
    side = before[:, None, 1] + np.array([-stand.cell / 4, stand.cell / 4])
    row = np.floor(up / LONG * rows).astype(np.int64).clip(-1, rows)
    column = np.floor((side / WIDE + 0.5) * columns).astype(np.int64).clip(-1, columns)
    # a frame around the screen takes what is beside it
    screen = np.zeros((rows + 2, columns + 2), dtype=np.bool_)
    screen[row[:, :, None] + 1, column[:, None, :] + 1] = True
    return float(screen[1:-1, 1:-1].mean())
