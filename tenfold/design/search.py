"""Searches that know no policy, with the same simulator calls: random search, hill climbing, CMA-ES.

They see a design as one row of numbers in [-1, 1], all its steps one after the other, and a wish's score as its value. Each is a
generator that yields designs to be tested, (B, T * width), and is sent their values, (B,), until nobody asks any more.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Search = Generator[Numbers, Numbers, None]

FIRST = 0.3
"""spread of CMA-ES's first designs, and of a climber's first steps"""
LOT = 16
"""designs that random search and hill climbing have tested at a time"""


def random_search(size: int, seed: int) -> Search:
    """Designs drawn evenly from all."""
    random = np.random.default_rng(seed)
    while True:
        yield random.uniform(-1, 1, (LOT, size))


def hill_climbing(size: int, seed: int) -> Search:
    """From the best of a few random designs on: changes of some of its numbers, kept where they are better.

    The spread of changes follows the one-fifth rule (Rechenberg 1973): it grows where more than a fifth of the last lot was better.
    """
    random = np.random.default_rng(seed)
    tried = random.uniform(-1, 1, (LOT, size))
    values = yield tried
    best, height, spread = tried[values.argmax()], float(values.max()), FIRST
    while True:
        changed = random.random((LOT, size)) < max(0.25, 1 / size)
        changed[np.arange(LOT), np.arange(LOT) % size] |= ~changed.any(1)  # or it would be the best one once more
        tried = np.clip(best + spread * changed * random.standard_normal((LOT, size)), -1, 1)
        values = yield tried
        spread = float(np.clip(spread * math.exp(((values > height).mean() - 0.2) / 2), 0.01, 1.0))
        if values.max() > height:
            best, height = tried[values.argmax()], float(values.max())


def cma_es(size: int, seed: int) -> Search:
    """CMA-ES (Hansen) in its author's own code, `cma`, within bounds; begun anew from a random design when it has converged."""
    random = np.random.default_rng(seed)
    start = np.zeros(size)
    while True:
        strategy = _strategy(start, random)
        while not strategy.stop():
            tried = np.array(strategy.ask())
            values = yield tried
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of equal values, which it copes with
                strategy.tell(list(tried), list(-values))
        start = random.uniform(-1, 1, size)


SEARCHES = {"random": random_search, "climbing": hill_climbing, "cma-es": cma_es}


def _strategy(start: Numbers, random: np.random.Generator) -> Any:
    import cma

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"bounds": [-1, 1], "verbose": -9, "verb_log": 0}
        # by itself it seeds and draws from the generator of all numpy, which others draw from too
        options |= {"seed": math.nan, "randn": lambda *shape: random.standard_normal(shape)}
        return cma.CMAEvolutionStrategy(start, FIRST, options)
