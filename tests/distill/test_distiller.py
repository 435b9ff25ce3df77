from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.config import ComputeConfig
from tenfold.core.device import in_memory_order
from tenfold.core.errors import UsageError
from tenfold.distill import FeatureDistiller
from tenfold.distill.margin import normal_margin
from tenfold.nets import BasicBlock, ResNet, build_net
from tenfold.resize import make_resizable

from .networks import (
    CLASSES,
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


def distilled(**options: Any) -> FeatureDistiller:
    settings: dict[str, Any] = {"alpha": 1e-3, "example": batch()[0]} | options
    torch.manual_seed(3)  # of the connectors
    return FeatureDistiller(small_teacher(), small_student(), **settings)


def expected_terms(distiller: FeatureDistiller, taught: list[Tensor], margins: list[Tensor]) -> list[Tensor]:
    """L_i of the student's stages, which are read by hooks, behind copies of the connectors."""
    features, _ = stage_features(copy.deepcopy(distiller.student), batch()[0])
    return [
        three_terms(copy.deepcopy(connector)(own), target, margin)
        for connector, own, target, margin in zip(distiller.connectors, features, taught, margins, strict=True)
    ]


# the loss


@pytest.mark.parametrize("norm", ["batch", "running"])
def test_the_loss_is_the_task_plus_the_weighted_distances(norm: Any) -> None:
    distiller, (images, labels) = distilled(alpha=2e-3, teacher_norm=norm), batch()
    teacher = copy.deepcopy(distiller.teacher).train(norm == "batch")
    with torch.no_grad():
        taught, _ = stage_features(teacher, images)
    margins = [mean_of_negatives(each) for each in stage_norms(teacher)]
    terms = [
        2e-3 / len(images) * weight * term
        for weight, term in zip((1 / 4, 1 / 2, 1), expected_terms(distiller, taught, margins), strict=True)
    ]
    logits = copy.deepcopy(distiller.student)(images)
    task = -logits.log_softmax(1)[torch.arange(len(images)), labels].mean()
    loss = distiller(images, labels)
    torch.testing.assert_close(loss.outputs, logits)
    torch.testing.assert_close(loss.task, task)
    torch.testing.assert_close(torch.stack(loss.positions), torch.stack(terms))
    torch.testing.assert_close(loss.feature, torch.stack(terms).sum())
    torch.testing.assert_close(loss.total, task + torch.stack(terms).sum())


def test_its_gradients_are_those_of_the_formula() -> None:
    distiller, (images, labels) = distilled(alpha=2e-3), batch()
    reference, connectors = copy.deepcopy(distiller.student), copy.deepcopy(distiller.connectors)
    with torch.no_grad():
        taught, _ = stage_features(copy.deepcopy(distiller.teacher).train(), images)
    features, logits = stage_features(reference, images)
    total = F.cross_entropy(logits, labels)
    for index, norm in enumerate(stage_norms(distiller.teacher)):
        term = three_terms(connectors[index](features[index]), taught[index], mean_of_negatives(norm))
        total = total + 2e-3 / len(images) * 0.5 ** (2 - index) * term
    torch.autograd.backward(total)
    torch.autograd.backward(distiller(images, labels).total)
    expected = [*reference.parameters(), *connectors.parameters()]
    for own, other in zip(distiller.parameters(), expected, strict=True):
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-3, atol=1e-5)


def test_alpha_scales_the_features_only() -> None:
    one, three = (distilled(alpha=alpha)(*batch()) for alpha in (1e-3, 3e-3))
    torch.testing.assert_close(three.feature, 3 * one.feature)
    torch.testing.assert_close(three.task, one.task)
    torch.testing.assert_close(three.total, one.task + 3 * one.feature)


def test_weights_scale_each_position() -> None:
    even, chosen = (distilled(weights=weights)(*batch()) for weights in ([1, 1, 1], [5, 0, 0.5]))
    factors = torch.tensor([5, 0, 0.5])
    torch.testing.assert_close(torch.stack(chosen.positions), factors * torch.stack(even.positions))


