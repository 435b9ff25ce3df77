"""The networks of one run: the resizable one and the baselines it is judged by, all with the same budget."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..core.augment import augment
from ..core.batches import Batch, derive_seed
from ..core.checkpoint import load_weights
from ..core.data import ImageSet
from ..core.task import Task
from ..nets import build_net
from ..nets.zoo import stage_blocks
from .config import Config
from .network import ResizableNet, make_resizable


def build_network(config: Config, task: Task, blocks: tuple[int, ...] | None = None) -> nn.Module:
    """The ungated network of the settings, from the seed, or from `net.weights` where that is given.

    Args:
        blocks: blocks of each stage, for a shallower relative; always from random weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "network"))
        net = build_net(
            config.net.name,
            classes=len(task.classes),
            channels=task.shape[0],
            width=config.net.width,
            half_stem=config.net.half_stem,
            blocks=blocks,
        )
    if config.net.weights is not None and blocks is None:
        load_weights(Path(config.net.weights), net)
    return net


def build_resizable(config: Config, task: Task, *, random: bool = False) -> ResizableNet:
    """The resizable network of the settings, its costs measured; `random` is the baseline that drops by chance."""
    settings = replace(config.gate, form="random") if random else config.gate
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "gates"))
        net = make_resizable(build_network(config, task), settings)
    net.measure(torch.zeros(1, *task.shape))
    return net


def shallower(config: Config, task: Task, cost: float) -> tuple[tuple[int, ...], float]:
    """The stage depths whose cost is nearest to `cost` of the whole network, the evenest of equals, and that cost.

    "Equal" is within half a percent of the whole: a network as well proportioned as the original is the fair rival.
    """
    full = stage_blocks(config.net.name)
    net = make_resizable(
        build_network(replace(config, net=replace(config.net, weights=None)), task), replace(config.gate, cost="macs")
    )
    net.measure(torch.zeros(1, *task.shape))
    costs = dict(zip(net.block_names, net.block_costs.tolist(), strict=True))
    inner = [costs.get(f"layer{stage + 1}.1", 0.0) for stage in range(len(full))]

    def achieved(counts: tuple[int, ...]) -> float:
        return 1 - sum((whole - count) * each for whole, count, each in zip(full, counts, inner, strict=True))

    def unevenness(counts: tuple[int, ...]) -> float:
        shares = [count / whole for count, whole in zip(counts, full, strict=True)]
        return max(shares) - min(shares)

    choices = list(itertools.product(*(range(1, count + 1) for count in full)))
    nearest = min(abs(achieved(counts) - cost) for counts in choices)
    equals = [counts for counts in choices if abs(achieved(counts) - cost) <= nearest + 0.005]
    best = min(equals, key=lambda counts: (unevenness(counts), abs(achieved(counts) - cost)))
    return best, achieved(best)


@dataclass(frozen=True)
class Stage:
    """One network to train, by name: `resizable`, `ungated`, `random` or `shallow 0.65`."""

    name: str
    network: nn.Module
    cost: float = 1.0
    """MACs relative to the whole network, of a shallower one"""


def stages(config: Config, task: Task) -> Iterator[Stage]:
    """Every network of the run, made one after another, the baselines first."""
    if "ungated" in config.baselines:
        yield Stage("ungated", build_network(config, task))
    if "shallow" in config.baselines:
        for cost in config.compare_at:
            blocks, achieved = shallower(config, task, cost)
            yield Stage(f"shallow {cost:.2f}", build_network(config, task, blocks), achieved)
    if "random" in config.baselines:
        yield Stage("random", build_resizable(config, task, random=True))
    yield Stage("resizable", build_resizable(config, task))


class Calibration(NamedTuple):
    """Training pictures to calibrate and to freeze by, normalised, (N, C, H, W) each."""

    plain: Tensor
    """as they are, and as held-out pictures will be: they set the thresholds"""
    as_trained: Tensor
    """the same, augmented as in training: norm statistics are of them"""

    def to(self, device: torch.device) -> Calibration:
        return Calibration(*(pictures.to(device) for pictures in self))


def calibration_pictures(config: Config, task: Task, images: ImageSet) -> Calibration:
    """The first `config.calibration` of the training images in an order of the seed's."""
    seed = derive_seed(config.seed, "calibration")
    count = min(max(config.calibration, 1), len(images))
    rows = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:count]
    batch = Batch(*images.fetch(rows), rows=slice(None), size=count, seed=seed)
    shown = batch.images, augment(batch, pad=config.train.pad, flip=config.train.flip)
    return Calibration(*(task.normalized(part, channels_last=config.compute.channels_last) for part in shown))
