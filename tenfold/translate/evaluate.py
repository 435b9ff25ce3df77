"""How well a dial works: at its corners, in its middle and along its edges, beside rivals; of a run and of a finished one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import combinations, pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from ..core.data import ImageSet
from ..core.errors import UsageError
from ..core.realism import frechet_distance
from ..core.run import Run
from .config import Config, EvalOptions
from .features import make_looks
from .learned import Learned, load_run
from .mixture import edge
from .objective import PictureLosses
from .rivals import mix_outputs, mix_weights
from .stages import DIALS, MIDDLE, single
from .task import Corners, Task, held_out_split, to_signed

BATCH = 8
POSITIONS = 16
"""of each picture's features along each side, at most, that the distance between sets of pictures is of"""
POINTS = 5
"""mixtures along each edge that the final metrics are of"""
UNTRANSLATED = "untranslated"
SINGLES = "singles"

Answer = Callable[[Tensor, Tensor], Tensor]
"""(pictures (N, 3, H, W) in [-1, 1], one mixture (L,)) -> pictures"""


@dataclass(frozen=True)
class Evaluator:
    """Compares the networks of one run on its held-out pictures.

    What is judged is the same for all: the reconstruction loss, the perceptual plus style loss, and for a domain, whose
    adversarial loss depends on who judges, the Frechet distance between features of made pictures and of the domain's, in
    units of that of the pictures as they were: 1 is no change, 0 the domain itself.
    """

    config: Config
    corners: Corners
    losses: PictureLosses
    sets: Sequence[ImageSet]
    """held-out pictures: the source's, then each domain's"""
    networks: Mapping[str, nn.Module]
    run: Run
    """gives the device and shows progress"""

    @classmethod
    def of(cls, learned: Learned, run: Run) -> Evaluator:
        """Of what a finished run has learned.

        Raises:
            UsageError: its pictures are missing.
        """
        config, device = learned.config, run.fabric.device
        task = Task.of(config.data)
        losses = PictureLosses(make_looks(config.loss.vgg), task.style_pictures(), config.loss).to(device)
        for network in learned.networks.values():
            network.to(device)
        return cls(config, task.corners, losses, task.sets(held_out_split(config)), learned.networks, run)

    @property
    def rows(self) -> list[str]:
        """The names of all rows."""
        found = [UNTRANSLATED, *self.answers]
        return [*found, SINGLES] if self._singles else found

    @cached_property
    def answers(self) -> dict[str, Answer]:
        """What answers at any mixture: networks with a dial, blends of single ones; and the one of the even mixture."""
        found: dict[str, Answer] = {
            name: partial(_asked, network) for name, network in self.networks.items() if name in DIALS
        }
        if self._singles:
            found |= {"outputs": partial(mix_outputs, self._singles), "weights": partial(mix_weights, self._singles)}
        if MIDDLE in self.networks:
            found[MIDDLE] = partial(_asked, self.networks[MIDDLE])
        return found

    def all(self, rows: Sequence[str] = ()) -> dict[str, float]:
        """Every metric of the rows named, or of all.

        Raises:
            UsageError: there is no such row.
        """
        chosen = self._chosen(rows, self.rows)
        metrics: dict[str, float] = {}
        with self.run.progress("evaluation", len(chosen)) as meter:
            for row in chosen:
                metrics |= {f"{row}/{column}": value for column, value in self.row(row).items()}
                meter.advance(note=row)
        return metrics

    def row(self, name: str) -> dict[str, float]:
        """The metrics of one row."""
        if name == UNTRANSLATED:
            return self.judge(self.pictures)
        if name == SINGLES:
            found = {}
            for number, corner in enumerate(self.corners.names):
                answer = partial(_asked, self.networks[single(corner)])
                found[corner] = self.judge(self.made(answer, torch.eye(self.count)[number]))[corner]
            return found
        middle = self.judged(name, torch.full((self.count,), 1 / self.count))
        found = {}
        if name != MIDDLE:
            ends = zip(self.corners.names, torch.eye(self.count), strict=True)
            found = {corner: self.judged(name, mix)[corner] for corner, mix in ends}
            found["falling"] = falling(self.curves(name, POINTS))
        return found | {f"{corner} at middle": value for corner, value in middle.items()}

    def curves(self, name: str, points: int) -> dict[tuple[str, str], list[dict[str, float]]]:
        """What is judged along every edge of the dial, from the first corner to the second."""
        found = {}
        for start, end in combinations(range(self.count), 2):
            mixes = edge(start, end, losses=self.count, points=points)
            key = self.corners.names[start], self.corners.names[end]
            found[key] = [self.judged(name, mix) for mix in mixes]
        return found

    def judged(self, name: str, mix: Tensor) -> dict[str, float]:
        """What is judged of a row at one mixture, (L,); known ones, such as corners where edges meet, are not made again."""
        key = name, tuple(round(share, 6) for share in mix.tolist())
        if key not in self._known:
            self._known[key] = self.judge(self.made(self.answers[name], mix))
        return self._known[key]

    def edges(self, rows: Sequence[str], points: int) -> dict[str, float]:
        """What is judged along every edge: "<row> <corner> <share> <corner>/<column>".

        Raises:
            UsageError: there is no such row, or it has no dial.
        """
        known = [name for name in self.answers if name != MIDDLE]
        metrics: dict[str, float] = {}
        chosen = self._chosen(rows, known)
        with self.run.progress("edges", len(chosen)) as meter:
            for row in chosen:
                for (start, end), curve in self.curves(row, points).items():
                    for number, judged in enumerate(curve):
                        where = f"{row} {start} {number / (points - 1):.2f} {end}"
                        metrics |= {f"{where}/{column}": value for column, value in judged.items()}
                meter.advance(note=row)
        return metrics

    @property
    def count(self) -> int:
        """L."""
        return len(self.corners.names)

    @cached_property
    def pictures(self) -> Tensor:
        """The held-out pictures of the source, (N, 3, S, S) in [-1, 1], on the CPU."""
        return _pixels(self.sets[0])

    @torch.no_grad()
    def made(self, answer: Answer, mix: Tensor) -> Tensor:
        """The held-out pictures under one mixture, (N, 3, S, S), on the CPU."""
        device = self.run.fabric.device
        return torch.cat([answer(part.to(device), mix.to(device)).cpu() for part in self.pictures.split(BATCH)])

    @torch.no_grad()
    def judge(self, made: Tensor) -> dict[str, float]:
        """What is judged of made pictures (N, 3, S, S), for each corner."""
        device = self.run.fabric.device
        columns: list[list[Tensor]] = []
        for part, pictures in zip(made.split(BATCH), self.pictures.split(BATCH), strict=True):
            part, pictures = part.to(device), pictures.to(device)
            columns.append(
                [self.losses.reconstruction(part, pictures).cpu()]
                + [value.cpu() for value in self.losses.styled(part, pictures)]
            )
        means = [float(torch.cat(parts).double().mean()) for parts in zip(*columns, strict=True)]
        found = {self.corners.source: means[0]}
        features = self._features(made) if self.corners.domains else []
        for number, name in enumerate(self.corners.domains):
            own = self._distance(features, self._domain_features[number])
            found[name] = own / max(self._untranslated[number], 1e-12)
        return found | dict(zip(self.corners.styles, means[1:], strict=True))

    def _features(self, pictures: Tensor) -> list[Tensor]:
        """Rows of features at spread positions of each layer, float32, on the CPU."""
        layers: list[list[Tensor]] = []
        with torch.no_grad():
            for part in pictures.split(BATCH):
                for number, found in enumerate(self.losses.looks(part.to(self.run.fabric.device))):
                    step = max(1, found.shape[2] // POSITIONS), max(1, found.shape[3] // POSITIONS)
                    rows = found[:, :, :: step[0], :: step[1]].permute(0, 2, 3, 1).flatten(0, 2).cpu()
                    if number == len(layers):
                        layers.append([])
                    layers[number].append(rows)
        return [torch.cat(rows) for rows in layers]

    @cached_property
    def _known(self) -> dict[tuple[str, tuple[float, ...]], dict[str, float]]:
        return {}

    @cached_property
    def _domain_features(self) -> list[list[Tensor]]:
        return [self._features(_pixels(images)) for images in self.sets[1:]]

    @cached_property
    def _untranslated(self) -> list[float]:
        features = self._features(self.pictures)
        return [self._distance(features, domain) for domain in self._domain_features]

    @staticmethod
    def _distance(features: Sequence[Tensor], domain: Sequence[Tensor]) -> float:
        """The mean over the layers, each in units of the domain's own spread."""
        distances = [
            frechet_distance(real, made) / max(float(real.var(0).sum()), 1e-12)
            for real, made in zip(domain, features, strict=True)
        ]
        return sum(distances) / len(distances)

    @cached_property
    def _singles(self) -> list[nn.Module]:
        names = [single(corner) for corner in self.corners.names]
        return [self.networks[name] for name in names] if all(name in self.networks for name in names) else []

    @staticmethod
    def _chosen(rows: Sequence[str], known: Sequence[str]) -> list[str]:
        unknown = next((row for row in rows if row not in known), None)
        if unknown is not None:
            raise UsageError(f"rows has {unknown!r}, but the run has {', '.join(known)}")
        return list(rows) or list(known)


def falling(
    curves: Mapping[tuple[str, str], Sequence[Mapping[str, float]]],
) -> float:
    """The share of steps along the edges, each taken towards both of its corners, that lower that corner's loss; 1 is all."""
    steps = []
    for (start, end), curve in curves.items():
        for before, after in pairwise(curve):
            steps += [after[end] < before[end], after[start] > before[start]]
    return sum(steps) / len(steps)


def evaluate(folder: Path, options: EvalOptions) -> dict[str, float]:
    """Test the networks of a finished run on its held-out pictures (`tenfold eval`).

    Returns:
        "<row>/<column>"; see the README for both.

    Raises:
        UsageError: the folder is not a run of this method, it has no trained network yet, its pictures are missing, or there is
            no such row.
    """
    learned = load_run(folder)
    evaluator = Evaluator.of(learned, Run.open(folder))
    return evaluator.edges(options.rows, options.points) if options.edges else evaluator.all(options.rows)


def _asked(network: nn.Module, pictures: Tensor, mix: Tensor) -> Tensor:
    """What a network gives for pictures of any size under one mixture (L,)."""
    found: Tensor = network(pictures, mix=mix)
    return found


def _pixels(images: ImageSet) -> Tensor:
    return torch.cat([to_signed(images.fetch(rows)[0]) for rows in torch.arange(len(images)).split(64)])
