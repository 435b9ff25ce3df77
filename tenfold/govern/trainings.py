"""One training, cut into legs: `leg(config, training, state)` is a pure function from the state after one leg to that after the next.

Where agents learn, a leg is so many steps of the algorithm; where a random policy acts, so many steps of its model. Everything
random in a leg follows from the seed, the training's number and the leg's, and its environments begin anew.
"""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import set_random_seed

from ..core import rl_training
from ..core.errors import UsageError
from ..core.legs import State, on_cpu, one_thread
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
from . import heart as heart  # registers the worlds with Gymnasium
from .actions import ActionMap
from .algorithms import GovernedA2C, GovernedPPO
from .behaviour import Behaviour, Sweep, govern_each
from .config import Config
from .disentanglement import dci
from .posthoc import Fit, flat_model, prediction_losses
from .transitions import Transitions, collect_transitions, random_actions
from .vae import ActionConditionalVAE

EXPLORERS = 16
"""environments side by side in which a random policy acts"""
TURNED = 50
"""pictures that the latents of a world's model are turned for"""
READ = 200
"""observations that the latents of an agent are read from"""


def trainings_of(config: Config) -> list[Training]:
    """All trainings of a run, in the order in which they are done."""
    return [
        *rl_training.trainings_of(config.explore.envs, config.explore.models, config.train.replicas),
        *rl_training.trainings_of(config.envs, config.methods, config.train.replicas),
    ]


def leg(config: Config, training: Training, state: State | None) -> State:
    """The state after the next leg: learn up to the next evaluation, and evaluate.

    Args:
        config: of the run.
        training: which.
        state: after the last leg, or None before the first.

    Returns:
        leg (how many are done), steps, seconds, curve (for each evaluation: steps, and mean return or, where nobody learns to act,
        held-out reconstruction), and what was learned: policy, optimizer, normalizer, or model; after the last leg scores, and where an
        agent was governed its sweep.

    Raises:
        UsageError: the environment cannot be made, or does not suit the method.
    """
    began = time.monotonic()
    done = 0 if state is None else state["leg"]
    with one_thread():
        after, value = (_explored if training.env in config.explore.envs else _learned)(config, training, done, state)
        if done + 1 == config.train.evaluations:
            after |= judged(config, training, after)
    return after | {
        "leg": done + 1,
        "curve": [*([] if state is None else state["curve"]), [after["steps"], value]],
        "seconds": (0.0 if state is None else state["seconds"]) + time.monotonic() - began,
    }


def judged(config: Config, training: Training, state: State) -> State:
    """Of a training that is done: its scores, and its sweep where an agent was governed."""
    found: State = {"scores": state.get("scores") or score(config, training, state)}
    sweep = governed_sweep(config, training, state)
    return found if sweep is None else found | {"sweep": sweep_state(sweep)}


# agents


