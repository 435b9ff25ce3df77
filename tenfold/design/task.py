"""What is to be designed, and how a design is judged: the one class that a task of one's own extends.

A task has a design space (the modelling steps), goals (what is wanted, each judged from 0 to 1, each with a weight), wants (numbers
that the goals are about, such as how many millilitres a cup is to hold), a material, and `judge`, which puts a solid to the test.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UsageError
from .solid import Material, Solid
from .space import DesignSpace


@dataclass(frozen=True)
class Goal:
    """One thing that a good design does; how well is judged from 0, not at all, to 1."""

    name: str
    about: str
    """one line: what is measured"""
    weight: float = 1.0
    """how much it counts unless somebody wishes otherwise, at least 0"""


@dataclass(frozen=True)
class Want:
    """A number that a person asks for, its unit in its name: `hold_ml`."""

    name: str
    about: str
    value: float
    """unless somebody wishes otherwise"""
    low: float
    high: float


@dataclass(frozen=True)
class Wish:
    """What is asked of one design: the weight of every goal and the value of every want."""

    weights: dict[str, float]
    wants: dict[str, float]

    def score(self, scores: Mapping[str, float]) -> float:
        """Mean of a design's scores, weighted, in [0, 1]."""
        return sum(weight * scores[name] for name, weight in self.weights.items()) / sum(self.weights.values())

    @property
    def values(self) -> dict[str, float]:
        """Weights and wants together, as `Task.wish` takes them."""
        return self.weights | self.wants


@dataclass(frozen=True)
class Verdict:
    """What the tests of one design have found."""

    scores: dict[str, float]
    """of each goal, in [0, 1]"""
    facts: dict[str, float]
    """measured on the way, units in their names: `capacity_ml`"""


class Task(ABC):
    """Something to be designed. Extend it, give the class attributes values, and write `judge`."""

    name: ClassVar[str]
    """a capital first; the environment is `tenfold/<name>-v0` for the tasks that come along"""
    space: DesignSpace
    goals: ClassVar[tuple[Goal, ...]]
    wants: ClassVar[tuple[Want, ...]] = ()
    material: ClassVar[Material]
    light: ClassVar[str] = ""
    """the goal, if there is one, that wants little material"""

    @abstractmethod
    def judge(self, solid: Solid, wants: Mapping[str, float], random: np.random.Generator) -> Verdict:
        """Put a solid to the test.

        Args:
            solid: what the design has come to.
            wants: the value of each want.
            random: draws all that is random in the test, such as where pushes come from; nothing else may.

        Returns:
            A score in [0, 1] for every goal; anything below or above is cut off, and what is not finite counts as 0.
        """

    def wish(self, goals: Mapping[str, float] | None = None) -> Wish:
        """The wish with these weights of goals and values of wants; what is not named is as the task has it.

        Raises:
            UsageError: there is no such goal or want, a weight is negative, all are 0, or a want is beyond its range.
        """
        weights = {goal.name: goal.weight for goal in self.goals}
        wants = {want.name: want.value for want in self.wants}
        for name, value in (goals or {}).items():
            known = weights if name in weights else wants
            if name not in known:
                raise UsageError(f"goals has {name!r}, but {self.name} has {', '.join([*weights, *wants])}")
            known[name] = _number(name, value)
        for name, weight in weights.items():
            if weight < 0:
                raise UsageError(f"the weight of {name} is {weight:g}, but must be at least 0")
        if sum(weights.values()) <= 0:
            raise UsageError(f"all goals of {self.name} have the weight 0, but one must have more")
        for want in self.wants:
            if not want.low <= wants[want.name] <= want.high:
                raise UsageError(
                    f"{want.name} is {wants[want.name]:g}, but must be between {want.low:g} and {want.high:g}"
                )
        return Wish(weights, wants)

    def draw_wish(self, random: np.random.Generator, fixed: Mapping[str, float] | None = None) -> Wish:
        """A wish as training draws it: each weight from a quarter to four times its own; wants as fixed or by default.

        Args:
            random: what draws.
            fixed: weights and values that stay as they are.
        """
        drawn = {goal.name: goal.weight * 4 ** random.uniform(-1, 1) for goal in self.goals}
        return self.wish(drawn | dict(fixed or {}))

    def describe(self, wish: Wish) -> NDArray[np.float32]:
        """A wish as the policy reads it: shares of the weights, and wants in their ranges, all in [-1, 1]."""
        total = sum(wish.weights.values())
        shares = [2 * wish.weights[goal.name] / total - 1 for goal in self.goals]
        wants = [
            2 * (wish.wants[want.name] - want.low) / (want.high - want.low) - 1 if want.high > want.low else 0.0
            for want in self.wants
        ]
        return np.array([*shares, *wants], dtype=np.float32)

    def test(self, solid: Solid, wish: Wish, seed: int) -> Verdict:
        """`judge` with all that is random from `seed`, in [0, 2**31), and its scores kept within [0, 1].

        Raises:
            ValueError: `judge` does not score the goals that the task has.
        """
        found = self.judge(solid, wish.wants, np.random.default_rng(seed))
        names = [goal.name for goal in self.goals]
        if set(found.scores) != set(names):
            raise ValueError(f"{self.name}.judge has scored {sorted(found.scores)}, but the goals are {sorted(names)}")
        return Verdict({name: _share(found.scores[name]) for name in names}, found.facts)


MOST = 1e12
"""of weights and wants: sums of larger ones could overflow"""


def _share(value: float) -> float:
    return min(1.0, max(0.0, float(value))) if math.isfinite(value) else 0.0


def _number(name: str, value: float) -> float:
    kind = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not kind or (not isinstance(value, int) and not math.isfinite(value)):
        raise UsageError(f"{name} is {value!r}, but must be a number")
    if not -MOST <= value <= MOST:
        raise UsageError(f"{name} is {value!r}, but must be a number of at most {MOST:.0e} either way")
    return float(value)
