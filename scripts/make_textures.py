"""Make the embedded photo textures of the set `scenes` from pictures that come with scikit-image and scikit-learn.

    python scripts/make_textures.py --skimage skimage/data --sklearn sklearn/datasets/images

Each texture is stored twice, [0] for training and [1] for test scenes, from parts of its picture that do not overlap.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

TARGET = Path(__file__).parents[1] / "tenfold" / "core" / "embedded" / "textures.npz"

Box = tuple[int, int, int, int]
"""left, top, right, bottom, in pixels of the (turned) picture"""


class Texture(NamedTuple):
    """Where a texture comes from, and as what it is stored."""

    file: str
    train: Box
    test: Box
    size: tuple[int, int]
    """width, height in the file"""
    mode: str = "L"
    turned: bool = False
    """by 90 degrees"""


HALVES: tuple[Box, Box] = (0, 0, 256, 512), (256, 0, 512, 512)
TEXTURES = {
    "brick": Texture("brick.png", *HALVES, size=(128, 256), turned=True),
    "gravel": Texture("gravel.png", *HALVES, size=(128, 256)),
    "grass": Texture("grass.png", *HALVES, size=(128, 256)),
    "foliage": Texture("china.jpg", (385, 325, 545, 427), (0, 350, 200, 427), size=(128, 64)),
    "day": Texture("china.jpg", (325, 0, 482, 128), (482, 0, 639, 128), size=(128, 64), mode="RGB"),
    "dusk": Texture("rocket.jpg", (90, 0, 290, 112), (300, 0, 500, 112), size=(128, 64), mode="RGB"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--skimage", type=Path, required=True, help="folder with brick.png, grass.png, ...")
    parser.add_argument("--sklearn", type=Path, required=True, help="folder with china.jpg")
    parser.add_argument("--target", type=Path, default=TARGET, help="file to write (default: %(default)s)")
    arguments = parser.parse_args()
    stored: dict[str, Any] = {}
    for name, texture in TEXTURES.items():
        folder = arguments.sklearn if texture.file == "china.jpg" else arguments.skimage
        picture = Image.open(folder / texture.file).convert(texture.mode)
        stored[name] = np.stack([cut(picture, texture, box) for box in (texture.train, texture.test)])
    np.savez_compressed(arguments.target, **stored)
    print(f"{arguments.target}: {arguments.target.stat().st_size:,} bytes")


def cut(picture: Image.Image, texture: Texture, box: Box) -> np.ndarray:
    """uint8 (height, width) or (height, width, 3)."""
    turned = picture.transpose(Image.Transpose.ROTATE_90) if texture.turned else picture
    return np.asarray(turned.resize(texture.size, Image.Resampling.LANCZOS, box=box))


if __name__ == "__main__":
    main()
