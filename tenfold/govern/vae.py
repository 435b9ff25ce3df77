"""The action-conditional VAE: the state goes in, the action is added to the latents, the next state comes out.

B rows, n latents, m numbers of an action, D numbers of a state. The first m latents are the mapped ones.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..core.errors import UsageError
from ..core.modes import evaluating
from .actions import ActionMap
from .config import AuxiliarySettings
from .loss import (
    Likelihood,
    average,
    beta_objective,
    capacity_objective,
    kl_to_prior,
    map_action,
    negative_log_likelihood,
    reparametrize,
)

Observations = Tensor | NDArray[np.generic]
SPAN = 5.0
"""how far a latent is turned to either side, as in the paper's experiment of governing"""
REMEMBERED = 10
"""batches of states that mean and spread of the states go back to"""
PLACES = 11
"""values that a turned latent takes"""


class Losses(NamedTuple):
    """Of a batch; scalars, nats a row."""

    total: Tensor
    reconstruction: Tensor
    kl: Tensor


class ActionConditionalVAE(nn.Module):
    """h = (mu, sigma) of a state; decoder(z + mapped action) is the next state (paper, section 3.1).

    Args:
        encoder: pictures or vectors (B, ...) -> (B, 2n): mu, and the logarithm of sigma squared.
        decoder: (B, n) -> the next state, (B, ...): means, or logits where the likelihood is bernoulli.
        actions: how actions become vectors of m numbers; m below n.
        settings: objective and kind of the model.
        target: shape of the next state, which the decoder gives.
        likelihood: gaussian, in units of each number's own spread (see `observe_targets`), or bernoulli for pixels.

    Raises:
        UsageError: the latents are not more than the numbers of an action.
    """

    center: Tensor
    variance: Tensor
    spread: Tensor
    seen: Tensor
    progress: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        latent: int,
        actions: ActionMap,
        target: tuple[int, ...],
        likelihood: Likelihood = "gaussian",
        settings: AuxiliarySettings | None = None,
    ) -> None:
        super().__init__()
        if latent <= actions.width:
            raise UsageError(
                f"latent is {latent}, but must be above {actions.width}: one for each number of an action, and some for the rest"
            )
        self.encoder, self.decoder = encoder, decoder
        self.latent, self.actions, self.target = latent, actions, target
        self.likelihood = likelihood
        self.settings = settings or AuxiliarySettings()
        self.register_buffer("center", torch.zeros(target))
        self.register_buffer("variance", torch.zeros(target))
        self.register_buffer("spread", torch.ones(target))
        self.register_buffer("seen", torch.zeros((), dtype=torch.float64))
        self.register_buffer("progress", torch.ones(()))

    @property
    def mapped(self) -> int:
        """m: how many latents, from the first, an action is added to."""
        return self.actions.width

    def posterior(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """mu and sigma, (B, n) each, of states as the encoder takes them."""
        return split_latents(self.encoder(states))

    def forward(self, states: Tensor, actions: Observations, next_states: Tensor, mask: Tensor | None = None) -> Losses:
        """The losses of transitions.

        Args:
            states: (B, ...) as the encoder takes them.
            actions: B of them, as the environment takes them.
            next_states: (B, ...) of the decoder's shape; pixels in [0, 1] where the likelihood is bernoulli.
            mask: bool (B,), false where the next state is of another episode.
        """
        if mask is not None:  # a state that is not known may be NaN, and so would be every gradient
            states = torch.where(mask.view(-1, *[1] * (states.ndim - 1)), states, 0)
        mu, sigma = self.posterior(states)
        return self.losses(mu, sigma, self.map_action(actions), self.as_targets(next_states), mask)

    def losses(self, mu: Tensor, sigma: Tensor, moves: Tensor, targets: Tensor, mask: Tensor | None = None) -> Losses:
        """The losses where all is prepared: what a policy that knows mu and sigma calls with every batch.

        Args:
            mu, sigma: (B, n).
            moves: mapped actions, (B, n); see `map_action`.
            targets: next states; see `as_targets`.
            mask: bool (B,), false where the next state is of another episode.
        """
        settings = self.settings
        z = mu if settings.deterministic else reparametrize(mu, sigma, torch.randn_like(mu))
        if settings.conditional:
            z = z + moves
        if mask is not None:
            targets = torch.where(mask.view(-1, *[1] * (targets.ndim - 1)), targets, 0)  # whatever it is, NaN too
        reconstruction = average(negative_log_likelihood(self.decoder(z), targets, self.likelihood), mask)
        if settings.deterministic:
            return Losses(reconstruction, reconstruction, torch.zeros_like(reconstruction))
        kl = average(kl_to_prior(mu, sigma).sum(1), mask)
        if settings.capacity is None:
            return Losses(beta_objective(reconstruction, kl, beta=settings.weight_of_kl), reconstruction, kl)
        capacity = settings.capacity * float(self.progress)
        total = capacity_objective(reconstruction, kl, capacity=capacity, weight=settings.capacity_weight)
        return Losses(total, reconstruction, kl)

    def as_targets(self, states: Tensor) -> Tensor:
        """States (B, ...) as the decoder is to give them: numbers in units of their spread; pixels as they are."""
        return states if self.likelihood == "bernoulli" else (states - self.center) / self.spread

    def map_action(self, actions: Observations) -> Tensor:
        """What actions add to the latents, (B, n)."""
        return map_action(self.actions(actions), self.latent, scale=self.settings.action_scale)

    @torch.no_grad()
    def observe_targets(self, states: Tensor) -> None:
        """Let mean and spread of each number of the next states follow those of the last ten or so calls; for vectors alone.

        Reconstruction then counts every number in units of its own spread, and none more because it is measured in small units.
        The past is forgotten, as a policy that learns comes to other states.
        """
        if self.likelihood == "bernoulli" or len(states) == 0:
            return
        values = states.double()
        past = min(float(self.seen), REMEMBERED * len(values))  # its weight, in states
        share = len(values) / (past + len(values))
        variance, center = torch.var_mean(values, 0, correction=0)
        shift = center - self.center
        variance = (1 - share) * self.variance + share * variance + share * (1 - share) * shift.square()
        self.variance.copy_(variance)
        self.center.add_(shift, alpha=share)
        # a number that never changes has spread 0: counted as it is, as there is nothing to learn of it
        spread = variance.sqrt()
        self.spread.copy_(spread.where(spread > 1e-6, 1))
        self.seen.fill_(past + len(values))

    # reading the latents

    @torch.no_grad()
    def encode(self, observations: Observations) -> tuple[Tensor, Tensor]:
        """mu and sigma, (B, n) each, of observations as the environment gives them: one, or B; bytes are pixels."""
        with evaluating(self):
            mu, sigma = self.posterior(self._as_states(observations))
        return mu, sigma

    @torch.no_grad()
    def decode(self, z: Tensor, actions: Observations | None = None) -> Tensor:
        """The expected next state, (B, ...), in the units of the observations or as pixels in [0, 1].

        Args:
            z: (B, n).
            actions: B of them, added to the latents; None adds nothing, and so does a kind that ignores actions.
        """
        if z.ndim != 2 or z.shape[1] != self.latent:
            raise UsageError(f"z has shape {tuple(z.shape)}, but must be (B, {self.latent})")
        if actions is not None and self.settings.conditional:
            z = z + self.map_action(actions)
        with evaluating(self):
            raw = self.decoder(z)
        return raw.sigmoid() if self.likelihood == "bernoulli" else raw * self.spread + self.center

    def predict(self, observations: Observations, actions: Observations | None = None) -> Tensor:
        """The expected next state of observations under actions, from mu alone; see `encode` and `decode`."""
        return self.decode(self.encode(observations)[0], actions)

    @torch.no_grad()
    def sample_next(
        self,
        actions: Observations,
        count: int = 64,
        *,
        observations: Observations | None = None,
        seed: int | None = None,
    ) -> Tensor:
        """Draws of the states that an action leads to, (count, ...): z from the prior, or around an observation.

        Args:
            actions: one, as the environment takes it.
            count: of draws, at least 1.
            observations: one; z is then of N(mu, sigma), so that the states are those that follow it.
            seed: None draws anew each time.
        """
        generator = torch.Generator()
        seed = generator.seed() if seed is None else seed
        generator.manual_seed(seed)
        device = self.center.device
        noise = torch.randn(count, self.latent, generator=generator).to(device)
        if observations is not None:
            mu, sigma = self.encode(observations)
            if len(mu) != 1:
                raise UsageError(f"observations are {len(mu)}, but must be one")
            noise = mu + sigma * noise
        one = np.asarray(actions)
        every = torch.as_tensor(np.broadcast_to(one, (count, *one.shape)).copy(), device=device)
        return self.decode(noise, every)

    def traverse(
        self,
        observations: Observations,
        dim: int,
        values: Tensor | None = None,
        actions: Observations | None = None,
    ) -> Tensor:
        """Next states while one latent is turned and the others stay at their mu.

        Args:
            observations: B of them.
            dim: which latent, from 0.
            values: (K,) that it takes; None is 11 from -5 to 5.
            actions: B of them, or None for none.

        Returns:
            (K, B, ...).

        Raises:
            UsageError: there is no such latent.
        """
        if not 0 <= dim < self.latent:
            raise UsageError(f"dim is {dim}, but must be between 0 and {self.latent - 1}")
        mu, _ = self.encode(observations)
        places = torch.linspace(-SPAN, SPAN, PLACES) if values is None else torch.as_tensor(values)
        turned = mu.repeat(len(places), 1, 1)
        turned[:, :, dim] = places.to(mu)[:, None]
        if actions is not None and self.settings.conditional:
            turned = turned + self.map_action(actions)
        return self.decode(turned.flatten(0, 1)).unflatten(0, (len(places), len(mu)))

    def sensitivity(self, observations: Observations, values: Tensor | None = None) -> Tensor:
        """How far each number of the next state moves while one latent is turned: the paper's heat map (figure 6).

        Args:
            observations: B of them, over which the result is averaged.
            values: that a latent takes; None is 11 from -5 to 5.

        Returns:
            (n, ...): the standard deviation over the values, in the units of the observations.
        """
        return torch.stack(
            [self.traverse(observations, dim, values).std(0, correction=0).mean(0) for dim in range(self.latent)]
        )

    def mapped_share(self, observations: Observations, values: Tensor | None = None) -> float:
        """The share of all sensitivity that the mapped latents have, in [0, 1]; each number of a state in units of its spread.

        1: whatever the model says of the next state goes through latents that actions are added to. `NaN` where nothing moves.
        """
        moved = (self.sensitivity(observations, values) / self.spread).flatten(1).sum(1)
        return float(moved[: self.mapped].sum() / moved.sum())

    def _as_states(self, observations: Observations) -> Tensor:
        shape = cast("tuple[int, ...] | None", getattr(self.encoder, "shape", None))
        given = observations
        if isinstance(given, np.ndarray):
            given = torch.from_numpy(np.require(given, requirements=["C", "W"]))  # torch has no strides backwards
        states = torch.as_tensor(given, device=self.center.device)
        if shape is not None:
            states = _shaped(states, shape)
        # an encoder of a policy knows whether bytes are divided
        return states.float() / 255 if getattr(self.encoder, "pixels", True) and is_pixels(states) else states.float()


def is_pixels(states: Observations) -> bool:
    """Whether states (B, ...) are bytes of at least two axes, which are taken for brightness; a vector of bytes is one of numbers."""
    return states.dtype in (torch.uint8, np.uint8) and states.ndim >= 3


def _shaped(states: Tensor, shape: tuple[int, ...]) -> Tensor:
    """States (B, ...) of a shape: one of them becomes a row, and pictures whose channels are last have them first, or the other way."""
    if states.ndim == len(shape):
        states = states[None]
    if states.ndim == 4 and len(shape) == 3 and tuple(states.shape[1:]) != shape:
        states = states.movedim(-1, -3)  # as environments give them
    if tuple(states.shape[1:]) != shape:
        wanted = ", ".join(map(str, shape))
        raise UsageError(f"observations have shape {tuple(states.shape)}, but must have (B, {wanted})")
    return states


def split_latents(raw: Tensor) -> tuple[Tensor, Tensor]:
    """mu and sigma of an encoder's output (B, 2n): the second half is the logarithm of sigma squared, kept within [-14, 6]."""
    mu, log_variance = raw.chunk(2, -1)
    return mu, log_variance.clamp(-14.0, 6.0).mul(0.5).exp()
