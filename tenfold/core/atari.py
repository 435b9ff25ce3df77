"""Atari games by ale-py's own vector of emulators, as a stable-baselines3 `VecEnv`: the fastest way that is kept up.

Preprocessing is the field's (Mnih et al. 2015): a new action every 4 frames, the larger of the last two, 84 x 84 grey pixels, 4
of them stacked, up to 30 idle steps at first. In training a lost life ends an episode for the learner, and rewards are clipped to
their sign; the episode that fitness and results speak of is the whole game, with its true score.
"""

from __future__ import annotations

from typing import Any

import ale_py
import gymnasium as gym
import numpy as np
from ale_py.vector_env import AtariVectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv

from .errors import UsageError


class AtariGames(VecEnv):
    """E games side by side; observations uint8 (E, 4, 84, 84).

    Args:
        name: of the game as Gymnasium has it, "ALE/Breakout-v5". What its own registration says of sticky actions does not
            count: there are none, as in most published results.
        count: E.
        training: whether lives end episodes and rewards are clipped.
        threads: that emulators run in; 0 is one for each core.

    Raises:
        UsageError: there is no such game.
    """

    def __init__(self, name: str, count: int, *, training: bool, threads: int = 1) -> None:
        self._training = training
        self._game = _rom(name)
        self._games = AtariVectorEnv(
            self._game,
            count,
            num_threads=threads,
            autoreset_mode="SameStep",
            reward_clipping=False,  # here, below, so that the true score is known as well
            life_loss_info=training,
        )
        self.render_mode = None
        super().__init__(count, self._games.single_observation_space, self._games.single_action_space)
        self._lives = np.zeros(count, dtype=np.int64)
        self._scores = np.zeros(count)
        self._lengths = np.zeros(count, dtype=np.int64)
        self._actions = np.zeros(count, dtype=np.int64)

    def reset(self) -> NDArray[np.uint8]:
        """Begin all games anew."""
        # one seed of all: the emulators take it and the numbers after it
        observations, info = self._games.reset(seed=self._seeds[0])
        self._reset_seeds()
        self._lives = np.array(info["lives"], dtype=np.int64)
        self._scores[:], self._lengths[:] = 0, 0
        self._frames = np.array(observations)
        return self._frames

    def step_async(self, actions: NDArray[Any]) -> None:
        """Say what is to be done."""
        self._actions = np.asarray(actions, dtype=np.int64)

    def step_wait(self) -> Any:
        """Observations, rewards, ends and notes; `episode` is in a note where a whole game ended."""
        observations, scores, terminated, truncated, info = self._games.step(self._actions)
        self._scores += scores
        self._lengths += 1
        ended = terminated | truncated
        notes: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for place in np.flatnonzero(ended):
            notes[place]["terminal_observation"] = info["final_obs"][place]
            notes[place]["TimeLimit.truncated"] = bool(truncated[place] and not terminated[place])
            # after the last life the next game's are there again, so that fewer lives are a life lost in the same game
            if truncated[place] or info["lives"][place] >= self._lives[place]:
                notes[place]["episode"] = {"r": float(self._scores[place]), "l": int(self._lengths[place])}
                self._scores[place], self._lengths[place] = 0, 0
        self._lives = np.array(info["lives"], dtype=np.int64)
        rewards = np.sign(scores) if self._training else scores
        self._frames = np.array(observations)
        return self._frames, rewards.astype(np.float32), ended, notes

    def screen(self, place: int) -> NDArray[np.uint8]:
        """The newest frame of a game as the policy sees it, (84, 84, 3)."""
        return np.repeat(self._frames[place, -1, :, :, None], 3, 2)

    def close(self) -> None:
        """End the emulators."""
        self._games.close()

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Whole games are seen here as a `Monitor` sees them, so for that the answer is yes."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The same for all games."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """There is nothing to set in a single game."""
        raise UsageError(f"{attr_name} cannot be set: the games of {self._game} have no attributes")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """There is nothing to call in a single game."""
        raise UsageError(f"{method_name} cannot be called: the games of {self._game} have no methods")


def _rom(name: str) -> str:
    """The emulator's name of a game that Gymnasium knows: ALE/SpaceInvaders-v5 -> space_invaders"""
    gym.register_envs(ale_py)
    known = gym.registry.get(name)
    if known is None or "game" not in known.kwargs:
        raise UsageError(f"there is no Atari game {name!r}; names are like ALE/Breakout-v5")
    return str(known.kwargs["game"])
