"""What the evaluation and the demo of any method begin with: a finished run's settings and trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from .config import from_dict
from .errors import UsageError
from .run import Run

C = TypeVar("C")


def open_trained(folder: Path, verb: str, settings: type[C]) -> tuple[C, dict[str, Any]]:
    """The settings of a run of the method `verb`, and what its checkpoint "best" holds.

    Args:
        folder: of the run.
        verb: the method.
        settings: the method's `Config`.

    Raises:
        UsageError: the folder is not a run of this method, or it has no trained network yet.
    """
    run = Run.open(folder)
    if run.verb != verb:
        raise UsageError(f"{folder} is a run of {run.verb}, but must be one of {verb}")
    config = from_dict(settings, run.settings["config"])
    state = run.load(name="best")
    if state is None:
        raise UsageError(f"{folder} has no trained network yet; its status is {run.status['state']}")
    return config, state
