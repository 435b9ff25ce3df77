"""Many designs tested at a time, over the cores: `with workshop(task, workers) as shop: verdicts = shop.test(designs)`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from ..core.crew import Crew, crew
from .space import Steps
from .task import Task, Verdict


class Order(NamedTuple):
    """A design that is to be tested."""

    steps: Steps
    goals: dict[str, float]
    """weights and wants"""
    seed: int


class Workshop:
    """Tests designs of one task; made by `workshop`."""

    def __init__(self, task: Task, hands: Crew, workers: int) -> None:
        self.task = task
        self._hands, self._workers = hands, workers

    def test(self, orders: Sequence[Order]) -> list[Verdict]:
        """The verdicts in the order of the designs; they do not depend on how many workers there are."""
        if self._workers == 1 or not orders:
            return _tested(self.task, orders)
        share = -(-len(orders) // (2 * self._workers))  # two lots for each, as designs take unequally long
        lots = [orders[first : first + share] for first in range(0, len(orders), share)]
        for number, lot in enumerate(lots):
            self._hands.submit(number, _tested, self.task, lot)
        done = dict(self._hands.next() for _ in lots)
        return [verdict for number in range(len(lots)) for verdict in done[number]]


@contextmanager
def workshop(task: Task, workers: int = 1) -> Iterator[Workshop]:
    """A workshop for the body.

    Args:
        task: whose designs.
        workers: processes that test, at least 1; with 1 it is this one. New processes import the program that started them, so a script
            that asks for several has its own work below `if __name__ == "__main__":`.
    """
    with crew(workers) as hands:
        yield Workshop(task, hands, workers)


def _tested(task: Task, orders: Sequence[Order]) -> list[Verdict]:
    return [task.test(task.space.build(order.steps), task.wish(order.goals), order.seed) for order in orders]
