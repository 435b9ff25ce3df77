"""The equations of `govern`, as pure functions. B rows, n latents, m numbers of an action, D numbers of a state; natural logarithms."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import UsageError

Likelihood = Literal["gaussian", "bernoulli"]


def map_action(action: Tensor, latents: int, *, scale: float = 1.0) -> Tensor:
    """The action-mapping vector: a, and zeros behind it (paper, section 3.1).

    Args:
        action: (B, m), m at most n.
        latents: n.
        scale: what actions are multiplied by; 1 is the paper's.

    Returns:
        (B, n).

    Raises:
        UsageError: there are more numbers of an action than latents.
    """
    if action.shape[-1] > latents:
        raise UsageError(f"an action has {action.shape[-1]} numbers, but must have at most {latents}: one a latent")
    return F.pad(action * scale, (0, latents - action.shape[-1]))


def reparametrize(mu: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
    """z = mu + sigma * noise, elementwise; (B, n) each."""
    return torch.addcmul(mu, sigma, noise)


def negative_log_likelihood(predicted: Tensor, target: Tensor, likelihood: Likelihood) -> Tensor:
    """-log p(s' | z + a) for each row, up to a constant, summed over the D numbers of a state.

    Args:
        predicted: (B, ...); means of Gaussians of variance 1, or logits of Bernoullis.
        target: (B, ...); any numbers, or in [0, 1].
        likelihood: gaussian or bernoulli.

    Returns:
        (B,), nats.
    """
    if likelihood == "gaussian":
        return 0.5 * F.mse_loss(predicted, target, reduction="none").flatten(1).sum(1)
    return F.binary_cross_entropy_with_logits(predicted, target, reduction="none").flatten(1).sum(1)


def kl_to_prior(mu: Tensor, sigma: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, 1)) of every latent by itself, (B, n), at least 0, nats."""
    return _KLToPrior.apply(mu, sigma)  # type: ignore[no-untyped-call]


class _KLToPrior(torch.autograd.Function):
    """0.5 (mu^2 + sigma^2 - 1) - log sigma, with its gradient by hand: it is taken with every batch of a policy's small network."""

    @staticmethod
    def forward(ctx: Any, mu: Tensor, sigma: Tensor) -> Tensor:
        ctx.save_for_backward(mu, sigma)
        safe = _not_zero(sigma)
        return torch.addcmul(torch.addcmul(-safe.log(), mu, mu, value=0.5), safe, safe, value=0.5) - 0.5

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        mu, sigma = ctx.saved_tensors  # the arguments themselves, so that there is a second gradient
        return gradient * mu, gradient * (sigma - _not_zero(sigma).reciprocal())


def _not_zero(sigma: Tensor) -> Tensor:
    """Far below float32's least number the logarithm would be infinite, and its gradient NaN."""
    return sigma.clamp_min(1e-15)


def beta_objective(reconstruction: Tensor, kl: Tensor, *, beta: float) -> Tensor:
    """Minus L_AC (paper, eq. 3 with its sign turned): reconstruction + beta * KL, (B,) each, nats."""
    return reconstruction + beta * kl


def capacity_objective(reconstruction: Tensor, kl: Tensor, *, capacity: float, weight: float) -> Tensor:
    """reconstruction + weight * |KL - C|, (B,) each (Burgess et al. 2018, with which the paper trains its beta-VAE).

    Args:
        reconstruction: negative log-likelihoods.
        kl: summed over latents.
        capacity: C, nats, at least 0.
        weight: gamma there.
    """
    return reconstruction + weight * (kl - capacity).abs()


def average(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of values (B,) over the rows that count; 0 where none does.

    Args:
        values: finite where the mask says so; whatever elsewhere.
        mask: bool (B,): false where the next state belongs to another episode.
    """
    if mask is None:
        return values.mean() if len(values) else values.sum()
    # not values * mask: a row that does not count may be NaN, and so would be its gradient
    return torch.where(mask, values, 0).sum() / mask.sum().clamp_min(1)
