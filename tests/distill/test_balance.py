from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import Tensor, nn

from tenfold.distill.balance import EVERY, TARGET, USUAL, Balance
from tenfold.distill.distiller import FeatureDistiller

from .networks import batch, small_student, small_teacher


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor([3.0]))]


def terms(weights: list[nn.Parameter], strength: float) -> tuple[Tensor, Tensor]:
    """A task with the gradient (1, 2, 2), of length 3, and features with (4, 0, 3) * strength, of length 5 * strength."""
    first, second = weights
    task = first @ torch.tensor([1.0, 2.0]) + 2 * second.sum()
    return task, strength * (4 * first[0] + 3 * second.sum())


def test_the_ratio_is_that_of_the_lengths_of_the_gradients() -> None:
    weights, balance = parameters(), Balance(0.5)
    assert math.isnan(balance.ratio)
    balance.measure(*terms(weights, 6.0), weights)
    assert balance.ratio == pytest.approx(0.5 * 5 * 6 / 3)
    assert balance.alpha == 0.5


def test_frozen_parameters_are_left_out() -> None:
    weights, balance = parameters(), Balance(1.0)
    weights[0].requires_grad_(False)
    balance.measure(*terms(weights, 6.0), weights)
    assert balance.ratio == pytest.approx(6 * 3 / 2)


def test_it_measures_and_leaves_the_gradients_and_the_graph() -> None:
    weights = parameters()
    task, feature = terms(weights, 2.0)
    Balance("auto").measure(task, feature, weights)
    assert all(weight.grad is None for weight in weights)
    torch.autograd.backward(task + feature)
    assert torch.equal(weights[0].grad, torch.tensor([9.0, 2.0]))  # type: ignore[arg-type]


@pytest.mark.parametrize("strength", [1e-4, 1.0, 1e5])
def test_the_first_measurement_brings_an_automatic_alpha_to_the_target(strength: float) -> None:
    weights, balance = parameters(), Balance("auto")
    assert balance.alpha == 1
    for _ in range(EVERY + 1):
        balance.measure(*terms(weights, strength), weights)
    assert balance.alpha == pytest.approx(TARGET * 3 / (5 * strength), rel=1e-5)
    assert balance.ratio == pytest.approx(TARGET, rel=1e-5)


def test_later_measurements_go_half_of_the_way() -> None:
    weights, balance = parameters(), Balance("auto")
    balance.measure(*terms(weights, 1.0), weights)
    before = balance.alpha
    for _ in range(EVERY):
        balance.measure(*terms(weights, 16.0), weights)
    assert balance.ratio == pytest.approx(16 * TARGET)
    assert balance.alpha == pytest.approx(before / 4)


def test_it_measures_once_in_so_many_steps() -> None:
    weights, balance = parameters(), Balance(1.0)
    ratios = []
    for step in range(2 * EVERY + 1):
        balance.measure(*terms(weights, 1.0 + step), weights)
        ratios.append(balance.ratio)
    changed = [step for step in range(1, len(ratios)) if ratios[step] != ratios[step - 1]]
    assert changed == [EVERY, 2 * EVERY]
    assert ratios[-1] == pytest.approx((2 * EVERY + 1) * 5 / 3)


@pytest.mark.parametrize(("alpha", "advice"), [(USUAL[1] * 2, "smaller"), (USUAL[0] / 2, "larger")])
def test_a_given_alpha_that_is_far_off_is_warned_of_once(alpha: float, advice: str) -> None:
    weights, balance = parameters(), Balance(alpha)
    sentence = rf'{alpha:.3g} times as hard as the task does; an alpha {advice} than {alpha:g}, or alpha="auto", is'
    with pytest.warns(UserWarning, match=sentence):
        balance.measure(*terms(weights, 3 / 5), weights)
    for _ in range(3 * EVERY):
        balance.measure(*terms(weights, 3 / 5), weights)
    assert balance.alpha == alpha


@pytest.mark.parametrize("alpha", [USUAL[0] * 1.01, 1.0, USUAL[1] * 0.99])
def test_a_usual_alpha_is_not(alpha: float) -> None:
    weights = parameters()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Balance(alpha).measure(*terms(weights, 3 / 5), weights)


@pytest.mark.parametrize("broken", [0.0, math.inf, math.nan])
def test_a_gradient_that_says_nothing_changes_nothing(broken: float) -> None:
    weights, balance = parameters(), Balance("auto")
    balance.measure(*terms(weights, broken), weights)
    assert balance.alpha == 1
    assert math.isnan(balance.ratio)
    assert balance.steps == 1


def test_it_goes_on_from_its_saved_state() -> None:
    weights, balance, straight = parameters(), Balance("auto"), Balance("auto")
    for step in range(EVERY // 2):
        balance.measure(*terms(weights, 1.0 + step), weights)
    resumed = Balance("auto")
    resumed.load_state_dict(balance.state_dict())
    for step in range(2 * EVERY):
        straight.measure(*terms(weights, 1.0 + step), weights)
        if step >= EVERY // 2:
            resumed.measure(*terms(weights, 1.0 + step), weights)
    assert resumed.get_extra_state() == straight.get_extra_state()
    assert resumed.alpha != balance.alpha


def test_processes_measure_the_gradient_of_their_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Tensor] = []

    def all_reduce(gradient: Tensor) -> None:
        calls.append(gradient)
        if (
            len(calls) == 1
        ):  # of the task: the other process pulls exactly the other way, but for one step along the first
            gradient.neg_().add_(gradient.neg()).index_fill_(0, torch.tensor([0]), 8.0)

    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.all_reduce", all_reduce)
    weights, balance = parameters(), Balance(1.0)
    task, feature = terms(weights, 1.0)
    own = torch.cat(
        [
            g.flatten()
            for g in torch.autograd.grad(feature, weights, retain_graph=True, allow_unused=True)
            if g is not None
        ]
    )
    balance.measure(task, feature, weights)
    assert len(calls) == 2
    assert balance.ratio == pytest.approx(float(own.norm()) / 2 / 4.0)


# in the distiller


def test_the_distillers_ratio_is_that_of_its_own_two_terms() -> None:
    distiller = FeatureDistiller(small_teacher(), small_student(), example=batch()[0], alpha=1e-3)
    assert math.isnan(distiller.gradient_ratio)
    loss = distiller(*batch())
    lengths = []
    for term in (loss.task, loss.feature):
        found = torch.autograd.grad(term, list(distiller.student.parameters()), retain_graph=True, allow_unused=True)
        lengths.append(math.sqrt(sum(float(each.square().sum()) for each in found if each is not None)))
    assert distiller.gradient_ratio == pytest.approx(lengths[1] / lengths[0], rel=1e-4)


def test_the_distillers_automatic_alpha_counts_from_the_first_step_on() -> None:
    distiller = FeatureDistiller(small_teacher(), small_student(), example=batch()[0], alpha="auto")
    loss = distiller(*batch())
    lengths = []
    for term in (loss.task, loss.feature):
        found = torch.autograd.grad(term, list(distiller.student.parameters()), retain_graph=True, allow_unused=True)
        lengths.append(math.sqrt(sum(float(each.square().sum()) for each in found if each is not None)))
    assert lengths[1] / lengths[0] == pytest.approx(TARGET, rel=1e-4)


def test_nothing_is_measured_in_evaluation() -> None:
    distiller = FeatureDistiller(small_teacher(), small_student(), example=batch()[0], alpha="auto")
    distiller.eval()(*batch())
    with torch.no_grad():
        distiller.train()(*batch())
    assert distiller.alpha == 1
    assert distiller.balance.steps == 0
