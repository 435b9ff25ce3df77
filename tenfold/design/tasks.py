"""The tasks by name, those that come along and a person's own."""

from __future__ import annotations

import re
from importlib import import_module

from ..core.errors import UsageError
from .task import Task

HOME = {"Cup": "cup", "Stool": "stool", "Stand": "stand", "Bridge": "bridge"}
"""each task -> its module"""


def find_task(task: Task | str) -> Task:
    """A task: itself, by its name (Cup, Cup-v0, tenfold/Cup-v0), or as `package.module:Class`, which is imported.

    Raises:
        UsageError: there is no such task, or what was named is none.
    """
    if isinstance(task, Task):
        return task
    if ":" in task:
        return _imported(task)
    name = re.sub(r"^tenfold/|-v0$", "", task)
    if name not in HOME:
        raise UsageError(f"there is no task {task!r}; the tasks are {', '.join(HOME)}, or package.module:Class")
    found: Task = getattr(import_module(f"tenfold.design.{HOME[name]}"), name)()
    return found


def _imported(task: str) -> Task:
    module, _, name = task.partition(":")
    try:
        found = getattr(import_module(module), name)
        if isinstance(found, type) and issubclass(found, Task):
            found = found()
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UsageError(f"the task {task!r} cannot be imported: {error}") from error
    if not isinstance(found, Task):
        raise UsageError(f"{task} is {found!r}, but must be a tenfold.design.Task")
    return found
