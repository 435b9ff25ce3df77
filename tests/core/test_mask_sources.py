from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tenfold.core.config import MaskedDataConfig
from tenfold.core.errors import UsageError
from tenfold.core.mask_files import usual_colours
from tenfold.core.mask_sources import (
    CITYSCAPES,
    VOC,
    MaskSource,
    read_camvid,
    read_cityscapes,
    read_folder,
    read_voc,
)
from tenfold.core.sources import Split

from .mask_writers import HEIGHT, RANDOM, WIDTH, grey_png, mask, mode_of, picture

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def labels_of(source: MaskSource) -> list[list[int]]:
    """The labels that occur in each picture."""
    return [np.unique(source.open(row)[1]).tolist() for row in range(source.count)]


# CamVid


def write_camvid(root: Path) -> dict[str, np.ndarray]:
    pixels = {}
    for folder, ending in (("train", "png"), ("val", "jpg"), ("test", "webp")):
        for number in range(3):
            pixels[f"{folder}{number}"] = picture(root / folder / f"{number}.{ending}")
            mask(root / f"{folder}annot" / f"{number}.png", [[0, 1, 10, 11], [255, 2, 3, 4], [5, 6, 7, 8]])
    return pixels


@pytest.mark.parametrize("inside", ["", "CamVid"])
def test_camvid_is_read_from_its_folder_or_the_one_above(tmp_path: Path, inside: str) -> None:
    pixels = write_camvid(tmp_path / inside)
    config = MaskedDataConfig(name="camvid", root=tmp_path)
    for split in SPLITS:
        source = read_camvid(config, split)
        assert source.count == 3
        assert len(source.classes) == 11
        assert source.colours.shape == (11, 3)
        assert source.open(1)[0].mode == "RGB"
        _, labels = source.open(1)
        assert labels.dtype == np.uint8
        assert labels.tolist() == [[0, 1, 10, 255], [255, 2, 3, 4], [5, 6, 7, 8]]
    source = read_camvid(config, "train")
    assert (source.classes[0], source.classes[9], source.classes[10]) == ("Sky", "Pedestrian", "Bicyclist")
    assert source.colours[3].tolist() == [128, 64, 128]
    assert np.array_equal(source.open(2)[0], pixels["train2"])
    assert source.name(2) == str(tmp_path / inside / "train" / "2.png")


def test_what_camvid_lacks_is_named(tmp_path: Path) -> None:
    config = MaskedDataConfig(name="camvid", root=tmp_path)
    with pytest.raises(UsageError, match=r"found no train and trainannot in \S+ or \S+CamVid$"):
        read_camvid(config, "train")
    with pytest.raises(UsageError, match=r"data\.root is not given, but must be the folder .* camvid"):
        read_camvid(MaskedDataConfig(name="camvid"), "train")
    with pytest.raises(UsageError, match=r"data\.root is '.*gone', but must be an existing folder"):
        read_camvid(MaskedDataConfig(name="camvid", root=tmp_path / "gone"), "train")
    write_camvid(tmp_path)
    for number in (1, 2):
        (tmp_path / "trainannot" / f"{number}.png").unlink()
    with pytest.raises(UsageError, match=r"2 of 3 pictures have no mask in \S+trainannot; the first is \S+1\.png$"):
        read_camvid(config, "train")
    for number in range(3):
        (tmp_path / "test" / f"{number}.webp").unlink()
    with pytest.raises(UsageError, match=r"no picture in \S+test; looked for"):
        read_camvid(config, "test")


