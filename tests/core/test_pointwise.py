from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tenfold.core.config import ComputeConfig
from tenfold.core.device import in_memory_order
from tenfold.core.pointwise import SubsampledPointwise, guard_pointwise


@pytest.mark.parametrize("inputs", [1, 4, 5, 7])
@pytest.mark.parametrize("stride", [2, (1, 3), 3])
@pytest.mark.parametrize("bias", [True, False])
def test_outputs_and_gradients_are_the_ordinary_ones(inputs: int, stride: int | tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(inputs, 11, 1, stride=stride, bias=bias)
    guarded = in_memory_order(nn.Sequential(copy.deepcopy(plain)), ComputeConfig(channels_last=True))
    assert type(guarded[0]) is SubsampledPointwise
    images = torch.randn(9, inputs, 14, 13)
    first, second = images.clone().requires_grad_(), images.to(memory_format=torch.channels_last).requires_grad_()
    wanted, found = plain(first), guarded(second)
    torch.testing.assert_close(found, wanted)
    wanted.square().sum().backward()
    found.square().sum().backward()
    torch.testing.assert_close(second.grad, first.grad)
    # where the fault is, the ordinary module in channels-last order gives another gradient, or the process ends
    torch.testing.assert_close(guarded[0].weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-4)


def test_only_what_the_fault_concerns_is_changed() -> None:
    net = nn.Sequential(
        nn.Conv2d(4, 8, 1, stride=2), nn.Conv2d(8, 8, 1, stride=2), nn.Conv2d(4, 8, 1), nn.Conv2d(4, 8, 3, stride=2),
        nn.Conv2d(4, 8, 1, stride=2, padding=1), nn.Conv2d(4, 8, 1, stride=2, groups=2),
    )  # fmt: skip
    keys = list(net.state_dict())
    assert guard_pointwise(net) is net
    assert [type(part) is SubsampledPointwise for part in net] == [True, False, False, False, False, False]
    assert list(net.state_dict()) == keys
    untouched = in_memory_order(nn.Sequential(nn.Conv2d(4, 8, 1, stride=2)), ComputeConfig())
    assert type(untouched[0]) is nn.Conv2d
