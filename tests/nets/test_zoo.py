from __future__ import annotations

import pytest
import torch
from torch import nn

from tenfold.core.cost import executed_macs
from tenfold.core.errors import UsageError
from tenfold.nets import NETS, BasicBlock, Bottleneck, PreActivationBlock, build_net
from tenfold.nets.zoo import stage_blocks


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


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


@pytest.mark.parametrize("name", ["resnet-20", "resnetA-20", "preresnet-20", "wrn-16-2"])
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
    network = build_net("wrn-10-3", classes=4, channels=1, width=5, half_stem=True)
    assert network.conv1.weight.shape == (5, 1, 3, 3)
    assert network.conv1.stride == (2, 2)
    assert network.get_submodule("layer1.0.conv1").weight.shape == (15, 5, 3, 3)
    assert network.fc.weight.shape == (4, 60)
    deeper = build_net("resnet-8", classes=4, blocks=(1, 2, 3))
    assert [len(deeper.get_submodule(f"layer{stage}")) for stage in (1, 2, 3)] == [1, 2, 3]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("resnet-8", BasicBlock),
        ("preresnet-8", PreActivationBlock),
        ("wrn-10-1", PreActivationBlock),
        ("resnet50", Bottleneck),
    ],
)
def test_names_choose_the_kind_of_block(name: str, kind: type[nn.Module]) -> None:
    with torch.device("meta"):
        assert type(build_net(name, classes=2).get_submodule("layer1.0")) is kind


@pytest.mark.parametrize(
    "name", ["resnet", "resnet-", "resnet20", "vgg16", "wrn-28", "resnetB-20", "", "resnet-20 ", "wrn-28-4-2"]
)
def test_an_unknown_name_is_told_the_known_ones(name: str) -> None:
    with pytest.raises(UsageError) as error:
        build_net(name, classes=2)
    assert str(error.value) == f"net is {name!r}, but must be one of {NETS}"


@pytest.mark.parametrize(
    ("name", "rule"), [("resnet-21", "6n+2"), ("resnet-2", "6n+2"), ("wrn-26-4", "6n+4"), ("wrn-4-4", "6n+4")]
)
def test_a_depth_that_does_not_fit_is_told_the_rule(name: str, rule: str) -> None:
    with pytest.raises(UsageError, match=f"net is '{name}', but its depth must be 6n"):
        build_net(name, classes=2)
    with pytest.raises(UsageError) as error:
        stage_blocks(name)
    assert rule in str(error.value)


def test_a_wide_network_has_a_width() -> None:
    with pytest.raises(UsageError):
        build_net("wrn-16-0", classes=2)
