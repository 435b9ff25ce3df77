from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import _get_current_function_mode_stack  # type: ignore[attr-defined]

from tenfold.core.errors import UsageError
from tenfold.distill.dataflow import watch
from tenfold.distill.positions import Position, find_positions, named_positions
from tenfold.distill.taps import reading
from tenfold.nets import build_net

from ..zoo import load_zoo
from .handmade import Handmade, images


def named(network: nn.Module, *names: str) -> tuple[Position, ...]:
    return named_positions(network, watch(network, images()), names)


def found(network: nn.Module) -> tuple[Position, ...]:
    return find_positions(network, watch(network, images(32)))


def functional(net: Any, x: Tensor) -> Tensor:
    return net.b(F.relu(net.note(net.a(x))))


def by_keyword(net: Any, x: Tensor) -> Tensor:
    return net.b(F.relu(input=net.note(net.a(x)), inplace=True))


def by_place(net: Any, x: Tensor) -> Tensor:
    return net.b(F.relu(net.note(net.a(x)), True))


def result_ignored(net: Any, x: Tensor) -> Tensor:
    x = net.note(net.a(x))
    F.relu(x, inplace=True)
    return net.b(x)


def method(net: Any, x: Tensor) -> Tensor:
    x = net.note(net.a(x))
    x.relu_()
    return net.b(x)


def underscored(net: Any, x: Tensor) -> Tensor:
    return net.b(torch.relu_(net.note(net.a(x))))


def clamped(net: Any, x: Tensor) -> Tensor:
    return net.b(F.relu6(net.note(10 * net.a(x)), inplace=True))


def clamped_in_place(net: Any, x: Tensor) -> Tensor:
    return net.b(F.hardtanh_(net.note(10 * net.a(x)), 0.0, 6.0))


def of_sum(net: Any, x: Tensor) -> Tensor:
    shortcut = net.a(x)
    out = net.norm(net.b(shortcut))
    out += shortcut
    net.note(out)
    return net.d(out.relu_())


@pytest.mark.parametrize(
    "steps",
    [functional, by_keyword, by_place, result_ignored, method, underscored, clamped, clamped_in_place, of_sum],
)
def test_what_a_relu_reads_is_read_before_it_is_overwritten(steps: Callable[[Any, Tensor], Tensor]) -> None:
    network = Handmade(steps)
    positions = named(network, "forward")
    with reading(network, positions) as seen:
        network(images(seed=1))
    (tensor,) = seen.tensors
    assert tensor.min() < 0
    assert torch.equal(tensor, network.noted[0])


@pytest.mark.parametrize("module", ["relu", "inplace", "relu6"])
def test_each_call_of_a_shared_module_is_read_by_itself(module: str) -> None:
    def steps(net: Any, x: Tensor) -> Tensor:
        relu = net.get_submodule(module)
        x = relu(net.note(net.a(x)))
        x = relu(net.note(net.b(x)))
        return relu(net.note(net.c(x)))

    network = Handmade(steps)
    positions = named(network, f"{module}#3", module, f"{module}#2")  # as they are given, not as they run
    with reading(network, positions) as seen:
        network(images(seed=1))
    for tensor, number in zip(seen.tensors, (2, 0, 1), strict=True):
        assert torch.equal(tensor, network.noted[number])


def test_what_a_module_returned_is_read_before_it_is_overwritten() -> None:
    def steps(net: Any, x: Tensor) -> Tensor:
        x = net.a(x)
        out = net.note(net.norm(net.b(x)))
        out += x
        return torch.sigmoid(out)

    network = Handmade(steps)
    positions = named(network, "norm")
    assert positions[0].relu is None
    with reading(network, positions) as seen:
        network(images(seed=1))
    assert torch.equal(seen.tensors[0], network.noted[0])


def test_sums_of_a_network_are_what_its_blocks_compute() -> None:
    torch.manual_seed(0)
    network: Any = build_net("resnet-14", classes=5, width=4).eval()
    batch = images(32, seed=1)
    with reading(network, found(network)) as seen:
        network(batch)
    x = network.relu(network.bn1(network.conv1(batch)))
    for stage, tensor in zip((network.layer1, network.layer2, network.layer3), seen.tensors, strict=True):
        x = stage[0](x)
        block = stage[1]
        inner = F.relu(block.bn1(block.conv1(x)))
        x = block.bn2(block.conv2(inner)) + x
        assert torch.equal(tensor, x)
        x = F.relu(x)


