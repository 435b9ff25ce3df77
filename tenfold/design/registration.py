"""Makes the tasks known to Gymnasium by name; loads nothing else."""

from __future__ import annotations

import sys

from .tasks import HOME


def register() -> None:
    """Register `tenfold/<Task>-v0` for the tasks that come along; a second time changes nothing."""
    import gymnasium as gym

    for name in HOME:
        known = f"tenfold/{name}-v0"
        if known not in gym.registry:
            gym.register(known, "tenfold.design.environment:DesignEnv", kwargs={"task": name})


def register_where_wanted() -> None:
    """Register if Gymnasium is loaded already: who has not loaded it does not wait for it."""
    if "gymnasium" in sys.modules:
        register()
