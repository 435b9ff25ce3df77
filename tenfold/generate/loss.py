"""The equations of `generate`, as pure functions. N rows, D dimensions, K components of a mixture; natural logarithms."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)
NARROWEST = -40.0
"""log of the standard deviation below which a component counts as so narrow: far below what float32 can tell apart"""


class Mixture(NamedTuple):
    """A mixture of K Gaussians for each of any number of values, (..., K) each."""

    means: Tensor
    log_scales: Tensor
    """log of the standard deviations"""
    log_weights: Tensor
    """log of the mixture weights; they sum to 1"""


def mixture_of(raw: Tensor, *, floor: float = 0.0, temperature: float = 1.0) -> Mixture:
    """The mixtures that a network's outputs (..., 3K) describe: K means, K log scales, K weights before the softmax.

    Args:
        raw: any real numbers.
        floor: sigma = exp(raw) + floor, so that no component becomes a spike (ours); 0 is the paper's exp alone.
        temperature: pi = softmax(raw / temperature) as in the paper, and sigma is multiplied by its square root (ours).
    """
    means, log_scales, logits = raw.chunk(3, -1)
    if floor > 0:
        # log(exp(raw) + floor) without the exp, which overflows; the gradient is never quite zero, unlike a clamp's
        log_scales = torch.logaddexp(log_scales, log_scales.new_tensor(math.log(floor)))
    if temperature != 1.0:
        log_scales = log_scales + 0.5 * math.log(temperature)
        logits = logits / temperature
    return Mixture(means, log_scales, logits.log_softmax(-1))


def mixture_log_prob(values: Tensor, mixture: Mixture) -> Tensor:
    """log sum_k pi_k N(z; mu_k, sigma_k^2), in log space throughout (paper, the conditional density).

    The released code adds 1e-12 to the sum and takes the logarithm: clipped at 27.6 nats, without a gradient beyond about 8
    sigma. Here a value at any distance has its density and its gradient.

    Args:
        values: (...).
        mixture: for each value.

    Returns:
        (...), nats.
    """
    means, log_scales, log_weights = mixture
    # the exp of more would be infinite, and times a distance of zero NaN
    log_scales = log_scales.clamp_min(NARROWEST)
    distance = (values[..., None] - means) * (-log_scales).exp()
    return torch.logsumexp(log_weights - log_scales - HALF_LOG_TAU - 0.5 * distance.square(), -1)


def mixture_draw(mixture: Mixture, uniform: Tensor, normal: Tensor) -> Tensor:
    """The value z = mu_k + sigma_k normal, with k where the cumulated weights pass `uniform`: no other randomness.

    Args:
        mixture: for each value, (..., K).
        uniform: (...), in [0, 1).
        normal: (...), standard normal.
    """
    cumulated = mixture.log_weights.exp().cumsum(-1)
    # the last sum may be 1 - 1e-7; over it, `uniform` never passes all of them. Equal counts as below: a component without
    # weight would be drawn at a uniform of 0 otherwise
    below = cumulated <= (uniform * cumulated[..., -1])[..., None]
    chosen = below.sum(-1, keepdim=True).clamp(max=cumulated.shape[-1] - 1)
    mean = mixture.means.gather(-1, chosen).squeeze(-1)
    log_scale = mixture.log_scales.gather(-1, chosen).squeeze(-1)
    return mean + log_scale.exp() * normal


def squared_error(images: Tensor, rebuilt: Tensor) -> Tensor:
    """Mean squared error over all pixels (paper, the autoencoder's loss): a number."""
    return (images - rebuilt).square().mean()


def normal_divergence(means: Tensor, log_variances: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) summed over D, averaged over N (Kingma and Welling 2014, appendix B): a number."""
    return 0.5 * (means.square() + log_variances.exp() - 1 - log_variances).sum(1).mean()


def variational_loss(images: Tensor, rebuilt: Tensor, means: Tensor, log_variances: Tensor, beta: float) -> Tensor:
    """The negative evidence bound of a VAE, in nats a picture, over the number of pixels: a number.

    The decoder is a Gaussian whose variance is the best for the batch, the mean squared error itself (Rybkin et al. 2021,
    optimal sigma), so that no weight between the two terms has to be found.

    Args:
        images: (N, ...), and `rebuilt` like it.
        means: (N, D), and `log_variances` like it, of q(z | x).
        beta: weight of the divergence; 1 is the bound.
    """
    pixels = images[0].numel()
    error = squared_error(images, rebuilt)
    likelihood = 0.5 * pixels * (error.clamp_min(1e-8).log() + 1) + pixels * HALF_LOG_TAU
    return (likelihood + beta * normal_divergence(means, log_variances)) / pixels


def regularised_loss(images: Tensor, rebuilt: Tensor, latents: Tensor, weight: float) -> Tensor:
    """Squared error and `weight` times half the mean squared length of the latents (N, D): RAE's loss (Ghosh et al. 2020).

    RAE-L2's penalty on the decoder's weights is the optimiser's weight decay.
    """
    return squared_error(images, rebuilt) + weight * 0.5 * latents.square().sum(1).mean()
