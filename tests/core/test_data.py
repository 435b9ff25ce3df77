from __future__ import annotations

import gzip
import hashlib
import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from tenfold.core.config import DataConfig
from tenfold.core.data import FORMATS, ImageSet, MemoryImages, load_images, measure_images, normalize
from tenfold.core.errors import UsageError
from tenfold.core.sources import GARMENTS, Split, place_in_class, shuffled

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def rows_of(images: ImageSet) -> set[bytes]:
    """Every image as bytes, to compare what two splits hold."""
    pixels, _ = images.fetch(torch.arange(len(images)))
    return {image.numpy().tobytes() for image in pixels}


def counts(images: ImageSet) -> list[int]:
    return torch.bincount(images.targets, minlength=len(images.classes)).tolist()


# Embedded sets


def test_garments_are_balanced_shuffled_and_say_what_they_are() -> None:
    train, test = load_images(DataConfig(), "train"), load_images(DataConfig(), "test")
    assert counts(train) == [1000] * 10
    assert counts(test) == [200] * 10
    assert train.shape == test.shape == (1, 28, 28)
    assert train.classes == GARMENTS
    assert len(set(train.targets[:50].tolist())) == 10
    assert not rows_of(train) & rows_of(test)


def test_digits_are_stratified_and_span_the_pixel_range() -> None:
    train, test = load_images(DataConfig(name="digits"), "train"), load_images(DataConfig(name="digits"), "test")
    assert (len(train), len(test)) == (1437, 360)
    assert counts(test) == [36] * 10
    images, targets = train.fetch(torch.arange(len(train)))
    assert images.shape[1:] == train.shape == (1, 8, 8)
    assert images.dtype == torch.uint8
    assert targets.dtype == torch.int64
    assert images.min() == 0
    assert images.max() == 255


def test_statistics_are_those_of_train_for_every_split() -> None:
    train = load_images(DataConfig(name="digits"), "train")
    pixels = train.fetch(torch.arange(len(train)))[0].double() / 255
    for split in SPLITS:
        images = load_images(DataConfig(name="digits", holdout=0.3, limit=50), split)
        assert images.mean == pytest.approx((pixels.mean().item(),))
        assert images.std == pytest.approx((pixels.std(correction=0).item(),))


# What the settings do


def test_holdout_is_a_stratified_part_that_train_lacks() -> None:
    config = DataConfig(holdout=0.25)
    whole = load_images(DataConfig(), "train")
    train, validation = load_images(config, "train"), load_images(config, "validation")
    assert counts(train) == [750] * 10
    assert counts(validation) == [250] * 10
    assert rows_of(train) | rows_of(validation) == rows_of(whole)
    assert not rows_of(train) & rows_of(validation)
    assert len(load_images(config, "test")) == 2000


def test_limit_is_even_over_the_classes_and_always_the_same() -> None:
    images = load_images(DataConfig(limit=25), "train")
    assert len(images) == 25
    assert set(counts(images)) == {2, 3}
    again = load_images(DataConfig(limit=25), "train")
    assert torch.equal(images.fetch(torch.arange(25))[0], again.fetch(torch.arange(25))[0])
    assert len(load_images(DataConfig(limit=10**6), "train")) == 10_000


def test_size_resizes_with_antialiasing() -> None:
    own = load_images(DataConfig(limit=20), "train").fetch(torch.arange(20))[0].float()
    resized = load_images(DataConfig(limit=20, size=14), "train")
    assert resized.shape == (1, 14, 14)
    pixels = resized.fetch(torch.arange(20))[0]
    assert pixels.dtype == torch.uint8
    # antialiased bilinear halving weighs four neighbours 1 3 3 1 in each direction
    kernel = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    expected = torch.nn.functional.conv2d(own, torch.outer(kernel, kernel)[None, None], stride=2, padding=1)
    assert (pixels - expected)[:, :, 1:-1, 1:-1].abs().max() <= 0.51
    assert load_images(DataConfig(limit=20, size=32), "test").shape == (1, 32, 32)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_places_in_a_class_count_up_from_zero(targets: list[int]) -> None:
    places = place_in_class(torch.tensor(targets))
    for number in set(targets):
        members = places[torch.tensor(targets) == number]
        assert members.sort().values.tolist() == list(range(len(members)))


