"""Rollout buffers that know the state after each sample: on-policy batches of stable-baselines3 do not have it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.preprocessing import is_image_space
from torch import Tensor

from .policy import Lesson

if TYPE_CHECKING:
    from .policy import Governed


class Following(RolloutBuffer):
    """What makes a rollout buffer know next states; mixed into its class by `following_buffer`.

    Where an episode ended within the rollout the state after it is that of the next episode: the one that the environment reports as
    `terminal_observation` is taken instead, and without one the pair does not count.
    """

    def reset(self) -> None:
        """Forget the rollout."""
        super().reset()
        self._ends: list[tuple[int, int, NDArray[Any] | None]] = []
        self._policy: Governed | None = None

    def note_end(self, place: int, state: NDArray[Any] | None) -> None:
        """Say that in the step that `add` is about to store the episode of an environment ended, in this state if it is known."""
        self._ends.append((self.pos, place, state))

    def teach(self, policy: Governed, last: NDArray[Any]) -> None:
        """From now on tell the policy, with each batch, what its model is to learn from it.

        Called when the rollout is full, and before its samples are shuffled.

        Args:
            policy: of the algorithm.
            last: the states after the last step, (environments, ...).
        """
        vae = policy.vae
        following, mask = self._targets(last) if vae.settings.conditional else (self.observations, None)
        states = self._prepared(self.swap_and_flatten(following), policy)
        flat_mask = None if mask is None else torch.from_numpy(self.swap_and_flatten(mask[..., None])[:, 0])
        vae.observe_targets(states if flat_mask is None else states[flat_mask.to(states.device)])
        self._targets_known = vae.as_targets(states)
        self._moves = vae.map_action(torch.from_numpy(self._taken(policy)).to(self.device))
        self._mask = None if flat_mask is None else flat_mask.to(self.device)
        self._policy = policy

    def _targets(self, last: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """The state after each sample, (steps, environments, ...), and where it is known; None for everywhere."""
        following = np.concatenate((self.observations[1:], last[None].astype(self.observations.dtype)))
        unknown = np.zeros((self.buffer_size, self.n_envs), dtype=bool)
        for step, place, state in self._ends:
            if state is None:
                unknown[step, place] = True
            else:
                following[step, place] = state
        return following, ~unknown if unknown.any() else None

    def _taken(self, policy: Governed) -> NDArray[Any]:
        """The actions (N, ...) as the environment takes them: choices are stored from 0, and squashed ones within -1 and 1."""
        actions = self.swap_and_flatten(self.actions)
        if policy.squash_output:
            return policy.unscale_action(actions)
        if isinstance(self.action_space, spaces.Discrete | spaces.MultiDiscrete):
            return actions + self.action_space.start
        return actions

    def _prepared(self, states: NDArray[Any], policy: Governed) -> Tensor:
        """States (N, ...) as the decoder gives them: of a stack of pictures the newest alone."""
        frames = is_image_space(self.observation_space)
        if frames:
            states = states[:, -policy.vae.target[0] :]
        tensor = torch.as_tensor(states, device=self.device).float()
        return tensor / 255 if frames else tensor

    def _get_samples(self, batch_inds: NDArray[Any], env: Any = None) -> Any:
        if self._policy is not None:
            chosen = torch.from_numpy(batch_inds).to(self.device)
            mask = None if self._mask is None else self._mask[chosen]
            self._policy.act_on(Lesson(self._moves[chosen], self._targets_known[chosen], mask))
        return super()._get_samples(batch_inds, env)


@cache
def following_buffer(buffer: type[RolloutBuffer]) -> type[Following]:
    """A class of rollout buffers as one that knows next states."""
    if issubclass(buffer, Following):
        return buffer
    return cast(type[Following], type(f"Following{buffer.__name__}", (Following, buffer), {}))
