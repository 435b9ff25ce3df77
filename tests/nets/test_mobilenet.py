from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tenfold.core.cost import executed_macs
from tenfold.nets import MobileNetV1, MobileNetV2, build_net
from tenfold.nets.mobilenet import InvertedResidual, SeparableBlock

from ..resize.builders import assert_near
from ..zoo import load_zoo
from .builders import copy_in_order, lived_in, parameters


@pytest.mark.parametrize("multiplier", [0.5, 1.0, 1.4])
def test_torchvisions_weights_load_and_give_torchvisions_logits(multiplier: float) -> None:
    x = torch.randn(2, 3, 64, 96)
    mobilenet_v2 = load_zoo("torchvision.models").mobilenet_v2
    theirs = lived_in(mobilenet_v2(num_classes=5, width_mult=multiplier), x)
    ours = MobileNetV2(classes=5, multiplier=multiplier).eval()
    ours.load_state_dict(theirs.state_dict())
    assert_near(ours(x), theirs(x))
    assert executed_macs(ours, x) == executed_macs(theirs, x)


def test_timms_first_mobilenet_gives_the_same_logits() -> None:
    x = torch.randn(2, 3, 64, 96)
    theirs = lived_in(load_zoo("timm").create_model("mobilenetv1_100", num_classes=5, act_layer="relu"), x)
    ours = MobileNetV1(classes=5).eval()
    copy_in_order(theirs, ours)
    assert_near(ours(x), theirs(x))
    assert executed_macs(ours, x) == executed_macs(theirs, x)


# millions of parameters, and of multiply-accumulates at 224 pixels, as in arXiv:1704.04861 and arXiv:1801.04381
@pytest.mark.parametrize(
    ("name", "width", "millions", "macs"),
    [
        ("mobilenet", 16, 4.23, 569),
        ("mobilenet", 12, 2.59, 325),
        ("mobilenet", 8, 1.33, 149),
        ("mobilenet", 4, 0.47, 41),
        ("mobilenetv2", 16, 3.50, 300),
    ],
)
def test_networks_have_their_published_size(name: str, width: int, millions: float, macs: int) -> None:
    with torch.device("meta"):
        network = build_net(name, classes=1000, width=width).eval()
        found = executed_macs(network, torch.empty(1, 3, 224, 224))
    assert round(parameters(network) / 1e6, 2) == millions
    assert found / 1e6 == pytest.approx(macs, abs=1)


def resolutions(network: nn.Module, images: Tensor) -> list[int]:
    """The side of what each part of the features gives."""
    sides = []
    x = images
    for part in network.get_submodule("features").children():
        x = part(x)
        sides.append(x.shape[-1])
    return sides


@pytest.mark.parametrize("suffix", ["", "-small"])
@pytest.mark.parametrize("name", ["mobilenet", "mobilenetv2"])
def test_small_networks_differ_from_the_large_by_their_first_strides_only(name: str, suffix: str) -> None:
    large: Any = build_net(name, classes=3, width=4).eval()
    small: Any = build_net(name + "-small", classes=3, width=4).eval()
    half: Any = build_net(name + "-small", classes=3, width=4, half_stem=True).eval()
    assert parameters(large) == parameters(small) == parameters(half)
    x = torch.randn(1, 3, 32, 32)
    sides = resolutions(small, x)
    assert sides[0] == 32
    assert sides[-1] == 4
    assert [min(side, 32) for side in resolutions(large, torch.randn(1, 3, 128, 128))] == sides
    assert [2 * side for side in resolutions(half, x)] == sides


def test_a_separable_block_is_a_depthwise_and_a_pointwise_convolution() -> None:
    block: Any = SeparableBlock(6, 10, 2)
    assert block[0][0].groups == 6
    assert block[1][0].kernel_size == (1, 1)
    assert (
        [type(part) for part in block[0]] == [type(part) for part in block[1]] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    )
    assert block(torch.randn(2, 6, 7, 9)).shape == (2, 10, 4, 5)


def test_an_inverted_residual_adds_its_input_only_where_it_fits() -> None:
    x = torch.randn(2, 8, 7, 7)
    for outputs, stride, fits in ((8, 1, True), (8, 2, False), (16, 1, False)):
        block = lived_in(InvertedResidual(8, outputs, stride, expansion=6), x)
        assert torch.equal(block(x), x + block.conv(x) if fits else block.conv(x))


def test_dropout_is_before_the_classifier_and_in_training_only() -> None:
    network = MobileNetV2(classes=3, multiplier=0.25, stem="small", dropout=0.5)
    seen: list[Tensor] = []
    network.classifier[1].register_forward_hook(lambda module, args, out: seen.append(args[0]))
    x = torch.randn(4, 3, 8, 8)
    lived_in(network, x)(x)
    trained, evaluated = seen
    assert (trained == 0).float().mean() > (evaluated == 0).float().mean() + 0.1
