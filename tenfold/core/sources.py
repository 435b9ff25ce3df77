"""Readers of image sets, one for each layout that files come in. Every reader takes (config, split), gives a `Source`.

Files are checked before they are believed: what is missing, cut short or damaged is named in a `UsageError`. Nothing is
unpickled.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .config import DataConfig, MaskedDataConfig
from .errors import UsageError
from .pictures import decode_picture, find_pictures, open_picture

Split = Literal["train", "validation", "test"]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]

GARMENTS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
DIGITS = tuple("0123456789")
TEST_SHARE = 0.2
"""Share of each class that becomes the test split where files come without one."""
SHUFFLE = 0


@dataclass(frozen=True)
class Source:
    """One split as it is stored."""

    classes: tuple[str, ...]
    targets: Tensor
    """int64 (N,), indices into `classes`"""
    images: Tensor | Callable[[int], Image.Image]
    """uint8 (N, C, H, W); or, for a lazy set, a function that opens picture i as RGB"""


def shuffled(count: int) -> Tensor:
    """The numbers 0..count-1 in an order that is fixed for ever: NumPy froze the stream of its legacy generator."""
    return torch.from_numpy(np.random.RandomState(SHUFFLE).permutation(count)).to(torch.int64)


def place_in_class(targets: Tensor) -> Tensor:
    """int64 (N,): the place, from 0, of each image among those of its class, in a shuffled order fixed for ever."""
    order = shuffled(len(targets))
    by_class = order[torch.argsort(targets[order], stable=True)]
    counts = torch.bincount(targets)
    starts = (counts.cumsum(0) - counts).repeat_interleave(counts)
    return torch.empty_like(targets).scatter_(0, by_class, torch.arange(len(targets)) - starts)


# CIFAR, the official binary layout: records of label byte(s), then 3 x 32 x 32 pixel bytes


@dataclass(frozen=True)
class Cifar:
    """Where one of the CIFAR sets keeps what."""

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str
    classes: int
    label_bytes: int
    """the last of them is the (fine) label"""


CIFAR10 = Cifar(
    "cifar-10-batches-bin",
    tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    ("test_batch.bin",),
    "batches.meta.txt",
    classes=10,
    label_bytes=1,
)
CIFAR100 = Cifar("cifar-100-binary", ("train.bin",), ("test.bin",), "fine_label_names.txt", classes=100, label_bytes=2)


def read_cifar(layout: Cifar, config: DataConfig, split: Split) -> Source:
    """CIFAR-10 or CIFAR-100 from its binary files, in `config.root` or in the official folder inside it."""
    folders = _places(config, layout.folder)
    names = _find(folders, [layout.names])
    classes = tuple(names.read_text(errors="replace").split())
    if len(classes) != layout.classes:
        raise UsageError(f"{names} names {len(classes)} classes, but must name {layout.classes}")
    files = [_find(folders, [name]) for name in (layout.train if split == "train" else layout.test)]
    records = np.concatenate([_cifar_records(file, layout) for file in files])
    targets = torch.from_numpy(records[:, layout.label_bytes - 1].astype(np.int64))
    return Source(classes, targets, torch.from_numpy(records[:, layout.label_bytes :]).reshape(-1, 3, 32, 32))


def _cifar_records(file: Path, layout: Cifar) -> Bytes:
    length = layout.label_bytes + 3 * 32 * 32
    values = np.fromfile(file, np.uint8)
    if len(values) == 0 or len(values) % length:
        raise UsageError(
            f"{file} has {len(values)} bytes, but must have a multiple of {length}: it is cut short or damaged"
        )
    records = values.reshape(-1, length)
    _check_labels(records[:, layout.label_bytes - 1], layout.classes, str(file))
    return records


# idx, the layout of MNIST


@dataclass(frozen=True)
class Idx:
    """Where an MNIST-like set is usually unpacked, and its classes."""

    folders: tuple[str, ...]
    classes: tuple[str, ...]


MNIST = Idx(("raw", "MNIST/raw", "MNIST", "mnist"), DIGITS)
FASHION_MNIST = Idx(("raw", "FashionMNIST/raw", "FashionMNIST", "fashion-mnist"), GARMENTS)
KMNIST = Idx(("raw", "KMNIST/raw", "KMNIST", "kmnist"), ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"))


def read_mnist(layout: Idx, config: DataConfig, split: Split) -> Source:
    """MNIST, Fashion-MNIST or Kuzushiji-MNIST from idx files, plain or gzipped, in `config.root` or a usual folder inside it."""
    folders = _places(config, *layout.folders)
    prefix = "train" if split == "train" else "t10k"
    images_file = _find(folders, [f"{prefix}-images{ending}" for ending in _idx_endings(3)])
    labels_file = _find(folders, [f"{prefix}-labels{ending}" for ending in _idx_endings(1)])
    images, labels = read_idx(images_file, 3), read_idx(labels_file, 1)
    if len(images) != len(labels):
        raise UsageError(f"{labels_file} has {len(labels)} labels, but {images_file} has {len(images)} images")
    _check_labels(labels, len(layout.classes), str(labels_file))
    return Source(layout.classes, torch.from_numpy(labels.astype(np.int64)), torch.from_numpy(images)[:, None])


def read_idx(file: Path, dimensions: int) -> Bytes:
    """The array of unsigned bytes in an idx file, plain or (by its ending .gz) gzipped.

    Raises:
        UsageError: the file is damaged, or is not an idx file of that many dimensions.
    """
    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error
    header = 4 + 4 * dimensions
    if len(data) < header or data[:4] != bytes([0, 0, 8, dimensions]):
        raise UsageError(f"{file} is not a {dimensions}-dimensional idx file of unsigned bytes")
    shape = [int.from_bytes(data[i : i + 4], "big") for i in range(4, header, 4)]
    if len(data) - header != math.prod(shape) or 0 in shape:
        size = " x ".join(map(str, shape))
        raise UsageError(f"{file} holds {len(data) - header} values, but its header promises {size}: it is damaged")
    return np.frombuffer(bytearray(data), np.uint8, offset=header).reshape(shape)


def _idx_endings(dimensions: int) -> list[str]:
    return [f"{mark}idx{dimensions}-ubyte{packed}" for mark in "-." for packed in ("", ".gz")]


# SVHN, cropped digits: MATLAB files of X (32, 32, 3, N) and y (N, 1), where a zero is labelled 10


def read_svhn(config: DataConfig, split: Split) -> Source:
    """Street View House Numbers from train_32x32.mat and test_32x32.mat, in `config.root` or in svhn or SVHN inside it."""
    file = _find(_places(config, "svhn", "SVHN"), [f"{'train' if split == 'train' else 'test'}_32x32.mat"])
    try:
        values = import_module("scipy.io").loadmat(file, variable_names=["X", "y"])
        pixels, labels = values["X"], values["y"].reshape(-1)
    except Exception as error:  # the reader of MATLAB files raises whatever it stumbles over
        raise UsageError(f"{file} cannot be read as a MATLAB file of X and y: {error}") from error
    if pixels.dtype != np.uint8 or pixels.shape != (32, 32, 3, len(labels)) or labels.dtype.kind not in "ui":
        raise UsageError(
            f"{file} has X of {pixels.dtype} {pixels.shape} and {len(labels)} labels, but must have uint8 (32, 32, 3, N) and N"
        )
    targets = labels.astype(np.int64) % 10
    if len(labels) and not 1 <= labels.min() <= labels.max() <= 10:
        raise UsageError(f"{file} has labels {labels.min()} to {labels.max()}, but must have labels 1 to 10")
    images = np.ascontiguousarray(pixels.transpose(3, 2, 0, 1))
    return Source(DIGITS, torch.from_numpy(targets), torch.from_numpy(images))


# A folder of class folders


def read_folder(config: DataConfig, split: Split) -> Source:
    """Pictures in root/{train, val or validation, test}/CLASS/, or in root/CLASS/ split 80 / 20 by file name.

    Where there is a validation folder and no test folder, validation is the test split (ImageNet's layout).
    """
    root = root_folder(config)
    _require_size(config, "a folder of pictures")
    if not (root / "train").is_dir():
        return _split_by_name(root, split)
    classes = _class_folders(root / "train")
    found = classes if split == "train" else _class_folders(evaluation_folder(root, split))
    strangers = sorted(set(found) - set(classes))
    if strangers:
        raise UsageError(f"{found[strangers[0]]} is a class that {root / 'train'} does not have")
    return _folder_source(list(classes), {name: find_pictures([path]) for name, path in found.items()})


def evaluation_folder(root: Path, split: Split) -> Path:
    """The folder of the validation or test split beside root/train.

    Raises:
        UsageError: there is none.
    """
    validation = [root / name for name in ("val", "validation") if (root / name).is_dir()]
    test = [root / "test"] if (root / "test").is_dir() else []
    # without a test folder validation is the test split, and no longer there to choose settings by
    candidates = (test or validation) if split == "test" else (validation if test else [])
    if not candidates and split == "test":
        raise UsageError(f"{root} has a train folder, but no test, val or validation folder beside it")
    if not candidates:
        raise UsageError(missing_split(split, str(root)))
    return candidates[0]


def _split_by_name(root: Path, split: Split) -> Source:
    if split == "validation":
        raise UsageError(missing_split(split, str(root)))
    folders = _class_folders(root)
    if set(folders) <= {"val", "validation", "test"}:
        raise UsageError(f"{root} has {' and '.join(folders)}, but no train folder beside")
    chosen: dict[str, list[Path]] = {}
    for name, folder in folders.items():
        files = find_pictures([folder])
        test = in_test_part([file.relative_to(folder).as_posix() for file in files])
        chosen[name] = [file for file, in_test in zip(files, test, strict=True) if in_test == (split == "test")]
    return _folder_source(list(chosen), chosen)


def _class_folders(folder: Path) -> dict[str, Path]:
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise UsageError(f"{folder} has no class folders, but must have one folder of pictures for each class")
    return {path.name: path for path in folders}


def _folder_source(classes: Sequence[str], files: dict[str, list[Path]]) -> Source:
    numbers = {name: number for number, name in enumerate(classes)}
    paths = [path for listed in files.values() for path in listed]
    targets = [numbers[name] for name, listed in files.items() for _ in listed]
    return Source(tuple(classes), torch.tensor(targets, dtype=torch.int64), lambda row: open_picture(paths[row]))


def in_test_part(names: Sequence[str]) -> list[bool]:
    """Which of one class's names are for testing: a fifth of them, at least one of two, by their hashes."""
    count = max(round(TEST_SHARE * len(names)), 1 if len(names) > 1 else 0)
    chosen = set(sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:count])
    return [name in chosen for name in names]


