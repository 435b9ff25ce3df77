"""`GenerativeAutoencoder`: any encoder and decoder with a density between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..core.errors import UsageError
from ..core.modes import evaluating
from .density import LatentDensity
from .paths import likely_path
from .rows import device_of

BATCH = 256
"""rows decoded at once"""


class GenerativeAutoencoder(nn.Module):
    """Samples, rebuilds, scores and passes between the inputs of an autoencoder, by the density of its latents.

    All three are used as they are: called in `eval` mode, whatever mode they are in, without gradients, never trained.

    Args:
        encoder: inputs (N, ...) -> latents, of D numbers a row.
        decoder: latents (N, D), or of `latent_shape`, -> outputs (N, ...).
        density: of the latents, fitted already or by `fit`.
        latent_shape: of one row, without N, where it is not (D,): such as (4, 8, 8) for D = 256.

    Raises:
        UsageError: the shape does not have the density's D numbers.
    """

    def __init__(
        self,
        encoder: Callable[[Tensor], Tensor],
        decoder: Callable[[Tensor], Tensor],
        density: LatentDensity,
        *,
        latent_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.latent_shape = (density.dim,) if latent_shape is None else tuple(latent_shape)
        if math.prod(self.latent_shape) != density.dim:
            raise UsageError(
                f"latent_shape is {self.latent_shape}, but must have {density.dim} numbers: the density has that dim"
            )
        self.encoder = encoder
        self.decoder = decoder
        self.density = density

    def fit(self, inputs: Iterable[Any], **options: Any) -> Self:
        """Learn the density of the latents of all batches of a loader; options are those of `LatentDensity.fit`."""
        self.density.fit((self.encode, inputs), **options)
        return self

    @torch.no_grad()
    def encode(self, inputs: Tensor) -> Tensor:
        """Inputs (N, ...) -> latents (N, D), on the device of the density.

        Raises:
            UsageError: the encoder gives another number of latents, or no tensor.
        """
        with evaluating(self.encoder):
            latents = self.encoder(inputs.to(device_of(self.encoder) or inputs.device))
        if not isinstance(latents, Tensor):
            raise UsageError(f"the encoder gives {type(latents).__name__}, but must give one tensor of latents")
        if latents.shape[1:].numel() != self.density.dim:
            raise UsageError(
                f"the encoder gives latents of shape {tuple(latents.shape)}, but must give {self.density.dim} numbers a row"
            )
        return latents.flatten(1).to(self.density.device)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents (N, D) -> outputs (N, ...), decoded 256 at a time on the decoder's device and in its type.

        Raises:
            UsageError: the latents have another shape.
        """
        if latents.ndim != 2 or latents.shape[1] != self.density.dim:
            raise UsageError(f"latents have shape {tuple(latents.shape)}, but must be (N, {self.density.dim})")
        weights = self.decoder.parameters() if isinstance(self.decoder, nn.Module) else iter(())
        like = next((weight for weight in weights if weight.is_floating_point()), latents)
        rows = latents.view(-1, *self.latent_shape).to(device=like.device, dtype=like.dtype)
        with evaluating(self.decoder):
            return torch.cat([self.decoder(part) for part in rows.split(BATCH)])

    def sample(self, count: int, **options: Any) -> Tensor:
        """Outputs (count, ...) from latents that the density draws; options are those of `LatentDensity.sample`."""
        return self.decode(self.density.sample(count, **options))

    def reconstruct(self, inputs: Tensor, *, active: int | None = None) -> Tensor:
        """Inputs (N, ...) -> outputs (N, ...), through all latents or the first `active` alone, the others at their mean.

        Raises:
            UsageError: `active` is out of range.
        """
        latents = self.encode(inputs)
        if active is not None:
            if not 0 <= active <= self.density.dim:
                raise UsageError(f"active is {active}, but must be 0 to {self.density.dim}")
            kept = torch.arange(self.density.dim, device=latents.device) < active
            latents = torch.where(kept, latents, self.density.coordinates.mean.to(latents))
        return self.decode(latents)

    @torch.no_grad()
    def log_prob(self, inputs: Tensor) -> Tensor:
        """Log-density of the inputs' latents, (N,), nats. It is of latents, not of inputs."""
        with evaluating(self.density):
            return self.density.log_prob(self.encode(inputs))

    def typicality(self, inputs: Tensor) -> Tensor:
        """`LatentDensity.typicality` of the inputs' latents, (N,), in [0, 1]: near 0 is unlike the training inputs."""
        with evaluating(self.density):
            return self.density.typicality(self.encode(inputs))

    def outlier_score(self, inputs: Tensor) -> Tensor:
        """How much less likely the inputs' latents are than the median held-out ones, (N,), nats: the higher, the stranger.

        Raises:
            UsageError: the density was not fitted.
        """
        return self.density.median - self.log_prob(inputs)

    def interpolate(self, start: Tensor, end: Tensor, *, steps: int = 9, weight: float = 1.0) -> Tensor:
        """Outputs (steps, ...) on the way from one input to another, along latents that are likely.

        Args:
            start: one input, without N.
            end: like it.
            steps: how many, both rebuilt ends among them; at least 2.
            weight: how much the way bends to high density; 0 is a straight line. See `likely_path`.

        Raises:
            UsageError: an argument is out of range.
        """
        ends = self.encode(torch.stack([start, end]))
        return self.decode(self.path(ends[0], ends[1], steps=steps, weight=weight))

    def path(self, start: Tensor, end: Tensor, *, steps: int = 9, weight: float = 1.0) -> Tensor:
        """`interpolate` between latents (D,), as latents (steps, D)."""
        ends = [end_.to(device=self.density.device, dtype=self.density.dtype) for end_ in (start, end)]
        spread = self.density.spread.clamp_min(1e-12)
        with evaluating(self.density):
            return likely_path(self.density.log_prob, ends[0], ends[1], steps=steps, weight=weight, scale=spread)
