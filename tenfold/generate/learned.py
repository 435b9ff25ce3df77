"""What a run works on and what it has learned: pictures, latents, autoencoders and densities; and how to find it again."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..core.batches import EvalBatches
from ..core.data import ImageSet, load_images
from ..core.errors import UsageError
from ..core.number_files import read_rows
from ..core.task import Task
from ..core.trained import open_trained
from .autoencoder import from_bytes
from .config import Config
from .features import build_classifier
from .models import Autoencoder
from .rows import FEWEST
from .stages import CLASSIFIER, ROWS, Density, build_autoencoder, build_density, pairs_of

TEST_SHARE = 0.2
"""of a file's rows, those that densities are tested on"""


class Pictures(NamedTuple):
    """The sets of a run of pictures."""

    train: ImageSet
    held_out: ImageSet
    task: Task


class Latents(NamedTuple):
    """Of one autoencoder, or of a file."""

    train: Tensor
    """(N, D), on the CPU"""
    held_out: Tensor
    """(M, D), on the CPU"""

    @property
    def dim(self) -> int:
        """D."""
        return self.train.shape[1]


@dataclass
class Learned:
    """The networks and densities of a run, by name."""

    task: Task | None = None
    classifier: nn.Module | None = None
    autoencoders: dict[str, Autoencoder] = field(default_factory=dict)
    densities: dict[str, Density] = field(default_factory=dict)
    """by "autoencoder density", such as "incremental lde" """

    def add(self, name: str, network: nn.Module) -> None:
        """Take a trained network to where it belongs."""
        if isinstance(network, Autoencoder):
            self.autoencoders[name] = network
        else:
            self.classifier = network


def load_pictures(config: Config) -> Pictures:
    """The training pictures, and those that results are of: validation where `data.holdout` is above 0, else test."""
    train = load_images(config.data, "train")
    held_out = load_images(config.data, "validation" if config.data.holdout else "test")
    return Pictures(train, held_out, Task.of(config.data, train))


def read_latents(
    config: Config, learned: Learned, pictures: Pictures | None, device: torch.device
) -> dict[str, Latents]:
    """The latents that densities are learned of, by the autoencoder's name; or the rows of the run's file.

    Raises:
        UsageError: the file cannot be read, or has too few rows.
    """
    if pictures is None:
        return {ROWS: _split_file(config)}
    return {
        name: Latents(*(encoded(autoencoder, config, images, device) for images in (pictures.train, pictures.held_out)))
        for name, autoencoder in learned.autoencoders.items()
    }


@torch.no_grad()
def encoded(autoencoder: Autoencoder, config: Config, images: ImageSet, device: torch.device) -> Tensor:
    """The latents (N, D) of all pictures of a set, on the CPU."""
    parts = []
    for batch, _ in EvalBatches(images, 256):
        parts.append(autoencoder.encode(from_bytes(batch.to(device), config.net.range)).float().cpu())
    return torch.cat(parts)


def _split_file(config: Config) -> Latents:
    """A fifth of the rows is for testing; with `data.holdout` above 0, that share of the others instead, to tune by."""
    assert config.latents is not None
    rows = read_rows(config.latents.expanduser())
    rows = rows[:, _varying(rows, config.latents)]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    count = round(TEST_SHARE * len(rows))
    test, rest = rows[order[:count]], rows[order[count:]]
    if config.data.holdout:
        count = round(config.data.holdout * len(rest))
        test, rest = rest[:count], rest[count:]
    if len(rest) < FEWEST or not len(test):
        raise UsageError(
            f"{config.latents} leaves {len(rest)} rows to learn from and {len(test)} to test on, but must leave {FEWEST} and 1"
        )
    return Latents(rest, test)


def _varying(rows: Tensor, path: Path) -> Tensor:
    """Which columns of a file vary, bool (D,). The others are left out: the rivals' densities know no constants."""
    varying = (rows != rows[:1]).any(0)
    if not varying.any():
        raise UsageError(f"{path} has no column that varies, but must have at least one")
    if not varying.all():
        constant = ", ".join(map(str, (~varying).nonzero().flatten().tolist()))
        warnings.warn(f"columns of {path} never vary and are left out: {constant}", UserWarning, stacklevel=2)
    return varying


def load_run(folder: Path) -> tuple[Config, Learned]:
    """The settings and all that was learned of a run folder, in `eval` mode on the CPU.

    Raises:
        UsageError: the folder is not a run of this method, or it has no trained network yet.
    """
    config, state = open_trained(folder, "generate", Config)
    return config, restored(config, state)


def restored(config: Config, state: dict[str, Any]) -> Learned:
    """What the checkpoint "best" holds."""
    task = None if state["task"] is None else Task.from_state(state["task"])
    learned = Learned(task)
    if task is not None:
        if CLASSIFIER in state["learned"]:
            learned.add(CLASSIFIER, _filled(build_classifier(config.metrics.classifier, task), state, CLASSIFIER))
        for kind in config.autoencoders:
            learned.add(kind, _filled(build_autoencoder(kind, config, task), state, kind))
    for source, density_kind in pairs_of(config):
        name = f"{source} {density_kind}"
        density = build_density(density_kind, config, _dim(state["learned"][name], config))
        density.load_state_dict(state["learned"][name])
        learned.densities[name] = density.eval()
    return learned


def _dim(weights: dict[str, Tensor], config: Config) -> int:
    """Of a density's rows."""
    for name in ("coordinates.mean", "means"):
        if name in weights:
            return weights[name].shape[-1]
    return config.net.latent


def _filled(network: nn.Module, state: dict[str, Any], name: str) -> nn.Module:
    network.load_state_dict(state["learned"][name])
    return network.eval()
