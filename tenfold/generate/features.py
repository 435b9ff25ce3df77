"""Networks whose features say how like real pictures generated ones are: a classifier of the run's own, or Inception-V3."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError
from ..core.task import Task
from ..nets import build_net
from .config import MetricSettings

INCEPTION_SIDE = 299
WIDTH = 16
HALVED = 24
"""pixels from which on the classifier's stem halves the pictures"""


def build_classifier(name: str, task: Task) -> nn.Module:
    """An untrained classifier of the run's pictures: normalised (N, C, H, W) -> logits."""
    return build_net(
        name, classes=len(task.classes), channels=task.shape[0], width=WIDTH, half_stem=task.shape[1] >= HALVED
    )


class ClassifierFeatures(nn.Module):
    """What a trained classifier's last linear layer reads: pictures (N, C, H, W) in [0, 1] -> features (N, F)."""

    def __init__(self, classifier: nn.Module, task: Task) -> None:
        super().__init__()
        self.classifier = classifier
        self._task = task

    def forward(self, images: Tensor) -> Tensor:
        read: list[Tensor] = []
        last = [part for part in self.classifier.modules() if isinstance(part, nn.Linear)][-1]
        hook = last.register_forward_pre_hook(lambda _layer, inputs: read.append(inputs[0]))
        try:
            self.classifier(self._task.normalized(images * 255))
        finally:
            hook.remove()
        return read[0]


class InceptionFeatures(nn.Module):
    """Inception-V3's FID features from a TorchScript file: pictures (N, C, H, W) in [0, 1] -> features (N, 2048).

    Grey pictures become RGB; all are resized to 299 x 299, bilinear and antialiased.

    Raises:
        UsageError: the file is missing, or holds another thing.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        if not path.is_file():
            raise UsageError(f"{path} does not exist, but must be a TorchScript file of Inception-V3's features")
        try:
            # TorchScript is a language of its own, without access to Python: this is not unpickling
            self.network = _load_script(path).eval()
        except (RuntimeError, ValueError) as error:
            raise UsageError(f"{path} is not a TorchScript file: {_first_line(error)}") from error
        try:
            with torch.no_grad():
                found = self.network(torch.zeros(1, 3, INCEPTION_SIDE, INCEPTION_SIDE))
        except RuntimeError as error:
            raise UsageError(f"{path} does not take pictures (N, 3, 299, 299): {_first_line(error)}") from error
        if not isinstance(found, Tensor) or found.ndim != 2:
            raise UsageError(f"{path} is a network of another kind: it must give features (N, F)")

    def forward(self, images: Tensor) -> Tensor:
        size = (INCEPTION_SIDE, INCEPTION_SIDE)
        resized = F.interpolate(images.expand(-1, 3, -1, -1), size, mode="bilinear", antialias=True)
        return self.network(resized * 2 - 1)


def _load_script(path: Path) -> Any:
    with warnings.catch_warnings():
        # still the only form in which the network is to be had
        warnings.filterwarnings("ignore", ".*torch.jit.load.* is deprecated", DeprecationWarning)
        return torch.jit.load(str(path), map_location="cpu")


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def feature_network(settings: MetricSettings, classifier: nn.Module | None, task: Task) -> nn.Module:
    """What the settings ask for, in `eval` mode."""
    if settings.features == "inception":
        assert settings.inception is not None
        return InceptionFeatures(settings.inception).eval()
    assert classifier is not None
    return ClassifierFeatures(classifier, task).eval()
