"""Runs that end in the middle, and what they leave."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tenfold.core.run import Run


class KilledError(Exception):
    """Stands for a kill."""


@contextmanager
def killed_after(saves: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The training ends by an exception right after so many checkpoints."""
    left = saves
    save = Run.save

    def counting(run: Run, state: Any, *, name: str = "last") -> None:
        nonlocal left
        save(run, state, name=name)
        left -= 1
        if left == 0:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", counting)
        yield


def logged(run: Run) -> list[dict[str, Any]]:
    """The run's log without the times."""
    return [{name: value for name, value in line.items() if name != "time"} for line in run.metrics()]
