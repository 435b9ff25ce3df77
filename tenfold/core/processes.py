"""Starting processes: what the libraries in them read when they begin, and that none outlives its maker."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def variables_for_children(*, threads: int) -> Iterator[None]:
    """Set what the libraries read when a process loads them, while the body starts processes."""
    variables = {
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait take the cores from the other processes
        # a network whose every part is used makes torch print, past Python's warnings, that it need not have looked
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ |= variables
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def no_process_left() -> Iterator[None]:
    """End the processes that the body started and that outlive it, e.g. because of Ctrl-C."""
    before = set(multiprocessing.active_children())
    try:
        yield
    finally:
        left = set(multiprocessing.active_children()) - before
        for process in left:
            process.terminate()
        for process in left:
            process.join(timeout=10)
            if process.is_alive():
                process.kill()
                process.join()
