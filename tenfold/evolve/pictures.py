"""What a person sees of a run: learning curves, who is better how surely, and how the populations fared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.figures import rendered, save_png
from ..core.replicates import estimate, probability_of_improvement
from .config import Config
from .tables import Results, pairs, phase_gains

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..core.run import Run

COLOURS = {"genetic": "#0072b2", "plain": "#d55e00", "random": "#009e73", "weights": "#cc79a7"}
NAMES = {
    "genetic": "genetic gates",
    "plain": "the plain algorithm",
    "random": "random gates",
    "weights": "evolved weights, no gradients",
}


def draw_pictures(run: Run, config: Config, results: Results) -> None:
    """Write the run's pictures into samples/."""
    with run.sample("learning curves.png") as path:
        save_png(path, curves_figure(config, results))
    if pairs(config):
        with run.sample("probability of improvement.png") as path:
            save_png(path, improvement_figure(config, results))
    for env in config.envs:
        row = f"{env} genetic"
        if any(results.histories.get(row, [])):
            plain = env.replace("/", " ").replace(":", " ")
            with run.sample(f"population in {plain}.png") as path:
                save_png(path, population_figure(results.histories[row]))
            with run.sample(f"genes in {plain}.png") as path:
                save_png(path, genes_figure(results.policies[row]))


def curves_figure(config: Config, results: Results) -> bytes:
    """Interquartile mean of the replicas' returns with its 95 % interval, one panel for each environment, as a PNG."""
    from matplotlib.figure import Figure

    columns = min(len(config.envs), 2)
    rows = -(-len(config.envs) // columns)
    figure = Figure(figsize=(5.2 * columns, 3.4 * rows), dpi=150, layout="constrained", facecolor="white")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel in panels[len(config.envs) :]:
        panel.set_visible(False)
    for panel, env in zip(panels, config.envs, strict=False):
        for method in config.methods:
            row = f"{env} {method}"
            found = np.array([estimate(each, resamples=config.metrics.resamples) for each in results.returns[row].T])
            panel.plot(results.steps[row], found[:, 0], color=COLOURS[method], label=NAMES[method], linewidth=1.8)
            panel.fill_between(
                results.steps[row], found[:, 1], found[:, 2], color=COLOURS[method], alpha=0.15, linewidth=0
            )
        panel.set_title(env, fontsize=10, loc="left")
        _plain(panel, "environment steps", "return of an episode")
    panels[0].legend(frameon=False, fontsize=8)
    return rendered(figure, "png")


def improvement_figure(config: Config, results: Results) -> bytes:
    """How likely a training with genetic gates is to be better than one of a rival, with 95 % intervals, as a PNG."""
    from matplotlib.figure import Figure

    compared = pairs(config)[::-1]
    figure = Figure(figsize=(7.5, 1.1 + 0.45 * len(compared)), dpi=150, layout="constrained", facecolor="white")
    panel: Axes = figure.subplots()
    for place, (ours, theirs) in enumerate(compared):
        looks = (
            ("final return", results.finals, "#0072b2", 0.12),
            ("area under the curve", results.areas, "#56b4e9", -0.12),
        )
        for name, of, colour, shift in looks:
            found = probability_of_improvement(of(ours), of(theirs), resamples=config.metrics.resamples)
            panel.plot([found.low, found.high], [place + shift] * 2, color=colour, linewidth=2)
            panel.plot(
                [found.value], [place + shift], "o", color=colour, markersize=5, label=name if place == 0 else None
            )
    panel.axvline(0.5, color="#8a93a0", linewidth=1, linestyle=":")
    panel.set_yticks(
        range(len(compared)), [f"{ours} over {theirs.split()[1]}" for ours, theirs in compared], fontsize=9
    )
    panel.set_xlim(-0.02, 1.02)
    panel.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _plain(panel, "probability that a training with genetic gates is better", "")
    return rendered(figure, "png")


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
        _plain(panel, "environment steps", "")
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


def _plain(panel: Axes, x: str, y: str) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    if x == "environment steps":
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    panel.set_xlabel(x, fontsize=9)
    panel.set_ylabel(y, fontsize=9)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