def test_the_fixed_order_is_fixed() -> None:
    assert shuffled(6).tolist() == [5, 2, 1, 3, 0, 4]


def test_what_the_settings_cannot_mean_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'imagenet', but must be one of garments, digits, .*hf:OWNER/NAME"):
        load_images(DataConfig(name="imagenet"), "train")
    with pytest.raises(UsageError, match=r"garments has no validation split .*data\.holdout"):
        load_images(DataConfig(), "validation")
    with pytest.raises(UsageError, match=r"the split is 'dev', but must be one of train, validation, test"):
        load_images(DataConfig(), "dev")  # type: ignore[arg-type]
    for name in ("cifar10", "cifar100", "svhn", "mnist", "fashion-mnist", "kmnist", "folder"):
        with pytest.raises(UsageError, match=rf"data\.root is not given, .* {name}"):
            load_images(DataConfig(name=name, size=8), "train")
        with pytest.raises(UsageError, match=r"data\.root is '.*gone', but must be an existing folder"):
            load_images(DataConfig(name=name, size=8, root=tmp_path / "gone"), "train")
    for name in ("folder", "hf:some/set"):
        with pytest.raises(UsageError, match=r"data\.size is none, but must be given"):
            load_images(DataConfig(name=name, root=tmp_path), "train")


def test_every_name_is_explained_in_the_settings() -> None:
    from tenfold.core.config import explain

    assert all(name in explain(DataConfig)["name"] for name in FORMATS)


# Pixels


@pytest.mark.parametrize("channels_last", [False, True])
def test_normalize_gives_mean_zero_and_deviation_one(channels_last: bool) -> None:
    images = torch.from_numpy(np.random.RandomState(0).randint(0, 256, (50, 3, 8, 8), np.uint8))
    images[:, 1] //= 2
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    normal = normalize(images, *measure_images(images))
    assert normal.dtype == torch.float32
    assert normal.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert normal.std((0, 2, 3), correction=0).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    assert normalize(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8), (0.5,), (0.25,)).item() == pytest.approx(2)


def test_a_constant_channel_does_not_divide_by_zero() -> None:
    images = torch.full((3, 1, 4, 4), 7, dtype=torch.uint8)
    assert torch.equal(normalize(images, *measure_images(images)), torch.zeros(3, 1, 4, 4))


