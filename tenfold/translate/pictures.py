"""What a person sees of a run: a contact sheet over the dial, a triangle of one picture, rivals beside each other, curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ..core.figures import FAINT, INK, PALETTE, caption_font, picture_grid, rendered, save_png
from ..core.run import Run
from .evaluate import POINTS, SINGLES, UNTRANSLATED, Answer, Evaluator
from .mixture import edge, simplex_grid
from .stages import DIALS, MIDDLE, single
from .task import to_bytes

SHOWN = 5
"""held-out pictures on a sheet"""
TRIANGLE = 5
"""pictures along each side of a triangle"""
GAP = 8


def draw_pictures(run: Run, evaluator: Evaluator) -> None:
    """Write the run's pictures into samples/."""
    pictures = evaluator.pictures
    chosen = torch.linspace(0, len(pictures) - 1, min(SHOWN, len(pictures))).long()
    shown = pictures[chosen]
    first = next((name for name in evaluator.answers if name in DIALS), None)
    if first is not None:
        with run.sample("dial.png") as path:
            dial_sheet(evaluator, evaluator.answers[first], shown).save(path)
        if evaluator.count == 3:
            with run.sample("triangle.png") as path:
                answer = evaluator.answers[first]
                triangle(
                    lambda mix: asked(evaluator, answer, shown[:1], mix)[0], evaluator.corners.names, points=TRIANGLE
                ).save(path)
    if len(evaluator.answers) > 1:
        with run.sample("rivals.png") as path:
            rivals_sheet(evaluator, shown[::3][:2]).save(path)
    names = [name for name in (first, "outputs") if name in evaluator.answers]
    if names:
        with run.sample("edges.png") as path:
            save_png(path, edges_figure(evaluator, names))


def canonical(count: int) -> Tensor:
    """The mixtures that the authors show: every corner, the middle of every edge, the even mixture; (P, L)."""
    corners = torch.eye(count)
    middles = [(corners[a] + corners[b]) / 2 for a, b in combinations(range(count), 2)] if count > 2 else []
    return torch.stack([*corners, *middles, torch.full((count,), 1 / count)])


def described(mix: Tensor, names: Sequence[str]) -> str:
    """A mixture in words: "photos", "photos 50 ink 50"."""
    parts = [(name, share) for name, share in zip(names, mix.tolist(), strict=True) if abs(share) > 1e-4]
    if len(parts) == 1 and abs(parts[0][1] - 1) < 1e-4:
        return parts[0][0]
    return " ".join(f"{name} {share:.0%}" for name, share in parts) or "nothing"


def dial_sheet(evaluator: Evaluator, answer: Answer, shown: Tensor) -> Image.Image:
    """A row for each picture: as it is, then under each canonical mixture."""
    mixes = canonical(evaluator.count)
    columns = [shown, *(asked(evaluator, answer, shown, mix) for mix in mixes)]
    captions = ["picture", *(described(mix, evaluator.corners.names) for mix in mixes)]
    return _rows(columns, captions)


def rivals_sheet(evaluator: Evaluator, shown: Tensor) -> Image.Image:
    """A row for each rival: its answers at every corner and in the middle, of one picture after the other."""
    mixes = [*torch.eye(evaluator.count), torch.full((evaluator.count,), 1 / evaluator.count)]
    labels = [*evaluator.corners.names, "middle"]
    pictures: list[Image.Image] = []
    captions: list[str] = []
    for row in [row for row in evaluator.rows if row != UNTRANSLATED]:
        for picture in shown:
            for mix, label in zip(mixes, labels, strict=True):
                made = _rival(evaluator, row, label, picture[None], mix)
                blank = Image.new("RGB", (picture.shape[2], picture.shape[1]), "white")
                pictures.append(blank if made is None else to_images(made)[0])
                captions.append("" if made is None else f"{row}: {label}")
    return picture_grid(pictures, captions, columns=len(mixes) * len(shown))


