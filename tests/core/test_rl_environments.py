"""Environments by name: seeds repeat, statistics travel, evaluation sees true rewards, own modules are found."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tenfold.core.errors import UsageError

pytest.importorskip("gymnasium")
pytest.importorskip("stable_baselines3")

from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecNormalize

from tenfold.core.rl_environments import load_normalizer, make_environments, normalizer_state, picture_of

from .rl_worlds import played, same

OWN = """
import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Counting(gym.Env):
    metadata = {"render_modes": ["rgb_array"]}
    observation_space = spaces.Box(0, 9, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.count += 1
        return np.full(1, self.count, np.float32), 100.0, self.count == 4, False, {}

    def render(self):
        if self.count == 3:
            raise OSError("no display")
        return np.full((5, 7, 3), self.count, np.uint8)


class Undrawn(Counting):
    metadata = {"render_modes": []}


class Plain(Counting):
    def __init__(self):
        super().__init__()


class Demanding(Counting):
    def __init__(self, what):
        super().__init__()


for kind in (Counting, Undrawn, Plain, Demanding):
    gym.register(f"{kind.__name__}-v0", entry_point=kind)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that registers environments when it is imported."""
    import gymnasium

    before = dict(gymnasium.registry)
    (tmp_path / "own_games.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_games"
    sys.modules.pop("own_games", None)
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_the_same_seed_gives_the_same_episodes(normalize: bool, training: bool) -> None:
    def play(seed: int) -> list[Any]:
        return played(make_environments("CartPole-v1", 2, seed=seed, training=training, normalize=normalize), 60)

    first = play(7)
    assert same(first, play(7))
    assert not np.array_equal(first[0], play(9)[0])
    assert any(end.any() for end in first[3::3])  # later episodes repeat as well


def test_each_environment_has_a_seed_of_its_own_and_a_monitor() -> None:
    pair = make_environments("CartPole-v1", 2, seed=7, training=True)
    assert (pair.num_envs, pair.env_is_wrapped(Monitor)) == (2, [True, True])
    first = pair.reset()
    second = make_environments("CartPole-v1", 1, seed=8, training=True).reset()
    assert np.array_equal(first[1], second[0])
    assert not np.array_equal(first[0], first[1])


def test_statistics_go_to_other_environments() -> None:
    learned = make_environments("Pendulum-v1", 3, seed=0, training=True, normalize=True)
    played(learned, 50)
    state = normalizer_state(learned)
    assert state is not None
    other = make_environments("Pendulum-v1", 3, seed=5, training=True, normalize=True)
    load_normalizer(other, state)
    assert isinstance(learned, VecNormalize)
    assert isinstance(other, VecNormalize)
    raw, rewards = np.random.default_rng(0).normal(size=(4, 3)), np.array([1.0, -8.0, 3.0])
    assert np.array_equal(learned.normalize_obs(raw), other.normalize_obs(raw))
    assert np.array_equal(learned.normalize_reward(rewards), other.normalize_reward(rewards))
    again = normalizer_state(other)
    assert again is not None
    assert set(again) == {"observations", "rewards"}
    for name, each in state.items():
        assert {key: np.asarray(value).tolist() for key, value in again[name].items()} == {
            key: np.asarray(value).tolist() for key, value in each.items()
        }
    kept = state["observations"]["mean"].copy()
    assert np.abs(kept).sum() > 0
    played(other, 20)
    assert np.array_equal(state["observations"]["mean"], kept)  # what travelled is not what goes on learning


def test_environments_without_statistics_have_none_to_give() -> None:
    plain = make_environments("CartPole-v1", 1, seed=0, training=True)
    assert normalizer_state(plain) is None
    load_normalizer(plain, None)
    normalizing = make_environments("CartPole-v1", 1, seed=0, training=True, normalize=True)
    before = normalizer_state(normalizing)
    load_normalizer(normalizing, None)
    load_normalizer(plain, before)
    assert repr(normalizer_state(normalizing)) == repr(before)


def test_evaluation_sees_true_rewards_and_changes_no_statistics() -> None:
    training = make_environments("Pendulum-v1", 2, seed=0, training=True, normalize=True)
    found = played(training, 30)
    state = normalizer_state(training)
    evaluating = make_environments("Pendulum-v1", 2, seed=3, training=False, normalize=True)
    load_normalizer(evaluating, state)
    normalized = played(evaluating, 30)
    assert repr(normalizer_state(evaluating)) == repr(state)
    true = played(make_environments("Pendulum-v1", 2, seed=3, training=False), 30)
    assert same(normalized[2::3], true[2::3])
    assert not np.allclose(normalized[0], true[0])
    assert isinstance(evaluating, VecNormalize)
    assert np.allclose(evaluating.normalize_obs(true[0]), normalized[0])
    assert not same(found[2::3], played(make_environments("Pendulum-v1", 2, seed=0, training=False), 30)[2::3])


def test_episodes_are_of_the_true_rewards_though_the_learner_sees_scaled_ones() -> None:
    environments = make_environments("CartPole-v1", 1, seed=0, training=True, normalize=True)
    environments.reset()
    length, total = 0, 0.0
    while True:
        _, rewards, _, infos = environments.step(np.array([length % 2]))
        length, total = length + 1, total + float(rewards[0])
        if "episode" in infos[0]:
            break
    assert infos[0]["episode"]["r"] == infos[0]["episode"]["l"] == length
    assert total != length


@pytest.mark.parametrize("name", ["Nowhere-v0", "CartPole-v99", "no_such_module:Nowhere-v0", "not a name", ""])
def test_unknown_environments_are_refused_by_name(name: str) -> None:
    with pytest.raises(UsageError, match=rf"^the environment '{name}' cannot be made: "):
        make_environments(name, 1, seed=0, training=True)


def test_older_versions_are_a_choice() -> None:
    assert make_environments("CartPole-v0", 1, seed=0, training=True).observation_space.shape == (4,)


def test_a_module_before_the_name_is_imported(own: str) -> None:
    assert own not in sys.modules
    with pytest.raises(UsageError, match="'Counting-v0'"):
        make_environments("Counting-v0", 1, seed=0, training=True)
    environments = make_environments(f"{own}:Counting-v0", 3, seed=0, training=True)
    assert own in sys.modules
    found = played(environments, 5)
    assert [row[:, 0].tolist() for row in found[1::3]] == [[count] * 3 for count in (1, 2, 3, 0, 1)]
    assert [row.tolist() for row in found[2::3]] == [[100] * 3] * 5


def test_environments_that_cannot_be_made_are_refused(own: str) -> None:
    with pytest.raises(UsageError, match=r"^the environment 'own_games:Demanding-v0' cannot be made: .*what"):
        make_environments(f"{own}:Demanding-v0", 1, seed=0, training=True)


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("name", ["Undrawn", "Plain"])
def test_environments_that_cannot_be_drawn_are_made_all_the_same(name: str, drawn: bool, own: str) -> None:
    environments = make_environments(f"{own}:{name}-v0", 1, seed=0, training=False, drawn=drawn)
    assert environments.reset().tolist() == [[0]]


def test_pictures_are_of_the_first_environment(own: str) -> None:
    cart = make_environments("CartPole-v1", 2, seed=0, training=False, normalize=True, drawn=True)
    cart.reset()
    picture = picture_of(cart)
    assert picture is not None
    assert (picture.shape, picture.dtype) == ((400, 600, 3), np.uint8)
    assert len(np.unique(picture)) > 3
    cart.close()
    counting = make_environments(f"{own}:Counting-v0", 2, seed=0, training=False, drawn=True)
    counting.reset()
    for count in range(4):
        picture = picture_of(counting)
        assert (picture is None) == (count == 3)  # where drawing fails there is no picture
        assert picture is None or (picture.shape == (5, 7, 3) and (picture == count).all())
        counting.step(np.zeros(2, int))
