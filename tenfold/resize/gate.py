"""The conditional gating module and the block it gates. N pictures, C channels, L gated blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import GateSettings
from .ready import ReadyGate
from .residual import Split, input_channels, is_tensor_batch, split_block

Mode = Literal["sample", "batch"]

# Below this share of kept pictures, gathering them is faster than computing all and masking: on a CPU a batch of 64 at a cost of
# 0.8 takes 0.92 of the whole network's time gathered.
GATHER_BELOW = 0.9


@dataclass
class Dial:
    """What one forward pass asks of the gates, and what they answered. All blocks of a network share one."""

    scale: Tensor | None = None
    """(N,) requested cost; None opens every block without asking its gate"""
    threshold: Tensor | float = 0.0
    """(N,) or a number: a gate opens where its logit exceeds it"""
    ready: Sequence[ReadyGate | None] | None = None
    """(L,) the gates folded for the one scale and threshold of all pictures, in `eval`; None where a gate cannot be"""
    mode: Mode = "sample"
    soft: Tensor | None = None
    """(L,) bool, in training: which gates answer with a sigmoid instead of a step"""
    straight_through: bool = False
    lowest_cost: Tensor | float = 0.0
    """relative cost with every gate closed"""
    gates: dict[int, Tensor | bool] = field(default_factory=dict)
    """each gate's answer by its index: (N,), or one for all pictures"""
    logits: dict[int, Tensor] = field(default_factory=dict)
    """(N,) or (N, 1) of each gate by its index, threshold included"""
    pooled: tuple[Tensor, Tensor] | None = None
    """input and mean features of the last block, where it was skipped and handed that same tensor on"""


class Gate(nn.Module):
    """Conditional gating module: block input (N, C, H, W) and scale (N,) -> gate logits (N,); open where positive.

    The inputs and the single output are the paper's; layer sizes and the way the scale enters are ours:

        concat    z = w2 . relu(norm(W1 [u ; S])) + b2                        u = mean over H, W
        monotone  z = w2 . relu(norm(W1 u)) + softplus(a) (S - 1) + b2        rises with S for every picture
        static    z = softplus(a) (S - 1) + b2
    """

    def __init__(self, channels: int, settings: GateSettings) -> None:
        super().__init__()
        self.form = settings.form
        hidden = settings.hidden
        if self.form != "static":
            normalise = settings.norm != "none"
            self.reduce = nn.Linear(channels + (self.form == "concat"), hidden, bias=not normalise)
            norms = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
            self.norm: nn.Module | None = norms[settings.norm](hidden) if normalise else None
            self.decide = nn.Linear(hidden, 1, bias=False)
            nn.init.normal_(self.decide.weight, std=0.001)
        if self.form != "concat":
            self.slope = nn.Parameter(torch.tensor(4.0))
        self.offset = nn.Parameter(torch.tensor(settings.start))

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return self.feature_logit(x, scale) + self.bias(scale)

    def feature_logit(self, x: Tensor, scale: Tensor) -> Tensor:
        """The part of the logit that depends on the picture: (N,) float32."""
        if self.form == "static":
            return x.new_zeros(len(x), dtype=torch.float32)
        features = x.mean(dim=tuple(range(2, x.dim())))
        if self.form == "concat":
            features = torch.cat([features, scale.to(features.dtype)[:, None]], dim=1)
        hidden = F.linear(features, self.reduce.weight, self.reduce.bias)
        if self.norm is not None:
            hidden = self.norm(hidden)
        return F.linear(hidden.relu_(), self.decide.weight)[:, 0].float()

    def bias(self, scale: Tensor) -> Tensor:
        """The part that does not: of the shape of `scale`."""
        if self.form == "concat":
            return self.offset.expand_as(scale)
        return F.softplus(self.slope) * (scale - 1) + self.offset


class RandomGate(nn.Module):
    """A coin that opens as often as meets the scale on average, whatever the picture: the baseline. Nothing is learned."""

    def __init__(self, dial: Dial) -> None:
        super().__init__()
        self.dial = dial

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return self.feature_logit(x, scale) + self.bias(scale)

    def feature_logit(self, x: Tensor, scale: Tensor) -> Tensor:
        return -torch.rand(len(x), device=x.device)

    def bias(self, scale: Tensor) -> Tensor:
        return (scale - self.dial.lowest_cost) / (1 - self.dial.lowest_cost)


