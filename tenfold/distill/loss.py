"""The losses of `distill` and of its rivals, pure functions of tensors.

N pictures, C channels of the teacher, H x W pixels, S' the student's features behind their connector, T' the teacher's behind
the margin ReLU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

PIECE = 1 << 18
"""elements that are worked on at once on a CPU: they stay in its cache from one operation to the next"""


def partial_l2(student: Tensor, teacher: Tensor, margin: Tensor, *, overwrite: bool = False) -> Tensor:
    """The paper's distance, summed over everything: sum of (S' - T')^2 where S' > T' or T' > 0, with T' = max(T, m).

    Where the teacher is at or below zero, a student that is lower still is left alone. Computed and summed in float32 (in
    float64 where given that), whatever the precision of the features.

    Args:
        student: (N, C, H, W).
        teacher: (N, C, H, W), before the margin; gets no gradient.
        margin: (1, C, 1, 1), at most 0.
        overwrite: the memory of `student` may be used, because nobody else reads it and there is one backward pass.

    Returns:
        A scalar; its gradient is exactly 0 at every element that is left alone.
    """
    loss: Tensor = _PartialL2.apply(student, teacher.detach(), margin.detach(), overwrite)  # type: ignore[no-untyped-call]
    return loss


class _PartialL2(torch.autograd.Function):
    """One difference is all that is kept for the gradient: a transcription of the formula keeps five tensors of its size."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, margin: Tensor, overwrite: bool) -> Tensor:
        precise = torch.promote_types(student.dtype, torch.float32)
        ctx.student_type, ctx.overwrite = student.dtype, overwrite
        student, margin = student.to(precise), margin.to(precise)
        difference = student.detach() if overwrite else torch.empty_like(student)
        rows = max(1, PIECE // max(1, student[:1].numel())) if student.device.type == "cpu" else max(1, len(student))
        squares = student.new_zeros(())
        for learned, taught, kept in zip(student.split(rows), teacher.split(rows), difference.split(rows), strict=True):
            target = torch.maximum(taught.to(precise), margin)
            # Where T' <= 0 the student is raised to T', and is alone there; elsewhere it is raised to minus infinity, and
            # stays. Masks would say the same, but filling by a mask takes ten times as long as a comparison on a CPU.
            floor = F.threshold(-target, -torch.finfo(precise).tiny, torch.inf, inplace=True).neg_()
            torch.sub(torch.maximum(learned, floor, out=floor), target, out=kept)
            squares += _sum_of_squares(kept)
        ctx.save_for_backward(difference)
        return squares

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (difference,) = ctx.saved_tensors
        slope = difference.mul_(2 * gradient) if ctx.overwrite else difference * (2 * gradient)
        return slope.to(ctx.student_type), None, None, None


def _sum_of_squares(values: Tensor) -> Tensor:
    # on a CPU a norm adds up one after another, which loses digits; on a GPU it saves a tensor
    return values.square().sum() if values.device.type == "cpu" else torch.linalg.vector_norm(values).square()


def plain_l2(student: Tensor, teacher: Tensor) -> Tensor:
    """Sum of (S - T)^2 over everything, in float32: for networks whose activations have no threshold. Ours, not the paper's."""
    return (student.float() - teacher.detach().float()).square().sum()


def position_weights(count: int) -> tuple[float, ...]:
    """1 / 2^(n-1-i) for i = 0 .. n-1: each position weighs half of the next deeper one, the deepest 1."""
    return tuple(0.5 ** (count - 1 - index) for index in range(count))


def logit_distance(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) of softened logits (N, classes, ...), times temperature^2, mean over the predictions.

    Hinton et al., arXiv:1503.02531.
    """
    target = torch.log_softmax(teacher.detach().float() / temperature, dim=1)
    guess = torch.log_softmax(student.float() / temperature, dim=1)
    return F.kl_div(guess, target, reduction="none", log_target=True).sum(1).mean() * temperature**2


def hint_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of (S' - T)^2 of features behind their ReLU, (N, C, H, W): FitNets, arXiv:1412.6550, equation 3."""
    return F.mse_loss(student.float(), teacher.detach().float())


def attention_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of normalised attention maps: arXiv:1612.03928, with the maps sum_c F_c^2.

    Args:
        student: (N, C1, H, W) behind the ReLU.
        teacher: (N, C2, H, W) behind the ReLU.
    """
    return (attention(student) - attention(teacher.detach())).square().mean()


def attention(features: Tensor) -> Tensor:
    """Features (N, C, H, W) -> (N, H W), each picture's map of unit length."""
    return F.normalize(features.float().square().mean(1).flatten(1))
