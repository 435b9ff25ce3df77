"""What an agent does while latents of it are held: as numbers, and as pictures side by side.

D numbers of an observation, K values that a latent takes, m mapped latents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from ..core.rl_environments import picture_of
from .governor import Governor
from .policy import Governed


@dataclass(frozen=True)
class Behaviour:
    """How an agent behaved for so many steps in each environment."""

    reward: float
    """mean true reward of a step"""
    ended: float
    """episodes that ended by themselves, per 1000 steps"""
    mean: NDArray[np.float64]
    """of each number of the observations, in the environment's units, (D,)"""
    spread: NDArray[np.float64]
    """its standard deviation, (D,)"""


@dataclass(frozen=True)
class Sweep:
    """How an agent behaves as each mapped latent is held at each value, beside the free one."""

    free: Behaviour
    values: tuple[float, ...]
    held: tuple[tuple[Behaviour, ...], ...]
    """(m, K)"""

    def shifts(self) -> NDArray[np.float64]:
        """How far the mean of each number of the observations moves from the least to the greatest value, (m, D).

        In units of the free agent's own spread; a number that the free agent does not move counts in its own units.
        """
        unit = np.where(self.free.spread > 1e-6, self.free.spread, 1.0)
        return np.array([(row[-1].mean - row[0].mean) / unit for row in self.held])

    def rewards(self) -> NDArray[np.float64]:
        """Mean reward of a step, (m, K)."""
        return np.array([[each.reward for each in row] for row in self.held])


def govern_each(
    policy: Governed, environments: VecEnv, *, values: Sequence[float], steps: int, others: Any, seed: int
) -> Sweep:
    """Hold each mapped latent at each value for so many steps; the environments begin anew each time, from the same states.

    Args:
        policy: of a governed agent.
        environments: as for evaluation, with the statistics of its training.
        values: of mu, at least two, rising.
        steps: in each environment.
        others: zero or keep: what becomes of the other mapped latents.
        seed: of the environments.
    """
    limit = max(5.0, *map(abs, values))
    held = tuple(
        tuple(
            behave(Governor(policy, set={dim: value}, others=others, limit=limit), environments, steps=steps, seed=seed)
            for value in values
        )
        for dim in range(policy.vae.mapped)
    )
    return Sweep(behave(policy, environments, steps=steps, seed=seed), tuple(values), held)


def behave(player: Any, environments: VecEnv, *, steps: int, seed: int) -> Behaviour:
    """Let a player act, always by its most likely actions.

    Args:
        player: anything with stable-baselines3's `predict`.
        environments: begin anew at `seed`.
        steps: in each.
        seed: of the environments.
    """
    set_random_seed(seed)
    environments.seed(seed)
    seen: Any = environments.reset()
    rewards, observed, ended = [], [], 0
    for _ in range(steps):
        actions, _ = player.predict(seen, deterministic=True)
        seen, reward, dones, infos = environments.step(actions)
        rewards.append(np.array(reward))
        observed.append(_original(environments, seen))
        ended += sum(bool(dones[place]) and not info.get("TimeLimit.truncated") for place, info in enumerate(infos))
    table = np.concatenate(observed).reshape(steps * environments.num_envs, -1).astype(np.float64)
    return Behaviour(float(np.mean(rewards)), 1000.0 * ended / len(table), table.mean(0), table.std(0))


def play_frames(player: Any, environments: VecEnv, *, steps: int, seed: int) -> Iterator[Image.Image]:
    """A picture of the first environment after each step, as long as the episode lasts; none where it cannot be drawn here."""
    set_random_seed(seed)
    environments.seed(seed)
    seen: Any = environments.reset()
    for _ in range(steps):
        picture = picture_of(environments)
        if picture is None:
            return
        yield Image.fromarray(picture)
        actions, _ = player.predict(seen, deterministic=True)
        seen, _, dones, _ = environments.step(actions)
        if dones[0]:
            return


def _original(environments: VecEnv, observations: NDArray[Any]) -> NDArray[Any]:
    return environments.unnormalize_obs(observations) if isinstance(environments, VecNormalize) else observations  # type: ignore[return-value]
