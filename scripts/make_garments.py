"""Make the embedded set `garments` from the four idx files of Fashion-MNIST (plain or gzipped).

    python scripts/make_garments.py --source ~/data/FashionMNIST/raw

It holds, for each class, the first 1,000 images of train and the first 200 of test, in the order of the files. Sorted
by class and packed with LZMA it is smaller than as PNG or lossless WebP sheets, and unpacks in half a second.
"""

from __future__ import annotations

import argparse
import io
import lzma
from pathlib import Path

import numpy as np

from tenfold.core.config import DataConfig
from tenfold.core.data import FORMATS
from tenfold.core.embedded_sets import GARMENTS_TRAIN
from tenfold.core.sources import GARMENTS, Bytes, Split

TEST = 200
TARGET = Path(__file__).parents[1] / "tenfold" / "core" / "embedded" / "garments.npy.xz"
# pb=0: neighbouring bytes have no alignment; lc=4: the byte before says much about the next
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "pb": 0, "lc": 4}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder of the Fashion-MNIST idx files")
    parser.add_argument("--target", type=Path, default=TARGET, help="file to write (default: %(default)s)")
    arguments = parser.parse_args()
    config = DataConfig(name="fashion-mnist", root=arguments.source)
    parts = [first_of_each_class(config, "train", GARMENTS_TRAIN), first_of_each_class(config, "test", TEST)]
    stored = io.BytesIO()
    np.save(stored, np.concatenate(parts, axis=1), allow_pickle=False)
    packed = lzma.compress(stored.getvalue(), filters=FILTERS)
    arguments.target.write_bytes(packed)
    print(f"{arguments.target}: {len(packed):,} bytes")


def first_of_each_class(config: DataConfig, split: Split, count: int) -> Bytes:
    """uint8 (10, count, 28, 28)."""
    source = FORMATS[config.name].read(config, split)
    images, targets = np.asarray(source.images)[:, 0], source.targets.numpy()
    return np.stack([images[targets == number][:count] for number in range(len(GARMENTS))])


if __name__ == "__main__":
    main()
