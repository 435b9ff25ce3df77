"""The embedded pictures: how many, of what size, of whom, and that none is for both training and testing."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from importlib import resources
from pathlib import Path, PurePosixPath

import pytest
import torch

from tenfold.core.config import DataConfig
from tenfold.core.data import load_images
from tenfold.core.embedded_sets import (
    PICTURES,
    _archive,
    embedded_pictures,
    embedded_style,
    embedded_styles,
    read_pictures,
)
from tenfold.core.errors import UsageError
from tenfold.core.sources import Split

COUNTS = {"ink": (62, 27), "paintings": (100, 25), "photos": (123, 47)}


def paths() -> list[PurePosixPath]:
    return [PurePosixPath(name) for name in _archive().namelist()]


def origin(path: PurePosixPath) -> str:
    """The picture that a crop was cut from."""
    return path.stem.rsplit("-", 1)[0]


@pytest.mark.parametrize("name", PICTURES)
def test_each_class_has_its_pictures(name: str) -> None:
    train, test = embedded_pictures(name, "train"), embedded_pictures(name, "test")
    assert (len(train), len(test)) == COUNTS[name]
    assert {(picture.mode, picture.size) for picture in train + test} == {("RGB", (128, 128))}
    assert len({picture.tobytes() for picture in train + test}) == sum(COUNTS[name])
    # none is a flat patch of paper or sky
    assert all(max(high - low for low, high in picture.getextrema()) > 60 for picture in train + test)


def test_crops_of_one_picture_are_all_for_training_or_all_for_testing() -> None:
    folders: dict[str, set[str]] = {}
    for path in paths():
        if path.parts[0] != "styles":
            folders.setdefault(origin(path), set()).add(str(path.parent))
    assert all(len(found) == 1 for found in folders.values())
    kinds = Counter(next(iter(found)) for found in folders.values())
    assert kinds == {
        "ink/train": 9,
        "ink/test": 3,
        "paintings/train": 20,
        "paintings/test": 5,
        "photos/train": 11,
        "photos/test": 4,
    }


def test_styles_are_whole_paintings_by_name() -> None:
    assert embedded_styles() == ("circus", "cypresses", "primavesi")
    for name in embedded_styles():
        style = embedded_style(name)
        assert style.mode == "RGB"
        assert min(style.size) == 256
        assert max(style.size) < 600
    assert len({embedded_style(name).tobytes() for name in embedded_styles()}) == 3
    with pytest.raises(UsageError, match="there is no embedded style 'wave', only circus, cypresses, primavesi"):
        embedded_style("wave")


def test_a_class_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="oil"):
        embedded_pictures("oil", "train")


def test_a_picture_given_away_may_be_painted_over() -> None:
    embedded_pictures("ink", "test")[0].paste((255, 0, 0), (0, 0, 128, 128))
    assert embedded_pictures("ink", "test")[0].getpixel((5, 5)) != (255, 0, 0)


# as a labelled set


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_labelled_set_is_shuffled_and_its_labels_are_the_classes(split: Split) -> None:
    source = read_pictures(DataConfig(name="pictures"), split)
    assert isinstance(source.images, torch.Tensor)
    assert source.classes == PICTURES
    assert source.images.shape == (len(source.targets), 3, 128, 128)
    assert torch.bincount(source.targets).tolist() == [COUNTS[name][split == "test"] for name in PICTURES]
    assert len(set(source.targets[:20].tolist())) == 3
    for label, name in enumerate(PICTURES):
        ours = {row.permute(1, 2, 0).contiguous().numpy().tobytes() for row in source.images[source.targets == label]}
        assert ours == {picture.tobytes() for picture in embedded_pictures(name, split)}


def test_it_is_a_set_like_others() -> None:
    train = load_images(DataConfig(name="pictures", size=32, holdout=0.2), "train")
    held = load_images(DataConfig(name="pictures", size=32, holdout=0.2), "validation")
    assert (len(train) + len(held), train.shape) == (285, (3, 32, 32))
    assert (train.classes, train.lazy) == (PICTURES, False)
    with pytest.raises(UsageError, match="validation"):
        load_images(DataConfig(name="pictures"), "validation")


def test_the_order_is_the_same_in_every_process() -> None:
    code = "import torch; from tenfold.core.embedded_sets import *; from tenfold.core.config import DataConfig; "
    code += "source = read_pictures(DataConfig(name='pictures'), 'test'); "
    code += "print(source.targets.tolist(), source.images.flatten(1).long().sum(1).tolist())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    source = read_pictures(DataConfig(name="pictures"), "test")
    assert isinstance(source.images, torch.Tensor)
    assert done.stdout.strip() == f"{source.targets.tolist()} {source.images.flatten(1).long().sum(1).tolist()}"


# what comes with the package


def folder() -> Path:
    with resources.as_file(resources.files("tenfold.core.embedded")) as found:
        return found


def test_everything_embedded_is_below_8_megabytes() -> None:
    sizes = {file.name: file.stat().st_size for file in folder().iterdir() if file.is_file()}
    assert {"pictures.zip", "garments.npy.xz", "textures.npz"} <= set(sizes)
    assert sum(sizes.values()) < 8_000_000


def test_every_file_and_every_photograph_is_attributed() -> None:
    text = (folder() / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for file in folder().iterdir():
        assert file.suffix in (".py", ".md") or file.name == "__pycache__" or f"## {file.name}" in text, file.name
    section = text[text.index("## pictures.zip") :]
    rows = [
        [cell.strip() for cell in line.strip("|\n").split("|")] for line in section.splitlines() if line.startswith("|")
    ]
    named = {row[0].strip("`"): row[1:] for row in rows[2:]}
    assert set(named) == {origin(path) for path in paths() if path.parts[0] == "photos"}
    for name, (shows, file, author, licence) in named.items():
        assert shows, name
        assert ".jpg" in file or ".png" in file, name
        assert author, name
        assert licence.startswith(("CC", "[CC", "public domain")), name


def test_paintings_are_named_by_the_numbers_that_their_attribution_speaks_of() -> None:
    numbers = {origin(path) for path in paths() if path.parts[0] in ("ink", "paintings")}
    assert all(number.isdigit() for number in numbers)
    assert "search/<number>" in (folder() / "ATTRIBUTION.md").read_text(encoding="utf-8")
