"""Rollout buffers that know what followed each sample, however it was shuffled."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("stable_baselines3")

from gymnasium import spaces
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecFrameStack, VecNormalize

from tenfold.govern import AuxiliarySettings, GovernedA2C, GovernedPPO
from tenfold.govern.buffer import Following, following_buffer
from tenfold.govern.policy import Lesson

ARM = spaces.Box(-1, 1, (2,))
Sample = tuple[int, int, int]
"""environment, episode, age"""


class Clock(gym.Env[Any, Any]):
    """Observations say which environment, which episode, and how old: what follows is known. Actions are written down."""

    def __init__(self, number: int, longest: int, action: spaces.Space[Any], *, shape: tuple[int, ...] = (3,)) -> None:
        self.observation_space = spaces.Box(-1000, 1000, shape)
        self.action_space = action
        self.number, self.longest = number, longest
        self.episode = self.age = -1
        self.done: dict[Sample, Any] = {}

    def _seen(self) -> Any:
        return np.array([self.number, self.episode, self.age], np.float32).reshape(self.observation_space.shape)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode, self.age = self.episode + 1, 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.done[self.number, self.episode, self.age] = np.array(action)
        self.age += 1
        over = self.age >= self.longest
        return self._seen(), 1.0, over and self.episode % 2 == 0, over and self.episode % 2 == 1, {}


class Film(Clock):
    """The same with pictures of one colour, which is the age and the episode."""

    def __init__(self, number: int, longest: int, action: spaces.Space[Any], *, size: tuple[int, int, int]) -> None:
        super().__init__(number, longest, action)
        self.observation_space = spaces.Box(0, 255, size, np.uint8)

    def _seen(self) -> Any:
        picture = np.full(self.observation_space.shape, 60 * self.number + 7 * self.episode % 40 + self.age, np.uint8)
        if picture.shape[-1] == 3:
            picture += np.arange(3, dtype=np.uint8) * 50
        return picture


class Silent(VecEnvWrapper):
    """Says nothing of the last state of an episode."""

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> Any:
        observations, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            info.pop("terminal_observation", None)
        return observations, rewards, dones, infos


def clocks(*longest: int, action: spaces.Space[Any] = ARM, **given: Any) -> DummyVecEnv:
    made = [Clock(number, each, action, **given) for number, each in enumerate(longest)]
    return DummyVecEnv([lambda env=env: env for env in made])  # type: ignore[misc]


class Watched:
    """A model, and what its policy was taught with each batch."""

    def __init__(self, env: VecEnv, kind: Any = GovernedPPO, policy: str = "MlpPolicy", **given: Any) -> None:
        if kind is GovernedPPO:
            given = {"batch_size": 6, "n_epochs": 2} | given
        given = {"n_steps": 12, "device": "cpu", "seed": 0, "latent": 6} | given
        self.model = kind(policy, env, **given)
        self.batches: list[tuple[Tensor, Tensor, Lesson]] = []
        evaluate = self.model.policy.evaluate_actions

        def watched(obs: Tensor, actions: Tensor) -> Any:
            (lesson,) = self.model.policy._lesson
            self.batches.append((obs, actions, lesson))
            return evaluate(obs, actions)

        self.model.policy.evaluate_actions = watched

    def learn(self, rollouts: int = 1, **given: Any) -> Watched:
        self.batches.clear()
        self.model.learn(rollouts * self.model.n_steps * self.model.n_envs, **given)
        return self

    def rows(self) -> list[tuple[Tensor, Tensor, Tensor, bool]]:
        """Observation, mapped action, target in the environment's units where one rollout was learned, and whether it counts."""
        vae, found = self.model.vae, []
        for obs, _, (moves, targets, mask) in self.batches:
            plain = targets * vae.spread + vae.center if vae.likelihood == "gaussian" else targets
            known = torch.ones(len(obs), dtype=torch.bool) if mask is None else mask
            found += list(zip(obs, moves, plain, known.tolist(), strict=True))
        return found


def of(row: Tensor) -> Sample:
    number, episode, age = row.flatten().round().int().tolist()
    return number, episode, age


# vectors

LENGTHS = [(5,), (4,), (1,), (100,), (3, 4, 5, 7), (12, 1, 13)]


