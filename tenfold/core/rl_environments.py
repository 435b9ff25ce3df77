"""The environments of a run: Gymnasium's by name, with a Monitor each, side by side in one process."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from .errors import UsageError

ATARI = "ALE/"


def make_environments(
    name: str, count: int, *, seed: int, training: bool, normalize: bool = False, drawn: bool = False
) -> VecEnv:
    """E environments of one kind, seeded with `seed`, `seed` + 1, ... at their next reset.

    They run one after the other in this process, which for classic control and MuJoCo is faster than processes that wait for each
    other at every step; Atari games are a vector of their own.

    Args:
        name: `CartPole-v1`, `mypackage:MyOwn-v0` (the package is imported first), `ALE/Breakout-v5`.
        count: E, at least 1.
        seed: in [0, 2**31).
        training: whether rewards may be other than the true ones: clipped for Atari, scaled where `normalize` is set.
        normalize: centre and scale observations by running statistics, which only training changes.
        drawn: whether `picture_of` will be asked for.

    Raises:
        UsageError: there is no such environment, or it cannot be made.
    """
    if drawn:
        _draw_without_screen()
    if name.startswith(ATARI):
        from .atari import AtariGames

        games: VecEnv = AtariGames(name, count, training=training)
    else:
        games = _gymnasium(name, count)
    games.seed(seed)
    try:
        return VecNormalize(games, training=training, norm_reward=training) if normalize else games
    except ValueError as error:
        raise UsageError(f"the environment {name!r} cannot be normalised: {error}") from error


def normalizer_state(environments: VecEnv) -> dict[str, Any] | None:
    """The running statistics of environments, if they have any: see `load_normalizer`."""
    if not isinstance(environments, VecNormalize):
        return None
    return {
        name: {"mean": np.array(each.mean), "var": np.array(each.var), "count": float(each.count)}
        for name, each in (("observations", environments.obs_rms), ("rewards", environments.ret_rms))
        if isinstance(each, RunningMeanStd)
    }


def load_normalizer(environments: VecEnv, state: dict[str, Any] | None) -> None:
    """Give environments the statistics of others of their kind."""
    if state is None or not isinstance(environments, VecNormalize):
        return
    for name, each in (("observations", environments.obs_rms), ("rewards", environments.ret_rms)):
        assert isinstance(each, RunningMeanStd)
        each.mean, each.var, each.count = state[name]["mean"], state[name]["var"], state[name]["count"]


def _draw_without_screen() -> None:
    """Choose drawing that needs no window, for libraries that read the choice when they begin; a choice made stays."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    if "DISPLAY" not in os.environ:
        os.environ.setdefault("MUJOCO_GL", "egl")


def _gymnasium(name: str, count: int) -> VecEnv:
    import gymnasium as gym

    try:
        with warnings.catch_warnings():
            # of older versions of an environment, which are a choice
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.filterwarnings("ignore", ".*render_mode")  # pictures are asked for of all, and not all have them
            return make_vec_env(name, n_envs=count)
    except (gym.error.Error, ImportError, TypeError) as error:
        raise UsageError(f"the environment {name!r} cannot be made: {str(error).strip()}") from error


def picture_of(environments: VecEnv) -> NDArray[np.uint8] | None:
    """What the first environment looks like now, (H, W, 3); None where it cannot be drawn here."""
    if isinstance(environments.unwrapped, DummyVecEnv):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                picture = environments.unwrapped.envs[0].render()
        except Exception:  # no display driver, no drawing library: whatever it is, there is no picture
            return None
        return picture if isinstance(picture, np.ndarray) else None
    games = environments.unwrapped
    return games.screen(0) if hasattr(games, "screen") else None


def as_observations(rows: list[NDArray[Any]], environments: VecEnv) -> list[NDArray[Any]]:
    """Rows of numbers from a person's files as a policy of these environments reads them, normalised where they are.

    Raises:
        UsageError: observations here are no rows of numbers, or rows of another width.
    """
    space = environments.observation_space
    if not (isinstance(space, spaces.Box) and len(space.shape) == 1):
        raise UsageError(f"observations are rows of numbers, but those of this environment are {space}")
    wrong = next((row for row in rows if row.shape != space.shape), None)
    if wrong is not None:
        raise UsageError(f"observations have {len(wrong)} numbers, but must have {space.shape[0]}")
    table = np.stack(rows).astype(space.dtype)
    return list(environments.normalize_obs(table)) if isinstance(environments, VecNormalize) else list(table)  # type: ignore[arg-type]
