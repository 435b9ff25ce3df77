from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.errors import UsageError
from tenfold.distill.dataflow import watch
from tenfold.distill.positions import Position, find_positions, named_positions, relu_names
from tenfold.nets import build_net

from ..zoo import load_zoo
from .handmade import Handmade, images, unfilled

Row = tuple[str, tuple[int, int, int], str | None]
"""name, (C, H, W), and the norm that the margin comes from"""


def ours(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: build_net(name, classes=5, **options)


def torchvision(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: getattr(load_zoo("torchvision.models"), name)(num_classes=5, **options)


def segmentation(name: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        models = load_zoo("torchvision.models.segmentation")
        network: nn.Module = getattr(models, name)(weights=None, weights_backbone=None, num_classes=5, **options)
        return network

    return build


def timm(name: str) -> Callable[[], nn.Module]:
    return lambda: load_zoo("timm").create_model(name, num_classes=5)


def regnet() -> nn.Module:
    with torch.device("cpu"):  # it looks at numbers that it makes while it is built
        return torchvision("regnet_y_400mf")()


def vgg16_bn() -> nn.Module:
    network = torchvision("vgg16_bn")()
    network.classifier = nn.Flatten()  # half a gigabyte that no position is in
    return network


BASIC = [
    (f"layer{stage}.1.relu#2", (32 << stage, 32 >> stage, 32 >> stage), f"layer{stage}.1.bn2") for stage in range(1, 5)
]
BOTTLENECK = [
    (f"layer{stage}.{last}.relu#3", (128 << stage, 32 >> stage, 32 >> stage), f"layer{stage}.{last}.bn3")
    for stage, last in ((1, 2), (2, 3), (3, 5), (4, 2))
]
MOBILENET_V2 = [
    (f"features.{block}.2", (channels, size, size), f"features.{block}.1")
    for block, channels, size in (
        ("2.conv.0", 96, 32),
        ("4.conv.0", 144, 16),
        ("7.conv.0", 192, 8),
        ("14.conv.0", 576, 4),
        ("18", 1280, 2),
    )
]


def three_stages(size: int) -> list[Row]:
    return [
        (f"layer{stage}.2.relu#2", (8 << stage, 2 * size >> stage, 2 * size >> stage), f"layer{stage}.2.bn2")
        for stage in (1, 2, 3)
    ]


SUMS: dict[str, tuple[Callable[[], nn.Module], Sequence[Row]]] = {
    "resnet-20": (ours("resnet-20", half_stem=True), three_stages(32)),
    "resnetA-20": (ours("resnetA-20"), three_stages(64)),
    "resnet18": (ours("resnet18"), BASIC),
    "torchvision resnet50": (torchvision("resnet50"), BOTTLENECK),
    "torchvision regnet_y_400mf": (
        regnet,
        [
            (
                f"trunk_output.block{stage}.block{stage}-{last}.activation",
                shape,
                f"trunk_output.block{stage}.block{stage}-{last}.f.c.1",
            )
            for stage, last, shape in (
                (1, 0, (48, 16, 16)),
                (2, 2, (104, 8, 8)),
                (3, 5, (208, 4, 4)),
                (4, 5, (440, 2, 2)),
            )
        ],
    ),
    # a gate lies between the norm and the sum
    "timm seresnet18": (
        timm("seresnet18"),
        [(f"layer{stage}.1.act2", (32 << stage, 32 >> stage, 32 >> stage), None) for stage in range(1, 5)],
    ),
}

NORMS: dict[str, tuple[Callable[[], nn.Module], Sequence[Row]]] = {
    "wrn-16-2": (
        ours("wrn-16-2"),
        [
            ("layer2.0.relu", (32, 64, 64), "layer2.0.bn1"),
            ("layer3.0.relu", (64, 32, 32), "layer3.0.bn1"),
            ("final.1", (128, 16, 16), "final.0"),
        ],
    ),
    "preresnet-20": (
        ours("preresnet-20"),
        [
            ("layer2.0.relu", (16, 64, 64), "layer2.0.bn1"),
            ("layer3.0.relu", (32, 32, 32), "layer3.0.bn1"),
            ("final.1", (64, 16, 16), "final.0"),
        ],
    ),
    "pyramidnet-110-84": (
        ours("pyramidnet-110-84", half_stem=True),
        [
            ("layer2.0.bn1", (44, 32, 32), "layer2.0.bn1"),
            ("layer3.0.bn1", (72, 16, 16), "layer3.0.bn1"),
            ("relu_final", (100, 8, 8), "bn_final"),
        ],
    ),
    "pyramidnetB-29-60": (
        ours("pyramidnetB-29-60"),
        [
            ("layer2.0.relu", (43, 64, 64), "layer2.0.bn2"),
            ("layer3.0.relu", (63, 32, 32), "layer3.0.bn2"),
            ("relu_final", (304, 16, 16), "bn_final"),
        ],
    ),
    # the first stage is a single convolution
    "vgg8": (
        ours("vgg8"),
        [
            (f"layer{stage}.2", (min(32 << stage, 512), 128 >> stage, 128 >> stage), f"layer{stage}.1")
            for stage in range(2, 6)
        ],
    ),
    "mobilenet": (
        ours("mobilenet"),
        [
            (f"features.{block}.1.2", (channels, size, size), f"features.{block}.1.1")
            for block, channels, size in ((1, 64, 32), (3, 128, 16), (5, 256, 8), (11, 512, 4), (13, 1024, 2))
        ],
    ),
    "mobilenetv2": (ours("mobilenetv2"), MOBILENET_V2),
    "torchvision mobilenet_v2": (torchvision("mobilenet_v2"), MOBILENET_V2),
    "torchvision vgg16_bn": (
        vgg16_bn,
        [
            (f"features.{relu}", (channels, size, size), f"features.{relu - 1}")
            for relu, channels, size in ((5, 64, 64), (12, 128, 32), (22, 256, 16), (32, 512, 8), (42, 512, 4))
        ],
    ),
    "torchvision densenet121": (
        torchvision("densenet121"),
        [
            ("features.transition1.relu", (256, 16, 16), "features.transition1.norm"),
            ("features.transition2.relu", (512, 8, 8), "features.transition2.norm"),
            ("features.transition3.relu", (1024, 4, 4), "features.transition3.norm"),
            ("forward", (1024, 2, 2), "features.norm5"),
        ],
    ),
    "timm resnetv2_50": (
        timm("resnetv2_50"),
        [
            ("stages.1.blocks.0.norm1.act", (256, 16, 16), "stages.1.blocks.0.norm1"),
            ("stages.2.blocks.0.norm1.act", (512, 8, 8), "stages.2.blocks.0.norm1"),
            ("stages.3.blocks.0.norm1.act", (1024, 4, 4), "stages.3.blocks.0.norm1"),
            ("norm.act", (2048, 2, 2), "norm"),
        ],
    ),
    # group normalisation
    "timm resnetv2_50x1_bit": (
        timm("resnetv2_50x1_bit"),
        [
            ("stages.1.blocks.0.norm1.act", (256, 16, 16), None),
            ("stages.2.blocks.0.norm1.act", (512, 8, 8), None),
            ("stages.3.blocks.0.norm1.act", (1024, 4, 4), None),
            ("norm.act", (2048, 2, 2), None),
        ],
    ),
}


def found(network: nn.Module, size: int = 64) -> tuple[Position, ...]:
    return find_positions(network, watch(network, images(size)))


def named(network: nn.Module, *names: str) -> tuple[Position, ...]:
    return named_positions(network, watch(network, images()), names)


def handmade(steps: Callable[[Any, Tensor], Any]) -> Handmade:
    return Handmade(steps).eval()


def rows(network: nn.Module, positions: Sequence[Position]) -> list[Row]:
    modules = {id(module.weight): name for name, module in network.named_modules() if hasattr(module, "weight")}
    norms = [None if each.affine is None else modules[id(each.affine[0])] for each in positions]
    return [(each.name, each.shape, norm) for each, norm in zip(positions, norms, strict=True)]


@pytest.mark.parametrize("name", SUMS)
def test_stages_that_end_in_a_sum_have_it_for_position(name: str) -> None:
    build, expected = SUMS[name]
    network = unfilled(build)
    positions = found(network)
    assert rows(network, positions) == list(expected)
    assert all(position.from_sum for position in positions)


@pytest.mark.parametrize("name", NORMS)
def test_stages_that_end_in_a_norm_have_it_for_position(name: str) -> None:
    build, expected = NORMS[name]
    network = unfilled(build)
    positions = found(network)
    assert rows(network, positions) == list(expected)
    assert not any(position.from_sum for position in positions)


def test_a_dilated_network_keeps_its_stages() -> None:
    network = unfilled(segmentation("deeplabv3_resnet50", aux_loss=True))
    sizes = {1: 16, 2: 8, 3: 8, 4: 8}
    expected = [
        (f"backbone.{name}", (shape[0], sizes[stage], sizes[stage]), f"backbone.{norm}")
        for stage, (name, shape, norm) in enumerate(BOTTLENECK, 1)
    ]
    assert rows(network, found(network)) == [*expected, ("classifier.3", (256, 8, 8), "classifier.2")]


@pytest.mark.parametrize(
    ("build", "activation"),
    [
        (torchvision("efficientnet_b0"), "EfficientNet is built with silu"),
        (torchvision("convnext_tiny"), "ConvNeXt is built with gelu"),
        # half of its activations are ReLUs
        (torchvision("mobilenet_v3_small"), "MobileNetV3 is built with hardswish"),
        (
            lambda: handmade(lambda net, x: F.gelu(net.b(F.leaky_relu(net.a(x))))),
            "Handmade is built with gelu, leaky_relu",
        ),
    ],
)
def test_smooth_activations_are_refused_and_the_plain_form_is_named(
    build: Callable[[], nn.Module], activation: str
) -> None:
    with pytest.raises(UsageError, match=f'^{activation}, .*name positions and take form="plain"') as caught:
        found(unfilled(build))
    assert "\n" not in str(caught.value)


def test_a_network_without_activations_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^no stage of Handmade ends in a ReLU .* of none$"):
        found(handmade(lambda net, x: net.b(net.a(x))))


def test_a_refusal_names_the_relus_there_are() -> None:
    network = handmade(lambda net, x: net.relu(net.a(x)) + F.relu(net.b(net.a(x))) + net.relu(net.a(x)))
    with pytest.raises(UsageError, match=r"name positions, of relu, forward, relu#2$"):
        found(network)


def test_a_single_convolution_is_a_stem_unless_it_comes_later() -> None:
    assert [each.name for each in found(handmade(lambda net, x: net.relu(net.down(net.inplace(net.a(x))))))] == ["relu"]
    assert [each.name for each in found(handmade(lambda net, x: net.relu(net.b(net.inplace(net.a(x))))))] == ["relu"]
    with pytest.raises(UsageError):
        found(handmade(lambda net, x: net.relu(net.a(x))))


def test_a_relu_with_two_convolutions_behind_it_does_not_stand_for_its_stage() -> None:
    def ends(net: Any, x: Tensor) -> Tensor:
        x = net.c(net.relu(net.b(net.a(x))))  # one behind
        return net.inplace(net.down(x))

    def goes_on(net: Any, x: Tensor) -> Tensor:
        x = net.d(net.c(net.relu(net.b(net.a(x)))))
        return net.inplace(net.down(x))

    assert [each.name for each in found(handmade(ends))] == ["relu", "inplace"]
    assert [each.name for each in found(handmade(goes_on))] == ["inplace"]


def test_what_is_pooled_is_no_stage() -> None:
    def steps(net: Any, x: Tensor) -> Tensor:
        x = net.relu(net.b(net.relu(net.a(x))))
        return net.inplace(net.d(F.adaptive_avg_pool2d(x, 1)))

    assert [each.name for each in found(handmade(steps))] == ["relu#2"]


def test_relus_are_named_by_their_module_and_their_number_in_it() -> None:
    def steps(net: Any, x: Tensor) -> Tensor:
        x = net.relu(F.relu(net.a(x)))
        net.relu(net.d(x))  # counted, but nothing follows from it
        return torch.relu(net.relu(net.inplace(x)))

    flow = watch(handmade(steps), images())
    names = relu_names(flow)
    assert list(names) == ["forward", "relu", "inplace", "relu#3", "forward#2"]
    assert [value.relu for value in names.values()] == [0, 1, 3, 4, 5]


def named_steps(net: Any, x: Tensor) -> Tensor:
    x = net.norm(net.a(x))
    x = net.relu(x)
    x = net.relu(net.b(x))
    x = net.c(x)
    return net.d(torch.sigmoid(x)).mean((2, 3))


def test_a_name_is_that_of_a_relu_or_of_what_a_relu_reads_or_of_a_module() -> None:
    network = handmade(named_steps)
    first, second, of_norm, of_convolution, plain = named(network, "relu", "relu#2", "norm", "b", "c")
    assert (first.name, first.relu, first.module, first.shape) == ("relu", 0, "", (4, 16, 16))
    assert first.affine is not None
    assert first.affine[0] is network.norm.weight
    assert (second.name, second.relu, second.affine) == ("relu#2", 1, None)
    assert of_norm == first
    assert of_convolution == second
    assert (plain.name, plain.relu, plain.module, plain.from_sum) == ("c", None, "c", False)


def test_a_module_that_ends_in_a_relu_stands_for_what_that_reads() -> None:
    network = build_net("resnet-8", classes=5, width=4).eval()
    (position,) = named(network, "layer2")
    assert rows(network, [position]) == [("layer2.0.relu#2", (8, 8, 8), "layer2.0.bn2")]
    assert position.from_sum


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("relu#3", "'relu#3' is not a module or a ReLU of it"),
        ("nowhere", "'nowhere' is not a module or a ReLU of it"),
        ("other", "'other' returns no tensor that follows from the input"),
    ],
)
def test_a_name_that_does_not_exist_or_never_ran_is_refused(name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=f"^{reason}; Handmade has the ReLUs relu, relu#2$"):
        named(handmade(named_steps), name)


def test_a_module_that_makes_no_map_is_refused() -> None:
    network = build_net("resnet-8", classes=5, width=4).eval()
    with pytest.raises(UsageError, match=r"^'fc' makes a tensor of shape \(2, 5\), but must make a feature map"):
        named(network, "fc")


def test_a_relu_of_the_input_itself_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^'relu' reads the network's input"):
        named(handmade(lambda net, x: net.a(net.relu(x))), "relu")


@pytest.mark.parametrize("swapped", [False, True])
def test_a_sum_has_the_norm_of_its_residual_branch(swapped: bool) -> None:
    def steps(net: Any, x: Tensor) -> Tensor:
        x = net.relu(net.a(x))
        branch = net.norm(net.c(F.relu(net.b(x))))
        shortcut = net.other(net.d(x))
        return net.inplace(shortcut + branch if swapped else branch + shortcut)

    network = handmade(steps)
    (position,) = named(network, "inplace")
    assert position.affine is not None
    assert position.affine[0] is network.norm.weight
    assert position.affine[1] is network.norm.bias
    assert position.from_sum


def test_a_norm_without_weights_gives_no_margin() -> None:
    network = handmade(lambda net, x: net.relu(net.norm(net.b(net.a(x)))))
    network.norm = nn.BatchNorm2d(4, affine=False).eval()
    assert [each.affine for each in found(network)] == [None]


def test_the_margin_never_comes_from_the_norm_of_a_shortcut() -> None:
    load_zoo("timm")
    resnet = load_zoo("timm.models.resnet")
    network = resnet.ResNet(resnet.BasicBlock, (1, 1, 1, 1), block_args={"attn_layer": "se"}).eval()
    positions = find_positions(network, watch(network, torch.randn(2, 3, 64, 64)))
    assert len(positions) == 4
    assert [position.affine for position in positions] == [None] * 4
