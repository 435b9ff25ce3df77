"""Networks of this package are students of `distill`, like any other."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tenfold.core.errors import UsageError
from tenfold.distill import FeatureDistiller
from tenfold.segment import C3Net, convert_dilated
from tenfold.segment.dense import DilatedSegmenter


@pytest.fixture
def teacher() -> DilatedSegmenter:
    torch.manual_seed(0)
    return DilatedSegmenter("drn-d-22", 5, width=2)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(4, 3, 32, 48, generator=torch.Generator().manual_seed(1))


def falls(distiller: FeatureDistiller, images: torch.Tensor) -> None:
    """Both losses fall over some steps on one batch, one pixel in five of which is not labelled."""
    labels = torch.randint(5, (4, 32, 48), generator=torch.Generator().manual_seed(2))
    labels[:, ::5] = 255
    optimizer = torch.optim.Adam(distiller.parameters(), 3e-3)
    distiller.train()
    losses = []
    for _ in range(12):
        loss = distiller(images, labels)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        losses.append((float(loss.task.detach()), float(loss.feature.detach())))
    assert losses[-1][0] < losses[0][0]
    assert losses[-1][1] < 0.9 * losses[0][1]


def test_a_converted_network_learns_from_the_dense_one(teacher: DilatedSegmenter, images: torch.Tensor) -> None:
    student = copy.deepcopy(teacher)
    table = convert_dilated(student, images, keep="all", initialise="random", repeats=1)
    assert table.converted
    distiller = FeatureDistiller(teacher, student, example=images, alpha=1e-3)
    # the PReLUs inside of the new blocks are not taken for the ends of stages: both have the same positions
    assert [pair.teacher.name for pair in distiller.positions] == [pair.student.name for pair in distiller.positions]
    assert len(list(distiller.positions)) == 6
    falls(distiller, images)


def test_c3net_learns_from_a_dense_network(teacher: DilatedSegmenter, images: torch.Tensor) -> None:
    student = C3Net(5, depths=(1, 1))
    names = set(student.state_dict())
    distiller = FeatureDistiller(
        teacher,
        student,
        example=images,
        alpha=1e-3,
        positions=[
            ("backbone.layer4", "encoder.stage_quarter"),
            ("backbone.layer8.2", "encoder.after_eighth.activation"),
        ],
    )
    falls(distiller, images)
    assert set(student.state_dict()) == names


def test_a_teacher_of_prelus_is_refused(teacher: DilatedSegmenter, images: torch.Tensor) -> None:
    class Sloped(nn.Sequential):
        pass

    sloped = Sloped(
        nn.Conv2d(3, 4, 3, padding=1), nn.PReLU(4), nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.PReLU(4)
    )
    assert FeatureDistiller(teacher, sloped, example=images).positions
    with pytest.raises(UsageError, match=r"^Sloped is built with prelu, .* form=\"plain\""):
        FeatureDistiller(sloped, teacher, example=images)