def test_measuring_takes_every_chunk_into_account(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.from_numpy(np.random.RandomState(0).randint(0, 256, (10, 2, 3, 3), np.uint8))
    whole = measure_images(images)
    monkeypatch.setattr("tenfold.core.data.CHUNK", 3)
    for in_parts, at_once in zip(measure_images(images), whole, strict=True):
        assert in_parts == pytest.approx(at_once)


def test_own_tensors_make_a_set_with_their_own_statistics() -> None:
    pixels = torch.tensor([[0, 255]], dtype=torch.uint8).view(2, 1, 1, 1)
    images = MemoryImages("mine", "train", classes=("a", "b"), targets=torch.tensor([0, 1]), images=pixels)
    assert images.mean == images.std == (0.5,)


# CIFAR


def write_cifar(root: Path, *, classes: int, label_bytes: int, each: int = 20) -> np.ndarray:
    """A tiny set in the official layout; returns the training records, labels first."""
    random = np.random.RandomState(0)
    names = {10: "batches.meta.txt", 100: "fine_label_names.txt"}[classes]
    train = {10: [f"data_batch_{i}.bin" for i in range(1, 6)], 100: ["train.bin"]}[classes]
    test = {10: "test_batch.bin", 100: "test.bin"}[classes]
    root.mkdir(parents=True, exist_ok=True)
    (root / names).write_text("\n".join(f"name{i}" for i in range(classes)) + "\n\n")
    records = []
    for file in [*train, test]:
        made = random.randint(0, 256, (each, label_bytes + 3072), np.uint8)
        made[:, 0] = 3
        made[:, label_bytes - 1] = random.randint(0, classes, each)
        made.tofile(root / file)
        records.append(made)
    return np.concatenate(records[:-1])


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize(("name", "classes", "label_bytes"), [("cifar10", 10, 1), ("cifar100", 100, 2)])
def test_cifar_is_read_from_its_folder_or_the_one_above(
    tmp_path: Path, name: str, classes: int, label_bytes: int, inside: bool
) -> None:
    folder = tmp_path / {10: "cifar-10-batches-bin", 100: "cifar-100-binary"}[classes]
    records = write_cifar(folder, classes=classes, label_bytes=label_bytes)
    images = load_images(DataConfig(name=name, root=folder if inside else tmp_path), "train")
    assert images.classes == tuple(f"name{i}" for i in range(classes))
    pixels, targets = images.fetch(torch.arange(len(images)))
    assert torch.equal(targets, torch.from_numpy(records[:, label_bytes - 1].astype(np.int64)))
    assert torch.equal(pixels[7, 2, 5, 6], torch.tensor(records[7, label_bytes + 2 * 1024 + 5 * 32 + 6]))
    assert len(load_images(DataConfig(name=name, root=tmp_path), "test")) == 20
    assert len(images.mean) == 3


def test_cifar_files_that_are_missing_or_damaged_are_named(tmp_path: Path) -> None:
    config = DataConfig(name="cifar10", root=tmp_path)
    with pytest.raises(UsageError, match=r"found no batches\.meta\.txt in .*cifar-10-batches-bin"):
        load_images(config, "train")
    write_cifar(tmp_path, classes=10, label_bytes=1)
    third = tmp_path / "data_batch_3.bin"
    whole = third.read_bytes()
    for data, words in (
        (whole[:-1], r"61459 bytes, but must have a multiple of 3073"),
        (b"", r"0 bytes"),
        (bytes([10]) + whole[1:], r"labels \d to 10, but must have labels 0 to 9"),
    ):
        third.write_bytes(data)
        with pytest.raises(UsageError, match=rf"data_batch_3\.bin has {words}"):
            load_images(config, "train")
    third.unlink()
    with pytest.raises(UsageError, match=r"found no data_batch_3\.bin"):
        load_images(config, "train")
    (tmp_path / "batches.meta.txt").write_text("cat dog")
    with pytest.raises(UsageError, match=r"batches\.meta\.txt names 2 classes, but must name 10"):
        load_images(config, "train")


# idx


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape) + values.tobytes()


def write_idx(root: Path, *, ending: str = "-idx{}-ubyte") -> np.ndarray:
    random = np.random.RandomState(0)
    root.mkdir(parents=True, exist_ok=True)
    images = random.randint(0, 256, (40, 6, 5), np.uint8)
    for prefix in ("train", "t10k"):
        for kind, values in (("images", images), ("labels", np.arange(40, dtype=np.uint8) % 10)):
            file = root / f"{prefix}-{kind}{ending.format(values.ndim)}"
            file.write_bytes(gzip.compress(idx(values)) if file.suffix == ".gz" else idx(values))
    return images


@pytest.mark.parametrize("ending", ["-idx{}-ubyte", "-idx{}-ubyte.gz", ".idx{}-ubyte"])
@pytest.mark.parametrize(
    ("name", "folder"),
    [("mnist", "MNIST/raw"), ("fashion-mnist", "FashionMNIST/raw"), ("kmnist", "KMNIST/raw"), ("mnist", "")],
)
def test_idx_sets_are_found_plain_or_packed(tmp_path: Path, name: str, folder: str, ending: str) -> None:
    written = write_idx(tmp_path / folder, ending=ending)
    for split in ("train", "test"):
        images = load_images(DataConfig(name=name, root=tmp_path), split)
        assert images.shape == (1, 6, 5)
        pixels, targets = images.fetch(torch.tensor([11, 3]))
        assert np.array_equal(pixels[:, 0].numpy(), written[[11, 3]])
        assert targets.tolist() == [1, 3]


