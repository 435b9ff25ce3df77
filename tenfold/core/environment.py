"""What a run was made with: source, versions, machine."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tenfold


def surroundings(command: Sequence[str]) -> dict[str, Any]:
    """What env.json says of a run: git commit or None, versions of python and torch, device, command line."""
    import torch

    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {
        "git": _git_commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": ", ".join([f"{platform.machine()}, {os.cpu_count()} cores", *gpus]),
        "command": list(command),
    }


def _git_commit() -> str | None:
    """The commit of the source tree that runs, ending in "-dirty" if files differ; None for an installed package."""
    root = Path(tenfold.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