def triangle(answer: Callable[[Tensor], Tensor], names: Sequence[str], *, points: int) -> Image.Image:
    """One picture under a triangular grid of mixtures of three losses: the first at the top, then left, then right.

    Args:
        answer: mixture (3,) -> picture (3, H, W) in [-1, 1].
        names: of the three.
        points: pictures along each side, at least 2.
    """
    grid = simplex_grid(3, points)
    made = [to_images(answer(mix)[None])[0] for mix in grid]
    width, height = made[0].size
    font = caption_font(15)
    across, down = points * (width + GAP) + GAP, points * (height + GAP) + GAP
    band = 26
    sheet = Image.new("RGB", (across, down + 2 * band), "white")
    for mix, picture in zip((grid * (points - 1)).round().long().tolist(), made, strict=True):
        top, _, right = mix
        row = points - 1 - top
        left = across / 2 + (right - row / 2) * (width + GAP) - width / 2
        sheet.paste(picture, (round(left), band + GAP + row * (height + GAP)))
    draw = ImageDraw.Draw(sheet)
    draw.text((across / 2, band / 2), f"all {names[0]}", fill=INK, font=font, anchor="mm")
    draw.text((GAP, down + 1.5 * band), f"all {names[1]}", fill=INK, font=font, anchor="lm")
    draw.text((across - GAP, down + 1.5 * band), f"all {names[2]}", fill=INK, font=font, anchor="rm")
    return sheet


def mixtures_sheet(answer: Callable[[Tensor], Tensor], names: Sequence[str]) -> Image.Image:
    """One picture under many mixtures: a triangle of three losses, else a row of steps along each edge of the dial."""
    if len(names) == 3:
        return triangle(answer, names, points=TRIANGLE)
    pairs = list(combinations(range(len(names)), 2))
    mixes = [mix for start, end in pairs for mix in edge(start, end, losses=len(names), points=TRIANGLE)]
    pictures = [to_images(answer(mix)[None])[0] for mix in mixes]
    return picture_grid(pictures, [described(mix, names) for mix in mixes], columns=TRIANGLE)


def edges_figure(evaluator: Evaluator, rows: Sequence[str]) -> bytes:
    """What is judged along every edge: a panel for each, a line for each row and corner of the edge."""
    from matplotlib.figure import Figure

    pairs = list(combinations(evaluator.corners.names, 2))
    columns = min(3, len(pairs))
    height = math.ceil(len(pairs) / columns)
    figure = Figure(figsize=(5.2 * columns, 3.8 * height), dpi=110, layout="constrained", facecolor="white")
    panels = np.atleast_1d(figure.subplots(height, columns)).reshape(-1)
    shares = [place / (POINTS - 1) for place in range(POINTS)]
    for axes, (start, end) in zip(panels, pairs, strict=False):
        for row, look in zip(rows, ("-", "--", ":"), strict=False):
            curve = evaluator.curves(row, POINTS)[(start, end)]
            for corner, colour in ((start, PALETTE[0]), (end, PALETTE[1])):
                values = [judged[corner] for judged in curve]
                axes.plot(shares, values, look, color=colour, marker="o", markersize=3.5, label=f"{row}: loss {corner}")
        axes.set_xlabel(f"share of {end}, the rest {start}", color=INK, fontsize=9, parse_math=False)
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["bottom", "left"]].set_color(FAINT)
        axes.tick_params(colors=INK, labelsize=8)
        axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    for axes in panels[len(pairs) :]:
        axes.set_axis_off()
    return rendered(figure, "png")


def asked(evaluator: Evaluator, answer: Answer, pictures: Tensor, mix: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) under one mixture, on the CPU."""
    device = evaluator.run.fabric.device
    with torch.no_grad():
        return answer(pictures.to(device), mix.to(device)).cpu()


def to_images(pictures: Tensor) -> list[Image.Image]:
    """(N, 3, H, W) in [-1, 1] as pictures."""
    return [Image.fromarray(pixels.permute(1, 2, 0).numpy()) for pixels in to_bytes(pictures)]


def _rival(evaluator: Evaluator, row: str, label: str, picture: Tensor, mix: Tensor) -> Tensor | None:
    """What a row answers, or None where it has no answer of its own."""
    if row == SINGLES:
        network = evaluator.networks.get(single(label))
        return None if network is None else asked(evaluator, lambda x, m: network(x, mix=m), picture, mix)
    if row == MIDDLE and label != "middle":
        return None
    return asked(evaluator, evaluator.answers[row], picture, mix)


def _rows(columns: Sequence[Tensor], captions: Sequence[str]) -> Image.Image:
    pictures = [to_images(column) for column in columns]
    count = len(pictures[0])
    flat = [column[row] for row in range(count) for column in pictures]
    return picture_grid(flat, [caption for _ in range(count) for caption in captions], columns=len(columns))
