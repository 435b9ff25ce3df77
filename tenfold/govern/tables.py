"""What the trainings of a run come to: the numbers of the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..core.legs import State
from ..core.replicates import estimate
from ..core.rl_curves import Curves, area_columns, by_row, comparisons, curve_lines, return_columns
from ..core.rl_training import Training, row_of
from .behaviour import Sweep
from .config import Config
from .trainings import sweep_of, trainings_of

WITH_INTERVAL = ("disentanglement", "completeness", "mapped share")
"""scores that are given with the ends of their interval over the replicas"""


def final_metrics(config: Config, states: Mapping[Training, State]) -> dict[str, float]:
    """All metrics of a run, named "row/column"; see the README for both."""
    metrics: dict[str, float] = {}
    curves = Curves.of(trainings_of(config), states)
    for row, own in by_row(trainings_of(config), states).items():
        columns = score_columns(config, own)
        if row in agents_of(config):
            resamples = config.metrics.resamples
            columns = (
                return_columns(curves.finals(row), resamples) | area_columns(curves.areas(row), resamples) | columns
            )
            columns |= governing_columns([sweep_of(state["sweep"]) for state in own if "sweep" in state])
        metrics |= {f"{row}/{name}": value for name, value in columns.items()}
    return metrics | comparisons(curves, pairs(config), config.metrics.resamples)


def score_columns(config: Config, own: Sequence[State]) -> dict[str, float]:
    """Scores of a row's replicas: interquartile means, of the most important with their 95 % intervals."""
    columns: dict[str, float] = {}
    for name in own[0]["scores"]:
        values = [state["scores"][name] for state in own]
        if not np.isfinite(values).all():
            continue  # of a model in which nothing moves there is no share
        found = estimate(values, resamples=config.metrics.resamples)
        columns[name] = found.value
        if name in WITH_INTERVAL:
            columns |= {f"{name} low": found.low, f"{name} high": found.high}
    return columns


def governing_columns(sweeps: Sequence[Sweep]) -> dict[str, float]:
    """What governing does, averaged over replicas; the free agent beside it.

    strongest shift: of the means of all numbers of the observations, under any one latent, in the free agent's standard deviations;
    mean shift: over latents, of the most moved number.
    """
    if not sweeps:
        return {}
    moved = [np.abs(sweep.shifts()) for sweep in sweeps]
    return {
        "strongest shift": float(np.mean([each.max() for each in moved])),
        "mean shift": float(np.mean([each.max(1).mean() for each in moved])),
        "free reward": float(np.mean([sweep.free.reward for sweep in sweeps])),
        "least governed reward": float(np.mean([sweep.rewards().min() for sweep in sweeps])),
        "most governed reward": float(np.mean([sweep.rewards().max() for sweep in sweeps])),
    }


def agents_of(config: Config) -> set[str]:
    """The rows of agents, and not of worlds in which a random policy acts."""
    return {row_of(env, method) for env in config.envs for method in config.methods}


def pairs(config: Config) -> list[tuple[str, str]]:
    """The rows that are compared: the method's, and the plain algorithm's in the same environment."""
    if not {"plain", "ac-beta-vae"} <= set(config.methods):
        return []
    return [(row_of(env, "ac-beta-vae"), row_of(env, "plain")) for env in config.envs]


def logged_lines(
    config: Config, states: Mapping[Training, State | None], first: int
) -> list[tuple[str, dict[str, float]]]:
    """(row, values) of the evaluations that all replicas of the row have had, but the `first` of them; see `curve_lines`."""
    rows = by_row(trainings_of(config), states)
    lines = curve_lines(rows, config.train.evaluations, first, resamples=config.metrics.resamples)
    return [(row, _named(config, row, values)) for row, values in lines]


def _named(config: Config, row: str, values: dict[str, float]) -> dict[str, float]:
    """Where a random policy acts, what was evaluated is the reconstruction of held-out steps."""
    if row in agents_of(config):
        return values
    return {name.replace("return", "reconstruction"): value for name, value in values.items()}
