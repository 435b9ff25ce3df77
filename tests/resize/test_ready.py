from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tenfold.resize import GateSettings
from tenfold.resize.gate import Gate
from tenfold.resize.ready import KEPT, make_ready

from .builders import assert_near, calibrated_net, dialled, pictures, plain


def gate(form: Any, norm: Any) -> Gate:
    torch.manual_seed(0)
    made = Gate(3, GateSettings(form=form, norm=norm, hidden=4, start=0.75))
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    if form != "static" and isinstance(made.norm, nn.BatchNorm1d):
        nn.init.normal_(made.norm.running_mean)  # type: ignore[arg-type]
        nn.init.uniform_(made.norm.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    return made.eval()


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("form", ["concat", "monotone"])
def test_a_ready_gate_answers_as_the_gate_does(form: str, norm: str) -> None:
    made, x = gate(form, norm), pictures(6, 5, 7)
    for scale, threshold in ((0.3, 0.0), (0.85, -1.25)):
        ready = make_ready(made, scale, threshold)
        assert ready is not None
        expected = made(x, torch.full((6,), scale)) - threshold
        torch.testing.assert_close(ready.logits(x.mean((2, 3)))[:, 0], expected)


@pytest.mark.parametrize(("form", "norm"), [("static", "batch"), ("monotone", "layer"), ("concat", "layer")])
def test_a_gate_that_cannot_be_folded_is_asked_as_it_is(form: str, norm: str) -> None:
    assert make_ready(gate(form, norm), 0.5, 0.0) is None
    net, x = dialled(form=form, norm=norm), pictures(8)
    assert_near(net(x, 0.6), net(x, torch.full((8,), 0.6)))


@pytest.mark.parametrize("mode", ["sample", "batch"])
def test_one_scale_for_all_is_the_same_as_that_scale_for_each(mode: Any) -> None:
    x = pictures(16, seed=3)
    for net in (dialled(), calibrated_net()):
        for scale in (0.45, 0.625, 0.8, 1.0):
            assert_near(net(x, scale, mode=mode), net(x, torch.full((16,), scale), mode=mode))


def changed_offset(net: Any) -> None:
    for block in net.blocks:
        block.gate.offset.data.add_(3.0)
        with torch.no_grad():
            block.gate.offset.add_(3.0)


def changed_norm(net: Any) -> None:
    for block in net.blocks:
        block.gate.norm.running_mean.sub_(5.0)


def changed_dial(net: Any) -> None:
    net.dial_thresholds.sub_(4.0)


def loaded(net: Any) -> None:
    net.load_state_dict(
        {name: value + 0.5 for name, value in net.state_dict().items() if value.is_floating_point()}, strict=False
    )


def replaced(net: Any) -> None:
    state = {name: value.clone() for name, value in net.state_dict().items()}
    for name in state:
        if name.endswith("gate.offset"):
            state[name] += 4.0
    net.load_state_dict(state, assign=True)


def trained(net: Any) -> None:
    net.train()
    net(pictures(16, seed=9), 0.5)
    net.eval()


@pytest.mark.parametrize("change", [changed_offset, changed_norm, changed_dial, loaded, replaced, trained])
def test_ready_gates_never_outlive_what_they_were_made_of(change: Any) -> None:
    net, x = dialled(), pictures(32, seed=5)
    before = net.outputs(x, 0.5).gates
    change(net)
    after = net.outputs(x, 0.5).gates
    assert not torch.equal(before, after)
    assert torch.equal(after, net.outputs(x, torch.full((32,), 0.5)).gates)


def test_ready_gates_follow_a_move_to_another_type() -> None:
    net, x = dialled(), pictures(8)
    net(x, 0.5)
    assert net.double()(x.double(), 0.5).dtype == torch.float64


def test_the_bank_does_not_make_gates_ready_anew() -> None:
    net, x = calibrated_net(), pictures(4)
    for scale in (0.5, 0.8):
        net(x, scale)
    kept = dict(net._ready._kept)
    for scale in (0.5, 0.8, 0.5):
        net(x, scale)
    assert all(net._ready._kept[key][1] is kept[key][1] for key in kept)


def test_any_number_of_scales_may_be_asked_for() -> None:
    net, x = dialled(form="static"), pictures(1)
    for index in range(KEPT + 5):
        net(x, 0.2 + 0.01 * index)
    assert len(net._ready._kept) <= KEPT


def test_ready_gates_work_for_a_network_made_in_inference_mode() -> None:
    with torch.inference_mode():
        net = dialled()
        x = pictures(4)
        assert_near(net(x, 0.6), net(x, torch.full((4,), 0.6)))


def test_features_are_taken_again_behind_what_writes_in_place() -> None:
    """Two skipped blocks with an in-place module between them, which the second gate must see."""

    class Halve(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mul_(0.5)

    network = plain("resnet-14")
    first, second = network.layer1[0], network.layer1[1]
    network.layer1 = nn.Sequential(first, second, Halve(), plain("resnet-14").layer1[1])
    net = dialled(network)
    x = pictures(8)
    for block in net.blocks:  # closed, but for a threshold near what the features say
        nn.init.constant_(block.gate.offset, -math.inf if block.index < 2 else 0.0)  # type: ignore[arg-type]
    seen: list[Tensor] = []
    net.blocks[2].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    gates = net.outputs(x, 0.6).gates
    expected = net.blocks[2].gate(seen[0], torch.full((8,), 0.6)) > 0
    assert torch.equal(gates[:, 2] > 0, expected)
