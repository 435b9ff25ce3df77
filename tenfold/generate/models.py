"""The autoencoders of a run, the paper's and its rivals: encoder, what lies between, decoder, and what each is trained for."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .autoencoder import Decoder, Encoder
from .config import AutoencoderName, Config
from .incremental import IncrementalLatents
from .loss import regularised_loss, squared_error, variational_loss

LOG_VARIANCE = (-12.0, 12.0)
"""what a VAE's log variances are kept within: an exp of more overflows early in training"""


class Losses(NamedTuple):
    """Of one batch; each a number."""

    total: Tensor
    error: Tensor
    """mean squared error a pixel, in the decoder's range"""


class Autoencoder(nn.Module):
    """One of the run's autoencoders: `incremental` (the paper's), `plain`, `vae` or `rae`, all of the same size.

    Args:
        name: which.
        config: the run's settings.
        size: side of the pictures in pixels.
        channels: of the pictures.
    """

    def __init__(self, name: AutoencoderName, config: Config, *, size: int, channels: int) -> None:
        super().__init__()
        net = config.net
        self.name = name
        self.weights = config.rivals
        self.encoder = Encoder(
            size,
            net.latent * (2 if name == "vae" else 1),
            channels=channels,
            width=net.width,
            norm_start=net.norm_start,
        )
        self.between = IncrementalLatents(net.latent, config.train.warmup if name == "incremental" else 0)
        self.decoder = Decoder(
            size, net.latent, channels=channels, width=net.width, output=net.range, norm_start=net.norm_start
        )

    def encode(self, images: Tensor) -> Tensor:
        """Pictures in the decoder's range -> latents (N, D); of a VAE the means."""
        latents: Tensor = self.encoder(images)
        return latents.chunk(2, 1)[0] if self.name == "vae" else latents

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (N, D) -> pictures in the decoder's range."""
        return self.decoder(latents)

    def forward(self, images: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        """Training's pass: pictures and standard normal numbers (N, D) -> rebuilt pictures, the encoder's outputs."""
        code = self.encoder(images)
        if self.name == "vae":
            means, log_variances = code.chunk(2, 1)
            log_variances = log_variances.clamp(*LOG_VARIANCE)
            return self.decoder(means + (0.5 * log_variances).exp() * normal), torch.cat([means, log_variances], 1)
        return self.decoder(self.between(code)), code

    def losses(self, images: Tensor, rebuilt: Tensor, code: Tensor) -> Losses:
        """What it is trained for, from the outputs of `forward`."""
        error = squared_error(images, rebuilt)
        if self.name == "vae":
            means, log_variances = code.chunk(2, 1)
            return Losses(variational_loss(images, rebuilt, means, log_variances, self.weights.vae_beta), error)
        if self.name == "rae":
            return Losses(regularised_loss(images, rebuilt, code, self.weights.rae_latent), error)
        return Losses(error, error)


class AutoencoderObjective(nn.Module):
    """Pictures -> losses: one module, so that several processes can share it.

    Args:
        autoencoder: what is trained.
        perceptual: (pictures, rebuilt) -> a number to add, or None.
    """

    def __init__(self, autoencoder: Autoencoder, perceptual: Callable[[Tensor, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self._perceptual = perceptual

    def forward(self, images: Tensor, normal: Tensor) -> Losses:
        rebuilt, code = self.autoencoder(images, normal)
        losses = self.autoencoder.losses(images, rebuilt.float(), code.float())
        if self._perceptual is None:
            return losses
        return Losses(losses.total + self._perceptual(images, rebuilt.float()), losses.error)
