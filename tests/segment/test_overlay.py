from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tenfold.core.mask_files import IGNORE, usual_colours
from tenfold.segment.overlay import legend, overlaid, palette_mask

COLOURS = np.array([[0, 0, 0], [200, 100, 0], [10, 20, 30]], np.uint8)


def test_colours_are_mixed_by_hand_numbers() -> None:
    picture = Image.new("RGB", (4, 1), (100, 0, 255))
    labels = np.array([[0, 1, 2, IGNORE]], np.uint8)
    for opacity, expected in (
        (0.5, [[50, 0, 128], [150, 50, 128], [55, 10, 142], [100, 0, 255]]),
        (0.0, [[100, 0, 255]] * 4),
        (1.0, [[0, 0, 0], [200, 100, 0], [10, 20, 30], [100, 0, 255]]),
        (0.25, [[75, 0, 191], [125, 25, 191], [78, 5, 199], [100, 0, 255]]),
    ):
        found = overlaid(picture, labels, COLOURS, opacity=opacity)
        assert found.mode == "RGB"
        assert np.asarray(found)[0].tolist() == expected, opacity


@given(shape=st.tuples(st.integers(1, 9), st.integers(1, 9)), opacity=st.floats(0, 1), seed=st.integers(0, 99))
def test_ignored_pixels_are_untouched_and_the_rest_lies_between(
    shape: tuple[int, int], opacity: float, seed: int
) -> None:
    draw = np.random.RandomState(seed)
    pixels = draw.randint(0, 256, (*shape, 3), np.uint8)
    labels = draw.choice(np.array([0, 1, 2, IGNORE], np.uint8), shape)
    found = np.asarray(overlaid(Image.fromarray(pixels), labels, COLOURS, opacity=opacity)).astype(int)
    ignored = labels == IGNORE
    assert np.array_equal(found[ignored], pixels[ignored])
    shown = COLOURS[np.where(ignored, 0, labels)].astype(int)
    expected = pixels * (1 - opacity) + shown * opacity
    assert np.abs(found - expected)[~ignored].max(initial=0) <= 0.51


@pytest.mark.parametrize("classes", [1, 3, 19, 255])
def test_the_values_of_a_mask_are_its_labels_wherever_it_is_read(tmp_path: Path, classes: int) -> None:
    draw = np.random.RandomState(0)
    labels = draw.randint(0, classes, (37, 23), np.uint8)
    labels[3, 5] = IGNORE
    colours = usual_colours(256)[1 : classes + 1]
    palette_mask(labels, colours).save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as mask:
        assert mask.mode == "P"
        assert np.array_equal(np.asarray(mask), labels)
        shown = np.asarray(mask.convert("RGB"))
    labelled = labels != IGNORE
    assert np.array_equal(shown[labelled], colours[labels[labelled]])
    assert shown[3, 5].tolist() == [0, 0, 0]


def test_masks_need_no_memory_in_order() -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    assert np.array_equal(np.asarray(palette_mask(labels.T, COLOURS)), labels.T)
    assert np.array_equal(np.asarray(palette_mask(labels[:, ::-1], COLOURS)), labels[:, ::-1])


def test_the_legend_shows_every_class_in_its_colour() -> None:
    sheet = legend(["sky", "a class of a long name", "car"], COLOURS)
    assert [sheet.getpixel((15, 12 + 22 * number)) for number in range(3)] == [tuple(row) for row in COLOURS.tolist()]
    written = np.asarray(sheet)[22:44, 32:].min(2)
    assert (written < 100).any()
    assert (written[:, -2:] > 200).all(), "the longest name is cut off"
