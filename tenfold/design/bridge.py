"""A model bridge that bears a load wherever it stands, sags little, lets boats pass, and takes little material."""

from __future__ import annotations

import math
from collections.abc import Mapping

import mujoco
import numpy as np
from numpy.typing import NDArray

from .physics import GRAVITY, in_engine
from .solid import PLASTIC, Material, Solid
from .task import Goal, Task, Verdict, Want
from .truss import DEPTH, SPAN, Truss, TrussBridge

TOO_FAR = SPAN / 20
"""a joint that has moved by more has collapsed, m"""
STIFF = SPAN / 400
"""sag that is worth half of `stiff`, m; ours"""
HEAVY = 0.1
"""mass besides the planks that halves `light`, kg; ours. Halved again and again rather than cut off at 0: less always counts"""
PLACES = ((0.0, 0.0), (0.03, 0.055), (0.07, 0.1))
"""how far from mid-span the load stands in each case, from and to, m"""
FIRST, LAST = 0.25, 1.5
"""loads that the test begins with and ends with, of the one that is wanted"""
VERGE = 0.02
"""a bar that is as near to its limit breaks"""
SETTLED = 0.005
"""force that is out of balance when all is at rest, of the load"""
TIMESTEP = 0.001
"""s; of no account, as the inertia goes with its square"""