def test_the_loss_is_a_mean_over_the_pictures() -> None:
    images, labels = batch()
    distiller = distilled(teacher_norm="running").eval()
    once, again = distiller(images, labels), distiller(images.repeat(3, 1, 1, 1), labels.repeat(3))
    torch.testing.assert_close(again.total, once.total)


def test_a_task_loss_of_ones_own() -> None:
    distiller = distilled(task_loss=lambda outputs, labels: outputs.sum() * 0 + labels.float().mean())
    images, labels = batch()
    loss = distiller(images, labels)
    torch.testing.assert_close(loss.task, labels.float().mean())
    torch.testing.assert_close(loss.total, loss.task + loss.feature)


def test_a_teachers_position_can_teach_two_of_the_student() -> None:
    images, _ = batch()
    margins = [torch.full((8,), -1.0), torch.zeros(8)]
    distiller = distilled(positions=[("layer1", "layer1"), ("layer1", "layer2")], margin=margins, weights=[1, 1])
    with torch.no_grad():
        taught = stage_features(copy.deepcopy(distiller.teacher).train(), images)[0][0]
    features, _ = stage_features(copy.deepcopy(distiller.student), images)
    found = distiller(*batch()).positions
    for index, target in enumerate([taught, F.avg_pool2d(taught, 2)]):
        learned = copy.deepcopy(distiller.connectors[index])(features[index])
        torch.testing.assert_close(found[index], 1e-3 / 8 * three_terms(learned, target, margins[index]))


# margins


def test_margins_are_those_of_the_teachers_norms() -> None:
    teacher = small_teacher()
    for form in ("paper", "exact"):
        distiller = distilled(margin_form=form)
        for norm, margin in zip(stage_norms(teacher), distiller.margins, strict=True):
            expected = normal_margin(norm.bias, norm.weight, form=form)
            assert torch.equal(margin.margin, expected)
        assert {pair.margin for pair in distiller.positions} == {"bn of the residual branch"}


def test_given_margins_are_used() -> None:
    given = [-torch.rand(8 << stage) for stage in range(3)]
    distiller, (images, labels) = distilled(margin=given, alpha=1e-3), batch()
    with torch.no_grad():
        taught, _ = stage_features(copy.deepcopy(distiller.teacher).train(), images)
    terms = expected_terms(distiller, taught, given)
    loss = distiller(images, labels)
    factors = torch.tensor([1 / 4, 1 / 2, 1]) * 1e-3 / len(images)
    torch.testing.assert_close(torch.stack(loss.positions), factors * torch.stack(terms))
    assert {pair.margin for pair in distiller.positions} == {"given"}


def test_margins_of_data_are_the_means_of_the_negative_values_in_training() -> None:
    distiller, seen = distilled(margin="data"), [batch()[0]]
    for seed in (1, 2):
        images, labels = batch(seed=seed)
        distiller(images, labels)
        seen.append(images)
    distiller.eval()(*batch(seed=3))
    with torch.no_grad():
        runs = [stage_features(copy.deepcopy(distiller.teacher).train(), images)[0] for images in seen]
    for margin, parts in zip(distiller.margins, zip(*runs, strict=True), strict=True):
        channels = torch.cat(parts).transpose(0, 1).flatten(1)
        expected = torch.stack([row[row < 0].sum() / max(1, int((row < 0).sum())) for row in channels])
        torch.testing.assert_close(margin.margin, expected)
    assert {pair.margin for pair in distiller.positions} == {"data"}


# what it leaves alone


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", ["batch", "running"])
def test_the_teacher_comes_out_bit_for_bit_as_it_went_in(training: bool, norm: Any) -> None:
    teacher, student = small_teacher().train(training), small_student()
    teacher.get_submodule("layer2").train(not training)
    before = contents(teacher)
    distiller = FeatureDistiller(teacher, student, example=batch()[0], margin="data", teacher_norm=norm)
    assert_unchanged(teacher, before)
    optimiser = torch.optim.SGD(distiller.parameters(), lr=0.05)
    for seed in range(3):
        distiller.train(seed != 1)
        optimiser.zero_grad()
        torch.autograd.backward(distiller(*batch(seed=seed)).total)
        optimiser.step()
        assert_unchanged(teacher, before)


