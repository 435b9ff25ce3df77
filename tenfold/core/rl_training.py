"""What trainings of stable-baselines3's on-policy algorithms have in common, whatever the method does to them.

A training is cut into legs (see `legs`): everything random in one follows from the seed, the training's number and the leg's, and
its environments begin anew.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv

from .batches import derive_seed
from .legs import State, on_cpu
from .rl_config import LearnerSettings
from .rl_environments import load_normalizer, normalizer_state

EVALUATED_TOGETHER = 10
"""environments that the episodes of an evaluation are spread over, at most"""


@dataclass(frozen=True)
class Training:
    """A method in an environment, with the seed of one replica; the same replica of two methods begins with equal weights."""

    env: str
    method: str
    replica: int

    @property
    def row(self) -> str:
        """What the replicas together are called in tables; see `row_of`."""
        return row_of(self.env, self.method)

    @property
    def file(self) -> str:
        """A name that a file may have."""
        return f"{self.env}-{self.method}-{self.replica}".replace("/", "-").replace(":", "-")


def row_of(env: str, method: str) -> str:
    """What the trainings of a method in an environment are called in tables, where a slash would part the row from its column."""
    return f"{env.replace('/', '-')} {method}"


def trainings_of(envs: Sequence[str], methods: Sequence[str], replicas: int) -> list[Training]:
    """All trainings of a run, in the order in which they are done."""
    return [Training(env, method, replica) for env in envs for method in methods for replica in range(replicas)]


def seed_of(seed: int, training: Training, *parts: str | int) -> int:
    """A seed in [0, 2**31 - 1000), of a run's seed, that all methods share for one replica in one environment."""
    return derive_seed(seed, training.env, training.replica, *parts) % (2**31 - 1000)


def algorithm_options(
    settings: LearnerSettings, *, seed: int, share: float, device: str, pictures: bool
) -> tuple[str, dict[str, Any]]:
    """The policy's name and the keyword arguments that A2C or PPO, or what is derived from them, is made with.

    Args:
        settings: of the algorithm.
        seed: of its weights and of what it draws.
        share: of the whole training that it will be told of as if it were all; for schedules.
        device: to learn on.
        pictures: whether observations are pictures, which convolutions take.
    """
    rate: Any = settings.learning_rate
    if settings.schedule == "linear":
        rate = Falling(settings.learning_rate, share)
    options: dict[str, Any] = {
        name: getattr(settings, name) for name in ("n_steps", "gamma", "gae_lambda", "ent_coef", "vf_coef")
    }
    options |= {"learning_rate": rate, "seed": seed, "device": device}
    if not pictures:
        options["policy_kwargs"] = {"net_arch": list(settings.hidden)}
    if settings.algorithm == "ppo":
        options |= {name: getattr(settings, name) for name in ("batch_size", "n_epochs", "clip_range")}
    return "CnnPolicy" if pictures else "MlpPolicy", options


def resume_model(model: OnPolicyAlgorithm, state: State, environments: VecEnv) -> None:
    """Give a new algorithm, and its environments, what `model_state` has kept of another; the state stays as it is."""
    load_normalizer(environments, state["normalizer"])
    resume_learner(model, state)


def resume_learner(model: OnPolicyAlgorithm, state: State) -> None:
    """Give a new algorithm what `learner_state` has kept of another; the state stays as it is."""
    model.policy.load_state_dict(state["policy"])
    model.policy.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))  # which keeps and changes its tensors
    model.num_timesteps, model._n_updates = state["steps"], state["updates"]


def model_state(model: OnPolicyAlgorithm, environments: VecEnv) -> State:
    """What an algorithm needs to go on learning: steps, updates, policy, optimizer, and its environments' normalizer."""
    return learner_state(model) | {"normalizer": normalizer_state(environments)}


def learner_state(model: OnPolicyAlgorithm) -> State:
    """Steps, updates, policy and optimizer of an algorithm, copied to the CPU; see `resume_learner`."""
    return {
        "steps": model.num_timesteps,
        "updates": model._n_updates,
        "policy": on_cpu(model.policy.state_dict()),
        "optimizer": on_cpu(model.policy.optimizer.state_dict()),
    }


def play_returns(player: Any, environments: VecEnv, *, seed: int, episodes: int, deterministic: bool) -> list[float]:
    """True returns of whole episodes; the same episodes for the same seed.

    Args:
        player: a model of stable-baselines3, or what else has its `predict`.
        environments: made for evaluation, with the statistics of the training; see `load_normalizer`.
        seed: of the episodes and of the actions that are drawn.
        episodes: how many.
        deterministic: the most likely action, or one that is drawn.
    """
    set_random_seed(seed)
    environments.seed(seed)
    returns, _ = evaluate_policy(
        player, environments, episodes, deterministic=deterministic, return_episode_rewards=True
    )
    return [float(value) for value in returns]  # type: ignore[union-attr]


class Falling:
    """A rate that falls to 0 over the whole training, for an algorithm that is told of a share of it alone."""

    def __init__(self, first: float, share: float) -> None:
        self._first, self._share = first, share

    def __call__(self, remaining: float) -> float:
        """The rate where `remaining` of the share is left, 1 to 0."""
        return self._first * max(0.0, 1 - (1 - remaining) * self._share)  # the last rollout may reach beyond the end


class Beginning(BaseCallback):
    """Resets what a leg begins with, once the algorithm is ready to collect."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed

    def _on_training_start(self) -> None:
        set_random_seed(self._seed)  # whatever building and loading have drawn

    def _on_step(self) -> bool:
        return True
