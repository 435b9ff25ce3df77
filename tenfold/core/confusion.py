"""How well every pixel is classified: a confusion matrix, and the scores that follow from it. K classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .errors import UsageError
from .masks import IGNORE


class Confusion:
    """Which class was predicted for which, gathered over batches of any sizes; scores are exact over all their pixels.

    Example::

        confusion = Confusion(len(images.classes))
        for pictures, labels in batches:
            confusion.update(model(pictures), labels)
        confusion.counts = fabric.all_reduce(confusion.counts, reduce_op="sum")  # only with several processes
        confusion.mean_iou

    Args:
        classes: K, 1 to 255.

    Raises:
        UsageError: there are fewer or more classes.
    """

    counts: Tensor
    """int64 (K, K + 1): pixels by true class (rows) and predicted class (columns); the last column counts pixels whose
    scores held a NaN, which are wrong whatever the target. Add them up over processes."""

    def __init__(self, classes: int) -> None:
        if not 1 <= classes <= IGNORE:
            raise UsageError(f"a confusion matrix of {classes} classes was asked for, but it must have 1 to {IGNORE}")
        self.classes = classes
        self.counts = torch.zeros(classes, classes + 1, dtype=torch.int64)

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        """Count one batch; an empty one changes nothing.

        Args:
            predictions: classes, of any integer type, (N, H, W); or scores of any floating type, (N, K, H, W).
            targets: classes of any integer type, (N, H, W); pixels of 255 are not counted.

        Raises:
            UsageError: the shapes do not fit each other, or a class is out of range.
        """
        self._check_shapes(predictions, targets)
        predicted = _decided(predictions) if predictions.is_floating_point() else predictions
        labelled = targets != IGNORE
        truth, predicted = targets[labelled].long(), predicted[labelled].long()
        self._check_range(truth, "targets", f"0 to {self.classes - 1} or {IGNORE} (ignored)", self.classes)
        # only `_decided` may use the last column
        columns = self.classes + predictions.is_floating_point()
        self._check_range(predicted, "predictions", f"0 to {self.classes - 1}", columns)
        cells = truth * (self.classes + 1) + predicted
        self.counts = self.counts.to(cells.device)
        self.counts += torch.bincount(cells, minlength=self.counts.numel()).view_as(self.counts)

    @property
    def iou(self) -> tuple[float, ...]:
        """Intersection over union of each class, in [0, 1]; NaN for one that neither truth nor prediction has."""
        right, true, predicted = self._sums()
        return tuple(_share(r, t + p - r) for r, t, p in zip(right, true, predicted, strict=True))

    @property
    def mean_iou(self) -> float:
        """The mean of `iou` over the classes that truth or prediction has, in [0, 1]; NaN while nothing is counted.

        A class that was predicted and never true counts, as 0.
        """
        return _mean(self.iou)

    @property
    def pixel_accuracy(self) -> float:
        """The share of pixels that are right, in [0, 1]; NaN while nothing is counted."""
        right, true, _ = self._sums()
        return _share(sum(right), sum(true))

    @property
    def class_accuracy(self) -> float:
        """The share of right pixels in each class of the truth, averaged over these; NaN while nothing is counted."""
        right, true, _ = self._sums()
        return _mean([_share(r, t) for r, t in zip(right, true, strict=True)])

    def _sums(self) -> tuple[list[int], list[int], list[int]]:
        """Right pixels, true pixels and predicted pixels of each class."""
        decided = self.counts[:, : self.classes]
        return decided.diagonal().tolist(), self.counts.sum(1).tolist(), decided.sum(0).tolist()

    def _check_shapes(self, predictions: Tensor, targets: Tensor) -> None:
        scores = predictions.is_floating_point()
        expected = (*targets.shape[:1], self.classes, *targets.shape[1:]) if scores else tuple(targets.shape)
        if (
            targets.ndim != 3
            or tuple(predictions.shape) != expected
            or not _whole(targets)
            or not (scores or _whole(predictions))
        ):
            raise UsageError(
                f"predictions are {predictions.dtype} {tuple(predictions.shape)} and targets {targets.dtype}"
                f" {tuple(targets.shape)}, but must be classes (N, H, W) or floating-point scores"
                f" (N, {self.classes}, H, W), and classes (N, H, W)"
            )

    def _check_range(self, values: Tensor, what: str, allowed: str, end: int) -> None:
        if values.numel() and not 0 <= values.min() <= values.max() < end:
            raise UsageError(f"{what} are {values.min()} to {values.max()}, but must be {allowed}")


def _decided(scores: Tensor) -> Tensor:
    """The class of the highest score of each pixel, or K where any is NaN: (N, K, H, W) to (N, H, W)."""
    highest, classes = scores.max(dim=1)  # which is NaN where any is
    return classes.masked_fill(highest.isnan(), scores.shape[1])


def _whole(values: Tensor) -> bool:
    return not values.is_floating_point() and not values.is_complex() and values.dtype != torch.bool


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
