"""Rows of numbers from what a person has: an array, or a model and its data. Checked before anything is learned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import UsageError
from ..core.modes import evaluating
from ..core.number_files import check_finite

FEWEST = 20
"""rows that a density is learned from, at least; a tenth of them is held out"""

Encoder = Callable[[Tensor], Any]
Source = Tensor | np.ndarray[Any, Any] | Sequence[Sequence[float]] | tuple[Encoder, Iterable[Any]]


def as_rows(source: Source, dim: int, *, fewest: int = 1, what: str = "latents") -> Tensor:
    """Rows (N, D) on the CPU, float32 or what they were, from an array or from (encoder, loader).

    Args:
        source: (N, D) numbers; or an encoder and the batches it reads, see `encode`.
        dim: D.
        fewest: N has to be at least this.
        what: the name of the rows in errors.

    Raises:
        UsageError: the shape is another, there are too few rows, or a number is not finite.
    """
    if isinstance(source, tuple) and len(source) == 2 and callable(source[0]):
        rows = encode(*source)
    else:
        rows = _as_tensor(source, what).detach().cpu()
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise UsageError(f"{what} have shape {tuple(rows.shape)}, but must be (N, {dim}): the density has dim {dim}")
    if len(rows) < fewest:
        raise UsageError(f"there are {len(rows)} rows of {what}, but must be at least {fewest}")
    rows = rows if rows.is_floating_point() and rows.dtype.itemsize >= 4 else rows.float()
    check_finite(rows, what)
    return rows


def _as_tensor(source: Any, what: str) -> Tensor:
    try:
        rows = torch.as_tensor(source)
    except (TypeError, ValueError, RuntimeError):
        raise UsageError(
            f"{what} are of type {type(source).__name__}, but must be numbers (N, D), or a pair of an encoder and a loader"
        ) from None
    if rows.is_complex():
        raise UsageError(f"{what} are complex numbers, but must be real")
    return rows


@torch.no_grad()
def encode(encoder: Encoder, loader: Iterable[Any]) -> Tensor:
    """The latents (N, D) of all batches of a loader, on the CPU.

    Args:
        encoder: batch -> latents, (n, D) or (n, D, 1, 1); a module is called in `eval` mode, on its own device, and left in
            the mode it was in.
        loader: gives batches, or tuples or lists whose first is the batch.

    Raises:
        UsageError: the loader gives nothing, or the encoder something else than one tensor.
    """
    device = device_of(encoder)
    parts = []
    with evaluating(encoder):
        for item in loader:
            batch = item[0] if isinstance(item, list | tuple) else item
            latents = encoder(batch if device is None else batch.to(device))
            if not isinstance(latents, Tensor) or latents.ndim < 2:
                given = f"of shape {tuple(latents.shape)}" if isinstance(latents, Tensor) else type(latents).__name__
                raise UsageError(f"the encoder gives {given}, but must give one tensor (N, D) or (N, D, ...)")
            parts.append(latents.flatten(1).cpu())
    if not parts:
        raise UsageError("the loader gave no batch, but must give at least one")
    return torch.cat(parts)


def device_of(part: object) -> torch.device | None:
    """Where a module's weights are; None for what has none."""
    parameters = part.parameters() if isinstance(part, nn.Module) else iter(())
    return next((tensor.device for tensor in parameters), None)