# The Hugging Face hub


def read_hub(config: DataConfig, split: Split) -> Source:
    """A set of the hub, named hf:OWNER/NAME, through the `datasets` package; decoded lazily from its stored files."""
    _require_size(config, config.name)
    table = _hub_table(config.name, split)
    pictures = _column(table, "Image", config.name)
    labels = _column(table, "ClassLabel", config.name)
    table = table.cast_column(pictures, import_module("datasets").Image(decode=False))
    classes = tuple(table.features[labels].names)
    targets = np.array(table[labels][:], np.int64)
    _check_labels(targets, len(classes), f"{config.name} ({split})")

    def open_row(row: int) -> Image.Image:
        stored = table[row][pictures]
        if stored["bytes"] is None:
            return open_picture(Path(stored["path"]))
        return decode_picture(stored["bytes"], f"picture {row} of {config.name} ({split})")

    return Source(classes, torch.from_numpy(targets), open_row)


def _hub_table(name: str, split: Split) -> Any:
    """The rows of a split; like a folder's, validation stands in for a missing test."""
    try:
        datasets = import_module("datasets")
    except ImportError as error:
        raise UsageError(f"{name} needs the datasets package: pip install datasets") from error
    try:
        stored = datasets.load_dataset(name.removeprefix("hf:"))
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"{name} cannot be loaded from the hub: {error}") from error
    wanted: str = split
    if "test" not in stored and split != "train":
        wanted = "validation" if split == "test" else ""
    if wanted not in stored:
        raise UsageError(missing_split(split, name))
    return stored[wanted]