def _learned(config: Config, training: Training, done: int, state: State | None) -> tuple[State, float]:
    """What the algorithm knows after the next leg, and the mean return of its evaluation."""
    target = -(-config.train.timesteps * (done + 1) // config.train.evaluations)
    seed = seed_of(config.seed, training, "leg", done)
    environments = make_environments(
        training.env, config.learner.n_envs, seed=seed, training=True, normalize=config.learner.normalize
    )
    try:
        share = target / config.train.timesteps
        first = seed_of(config.seed, training, "weights")
        model = build(config, training, environments, seed=first, share=share)
        if state is not None:
            resume_model(model, state, environments)
        environments.seed(seed)
        if target > model.num_timesteps:
            model.learn(target - model.num_timesteps, Beginning(seed), reset_num_timesteps=False)
        after = model_state(model, environments)
    finally:
        environments.close()
    return after, float(np.mean(evaluate(config, training, after)))


def build(config: Config, training: Training, environments: Any, *, seed: int, share: float) -> OnPolicyAlgorithm:
    """The algorithm of a training, new.

    Args:
        config: of the run.
        training: which.
        environments: it will learn in.
        seed: of its weights and of what it draws.
        share: of the whole training that it will be told of as if it were all; for schedules.
    """
    pictures = training.env.startswith(ATARI)
    settings = config.learner
    policy, options = algorithm_options(
        settings, seed=seed, share=share, device=config.compute.device, pictures=pictures
    )
    plain, governed = (PPO, GovernedPPO) if settings.algorithm == "ppo" else (A2C, GovernedA2C)
    kind: type[OnPolicyAlgorithm] = plain
    if training.method != "plain":
        kind = governed
        options |= {"latent": config.latent or None, "aux_weight": config.aux_weight}
        options["auxiliary"] = replace(config.auxiliary, kind=training.method)  # type: ignore[arg-type]
    try:
        return kind(policy, environments, **options)
    except (AssertionError, NotImplementedError, ValueError) as error:  # how stable-baselines3 refuses
        raise UsageError(f"{settings.algorithm} cannot learn in {training.env}: {error}") from error


def player_in(config: Config, training: Training, state: State, *, count: int, seed: int, drawn: bool = False) -> Any:
    """(algorithm that can act but not go on learning, environments as for evaluation) of what a training has learned.

    The environments have the algorithm's own wrappers, so that pictures come as the policy takes them.

    Whoever asks closes the environments.
    """
    environments = make_environments(
        training.env, count, seed=seed, training=False, normalize=config.learner.normalize, drawn=drawn
    )
    try:
        # the shortest rollout that there is: nothing will be collected
        short = replace(config.learner, n_envs=count, n_steps=2, batch_size=2 * count)
        model = build(replace(config, learner=short), training, environments, seed=0, share=1.0)
        model.policy.load_state_dict(state["policy"])
        load_normalizer(environments, state["normalizer"])
    except BaseException:
        environments.close()
        raise
    return model, model.get_env()


def evaluate(config: Config, training: Training, state: State, *, episodes: int | None = None) -> list[float]:
    """True returns of whole episodes played by what a training has learned; the same episodes for every method."""
    count = episodes or config.metrics.episodes
    seed = seed_of(config.seed, training, "evaluation")
    model, environments = player_in(config, training, state, count=min(count, EVALUATED_TOGETHER), seed=seed)
    try:
        return play_returns(model, environments, seed=seed, episodes=count, deterministic=config.metrics.deterministic)
    finally:
        environments.close()


def read_observations(
    config: Config, training: Training, state: State, *, count: int = READ
) -> tuple[ActionConditionalVAE, NDArray[Any]]:
    """An agent's model, and `count` observations of its own play, drawn actions and all, as the model takes them."""
    seed = seed_of(config.seed, training, "reading")
    model, environments = player_in(config, training, state, count=4, seed=seed)
    try:
        set_random_seed(seed)
        environments.seed(seed)
        seen, kept = environments.reset(), []
        for step in range(10 * count // 4):
            if step % 10 == 0:
                kept.append(np.array(seen))
            seen, *_ = environments.step(model.predict(seen, deterministic=False)[0])
    finally:
        environments.close()
    return model.policy.vae, np.concatenate(kept)


def governed_sweep(config: Config, training: Training, state: State) -> Sweep | None:
    """An agent's behaviour under every value of every mapped latent; None where it has no latents that actions are added to."""
    if training.env in config.explore.envs or not training.method.startswith("ac"):
        return None
    seed = seed_of(config.seed, training, "governing")
    model, environments = player_in(config, training, state, count=2, seed=seed)
    settings = config.governing
    try:
        return govern_each(
            model.policy,
            environments,
            values=settings.values,
            steps=settings.steps,
            others=settings.others,
            seed=seed,
        )
    finally:
        environments.close()


# models of worlds in which a random policy acts


def _explored(config: Config, training: Training, done: int, state: State | None) -> tuple[State, float]:
    """A world's model after the next leg, and its reconstruction of held-out steps."""
    settings = config.explore
    target = -(-settings.steps * (done + 1) // config.train.evaluations)
    steps = 0 if state is None else state["steps"]
    seed = seed_of(config.seed, training, "leg", done)
    fit = Fit(
        world_model(config, training),
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
    )
    if state is not None:
        fit.vae.load_state_dict(state["model"])
        fit.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
    set_random_seed(seed)
    if target > steps:
        transitions = explore(training.env, target - steps, seed)
        for epoch in range(settings.epochs):
            fit.vae.progress.fill_((done + (epoch + 1) / settings.epochs) / config.train.evaluations)
            fit.epoch(transitions)
    after = {
        "steps": max(target, steps),
        "model": on_cpu(fit.vae.state_dict()),
        "optimizer": on_cpu(fit.optimizer.state_dict()),
    }
    after["scores"] = score(config, training, after)
    return after, after["scores"]["reconstruction"]


def world_model(config: Config, training: Training, state: State | None = None) -> ActionConditionalVAE:
    """The model of a world, new or as it was learned."""
    settings = config.explore
    environments = make_environments(training.env, 1, seed=0, training=False)
    try:
        space, actions = environments.observation_space, ActionMap(environments.action_space)
    finally:
        environments.close()
    if space.shape is None:
        raise UsageError(f"observations of {training.env} are {space}, but must be vectors or pictures")
    torch.manual_seed(seed_of(config.seed, training, "weights"))
    vae = flat_model(
        space.shape,
        actions,
        latent=settings.latent,
        hidden=settings.hidden,
        auxiliary=replace(config.auxiliary, kind=training.method, beta=settings.beta),  # type: ignore[arg-type]
        pixels=space.dtype == np.uint8 and len(space.shape) >= 2,
    )
    if state is not None:
        vae.load_state_dict(state["model"])
    return vae


def explore(env: str, steps: int, seed: int) -> Transitions:
    """Steps of a random policy."""
    environments = make_environments(env, EXPLORERS, seed=seed, training=False)
    try:
        return collect_transitions(environments, steps, random_actions(environments.action_space, EXPLORERS, seed))
    finally:
        environments.close()


def score(config: Config, training: Training, state: State) -> dict[str, float]:
    """What a model is worth.

    mapped share; reconstruction and KL (nats); and of a world that tells its factors disentanglement, completeness and
    informativeness of the decoder's input, mu plus the mapped action, against the factors of the state that comes out. Nothing for an
    agent without a model.
    """
    if training.env in config.explore.envs:
        return _world_scores(config, training, state)
    if training.method == "plain":
        return {}
    vae, observations = read_observations(config, training, state)
    return {"mapped share": vae.mapped_share(observations)}


def _world_scores(config: Config, training: Training, state: State) -> dict[str, float]:
    seed = seed_of(config.seed, training, "scored")
    vae = world_model(config, training, state).eval()
    held_out = explore(training.env, config.explore.scored, seed)
    torch.manual_seed(seed)
    losses = prediction_losses(vae, held_out)
    found = {"reconstruction": float(losses.reconstruction), "kl": float(losses.kl)}
    if state["steps"] < config.explore.steps:
        return found
    found["mapped share"] = vae.mapped_share(held_out.observations[:: max(1, len(held_out) // TURNED)])
    if held_out.factors is None:
        return found
    scored = dci(decoder_inputs(vae, held_out), held_out.factors)
    names = ("disentanglement", "completeness", "informativeness", "weighted_disentanglement", "weighted_completeness")
    return found | {name.replace("_", " "): getattr(scored, name) for name in names}


def decoder_inputs(vae: ActionConditionalVAE, transitions: Transitions) -> NDArray[np.float64]:
    """What the decoder makes next states of, without the noise, (N, n): mu + a of the state before, or mu of the state itself."""
    if not vae.settings.conditional:
        return vae.encode(transitions.next_observations)[0].double().numpy()
    mu, _ = vae.encode(transitions.observations)
    return (mu + vae.map_action(transitions.actions)).double().numpy()


# sweeps, as tensors that a checkpoint can keep


def sweep_state(sweep: Sweep) -> dict[str, Any]:
    """A sweep as numbers and tensors."""
    rows = [[sweep.free], *sweep.held]
    return {
        "values": list(sweep.values),
        **{
            name: [torch.tensor(np.array([getattr(each, name) for each in row])) for row in rows]
            for name in ("reward", "ended", "mean", "spread")
        },
    }


def sweep_of(state: dict[str, Any]) -> Sweep:
    """The sweep that `sweep_state` has kept."""
    rows = [
        tuple(
            Behaviour(float(state["reward"][row][at]), float(state["ended"][row][at]), mean.numpy(), spread.numpy())
            for at, (mean, spread) in enumerate(zip(state["mean"][row], state["spread"][row], strict=True))
        )
        for row in range(len(state["mean"]))
    ]
    return Sweep(rows[0][0], tuple(state["values"]), tuple(rows[1:]))
