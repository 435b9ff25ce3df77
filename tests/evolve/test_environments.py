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
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from tenfold.evolve.environments import load_normalizer, make_environments, normalizer_state, picture_of

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


def played(environments: VecEnv, steps: int, *, seed: int = 0) -> list[Any]:
    """The observations, rewards and ends of random actions."""
    random = np.random.default_rng(seed)
    shape = (environments.num_envs, *(environments.action_space.shape or ()))
    found: list[Any] = [environments.reset()]
    for _ in range(steps):
        actions = random.integers(0, 2, shape) if not shape[1:] else random.uniform(-1, 1, shape).astype(np.float32)
        observations, rewards, ends, _ = environments.step(actions)
        found += [observations, rewards, ends]
    environments.close()
    return found


def same(ours: list[Any], theirs: list[Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


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


class Referee:
    """The same games by the emulators themselves, without anything on top: whole games, true scores."""

    def __init__(self, game: str, count: int, seed: int) -> None:
        from ale_py.vector_env import AtariVectorEnv

        self._games = AtariVectorEnv(
            game, count, num_threads=1, autoreset_mode="SameStep", reward_clipping=False, life_loss_info=False
        )
        self.frames, info = self._games.reset(seed=seed)
        self._lives = np.array(info["lives"])
        self._scores, self._lengths = np.zeros(count), np.zeros(count, int)

    def step(self, actions: Any) -> tuple[Any, Any, Any, dict[int, dict[str, float]]]:
        """True rewards, where a game ended, where a life was lost, and by place the games that ended."""
        self.frames, rewards, over, _, info = self._games.step(actions)
        self._scores += rewards
        self._lengths += 1
        ended = {
            int(place): {"r": float(self._scores[place]), "l": int(self._lengths[place])}
            for place in np.flatnonzero(over)
        }
        self._scores[over], self._lengths[over] = 0, 0
        lost = (np.array(info["lives"]) < self._lives) & ~over
        self._lives = np.array(info["lives"])
        return rewards, over, lost, ended


@pytest.mark.parametrize("training", [False, True])
def test_atari_games_are_scored_whole_and_lost_lives_end_episodes_in_training_alone(training: bool) -> None:
    pytest.importorskip("ale_py")
    games = make_environments("ALE/SpaceInvaders-v5", 2, seed=11, training=training)
    referee = Referee("space_invaders", 2, seed=11)
    assert np.array_equal(games.reset(), referee.frames)
    random = np.random.default_rng(0)
    whole, lives, largest = 0, 0, 0.0
    while whole < 2:
        actions = random.integers(0, 6, 2)
        frames, rewards, ends, infos = games.step(actions)
        true, over, lost, ended = referee.step(actions)
        assert np.array_equal(frames, referee.frames)
        assert rewards.tolist() == (np.sign(true) if training else true).tolist()
        assert ends.tolist() == ((over | lost) if training else over).tolist()
        assert {place: info["episode"] for place, info in enumerate(infos) if "episode" in info} == ended
        for info, end in zip(infos, ends, strict=True):
            assert ("terminal_observation" in info) == bool(end)
            assert not info.get("TimeLimit.truncated", False)
        whole, lives, largest = whole + len(ended), lives + int(lost.sum()), max(largest, float(true.max()))
    assert lives >= 2
    assert largest > 1
    games.close()


def test_a_game_without_lives_ends_once() -> None:
    pytest.importorskip("ale_py")
    games = make_environments("ALE/Pong-v5", 1, seed=0, training=True)
    games.reset()
    ends, score, length = 0, 0.0, 0
    while not ends:
        _, rewards, ended, infos = games.step(np.zeros(1, int))
        score, length, ends = score + float(rewards[0]), length + 1, ends + int(ended[0])
    assert infos[0]["episode"] == {"r": score, "l": length} == {"r": -21.0, "l": length}


def test_atari_games_repeat_by_their_seed() -> None:
    pytest.importorskip("ale_py")

    def play(seed: int) -> list[Any]:
        return played(make_environments("ALE/Breakout-v5", 2, seed=seed, training=True), 40)

    first = play(5)
    assert (first[0].shape, first[0].dtype) == ((2, 4, 84, 84), np.uint8)
    assert same(first, play(5))
    assert not same(first[1::3], play(6)[1::3])


@pytest.mark.parametrize("name", ["ALE/NoSuchGame-v5", "ALE/Breakout", "ALE/breakout-v5"])
def test_unknown_games_are_refused_by_name(name: str) -> None:
    pytest.importorskip("ale_py")
    with pytest.raises(UsageError, match=rf"^there is no Atari game '{name}'; names are like ALE/Breakout-v5$"):
        make_environments(name, 1, seed=0, training=True)


@pytest.mark.parametrize("name", ["ALE/Breakout-v5", "ALE/UpNDown-v5", "ALE/BeamRider-v5"])
def test_games_have_gymnasiums_names_and_actions(name: str) -> None:
    pytest.importorskip("ale_py")
    import gymnasium

    games = make_environments(name, 1, seed=0, training=False)
    assert games.action_space == gymnasium.make(name).action_space
    assert games.env_is_wrapped(Monitor) == [True]
    assert games.env_is_wrapped(VecNormalize) == [False]
    games.reset()
    picture = picture_of(games)
    assert picture is not None
    assert (picture.shape, picture.dtype) == ((84, 84, 3), np.uint8)
    assert len(np.unique(picture)) > 1
    with pytest.raises(UsageError, match=f"{name.split('/')[1][:2].lower()}.* have no attributes"):
        games.set_attr("mode", 1)
    with pytest.raises(UsageError, match="have no methods"):
        games.env_method("seed")
    games.close()


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["G2A2C", "G2PPO"])
def test_populations_of_convolutions_learn_from_games(algorithm: str) -> None:
    pytest.importorskip("ale_py")
    from tenfold import evolve

    games = make_environments("ALE/Breakout-v5", 2, seed=0, training=True)
    options: dict[str, Any] = (
        {"n_steps": 32} if algorithm == "G2A2C" else {"n_steps": 64, "batch_size": 64, "n_epochs": 1}
    )
    genetics = evolve.GeneticSettings(elite_share=0.1, phase_steps=0)
    model = getattr(evolve, algorithm)("CnnPolicy", games, population=2, genetics=genetics, seed=0, **options)
    first = model.gate.chromosomes.clone()
    assert first.shape == (2, 512)
    while not model.history:
        assert model.num_timesteps < 4000
        model.learn(128, reset_num_timesteps=False)
    assert model.gate.generation == 1
    assert not (model.gate.chromosomes == first).all()
    line = model.history[0]
    assert line["worst fitness"] <= line["mean fitness"] <= line["best fitness"] == int(line["best fitness"])
    actions, spread = model.predict(games.reset(), vote="population", deterministic=True)
    assert actions.shape == spread.shape == (2,)
    games.close()
