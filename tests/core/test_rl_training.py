"""What every training has: names, seeds, a schedule over its legs, and an algorithm that goes on where another stopped."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from tenfold.core.checkpoint import load_state, save_state
from tenfold.core.rl_config import LearnerSettings

pytest.importorskip("gymnasium")
pytest.importorskip("stable_baselines3")

from stable_baselines3 import A2C, PPO
from stable_baselines3.common.vec_env import VecEnv

from tenfold.core.legs import State, on_cpu, one_thread
from tenfold.core.rl_environments import make_environments
from tenfold.core.rl_training import (
    Beginning,
    Falling,
    Training,
    algorithm_options,
    model_state,
    play_returns,
    resume_model,
    seed_of,
    trainings_of,
)

from .rl_worlds import worlds

TINY = LearnerSettings(n_envs=2, n_steps=16, batch_size=16, n_epochs=2, hidden=(8,), normalize=True)


def test_trainings_are_in_the_order_of_the_settings() -> None:
    found = trainings_of(("b:B-v0", "ALE/A-v5"), ("ours", "plain"), 2)
    assert [(each.row, each.replica) for each in found] == [
        (f"{env} {method}", replica)  # a slash would part the row from its column
        for env in ("b:B-v0", "ALE-A-v5")
        for method in ("ours", "plain")
        for replica in (0, 1)
    ]
    assert (found[0].file, found[-1].file) == ("b-B-v0-ours-0", "ALE-A-v5-plain-1")
    seeds = {seed_of(0, each, *parts) for each in found for parts in (("leg", 0), ("leg", 1), ("evaluation",))}
    assert len(seeds) == 2 * 2 * 3  # the same for both methods
    assert all(0 <= seed < 2**31 - 1000 for seed in seeds)
    assert seed_of(0, found[0], "leg", 0) != seed_of(1, found[0], "leg", 0)


def test_one_thread_computes_and_the_number_comes_back() -> None:
    before = torch.get_num_threads()

    def fail() -> None:
        with one_thread():
            assert torch.get_num_threads() == 1
            raise KeyError

    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyError):
            fail()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_rate_falls_over_the_whole_training() -> None:
    """A leg is told of the share of it that ends with the leg, and begins anew within that."""
    whole, half = Falling(0.4, 1.0), Falling(0.4, 0.5)
    assert [whole(remaining) for remaining in (1.0, 0.5, 0.0)] == [0.4, 0.2, 0.0]
    assert [half(remaining) for remaining in (1.0, 0.5, 0.0)] == pytest.approx([0.4, 0.3, 0.2])
    assert whole(-0.1) == 0.0  # beyond the end


@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.parametrize("kind", [PPO, A2C])
def test_an_algorithm_is_made_as_the_settings_say(kind: Any, pictures: bool) -> None:
    settings = LearnerSettings(
        algorithm="ppo" if kind is PPO else "a2c",
        n_envs=2,
        n_steps=6,
        batch_size=4,
        n_epochs=3,
        learning_rate=2e-3,
        gamma=0.9,
        gae_lambda=0.8,
        clip_range=0.3,
        ent_coef=0.1,
        vf_coef=0.7,
        hidden=(5,),
    )
    policy, options = algorithm_options(settings, seed=3, share=1.0, device="cpu", pictures=pictures)
    assert policy == ("CnnPolicy" if pictures else "MlpPolicy")
    assert ("policy_kwargs" in options) != pictures
    model = kind("MlpPolicy", worlds(2), **options)
    for name in ("n_steps", "gamma", "gae_lambda", "ent_coef", "vf_coef", "learning_rate"):
        assert getattr(model, name) == getattr(settings, name), name
    assert (model.seed, model.device.type) == (3, "cpu")
    assert model.policy.action_net.in_features == (64 if pictures else 5)
    if kind is PPO:
        assert (model.batch_size, model.n_epochs, model.clip_range(0)) == (4, 3, 0.3)


def test_a_linear_schedule_is_told_of_the_share() -> None:
    settings = LearnerSettings(learning_rate=0.4, schedule="linear")
    _, options = algorithm_options(settings, seed=0, share=0.5, device="auto", pictures=False)
    assert options["learning_rate"](0.0) == pytest.approx(0.2)
    assert options["device"] == "auto"


def made(environments: VecEnv, seed: int) -> PPO:
    policy, options = algorithm_options(TINY, seed=seed, share=1.0, device="cpu", pictures=False)
    return PPO(policy, environments, **options)


def leg(state: State | None, seed: int, *, first: int = 0) -> State:
    environments = make_environments("Pendulum-v1", 2, seed=seed, training=True, normalize=True)
    model = made(environments, first)
    environments.seed(seed)
    if state is not None:
        resume_model(model, state, environments)
    model.learn(64, Beginning(seed), reset_num_timesteps=False)
    return model_state(model, environments)


def same(ours: Any, theirs: Any) -> bool:
    """Equal to the last bit."""
    if isinstance(ours, dict):
        return set(ours) == set(theirs) and all(same(ours[name], theirs[name]) for name in ours)
    if isinstance(ours, list | tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return bool(np.array_equal(ours, theirs))


def test_an_algorithm_goes_on_where_another_stopped(tmp_path: Any) -> None:
    first = leg(None, 1)
    assert set(first) == {"steps", "updates", "policy", "optimizer", "normalizer"}
    assert (first["steps"], first["updates"]) == (64, 4)
    kept = copy.deepcopy(first)
    second = leg(first, 2)
    assert (second["steps"], second["updates"]) == (128, 8)
    assert {float(each["step"]) for each in second["optimizer"]["state"].values()} == {16}  # two batches of an epoch
    assert second["normalizer"]["observations"]["count"] == pytest.approx(2 * (64 + 2), abs=0.01)
    assert same(first, kept)
    save_state(tmp_path, first)
    torch.manual_seed(99)  # whatever was drawn before
    assert same(leg(load_state(tmp_path), 2, first=5), second)  # nor do the weights count that it was built with
    assert not same(leg(first, 3)["policy"], second["policy"])


def test_what_is_kept_is_a_copy_on_the_cpu() -> None:
    weights = torch.zeros(3, requires_grad=True)
    tree = {"a": [weights, (1, "two", None)], "b": {"c": weights}}
    kept = on_cpu(tree)
    with torch.no_grad():
        weights += 1
    assert kept["a"][1] == [1, "two", None]
    for each in (kept["a"][0], kept["b"]["c"]):
        assert (each.tolist(), each.requires_grad, each.device.type) == ([0, 0, 0], False, "cpu")


@pytest.mark.parametrize("deterministic", [True, False])
def test_the_same_seed_plays_the_same_episodes(deterministic: bool) -> None:
    environments = make_environments("CartPole-v1", 2, seed=0, training=False)
    model = made(environments, 0)

    def play(seed: int) -> list[float]:
        return play_returns(model, environments, seed=seed, episodes=5, deterministic=deterministic)

    first = play(7)
    assert len(first) == 5
    assert all(value == int(value) >= 1 for value in first)
    torch.manual_seed(5)
    assert play(8) != first
    assert play(7) == first


def test_returns_are_true_ones() -> None:
    """Whole episodes of what the environments say, however the player's observations are scaled."""
    environments = make_environments("Pendulum-v1", 1, seed=0, training=False, normalize=True)

    class Still:
        def predict(self, observation: Any, state: Any = None, **_: Any) -> tuple[Any, None]:
            return np.zeros((1, 1), np.float32), None

    (found,) = play_returns(Still(), environments, seed=3, episodes=1, deterministic=True)
    again = make_environments("Pendulum-v1", 1, seed=3, training=False)
    again.reset()
    total, over = 0.0, False
    while not over:
        _, rewards, ends, _ = again.step(np.zeros((1, 1), np.float32))
        total, over = total + float(rewards[0]), bool(ends[0])
    assert found == pytest.approx(total)


def test_a_training_is_its_parts() -> None:
    assert Training("a", "ours", 1) == Training("a", "ours", 1) != Training("a", "ours", 2)
    assert {Training("a", "ours", 1): 3}[Training("a", "ours", 1)] == 3
