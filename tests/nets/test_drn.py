from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.errors import UsageError
from tenfold.nets.drn import build_drn
from tenfold.nets.resnet import BasicBlock, Bottleneck

from ..zoo import load_zoo
from .builders import lived_in, parameters

NAMES = ["drn-a-50", "drn-c-26", "drn-c-42", "drn-d-22", "drn-d-38"]


def small(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    return lived_in(build_drn(name, classes=5, width=2, **options), torch.randn(2, options.get("channels", 3), 32, 32))


# as in the authors' code; kind A is a ResNet-50
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("drn-a-50", 25_557_032),
        ("drn-c-26", 21_126_584),
        ("drn-c-42", 31_234_744),
        ("drn-d-22", 16_393_752),
        ("drn-d-38", 26_501_912),
    ],
)
def test_networks_have_their_published_size(name: str, count: int) -> None:
    with torch.device("meta"):
        assert parameters(build_drn(name, classes=1000)) == count


@pytest.mark.parametrize("name", ["drn-c-26", "drn-c-42", "drn-d-22", "drn-d-38"])
def test_the_name_counts_the_layers_on_the_main_path(name: str) -> None:
    network = small(name)
    layers = [part for part, module in network.named_modules() if isinstance(module, nn.Conv2d) and "down" not in part]
    assert len(layers) == int(name.split("-")[2])


def dilations(network: nn.Module, stage: int) -> set[int]:
    layer = network.get_submodule(f"layer{stage}")
    kernels = [module for module in layer.modules() if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)]
    assert kernels
    assert all(module.padding == module.dilation for module in kernels)
    return {module.dilation[0] for module in kernels}


@pytest.mark.parametrize("name", NAMES)
def test_stages_dilate_where_a_resnet_halves_the_resolution(name: str) -> None:
    wanted = [1, 1, 2, 4] if name == "drn-a-50" else [1, 1, 1, 1, 2, 4, 2, 1]
    network = small(name)
    assert [dilations(network, stage) for stage in range(1, len(wanted) + 1)] == [{rate} for rate in wanted]


@pytest.mark.parametrize("name", NAMES)
def test_stages_lower_the_resolution_to_an_eighth(name: str) -> None:
    network, seen = small(name), []
    wanted = [16, 8, 8, 8] if name == "drn-a-50" else [64, 32, 16, 8, 8, 8, 8, 8]
    for stage in range(1, len(wanted) + 1):
        layer = network.get_submodule(f"layer{stage}")
        layer.register_forward_hook(lambda module, inputs, out: seen.append(out.shape[2]))
    features = network.features(torch.randn(1, 3, 64, 80))
    assert seen == wanted
    assert features.shape == (1, network.out_channels, 8, 10)


@pytest.mark.parametrize("name", ["drn-c-26", "drn-c-42", "drn-d-22", "drn-d-38"])
def test_the_last_stages_have_no_shortcuts(name: str) -> None:
    network = small(name)
    residual = [
        any(isinstance(part, BasicBlock) for part in getattr(network, f"layer{n}").modules()) for n in range(1, 9)
    ]
    ends = [True] * 2 if name.startswith("drn-c") else [False] * 2
    assert residual == [*ends, True, True, True, True, False, False]


def test_kind_d_by_hand() -> None:
    network = small("drn-d-22").double()
    x = torch.randn(2, 3, 24, 33, dtype=torch.float64)

    def plain(x: Tensor, layer: Any, stride: int = 1, dilation: int = 1) -> Tensor:
        weight = layer[0].weight
        side = weight.shape[2] // 2 * dilation
        return layer[1](F.conv2d(x, weight, stride=stride, padding=side, dilation=dilation)).relu()

    def residual(x: Tensor, block: Any, stride: int, dilation: int) -> Tensor:
        out = block.bn1(F.conv2d(x, block.conv1.weight, stride=stride, padding=dilation, dilation=dilation)).relu()
        out = block.bn2(F.conv2d(out, block.conv2.weight, padding=dilation, dilation=dilation))
        if block.downsample is not None:
            x = block.downsample[1](F.conv2d(x, block.downsample[0].weight, stride=stride))
        return (out + x).relu()

    features = plain(plain(plain(x, network.layer0), network.layer1), network.layer2, 2)
    for stage, stride, dilation in ((3, 2, 1), (4, 2, 1), (5, 1, 2), (6, 1, 4)):
        first, second = getattr(network, f"layer{stage}")
        features = residual(residual(features, first, stride, dilation), second, 1, dilation)
    features = plain(plain(features, network.layer7, 1, 2), network.layer8)
    torch.testing.assert_close(network.features(x), features)
    wanted = features.mean((2, 3)) @ network.fc.weight[:, :, 0, 0].T + network.fc.bias
    torch.testing.assert_close(network(x), wanted)


def test_kind_a_loads_torchvisions_weights_and_gives_its_logits() -> None:
    models = load_zoo("torchvision.models")
    torch.manual_seed(0)
    options: Any = {"num_classes": 5, "replace_stride_with_dilation": [False, True, True]}
    theirs = lived_in(models.resnet50(**options), torch.randn(2, 3, 64, 64))
    network: Any = build_drn("drn-a-50", classes=5).eval()
    network.load_state_dict(theirs.state_dict())
    # theirs gives the first block of a stage the dilation of the stage before
    for stage, rate in ((3, 1), (4, 2)):
        convolution = network.get_submodule(f"layer{stage}.0.conv2")
        convolution.dilation = convolution.padding = (rate, rate)
    x = torch.randn(1, 3, 64, 72)
    torch.testing.assert_close(network(x), theirs(x), rtol=1e-4, atol=1e-4)
    assert all(isinstance(block, Bottleneck) for stage in range(1, 5) for block in getattr(network, f"layer{stage}"))


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 2), st.integers(1, 3), st.integers(1, 40), st.integers(1, 40))
def test_pictures_of_any_size(name: str, count: int, channels: int, height: int, width: int) -> None:
    network = small(name, channels=channels)
    images = torch.randn(count, channels, height, width)
    assert network(images).shape == (count, 5)
    shape = (count, network.out_channels, -(-height // 8), -(-width // 8))
    assert network.features(images).shape == shape


@pytest.mark.parametrize("name", NAMES)
def test_all_channels_are_proportional_to_the_width(name: str) -> None:
    with torch.device("meta"):
        narrow, published = build_drn(name, classes=5, width=2), build_drn(name, classes=5)
    assert published.out_channels == 8 * narrow.out_channels
    assert published.out_channels == (2048 if name == "drn-a-50" else 512)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name: str) -> None:
    network = small(name).double()
    torch.autograd.backward(network(torch.randn(4, 3, 48, 48, dtype=torch.float64)).square().sum())
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


@pytest.mark.parametrize("name", ["drn-b-26", "drn-d-105", "", "DRN-D-22"])
def test_a_sentence_for_an_unknown_name(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        build_drn(name, classes=5)
    assert str(caught.value) == f"net is {name!r}, but must be one of {', '.join(NAMES)}"
