"""Designs side by side as stable-baselines3 takes them: all of them finish together, and are tested together over the cores."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv

from .archive import Archive
from .environment import DesignEnv
from .workshop import Order, Workshop


class DesignVecEnv(DummyVecEnv):
    """D designs at a time. All begin together and have as many steps, so that a workshop gets all D of them at once.

    Args:
        shop: tests them.
        count: D, at least 1.
        archive: keeps them.
        goals: weights of goals and values of wants that stay as they are.
        vary: whether the other weights are drawn anew for every design.
    """

    envs: list[DesignEnv]  # type: ignore[assignment]

    def __init__(
        self,
        shop: Workshop,
        count: int,
        archive: Archive,
        *,
        goals: Mapping[str, float] | None = None,
        vary: bool = True,
    ) -> None:
        super().__init__([lambda: DesignEnv(shop.task, goals=goals, vary=vary)] * count)
        self.archive, self.goals, self.vary = archive, dict(goals or {}), vary
        self._shop, self._began = shop, time.monotonic()

    def step_wait(self) -> Any:
        """Take one modelling step of each design; where they are finished, test them, keep them, and begin new ones."""
        finished = [env.take(action) for env, action in zip(self.envs, self.actions, strict=True)]
        if not all(finished):
            for number, env in enumerate(self.envs):
                self._save_obs(number, env._observe())
            return (
                self._obs_from_buf(),
                np.zeros(self.num_envs, np.float32),
                np.zeros(self.num_envs, bool),
                self._infos(),
            )
        orders = [Order(*env.waiting) for env in self.envs]
        verdicts = self._shop.test(orders)
        self.archive.add(orders, verdicts)
        infos, rewards = self._infos(), np.zeros(self.num_envs, np.float32)
        for number, (env, verdict) in enumerate(zip(self.envs, verdicts, strict=True)):
            last, rewards[number], _, _, _ = env.tested(verdict)
            infos[number] |= {"terminal_observation": last, "scores": verdict.scores, "facts": verdict.facts}
            infos[number]["episode"] = {
                "r": float(rewards[number]),
                "l": env.task.space.steps,
                "t": time.monotonic() - self._began,
            }
            first, self.reset_infos[number] = env.reset()
            self._save_obs(number, first)
        return self._obs_from_buf(), rewards, np.ones(self.num_envs, bool), infos

    def _infos(self) -> list[dict[str, Any]]:
        return [{"TimeLimit.truncated": False} for _ in self.envs]
