"""A scalar whose gradients are taken at once, so that nothing of its computation is kept until the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def settled(function: Callable[[Tensor], Tensor], features: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """`function(features)`, a scalar, with the same gradients as without `settled` but less memory held.

    What is kept is one gradient of the size of `features`, not the larger tensors in between. Not twice differentiable.

    Args:
        function: uses no other tensors that need a gradient than its argument and `parameters`.
        features: any shape.
        parameters: leaves that `function` reads.
    """
    if not torch.is_grad_enabled():
        return function(features)
    result: Tensor = _Settled.apply(function, features, *parameters)  # type: ignore[no-untyped-call]
    return result


class _Settled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[[Tensor], Tensor], features: Tensor, *parameters: Tensor) -> Tensor:
        with torch.enable_grad():
            own = features.detach().requires_grad_(features.requires_grad)
            wanted = [tensor for tensor in (own, *parameters) if tensor.requires_grad]
            value = function(own)
            gradients = torch.autograd.grad(value, wanted) if wanted else ()
        ctx.needed = [features.requires_grad, *(parameter.requires_grad for parameter in parameters)]
        ctx.save_for_backward(*gradients)
        return value.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        kept = iter(ctx.saved_tensors)
        return None, *(next(kept) * gradient if needed else None for needed in ctx.needed)
