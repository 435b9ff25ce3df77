"""How the command line ends other than well: a traceback where it is asked for, Ctrl-C, and readers who leave."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from .command import in_words, small_training, start, tenfold

pytest_plugins = ["tests.trained"]


def test_debug_shows_where_it_happened() -> None:
    ended = tenfold("eval", "nowhere", "--debug")
    assert ended.returncode not in (0, 2)
    assert "Traceback" in ended.stderr
    assert "UsageError: nowhere is not a run folder" in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_training_that_is_ended_is_stopped(number: signal.Signals, tmp_path: Path) -> None:
    process = start(*small_training(tmp_path), "--train.epochs", "1000")
    while not list(tmp_path.glob("resize/*/checkpoints/last/state.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    (folder,) = (tmp_path / "resize").iterdir()
    assert json.loads((folder / "status.json").read_text())["state"] == "stopped"
    assert "Traceback" not in errors
    assert process.returncode == 128 + number
    if number == signal.SIGINT:
        assert "tenfold train VERB --resume RUN" in errors.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["--help"], ["train", "resize", "--help"], ["report", "RUN"]],
    ids=in_words,
)
def test_a_reader_who_leaves_gets_no_traceback(arguments: list[str], copied: Path) -> None:
    process = start(*(word.replace("RUN", str(copied)) for word in arguments))
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 1


def test_a_training_whose_reader_leaves_is_stopped(tmp_path: Path) -> None:
    process = start(*small_training(tmp_path))
    assert process.stderr is not None
    assert process.stderr.readline().startswith("run folder: ")
    process.stderr.close()
    assert process.wait(timeout=60) == 1
    (folder,) = (tmp_path / "resize").iterdir()
    assert json.loads((folder / "status.json").read_text())["state"] == "stopped"
    assert process.stdout is not None
    process.stdout.close()
