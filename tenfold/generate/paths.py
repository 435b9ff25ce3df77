"""Ways from one latent vector to another that keep to where latents are likely. S steps, D dimensions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..core.errors import UsageError

UPDATES = 200
RATE = 0.05


def straight(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """S points at equal distances from start (..., D) to end (..., D), both among them: (S, ..., D)."""
    if steps < 2:
        raise UsageError(f"steps is {steps}, but must be at least 2: both ends are among them")
    if start.shape != end.shape:
        raise UsageError(f"the ends have shapes {tuple(start.shape)} and {tuple(end.shape)}, but must have the same")
    if not start.is_floating_point():
        start, end = start.float(), end.float()
    shares = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)
    return torch.lerp(
        start, end, shares.view(-1, *[1] * start.ndim)
    )  # exact at both ends, unlike start + 1 (end - start)


def likely_path(
    log_prob: Callable[[Tensor], Tensor],
    start: Tensor,
    end: Tensor,
    *,
    steps: int = 9,
    weight: float = 1.0,
    scale: Tensor | float = 1.0,
    updates: int = UPDATES,
) -> Tensor:
    """A way that bends to where the density is high (ours): the points that minimise

        (S - 1) / 2 sum_i (z_(i+1) - z_i)^2 - weight / (S - 1) sum_i log p(z_i)

    with both ends fixed, found by Adam from the straight line. The first term keeps the way short and its points at equal
    distances; it is the energy of a curve over time from 0 to 1.

    Args:
        log_prob: points (N, D) -> log-densities (N,), with gradients.
        start: (D,).
        end: (D,).
        steps: S, at least 2.
        weight: at least 0; 0 is the straight line.
        scale: (D,) or a number: the unit in which lengths are measured, such as each dimension's spread.
        updates: of Adam.

    Returns:
        (S, D), without gradients.

    Raises:
        UsageError: an argument is out of range or the shapes differ.
    """
    if weight < 0:
        raise UsageError(f"weight is {weight}, but must be at least 0")
    line = straight(start.detach(), end.detach(), steps)
    if weight == 0 or steps == 2:
        return line
    offsets = torch.zeros_like(line[1:-1]).requires_grad_()
    optimizer = torch.optim.Adam([offsets], RATE)
    with torch.enable_grad():
        for _ in range(updates):
            inner = line[1:-1] + offsets * scale
            path = torch.cat([line[:1], inner, line[-1:]])
            lengths = ((path[1:] - path[:-1]) / scale).square().sum()
            energy = 0.5 * (steps - 1) * lengths - weight / (steps - 1) * log_prob(inner).sum()
            (offsets.grad,) = torch.autograd.grad(energy, [offsets])
            optimizer.step()
    return (torch.cat([line[:1], line[1:-1] + offsets * scale, line[-1:]])).detach()
