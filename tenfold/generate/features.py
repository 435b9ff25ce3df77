"""Networks whose features say how like real pictures generated ones are: a classifier of the run's own, or Inception-V3."""

from __future__ import annotations

from pathlib import Path

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
        self._read: Tensor | None = None
        last = [part for part in classifier.modules() if isinstance(part, nn.Linear)][-1]
        last.register_forward_pre_hook(self._keep)

    def forward(self, images: Tensor) -> Tensor:
        self.classifier(self._task.normalized(images * 255))
        assert self._read is not None
        return self._read

    def _keep(self, _layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._read = inputs[0]


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
            self.network = torch.jit.load(str(path), map_location="cpu").eval()
        except (RuntimeError, ValueError) as error:
            raise UsageError(f"{path} is not a TorchScript file: {str(error).splitlines()[0]}") from error
        with torch.no_grad():
            found = self.network(torch.zeros(1, 3, INCEPTION_SIDE, INCEPTION_SIDE))
        if not isinstance(found, Tensor) or found.ndim != 2:
            raise UsageError(f"{path} is a network of another kind: it must give features (N, F)")

    def forward(self, images: Tensor) -> Tensor:
        size = (INCEPTION_SIDE, INCEPTION_SIDE)
        resized = F.interpolate(images.expand(-1, 3, -1, -1), size, mode="bilinear", antialias=True)
        return self.network(resized * 2 - 1)


def feature_network(settings: MetricSettings, classifier: nn.Module | None, task: Task) -> nn.Module:
    """What the settings ask for, in `eval` mode."""
    if settings.features == "inception":
        assert settings.inception is not None
        return InceptionFeatures(settings.inception).eval()
    assert classifier is not None
    return ClassifierFeatures(classifier, task).eval()
