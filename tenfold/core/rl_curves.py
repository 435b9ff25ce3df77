"""What the trainings of a run come to: learning curves by row, the numbers of the tables, and their pictures.

A row is a method in an environment, "ENV METHOD"; R replicas of it are evaluated K times each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .figures import FAINT, rendered
from .replicates import difference, estimate, probability_of_improvement
from .rl_training import row_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .legs import State
from .rl_training import Training

COLUMNS = {"final": ("final return", "final low", "final high"), "area": ("area", "area low", "area high")}
"""of an estimate: its value and the ends of its interval"""
STEPS = "environment steps"
"""name of the axis that is marked with thousands and millions"""


@dataclass(frozen=True)
class Curves:
    """Of every row what its replicas have reached. R replicas, K evaluations."""

    steps: dict[str, NDArray[np.float64]]
    """environment steps at each evaluation, (K,)"""
    returns: dict[str, NDArray[np.float64]]
    """mean return of each evaluation, (R, K)"""

    @classmethod
    def of(cls, trainings: Sequence[Training], states: Mapping[Training, State]) -> Curves:
        """From the states of all trainings, whose "curve" has steps and mean return of each evaluation."""
        steps, returns = {}, {}
        for row, own in by_row(trainings, states).items():
            curves = np.array([state["curve"] for state in own])
            steps[row], returns[row] = curves[0, :, 0], curves[:, :, 1]
        return cls(steps, returns)

    def finals(self, row: str) -> NDArray[np.float64]:
        """Each replica's return at the last evaluation, (R,)."""
        finals: NDArray[np.float64] = self.returns[row][:, -1]
        return finals

    def areas(self, row: str) -> NDArray[np.float64]:
        """Mean height of each replica's learning curve, (R,): the area under it divided by its length."""
        areas: NDArray[np.float64] = self.returns[row].mean(1)
        return areas


def by_row(trainings: Sequence[Training], states: Mapping[Training, State | None]) -> dict[str, list[State]]:
    """The states of the replicas of each row; none where one has not begun."""
    rows: dict[str, list[Any]] = {}
    for training in trainings:
        rows.setdefault(training.row, []).append(states[training])
    return {row: [] if None in own else own for row, own in rows.items()}


def return_columns(finals: NDArray[np.float64], resamples: int) -> dict[str, float]:
    """Interquartile mean and 95 % interval of the final returns (R,)."""
    return dict(zip(COLUMNS["final"], estimate(finals, resamples=resamples), strict=True))


def area_columns(areas: NDArray[np.float64], resamples: int) -> dict[str, float]:
    """The same of the areas under the learning curves (R,)."""
    return dict(zip(COLUMNS["area"], estimate(areas, resamples=resamples), strict=True))


def comparisons(curves: Curves, pairs: Sequence[tuple[str, str]], resamples: int) -> dict[str, float]:
    """Rows "ENV METHOD - RIVAL": differences of the interquartile means with 95 % intervals, and how likely one training of the
    method is to end better, and to have the larger area, than one of the rival.

    Args:
        curves: of the run.
        pairs: the rows that are compared: the method's, and a rival's in the same environment.
        resamples: bootstrap samples of an interval.
    """
    metrics: dict[str, float] = {}
    for ours, theirs in pairs:
        row = f"{ours} - {theirs.split()[1]}"
        for column, of in (("final", curves.finals), ("area", curves.areas)):
            found = difference(of(ours), of(theirs), resamples=resamples)
            metrics |= {f"{row}/{name}": value for name, value in zip(COLUMNS[column], found, strict=True)}
            metrics[f"{row}/{column} better"] = probability_of_improvement(of(ours), of(theirs)).value
    return metrics


def curve_lines(
    rows: Mapping[str, Sequence[State]],
    evaluations: int,
    first: int,
    *,
    resamples: int,
    extra: Callable[[Sequence[State], int], dict[str, float]] | None = None,
) -> list[tuple[str, dict[str, float]]]:
    """(row, values) of the evaluations that all replicas of the row have had: row by row, up to the first that is not there yet.

    Args:
        rows: the states of the replicas of each; see `by_row`.
        evaluations: of a training that is done.
        first: so many lines are passed over: their intervals, which take time, were computed before.
        resamples: bootstrap samples of an interval.
        extra: further columns of a row, of its states and the evaluation's number.

    Returns:
        values: steps, return, return low, return high, and what `extra` says.
    """
    reached = []
    for row, own in rows.items():
        count = min((len(state["curve"]) for state in own), default=0)
        reached += [(row, own, number) for number in range(count)]
        if count < evaluations:
            break
    lines = []
    for row, own, number in reached[first:]:
        values = _at_evaluation(own, number, resamples)
        lines.append((row, values | extra(own, number) if extra else values))
    return lines