class GatedBlock(nn.Module):
    """A residual block that computes its residual branch only for the pictures whose gate is open.

    A closed gate leaves exit(shortcut(x)): the block's own shortcut and its activation behind the addition.
    """

    gate: Gate | RandomGate

    def __init__(self, block: nn.Module, gate: Gate | RandomGate, dial: Dial, index: int) -> None:
        super().__init__()
        self.block = block
        self.gate = gate
        self.dial = dial
        self.index = index
        self.idle_exit = False
        # Kept in a tuple, not as sub-modules: they are views of `block`, and its parameters must be listed once.
        self._splits = tuple(_split_in_mode(block, training) for training in (False, True))

    @property
    def split(self) -> Split:
        return self._splits[self.training]

    def _apply(self, *arguments: Any, **options: Any) -> GatedBlock:
        super()._apply(*arguments, **options)  # type: ignore[no-untyped-call]
        # a move replaces the block's own tensors, which the splits hold; sub-modules they share
        self._splits = tuple(_split_in_mode(self.block, training) for training in (False, True))
        return self

    @property
    def has_identity_shortcut(self) -> bool:
        return len(self.split.entry.graph.nodes) == 2  # the input and the output

    @property
    def ends_in_relu(self) -> bool:
        steps = [node for node in self.split.exit.graph.nodes if node.op not in ("placeholder", "output")]
        return (
            len(steps) == 1
            and steps[0].op == "call_module"
            and type(self.split.exit.get_submodule(str(steps[0].target))) is nn.ReLU
        )

    def skipped(self) -> nn.Module:
        """What a closed gate leaves of the block, as a module of its own."""
        return nn.Identity() if self.idle_exit else ShortcutOnly(self.split)

    def forward(self, x: Tensor) -> Tensor:
        if self.dial.scale is None:
            return self.block(x)
        return self._train(x) if self.training else self._skip(x)

    def _train(self, x: Tensor) -> Tensor:
        """Compute everything and multiply by the gates, so that gates and blocks learn."""
        split, dial = self.split, self.dial
        gates = self._training_gates(self.gate(x, dial.scale) - dial.threshold)
        dial.gates[self.index] = gates
        shortcut, *carried = split.entry(x)
        return split.exit(shortcut + _like(gates, shortcut) * split.residual(*carried))

    def _training_gates(self, logits: Tensor) -> Tensor:
        dial, hard = self.dial, (logits > 0).float()
        if dial.straight_through:
            probability = torch.sigmoid(logits)
            return hard + probability - probability.detach()
        soft = dial.soft is not None and bool(dial.soft[self.index])
        return torch.sigmoid(logits) if soft else hard

    def _skip(self, x: Tensor) -> Tensor:
        """Compute the residual branch only where the gates are open."""
        size = len(x)
        keep = self._decide(x)
        kept = size * keep if isinstance(keep, bool) else int(keep.sum())
        if kept == 0 and self.idle_exit:
            return x
        self.dial.pooled = None
        if kept == size:
            return self.block(x)
        if kept == 0:
            return _shortcut_only(self.split.entry, self.split.exit, x)
        assert isinstance(keep, Tensor)
        shortcut, *carried = self.split.entry(x)
        if kept > GATHER_BELOW * size:
            return self.split.exit(shortcut + _like(keep, shortcut) * self.split.residual(*carried))
        rows = keep.nonzero()[:, 0]
        chosen = [value[rows] if is_tensor_batch(value, size) else value for value in carried]
        residual = self.split.residual(*chosen)
        return self.split.exit(shortcut.index_add(0, rows, residual.to(shortcut.dtype)))

    def _decide(self, x: Tensor) -> bool | Tensor:
        """Whether to keep the block: one answer for all pictures, or one for each (N,). Notes it on the dial."""
        dial = self.dial
        ready = dial.ready[self.index] if dial.ready is not None else None
        logits = self.gate(x, dial.scale) - dial.threshold if ready is None else ready.logits(self._pooled(x))
        dial.logits[self.index] = logits
        keep: bool | Tensor
        if len(logits) == 1:
            keep = logits.item() > 0
        elif dial.mode == "batch" and len(logits):
            keep = logits.mean().item() > 0
        else:
            keep = logits.flatten() > 0
        dial.gates[self.index] = keep
        return keep

    def _pooled(self, x: Tensor) -> Tensor:
        """Mean features (N, C) of the input; what the block before took serves again where that block was skipped."""
        pooled = self.dial.pooled
        # by idle_exit alone it is sure that the blocks are neighbours: elsewhere the tensor may have been written to
        if pooled is None or pooled[0] is not x or not self.idle_exit:
            self.dial.pooled = pooled = (x, x.mean(dim=tuple(range(2, x.dim()))))
        return pooled[1]


class ShortcutOnly(nn.Module):
    """A residual block without its residual branch, (N, C, H, W) -> exit(shortcut)."""

    def __init__(self, split: Split) -> None:
        super().__init__()
        self.entry = split.entry
        self.exit = split.exit

    def forward(self, x: Tensor) -> Tensor:
        return _shortcut_only(self.entry, self.exit, x)


def make_gated_block(block: nn.Module, settings: GateSettings, dial: Dial, index: int) -> GatedBlock:
    """Put a new gate before a residual block found by `residual_blocks`."""
    split = _split_in_mode(block, block.training)
    gate = RandomGate(dial) if settings.form == "random" else Gate(input_channels(split), settings)
    return GatedBlock(block, gate, dial, index)


def _split_in_mode(block: nn.Module, training: bool) -> Split:
    """Split with the block in one mode: a forward that reads `self.training` has one graph for each."""
    before, block.training = block.training, training
    try:
        split = split_block(block)
    finally:
        block.training = before
    assert split is not None, "only residual blocks are gated"
    return split


def _shortcut_only(entry: nn.Module, exit_: nn.Module, x: Tensor) -> Tensor:
    shortcut = entry(x)[0]
    # an in-place activation behind it would change what others still read
    return exit_(shortcut.clone() if shortcut is x else shortcut)


def _like(gates: Tensor, features: Tensor) -> Tensor:
    return gates.to(features.dtype).view(-1, *[1] * (features.dim() - 1))
