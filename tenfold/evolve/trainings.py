"""One training, cut into legs: `leg(config, training, state)` is a pure function from the state after one leg to that after the next.

Everything random in a leg follows from the seed, the training's number and the leg's, and its environments begin anew. So it does
not matter which process computes a leg, nor whether the run was stopped before it.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import set_random_seed

from ..core.batches import derive_seed
from ..core.errors import UsageError
from .algorithms import G2A2C, G2PPO, GeneticGated
from .config import Config, MethodName
from .environments import ATARI, load_normalizer, make_environments, normalizer_state
from .rivals import WeightEvolution

State = dict[str, Any]

EVALUATED_TOGETHER = 10
"""environments that the episodes of an evaluation are spread over, at most"""


@dataclass(frozen=True)
class Training:
    """A method in an environment, with the seed of one replica; the same replica of two methods begins with equal weights."""

    env: str
    method: MethodName
    replica: int

    @property
    def row(self) -> str:
        """What the replicas together are called in tables."""
        return f"{self.env} {self.method}"

    @property
    def file(self) -> str:
        """A name that a file may have."""
        return f"{self.env}-{self.method}-{self.replica}".replace("/", "-").replace(":", "-")


def trainings_of(config: Config) -> list[Training]:
    """All trainings of a run, in the order in which they are done."""
    return [
        Training(env, method, replica)
        for env in config.envs
        for method in config.methods
        for replica in range(config.train.replicas)
    ]


def leg(config: Config, training: Training, state: State | None) -> State:
    """The state after the next leg: learn up to the next evaluation, and evaluate.

    Args:
        state: after the last leg, or None before the first.

    Returns:
        leg (how many are done), steps, seconds, curve (for each evaluation: steps, mean return), and what the learner is:
        policy, optimizer, normalizer, ..., and history (for each generation: what `GeneticGated.history` says).

    Raises:
        UsageError: the environment cannot be made, or does not suit the method.
    """
    began = time.monotonic()
    done = 0 if state is None else state["leg"]
    target = -(-config.train.timesteps * (done + 1) // config.train.evaluations)
    seed, first = seed_of(config, training, "leg", done), seed_of(config, training, "weights")
    with one_thread():
        environments = make_environments(
            training.env, config.learner.n_envs, seed=seed, training=True, normalize=normalizes(config, training)
        )
        try:
            if training.method == "weights":
                build(config, training, environments, seed=first, share=1.0)  # refuses what does not suit
                after = WeightEvolution.resumed(config, environments, seed, state, first=first).run(target)
            else:
                after = _learned(config, training, environments, first, seed, state, target)
        finally:
            environments.close()
        returns = evaluate(config, training, after)
    curve = [] if state is None else state["curve"]
    return after | {
        "leg": done + 1,
        "curve": [*curve, [after["steps"], float(np.mean(returns))]],
        "seconds": (0.0 if state is None else state["seconds"]) + time.monotonic() - began,
    }


def evaluate(
    config: Config, training: Training, state: State, *, episodes: int | None = None, vote: bool = False
) -> list[float]:
    """True returns of whole episodes played by what a training has learned; the same episodes for every method.

    Args:
        state: of the training.
        episodes: how many; None takes the run's number.
        vote: whether the whole population chooses; for the genetic method alone.
    """
    count = episodes or config.metrics.episodes
    seed = seed_of(config, training, "evaluation")
    side_by_side = min(count, EVALUATED_TOGETHER)
    with one_thread():
        environments = make_environments(
            training.env, side_by_side, seed=seed, training=False, normalize=normalizes(config, training)
        )
        try:
            model = load_model(config, training, state, environments)
            load_normalizer(environments, state["normalizer"])
            set_random_seed(seed)
            environments.seed(seed)
            player: Any = Voting(model) if vote and isinstance(model, GeneticGated) else model
            returns, _ = evaluate_policy(
                player, environments, count, deterministic=config.metrics.deterministic, return_episode_rewards=True
            )
        finally:
            environments.close()
    return [float(value) for value in returns]  # type: ignore[union-attr]


class Voting:
    """What `evaluate_policy` needs of a model, with the whole population's choice."""

    def __init__(self, model: GeneticGated) -> None:
        self._model = model

    def predict(self, observation: Any, state: Any = None, deterministic: bool = False, **_: Any) -> tuple[Any, None]:
        """The population's action."""
        return self._model.predict(observation, deterministic=deterministic, vote="population")[0], None


