from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from tenfold.core.cost import alternating_seconds, executed_macs


@pytest.mark.parametrize(
    ("module", "inputs", "macs"),
    [
        (nn.Linear(7, 5), (3, 7), 3 * 7 * 5),
        (nn.Linear(7, 5, bias=False), (3, 7), 3 * 7 * 5),
        (nn.Conv2d(4, 6, 3, padding=1), (2, 4, 10, 8), 2 * 80 * 4 * 6 * 9),
        (nn.Conv2d(4, 6, 3, padding=1, stride=2), (2, 4, 10, 8), 2 * 20 * 4 * 6 * 9),
        (nn.Conv2d(4, 8, 3, padding=1, groups=4), (1, 4, 5, 5), 25 * 8 * 9),
        (nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2)), (2, 4, 8, 8), 0),
    ],
)
def test_multiply_accumulates_by_hand(module: nn.Module, inputs: tuple[int, ...], macs: int) -> None:
    assert executed_macs(module.eval(), torch.randn(inputs)) == macs


def test_only_what_ran_is_counted() -> None:
    module = nn.Linear(4, 4)

    def sometimes(x: torch.Tensor, *, times: int) -> torch.Tensor:
        for _ in range(times):
            x = module(x)
        return x

    assert [executed_macs(sometimes, torch.randn(2, 4), times=times) for times in (0, 1, 3)] == [0, 32, 96]


def test_it_counts_without_numbers_to_compute() -> None:
    with torch.device("meta"):
        assert executed_macs(nn.Conv2d(3, 64, 7), torch.empty(1, 3, 224, 224)) == 218 * 218 * 3 * 64 * 49


def test_it_counts_in_inference_mode() -> None:
    module, x = nn.Linear(4, 4), torch.randn(2, 4)
    with torch.inference_mode():
        assert executed_macs(module, x) == 32


def test_it_leaves_no_graph() -> None:
    module, outputs = nn.Linear(4, 4), []
    executed_macs(lambda x: outputs.append(module(x)), torch.randn(2, 4))
    assert not outputs[0].requires_grad


def test_functions_are_timed_in_turns_after_two_calls_each() -> None:
    calls: list[str] = []
    found = alternating_seconds([lambda x: calls.append("a"), lambda x: calls.append("b")], torch.ones(1), repeats=3)
    assert calls == ["a", "b"] * (2 + 3)
    assert len(found) == 2
    assert all(seconds >= 0 for seconds in found)


def test_times_are_the_medians_of_each_function(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    lasting = {"a": iter([50, 50, 3, 1, 2]), "b": iter([70, 70, 9, 9, 4])}  # the first two calls are not timed

    def call(name: str) -> None:
        nonlocal now
        now += next(lasting[name])

    assert alternating_seconds([lambda: call("a"), lambda: call("b")], repeats=3) == [2, 9]


def test_timed_functions_get_their_inputs_and_leave_no_graph() -> None:
    module, x, seen = nn.Linear(4, 4), torch.randn(2, 4), []
    alternating_seconds([lambda *inputs: seen.append((inputs, module(inputs[0])))], x, 3, repeats=1)
    assert len(seen) == 3
    for inputs, out in seen:
        assert inputs[0] is x
        assert inputs[1:] == (3,)
        assert not out.requires_grad
    module(x).sum().backward()  # nothing that was timed is in the way of training
