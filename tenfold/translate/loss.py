"""The losses, one number for each sample, as the authors' code has them. N pictures, C channels, H x W pixels, L losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def mixed_loss(losses: Tensor, mix: Tensor, factors: Tensor | None = None) -> Tensor:
    """The objective: the mean over the samples of sum_n S_n k_n L_n (paper: k = 1).

    Args:
        losses: (N, L), each loss of each sample.
        mix: (N, L), the shares S; a share of 0 gives its loss no gradient.
        factors: (L,), the scales k; None is 1.
    """
    weights = mix if factors is None else mix * factors
    return (weights * losses).sum(1).mean()


def reconstruction(made: Tensor, wanted: Tensor) -> Tensor:
    """The mean absolute difference of pictures, (N,); also the identity loss."""
    return per_sample((made - wanted).abs())


def adversarial(scores: Tensor) -> Tensor:
    """A generator's least-squares loss, the mean of (D(g) - 1)^2 over the patches: scores (N, 1, h, w) -> (N,)."""
    return per_sample((scores - 1).square())


def discrimination(real: Tensor, made: Tensor, share: Tensor) -> Tensor:
    """A discriminator's loss, 1/2 mean_b S'_b [(D(t) - 1)^2 + D(g')^2]: what was not asked to be of its domain counts less.

    Args:
        real: scores (N, 1, h, w) of pictures of the domain, t.
        made: scores (N, 1, h, w) of made ones, g'.
        share: (N,), what each made one was asked to be of the domain; it weighs the real term too, as in the authors' code.
    """
    return 0.5 * (share * (adversarial(real) + per_sample(made.square()))).mean()


def discriminator_loss(
    discriminator: Callable[[Tensor], Tensor], real: Tensor, made: Tensor, share: Tensor, *, penalty: float
) -> Tensor:
    """What a discriminator learns to make small: `discrimination`, and `gradient_penalty` times a factor (paper: 0)."""
    if penalty == 0:
        return discrimination(discriminator(real), discriminator(made), share)
    with torch.enable_grad():
        real = real.detach().requires_grad_()
        scores = discriminator(real)
        steep = gradient_penalty(scores, real, share)
    return discrimination(scores, discriminator(made), share) + penalty * steep


def gradient_penalty(scores: Tensor, real: Tensor, share: Tensor) -> Tensor:
    """How steep a discriminator is at pictures of its domain, 1/2 mean_b S'_b |d mean D(t) / dt|^2 (R1, arXiv:1801.04406).

    Args:
        scores: (N, 1, h, w), of `real`; their graph is kept, and the result has one of its own.
        real: pictures of the domain, t (N, 3, H, W), that require a gradient.
        share: as in `discrimination`.
    """
    (slope,) = torch.autograd.grad(per_sample(scores).sum(), real, create_graph=True)
    return 0.5 * (share * slope.square().flatten(1).sum(1)).mean()


def perceptual(made: Tensor, wanted: Tensor) -> Tensor:
    """The mean squared difference of features (N, C, H, W), (N,)."""
    return per_sample((made - wanted).square())


def gram(features: Tensor) -> Tensor:
    """F F^T / (C H W): which channels are large together, (N, C, H, W) -> (N, C, C)."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


def style(grams: Sequence[Tensor], wanted: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """sum_l w_l mean (Gram_l - Gram*_l)^2, (N,).

    Args:
        grams: of each layer, (N, C_l, C_l).
        wanted: of each layer of the style picture, (1, C_l, C_l) or (C_l, C_l).
        weights: of each layer (paper: 100 x 0.1, 1, 10, 5).
    """
    terms = [
        weight * per_sample((found - goal).square()) for found, goal, weight in zip(grams, wanted, weights, strict=True)
    ]
    return torch.stack(terms).sum(0)


def per_sample(values: Tensor) -> Tensor:
    """The mean over all but the first dimension, (N, ...) -> (N,)."""
    return values.flatten(1).mean(1)
