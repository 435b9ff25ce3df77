"""Sets of pictures without labels: how they are named, the folders they may come in, and their splits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tenfold.core import domains
from tenfold.core.data import MARGIN, ImageSet, LazyImages, MemoryImages
from tenfold.core.domains import Named, load_domain, named
from tenfold.core.errors import UsageError
from tenfold.core.pictures import cover, open_picture
from tenfold.core.sources import Split

EMBEDDED = ("ink", "photos")


def picture(number: int, width: int = 24, height: int = 20) -> Image.Image:
    """Noise that no other number gives."""
    pixels = np.random.RandomState(number).randint(0, 256, (height, width, 3), np.uint8)
    pixels[..., 0] = number
    return Image.fromarray(pixels)


def fill(folder: Path, numbers: Sequence[int], **size: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        picture(number, **size).save(folder / f"picture {number:03}.png")
    return folder


def numbers_of(images: ImageSet) -> list[int]:
    """Which of the pictures are in a set: their red is their number."""
    pixels, _ = images.fetch(torch.arange(len(images)))
    assert (pixels[:, 0] == pixels[:, 0, :1, :1]).all()
    return pixels[:, 0, 0, 0].tolist()


def load(folder: Path, split: Split, *, size: int = 8, **settings: Any) -> ImageSet:
    return load_domain(Named("some", folder), split, size=size, **settings)


# names


def test_a_set_is_named_by_its_name_its_path_or_both(tmp_path: Path) -> None:
    (tmp_path / "van-gogh").mkdir()
    (tmp_path / "ink").mkdir()
    place = tmp_path / "van-gogh"
    assert named("ink", EMBEDDED, "data.a") == Named("ink", None)
    assert named(str(place), EMBEDDED, "data.a") == Named("van-gogh", place)
    assert named(f"{place}/", EMBEDDED, "data.a") == Named("van-gogh", place)
    assert named(f"vincent={place}", EMBEDDED, "data.a") == Named("vincent", place)
    assert named(f"ink={tmp_path / 'ink'}", EMBEDDED, "data.a") == Named("ink", tmp_path / "ink")
    assert named(str(tmp_path / "ink"), EMBEDDED, "data.a") == Named("ink", tmp_path / "ink")


def test_a_file_is_named_without_its_ending(tmp_path: Path) -> None:
    picture(0).save(tmp_path / "wave.png")
    assert named(str(tmp_path / "wave.png"), EMBEDDED, "data.style") == Named("wave", tmp_path / "wave.png")


def test_the_home_folder_may_be_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()
    assert named("~/mine", EMBEDDED, "data.a") == Named("mine", tmp_path / "mine")
    assert named("a=~/mine", EMBEDDED, "data.a") == Named("a", tmp_path / "mine")


@pytest.mark.parametrize("text", ["inky", "ink/", "a=nowhere", "nowhere/at/all"])
def test_what_is_neither_embedded_nor_there_is_refused(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = f"data.a has '{text}', but must be NAME=PATH or PATH of what exists, or one of ink, photos"
    with pytest.raises(UsageError) as refused:
        named(text, EMBEDDED, "data.a")
    assert str(refused.value) == message


@pytest.mark.parametrize("name", ["", "two words", "a/b", "a.b", "a,b"])
def test_names_that_a_table_could_not_have_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        named(f"{name}={tmp_path}", EMBEDDED, "data.b")
    assert f"whose name is {name!r}, but must be letters, digits, - and _" in str(refused.value)


def test_a_name_may_begin_with_a_digit(tmp_path: Path) -> None:
    assert named(f"19th-century={tmp_path}", EMBEDDED, "data.a").name == "19th-century"


def test_a_path_may_have_an_equals_sign(tmp_path: Path) -> None:
    folder = fill(tmp_path / "size=8" / "mine", [1])
    assert named(str(folder), EMBEDDED, "data.a") == Named("mine", folder)


def test_a_name_without_a_path_is_refused() -> None:
    with pytest.raises(UsageError, match="NAME=PATH"):
        named("mine=", EMBEDDED, "data.a")


# folders


def test_a_folder_of_any_depth_is_split_80_to_20_by_names(tmp_path: Path) -> None:
    fill(tmp_path / "a" / "b", range(10))
    fill(tmp_path / "c", range(10, 30))
    train, test = numbers_of(load(tmp_path, "train")), numbers_of(load(tmp_path, "test"))
    assert (len(train), len(test)) == (24, 6)
    assert sorted(train + test) == list(range(30))
    moved = fill(tmp_path.with_name(f"{tmp_path.name} moved") / "a" / "b", range(10)).parents[1]
    fill(moved / "c", range(10, 30))
    assert numbers_of(load(moved, "test")) == test  # the folder's own name and place do not matter


def test_a_new_picture_moves_few_others_between_the_splits(tmp_path: Path) -> None:
    before = set(numbers_of(load(fill(tmp_path, range(40)), "test")))
    after = set(numbers_of(load(fill(tmp_path, [50]), "test")))
    assert len(before ^ after) <= 2


@pytest.mark.parametrize("other", ["test", "val", "validation"])
def test_train_and_another_folder_are_the_splits(other: str, tmp_path: Path) -> None:
    fill(tmp_path / "train" / "deep", range(5))
    fill(tmp_path / other, range(5, 8))
    assert numbers_of(load(tmp_path, "train")) == [0, 1, 2, 3, 4]
    assert numbers_of(load(tmp_path, "test")) == [5, 6, 7]
    with pytest.raises(UsageError, match="validation"):
        load(tmp_path, "validation")


def test_three_folders_are_three_splits(tmp_path: Path) -> None:
    for place, name in enumerate(("train", "val", "test")):
        fill(tmp_path / name, [place, 10 + place])
    splits: tuple[Split, ...] = ("train", "validation", "test")
    assert [numbers_of(load(tmp_path, split)) for split in splits] == [[0, 10], [1, 11], [2, 12]]
    # asked for, the validation split is cut from train all the same
    held = numbers_of(load(tmp_path, "validation", holdout=0.5))
    assert sorted(held + numbers_of(load(tmp_path, "train", holdout=0.5))) == [0, 10]
    assert numbers_of(load(tmp_path, "test", holdout=0.5)) == [2, 12]


def test_cyclegans_layout(tmp_path: Path) -> None:
    for place, name in enumerate(("trainA", "testA", "trainB", "testB")):
        fill(tmp_path / name, range(10 * place, 10 * place + 6))
    assert numbers_of(load(tmp_path / "trainA", "train")) == [0, 1, 2, 3, 4, 5]
    assert numbers_of(load(tmp_path / "trainA", "test")) == [10, 11, 12, 13, 14, 15]
    assert numbers_of(load(tmp_path / "trainB", "test")) == [30, 31, 32, 33, 34, 35]
    with pytest.raises(UsageError, match=r"trainA has no validation split beside it; data.holdout above 0 cuts one"):
        load(tmp_path / "trainA", "validation")
    held = numbers_of(load(tmp_path / "trainA", "validation", holdout=0.3))
    rest = numbers_of(load(tmp_path / "trainA", "train", holdout=0.3))
    assert (len(held), sorted(held + rest)) == (2, [0, 1, 2, 3, 4, 5])


def test_a_train_folder_without_a_twin_is_any_folder(tmp_path: Path) -> None:
    folder = fill(tmp_path / "trains", range(10))
    assert (len(load(folder, "train")), len(load(folder, "test"))) == (8, 2)


def test_the_working_folder_may_be_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(fill(tmp_path, range(10)))
    assert len(load(Path("."), "train")) == 8


# holdout and limit


@pytest.mark.parametrize(("share", "count"), [(0.25, 5), (0.01, 1), (0.99, 19), (0.5, 10)])
def test_a_holdout_is_a_fixed_part_that_train_lacks(share: float, count: int, tmp_path: Path) -> None:
    fill(tmp_path / "train", range(20))
    fill(tmp_path / "test", [30])
    held, rest = (numbers_of(load(tmp_path, split, holdout=share)) for split in ("validation", "train"))
    assert len(held) == count
    assert sorted(held + rest) == list(range(20))
    assert held == numbers_of(load(tmp_path, "validation", holdout=share))
    assert numbers_of(load(tmp_path, "test", holdout=share)) == [30]


def test_a_limit_is_a_fixed_choice_from_all_over(tmp_path: Path) -> None:
    fill(tmp_path / "train", range(40))
    few, more = (numbers_of(load(tmp_path, "train", limit=limit)) for limit in (10, 20))
    assert (len(few), len(more)) == (10, 20)
    assert few == sorted(few) == numbers_of(load(tmp_path, "train", limit=10))
    assert set(few) < set(more)
    assert max(few) - min(few) > 20
    assert numbers_of(load(tmp_path, "train", limit=1000)) == list(range(40))
    held, rest = (set(numbers_of(load(tmp_path, split, holdout=0.5, limit=8))) for split in ("validation", "train"))
    assert (len(held), len(rest), held & rest) == (8, 8, set())


def test_too_few_pictures_for_a_split_are_told(tmp_path: Path) -> None:
    fill(tmp_path / "one", [1])
    assert numbers_of(load(tmp_path / "one", "train")) == [1]
    with pytest.raises(UsageError, match="one has too few pictures for a test split"):
        load(tmp_path / "one", "test")
    with pytest.raises(UsageError, match="one has too few pictures for a validation split"):
        load(tmp_path / "one", "validation", holdout=0.5)
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match=r"no picture in .*none"):
        load(tmp_path / "none", "train")
    with pytest.raises(UsageError, match=r"no validation split; data\.holdout above 0"):
        load(tmp_path / "one", "validation")
    fill(tmp_path / "half" / "train", [1])
    with pytest.raises(UsageError, match="has a train folder, but no test, val or validation folder beside it"):
        load(tmp_path / "half", "test")


# pictures


def test_pictures_cover_the_square_and_are_one_class(tmp_path: Path) -> None:
    fill(tmp_path / "train", [7], width=30, height=20)
    fill(tmp_path / "train", [9], width=16, height=32)
    found = load(tmp_path, "train", size=12)
    assert isinstance(found, MemoryImages)
    assert (found.name, found.split, found.classes, found.shape) == ("some", "train", ("some",), (3, 12, 12))
    pixels, targets = found.fetch(torch.tensor([0, 1]))
    assert (pixels.dtype, targets.tolist()) == (torch.uint8, [0, 0])
    for row, number in enumerate((7, 9)):
        whole = open_picture(tmp_path / "train" / f"picture {number:03}.png")
        wanted = torch.from_numpy(np.array(cover(whole, 12, 12))).permute(2, 0, 1)
        assert torch.equal(pixels[row], wanted)
    values = pixels.double() / 255
    assert found.mean == pytest.approx(values.mean((0, 2, 3)).tolist())
    assert found.std == pytest.approx(values.std((0, 2, 3), correction=0).tolist())


def test_a_set_too_large_for_the_memory_is_decoded_when_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "train", range(6), width=40, height=40)
    at_once = load(tmp_path, "train", size=16)
    monkeypatch.setattr(domains, "MEMORY", 6 * 3 * 16 * 16)
    assert isinstance(load(tmp_path, "train", size=16), MemoryImages)
    monkeypatch.setattr(domains, "MEMORY", 6 * 3 * 16 * 16 - 1)
    lazy = load(tmp_path, "train", size=16)
    assert isinstance(lazy, LazyImages)
    assert (len(lazy), lazy.shape, lazy.classes) == (len(at_once), at_once.shape, at_once.classes)
    assert numbers_of(lazy) == numbers_of(at_once)
    pixels, targets = lazy.fetch(torch.tensor([4, 1]))
    assert targets.tolist() == [0, 0]

    def wanted(number: int) -> Tensor:
        found = cover(open_picture(tmp_path / "train" / f"picture {number:03}.png"), 16, 16, margin=MARGIN)
        return torch.from_numpy(np.array(found)).permute(2, 0, 1)

    assert torch.equal(pixels, torch.stack([wanted(4), wanted(1)]))
    assert lazy.mean == pytest.approx(at_once.mean, abs=0.02)
    assert lazy.std == pytest.approx(at_once.std, abs=0.05)


@pytest.mark.parametrize("memory", [1 << 30, 1])
def test_a_damaged_file_is_named(memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domains, "MEMORY", memory)
    fill(tmp_path / "train", range(3))
    damaged = tmp_path / "train" / "picture 001.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    with pytest.raises(UsageError, match=r"picture 001\.png"):
        load(tmp_path, "train").fetch(torch.arange(3))


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    picture(0).save(tmp_path / "wave.png")
    with pytest.raises(UsageError, match=r"wave\.png is a file, but must be a folder of pictures"):
        load(tmp_path / "wave.png", "train")


def test_a_folder_that_is_gone_is_said_to_be_gone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        load(tmp_path / "gone", "train")


# embedded sets


def test_an_embedded_set_has_splits_too() -> None:
    def of(split: Split, **settings: Any) -> set[bytes]:
        images = load_domain(Named("ink", None), split, size=16, **settings)
        assert (images.name, images.split, images.shape) == ("ink", split, (3, 16, 16))
        return {row.numpy().tobytes() for row in images.fetch(torch.arange(len(images)))[0]}

    train, test = of("train"), of("test")
    assert (len(train), len(test), train & test) == (62, 27, set())
    held, rest = of("validation", holdout=0.25), of("train", holdout=0.25)
    assert (len(held), held | rest, held & rest) == (16, train, set())
    assert len(of("train", limit=5)) == 5
    with pytest.raises(UsageError, match="there are no embedded pictures 'oil', only ink, paintings, photos"):
        load_domain(Named("oil", None), "train", size=16)


def test_an_embedded_set_has_no_validation_split_of_its_own() -> None:
    with pytest.raises(UsageError, match="validation"):
        load_domain(Named("ink", None), "validation", size=16)