IDX_FAULTS: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("train-images-idx3-ubyte.gz", lambda data: data[:-20], "cannot be read"),
    ("train-images-idx3-ubyte.gz", lambda data: b"plain text", "cannot be read"),
    ("train-images-idx3-ubyte.gz", lambda data: data[:-40] + b"\xff" * 32 + data[-8:], "cannot be read"),
    ("train-images-idx3-ubyte.gz", lambda data: gzip.compress(b"x")[:10] + b"\xff" * 20, "cannot be read: .*invalid"),
    ("train-images-idx3-ubyte.gz", lambda data: data[:30] + bytes(8) + data[38:], "cannot be read"),
    (
        "train-images-idx3-ubyte.gz",
        lambda data: gzip.compress(gzip.decompress(data)[:-1]),
        "1199 values, .* 40 x 6 x 5",
    ),
    ("train-images-idx3-ubyte.gz", lambda data: gzip.compress(b"\0\0"), "3-dimensional idx file"),
    ("train-images-idx3-ubyte.gz", lambda data: gzip.compress(idx(np.zeros(3, np.uint8))), "3-dimensional idx file"),
    ("train-images-idx3-ubyte.gz", lambda data: gzip.compress(idx(np.zeros((0, 6, 5), np.uint8))), "0 x 6 x 5"),
    ("train-labels-idx1-ubyte.gz", lambda data: gzip.compress(idx(np.zeros(39, np.uint8))), "39 labels, .* 40 images"),
    ("train-labels-idx1-ubyte.gz", lambda data: gzip.compress(idx(np.full(40, 10, np.uint8))), "labels 10 to 10"),
]


