"""Independent work spread over processes or machines: the same function, the same arguments, and so the same results.

`with crew(2) as workers: workers.submit("a", function, argument); tag, result = workers.next()`
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, Literal, Protocol

from .processes import no_process_left, variables_for_children

Engine = Literal["processes", "ray"]


class Crew(Protocol):
    """Workers that take calls and give results back in the order in which they are ready."""

    def submit(self, tag: Any, function: Callable[..., Any], *args: Any) -> None:
        """Have `function(*args)` called by a free worker; a function of a module, and arguments that can be sent."""

    def next(self) -> tuple[Any, Any]:
        """Wait for some call to end, and take its tag and result.

        Raises:
            Exception: what the call raised.
        """


@contextmanager
def crew(workers: int, engine: Engine = "processes") -> Iterator[Crew]:
    """Workers for the body: this process itself where one is enough, new processes, or Ray's.

    Every new worker computes with one thread. When the body ends, by an error too, no worker goes on.

    Args:
        workers: calls at a time, at least 1.
        engine: processes of this machine; or ray: of the cluster that the variable RAY_ADDRESS names, else of this machine.

    Raises:
        ModuleNotFoundError: ray is asked for and is not installed.
    """
    if engine == "ray":
        with _ray(workers) as found:
            yield found
    elif workers == 1:
        yield _Here()
    else:
        with no_process_left():
            with variables_for_children(threads=1):
                # spawned, not forked: a fork would inherit the locks of torch's threads
                pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
                # all are started now, while the variables are set, and not at the first call
                for ready in [pool.submit(os.getpid) for _ in range(workers)]:
                    ready.result()
            try:
                yield _Pool(pool)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


class _Here:
    """One call after the other, in this process, when its result is asked for."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Any, Callable[..., Any], tuple[Any, ...]]] = deque()

    def submit(self, tag: Any, function: Callable[..., Any], *args: Any) -> None:
        self._waiting.append((tag, function, args))

    def next(self) -> tuple[Any, Any]:
        tag, function, args = self._waiting.popleft()
        return tag, function(*args)


class _Pool:
    """Processes of this machine."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool
        self._running: dict[Future[Any], Any] = {}

    def submit(self, tag: Any, function: Callable[..., Any], *args: Any) -> None:
        self._running[self._pool.submit(function, *args)] = tag

    def next(self) -> tuple[Any, Any]:
        ended = next(iter(wait(self._running, return_when=FIRST_COMPLETED).done))
        return self._running.pop(ended), ended.result()


class _Ray:
    """Ray's workers, on this machine or on all of a cluster."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._running: dict[Any, Any] = {}

    def submit(self, tag: Any, function: Callable[..., Any], *args: Any) -> None:
        remote = self._ray.remote(num_cpus=1, max_retries=0)(function)
        self._running[remote.remote(*args)] = tag

    def next(self) -> tuple[Any, Any]:
        (ended,), _ = self._ray.wait(list(self._running))
        return self._running.pop(ended), self._ray.get(ended)


@contextmanager
def _ray(workers: int) -> Iterator[_Ray]:
    import ray

    options: dict[str, Any] = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": workers, "include_dashboard": False}
    with variables_for_children(threads=1):
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    try:
        yield _Ray(ray)
    finally:
        ray.shutdown()
