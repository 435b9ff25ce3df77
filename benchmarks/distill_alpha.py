"""What the weight of the feature loss, and other choices of `distill`, do: one changed at a time, on validation images.

    python benchmarks/distill_alpha.py [--seeds 0 1] [--only alone alpha=auto] [--runs runs/alpha]

The `laptop` preset with 30 % of the training images held out; the test split is not touched. For each seed one teacher is
trained and teaches all variants.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from tenfold import commands
from tenfold.core.metrics import mean_and_spread
from tenfold.core.run import Run
from tenfold.distill.config import PRESETS, Config

VARIANTS: dict[str, dict[str, Any]] = {
    "alone": {},
    "logits": {},
    "alpha=auto": {"auto_alpha": True},
    "alpha=1e-4": {"auto_alpha": False, "alpha": 1e-4},
    "alpha=1e-3": {"auto_alpha": False, "alpha": 1e-3},
    "alpha=1e-2": {"auto_alpha": False, "alpha": 1e-2},
    "alpha=1e-1": {"auto_alpha": False, "alpha": 1e-1},
    "alpha=1": {"auto_alpha": False, "alpha": 1.0},
    "margin=data": {"margin": "data"},
    "margin_form=exact": {"margin_form": "exact"},
    "teacher_norm=running": {"teacher_norm": "running"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--images", type=int, default=1000, help="training images of the students; 0 is all")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--runs", type=Path, default=Path("runs/alpha"))
    options = parser.parse_args()
    base = replace(PRESETS["laptop"], data=replace(PRESETS["laptop"].data, holdout=0.3))
    base = replace(base, student=replace(base.student, images=options.images or None))
    found: dict[str, list[float]] = {name: [] for name in ("teacher", *options.only)}
    ratios: dict[str, list[float]] = {name: [] for name in options.only}
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / "teacher.safetensors"
            # the teacher as it would be in any of the runs, with a student that is not used
            config = replace(base, seed=seed, methods=("logits",), train=replace(base.train, epochs=1))
            run = trained(config, options.runs)
            state = run.load(name="best")
            assert state is not None
            save_file(state["networks"]["teacher"], weights)
            found["teacher"].append(run.status["metrics"]["teacher/accuracy"])
            for name in options.only:
                config = variant(replace(base, seed=seed), name, weights, options.epochs)
                run = trained(config, options.runs)
                found[name].append(run.status["metrics"][f"{config.methods[0]}/accuracy"])
                ratios[name].append(run.metrics()[-1].get("gradient ratio", float("nan")))
                print(row(name, found[name], ratios[name]), flush=True)
    print("\nall seeds")
    for name in found:
        print(row(name, found[name], ratios.get(name, [])), flush=True)


def variant(config: Config, name: str, weights: Path, epochs: int) -> Config:
    method: Any = name if name in ("alone", "logits") else "features"
    return replace(
        config,
        methods=(method,),
        features=replace(config.features, **VARIANTS[name]),
        teacher=replace(config.teacher, weights=weights),
        train=replace(config.train, epochs=epochs),
    )


def trained(config: Config, runs: Path) -> Run:
    return Run.open(commands.train("distill", config, preset="choice", root=runs))


def row(name: str, accuracies: list[float], ratios: list[float]) -> str:
    mean, spread = mean_and_spread([100 * value for value in accuracies])
    ratio = f"{ratios[-1]:.2g}" if ratios else ""
    return f"| {name:22} | {mean:5.1f} +- {spread:3.1f} | last gradient ratio {ratio} | {len(accuracies)} seeds |"


if __name__ == "__main__":
    main()