@pytest.mark.parametrize(("name", "damage", "words"), IDX_FAULTS)
def test_damaged_idx_files_are_named(tmp_path: Path, name: str, damage: Callable[[bytes], bytes], words: str) -> None:
    write_idx(tmp_path, ending="-idx{}-ubyte.gz")
    (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    with pytest.raises(UsageError, match=rf"{name} .*{words}"):
        load_images(DataConfig(name="mnist", root=tmp_path), "train")


def write_svhn(root: Path, **changed: Any) -> np.ndarray[Any, Any]:
    """Seven pictures in the layout of the official files: X (32, 32, 3, N), and y with 10 for a zero."""
    root.mkdir(parents=True, exist_ok=True)
    pixels = np.random.RandomState(0).randint(0, 256, (32, 32, 3, 7)).astype(np.uint8)
    labels = np.array([[1], [9], [10], [2], [10], [3], [4]], np.uint8)
    for split in ("train", "test"):
        savemat(root / f"{split}_32x32.mat", {"X": pixels, "y": labels} | changed)
    return pixels


@pytest.mark.parametrize("folder", ["", "svhn"])
def test_svhn_is_read_from_its_matlab_files(tmp_path: Path, folder: str) -> None:
    written = write_svhn(tmp_path / folder)
    for split in ("train", "test"):
        images = load_images(DataConfig(name="svhn", root=tmp_path), split)
        assert (images.shape, images.classes, len(images)) == ((3, 32, 32), tuple("0123456789"), 7)
        pixels, targets = images.fetch(torch.arange(7))
        assert targets.tolist() == [1, 9, 0, 2, 0, 3, 4]
        assert np.array_equal(pixels[5, 2].numpy(), written[:, :, 2, 5])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"X": np.zeros((32, 32, 3, 6), np.uint8)}, r"X of uint8 \(32, 32, 3, 6\) and 7 labels"),
        ({"X": np.zeros((32, 32, 3, 7))}, "X of float64"),
        ({"y": np.zeros((7, 1), np.uint8)}, "labels 0 to 0, but must have labels 1 to 10"),
        ({"y": np.full((7, 1), 11, np.uint8)}, "labels 11 to 11"),
        ({"y": np.zeros((7, 1))}, "X of uint8"),
    ],
)
def test_svhn_files_of_another_content_are_named(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    write_svhn(tmp_path, **changed)
    with pytest.raises(UsageError, match=rf"train_32x32.mat has {words}"):
        load_images(DataConfig(name="svhn", root=tmp_path), "train")


@pytest.mark.parametrize("data", [b"", b"plain text", None])
def test_damaged_svhn_files_are_named(tmp_path: Path, data: bytes | None) -> None:
    write_svhn(tmp_path)
    file = tmp_path / "train_32x32.mat"
    file.write_bytes(file.read_bytes()[:5000] if data is None else data)
    with pytest.raises(UsageError, match=r"train_32x32.mat cannot be read as a MATLAB file"):
        load_images(DataConfig(name="svhn", root=tmp_path), "train")


def test_missing_idx_files_are_named_with_the_places_searched(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"train-images-idx3-ubyte or train-images-idx3-ubyte\.gz .*MNIST/raw"):
        load_images(DataConfig(name="mnist", root=tmp_path), "train")


# A folder of class folders


def write_folder(root: Path, classes: Sequence[str], each: int = 10, first: int = 0) -> Path:
    """Pictures of 20 x 16 pixels; each in a colour of its own."""
    for number, name in enumerate(classes, first):
        (root / name).mkdir(parents=True)
        for i in range(each):
            Image.new("RGB", (20, 16), (number * 40, i * 20, 100)).save(root / name / f"{i:02d}.png")
    return root


def folder(root: Path, **settings: Any) -> DataConfig:
    return DataConfig(name="folder", root=root, size=settings.pop("size", 8), **settings)


def test_class_folders_alone_are_split_by_file_name(tmp_path: Path) -> None:
    write_folder(tmp_path, ["cat", "dog"])
    train, test = load_images(folder(tmp_path), "train"), load_images(folder(tmp_path), "test")
    assert train.classes == test.classes == ("cat", "dog")
    assert counts(train) == [8, 8]
    assert counts(test) == [2, 2]
    assert train.shape == (3, 8, 8)
    assert train.lazy
    before = rows_of(test)
    assert not before & rows_of(train)
    assert len(before | rows_of(train)) == 20
    assert rows_of(load_images(folder(tmp_path), "test")) == before


def test_the_files_for_testing_are_those_of_the_lowest_hashes(tmp_path: Path) -> None:
    write_folder(tmp_path, ["cat"], first=1)
    by_hash = sorted(range(10), key=lambda i: hashlib.sha256(f"{i:02d}.png".encode()).hexdigest())
    assert sorted(by_hash[:2]) != [0, 1], "file order would pass as well"
    images = load_images(folder(tmp_path), "test")
    greens = images.fetch(torch.arange(len(images)))[0][:, 1, 0, 0].tolist()
    assert sorted(greens) == sorted(20 * i for i in by_hash[:2])


def test_the_split_of_a_class_does_not_depend_on_the_other_classes(tmp_path: Path) -> None:
    write_folder(tmp_path, ["cat"])
    before = rows_of(load_images(folder(tmp_path), "test"))
    write_folder(tmp_path, ["ant", "zebra"], first=1)
    assert before < rows_of(load_images(folder(tmp_path), "test"))


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("train", "test"), {"train": 6, "test": 4}),
        (("train", "val"), {"train": 6, "test": 4}),
        (("train", "validation", "test"), {"train": 6, "validation": 4, "test": 4}),
    ],
)
def test_split_folders(tmp_path: Path, folders: Sequence[str], expected: dict[Split, int]) -> None:
    for name in folders:
        write_folder(tmp_path / name, ["a", "b"], each=3 if name == "train" else 2)
    for split, count in expected.items():
        assert len(load_images(folder(tmp_path), split)) == count
    if "validation" not in expected:
        with pytest.raises(UsageError, match=r"no validation split .*data\.holdout"):
            load_images(folder(tmp_path), "validation")
    held = load_images(folder(tmp_path, holdout=0.3), "validation")
    assert counts(held) == [1, 1]
    assert not rows_of(held) & rows_of(load_images(folder(tmp_path, holdout=0.3), "train"))


