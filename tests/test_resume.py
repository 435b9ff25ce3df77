"""A training that is killed, at any moment and more than once, ends as the one that nobody disturbed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tenfold.core.run import Run

from .command import environment, start, tenfold

STEPS = 6  # an epoch's
SETTINGS = [
    *("--preset", "smoke", "--data.limit", 32 * STEPS, "--train.batch-size", 32, "--train.epochs", 2),
    *("--train.save-every", 2, "--calibration", 64, "--seed", 5),
]

State = dict[str, Any]
NOTHING: State = {"done": [], "progress": None}


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nobody disturbed."""
    root = tmp_path_factory.mktemp("straight")
    ended = tenfold("train", "resize", *SETTINGS, "--runs", root)
    assert ended.returncode == 0, ended.stderr
    (folder,) = (root / "resize").iterdir()
    return folder


def states(folder: Path, process: subprocess.Popen[str]) -> Iterator[State]:
    """The last checkpoint of a run, again and again while the process lives; nothing before there is one."""
    run: Run | None = None
    while process.poll() is None:
        if run is None and (folder / "status.json").exists():
            run = Run.open(folder)
        state = run.load() if run is not None else None
        yield state or NOTHING
        time.sleep(0.002)


def kill_when(reached: Callable[[State], bool], process: subprocess.Popen[str], find: Callable[[], Path]) -> State:
    """SIGKILL the process as soon as its checkpoint is one that `reached` wants, and return the one it left."""
    while not (folder := find()).is_dir():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    assert any(reached(state) for state in states(folder, process)), process.communicate()
    process.kill()
    process.communicate()
    assert process.returncode == -9
    return Run.open(folder).load() or NOTHING


def steps_done(state: State) -> int:
    """Steps of all the networks that a checkpoint holds."""
    progress = state["progress"]
    return 2 * STEPS * len(state["done"]) + (0 if progress is None else progress["step"])


def assert_same(folder: Path, straight: Path) -> None:
    """The two runs have the same final metrics and logged the same numbers, to the last bit."""
    ours, theirs = (json.loads((path / "status.json").read_text()) for path in (folder, straight))
    assert ours["state"] == theirs["state"] == "done"
    assert ours["metrics"] == theirs["metrics"]
    assert logged(folder) == logged(straight)
    assert len(logged(folder)) == 4


def logged(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != "time"} for line in lines]


def only_run(root: Path) -> Path:
    return next((root / "resize").glob("*"), root / "none yet")


# a training that kills itself: ORDER (before or after) the NTH call of FUNCTION
KILLING = """
import os, signal, sys
from tenfold.__main__ import main
from tenfold.core import checkpoint
from tenfold.core.run import Run

order, nth, function = sys.argv[1], int(sys.argv[2]), sys.argv[3]
owner = checkpoint if function == "replace_file" else Run
original, calls = getattr(owner, function), []

def deadly(*arguments, **options):
    calls.append(1)
    if len(calls) < nth or order == "after":
        original(*arguments, **options)
    if len(calls) == nth:
        os.kill(os.getpid(), signal.SIGKILL)

setattr(owner, function, deadly)
sys.exit(main(sys.argv[4:]))
"""


def test_kills_at_chosen_moments_leave_no_trace(straight: Path, tmp_path: Path) -> None:
    find = partial(only_run, tmp_path)
    moments: list[tuple[str, int, str, list[str], int]] = [
        # how it dies, and what networks and how many steps the checkpoint then has
        ("after", 1, "save", [], 2),
        ("before", 2, "replace_file", [], 4),  # within the save of step 6: its tensors are there, its index is not
        ("after", 1, "log", [], 4),  # logged step 6, did not save it
        ("after", 5, "save", ["ungated"], 2 * STEPS),  # between two networks
        ("after", 7, "save", ["ungated"], 4 * STEPS),  # the best weights are saved, the end is not
    ]
    arguments = [*map(str, SETTINGS), "--runs", str(tmp_path)]
    for order, nth, function, networks, steps in moments:
        command = [sys.executable, "-c", KILLING, order, str(nth), function, "train", "resize", *arguments]
        ended = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=500)
        assert ended.returncode == -9, ended.stderr
        state = Run.open(find()).load()
        assert state is not None
        assert (state["done"], steps_done(state)) == (networks, steps), (order, nth, function)
        assert Run.open(find()).status["state"] == "running"
        with (find() / "metrics.jsonl").open("a") as file:  # as a kill while a line is written leaves it
            file.write('{"step": 99, "stage": "ungated", "time": "", "total loss": 0.0}\n{"step": 100, "sta')
        arguments = ["--resume", str(find())]
    ended = tenfold("train", "resize", *arguments)
    assert ended.returncode == 0, ended.stderr
    assert f"report: {find() / 'report.html'}" in ended.stdout
    assert_same(find(), straight)


def test_kills_at_random_moments_leave_no_trace(straight: Path, tmp_path: Path) -> None:
    seed = time.time_ns() % 1000
    print("seed", seed)  # shown if it fails
    draw, find = random.Random(seed), partial(only_run, tmp_path)
    process = start("train", "resize", *SETTINGS, "--runs", tmp_path)
    done = 0
    for _ in range(3):
        aim = draw.randint(min(done, 3 * STEPS) + 1, 4 * STEPS - 4)
        done = steps_done(kill_when(lambda state, aim=aim: steps_done(state) >= aim, process, find))  # type: ignore[misc]
        process = start("train", "resize", "--resume", find())
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert_same(only_run(tmp_path), straight)
