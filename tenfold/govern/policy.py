"""stable-baselines3 policies whose actor reads the latents of an action-conditional VAE; the critic reads the raw state.

B rows of a batch, n latents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple, cast

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, MlpExtractor
from torch import Tensor, nn

from ..core.errors import UsageError
from .actions import ActionMap
from .config import AuxiliarySettings
from .networks import FlatDecoder, ScreenDecoder, dense, halves_at_zero
from .vae import ActionConditionalVAE, split_latents

Edit = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""mu and sigma (B, n) -> what the policy is to read in their place"""


class Lesson(NamedTuple):
    """What the model is to learn from a batch of B transitions."""

    moves: Tensor
    """mapped actions, (B, n)"""
    targets: Tensor
    """the states to predict, (B, ...), as the decoder gives them"""
    mask: Tensor | None
    """bool (B,), false where the next state is not known"""


class StateEncoder(nn.Module):
    """States (B, ...) -> (B, 2n): the features of an extractor, then layers."""

    def __init__(
        self,
        base: BaseFeaturesExtractor,
        shape: tuple[int, ...],
        hidden: list[int],
        latent: int,
        activation: type[nn.Module],
        *,
        pixels: bool,
    ) -> None:
        super().__init__()
        self.base, self.shape, self.pixels = base, shape, pixels
        self.layers = nn.Sequential(*dense((base.features_dim, *hidden, 2 * latent), activation))

    def forward(self, states: Tensor) -> Tensor:
        """(B, ...) -> (B, 2n): mu, and the logarithm of sigma squared."""
        return self.layers(self.base(states))


class Latents(BaseFeaturesExtractor):
    """States -> h = (mu, sigma), (B, 2n), side by side: what the actor reads. Not the sampled z (paper, section 3.1)."""

    def __init__(self, space: spaces.Box, encoder: StateEncoder, latent: int, *, detached: bool) -> None:
        super().__init__(space, 2 * latent)
        self.encoder = encoder
        self._detached = detached
        # in a list, because setting an attribute of a module costs more than these layers
        self._edit: list[Edit | None] = [None]
        self._seen: list[tuple[Tensor, Tensor] | None] = [None]

    def forward(self, states: Tensor) -> Tensor:
        """(B, ...) -> (B, 2n)."""
        mu, sigma = split_latents(self.encoder(states))
        self._seen[0] = (mu, sigma)
        if self._edit[0] is not None:
            mu, sigma = self._edit[0](mu, sigma)
        h = torch.cat((mu, sigma), 1)
        return h.detach() if self._detached else h

    def take(self) -> tuple[Tensor, Tensor]:
        """mu and sigma of the last forward pass, before they were edited; once."""
        seen = self._seen[0]
        assert seen is not None
        self._seen[0] = None
        return seen

    @contextmanager
    def editing(self, edit: Edit) -> Iterator[None]:
        """Within the body, the actor reads what `edit` makes of mu and sigma."""
        before = self._edit[0]
        self._edit[0] = edit
        try:
            yield
        finally:
            self._edit[0] = before


