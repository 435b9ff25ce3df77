"""The losses of the rivals, as pure functions of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def old_heads_distance(given: Sequence[Tensor], wanted: Sequence[Tensor], *, temperature: float) -> Tensor:
    """Learning without forgetting's distillation: sum over heads of the mean over the batch of -sum_c q_c log p_c.

    p and q are softmax(logits / temperature) of `given` and `wanted` (arXiv:1606.09282, equations 2 to 4).

    Args:
        given: for each old head, its scores now, (N, classes).
        wanted: the same heads' scores before the current task, of the same shapes.
        temperature: above 0.
    """
    total = given[0].new_zeros(())
    for scores, before in zip(given, wanted, strict=True):
        soft = (before / temperature).softmax(1)
        total = total - (soft * (scores / temperature).log_softmax(1)).sum(1).mean()
    return total


def consolidation(weights: Sequence[Tensor], anchors: Sequence[Tensor], fisher: Sequence[Tensor]) -> Tensor:
    """Elastic weight consolidation's penalty, sum_i F_i (w_i - a_i)^2 / 2 (arXiv:1612.00796, equation 3, without lambda).

    Args:
        weights: tensors of any shapes.
        anchors: what they were after an earlier task, of the same shapes.
        fisher: the diagonal of that task's Fisher information, of the same shapes.
    """
    parts = [
        (value * (weight - anchor).square()).sum()
        for weight, anchor, value in zip(weights, anchors, fisher, strict=True)
    ]
    return torch.stack(parts).sum() / 2
