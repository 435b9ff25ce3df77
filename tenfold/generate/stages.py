"""What a run learns one after the other: a classifier to judge by, the autoencoders, and the densities of their latents."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.augment import augment
from ..core.batches import Batch, derive_seed
from ..core.errors import UsageError
from ..core.schedule import learning_rate
from ..core.task import Task
from .autoencoder import from_bytes, initialise
from .config import AutoencoderName, Config
from .density import LatentDensity
from .features import build_classifier
from .models import Autoencoder, AutoencoderObjective, Losses
from .perceptual import perceptual_loss
from .rivals import Flow, GaussianMixture, StandardNormal

CLASSIFIER = "classifier"
ROWS = "rows"
"""the first word of a density's name where its rows come from a file"""
PRIOR = "prior"
CLASSIFIER_RATE = 0.1

Density = LatentDensity | GaussianMixture | Flow | StandardNormal


class Stage(ABC):
    """A network that learns from pictures: what it is, what it is trained for, and how."""

    def __init__(
        self, name: str, network: nn.Module, objective: nn.Module, *, epochs: int, device: torch.device
    ) -> None:
        self.name = name
        self.network = network
        self.objective = objective
        self.epochs = epochs
        self.device = device

    @abstractmethod
    def optimizer(self) -> torch.optim.Optimizer:
        """A new optimiser of the network."""

    @abstractmethod
    def rate(self, share: float) -> float:
        """The learning rate when `share` in [0, 1) of the training is done."""

    @abstractmethod
    def inputs(self, batch: Batch, epoch: float) -> Sequence[Tensor]:
        """What the objective reads of a batch, when `epoch` passes are done."""


class ClassifierStage(Stage):
    """The classifier whose features judge the samples."""

    def __init__(self, config: Config, task: Task, device: torch.device) -> None:
        classifier = build_classifier(config.metrics.classifier, task)
        super().__init__(
            CLASSIFIER, classifier, _Classification(classifier), epochs=config.metrics.classifier_epochs, device=device
        )
        self._task = task
        self._channels_last = config.compute.channels_last

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            self.network.parameters(), CLASSIFIER_RATE, momentum=0.9, nesterov=True, weight_decay=5e-4
        )

    def rate(self, share: float) -> float:
        return learning_rate(CLASSIFIER_RATE, "cosine", share)

    def inputs(self, batch: Batch, epoch: float) -> Sequence[Tensor]:
        pictures = augment(batch, pad=2, flip=False).to(self.device)
        return self._task.normalized(pictures, channels_last=self._channels_last), batch.targets.to(self.device)


class AutoencoderStage(Stage):
    """One of the autoencoders."""

    def __init__(self, name: AutoencoderName, config: Config, task: Task, device: torch.device) -> None:
        self.autoencoder = build_autoencoder(name, config, task)
        perceptual = perceptual_loss(config.train, config.net.range, device)
        objective = AutoencoderObjective(self.autoencoder, perceptual)
        super().__init__(name, self.autoencoder, objective, epochs=config.train.epochs, device=device)
        self._config = config

    def optimizer(self) -> torch.optim.Optimizer:
        decay = self._config.rivals.rae_decoder if self.name == "rae" else 0.0
        groups = [
            {"params": [*self.autoencoder.encoder.parameters()], "weight_decay": 0.0},
            {"params": [*self.autoencoder.decoder.parameters()], "weight_decay": 2 * decay},
        ]
        return torch.optim.Adam(groups, self._config.train.learning_rate, betas=(0.5, 0.999))

    def rate(self, share: float) -> float:
        train = self._config.train
        return learning_rate(train.learning_rate, train.schedule, share, steps_at=train.halve_at, factor=0.5)

    def inputs(self, batch: Batch, epoch: float) -> Sequence[Tensor]:
        self.autoencoder.between.step(epoch)
        pictures = augment(batch, pad=0, flip=self._config.train.flip).to(self.device)
        latent = self._config.net.latent
        normal = batch.draw(lambda generator, size: torch.randn(size, latent, generator=generator), "normal")
        images = from_bytes(pictures, self._config.net.range)
        if self._config.compute.channels_last:
            images = images.to(memory_format=torch.channels_last)
        return images, normal.to(self.device)


class _Classification(nn.Module):
    """Cross-entropy, and the share of wrong answers as the error."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor, targets: Tensor) -> Losses:
        logits = self.classifier(images).float()
        return Losses(F.cross_entropy(logits, targets), (logits.argmax(1) != targets).float().mean())


def image_stages(config: Config, task: Task, device: torch.device) -> list[Stage]:
    """All networks of a run that learn from pictures, in their order; with initial weights that follow from the seed.

    All autoencoders begin with the same weights, as far as they have the same.
    """
    stages: list[Stage] = []
    with torch.random.fork_rng(devices=[]):
        if config.metrics.features == "classifier":
            torch.manual_seed(derive_seed(config.seed, CLASSIFIER))
            stages.append(ClassifierStage(config, task, device))
        for name in config.autoencoders:
            stage = AutoencoderStage(name, config, task, device)
            initialise(stage.autoencoder, config.net.norm_start, seed=derive_seed(config.seed, "autoencoder"))
            stages.append(stage)
    return stages


def build_autoencoder(name: AutoencoderName, config: Config, task: Task) -> Autoencoder:
    """An untrained autoencoder of the run.

    Raises:
        UsageError: the pictures have a size that the paper's networks do not take.
    """
    channels, height, width = task.shape
    if height != width:
        raise UsageError(f"pictures are {height} x {width} pixels, but must be square; data.size makes them so")
    return Autoencoder(name, config, size=height, channels=channels)


def pairs_of(config: Config) -> list[tuple[str, str]]:
    """(autoencoder, density) of a run, in their order: every density for the paper's and the plain one; for RAE its authors' two;
    for a VAE its prior."""
    if config.latents is not None:
        return [(ROWS, density) for density in config.densities]
    pairs: list[tuple[str, str]] = []
    for autoencoder in config.autoencoders:
        if autoencoder == "vae":
            pairs.append((autoencoder, PRIOR))
        else:
            allowed = ("gaussian", "gmm") if autoencoder == "rae" else config.densities
            pairs += [(autoencoder, density) for density in config.densities if density in allowed]
    return pairs


def build_density(name: str, config: Config, dim: int) -> Density:
    """An unfitted density of vectors of `dim` numbers, with initial weights that follow from the seed."""
    density, rivals = config.density, config.rivals
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "density"))
        if name == "lde":
            return LatentDensity(
                dim,
                density.components,
                order=density.order,
                norm=density.norm,
                heads=density.heads,
                base_width=density.base_width,
                max_width=density.max_width,
                floor=density.floor,
                standardize=density.standardize,
            )
        if name == "flow":
            return Flow(dim, transforms=rivals.flow_transforms, hidden=rivals.flow_hidden)
    if name == PRIOR:
        return StandardNormal(dim)
    components = rivals.gmm_components if name == "gmm" else 1
    return GaussianMixture(dim, components, covariance="diag" if name == "normal" else "full")
