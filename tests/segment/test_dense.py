from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.errors import UsageError
from tenfold.segment.dense import AtrousPyramid, DilatedSegmenter

from ..nets.builders import parameters
from .builders import norm_by_hand, randomised

NAMES = ["drn-a-50", "drn-c-26", "drn-d-22"]


def segmenter(name: str, *, pyramid: bool = False) -> DilatedSegmenter:
    torch.manual_seed(0)
    return randomised(DilatedSegmenter(name, 5, width=2, pyramid=pyramid))


def layer_by_hand(layer: Any, x: Tensor, rate: int = 1) -> Tensor:
    convolution, norm, _ = layer
    padding = rate if convolution.weight.shape[2] == 3 else 0
    return norm_by_hand(F.conv2d(x, convolution.weight, padding=padding, dilation=rate), norm, 1e-5).relu()


def test_the_pyramid_is_deeplabs() -> None:
    module = randomised(AtrousPyramid(6, 4)).double()
    x = torch.randn(2, 6, 9, 30, dtype=torch.float64)
    branches = [layer_by_hand(layer, x, rate) for layer, rate in zip(module.branches, (1, 12, 24, 36), strict=True)]
    mean = layer_by_hand(module.whole, x.mean((2, 3), keepdim=True)).expand(2, 4, 9, 30)
    torch.testing.assert_close(module(x), layer_by_hand(module.project, torch.cat([*branches, mean], 1)))
    assert [tuple(layer[0].weight.shape) for layer in module.branches] == [(4, 6, 1, 1), *[(4, 6, 3, 3)] * 3]  # type: ignore[index]


@pytest.mark.parametrize("pyramid", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_the_head_reads_an_eighth_and_answers_for_every_pixel(name: str, pyramid: bool) -> None:
    network = segmenter(name, pyramid=pyramid).double()
    x = torch.randn(1, 3, 40, 49, dtype=torch.float64)
    features = network.backbone.features(x)
    assert features.shape[2:] == (5, 7)
    low = network.classifier(network.pyramid(features))
    assert low.shape == (1, 5, 5, 7)
    wanted = F.interpolate(low, (40, 49), mode="bilinear", align_corners=False)
    torch.testing.assert_close(network(x), wanted)


def test_parameters() -> None:
    plain, pyramid = (segmenter("drn-d-22", pyramid=which) for which in (False, True))
    channels, inner, classes = 32 * 2, 16 * 2, 5
    pooled = (channels + 3 * 9 * channels + channels + 5 * inner) * inner + 6 * 2 * inner
    assert parameters(plain) == parameters(plain.backbone) + (channels + 1) * classes
    assert parameters(pyramid) == parameters(plain.backbone) + pooled + (inner + 1) * classes
    with torch.device("meta"):  # the published DRN-D-22 for 19 classes of Cityscapes
        assert parameters(DilatedSegmenter("drn-d-22", 19)) == 16_393_752 - 513 * 1000 + 513 * 19


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(NAMES), st.booleans(), st.integers(0, 2), st.integers(1, 40), st.integers(1, 40))
def test_pictures_of_any_size(name: str, pyramid: bool, count: int, height: int, width: int) -> None:
    network = segmenter(name, pyramid=pyramid)
    assert network(torch.randn(count, 3, height, width)).shape == (count, 5, height, width)


@pytest.mark.parametrize("pyramid", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name: str, pyramid: bool) -> None:
    network = segmenter(name, pyramid=pyramid).double()
    out = network(torch.randn(2, 3, 320, 48, dtype=torch.float64))  # as high as the widest dilation reaches
    torch.autograd.backward((out * torch.randn(out.shape)).sum())
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert not any(isinstance(module, nn.Linear) for module in network.modules())


def test_a_sentence_for_an_unknown_backbone() -> None:
    with pytest.raises(UsageError, match=r"^net is 'drn-b-26', but must be one of drn-a-50, drn-c-26, .*drn-d-38$"):
        DilatedSegmenter("drn-b-26", 5)
