"""The command line as a person's shell runs it: another process, somewhere else, on one thread."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def environment(**variables: str) -> dict[str, str]:
    """This process's variables for a child that finds the package wherever it runs, and whose arithmetic repeats."""
    ours = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return os.environ | ours | variables


def tenfold(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `tenfold ARGUMENTS` to its end; the result has its exit code and what it printed."""
    command = [sys.executable, "-m", "tenfold", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=500)


def start(*arguments: object, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start `tenfold ARGUMENTS` and come back at once."""
    # a shell starts background jobs with Ctrl-C ignored, and children inherit that: tests in such a job want it back
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import tenfold.__main__ as t; t.console()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def small_training(runs: Path, *more: Any) -> list[Any]:
    """A training of a second; what is wrong with it has to be found first."""
    options = ["--data.limit", 64, "--train.epochs", 1, "--calibration", 0, "--baselines"]
    return ["train", "resize", "--preset", "smoke", "--runs", runs, *options, *more]


def in_words(value: list[str] | str) -> str:
    """How a parameter shows in the name of its test: arguments do, what they lead to does not."""
    return " ".join(value) if isinstance(value, list) else ""
