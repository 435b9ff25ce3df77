from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tenfold.core import masks
from tenfold.core.batches import EvalBatches, TrainBatches
from tenfold.core.config import MaskedDataConfig, explain
from tenfold.core.errors import UsageError
from tenfold.core.mask_sources import MaskSource
from tenfold.core.masks import IGNORE, LAYOUTS, MaskedImages, load_masked, measure_pictures
from tenfold.core.sources import Split

SPLITS: tuple[Split, ...] = get_args(Split)
COUNTS = {"train": 20, "val": 5, "test": 4}


@pytest.fixture(autouse=True)
def camvid(tmp_path: Path) -> Path:
    """A small set in CamVid's layout: 40 x 20 pixels, the number of the picture in its first label."""
    random = np.random.RandomState(0)
    for folder, count in COUNTS.items():
        (tmp_path / folder).mkdir()
        (tmp_path / f"{folder}annot").mkdir()
        for number in range(count):
            pixels = random.randint(0, 256, (20, 40, 3), np.uint8)
            labels = random.randint(0, 12, (20, 40), np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{number:02d}.png")
            Image.fromarray(labels).save(tmp_path / f"{folder}annot" / f"{number:02d}.png")
    return tmp_path


def stored(root: Path, folder: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixels (H, W, 3) and labels (H, W) of a picture, void as 255."""
    with (
        Image.open(root / folder / f"{number:02d}.png") as picture,
        Image.open(root / f"{folder}annot" / f"{number:02d}.png") as mask,
    ):
        labels = np.array(mask)
        return np.array(picture), np.where(labels == 11, 255, labels).astype(np.uint8)


def load(root: Path, split: Split = "train", **settings: object) -> MaskedImages:
    return load_masked(MaskedDataConfig(name="camvid", root=root, **settings), split)  # type: ignore[arg-type]


def all_of(images: MaskedImages) -> tuple[torch.Tensor, torch.Tensor]:
    return images.fetch(torch.arange(len(images)))


def rows_of(images: MaskedImages) -> list[bytes]:
    return [picture.numpy().tobytes() for picture in all_of(images)[0]]


# What is given


@pytest.mark.parametrize("memory", [masks.MEMORY, 0])
def test_pictures_and_labels_are_as_stored(camvid: Path, monkeypatch: pytest.MonkeyPatch, memory: int) -> None:
    monkeypatch.setattr(masks, "MEMORY", memory)
    images = load(camvid)
    assert (len(images), images.shape, images.lazy) == (20, (3, 20, 40), memory == 0)
    assert (images.name, images.split, len(images.classes), images.colours.shape) == ("camvid", "train", 11, (11, 3))
    pictures, labels = images.fetch(torch.tensor([7, 3, 7]))
    assert pictures.dtype == labels.dtype == torch.uint8
    for position, number in enumerate((7, 3, 7)):
        pixels, truth = stored(camvid, "train", number)
        assert np.array_equal(pictures[position].permute(1, 2, 0), pixels)
        assert np.array_equal(labels[position], truth)
        whole, mask = images.picture(number)
        assert torch.equal(whole, pictures[position])
        assert torch.equal(mask, labels[position])
    assert [part.shape for part in images.fetch(torch.tensor([], dtype=torch.int64))] == [(0, 3, 20, 40), (0, 20, 40)]


@pytest.mark.parametrize("memory", [masks.MEMORY, 0])
@pytest.mark.parametrize(
    ("height", "width", "inner"), [(16, 80, (16, 32)), (60, 64, (32, 64)), (40, 80, (40, 80)), (16, 17, (8, 17))]
)
def test_pictures_are_fitted_and_the_rest_is_filled(
    camvid: Path, monkeypatch: pytest.MonkeyPatch, memory: int, height: int, width: int, inner: tuple[int, int]
) -> None:
    monkeypatch.setattr(masks, "MEMORY", memory)
    images = load(camvid, height=height, width=width)
    assert images.shape == (3, height, width)
    pictures, labels = all_of(images)
    assert pictures.shape == (20, 3, height, width)
    h, w = inner
    assert (pictures[:, :, h:] == 0).all()
    assert (pictures[..., w:] == 0).all()
    assert (labels[:, h:] == IGNORE).all()
    assert (labels[..., w:] == IGNORE).all()
    pixels, truth = stored(camvid, "train", 4)
    resized = np.array(Image.fromarray(pixels).resize((w, h), Image.Resampling.BILINEAR))
    assert np.array_equal(pictures[4, :, :h, :w].permute(1, 2, 0), resized)
    rows = np.floor((np.arange(h) + 0.5) * 20 / h).astype(int)
    columns = np.floor((np.arange(w) + 0.5) * 40 / w).astype(int)
    assert np.array_equal(labels[4, :h, :w], truth[rows][:, columns])
    whole, mask = images.picture(4)
    assert torch.equal(whole, pictures[4, :, :h, :w])
    assert np.array_equal(mask, truth)


def source_of(sizes: list[tuple[int, int]], label: int = 0) -> MaskSource:
    """Grey pictures of (height, width) each, all of one label, whose brightness is their number."""

    def open_row(row: int) -> tuple[Image.Image, np.ndarray]:
        height, width = sizes[row]
        return Image.new("RGB", (width, height), (row, row, row)), np.full((height, width), label, np.uint8)

    return MaskSource(("a", "b"), np.zeros((2, 3), np.uint8), len(sizes), open_row, lambda row: f"picture {row}")


def set_of(source: MaskSource, size: tuple[int, int] | None) -> MaskedImages:
    rows = torch.arange(source.count)
    return MaskedImages(
        "mine", "train", source=source, rows=rows, size=size, measure=lambda: measure_pictures(source, size)
    )


@settings(deadline=None)
@given(st.tuples(*[st.integers(1, 60)] * 2), st.tuples(*[st.integers(1, 40)] * 2))
def test_every_picture_touches_two_borders_and_keeps_its_aspect(kept: tuple[int, int], size: tuple[int, int]) -> None:
    images = set_of(source_of([kept]), size)
    _, labels = images.fetch(torch.tensor([0]))
    whole, mask = images.picture(0)
    height, width = whole.shape[1:]
    assert height == size[0] or width == size[1]
    assert mask.shape == kept
    assert (labels[0, :height, :width] == 0).all()
    assert (labels == 0).sum() == height * width
    scale = min(size[0] / kept[0], size[1] / kept[1])
    assert abs(height - max(1, kept[0] * scale)) <= 0.5
    assert abs(width - max(1, kept[1] * scale)) <= 0.5


def test_pictures_of_several_sizes_need_a_size() -> None:
    source = source_of([(20, 30), (20, 30), (20, 31)])
    images = set_of(source, None)
    with pytest.raises(
        UsageError,
        match=r"^picture 2 is 31 x 20 pixels, but picture 0 is 30 x 20: .* need data\.height and data\.width$",
    ):
        images.fetch(torch.tensor([0]))
    assert all_of(set_of(source, (16, 16)))[0].shape == (3, 3, 16, 16)


def test_a_lazy_set_names_the_odd_picture_when_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "MEMORY", 0)
    images = set_of(source_of([(20, 30), (20, 31)]), None)
    assert images.fetch(torch.tensor([0]))[0].shape == (1, 3, 20, 30)
    for use in (images.picture, lambda row: images.fetch(torch.tensor([row]))):
        with pytest.raises(UsageError, match=r"picture 1 is 31 x 20"):
            use(1)  # type: ignore[operator]


def test_a_small_set_is_decoded_once_and_a_large_one_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    source = source_of([(2, 3)] * 4)

    def open_row(row: int) -> tuple[Image.Image, np.ndarray]:
        opened.append(row)
        return source.open(row)

    counted = MaskSource(source.classes, source.colours, 4, open_row, source.name)
    for memory, expected in ((4 * 4 * 2 * 3, [0, 1, 2, 3]), (4 * 4 * 2 * 3 - 1, [0, 1, 1, 2, 3])):
        monkeypatch.setattr(masks, "MEMORY", memory)
        images = set_of(counted, (2, 3))
        opened.clear()
        images.fetch(torch.tensor([1, 2]))
        images.fetch(torch.tensor([0, 1]))
        images.picture(3)
        assert sorted(opened) == expected


def test_what_is_given_may_be_changed(camvid: Path) -> None:
    images = load(camvid)
    before = [part.clone() for part in all_of(images)]
    for part in (*all_of(images), *images.picture(2), images.class_shares()):
        part.zero_()
    assert torch.equal(all_of(images)[0], before[0])
    assert torch.equal(all_of(images)[1], before[1])
    assert images.class_shares().sum() == pytest.approx(1)


def test_a_damaged_file_is_named_and_ends_the_work(camvid: Path) -> None:
    (camvid / "trainannot/13.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"trainannot\S13\.png cannot be read as a mask"):
        load(camvid).fetch(torch.tensor([0]))


# Numbers


@pytest.mark.parametrize("memory", [masks.MEMORY, 0])
def test_shares_are_of_the_labelled_pixels(camvid: Path, monkeypatch: pytest.MonkeyPatch, memory: int) -> None:
    monkeypatch.setattr(masks, "MEMORY", memory)
    monkeypatch.setattr(masks, "CHUNK", 3)
    truth = np.concatenate([stored(camvid, "val", number)[1].ravel() for number in range(5)])
    expected = np.bincount(truth[truth != 255], minlength=11) / (truth != 255).sum()
    shares = load(camvid, "validation").class_shares()
    assert shares.dtype == torch.float64
    assert shares.tolist() == pytest.approx(expected.tolist())
    # enlarged, the filling does not count
    assert load(camvid, "validation", height=60, width=80).class_shares().tolist() == pytest.approx(expected.tolist())


def test_shares_of_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match=r"no pixel of mine \(train\) is labelled"):
        set_of(source_of([(2, 2)], label=IGNORE), None).class_shares()
    assert set_of(source_of([(2, 2)], label=1), None).class_shares().tolist() == [0, 1]


def test_statistics_are_those_of_train_for_every_split(camvid: Path) -> None:
    pixels = np.stack([stored(camvid, "train", number)[0] for number in range(20)]) / 255
    for split in SPLITS:
        images = load(camvid, split, holdout=0.3, limit=2)
        assert images.mean == pytest.approx(pixels.mean((0, 1, 2)).tolist())
        assert images.std == pytest.approx(pixels.std((0, 1, 2)).tolist())
    fitted = load(camvid, height=100, width=40)
    assert fitted.mean == pytest.approx(pixels.mean((0, 1, 2)).tolist())  # the filling does not count


def test_statistics_weigh_pixels_and_sample_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of([(2, 2), (2, 4), (2, 6), (2, 8)])
    assert measure_pictures(source, None).mean == pytest.approx(
        [(0 * 2 + 1 * 4 + 2 * 6 + 3 * 8) / 20 / 255] * 3, rel=0.1
    )
    monkeypatch.setattr(masks, "SAMPLE", 2)
    mean, std = measure_pictures(source, None)
    assert mean == pytest.approx([(0 * 2 + 2 * 6) / 8 / 255] * 3)
    assert std == pytest.approx([1 / 255] * 3)  # at least


# What the settings do


def test_holdout_is_a_part_that_train_lacks(camvid: Path) -> None:
    whole = rows_of(load(camvid))
    train, held = load(camvid, holdout=0.25), load(camvid, "validation", holdout=0.25)
    assert (len(train), len(held)) == (15, 5)
    assert {*rows_of(train), *rows_of(held)} == set(whole)
    assert rows_of(held) == rows_of(load(camvid, "validation", holdout=0.25))
    # not the first or last ones
    assert sorted(whole.index(row) for row in rows_of(held)) not in ([0, 1, 2, 3, 4], [15, 16, 17, 18, 19])
    assert len(load(camvid, "test", holdout=0.25)) == 4
    assert len(load(camvid, "validation", holdout=0.001)) == 1


def test_without_a_holdout_validation_is_the_sets_own(camvid: Path) -> None:
    own = load(camvid, "validation")
    assert len(own) == 5
    assert np.array_equal(own.picture(0)[1], stored(camvid, "val", 0)[1])


def test_limit_is_even_over_the_set(camvid: Path) -> None:
    whole = rows_of(load(camvid))
    assert rows_of(load(camvid, limit=5)) == [whole[i] for i in (0, 4, 8, 12, 16)]
    assert rows_of(load(camvid, limit=20)) == rows_of(load(camvid, limit=1000)) == whole
    held = load(camvid, "validation", holdout=0.5, limit=3)
    assert len(held) == 3
    assert not set(rows_of(held)) & set(rows_of(load(camvid, holdout=0.5)))


def test_what_the_settings_cannot_mean_is_refused(camvid: Path) -> None:
    with pytest.raises(UsageError, match=r"'kitti', but must be one of scenes, camvid, cityscapes, voc, folder$"):
        load_masked(MaskedDataConfig(name="kitti"), "train")
    with pytest.raises(UsageError, match=r"the split is 'val', but must be one of train, validation, test"):
        load(camvid, "val")  # type: ignore[arg-type]
    for name in ("scenes", "cityscapes", "voc"):
        with pytest.raises(UsageError, match=rf"{name} has no validation split .*data\.holdout"):
            load_masked(MaskedDataConfig(name=name, root=camvid), "validation")
    for file in list((camvid / "train").iterdir())[1:]:
        file.unlink()
    with pytest.raises(UsageError, match=r"camvid has too few pictures for a validation split"):
        load(camvid, "validation", holdout=0.5)
    assert len(load(camvid, holdout=0.5)) == 1


def test_every_name_is_explained_in_the_settings() -> None:
    assert all(name in explain(MaskedDataConfig)["name"] for name in LAYOUTS)


def test_scenes_are_read_from_the_embedded_set(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.RandomState(0)
    made = {
        split: (random.randint(0, 256, (count, 8, 9, 3), np.uint8), random.randint(0, 2, (count, 8, 9), np.uint8))
        for split, count in (("train", 6), ("test", 2))
    }
    fake = SimpleNamespace(CLASSES=("a", "b"), COLOURS=((0, 0, 0), (1, 2, 3)), read_scenes=made.__getitem__)
    monkeypatch.setitem(sys.modules, "tenfold.core.scenes", fake)  # type: ignore[arg-type]
    for split in ("train", "test"):
        images = load_masked(MaskedDataConfig(), split)
        pictures, labels = all_of(images)
        assert np.array_equal(pictures.permute(0, 2, 3, 1), made[split][0])
        assert np.array_equal(labels, made[split][1])
    assert images.colours.tolist() == [[0, 0, 0], [1, 2, 3]]
    assert len(load_masked(MaskedDataConfig(holdout=0.5), "validation")) == 3


# Batches


@pytest.mark.parametrize("memory", [masks.MEMORY, 0])
def test_batches_are_made_of_masked_pictures(camvid: Path, monkeypatch: pytest.MonkeyPatch, memory: int) -> None:
    monkeypatch.setattr(masks, "MEMORY", memory)
    images = load(camvid)
    batches = list(TrainBatches(images, 6, seed=0).epoch(0))
    assert [batch.images.shape for batch in batches] == [(6, 3, 20, 40)] * 3
    whole, labels = rows_of(images), all_of(images)[1]
    seen = []
    for batch in batches:
        for picture, truth in zip(batch.images, batch.targets, strict=True):
            seen.append(whole.index(picture.numpy().tobytes()))
            assert torch.equal(truth, labels[seen[-1]])
    assert len(set(seen)) == 18
    again = next(TrainBatches(images, 6, seed=0).epoch(0, start=2))
    assert torch.equal(again.targets, batches[2].targets)
    evaluated = list(EvalBatches(images, 8))
    assert torch.equal(torch.cat([truth for _, truth in evaluated]), labels)
    with pytest.raises(UsageError, match=r"at most 20, the images in camvid \(train\)"):
        TrainBatches(images, 21, seed=0)
