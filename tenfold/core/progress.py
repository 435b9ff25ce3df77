"""Progress of long work on the error stream: a live bar on a terminal, now and then a plain line anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_SECONDS_BETWEEN_LINES = 10.0


class Meter(Protocol):
    """What the body of `with meter(...)` reports to."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """Count `n` more; a `note` that is not empty replaces the one shown."""


@contextmanager
def meter(label: str, total: int, *, show: bool = True) -> Iterator[Meter]:
    """Show how far work of `total` equal parts has come, its rate, the time left and a note.

    Args:
        show: False shows nothing, for the processes that are not the first.
    """
    if not show:
        yield _Silence()
    elif sys.stderr.isatty():
        with _bar() as progress:
            yield _Bar(progress, progress.add_task(label, total=total, rate="", note=""))
    else:
        lines = _Lines(label, total)
        try:
            yield lines
        finally:
            lines.end()


class _Silence:
    def advance(self, n: int = 1, note: str = "") -> None:
        pass


class _Bar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, n: int = 1, note: str = "") -> None:
        task = self._progress.tasks[0]
        rate = _rate(task.speed) if task.speed else ""
        self._progress.update(self._task, advance=n, rate=rate, note=note or task.fields["note"])


class _Lines:
    def __init__(self, label: str, total: int) -> None:
        self._label = label
        self._total = total
        self._done = 0
        self._note = ""
        self._started = self._shown = time.monotonic()

    def advance(self, n: int = 1, note: str = "") -> None:
        self._done += n
        self._note = note or self._note
        now = time.monotonic()
        if now - self._shown >= _SECONDS_BETWEEN_LINES and self._done:
            self._shown = now
            spent = now - self._started
            left = spent / self._done * max(self._total - self._done, 0)
            self._show(spent, f"{_duration(left)} left")

    def end(self) -> None:
        spent = time.monotonic() - self._started
        self._show(spent, f"{_duration(spent)} in all")

    def _show(self, spent: float, when: str) -> None:
        rate = _rate(self._done / spent if spent else 0.0)
        parts = [f"{self._label}  {self._done}/{self._total}", rate, when, self._note]
        print("  ".join(part for part in parts if part), file=sys.stderr, flush=True)


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(stderr=True),
    )


def _rate(per_second: float) -> str:
    return f"{per_second:.3g}/s" if per_second < 1000 else f"{per_second:,.0f}/s"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
