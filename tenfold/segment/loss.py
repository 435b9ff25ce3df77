"""The loss of every pixel, as pure functions of tensors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.masks import IGNORE


class PixelLoss(NamedTuple):
    """A weighted mean, taken apart so that it can be added up over processes."""

    total: Tensor
    """sum over the labelled pixels of weight times cross entropy"""
    weight: Tensor
    """sum of the weights of these pixels; `total / weight` is the loss"""


def class_weights(shares: Tensor, *, ceiling: float = 1.10) -> Tensor:
    """What pixels of each class count for: 1 / ln(ceiling + share), as in ENet (arXiv:1606.02147) and the authors' code.

    Args:
        shares: (K,), the share of each class among the labelled pixels, in [0, 1].
        ceiling: above 1; rare classes count for 1 / ln(ceiling) at most.
    """
    return 1 / torch.log(ceiling + shares)


def pixel_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> PixelLoss:
    """Cross entropy of every labelled pixel, weighted by the class of its label.

    Args:
        logits: (N, K, H, W).
        labels: int64 (N, H, W), in [0, K), or `IGNORE`.
        weights: (K,).
    """
    total = F.cross_entropy(logits, labels, weights, ignore_index=IGNORE, reduction="sum")
    padded = torch.cat([weights, weights.new_zeros(1)])
    return PixelLoss(total, padded[labels.where(labels != IGNORE, len(weights))].sum())
