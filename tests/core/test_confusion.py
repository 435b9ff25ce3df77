from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tenfold.core.confusion import Confusion
from tenfold.core.errors import UsageError
from tenfold.core.masks import IGNORE


def naive(classes: int, pairs: list[tuple[int, int]]) -> tuple[list[float], float, float, float]:
    """IoU of each class, its mean, pixel accuracy and class accuracy of (prediction, target) pixels, by their words."""
    pairs = [(p, t) for p, t in pairs if t != 255]
    iou, recall = [], []
    for c in range(classes):
        both = sum(p == c and t == c for p, t in pairs)
        either = sum(p == c or t == c for p, t in pairs)
        true = sum(t == c for _, t in pairs)
        iou.append(both / either if either else math.nan)
        if true:
            recall.append(both / true)
    known = [value for value in iou if not math.isnan(value)]
    pixels = sum(p == t for p, t in pairs) / len(pairs) if pairs else math.nan
    mean = sum(known) / len(known) if known else math.nan
    return iou, mean, pixels, sum(recall) / len(recall) if recall else math.nan


def scores(confusion: Confusion) -> tuple[list[float], float, float, float]:
    return list(confusion.iou), confusion.mean_iou, confusion.pixel_accuracy, confusion.class_accuracy


def approx(expected: object) -> object:
    return pytest.approx(expected, abs=1e-12, nan_ok=True)


def assert_equal(
    found: tuple[list[float], float, float, float], expected: tuple[list[float], float, float, float]
) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one == approx(other)


@given(st.data(), st.integers(1, 5), st.sampled_from([torch.uint8, torch.int32, torch.int64]))
def test_scores_are_those_of_a_loop_over_pixels(data: st.DataObject, classes: int, kind: torch.dtype) -> None:
    confusion, pairs = Confusion(classes), []
    for _ in range(data.draw(st.integers(0, 3))):
        shape = tuple(data.draw(st.integers(0, 4)) for _ in range(3))
        size = math.prod(shape)
        predicted = data.draw(st.lists(st.integers(0, classes - 1), min_size=size, max_size=size))
        label = st.integers(0, classes - 1) | st.just(255)
        targets = data.draw(st.lists(label, min_size=size, max_size=size))
        pairs += list(zip(predicted, targets, strict=True))
        predictions = torch.tensor(predicted, dtype=kind).view(shape)
        if data.draw(st.booleans()):
            onehot = torch.nn.functional.one_hot(predictions.long(), classes).permute(0, 3, 1, 2)
            predictions = onehot.to(data.draw(st.sampled_from([torch.float32, torch.bfloat16, torch.float64])))
        confusion.update(predictions, torch.tensor(targets, dtype=torch.uint8).view(shape))
    assert_equal(scores(confusion), naive(classes, pairs))
    assert confusion.counts.sum() == sum(target != 255 for _, target in pairs)


def test_counts_have_truth_in_rows_and_predictions_in_columns() -> None:
    confusion = Confusion(3)
    confusion.update(torch.tensor([[[2, 2, 1, 0]]]), torch.tensor([[[0, 0, 1, 255]]]))
    assert confusion.counts.dtype == torch.int64
    assert confusion.counts.tolist() == [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0]]


def test_scores_by_hand() -> None:
    confusion = Confusion(4)
    #                                  0  0  1  1  1  ignored
    confusion.update(torch.tensor([[[0, 1, 1, 1, 2, 3]]]), torch.tensor([[[0, 0, 1, 1, 1, 255]]]))
    # class 2 was predicted and never true: it counts as 0; class 3 only where nothing is scored: it does not count
    assert confusion.iou == approx((1 / 2, 2 / 4, 0, math.nan))
    assert confusion.mean_iou == approx(1 / 3)
    assert confusion.pixel_accuracy == approx(3 / 5)
    assert confusion.class_accuracy == approx((1 / 2 + 2 / 3) / 2)


