"""Which index module tells tasks apart best: all of them on one stack's tasks, with what each costs.

    python benchmarks/remember_index.py --tasks mnist fashion-mnist cifar10 --root DIR --limit 5000
    python benchmarks/remember_index.py --tasks digits garments:0-4 garments:5-9 --seeds 0 1 2

Accuracy is of inferring the task, on validation pictures (a tenth of each training set), on average over the tasks.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch

from tenfold.core.metrics import mean_and_spread
from tenfold.remember.autoencoder import AutoencoderIndex
from tenfold.remember.config import PRESETS, Config, SequenceSettings
from tenfold.remember.density import DensityIndex
from tenfold.remember.evaluate import Evaluator
from tenfold.remember.generator import GeneratorIndex
from tenfold.remember.index import EntropyIndex, IndexModule
from tenfold.remember.learner import StackLearner
from tenfold.remember.sequence import load_sequence, task_of
from tenfold.remember.stages import TaskBatches, begin, build_learner


def kinds(seed: int, epochs: int, width: int) -> dict[str, IndexModule]:
    """The index modules that are compared."""
    return {
        "entropy of the heads": EntropyIndex(),
        "autoencoders (Expert Gate)": AutoencoderIndex(epochs=epochs, seed=seed),
        "generators (the paper)": GeneratorIndex(epochs=epochs, width=width, seed=seed),
        "density, a third of the layers": DensityIndex(),
        "density, all layers": DensityIndex(layers=1.0),
    }


def measure(config: Config, epochs: int, width: int) -> dict[str, tuple[float, float, int]]:
    """For each index module: accuracy, seconds to learn all tasks, numbers kept."""
    from tenfold.core.device import make_fabric

    fabric = make_fabric(config.compute)
    images = load_sequence(config.sequence, "train")
    held_out = load_sequence(config.sequence, "validation")
    tasks = [task_of(each) for each in images]
    learner = build_learner("stack", config, tasks)
    assert isinstance(learner, StackLearner)
    learner.to(fabric.device)
    net, evaluator = learner.net, Evaluator(config, tasks, held_out, fabric)
    for place, name in enumerate(learner.names):
        begin(learner, config, tasks)
        batches = TaskBatches(images[place], tasks[place], config, fabric.device)
        torch.manual_seed(config.seed)
        parameters = list(net.task_parameters(name))
        optimizer = torch.optim.SGD(parameters, 0.05, 0.9, nesterov=True, weight_decay=5e-4)
        net.train()
        for _ in range(config.train.epochs):
            for inputs, labels in batches:
                loss = learner(inputs, labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        net.finish_task(name)
        print(f"  learned {name}", flush=True)
    net.eval()
    found = {}
    for kind, index in kinds(config.seed, epochs, width).items():
        start = time.perf_counter()
        net.index = index.to(fabric.device)
        for place, name in enumerate(learner.names):
            net.learn_inputs(name, TaskBatches(images[place], tasks[place], config, fabric.device))
        seconds = time.perf_counter() - start
        confusion = evaluator.infer(net)
        found[kind] = (float(confusion.diagonal().mean()), seconds, index.size())
        shown = ", ".join(f"{value:.3f}" for value in confusion.diagonal().tolist())
        print(f"  {kind}: {found[kind][0]:.4f} ({shown}), {seconds:.0f} s", flush=True)
    return found


def main() -> None:
    """Print a table over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(PRESETS["laptop"].sequence.tasks))
    parser.add_argument("--root", type=Path)
    parser.add_argument("--limit", type=int, help="training pictures of each task, at most")
    parser.add_argument("--epochs", type=int, default=20, help="of the generators and the autoencoders")
    parser.add_argument(
        "--width", type=int, default=16, help="channels of the generators' and classifiers' first layers"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    given = parser.parse_args()
    sequence = SequenceSettings(tasks=tuple(given.tasks), root=given.root, limit=given.limit, holdout=0.1)
    base = PRESETS["laptop"]
    base = replace(base, sequence=sequence, train=replace(base.train, epochs=2))
    runs = []
    for seed in given.seeds:
        print(f"seed {seed}", flush=True)
        runs.append(measure(replace(base, seed=seed), given.epochs, given.width))
    print(f"\n{'index module':32} {'task inferred':>16} {'seconds':>8} {'numbers kept':>13}")
    for kind in runs[0]:
        mean, spread = mean_and_spread([100 * run[kind][0] for run in runs])
        seconds = statistics.median(run[kind][1] for run in runs)
        print(f"{kind:32} {mean:8.2f} ± {spread:5.2f} {seconds:8.0f} {runs[0][kind][2]:13,}")


if __name__ == "__main__":
    main()
