from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tenfold.resize import relative_cost, scale_loss, self_distillation
from tenfold.resize.config import TrainSettings
from tenfold.resize.objective import ResizableObjective

from .builders import dialled, pictures, plain


def test_relative_cost_by_hand() -> None:
    gates = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.5]])
    costs = torch.tensor([10.0, 20.0, 40.0])
    # (30 + 70) / 100, (30 + 0) / 100, (30 + 10 + 20) / 100
    torch.testing.assert_close(relative_cost(gates, costs, 30.0), torch.tensor([1.0, 0.3, 0.6]))
    torch.testing.assert_close(relative_cost(gates, costs), torch.tensor([1.0, 0.0, 30 / 70]))


GATES_AND_COSTS = st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 10)), min_size=1, max_size=6)


@given(GATES_AND_COSTS, st.floats(0, 10), st.floats(0.01, 100))
def test_relative_cost_lies_between_its_ends_and_knows_no_unit(
    pairs: list[tuple[float, float]], fixed: float, unit: float
) -> None:
    gates, costs = torch.tensor(pairs, dtype=torch.float64).T
    cost = float(relative_cost(gates[None], costs, fixed))
    assert fixed / (fixed + float(costs.sum())) - 1e-9 <= cost <= 1 + 1e-9
    assert float(relative_cost(gates[None], costs * unit, fixed * unit)) == pytest.approx(cost)


def test_relative_cost_has_each_blocks_share_as_gradient() -> None:
    gates = torch.rand(4, 3, requires_grad=True)
    torch.autograd.backward(relative_cost(gates, torch.tensor([1.0, 2.0, 4.0]), 1.0).sum())
    torch.testing.assert_close(gates.grad, torch.tensor([1.0, 2.0, 4.0]).div(8).expand(4, 3))


def test_relative_cost_is_exact_under_mixed_precision() -> None:
    gates, costs = torch.rand(8, 9), torch.rand(9)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = relative_cost(gates, costs, 0.1)
    assert torch.equal(mixed, relative_cost(gates, costs, 0.1))


def test_scale_loss_by_hand() -> None:
    # ((0.9 - 0.5)^2 + (0.2 - 0.6)^2) / 2
    loss = scale_loss(torch.tensor([0.9, 0.2]), torch.tensor([0.5, 0.6]))
    assert float(loss) == pytest.approx(0.16)


def test_self_distillation_by_hand() -> None:
    logits, full = torch.tensor([[0.0, math.log(3)]]), torch.tensor([[math.log(4), 0.0]])
    # full: (4/5, 1/5); gated: (1/4, 3/4)
    expected = 0.8 * math.log(0.8 / 0.25) + 0.2 * math.log(0.2 / 0.75)
    assert float(self_distillation(logits, full)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_self_distillation_is_the_mean_divergence_times_the_squared_temperature(temperature: float) -> None:
    logits, full = torch.randn(5, 7), torch.randn(5, 7)
    p, q = (full / temperature).softmax(1), (logits / temperature).softmax(1)
    expected = (p * (p / q).log()).sum() / 5 * temperature**2
    torch.testing.assert_close(self_distillation(logits, full, temperature), expected)


def test_self_distillation_teaches_the_gated_path_only() -> None:
    logits, full = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    torch.autograd.backward(self_distillation(logits, full))
    assert full.grad is None
    torch.testing.assert_close(logits.grad, (logits.softmax(1) - full.softmax(1)).detach() / 4)


def test_the_objective_is_the_task_loss_plus_the_weighted_rest() -> None:
    net = dialled(plain("resnet-8")).train()
    weights = TrainSettings(scale_weight=3.0, distill_weight=0.5, temperature=2.0)
    images, targets, scales = pictures(8), torch.arange(8) % 5, torch.linspace(0.3, 1.0, 8)
    soft = torch.tensor([True, False, True])
    found = ResizableObjective(net, weights)(images, targets, scales, soft)
    outputs, full = net.outputs(images, scales, soft=soft), net.full(images)
    task = -outputs.logits.log_softmax(1)[torch.arange(8), targets].mean()
    scale = (outputs.cost - scales).square().mean()
    distill = self_distillation(outputs.logits, full, 2.0)
    whole = -full.log_softmax(1)[torch.arange(8), targets].mean()
    torch.testing.assert_close(found.total, task + 3.0 * scale + 0.5 * distill + whole)
    torch.testing.assert_close(torch.stack(found[1:]), torch.stack([task, scale, distill]).detach())


def test_while_gates_are_held_open_only_the_network_learns() -> None:
    net = dialled(plain("resnet-8")).train()
    images, targets = pictures(8), torch.arange(8) % 5
    found = ResizableObjective(net, TrainSettings(distill_weight=1.0))(images, targets, torch.full((8,), 0.5), None)
    torch.autograd.backward(found.total)
    torch.testing.assert_close(found.total, torch.nn.functional.cross_entropy(net.full(images), targets))
    assert all(parameter.grad is None for parameter in net.gate_parameters())
    assert all(parameter.grad is not None for parameter in net.blocks[0].block.parameters())
