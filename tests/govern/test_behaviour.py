"""What an agent does while latents are held, in numbers and in pictures, in a world whose answers are known."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

pytest.importorskip("stable_baselines3")

from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from tenfold.core.rl_environments import make_environments
from tenfold.govern import GovernedPPO, Governor
from tenfold.govern.behaviour import Behaviour, Sweep, behave, govern_each, play_frames

from ..core.rl_worlds import worlds

ARM = spaces.Box(-1, 1, (2,))


class Echo(gym.Env[Any, Any]):
    """Observations are ten times the last action, and the age; the reward is the first number of an action."""

    def __init__(self, longest: int, *, cut: bool = False) -> None:
        self.observation_space = spaces.Box(-1000, 1000, (3,))
        self.action_space = ARM
        self.longest, self.cut = longest, cut
        self.age = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.age = 0
        return np.zeros(3, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.age += 1
        over = self.age >= self.longest
        seen = np.array([10 * action[0], 10 * action[1], self.age], np.float32)
        return seen, float(action[0]), over and not self.cut, over and self.cut, {}


def echoes(count: int, longest: int = 1000, **given: Any) -> DummyVecEnv:
    return DummyVecEnv([lambda: Monitor(Echo(longest, **given))] * count)


def agent(env: VecEnv | None = None) -> Any:
    """Actions are a tenth of the first two latents; latent 0 is a hundredth of the age, 1 is half."""
    arch: dict[str, Any] = {"net_arch": {"pi": [], "vf": [4]}}
    given: dict[str, Any] = {"n_steps": 8, "batch_size": 8, "seed": 0, "device": "cpu"}
    model = GovernedPPO("MlpPolicy", env or echoes(1), policy_kwargs=arch, **given)
    encoder, last = model.policy.latents.encoder.layers[-1], model.policy.action_net
    with torch.no_grad():
        for layer in (encoder, last):
            layer.weight.zero_()
            layer.bias.zero_()
        encoder.weight[0, 2], encoder.bias[1] = 0.01, 0.5
        last.weight[0, 0], last.weight[1, 1] = 0.1, 0.1
    return model


class Always:
    """Does always the same."""

    def __init__(self, *action: float) -> None:
        self.action = np.array(action, np.float32)

    def predict(self, observation: NDArray[Any], deterministic: bool = False) -> tuple[NDArray[Any], None]:
        assert deterministic
        return np.repeat(self.action[None], len(observation), 0), None


# one way to behave


def test_behaviour_is_measured_over_all_steps() -> None:
    found = behave(Always(0.5, -0.25), echoes(3), steps=20, seed=0)
    assert found.reward == pytest.approx(0.5)
    assert found.ended == 0
    ages = np.arange(1, 21)
    np.testing.assert_allclose(found.mean, [5, -2.5, ages.mean()])
    np.testing.assert_allclose(found.spread, [0, 0, ages.std()])


@pytest.mark.parametrize("cut", [False, True])
def test_episodes_that_end_are_counted_unless_they_were_cut(cut: bool) -> None:
    env = DummyVecEnv([lambda: Echo(5, cut=cut), lambda: Echo(10, cut=cut)])
    found = behave(Always(0.0, 0.0), env, steps=20, seed=0)
    assert found.ended == (0 if cut else pytest.approx(1000 * (4 + 2) / 40))


def test_numbers_are_in_the_environments_units() -> None:
    env = VecNormalize(echoes(2), training=False, norm_reward=False)
    env.obs_rms.mean, env.obs_rms.var = np.array([1.0, 2.0, 3.0]), np.array([4.0, 25.0, 100.0])  # type: ignore[union-attr]
    found, plain = (behave(Always(0.5, -0.25), each, steps=10, seed=0) for each in (env, echoes(2)))
    np.testing.assert_allclose(found.mean, plain.mean, atol=1e-4)
    np.testing.assert_allclose(found.spread, plain.spread, atol=1e-4)
    assert found.reward == plain.reward
    assert env.obs_rms.count == pytest.approx(1e-4)  # type: ignore[union-attr]


def test_the_same_seed_is_the_same_behaviour() -> None:
    model = GovernedPPO("MlpPolicy", worlds(2), n_steps=8, batch_size=8, seed=0, device="cpu")
    env = worlds(2)
    one, again, other = (behave(model, env, steps=30, seed=seed) for seed in (4, 4, 5))
    assert (one.reward, one.ended) == (again.reward, again.ended)
    assert (one.mean == again.mean).all()
    assert (one.spread == again.spread).all()
    assert not (one.mean == other.mean).all()
    assert one.ended > 0


def test_actions_are_the_most_likely_ones() -> None:
    model = agent()
    with torch.no_grad():
        model.policy.log_std.fill_(1.0)
    governor = Governor(model, set={0: 3.0})
    assert behave(governor, echoes(1), steps=10, seed=0).mean[0] == pytest.approx(3.0)


# every latent


def test_every_mapped_latent_is_held_at_every_value() -> None:
    values = (-4.0, 0.0, 2.0)
    sweep = govern_each(agent().policy, echoes(2), values=values, steps=12, others="zero", seed=0)
    assert sweep.values == values
    assert [len(row) for row in sweep.held] == [3, 3]
    np.testing.assert_allclose(sweep.rewards(), [[-0.4, 0.0, 0.2], [0, 0, 0]], atol=1e-6)
    for place, value in enumerate(values):
        np.testing.assert_allclose(sweep.held[0][place].mean, [value, 0, 6.5], atol=1e-5)
        np.testing.assert_allclose(sweep.held[1][place].mean, [0, value, 6.5], atol=1e-5)
    # the free agent: actions a thousandth of the age, and 0.05
    ages = np.arange(12)
    np.testing.assert_allclose(sweep.free.mean, [0.01 * ages.mean(), 0.5, 6.5], atol=1e-5)
    assert sweep.free.reward == pytest.approx(0.001 * ages.mean(), abs=1e-6)


def test_shifts_are_in_units_of_the_free_agents_spread() -> None:
    sweep = govern_each(agent().policy, echoes(1), values=(-4.0, 0.0, 2.0), steps=12, others="zero", seed=0)
    spread = 0.01 * np.arange(12).std()
    # the second number never moves by itself
    np.testing.assert_allclose(sweep.shifts(), [[6 / spread, 0, 0], [0, 6, 0]], rtol=1e-4, atol=1e-4)


def test_the_others_can_be_kept() -> None:
    kept, zero = (
        govern_each(agent().policy, echoes(1), values=(-1.0, 1.0), steps=12, others=others, seed=0)
        for others in ("keep", "zero")
    )
    assert kept.held[0][0].mean[1] == pytest.approx(0.5)
    assert zero.held[0][0].mean[1] == 0


def test_values_may_be_large() -> None:
    sweep = govern_each(agent().policy, echoes(1), values=(-8.0, 8.0), steps=4, others="zero", seed=0)
    np.testing.assert_allclose(sweep.rewards()[0], [-0.8, 0.8], atol=1e-6)


def test_the_agent_is_free_after_a_sweep_and_a_sweep_is_repeatable() -> None:
    model = GovernedPPO("MlpPolicy", worlds(2, action=ARM), n_steps=8, batch_size=8, seed=0, device="cpu")
    obs = np.ones((1, 3), np.float32)
    before, _ = model.predict(obs, deterministic=True)
    given: dict[str, Any] = {"values": (-3.0, 3.0), "steps": 10, "others": "zero", "seed": 2}
    one, again = (govern_each(model.policy, worlds(2, action=ARM), **given) for _ in range(2))
    assert (one.shifts() == again.shifts()).all()
    assert (one.rewards() == again.rewards()).all()
    # a world that does not care has the same states whatever is held
    assert (one.shifts() == 0).all()
    assert (model.predict(obs, deterministic=True)[0] == before).all()


def test_a_sweep_by_hand() -> None:
    def one(mean: float) -> Behaviour:
        return Behaviour(mean, 0.0, np.array([mean, 1.0]), np.array([2.0, 0.0]))

    sweep = Sweep(one(0.0), (-1.0, 0.0, 1.0), ((one(-3.0), one(9.0), one(1.0)),))
    assert sweep.shifts().tolist() == [[2.0, 0.0]]
    assert sweep.rewards().tolist() == [[-3.0, 9.0, 1.0]]


# pictures


class One:
    """Pushes always to the right."""

    def predict(self, observation: NDArray[Any], deterministic: bool = False) -> tuple[NDArray[Any], None]:
        return np.ones(len(observation), int), None


def test_pictures_last_as_long_as_the_episode() -> None:
    env = make_environments("CartPole-v1", 1, seed=0, training=False, drawn=True)
    pictures = list(play_frames(One(), env, steps=100, seed=0))
    assert 5 < len(pictures) < 15  # a pole that is pushed to one side falls soon
    assert all(picture.mode == "RGB" and picture.size == (600, 400) for picture in pictures)
    assert (np.asarray(pictures[0]) != np.asarray(pictures[-1])).any()
    again = list(play_frames(One(), env, steps=4, seed=0))
    assert len(again) == 4
    for one, other in zip(pictures, again, strict=False):
        assert (np.asarray(one) == np.asarray(other)).all()
    env.close()


def test_what_cannot_be_drawn_has_no_pictures() -> None:
    assert list(play_frames(Always(0.0, 0.0), echoes(1), steps=5, seed=0)) == []
