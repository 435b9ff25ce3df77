from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tenfold.nets import VGG, build_net

from ..resize.builders import assert_near
from ..zoo import load_zoo
from .builders import lived_in, parameters


def formula(convolutions: tuple[int, ...], classes: int) -> int:
    total, inputs = 0, 3
    for width, count in zip((64, 128, 256, 512, 512), convolutions, strict=True):
        for _ in range(count):
            total += 9 * inputs * width + 2 * width
            inputs = width
    return total + inputs * classes + classes


@pytest.mark.parametrize(
    ("name", "convolutions"),
    [
        ("vgg8", (1, 1, 1, 1, 1)),
        ("vgg11", (1, 1, 2, 2, 2)),
        ("vgg13", (2, 2, 2, 2, 2)),
        ("vgg16", (2, 2, 3, 3, 3)),
        ("vgg19", (2, 2, 4, 4, 4)),
    ],
)
def test_networks_have_the_parameters_of_their_formula(name: str, convolutions: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = build_net(name, classes=100)
    assert parameters(network) == formula(convolutions, 100)
    # the names count the paper's three fully connected layers
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == int(name[3:]) - 3


@pytest.mark.parametrize("name", ["vgg11", "vgg16"])
def test_the_features_are_torchvisions(name: str) -> None:
    x = torch.randn(2, 3, 32, 32)
    theirs: Any = lived_in(getattr(load_zoo("torchvision.models.vgg"), f"{name}_bn")(num_classes=5).features[:-1], x)
    ours: Any = build_net(name, classes=5).eval()
    kinds = (nn.Conv2d, nn.BatchNorm2d)
    layers = ([module for module in network.modules() if isinstance(module, kinds)] for network in (ours, theirs))
    for own, other in zip(*layers, strict=True):
        # their convolutions have biases, zero at first, which the norms would cancel
        own.load_state_dict({part: value for part, value in other.state_dict().items() if part in own.state_dict()})
    assert_near(ours(x), ours.fc(theirs(x).mean(dim=(2, 3))))


@pytest.mark.parametrize(("half", "sides"), [(False, [32, 16, 8, 4, 2]), (True, [16, 8, 4, 2, 1])])
def test_each_stage_halves_the_resolution_and_doubles_the_width_up_to_eight_times(half: bool, sides: list[int]) -> None:
    network = build_net("vgg8", classes=3, width=2, half_stem=half).eval()
    seen: list[Tensor] = []
    for stage in range(1, 6):
        network.get_submodule(f"layer{stage}").register_forward_hook(lambda module, args, out: seen.append(out))
    network(torch.randn(1, 3, 32, 32))
    assert [out.shape[-1] for out in seen] == sides
    assert [out.shape[1] for out in seen] == [8, 16, 32, 64, 64]
    assert [tuple(out.shape[-2:]) for out in seen] == [(side, side) for side in sides]


def test_only_the_first_convolution_has_the_stride_of_the_stem() -> None:
    network = VGG((2, 1), classes=3, width=4, stem="half")
    strides = [module.stride for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert strides == [(2, 2), (1, 1), (1, 1)]
