"""What a finished run generates, and what it makes of a person's own pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.demo import Output, Rows
from ..core.errors import UsageError
from ..core.pictures import find_pictures, open_picture, to_input
from ..core.task import Task
from .autoencoder import from_bytes, to_unit
from .config import Config, DemoOptions
from .density import LatentDensity
from .generative import GenerativeAutoencoder
from .learned import load_run
from .pictures import to_sheet
from .stages import ROWS

COLUMNS = 8
BATCH = 256


class GenerateDemo:
    """Generates pictures, rebuilds given ones, scores them and passes from one to another; made by `load`."""

    outputs = (
        Output(
            "scores", "table", "for each picture: log-density of its latents, and how typical that is (1) or rare (0)"
        ),
        Output("samples", "picture", "generated pictures"),
        Output("rebuilt", "picture", "each picture and what the autoencoder makes of it"),
        Output("way", "picture", "from the first picture to the last, along likely latents"),
    )

    def __init__(self, model: GenerativeAutoencoder, config: Config, task: Task) -> None:
        self.model = model
        self._range = config.net.range
        self._task = task

    @torch.no_grad()
    def __call__(self, options: DemoOptions) -> dict[str, Any]:
        """Generate, rebuild and score; without pictures of one's own, those that were generated. See `outputs`.

        Raises:
            UsageError: a file is missing or is not a picture, or a folder holds none.
        """
        made = self.model.sample(options.count, seed=options.seed, temperature=options.temperature)
        images, names = self._given(options)
        if images is None:
            images, names = made, [f"generated {number + 1}" for number in range(len(made))]
        latents = torch.cat([self.model.encode(part) for part in images.split(BATCH)])
        scores, typical = self.model.density.log_prob(latents), self.model.density.typicality(latents)
        rows = [
            (name, f"{score:.2f}", f"{share:.3f}")
            for name, score, share in zip(names, scores.tolist(), typical.tolist(), strict=True)
        ]
        shown = min(len(images), 4 * COLUMNS)
        pairs = torch.stack([images[:shown], self.model.decode(latents[:shown]).cpu()], 1).flatten(0, 1)
        captions = [caption for name in names[:shown] for caption in (Path(name).name, "rebuilt")]
        path = self.model.path(latents[0], latents[-1], steps=options.steps, weight=options.bend)
        values = [f"{value:.1f}" for value in self.model.density.log_prob(path).tolist()]
        return {
            "scores": Rows(("picture", "log-density", "typicality"), tuple(rows)),
            "samples": self._sheet(made, [""] * len(made)),
            "rebuilt": self._sheet(pairs, captions),
            "way": to_sheet(self._unit(self.model.decode(path)), values, len(values)),
        }

    def _given(self, options: DemoOptions) -> tuple[Tensor | None, list[str]]:
        if not options.images:
            return None, []
        files = find_pictures(options.images)
        channels, height, width = self._task.shape
        pixels = torch.stack([to_input(open_picture(file), shape=(channels, height, width)) for file in files])
        return from_bytes(pixels, self._range), [str(file) for file in files]

    def _sheet(self, images: Tensor, captions: list[str]) -> Any:
        return to_sheet(self._unit(images), captions, COLUMNS)

    def _unit(self, images: Tensor) -> Tensor:
        return to_unit(images.float().cpu(), self._range).clamp(0, 1)


class RowsDemo:
    """Draws rows like those of the run's file; made by `load`."""

    outputs = (Output("rows", "table", "drawn rows, with the log-density of each"),)

    def __init__(self, density: LatentDensity) -> None:
        self.density = density

    def __call__(self, options: DemoOptions) -> dict[str, Any]:
        """Draw rows; see `outputs`.

        Raises:
            UsageError: pictures were named, which such a run knows nothing of.
        """
        if options.images:
            raise UsageError(
                f"images are {options.images[0]}, ..., but the run learned rows of numbers: there must be none"
            )
        drawn = self.density.sample(options.count, seed=options.seed, temperature=options.temperature)
        scores = self.density.log_prob(drawn)
        columns = (*(str(number) for number in range(self.density.dim)), "log-density")
        rows = [
            (*(f"{value:.4g}" for value in row), f"{score:.2f}")
            for row, score in zip(drawn.tolist(), scores.tolist(), strict=True)
        ]
        return {"rows": Rows(columns, tuple(rows))}


def load(folder: Path) -> GenerateDemo | RowsDemo:
    """What a run folder has learned: its first autoencoder with the method's density, or the density of its rows.

    Raises:
        UsageError: the folder is not a run of this method, has no trained network yet, or was trained without this density.
    """
    config, learned = load_run(folder)
    name = next((name for name in learned.densities if name.endswith(" lde")), None)
    if name is None:
        raise UsageError(
            f"{folder} was trained without the density lde, which the demo needs; it has {', '.join(learned.densities)}"
        )
    density = learned.densities[name]
    assert isinstance(density, LatentDensity)
    if name.startswith(f"{ROWS} "):
        return RowsDemo(density)
    autoencoder = learned.autoencoders[name.split()[0]]
    assert learned.task is not None
    return GenerateDemo(GenerativeAutoencoder(autoencoder.encoder, autoencoder.decoder, density), config, learned.task)