class Rig:
    """One truss of a bridge in its plane, in the engine.

    Each joint is a point that slides along x and z, each bar a tendon that is a spring of stiffness E A / L both ways, without
    bending: joints are pins, so a deck without bracing is a chain and falls, which is on the safe side. The first joint of the
    deck is fixed and the last rolls along x. The weight of the bridge itself, about a hundredth of what it bears, is left out.

    Equilibrium is found by dynamic relaxation: the joints get a made-up inertia, as large as the time step needs for springs
    as stiff as these, and damping near critical. Both change the way to the equilibrium and how long it takes, and nothing of the
    equilibrium. So breaking is slow here: the jolt of a bar that snaps is not counted.

    Args:
        bridge: what is tested.
        material: stiffness and strength above 0.
    """

    def __init__(self, bridge: TrussBridge, material: Material) -> None:
        area = math.pi / 4 * bridge.diameters**2
        self.bridge = bridge
        self.stiffness: NDArray[np.float64] = material.stiffness * area / bridge.lengths
        """of the bars, N/m, (B,)"""
        euler = math.pi**2 * material.stiffness * (math.pi / 64 * bridge.diameters**4) / bridge.lengths**2
        self.tension: NDArray[np.float64] = material.strength * area
        """that breaks a bar, N, (B,)"""
        self.compression: NDArray[np.float64] = np.minimum(self.tension, euler)
        """that crushes a bar, or buckles it as one with pins at its ends, N, (B,)"""
        self._inertia = self._inertias()
        self._height: dict[int, int] = {}
        """where the engine has how far each joint has moved up or down, other than the supports"""
        with in_engine():
            self.model = mujoco.MjModel.from_xml_string(self._written())
            self.data = mujoco.MjData(self.model)
            mujoco.mj_forward(self.model, self.data)
        self._whole = self.model.tendon_stiffness.copy()
        self._sagging = [self._height[number] for number in bridge.deck[1:-1]]
        self._deck = bridge.joints[list(bridge.deck), 0]
        self._mass = self.model.dof_armature.copy()
        # the engine's own memory, which changes with every time step: looking it up anew takes time
        self._moved, self._speed, self._damping = self.data.qpos, self.data.qvel, self.model.dof_damping
        self._spring, self._applied = self.data.qfrc_spring, self.data.qfrc_applied
        self._pace = 0.1 / TIMESTEP

    def _inertias(self) -> NDArray[np.float64]:
        """Of the joints, kg, (J,): half the sum of the stiffness at a joint times the time step squared is the least with
        which the time steps are stable, whatever the truss; a fifth is added.
        """
        summed = np.zeros(len(self.bridge.joints))
        np.add.at(summed, self.bridge.bars.ravel(), np.repeat(self.stiffness, 2))
        return 0.6 * summed * TIMESTEP**2

    def _written(self) -> str:
        bodies, pin, roller, moves = [], self.bridge.deck[0], self.bridge.deck[-1], 0
        for number, ((x, z), inertia) in enumerate(
            zip(self.bridge.joints.tolist(), self._inertia.tolist(), strict=True)
        ):
            site = f'<site name="s{number}"'
            if number == pin:
                bodies.append(f'{site} pos="{x:.9f} 0 {z:.9f}"/>')
                continue
            slides = f'<joint type="slide" axis="1 0 0" armature="{inertia:.9g}"/>'
            moves += 1
            if number != roller:
                slides += f'<joint type="slide" axis="0 0 1" armature="{inertia:.9g}"/>'
                self._height[number] = moves
                moves += 1
            point = '<inertial pos="0 0 0" mass="1e-9" diaginertia="1e-12 1e-12 1e-12"/>'
            bodies.append(f'<body pos="{x:.9f} 0 {z:.9f}">{point}{slides}{site}/></body>')
        tendons = [
            f'<spatial stiffness="{stiffness:.9g}"><site site="s{start}"/><site site="s{end}"/></spatial>'
            for (start, end), stiffness in zip(self.bridge.bars.tolist(), self.stiffness.tolist(), strict=True)
        ]
        return (
            f'<mujoco><size memory="1M"/><option timestep="{TIMESTEP}" gravity="0 0 0">'
            '<flag contact="disable" constraint="disable" autoreset="disable"/></option>'
            f"<worldbody>{''.join(bodies)}</worldbody><tendon>{''.join(tendons)}</tendon></mujoco>"
        )

    def mend(self) -> None:
        """All bars whole, and all joints where they were drawn."""
        with in_engine():
            mujoco.mj_resetData(self.model, self.data)
        self.model.tendon_stiffness[:] = self._whole
        self._pace = 0.1 / TIMESTEP

    def snap(self, bars: NDArray[np.bool_]) -> None:
        """Let bars, (B,), bear nothing from now on."""
        self.model.tendon_stiffness[bars] = 0

    def load(self, place: float, newtons: float) -> None:
        """Set a load down on the deck at x = `place`: on the joints on both sides, the nearer bears more, as cross beams do."""
        deck, self._applied[:] = self._deck, 0
        right = min(max(int(np.searchsorted(deck, place)), 1), len(deck) - 1)
        share = (place - deck[right - 1]) / (deck[right] - deck[right - 1])
        for joint, part in ((right - 1, 1 - share), (right, share)):
            address = self._height.get(self.bridge.deck[joint])
            if address is not None:  # the supports have no way to go
                self._applied[address] = -newtons * part

    def settle(self, patience: int = 20) -> bool:
        """Let time pass until all is at rest; False if it falls, or still moves after `patience` times 40 time steps."""
        moved, spring, mass = self._moved, self._spring, self._mass
        slack = SETTLED * float(np.abs(self._applied).sum())
        self._speed[:] = 0
        for _ in range(patience):
            np.multiply(mass, 2 * self._pace, out=self._damping)
            with in_engine():
                mujoco.mj_step(self.model, self.data, nstep=40)
            if not max(moved.max(), -moved.min()) < TOO_FAR:  # nor is what is not a number
                return False
            unbalanced = spring + self._applied
            if max(unbalanced.max(), -unbalanced.min()) < slack:
                return True
            # Rayleigh's quotient: how fast the bridge swings in the shape that it has now, which is the damping that is critical
            swing = moved * mass
            square = -float(moved @ spring) / max(float(moved @ swing), 1e-300)
            self._pace = min(0.5, max(0.01, math.sqrt(max(square, 0.0)) * TIMESTEP)) / TIMESTEP
        return False

    def forces(self) -> NDArray[np.float64]:
        """In the bars, N, (B,); those that pull are above 0."""
        model = self.model
        return model.tendon_stiffness * (self.data.ten_length - model.tendon_lengthspring[:, 0])

    def use(self) -> NDArray[np.float64]:
        """Force in each bar of the force that breaks it, (B,)."""
        forces = self.forces()
        return np.where(forces > 0, forces / self.tension, -forces / self.compression)

    @property
    def sag(self) -> float:
        """Of the joint of the deck that is lowest against where it was, m."""
        return max(0.0, -float(self._moved[self._sagging].min()))

    @property
    def moved(self) -> float:
        """How far the joint has moved that has moved most, along x or z, of what is too far."""
        return float(np.abs(self._moved).max()) / TOO_FAR

    def bears(self, place: float, wanted: float) -> tuple[float, float, int]:
        """Raise a load until the bridge falls; beyond what is wanted, until a bar breaks or it is half as much again.

        The engine finds the equilibrium at a quarter of the load; as bridges are all but linear, that says how much would bring the
        worst bar to its limit. There the engine finds the equilibrium again, bars at their limit break, and the others bear it or
        break in their turn.

        Args:
            place: where it stands, x, m.
            wanted: N.

        Returns:
            the load that was borne, N; the sag of the whole bridge at the load that is wanted, m; how many bars have broken.
        """
        self.mend()
        load, borne, sag, broken = FIRST * wanted, 0.0, math.inf, 0
        for _ in range(16):
            self.load(place, load)
            if not self.settle():
                break
            use, moved = self.use(), self.moved
            worst = float(use.max())
            if broken == 0 and (load <= wanted or sag == math.inf):
                sag = self.sag * wanted / load
            if moved > 0.95:
                borne = max(borne, load / max(moved, worst))
                break
            room = 1 / max(worst, 1e-9)
            if room <= 1 + VERGE:
                borne = max(borne, load * room)
                if load == FIRST * wanted or load >= wanted:
                    break
                gone = use > (1 - VERGE) * worst
                broken += int(gone.sum())
                self.snap(gone)
                continue
            borne = max(borne, load)
            if load >= LAST * wanted:
                break
            raised = min(load * room, load * 0.97 / max(moved, 1e-9), LAST * wanted)
            self._moved *= raised / load  # a guess that the engine puts right
            load = raised
        return borne, sag, broken


