from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tenfold.core.cost import executed_macs
from tenfold.nets import BasicBlock, Bottleneck, ResNet
from tenfold.resize import ResizableNet, make_resizable

from .builders import (
    NETWORKS,
    dialled,
    network_of,
    pictures,
    plain,
    set_gates,
    size_of,
)


def gate_macs(net: ResizableNet) -> int:
    """Multiply-accumulates of all gates for one picture, from the layer sizes: channels x hidden + hidden x 1."""
    hidden = net.settings.hidden
    return sum(block.gate.reduce.in_features * hidden + hidden for block in net.blocks)  # type: ignore[union-attr, operator, misc]


@torch.no_grad()
@pytest.mark.parametrize("kind", NETWORKS)
def test_executed_multiply_accumulates_are_the_reported_cost(kind: str) -> None:
    network = network_of(kind)
    net, x = dialled(network), pictures(8, size_of(kind))
    whole, gates = executed_macs(network, x) // 8, gate_macs(net)
    assert executed_macs(net.full, x) == 8 * whole
    shares = []
    for scale in (0.2, 0.5, 0.8):
        for mode in ("sample", "batch"):
            for inputs in (x, x[:1]):
                cost = float(net.outputs(inputs, scale, mode=mode).cost.double().sum())
                executed = executed_macs(net, inputs, scale, mode=mode)
                assert executed == pytest.approx(cost * whole + len(inputs) * gates, rel=1e-5)
                shares.append(cost / len(inputs))
    assert min(shares) < 0.9


@torch.no_grad()
def test_pictures_that_keep_a_block_are_gathered(shared: ResizableNet) -> None:
    x, calls = pictures(8), {}
    shared.measure(x)
    hooks = [
        block.block.conv1.register_forward_pre_hook(  # type: ignore[union-attr]
            lambda module, args, index=index: calls.update({index: len(args[0])})
        )
        for index, block in enumerate(shared.blocks)
    ]
    kept = shared.outputs(x, 0.6).gates.sum(0).int().tolist()
    for hook in hooks:
        hook.remove()
    assert any(0 < count < 8 for count in kept)
    assert calls == {index: count for index, count in enumerate(kept) if count}


@torch.no_grad()
@pytest.mark.parametrize("calibrate", [False, True])
def test_a_frozen_network_executes_its_share(calibrate: bool, calibrated: ResizableNet) -> None:
    network = plain()
    net, x = calibrated if calibrate else dialled(network), pictures(64)
    whole = executed_macs(network, x[:4])
    for scale in (0.45, 0.65, 0.8):
        small = net.freeze(scale, x)
        share = executed_macs(small, x[:4]) / whole
        assert share == pytest.approx(scale, abs=0.06)  # half of the dearest block


def test_measured_costs_are_those_of_the_formulas() -> None:
    net = make_resizable(ResNet(BasicBlock, (2, 1), classes=7, width=4, stem="small"))
    net.measure(pictures(1, 16))
    stem = 3 * 4 * 9 * 256
    blocks = [2 * 4 * 4 * 9 * 256] * 2 + [(4 * 8 * 9 + 8 * 8 * 9) * 64]
    shortcut, head = 4 * 8 * 64, 8 * 7
    whole = stem + sum(blocks) + shortcut + head
    torch.testing.assert_close(net.block_costs, torch.tensor(blocks) / whole)
    assert float(net.fixed_cost) == pytest.approx((stem + shortcut + head) / whole, rel=1e-5)
    assert net.lowest_cost == pytest.approx((stem + shortcut + head) / whole, rel=1e-5)
    assert net.cost_of([True, False, True]) == pytest.approx((whole - blocks[1]) / whole)


def test_measured_costs_of_a_bottleneck() -> None:
    net = make_resizable(ResNet(Bottleneck, (1,), classes=2, width=4, stem="small"))
    net.measure(pictures(1, 8))
    stem, residual = 3 * 4 * 9 * 64, (4 * 4 + 4 * 4 * 9 + 4 * 16) * 64
    whole = stem + residual + 4 * 16 * 64 + 16 * 2
    torch.testing.assert_close(net.block_costs, torch.tensor([residual / whole]))


def test_cost_by_blocks_is_the_share_of_open_gates() -> None:
    net = dialled(cost="blocks")
    outputs = net.outputs(pictures(8), 0.6)
    torch.testing.assert_close(outputs.cost, outputs.gates.mean(1))
    assert net.lowest_cost == 0.0


def test_costs_belong_to_their_blocks_where_blocks_run_in_another_order() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.second, self.first = BasicBlock(8, 16, 2), BasicBlock(8, 8)
            self.stem, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(16, 2)

        def forward(self, images: Tensor) -> Any:
            logits: Tensor = self.fc(self.second(self.first(self.stem(images))).mean((2, 3)))
            return logits

    network = Backwards().eval()
    net, x = set_gates(dialled(network, form="static"), [False, True]), pictures(2)
    outputs = net.outputs(x, 0.6)
    assert net.block_names == ("second", "first")
    assert outputs.gates.tolist() == [[0.0, 1.0]] * 2
    executed = executed_macs(net, x, 0.6) / executed_macs(network, x)
    torch.testing.assert_close(outputs.cost, torch.full((2,), executed))


def test_the_cost_report_shows_what_was_asked_and_given(shared: ResizableNet) -> None:
    x = pictures(16)
    report = shared.cost_report(x, scales=(0.5, 1.0))
    outputs = shared.outputs(x, 0.5)
    half, whole = report.rows
    assert (half.requested, whole.requested) == (0.5, 1.0)
    assert half.achieved == pytest.approx(float(outputs.cost.mean()))
    assert (half.lowest, half.highest) == (float(outputs.cost.min()), float(outputs.cost.max()))
    assert half.blocks == pytest.approx(float(outputs.gates.sum(1).mean()))
    assert (whole.achieved, whole.blocks, report.total_blocks) == (1.0, 9.0, 9)
    assert report.largest_gap == pytest.approx(abs(half.achieved - 0.5))
    assert "MACs" in str(report)
    assert "9.0/9" in str(report)
