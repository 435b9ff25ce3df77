"""What computing something costs: multiply-accumulates that really ran, and time.

Multiply-accumulates are counted by `torch.utils.flop_counter`: matrix products and convolutions, nothing else.

Norms, activations, additions and copies are not counted, which is the custom of the field's published figures.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def executed_macs(function: Callable[..., Any], *inputs: Any, **options: Any) -> int:
    """Call `function(*inputs, **options)` without gradients and return the multiply-accumulates it executed."""
    # the counter dispatches on decomposed operators; in inference mode those are not seen and it would count nothing
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        function(*inputs, **options)
    return counter.get_total_flops() // 2


def alternating_seconds(functions: Sequence[Callable[..., Any]], *inputs: Any, repeats: int) -> list[float]:
    """The median time of each function on `inputs`, measured in turns, because the speed of a shared machine drifts.

    Each is called twice beforehand, without gradients, as all calls are. On a GPU its work is waited for.
    """

    def seconds(function: Callable[..., Any]) -> float:
        wait()
        start = time.perf_counter()
        function(*inputs)
        wait()
        return time.perf_counter() - start

    on_gpu = any(isinstance(value, torch.Tensor) and value.is_cuda for value in inputs)
    wait: Callable[[], Any] = torch.cuda.synchronize if on_gpu else lambda: None
    with torch.inference_mode():
        for function in [*functions, *functions]:
            function(*inputs)
        taken = [[seconds(function) for function in functions] for _ in range(repeats)]
    return [statistics.median(times) for times in zip(*taken, strict=True)]
