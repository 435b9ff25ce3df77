from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.nets import BasicBlock, PreActivationBlock
from tenfold.resize import GateSettings
from tenfold.resize import gate as gate_module
from tenfold.resize.gate import Dial, Gate, GatedBlock, make_gated_block

from .builders import assert_near, dialled, pictures, plain, set_gates


def softplus(value: float) -> float:
    return math.log(1 + math.exp(value))


def gate(form: str, norm: str) -> Gate:
    torch.manual_seed(0)
    made = Gate(3, GateSettings(form=form, norm=norm, hidden=4, start=0.75))  # type: ignore[arg-type]
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.running_mean)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    return made.eval()


def normed(made: Gate, hidden: Tensor) -> Tensor:
    norm = made.norm
    if isinstance(norm, nn.BatchNorm1d):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        return (hidden - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    if isinstance(norm, nn.LayerNorm):
        spread = hidden.var(1, unbiased=False, keepdim=True)
        return (hidden - hidden.mean(1, keepdim=True)) / (spread + norm.eps).sqrt() * norm.weight + norm.bias
    return hidden


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize("form", ["concat", "monotone"])
def test_logits_follow_the_formula(form: str, norm: str) -> None:
    made, x, scale = gate(form, norm), pictures(6, 5, 7), torch.linspace(0.1, 1.0, 6)
    features = torch.stack([picture.flatten(1).mean(1) for picture in x])
    read = torch.cat([features, scale[:, None]], 1) if form == "concat" else features
    hidden = read @ made.reduce.weight.T + (0 if made.reduce.bias is None else made.reduce.bias)
    logit = F.relu(normed(made, hidden)) @ made.decide.weight[0] + made.offset
    if form == "monotone":
        logit = logit + softplus(made.slope.item()) * (scale - 1)
    torch.testing.assert_close(made(x, scale), logit)


def test_static_logits_follow_the_formula() -> None:
    made, scale = gate("static", "batch"), torch.tensor([0.25, 1.0])
    expected = softplus(made.slope.item()) * (scale - 1) + made.offset.item()
    torch.testing.assert_close(made(pictures(2, 4), scale), expected)


@pytest.mark.parametrize("form", ["concat", "monotone", "static"])
def test_a_new_gate_starts_at_its_first_logit(form: str) -> None:
    settings = GateSettings(form=form, start=1.5)  # type: ignore[arg-type]
    logits = Gate(3, settings).eval()(pictures(4, 8), torch.ones(4))
    torch.testing.assert_close(logits, torch.full((4,), 1.5), atol=0.05, rtol=0)


def test_monotone_gates_open_wider_for_a_larger_scale_whatever_the_picture() -> None:
    made, x = gate("monotone", "batch"), pictures(8, 6)
    logits = torch.stack([made(x, torch.full((8,), scale)) for scale in (0.2, 0.5, 0.9)])
    assert bool((logits.diff(dim=0) > 0).all())


def test_random_gates_open_as_often_as_meets_the_scale() -> None:
    net = dialled(plain("resnet-14"), form="random")
    torch.manual_seed(0)
    for scale in (0.3, 0.6, 0.9):
        assert float(net.outputs(pictures(512, 8), scale).cost.mean()) == pytest.approx(scale, abs=0.02)


def gated(block: nn.Module, **settings: Any) -> tuple[GatedBlock, Dial]:
    dial = Dial(straight_through=settings.get("estimator") == "straight-through")
    made = make_gated_block(block, GateSettings(norm="layer", **settings), dial, 0)
    nn.init.normal_(made.gate.decide.weight, std=3.0)  # type: ignore[union-attr, arg-type]
    nn.init.zeros_(made.gate.offset)  # type: ignore[arg-type]
    return made, dial


def seen_logits(block: GatedBlock) -> list[Tensor]:
    """A list to which each later call of the block's gate adds its logits."""
    seen: list[Tensor] = []
    block.gate.register_forward_hook(lambda module, args, logits: seen.append(logits))
    return seen


def basic_parts(block: BasicBlock, x: Tensor) -> tuple[Tensor, Tensor]:
    residual = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
    return (x if block.downsample is None else block.downsample(x)), residual


def pre_activation_parts(block: PreActivationBlock, x: Tensor) -> tuple[Tensor, Tensor]:
    active = F.relu(block.bn1(x))
    residual = block.conv2(F.relu(block.bn2(block.conv1(active))))
    return (x if block.downsample is None else block.downsample(active)), residual


@pytest.mark.parametrize("outputs", [8, 16])
@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", [BasicBlock, PreActivationBlock])
def test_a_gated_block_adds_its_residual_times_its_gate(kind: Any, training: bool, soft: bool, outputs: int) -> None:
    torch.manual_seed(0)
    block, x = kind(8, outputs, 1 if outputs == 8 else 2), pictures(8, 10, channels=8)
    made, dial = gated(block)
    made.train(training)
    dial.scale, dial.soft = torch.full((8,), 0.9), torch.tensor([soft])
    with torch.no_grad():
        made.gate.offset -= made.gate(x, dial.scale).median() - 0.1
    answer = made(x)
    logits = made.gate(x, dial.scale)
    assert 0 < int((logits > 0).sum()) < 8
    gates = torch.sigmoid(logits) if soft and training else (logits > 0).float()
    shortcut, residual = (basic_parts if kind is BasicBlock else pre_activation_parts)(block, x)
    expected = shortcut + gates[:, None, None, None] * residual
    torch.testing.assert_close(answer, F.relu(expected) if kind is BasicBlock else expected)


def test_soft_gates_answer_with_their_sigmoid_and_the_others_with_a_step() -> None:
    net = dialled(norm="layer").train()
    logits: list[list[Tensor]] = [seen_logits(block) for block in net.blocks]
    soft = torch.tensor([index % 2 == 0 for index in range(len(net.blocks))])
    gates = net.outputs(pictures(8), 0.6, soft=soft).gates
    for index in range(len(net.blocks)):
        logit = logits[index][0]
        torch.testing.assert_close(gates[:, index], torch.sigmoid(logit) if soft[index] else (logit > 0).float())


@pytest.mark.parametrize(("probability", "soft"), [(0.0, False), (1.0, True)])
def test_soft_gates_are_drawn_with_the_settings_probability(probability: float, soft: bool) -> None:
    gates = dialled(soft_probability=probability).train().outputs(pictures(8), 0.6).gates
    assert bool(((gates > 0) & (gates < 1)).any()) == soft


def test_half_of_the_gates_are_soft_at_one_half() -> None:
    net = dialled(plain("resnet-14"), soft_probability=0.5).train()
    torch.manual_seed(0)
    passes = torch.stack([net.outputs(pictures(4, 8), 0.6).gates for _ in range(60)])
    share = ((passes > 0) & (passes < 1)).any(1).float().mean()
    assert float(share) == pytest.approx(0.5, abs=0.1)


def test_straight_through_gates_step_forward_and_have_the_sigmoids_gradient() -> None:
    net = dialled(norm="layer", estimator="straight-through").train()
    seen = [seen_logits(block) for block in net.blocks]
    gates = net.outputs(pictures(8), 0.6, soft=torch.zeros(len(net.blocks), dtype=torch.bool)).gates
    for index, (logit,) in enumerate(seen):
        torch.testing.assert_close(gates[:, index], (logit > 0).float())
        (slope,) = torch.autograd.grad(gates[:, index].sum(), logit, retain_graph=True)
        torch.testing.assert_close(slope, torch.sigmoid(logit) * (1 - torch.sigmoid(logit)))


def test_steps_teach_the_gates_nothing_and_sigmoids_do() -> None:
    net = dialled().train()
    for soft in (False, True):
        net.zero_grad()
        outputs = net.outputs(pictures(8), 0.6, soft=torch.full((len(net.blocks),), soft))
        torch.autograd.backward(outputs.logits.square().sum() + outputs.cost.sum())
        grads = [parameter.grad for parameter in net.gate_parameters()]
        if soft:
            assert all(grad is not None and bool(grad.any()) for grad in grads)
        else:
            assert all(grad is None for grad in grads)
        weight = net.blocks[0].block.get_parameter("conv1.weight")
        assert weight.grad is not None
        assert weight.grad.any()


def test_the_scale_loss_alone_pushes_soft_gates_towards_the_request() -> None:
    net = dialled(form="static").train()
    soft = torch.ones(len(net.blocks), dtype=torch.bool)
    torch.autograd.backward(net.outputs(pictures(4), 0.5, soft=soft).cost.sum())
    grads = [block.gate.get_parameter("offset").grad for block in net.blocks]
    assert all(grad is not None and bool(grad > 0) for grad in grads)


@pytest.mark.parametrize("mode", ["sample", "batch"])
@pytest.mark.parametrize("name", ["resnet-14", "preresnet-14", "wrn-10-1"])
def test_a_block_whose_gates_are_closed_does_not_call_its_residual_branch(name: str, mode: Any) -> None:
    network = plain(name)
    net = dialled(network, form="static")
    set_gates(net, [False] * len(net.blocks)).measure(pictures(1))
    calls: list[nn.Module] = []
    for block in net.blocks:
        block.block.get_submodule("conv2").register_forward_hook(lambda module, *_: calls.append(module))
    net(pictures(4), 1.0)
    assert len(calls) == len(net.blocks)
    calls.clear()
    for count in (1, 4):
        net(pictures(count), 0.5, mode=mode)
    assert calls == []


@pytest.mark.parametrize("below", [-1.0, 1.0])
def test_masking_and_gathering_give_the_same(below: float, monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = dialled(), pictures(16)
    expected = torch.cat([net(picture[None], 0.6) for picture in x])
    monkeypatch.setattr(gate_module, "GATHER_BELOW", below)
    assert_near(net(x, 0.6), expected)


def test_in_place_activations_leave_what_others_read_alone() -> None:
    block = BasicBlock(8, 8)
    assert block.relu.inplace
    made = set_gates_of(block)
    x = pictures(4, 8, channels=8)
    before = x.clone()
    made(x)
    assert torch.equal(x, before)
    skipped = made.skipped()
    torch.testing.assert_close(skipped(x), F.relu(before))
    assert torch.equal(x, before)


def set_gates_of(block: nn.Module) -> GatedBlock:
    """A gated block that is closed for every picture."""
    dial = Dial(scale=torch.full((4,), 0.5))
    made = make_gated_block(block, GateSettings(form="static"), dial, 0).eval()
    nn.init.constant_(made.gate.offset, -50.0)  # type: ignore[arg-type]
    return made


def test_a_forward_that_reads_the_training_flag_is_right_in_both_modes() -> None:
    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 3, padding=1)

        def forward(self, x: Tensor) -> Any:
            return x + F.dropout(self.conv(x), 0.5, self.training)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block, self.fc = Dropping(), nn.Linear(8, 2)

        def forward(self, images: Tensor) -> Any:
            return self.fc(self.block(images).mean((2, 3)))

    network = Net().eval()
    x = pictures(4, 8, channels=8)
    expected = network(x)
    made_in_either_mode = (dialled(network, form="static"), dialled(network.train(), form="static"))
    for net in (*made_in_either_mode, dialled(network, form="static").double().float()):
        set_gates(net, [True])
        torch.testing.assert_close(net(x, 0.9), expected)
        net.train()
        soft = torch.zeros(1, dtype=torch.bool)
        assert not torch.equal(net.outputs(x, 0.9, soft=soft).logits, net.outputs(x, 0.9, soft=soft).logits)
        torch.testing.assert_close(net.eval()(x, 0.9), expected)


def test_a_moved_block_takes_its_own_buffers_along() -> None:
    class Scaled(nn.Module):
        factor: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 3, padding=1)
            self.register_buffer("factor", torch.full((8, 1, 1), 0.5))

        def forward(self, x: Tensor) -> Any:
            return x + self.factor * self.conv(x)

    net = set_gates(dialled(nn.Sequential(Scaled(), nn.Flatten()), form="static"), [True]).double()
    assert net.blocks[0].split.residual.factor.dtype == torch.float64
    assert net(pictures(2, 6, channels=8).double(), 0.9).dtype == torch.float64
