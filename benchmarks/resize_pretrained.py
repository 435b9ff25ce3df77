"""Make a pretrained CIFAR-10 ResNet-56 resizable by a short fine-tuning, and print its accuracy against cost.

    python benchmarks/resize_pretrained.py --weights cifar10_resnet56.safetensors --data DIR [--epochs 2] [--learning-rate 0.02]
        [--gate-learning-rate 5] [--seed 0]

`--weights` is a network with option-A shortcuts that reads pictures normalised with ImageNet's mean and spread; its
classifier may be named `linear` or `fc`. `--data` holds CIFAR-10 in its binary layout.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file, save_file

from tenfold import commands
from tenfold.core.config import ComputeConfig, DataConfig
from tenfold.core.report import comparison, print_comparison
from tenfold.resize.config import PRESETS, NetSettings, TrainSettings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=0.02, help="of the network")
    parser.add_argument("--gate-learning-rate", type=float, default=5.0, help="relative to the network's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        save_file(
            {name.replace("linear.", "fc."): value for name, value in load_file(options.weights).items()}, weights
        )
        config = replace(
            PRESETS["laptop"],
            data=DataConfig(name="cifar10", root=options.data, normalize="imagenet"),
            net=NetSettings(name="resnetA-56", width=16, half_stem=False, weights=weights),
            train=TrainSettings(
                epochs=options.epochs,
                learning_rate=options.learning_rate,
                gate_learning_rate=options.gate_learning_rate,
                weight_decay=1e-4,
                scale_min=0.35,
                scale_weight=10.0,
                distill_weight=1.0,
                pad=4,
            ),
            compute=ComputeConfig(channels_last=True),
            baselines=(),
            seed=options.seed,
        )
        run = commands.train("resize", config, preset="pretrained", root=options.runs)
    print_comparison(comparison([run]))


if __name__ == "__main__":
    main()
