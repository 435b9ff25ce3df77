"""An engine that draws shapes by MuJoCo's renderer, without a screen, where OpenGL works."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .painting import Numbers, Shape, View

_OFF = ("disable", "disabled", "off", "false", "0")  # of MUJOCO_GL, as MuJoCo reads it
_LOCK = threading.Lock()


class OpenGL:
    """One context that all pictures are drawn with; it is closed when Python ends.

    On Linux without a display it is made by EGL, even where MuJoCo was imported without being told so; MUJOCO_GL is followed where it is set.

    Raises:
        Exception: of whatever library has refused.
    """

    def __init__(self) -> None:
        import mujoco

        self._process = os.getpid()
        wanted = os.environ.get("MUJOCO_GL", "").lower().strip()
        if wanted in _OFF:
            raise RuntimeError("MUJOCO_GL says that nothing is to be drawn")
        self._egl: Any = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if sys.platform.startswith("linux") and (wanted == "egl" or (not wanted and "DISPLAY" not in os.environ)):
                import mujoco.egl

                self._egl = mujoco.egl
            kind = mujoco.gl_context.GLContext if self._egl is None else self._egl.GLContext
            before = self._egl.EGL.eglGetCurrentContext() if self._egl is not None else None
            # MuJoCo's own, half made where the driver refuses, would complain when it is thrown away
            self._context = type("Context", (kind,), {"_context": None})(64, 64)
        if before:
            self._listen_to(before)  # making a context has the driver forget which one it listened to
        self._renderer: Any = None
        # after the context, which has EGL itself closed at the end: what was registered last is called first
        atexit.register(self.close)
        with self._current():
            self._renderer = mujoco.MjrContext(_model(_TETRAHEDRON), mujoco.mjtFontScale.mjFONTSCALE_50.value)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._renderer)
            if self._renderer.currentBuffer != mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value:
                raise RuntimeError("OpenGL draws to a screen alone")

    def close(self) -> None:
        """Give back what the driver holds. It cannot draw afterwards."""
        if self._context is None or os.getpid() != self._process:
            return
        if self._renderer is not None:
            with self._current():
                self._renderer.free()
        self._context.free()
        self._renderer = self._context = None

    def paint(
        self, shape: Shape, view: View, light: Numbers, colour: Numbers
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """As `painting.paint_plainly`.

        Raises:
            Exception: of whatever has refused, MuJoCo or the driver.
        """
        import mujoco

        if os.getpid() != self._process:
            raise RuntimeError("a process that was forked cannot use its parent's OpenGL")
        model = _model(shape, light, view, colour)
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        scene = mujoco.MjvScene(model, maxgeom=8)
        camera = mujoco.MjvCamera()
        mujoco.mjv_updateScene(model, data, mujoco.MjvOption(), None, camera, mujoco.mjtCatBit.mjCAT_ALL.value, scene)
        scene.flags[mujoco.mjtRndFlag.mjRND_CULL_FACE] = 0
        scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 1
        _look(scene, view, far=float(np.abs(shape.corners).max()) * 2 + 2)
        picture = np.zeros((view.height, view.width, 3), np.uint8)
        depth = np.zeros((view.height, view.width), np.float32)
        whole = mujoco.MjrRect(0, 0, view.width, view.height)
        with self._current():
            mujoco.mjr_resizeOffscreen(view.width, view.height, self._renderer)
            mujoco.mjr_uploadMesh(model, self._renderer, 0)
            mujoco.mjr_render(whole, scene, self._renderer)
            mujoco.mjr_readPixels(picture, depth, whole, self._renderer)
        return picture[::-1], depth[::-1] < 1  # as far as can be is where there is nothing

    @contextmanager
    def _current(self) -> Iterator[None]:
        """Have the driver listen to this thread and context, and afterwards to those that it listened to before."""
        with _LOCK:
            before = self._egl.EGL.eglGetCurrentContext() if self._egl is not None else None
            self._context.make_current()
            try:
                yield
            finally:
                if self._egl is not None:
                    self._listen_to(before or self._egl.EGL.EGL_NO_CONTEXT)

    def _listen_to(self, context: Any) -> None:
        calls = self._egl.EGL
        calls.eglMakeCurrent(self._egl.EGL_DISPLAY, calls.EGL_NO_SURFACE, calls.EGL_NO_SURFACE, context)


_TETRAHEDRON = Shape(
    np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)[
        np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
    ],
    np.tile([0.0, 0.0, 1.0], (4, 3, 1)),
    True,
)


def _model(shape: Shape, light: Numbers | None = None, view: View | None = None, colour: Numbers | None = None) -> Any:
    """MuJoCo's model of one thing and its lights."""
    import mujoco

    spec = mujoco.MjSpec()
    spec.visual.quality.shadowsize = 1024
    spec.visual.quality.offsamples = 0
    # it shines from MuJoCo's own camera, which is not the one that is looked through: it only lights evenly
    head = spec.visual.headlight
    head.ambient, head.diffuse, head.specular = [0.46] * 3, [0.0] * 3, [0.0] * 3
    spec.stat.center, spec.stat.extent = [0, 0, 0.5], 1.5
    faces = np.arange(shape.corners.shape[0] * 3, dtype=np.int32)
    mesh = spec.add_mesh(name="shape")
    # a shell may be flat or open
    mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
    mesh.uservert = shape.corners.astype(np.float32).ravel()
    mesh.usernormal = shape.normals.astype(np.float32).ravel()
    mesh.userface = faces
    mesh.userfacenormal = faces
    material = spec.add_material(name="material")
    material.rgba = [*(np.full(3, 0.5) if colour is None else colour), 1.0]
    material.specular, material.shininess = 0.25, 0.45
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_MESH, meshname="shape", material="material", contype=0, conaffinity=0
    )
    if light is not None and view is not None:
        side = view.axes.T @ np.array([0.75, 0.1, 0.65])
        sky = np.array([0.0, 0.0, 1.0])
        for towards, strength, shadow in (
            (light, 0.58, True),
            (side, 0.08, False),
            (view.axes[2], 0.06, False),
            (sky, 0.14, False),
        ):
            spec.worldbody.add_light(
                type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
                pos=list(4 * towards),
                dir=list(-towards),
                castshadow=shadow,
                ambient=[0.0] * 3,
                diffuse=[strength] * 3,
                specular=[0.5 if shadow else 0.0] * 3,
            )
    return spec.compile()


def _look(scene: Any, view: View, far: float) -> None:
    """Have a scene seen by a view."""
    distance = float(np.linalg.norm(view.place)) + far
    near = max(0.02, float(np.linalg.norm(view.place)) - far)
    for camera in scene.camera:
        camera.pos = view.place
        camera.forward, camera.up = -view.axes[2], view.axes[1]
        camera.orthographic = 0
        camera.frustum_near, camera.frustum_far = near, distance
        camera.frustum_center = 0
        camera.frustum_width = near * view.half[0]
        camera.frustum_top, camera.frustum_bottom = near * view.half[1], -near * view.half[1]
