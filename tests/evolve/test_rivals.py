"""The plain genetic algorithm on weights, against each member as a policy of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tenfold.evolve.config import Config, LearnerSettings, MetricSettings, RivalSettings, TrainSettings

pytest.importorskip("gymnasium")
pytest.importorskip("stable_baselines3")

import gymnasium as gym
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from tenfold.core.legs import State
from tenfold.core.rl_environments import make_environments
from tenfold.core.rl_training import Training
from tenfold.evolve.rivals import WeightEvolution
from tenfold.evolve.trainings import evaluate

Members = dict[str, torch.Tensor]
CONFIG = Config(
    envs=("CartPole-v1",),
    methods=("weights",),
    learner=LearnerSettings(hidden=(6, 5)),
    train=TrainSettings(timesteps=500, replicas=1, evaluations=1),
    metrics=MetricSettings(episodes=10),
    rivals=RivalSettings(members=5, parents=2, noise=0.5),
)


class Spoken(gym.Env[NDArray[np.float32], Any]):
    """An episode is as long, and worth as much, as the first action says."""

    observation_space = spaces.Box(-1, 1, (3,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, **options: Any) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=options.get("seed"))
        self.left, self.worth = 0, 0.0
        return np.array([0.5, -0.5, 1.0], np.float32), {}

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        if self.left == 0:
            self.left, self.worth = 2 + int(5 * (1 + float(action[0]))), 1000 * float(action[0])
        self.left -= 1
        return np.zeros(3, np.float32), self.worth * (self.left == 0), self.left == 0, False, {}

    @staticmethod
    def length(worth: float) -> int:
        return 2 + int(5 * (1 + worth / 1000))


class Recording(VecEnvWrapper):
    """Remembers what was seen and what was done."""

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.seen: list[Any] = []
        self.done: list[Any] = []

    def reset(self) -> Any:
        self.newest = self.venv.reset()
        return self.newest

    def step_async(self, actions: Any) -> None:
        self.seen.append(np.array(self.newest))
        self.done.append(np.array(actions))
        self.venv.step_async(actions)

    def step_wait(self) -> Any:
        result = self.venv.step_wait()
        self.newest = result[0]
        return result


def choosing(environments: VecEnv, members: Members, member: int) -> Callable[[Any], Any]:
    """The plain policy with the weights of a member."""
    model = PPO(
        "MlpPolicy", environments, policy_kwargs={"net_arch": [6, 5]}, n_steps=2, batch_size=2 * environments.num_envs
    )
    own = model.policy.state_dict()
    model.policy.load_state_dict(own | {name: value[member] for name, value in members.items()})
    return lambda observations: model.predict(observations, deterministic=True)[0]


def new(config: Config, environments: VecEnv, seed: int = 0) -> WeightEvolution:
    return WeightEvolution.resumed(config, environments, seed, None)


def kept(members: Members) -> Members:
    return {name: value.clone() for name, value in members.items()}


def spoken(count: int) -> VecEnv:
    return make_vec_env(Spoken, n_envs=count, seed=0)


def worths(environments: VecEnv, members: Members) -> list[float]:
    """What each member says first, by the plain policy."""
    first = np.array([[0.5, -0.5, 1.0]], np.float32)
    size = len(next(iter(members.values())))
    return [1000 * float(choosing(environments, members, member)(first)[0, 0]) for member in range(size)]


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1"])
def test_every_environment_is_played_by_its_member(name: str) -> None:
    """Actions in one batch are those of five plain policies, to the end of the first episode."""
    environments = Recording(make_environments(name, 5, seed=3, training=True))
    evolution = new(CONFIG, environments)
    members = kept(evolution.members)
    evolution.run(1)
    policies = [choosing(environments, members, member) for member in range(5)]
    assert len(environments.seen) >= 2
    for observations, actions in zip(environments.seen[:2], environments.done[:2], strict=True):
        for place, policy in enumerate(policies):
            wanted = policy(observations[place : place + 1])[0]
            np.testing.assert_allclose(actions[place], wanted, rtol=1e-5, atol=1e-6)
            assert actions.dtype == wanted.dtype


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_fitness_is_the_return_of_one_episode_of_each_member(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer environments than members, as many, and more."""
    found: list[list[float]] = []
    breed = WeightEvolution._breed

    def watched(evolution: WeightEvolution, fitness: torch.Tensor) -> None:
        found.append(fitness.tolist())
        breed(evolution, fitness)

    monkeypatch.setattr(WeightEvolution, "_breed", watched)
    environments = spoken(count)
    config = replace(CONFIG, rivals=replace(CONFIG.rivals, noise=2.0))
    evolution = new(config, environments, seed=4)
    wanted = worths(environments, evolution.members)
    assert len(set(wanted)) >= 3
    state = evolution.run(1)
    assert found == [pytest.approx(wanted, rel=1e-4)]
    assert state["steps"] == sum(map(Spoken.length, wanted))