class Governed(ActorCriticPolicy):
    """What lets the actor read latents; mixed into a policy's class by `governed_policy`.

    The actor is encoder, latents, head; the critic is a network of its own on the raw state.

    Args:
        latent: n, above the numbers of an action.
        aux_weight: alpha, of the model's loss; with 0 there is none, and it is an ordinary policy of these layers.
        auxiliary: the model beside the policy.
        share_features_extractor: is false, whatever is given: the critic reads the raw state by layers of its own.
        net_arch: as for the policy itself: the widths of `pi` are those of the encoder, the last of them that of the head too, behind
            the latents.
    """

    latents: Latents

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Any,
        *args: Any,
        latent: int,
        aux_weight: float = 3e-2,
        auxiliary: AuxiliarySettings | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(observation_space, spaces.Box):
            raise UsageError(f"observations are {observation_space}, but must be a Box: vectors or pictures")
        self._latent, self._aux_weight = latent, aux_weight
        self._auxiliary = auxiliary or AuxiliarySettings()
        self._clipped: list[nn.Parameter] | None = None
        super().__init__(
            observation_space, action_space, lr_schedule, *args, **kwargs | {"share_features_extractor": False}
        )
        halves_at_zero(cast(nn.Linear, self.latents.encoder.layers[-1]))
        # the decoder draws its weights aside, so that whatever the policy draws is what it would draw without it
        with torch.random.fork_rng(devices=[]):
            self.vae = self._make_vae()
        self._let_decoder_learn()
        self._lesson: list[Lesson | None] = [None]
        self.noted: list[tuple[Tensor, Tensor]] = []

    # how the parent builds a policy

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """The actor's, which the parent asks for first: latents; then the critic's: as it always is."""
        base = super().make_features_extractor()
        if hasattr(self, "latents"):
            return base
        hidden = self._widths("pi")
        box = cast(spaces.Box, self.observation_space)
        # whether bytes come divided by 255
        pixels = is_image_space(box) and self.normalize_images
        encoder = StateEncoder(base, box.shape, hidden, self._latent, self.activation_fn, pixels=pixels)
        detached = self._auxiliary.detach_policy
        self.latents = Latents(box, encoder, self._latent, detached=detached)
        return self.latents

    def _build_mlp_extractor(self) -> None:
        arch = {"pi": self._widths("pi")[-1:], "vf": self._widths("vf")}
        self.mlp_extractor = TwoInputs(
            self.pi_features_extractor.features_dim,
            self.vf_features_extractor.features_dim,
            arch,
            self.activation_fn,
            self.device,
        )

    def _widths(self, name: str) -> list[int]:
        return list(self.net_arch.get(name, []) if isinstance(self.net_arch, dict) else self.net_arch)

    # the model beside the policy

    def weigh(self, aux_weight: float) -> None:
        """Set alpha."""
        self._aux_weight = aux_weight

    def act_on(self, lesson: Lesson | None) -> None:
        """Learn this with the next batch that is evaluated."""
        self._lesson[0] = lesson

    def evaluate_actions(self, obs: Any, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """As the parent's; the logarithm of the probability carries the gradient of the model's loss along."""
        values, log_prob, entropy = super().evaluate_actions(obs, actions)
        lesson = self._lesson[0]
        if lesson is None:
            return values, log_prob, entropy
        mu, sigma = weigh_gradient(*self.latents.take(), self._aux_weight)
        losses = self.vae.losses(mu, sigma, lesson.moves, lesson.targets, lesson.mask)
        self.noted.append((losses.reconstruction.detach(), losses.kl.detach()))
        return values, ride_along(log_prob, losses.total), entropy

    def _make_vae(self) -> ActionConditionalVAE:
        box = cast(spaces.Box, self.observation_space)
        settings, latent = self._auxiliary, self._latent
        decoder: nn.Module
        target: tuple[int, ...]
        if is_image_space(box):
            channels = settings.frame_channels or (3 if box.shape[0] % 3 == 0 else 1)
            target = (channels, *box.shape[1:])
            decoder = ScreenDecoder(latent, channels, (box.shape[1], box.shape[2]))
        else:
            target = box.shape
            decoder = FlatDecoder(latent, settings.decoder, target, activation=self.activation_fn)
        return ActionConditionalVAE(
            self.latents.encoder,
            decoder,
            latent=latent,
            actions=ActionMap(self.action_space),
            target=target,
            likelihood=settings.likelihood_of(pixels=is_image_space(box)),
            settings=settings,
        ).to(self.device)

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Those of actor and critic, whose gradient the algorithm clips together; the decoder's would make it clip more than it should."""
        if not hasattr(self, "vae") or not recurse:
            return super().parameters(recurse)
        if self._clipped is None:  # they are asked for with every batch, and finding them takes longer than clipping
            decoder = set(map(id, self.vae.decoder.parameters()))
            self._clipped = [each for each in super().parameters() if id(each) not in decoder]
        return iter(self._clipped)

    def _let_decoder_learn(self) -> None:
        """Give the optimizer the decoder's weights, which are none of the plain algorithm's.

        Where there is a model to learn, Adam steps all weights in one call and RMSprop in a few, which is quicker and rounds otherwise;
        without it every bit is the plain algorithm's.
        """
        optimizer = self.optimizer
        optimizer.param_groups[0]["params"].extend(self.vae.decoder.parameters())
        quicker = _QUICKER.get(type(optimizer))
        chosen = optimizer.defaults.get("foreach") is not None or optimizer.defaults.get("fused") is not None
        if self._aux_weight > 0 and quicker and not chosen:
            for group in optimizer.param_groups:
                group[quicker] = True

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {"latent": self._latent, "aux_weight": self._aux_weight, "auxiliary": self._auxiliary}
        return super()._get_constructor_parameters() | own


_QUICKER = {torch.optim.Adam: "fused", torch.optim.AdamW: "fused", torch.optim.RMSprop: "foreach"}
"""how an optimizer steps many small weights quickly"""


class TwoInputs(MlpExtractor):
    """The layers of actor and critic, which read features of different widths."""

    def __init__(
        self, actor: int, critic: int, arch: dict[str, list[int]], activation: type[nn.Module], device: torch.device
    ) -> None:
        super().__init__(actor, {"pi": arch["pi"], "vf": []}, activation, device)
        own = MlpExtractor(critic, {"pi": [], "vf": arch["vf"]}, activation, device)
        self.value_net, self.latent_dim_vf = own.value_net, own.latent_dim_vf


class _RideAlong(torch.autograd.Function):
    """The first argument as it is; backwards, the second has gradient 1, whatever comes back to the first."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, loss: Tensor) -> Tensor:
        ctx.save_for_backward(torch.ones_like(loss))
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        (one,) = ctx.saved_tensors
        return gradient, one


def ride_along(values: Tensor, loss: Tensor) -> Tensor:
    """`values`, unchanged; whoever takes the gradient of anything made of them takes that of `loss` with it, once.

    So a loss is added to one that somebody else's code computes: the gradient is that of their sum.
    """
    return _RideAlong.apply(values, loss)  # type: ignore[no-untyped-call]


class _Weigh(torch.autograd.Function):
    """The first arguments as they are; their gradients are multiplied by the last."""

    @staticmethod
    def forward(ctx: Any, mu: Tensor, sigma: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        ctx.weight = weight
        return mu.view_as(mu), sigma.view_as(sigma)

    @staticmethod
    def backward(ctx: Any, mu: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, None]:
        return ctx.weight * mu, ctx.weight * sigma, None


def weigh_gradient(mu: Tensor, sigma: Tensor, weight: float) -> tuple[Tensor, Tensor]:
    """`mu` and `sigma`, unchanged, whose gradients are multiplied by `weight` on their way back.

    So alpha weighs what reaches the encoder, while the decoder, which learns from nothing else, has its whole gradient: Adam and
    RMSprop do not mind the size of a gradient, but for their epsilon.
    """
    return _Weigh.apply(mu, sigma, weight)  # type: ignore[no-untyped-call]


class GovernedActorCriticPolicy(Governed, ActorCriticPolicy):
    """`MlpPolicy` on latents."""


class GovernedActorCriticCnnPolicy(Governed, ActorCriticCnnPolicy):
    """`CnnPolicy` on latents: actor and critic have convolutions of their own."""


_OWN: dict[type[ActorCriticPolicy], type[Governed]] = {
    ActorCriticPolicy: GovernedActorCriticPolicy,
    ActorCriticCnnPolicy: GovernedActorCriticCnnPolicy,
}


@cache
def governed_policy(policy: type[ActorCriticPolicy]) -> type[Governed]:
    """A class of policies as one that reads latents: stable-baselines3's own, or anyone's that is derived from them.

    Raises:
        UsageError: the class is not a policy of actor and critic.
    """
    if not (isinstance(policy, type) and issubclass(policy, ActorCriticPolicy)):
        raise UsageError(f"the policy is {policy!r}, but must be a name or a class derived from ActorCriticPolicy")
    if issubclass(policy, Governed):
        return policy
    if policy._build_mlp_extractor is not ActorCriticPolicy._build_mlp_extractor:
        raise UsageError(
            f"the policy {policy.__name__} builds layers of its own in _build_mlp_extractor, which latents take the place of: put them"
            " into a features extractor"
        )
    return _OWN.get(policy) or cast(type[Governed], type(f"Governed{policy.__name__}", (Governed, policy), {}))
