"""The policy that designs: stable-baselines3's, but that every modelling step has a spread of its own."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import MlpExtractor
from torch import Tensor, nn


class StepwiseLayers(MlpExtractor):
    """The layers of actor and critic; the actor's output is preceded by which step is next, which observations begin with."""

    def __init__(self, *args: Any, steps: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self.steps = steps
        self.latent_dim_pi += steps

    def forward_actor(self, features: Tensor) -> Tensor:
        """(N, features) to (N, steps + latent)."""
        return torch.cat([features[:, : self.steps], super().forward_actor(features)], 1)


class DesignPolicy(ActorCriticPolicy):
    """An actor whose steps each have a mean of their own to begin with, and a spread of their own, ours.

    A design's first steps are settled long before its last. With one spread for all steps, as in stable-baselines3, what is settled
    goes on being disturbed as long as anything else is still searched for.

    Args:
        steps: of a design; observations begin with one number for each, 1 for the step that is next.
        spread: standard deviation of the first designs' numbers, above 0.
        options: stable-baselines3's.
    """

    def __init__(self, *args: Any, steps: int, spread: float = 0.5, **options: Any) -> None:
        self._steps, self._spread = steps, spread
        super().__init__(*args, **options)

    cooling: Tensor
    """factor of all spreads; see `ImitatingPPO`"""

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = StepwiseLayers(
            self.features_dim,
            net_arch=self.net_arch,
            activation_fn=self.activation_fn,
            device=self.device,
            steps=self._steps,
        )

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        width = self.action_space.shape[0]  # type: ignore[index]
        first = torch.full((self._steps, width), self._spread, device=self.device).log()
        self.log_std = nn.Parameter(first)
        self.register_buffer("cooling", torch.ones((), device=self.device))
        # the optimizer was made for stable-baselines3's one row
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def _get_action_dist_from_latent(self, latent_pi: Tensor) -> Distribution:
        spread = latent_pi[:, : self._steps] @ self.log_std + self.cooling.log()
        return self.action_dist.proba_distribution(self.action_net(latent_pi), spread)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {"steps": self._steps, "spread": self._spread}
