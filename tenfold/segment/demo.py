"""A trained segmentation network on a person's own pictures and videos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch.nn import functional as F

from ..core.demo import Output, Pictures
from ..core.errors import UsageError
from ..core.frames import count_frames, named_frames
from ..core.mask_files import Bytes
from ..core.masks import fitted_pixels
from ..core.pictures import find_pictures
from .config import DemoOptions
from .evaluate import TrainedRun, load_run
from .fold import fuse
from .overlay import overlaid, palette_mask

LARGEST = 2048
"""pixels along the longer side of what is written; larger pictures are made smaller"""


class SegmentDemo:
    """Names the class of every pixel; made by `load`."""

    outputs = (
        Output(
            "pictures",
            "pictures",
            "for each picture or frame: overlay/NAME.jpg, the classes' colours over it, and mask/NAME.png, whose values are"
            " the classes' numbers",
        ),
    )

    def __init__(self, trained: TrainedRun) -> None:
        self.trained = trained

    def __call__(self, options: DemoOptions) -> dict[str, Pictures]:
        """Segment the pictures that `options` names, one after the other while they are taken; see `outputs`.

        Raises:
            UsageError: the run has no such network, a file is missing or cannot be read, or a folder holds no picture.
        """
        networks = self.trained.networks
        chosen = options.network or next(iter(networks))
        if chosen not in networks:
            raise UsageError(f"network is {chosen!r}, but the run has {', '.join(networks)}")
        files = find_pictures(options.images)
        network = fuse(networks[chosen])

        def made() -> Iterator[tuple[str, Image.Image]]:
            for name, picture in named_frames(files):
                picture.thumbnail((LARGEST, LARGEST))
                labels = self.labels(network, picture)
                yield f"overlay/{name}.jpg", overlaid(picture, labels, self.trained.colours, opacity=options.opacity)
                yield f"mask/{name}.png", palette_mask(labels, self.trained.colours)

        return {"pictures": Pictures(2 * sum(count_frames(file) for file in files), made())}

    @torch.no_grad()
    def labels(self, network: torch.nn.Module, picture: Image.Image) -> Bytes:
        """The class of every pixel of an RGB picture, uint8 (H, W); it is seen at the size of the training pictures."""
        task = self.trained.task
        seen = fitted_pixels(picture, task.shape[1], task.shape[2])
        logits = network(task.normalized(seen[None]))
        whole = F.interpolate(logits, (picture.height, picture.width), mode="bilinear", align_corners=False)
        found: Bytes = whole.argmax(1)[0].to(torch.uint8).numpy()
        return found


def load(folder: Path) -> SegmentDemo:
    """The demo of a finished run; it needs the run folder only, not the data set.

    Raises:
        UsageError: the folder is not a run of this method, or it has no trained network yet.
    """
    return SegmentDemo(load_run(folder))
