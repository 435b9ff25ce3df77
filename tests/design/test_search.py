"""Searches: within bounds, the same for the same seed, replayed from their values, and better than chance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("cma")

from tenfold.design.search import SEARCHES, Search

Numbers = NDArray[np.float64]
every_search = pytest.mark.parametrize("name", SEARCHES)
SIZE = 8
AIM = np.array([0.6, -0.5, 0.2, -0.8, 0.4, 0.0, -0.3, 0.7])


def bowl(designs: Numbers) -> Numbers:
    """Highest, 0, at AIM."""
    return -((designs - AIM) ** 2).sum(1)


def edge(designs: Numbers) -> Numbers:
    """Highest in a corner."""
    return designs.sum(1)


def flat(designs: Numbers) -> Numbers:
    return np.full(len(designs), 0.5)


def told(search: Search, value: Callable[[Numbers], Numbers], calls: int) -> tuple[list[Numbers], list[Numbers]]:
    """What it has asked for, and what it was told, until it has had so many designs tested."""
    asked, values = [next(search)], []
    while sum(map(len, asked)) < calls:
        values.append(value(asked[-1]))
        asked.append(search.send(values[-1]).copy())
    return asked, [*values, value(asked[-1])]


@every_search
@pytest.mark.parametrize("value", [bowl, edge, flat])
def test_designs_stay_in_bounds_and_lots_have_a_shape(name: str, value: Callable[[Numbers], Numbers]) -> None:
    asked, _ = told(SEARCHES[name](SIZE, 1), value, 1500)
    for lot in asked:
        assert lot.ndim == 2
        assert lot.shape[1] == SIZE
        assert np.abs(lot).max() <= 1
        assert lot.dtype == np.float64


@every_search
def test_the_same_seed_asks_the_same_and_another_seed_something_else(name: str) -> None:
    first, again, other = (told(SEARCHES[name](SIZE, seed), bowl, 200)[0] for seed in (3, 3, 4))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


@every_search
def test_replayed_with_what_it_was_told_it_asks_the_same_again(name: str) -> None:
    asked, values = told(SEARCHES[name](SIZE, 5), bowl, 600)
    again = SEARCHES[name](SIZE, 5)
    replayed = [next(again)]
    for each in values[: len(asked) - 1]:
        replayed.append(again.send(each))  # noqa: PERF401 - what is sent first comes back first
    assert len(asked) > 20
    assert all(np.array_equal(one, two) for one, two in zip(asked, replayed, strict=True))


@pytest.mark.parametrize("name", ["random", "climbing", "cma-es"])
def test_nobody_elses_chance_changes_what_is_asked_for_nor_is_changed(name: str) -> None:
    alone, _ = told(SEARCHES[name](SIZE, 5), bowl, 100)

    def disturbed(designs: Numbers) -> Numbers:
        np.random.random(7)  # noqa: NPY002 - the generator that all share
        return bowl(designs)

    among_others, _ = told(SEARCHES[name](SIZE, 5), disturbed, 100)
    assert all(np.array_equal(one, two) for one, two in zip(alone, among_others, strict=True))
    np.random.seed(0)  # noqa: NPY002
    wanted = np.random.random(3)  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    told(SEARCHES[name](SIZE, 6), bowl, 40)
    assert np.array_equal(np.random.random(3), wanted)  # noqa: NPY002


@pytest.mark.parametrize("seed", range(5))
def test_what_is_told_is_followed_on_a_smooth_hill(seed: int) -> None:
    best = {}
    for name, search in SEARCHES.items():
        _, values = told(search(SIZE, seed), bowl, 480)
        best[name] = np.concatenate(values)[:480].max()
    assert best["cma-es"] > best["random"] / 20, best
    assert best["climbing"] > best["random"] / 5, best
    assert best["random"] < -0.2


@pytest.mark.parametrize("name", ["climbing", "cma-es"])
def test_a_corner_is_found(name: str) -> None:
    _, values = told(SEARCHES[name](SIZE, 0), edge, 1500)
    assert np.concatenate(values).max() > 0.97 * SIZE


def test_random_designs_are_spread_evenly() -> None:
    asked, _ = told(SEARCHES["random"](SIZE, 0), bowl, 4000)
    designs = np.concatenate(asked)
    assert np.abs(designs.mean(0)).max() < 0.05
    assert designs.var(0) == pytest.approx(np.full(SIZE, 1 / 3), rel=0.08)


def test_a_climber_never_leaves_what_was_best_for_something_worse() -> None:
    """With worse values all along, its changes stay about its first best design, and get smaller."""
    search = SEARCHES["climbing"](SIZE, 2)
    first = next(search)
    best = first[bowl(first).argmax()]
    lot = search.send(bowl(first))
    spans = []
    for _ in range(60):
        spans.append(np.abs(lot - best).max())
        lot = search.send(np.full(len(lot), -1e9))
    assert max(spans[-10:]) < max(spans[:10]) / 4


def test_a_converged_search_begins_anew_elsewhere() -> None:
    asked, _ = told(SEARCHES["cma-es"](3, 0), lambda designs: -((designs - 0.3) ** 2).sum(1), 3000)
    spans = np.array([lot.std(0).max() for lot in asked])
    narrow = int(np.argmax(spans < 1e-3))
    assert 0 < narrow < len(spans) - 10
    assert spans[narrow:].max() > 0.1


@pytest.mark.parametrize("name", SEARCHES)
def test_values_that_are_all_the_same_stop_no_search(name: str) -> None:
    asked, _ = told(SEARCHES[name](SIZE, 0), flat, 800)
    assert sum(map(len, asked)) >= 800
