"""The networks of one run by name, and the stages that each is trained in."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from ..core.batches import derive_seed
from ..core.errors import UsageError
from ..core.task import Task
from .config import Config, NetSettings
from .convert import exchange_dilated
from .dense import DilatedSegmenter
from .networks import C3Net, C3NetV2, DepthwiseNet, ESPNet, LightNet

CONVERTED = "+c3"
"""behind the name of a network: its dilated convolutions exchanged for concentrated ones, with weights drawn anew"""


def _dilated(name: str, *, pyramid: bool = False) -> Callable[[int, NetSettings], nn.Module]:
    return lambda classes, net: DilatedSegmenter(name, classes, width=net.width, pyramid=pyramid)


_NETWORKS: dict[str, Callable[[int, NetSettings], nn.Module]] = {
    "c3net": lambda classes, net: C3Net(classes, rates=net.rates, depths=net.depths),
    "c3netv2": lambda classes, net: C3NetV2(classes, rates=net.rates, depths=net.depths),
    "espnet": lambda classes, net: ESPNet(classes, depths=net.depths),
    "depthwise": lambda classes, net: DepthwiseNet(classes, rates=net.rates, depths=net.depths),
    "drn-d-22": _dilated("drn-d-22"),
    "drn-c-26": _dilated("drn-c-26"),
    "drn-a-50": _dilated("drn-a-50"),
    "deeplab-50": _dilated("drn-a-50", pyramid=True),
}


class Stage(NamedTuple):
    """A network's encoder alone, or all of it."""

    network: str
    whole: bool

    @property
    def name(self) -> str:
        return self.network if self.whole else f"{self.network} encoder"


def stages_of(config: Config, networks: dict[str, nn.Module]) -> list[Stage]:
    """The stages of a run in the order of their training. Networks without an encoder of their own have one stage."""
    return [
        Stage(name, whole)
        for name, network in networks.items()
        for whole in (False, True)
        if whole or (isinstance(network, LightNet) and config.train.encoder_epochs > 0)
    ]


def build_network(name: str, config: Config, task: Task) -> nn.Module:
    """A network of the settings, its weights drawn from the seed.

    Raises:
        UsageError: there is no such network, or it cannot name the classes of the data.
    """
    base = name.removesuffix(CONVERTED)
    if base not in _NETWORKS:
        raise UsageError(f"networks has {name!r}, but must be of {', '.join(_NETWORKS)}, perhaps with {CONVERTED}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, base))
        network = _NETWORKS[base](len(task.classes), config.net)
        if base != name and not exchange_dilated(network):
            raise UsageError(f"networks has {name!r}, but {base} has no dense dilated convolution to exchange")
        return network
