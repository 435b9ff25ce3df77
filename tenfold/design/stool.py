"""A stool of beech: a seat that carries a person and holds against pushes, of little wood.

In the engine a person sits on a free seat. Each leg hangs on it by a ball joint, whose spring is the leg's own bending lumped in one
place: 3 E I / L, by which its foot gives as a cantilever's end does. Stretchers are springs of E A / L between legs. The feet stand on
the floor by friction alone. Stresses come from the angles and forces that the engine finds; the seat's own bending is by formula only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import mujoco
import numpy as np
from numpy.typing import NDArray

from .furniture import Leg, LeggedSeat, Seating
from .physics import GRAVITY, Scene, in_engine, ring, set_inertia
from .solid import WOOD, Material, Solid, Vector, turn_to
from .task import Goal, Task, Verdict, Want

Array = NDArray[np.float64]
State = tuple[Array, Array, Array]

TIMESTEP, FRICTION = 0.005, 0.6
CHEST, GYRATION = 0.25, 0.2
"""of the sitter: centre above the seat, and radius of gyration, m"""
OFF = 0.05
"""how far off the middle the sitter leans, m"""
WAYS = 5
"""directions of leaning, and of pushes: five repeat no symmetry of three or four legs"""
PUSHES, HARDEST = 8, 0.45
"""levels of a push, and the last of them as a share of the sitter's weight"""
FULL = 0.35
"""mean push borne, as a share of the weight, that scores 1"""
TIPPED = 0.06
"""lean at which a push ends, rad"""
ACROSS = 0.1
"""strength of wood across its grain, as a share of that along it: a round seat bends both ways (ours)"""
SEATED = 0.1
"""radius of what a person sits on, m"""
BUMP = 1.5
"""how much more than the weight the seat bears when somebody sits down on it; by formula, as all about the seat's bending (ours)"""
WOOD_KG = 5.0
"""a stool as heavy as this is not light at all"""


@dataclass(frozen=True)
class Section:
    """What a round rod's thickness means for its strength."""

    area: float
    """m²"""
    bending: float
    """second moment of area, m⁴"""

    @classmethod
    def of(cls, radius: float) -> Section:
        return cls(math.pi * radius**2, math.pi * radius**4 / 4)


def free_length(leg: Leg, underside: float) -> float:
    """Of a leg below the seat, along its axis, m; `underside` is the seat's height there."""
    rise = float(leg.top[2] - leg.foot[2])
    return float(np.linalg.norm(leg.top - leg.foot)) * (underside - float(leg.foot[2])) / rise


def hang_leg(body: Any, name: str, leg: Leg, underside: float, material: Material) -> Any:
    """Hang a leg on a body by a ball joint at the seat's underside, stiff as a cantilever is at its end, and return its body.

    The leg's frame has z along its axis, upwards, and the joint at its origin; its site `name` is there as well.
    """
    length, section = free_length(leg, underside), Section.of(leg.radius)
    axis = (leg.top - leg.foot) / np.linalg.norm(leg.top - leg.foot)
    at = leg.foot + length * axis
    hung = body.add_body(name=name, pos=[float(value) for value in at], quat=list(turn_to(axis)))
    mass = material.density * section.area * length
    across = mass * (leg.radius**2 / 4 + length**2 / 12)
    set_inertia(hung, mass, np.array([0, 0, -length / 2]), np.diag([across, across, mass * leg.radius**2 / 2]))
    stiffness = 3 * material.stiffness * section.bending / length
    # armature keeps the stiffest spring slower than the time step can follow; where it comes to rest does not depend on it
    armature = stiffness * (2 * TIMESTEP) ** 2
    hung.add_joint(
        name=name,
        type=mujoco.mjtJoint.mjJNT_BALL,
        stiffness=stiffness,
        damping=4 * math.sqrt(stiffness * armature),
        armature=armature,
    )
    hung.add_site(name=name)
    ball = 0.008
    foot = (0.0, 0.0, ball / axis[2] - length - leg.foot[2] / axis[2])
    _touching(hung, mujoco.mjtGeom.mjGEOM_SPHERE, [ball, 0, 0], foot)
    return hung


def _touching(body: Any, kind: Any, size: list[float], at: Vector) -> None:
    """A geom that bumps into the floor and into nothing else."""
    body.add_geom(
        type=kind,
        size=size,
        pos=list(at),
        friction=[FRICTION, 0.005, 0.0001],
        contype=0,
        conaffinity=1,
        solref=[0.01, 1],
        solimp=[0.99, 0.999, 0.001, 0.5, 2],
    )


