"""An agent whose latents are held: its policy reads other latents than its encoder gave (paper, section 4.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.errors import UsageError
from .policy import Governed


class Governor:
    """An agent that was trained with `GovernedPPO` or `GovernedA2C`, with some latents held at a value.

    The mean mu of a latent is edited before anything else reads it; sigma stays. The unmapped latents stay as they were encoded.

    Args:
        model: the algorithm, or its policy.
        set: latent, from 0 -> value of its mu.
        others: what becomes of the mapped latents that are not held: zero as in the paper's experiment, or keep.
        limit: values are at most so far from 0; the paper's are within 5.

    Raises:
        UsageError: the agent does not read latents, there is no such latent, or a value is out of range.
    """

    def __init__(
        self,
        model: Any,
        *,
        set: Mapping[int, float],  # noqa: A002 - the word for it
        others: Literal["zero", "keep"] = "zero",
        limit: float = 5.0,
    ) -> None:
        policy = _governed(model)
        if others not in ("zero", "keep"):
            raise UsageError(f"others is {others!r}, but must be zero or keep")
        self.policy, self.held, self.others = policy, dict(set), others
        for dim, value in self.held.items():
            if not isinstance(dim, int) or not 0 <= dim < policy.vae.latent:
                raise UsageError(f"set has latent {dim}, but must have 0 to {policy.vae.latent - 1}")
            if not abs(value) <= limit:
                raise UsageError(f"set has {value} for latent {dim}, but must be between {-limit} and {limit}")

    def predict(
        self,
        observation: NDArray[Any],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """The action and `state`, as any agent's of stable-baselines3: it can be evaluated and recorded like one."""
        with self.policy.latents.editing(self.edit):
            return self.policy.predict(observation, state, episode_start, deterministic)

    def edit(self, mu: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """What the policy is to read in place of mu and sigma, (B, n) each."""
        edited = mu.clone()
        if self.others == "zero":
            edited[:, : self.policy.vae.mapped] = 0
        for dim, value in self.held.items():
            edited[:, dim] = value
        return edited, sigma

    def __repr__(self) -> str:
        return f"Governor(set={self.held}, others={self.others!r})"


def latents_of(model: Any, observation: NDArray[Any]) -> tuple[Tensor, Tensor]:
    """mu and sigma, (B, n) each, that an agent's policy reads of observations."""
    policy = _governed(model)
    with torch.no_grad():
        tensor, _ = policy.obs_to_tensor(observation)
        policy.extract_features(tensor)
        return policy.latents.take()


def _governed(model: Any) -> Governed:
    """The policy of an agent, or the policy itself, which has to read latents."""
    policy = getattr(model, "policy", model)
    if not isinstance(policy, Governed):
        raise UsageError(
            f"the agent's policy is a {type(policy).__name__}, but must read latents: train it with GovernedPPO or GovernedA2C"
        )
    return policy