def test_a_damaged_or_misfitting_mask_is_named(tmp_path: Path) -> None:
    write_camvid(tmp_path)
    file = tmp_path / "trainannot" / "1.png"
    source = read_camvid(MaskedDataConfig(name="camvid", root=tmp_path), "train")

    def refused(words: str) -> None:
        with pytest.raises(UsageError, match=rf"trainannot\S1\.png {words}"):
            source.open(1)

    mask(file, [[0] * 4, [0, 0, 12, 0], [13] * 4])
    refused(r"has label 12 at pixel x = 2, y = 1, but must have labels 0 to 11 or 255 \(ignored\)$")
    mask(file, np.zeros((2, 4)))
    refused(r"is 4 x 2 pixels, but its picture \S+train\S1\.png is 4 x 3$")
    picture(file)
    refused("is a colour picture, but must be grey or palette")
    grey_png(file, np.full((HEIGHT, WIDTH), 300), bits=16)
    refused("cannot be read as a mask: it has values up to 300, but labels go from 0 to 255")
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(file, format="JPEG")
    refused("is a JPEG, which changes labels")
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.float32)).save(file, format="TIFF")
    refused("cannot be read as a mask: its mode is F")
    mask(file, RANDOM.randint(0, 11, (HEIGHT, WIDTH)))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    refused("cannot be read as a mask")
    file.write_bytes(b"")
    refused("cannot be read as a mask")
    file.unlink()
    refused("does not exist, but must be a mask")
    mask(file, 0)
    (tmp_path / "train" / "1.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"train\S1\.png is not a picture"):
        source.open(1)


# Cityscapes


def write_cityscapes(root: Path) -> None:
    for split, cities in (("train", ("aachen", "bochum")), ("val", ("ulm",))):
        for city in cities:
            stem = f"{city}/{city}_000000_000019"
            picture(root / "leftImg8bit" / split / f"{stem}_leftImg8bit.png", size=(36, 1))
            ids = np.array([[*range(34), 255, 40]])
            mask(root / "gtFine" / split / f"{stem}_gtFine_labelIds.png", ids)
            mask(root / "gtFine" / split / f"{stem}_gtFine_instanceIds.png", ids)
            picture(root / "gtFine" / split / f"{stem}_gtFine_color.png", size=(36, 1))


def test_cityscapes_ids_become_the_published_train_ids(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    config = MaskedDataConfig(name="cityscapes", root=tmp_path)
    train, test = read_cityscapes(config, "train"), read_cityscapes(config, "test")
    assert (train.count, test.count) == (2, 1)
    assert len(train.classes) == len(train.colours) == 19
    assert train.classes[:3] == ("road", "sidewalk", "building")
    published = {
        7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14,
        28: 15, 31: 16, 32: 17, 33: 18,
    }  # fmt: skip
    picture, labels = test.open(0)
    assert picture.size == (36, 1)
    assert labels[0].tolist() == [published.get(number, 255) for number in [*range(34), 255, 40]]
    assert len(CITYSCAPES) == 19
    # of all of the pixels, a class is where its id is
    assert labels_of(train)[0] == [*range(19), 255]


def test_what_cityscapes_lacks_is_named(tmp_path: Path) -> None:
    config = MaskedDataConfig(name="cityscapes", root=tmp_path)
    with pytest.raises(UsageError, match=r"found no leftImg8bit/val and gtFine/val in \S+$"):
        read_cityscapes(config, "test")
    write_cityscapes(tmp_path)
    (tmp_path / "gtFine/train/bochum/bochum_000000_000019_gtFine_labelIds.png").unlink()
    with pytest.raises(UsageError, match=r"1 of 2 pictures have no mask in \S+; the first is \S+bochum_\S+\.png"):
        read_cityscapes(config, "train")
    file = tmp_path / "leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit.png"
    file.rename(file.with_name("ulm.png"))
    with pytest.raises(UsageError, match=r"no picture in \S+val has a name that ends with _leftImg8bit"):
        read_cityscapes(config, "test")


# VOC


def write_voc(root: Path, lists: dict[str, str]) -> None:
    for number in range(6):
        picture(root / "JPEGImages" / f"2007_{number}.jpg")
        for folder, label in (("SegmentationClass", number), ("SegmentationClassAug", 10 + number)):
            mask(root / folder / f"2007_{number}.png", [[0, 20, 255, label]] * HEIGHT, palette=usual_colours(256))
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    for name, text in lists.items():
        (root / "ImageSets/Segmentation" / name).write_text(text)


@pytest.mark.parametrize("inside", ["", "VOC2012", "VOCdevkit/VOC2012"])
def test_voc_reads_palette_indices_as_listed(tmp_path: Path, inside: str) -> None:
    write_voc(tmp_path / inside, {"train.txt": "2007_3\n2007_1\n\n", "val.txt": "2007_5\n"})
    config = MaskedDataConfig(name="voc", root=tmp_path)
    assert mode_of(tmp_path / inside / "SegmentationClass/2007_3.png") == "P"
    train, test = read_voc(config, "train"), read_voc(config, "test")
    assert train.classes == test.classes == VOC
    assert len(VOC) == 21
    assert labels_of(train) == [[0, 3, 20, 255], [0, 1, 20, 255]]
    assert labels_of(test) == [[0, 5, 20, 255]]
    assert train.colours[1].tolist() == [128, 0, 0]
    assert train.colours[20].tolist() == [0, 64, 128]


def test_voc_takes_the_augmented_list_for_train_alone(tmp_path: Path) -> None:
    paths = "/JPEGImages/2007_0.jpg /SegmentationClassAug/2007_0.png\n/JPEGImages/2007_2.jpg /SegmentationClassAug/2007_2.png"
    write_voc(tmp_path, {"train.txt": "2007_3", "val.txt": "2007_5", "trainaug.txt": paths})
    config = MaskedDataConfig(name="voc", root=tmp_path)
    assert labels_of(read_voc(config, "train")) == [[0, 10, 20, 255], [0, 12, 20, 255]]
    assert labels_of(read_voc(config, "test")) == [[0, 5, 20, 255]]
    (tmp_path / "SegmentationClassAug").rename(tmp_path / "elsewhere")
    assert labels_of(read_voc(config, "train")) == [[0, 3, 20, 255]]


def test_what_voc_lacks_is_named(tmp_path: Path) -> None:
    config = MaskedDataConfig(name="voc", root=tmp_path)
    with pytest.raises(UsageError, match=r"found no JPEGImages and SegmentationClass and ImageSets/Segmentation in"):
        read_voc(config, "train")
    write_voc(tmp_path, {"train.txt": "2007_3\n2007_9", "val.txt": "\n"})
    with pytest.raises(UsageError, match=r"1 of 2 pictures have no mask in \S+SegmentationClass; .* \S+2007_9\.jpg"):
        read_voc(config, "train")
    with pytest.raises(UsageError, match=r"val\.txt is empty"):
        read_voc(config, "test")
    (tmp_path / "ImageSets/Segmentation/val.txt").unlink()
    with pytest.raises(UsageError, match=r"val\.txt does not exist, but must be a text file"):
        read_voc(config, "test")
    mask(tmp_path / "SegmentationClass/2007_3.png", 21)
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("2007_3")
    with pytest.raises(UsageError, match=r"has label 21 .* must have labels 0 to 20 or 255"):
        read_voc(config, "train").open(0)


# A folder


def folder(root: Path, classes: str, write: Callable[[Path], object], *, name: str = "a.png") -> MaskedDataConfig:
    """One picture, with a mask that `write` writes, as the train split, and a file of classes."""
    picture(root / "train/images/a.png")
    (root / "train/masks").mkdir(parents=True)
    write(root / "train/masks" / name)
    (root / "classes.txt").write_text(classes)
    return MaskedDataConfig(name="folder", root=root, classes=root / "classes.txt")


def one(config: MaskedDataConfig) -> list[list[int]]:
    """The labels of the first training picture."""
    return read_folder(config, "train").open(0)[1].tolist()


@pytest.mark.parametrize("end", ["", "_mask", "_label", "_labels", "_gt", "_L"])
def test_masks_are_found_by_the_stem_of_their_picture(tmp_path: Path, end: str) -> None:
    config = folder(tmp_path, "x\ny", lambda file: mask(file, 1), name=f"a{end}.png")
    assert one(config) == [[1] * WIDTH] * HEIGHT
    picture(tmp_path / "train/images/b/c.d.jpg")
    mask(tmp_path / f"train/masks/b/c.d{end}.png", 0)
    assert labels_of(read_folder(config, "train")) == [[1], [0]]


def test_a_picture_has_exactly_one_mask(tmp_path: Path) -> None:
    config = folder(tmp_path, "x\ny", lambda file: mask(file, 1))
    mask(tmp_path / "train/masks/a_gt.png", 0)
    with pytest.raises(UsageError, match=r"a\.png has 2 masks, \S+a\.png and \S+a_gt\.png, but must have one"):
        read_folder(config, "train")
    (tmp_path / "train/masks/a_gt.png").rename(tmp_path / "train/masks/a.bmp")
    with pytest.raises(UsageError, match=r"a\.png has 2 masks, \S+a\.bmp and \S+a\.png"):
        read_folder(config, "train")


def write_folder(root: Path, places: Sequence[str]) -> MaskedDataConfig:
    """Ten pictures in each place, of the label that the place has in the list."""
    for label, place in enumerate(places):
        for number in range(10):
            picture(root / place / f"images/{number}.png")
            mask(root / place / f"masks/{number}.png", label)
    (root / "classes.txt").write_text("a\nb\nc")
    return MaskedDataConfig(name="folder", root=root, classes=root / "classes.txt")


@pytest.mark.parametrize("validation", ["val", "validation"])
def test_a_folder_has_the_splits_of_its_folders(tmp_path: Path, validation: str) -> None:
    config = write_folder(tmp_path, ["train", validation, "test"])
    for label, split in enumerate(SPLITS):
        assert labels_of(read_folder(config, split)) == [[label]] * 10


def test_validation_stands_in_for_a_missing_test(tmp_path: Path) -> None:
    config = write_folder(tmp_path, ["train", "val"])
    assert labels_of(read_folder(config, "test")) == [[1]] * 10
    with pytest.raises(UsageError, match=r"has no validation split beside train and test; data\.holdout"):
        read_folder(config, "validation")


def test_a_folder_without_splits_is_split_by_name(tmp_path: Path) -> None:
    config = write_folder(tmp_path, [""])
    names = {
        split: {source.name(row) for row in range(source.count)}
        for split in ("train", "test")
        if (source := read_folder(config, split))
    }
    assert (len(names["train"]), len(names["test"])) == (8, 2)
    assert not names["train"] & names["test"]
    again = read_folder(config, "test")
    assert {again.name(row) for row in range(2)} == names["test"]
    with pytest.raises(UsageError, match=r"has no validation split"):
        read_folder(config, "validation")


def test_what_a_folder_lacks_is_named(tmp_path: Path) -> None:
    config = write_folder(tmp_path, ["train"])
    with pytest.raises(
        UsageError, match=r"data\.classes is not given, but must name a text file .* NAME or NAME R G B"
    ):
        read_folder(MaskedDataConfig(name="folder", root=tmp_path), "train")
    with pytest.raises(UsageError, match=r"has a train folder, but no test, val or validation folder beside it"):
        read_folder(config, "test")
    (tmp_path / "train/masks").rename(tmp_path / "train/labels")
    with pytest.raises(UsageError, match=r"train has no folder masks, but must have images and masks"):
        read_folder(config, "train")
    (tmp_path / "train/masks").mkdir()
    with pytest.raises(UsageError, match=r"no picture in \S+masks"):
        read_folder(config, "train")
