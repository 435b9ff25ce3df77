"""How a design comes about: a fixed number of modelling steps, each a few numbers, each something that a designer would do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .solid import Solid

Steps = NDArray[np.float64]
"""modelling steps taken so far, (T, width), each number in [-1, 1]"""


class DesignSpace(ABC):
    """Modelling steps and what they build. A design is the list of its steps and nothing else, so it can be replayed and shown."""

    steps: ClassVar[int]
    """of a finished design, at least 1"""
    width: ClassVar[int]
    """numbers of each step"""

    @abstractmethod
    def build(self, steps: Steps) -> Solid:
        """What 1 to `steps` modelling steps come to. Every step can be built: what cannot be done is left out, or done as far as it goes.

        Args:
            steps: (T, width), each number in [-1, 1].
        """

    @abstractmethod
    def describe(self, steps: Steps) -> str:
        """The last of these steps in a designer's words and millimetres; says so where it was left out."""

    def observe(self, steps: Steps) -> NDArray[np.float32]:
        """A design as the policy sees it before its next step, each number in [-1, 1]: which step is next, and all that were taken.

        Returns:
            (`steps` + `steps` * `width`,); steps still to come are 0.
        """
        seen = np.zeros(self.steps + self.steps * self.width, dtype=np.float32)
        if len(steps) < self.steps:
            seen[len(steps)] = 1
        taken = np.asarray(steps, dtype=np.float32).ravel()
        seen[self.steps : self.steps + len(taken)] = taken
        return seen


def readable(step: NDArray[np.float64] | NDArray[np.float32], width: int) -> Steps:
    """One step as spaces take it: numbers that are none become 0, others are cut to [-1, 1].

    Raises:
        ValueError: the step has not `width` numbers.
    """
    numbers = np.asarray(step, dtype=np.float64).ravel()
    if numbers.size != width:
        raise ValueError(f"a step has {numbers.size} numbers, but must have {width}")
    clean: Steps = np.clip(np.where(np.isnan(numbers), 0.0, numbers), -1.0, 1.0)
    return clean


def between(number: float, low: float, high: float) -> float:
    """A number of [-1, 1] as one of [low, high]."""
    return low + (high - low) * (float(number) + 1) / 2