@pytest.mark.parametrize("norm", ["batch", "running"])
def test_dropout_of_the_teacher_is_off(norm: Any) -> None:
    noisy, plain = small_teacher().train(), small_teacher().train()
    noisy.conv1 = nn.Sequential(noisy.get_submodule("conv1"), nn.Dropout(0.5))
    losses = []
    for teacher in (noisy, noisy, plain):
        torch.manual_seed(3)
        distiller = FeatureDistiller(teacher, small_student(), example=batch()[0], teacher_norm=norm)
        losses.append(distiller(*batch()).feature)
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(losses[0], losses[2])
    assert noisy.conv1[1].training


def test_the_student_bears_no_trace() -> None:
    untouched, student = small_student(), small_student()
    before = contents(student)
    distiller = FeatureDistiller(small_teacher(), student, example=batch()[0])
    assert_unchanged(student, before)
    distiller(*batch())
    assert list(student.state_dict()) == list(untouched.state_dict())
    assert [name for name, _ in student.named_modules()] == [name for name, _ in untouched.named_modules()]
    assert contents(student)["hooks"] == contents(untouched)["hooks"]
    assert {type(module) for module in student.modules()} == {type(module) for module in untouched.modules()}


def test_the_mode_of_the_student_stays() -> None:
    student = small_student().eval()
    student.get_submodule("layer3").train()
    before = contents(student)
    FeatureDistiller(small_teacher(), student, example=batch()[0])
    assert_unchanged(student, before)


def test_what_is_trained_is_the_student_and_the_connectors() -> None:
    distiller = distilled()
    expected = [*distiller.student.parameters(), *distiller.connectors.parameters()]
    assert list(map(id, distiller.parameters())) == list(map(id, expected))
    torch.autograd.backward(distiller(*batch()).total)
    assert all(parameter.grad is not None for parameter in expected)
    assert all(parameter.grad is None for parameter in distiller.teacher.parameters())


def test_its_state_has_nothing_of_the_teacher() -> None:
    distiller = distilled()
    assert {name.partition(".")[0] for name in distiller.state_dict()} == {
        "student",
        "connectors",
        "balance",
        "margins",
    }


def test_the_teacher_goes_where_the_distiller_goes() -> None:
    distiller = distilled().double()
    images, labels = batch()
    loss = distiller(images.double(), labels)
    assert all(parameter.dtype == torch.float64 for parameter in distiller.teacher.parameters())
    torch.testing.assert_close(loss.total.float(), distilled()(images, labels).total, rtol=1e-4, atol=1e-4)


# networks that are not alike


def test_a_larger_map_of_the_teacher_is_pooled() -> None:
    teacher, student = small_teacher(), small_student(half_stem=True)
    distiller, (images, labels) = FeatureDistiller(teacher, student, example=batch()[0]), batch()
    with torch.no_grad():
        taught, _ = stage_features(copy.deepcopy(teacher).train(), images)
    pooled = [F.avg_pool2d(target, 2) for target in taught]
    margins = [mean_of_negatives(norm) for norm in stage_norms(teacher)]
    terms = expected_terms(distiller, pooled, margins)
    found = torch.stack(distiller(images, labels).positions)
    torch.testing.assert_close(found, torch.tensor([1 / 4, 1 / 2, 1]) * 1e-3 / 8 * torch.stack(terms))


def test_a_larger_map_of_the_student_is_pooled() -> None:
    teacher = ResNet(BasicBlock, (1, 1, 1), classes=CLASSES, width=8, stem="half")
    distiller = FeatureDistiller(teacher, small_student(), example=batch()[0])
    loss = distiller(*batch())
    with torch.no_grad():
        taught, _ = stage_features(copy.deepcopy(teacher).train(), batch()[0])
    features, _ = stage_features(copy.deepcopy(distiller.student), batch()[0])
    margin = mean_of_negatives(stage_norms(teacher)[2])
    last = three_terms(copy.deepcopy(distiller.connectors[2])(F.avg_pool2d(features[2], 2)), taught[2], margin)
    torch.testing.assert_close(loss.positions[2], 1e-3 / 8 * last)
    torch.autograd.backward(loss.total)


