"""Designs tested per second: in one process, and over all cores; with the share of the time that the physics engine takes.

    python benchmarks/design_throughput.py --designs 400 --repeats 3

The designs are those that an untrained policy draws: numbers with a standard deviation of one half. One process and all cores take turns,
and the medians of the turns count. The engine's time is that of building MuJoCo's models and of its time steps.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import numpy as np

from tenfold.core.legs import one_thread
from tenfold.design import physics
from tenfold.design.task import Task
from tenfold.design.tasks import HOME, find_task
from tenfold.design.workshop import Order, Workshop, workshop


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--tasks", nargs="*", default=list(HOME))
    options.add_argument("--designs", type=int, default=400)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--workers", type=int, default=os.cpu_count())
    given = options.parse_args()
    print(f"{'task':8} {'one process':>14} {given.workers:3} processes {'ratio':>7} {'engine':>8}")
    for name in given.tasks:
        task = find_task(name)
        designs = drawn(task, given.designs)
        with one_thread(), workshop(task) as alone, workshop(task, given.workers) as together:
            alone.test(designs[:8])
            together.test(designs[: 8 * given.workers])
            turns = [(*measured(alone, designs), *measured(together, designs)[:1]) for _ in range(given.repeats)]
        one, share, all_cores = (statistics.median(column) for column in zip(*turns, strict=True))
        print(f"{name:8} {one:10.1f} / s {all_cores:8.1f} / s {all_cores / one:9.2f} {share:8.2f}")


def drawn(task: Task, count: int) -> list[Order]:
    """Designs as an untrained policy draws them."""
    random = np.random.default_rng(0)
    shape = (count, task.space.steps, task.space.width)
    steps = np.clip(0.5 * random.standard_normal(shape), -1, 1)
    return [Order(each, {}, number) for number, each in enumerate(steps)]


def measured(shop: Workshop, designs: list[Order]) -> tuple[float, float]:
    """(designs per second, share of the time in this process's engine)."""
    before, began = physics.ENGINE["seconds"], time.perf_counter()
    shop.test(designs)
    spent = time.perf_counter() - began
    return len(designs) / spent, (physics.ENGINE["seconds"] - before) / spent


if __name__ == "__main__":
    main()
