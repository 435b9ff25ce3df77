"""Measure the choices that the paper leaves open, one changed at a time, on validation images.

    python benchmarks/resize_choices.py [--seeds 0 1] [--only base gate.form=concat] [--runs runs/choices]

Every variant trains the resizable network alone; 10 % of the training images are held out and the test split is not touched. What they
differ from is the `laptop` preset with batch norm in its gates, as it was before it was found here that it does better without.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from tenfold import commands
from tenfold.core.metrics import mean_and_spread
from tenfold.core.run import Run
from tenfold.resize.config import PRESETS, Config

VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "base": {},
    "gate.form=concat": {"gate": {"form": "concat"}},
    "gate.form=static": {"gate": {"form": "static"}},
    "gate.norm=none": {"gate": {"norm": "none"}},
    "gate.norm=layer": {"gate": {"norm": "layer"}},
    "gate.estimator=straight-through": {"gate": {"estimator": "straight-through"}},
    "gate.soft_probability=0.25": {"gate": {"soft_probability": 0.25}},
    "gate.soft_probability=1": {"gate": {"soft_probability": 1.0}},
    "train.soft_schedule=linear": {"train": {"soft_schedule": "linear"}},
    "gate.cost=blocks": {"gate": {"cost": "blocks"}},
    "train.scale_weight=2": {"train": {"scale_weight": 2.0}},
    "train.scale_weight=50": {"train": {"scale_weight": 50.0}},
    "train.distill_weight=0": {"train": {"distill_weight": 0.0}},
    "train.open_share=0": {"train": {"open_share": 0.0}},
    "calibration=0": {"calibration": 0},  # type: ignore[dict-item]
}
COLUMNS = ("resizable 0.50", "resizable 0.65", "resizable 0.80", "resizable 1.00")


def variant(changes: dict[str, Any], seed: int) -> Config:
    config = replace(PRESETS["laptop"], baselines=(), seed=seed)
    config = replace(config, data=replace(config.data, holdout=0.1), gate=replace(config.gate, norm="batch"))
    for name, values in changes.items():
        config = replace(
            config, **{name: replace(getattr(config, name), **values) if isinstance(values, dict) else values}
        )
    return config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--runs", type=Path, default=Path("runs/choices"))
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in options.only}
    for seed in options.seeds:
        for name in options.only:
            folder = commands.train("resize", variant(VARIANTS[name], seed), preset="choice", root=options.runs)
            found[name].append(Run.open(folder).status["metrics"])
            print(row(name, found[name]), flush=True)
    print("\nall seeds")
    for name in options.only:
        print(row(name, found[name]), flush=True)


def row(name: str, runs: list[dict[str, float]]) -> str:
    """One line: accuracy in percent at each scale as mean +- spread, and the largest gap of cost."""
    cells = []
    for column in COLUMNS:
        mean, spread = mean_and_spread([100 * metrics[f"{column}/accuracy"] for metrics in runs])
        cells.append(f"{mean:5.1f} +- {spread:3.1f}")
    gap, _ = mean_and_spread([metrics["resizable/largest cost gap"] for metrics in runs])
    return f"| {name:32} | " + " | ".join(cells) + f" | {gap:.3f} | {len(runs)} seeds |"


if __name__ == "__main__":
    main()
