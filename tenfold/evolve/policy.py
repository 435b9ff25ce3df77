"""stable-baselines3 policies whose last hidden layer before the actions is gated; the critic is not (arXiv:1903.01886).

Shapes: B rows of a batch, N members, H units of the last hidden layer (the genes), A numbers of an action.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    Distribution,
    MultiCategoricalDistribution,
)
from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy, MultiInputActorCriticPolicy
from torch import Tensor

from ..core.errors import UsageError
from .config import GeneticSettings
from .gate import GeneticGate


class Gated(ActorCriticPolicy):
    """What turns a policy of actor and critic into a population; mixed into its class by `gated_policy`.

    Outside of training it acts as the elite. While it collects and learns, `acting` says whose genes each row has.

    Args:
        population: N, members.
        genetics: how generations follow each other.
        gate_seed: of everything random about genes.
    """

    def __init__(
        self,
        *args: Any,
        population: int = 8,
        genetics: GeneticSettings | None = None,
        gate_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if not _has_hidden_layer(self):
            raise UsageError(
                "the policy has no hidden layer before its actions, and so nothing to gate: policy_kwargs['net_arch'] must have"
                " at least one layer for pi"
            )
        # after the parent's constructor, and without parameters: weights and optimizer are those of the plain policy
        self.gate = GeneticGate(
            self.mlp_extractor.latent_dim_pi, population=population, genetics=genetics, seed=gate_seed
        )
        # in a list, because setting an attribute of a module costs more than gating by it
        self._acting: list[Tensor | None] = [None]

    @contextmanager
    def acting(self, genes: Tensor | None) -> Iterator[None]:
        """Within the body, rows have these genes; afterwards the policy is the elite again."""
        self.act_as(genes)
        try:
            yield
        finally:
            self.act_as(None)

    def act_as(self, genes: Tensor | None) -> None:
        """Whose genes the next forward passes have.

        Args:
            genes: floats of 0 and 1, (B, H) for each row or (1, H) for all; `ALL_OPEN` leaves the layer as it is; None is
                the elite.
        """
        self._acting[0] = genes

    @torch.no_grad()
    def act(self, obs: Any, *, deterministic: bool) -> NDArray[Any]:
        """Actions for the environment by the genes that are acting, for observations as tensors, (B, ...)."""
        distribution = self._get_action_dist_from_latent(self._latent(obs))
        return self._finished(distribution.get_actions(deterministic=deterministic).cpu().numpy(), True)

    def get_distribution(self, obs: Any) -> Distribution:
        """The elite's distribution of actions, whoever is acting: predictions in the middle of training are the elite's."""
        with self._as_elite():
            return super().get_distribution(obs)

    @torch.no_grad()
    def vote(self, observation: Any, *, deterministic: bool = True) -> tuple[NDArray[Any], NDArray[Any]]:
        """The action that all members together choose, and how far they disagree; the members share all but the last layer.

        Args:
            observation: of one environment or of B, as for `predict`.
            deterministic: each member means its most likely action; else the action is drawn from all members' mixture.

        Returns:
            action, as `predict` gives it; and spread of its shape: for numbers the standard deviation over members, in
            units of the action; for choices the share of members that would choose otherwise, in [0, 1).
        """
        self.set_training_mode(False)
        tensor, several = self.obs_to_tensor(observation)
        distribution, size = self._everyone(tensor), len(self.gate)
        own = distribution.get_actions(deterministic=True)
        own = own.view(size, -1, *own.shape[1:]).double()  # (N, B, ...)
        if isinstance(distribution, CategoricalDistribution | MultiCategoricalDistribution | BernoulliDistribution):
            chosen = own.mode(0).values
            spread = (own != chosen).double().mean(0)
        else:
            chosen, spread = own.mean(0), own.std(0, correction=0)
        if not deterministic:
            chosen = _drawn(distribution.sample().view(own.shape))
        actions, spreads = chosen.cpu().numpy(), spread.cpu().numpy()
        if self.squash_output:  # from [-1, 1] to the bounds of the action
            bounds = cast(spaces.Box, self.action_space)
            spreads = spreads * (bounds.high - bounds.low).reshape(-1) / 2
        spreads = spreads.reshape(-1, *(self.action_space.shape or ()))
        return self._finished(actions, several), spreads if several else spreads[0]

    def extract(self, member: int | None = None) -> dict[str, Tensor]:
        """The state dict of a plain policy that acts exactly as a member (None: the elite): closed genes become zero weights.

        Raises:
            UsageError: there is no such member, or the policy explores by gSDE, whose noise reads the gated layer too.
        """
        if self.use_sde:
            raise UsageError("with gSDE the noise reads the gated layer too, so that no plain policy acts as a member")
        state = {name: value.clone() for name, value in self.state_dict().items() if not name.startswith("gate.")}
        name = "action_net.weight"
        state[name] = state[name] * self.gate.genes_of(member).to(state[name].dtype)
        return state

    def _get_action_dist_from_latent(self, latent_pi: Tensor) -> Distribution:
        return super()._get_action_dist_from_latent(self._gated(latent_pi))

    def _gated(self, latent: Tensor) -> Tensor:
        genes = self._acting[0]
        if genes is None:
            return self.gate(latent)
        if genes is ALL_OPEN:
            return latent
        if len(genes) not in (1, len(latent)):
            raise UsageError(
                f"{len(latent)} rows are to be gated, but {len(genes)} have genes: other data in a training step?"
            )
        return latent * genes

    @contextmanager
    def _as_elite(self) -> Iterator[None]:
        before = self._acting[0]
        self.act_as(None)
        try:
            yield
        finally:
            self.act_as(before)

    def _latent(self, obs: Any) -> Tensor:
        """The actor's last hidden layer before the gate, (B, H)."""
        # the parent's parent's: the parent's own would take both extractors where they are two
        features = super(ActorCriticPolicy, self).extract_features(obs, self.pi_features_extractor)
        return self.mlp_extractor.forward_actor(features)

    def _everyone(self, obs: Any) -> Distribution:
        """The distributions of all members, as one of N * B rows, member by member; the hidden layers are computed once."""
        latent = self._latent(obs)
        everyone = latent * self.gate.chromosomes[:, None].to(latent.dtype)
        return super()._get_action_dist_from_latent(everyone.flatten(0, 1))

    def _finished(self, actions: NDArray[Any], several: bool) -> NDArray[Any]:
        """Actions in the type, shape and bounds of the action space."""
        space = self.action_space
        actions = actions.reshape(-1, *(space.shape or ())).astype(space.dtype)
        if isinstance(space, spaces.Box):
            actions = self.unscale_action(actions) if self.squash_output else np.clip(actions, space.low, space.high)
        return actions if several else cast(NDArray[Any], actions.squeeze(axis=0))

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {
            "population": len(self.gate),
            "genetics": self.gate.genetics,
            "gate_seed": int(self.gate.seed),
        }


