"""Which imports make the tasks known to Gymnasium, and what they load, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import gymnasium as gym
import pytest

from ..command import environment

pytest.importorskip("mujoco")

NAMES = [f"tenfold/{name}-v0" for name in ("Cup", "Stool", "Stand", "Bridge")]


def printed(code: str) -> list[str]:
    """The words that a fresh process prints."""
    command = [sys.executable, "-W", "error", "-c", code]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


def test_importing_the_package_loads_neither_torch_nor_an_engine() -> None:
    heavy = "{'torch', 'stable_baselines3', 'mujoco', 'PIL', 'cma', 'matplotlib'}"
    assert printed(f"import sys, tenfold.design; print(*{heavy} & set(sys.modules))") == []


@pytest.mark.parametrize("order", ["gymnasium, tenfold.design", "tenfold.design, gymnasium"])
def test_names_are_known_whichever_is_imported_first(order: str) -> None:
    code = f"import {order}\nprint(*(name for name in gymnasium.registry if name.startswith('tenfold/')))"
    assert printed(code) == NAMES


def test_the_package_is_imported_where_gymnasium_is_not_installed() -> None:
    code = (
        "import importlib.util, sys\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'gymnasium' else found(name, *rest)\n"
        "sys.modules['gymnasium'] = None\n"
        "from tenfold.design.config import PRESETS\n"
        "print(*PRESETS)"
    )
    assert "smoke" in printed(code)


def test_names_are_known_where_the_environment_alone_is_imported_and_can_be_made() -> None:
    code = (
        "import sys\n"
        "from tenfold.design.environment import DesignEnv\n"
        "import gymnasium\n"
        "print(*(name for name in gymnasium.registry if name.startswith('tenfold/')))\n"
        "env = gymnasium.make('tenfold/Cup-v0')\n"
        "print(type(env.unwrapped) is DesignEnv, 'torch' in sys.modules)"
    )
    assert printed(code) == [*NAMES, "True", "False"]


def test_registering_again_changes_nothing() -> None:
    from tenfold.design import register

    register()
    before = {name: gym.registry[name] for name in NAMES}
    register()
    assert all(gym.registry[name] is spec for name, spec in before.items())


def test_every_public_name_is_there() -> None:
    import tenfold.design

    assert all(getattr(tenfold.design, name) is not None for name in tenfold.design.__all__)
    assert set(tenfold.design.__all__) <= set(dir(tenfold.design))