@pytest.mark.parametrize("kind", [GovernedPPO, GovernedA2C])
@pytest.mark.parametrize("longest", LENGTHS)
def test_every_sample_has_its_own_next_state_and_action(longest: tuple[int, ...], kind: Any) -> None:
    """Episodes end within the rollout, and at its last step; what follows is of the same episode all the same."""
    env = clocks(*longest)
    watched = Watched(env, kind)
    for rollout in range(3):
        watched.learn(reset_num_timesteps=rollout == 0)
        rows = watched.rows()
        assert len(rows) == 12 * len(longest) * (2 if kind is GovernedPPO else 1)
        assert len({of(obs) for obs, *_ in rows}) == 12 * len(longest)
        for obs, move, target, known in rows:
            number, episode, age = of(obs)
            torch.testing.assert_close(target, torch.tensor([number, episode, age + 1.0]), atol=1e-4, rtol=0)
            done = env.envs[number].done[number, episode, age]  # type: ignore[attr-defined]
            assert move[:2].numpy() == pytest.approx(done, abs=1e-6)
            assert (move[2:] == 0).all()
            assert known
        assert all(lesson.mask is None for *_, lesson in watched.batches)
    ages = [of(obs)[2] for obs, *_ in watched.rows()]
    assert ages != sorted(ages) or longest == (1,)


def test_actions_that_are_choices_are_paired_too() -> None:
    env = clocks(3, 4, action=spaces.Discrete(3))
    for obs, move, *_ in Watched(env, latent=5).learn().rows():
        sample = of(obs)
        done = int(env.envs[sample[0]].done[sample])  # type: ignore[attr-defined]
        assert move.tolist() == [float(place == done) for place in range(5)]


def test_choices_that_do_not_start_at_zero_are_paired_too() -> None:
    """As stable-baselines3 hands them to the environment, whose plain algorithms learn with such spaces."""
    rows = Watched(clocks(3, 4, action=spaces.Discrete(3, start=1)), latent=5).learn().rows()
    assert {int(move.argmax()) for _, move, *_ in rows} == {0, 1, 2}


@pytest.mark.parametrize("longest", [(5,), (4,), (3, 4, 5, 7)])
def test_a_pair_without_a_last_state_does_not_count(longest: tuple[int, ...]) -> None:
    watched = Watched(Silent(clocks(*longest))).learn()
    for obs, _, target, known in watched.rows():
        number, episode, age = of(obs)
        assert known == (age + 1 < longest[number])
        if known:
            torch.testing.assert_close(target, torch.tensor([number, episode, age + 1.0]), atol=1e-4, rtol=0)
    assert {known for *_, known in watched.rows()} == {False, True}


def test_where_no_pair_counts_nothing_is_learned_and_nothing_breaks() -> None:
    watched = Watched(Silent(clocks(1, 1)))
    before = [each.clone() for each in watched.model.vae.decoder.parameters()]
    watched.learn()
    assert not any(known for *_, known in watched.rows())
    for weight, old in zip(watched.model.vae.decoder.parameters(), before, strict=True):
        assert torch.equal(weight, old)
    assert all(each.isfinite().all() for each in watched.model.policy.parameters())
    assert watched.model.logger.name_to_value["govern/reconstruction"] == 0


def test_a_rollout_that_was_given_up_leaves_nothing() -> None:
    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.n_calls < 7

    env = clocks(3, 4)
    watched = Watched(env)
    watched.learn(callback=Stop())
    assert watched.batches == []
    for obs, _, target, _ in watched.learn().rows():
        number, episode, age = of(obs)
        torch.testing.assert_close(target, torch.tensor([number, episode, age + 1.0]), atol=1e-4, rtol=0)


def test_observations_of_several_rows_keep_their_shape() -> None:
    watched = Watched(clocks(5, 4, shape=(3, 1))).learn()
    assert watched.model.vae.target == (3, 1)
    for obs, _, target, _ in watched.rows():
        number, episode, age = of(obs)
        assert target.shape == (3, 1)
        torch.testing.assert_close(target.flatten(), torch.tensor([number, episode, age + 1.0]), atol=1e-4, rtol=0)


def test_normalized_observations_have_normalized_targets() -> None:
    """Each by the statistics of its own step, ends of episodes too."""
    env = VecNormalize(clocks(4, 4), clip_obs=1e6)
    watched = Watched(env)
    env.training = False
    env.obs_rms.mean, env.obs_rms.var = np.array([0.5, 2.0, 3.0]), np.array([4.0, 9.0, 0.25])  # type: ignore[union-attr]
    for obs, _, target, _ in watched.learn().rows():
        number, episode, age = of(torch.as_tensor(env.unnormalize_obs(obs.numpy())))
        back = torch.as_tensor(env.unnormalize_obs(target.numpy()))
        torch.testing.assert_close(back.float(), torch.tensor([number, episode, age + 1.0]), atol=1e-3, rtol=0)


# a model of the state itself


