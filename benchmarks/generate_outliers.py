r"""Two domains (the paper's study): how likely are latents of one, of another, and of mixtures of two?

    python benchmarks/generate_outliers.py RUN [--other digits] [--root DIR] [--count 1000]

RUN is a finished run of pictures. For latents of its held-out pictures, 0.9 / 0.1 mixtures of two of them, 0.9 / 0.1 mixtures of one of
them with one of another set, and the other set itself: the mean log-density (nats), the median typicality, and how well `outlier_score`
tells them from the held-out ones (area under the ROC curve; 0.5 is chance). Beside it the same of a Gaussian, and of the
reconstruction error for whole pictures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from tenfold.core.config import DataConfig
from tenfold.core.data import load_images
from tenfold.generate import GenerativeAutoencoder, load_run
from tenfold.generate.autoencoder import from_bytes
from tenfold.generate.learned import load_pictures


def main() -> None:
    """Print one line for each kind of latents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--other", default="digits")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    given = parser.parse_args()
    config, learned = load_run(given.run)
    held_out = load_pictures(config).held_out
    size = held_out.shape[1]
    others = load_images(DataConfig(name=given.other, root=given.root, size=size), "test")
    name = next(name for name in learned.densities if name.endswith(" lde"))
    autoencoder = learned.autoencoders[name.split()[0]]
    model = GenerativeAutoencoder(autoencoder.encoder, autoencoder.decoder, learned.densities[name])
    gaussian = learned.densities.get(f"{name.split()[0]} gaussian")

    def pictures(images, rows: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        return from_bytes(images.fetch(rows)[0], config.net.range)

    random = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randperm(len(images), generator=random)[: given.count] for images in (held_out, others))
    real, strange = pictures(held_out, ours), pictures(others, theirs)
    latents, elsewhere = model.encode(real), model.encode(strange)
    count = min(len(latents), len(elsewhere))
    kinds = {
        "held out": latents,
        "mixed within": 0.9 * latents + 0.1 * latents.roll(1, 0),
        "mixed across": 0.9 * latents[:count] + 0.1 * elsewhere[:count],
        given.other: elsewhere,
    }
    errors = {
        key: (model.decode(model.encode(x)) - x).square().flatten(1).mean(1)
        for key, x in (("held out", real), (given.other, strange))
    }
    print(f"{given.run.name}: {config.data.name} beside {given.other}, {name}\n")
    print(f"{'':14} {'log-density':>12} {'typicality':>11} {'AUROC':>7} {'Gaussian':>9} {'error':>7}")
    for kind, rows in kinds.items():
        with torch.no_grad():
            scores = model.density.log_prob(rows)
            area = roc(model.density.log_prob(latents), scores)
            simple = float("nan") if gaussian is None else roc(gaussian(latents), gaussian(rows))
        typical = float(model.density.typicality(rows).median())
        error = roc(-errors["held out"], -errors[kind]) if kind in errors else float("nan")
        print(f"{kind:14} {float(scores.mean()):12.2f} {typical:11.3f} {area:7.3f} {simple:9.3f} {error:7.3f}")


def roc(usual: Tensor, rare: Tensor) -> float:
    """How well low scores tell the rare from the usual, in [0, 1]."""
    labels = torch.cat([torch.zeros(len(usual)), torch.ones(len(rare))])
    return float(roc_auc_score(labels.numpy(), -torch.cat([usual, rare]).detach().numpy()))


if __name__ == "__main__":
    main()
