"""What a person sees of a run: samples beside real pictures, their distances, and what each further latent adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from ..core.figures import picture_grid, rendered, save_png
from ..core.pictures import as_rgb
from ..core.run import Run
from .autoencoder import to_bytes
from .evaluate import CHECKED, Evaluator
from .generative import GenerativeAutoencoder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 10
SHOWN_PATHS = 3
LIKELIHOOD = "/latent log-likelihood"
COLOURS = {"incremental": "#0072b2", "plain": "#d55e00", "vae": "#009e73", "rae": "#cc79a7", "rows": "#0072b2"}


def draw_pictures(run: Run, evaluator: Evaluator, metrics: Mapping[str, float]) -> None:
    """Write the run's pictures into samples/."""
    if any(name.endswith(LIKELIHOOD) for name in metrics):  # a VAE alone has none
        with run.sample("held-out likelihood of latents.png") as path:
            save_png(path, likelihood_figure(metrics))
    if evaluator.pictures is None:
        return
    with run.sample("samples.png") as path:
        _samples(evaluator).save(path)
    with run.sample("distance from real pictures.png") as path:
        save_png(path, distance_figure(metrics))
    checked = [name for name in CHECKED if name in evaluator.learned.autoencoders]
    if checked and evaluator.config.net.latent > 1:
        with run.sample("error by the number of latents.png") as path:
            save_png(path, error_figure(metrics))
        with run.sample("rebuilt from the first latents.png") as path:
            _rebuilt(evaluator, checked[0]).save(path)
    main = next((name for name in evaluator.learned.densities if name.endswith(" lde")), None)
    if main is not None:
        with run.sample("from one picture to another.png") as path:
            _paths(evaluator, main).save(path)


def to_sheet(images: Tensor, captions: list[str], columns: int) -> Image:
    """Pictures (N, C, S, S) in [0, 1] as a contact sheet."""
    return picture_grid(as_rgb(to_bytes(images, "sigmoid")), captions, columns=columns)


def _samples(evaluator: Evaluator) -> Image:
    real = evaluator.held_out_pictures(COLUMNS)
    rows, captions = [real], ["real"] * len(real)
    for name in evaluator.learned.densities:
        made = evaluator.generate(name, COLUMNS)
        rows.append(made)
        captions += [name] * COLUMNS
    return to_sheet(torch.cat(rows), captions, COLUMNS)


def _rebuilt(evaluator: Evaluator, name: str) -> Image:
    """Each column a held-out picture; each row some more latents."""
    chosen = evaluator.latents[name].held_out[:COLUMNS]
    rows, captions = [], []
    counts = [*(1 << power for power in range(chosen.shape[1].bit_length() - 1)), chosen.shape[1]]
    for count in dict.fromkeys(counts):
        rows.append(evaluator.partial(name, chosen, count))
        captions += [f"first {count}"] * len(chosen)
    real = evaluator.held_out_pictures(COLUMNS)
    return to_sheet(torch.cat([*rows, real]), [*captions, *["real"] * len(real)], COLUMNS)


def _paths(evaluator: Evaluator, name: str) -> Image:
    """Pairs of rows: the straight way between two pictures, and the one that bends to likely latents."""
    model = generative(evaluator, name)
    latents = evaluator.latents[name.split()[0]].held_out
    rows, captions = [], []
    for number in range(SHOWN_PATHS):
        for weight, caption in ((0.0, "straight"), (1.0, "likely")):
            path = model.path(latents[2 * number], latents[2 * number + 1], steps=COLUMNS, weight=weight)
            scores = model.density.log_prob(path).tolist()
            rows.append(evaluator.decoded(evaluator.learned.autoencoders[name.split()[0]], path))
            captions += [f"{caption} {score:.0f}" for score in scores]
    return to_sheet(torch.cat(rows), captions, COLUMNS)


def generative(evaluator: Evaluator, name: str) -> GenerativeAutoencoder:
    """An autoencoder of the run with the method's density, on pictures in the decoder's range."""
    autoencoder = evaluator.learned.autoencoders[name.split()[0]]
    return GenerativeAutoencoder(autoencoder.encoder, autoencoder.decoder, evaluator.learned.densities[name])  # type: ignore[arg-type]


def distance_figure(metrics: Mapping[str, float]) -> bytes:
    """The Frechet distance of every row's pictures, as a PNG."""
    values = {name.removesuffix("/fid"): value for name, value in metrics.items() if name.endswith("/fid")}
    return _bars(values, "Frechet distance from held-out pictures: lower is better", "{:.1f}")


def likelihood_figure(metrics: Mapping[str, float]) -> bytes:
    """The mean log-likelihood of held-out latents under every density, as a PNG; comparable within one autoencoder."""
    values = {name.removesuffix(LIKELIHOOD): value for name, value in metrics.items() if name.endswith(LIKELIHOOD)}
    return _bars(
        values, "log-likelihood of held-out latents, nats a row: higher is better, within one colour", "{:.2f}"
    )


def error_figure(metrics: Mapping[str, float]) -> bytes:
    """The reconstruction error with the first k latents alone, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), dpi=150, layout="constrained", facecolor="white")
    axes = figure.subplots()
    looks = {
        "incremental first": ("incremental, first k latents", "#0072b2", "o", "-"),
        "plain first": ("plain, first k latents", "#d55e00", "s", "-"),
        "plain principal": ("plain, first k principal axes", "#d55e00", "^", ":"),
    }
    for start, (label, colour, marker, line) in looks.items():
        points = {
            int(name.split("/")[0].removeprefix(f"{start} ")): value
            for name, value in metrics.items()
            if name.startswith(f"{start} ") and name.endswith("/reconstruction error")
        }
        if points:
            axes.plot(
                list(points),
                list(points.values()),
                color=colour,
                marker=marker,
                linestyle=line,
                label=label,
                markersize=5,
            )
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_xlabel("k, latents in use; the others at their mean")
    axes.set_ylabel("squared error a pixel")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return rendered(figure, "png")


def _bars(values: Mapping[str, float], title: str, form: str) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 0.9 + 0.32 * len(values)), dpi=150, layout="constrained", facecolor="white")
    axes: Axes = figure.subplots()
    names = list(values)[::-1]
    finite = [value for value in values.values() if np.isfinite(value)]
    low, high = min([0, *finite]), max([0, *finite])
    room = 0.12 * (high - low or 1)
    for place, name in enumerate(names):
        value, first = values[name], name.split()[0]
        strong = name.endswith(" lde")
        axes.barh(place, value, color=COLOURS.get(first, "#8a93a0"), alpha=1.0 if strong else 0.45, height=0.7)
        side = "left" if value >= 0 else "right"
        axes.text(value, place, f" {form.format(value)} ", va="center", ha=side, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set_xlim(low - (room if low < 0 else 0), high + (room if high > 0 else 0))
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    return rendered(figure, "png")
