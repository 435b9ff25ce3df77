"""Transitions (s, a, s') of anyone who acts: collected here, or given as arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnv, VecTransposeImage

from ..core.errors import UsageError

Act = Callable[[NDArray[Any]], NDArray[Any]]
"""observations (environments, ...) -> as many actions"""


@dataclass(frozen=True)
class Transitions:
    """N steps in some environment."""

    observations: NDArray[Any]
    """(N, ...), as the environment gives them"""
    actions: NDArray[Any]
    """(N, ...), as the environment takes them"""
    next_observations: NDArray[Any]
    """(N, ...): what followed; of the same episode where `mask` says so"""
    mask: NDArray[np.bool_] | None = None
    """(N,): false where what followed is of another episode, or not known; None: always known"""
    factors: NDArray[np.float64] | None = None
    """(N, K): of the next states, where the environment tells the factors that it is made of"""

    def __post_init__(self) -> None:
        count = len(self.observations)
        for name in ("actions", "next_observations", "mask", "factors"):
            given = getattr(self, name)
            if given is not None and len(given) != count:
                raise UsageError(f"there are {count} observations and {len(given)} {name}, but must be as many of both")
        if self.observations.shape != self.next_observations.shape:
            shapes = self.observations.shape, self.next_observations.shape
            raise UsageError(
                f"observations have shape {shapes[0]} and next_observations {shapes[1]}, but must have the same"
            )
        if self.mask is not None and self.mask.dtype != np.bool_:
            raise UsageError(f"mask has numbers of type {self.mask.dtype}, but must be true or false")
        if count == 0:
            raise UsageError("there are no transitions, but must be at least one")

    def __len__(self) -> int:
        return len(self.observations)


def collect_transitions(environments: VecEnv, steps: int, act: Act) -> Transitions:
    """Let somebody act for so many steps in all, one after the other in each of E environments, which begin anew.

    Args:
        environments: as training has them; observations are vectors or pictures.
        steps: at least 1; rounded up to a multiple of E.
        act: who acts.

    Raises:
        UsageError: observations are of another kind, or there are no steps.
    """
    if not isinstance(environments.observation_space, spaces.Box):
        raise UsageError(f"observations are {environments.observation_space}, but must be a Box: vectors or pictures")
    if steps < 1:
        raise UsageError(f"steps is {steps}, but must be at least 1")
    observations: Any = environments.reset()
    kept: list[tuple[Any, ...]] = []
    factors: list[Any] = []
    for _ in range(-(-steps // environments.num_envs)):
        actions = act(observations)
        following, _, dones, infos = environments.step(actions)
        after, known = np.array(following), np.ones(len(dones), dtype=bool)
        for place in np.flatnonzero(dones):
            end = infos[place].get("terminal_observation")
            known[place] = end is not None
            after[place] = after[place] if end is None else end
        kept.append((np.array(observations), np.array(actions), after, known))
        factors.append([info.get("factors") for info in infos])
        observations = following
    seen, did, then, known_ends = (np.concatenate(column) for column in zip(*kept, strict=True))
    told = all(each is not None for row in factors for each in row)
    made_of = np.concatenate([np.array(row) for row in factors]) if told else None
    return Transitions(seen, did, then, known_ends, made_of)


def random_actions(space: spaces.Space[Any], count: int, seed: int) -> Act:
    """Somebody who draws every action evenly, for `count` environments."""
    space.seed(seed)

    def act(_: NDArray[Any]) -> NDArray[Any]:
        return np.array([space.sample() for _ in range(count)])

    return act


def channels_first(environments: VecEnv) -> VecEnv:
    """The same environments with pictures as convolutions take them; others stay as they are."""
    space = environments.observation_space
    if isinstance(space, spaces.Box) and is_image_space(space) and space.shape[0] not in (1, 3, 4):
        return VecTransposeImage(environments)
    return environments
