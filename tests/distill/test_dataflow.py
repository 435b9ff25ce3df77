from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import _get_current_function_mode_stack  # type: ignore[attr-defined]

from tenfold.core.errors import UsageError
from tenfold.distill.dataflow import Dataflow, Value, main_output, watch

from .handmade import Handmade, images


def kind(value: Value) -> str:
    """The name of a convolution, or what else a value is."""
    if value.relu is not None:
        return "relu"
    if value.is_sum:
        return "sum"
    return value.owner if value.is_convolution else value.function.__name__


def watched(steps: Any) -> Dataflow:
    return watch(Handmade(steps).eval(), images())


def chain(net: Any, x: Tensor) -> Tensor:
    return net.b(F.relu(net.a(x)))


def residual(net: Any, x: Tensor) -> Tensor:
    x = net.a(x)
    return F.relu(net.b(F.relu(x)) + x)


def two_residuals(net: Any, x: Tensor) -> Tensor:
    x = F.relu(net.a(x))
    x = F.relu(net.b(x) + x)
    return F.relu(net.d(F.relu(net.c(x))) + x)


def overlapping(net: Any, x: Tensor) -> Tensor:
    first = net.a(x)
    second = net.b(first)
    third = net.c(second) + first  # reads over `second`, and
    return net.d(third + second)  # this over `third`


def squeeze_and_excite(net: Any, x: Tensor) -> Tensor:
    x = F.relu(net.a(x))
    return net.d(x * torch.sigmoid(net.c(F.relu(net.b(x.mean((2, 3), keepdim=True))))))


def written_into(net: Any, x: Tensor) -> Tensor:
    shortcut = net.a(x)
    out = net.b(F.relu(shortcut))
    out += shortcut
    out.relu_()
    return net.c(out)


def result_ignored(net: Any, x: Tensor) -> Tensor:
    x = net.a(x)
    F.relu(x, inplace=True)
    return net.b(x)


def shortcut_overwritten(net: Any, x: Tensor) -> Tensor:
    x = net.a(x)
    return net.inplace(net.b(net.inplace(x)) + x)  # what is added is no longer what `a` made


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (chain, ["a", "relu", "b"]),
        (residual, ["a", "sum", "relu"]),
        (two_residuals, ["a", "relu", "sum", "relu", "sum", "relu"]),
        (overlapping, ["a", "sum", "d"]),
        (squeeze_and_excite, ["a", "relu", "mul", "d"]),
        (written_into, ["a", "sum", "relu", "c"]),
        (result_ignored, ["a", "relu", "b"]),
        (shortcut_overwritten, ["a", "relu", "sum", "relu"]),
    ],
)
def test_a_bottleneck_is_what_every_path_passes(steps: Any, expected: list[str]) -> None:
    assert [kind(value) for value in watched(steps).bottlenecks] == expected


@given(st.data())
def test_bottlenecks_are_those_whose_removal_cuts_the_output_off(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))
    sources = [
        data.draw(st.lists(st.integers(-1, index - 1), min_size=1, max_size=3), label=f"sources of {index}")
        for index in range(count)
    ]

    class Drawn(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            made = {-1: x}
            for index, inputs in enumerate(sources):
                made[index] = torch.cat([made[each] for each in inputs])
            return made[count - 1]

    def reached(without: int | None) -> bool:
        open_now = {-1}
        for index, inputs in enumerate(sources):
            if index != without and not open_now.isdisjoint(inputs):
                open_now.add(index)
        return count - 1 in open_now

    flow = watch(Drawn(), torch.zeros(1))
    assert len(flow.values) == count
    assert reached(None)
    # what the output does not follow from is no bottleneck, and its removal cuts nothing
    assert [value.index for value in flow.bottlenecks] == [index for index in range(count) if not reached(index)]


def test_a_branch_that_ends_nowhere_is_seen_and_is_not_useful() -> None:
    def auxiliary(net: Any, x: Tensor) -> dict[str, Tensor]:
        x = net.a(x)
        return {"aux": net.d(F.relu(x)), "out": net.b(x)}

    flow = watched(auxiliary)
    assert [kind(value) for value in flow.values] == ["a", "relu", "d", "b"]
    assert flow.useful == {0, 3}
    assert [kind(value) for value in flow.bottlenecks] == ["a", "b"]
    assert flow.ancestors(2) == {0, 1, 2}
    assert (flow.convolutions(2), flow.convolutions(3), flow.convolutions(1)) == (2, 2, 1)


def test_values_know_the_module_and_the_call_that_made_them() -> None:
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) * 2

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.relu = Inner(), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(self.inner(self.relu(self.inner(self.relu(x)))))

    flow = watch(Outer(), torch.randn(1, 4, 2, 2))
    assert [(value.owner, value.call) for value in flow.values] == [
        ("relu", 1),
        ("inner.conv", 1),
        ("inner", 1),
        ("relu", 2),
        ("inner.conv", 2),
        ("inner", 2),
        ("", 1),
    ]
    assert [value.relu for value in flow.values] == [0, None, None, 1, None, None, None]
    # the first that each returned
    assert flow.outputs == {"relu": 0, "inner.conv": 1, "inner": 2, "": 6}


