"""What one training step minimises: the method, and the ways of learning that it is compared with.

One module with one forward call a step, because data parallelism synchronises gradients of exactly that.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import Config, Method
from .connector import make_connector, same_size
from .distiller import FeatureDistiller
from .loss import attention_distance, hint_distance, logit_distance
from .pairs import pair_positions
from .positions import Position
from .taps import reading
from .teacher import teaching


class Losses(NamedTuple):
    """Scalars; `total` is the one to differentiate."""

    total: Tensor
    task: Tensor
    transfer: Tensor
    """what the teacher adds"""


class Alone(nn.Module):
    """Cross-entropy, no teacher."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def forward(self, images: Tensor, targets: Tensor) -> Losses:
        task = F.cross_entropy(self.student(images).float(), targets)
        return Losses(task, task.detach(), task.new_zeros(()))


class LogitDistillation(nn.Module):
    """(1 - w) cross-entropy + w T^2 KL(teacher || student) of logits softened by T (arXiv:1503.02531)."""

    def __init__(self, teacher: nn.Module, student: nn.Module, *, temperature: float, weight: float) -> None:
        super().__init__()
        self.student = student
        self._teacher = (teacher,)
        self.temperature, self.weight = temperature, weight

    def forward(self, images: Tensor, targets: Tensor) -> Losses:
        with teaching(self._teacher[0], "running"):
            taught = self._teacher[0](images)
        logits = self.student(images)
        task = (1 - self.weight) * F.cross_entropy(logits.float(), targets)
        transfer = self.weight * logit_distance(logits, taught, self.temperature)
        return Losses(task + transfer, task.detach(), transfer.detach())


class FeatureRival(nn.Module):
    """Cross-entropy + weight x distance of features behind the ReLUs at the ends of stages.

    `hints` is the distance of the middle position behind a regressor (FitNets, arXiv:1412.6550, in one stage and with a norm
    and a ReLU behind the 1x1 convolution, as later comparisons do); `attention` that of the attention maps of all positions
    (arXiv:1612.03928).
    """

    def __init__(self, teacher: nn.Module, student: nn.Module, example: Tensor, *, kind: Method, weight: float) -> None:
        super().__init__()
        self.student = student
        self._teacher = (teacher,)
        self.kind, self.weight = kind, weight
        pairs = pair_positions(teacher, student, example, None)
        if kind == "hints":
            pairs = [pairs[len(pairs) // 2]]
        self.positions: list[tuple[Position, Position]] = pairs
        self.regressors = nn.ModuleList(
            nn.Sequential(make_connector(of_student.shape[0], of_teacher.shape[0]), nn.ReLU())
            if kind == "hints"
            else nn.Identity()
            for of_teacher, of_student in pairs
        )

    def forward(self, images: Tensor, targets: Tensor) -> Losses:
        with reading(self.student, [position for _, position in self.positions]) as seen:
            logits = self.student(images)
        teacher = self._teacher[0]
        with teaching(teacher, "running"), reading(teacher, [position for position, _ in self.positions]) as taught:
            teacher(images)
        distance = hint_distance if self.kind == "hints" else attention_distance
        terms = [
            distance(*same_size(regressor(F.relu(features)), F.relu(target)))
            for features, target, regressor in zip(seen.tensors, taught.tensors, self.regressors, strict=True)
        ]
        task = F.cross_entropy(logits.float(), targets)
        transfer = self.weight * torch.stack(terms).sum()
        return Losses(task + transfer, task.detach(), transfer.detach())


class FeatureMethod(nn.Module):
    """Feature distillation before the ReLU."""

    def __init__(self, distiller: FeatureDistiller) -> None:
        super().__init__()
        self.distiller = distiller

    def forward(self, images: Tensor, targets: Tensor) -> Losses:
        loss = self.distiller(images, targets)
        return Losses(loss.total, loss.task.detach(), loss.feature.detach())


def make_objective(
    method: Method | str, teacher: nn.Module | None, student: nn.Module, example: Tensor, config: Config
) -> nn.Module:
    """The objective of one method; its parameters are the student's and what the method adds for the training.

    Args:
        method: one of `METHODS`; without a teacher it is `alone`.
        example: (N, C, H, W), N at least 2.
    """
    rivals, features = config.rivals, config.features
    if teacher is None or method == "alone":
        return Alone(student)
    if method == "logits":
        return LogitDistillation(teacher, student, temperature=rivals.temperature, weight=rivals.logit_weight)
    if method == "features":
        distiller = FeatureDistiller(
            teacher,
            student,
            example=example,
            alpha="auto" if features.auto_alpha else features.alpha,
            margin=features.margin,
            margin_form=features.margin_form,
            teacher_norm=features.teacher_norm,
        )
        return FeatureMethod(distiller)
    weight = rivals.hint_weight if method == "hints" else rivals.attention_weight
    kind: Method = "hints" if method == "hints" else "attention"
    return FeatureRival(teacher, student, example, kind=kind, weight=weight)