class SitTest:
    """A stool with a person on it, in the engine.

    Args:
        stool: what is sat on.
        load: mass of the person, kg.
        material: what the stool is made of.
    """

    def __init__(self, stool: Seating, load: float, material: Material) -> None:
        self.stool, self.load, self.material = stool, load, material
        board = stool.board
        self.underside = board.height - board.thickness
        self.lengths = np.array([free_length(leg, self.underside) for leg in stool.legs])
        self.sections = [Section.of(leg.radius) for leg in stool.legs]
        with in_engine():
            self.scene = Scene(timestep=TIMESTEP, friction=FRICTION)
            # splayed feet must hold and not creep: of what was tried this changes least with the time step; stiffer, feet chatter
            self.scene.spec.option.cone = mujoco.mjtCone.mjCONE_PYRAMIDAL
            self.scene.spec.option.impratio = 3
            self._put_together()
        self.scene.start()
        self.mass = float(self.scene.model.body_subtreemass[1])
        self._sitter = self.scene.model.body("sitter").id

    def _put_together(self) -> None:
        spec, stool, board, material = self.scene.spec, self.stool, self.stool.board, self.material
        seat = spec.worldbody.add_body(name="design", pos=[0.0, 0.0, 0.0])
        seat.add_freejoint()
        mass = material.density * math.pi * board.radius**2 * board.thickness
        middle = board.height - board.thickness / 2
        across = mass * (board.radius**2 / 4 + board.thickness**2 / 12)
        set_inertia(seat, mass, np.array([0, 0, middle]), np.diag([across, across, mass * board.radius**2 / 2]))
        _touching(seat, mujoco.mjtGeom.mjGEOM_CYLINDER, [board.radius, board.thickness / 2, 0], (0.0, 0.0, middle))
        sitter = seat.add_body(name="sitter", pos=[0.0, 0.0, board.height + CHEST])
        set_inertia(sitter, self.load, np.zeros(3), self.load * GYRATION**2 * np.eye(3))
        sensor, kind = mujoco.mjtSensor, mujoco.mjtObj
        hung = [hang_leg(seat, f"leg {at}", leg, self.underside, material) for at, leg in enumerate(stool.legs)]
        for at in range(len(hung)):
            spec.add_sensor(type=sensor.mjSENS_BALLQUAT, objtype=kind.mjOBJ_JOINT, objname=f"leg {at}")
        for at in range(len(hung)):
            spec.add_sensor(type=sensor.mjSENS_FORCE, objtype=kind.mjOBJ_SITE, objname=f"leg {at}")
        for at in range(len(stool.bars)):
            self._tie(hung, at)
            spec.add_sensor(type=sensor.mjSENS_TENDONPOS, objtype=kind.mjOBJ_TENDON, objname=f"bar {at}")
        for of in (sensor.mjSENS_SUBTREELINVEL, sensor.mjSENS_FRAMEPOS, sensor.mjSENS_FRAMEZAXIS):
            spec.add_sensor(
                type=of,
                objtype=kind.mjOBJ_XBODY if of != sensor.mjSENS_SUBTREELINVEL else kind.mjOBJ_BODY,
                objname="design",
            )

    def _tie(self, hung: list[Any], at: int) -> None:
        bar, stool = self.stool.bars[at], self.stool
        span = float(np.linalg.norm(bar.ends[1] - bar.ends[0]))
        stiffness = self.material.stiffness * Section.of(bar.radius).area / span
        # a tendon's armature is to it what a joint's is: it slows the spring, and moves no resting place
        armature = stiffness * (2 * TIMESTEP) ** 2
        tendon = self.scene.spec.add_tendon(
            name=f"bar {at}", stiffness=stiffness, damping=4 * math.sqrt(stiffness * armature), armature=armature
        )
        for which, end in zip(bar.legs, bar.ends, strict=True):
            leg = stool.legs[which]
            axis = (leg.top - leg.foot) / np.linalg.norm(leg.top - leg.foot)
            along = float((end - leg.foot) @ axis) - self.lengths[which]
            hung[which].add_site(name=f"bar {at} leg {which}", pos=[0.0, 0.0, float(along)])
            tendon.wrap_site(f"bar {at} leg {which}")

    def sit(self, seconds: float, *, lean: Array | None = None, push: Array | None = None) -> Array:
        """Let time pass while the person leans and is pushed, and return what the sensors then say.

        Args:
            seconds: how long.
            lean: where the weight is, off the middle, (2,), m.
            push: force at the chest, (2,), N.
        """
        force = self.scene.data.xfrc_applied[self._sitter]
        force[:] = 0
        if lean is not None:
            # weight at a distance is the same weight in the middle, and a moment
            force[3:5] = self.load * GRAVITY * np.array([-lean[1], lean[0]])
        if push is not None:
            force[:2] = push
        self.scene.run(seconds)
        return self.scene.data.sensordata.copy()

    def state(self) -> State:
        """How everything is and moves, for `back_to`."""
        data = self.scene.data
        return data.qpos.copy(), data.qvel.copy(), data.qacc_warmstart.copy()

    def back_to(self, state: State) -> None:
        """Everything as it was at a state."""
        data = self.scene.data
        data.qpos[:], data.qvel[:], data.qacc_warmstart[:] = state

    def motion(self, rows: Array) -> tuple[Array, Array, Array]:
        """Of what the sensors said, (N, S): mean velocity of all that moves, where the seat is, and where it points up, (N, 3) each."""
        return rows[:, -9:-6], rows[:, -6:-3], rows[:, -3:]

    def pushed(self, ways: Array, state: State, settled: Array) -> float:
        """Mean over directions of the hardest push that is held, N: what the floor holds back, and not what only speeds the sitter up.

        Args:
            ways: unit vectors, (K, 2).
            state: what each push begins from.
            settled: what the sensors say there.
        """
        weight, seconds = self.load * GRAVITY, 0.04
        slow = 1 + (GYRATION / (self.stool.board.height + CHEST)) ** 2
        rows: list[Array] = []
        held: list[float] = []
        ends: list[int] = []
        for way in ways:
            self.back_to(state)
            seen, forces = [settled], []
            for level in range(1, PUSHES + 1):
                forces.append(HARDEST * weight * level / PUSHES)
                seen.append(self.sit(seconds, push=forces[-1] * way))
                if seen[-1][-1] < math.cos(TIPPED):
                    break
            speeding = self.mass * np.diff(self.motion(np.array(seen))[0][:, :2], axis=0) / seconds
            along = speeding @ way
            # it goes over the line between two feet, and what pushes along that line is held whatever happens
            lost = np.where(along > 0, (speeding**2).sum(1) / np.maximum(along, 1e-9), 0.0)
            ends.append(len(held))
            held += list(np.array(forces) - slow * lost)
            rows += seen[1:]
        borne = np.array(held) / np.maximum(1.0, self.use(np.array(rows)))
        return float(np.maximum(0.0, np.maximum.reduceat(borne, ends)).mean())

    def use(self, rows: Array) -> Array:
        """How much of its strength the stool needed, the worst of all members, (N,): above 1 something breaks.

        Args:
            rows: what the sensors said, (N, S).
        """
        legs, bars = len(self.stool.legs), len(self.stool.bars)
        worst = [np.zeros(len(rows))]
        wood = self.material
        if legs:
            area = np.array([section.area for section in self.sections])
            bending = np.array([section.bending for section in self.sections])
            radius = np.array([leg.radius for leg in self.stool.legs])
            turns = rows[:, : 4 * legs].reshape(-1, legs, 4)
            sine = np.linalg.norm(turns[:, :, 1:], axis=2)
            angle = 2 * np.arctan2(sine, np.abs(turns[:, :, 0]))
            # what of the turn is about the leg's own axis twists it and does not bend it
            bent = angle * np.linalg.norm(turns[:, :, 1:3], axis=2) / np.maximum(sine, 1e-12)
            moment = bent * 3 * wood.stiffness * bending / self.lengths
            # the engine tells what a leg does to the seat's side of the joint: pressed is below 0 along the leg's axis
            pressed = -rows[:, 4 * legs : 7 * legs].reshape(-1, legs, 3)[:, :, 2]
            stress = moment * radius / bending + np.abs(pressed) / area
            # held by the seat and free to sway at the floor: twice as long as if it were pinned
            buckles = math.pi**2 * wood.stiffness * bending / (2 * self.lengths) ** 2
            worst += [(stress / wood.strength).max(1), (pressed / buckles).max(1)]
            worst.append(self._seat_use(moment, radius))
        if bars:
            area, bending, rest = np.array(
                [
                    (section.area, section.bending, float(np.linalg.norm(bar.ends[1] - bar.ends[0])))
                    for bar in self.stool.bars
                    for section in [Section.of(bar.radius)]
                ]
            ).T
            pull = wood.stiffness * area * (rows[:, 7 * legs : 7 * legs + bars] / rest - 1)
            worst += [(np.abs(pull) / area / wood.strength).max(1)]
            worst += [(-pull / (math.pi**2 * wood.stiffness * bending / rest**2)).max(1)]
        return np.max(worst, axis=0)

    def _seat_use(self, moment: Array, thick: Array) -> Array:
        """How much of the seat's strength is needed, (N,), by formula and not simulated.

        A plate held on a circle and loaded on a disc in the middle of it bends most in the middle, by W / 4π ((1 + p) ln a / c + 1 -
        (1 - p) c² / 4a²) for each metre, p being Poisson's ratio (Roark; Timoshenko). Beyond the legs it hangs over, loaded evenly, and each leg holds as much
        of its width as the leg is thick and twice the seat's thickness (ours). A leg's own bending goes half into either side.
        """
        board, weight = self.stool.board, BUMP * self.load * GRAVITY
        joined = np.array([float(np.linalg.norm(leg.top[:2])) for leg in self.stool.legs])
        wide, disc = max(float(joined.max()), SEATED), min(SEATED, board.radius)
        poisson, share = 0.3, disc / wide
        middle = weight / (4 * math.pi) * (1 - (1 + poisson) * math.log(share) - (1 - poisson) * share**2 / 4)
        inner = min(max(float(joined.min()), 0.02), board.radius)
        over = (board.radius**3 - inner**3) / 3 - inner * (board.radius**2 - inner**2) / 2
        held = thick + 2 * board.thickness
        rim = weight / (math.pi * board.radius**2) * 2 * math.pi * over / min(2 * math.pi * inner, float(held.sum()))
        at_leg = (moment / 2 / held).max(1)
        bent: Array = 6 * np.maximum(max(middle, rim), at_leg) / board.thickness**2 / (ACROSS * self.material.strength)
        return bent