@pytest.mark.parametrize("swap", [False, True])
def test_networks_with_different_numbers_of_stages_meet_at_the_deep_end(swap: bool) -> None:
    torch.manual_seed(0)
    long = ResNet(BasicBlock, (1, 1, 1, 1), classes=CLASSES, width=4)
    teacher, student = (small_teacher(), long) if swap else (long, small_student())
    distiller = FeatureDistiller(teacher, student, example=batch()[0])
    names = [(pair.teacher.name, pair.student.name) for pair in distiller.positions]
    deep, deeper = (
        [f"layer{stage}.0.relu#2" for stage in (1, 2, 3)],
        [f"layer{stage}.0.relu#2" for stage in (2, 3, 4)],
    )
    assert names == list(zip(*((deep, deeper) if swap else (deeper, deep)), strict=True))
    torch.autograd.backward(distiller(*batch()).total)


def test_other_sizes_in_training_than_in_the_example() -> None:
    distiller = distilled()
    for size in (16, 24, 33):
        assert bool(distiller(*batch(4, size)).total.isfinite())


class Dense(nn.Module):
    """A fully convolutional network: (N, 3, H, W) -> (N, classes, H, W), alone or as "out" beside an auxiliary output."""

    def __init__(self, width: int, *, named: bool = False) -> None:
        super().__init__()
        widths = [3, width, width, 2 * width, 2 * width]
        layers: list[nn.Module] = []
        for index in range(4):
            layers += [
                nn.Conv2d(widths[index], widths[index + 1], 3, stride=2 - index % 2, padding=1, bias=False),
                nn.BatchNorm2d(widths[index + 1]),
                nn.ReLU(inplace=True),
            ]
        self.body, self.head = nn.Sequential(*layers), nn.Conv2d(2 * width, CLASSES, 1)
        self.named = named

    def forward(self, images: Tensor) -> Any:
        logits = F.interpolate(self.head(self.body(images)), images.shape[2:], mode="bilinear")
        return {"aux": logits.flip(1), "out": logits} if self.named else logits


@pytest.mark.parametrize("named", [False, True])
def test_dense_prediction_leaves_out_pixels_without_a_label(named: bool) -> None:
    torch.manual_seed(0)
    teacher, student = Dense(8, named=named), Dense(4, named=named)
    images, _ = batch(4)
    labels = torch.randint(CLASSES, (4, 16, 16))
    labels[:, :5] = 255
    distiller = FeatureDistiller(teacher, student, example=images, alpha=1e-3)
    loss = distiller(images, labels)
    logits = loss.outputs["out"] if named else loss.outputs
    rows = logits.permute(0, 2, 3, 1)[labels != 255].log_softmax(1)
    known = labels[labels != 255]
    torch.testing.assert_close(loss.task, -rows[torch.arange(len(known)), known].mean())
    assert len(loss.positions) == 2
    torch.autograd.backward(loss.total)
    assert all(parameter.grad is not None for parameter in student.parameters())


class Detector(nn.Module):
    """A model around a network, with arguments and losses of its own."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, pictures: list[Tensor], *, factor: float) -> dict[str, Tensor]:
        found = F.relu(torch.stack(pictures)[:, :3])  # a ReLU outside of the backbone
        return {"loss": factor * self.backbone(found).square().mean()}


def test_inside_of_a_larger_model() -> None:
    distiller, (images, labels) = distilled(), batch()
    detector = Detector(distiller.student)
    with distiller.reading() as seen:
        losses = detector(list(images), factor=2.0)
    feature = distiller.feature_loss(seen)
    torch.testing.assert_close(feature, distilled()(images.clamp(min=0), labels).feature)
    torch.autograd.backward(losses["loss"] + feature)
    assert all(parameter.grad is not None for parameter in distiller.parameters())


@pytest.mark.parametrize("passes", [0, 2])
def test_a_reading_is_of_one_pass(passes: int) -> None:
    distiller = distilled()
    with distiller.reading() as seen:
        for _ in range(passes):
            distiller.student(batch()[0])
    with pytest.raises(UsageError, match=f"ran {passes} times"):
        _ = seen.tensors


class Dialled(nn.Module):
    """A network with an option of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small_student()

    def forward(self, images: Tensor, *, scale: float = 1.0) -> Tensor:
        logits: Tensor = self.net(images)
        return logits * scale


