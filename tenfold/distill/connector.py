"""What brings a student's features to the teacher's: channels by a 1x1 convolution and a norm, pixels by pooling."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F


def make_connector(student: int, teacher: int) -> nn.Sequential:
    """(N, student, H, W) -> (N, teacher, H, W): the paper's 1x1 convolution without bias and batch normalisation.

    The weights are normal with spread sqrt(2 / teacher), as in the authors' code.
    """
    convolution = nn.Conv2d(student, teacher, 1, bias=False)
    nn.init.normal_(convolution.weight, std=math.sqrt(2 / teacher))
    return nn.Sequential(convolution, nn.BatchNorm2d(teacher))


def same_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pool the larger of two feature maps to the size of the smaller, by height and by width. Ours."""
    size = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
    pooled = [x if x.shape[2:] == size else F.adaptive_avg_pool2d(x, size) for x in (student, teacher)]
    return pooled[0], pooled[1]
