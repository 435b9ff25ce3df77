"""Atari games against the emulators themselves: whole games, true scores, lost lives, names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tenfold.core.errors import UsageError

pytest.importorskip("gymnasium")
pytest.importorskip("stable_baselines3")
pytest.importorskip("ale_py")

import gymnasium
from ale_py.vector_env import AtariVectorEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecNormalize

from tenfold.core.rl_environments import make_environments, picture_of

from .rl_worlds import played, same


class Referee:
    """The same games by the emulators themselves, without anything on top: whole games, true scores."""

    def __init__(self, game: str, count: int, seed: int) -> None:
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
    games = make_environments("ALE/Pong-v5", 1, seed=0, training=True)
    games.reset()
    ends, score, length = 0, 0.0, 0
    while not ends:
        _, rewards, ended, infos = games.step(np.zeros(1, int))
        score, length, ends = score + float(rewards[0]), length + 1, ends + int(ended[0])
    assert infos[0]["episode"] == {"r": score, "l": length} == {"r": -21.0, "l": length}


def test_atari_games_repeat_by_their_seed() -> None:
    def play(seed: int) -> list[Any]:
        return played(make_environments("ALE/Breakout-v5", 2, seed=seed, training=True), 40)

    first = play(5)
    assert (first[0].shape, first[0].dtype) == ((2, 4, 84, 84), np.uint8)
    assert same(first, play(5))
    assert not same(first[1::3], play(6)[1::3])


@pytest.mark.parametrize("name", ["ALE/NoSuchGame-v5", "ALE/Breakout", "ALE/breakout-v5"])
def test_unknown_games_are_refused_by_name(name: str) -> None:
    with pytest.raises(UsageError, match=rf"^there is no Atari game '{name}'; names are like ALE/Breakout-v5$"):
        make_environments(name, 1, seed=0, training=True)


@pytest.mark.parametrize("name", ["ALE/Breakout-v5", "ALE/UpNDown-v5", "ALE/BeamRider-v5"])
def test_games_have_gymnasiums_names_and_actions(name: str) -> None:
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
