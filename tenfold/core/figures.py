"""Figures: learning curves, trade-offs and contact sheets, in one quiet style that the colour-blind can read.

matplotlib takes a third of a second to import, so the functions import it themselves. They draw on `Figure` objects and
never touch pyplot, whose global state leaks between callers and opens windows.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .checkpoint import replace_file
from .errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

INK = "#1f242d"
"""the colour of all text in an SVG; a page may replace it to follow its own colours"""
FAINT = "#8a93a0"
"""the colour of axes and grid, readable on white and on near-black"""
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's colours in order of contrast, without the black and the yellow"""

_DASHES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_SMALL_PICTURE = 112  # pixels; below it a caption of two words does not fit under a picture


def curves_figure(
    title: str,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x_label: str,
    y_label: str,
    groups: Mapping[str, str] | None = None,
) -> bytes:
    """A small chart of lines, each named at its end: an SVG on nothing, with the same bytes for the same input.

    A NaN or infinite value leaves a gap, a line that ends in one ends with a cross, and a single value is a dot.

    Args:
        title: what the values are.
        series: name of a line -> its x and its y values, of equal length.
        x_label: name and unit of the x axis; empty for none.
        y_label: name and unit of the y axis; empty for none.
        groups: name of a line -> name of its group; lines of one group (the seeds of one method) share a colour and one
            label. Colours go by first appearance here, so that charts given the same groups agree on them, even where
            some lines are missing. None gives every line its own.

    Raises:
        UsageError: x and y values of a line differ in number.
    """
    import matplotlib
    from matplotlib.figure import Figure

    groups = {name: name for name in series} if groups is None else groups
    order = list(dict.fromkeys(groups.values()))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "tenfold"}):
        figure = Figure(figsize=(5.0, 2.9))
        axes = _quiet_axes(figure, title, x_label=x_label, y_label=y_label)
        ends: dict[str, list[tuple[float, float]]] = {groups[name]: [] for name in series}
        for name, (x_values, y_values) in series.items():
            group = groups[name]
            end = _draw_line(axes, name, x_values, y_values, style=order.index(group), thin=len(ends) < len(series))
            if end is not None:
                ends[group].append(end)
        _label_ends(axes, ends, order)
        longest = max((len(_shorten(group)) for group in ends), default=0)
        figure.subplots_adjust(left=0.1, right=0.97 - 0.0155 * longest, top=0.9, bottom=0.16 if x_label else 0.1)
        return rendered(figure, "svg")


