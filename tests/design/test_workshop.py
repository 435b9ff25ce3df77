"""Designs tested over the cores: the same verdicts as by one worker, in order, and counted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

pytest.importorskip("mujoco")

from tenfold.design.solid import Solid
from tenfold.design.task import Task, Verdict
from tenfold.design.tasks import find_task
from tenfold.design.workshop import Order, workshop

from .toy import Toy

TOY = Toy()


def orders_of(task: Task, count: int) -> list[Order]:
    random = np.random.default_rng(0)
    shape = (task.space.steps, task.space.width)
    return [Order(random.uniform(-1, 1, shape), task.wish().values, number) for number in range(count)]


def test_verdicts_are_those_of_the_task_in_order() -> None:
    orders = orders_of(TOY, 5)
    with workshop(TOY) as shop:
        found = shop.test(orders)
        assert shop.test(orders[:2]) == found[:2]
        assert shop.test([]) == []
    assert found == [TOY.test(TOY.space.build(each.steps), TOY.wish(), each.seed) for each in orders]
    assert len({verdict.facts["luck"] for verdict in found}) == 5


def test_every_order_has_its_own_wish_and_seed() -> None:
    steps = np.zeros((3, 3))
    orders = [Order(steps, {"size_ml": size}, seed) for size, seed in ((40.0, 1), (90.0, 1), (40.0, 2))]
    with workshop(TOY) as shop:
        small, large, other = shop.test(orders)
    assert small.scores["large"] > large.scores["large"]
    assert small.facts["luck"] == large.facts["luck"] != other.facts["luck"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Cup", "Stand"])
def test_verdicts_do_not_depend_on_the_workers(name: str) -> None:
    task = find_task(name)
    orders = orders_of(task, 11)
    with workshop(task) as shop:
        wanted = shop.test(orders)
    for workers in (2, 3) if name == "Cup" else (2,):
        with workshop(task, workers) as shop:
            for count in (11, 1, 2):
                assert shop.test(orders[:count]) == wanted[:count]


@pytest.mark.slow
def test_several_workers_have_nothing_to_do_for_no_orders() -> None:
    with workshop(TOY, 2) as shop:
        assert shop.test([]) == []


class Failing(Toy):
    def judge(self, solid: Solid, wants: Mapping[str, float], random: np.random.Generator) -> Verdict:
        raise ArithmeticError("cannot be tested")


class Forgetful(Toy):
    def judge(self, solid: Solid, wants: Mapping[str, float], random: np.random.Generator) -> Verdict:
        found = super().judge(solid, wants, random)
        del found.scores["low"]
        return found


def test_what_a_task_raises_comes_through() -> None:
    with workshop(Failing()) as shop, pytest.raises(ArithmeticError, match="cannot be tested"):
        shop.test(orders_of(TOY, 2))
    message = r"Toy\.judge has scored \['large'\], but the goals are \['large', 'low'\]"
    with workshop(Forgetful()) as shop, pytest.raises(ValueError, match=message):
        shop.test(orders_of(TOY, 2))
