"""Tiny environments of any spaces, a callback that writes down who acted, and what a model has learned."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv

from tenfold.evolve.algorithms import GeneticGated

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


def state_of(model: OnPolicyAlgorithm) -> dict[str, Any]:
    """Weights and the optimizer's state, and nothing of the gate."""
    state: dict[str, Any] = {
        name: value for name, value in model.policy.state_dict().items() if not name.startswith("gate.")
    }
    for number, moments in model.policy.optimizer.state_dict()["state"].items():
        state |= {f"optimizer {number} {name}": torch.as_tensor(value) for name, value in moments.items()}
    return state


def assert_same_state(first: OnPolicyAlgorithm, second: OnPolicyAlgorithm) -> None:
    one, other = state_of(first), state_of(second)
    assert one.keys() == other.keys()
    assert any(name.startswith("optimizer") for name in one)
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@dataclass(eq=False)
class Step:
    """One step of all environments."""

    rollout: int
    populating: bool
    generation: int
    genes: NDArray[np.uint8]
    dones: NDArray[np.bool_]
    rewards: NDArray[np.float64]
    ended: NDArray[np.bool_]


@dataclass(eq=False)
class Episode:
    """One environment's steps from a reset to the end that its Monitor saw; the last may be unfinished."""

    place: int
    steps: list[Step] = field(default_factory=list)
    finished: bool = False

    @property
    def born(self) -> Step:
        return self.steps[0]

    @property
    def genes(self) -> NDArray[np.uint8]:
        return self.born.genes[self.place]

    @property
    def total(self) -> float:
        return float(sum(step.rewards[self.place] for step in self.steps))

    @property
    def within_a_phase(self) -> bool:
        """Whether it began and ended in the same phase of the same generation."""
        last = self.steps[-1]
        return (self.born.populating, self.born.generation) == (last.populating, last.generation)


class Recorder(BaseCallback):
    """Writes down every step with the genes that acted in it, and every generation before and after it was bred."""

    model: GeneticGated

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.chromosomes: dict[int, NDArray[np.uint8]] = {}
        self.elites: dict[int, int] = {}
        self.fitness: dict[int, NDArray[np.float64]] = {}
        self.rollout = -1

    def _init_callback(self) -> None:
        evolve = type(self.model.gate).evolve

        def watched(fitness: torch.Tensor) -> int:
            self.fitness[int(self.model.gate.generation)] = fitness.numpy().copy()
            return evolve(self.model.gate, fitness)

        self.model.gate.evolve = watched  # type: ignore[method-assign]

    def _on_rollout_start(self) -> None:
        self.rollout += 1

    def _on_step(self) -> bool:
        roster = self.model.roster
        assert roster is not None
        generation = int(self.model.gate.generation)
        if generation not in self.chromosomes:
            self.chromosomes[generation] = self.model.gate.chromosomes.numpy().copy()
            self.elites[generation] = int(self.model.gate.elite)
        self.steps.append(
            Step(
                self.rollout,
                roster.populating,
                generation,
                roster.genes.copy(),
                self.locals["dones"].copy(),
                self.locals["rewards"].copy(),
                np.array(["episode" in info for info in self.locals["infos"]]),
            )
        )
        return True

    def episodes(self) -> list[Episode]:
        """In the order in which they began."""
        under_way = [Episode(place) for place in range(len(self.steps[0].dones))]
        found = list(under_way)
        for step in self.steps:
            for episode in under_way:
                episode.steps.append(step)
            for place in np.flatnonzero(step.ended):
                under_way[place].finished = True
                under_way[place] = Episode(int(place))
                found.append(under_way[place])
        return [episode for episode in found if episode.steps]