def test_nothing_counted_gives_nan() -> None:
    confusion = Confusion(2)
    confusion.update(torch.zeros(1, 2, 2, dtype=torch.int64), torch.full((1, 2, 2), IGNORE, dtype=torch.uint8))
    confusion.update(torch.zeros(0, 2, 3, 3), torch.zeros(0, 3, 3, dtype=torch.uint8))
    assert all(math.isnan(value) for value in (*confusion.iou, confusion.mean_iou))
    assert math.isnan(confusion.pixel_accuracy)
    assert math.isnan(confusion.class_accuracy)


@pytest.mark.parametrize("classes", [1, 3])
def test_a_pixel_with_a_nan_score_is_wrong_whatever_its_target(classes: int) -> None:
    confusion = Confusion(classes)
    logits = torch.zeros(1, classes, 1, 3)
    logits[0, 0] = 1.0
    logits[0, -1, 0, 1] = math.nan
    confusion.update(logits, torch.zeros(1, 1, 3, dtype=torch.uint8))
    assert confusion.counts[0].tolist() == [2, *[0] * (classes - 1), 1]
    assert confusion.pixel_accuracy == approx(2 / 3)
    assert confusion.class_accuracy == approx(2 / 3)
    assert confusion.iou[0] == approx(2 / 3)
    confusion.update(torch.full((1, classes, 1, 1), math.nan), torch.full((1, 1, 1), 255, dtype=torch.uint8))
    assert confusion.counts.sum() == 3


def test_infinite_scores_decide() -> None:
    confusion = Confusion(2)
    confusion.update(torch.tensor([-math.inf, math.inf]).view(1, 2, 1, 1), torch.tensor([[[1]]]))
    assert confusion.pixel_accuracy == 1.0


def test_counts_add_up_over_processes() -> None:
    random = np.random.RandomState(0)
    predictions = torch.from_numpy(random.randint(0, 5, (6, 7, 8)))
    targets = torch.from_numpy(random.randint(0, 5, (6, 7, 8)).astype(np.uint8))
    whole, one, other = Confusion(5), Confusion(5), Confusion(5)
    whole.update(predictions, targets)
    one.update(predictions[:1], targets[:1])
    other.update(predictions[1:], targets[1:])
    one.counts = one.counts + other.counts
    assert scores(one) == scores(whole)


CLASSES = torch.zeros(1, 2, 2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("predictions", "targets"),
    [
        (CLASSES, CLASSES[0]),
        (CLASSES, CLASSES[:, :1]),
        (CLASSES[0], CLASSES[0]),
        (CLASSES.float(), CLASSES),
        (torch.zeros(1, 2, 2, 2), CLASSES),
        (torch.zeros(1, 4, 2, 2), CLASSES),
        (torch.zeros(1, 3, 2, 2, dtype=torch.int64), CLASSES),
        (torch.zeros(2, 3, 2, 2), CLASSES),
        (CLASSES, CLASSES.float()),
        (CLASSES.bool(), CLASSES),
        (torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64)),
    ],
)
def test_what_does_not_fit_is_refused(predictions: torch.Tensor, targets: torch.Tensor) -> None:
    confusion = Confusion(3)
    with pytest.raises(
        UsageError, match=r"predictions are torch.* but must be classes \(N, H, W\) or .* \(N, 3, H, W\)"
    ):
        confusion.update(predictions, targets)
    assert confusion.counts.sum() == 0


def test_classes_out_of_range_are_refused() -> None:
    confusion = Confusion(3)
    for value in (3, -1, 254, 256):
        with pytest.raises(UsageError, match=rf"targets are .*{value}.* but must be 0 to 2 or 255 \(ignored\)"):
            confusion.update(CLASSES, torch.full_like(CLASSES, value))
    for value in (3, -1, 255):
        with pytest.raises(UsageError, match=rf"predictions are {value} to {value}, but must be 0 to 2"):
            confusion.update(torch.full_like(CLASSES, value), CLASSES)
    assert confusion.counts.sum() == 0
    for number in (0, 256):
        with pytest.raises(UsageError, match=rf"of {number} classes was asked for, but it must have 1 to 255"):
            Confusion(number)