def _at_evaluation(own: Sequence[State], number: int, resamples: int) -> dict[str, float]:
    """Of the replicas' evaluation with this number: steps, and return with its interval."""
    at = [state["curve"][number] for state in own]
    found = estimate([value for _, value in at], resamples=resamples)
    return {"steps": float(at[0][0]), "return": found.value, "return low": found.low, "return high": found.high}


def curves_figure(
    curves: Curves,
    envs: Sequence[str],
    methods: Sequence[str],
    names: Mapping[str, str],
    colours: Mapping[str, str],
    resamples: int,
) -> bytes:
    """Interquartile mean of the replicas' returns with its 95 % interval, one panel for each environment, as a PNG.

    Args:
        curves: of the run.
        envs: of the run, at least one.
        methods: of the run.
        names: of each method, for the legend.
        colours: of each method.
        resamples: bootstrap samples of an interval.
    """
    from matplotlib.figure import Figure

    columns = min(len(envs), 2)
    rows = -(-len(envs) // columns)
    figure = Figure(figsize=(5.2 * columns, 3.4 * rows), dpi=150, layout="constrained", facecolor="white")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel in panels[len(envs) :]:
        panel.set_visible(False)
    for panel, env in zip(panels, envs, strict=False):
        for method in methods:
            row, colour = row_of(env, method), colours[method]
            found = np.array([estimate(each, resamples=resamples) for each in curves.returns[row].T])
            panel.plot(curves.steps[row], found[:, 0], color=colour, label=names[method], linewidth=1.8)
            panel.fill_between(curves.steps[row], found[:, 1], found[:, 2], color=colour, alpha=0.15, linewidth=0)
        panel.set_title(env, fontsize=10, loc="left")
        plain_axes(panel, STEPS, "return of an episode")
    panels[0].legend(frameon=False, fontsize=8)
    return rendered(figure, "png")


def improvement_figure(curves: Curves, pairs: Sequence[tuple[str, str]], resamples: int, *, label: str) -> bytes:
    """How likely a training of the method is to be better than one of a rival, with 95 % intervals, as a PNG.

    Args:
        curves: of the run.
        pairs: the rows that are compared: see `comparisons`.
        resamples: bootstrap samples of an interval.
        label: of the axis: what is probable.
    """
    from matplotlib.figure import Figure

    compared = pairs[::-1]
    figure = Figure(figsize=(7.5, 1.1 + 0.45 * len(compared)), dpi=150, layout="constrained", facecolor="white")
    panel: Axes = figure.subplots()
    for place, (ours, theirs) in enumerate(compared):
        looks = (
            ("final return", curves.finals, "#0072b2", 0.12),
            ("area under the curve", curves.areas, "#56b4e9", -0.12),
        )
        for name, of, colour, shift in looks:
            found = probability_of_improvement(of(ours), of(theirs), resamples=resamples)
            panel.plot([found.low, found.high], [place + shift] * 2, color=colour, linewidth=2)
            panel.plot(
                [found.value], [place + shift], "o", color=colour, markersize=5, label=name if place == 0 else None
            )
    panel.axvline(0.5, color=FAINT, linewidth=1, linestyle=":")
    panel.set_yticks(
        range(len(compared)), [f"{ours} over {theirs.split()[1]}" for ours, theirs in compared], fontsize=9
    )
    panel.set_xlim(-0.02, 1.02)
    panel.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    plain_axes(panel, label, "")
    return rendered(figure, "png")


def plain_axes(panel: Axes, x: str, y: str) -> None:
    """Name the axes, in the quiet style of all panels; `STEPS` are marked with thousands and millions."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    if x == STEPS:
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    panel.set_xlabel(x, fontsize=9)
    panel.set_ylabel(y, fontsize=9)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
