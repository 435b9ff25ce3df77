"""A guard against a fault of oneDNN that torch inherits on CPUs: wrong weight gradients of strided 1x1 convolutions.

With fewer than eight input channels in channels-last order, their backward pass by weights writes past its workspace
(uxlfoundation/oneDNN issue 6035): with one thread the process dies, with several the gradient is wrong without a word.
"""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor, nn
from torch.nn import functional as F

M = TypeVar("M", bound=nn.Module)

SOUND = 8
"""input channels from which on the gradient is right"""


class SubsampledPointwise(nn.Conv2d):
    """A 1x1 `nn.Conv2d` with a stride, computed as what it is: every stride-th pixel, then a 1x1 convolution."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the parent's name
        """(N, C, H, W) -> (N, out channels, ceil(H / stride), ceil(W / stride)), as the parent."""
        down, across = self.stride[0], self.stride[1]
        return F.conv2d(input[:, :, ::down, ::across], self.weight, self.bias)


def guard_pointwise(module: M) -> M:
    """Make every convolution in `module` that the fault concerns a `SubsampledPointwise`, in place.

    Returns:
        The same module, with the same parameters, hooks and state-dict keys.
    """
    for part in module.modules():
        if (
            type(part) is nn.Conv2d
            and part.kernel_size == (1, 1)
            and part.stride != (1, 1)
            and part.padding in ((0, 0), "valid")
            and part.groups == 1
            and part.in_channels < SOUND
        ):
            part.__class__ = SubsampledPointwise
    return module
