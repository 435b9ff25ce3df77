"""One training, cut into legs: `leg(config, training, state)` is a pure function from the state after one leg to that after the next.

Everything random in a leg follows from the seed, the training's number and the leg's, and its environments begin anew. So it does
not matter which process computes a leg, nor whether the run was stopped before it.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from ..core import rl_training
from ..core.errors import UsageError
from ..core.legs import State, one_thread
from ..core.rl_environments import ATARI, load_normalizer, make_environments
from ..core.rl_training import (
    EVALUATED_TOGETHER,
    Beginning,
    Training,
    algorithm_options,
    model_state,
    play_returns,
    resume_model,
    seed_of,
)
from .algorithms import G2A2C, G2PPO, GeneticGated
from .config import Config
from .rivals import WeightEvolution


def trainings_of(config: Config) -> list[Training]:
    """All trainings of a run, in the order in which they are done."""
    return rl_training.trainings_of(config.envs, config.methods, config.train.replicas)


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
    seed, first = seed_of(config.seed, training, "leg", done), seed_of(config.seed, training, "weights")
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
    seed = seed_of(config.seed, training, "evaluation")
    side_by_side = min(count, EVALUATED_TOGETHER)
    with one_thread():
        environments = make_environments(
            training.env, side_by_side, seed=seed, training=False, normalize=normalizes(config, training)
        )
        try:
            model = load_model(config, training, state, environments)
            load_normalizer(environments, state["normalizer"])
            player: Any = Voting(model) if vote and isinstance(model, GeneticGated) else model
            return play_returns(
                player, environments, seed=seed, episodes=count, deterministic=config.metrics.deterministic
            )
        finally:
            environments.close()


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
    policy, options = algorithm_options(
        settings, seed=seed, share=share, device=config.compute.device, pictures=training.env.startswith(ATARI)
    )
    plain, gated = (PPO, G2PPO) if settings.algorithm == "ppo" else (A2C, G2A2C)
    kind: type[OnPolicyAlgorithm] = plain if training.method in ("plain", "weights") else gated
    if kind is gated:
        genetics = replace(config.genetics, selection="random") if training.method == "random" else config.genetics
        options |= {"population": config.population, "genetics": genetics}
    try:
        return kind(policy, environments, **options)
    except (AssertionError, NotImplementedError, ValueError) as error:  # how stable-baselines3 refuses
        raise UsageError(f"{settings.algorithm} cannot learn in {training.env}: {error}") from error


def _learned(
    config: Config, training: Training, environments: Any, first: int, seed: int, state: State | None, target: int
) -> State:
    """What the algorithm knows once it has made `target` steps."""
    model = build(config, training, environments, seed=first, share=target / config.train.timesteps)
    environments.seed(seed)
    if state is not None:
        resume_model(model, state, environments)
        if isinstance(model, GeneticGated):
            model.resume(state["roster"], state["history"])
    if target > model.num_timesteps:
        model.learn(target - model.num_timesteps, Beginning(seed), reset_num_timesteps=False)
    return model_state(model, environments) | {
        "roster": model.roster.state() if isinstance(model, GeneticGated) and model.roster else None,
        "history": model.history if isinstance(model, GeneticGated) else [],
    }


def normalizes(config: Config, training: Training) -> bool:
    """Whether observations are scaled: not for members that are told apart by one episode each, under changing scales."""
    return config.learner.normalize and training.method != "weights"