def mobilenet_v2() -> nn.Module:
    network: nn.Module = load_zoo("torchvision.models").mobilenet_v2(num_classes=5, width_mult=0.25)
    return network


@pytest.mark.parametrize(
    "build",
    [
        lambda: build_net("resnet-20", classes=5, width=4),
        lambda: build_net("wrn-10-1", classes=5),
        lambda: build_net("pyramidnet-20-12", classes=5, width=4),
        mobilenet_v2,
    ],
    ids=["resnet-20", "wrn-10-1", "pyramidnet", "mobilenet_v2"],
)
def test_reading_changes_no_bit_of_outputs_gradients_and_statistics(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    network = build().eval()
    positions = found(network)
    twin = copy.deepcopy(network).train()
    network.train()
    batch = images(32, count=4, seed=1)
    torch.manual_seed(1)
    with reading(network, positions) as seen:
        outputs = network(batch)
    outputs.square().sum().backward()
    torch.manual_seed(1)
    expected = twin(batch)
    expected.square().sum().backward()
    assert len(seen.tensors) >= 3
    assert torch.equal(outputs, expected)
    for mine, other in zip(network.parameters(), twin.parameters(), strict=True):
        assert mine.grad is not None
        assert other.grad is not None
        assert torch.equal(mine.grad, other.grad)
    for name, value in twin.state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name


@pytest.mark.parametrize("module", ["relu", "inplace"])
def test_gradients_flow_through_what_was_read(module: str) -> None:
    network = Handmade(lambda net, x: net.c(net.get_submodule(module)(net.norm(net.b(net.a(x))))))
    positions = named(network, module)
    batch = images(seed=1)
    with reading(network, positions) as seen:
        outputs = network(batch)
    loss = seen.tensors[0].pow(3).sum() + outputs.sum()
    mine = torch.autograd.grad(loss, (network.a.weight, network.norm.bias))
    inner = network.norm(network.b(network.a(batch)))
    loss = inner.pow(3).sum() + network.c(F.relu(inner)).sum()
    expected = torch.autograd.grad(loss, (network.a.weight, network.norm.bias))
    torch.testing.assert_close(mine, expected)


def test_a_pass_that_fails_leaves_nothing_behind() -> None:
    def steps(net: Any, x: Tensor) -> Tensor:
        x = net.inplace(net.norm(net.a(x)))
        if x.shape[-1] == 8:
            raise RuntimeError("stop")
        return net.b(x)

    network = Handmade(steps)
    positions = named(network, "inplace", "b")
    with reading(network, positions) as seen:
        with pytest.raises(RuntimeError, match="stop"):
            network(images(8))
        assert not _get_current_function_mode_stack()
        kept = seen._found["inplace"]
        F.relu(images())
    assert seen._found == {"inplace": kept}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    with reading(network, positions) as seen:
        network(images())
    assert seen.tensors[0].shape == (2, 4, 16, 16)


def test_what_runs_outside_the_network_is_not_read() -> None:
    inner = Handmade(lambda net, x: net.b(net.inplace(net.note(net.a(x)))))
    positions = named(inner, "inplace")
    first, second = images(seed=1), images(seed=2)

    class Larger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True))
            self.backbone = inner
            self.after = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.after(self.backbone(self.before(x)))

    larger = Larger()
    with reading(inner, positions) as seen:
        F.relu(first)
        larger(second)
        F.relu(first)
    assert torch.equal(seen.tensors[0], inner.noted[0])
    (given,) = seen.inputs
    assert torch.equal(given, larger.before(second))


def test_two_networks_are_read_at_once() -> None:
    outer = Handmade(lambda net, x: net.b(net.relu(net.note(net.a(x)))))
    other = Handmade(lambda net, x: net.b(net.relu(net.note(net.a(x)))))
    at_outer, at_other = named(outer, "relu"), named(other, "relu")
    with reading(outer, at_outer) as first, reading(other, at_other) as second:
        outer(images(seed=1))
        other(images(seed=2))
    assert torch.equal(first.tensors[0], outer.noted[0])
    assert torch.equal(second.tensors[0], other.noted[0])


