"""The paper's own world: a heart that actions move, size and turn, while its colour goes its own way.

Registered with Gymnasium as `tenfold/Heart-v0` when this module is imported. Drawn by its equation, not from a data set.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ..core.errors import UsageError

NAME = "tenfold/Heart-v0"
SMALL = "tenfold/SmallHeart-v0"
"""the same in pictures of 32 pixels a side"""
COLOURS = ("red", "green", "blue")
FACTORS = ("vertical", "horizontal", "rotation", "scale", "colour")
"""of `info["factors"]`, in this order; the first four are what the four actions move, in the same order"""


class HeartEnv(gym.Env[NDArray[np.uint8], NDArray[np.int64]]):
    """Pictures of a heart, uint8 (size, size, 3); four actions of three steps each: 0 back, 1 none, 2 forth.

    They move it down or up, left or right, turn it, and make it larger or smaller, by one unit, as far as the world goes; a turn
    has no end. Independently of them the colour goes from red to green to blue to red. An episode begins anywhere, and is cut after
    `steps`. Rewards are 0: it is a world to be looked at.

    `info["factors"]` are the five generative factors of the picture, float64: see `FACTORS`. In units: vertical and horizontal in
    0 .. positions - 1, rotation in 0 .. rotations - 1, scale in 0 .. scales - 1, colour in 0 .. 2.

    Args:
        size: pixels of a side, at least 8.
        positions: along each axis, at least 2.
        rotations: of a full turn, at least 2.
        scales: from half to full size, at least 2.
        steps: of an episode, at least 1.
        render_mode: None or rgb_array.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - as Gymnasium has it

    def __init__(
        self,
        *,
        size: int = 64,
        positions: int = 8,
        rotations: int = 12,
        scales: int = 6,
        steps: int = 30,
        render_mode: str | None = None,
    ) -> None:
        for name, given, least in (
            ("size", size, 8),
            ("positions", positions, 2),
            ("rotations", rotations, 2),
            ("scales", scales, 2),
            ("steps", steps, 1),
        ):
            if given < least:
                raise UsageError(f"{name} is {given}, but must be at least {least}")
        self.size, self.steps, self.render_mode = size, steps, render_mode
        self.counts = np.array([positions, positions, rotations, scales, len(COLOURS)])
        self.observation_space = spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.action_space = spaces.MultiDiscrete([3, 3, 3, 3])
        self.factors = np.zeros(5, dtype=np.int64)
        self._left = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Begin anywhere, or at `options["factors"]`.

        Raises:
            UsageError: those factors are not five numbers of the world.
        """
        super().reset(seed=seed)
        self.factors = self.np_random.integers(self.counts)
        if options and "factors" in options:
            given = np.asarray(options["factors"])
            if (
                given.shape != (5,)
                or not np.isin(given, np.arange(self.counts.max())).all()
                or (given >= self.counts).any()
            ):
                raise UsageError(
                    f"factors is {options['factors']!r}, but must be five whole numbers below {self.counts}"
                )
            self.factors = given.astype(np.int64)
        self._left = self.steps
        return self._seen()

    def step(self, action: NDArray[np.int64]) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """One step of all four, and of the colour."""
        moved = self.factors + np.append(np.asarray(action, dtype=np.int64) - 1, 1)
        around = np.array([False, False, True, False, True])
        self.factors = np.where(around, moved % self.counts, moved.clip(0, self.counts - 1))
        self._left -= 1
        picture, info = self._seen()
        return picture, 0.0, False, self._left <= 0, info

    def render(self) -> NDArray[np.uint8] | None:
        """The picture, where `render_mode` asks for one."""
        return self._seen()[0] if self.render_mode == "rgb_array" else None

    def _seen(self) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        return draw_heart(self.factors, self.counts, self.size), {"factors": self.factors.astype(np.float64)}


_SHADES = np.array([0, 64, 128, 191, 255], dtype=np.uint8)


def draw_heart(factors: NDArray[np.int64], counts: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
    """The picture (size, size, 3) of a heart with these factors (5,), of so many values each (5,).

    The curve is (u^2 + v^2 - 1)^3 = u^2 v^3; a pixel's brightness is the share of its four quarters that lie within.
    """
    vertical, horizontal, rotation, scale, colour = factors
    height, width = (factor / (count - 1) for factor, count in ((vertical, counts[0]), (horizontal, counts[1])))
    angle = 2 * np.pi * rotation / counts[2]
    radius = 0.11 * (1 + scale / (counts[3] - 1))  # of the unit circle, in sides of the picture
    reach = 0.315  # what the largest heart needs around its middle, however it is turned
    places = ((np.arange(2 * size, dtype=np.float32) + 0.5) / (2 * size)).astype(np.float32)
    x = (places - (reach + (1 - 2 * reach) * width)) / np.float32(radius)
    y = ((1 - places) - (reach + (1 - 2 * reach) * height)) / np.float32(radius)
    rows, columns = (np.flatnonzero(np.abs(axis) < 1.7) for axis in (y, x))  # nothing of it is further away
    top, left = rows[0] // 2 * 2, columns[0] // 2 * 2
    bottom, right = (rows[-1] // 2 + 1) * 2, (columns[-1] // 2 + 1) * 2
    x, y = x[None, left:right], y[top:bottom, None]
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = cosine * x + sine * y, cosine * y - sine * x
    square = u * u
    disc = square + v * v - 1
    # multiplied out: powers of arrays take ten times as long
    within = (disc * disc * disc <= square * (v * v * v)).view(np.uint8)
    quarters = within[::2, ::2] + within[1::2, ::2] + within[::2, 1::2] + within[1::2, 1::2]
    picture = np.zeros((size, size, 3), dtype=np.uint8)
    picture[top // 2 : bottom // 2, left // 2 : right // 2, colour] = _SHADES[quarters]
    return picture


gym.register(NAME, entry_point="tenfold.govern.heart:HeartEnv")
gym.register(SMALL, entry_point="tenfold.govern.heart:HeartEnv", kwargs={"size": 32})
