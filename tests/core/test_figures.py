from __future__ import annotations

import io
import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tenfold.core.errors import UsageError
from tenfold.core.figures import PALETTE, curves_figure, picture_grid, save_png, trade_off_figure

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: bytes) -> list[str]:
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_every_line_is_named_in_words_that_stay_text() -> None:
    svg = curves_figure(
        "loss $x$", {"a $b_$": ([0, 1], [1, 2]), "_c": ([0, 1], [2, 3])}, x_label="step", y_label="nats & co"
    )
    assert {"loss $x$", "a $b_$", "_c", "step", "nats & co"} <= set(texts(svg))


def test_same_input_same_bytes() -> None:
    series = {"a": ([0.0, 1.0], [1.0, 2.0])}
    assert curves_figure("t", series, x_label="", y_label="") == curves_figure("t", series, x_label="", y_label="")


def test_lines_of_a_group_share_one_colour_and_one_label() -> None:
    series = {f"run {seed}": ([0, 1], [seed, seed + 1]) for seed in range(3)}
    svg = curves_figure("t", series, x_label="", y_label="", groups=dict.fromkeys(series, "method"))
    assert texts(svg).count("method") == 1
    assert PALETTE[0].encode() in svg
    assert PALETTE[1].encode() not in svg


def test_a_group_keeps_its_colour_in_a_chart_without_the_groups_before_it() -> None:
    svg = curves_figure("t", {"b": ([0, 1], [0, 1])}, x_label="", y_label="", groups={"a": "first", "b": "second"})
    assert PALETTE[1].encode() in svg
    assert PALETTE[0].encode() not in svg
    assert "first" not in texts(svg)


def test_labels_do_not_overlap() -> None:
    series = {name: ([0, 1], [0, 1]) for name in "abcde"}
    root = ElementTree.fromstring(curves_figure("t", series, x_label="", y_label=""))
    heights = sorted(float(text.get("y", "nan")) for text in root.iter(f"{SVG}text") if text.text in series)
    assert len(heights) == 5
    assert min(np.diff(heights)) >= 9.0  # points; the size of the letters


def test_a_line_that_is_nowhere_finite_is_said_to_be() -> None:
    svg = curves_figure("t", {"a": ([0, 1], [math.nan, math.inf])}, x_label="", y_label="")
    assert any(text.startswith("a (no finite") for text in texts(svg))


number = st.floats(width=32, allow_nan=True, allow_infinity=True)


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.text(max_size=30), st.lists(st.tuples(number, number), max_size=5), max_size=3))
@pytest.mark.filterwarnings("ignore:Glyph")
def test_any_numbers_and_names_make_a_chart(lines: dict[str, list[tuple[float, float]]]) -> None:
    series = {name: ([x for x, _ in points], [y for _, y in points]) for name, points in lines.items()}
    assert b"</svg>" in curves_figure("title", series, x_label="x", y_label="y")


def test_unequal_numbers_of_values_are_refused() -> None:
    with pytest.raises(UsageError, match="line 'a' has 2 x and 1 y values"):
        curves_figure("t", {"a": ([0, 1], [0])}, x_label="", y_label="")


def test_trade_off_is_a_png_in_memory_and_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "new" / "figure.png"
    curves = {"method": ([0.5, 1.0], [0.8, 0.9])}
    data = trade_off_figure(
        path, curves=curves, points={"_base $x_$": (1, 0.9)}, x_label="cost", y_label="acc", title="t"
    )
    assert path.read_bytes() == data
    assert [entry.name for entry in path.parent.iterdir()] == ["figure.png"]
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    colours = {colour for _, colour in picture.getcolors(1 << 24) or []}
    assert picture.getpixel((0, 0)) == (255, 255, 255)
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours


def test_trade_off_without_a_path_or_values_is_an_empty_plot() -> None:
    assert trade_off_figure(None, curves={}, points={}, x_label="", y_label="", title="").startswith(b"\x89PNG")


def test_save_png_refuses_what_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be a PNG"):
        save_png(tmp_path / "a.png", b"<svg/>")
    assert not list(tmp_path.iterdir())


def test_grid_enlarges_small_pictures_without_smoothing_and_writes_captions() -> None:
    images = np.zeros((3, 28, 28, 3), dtype=np.uint8)
    images[:, :14] = (255, 0, 0)
    sheet = picture_grid(images, ["", "a caption", ""], columns=2)
    colours = sheet.crop((12, 12, 124, 124)).getcolors()
    assert sorted(colours or []) == [(112 * 56, (0, 0, 0)), (112 * 56, (255, 0, 0))]
    below = [sheet.crop((left, 126, left + 112, 140)).convert("L").getextrema()[0] for left in (12, 136)]
    assert below[0] == 255  # no caption, no ink
    assert below[1] != below[0]


def test_grid_takes_pictures_of_any_size_and_mode_and_centres_them() -> None:
    sheet = picture_grid([Image.new("L", (200, 120), 0), Image.new("RGBA", (100, 60), "blue")], ["", ""], columns=5)
    assert sheet.mode == "RGB"
    assert sheet.size == (2 * 212 + 12, 120 + 6 + 12 + 12)
    blue = sheet.crop((224, 12, 424, 132)).convert("RGB").point(lambda value: 255 - value).getbbox()
    assert blue == (50, 30, 150, 90)


def test_long_captions_wrap_and_are_cut_but_never_leave_their_cell() -> None:
    images = np.full((2, 120, 120, 3), 200, dtype=np.uint8)
    long = "unbreakable" * 9 + " and many more words than three lines can ever hold, " * 3
    sheet = picture_grid(images, [long, ""], columns=2)
    gap_between = sheet.crop((133, 0, 143, sheet.height))
    assert gap_between.getcolors() == [(10 * sheet.height, (255, 255, 255))]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 7), st.integers(1, 40), st.integers(1, 40), st.integers(1, 9))
def test_grid_holds_every_picture(count: int, height: int, width: int, columns: int) -> None:
    images = np.zeros((count, height, width, 3), dtype=np.uint8)
    sheet = picture_grid(images, [""] * count, columns=columns)
    factor = math.ceil(112 / max(height, width))
    black = {colour: number for number, colour in sheet.getcolors() or []}[0, 0, 0]
    assert black == count * height * width * factor**2


@pytest.mark.parametrize(
    ("images", "captions", "columns", "message"),
    [
        (np.zeros((2, 4, 4, 3), dtype=np.uint8), ["a"], 1, "1 captions were given for 2 pictures"),
        (np.zeros((1, 4, 4, 3), dtype=np.uint8), ["a"], 0, "columns is 0"),
        (np.zeros((1, 4, 4, 3), dtype=np.float32), ["a"], 1, "images are float32"),
        (np.zeros((1, 3, 4, 4), dtype=np.uint8), ["a"], 1, r"shape \(1, 3, 4, 4\)"),
        (np.zeros((0, 4, 4, 3), dtype=np.uint8), [], 1, "not empty"),
        ([], [], 1, "0 pictures"),
    ],
)
def test_grid_names_what_is_wrong(images: object, captions: list[str], columns: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        picture_grid(images, captions, columns=columns)  # type: ignore[arg-type]
