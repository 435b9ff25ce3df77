"""A cup that holds its drink when it is carried, does not fall over, and is light."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .liquid import Hollow, Slosh, lean_of
from .physics import GRAVITY, Scene, ring
from .revolve import Profile, Revolved, RevolvedProfile
from .solid import PLASTIC, Material, Solid
from .task import Goal, Task, Verdict, Want

LEVELS = (0.2, 0.4, 0.65, 0.9)
"""shoves of the table, each in g, one after the other until the cup falls"""
CARRIED = 2
"""of them are those of a cup that is carried: what they spill counts, and the surface is looked at four times in every shove"""
SHOVE = 0.26
"""seconds that the table accelerates, and then brakes"""
REST = 0.08
"""seconds between shoves"""
TRIES = 2
"""directions; what is turned is the same from all sides, so they serve to shove with other strengths too"""
FALLEN = math.cos(math.radians(55))
"""of the cosine of its tilt; none that leans so far comes back"""


class Cup(Task):
    """Hold, stand, weigh little, suit hand and mouth, be firm."""

    name = "Cup"
    space = RevolvedProfile()
    goals = (
        Goal("hold", "share of the wanted drink that is still in it after it was carried", 2.0),
        Goal("stand", "shove of the table that it stands, as a share of 0.9 g", 1.0),
        Goal("light", "1 without material, half as much with every 120 g", 1.0),
        Goal(
            "handy",
            "a hand fits around its middle (60 to 85 mm), and into it (nowhere narrower than 60 mm inside)",
            1.0,
        ),
        Goal("firm", "how hard one may pinch it before it gives by a millimetre; 20 N score a half", 1.0),
    )
    wants = (Want("hold_ml", "drink that is poured in, millilitres", 300.0, 100.0, 450.0),)
    material = PLASTIC
    light = "light"

    def judge(self, solid: Solid, wants: Mapping[str, float], random: np.random.Generator) -> Verdict:
        """Shove the table in two directions, harder and harder, with the drink as a pendulum in the cup."""
        assert isinstance(solid, Revolved)
        hollow = Hollow(solid.profile)
        asked = wants["hold_ml"] * 1e-6
        poured = min(asked, hollow.capacity)
        bulk = solid.bulk()
        scene = Scene(timestep=0.005, friction=1.0)
        Slosh.of(hollow, poured).hang(scene.add(solid, self.material))
        scene.start()
        ways = ring(TRIES, random)
        strengths = 0.85 + 0.3 * (np.arange(TRIES) + random.random()) / TRIES
        found = [self._shoved(scene, hollow, poured, *trial) for trial in zip(ways, strengths, strict=True)]
        kept, stood = np.mean(found, axis=0)
        mass = bulk.volume * self.material.density
        profile = solid.profile
        pinch = pinch_force(profile, self.material)
        return Verdict(
            {
                "hold": kept / asked,
                "stand": stood / LEVELS[-1],
                "light": 0.5 ** (mass / 0.12),
                "handy": _handy(profile),
                "firm": pinch / (pinch + 20),
            },
            {
                "mass_g": 1000 * mass,
                "capacity_ml": hollow.capacity * 1e6,
                "kept_ml": float(kept) * 1e6,
                "stands_g": float(stood),
                "height_mm": 1000 * float(profile.heights[-1]),
                "pinch_n": pinch,
            },
        )

    @staticmethod
    def _shoved(scene: Scene, hollow: Hollow, poured: float, way: np.ndarray, strength: float) -> tuple[float, float]:
        """(m³ kept while it was carried, hardest shove in g that it stood) of one direction."""
        scene.restart()
        cup, surface = scene.frame(), scene.frame("sloshing")
        leaned, stood, kept = 0.0, 0.0, 0.0
        for number, level in enumerate(LEVELS):
            shove = level * strength * GRAVITY
            looks = 4 if number < CARRIED else 1  # where nothing is spilled that counts, only a fall is looked for
            for push in (*[shove] * looks, *[-shove] * looks, 0.0):
                scene.run(REST if push == 0 else SHOVE / looks, shove=(push * way[0], push * way[1]))
                leaned = max(leaned, lean_of(surface, cup)) if number < CARRIED else leaned
                if cup[8] < FALLEN:
                    return (0.0 if number < CARRIED else kept), stood
            if not scene.sane:
                return 0.0, 0.0
            stood = level * strength
            if number < CARRIED:
                kept = min(poured, hollow.held(leaned))
        return kept, stood


def pinch_force(profile: Profile, material: Material) -> float:
    """Force (N) of two fingers that makes the wall a millimetre narrower where it is weakest: by formula, it is not simulated.

    A ring between two opposite forces narrows by 0.149 F R³ / (E I) (Timoshenko, Strength of Materials), with I of a wall that is as
    high as a third of the cup. Where it is weakest counts, as else a waist in the middle would do. The bottom and the rim help more than
    that; they are left out.
    """
    places = profile.heights[-1] * np.linspace(0.2, 0.9, 15)
    outer, inner = (np.interp(places, profile.heights, side) for side in (profile.outer, profile.inner))
    bending = profile.heights[-1] / 3 * (outer - inner) ** 3 / 12
    force = 0.001 * material.stiffness * bending / (0.149 * ((outer + inner) / 2) ** 3)
    return float(force.min())


def _handy(profile: Profile) -> float:
    """Product of two: how near the middle of the wall is to what a hand goes around, and the narrowest place inside to what it goes into.

    A narrow neck would spill less and one could neither drink from it nor wash it.
    """
    heights = profile.heights
    middle = 2000 * float(np.interp(heights[-1] * np.array([0.4, 0.5, 0.6]), heights, profile.outer).mean())
    narrowest = 2000 * float(profile.cavity()[1].min())
    return _within(middle, 60, 85, 25) * _within(narrowest, 60, 200, 25)


def _within(value: float, low: float, high: float, soft: float) -> float:
    """1 within [low, high], falling to 0 over `soft` on either side."""
    return max(0.0, 1 - max(low - value, value - high, 0.0) / soft)
