"""Other densities of latents, behind the interface of `LatentDensity` that a run uses. N rows, D dimensions, K components."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..core.batches import derive_seed
from .coordinates import Coordinates


class GaussianMixture(nn.Module):
    """K Gaussians, fitted by scikit-learn's expectation maximisation; with K = 1 it is the Gaussian of mean and covariance.

    Args:
        dim: D.
        components: K.
        covariance: `full`, or `diag`: every latent by itself.
    """

    means: Tensor
    factors: Tensor
    log_weights: Tensor

    def __init__(self, dim: int, components: int = 1, *, covariance: Literal["full", "diag"] = "full") -> None:
        super().__init__()
        self.covariance = covariance
        # the library's floor of a variance, 1e-6, is in the unit of what it is given
        self.coordinates = Coordinates(dim)
        self.register_buffer("means", torch.zeros(components, dim))
        self.register_buffer("factors", torch.eye(dim).repeat(components, 1, 1))  # lower Cholesky, of the covariances
        self.register_buffer("log_weights", torch.full((components,), -math.log(components)))

    def fit(self, rows: Tensor, *, seed: int) -> None:
        """Learn from rows (N, D), N at least K."""
        from sklearn.mixture import GaussianMixture as Fitted

        self.coordinates.fit(rows)
        found = Fitted(
            len(self.means),
            covariance_type=self.covariance,
            max_iter=300,
            random_state=derive_seed(seed, "gmm") % 2**32,
        ).fit(self.coordinates(rows.to(self.means.device)).double().cpu().numpy())
        covariances = torch.from_numpy(found.covariances_)
        if self.covariance == "diag":
            covariances = torch.diag_embed(covariances)
        self.means.copy_(torch.from_numpy(found.means_))
        self.factors.copy_(torch.linalg.cholesky(covariances))
        self.log_weights.copy_(torch.from_numpy(found.weights_).log())

    def forward(self, rows: Tensor) -> Tensor:
        """log p(z): (N, D) -> (N,), nats."""
        normal = torch.distributions.MultivariateNormal(self.means, scale_tril=self.factors, validate_args=False)
        values = self.coordinates(rows)
        return torch.logsumexp(self.log_weights + normal.log_prob(values[:, None]), 1) + self.coordinates.log_volume()

    def sample(self, count: int, *, seed: int) -> Tensor:
        """Rows (count, D)."""
        random = torch.Generator().manual_seed(seed)
        chosen = torch.multinomial(self.log_weights.exp().cpu(), count, replacement=True, generator=random)
        noise = torch.randn(count, self.means.shape[1], generator=random)
        chosen, noise = chosen.to(self.means.device), noise.to(self.means)
        return self.coordinates.inverse(self.means[chosen] + (self.factors[chosen] @ noise[..., None])[..., 0])


class Flow(nn.Module):
    """A masked autoregressive flow (Papamakarios et al. 2017) of the library zuko, on standardised latents.

    Args:
        dim: D.
        transforms: autoregressive transforms, in alternating orders.
        hidden: width of the two hidden layers of each.
    """

    def __init__(self, dim: int, *, transforms: int = 3, hidden: int = 128) -> None:
        super().__init__()
        from zuko.flows import MAF

        self.coordinates = Coordinates(dim)
        self.flow: Any = MAF(dim, transforms=transforms, hidden_features=(hidden, hidden))

    def prepare(self, rows: Tensor) -> None:
        """Before learning: take the coordinates from the rows (N, D)."""
        self.coordinates.fit(rows)

    def forward(self, rows: Tensor) -> Tensor:
        """log p(z): (N, D) -> (N,), nats."""
        return self.flow().log_prob(self.coordinates(rows)) + self.coordinates.log_volume()

    @torch.no_grad()
    def sample(self, count: int, *, seed: int) -> Tensor:
        """Rows (count, D)."""
        noise = torch.randn(count, len(self.coordinates.mean), generator=torch.Generator().manual_seed(seed))
        values = self.flow().transform.inv(noise.to(self.coordinates.mean))
        return self.coordinates.inverse(values)


class StandardNormal(nn.Module):
    """N(0, I): a VAE's own prior."""

    zeros: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("zeros", torch.zeros(dim))

    def forward(self, rows: Tensor) -> Tensor:
        """log p(z): (N, D) -> (N,), nats."""
        return -0.5 * (rows.square() + math.log(2 * math.pi)).sum(1)

    def sample(self, count: int, *, seed: int) -> Tensor:
        """Rows (count, D)."""
        rows = torch.randn(count, len(self.zeros), generator=torch.Generator().manual_seed(seed))
        return rows.to(self.zeros)
