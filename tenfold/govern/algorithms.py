"""PPO and A2C of stable-baselines3 with an action-conditional VAE beside the policy (arXiv:1811.04350)."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy

from ..core.errors import UsageError
from .actions import ActionMap
from .buffer import Following, following_buffer
from .config import AuxiliarySettings
from .policy import Governed, GovernedActorCriticCnnPolicy, GovernedActorCriticPolicy, governed_policy
from .vae import ActionConditionalVAE


class GovernedAlgorithm(OnPolicyAlgorithm):
    """What puts the model beside an on-policy algorithm; mixed into it by `GovernedPPO` and `GovernedA2C`.

    Args:
        policy: name or class, as for the algorithm itself.
        env: environment, name of one, or vectorised environments, whose observations are vectors or pictures.
        latent: n, above the m numbers of an action; None is 2m, the paper's rule in MuJoCo.
        aux_weight: alpha, of the model's loss, at least 0. With 0 there is no model, and it is the plain algorithm.
        auxiliary: the model; see `AuxiliarySettings`.
        args: those of the algorithm itself, with the same defaults; by name, too.

    Raises:
        UsageError: observations or actions are of another kind, or a setting is out of range.
    """

    policy: Governed
    rollout_buffer: Following

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: Any,
        *args: Any,
        latent: int | None = None,
        aux_weight: float = 3e-2,
        auxiliary: AuxiliarySettings | None = None,
        _init_setup_model: bool = True,
        **kwargs: Any,
    ) -> None:
        if not aux_weight >= 0:
            raise UsageError(f"aux_weight is {aux_weight}, but must be at least 0")
        self.aux_weight = aux_weight
        self.auxiliary = auxiliary or AuxiliarySettings()
        super().__init__(policy, env, *args, **kwargs | {"_init_setup_model": False})
        self.policy_class = governed_policy(cast(type[ActorCriticPolicy], self.policy_class))
        if latent is None and env is not None:
            latent = 2 * ActionMap(self.action_space).width
        own = {"latent": latent, "aux_weight": aux_weight, "auxiliary": self.auxiliary}
        self.policy_kwargs = own | self.policy_kwargs
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        if not isinstance(self.observation_space, spaces.Box):
            raise UsageError(f"observations are {self.observation_space}, but must be a Box: vectors or pictures")
        self.rollout_buffer_class = following_buffer(self.rollout_buffer_class or RolloutBuffer)
        super()._setup_model()
        self.policy.weigh(self.aux_weight)  # of a loaded model another may have been given

    @property
    def vae(self) -> ActionConditionalVAE:
        """The model: encoder shared with the policy, and decoder."""
        return self.policy.vae

    # what stable-baselines3's own loop calls

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: NDArray[np.bool_] | None = None) -> None:
        """Called once a step, before the step is stored."""
        super()._update_info_buffer(infos, dones)
        if dones is not None:
            for place in np.flatnonzero(dones):
                self.rollout_buffer.note_end(int(place), infos[place].get("terminal_observation"))

    def train(self) -> None:
        """Learn from the rollout; with every batch the model learns, too."""
        if self.aux_weight == 0:
            super().train()
            return
        self.policy.noted.clear()
        self.policy.weigh(self.aux_weight)  # it may have been changed since
        self.vae.progress.fill_(1 - self._current_progress_remaining)
        self.rollout_buffer.teach(self.policy, cast(NDArray[Any], self._last_obs))
        try:
            super().train()
        finally:
            self.policy.act_on(None)
        reconstruction, kl = (float(torch.stack(each).mean()) for each in zip(*self.policy.noted, strict=True))
        self.logger.record("govern/reconstruction", reconstruction)
        self.logger.record("govern/kl", kl)


class GovernedPPO(GovernedAlgorithm, PPO):
    """PPO whose policy reads named latents; see `GovernedAlgorithm` for the arguments that PPO has not."""

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": GovernedActorCriticPolicy,
        "CnnPolicy": GovernedActorCriticCnnPolicy,
    }


class GovernedA2C(GovernedAlgorithm, A2C):
    """A2C whose policy reads named latents; see `GovernedAlgorithm` for the arguments that A2C has not."""

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = GovernedPPO.policy_aliases