def test_relus_are_counted_whether_or_not_they_read_the_input() -> None:
    def steps(net: Any, x: Tensor) -> Tensor:
        x = F.relu(net.a(x))
        x = x * F.relu(net.b.weight)  # four-dimensional, of the weights only
        F.relu(net.b.bias)  # no feature map
        return net.relu6(torch.relu(F.hardtanh(F.hardtanh(x, -1, 6), 0, 1)))

    flow = watch(Handmade(steps).eval(), images(3, count=4))
    assert [value.relu for value in flow.values if value.relu is not None] == [0, 2, 3]


def test_values_of_a_norm_carry_its_weight_and_bias() -> None:
    network = Handmade(lambda net, x: net.norm(net.a(x)))
    _, norm = watch(network.eval(), images()).values
    assert norm.affine is not None
    assert norm.affine[0] is network.norm.weight
    assert norm.affine[1] is network.norm.bias


def test_what_is_done_in_the_first_pass_only_is_not_seen() -> None:
    def steps(net: Any, x: Tensor) -> Tensor:
        x = F.relu(net.a(x))
        if not hasattr(net, "ready"):
            net.ready = True
            x = F.relu(net.b(x))
        return net.c(x)

    assert [kind(value) for value in watched(steps).values] == ["a", "relu", "c"]


@pytest.mark.parametrize("training", [False, True])
def test_watching_leaves_no_trace(training: bool) -> None:
    network = Handmade(lambda net, x: net.norm(net.a(x))).train(training)
    network.other.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    flags = [module.training for module in network.modules()]
    torch.manual_seed(0)
    noise = torch.get_rng_state()
    watch(network, images())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == flags
    assert torch.equal(torch.get_rng_state(), noise)
    assert_unwatched(network)


@pytest.mark.parametrize("failing", [1, 2])
def test_a_pass_that_fails_leaves_no_trace_either(failing: int) -> None:
    passes = []

    def steps(net: Any, x: Tensor) -> Tensor:
        passes.append(1)
        x = net.norm(net.a(x))
        if len(passes) == failing:
            raise RuntimeError("stop")
        return x

    network = Handmade(steps)
    with pytest.raises(RuntimeError, match="stop"):
        watch(network, images())
    assert network.norm.num_batches_tracked == 0
    assert torch.equal(network.norm.running_mean, torch.zeros(4))  # type: ignore[arg-type]
    assert_unwatched(network)


def assert_unwatched(network: nn.Module) -> None:
    assert not _get_current_function_mode_stack()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert torch.is_grad_enabled()


def test_the_main_output_is_named_out_or_comes_first() -> None:
    first, second = torch.zeros(1), torch.ones(1)
    assert main_output(first) is first
    assert main_output((first, second)) is first
    assert main_output([[second], first]) is second
    assert main_output({"aux": first, "out": second}) is second
    assert main_output({"logits": first, "features": second}) is first
    assert main_output({"aux": first, "out": (second, first)}) is second


def test_an_output_that_does_not_follow_from_the_input_has_no_bottlenecks() -> None:
    flow = watched(lambda net, x: (torch.zeros(2), net.a(x)))
    assert (flow.useful, flow.bottlenecks) == (frozenset(), ())
    assert [kind(value) for value in flow.values] == ["a"]
    assert watched(lambda net, x: x).bottlenecks == ()


def test_an_assignment_to_a_slice_is_followed() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        y = F.relu(net.a(x))
        z = torch.zeros_like(y)
        z[:, 1:] = y[:, :-1]
        return net.b(z)

    flow = watch(Handmade(forward), images())
    relu = next(value for value in flow.values if value.relu is not None)
    assert relu.index in flow.useful
    assert relu in flow.bottlenecks


def test_the_example_is_not_written_to() -> None:
    x = images()
    before = x.clone()
    watch(nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 4, 1)), x)
    assert torch.equal(x, before)


def test_a_scripted_network_and_one_without_a_tensor_are_refused() -> None:
    class Nothing(nn.Module):
        def forward(self, x: Tensor) -> None:
            return None

    with pytest.raises(UsageError, match="returned NoneType without a tensor"):
        watch(Nothing(), images())
    with pytest.warns(DeprecationWarning, match="jit"):
        scripted = torch.jit.script(nn.Conv2d(3, 4, 1))
    with pytest.raises(UsageError, match="is scripted"):
        watch(scripted, images())
