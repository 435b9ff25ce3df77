from __future__ import annotations

from math import exp, log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tenfold.core.masks import IGNORE
from tenfold.segment import class_weights
from tenfold.segment.loss import pixel_cross_entropy


def test_weights_by_hand() -> None:
    found = class_weights(torch.tensor([0.0, 0.25, 0.9, 1.0], dtype=torch.float64))
    wanted = [1 / log(1.10), 1 / log(1.35), 1 / log(2.0), 1 / log(2.1)]
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64))
    assert float(class_weights(torch.tensor([0.0]), ceiling=2.0)) == pytest.approx(1 / log(2.0))


def test_rarer_classes_count_for_more() -> None:
    weights = class_weights(torch.linspace(0, 1, 50))
    assert (weights[:-1] > weights[1:]).all()


def by_hand(logits: Tensor, labels: Tensor, weights: Tensor) -> tuple[float, float]:
    total = weight = 0.0
    for n, row, column in ((n, y, x) for n, y, x in labels.ne(IGNORE).nonzero().tolist()):
        label = int(labels[n, row, column])
        values = [float(value) for value in logits[n, :, row, column]]
        total += float(weights[label]) * (log(sum(exp(value) for value in values)) - values[label])
        weight += float(weights[label])
    return total, weight


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.sampled_from([0.0, 0.5, 1.0]))
def test_it_is_the_weighted_cross_entropy_of_the_labelled_pixels(
    count: int, classes: int, height: int, width: int, ignored: float
) -> None:
    logits = torch.randn(count, classes, height, width, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(classes, (count, height, width))
    labels[torch.rand(labels.shape) < ignored] = IGNORE
    weights = torch.rand(classes, dtype=torch.float64) + 0.1
    loss = pixel_cross_entropy(logits, labels, weights)
    total, weight = by_hand(logits.detach(), labels, weights)
    assert loss.total.shape == loss.weight.shape == ()
    assert float(loss.total.detach()) == pytest.approx(total)
    assert float(loss.weight) == pytest.approx(weight)
    torch.autograd.backward(loss.total)
    assert logits.grad is not None
    assert not logits.grad.movedim(1, -1)[labels == IGNORE].any()
    learned = logits.grad.movedim(1, -1)[labels != IGNORE]
    assert classes == 1 or bool(learned.any(1).all())


def test_pixels_without_a_label_have_no_loss() -> None:
    loss = pixel_cross_entropy(torch.randn(2, 3, 4, 5), torch.full((2, 4, 5), IGNORE), torch.ones(3))
    assert float(loss.total) == float(loss.weight) == 0


def test_a_class_of_no_weight_is_as_good_as_ignored() -> None:
    logits, labels, weights = torch.randn(1, 3, 4, 4), torch.randint(3, (1, 4, 4)), torch.tensor([1.0, 0.0, 2.0])
    ignoring = labels.where(labels != 1, IGNORE)
    found, wanted = pixel_cross_entropy(logits, labels, weights), pixel_cross_entropy(logits, ignoring, weights)
    torch.testing.assert_close(found.total, wanted.total)
    torch.testing.assert_close(found.weight, wanted.weight)
