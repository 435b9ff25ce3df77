from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tenfold.distill.config import METHODS, Config, FeatureSettings, Method, RivalSettings
from tenfold.distill.objective import Alone, FeatureMethod, FeatureRival, LogitDistillation, make_objective

from .networks import (
    assert_unchanged,
    batch,
    contents,
    mean_of_negatives,
    small_student,
    small_teacher,
    stage_features,
    stage_norms,
    three_terms,
)

RIVALS = RivalSettings(temperature=3.0, logit_weight=0.7, hint_weight=20.0, attention_weight=50.0)
CONFIG = Config(rivals=RIVALS, features=FeatureSettings(alpha=2e-3))


def objective(method: Method, config: Config = CONFIG) -> tuple[nn.Module, nn.Module, nn.Module]:
    """The objective, its teacher and its student."""
    teacher, student = small_teacher(), small_student()
    return make_objective(method, teacher, student, batch()[0], config), teacher, student


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return -logits.log_softmax(1)[torch.arange(len(targets)), targets].mean()


def test_alone_is_the_cross_entropy() -> None:
    whole, _, student = objective("alone")
    images, targets = batch()
    found = whole(images, targets)
    torch.testing.assert_close(found.total, cross_entropy(student(images), targets))
    assert torch.equal(found.task, found.total)
    assert float(found.transfer) == 0
    assert found.total.requires_grad


@pytest.mark.parametrize("method", METHODS)
def test_without_a_teacher_every_method_is_alone(method: Method) -> None:
    assert isinstance(make_objective(method, None, small_student(), batch()[0], CONFIG), Alone)


def test_logits_by_its_formula() -> None:
    whole, teacher, student = objective("logits")
    assert isinstance(whole, LogitDistillation)
    images, targets = batch()
    found = whole(images, targets)
    p, q = (teacher.eval()(images) / 3).softmax(1), (student(images) / 3).softmax(1)
    divergence = (p * (p / q).log()).sum() / len(images) * 9
    task = 0.3 * cross_entropy(student(images), targets)
    torch.testing.assert_close(found.total, task + 0.7 * divergence)
    torch.testing.assert_close(found.task, task.detach())
    torch.testing.assert_close(found.transfer, 0.7 * divergence.detach())


def test_hints_is_the_distance_of_the_middle_features_behind_the_regressor() -> None:
    whole, teacher, student = objective("hints")
    assert isinstance(whole, FeatureRival)
    images, targets = batch()
    found = whole(images, targets)
    taught, (features, logits) = stage_features(teacher.eval(), images)[0][1], stage_features(student, images)
    (regressor,) = whole.regressors
    guess = regressor(features[1].clamp(min=0))
    assert float(guess.detach().min()) == 0
    transfer = 20 * (guess - taught.clamp(min=0)).square().sum() / guess.numel()
    torch.testing.assert_close(found.total, cross_entropy(logits, targets) + transfer)
    torch.testing.assert_close(found.transfer, transfer.detach())


def test_attention_is_the_distance_of_the_maps_of_all_stages() -> None:
    whole, teacher, student = objective("attention")
    images, targets = batch()
    found = whole(images, targets)
    taught, (features, logits) = stage_features(teacher.eval(), images)[0], stage_features(student, images)
    transfer = torch.tensor(0.0)
    for own, other in zip(features, taught, strict=True):
        maps = [each.clamp(min=0).square().sum(1).flatten(1) for each in (own, other)]
        first, second = (each / each.square().sum(1, keepdim=True).sqrt() for each in maps)
        transfer = transfer + 50 * (first - second).square().sum() / first.numel()
    torch.testing.assert_close(found.total, cross_entropy(logits, targets) + transfer)
    torch.testing.assert_close(found.transfer, transfer.detach())


def test_features_is_the_distiller_with_the_settings() -> None:
    settings = FeatureSettings(alpha=2e-3, margin_form="exact", teacher_norm="running")
    whole, teacher, student = objective("features", replace(CONFIG, features=settings))
    assert isinstance(whole, FeatureMethod)
    images, targets = batch()
    found = whole(images, targets)
    taught, (features, logits) = stage_features(teacher.eval(), images)[0], stage_features(student, images)
    transfer = torch.tensor(0.0)
    for index, norm in enumerate(stage_norms(teacher)):
        margin = mean_of_negatives(norm, exact=True)
        torch.testing.assert_close(whole.distiller.margins[index].margin, margin)
        learned = whole.distiller.connectors[index](features[index])
        transfer = transfer + 0.5 ** (2 - index) * three_terms(learned, taught[index], margin)
    torch.testing.assert_close(found.transfer, 2e-3 / len(images) * transfer.detach())
    torch.testing.assert_close(found.total.detach(), found.task + found.transfer)
    torch.testing.assert_close(found.task, cross_entropy(logits, targets).detach())


def test_features_takes_its_other_settings_too() -> None:
    whole, _, _ = objective("features", replace(CONFIG, features=FeatureSettings(auto_alpha=True, margin="data")))
    assert isinstance(whole, FeatureMethod)
    assert whole.distiller.balance.automatic
    assert {pair.margin for pair in whole.distiller.positions} == {"data"}
    assert whole.distiller.teacher_norm == "batch"


@pytest.mark.parametrize(("method", "extra"), [("hints", 1), ("attention", 0), ("logits", 0), ("features", 3)])
def test_what_is_trained_is_the_student_and_what_the_method_adds(method: Method, extra: int) -> None:
    whole, teacher, student = objective(method)
    trained = {id(parameter) for parameter in whole.parameters()}
    own = {id(parameter) for parameter in student.parameters()}
    assert own < trained if extra else own == trained
    assert len(trained - own) == 3 * extra  # each a convolution's weight, and a norm's weight and bias
    assert trained.isdisjoint(id(parameter) for parameter in teacher.parameters())
    torch.autograd.backward(whole(*batch()).total)
    assert all(parameter.grad is not None for parameter in whole.parameters())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_the_teacher_comes_out_as_it_went_in(method: Method, training: bool) -> None:
    teacher, student = small_teacher().train(training), small_student()
    before = contents(teacher)
    whole = make_objective(method, teacher, student, batch()[0], CONFIG).train()
    optimiser = torch.optim.SGD(whole.parameters(), lr=0.05)
    for seed in range(3):
        optimiser.zero_grad()
        torch.autograd.backward(whole(*batch(seed=seed)).total)
        optimiser.step()
    assert_unchanged(teacher, before)


@pytest.mark.parametrize("method", METHODS)
def test_the_terms_to_report_hold_no_graph(method: Method) -> None:
    found = objective(method)[0](*batch())
    assert found.total.requires_grad
    assert not found.task.requires_grad
    assert not found.transfer.requires_grad


@pytest.mark.parametrize("method", ["hints", "attention"])
def test_maps_of_different_sizes_are_pooled(method: Method) -> None:
    images, targets = batch()
    whole = make_objective(method, small_teacher(), small_student(half_stem=True), images, CONFIG)
    found = whole(images, targets)
    assert float(found.transfer) > 0
    assert bool(found.total.isfinite())
