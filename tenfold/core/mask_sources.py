"""Readers of pictures with a class for every pixel, one for each layout: (config, split) -> `MaskSource`.

What is missing, cut short, damaged or of the wrong size is named in a `UsageError`. Nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .config import MaskedDataConfig
from .errors import UsageError
from .mask_files import IGNORE, Bytes, Legend, read_labels, read_legend, read_lines, usual_colours
from .pictures import find_pictures, open_picture
from .sources import Split, evaluation_folder, in_test_part, missing_split, root_folder

Pair = tuple[Path, Path]
"""A picture and its mask."""

MASK_ENDS = ("", "_mask", "_label", "_labels", "_gt", "_L")
"""What a mask's name may have after its picture's stem; the last is CamVid's own."""


@dataclass(frozen=True)
class MaskSource:
    """One split as it is stored."""

    classes: tuple[str, ...]
    colours: Bytes
    """uint8 (K, 3), RGB, to show each class in"""
    count: int
    open: Callable[[int], tuple[Image.Image, Bytes]]
    """picture i as RGB and its labels, uint8 (H, W) of the same size: classes 0..K-1 or `IGNORE`"""
    name: Callable[[int], str]
    """what errors call picture i"""


# Embedded


def read_embedded(_config: MaskedDataConfig, split: Split) -> MaskSource:
    """The embedded composed scenes: train and test."""
    from .scenes import CLASSES, COLOURS, read_scenes

    pictures, labels = read_scenes("test" if split == "test" else "train")
    return MaskSource(
        tuple(CLASSES),
        np.array(COLOURS, np.uint8),
        len(pictures),
        lambda row: (Image.fromarray(pictures[row]), labels[row]),
        lambda row: f"scene {row} ({split})",
    )


# CamVid, in the layout and split of SegNet

# fmt: off
CAMVID = {
    "Sky": (128, 128, 128), "Building": (128, 0, 0), "Pole": (192, 192, 128), "Road": (128, 64, 128),
    "Pavement": (60, 40, 222), "Tree": (128, 128, 0), "SignSymbol": (192, 128, 128), "Fence": (64, 64, 128),
    "Car": (64, 0, 128), "Pedestrian": (64, 64, 0), "Bicyclist": (0, 128, 192),
}
# fmt: on


def read_camvid(config: MaskedDataConfig, split: Split) -> MaskSource:
    """{train,val,test}/ pictures and {train,val,test}annot/ labels, 0..10 and 11 for void, in root or root/CamVid."""
    folder = "val" if split == "validation" else split
    root = _place(config, ["CamVid"], [folder, f"{folder}annot"])
    labels = (*range(len(CAMVID)), IGNORE)
    meaning = Legend(tuple(CAMVID), np.array(list(CAMVID.values()), np.uint8), labels, {})
    return _source(_pairs(root / folder, root / f"{folder}annot"), meaning)


# Cityscapes

# fmt: off
CITYSCAPES = {
    "road": (7, (128, 64, 128)), "sidewalk": (8, (244, 35, 232)), "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)), "fence": (13, (190, 153, 153)), "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)), "traffic sign": (20, (220, 220, 0)), "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)), "sky": (23, (70, 130, 180)), "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)), "car": (26, (0, 0, 142)), "truck": (27, (0, 0, 70)), "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)), "motorcycle": (32, (0, 0, 230)), "bicycle": (33, (119, 11, 32)),
}
# fmt: on
"""Train classes in order: the id in labelIds files, and the colour."""


def read_cityscapes(config: MaskedDataConfig, split: Split) -> MaskSource:
    """leftImg8bit/ and gtFine/ with their 34 label ids, of which 19 are scored; val is the test split."""
    part = "train" if split == "train" else "val"
    root = _place(config, [], [f"leftImg8bit/{part}", f"gtFine/{part}"])
    numbers, colours = zip(*CITYSCAPES.values(), strict=True)
    labels = tuple(numbers.index(value) if value in numbers else IGNORE for value in range(256))
    meaning = Legend(tuple(CITYSCAPES), np.array(colours, np.uint8), labels, {})
    pictures, masks = root / "leftImg8bit" / part, root / "gtFine" / part
    return _source(_pairs(pictures, masks, picture_end="_leftImg8bit", mask_ends=["_gtFine_labelIds"]), meaning)


# Pascal VOC 2012

VOC_LISTS = "ImageSets/Segmentation"
# fmt: off
VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)
# fmt: on


