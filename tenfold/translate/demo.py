"""A trained dial on a person's own pictures and videos."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..core.demo import Output, Pictures
from ..core.errors import UsageError
from ..core.frames import count_frames, named_frames
from ..core.pictures import find_pictures
from .config import DemoOptions
from .learned import Learned, load_run
from .mixture import OffSimplexWarning, as_mix, on_simplex
from .pictures import canonical, described, mixtures_sheet, to_images
from .stages import DIALS
from .task import to_signed
from .tiles import translate_tiled

SHEET = 192
"""pixels along the longer side of a picture on a sheet"""
SMALLEST = 32


class TranslateDemo:
    """Turns the dial for pictures; made by `load`."""

    outputs = (
        Output(
            "pictures",
            "pictures",
            "for each picture or frame: translated/NAME.png for a mixture; without one, a folder for each corner and the"
            " middles; with grid, grid/NAME.png",
        ),
        Output("mixture", "text", "the mixture, and whether training covered it"),
    )

    def __init__(self, learned: Learned) -> None:
        self.learned = learned

    def __call__(self, options: DemoOptions) -> dict[str, Pictures | str]:
        """Translate the pictures that `options` names, one after the other while they are taken; see `outputs`.

        Raises:
            UsageError: the run has no such network or corner, the network has no dial but a mixture is named, a file is missing or
                cannot be read, or a folder holds no picture.
        """
        name, network = self._network(options)
        names = self.learned.corners.names
        mixes = self._mixes(options, has_dial=name in DIALS)
        files = find_pictures(options.images)

        def made() -> Iterator[tuple[str, Image.Image]]:
            for called, frame in named_frames(files):
                if options.grid:
                    yield f"grid/{called}.png", self._sheet(network, frame)
                    continue
                picture = to_picture(frame, options.largest)
                for folder, mix in mixes:
                    result = self.translate(network, picture, mix, tile=options.tile)
                    yield f"{folder}/{called}.png", to_images(result)[0].resize(_size(frame, options.largest))

        count = sum(count_frames(file) for file in files) * (1 if options.grid else len(mixes))
        return {"pictures": Pictures(count, made()), "mixture": _sentence(mixes, names, options)}

    @torch.no_grad()
    def translate(self, network: nn.Module, picture: Tensor, mix: Tensor, *, tile: int = 512) -> Tensor:
        """A picture (1, 3, H, W) in [-1, 1] under a mixture (L,) -> the same, whatever its size."""
        return translate_tiled(network, picture, mix=mix, tile=tile - tile % 4)

    def _network(self, options: DemoOptions) -> tuple[str, nn.Module]:
        known = self.learned.networks
        name = options.network or next(iter([*self.learned.dials, *known]))
        if name not in known:
            raise UsageError(f"network is {name!r}, but the run has {', '.join(known)}")
        if name not in DIALS and (options.mix or options.grid):
            raise UsageError(
                f"network is {name!r}, which knows one mixture; those with a dial are {', '.join(self.learned.dials) or 'none'}"
            )
        return name, known[name]

    def _mixes(self, options: DemoOptions, *, has_dial: bool) -> list[tuple[str, Tensor]]:
        """(folder, mixture) of what is written of each picture."""
        names = self.learned.corners.names
        if not has_dial:
            return [("translated", torch.full((len(names),), 1 / len(names)))]
        if options.mix:
            return [("translated", parsed(options.mix, names))]
        return [(described(mix, names), mix) for mix in canonical(len(names))]

    def _sheet(self, network: nn.Module, frame: Image.Image) -> Image.Image:
        small = to_picture(frame, SHEET)
        return mixtures_sheet(lambda mix: self.translate(network, small, mix)[0], self.learned.corners.names)


def parsed(texts: tuple[str, ...], names: tuple[str, ...]) -> Tensor:
    """NAME=SHARE ... as a mixture (L,); what is not named has 0. It may be off the simplex.

    Raises:
        UsageError: a text has another form, or a name is unknown or given twice.
    """
    shares: dict[str, float] = {}
    for text in texts:
        name, equals, share = text.partition("=")
        try:
            value = float(share)
        except ValueError:
            value = float("nan")
        if not equals or value != value:
            raise UsageError(f"mix has {text!r}, but must be NAME=SHARE such as {names[0]}=0.5")
        if name in shares:
            raise UsageError(f"mix names {name!r} twice")
        shares[name] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OffSimplexWarning)  # the demo says it in its answer
        return as_mix(shares, names)


def to_picture(frame: Image.Image, largest: int) -> Tensor:
    """An RGB picture as (1, 3, H, W) in [-1, 1], its longer side at most `largest`, its sides at least 32 pixels."""
    width, height = (max(SMALLEST, side) for side in _size(frame, largest))
    pixels = np.array(frame.resize((width, height), Image.Resampling.LANCZOS))
    return to_signed(torch.from_numpy(pixels).permute(2, 0, 1)[None])


def load(folder: Path) -> TranslateDemo:
    """The demo of a finished run; it needs the run folder only, not the pictures that it was learned from.

    Raises:
        UsageError: the folder is not a run of this method, or it has no trained network yet.
    """
    return TranslateDemo(load_run(folder))


def _size(frame: Image.Image, largest: int) -> tuple[int, int]:
    factor = min(1.0, largest / max(frame.size))
    width, height = (max(1, round(side * factor)) for side in frame.size)
    return width, height


def _sentence(mixes: list[tuple[str, Tensor]], names: tuple[str, ...], options: DemoOptions) -> str:
    if options.grid or not options.mix:
        return f"the dial has the corners {', '.join(names)}"
    mix = mixes[0][1]
    text = ", ".join(f"{name} {share:g}" for name, share in zip(names, mix.tolist(), strict=True))
    return text if on_simplex(mix) else f"{text}: off the simplex (shares at least 0, of sum 1) that training covered"
