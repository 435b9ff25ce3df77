from __future__ import annotations

import contextlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tenfold.core.errors import UsageError
from tenfold.core.pictures import cover, decode_picture, find_pictures, open_picture, to_input


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.RandomState(0).randint(0, 256, (height, width, channels), np.uint8)


def encoded(picture: Image.Image, kind: str) -> bytes:
    stream = BytesIO()
    picture.save(stream, kind)
    return stream.getvalue()


def test_folders_are_searched_to_any_depth_sorted_and_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "notes.txt", "._a.png", "deep/er/c.webp", ".cache/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_pictures([tmp_path]) == [tmp_path / "a.png", tmp_path / "b.JPG", tmp_path / "deep/er/c.webp"]


def test_named_files_keep_their_order_and_come_once(tmp_path: Path) -> None:
    for name in ("a.png", "odd.name"):
        (tmp_path / name).touch()
    assert find_pictures([tmp_path / "odd.name", tmp_path]) == [tmp_path / "odd.name", tmp_path / "a.png"]


def test_finding_nothing_is_an_error_that_names_the_place(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone does not exist"):
        find_pictures([tmp_path / "gone"])
    with pytest.raises(UsageError, match=rf"no picture in {tmp_path}"):
        find_pictures([tmp_path])
    with pytest.raises(UsageError, match="an empty list"):
        find_pictures([])


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "bmp", "gif", "tiff"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P"])
def test_common_formats_and_modes_become_rgb(tmp_path: Path, kind: str, mode: str) -> None:
    grey = np.repeat(np.repeat(np.array([[0, 255], [255, 0]], np.uint8), 16, 0), 16, 1)
    picture = Image.fromarray(grey).convert(mode)
    (tmp_path / "x").write_bytes(encoded(picture.convert("RGB") if kind in ("jpeg", "webp") else picture, kind))
    opened = open_picture(tmp_path / "x")
    assert opened.mode == "RGB"
    difference = np.asarray(opened).astype(int) - grey[:, :, None]
    assert abs(difference).max() <= (0 if kind in ("png", "bmp", "gif", "tiff") else 32)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_shows_white(mode: str) -> None:
    clear = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    picture = clear.quantize() if mode == "P" else clear.convert(mode)
    assert decode_picture(encoded(picture, "png"), "x").getpixel((0, 0)) == (255, 255, 255)


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    picture = Image.new("RGBA", (2, 2), (0, 0, 0, 51))
    assert decode_picture(encoded(picture, "png"), "x").getpixel((0, 0)) == (204, 204, 204)


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_16_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    values = np.array([[0, 256, 32768, 65535]], np.uint16)
    opened = np.asarray(decode_picture(encoded(Image.fromarray(values), kind), "x"))
    assert opened[0, :, 0].tolist() == [0, 1, 128, 255]


def test_pixels_of_unknown_range_are_refused() -> None:
    with pytest.raises(UsageError, match=r"x cannot be read as a picture: .*more than 16 bits"):
        decode_picture(encoded(Image.fromarray(np.full((2, 2), 70000, np.int32)), "tiff"), "x")
    with pytest.raises(UsageError, match="floating-point"):
        decode_picture(encoded(Image.fromarray(np.ones((2, 2), np.float32)), "tiff"), "x")


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    picture = Image.fromarray(noise(8, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned; upright is 90 degrees clockwise
    picture.save(tmp_path / "x.png", exif=exif)
    assert np.array_equal(np.asarray(open_picture(tmp_path / "x.png")), np.rot90(np.asarray(picture), -1))


def test_what_is_not_a_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "letter.jpg").write_text("dear reader")
    for name, words in (("letter.jpg", "not a picture"), ("gone.jpg", "does not exist")):
        with pytest.raises(UsageError, match=rf"{name} .*{words}"):
            open_picture(tmp_path / name)
    with pytest.raises(UsageError, match="cannot be read"):
        open_picture(tmp_path)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "bmp", "gif"])
def test_a_picture_cut_short_is_an_error(tmp_path: Path, kind: str) -> None:
    data = encoded(Image.fromarray(noise(32, 32)), kind)
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    with pytest.raises(UsageError, match=str(tmp_path / "cut")):
        open_picture(tmp_path / "cut")


DAMAGED = {
    kind: encoded(Image.fromarray(noise(16, 16)), kind) for kind in ("png", "jpeg", "gif", "tiff", "webp", "bmp")
}


@given(kind=st.sampled_from(sorted(DAMAGED)), place=st.integers(0, 2000), value=st.integers(0, 255), cut=st.booleans())
def test_damage_anywhere_either_decodes_or_is_a_usage_error(kind: str, place: int, value: int, cut: bool) -> None:
    data = bytearray(DAMAGED[kind])
    data[place % len(data)] = value
    with contextlib.suppress(UsageError):
        assert decode_picture(bytes(data[:place] if cut else data), "x").mode == "RGB"


def test_decompression_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("L", (100, 100)), "png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UsageError, match=r"bomb\.png is larger than 2,000 pixels"):
        decode_picture(data, "bomb.png")


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 24), st.integers(1, 24), st.sampled_from([1, 3]))
def test_inputs_have_the_shape_asked_for(height: int, width: int, high: int, wide: int, channels: int) -> None:
    picture = Image.new("RGB", (width, height), (10, 10, 10))
    tensor = to_input(picture, shape=(channels, high, wide))
    assert tensor.dtype == torch.uint8
    assert tensor.is_contiguous()
    assert torch.equal(tensor, torch.full((channels, high, wide), 10, dtype=torch.uint8))


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    pixels = noise(9, 7)
    assert np.array_equal(to_input(Image.fromarray(pixels), shape=(3, 9, 7)).permute(1, 2, 0).numpy(), pixels)


@pytest.mark.parametrize(("height", "width", "margin"), [(60, 90, 1.0), (90, 60, 8 / 7), (35, 41, 8 / 7), (8, 9, 1.0)])
def test_cover_is_resizing_then_cropping_the_centre(height: int, width: int, margin: float) -> None:
    picture = Image.fromarray(noise(height, width))
    short = round(24 * margin)
    size = (round(width * short / min(height, width)), round(height * short / min(height, width)))
    left, top = (size[0] - 24) // 2, (size[1] - 24) // 2
    expected = picture.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + 24, top + 24))
    difference = np.asarray(cover(picture, 24, 24, margin=margin)).astype(int) - np.asarray(expected)
    assert abs(difference[2:-2, 2:-2]).max() <= 1  # at the rim the filter sees no pixels beyond the crop


def test_the_longest_picture_takes_no_memory() -> None:
    assert cover(Image.new("RGB", (1, 200_000)), 512, 512).size == (512, 512)


def test_grey_inputs_weigh_the_colours() -> None:
    assert to_input(Image.new("RGB", (2, 2), (255, 0, 0)), shape=(1, 2, 2))[0, 0, 0] == 76
    with pytest.raises(UsageError, match="4 channels"):
        to_input(Image.new("RGB", (2, 2)), shape=(4, 2, 2))
