"""What a person sees of a run: learning curves, who is better how surely, and how the populations fared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.figures import rendered, save_png
from ..core.rl_curves import STEPS, curves_figure, improvement_figure, plain_axes
from ..core.rl_training import row_of
from .config import Config
from .tables import Results, pairs, phase_gains

if TYPE_CHECKING:
    from ..core.run import Run

COLOURS = {"genetic": "#0072b2", "plain": "#d55e00", "random": "#009e73", "weights": "#cc79a7"}
NAMES = {
    "genetic": "genetic gates",
    "plain": "the plain algorithm",
    "random": "random gates",
    "weights": "evolved weights, no gradients",
}
IMPROVED = "probability that a training with genetic gates is better"


def draw_pictures(run: Run, config: Config, results: Results) -> None:
    """Write the run's pictures into samples/."""
    with run.sample("learning curves.png") as path:
        save_png(path, curves_figure(results, config.envs, config.methods, NAMES, COLOURS, config.metrics.resamples))
    compared = pairs(config)
    if compared:
        with run.sample("probability of improvement.png") as path:
            save_png(path, improvement_figure(results, compared, config.metrics.resamples, label=IMPROVED))
    for env in config.envs:
        row = row_of(env, "genetic")
        if any(results.histories.get(row, [])):
            plain = env.replace("/", " ").replace(":", " ")
            with run.sample(f"population in {plain}.png") as path:
                save_png(path, population_figure(results.histories[row]))
            with run.sample(f"genes in {plain}.png") as path:
                save_png(path, genes_figure(results.policies[row]))


def population_figure(histories: list[list[dict[str, float]]]) -> bytes:
    """Fitness, diversity, and what each phase brought, generation by generation, as a PNG; the replicas one over the other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.2), dpi=150, layout="constrained", facecolor="white")
    fitness, genes, gains = figure.subplots(1, 3)
    for number, history in enumerate(history for history in histories if history):
        steps = _column(history, "steps")
        first = number == 0
        fitness.plot(
            steps, _column(history, "mean fitness"), color="#0072b2", linewidth=1.2, label="mean" if first else None
        )
        fitness.fill_between(
            steps,
            _column(history, "worst fitness"),
            _column(history, "best fitness"),
            color="#0072b2",
            alpha=0.12,
            linewidth=0,
            label="worst to best" if first else None,
        )
        genes.plot(
            steps, _column(history, "diversity"), color="#d55e00", linewidth=1.2, label="diversity" if first else None
        )
        share = _column(history, "open genes of elite")
        genes.plot(steps, share, color="#009e73", linewidth=1.2, label="the elite's open genes" if first else None)
        in_elite, in_population = phase_gains(history)
        for gained, colour, name in (
            (in_elite, "#cc79a7", "in elite phases"),
            (in_population, "#0072b2", "in population phases"),
        ):
            gains.plot(steps, np.nancumsum(gained), color=colour, linewidth=1.2, label=name if first else None)
    genes.set_ylim(0, 1)
    for panel, title in (
        (fitness, "fitness of the members"),
        (genes, "share of genes"),
        (gains, "return gained so far"),
    ):
        panel.set_title(title, fontsize=10, loc="left")
        panel.legend(frameon=False, fontsize=8)
        plain_axes(panel, STEPS, "")
    return rendered(figure, "png")


def genes_figure(policies: list[dict[str, Any]]) -> bytes:
    """The chromosomes of the last generation, a band for each replica, the elite on top, as a PNG; dark is open."""
    from matplotlib.figure import Figure

    tables = [policy["gate.chromosomes"].numpy() for policy in policies]
    figure = Figure(
        figsize=(7.5, 0.6 + 0.14 * sum(len(table) + 2 for table in tables)),
        dpi=150,
        layout="constrained",
        facecolor="white",
    )
    panels = figure.subplots(len(tables), 1, squeeze=False).flatten()
    for number, (panel, table) in enumerate(zip(panels, tables, strict=True)):
        panel.imshow(table, aspect="auto", cmap="Blues", vmin=0, vmax=1.4, interpolation="nearest")
        panel.set_yticks([0], ["elite"], fontsize=8)
        panel.set_xticks([])
        panel.set_ylabel(str(number), fontsize=8, rotation=0)
    panels[-1].set_xlabel(
        "genes: units of the actor's last hidden layer; dark is open; one band for each replica", fontsize=8
    )
    return rendered(figure, "png")


def _column(history: list[dict[str, float]], name: str) -> NDArray[np.float64]:
    return np.array([line[name] for line in history])
