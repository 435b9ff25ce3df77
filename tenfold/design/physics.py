"""The world that designs are tested in: MuJoCo, with a floor that can be shaken, and bodies that know what they are made of."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from .solid import Material, Solid, Vector

GRAVITY = 9.81
"""m / s²"""
ENGINE = {"seconds": 0.0, "within": 0.0}
"""how long this process has spent in the engine so far, building models and taking time steps; and how deep it is in there now"""


@contextmanager
def in_engine() -> Iterator[None]:
    """Count the time of the body as the engine's, which writes no file meanwhile."""
    if ENGINE["within"]:  # whoever is further out counts already
        yield
        return
    ENGINE["within"] = 1.0
    began = time.perf_counter()
    others = mujoco.get_mju_user_warning()
    # by itself MuJoCo appends what it warns of to a file in the working folder; `Scene.sane` reads its counters instead
    mujoco.set_mju_user_warning(_unheard)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(others)
        ENGINE["seconds"] += time.perf_counter() - began
        ENGINE["within"] = 0.0


def _unheard(warning: str) -> None:
    pass


class Scene:
    """A floor at z = 0, what is put on it, and time.

    Example:
        scene = Scene()
        scene.add(solid, PLASTIC)             # falls, tips and slides as the thing itself would
        scene.start()
        scene.run(0.5, shove=(3.0, 0.0))      # the floor jerks away with 3 m/s² for half a second
        scene.tilt()

    Args:
        timestep: seconds, above 0.
        friction: of the floor and of all that is added by `add`, at least 0.
    """

    def __init__(self, *, timestep: float = 0.004, friction: float = 0.8) -> None:
        self.spec = mujoco.MjSpec()
        self.spec.option.timestep = timestep
        self.spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        self.spec.option.gravity = [0, 0, -GRAVITY]
        # with the engine's default, a cone of four sides, things lean over their edge and creep before they should
        self.spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
        self.spec.option.impratio = 10
        self.friction = friction
        self.floor = self.spec.worldbody.add_geom(
            name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[1, 1, 0.1], friction=[friction, 0.005, 0.0001]
        )
        self._running: tuple[mujoco.MjModel, mujoco.MjData] | None = None
        self._frames: dict[str, NDArray[np.float64]] = {}

    def add(
        self,
        solid: Solid,
        material: Material,
        *,
        name: str = "design",
        at: Vector = (0.0, 0.0, 0.0),
        turn: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0),
    ) -> Any:
        """Put a solid into the scene as a free body with its own mass, and return MuJoCo's body, which more can be hung on."""
        bulk, parts = solid.bulk(), solid.parts()
        with in_engine():
            body = self.spec.worldbody.add_body(name=name, pos=list(at), quat=list(turn))
            body.add_freejoint()
            set_inertia(body, bulk.volume * material.density, bulk.centre, bulk.inertia * material.density)
            for part in parts:
                body.add_geom(
                    type=getattr(mujoco.mjtGeom, f"mjGEOM_{part.kind.upper()}"),
                    size=[*part.size, 0.0, 0.0][:3],
                    pos=list(part.at),
                    quat=list(part.turn),
                    friction=[self.friction, 0.005, 0.0001],
                )
        return body

    def start(self) -> None:
        """Build what was added; from here on there is time."""
        with in_engine():
            model = self.spec.compile()
            data = mujoco.MjData(model)
            mujoco.mj_forward(model, data)
        self._running = (model, data)
        self._frames = {}

    def restart(self) -> None:
        """Everything back to where it was at `start`."""
        self.model.opt.gravity[:] = (0, 0, -GRAVITY)
        with in_engine():
            mujoco.mj_resetData(self.model, self.data)
            mujoco.mj_forward(self.model, self.data)

    def run(self, seconds: float, *, shove: tuple[float, float] = (0.0, 0.0)) -> None:
        """Let time pass while the floor accelerates.

        Seen from a floor that accelerates, gravity leans the other way and nothing else changes: exact, and it needs no moving floor.

        Args:
            seconds: rounded to whole time steps, at least one.
            shove: acceleration of the floor along x and y, m/s².
        """
        model, data = self.model, self.data
        model.opt.gravity[:] = (-shove[0], -shove[1], -GRAVITY)
        with in_engine():
            mujoco.mj_step(model, data, nstep=max(1, round(seconds / model.opt.timestep)))

    @property
    def model(self) -> Any:
        """MuJoCo's, once the scene was started."""
        assert self._running is not None, "start the scene first"
        return self._running[0]

    @property
    def data(self) -> Any:
        """MuJoCo's, once the scene was started."""
        assert self._running is not None, "start the scene first"
        return self._running[1]

    @property
    def sane(self) -> bool:
        """Whether the simulation has kept to numbers: a test in which it has not is failed, whatever it would have said."""
        warned = sum(self.data.warning[kind].number for kind in BAD)
        return warned == 0 and bool(np.isfinite(self.data.qpos).all() and np.isfinite(self.data.qvel).all())

    def frame(self, name: str = "design") -> NDArray[np.float64]:
        """A body's axes as the columns of a matrix, row by row, (9,): always as it is now, and found only once."""
        if name not in self._frames:
            self._frames[name] = self.data.body(name).xmat
        return self._frames[name]

    def tilt(self, name: str = "design") -> float:
        """How far a body leans from where it pointed up, rad, 0 to pi."""
        return math.acos(max(-1.0, min(1.0, float(self.frame(name)[8]))))

    def place(self, name: str = "design") -> NDArray[np.float64]:
        """Where a body's origin is, (3,)."""
        return np.array(self.data.body(name).xpos)


BAD = (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL, mujoco.mjtWarning.mjWARN_BADQACC)
"""what MuJoCo warns of before it begins anew by itself"""


def set_inertia(body: Any, mass: float, centre: NDArray[np.float64], inertia: NDArray[np.float64]) -> None:
    """Give a body of a specification its mass (kg), centre (3,) and inertia about it (3, 3)."""
    body.explicitinertial = True
    body.mass = max(mass, 1e-6)
    body.ipos = [float(value) for value in centre]
    least = 1e-10 * np.eye(3)
    full = inertia + least
    body.fullinertia = [full[0, 0], full[1, 1], full[2, 2], full[0, 1], full[0, 2], full[1, 2]]


def ring(count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """`count` directions evenly around, the first anywhere, as unit vectors (count, 2)."""
    angles = 2 * np.pi * (np.arange(count) + random.random()) / count
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)
