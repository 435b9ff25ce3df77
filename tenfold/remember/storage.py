"""A stack on disk: safetensors and JSON, never pickle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..core.checkpoint import load_state, save_state
from ..core.errors import UsageError

if TYPE_CHECKING:
    from .stacknet import StackNet


def save_stack(net: StackNet, folder: Path, *, tasks: int) -> None:
    """See `StackNet.save`; the first `tasks` tasks are written."""
    rows = [list(row) for row in zip(net.tasks, net.classes, net.shares, strict=True)][:tasks]
    state = {
        "tasks": rows,
        "finished": [net.is_finished(name) or place < tasks - 1 for place, name in enumerate(net.tasks[:tasks])],
        "first": net.first,
        "slices": [part.state_dict() for part in list(net.slices)[:tasks]],
        "index": net.index.state(min(tasks, net.index.tasks)),
    }
    save_state(folder, state)


def restore_stack(net: StackNet, folder: Path) -> None:
    """See `StackNet.restore`."""
    if net.tasks:
        raise UsageError(f"the stack has the tasks {', '.join(net.tasks)} already, but must have none")
    saved = load_state(folder)
    try:
        for name, classes, share in saved["tasks"]:
            net.add_task(name, classes, grow=share)
        for part, values in zip(net.slices, saved["slices"], strict=True):
            part.load_state_dict(values)
        net.index.load_state(saved["index"])
        net.first = saved["first"]
        for name, finished in zip(net.tasks, saved["finished"], strict=True):
            if finished:
                net.finish_task(name)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise UsageError(f"{folder} holds no stack of this model: {error}") from error
