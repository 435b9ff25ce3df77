"""Makes the tasks known to Gymnasium by name; loads nothing else."""

from __future__ import annotations

from importlib.util import find_spec

from .tasks import HOME


def register() -> None:
    """Register `tenfold/<Task>-v0` for the tasks that come along; a second time changes nothing."""
    import gymnasium as gym

    for name in HOME:
        known = f"tenfold/{name}-v0"
        if known not in gym.registry:
            gym.register(known, "tenfold.design.environment:DesignEnv", kwargs={"task": name})


def register_where_installed() -> None:
    """Register if there is a Gymnasium to register with.

    Not only if it is loaded already: who imports this package first, and Gymnasium after it, would look for the tasks in vain.
    """
    if find_spec("gymnasium") is not None:
        register()
