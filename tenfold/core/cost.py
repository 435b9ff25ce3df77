"""Multiply-accumulates that really ran, by `torch.utils.flop_counter`: matrix products and convolutions, nothing else.

Norms, activations, additions and copies are not counted, which is the custom of the field's published figures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def executed_macs(function: Callable[..., Any], *inputs: Any, **options: Any) -> int:
    """Call `function(*inputs, **options)` without gradients and return the multiply-accumulates it executed."""
    # the counter dispatches on decomposed operators; in inference mode those are not seen and it would count nothing
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        function(*inputs, **options)
    return counter.get_total_flops() // 2
