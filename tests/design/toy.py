"""A task without physics, whose designs are tested in microseconds: a designer learns it in a second."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tenfold.design.revolve import RevolvedProfile
from tenfold.design.solid import PLASTIC, Solid
from tenfold.design.task import Goal, Task, Verdict, Want


class ShortProfile(RevolvedProfile):
    """A foot and two rings."""

    steps = 3


class Toy(Task):
    """Much material, but low: rings that are raised add to the one and take from the other."""

    name = "Toy"
    space = ShortProfile()
    goals = (
        Goal("large", "root of the share of the wanted material"),
        Goal("low", "1 with the centre of mass on the ground, 0 at 30 mm", 2.0),
    )
    wants = (Want("size_ml", "material, millilitres", 60.0, 20.0, 100.0),)
    material = PLASTIC

    def judge(self, solid: Solid, wants: Mapping[str, float], random: np.random.Generator) -> Verdict:
        bulk, luck = solid.bulk(), random.random()
        size, height = 1e6 * bulk.volume, 1000 * float(bulk.centre[2])
        large = math.sqrt(size / wants["size_ml"]) + 0.01 * (luck - 0.5)
        return Verdict({"large": large, "low": 1 - height / 30}, {"size_ml": size, "height_mm": height, "luck": luck})
