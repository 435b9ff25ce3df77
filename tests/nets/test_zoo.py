from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tenfold.core.cost import executed_macs
from tenfold.core.errors import UsageError
from tenfold.nets import (
    NETS,
    VGG,
    BasicBlock,
    Bottleneck,
    MobileNetV1,
    MobileNetV2,
    PreActivationBlock,
    PyramidBlock,
    PyramidBottleneck,
    PyramidNet,
    ResNet,
    build_net,
)
from tenfold.nets.zoo import stage_blocks

from .builders import lived_in, parameters

PYRAMIDS = ["pyramidnet-8-6", "pyramidnetB-11-6"]
OTHERS = ["mobilenet", "mobilenet-small", "mobilenetv2", "mobilenetv2-small", "vgg8", "vgg16"]
ONE_OF_EACH = ["resnet-8", "resnetA-8", "preresnet-8", "wrn-10-2", "resnet18", *PYRAMIDS, *OTHERS[:-1]]


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("resnet-8", (1, 1, 1)),
        ("resnet-110", (18, 18, 18)),
        ("resnetA-56", (9, 9, 9)),
        ("preresnet-20", (3, 3, 3)),
        ("wrn-28-4", (4, 4, 4)),
        ("resnet50", (3, 4, 6, 3)),
        ("resnet101", (3, 4, 23, 3)),
    ],
)
def test_names_say_how_deep_a_network_is(name: str, blocks: tuple[int, ...]) -> None:
    assert stage_blocks(name) == blocks


@pytest.mark.parametrize(
    "name", ["resnet-20", "resnetA-20", "preresnet-20", "wrn-16-2", "pyramidnet-20-9", "pyramidnetB-29-9"]
)
def test_depth_counts_the_layers_on_the_main_path(name: str) -> None:
    with torch.device("meta"):
        network = build_net(name, classes=10)
    layers = [
        part
        for part, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "downsample" not in part
    ]
    # the depth of a wide network also counts the projections at the stages' starts
    assert len(layers) == int(name.split("-")[1]) - (2 if name.startswith("wrn") else 0)


@pytest.mark.parametrize("blocks", [3, 9])
def test_networks_with_padded_shortcuts_have_the_parameters_of_their_formula(blocks: int) -> None:
    total, inputs = 3 * 16 * 9 + 2 * 16, 16
    for width in (16, 32, 64):
        for _ in range(blocks):
            total += 9 * inputs * width + 9 * width * width + 4 * width
            inputs = width
    with torch.device("meta"):
        assert parameters(build_net(f"resnetA-{6 * blocks + 2}", classes=10)) == total + 64 * 10 + 10


@pytest.mark.parametrize(("blocks", "factor"), [(4, 4), (2, 10)])
def test_wide_networks_have_the_parameters_of_their_formula(blocks: int, factor: int) -> None:
    total, inputs = 3 * 16 * 9, 16
    for width in (16 * factor, 32 * factor, 64 * factor):
        total += inputs * width
        for _ in range(blocks):
            total += 2 * inputs + 9 * inputs * width + 2 * width + 9 * width * width
            inputs = width
    with torch.device("meta"):
        found = parameters(build_net(f"wrn-{6 * blocks + 4}-{factor}", classes=10))
    assert found == total + 2 * inputs + inputs * 10 + 10


# parameters and multiply-accumulates at 224 pixels as in torchvision's table of models
@pytest.mark.parametrize(("name", "millions", "billions"), [("resnet18", 11.690, 1.81), ("resnet50", 25.557, 4.09)])
def test_imagenet_networks_have_their_known_size(name: str, millions: float, billions: float) -> None:
    with torch.device("meta"):
        network = build_net(name, classes=1000).eval()
        macs = executed_macs(network, torch.empty(1, 3, 224, 224))
    assert parameters(network) / 1e6 == pytest.approx(millions, abs=0.001)
    assert macs / 1e9 == pytest.approx(billions, abs=0.01)


def test_options_reach_the_network() -> None:
    network: Any = build_net("wrn-10-3", classes=4, channels=1, width=5, half_stem=True)
    assert network.conv1.weight.shape == (5, 1, 3, 3)
    assert network.conv1.stride == (2, 2)
    assert network.get_submodule("layer1.0.conv1").weight.shape == (15, 5, 3, 3)
    assert network.fc.weight.shape == (4, 60)
    deeper: Any = build_net("resnet-8", classes=4, blocks=(1, 2, 3))
    assert [len(deeper.get_submodule(f"layer{stage}")) for stage in (1, 2, 3)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "width"),
    [("pyramidnet-8-6", 5), ("vgg8", 20), ("mobilenet-small", 10), ("mobilenetv2-small", 16)],
)
def test_options_reach_the_other_families(name: str, width: int) -> None:
    network = build_net(name, classes=4, channels=1, width=5, half_stem=True)
    first, *_, last = (module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear))
    assert isinstance(first, nn.Conv2d)
    assert first.weight.shape == (width, 1, 3, 3)
    assert first.stride == (2, 2)
    assert len(last.weight) == 4


