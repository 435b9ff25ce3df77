"""Make the embedded set `pictures`: crops of photographs and of paintings, and a few whole paintings as styles.

    python scripts/make_pictures.py --met met --wallpapers usr/share/backgrounds --skimage skimage/data \
        --sklearn sklearn/datasets/images

The folders come from the packages that `tenfold/core/embedded/ATTRIBUTION.md` names. Crops of one picture are all for
training or all for testing.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

TARGET = Path(__file__).parents[1] / "tenfold" / "core" / "embedded" / "pictures.zip"
SIDE = 128
STYLE = 256
"""pixels of the shorter side of a style picture"""
QUALITY = 82


class Origin(NamedTuple):
    """One picture that crops are cut from."""

    folder: str
    file: str
    test: bool = False


PHOTOS = {
    "peaks": Origin("wallpapers", "picosdeeuropa_by_Aitzol_Berasategi.jpg", test=True),
    "dandelion": Origin("wallpapers", "seeding_by_Clements_Engelhardt.jpg", test=True),
    "pagoda": Origin("sklearn", "china.jpg", test=True),
    "coffee": Origin("skimage", "coffee.png", test=True),
    "autumn": Origin("wallpapers", "aitzgorri_by_Aitzol_Berasategi.jpg"),
    "dogs": Origin("wallpapers", "friends_by_Aitzol_Berasategi.jpg"),
    "stream": Origin("wallpapers", "life_by_Aitzol_Berasategi.jpg"),
    "sunset": Origin("wallpapers", "sunset_by_Aitzol_Berasategi.jpg"),
    "fig": Origin("wallpapers", "Picture_0B_by_freespace.jpg"),
    "brushes": Origin("wallpapers", "Picture_1A_by_freespace.jpg"),
    "drum": Origin("wallpapers", "Wine_by_Jakkub_Mede.jpg"),
    "cat": Origin("skimage", "chelsea.png"),
    "astronaut": Origin("skimage", "astronaut.png"),
    "rocket": Origin("skimage", "rocket.jpg"),
    "dahlia": Origin("sklearn", "flower.jpg"),
}
PAINTINGS_TEST = (437299, 435882, 437430, 438821, 436528)
PAINTINGS_TRAIN = (
    *(436947, 438817, 438815, 437658, 459092, 436532, 437654, 435876, 459123, 436535, 435868, 437344, 437835),
    *(459110, 459112, 438822, 436819, 436121, 435621, 437097),
)
INK_TEST = (39936, 40055, 49156)
INK_TRAIN = (39901, 39915, 39668, 45428, 40081, 44858, 36131, 36029, 48948)
STYLES = {"cypresses": 436535, "circus": 437654, "primavesi": 436819}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, holds in (
        ("met", "<object number>.jpg"),
        ("wallpapers", "*_by_*.jpg"),
        ("skimage", "coffee.png, ..."),
        ("sklearn", "china.jpg, ..."),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"folder with {holds}")
    parser.add_argument("--target", type=Path, default=TARGET, help="file to write (default: %(default)s)")
    arguments = parser.parse_args()
    stored: dict[str, Image.Image] = {}
    for name, origin in PHOTOS.items():
        picture = opened(getattr(arguments, origin.folder) / origin.file)
        stored |= named(f"photos/{'test' if origin.test else 'train'}/{name}", crops(picture, whole=2, half=6, third=4))
    for kind, split, numbers in (
        ("paintings", "train", PAINTINGS_TRAIN),
        ("paintings", "test", PAINTINGS_TEST),
        ("ink", "train", INK_TRAIN),
        ("ink", "test", INK_TEST),
    ):
        for number in numbers:
            picture = unframed(opened(arguments.met / f"{number}.jpg"))
            found = crops(picture, whole=2, half=4 if kind == "paintings" else 8, third=0)
            stored |= named(f"{kind}/{split}/{number}", found)
    for name, number in STYLES.items():
        picture = unframed(opened(arguments.met / f"{number}.jpg"))
        stored[f"styles/{name}.webp"] = scaled(picture, STYLE)
    with zipfile.ZipFile(arguments.target, "w", zipfile.ZIP_STORED) as archive:
        for path, picture in stored.items():
            # a fixed date, so that the same pictures make the same file
            archive.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), encoded(picture))
    print(f"{arguments.target}: {len(stored)} pictures, {arguments.target.stat().st_size:,} bytes")


def opened(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


def unframed(picture: Image.Image) -> Image.Image:
    """Without the outermost 3 % at each side, where some photographs of paintings show the frame."""
    across, down = round(picture.width * 0.03), round(picture.height * 0.03)
    return picture.crop((across, down, picture.width - across, picture.height - down))


def scaled(picture: Image.Image, short: int) -> Image.Image:
    """With a shorter side of `short` pixels."""
    factor = short / min(picture.size)
    return picture.resize((round(picture.width * factor), round(picture.height * factor)), Image.Resampling.LANCZOS)


def crops(picture: Image.Image, **counts: int) -> list[Image.Image]:
    """Squares from the picture at one, two and three times their size, those of most detail first; never enlarged."""
    chosen: list[Image.Image] = []
    for times, count in zip((1, 2, 3), counts.values(), strict=True):
        if count and min(picture.size) >= times * SIDE:
            chosen += sorted(squares(scaled(picture, times * SIDE)), key=detail, reverse=True)[:count]
    return chosen


def squares(picture: Image.Image) -> list[Image.Image]:
    """The picture in squares, spread evenly so that none is cut off at a border."""
    lefts, tops = places(picture.width), places(picture.height)
    return [picture.crop((left, top, left + SIDE, top + SIDE)) for top in tops for left in lefts]


def places(length: int) -> list[int]:
    count = max(1, round(length / SIDE))
    return [round(number * (length - SIDE) / max(count - 1, 1)) for number in range(count)]


def detail(picture: Image.Image) -> float:
    """How much neighbouring pixels differ, with little difference among those that have plenty."""
    grey = np.asarray(picture.convert("L"), dtype=np.float64)
    return float(min(np.abs(np.diff(grey, axis=0)).mean(), 12) + grey.std() / 8)


def named(stem: str, pictures: list[Image.Image]) -> dict[str, Image.Image]:
    return {f"{stem}-{number:02d}.webp": picture for number, picture in enumerate(pictures)}


def encoded(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=QUALITY, method=6)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
