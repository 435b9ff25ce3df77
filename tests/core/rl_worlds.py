"""Tiny environments of any spaces for methods of reinforcement learning, and what random actions do in an environment."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

NUMBERS = spaces.Box(-1, 1, (3,))
PICTURE = spaces.Box(0, 255, (36, 36, 1), np.uint8)
SEVERAL = spaces.Dict({"numbers": NUMBERS, "choice": spaces.Discrete(3)})
LEVER = spaces.Discrete(3)


class World(gym.Env[Any, Any]):
    """Random observations and rewards; an episode ends by chance, or is cut after `longest` steps."""

    def __init__(
        self,
        observation: spaces.Space[Any] = NUMBERS,
        action: spaces.Space[Any] = LEVER,
        *,
        going_on: float = 0.8,
        longest: int = 30,
    ) -> None:
        self.observation_space, self.action_space = observation, action
        self.going_on, self.longest = going_on, longest
        self.age = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.age = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.age += 1
        over = bool(self.np_random.random() > self.going_on)
        reward = float(self.np_random.integers(100)) / 4  # a sum of them is exact
        return self.observation_space.sample(), reward, over, not over and self.age >= self.longest, {}


class Lives(gym.Wrapper[Any, Any, Any, Any]):
    """Above a Monitor: says every third step that the episode is over, and does not begin it anew."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.real_end, self.seen, self.steps = True, None, 0

    def reset(self, **given: Any) -> tuple[Any, dict[str, Any]]:
        if self.real_end or given.get("seed") is not None:
            self.seen, _ = self.env.reset(**given)
            self.real_end = False
        return self.seen, {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.seen, reward, terminated, truncated, info = self.env.step(action)
        self.steps += 1
        self.real_end = terminated or truncated
        return self.seen, reward, terminated or self.steps % 3 == 0, truncated, info


def worlds(
    count: int,
    observation: spaces.Space[Any] = NUMBERS,
    action: spaces.Space[Any] = LEVER,
    *,
    lives: bool = False,
    **settings: Any,
) -> DummyVecEnv:
    """Monitored worlds side by side, with spaces of their own."""

    def one() -> gym.Env[Any, Any]:
        monitored = Monitor(World(copy.deepcopy(observation), copy.deepcopy(action), **settings))
        return Lives(monitored) if lives else monitored

    return DummyVecEnv([one] * count)


def monitored(name: str, count: int) -> DummyVecEnv:
    """Environments of Gymnasium side by side."""
    one: Callable[[], gym.Env[Any, Any]] = lambda: Monitor(gym.make(name))  # noqa: E731
    return DummyVecEnv([one] * count)


def observations(space: spaces.Space[Any], count: int) -> Any:
    space.seed(0)
    samples: list[Any] = [space.sample() for _ in range(count)]
    if isinstance(space, spaces.Dict):
        return {name: np.stack([sample[name] for sample in samples]) for name in space}
    return np.stack(samples)


def played(environments: VecEnv, steps: int, *, seed: int = 0) -> list[Any]:
    """The observations, rewards and ends of random actions."""
    random = np.random.default_rng(seed)
    shape = (environments.num_envs, *(environments.action_space.shape or ()))
    found: list[Any] = [environments.reset()]
    for _ in range(steps):
        actions = random.integers(0, 2, shape) if not shape[1:] else random.uniform(-1, 1, shape).astype(np.float32)
        observations, rewards, ends, _ = environments.step(actions)
        found += [observations, rewards, ends]
    environments.close()
    return found


def same(ours: list[Any], theirs: list[Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