def test_options_are_passed_on_to_the_student() -> None:
    distiller, (images, labels) = FeatureDistiller(small_teacher(), Dialled(), example=batch()[0]), batch()
    one, half = distiller(images, labels).outputs, distiller(images, labels, scale=0.5).outputs
    torch.testing.assert_close(half, 0.5 * one)


def test_a_resizable_network_learns_from_a_teacher() -> None:
    student = make_resizable(small_student("resnet-14"))
    distiller = FeatureDistiller(small_teacher(), student, example=batch()[0]).train()
    gates = {id(parameter) for parameter in student.gate_parameters()}
    loss = distiller(*batch(), scale=0.6)
    torch.autograd.backward(loss.total)
    assert bool(loss.total.isfinite())
    assert len(loss.positions) == 3
    assert all(parameter.grad is not None for parameter in distiller.parameters() if id(parameter) not in gates)


class Smooth(nn.Module):
    """A network without any threshold."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.SiLU())
        self.second = nn.Sequential(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.SiLU(inplace=True))
        self.head = nn.Linear(2 * width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.second(self.first(images)).mean((2, 3)))
        return logits


def test_the_plain_form_is_the_l2_distance_of_named_positions() -> None:
    torch.manual_seed(0)
    teacher, student, (images, labels) = Smooth(8).eval(), Smooth(4), batch()
    distiller = FeatureDistiller(teacher, student, example=images, positions=["first", "second.0"], form="plain")
    loss = distiller(images, labels)
    reference = copy.deepcopy(teacher).train()
    with torch.no_grad():
        first = reference.first(images)
        taught = [first, reference.second[0](first)]
    own = [student.first(images)]
    own.append(student.second[0](own[0]))
    for index, weight in enumerate((0.5, 1.0)):
        difference = distiller.connectors[index](own[index]) - taught[index]
        torch.testing.assert_close(loss.positions[index], 1e-3 * weight / 8 * (difference**2).sum())
    assert {pair.margin for pair in distiller.positions} == {"none"}


# precision, repetition, training


def test_mixed_precision_is_close_and_the_loss_is_float32() -> None:
    images, labels = batch()
    full, mixed = distilled(), distilled()
    expected = full(images, labels)
    with torch.autocast("cpu", torch.bfloat16):
        loss = mixed(images, labels)
    assert loss.outputs.dtype == torch.bfloat16
    assert all(term.dtype == torch.float32 for term in (loss.total, loss.task, loss.feature, *loss.positions))
    torch.testing.assert_close(loss.total, expected.total, rtol=0.02, atol=0)
    torch.testing.assert_close(loss.feature, expected.feature, rtol=0.02, atol=0)
    torch.autograd.backward(loss.total)
    torch.autograd.backward(expected.total)
    for own, other in zip(mixed.connectors.parameters(), full.connectors.parameters(), strict=True):
        assert own.grad is not None
        assert other.grad is not None
        assert float(F.cosine_similarity(own.grad.flatten(), other.grad.flatten(), dim=0)) > 0.99


def test_memory_order_does_not_matter() -> None:
    images, labels = batch()
    expected = distilled()(images, labels)
    # not `Module.to` alone: on some CPUs torch ends the process over thin strided 1x1 convolutions in this order
    distiller = in_memory_order(distilled(), ComputeConfig(channels_last=True))
    found = distiller(images.to(memory_format=torch.channels_last), labels)
    torch.testing.assert_close(found.total, expected.total, rtol=1e-4, atol=1e-4)


def trained(distiller: FeatureDistiller, steps: int, *, first: int = 0) -> list[float]:
    optimiser = torch.optim.SGD(distiller.parameters(), lr=0.02)
    losses = []
    for seed in range(first, first + steps):
        loss = distiller(*batch(seed=seed))
        optimiser.zero_grad()
        torch.autograd.backward(loss.total)
        optimiser.step()
        losses.append(float(loss.total.detach()))
    return losses


def test_the_same_seeds_give_the_same_losses() -> None:
    first, second = (trained(distilled(margin="data", alpha="auto"), 4) for _ in range(2))
    assert first == second
    assert len(set(first)) == 4


def test_a_students_noise_takes_no_random_numbers_while_positions_are_looked_for() -> None:
    student, draws = small_student(), []
    noisy = small_student()
    noisy.conv1 = nn.Sequential(noisy.get_submodule("conv1"), nn.Dropout(0.5))
    teacher = small_teacher()
    for each in (student, noisy):
        torch.manual_seed(3)
        FeatureDistiller(teacher, each, example=batch()[0])
        draws.append(torch.rand(3))
    assert torch.equal(*draws)


def test_it_goes_on_from_its_saved_state() -> None:
    options: dict[str, Any] = {"margin": "data", "alpha": "auto", "example": batch()[0]}
    distiller = FeatureDistiller(small_teacher(), small_student(), **options)
    trained(distiller, 3)
    fresh = FeatureDistiller(small_teacher(), small_student(seed=9), **options)
    assert fresh.alpha != distiller.alpha
    fresh.load_state_dict(distiller.state_dict(), strict=True)
    assert fresh.alpha == distiller.alpha
    assert fresh.gradient_ratio == distiller.gradient_ratio
    assert trained(fresh, 2, first=3) == trained(distiller, 2, first=3)


@pytest.mark.parametrize("alpha", [1e-3, "auto"])
def test_one_batch_can_be_learnt(alpha: Any) -> None:
    distiller, (images, labels) = distilled(alpha=alpha), batch()
    optimiser = torch.optim.SGD(distiller.parameters(), lr=0.02, momentum=0.9)
    losses = []
    for _ in range(30):
        losses.append(distiller(images, labels))
        optimiser.zero_grad()
        torch.autograd.backward(losses[-1].total)
        optimiser.step()
    first, last = losses[1], losses[-1]
    assert float(last.total.detach()) < 0.7 * float(first.total.detach())
    assert float(last.feature.detach()) < float(first.feature.detach())
    assert float(last.task.detach()) < float(first.task.detach())


def test_evaluation_moves_nothing() -> None:
    distiller = distilled(margin="data", alpha="auto")
    trained(distiller, 1)
    before = copy.deepcopy(distiller.state_dict())
    with torch.no_grad():
        loss = distiller.eval()(*batch(seed=5))
    assert bool(loss.total.isfinite())
    for name, value in distiller.state_dict().items():
        assert torch.equal(value, before[name]) if isinstance(value, Tensor) else value == before[name]


# arguments


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"example": torch.zeros(1, 3, 16, 16)}, r"\(1, 3, 16, 16\), but must be .* N at least 2"),
        ({"example": torch.zeros(3, 16, 16)}, r"\(3, 16, 16\), but must be"),
        ({"form": "plain"}, 'form is "plain", which needs named positions'),
        ({"positions": []}, "positions is empty"),
        ({"positions": ["layer7"]}, "'layer7' is not a module or a ReLU"),
        ({"positions": [("layer1", "fc")]}, r"'fc' makes a tensor of shape \(8, 5\)"),
        ({"weights": [1.0, 2.0]}, "weights has 2 numbers, but there are 3 positions"),
        ({"margin": "exact"}, "margin is 'exact', but must be bn, data or a tensor"),
        ({"margin": [torch.zeros(8)]}, r"tensors of shapes \[\(8,\)\], but must have one .* of \[8, 16, 32\] values"),
        ({"margin": [torch.tensor(0.0)] * 3}, r"tensors of shapes \[\(\), \(\), \(\)\]"),
        ({"margin": [torch.ones(8), torch.zeros(16), torch.zeros(32)]}, "values at most 0"),
        ({"form": "l2"}, "form is 'l2', but must be one of margin, plain"),
        ({"margin_form": "approx"}, "margin_form is 'approx', but must be one of paper, exact"),
        ({"teacher_norm": "eval"}, "teacher_norm is 'eval', but must be one of batch, running"),
        ({"sizes": "crop"}, "sizes is 'crop', but must be one of pool, strict"),
        ({"alpha": -1.0}, r"alpha is -1\.0, but must be above 0"),
        ({"alpha": math.nan}, "alpha is nan, but must be above 0"),
        ({"alpha": "automatic"}, "alpha is 'automatic', but must be above 0"),
        ({"positions": "layer1"}, "positions is 'layer1', but must be a list of names"),
        ({"positions": [("layer1", "layer1", "layer2")]}, "positions is .* but must be a list of names"),
    ],
)
def test_a_wrong_argument_is_one_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        distilled(**options)
    assert "\n" not in str(caught.value)
    assert ". " not in str(caught.value)


def test_strict_sizes_refuse_what_would_be_pooled() -> None:
    strict: dict[str, Any] = {"example": batch()[0], "sizes": "strict"}
    FeatureDistiller(small_teacher(), small_student(), **strict)
    with pytest.raises(UsageError, match=r"'layer1.0.relu#2' of the teacher has 16 x 16 pixels and .* 8 x 8, but"):
        FeatureDistiller(small_teacher(), small_student(half_stem=True), **strict)


def test_networks_without_a_relu_are_told_of_the_plain_form() -> None:
    with pytest.raises(UsageError, match='form="plain"'):
        FeatureDistiller(Smooth(8), Smooth(4), example=batch()[0])


def test_it_prints_its_positions() -> None:
    distiller = distilled()
    last = " ".join(str(distiller.positions).splitlines()[-1].split())
    assert last == "layer3.0.relu#2 32 x 4 x 4 layer3.0.relu#2 16 x 4 x 4 bn of the residual branch 1"
    assert str(distiller.positions).splitlines()[1].strip() in repr(distiller)
    assert math.isnan(distiller.gradient_ratio)


def test_the_first_step_of_a_resizable_student_is_like_the_second() -> None:
    """The network measures itself in its very first pass, on one picture, which must not be taken for the batch."""
    student = make_resizable(small_student("resnet-14"))
    distiller = FeatureDistiller(small_teacher(), student, example=batch()[0]).train()
    torch.manual_seed(0)
    first = distiller(*batch(), scale=1.0)
    torch.manual_seed(0)
    second = distiller(*batch(), scale=1.0)
    for one, other in zip(first.positions, second.positions, strict=True):
        torch.testing.assert_close(one, other)


def test_margins_from_data_are_of_the_teachers_own_pixels() -> None:
    teacher, student = small_teacher(), build_net("resnet-8", classes=CLASSES, width=4, half_stem=True)
    images, labels = batch()
    distiller = FeatureDistiller(teacher, student, example=images, margin="data").train()
    before = [margin.margin.clone() for margin in distiller.margins]
    distiller(images, labels)
    for margin, value in zip(distiller.margins, before, strict=True):
        torch.testing.assert_close(margin.margin, value)


def test_connectors_learn_alone_where_the_student_is_frozen() -> None:
    distiller, (images, labels) = distilled(alpha="auto"), batch()
    distiller.student.requires_grad_(False)
    distiller.train()(images, labels).total.backward()
    assert all(parameter.grad is not None for parameter in distiller.connectors.parameters())
    assert math.isnan(distiller.gradient_ratio)


def test_features_alone_balance_with_the_task_they_are_given() -> None:
    distiller, (images, _) = distilled(alpha="auto").train(), batch()
    with distiller.reading() as seen:
        task = distiller.student(images).square().mean()
    with pytest.raises(UsageError, match="needs it"):
        distiller.feature_loss(seen)
    distiller.feature_loss(seen, task)
    assert distiller.gradient_ratio > 0