def read_voc(config: MaskedDataConfig, split: Split) -> MaskSource:
    """JPEGImages/ and SegmentationClass/ as ImageSets/Segmentation/ lists them; val is the test split.

    Where there are trainaug.txt and SegmentationClassAug/, train is those.
    """
    root = _place(config, ["VOC2012", "VOCdevkit/VOC2012"], ["JPEGImages", "SegmentationClass", VOC_LISTS])
    lists, folder, name = root / VOC_LISTS, "SegmentationClass", "train" if split == "train" else "val"
    if split == "train" and (lists / "trainaug.txt").is_file() and (root / "SegmentationClassAug").is_dir():
        folder, name = "SegmentationClassAug", "trainaug"
    # a line may also name picture and mask by their paths, as some lists do
    stems = [Path(line.split()[0]).stem for line in read_lines(lists / f"{name}.txt")]
    pairs = [(root / "JPEGImages" / f"{stem}.jpg", root / folder / f"{stem}.png") for stem in stems]
    _require_masks([picture for picture, mask in pairs if not mask.is_file()], len(pairs), root / folder)
    return _source(pairs, Legend(VOC, usual_colours(len(VOC)), tuple(range(len(VOC))), {}))


# A folder of pictures and a folder of masks


def read_folder(config: MaskedDataConfig, split: Split) -> MaskSource:
    """{train, val or validation, test}/{images, masks}/, or images/ and masks/ split 80 / 20 by file name.

    Where there is a validation folder and no test folder, validation is the test split, as for folders of classes.
    """
    root = _place(config, [], [])
    if config.classes is None:
        raise UsageError(
            "data.classes is not given, but must name a text file that describes the masks of a folder: for each class,"
            " in the order of the labels, a line NAME or NAME R G B"
        )
    meaning = read_legend(config.classes.expanduser())
    if (root / "train").is_dir():
        folder = root / "train" if split == "train" else evaluation_folder(root, split)
        return _source(_image_mask_pairs(folder), meaning)
    if split == "validation":
        raise UsageError(missing_split(split, str(root)))
    pairs = _image_mask_pairs(root)
    test = in_test_part([picture.relative_to(root / "images").as_posix() for picture, _ in pairs])
    chosen = [pair for pair, in_test in zip(pairs, test, strict=True) if in_test == (split == "test")]
    return _source(chosen, meaning)


def _image_mask_pairs(folder: Path) -> list[Pair]:
    for name in ("images", "masks"):
        if not (folder / name).is_dir():
            raise UsageError(f"{folder} has no folder {name}, but must have images and masks, or train with both")
    return _pairs(folder / "images", folder / "masks", mask_ends=MASK_ENDS)


# What the readers share


def _place(config: MaskedDataConfig, inside: Sequence[str], needed: Sequence[str]) -> Path:
    """The first of root and the folders inside it that holds all of the folders or files needed."""
    root = root_folder(config)
    places = [root, *(root / name for name in inside)]
    for place in places:
        if all((place / name).exists() for name in needed):
            return place
    raise UsageError(f"found no {' and '.join(needed)} in {' or '.join(map(str, places))}")


def _pairs(pictures: Path, masks: Path, *, picture_end: str = "", mask_ends: Sequence[str] = ("",)) -> list[Pair]:
    """Every picture below one folder, sorted, with the one mask below the other whose stem, but for the end, is its."""
    stems: dict[str, list[Path]] = {}
    for file in find_pictures([masks]):
        stems.setdefault(_stem(file, masks), []).append(file)
    named = [file for file in find_pictures([pictures]) if file.stem.endswith(picture_end)]
    if not named:
        raise UsageError(f"no picture in {pictures} has a name that ends with {picture_end}")
    pairs, without = [], []
    for picture in named:
        stem = _stem(picture, pictures).removesuffix(picture_end)
        matching = [mask for end in mask_ends for mask in stems.get(stem + end, [])]
        if len(matching) > 1:
            raise UsageError(f"{picture} has {len(matching)} masks, {matching[0]} and {matching[1]}, but must have one")
        pairs += [(picture, mask) for mask in matching]
        without += [] if matching else [picture]
    _require_masks(without, len(named), masks)
    return pairs


def _stem(file: Path, folder: Path) -> str:
    return file.relative_to(folder).with_suffix("").as_posix()


def _require_masks(without: Sequence[Path], count: int, masks: Path) -> None:
    if without:
        raise UsageError(f"{len(without)} of {count} pictures have no mask in {masks}; the first is {without[0]}")


def _source(pairs: Sequence[Pair], meaning: Legend) -> MaskSource:
    return MaskSource(
        meaning.classes,
        meaning.colours,
        len(pairs),
        lambda row: _open_pair(*pairs[row], meaning),
        lambda row: str(pairs[row][0]),
    )


def _open_pair(file: Path, mask: Path, meaning: Legend) -> tuple[Image.Image, Bytes]:
    picture, labels = open_picture(file), read_labels(mask, meaning)
    height, width = labels.shape
    if picture.size != (width, height):
        own = f"{picture.width} x {picture.height}"
        raise UsageError(f"{mask} is {width} x {height} pixels, but its picture {file} is {own}")
    return picture, labels
