"""How good samples and densities are: of a run while it ends, and of a finished one (`tenfold eval`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.batches import EvalBatches, derive_seed
from ..core.data import ImageSet
from ..core.errors import UsageError
from ..core.metrics import Accuracy
from ..core.realism import frechet_distance, precision_and_recall
from ..core.run import Run
from .autoencoder import from_bytes, to_unit
from .config import Config, EvalOptions
from .density import LatentDensity
from .features import feature_network
from .fitting import log_likelihoods
from .learned import Latents, Learned, Pictures, load_pictures, load_run, read_latents
from .models import Autoencoder
from .parzen import parzen_log_likelihood
from .stages import CLASSIFIER, PRIOR, Density

BATCH = 256
VALIDATION = 1000
"""training pictures that the Parzen window's width is chosen on, at most"""
CHECKED = ("incremental", "plain")
"""autoencoders whose latents are also tried a few at a time"""


class Evaluator:
    """Judges what a run has learned, on its held-out pictures or rows.

    Args:
        config: the run's settings.
        learned: what is judged; on the run's device.
        latents: of each autoencoder.
        pictures: None where the rows come from a file.
        run: shows progress.
        options: how much is drawn, and how.
    """

    def __init__(
        self,
        config: Config,
        learned: Learned,
        latents: dict[str, Latents],
        pictures: Pictures | None,
        run: Run,
        options: EvalOptions | None = None,
    ) -> None:
        self.config = config
        self.learned = learned
        self.latents = latents
        self.pictures = pictures
        self.run = run
        self.device = run.fabric.device
        self.options = options or EvalOptions()
        self.count = self.options.samples or config.metrics.samples

    def all(self, rows: Sequence[str] = ()) -> dict[str, float]:
        """Every metric of the rows named, or of all.

        Raises:
            UsageError: there is no such row.
        """
        known = self.rows
        unknown = next((row for row in rows if row not in known), None)
        if unknown is not None:
            raise UsageError(f"rows has {unknown!r}, but the run has {', '.join(known)}")
        chosen = list(rows) or known
        metrics: dict[str, float] = {}
        with self.run.progress("evaluation", len(chosen)) as meter:
            for row in chosen:
                metrics |= self.row(row)
                meter.advance(note=row)
        return metrics

    @property
    def rows(self) -> list[str]:
        """The names of all rows."""
        names = [CLASSIFIER] if self.learned.classifier is not None else []
        if self.pictures is not None:
            names += ["training pictures", *(f"{name} rebuilt" for name in self.learned.autoencoders)]
            names += list(self._by_count)
        return [*names, *self.learned.densities]

    def row(self, name: str) -> dict[str, float]:
        """The metrics of one row."""
        if name in self.learned.densities:
            return self._density(name)
        if name == CLASSIFIER:
            return {f"{name}/accuracy": self._accuracy()}
        if name == "training pictures":
            return _named(name, self._likeness(self._training_sample))
        if name.endswith(" rebuilt"):
            return self._rebuilt(name, self.learned.autoencoders[name.removesuffix(" rebuilt")])
        return {f"{name}/reconstruction error": self._by_count[name]()}

    # samples

    def held_out_pictures(self, count: int) -> Tensor:
        """The first held-out pictures, (count, C, S, S) in [0, 1]."""
        return self._real[:count]

    def generate(self, name: str, count: int) -> Tensor:
        """Pictures (count, C, S, S) in [0, 1], on the CPU, from one of the densities."""
        autoencoder = self.learned.autoencoders[name.split()[0]]
        latents = self.sample(self.learned.densities[name], count, derive_seed(self.config.seed, "samples"))
        return self.decoded(autoencoder, latents)

    def sample(self, density: Density, count: int, seed: int) -> Tensor:
        """Latents (count, D), on the run's device."""
        if isinstance(density, LatentDensity):
            return density.sample(count, seed=seed, temperature=self.options.temperature)
        return density.sample(count, seed=seed)

    @torch.no_grad()
    def decoded(self, autoencoder: Autoencoder, latents: Tensor) -> Tensor:
        """Pictures (N, C, S, S) in [0, 1], on the CPU."""
        parts = [autoencoder.decode(part.to(self.device)) for part in latents.split(BATCH)]
        return torch.cat([to_unit(part.float(), self.config.net.range).cpu() for part in parts])

    def _density(self, name: str) -> dict[str, float]:
        source, kind = name.split()
        density, latents = self.learned.densities[name], self.latents[source]
        found: dict[str, float] = {}
        if self.pictures is not None:
            found = self._likeness(made := self.generate(name, self.count))
            mean, _, _ = parzen_log_likelihood(made.flatten(1), self._validation, self._real.flatten(1))
            found["parzen log-likelihood"] = mean
        if kind != PRIOR:  # of a VAE's means, whose scale is its own
            found["latent log-likelihood"] = float(log_likelihoods(density, latents.held_out).double().mean())
        return _named(name, found)

    # autoencoders

    def _rebuilt(self, name: str, autoencoder: Autoencoder) -> dict[str, float]:
        rebuilt = self.decoded(autoencoder, self.latents[autoencoder.name].held_out)
        error = float((rebuilt - self._real).double().square().mean())
        return _named(name, {**self._likeness(rebuilt), "reconstruction error": error})

    @cached_property
    def _by_count(self) -> dict[str, Any]:
        """Rows of the reconstruction with the first k latents, the others at their mean; and with k principal axes."""
        dim = self.config.net.latent
        counts = sorted({1 << power for power in range(dim.bit_length()) if 1 << power < dim})
        rows: dict[str, Any] = {}
        for name in CHECKED:
            for count in counts if name in self.learned.autoencoders else ():
                rows[f"{name} first {count}"] = lambda name=name, count=count: self.partial_error(name, count)
        if "plain" in self.learned.autoencoders:
            for count in counts:
                rows[f"plain principal {count}"] = lambda count=count: self.partial_error("plain", count, rotate=True)
        return rows

    def partial(self, name: str, latents: Tensor, count: int, *, rotate: bool = False) -> Tensor:
        """Pictures (N, C, S, S) in [0, 1] from the first `count` latents, or principal axes; the others at their mean."""
        mean = self.latents[name].train.mean(0)
        centred = latents - mean
        if rotate:
            axes = torch.linalg.eigh(torch.cov(self.latents[name].train.double().T)).eigenvectors.flip(1)[:, :count]
            kept = (centred.double() @ axes @ axes.T).float()
        else:
            kept = centred * (torch.arange(len(mean)) < count)
        return self.decoded(self.learned.autoencoders[name], mean + kept)

    def partial_error(self, name: str, count: int, *, rotate: bool = False) -> float:
        """Mean squared error of `partial` on the held-out pictures, for pixels in [0, 1]."""
        rebuilt = self.partial(name, self.latents[name].held_out, count, rotate=rotate)
        return float((rebuilt - self._real).double().square().mean())

    # judging pictures

    def _likeness(self, images: Tensor) -> dict[str, float]:
        """Of pictures in [0, 1]: Frechet distance to the held-out ones, precision and recall."""
        made = self.features(images)
        settings = self.config.metrics
        precision, recall = precision_and_recall(self._real_features, made, neighbours=settings.neighbours)
        return {"fid": frechet_distance(self._real_features, made), "precision": precision, "recall": recall}

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """(N, C, S, S) in [0, 1] -> (N, F), on the CPU."""
        # as eight-bit pictures, which real ones are
        parts = [((part * 255).round() / 255).to(self.device) for part in images.split(BATCH)]
        return torch.cat([self._network(part).float().cpu() for part in parts])

    @cached_property
    def _network(self) -> Any:
        assert self.learned.task is not None
        network = feature_network(self.config.metrics, self.learned.classifier, self.learned.task)
        return network.to(self.device)

    @cached_property
    def _real(self) -> Tensor:
        """The held-out pictures, in [0, 1]."""
        assert self.pictures is not None
        return _pixels(self.pictures.held_out, torch.arange(len(self.pictures.held_out)))

    @cached_property
    def _real_features(self) -> Tensor:
        return self.features(self._real)

    @cached_property
    def _training_sample(self) -> Tensor:
        """As many training pictures as are generated, drawn without repetition."""
        assert self.pictures is not None
        images = self.pictures.train
        random = torch.Generator().manual_seed(derive_seed(self.config.seed, "training pictures"))
        return _pixels(images, torch.randperm(len(images), generator=random)[: self.count])

    @cached_property
    def _validation(self) -> Tensor:
        """Training pictures that the Parzen window's width is chosen on, (V, pixels)."""
        return self._training_sample[:VALIDATION].flatten(1)

    @torch.no_grad()
    def _accuracy(self) -> float:
        assert self.pictures is not None
        assert self.learned.classifier is not None
        accuracy = Accuracy()
        for images, targets in EvalBatches(self.pictures.held_out, BATCH):
            accuracy.update(
                self.learned.classifier(self.pictures.task.normalized(images.to(self.device))), targets.to(self.device)
            )
        return accuracy.value


def evaluate(folder: Path, options: EvalOptions) -> dict[str, float]:
    """Test what a run has learned on its held-out pictures or rows (`tenfold eval`).

    Returns:
        "<row>/<column>" of the rows asked for; see the README for both.

    Raises:
        UsageError: the folder is not a run of this method, it has no trained network yet, its data is missing, or there is
            no such row.
    """
    config, learned = load_run(folder)
    run = Run.open(folder)
    for network in (learned.classifier, *learned.autoencoders.values(), *learned.densities.values()):
        if network is not None:
            network.to(run.fabric.device)
    pictures = load_pictures(config) if config.latents is None else None
    latents = read_latents(config, learned, pictures, run.fabric.device)
    return Evaluator(config, learned, latents, pictures, run, options).all(options.rows)


def _pixels(images: ImageSet, rows: Tensor) -> Tensor:
    """Pictures (N, C, S, S) in [0, 1]."""
    return torch.cat([from_bytes(images.fetch(part)[0], "sigmoid") for part in rows.split(BATCH)])


def _named(row: str, values: dict[str, float]) -> dict[str, float]:
    return {f"{row}/{name}": value for name, value in values.items()}
