"""Networks and pictures that the tests of `resize` share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.nets import BasicBlock, Bottleneck, PreActivationBlock, ResNet, build_net
from tenfold.resize import GateSettings, ResizableNet, make_resizable

from ..zoo import load_zoo

CLASSES = 5


def assert_near(found: Tensor, expected: Tensor) -> None:
    """Equal but for the rounding of sums that are taken in another order."""
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def pictures(count: int, height: int = 32, width: int | None = None, *, channels: int = 3, seed: int = 0) -> Tensor:
    """(N, C, H, W), each with a brightness and a contrast of its own, so that gates tell them apart."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, channels, height, width or height, generator=generator)
    contrast = 0.3 + torch.rand(count, 1, 1, 1, generator=generator)
    return noise * contrast + torch.randn(count, channels, 1, 1, generator=generator)


def plain(name: str = "resnet-20", *, width: int = 8) -> ResNet:
    """An untrained network whose norms have seen pictures."""
    torch.manual_seed(0)
    network = build_net(name, classes=CLASSES, width=width, half_stem=True)
    settled(network)
    return network


def settled(network: nn.Module, size: int = 32) -> nn.Module:
    """In `eval` mode, with running statistics that are not the initial ones."""
    network.train()
    with torch.no_grad():
        for seed in range(3):
            network(pictures(16, size, seed=100 + seed))
    return network.eval()


def dialled(network: nn.Module | None = None, **settings: Any) -> ResizableNet:
    """A resizable network in `eval` mode whose gates decide differently for different pictures."""
    network = network or plain()
    torch.manual_seed(7)  # the gates' own weights
    net = make_resizable(network, GateSettings(**settings))
    generator = torch.Generator().manual_seed(7)
    for block in net.blocks:
        for name, parameter in block.gate.named_parameters():
            if name == "decide.weight":
                nn.init.normal_(parameter, std=1.5, generator=generator)
            if name == "offset":
                nn.init.normal_(parameter, mean=0.5, generator=generator)
    return net.eval()


@cache
def calibrated_net() -> ResizableNet:
    """`dialled()` after calibration on `pictures(256, seed=1)`, for all tests; nobody may change it."""
    return dialled().calibrate(pictures(256, seed=1))


def set_gates(net: ResizableNet, opened: list[bool]) -> ResizableNet:
    """Hold each gate open or closed, whatever the picture; the gates are `static`."""
    for block, is_open in zip(net.blocks, opened, strict=True):
        nn.init.constant_(block.gate.offset, 50.0 if is_open else -50.0)  # type: ignore[arg-type]
    return net


def _small(block: type[nn.Module], counts: tuple[int, ...] = (2, 1)) -> ResNet:
    return ResNet(block, counts, classes=CLASSES, width=8, stem="half")  # type: ignore[arg-type]


def _torchvision(name: str, **options: Any) -> nn.Module:
    network: nn.Module = getattr(load_zoo("torchvision.models"), name)(num_classes=CLASSES, **options)
    return network


def _torchvision_bottlenecks() -> nn.Module:
    module = load_zoo("torchvision.models.resnet")
    network: nn.Module = module.ResNet(
        module.Bottleneck, [2, 1, 1, 1], num_classes=CLASSES, groups=4, width_per_group=8
    )
    return network


def _timm(name: str, **options: Any) -> nn.Module:
    network: nn.Module = load_zoo("timm").create_model(name, num_classes=CLASSES, **options)
    return network


def _timm_pre_activation() -> nn.Module:
    module = load_zoo("timm.models.resnetv2")
    norm = load_zoo("timm.layers").BatchNormAct2d
    network: nn.Module = module.ResNetV2(
        layers=(2, 1), channels=(64, 128), stem_chs=32, num_classes=CLASSES, norm_layer=norm
    )
    return network


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "basic": (lambda: _small(BasicBlock), 3),
    "basic, padded": (lambda: build_net("resnetA-14", classes=CLASSES, width=8, half_stem=True), 6),
    "bottleneck": (lambda: _small(Bottleneck), 3),
    "pre-activation": (lambda: _small(PreActivationBlock), 3),
    "wide": (lambda: build_net("wrn-16-2", classes=CLASSES, width=4, half_stem=True), 6),
    "torchvision resnet18": (lambda: _torchvision("resnet18"), 8),
    "torchvision bottlenecks, grouped": (_torchvision_bottlenecks, 5),
    "torchvision mobilenet_v2": (lambda: _torchvision("mobilenet_v2", width_mult=0.25), 11),
    "timm resnetv2": (_timm_pre_activation, 3),
    "timm seresnet18": (lambda: _timm("seresnet18"), 8),
    "timm resnet10t, drop path": (lambda: _timm("resnet10t", drop_path_rate=0.1), 4),
    "timm convnext": (lambda: _timm("convnext_atto"), 12),
}
"""Untrained networks by kind, and how many residual blocks each has."""


def size_of(kind: str) -> int:
    """Height and width of pictures that suit a network of `NETWORKS`."""
    return 64 if kind.startswith("t") else 32


@cache
def network_of(kind: str) -> nn.Module:
    """One of `NETWORKS`, for all tests; nobody may change it."""
    torch.manual_seed(0)
    return settled(NETWORKS[kind][0](), size_of(kind))
