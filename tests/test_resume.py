"""A training that is killed, at any moment and more than once, ends as the one that nobody disturbed."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tenfold.core.run import Run

from .command import start, tenfold

STEPS = 6  # an epoch's
SETTINGS = [
    *("--preset", "smoke", "--data.limit", 32 * STEPS, "--train.batch-size", 32, "--train.epochs", 2),
    *("--train.save-every", 2, "--calibration", 64, "--seed", 5),
]

State = dict[str, Any]


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
        yield state or {"done": [], "progress": None}
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
    return Run.open(folder).load() or {}


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


def test_kills_at_chosen_moments_leave_no_trace(straight: Path, tmp_path: Path) -> None:
    moments: list[Callable[[State], bool]] = [
        lambda state: steps_done(state) >= 2,  # the first checkpoint: within the first epoch of the first network
        lambda state: state["progress"] is not None and state["progress"]["step"] == 2 * STEPS,  # trained, not tested
        lambda state: state["done"] == ["ungated"] and state["progress"] is None,  # between two networks
        lambda state: steps_done(state) > 3 * STEPS,  # within the second epoch of the second network
    ]
    process = start("train", "resize", *SETTINGS, "--runs", tmp_path)
    for reached in moments:
        kill_when(reached, process, lambda: only_run(tmp_path))
        assert Run.open(only_run(tmp_path)).status["state"] == "running"
        process = start("train", "resize", "--resume", only_run(tmp_path))
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert_same(only_run(tmp_path), straight)
    assert f"report: {only_run(tmp_path) / 'report.html'}" in printed


@pytest.mark.parametrize("seed", [time.time_ns() % 1000])
def test_kills_at_random_moments_leave_no_trace(seed: int, straight: Path, tmp_path: Path) -> None:
    draw = random.Random(seed)
    process = start("train", "resize", *SETTINGS, "--runs", tmp_path)
    done, kills = 0, 0
    while kills < 3:
        aim = draw.randint(done, 4 * STEPS - 2)
        done = steps_done(
            kill_when(lambda state, aim=aim: steps_done(state) >= aim, process, lambda: only_run(tmp_path))  # type: ignore[misc]
            or {"done": [], "progress": None}
        )
        kills += 1
        process = start("train", "resize", "--resume", only_run(tmp_path))
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert_same(only_run(tmp_path), straight)


def test_a_torn_line_and_lines_after_the_checkpoint_are_done_again(straight: Path, tmp_path: Path) -> None:
    process = start("train", "resize", *SETTINGS, "--runs", tmp_path)
    kill_when(lambda state: steps_done(state) >= STEPS, process, lambda: only_run(tmp_path))
    with (only_run(tmp_path) / "metrics.jsonl").open("a") as file:
        file.write('{"step": 99, "stage": "ungated", "time": "", "total loss": 0.0}\n{"step": 100, "sta')
    ended = tenfold("train", "resize", "--resume", only_run(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert_same(only_run(tmp_path), straight)
