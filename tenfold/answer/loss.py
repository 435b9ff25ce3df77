"""The loss of both stages: cross-entropy over the candidates that there are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def choice_loss(logits: Tensor, answers: Tensor) -> Tensor:
    """Mean of -log softmax(logits)[answer] over the questions whose answer is known; 0 where there is none.

    Of the supervised stage over candidate answers, of the self-supervised stage over paragraphs, where the right one is that of the
    highest TF-IDF.

    Args:
        logits: float (B, K), minus infinity where there is no candidate.
        answers: int64 (B), -1 where it is not known.
    """
    known = answers >= 0
    if not known.any():
        return logits.new_zeros(()) + 0 * logits[torch.isfinite(logits)].sum()
    return F.cross_entropy(logits[known], answers[known])
