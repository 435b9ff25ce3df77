from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tenfold.core.cost import executed_macs
from tenfold.nets import BasicBlock, ResNet
from tenfold.resize import ResizableNet
from tenfold.resize.freeze import block_usage, choose_blocks, keep_blocks
from tenfold.resize.gate import Gate, GatedBlock

from .builders import NETWORKS, assert_near, dialled, network_of, pictures, plain, set_gates, size_of


@pytest.fixture(scope="module")
def shared() -> ResizableNet:
    """Nobody may change it."""
    net = dialled()
    net.measure(pictures(1))
    return net


def test_usage_is_how_often_each_block_is_open(shared: ResizableNet) -> None:
    x = pictures(40)
    usage = block_usage(shared, x, 0.6, batch_size=16)
    torch.testing.assert_close(usage, shared.outputs(x, 0.6).gates.mean(0))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=9, max_size=9), st.floats(0.01, 1.0))
def test_the_most_used_blocks_are_kept_and_their_cost_is_nearest(
    shared: ResizableNet, usage: list[float], scale: float
) -> None:
    keep = choose_blocks(torch.tensor(usage), shared, scale)
    kept = [use for use, used in zip(usage, keep, strict=True) if used]
    dropped = [use for use, used in zip(usage, keep, strict=True) if not used]
    assert not kept or not dropped or torch.tensor(min(kept)) >= torch.tensor(max(dropped))
    order = torch.tensor(usage).argsort(descending=True, stable=True).tolist()
    choices = [[index in order[:count] for index in range(9)] for count in range(10)]
    nearest = min(abs(shared.cost_of(choice) - scale) for choice in choices)
    assert abs(shared.cost_of(keep) - scale) <= nearest + 1e-6
    if scale == 1.0:
        assert all(keep)


@torch.no_grad()
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_frozen_network_equals_the_gated_one_with_the_same_blocks(kind: str) -> None:
    network = network_of(kind)
    net, x = dialled(network, form="static"), pictures(3, size_of(kind))
    count = len(net.blocks)
    every = {step: [index % step == 0 for index in range(count)] for step in (2, 3)}
    for keep in (every[2], every[3], [False] * count):
        set_gates(net, keep)
        small = keep_blocks(net, keep)
        for mode in ("sample", "batch"):
            assert_near(small(x), net(x, 0.5, mode=mode))
    assert torch.equal(keep_blocks(net, [True] * count)(x), network(x))


@torch.no_grad()
def test_freezing_keeps_the_blocks_in_use_and_no_gate(shared: ResizableNet) -> None:
    x = pictures(32)
    small = shared.freeze(0.6, x)
    keep = choose_blocks(block_usage(shared, x, 0.6), shared, 0.6)
    assert 0 < sum(keep) < 9
    assert not small.training
    assert not any(isinstance(module, Gate | GatedBlock | ResizableNet) for module in small.modules())
    torch.testing.assert_close(small(x), keep_blocks(shared, keep)(x))
    whole = executed_macs(plain(), x[:1])
    assert executed_macs(small, x[:1]) == pytest.approx(shared.cost_of(keep) * whole, rel=1e-5)
    assert type(small) is type(shared.network)


@torch.no_grad()
def test_a_dropped_block_with_nothing_left_is_an_identity(shared: ResizableNet) -> None:
    small = keep_blocks(shared, [True, False, False] * 3)
    assert type(small.get_submodule("layer1.1")) is nn.Identity
    assert type(small.get_submodule("layer2.2")) is nn.Identity


def test_a_frozen_network_is_a_copy(shared: ResizableNet) -> None:
    x, before = pictures(8), copy.deepcopy(shared.state_dict())
    small = shared.freeze(0.6, x, refresh=True)
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.zero_()
    after = shared.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(parameter.requires_grad for parameter in small.parameters())


def test_a_frozen_network_can_be_trained_on() -> None:
    small = dialled(plain("resnet-14")).freeze(0.5, pictures(8)).train()
    torch.autograd.backward(small(pictures(8)).square().mean())
    assert all(parameter.grad is not None for name, parameter in small.named_parameters() if "layer" not in name)


def test_statistics_are_refreshed_when_asked_or_calibrated() -> None:
    def mean(network: nn.Module) -> Tensor:
        return network.get_buffer("bn1.running_mean")

    net, x = dialled(plain("resnet-14")), pictures(64)
    assert torch.equal(mean(net.freeze(0.5, x)), mean(net.network))
    seen = net.network.get_submodule("conv1")(x).mean((0, 2, 3)).detach()
    assert_near(mean(net.freeze(0.5, x, refresh=True)), seen)
    net.calibrate(pictures(32, seed=4))
    assert_near(mean(net.freeze(0.5, x)), seen)
    assert not torch.allclose(mean(net.freeze(0.5, x, refresh=False)), seen, atol=1e-3)
    assert_near(mean(net.freeze(0.5, pictures(8), as_trained=x)), seen)


# what it is for


@pytest.fixture(scope="module", params=["resnet-14", "preresnet-14", "torchvision mobilenet_v2", "timm convnext"])
def small(request: pytest.FixtureRequest) -> nn.Module:
    name = request.param
    network = plain(name) if "net-" in name and " " not in name else network_of(name)
    net = dialled(network, form="static")
    net.measure(pictures(1, 64))
    return keep_blocks(net, [index % 2 == 0 for index in range(len(net.blocks))])


@torch.no_grad()
def test_torch_export_takes_it(small: nn.Module) -> None:
    x = pictures(2, 64)
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(small, (x,), dynamic_shapes=({0: batch},))
    more = pictures(5, 64, seed=1)
    assert_near(exported.module()(more), small(more))


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_onnx_runs_it(small: nn.Module, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    x, file = pictures(2, 64), tmp_path / "small.onnx"
    torch.onnx.export(small, (x,), file, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert_near(torch.from_numpy(found), small(x))


@torch.no_grad()
def test_torch_compile_captures_it_whole(small: nn.Module) -> None:
    x = pictures(2, 64)
    compiled: Any = torch.compile(small, fullgraph=True, backend="eager")
    assert_near(compiled(x), small(x))


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_torch_compile_runs_it() -> None:
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    network = ResNet(BasicBlock, (2,), classes=2, width=4, stem="half").eval()
    small: Any = keep_blocks(dialled(network), [True, False])
    x = pictures(2, 16)
    compiled: Any = torch.compile(small, fullgraph=True)
    assert_near(compiled(x), small(x))