@pytest.mark.parametrize("kind", ["beta-vae", "vae"])
def test_without_actions_the_target_is_the_state_itself(kind: Any) -> None:
    watched = Watched(Silent(clocks(3, 4)), auxiliary=AuxiliarySettings(kind=kind)).learn()
    for obs, _, target, known in watched.rows():
        torch.testing.assert_close(target, obs, atol=1e-4, rtol=0)
        assert known


# statistics


@pytest.mark.parametrize("silent", [False, True])
def test_targets_are_in_units_of_their_own_spread(silent: bool) -> None:
    env: VecEnv = clocks(3, 4, 5, 7)
    watched = Watched(Silent(env) if silent else env, n_epochs=1).learn()
    lengths = (3, 4, 5, 7)
    samples = [of(obs) for obs, *_ in watched.rows()]
    following = np.array([(n, e, a + 1) for n, e, a in samples if not silent or a + 1 < lengths[n]], np.float64)
    vae = watched.model.vae
    assert vae.center.numpy() == pytest.approx(following.mean(0), abs=1e-5)
    assert vae.spread.numpy() == pytest.approx(following.std(0), abs=1e-5)
    known = torch.tensor([known for *_, known in watched.rows()])
    targets = torch.cat([lesson.targets for *_, lesson in watched.batches])[known]
    assert targets.mean(0).numpy() == pytest.approx(np.zeros(3), abs=1e-5)
    assert targets.std(0, correction=0).numpy() == pytest.approx(np.ones(3), abs=1e-5)


def test_a_number_that_never_changes_is_counted_as_it_is() -> None:
    watched = Watched(clocks(100), n_epochs=1).learn()
    spread = watched.model.vae.spread
    assert spread[:2].tolist() == [1, 1]
    assert float(spread[2]) == pytest.approx(np.arange(1, 13).std())
    assert all((lesson.targets[:, :2] == 0).all() for *_, lesson in watched.batches)


# pictures


@pytest.mark.parametrize("stacked", [1, 4])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("longest", [4, 5])
def test_of_a_stack_of_pictures_the_newest_is_the_target(longest: int, channels: int, stacked: int) -> None:
    films = [Film(number, longest, ARM, size=(36, 36, channels)) for number in range(2)]
    env: VecEnv = DummyVecEnv([lambda env=env: env for env in films])  # type: ignore[misc]
    env = VecFrameStack(env, stacked) if stacked > 1 else env
    given: dict[str, Any] = {"n_steps": 8, "batch_size": 8, "n_epochs": 1}
    rows = Watched(env, policy="CnnPolicy", **given).learn().rows()
    assert len(rows) == 16
    for obs, _, target, _ in rows:
        assert obs.dtype == torch.uint8
        assert target.shape == (channels, 36, 36)
        newest = obs[-channels:].float()
        torch.testing.assert_close(target * 255, newest + 1, atol=1e-3, rtol=0)


def test_the_number_of_channels_can_be_said() -> None:
    films = [Film(0, 4, ARM, size=(36, 36, 1))]
    env = VecFrameStack(DummyVecEnv([lambda: films[0]]), 3)
    given: dict[str, Any] = {
        "n_steps": 8,
        "batch_size": 8,
        "n_epochs": 1,
        "auxiliary": AuxiliarySettings(frame_channels=1),
    }
    rows = Watched(env, policy="CnnPolicy", **given).learn().rows()
    assert all(target.shape == (1, 36, 36) for _, _, target, _ in rows)
    for obs, _, target, _ in rows:
        torch.testing.assert_close(target * 255, obs[-1:].float() + 1, atol=1e-3, rtol=0)


def test_pixels_are_within_one_whether_the_policy_divides_them_or_not() -> None:
    films = [Film(0, 4, ARM, size=(36, 36, 1))]
    given: dict[str, Any] = {"n_steps": 8, "batch_size": 8, "policy_kwargs": {"normalize_images": False}}
    rows = Watched(DummyVecEnv([lambda: films[0]]), policy="CnnPolicy", **given).learn().rows()
    assert all(0 <= float(target.min()) <= float(target.max()) <= 1 for _, _, target, _ in rows)


# classes


class Own(RolloutBuffer):
    """Somebody's buffer."""


def test_anyones_buffer_can_follow() -> None:
    kind = following_buffer(Own)
    assert issubclass(kind, Following)
    assert issubclass(kind, Own)
    assert following_buffer(Own) is kind is following_buffer(kind)
    assert following_buffer(DictRolloutBuffer) is not kind
    watched = Watched(clocks(3), rollout_buffer_class=Own).learn()
    assert isinstance(watched.model.rollout_buffer, Own)
    assert len(watched.rows()) == 24
