"""Gates made ready for inference at one scale: asking one costs three operations. N pictures, C channels, H hidden units.

In `eval` a gate's norm is an affine map and the scale a constant, so both fold into its two layers:

    z = w2 . relu(W1' u + b1') + b2'          u (N, C) = mean of the block's input over height and width

A gate that was asked operation by operation took a third of a small block's own time; so did not to ask it pay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from .gate import Gate

KEPT = 64
"""ready sets of gates that are kept, one for each scale and mode"""


class ReadyGate(NamedTuple):
    """One gate, with its norm, the scale and the dial's threshold folded in. Read only."""

    weight: Tensor
    """(C, H)"""
    offset: Tensor
    """(H,)"""
    decide: Tensor
    """(H, 1)"""
    bias: Tensor
    """(1,)"""

    def logits(self, features: Tensor) -> Tensor:
        """Mean features (N, C) -> (N, 1), threshold included."""
        return torch.addmm(self.bias, torch.addmm(self.offset, features, self.weight).relu_(), self.decide)


@torch.no_grad()
def make_ready(gate: Gate, scale: float, threshold: float) -> ReadyGate | None:
    """Fold a gate for one scale; None where its norm depends on the picture (`layer`) or it reads none (`static`)."""
    if gate.form == "static" or isinstance(gate.norm, nn.LayerNorm):
        return None
    weight: Tensor = gate.reduce.weight
    offset = torch.zeros_like(weight[:, 0]) if gate.reduce.bias is None else gate.reduce.bias.detach()
    if gate.form == "concat":
        weight, offset = weight[:, :-1], offset + scale * weight[:, -1]
    norm = gate.norm
    if isinstance(norm, nn.modules.batchnorm._BatchNorm):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        weight, offset = weight * factor[:, None], (offset - norm.running_mean) * factor + norm.bias
    bias = gate.bias(torch.full((1,), scale, dtype=gate.offset.dtype, device=gate.offset.device)) - threshold
    return ReadyGate(weight.t().contiguous(), offset, gate.decide.weight.t().contiguous(), bias)


Ready = tuple[float, list[ReadyGate | None]]
"""The dial's threshold and the gates with it folded in, where they can be."""


class ReadyGates:
    """The ready gates of a network by scale and mode, made when first asked for and anew when what they are made of changed."""

    def __init__(self) -> None:
        self._kept: dict[tuple[float, str], Ready] = {}
        self._sources: Sequence[Tensor] = ()
        self._versions: list[int] = []

    def get(self, key: tuple[float, str], sources: Callable[[], Sequence[Tensor]], make: Callable[[], Ready]) -> Ready:
        """What is under `key`, from `make` unless they are kept and no tensor of `sources` was written to since."""
        if not self._kept or self._versions != _versions(self._sources):
            self._kept.clear()
            self._sources = sources()
            self._versions = _versions(self._sources)
        if key not in self._kept:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[key] = make()
        return self._kept[key]

    def forget(self) -> None:
        """Tensors may have been replaced, which their versions do not tell."""
        self._kept.clear()
        self._sources = ()


def _versions(tensors: Sequence[Tensor]) -> list[int]:
    # what was made in inference mode counts no versions; nothing can train it either
    return [0 if tensor.is_inference() else tensor._version for tensor in tensors]