@pytest.mark.parametrize("name", ["resnet18", "mobilenet", "mobilenetv2"])
def test_networks_for_large_pictures_have_one_stem(name: str) -> None:
    with torch.device("meta"):
        assert str(build_net(name, classes=4, half_stem=True)) == str(build_net(name, classes=4))


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(ONE_OF_EACH), st.booleans(), st.integers(0, 3), st.integers(1, 40), st.integers(1, 40))
def test_pictures_of_any_size_give_one_row_of_logits_each(
    name: str, half_stem: bool, count: int, height: int, width: int
) -> None:
    network = build_net(name, classes=5, channels=2, width=4, half_stem=half_stem).eval()
    assert network(torch.randn(count, 2, height, width)).shape == (count, 5)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_gradients_reach_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    images = torch.randn(4, 3, 32, 32)
    # in evaluation mode: a norm in training cancels the shift of the norm before it, and its gradient is rightly zero
    network = lived_in(build_net(name, classes=5, width=4), images)
    torch.autograd.backward(network(images).square().sum())
    assert [part for part, value in network.named_parameters() if value.grad is None or not value.grad.any()] == []


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_convolutions_start_as_suits_relus_by_their_outputs(name: str) -> None:
    torch.manual_seed(0)
    for module in build_net(name, classes=2).modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 2000:
            expected = (2 / (module.out_channels * module.weight[0, 0].numel())) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_traced_network_has_its_activations_as_modules(name: str) -> None:
    traced = torch.fx.symbolic_trace(build_net(name, classes=5, width=4))
    called = [node for node in traced.graph.nodes if node.op == "call_module"]
    kinds = {type(traced.get_submodule(str(node.target))) for node in called}
    assert nn.ReLU6 in kinds if name.startswith("mobilenetv2") else nn.ReLU in kinds
    functions = {str(node.target) for node in traced.graph.nodes if node.op in ("call_function", "call_method")}
    assert not any("relu" in function for function in functions)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("resnet-8", BasicBlock),
        ("preresnet-8", PreActivationBlock),
        ("wrn-10-1", PreActivationBlock),
        ("resnet50", Bottleneck),
        ("pyramidnet-8-6", PyramidBlock),
        ("pyramidnetB-11-6", PyramidBottleneck),
    ],
)
def test_names_choose_the_kind_of_block(name: str, kind: type[nn.Module]) -> None:
    with torch.device("meta"):
        assert type(build_net(name, classes=2).get_submodule("layer1.0")) is kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("resnet-8", ResNet),
        ("wrn-10-1", ResNet),
        ("resnet18", ResNet),
        ("pyramidnet-8-6", PyramidNet),
        ("mobilenet", MobileNetV1),
        ("mobilenet-small", MobileNetV1),
        ("mobilenetv2", MobileNetV2),
        ("mobilenetv2-small", MobileNetV2),
        ("vgg11", VGG),
    ],
)
def test_names_choose_the_kind_of_network(name: str, kind: type[nn.Module]) -> None:
    with torch.device("meta"):
        assert type(build_net(name, classes=2)) is kind


def test_the_list_of_names_has_every_family() -> None:
    for name in ("resnet-N", "wrn-N-K", "resnet152", "pyramidnet-N-A", "pyramidnetB-N-A", *OTHERS):
        assert name in re.split(r", | \(", NETS)


@pytest.mark.parametrize("name", [*PYRAMIDS, *OTHERS])
def test_only_residual_networks_have_shallower_relatives(name: str) -> None:
    with pytest.raises(UsageError) as error:
        build_net(name, classes=2, blocks=(1, 1, 1))
    assert str(error.value).startswith(
        f"net is {name!r}, which has no shallower relatives; those that have are resnet-N"
    )
    assert not any(family in str(error.value).partition(";")[2] for family in ("pyramid", "mobile", "vgg"))
    with pytest.raises(UsageError, match="has no shallower relatives"):
        stage_blocks(name)


@pytest.mark.parametrize(
    "name",
    [
        *("resnet", "resnet-", "resnet20", "wrn-28", "resnetB-20", "", "resnet-20 ", "wrn-28-4-2", "vgg12", "vgg16_bn"),
        *("pyramidnet-110", "pyramidnet-110-0", "pyramidnetC-110-84", "mobilenet-large", "mobilenetv3"),
    ],
)
def test_an_unknown_name_is_told_the_known_ones(name: str) -> None:
    with pytest.raises(UsageError) as error:
        build_net(name, classes=2)
    assert str(error.value) == f"net is {name!r}, but must be one of {NETS}"


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("resnet-21", "6n+2"),
        ("resnet-2", "6n+2"),
        ("wrn-26-4", "6n+4"),
        ("wrn-4-4", "6n+4"),
        ("pyramidnet-111-84", "6n+2"),
        ("pyramidnetB-104-84", "9n+2"),
    ],
)
def test_a_depth_that_does_not_fit_is_told_the_rule(name: str, rule: str) -> None:
    with pytest.raises(UsageError, match=f"net is '{name}', but its depth must be {re.escape(rule)}, such as"):
        build_net(name, classes=2)


def test_a_depth_that_does_not_fit_has_no_blocks() -> None:
    with pytest.raises(UsageError, match="net is 'resnet-21', but its depth must be"):
        stage_blocks("resnet-21")


def test_a_wide_network_has_a_width() -> None:
    with pytest.raises(UsageError):
        build_net("wrn-16-0", classes=2)