class Bridge(Task):
    """A printed model of a bridge, 300 mm long: its load stands at mid-span and at two more places that are drawn."""

    name = "Bridge"
    space = Truss()
    material = PLASTIC
    light = "light"
    goals = (
        Goal("carry", "load that it bears before it falls, of what is wanted; mean of three places"),
        Goal("stiff", "sag under the load that is wanted: half of it at 0.75 mm, none where it does not bear the load"),
        Goal("clear", "height below the deck that is free, mean along the gap; as far as it carries", 0.5),
        Goal("light", "1 is no more than the planks, and every 100 g more halve it; as far as it carries"),
    )
    wants = (Want("load_kg", "on both trusses together", 20.0, 5.0, 60.0),)

    def judge(self, solid: Solid, wants: Mapping[str, float], random: np.random.Generator) -> Verdict:
        """A load on the deck at three places, raised until the bridge falls.

        Raises:
            TypeError: the solid is no `TrussBridge`: any other does not know its bars.
        """
        if not isinstance(solid, TrussBridge):
            raise TypeError(f"{self.name} judges a TrussBridge, not a {type(solid).__name__}")
        rig = Rig(solid, self.material)
        wanted = wants["load_kg"] * GRAVITY / 2
        carried, stiff, loads, sags, failed = [], [], [], [], 0
        for near, far in PLACES:
            place = random.uniform(near, far) * (1 if random.random() < 0.5 else -1)
            borne, sag, broken = rig.bears(place, wanted)
            share = min(1.0, borne / wanted)
            carried.append(share)
            stiff.append(max(0.0, 2 * share - 1) * STIFF / (STIFF + sag) if share > 0 else 0.0)
            loads.append(borne)
            sags.append(min(sag, TOO_FAR))
            failed = max(failed, broken)
        carry, mass = float(np.mean(carried)), solid.volume * self.material.density
        scores = {
            "carry": carry,
            "stiff": float(np.mean(stiff)),
            # else a bare deck, which falls at once, would be the clearest and the lightest of all bridges
            "clear": carry * clearance(solid),
            "light": carry * 0.5 ** ((mass - solid.planks * self.material.density) / HEAVY),
        }
        facts = {
            "mass_g": mass * 1e3,
            "load_kg": 2 * float(np.mean(loads)) / GRAVITY,
            "sag_mm": max(sags) * 1e3,
            "joints": float(len(solid.joints)),
            "bars": float(len(solid.bars)),
            "broken": float(failed),
        }
        return Verdict(scores, facts)


def clearance(bridge: TrussBridge) -> float:
    """Share of the height below the deck that nothing of the bridge takes, mean along the middle nine tenths of the gap."""
    ends = bridge.joints[bridge.bars]
    left = np.where(ends[:, :1, 0] <= ends[:, 1:, 0], ends[:, 0], ends[:, 1])
    right = ends.sum(axis=1) - left
    along = np.linspace(-0.45 * SPAN, 0.45 * SPAN, 37)[:, None]
    run = np.maximum(right[:, 0] - left[:, 0], 1e-9)
    height = left[:, 1] + (along - left[:, 0]) / run * (right[:, 1] - left[:, 1])
    below = np.where((along >= left[:, 0]) & (along <= right[:, 0]), -height, 0.0)
    return 1 - float(np.clip(below.max(axis=1), 0, DEPTH).mean()) / DEPTH