ALL_OPEN = torch.ones(1, 1)
"""Genes that leave every unit as it is; recognised as the object, so that the common case costs nothing."""


class GatedActorCriticPolicy(Gated, ActorCriticPolicy):
    """`MlpPolicy` as a population."""


class GatedActorCriticCnnPolicy(Gated, ActorCriticCnnPolicy):
    """`CnnPolicy` as a population; its last hidden layer is the features of the pictures, of which the critic reads all."""


class GatedMultiInputPolicy(Gated, MultiInputActorCriticPolicy):
    """`MultiInputPolicy` as a population."""


_OWN: dict[type[ActorCriticPolicy], type[Gated]] = {
    ActorCriticPolicy: GatedActorCriticPolicy,
    ActorCriticCnnPolicy: GatedActorCriticCnnPolicy,
    MultiInputActorCriticPolicy: GatedMultiInputPolicy,
}


@cache
def gated_policy(policy: type[ActorCriticPolicy]) -> type[Gated]:
    """A class of policies as one of populations: stable-baselines3's own, or anyone's that is derived from them.

    Raises:
        UsageError: the class is not a policy of actor and critic.
    """
    if not (isinstance(policy, type) and issubclass(policy, ActorCriticPolicy)):
        raise UsageError(f"the policy is {policy!r}, but must be a name or a class derived from ActorCriticPolicy")
    if issubclass(policy, Gated):
        return policy
    return _OWN.get(policy) or cast(type[Gated], type(f"Gated{policy.__name__}", (Gated, policy), {}))


def _has_hidden_layer(policy: ActorCriticPolicy) -> bool:
    """Whether a layer that learns comes before the actions."""
    layers = getattr(policy.mlp_extractor, "policy_net", policy.mlp_extractor)  # a person's own may be called otherwise
    learned = (*layers.parameters(), *policy.pi_features_extractor.parameters())
    return len(learned) > 0


def _drawn(actions: Tensor) -> Tensor:
    """Of actions (N, B, ...), for each of the B that of a member drawn at random."""
    size, rows = actions.shape[:2]
    return actions[torch.randint(size, (rows,), device=actions.device), torch.arange(rows, device=actions.device)]