class Stool(Task):
    """A seat on legs that a person can sit on, be pushed on, and lift with one hand."""

    name = "Stool"
    space = LeggedSeat()
    goals = (
        Goal(
            "carry",
            "bears the sitter: no leg, stretcher or seat is strained beyond its strength, and nothing gives way",
            2.0,
        ),
        Goal("stand", "how hard the sitter can be pushed before it tips, slides or breaks"),
        Goal("height", "how near the seat is to the height wanted, with somebody on it"),
        Goal("sit", "the seat is wide enough to sit on"),
        Goal("light", "of little wood"),
    )
    wants = (
        Want("load_kg", "mass of the sitter", 80.0, 40.0, 120.0),
        Want("seat_mm", "height of the seat", 450.0, 350.0, 600.0),
    )
    material: ClassVar[Material] = WOOD
    light = "light"

    def judge(self, solid: Solid, wants: Mapping[str, float], random: np.random.Generator) -> Verdict:
        assert isinstance(solid, Seating), "a stool is a seating"
        board = solid.board
        mass = solid.volume * self.material.density
        test = SitTest(solid, wants["load_kg"], self.material)
        ways = ring(WAYS, random)
        settled = test.sit(0.3)
        state = test.state()
        rows = [settled]
        for way in ways:
            test.back_to(state)
            rows.append(test.sit(0.16, lean=OFF * way))
        speed, place, up = test.motion(np.array(rows))
        # the seat's origin is on the floor below its middle
        tops = place[:, 2] + board.height * up[:, 2]
        drops = board.height - tops + board.radius * np.sqrt(np.maximum(0, 1 - up[:, 2] ** 2))
        calm = _calm(np.linalg.norm(speed, axis=1), 0.01, 0.015)
        drift = _calm(np.linalg.norm(place[:, :2], axis=1), 0.02, 0.05)
        firm = np.minimum(np.minimum(calm, drift), _calm(drops, 0.01, 0.03))
        firm *= np.clip((tops - board.thickness - 0.05) / 0.15, 0, 1)
        use = test.use(np.array(rows))
        trust = _ramp(float(firm.mean()), 0.3, 0.8)
        pushed = test.pushed(ways, state, settled) if trust > 0 else 0.0
        if not test.scene.sane:
            use, firm, trust, tops = np.full(1, 99.0), np.zeros(1), 0.0, np.zeros(1)
        weight = test.load * GRAVITY
        scores = {
            "carry": float(firm.mean()) / max(1.0, float(use.max())),
            "stand": trust * pushed / (FULL * weight),
            "height": _ramp(abs(1000 * float(tops.min()) - wants["seat_mm"]), 150.0, 0.0),
            "sit": _ramp(2 * board.radius, 0.24, 0.32),
            "light": 1 - mass / WOOD_KG,
        }
        facts = {
            "mass_kg": mass,
            "push_n": pushed,
            "utilisation": float(use.max()),
            "sag_mm": 1000 * (board.height - float(tops.min())),
            "seat_mm": 1000 * float(tops.min()),
            "legs": float(len(solid.legs)),
        }
        return Verdict(scores, facts)


def _calm(value: Array, free: float, half: float) -> Array:
    """1 up to `free`, a half at `half` beyond, and ever less."""
    less: Array = 1 / (1 + np.maximum(0.0, value - free) / half)
    return less


def _ramp(value: float, nothing: float, full: float) -> float:
    """0 at `nothing`, 1 at `full`, straight between and flat beyond; either may be the larger."""
    return min(1.0, max(0.0, (value - nothing) / (full - nothing)))
