from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tenfold.core.checkpoint import load_state, save_state
from tenfold.core.errors import UsageError
from tenfold.resize import GateSettings, ResizableNet, make_resizable

from .builders import (
    CLASSES,
    NETWORKS,
    assert_near,
    dialled,
    network_of,
    pictures,
    plain,
    set_gates,
    size_of,
)

# what it is equal to


@pytest.mark.parametrize("kind", NETWORKS)
def test_at_scale_1_it_is_the_wrapped_network_bit_for_bit(kind: str) -> None:
    network = network_of(kind)
    net, x = dialled(network), pictures(3, size_of(kind))
    with torch.no_grad():
        for mode in ("sample", "batch"):
            assert torch.equal(net(x, 1.0, mode=mode), network(x))
        assert torch.equal(net(x, torch.ones(3)), network(x))
        assert torch.equal(net.full(x), network(x))
        assert_near(net(x, torch.tensor([1.0, 0.5, 1.0]))[[0, 2]], network(x)[[0, 2]])


def test_open_gates_compute_the_wrapped_network_in_training_too() -> None:
    network = plain()
    net = dialled(network).train()
    x = pictures(8)
    torch.testing.assert_close(net.full(x), network.train()(x))
    open_gates = set_gates(dialled(network, form="static"), [True] * 9).train()
    soft = torch.zeros(9, dtype=torch.bool)
    torch.testing.assert_close(open_gates.outputs(x, 1.0, soft=soft).logits, network(x))


@pytest.mark.parametrize("kind", NETWORKS)
def test_each_pictures_result_in_a_batch_is_that_of_the_picture_alone(kind: str) -> None:
    net, x = dialled(network_of(kind)), pictures(6, size_of(kind))
    scales = torch.tensor([0.3, 0.5, 0.7, 0.9, 1.0, 0.6])
    with torch.no_grad():
        together = net.outputs(x, scales)
        alone = [net.outputs(x[row : row + 1], float(scales[row])) for row in range(6)]
    assert_near(together.logits, torch.cat([one.logits for one in alone]))
    assert torch.equal(together.gates, torch.cat([one.gates for one in alone]))
    torch.testing.assert_close(together.cost, torch.cat([one.cost for one in alone]))


@torch.no_grad()
def test_so_it_is_with_a_calibrated_dial_and_any_order(calibrated: ResizableNet) -> None:
    x = pictures(12, seed=2)
    scales = torch.tensor([0.2, 0.44, 0.46, 0.5, 0.65, 0.66, 0.75, 0.8, 0.9, 0.97, 1.0, 0.43])
    together = calibrated.outputs(x, scales)
    alone = [calibrated.outputs(x[row : row + 1], float(scales[row])) for row in range(12)]
    assert torch.equal(together.gates, torch.cat([one.gates for one in alone]))
    assert_near(together.logits, torch.cat([one.logits for one in alone]))
    order = torch.randperm(12)
    assert_near(calibrated(x[order], scales[order]), together.logits[order])


@torch.no_grad()
def test_decisions_differ_between_pictures_and_rise_with_the_scale(shared: ResizableNet) -> None:
    x = pictures(32)
    gates = shared.outputs(x, 0.6).gates
    assert bool((gates != gates[:1]).any())
    costs = [float(shared.outputs(x, scale).cost.mean()) for scale in (0.2, 0.5, 0.8, 1.0)]
    assert costs == sorted(costs)
    assert costs[0] < costs[-1] == 1.0


@torch.no_grad()
def test_a_batch_that_decides_together_goes_by_the_mean_of_its_logits(shared: ResizableNet) -> None:
    x, block = pictures(8), shared.blocks[0]
    read: list[Tensor] = []
    with block.register_forward_pre_hook(lambda module, args: read.append(args[0])):
        gates = [shared.outputs(x, scale, mode="batch").gates for scale in (0.1, 0.4, 0.7, 0.95)]
    for features, scale, together in zip(read, (0.1, 0.4, 0.7, 0.95), gates, strict=True):
        assert torch.equal(together, together[:1].expand(8, -1))
        logits = block.gate(features, torch.full((8,), scale))
        assert bool(together[0, 0]) == (float(logits.mean()) > 0)
    assert len({bool(together[0, 0]) for together in gates}) == 2


