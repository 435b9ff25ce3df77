"""What a converted network keeps before fine-tuning, and how fast fine-tuning brings back the rest.

    python benchmarks/segment_convert.py [--seeds 0 1 2] [--network drn-d-22] [--width 4] [--epochs 8] [--fine-tune 1 3]

On the composed scenes: train a dense dilated network, exchange all its dilated convolutions, with random weights and with
weights fitted to activations, and fine-tune both, by labels alone and with the dense network as teacher (`distill`, positions
found, alpha balanced). Test mean intersection over union in percent; a network is trained anew for each length of the
fine-tuning, as its learning rate falls over that length. Nothing is tuned on the test scenes.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tenfold.core.augment import augment_masked
from tenfold.core.batches import TrainBatches
from tenfold.core.config import MaskedDataConfig
from tenfold.core.confusion import Confusion
from tenfold.core.masks import MaskedImages, load_masked
from tenfold.core.metrics import mean_and_spread
from tenfold.core.schedule import learning_rate
from tenfold.core.task import Task
from tenfold.distill import FeatureDistiller
from tenfold.segment import class_weights, convert_dilated
from tenfold.segment.convert import Initialise
from tenfold.segment.dense import DilatedSegmenter

BATCH = 16
EXAMPLES = 16
"""training scenes that weights are fitted on"""

Loss = Callable[[Tensor, Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--network", default="drn-d-22", help="a backbone of tenfold.nets.drn")
    parser.add_argument("--width", type=int, default=4, help="16 is the published network")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--fine-tune", type=int, nargs="+", default=[1, 3], help="epochs of the fine-tunings")
    parser.add_argument("--limit", type=int, default=None, help="use fewer scenes")
    options = parser.parse_args()
    data = MaskedDataConfig(limit=options.limit)
    images, held_out = load_masked(data, "train"), load_masked(data, "test")
    found: dict[str, list[float]] = {}
    for seed in options.seeds:
        for name, value in one_seed(seed, images, held_out, options).items():
            found.setdefault(name, []).append(100 * value)
            print(f"seed {seed}: {name}: {100 * value:.1f}", flush=True)
    print(f"\n| {options.network}, width {options.width} | test mIoU, {len(options.seeds)} seeds |\n|---|---|")
    for name, values in found.items():
        mean, spread = mean_and_spread(values)
        print(f"| {name} | {mean:.1f} ± {spread:.1f} |")


def one_seed(seed: int, images: MaskedImages, held_out: MaskedImages, options: argparse.Namespace) -> dict[str, float]:
    torch.manual_seed(seed)
    task = Task.of(MaskedDataConfig(), images)
    dense = DilatedSegmenter(options.network, len(images.classes), width=options.width)
    weights = class_weights(images.class_shares()).float()

    def task_loss(logits: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits, labels, weights, ignore_index=255)

    def by_labels(net: nn.Module) -> Loss:
        return lambda pictures, labels: task_loss(net(pictures), labels)

    train(dense, by_labels(dense), list(dense.parameters()), images, task, epochs=options.epochs, seed=seed)
    results = {"dense": score(dense, held_out, task)}
    example = task.normalized(images.fetch(torch.arange(EXAMPLES))[0])
    kinds: tuple[Initialise, ...] = ("random", "activations")
    for kind in kinds:
        converted = copy.deepcopy(dense)
        table = convert_dilated(converted, example, keep="all", initialise=kind)
        if seed == options.seeds[0] and kind == "activations":
            print(table)
            print("parameters", *(sum(p.numel() for p in net.parameters()) for net in (dense, converted)))
        results[f"{kind}, not fine-tuned"] = score(converted, held_out, task)
        for epochs in options.fine_tune:
            net = copy.deepcopy(converted)
            train(net, by_labels(net), list(net.parameters()), images, task, epochs=epochs, seed=seed, peak=2e-3)
            results[f"{kind}, {epochs} epochs by labels"] = score(net, held_out, task)
            net = copy.deepcopy(converted)
            distiller = FeatureDistiller(dense, net, example=example[:2], alpha="auto", task_loss=task_loss)
            distiller.train()
            taught = train(
                net,
                lambda pictures, labels, distiller=distiller: distiller(pictures, labels).total,
                list(distiller.parameters()),
                images,
                task,
                epochs=epochs,
                seed=seed,
                peak=2e-3,
            )
            results[f"{kind}, {epochs} epochs with the dense network as teacher"] = score(taught, held_out, task)
    return results


def train(
    net: nn.Module,
    loss_of: Loss,
    parameters: list[nn.Parameter],
    images: MaskedImages,
    task: Task,
    *,
    epochs: int,
    seed: int,
    peak: float = 5e-3,
) -> nn.Module:
    net.train()
    optimizer = torch.optim.Adam(parameters, peak)
    batches = TrainBatches(images, BATCH, seed=seed)
    steps = epochs * batches.steps_per_epoch
    step = 0
    for epoch in range(epochs):
        for batch in batches.epoch(epoch):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(peak, "cosine", step / steps)
            pictures, labels = augment_masked(batch, size=(images.shape[1], images.shape[2]), crop=0.05, flip=True)
            loss = loss_of(task.normalized(pictures, channels_last=True), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            step += 1
    return net.eval()


@torch.no_grad()
def score(net: nn.Module, images: MaskedImages, task: Task) -> float:
    net.eval()
    confusion = Confusion(len(images.classes))
    for rows in torch.arange(len(images)).split(BATCH):
        pictures, labels = images.fetch(rows)
        confusion.update(net(task.normalized(pictures)), labels)
    return confusion.mean_iou


if __name__ == "__main__":
    main()
