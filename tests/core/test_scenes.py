from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier

from tenfold.core import scenes
from tenfold.core.config import DataConfig
from tenfold.core.embedded_sets import read_garments
from tenfold.core.errors import UsageError
from tenfold.core.scenes import CLASSES, COLOURS, COUNTS, IGNORE, SIZE, Part, compose, read_scenes
from tenfold.core.sources import Bytes, Source, Split

PARTS: tuple[Part, ...] = ("train", "test")
SHARES = {
    "sky": 0.15,
    "building": 0.1,
    "vegetation": 0.08,
    "road": 0.12,
    "pavement": 0.04,
    "vehicle": 0.015,
    "person": 0.01,
    "lane mark": 0.005,
    "pole": 0.004,
    "sign": 0.004,
    "bag": 0.006,
}
"""The least share of all pixels that each class must have."""
GOLDEN_LABELS = [
    [1, 0, 1, 0, 0, 0, 0, 0],
    [1, 1, 1, 1, 0, 0, 0, 0],
    [1, 1, 1, 1, 0, 0, 0, 7],
    [1, 1, 1, 1, 2, 1, 2, 6],
    [1, 1, 1, 3, 3, 3, 4, 6],
    [10, 10, 10, 9, 9, 3, 3, 6],
]
GOLDEN_LIGHT = [
    [173.7, 109.0, 60.7, 66.3],
    [147.7, 108.0, 76.0, 80.0],
    [149.7, 111.7, 128.3, 88.3],
    [150.0, 159.7, 170.0, 133.3],
]
"""Of the first test scene, every 16th pixel's class and every 24th and 32nd one's light."""
COLOUR_ALONE = 0.3
"""What a classifier of single pixels must stay below, in mean intersection over union."""


def first(split: Part, count: int) -> tuple[Bytes, Bytes]:
    """That many scenes, without reading all of the split."""
    composed = [compose(split, number) for number in range(count)]
    return np.stack([picture for picture, _ in composed]), np.stack([labels for _, labels in composed])


def run_lengths(rows: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The lengths of all horizontal runs of True in (N, H, W)."""
    edges = np.diff(np.pad(rows.astype(np.int8), ((0, 0), (0, 0), (1, 1))).reshape(-1, rows.shape[2] + 2), axis=1)
    return np.nonzero(edges == -1)[1] - np.nonzero(edges == 1)[1]


def test_scenes_follow_from_split_number_and_seed_alone() -> None:
    picture, labels = compose("train", 3, seed=1)
    compose("train", 4)
    again, labels_again = compose("train", 3, seed=1)
    np.testing.assert_array_equal(picture, again)
    np.testing.assert_array_equal(labels, labels_again)
    others = [compose("train", 4, seed=1), compose("train", 3), compose("test", 3, seed=1)]
    assert all((labels != other).mean() > 0.05 for _, other in others)


def test_a_scene_is_the_same_on_every_machine() -> None:
    picture, labels = compose("test", 0)
    # a Pillow that scales a little differently may change a border, not a scene
    assert labels[::16, ::16].tolist() == GOLDEN_LABELS
    np.testing.assert_allclose(picture[::24, ::32].mean(axis=2), GOLDEN_LIGHT, atol=3)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(PARTS), st.integers(0, 10**6), st.integers(0, 2**40))
def test_every_scene_is_a_picture_with_a_class_for_every_pixel(split: Part, number: int, seed: int) -> None:
    picture, labels = compose(split, number, seed=seed)
    assert picture.shape == (*SIZE, 3)
    assert labels.shape == SIZE
    assert picture.dtype == labels.dtype == np.uint8
    assert labels[labels != IGNORE].max() < len(CLASSES)
    assert (labels == IGNORE)[:-6].sum() == 0


def test_reading_gives_the_composed_scenes_of_seed_0_once() -> None:
    pictures, labels = read_scenes("test")
    assert (pictures.shape, labels.shape) == ((COUNTS["test"], *SIZE, 3), (COUNTS["test"], *SIZE))
    for number in (0, 7):
        picture, mask = compose("test", number)
        np.testing.assert_array_equal(pictures[number], picture)
        np.testing.assert_array_equal(labels[number], mask)
    assert read_scenes("test")[0] is pictures


@pytest.mark.parametrize("split", PARTS)
def test_every_class_has_its_share(split: Part) -> None:
    _, labels = first(split, 100)
    assert set(SHARES) == set(CLASSES)
    counts = np.bincount(labels.ravel(), minlength=256)
    shares = dict(zip(CLASSES, counts / labels.size, strict=False))
    assert not {name: shares[name] for name in CLASSES if shares[name] < SHARES[name]}
    assert 0 < counts[IGNORE] / labels.size < 0.03


def test_poles_and_lane_marks_are_thin() -> None:
    _, labels = first("train", 60)
    for name in ("pole", "lane mark"):
        assert np.median(run_lengths(labels == CLASSES.index(name))) <= 3


def test_the_street_is_where_a_street_is() -> None:
    _, labels = first("train", 60)
    rows = {name: np.nonzero(labels == number)[1].mean() for number, name in enumerate(CLASSES)}
    assert rows["sky"] < rows["building"] < rows["pavement"] < rows["road"]
    assert rows["sign"] < rows["bag"] - 15  # the same pictures: only place tells them apart


def test_splits_share_no_texture() -> None:
    kits = [scenes._kit(split) for split in PARTS]
    for name in ("surfaces", "foliage", "skies"):
        train, test = ({row.tobytes() for row in getattr(kit, name).reshape(-1, 64) if np.ptp(row)} for kit in kits)
        assert train
        assert test
        assert not train & test


def test_splits_share_no_garment(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Split] = []

    def read(config: DataConfig, split: Split) -> Source:
        asked.append(split)
        return read_garments(config, split)

    monkeypatch.setattr(scenes, "read_garments", read)
    for split in PARTS:
        scenes._kit.__wrapped__(split)
    assert tuple(asked) == PARTS


def test_colour_alone_is_not_enough() -> None:
    (pictures, labels), (test_pictures, test_labels) = first("train", 80), first("test", 40)
    seen = labels != IGNORE
    tree = DecisionTreeClassifier(max_depth=12, min_samples_leaf=20, random_state=0)
    tree.fit(pictures[seen][::7], labels[seen][::7])
    scored = test_labels != IGNORE
    guessed, true = tree.predict(test_pictures[scored]), test_labels[scored]
    overlaps = [
        ((guessed == k) & (true == k)).sum() / ((guessed == k) | (true == k)).sum() for k in range(len(CLASSES))
    ]
    assert np.mean(overlaps) < COLOUR_ALONE
    assert overlaps[CLASSES.index("sky")] > COLOUR_ALONE  # so that the classifier itself works


def test_colours_differ_from_each_other() -> None:
    assert COLOURS.shape == (len(CLASSES), 3)
    assert COLOURS.dtype == np.uint8
    gaps = np.abs(COLOURS[:, None].astype(int) - COLOURS[None]).sum(axis=2) + 999 * np.eye(len(CLASSES), dtype=int)
    assert gaps.min() > 60


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(UsageError, match="'validation', but composed scenes have only train and test"):
        read_scenes("validation")
    with pytest.raises(UsageError, match="'all'"):
        compose("all", 0)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="-1 and 0"):
        compose("train", -1)
    with pytest.raises(UsageError, match="0 and -2"):
        compose("train", 0, seed=-2)