class Ending(nn.Module):
    """x and a convolution of it, added, with any activation behind."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.conv, self.activation = nn.Conv2d(3, 3, 3, padding=1), activation

    def forward(self, x: Tensor) -> Any:
        return self.activation(x + self.conv(x))


@torch.no_grad()
@pytest.mark.parametrize("second", [nn.ReLU(), nn.ReLU(inplace=True), nn.Sigmoid(), nn.Identity()])
@pytest.mark.parametrize("first", [nn.ReLU(), nn.ReLU(inplace=True), nn.Sigmoid(), nn.Identity()])
def test_a_skipped_block_keeps_the_activation_behind_its_addition(first: nn.Module, second: nn.Module) -> None:
    net = dialled(nn.Sequential(Ending(first), Ending(second), nn.Flatten()), form="static")
    set_gates(net, [False, False])
    x = pictures(2, 6)
    expected = second(first(x.clone())).flatten(1)
    before = x.clone()
    for inputs in (x, x[:1]):
        assert torch.equal(net(inputs, 0.9), expected[: len(inputs)])
    assert torch.equal(net.freeze(0.01, x)(x), expected)
    assert torch.equal(x, before)


# what it leaves alone


def test_the_network_it_is_made_of_stays_as_it_was() -> None:
    network = plain("resnet-8").train()
    before, modules = copy.deepcopy(network.state_dict()), [type(module) for module in network.modules()]
    net = dialled(network).train()
    torch.autograd.backward(net.outputs(pictures(8), 0.5).logits.sum())
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1.0)
    assert [type(module) for module in network.modules()] == modules
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("kind", ["basic", "pre-activation", "timm convnext"])
def test_no_parameter_is_listed_twice_and_none_is_lost(kind: str) -> None:
    network = network_of(kind)
    net = make_resizable(network)
    listed = [id(parameter) for parameter in net.parameters()]
    gates = list(net.gate_parameters())
    assert len(listed) == len(set(listed)) == len(list(network.parameters())) + len(gates)
    names = list(net.state_dict())
    assert len(names) == len(set(names))
    storages = [value.data_ptr() for value in net.state_dict().values() if value.numel()]
    assert len(storages) == len(set(storages))


def test_measuring_and_reporting_leave_every_module_in_its_mode() -> None:
    net, x = dialled(plain("resnet-8")).train(), pictures(8)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()  # as who fine-tunes with frozen norms does
    modes = [module.training for module in net.modules()]
    weights = copy.deepcopy(net.network.state_dict())
    net.measure(x)
    net.cost_report(x)
    net.freeze(0.6, x)
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, weights[name]) for name, value in net.network.state_dict().items())
    net.calibrate(x)
    assert [module.training for module in net.modules()] == modes


def test_a_pass_leaves_nothing_behind(shared: ResizableNet) -> None:
    shared(pictures(2), 0.5)
    dial = shared._dial
    assert dial.scale is None
    assert not dial.gates
    assert not dial.logits
    with pytest.raises(UsageError):
        shared(pictures(2, channels=4), 0.5)
    assert dial.scale is None


def test_gradients_reach_every_parameter() -> None:
    net = dialled(plain("resnet-14"), norm="layer").train()
    soft = torch.ones(len(net.blocks), dtype=torch.bool)
    outputs = net.outputs(pictures(8), 0.6, soft=soft)
    torch.autograd.backward(outputs.logits.square().mean() + outputs.cost.mean())
    missing = [name for name, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert missing == []


def test_a_closed_gate_gives_its_residual_no_gradient() -> None:
    net = set_gates(dialled(plain("resnet-8"), form="static"), [False, True, True]).train()
    torch.autograd.backward(net.outputs(pictures(8), 0.6, soft=torch.zeros(3, dtype=torch.bool)).logits.sum())
    assert not net.blocks[0].block.conv1.weight.grad.any()  # type: ignore[union-attr, operator]
    assert net.blocks[1].block.conv1.weight.grad.any()  # type: ignore[union-attr, operator]


# copies


@torch.no_grad()
@pytest.mark.parametrize("calibrate", [False, True])
def test_weights_and_dial_survive_a_checkpoint(calibrate: bool, calibrated: ResizableNet, tmp_path: Path) -> None:
    net, x = calibrated if calibrate else dialled(), pictures(16)
    scales = torch.linspace(0.3, 1.0, 16)
    expected = net.outputs(x, scales)
    save_state(tmp_path, {"net": net.state_dict()})
    other = make_resizable(plain()).eval()
    other(x, 0.5)
    other.load_state_dict(load_state(tmp_path)["net"])
    found = other.outputs(x, scales)
    assert torch.equal(found.gates, expected.gates)
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(found.cost, expected.cost)
    assert other.calibrated == calibrate


@torch.no_grad()
@pytest.mark.parametrize("calibrate", [False, True])
def test_a_deep_copy_is_equal_and_independent(calibrate: bool, calibrated: ResizableNet) -> None:
    net, x = calibrated if calibrate else dialled(), pictures(8)
    expected = net(x, 0.6)
    other = copy.deepcopy(net)
    assert torch.equal(other(x, 0.6), expected)
    for parameter in other.parameters():
        parameter.zero_()
    assert not other(x, 0.6).any()
    assert torch.equal(net(x, 0.6), expected)
    other.mode, other._dial.straight_through = "batch", True
    assert net.mode == "sample"
    assert not net._dial.straight_through


# where it runs


@torch.no_grad()
def test_channels_last_gives_the_same(shared: ResizableNet) -> None:
    x = pictures(16)
    expected = shared.outputs(x, 0.6)
    net = copy.deepcopy(shared).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    found = net.outputs(x.to(memory_format=torch.channels_last), 0.6)
    assert torch.equal(found.gates, expected.gates)
    assert_near(found.logits, expected.logits)


@torch.no_grad()
@pytest.mark.parametrize("mode", ["sample", "batch"])
def test_mixed_precision_decides_alike(shared: ResizableNet, mode: Any) -> None:
    x = pictures(32)
    expected = shared.outputs(x, 0.6, mode=mode)
    with torch.autocast("cpu", torch.bfloat16):
        found = shared.outputs(x, 0.6, mode=mode)
    assert float((found.gates == expected.gates).float().mean()) > 0.95
    alike = (found.gates == expected.gates).all(1)
    torch.testing.assert_close(found.logits[alike].float(), expected.logits[alike], atol=0.1, rtol=0.1)
    assert found.cost.dtype == torch.float32


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("calibrate", [False, True])
def test_other_types_decide_alike(dtype: torch.dtype, calibrate: bool, calibrated: ResizableNet) -> None:
    net, x = calibrated if calibrate else dialled(), pictures(32)
    expected = net.outputs(x, 0.6).gates
    found = copy.deepcopy(net).to(dtype).outputs(x.to(dtype), 0.6)
    assert found.logits.dtype == dtype
    assert float((found.gates == expected).float().mean()) > 0.93


def test_mixed_precision_trains() -> None:
    net = dialled(plain("resnet-8")).train()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = net.outputs(pictures(8), 0.6, soft=torch.tensor([True, False, True]))
    torch.autograd.backward(outputs.logits.float().square().mean() + outputs.cost.mean())
    assert all(parameter.grad is None or bool(parameter.grad.isfinite().all()) for parameter in net.parameters())


@pytest.mark.parametrize("mode", ["sample", "batch"])
def test_inference_mode_as_the_first_pass(mode: Any) -> None:
    net, x = dialled(), pictures(4)
    expected = copy.deepcopy(net)(x, 0.6, mode=mode).detach()
    with torch.inference_mode():
        torch.testing.assert_close(net(x, 0.6, mode=mode), expected)


@torch.no_grad()
@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("mode", ["sample", "batch"])
def test_no_picture_and_one_picture(count: int, mode: Any, calibrated: ResizableNet) -> None:
    for net in (dialled(), calibrated):
        for scale in (0.5, 1.0, torch.full((count,), 0.7)):
            outputs = net.outputs(pictures(count), scale, mode=mode)
            assert outputs.logits.shape == (count, CLASSES)
            assert outputs.gates.shape == (count, 9)
            assert outputs.cost.shape == (count,)
            assert bool(outputs.logits.isfinite().all())


@torch.no_grad()
@settings(max_examples=15, deadline=None)
@given(st.integers(9, 40), st.integers(9, 40), st.integers(1, 5), st.floats(0.05, 1.0))
def test_any_size_of_pictures_and_batches(height: int, width: int, count: int, scale: float) -> None:
    net = dialled(plain("preresnet-8"))
    outputs = net.outputs(pictures(count, height, width), scale)
    assert outputs.logits.shape == (count, CLASSES)
    assert bool(((outputs.cost >= net.lowest_cost - 1e-6) & (outputs.cost <= 1 + 1e-6)).all())


@torch.no_grad()
def test_odd_sizes_through_strides_and_projections() -> None:
    for name in ("resnet-14", "resnetA-14", "wrn-10-2"):
        network = plain(name)
        net, x = dialled(network), pictures(4, 33, 31)
        assert torch.equal(net(x, 1.0), network(x))
        assert_near(net(x, 0.5), torch.cat([net(picture[None], 0.5) for picture in x]))


def test_in_training_one_gate_norm_needs_no_batch() -> None:
    net = dialled(plain("resnet-8"), norm="layer").train()
    for module in net.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    assert net(pictures(1), 0.5).shape == (1, CLASSES)


# what it refuses


@pytest.mark.parametrize("scale", [0.0, -0.1, 1.01, float("nan"), float("inf"), 65])
def test_a_scale_outside_its_range_is_refused(shared: ResizableNet, scale: float) -> None:
    with pytest.raises(UsageError, match=rf"^scale is {scale:g}, but must be above 0 and at most 1$"):
        shared(pictures(2), scale)
    with pytest.raises(UsageError, match="must be above 0 and at most 1"):
        shared(pictures(2), torch.tensor([0.5, scale]))
    with pytest.raises(UsageError, match="must be above 0 and at most 1"):
        shared.freeze(scale, pictures(2))
    with pytest.raises(UsageError, match="must be above 0 and at most 1"):
        shared.cost_report(pictures(2), scales=(0.5, scale))


@pytest.mark.parametrize("shape", [(3,), (1,), (2, 1), (0,)])
def test_a_scale_of_a_wrong_shape_is_refused(shared: ResizableNet, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"scale has shape .* one for each of 2 pictures"):
        shared(pictures(2), torch.full(shape, 0.5))


def test_an_unknown_mode_is_refused(shared: ResizableNet) -> None:
    with pytest.raises(UsageError, match=r"^mode is 'frozen', but must be one of sample, batch$"):
        shared(pictures(2), 0.5, mode="frozen")


def test_a_picture_without_its_batch_is_refused(shared: ResizableNet) -> None:
    with pytest.raises(UsageError, match=r"images have shape \(3, 32, 32\), but must be \(N, C, H, W\)"):
        shared(pictures(1)[0], 0.5)


@pytest.mark.parametrize(
    "network",
    [
        lambda: nn.Linear(3, 2),
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 2)),
        lambda: nn.TransformerEncoderLayer(8, 2, batch_first=True),
    ],
)
def test_a_network_without_residual_blocks_is_refused(network: Callable[[], nn.Module]) -> None:
    made = network()
    with pytest.raises(UsageError, match=rf"^{type(made).__name__} has no residual blocks to gate, but must have"):
        make_resizable(made, GateSettings())


def test_nothing_is_calibrated_or_frozen_without_pictures(shared: ResizableNet) -> None:
    with pytest.raises(UsageError, match="calibration was given 0 pictures"):
        shared.calibrate(pictures(0))
    with pytest.raises(UsageError, match="freeze was given 0 pictures"):
        shared.freeze(0.5, pictures(0))
    with pytest.raises(UsageError, match="given 0 pictures"):
        shared.calibrate(pictures(2), as_trained=pictures(0))
    with pytest.raises(UsageError, match="given 0 pictures"):
        shared.freeze(0.5, pictures(2), as_trained=pictures(0))


@pytest.mark.parametrize("training", [False, True])
def test_a_wrong_channel_count_is_named(shared: ResizableNet, training: bool) -> None:
    net = copy.deepcopy(shared).train(training)
    with pytest.raises(UsageError, match=r"^images have 1 channels, but ResNet takes 3$"):
        net(torch.zeros(2, 1, 32, 32), 0.5)


def test_a_scale_that_is_no_number_is_refused(shared: ResizableNet) -> None:
    with pytest.raises(UsageError, match=r"^scale is 'a', but must be one number"):
        shared(pictures(2), "a")  # type: ignore[arg-type]