def load_model(config: Config, training: Training, state: State, environments: Any) -> OnPolicyAlgorithm:
    """The algorithm of a training with the weights and genes of a state; it can act, but not go on learning."""
    # the shortest rollout that there is: nothing will be collected
    count = environments.num_envs
    short = replace(config.learner, n_envs=count, n_steps=2, batch_size=2 * count)
    model = build(replace(config, learner=short), training, environments, seed=0, share=1.0)
    model.policy.load_state_dict(state["policy"])
    return model


def build(config: Config, training: Training, environments: Any, *, seed: int, share: float) -> OnPolicyAlgorithm:
    """The algorithm of a training, new.

    Args:
        seed: of its weights and of what it draws.
        share: of the whole training that it will be told of as if it were all; for schedules.
    """
    settings = config.learner
    rate: Any = settings.learning_rate
    if settings.schedule == "linear":
        rate = Falling(settings.learning_rate, share)
    options: dict[str, Any] = {
        name: getattr(settings, name) for name in ("n_steps", "gamma", "gae_lambda", "ent_coef", "vf_coef")
    }
    options |= {"learning_rate": rate, "seed": seed, "device": config.compute.device}
    pictures = training.env.startswith(ATARI)
    if not pictures:
        options["policy_kwargs"] = {"net_arch": list(settings.hidden)}
    if settings.algorithm == "ppo":
        options |= {name: getattr(settings, name) for name in ("batch_size", "n_epochs", "clip_range")}
    plain, gated = (PPO, G2PPO) if settings.algorithm == "ppo" else (A2C, G2A2C)
    kind: type[OnPolicyAlgorithm] = plain if training.method in ("plain", "weights") else gated
    if kind is gated:
        genetics = replace(config.genetics, selection="random") if training.method == "random" else config.genetics
        options |= {"population": config.population, "genetics": genetics}
    try:
        return kind("CnnPolicy" if pictures else "MlpPolicy", environments, **options)
    except (AssertionError, NotImplementedError, ValueError) as error:  # how stable-baselines3 refuses
        raise UsageError(f"{settings.algorithm} cannot learn in {training.env}: {error}") from error


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


def _learned(
    config: Config, training: Training, environments: Any, first: int, seed: int, state: State | None, target: int
) -> State:
    """What the algorithm knows once it has made `target` steps."""
    model = build(config, training, environments, seed=first, share=target / config.train.timesteps)
    environments.seed(seed)
    if state is not None:
        load_normalizer(environments, state["normalizer"])
        model.policy.load_state_dict(state["policy"])
        model.policy.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))  # which keeps and changes its tensors
        model.num_timesteps, model._n_updates = state["steps"], state["updates"]
        if isinstance(model, GeneticGated):
            model.resume(state["roster"], state["history"])
    if target > model.num_timesteps:
        model.learn(target - model.num_timesteps, Beginning(seed), reset_num_timesteps=False)
    return {
        "steps": model.num_timesteps,
        "updates": model._n_updates,
        "policy": _on_cpu(model.policy.state_dict()),
        "optimizer": _on_cpu(model.policy.optimizer.state_dict()),
        "normalizer": normalizer_state(environments),
        "roster": model.roster.state() if isinstance(model, GeneticGated) and model.roster else None,
        "history": model.history if isinstance(model, GeneticGated) else [],
    }


def normalizes(config: Config, training: Training) -> bool:
    """Whether observations are scaled: not for members that are told apart by one episode each, under changing scales."""
    return config.learner.normalize and training.method != "weights"


def seed_of(config: Config, training: Training, *parts: str | int) -> int:
    """A seed in [0, 2**31 - 1000) that all methods share for one replica in one environment."""
    return derive_seed(config.seed, training.env, training.replica, *parts) % (2**31 - 1000)


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums of several threads are rounded in another order: with one, a leg is the same in every process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _on_cpu(tree: Any) -> Any:
    """The same nested state with its tensors copied to the CPU."""
    if isinstance(tree, torch.Tensor):
        return tree.detach().cpu().clone()
    if isinstance(tree, dict):
        return {key: _on_cpu(value) for key, value in tree.items()}
    return [_on_cpu(value) for value in tree] if isinstance(tree, list | tuple) else tree