@pytest.mark.parametrize("generations", [1, 3])
def test_the_best_member_is_kept_and_plays_for_all(generations: int) -> None:
    environments = spoken(3)
    evolution = new(CONFIG, environments, seed=1)
    best = -np.inf
    for _ in range(generations):
        members = kept(evolution.members)
        wanted = worths(environments, members)
        assert max(wanted) >= best  # never lost
        best = max(wanted)
        state = evolution.run(evolution.steps + 1)
        for name, value in members.items():
            assert torch.equal(state["members"][name][0], value[int(np.argmax(wanted))])
            assert torch.equal(state["policy"][name], state["members"][name][0])
            assert not torch.equal(state["members"][name][1], state["members"][name][0])


def test_children_are_copies_of_the_best_with_noise() -> None:
    def children(noise: float) -> tuple[Members, Members, list[int]]:
        settings = RivalSettings(members=40, parents=3, noise=noise)
        environments = spoken(4)
        evolution = new(replace(CONFIG, rivals=settings), environments, seed=2)
        random = torch.Generator().manual_seed(0)
        spread = {name: torch.randn(value.shape, generator=random) for name, value in evolution.members.items()}
        evolution.members = kept(spread)
        order = np.argsort(-np.array(worths(environments, spread)), kind="stable")
        return spread, evolution.run(1)["members"], order[:3].tolist()

    before, after, parents = children(1e-6)
    chosen = set()
    for child in range(1, 40):
        near = [
            old
            for old in range(40)
            if all(torch.allclose(after[name][child], before[name][old], atol=1e-4) for name in before)
        ]
        assert len(near) == 1
        chosen.update(near)
    assert chosen == set(parents)
    before, after, _ = children(0.25)
    name = "mlp_extractor.policy_net.2.weight"
    nearest = torch.stack(
        [
            torch.stack([after[name][child] - old for old in before[name]]).flatten(1).norm(dim=1)
            for child in range(1, 40)
        ]
    )
    differences = torch.cat(
        [(after[name][1 + row] - before[name][int(old)]).flatten() for row, old in enumerate(nearest.argmin(1))]
    )
    assert float(differences.std()) == pytest.approx(0.25, rel=0.1)
    assert float(differences.mean()) == pytest.approx(0, abs=0.02)


def test_the_first_members_are_one_network_with_noise() -> None:
    members = new(CONFIG, spoken(2)).members
    assert {tuple(value.shape[1:]) for value in members.values()} == {(6, 3), (6,), (5, 6), (5,), (1, 5), (1,)}
    for value in members.values():
        assert len(value) == 5
    changes = torch.cat([(value[1:] - value[:1]).flatten() for value in members.values()])
    assert float(changes.std()) == pytest.approx(CONFIG.rivals.noise, rel=0.15)
    again, other = new(CONFIG, spoken(2)).members, new(CONFIG, spoken(2), seed=1).members
    assert all(torch.equal(members[name], again[name]) for name in members)
    assert not torch.equal(members["action_net.weight"], other["action_net.weight"])


def test_it_goes_on_from_a_state_and_leaves_it() -> None:
    environments = spoken(3)
    state: State = new(CONFIG, environments, seed=1).run(30)
    given = copy.deepcopy(state)
    resumed = WeightEvolution.resumed(CONFIG, environments, 5, given)
    assert resumed.steps == state["steps"]
    assert resumed.run(state["steps"])["members"].keys() == state["members"].keys()
    for name, value in state["members"].items():  # there was nothing to do
        assert torch.equal(resumed.members[name], value)
        assert torch.equal(resumed.run(0)["policy"][name], value[0])
    after = [WeightEvolution.resumed(CONFIG, spoken(3), 5, copy.deepcopy(state)).run(100) for _ in range(2)]
    assert after[0]["steps"] == after[1]["steps"] >= 100
    assert all(torch.equal(after[0]["members"][name], after[1]["members"][name]) for name in state["members"])
    WeightEvolution.resumed(CONFIG, environments, 5, given).run(100)
    assert all(torch.equal(given["members"][name], value) for name, value in state["members"].items())


@pytest.mark.slow
def test_it_learns_to_balance_a_pole() -> None:
    config = replace(CONFIG, rivals=RivalSettings(members=16, parents=4, noise=0.5))
    environments = make_environments("CartPole-v1", 16, seed=0, training=True)
    state = new(config, environments).run(6000)
    assert np.mean(evaluate(config, Training("CartPole-v1", "weights", 0), state)) > 100
