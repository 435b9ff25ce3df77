"""All designs that were tested, by whatever search, as arrays: the best for any weights of the goals, and the front of the goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .recipe import Design
from .space import Steps
from .task import Task, Verdict
from .workshop import Order

GROWTH = 256


class Archive:
    """Tested designs of one task whose wants are all the same; their weights may differ, as any design has a score for any weights.

    Args:
        task: of the designs.
        wants: values of the task's wants.
    """

    def __init__(self, task: Task, wants: Mapping[str, float]) -> None:
        self.task = task
        self.wants = dict(wants)
        self._steps: list[Steps] = []
        self._verdicts: list[Verdict] = []
        self._seeds: list[int] = []
        self._tables: dict[str, NDArray[np.float64]] = {}

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, orders: Sequence[Order], verdicts: Sequence[Verdict]) -> None:
        """Keep designs with what their tests have found."""
        self._steps += [order.steps for order in orders]
        self._seeds += [order.seed for order in orders]
        self._verdicts += verdicts
        self._tables.clear()

    @property
    def steps(self) -> NDArray[np.float64]:
        """(N, T, width)."""
        if "steps" not in self._tables:
            shape = (-1, self.task.space.steps, self.task.space.width)
            self._tables["steps"] = np.array(self._steps).reshape(shape)
        return self._tables["steps"]

    @property
    def scores(self) -> NDArray[np.float64]:
        """Of each goal in the task's order, (N, G)."""
        if "scores" not in self._tables:
            names = [goal.name for goal in self.task.goals]
            rows = [[each.scores[name] for name in names] for each in self._verdicts]
            self._tables["scores"] = np.array(rows).reshape(-1, len(names))
        return self._tables["scores"]

    def fact(self, name: str) -> NDArray[np.float64]:
        """One measured number of every design, (N,)."""
        return np.array([each.facts[name] for each in self._verdicts])

    def values(self, weights: Mapping[str, float]) -> NDArray[np.float64]:
        """Every design's score under these weights, (N,)."""
        shares = np.array([weights[goal.name] for goal in self.task.goals])
        return self.scores @ shares / shares.sum()

    def best(self, weights: Mapping[str, float], count: int = 1, *, apart: float = 0.0) -> list[int]:
        """Numbers of the best designs under these weights, best first.

        Args:
            weights: of the goals.
            count: how many, at most.
            apart: root mean square distance of their steps' numbers that any two of them have at least.
        """
        steps = self.steps.reshape(len(self), self.task.space.steps * self.task.space.width)
        chosen: list[int] = []
        for number in np.argsort(-self.values(weights), kind="stable"):
            if len(chosen) == count:
                break
            far = not chosen or np.sqrt(((steps[chosen] - steps[number]) ** 2).mean(1)).min() >= apart
            if far:
                chosen.append(int(number))
        return chosen

    def front(self) -> list[int]:
        """Numbers of the designs that no other beats in one goal without losing in another, in their order."""
        return front_of(self.scores)

    def first(self, count: int) -> Archive:
        """An archive of the first `count` designs alone."""
        found = Archive(self.task, self.wants)
        found._steps, found._verdicts, found._seeds = self._steps[:count], self._verdicts[:count], self._seeds[:count]
        return found

    def design(self, number: int, weights: Mapping[str, float] | None = None) -> Design:
        """One of them, under these weights, or the task's own."""
        wish = self.task.wish({**(weights or {}), **self.wants})
        return Design(self.task, self._steps[number], wish, (self._seeds[number],), self._verdicts[number])

    def state(self) -> dict[str, Any]:
        """All of it as tensors and plain values; see `from_state`."""
        facts = list(self._verdicts[0].facts) if self._verdicts else []
        return {
            "wants": self.wants,
            "steps": torch.from_numpy(self.steps),
            "seeds": torch.tensor(self._seeds, dtype=torch.int64),
            "scores": torch.from_numpy(self.scores),
            "facts": {name: torch.from_numpy(self.fact(name)) for name in facts},
        }

    @classmethod
    def from_state(cls, task: Task, state: Mapping[str, Any]) -> Archive:
        """The archive that `state` has kept."""
        archive = cls(task, state["wants"])
        names = [goal.name for goal in task.goals]
        archive._steps = list(state["steps"].numpy())
        archive._seeds = state["seeds"].tolist()
        facts = {name: values.tolist() for name, values in state["facts"].items()}
        archive._verdicts = [
            Verdict(dict(zip(names, row, strict=True)), {name: values[number] for name, values in facts.items()})
            for number, row in enumerate(state["scores"].tolist())
        ]
        return archive


def front_of(scores: NDArray[np.float64]) -> list[int]:
    """Rows of (N, G) that no other row dominates: at least as good in all columns, and better in one; of equal rows the first."""
    order = np.lexsort(-scores.T[::-1])  # a row is only dominated by rows that come before it
    kept: list[int] = []
    for number in order:
        if not kept or not (scores[kept] >= scores[number]).all(1).any():
            kept.append(int(number))
    return sorted(kept)
