"""Small sets of pictures with masks, and the settings of trainings of a few seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from tenfold.core.config import ComputeConfig, MaskedDataConfig
from tenfold.segment.config import Config, NetSettings, TrainSettings

CLASSES = ("sky", "road", "car", "house", "tree")
COLOURS = ((60, 120, 220), (110, 110, 110), (210, 40, 40), (200, 190, 90), (20, 120, 30))
TINY = Config(
    net=NetSettings(depths=(1, 1)),
    train=TrainSettings(
        encoder_epochs=1,
        epochs=2,
        encoder_batch_size=8,
        batch_size=8,
        learning_rate=5e-3,
        schedule="cosine",
        sizes=(1.0, 0.5),
    ),
    compute=ComputeConfig(device="cpu"),
    networks=("c3net",),
)


def street(draw: np.random.RandomState, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy street, uint8 (H, W, 3), and its labels, uint8 (H, W), with some that are ignored."""
    labels = np.zeros((height, width), np.uint8)
    horizon, left = draw.randint(height // 4, height // 2), draw.randint(0, width // 2)
    labels[horizon // 2 : horizon, : width // 3] = 3
    labels[horizon // 3 : horizon, -width // 4 :] = 4
    labels[horizon:] = 1
    labels[horizon : horizon + height // 3, left : left + width // 3] = 2
    colours = np.array(COLOURS)[labels] + draw.normal(0, 25, (height, width, 3))
    labels[:2, :2] = 255
    return colours.clip(0, 255).astype(np.uint8), labels


def write_set(root: Path, *, seed: int = 0, **splits: Sequence[tuple[int, int]]) -> MaskedDataConfig:
    """A folder of streets; for each split (train, val, test) the heights and widths of its pictures."""
    draw = np.random.RandomState(seed)
    for split, sizes in splits.items():
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for number, (height, width) in enumerate(sizes):
            pixels, labels = street(draw, height, width)
            Image.fromarray(pixels).save(root / split / "images" / f"{number:02d}.png")
            Image.fromarray(labels).save(root / split / "masks" / f"{number:02d}.png")
    lines = [f"{name} {' '.join(map(str, colour))}" for name, colour in zip(CLASSES, COLOURS, strict=True)]
    (root / "classes.txt").write_text("\n".join(lines))
    return MaskedDataConfig(name="folder", root=root, classes=root / "classes.txt", height=32, width=48)


def tiny(root: Path) -> Config:
    """Training settings for sixteen streets of 32 x 48 pixels and four to test on, written to `root`."""
    return replace(TINY, data=write_set(root, train=[(32, 48)] * 16, test=[(32, 48)] * 4))