def _column(table: Any, feature: str, name: str) -> str:
    found = [column for column, kind in table.features.items() if type(kind).__name__ == feature]
    if len(found) != 1:
        raise UsageError(f"{name} has {len(found)} columns of type {feature}, but must have exactly one")
    return str(found[0])


# What the readers share


def missing_split(split: str, where: str) -> str:
    """The sentence for a split that is not there."""
    if split == "validation":
        return f"{where} has no validation split beside train and test; data.holdout above 0 cuts one from train"
    return f"{where} has no {split} split"


def root_folder(config: DataConfig | MaskedDataConfig) -> Path:
    """`config.root`, with ~ for the home folder.

    Raises:
        UsageError: it is not given, or is not a folder.
    """
    if config.root is None:
        raise UsageError(f"data.root is not given, but must be the folder that holds the files of {config.name}")
    root = config.root.expanduser()
    if not root.is_dir():
        raise UsageError(f"data.root is {str(config.root)!r}, but must be an existing folder that holds {config.name}")
    return root


def _places(config: DataConfig, *inside: str) -> list[Path]:
    root = root_folder(config)
    return [root, *(root / name for name in inside)]


def _find(folders: Sequence[Path], names: Sequence[str]) -> Path:
    for folder in folders:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    raise UsageError(f"found no {' or '.join(names)} in {', '.join(map(str, folders))}")


def _check_labels(labels: np.ndarray[Any, Any], classes: int, name: str) -> None:
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise UsageError(f"{name} has labels {labels.min()} to {labels.max()}, but must have labels 0 to {classes - 1}")


def _require_size(config: DataConfig, what: str) -> None:
    if config.size is None:
        raise UsageError(f"data.size is none, but must be given for {what}: the side of the square images in pixels")
