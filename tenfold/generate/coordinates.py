"""From a person's latents to what the network reads: centred, perhaps rotated, in an order, each with a spread of one; and back.

N rows, D dimensions. With z the latents, R a rotation (or none) and o an order, u = ((z - mean) R)[o] / scale.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from operator import index
from typing import Literal

import torch
from torch import Tensor, nn

from ..core.errors import UsageError

NamedOrder = Literal["index", "variance", "pca"]
ORDERS: tuple[NamedOrder, ...] = ("index", "variance", "pca")
Order = NamedOrder | Sequence[int]

CONSTANT = 1e-6
"""A dimension whose spread is at most this share of its size (rotated: of the largest spread) does not vary at all."""
UNIT = 1e-3
"""The scale of a dimension that does not vary, as a share of its size: what a difference from its value is measured in."""


class Coordinates(nn.Module):
    """u = ((z - mean) R)[order] / scale, all in buffers; identity until `fit`.

    Args:
        dim: D.
        order: in which dimensions follow each other. `index`: as they come (paper). `variance`: the largest first. `pca`: the
            principal components, the largest first. Or a permutation of 0 .. D-1.

    Raises:
        UsageError: the order is none of these.
    """

    mean: Tensor
    scale: Tensor
    order: Tensor
    rotation: Tensor
    varying: Tensor

    def __init__(self, dim: int, order: Order = "index") -> None:
        super().__init__()
        self.kind = order if isinstance(order, str) else "given"
        places = order_places(dim, order)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        self.register_buffer("order", torch.tensor(places))
        self.register_buffer("rotation", torch.eye(dim) if order == "pca" else torch.empty(0))
        self.register_buffer("varying", torch.ones(dim, dtype=torch.bool))

    @torch.no_grad()
    def fit(self, rows: Tensor, *, standardize: bool = True) -> None:
        """Take mean, spread, order and rotation from rows (N, D) that are finite.

        Warns of dimensions that never vary. They stay out of the density; see `LatentDensity`.
        """
        values = rows.detach().cpu().double()  # wherever the buffers are
        mean = values.mean(0)
        centred = values - mean
        size = values.abs().amax(0)
        if self.kind == "pca":
            # of the covariance, in rising order; a QR would leave the order to chance
            rotation = torch.linalg.eigh(centred.T @ centred / len(rows)).eigenvectors.flip(1)
            self.rotation.copy_(rotation)
            centred = centred @ rotation
            size = centred.square().mean(0).sqrt().amax().expand_as(mean)
        elif not standardize:
            mean = torch.zeros_like(mean)
        scale = centred.square().mean(0).sqrt()
        varying = scale > CONSTANT * size
        if self.kind == "variance":
            self.order.copy_(scale.argsort(descending=True, stable=True))
        _warn_of_constants(varying, self.kind)
        self.mean.copy_(torch.where(varying | bool(self.rotation.numel()), mean, values.mean(0)))
        unit = UNIT * torch.where(size > 0, size, 1.0)
        order = self.order.cpu()
        self.scale.copy_(torch.where(varying, scale if standardize else torch.ones_like(scale), unit)[order])
        self.varying.copy_(varying[order])

    def forward(self, latents: Tensor) -> Tensor:
        """Latents (..., D) -> coordinates (..., D)."""
        centred = latents - self.mean
        if self.rotation.numel():
            centred = centred @ self.rotation
        return centred[..., self.order] / self.scale

    def inverse(self, coordinates: Tensor) -> Tensor:
        """Coordinates (..., D) -> latents (..., D); a dimension that never varied gets its one value."""
        scaled = torch.where(self.varying, coordinates * self.scale, 0.0)
        centred = torch.empty_like(scaled)
        centred[..., self.order] = scaled
        if self.rotation.numel():
            centred = centred @ self.rotation.T
        return centred + self.mean

    def prefix(self, values: Tensor) -> Tensor:
        """The coordinates (..., P) of given values (..., P) of the first P dimensions, those of `order[:P]`.

        Raises:
            UsageError: the dimensions are rotated, so that none of them is a latent's.
        """
        if self.rotation.numel():
            raise UsageError(
                "a prefix was given, but with order 'pca' the dimensions are mixtures of all; it must be another order"
            )
        count = values.shape[-1]
        return (values - self.mean[self.order[:count]]) / self.scale[:count]

    def log_volume(self) -> Tensor:
        """The logarithm of du / dz over the dimensions that vary: what log densities in z have over those in u; a number."""
        return -self.scale.log()[self.varying].sum()


def order_places(dim: int, order: Order) -> list[int]:
    """The permutation that an order begins with.

    Raises:
        UsageError: it is neither a name nor a permutation of 0 .. D-1.
    """
    allowed = f"must be {', '.join(ORDERS)} or a permutation of 0 to {dim - 1}"
    if isinstance(order, str):
        if order not in ORDERS:
            raise UsageError(f"order is {order!r}, but {allowed}")
        return list(range(dim))
    try:
        places = [index(place) for place in order]
    except TypeError:
        raise UsageError(f"order is {order!r}, but {allowed}") from None
    if sorted(places) != list(range(dim)):
        raise UsageError(f"order is {places}, but {allowed}")
    return places


def _warn_of_constants(varying: Tensor, kind: str) -> None:
    constant = (~varying).nonzero().flatten().tolist()
    if constant:
        what = "principal components" if kind == "pca" else "columns"
        some = ", ".join(map(str, constant[:8])) + (", ..." if len(constant) > 8 else "")
        warnings.warn(
            f"{len(constant)} of {len(varying)} {what} never vary ({some}); the density is of the others",
            UserWarning,
            stacklevel=6,  # whoever called `LatentDensity.fit`
        )