@pytest.mark.parametrize("passes", [0, 2])
def test_any_number_of_passes_but_one_is_refused(passes: int) -> None:
    network = Handmade(functional)
    with reading(network, named(network, "forward")) as seen:
        for _ in range(passes):
            network(images())
    with pytest.raises(UsageError, match=f"^the network ran {passes} times while it was read, but must run once$"):
        _ = seen.tensors


def test_activations_that_run_in_another_order_are_refused() -> None:
    network = nn.ModuleDict({"narrow": nn.Conv2d(3, 4, 1), "wide": nn.Conv2d(3, 6, 1)})

    class Either(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branches = network
            self.first = "narrow"

        def forward(self, x: Tensor) -> Tensor:
            names = sorted(self.branches, key=lambda name: name != self.first)
            return torch.cat([F.relu(self.branches[name](x)) for name in names], 1)

    either = Either()
    positions = named(either, "forward")
    either.first = "wide"
    with reading(either, positions) as seen:
        either(images())
    expected = r"^'forward' gave a tensor of shape \(2, 6, 16, 16\), but had 4 channels .* in another order$"
    with pytest.raises(UsageError, match=expected):
        _ = seen.tensors


def test_a_relu_that_never_came_is_refused() -> None:
    network = Handmade(lambda net, x: net.relu(net.b(net.relu(net.a(x)))) if net.training else net.relu(net.a(x)))
    positions = named(network, "relu#2")
    with reading(network.eval(), positions) as seen:
        network(images())
    with pytest.raises(
        UsageError, match=r"^the network never came to 'relu#2'.* did not run as it did in the example$"
    ):
        _ = seen.tensors


def test_reading_works_under_autocast_and_in_channels_last() -> None:
    torch.manual_seed(0)
    network = build_net("resnet-8", classes=5, width=4).eval()
    positions = found(network)
    batch = images(32, seed=1)
    with reading(network, positions) as plain:
        network(batch)
    network.to(memory_format=torch.channels_last)
    with reading(network, positions) as last:
        network(batch.to(memory_format=torch.channels_last))
    with torch.autocast("cpu", torch.bfloat16), reading(network, positions) as coarse:
        network(batch)
    assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in last.tensors)
    torch.testing.assert_close(last.tensors, plain.tensors)
    assert all(tensor.dtype == torch.bfloat16 for tensor in coarse.tensors)
    for tensor, expected in zip(coarse.tensors, plain.tensors, strict=True):
        torch.testing.assert_close(tensor.float(), expected, atol=0.1, rtol=0.1)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # the compiler looks at it
@pytest.mark.parametrize("compiled_first", [False, True])
def test_a_compiled_network_is_read_rightly_or_refused(compiled_first: bool) -> None:
    torch.manual_seed(0)
    network = Handmade(lambda net, x: net.c(net.inplace(net.norm(net.b(net.inplace(net.a(x))))))).eval()
    positions = named(network, "inplace#2")
    torch.compiler.reset()
    compiled = torch.compile(network, backend="eager")
    if compiled_first:
        compiled(images())
    for seed in (1, 2):  # once as it is compiled, once as it was
        batch = images(seed=seed)
        with reading(compiled, positions) as seen:
            compiled(batch)
        refusal = ""
        try:
            (tensor,) = seen.tensors
        except UsageError as error:
            refusal = str(error)
        else:
            assert torch.equal(tensor, network.norm(network.b(F.relu(network.a(batch)))))
        assert not refusal or refusal.endswith("did not run as it did in the example")
    assert not _get_current_function_mode_stack()
    torch.compiler.reset()


def test_a_read_tensor_that_is_overwritten_later_is_the_one_the_relu_read() -> None:
    class Overwriting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            y = F.relu(x)
            x += self.second(y)
            return x

    torch.manual_seed(0)
    network, x = Overwriting().eval(), torch.randn(2, 3, 4, 4)
    flow = watch(network, x)
    positions = named_positions(network, flow, ["forward"])
    with reading(network, positions) as seen:
        network(x)
    assert torch.equal(seen.tensors[0], network.first(x))


def test_an_interrupted_pass_leaves_nothing_behind() -> None:
    class Interrupted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyboardInterrupt

    network = Interrupted()
    with pytest.raises(KeyboardInterrupt), reading(network, ()):
        network(torch.zeros(1))
    assert not _get_current_function_mode_stack()