def test_lazy_pictures_are_resized_to_eight_sevenths_then_cropped(tmp_path: Path) -> None:
    (tmp_path / "train" / "a").mkdir(parents=True)
    pixels = np.random.RandomState(0).randint(0, 256, (8, 12, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "train" / "a" / "x.png")
    images, targets = load_images(folder(tmp_path, size=7 + 1), "train").fetch(torch.tensor([0]))
    assert images.shape == (1, 3, 8, 8)
    images, targets = load_images(folder(tmp_path, size=14), "train").fetch(torch.tensor([0]))
    expected = np.asarray(Image.fromarray(pixels).resize((24, 16), Image.Resampling.BILINEAR))[1:15, 5:19]
    difference = images[0].permute(1, 2, 0).numpy().astype(int) - expected
    assert abs(difference[2:-2, 2:-2]).max() <= 1
    assert targets.tolist() == [0]


def test_lazy_sets_fetch_any_rows_in_the_order_asked(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", ["a", "b", "c"], each=4)
    images = load_images(folder(tmp_path, limit=9), "train")
    assert counts(images) == [3, 3, 3]
    pixels, targets = images.fetch(torch.tensor([8, 0, 8]))
    assert torch.equal(pixels[0], pixels[2])
    assert pixels[:, 0, 0, 0].tolist() == [80, 0, 80] == [40 * int(target) for target in targets]
    assert images.fetch(torch.tensor([], dtype=torch.int64))[0].shape == (0, 3, 8, 8)


def test_lazy_statistics_come_from_train(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", ["a", "b"], each=2)
    write_folder(tmp_path / "val", ["a"], each=1)
    mean = load_images(folder(tmp_path, limit=1), "test").mean
    assert mean == pytest.approx((20 / 255, 10 / 255, 100 / 255))


FOLDER_FAULTS: list[tuple[Callable[[Path], object], str]] = [
    (lambda root: None, r"has no class folders"),
    (lambda root: (root / "empty").mkdir(), r"no picture in .*empty; looked for \.jpg"),
    (lambda root: write_folder(root / "train", ["a"]), r"has a train folder, but no test, val or validation folder"),
    (lambda root: write_folder(root / "val", ["a"]), r"has val, but no train folder"),
    (
        lambda root: (write_folder(root / "train", ["a"]), write_folder(root / "val", ["b"])),
        r"val/b is a class that .*train",
    ),
    (lambda root: write_folder(root, ["a", "b"], each=1), r"no class of folder has enough images for a test split"),
]


@pytest.mark.parametrize(("make", "words"), FOLDER_FAULTS)
def test_folders_that_hold_something_else_are_refused(
    tmp_path: Path, make: Callable[[Path], object], words: str
) -> None:
    make(tmp_path)
    with pytest.raises(UsageError, match=words):
        load_images(folder(tmp_path), "test")


def test_an_unreadable_picture_is_named_when_fetched(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", ["a"], each=3)
    (tmp_path / "train" / "a" / "01.png").write_bytes(b"not a picture")
    images = load_images(folder(tmp_path), "train")
    with pytest.raises(UsageError, match=r"a/01\.png is not a picture"):
        images.fetch(torch.arange(3))


# The Hugging Face hub, faked: `datasets` is used for load_dataset, Image, features, cast_column, rows and columns


class ClassLabel:
    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)


class HubImage:
    def __init__(self, decode: bool = True) -> None:
        self.decode = decode


HubImage.__name__ = "Image"


class Table:
    def __init__(self, features: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        self.features, self.rows = features, rows

    def cast_column(self, column: str, feature: Any) -> Table:
        return Table({**self.features, column: feature}, self.rows)

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, str):
            return [row[key] for row in self.rows]
        pictures = [column for column, feature in self.features.items() if isinstance(feature, HubImage)]
        assert not any(self.features[column].decode for column in pictures), "decoded by datasets, not by open_picture"
        return self.rows[key]


def hub_rows(count: int, path: Path | None = None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for i in range(count):
        stream = BytesIO()
        Image.new("RGB", (12, 10), (i * 10, 0, 0)).save(stream, "png")
        rows.append({"picture": {"bytes": stream.getvalue(), "path": None}, "kind": i % 2, "note": "x"})
    if path is not None:
        path.write_bytes(rows[0]["picture"]["bytes"])
        rows[0]["picture"] = {"bytes": None, "path": str(path)}
    return rows


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Table]]:
    stored: dict[str, dict[str, Table]] = {}

    def load_dataset(name: str) -> dict[str, Table]:
        if name not in stored:
            raise FileNotFoundError(f"Dataset '{name}' doesn't exist on the Hub")
        return stored[name]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset, Image=HubImage))
    return stored


