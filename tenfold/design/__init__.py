"""`design`: reinforcement learning that designs 3D objects for a task, in physics, and hands over meshes (arXiv:1903.05271).

import gymnasium as gym, tenfold.design
env = gym.make("tenfold/Cup-v0", goals={"hold_ml": 300, "stand": 1.0, "light": 0.5})   # also Stool-v0, Stand-v0, Bridge-v0
from tenfold.design import Designer
designer = Designer("Cup-v0").train(steps=200_000)
best = designer.best(8); best[0].export("cup.stl"); best.sheet("cups.png")             # STL, OBJ, GLB in millimetres, watertight
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.lazily import lazy_names
from .registration import register_where_installed

if TYPE_CHECKING:
    from .archive import Archive
    from .config import PRESETS, Config, PolicySettings
    from .demo import load
    from .designer import Designer
    from .environment import DesignEnv
    from .physics import Scene
    from .recipe import Design, Portfolio
    from .registration import register
    from .solid import Material, Solid
    from .space import DesignSpace
    from .task import Goal, Task, Verdict, Want

_HOME = {
    "PRESETS": "config",
    "Archive": "archive",
    "Config": "config",
    "Design": "recipe",
    "DesignEnv": "environment",
    "DesignSpace": "space",
    "Designer": "designer",
    "Goal": "task",
    "Material": "solid",
    "PolicySettings": "config",
    "Portfolio": "recipe",
    "Scene": "physics",
    "Solid": "solid",
    "Task": "task",
    "Verdict": "task",
    "Want": "task",
    "load": "demo",
    "register": "registration",
}
__all__ = [
    "PRESETS",
    "Archive",
    "Config",
    "Design",
    "DesignEnv",
    "DesignSpace",
    "Designer",
    "Goal",
    "Material",
    "PolicySettings",
    "Portfolio",
    "Scene",
    "Solid",
    "Task",
    "Verdict",
    "Want",
    "load",
    "register",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)

# as packages of environments do: a name for each task, none of which is loaded
register_where_installed()
