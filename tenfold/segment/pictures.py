"""What a person sees of a run: held-out pictures under what each network takes their pixels for, and each class's score."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from PIL import Image
from torch import nn

from ..core.figures import picture_grid
from ..core.mask_files import IGNORE, Bytes
from ..core.run import Run
from .evaluate import Evaluator
from .overlay import legend, overlaid

SHOWN = 4
OPACITY = 0.7
WIDEST = 480  # pixels of a picture on the sheet


@torch.no_grad()
def draw_pictures(run: Run, evaluator: Evaluator, networks: Mapping[str, nn.Module]) -> None:
    """Write the run's pictures into samples/: some held-out pictures, their labels, and every network's answer."""
    images, colours = evaluator.images, evaluator.images.colours
    shown, captions = [], []
    for index in torch.linspace(0, len(images) - 1, min(SHOWN, len(images))).long().tolist():
        stored, labels = images.picture(index)
        size = (labels.shape[1], labels.shape[0])
        picture = Image.fromarray(stored.permute(1, 2, 0).numpy()).resize(size)
        shown += [picture, overlaid(picture, labels.numpy(), colours, opacity=OPACITY)]
        captions += ["picture", "labels"]
        for name, network in networks.items():
            logits = evaluator.logits(network.eval(), stored[None], (labels.shape[0], labels.shape[1]))
            found = logits.argmax(1)[0].to(torch.uint8).cpu().numpy()
            shown.append(overlaid(picture, found, colours, opacity=OPACITY))
            captions.append(f"{name}: {_agreement(found, labels.numpy()):.0%} of pixels right")
    for picture in shown:
        picture.thumbnail((WIDEST, WIDEST))
    with run.sample("held-out pictures.png") as path:
        picture_grid(shown, captions, columns=2 + len(networks)).save(path)
    with run.sample("classes.png") as path:
        legend(images.classes, colours).save(path)


def _agreement(found: Bytes, labels: Bytes) -> float:
    labelled = labels != IGNORE
    return float((found == labels)[labelled].mean()) if labelled.any() else 1.0
