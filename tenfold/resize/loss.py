"""The losses of `resize`, pure functions of tensors. N pictures, L gated blocks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def relative_cost(gates: Tensor, block_costs: Tensor, fixed_cost: Tensor | float = 0.0) -> Tensor:
    """Cost of each picture relative to the whole network: (fixed + sum_l c_l g_l) / (fixed + sum_l c_l). Ours.

    Args:
        gates: (N, L) in [0, 1].
        block_costs: (L,) non-negative, in any unit.
        fixed_cost: what is always computed, in the same unit.

    Returns:
        (N,) in [0, 1], differentiable in `gates`.
    """
    # no matrix product: automatic mixed precision would round it to bfloat16
    return (fixed_cost + (gates * block_costs).sum(1)) / (fixed_cost + block_costs.sum())


def scale_loss(cost: Tensor, scale: Tensor) -> Tensor:
    """Mean of (C - S)^2 over the pictures, both (N,) in [0, 1]. The paper names a scale loss; this form is ours."""
    return F.mse_loss(cost, scale)


def self_distillation(logits: Tensor, full_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(full || gated) times temperature^2, averaged over the pictures; no gradient to `full_logits`. Ours.

    Args:
        logits: (N, classes), from the gated path.
        full_logits: (N, classes), from the full-scale path of the same pictures.
        temperature: softening of both, above 0.
    """
    target = torch.log_softmax(full_logits.detach().float() / temperature, dim=1)
    guess = torch.log_softmax(logits.float() / temperature, dim=1)
    return F.kl_div(guess, target, reduction="batchmean", log_target=True) * temperature**2