def trade_off_figure(
    path: Path | None,
    *,
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    points: Mapping[str, tuple[float, float]],
    x_label: str,
    y_label: str,
    title: str,
) -> bytes:
    """One quantity against another, for instance accuracy against cost: a PNG of about 1400 x 800 pixels on white.

    Args:
        path: where to save it as well; None saves nothing.
        curves: name -> x and y values of a line with a marker at every value.
        points: name -> x and y of a single marker, each of another shape.
        x_label: name and unit of the x axis.
        y_label: name and unit of the y axis.
        title: one line above the plot; empty for none.

    Raises:
        UsageError: x and y values of a curve differ in number.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.0), dpi=200, layout="constrained", facecolor="white")
    axes = _quiet_axes(figure, title, x_label=x_label, y_label=y_label)
    for index, (name, (x_values, y_values)) in enumerate(curves.items()):
        _draw_line(axes, name, x_values, y_values, style=index, marker="o")
    for index, (name, (x, y)) in enumerate(points.items(), start=len(curves)):
        marker = _MARKERS[1 + (index - len(curves)) % (len(_MARKERS) - 1)]
        axes.plot(x, y, marker, color=PALETTE[index % len(PALETTE)], markersize=8, label=_legend_name(name), zorder=3)
    if curves or points:
        legend = figure.legend(loc="outside right upper", frameon=False, fontsize=9, labelcolor=INK)
        for text in legend.get_texts():
            text.set_parse_math(False)
    data = rendered(figure, "png")
    if path is not None:
        save_png(path, data)
    return data


def save_png(path: Path, data: bytes) -> None:
    """Write a PNG whole: a reader finds the old file or the new one, never half. The folder is made if missing.

    Raises:
        UsageError: the data is no PNG.
    """
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise UsageError(f"the data for {path} starts with {data[:8]!r}, but must be a PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, data)


def picture_grid(images: NDArray[np.uint8] | Sequence[Image], captions: Sequence[str], *, columns: int) -> Image:
    """A contact sheet: pictures in rows on white, each with its caption below.

    Pictures keep their size and sit in the middle of equal cells; when all are below 112 pixels, all are enlarged by
    one whole factor without smoothing. A caption wraps at words and is cut after three lines.

    Args:
        images: uint8 of shape (N, height, width, 3), values 0 to 255, or N pictures of any sizes and modes.
        captions: N lines of text; an empty one leaves no text.
        columns: pictures in a row, at least 1.

    Raises:
        UsageError: no pictures, another shape or type, another number of captions, or no columns.
    """
    from PIL import Image, ImageDraw

    pictures = _pictures(images)
    if len(captions) != len(pictures):
        raise UsageError(
            f"{len(captions)} captions were given for {len(pictures)} pictures, but each needs exactly one"
        )
    if columns < 1:
        raise UsageError(f"columns is {columns}, but must be at least 1")
    width, height = max(picture.width for picture in pictures), max(picture.height for picture in pictures)
    factor = math.ceil(_SMALL_PICTURE / max(width, height))
    width, height, columns = width * factor, height * factor, min(columns, len(pictures))

    font, gap, line = caption_font(13), 12, 17
    texts = [_wrap(caption, font, max(width, _SMALL_PICTURE)) for caption in captions]
    cell_width, cell_height = max(width, _SMALL_PICTURE) + gap, height + 6 + line * max(map(len, texts)) + gap
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * cell_width + gap, rows * cell_height + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (picture, text) in enumerate(zip(pictures, texts, strict=True)):
        left, top = gap + index % columns * cell_width, gap + index // columns * cell_height
        middle = left + (cell_width - gap) // 2
        shown = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
        sheet.paste(shown, (middle - shown.width // 2, top + (height - shown.height) // 2))
        for number, words in enumerate(text):
            draw.text((middle, top + height + 6 + number * line), words, fill=INK, font=font, anchor="ma")
    return sheet


def _quiet_axes(figure: Figure, title: str, *, x_label: str, y_label: str) -> Axes:
    """Axes with horizontal grid lines only, a title at the left and short tick labels."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes = figure.subplots()
    axes.set_facecolor("none")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=8.5, length=0)
    axes.grid(axis="y", color=FAINT, alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    axes.set_title(title, loc="left", fontsize=10.5, color=INK, fontweight="bold", parse_math=False)
    axes.set_xlabel(x_label, color=INK, fontsize=9, parse_math=False)
    axes.set_ylabel(y_label, color=INK, fontsize=9, parse_math=False)
    return axes


def _draw_line(
    axes: Axes,
    name: str,
    x_values: Sequence[float],
    y_values: Sequence[float],
    *,
    style: int,
    thin: bool = False,
    marker: str = "",
) -> tuple[float, float] | None:
    """Draw one line and return its last finite point, if it has any."""
    if len(x_values) != len(y_values):
        raise UsageError(
            f"line {name!r} has {len(x_values)} x and {len(y_values)} y values, but must have as many of both"
        )
    x, y = np.asarray(x_values, dtype=float), np.asarray(y_values, dtype=float)
    finite = np.isfinite(x) & np.isfinite(y)
    look = _look(style)
    if finite.sum() == 1:
        marker = marker or "o"
    width, alpha = (1.1, 0.75) if thin else (1.7, 1.0)
    y_shown = np.where(finite, y, np.nan)
    axes.plot(x, y_shown, linewidth=width, alpha=alpha, marker=marker, markersize=5, label=_legend_name(name), **look)
    if not finite.any():
        return None
    last = int(np.flatnonzero(finite)[-1])
    if not finite[-1]:
        axes.plot(x[last], y[last], marker="x", markersize=7, markeredgewidth=1.7, color=look["color"])
    return float(x[last]), float(y[last])


def _label_ends(axes: Axes, ends: Mapping[str, Sequence[tuple[float, float]]], order: Sequence[str]) -> None:
    """Name every group right of the plot, at the mean height of its ends, moved just far enough not to overlap."""
    bottom, top = axes.get_ylim()
    heights = {
        group: (sum(y for _, y in points) / len(points) - bottom) / (top - bottom) if points else 0.0
        for group, points in ends.items()
    }
    gap = 0.09  # of the height of the axes: one line of text
    ordered = sorted(heights, key=lambda group: heights[group])
    for below, above in pairwise(ordered):
        heights[above] = max(heights[above], heights[below] + gap)
    overflow = max(0.0, heights[ordered[-1]] - 1.0) if ordered else 0.0
    for group in ends:
        text = _shorten(group) if ends[group] else _shorten(f"{group} (no finite value)")
        position = (1.06, heights[group] - overflow)
        axes.text(*position, text, transform=axes.transAxes, va="center", fontsize=9, color=INK, parse_math=False)
        look = _look(order.index(group))
        swatch = ((1.01, 1.045), (position[1], position[1]))
        axes.plot(*swatch, linewidth=2, transform=axes.transAxes, clip_on=False, **look)


def _look(index: int) -> dict[str, Any]:
    """Colour and dashes of the line with this number; beyond the palette, colours come again with other dashes."""
    return {"color": PALETTE[index % len(PALETTE)], "linestyle": _DASHES[index // len(PALETTE) % len(_DASHES)]}


def rendered(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    """A figure as the bytes of a file; an SVG is on nothing, and the same for the same figure."""
    buffer = io.BytesIO()
    options: dict[str, Any] = {"transparent": True, "metadata": {"Date": None}} if kind == "svg" else {}
    figure.savefig(buffer, format=kind, **options)
    return buffer.getvalue()


def _tick(value: float) -> str:
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / min(size, 1e3 if suffix == 'k' else size):g}{suffix}".replace("-", "\N{MINUS SIGN}")
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def _shorten(text: str, length: int = 20) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _legend_name(name: str) -> str:
    # matplotlib drops every legend entry whose name starts with an underscore
    return f" {name}" if name.startswith("_") else name


def _pictures(images: NDArray[np.uint8] | Sequence[Image]) -> list[Image]:
    from PIL import Image

    if isinstance(images, np.ndarray):
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
            raise UsageError(
                f"images are {images.dtype} of shape {images.shape},"
                " but must be uint8 of shape (N, height, width, 3), not empty"
            )
        return [Image.fromarray(image) for image in images]
    if not images:
        raise UsageError("images has 0 pictures, but must have at least 1")
    return [image.convert("RGB") for image in images]


def caption_font(size: int) -> FreeTypeFont:
    """DejaVu Sans as matplotlib brings it; Pillow's own font has no arrows and few accents."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def _wrap(caption: str, font: FreeTypeFont, width: int) -> list[str]:
    """At most three lines, broken at spaces; what is too wide is cut with an ellipsis."""
    lines: list[str] = []
    for word in caption.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    cut = len(lines) > 3
    lines = [_cut(line, font, width) for line in lines[:3]]
    return [*lines[:2], _cut(f"{lines[2]}…", font, width)] if cut else lines


def _cut(line: str, font: FreeTypeFont, width: int) -> str:
    while font.getlength(line) > width and len(line) > 1:
        line = f"{line.rstrip('…')[:-1]}…"
    return line
