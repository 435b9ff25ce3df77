"""The conditional gating module and the block it gates. N pictures, C channels, L gated blocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import GateSettings
from .residual import Split, input_channels, is_tensor_batch, split_block

Mode = Literal["sample", "batch"]

# Below this share of kept pictures, gathering them is faster than computing all and masking (measured on a CPU, see README).
GATHER_BELOW = 0.9


@dataclass
class Dial:
    """What one forward pass asks of the gates, and what they answered. All blocks of a network share one."""

    scale: Tensor | None = None
    """(N,) requested cost; None opens every block without asking its gate"""
    threshold: Tensor | float = 0.0
    """(N,) or a number: a gate opens where its logit exceeds it"""
    mode: Mode = "sample"
    soft: Tensor | None = None
    """(L,) bool, in training: which gates answer with a sigmoid instead of a step"""
    straight_through: bool = False
    lowest_cost: Tensor | float = 0.0
    """relative cost with every gate closed"""
    gates: list[Tensor] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)


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
            self.norm: nn.Module = norms[settings.norm](hidden) if normalise else nn.Identity()
            self.decide = nn.Linear(hidden, 1, bias=False)
            nn.init.normal_(self.decide.weight, std=0.001)
        if self.form != "concat":
            self.slope = nn.Parameter(torch.tensor(4.0))
        self.offset = nn.Parameter(torch.tensor(settings.start))

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        logit = self.offset
        if self.form != "concat":
            logit = logit + F.softplus(self.slope) * (scale - 1)
        if self.form != "static":
            features = x.mean(dim=tuple(range(2, x.dim())))
            if self.form == "concat":
                features = torch.cat([features, scale.to(features.dtype)[:, None]], dim=1)
            logit = logit + self.decide(F.relu(self.norm(self.reduce(features))))[:, 0]
        return logit.float().expand(len(x))


class RandomGate(nn.Module):
    """A coin that opens as often as meets the scale on average, whatever the picture: the baseline. Nothing is learned."""

    def __init__(self, dial: Dial) -> None:
        super().__init__()
        self.dial = dial

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        often = (scale - self.dial.lowest_cost) / (1 - self.dial.lowest_cost)
        return often - torch.rand(len(x), device=x.device)


class GatedBlock(nn.Module):
    """A residual block that computes its residual branch only for the pictures whose gate is open.

    A closed gate leaves exit(shortcut(x)): the block's own shortcut and its activation behind the addition.
    """

    def __init__(self, block: nn.Module, gate: nn.Module, dial: Dial, index: int) -> None:
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

    @property
    def has_identity_shortcut(self) -> bool:
        return len(self.split.entry.graph.nodes) == 2  # the input and the output

    @property
    def ends_in_relu(self) -> bool:
        steps = [node for node in self.split.exit.graph.nodes if node.op not in ("placeholder", "output")]
        return len(steps) == 1 and steps[0].op == "call_module" and type(self.split.exit.get_submodule(str(steps[0].target))) is nn.ReLU

    def skipped(self) -> nn.Module:
        """What a closed gate leaves of the block, as a module of its own."""
        return nn.Identity() if self.idle_exit else ShortcutOnly(self.split)

    def forward(self, x: Tensor) -> Tensor:
        split, dial = self.split, self.dial
        if dial.scale is None:
            return self.block(x)
        logits = self.gate(x, dial.scale) - dial.threshold
        dial.logits.append(logits)
        shortcut, *carried = split.entry(x)
        if self.training:
            gates = self._training_gates(logits)
            dial.gates.append(gates)
            return split.exit(shortcut + _like(gates, shortcut) * split.residual(*carried))
        if dial.mode == "batch":
            logits = logits.mean().expand(len(x))
        keep = logits > 0
        dial.gates.append(keep)
        return self._skip(x, keep, shortcut, carried)

    def _training_gates(self, logits: Tensor) -> Tensor:
        dial, hard = self.dial, (logits > 0).float()
        if dial.straight_through:
            probability = torch.sigmoid(logits)
            return hard + probability - probability.detach()
        soft = dial.soft is not None and bool(dial.soft[self.index])
        return torch.sigmoid(logits) if soft else hard

    def _skip(self, x: Tensor, keep: Tensor, shortcut: Tensor, carried: list[Tensor]) -> Tensor:
        split, size = self.split, len(x)
        kept = size if size == 0 else int(keep.sum()) if size > 1 else int(keep)
        if kept == 0 and size:
            return shortcut if self.idle_exit else split.exit(_owned(shortcut, x))
        if kept == size:
            return split.exit(shortcut + split.residual(*carried))
        if kept > GATHER_BELOW * size:
            return split.exit(shortcut + _like(keep, shortcut) * split.residual(*carried))
        rows = keep.nonzero()[:, 0]
        chosen = [value[rows] if is_tensor_batch(value, size) else value for value in carried]
        residual = split.residual(*chosen)
        return split.exit(shortcut.index_add(0, rows, residual.to(shortcut.dtype)))


class ShortcutOnly(nn.Module):
    """A residual block without its residual branch, (N, C, H, W) -> exit(shortcut)."""

    def __init__(self, split: Split) -> None:
        super().__init__()
        self.entry = split.entry
        self.exit = split.exit

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.entry(x)[0]
        return self.exit(shortcut.clone() if shortcut is x else shortcut)


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


def _like(gates: Tensor, features: Tensor) -> Tensor:
    return gates.to(features.dtype).view(-1, *[1] * (features.dim() - 1))


def _owned(shortcut: Tensor, x: Tensor) -> Tensor:
    """The shortcut, copied where it is the block's input: an in-place activation would change what others still read."""
    return shortcut.clone() if shortcut.data_ptr() == x.data_ptr() else shortcut