FEATURES: dict[str, Any] = {"note": object(), "picture": HubImage(), "kind": ClassLabel(["no", "yes"])}
HUB = DataConfig(name="hf:me/pets", size=8)


def test_hub_sets_find_their_columns_by_type_and_decode_lazily(
    hub: dict[str, dict[str, Table]], tmp_path: Path
) -> None:
    hub["me/pets"] = {
        "train": Table(FEATURES, hub_rows(6, tmp_path / "stored.png")),
        "validation": Table(FEATURES, hub_rows(4)),
    }
    train = load_images(HUB, "train")
    assert train.lazy
    assert train.classes == ("no", "yes")
    assert train.targets.tolist() == [0, 1, 0, 1, 0, 1]
    pixels, _ = train.fetch(torch.arange(6))
    assert pixels[:, 0, 4, 4].tolist() == [0, 10, 20, 30, 40, 50]
    assert len(load_images(HUB, "test")) == 4
    with pytest.raises(UsageError, match="no validation split"):
        load_images(HUB, "validation")
    hub["me/pets"]["test"] = Table(FEATURES, hub_rows(2))
    assert len(load_images(HUB, "test")) == 2
    assert len(load_images(HUB, "validation")) == 4


def test_hub_sets_that_cannot_serve_are_explained(hub: dict[str, dict[str, Table]]) -> None:
    with pytest.raises(UsageError, match=r"hf:me/pets cannot be loaded from the hub: .*doesn't exist"):
        load_images(HUB, "train")
    hub["me/pets"] = {"train": Table({"kind": ClassLabel(["a"])}, [])}
    with pytest.raises(UsageError, match="0 columns of type Image, but must have exactly one"):
        load_images(HUB, "train")
    with pytest.raises(UsageError, match="hf:me/pets has no test split"):
        load_images(HUB, "test")
    rows = hub_rows(2)
    rows[1]["kind"] = -1
    hub["me/pets"] = {"train": Table(FEATURES, rows)}
    with pytest.raises(UsageError, match=r"hf:me/pets \(train\) has labels -1 to 0"):
        load_images(HUB, "train")
    rows[1] = {**rows[0], "picture": {"bytes": b"junk", "path": None}}
    with pytest.raises(UsageError, match=r"picture 1 of hf:me/pets \(train\) is not a picture"):
        load_images(HUB, "train").fetch(torch.tensor([1]))


def test_without_the_datasets_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match="pip install datasets"):
        load_images(HUB, "train")
