"""Independent work spread over processes: complete, in the order in which it ends, and with nothing left behind."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tenfold.core.crew import Crew, Engine, crew
from tenfold.core.errors import UsageError
from tenfold.core.processes import variables_for_children

# the workers import this file: what takes long to load is imported where it is used
Matrix = NDArray[np.float64]
VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "TORCH_CPP_LOG_LEVEL")


def settled(number: int, matrix: Matrix) -> Matrix:
    settled: Matrix = np.tanh(matrix * number).sum(0)
    return settled


def after(started: str, awaited: str) -> str:
    """Says that it has begun, and ends when another file is there."""
    if started:
        Path(started).touch()
    until = time.monotonic() + 60
    while awaited and not Path(awaited).exists():
        assert time.monotonic() < until
        time.sleep(0.005)
    return awaited


def surroundings() -> dict[str, Any]:
    import torch

    return {"process": os.getpid(), "threads": torch.get_num_threads()} | {name: os.environ[name] for name in VARIABLES}


def here(number: int) -> tuple[int, int]:
    return number, os.getpid()


def refuse(what: str) -> None:
    raise UsageError(f"{what} is refused")


def taken(workers: Crew, count: int) -> dict[Any, Any]:
    return dict(workers.next() for _ in range(count))


def no_child_is_left() -> bool:
    until = time.monotonic() + 10
    while multiprocessing.active_children() and time.monotonic() < until:
        time.sleep(0.01)
    return not multiprocessing.active_children()


@pytest.fixture
def matrix() -> Matrix:
    return np.random.default_rng(0).normal(size=(40, 30))


def test_all_results_come_back_and_are_the_same(matrix: Matrix) -> None:
    wanted = {("call", number): settled(number, matrix) for number in range(7)}
    for count in (1, 2):
        with crew(count) as workers:
            for number in range(7):
                workers.submit(("call", number), settled, number, matrix)
            found = taken(workers, 7)
        assert set(found) == set(wanted)
        assert all(np.array_equal(found[tag], wanted[tag]) for tag in wanted)
    assert no_child_is_left()


def test_one_worker_is_this_process_and_keeps_the_order() -> None:
    before = {name: os.environ.get(name) for name in VARIABLES}
    with crew(1) as workers:
        for number in range(3):
            workers.submit(number, here, number)
        assert not multiprocessing.active_children()
        for number in range(3):
            assert workers.next() == (number, (number, os.getpid()))
    assert {name: os.environ.get(name) for name in VARIABLES} == before


def test_results_come_in_the_order_in_which_they_are_ready(tmp_path: Path) -> None:
    """The first call is over only when the results of the two after it were taken."""
    begun, end = tmp_path / "begun", tmp_path / "end"
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    with crew(2) as workers:
        workers.submit(1, after, one, other)  # neither ends unless both run at a time
        workers.submit(2, after, other, one)
        assert taken(workers, 2) == {1: other, 2: one}
        workers.submit("first", after, "", str(end))
        workers.submit("second", after, "", "")
        assert workers.next()[0] == "second"
        workers.submit("third", after, str(begun), "")
        assert workers.next()[0] == "third"
        assert begun.exists()
        end.touch()
        assert workers.next() == ("first", str(end))


def test_workers_are_other_processes_with_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    with crew(2) as workers:
        assert os.environ["OMP_NUM_THREADS"] == "3"
        assert "OMP_WAIT_POLICY" not in os.environ
        for number in range(2):
            workers.submit(number, surroundings)
        found = taken(workers, 2)
    for each in found.values():
        assert each.pop("process") != os.getpid()
        assert each == {
            "threads": 1,
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "TORCH_CPP_LOG_LEVEL": "ERROR",
        }


def test_variables_come_back_after_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)

    def fail() -> None:
        with variables_for_children(threads=2):
            assert (os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"]) == ("2", "PASSIVE")
            raise KeyError("body")

    with pytest.raises(KeyError):
        fail()
    assert os.environ["OMP_NUM_THREADS"] == "5"
    assert "OMP_WAIT_POLICY" not in os.environ


@pytest.mark.parametrize("count", [1, 2])
def test_what_a_call_raises_arrives_and_the_others_go_on(count: int) -> None:
    with crew(count) as workers:
        workers.submit("bad", refuse, "this")
        with pytest.raises(UsageError, match=r"^this is refused$"):
            workers.next()
        workers.submit("good", here, 1)
        assert workers.next()[0] == "good"
    assert no_child_is_left()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_no_worker_goes_on_when_the_body_fails(error: type[BaseException], tmp_path: Path) -> None:
    """Neither a call that runs, nor one that has not begun, is waited for."""
    started = [tmp_path / "first", tmp_path / "second"]

    def fail() -> None:
        with crew(2) as workers:
            for each in started:
                workers.submit(each, after, str(each), str(tmp_path / "never"))
            workers.submit("waiting", after, str(tmp_path / "third"), "")
            for each in started:
                after("", str(each))
            assert len(multiprocessing.active_children()) == 2
            raise error

    began = time.monotonic()
    with pytest.raises(error):
        fail()
    assert time.monotonic() - began < 30
    assert no_child_is_left()
    assert not (tmp_path / "third").exists()


def test_no_worker_is_left_when_the_body_ends_early(tmp_path: Path) -> None:
    with crew(2) as workers:
        workers.submit(1, after, str(tmp_path / "begun"), str(tmp_path / "never"))
        after("", str(tmp_path / "begun"))
    assert no_child_is_left()


@pytest.mark.slow
def test_with_ray_results_are_the_same(matrix: Matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    engine: Engine = "ray"

    def failing() -> None:
        with crew(2, engine) as workers:
            workers.submit("here", surroundings)
            found = workers.next()[1]
            assert found["process"] != os.getpid()
            assert (found["threads"], found["OMP_NUM_THREADS"]) == (1, "1")
            for number in range(3):
                workers.submit(number, settled, number, matrix)
            found = taken(workers, 3)
            assert all(np.array_equal(found[number], settled(number, matrix)) for number in range(3))
            workers.submit("bad", refuse, "this")
            workers.next()

    with pytest.raises(UsageError, match="this is refused"):
        failing()
    assert not ray.is_initialized()
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_without_ray_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)

    def use() -> None:
        with crew(1, "ray"):
            pass

    with pytest.raises(ModuleNotFoundError, match="ray"):
        use()
