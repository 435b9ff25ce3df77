"""Any network as a population: named modules gated by chromosomes, one set of weights for all members."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import UsageError
from .config import GeneticSettings
from .gate import GeneticGate, gated


class Population(nn.Module):
    """Population(N) = {f(x; theta, mu_0), ..., f(x; theta, mu_N-1)}: N members that differ by which units are open.

    Called with inputs it is its elite; `members` says otherwise, for all rows or for each. Training it is training the net:
    its parameters are the net's own, and a closed unit gives and gets nothing. In place: the net given is the one that is gated.
    Gradient checkpointing inside the net would compute a second time as the elite: leave it off.

    Args:
        net: any network.
        at: names of the modules in it whose outputs are gated, such as "features.3"; linear layers by their last axis, all
            others by axis 1, the channels. One chromosome has the genes of all of them, in this order.
        size: N, at least 1.
        genetics: how generations follow each other.
        seed: of everything random.
        example: inputs that the net can be called with, needed where a gated module is not a linear layer or a convolution.

    Raises:
        UsageError: there is no such module, or its number of units cannot be known without an example.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        at: Sequence[str],
        size: int = 8,
        genetics: GeneticSettings | None = None,
        seed: int = 0,
        example: Tensor | None = None,
    ) -> None:
        super().__init__()
        known = dict(net.named_modules())
        for name in at:
            if name not in known or not name:
                raise UsageError(
                    f"at has {name!r}, but must name modules of {type(net).__name__}: {', '.join(filter(None, known))}"
                )
        if not at or len(set(at)) < len(at):
            raise UsageError(f"at is {tuple(at)!r}, but must name at least one module, and none twice")
        self.net = net
        self.at = tuple(at)
        self._axes = [-1 if isinstance(known[name], nn.Linear) else 1 for name in at]
        widths = [_width(known[name]) for name in at]
        if None in widths:
            widths = _seen_widths(net, [known[name] for name in at], self._axes, example, self.at)
        self._widths = [int(width) for width in widths if width is not None]
        self.gate = GeneticGate(sum(self._widths), population=size, genetics=genetics, seed=seed)
        # of the members that the running forward pass is of, and how many rows were given a member of their own
        self._genes: Tensor | None = None
        self._rows: int | None = None
        for place, name in enumerate(at):
            # a bound method, not a closure: a deep copy of this object then gates by the copy's genes
            known[name].register_forward_hook(partial(self._gate_output, place))

    def forward(self, *inputs: Any, members: int | Tensor | None = None) -> Any:
        """What the elite makes of the inputs, or the given member, or for each row the member that int64 (B,) names.

        Raises:
            UsageError: there is no such member, or not one for each row.
        """
        self._genes = self.gate.genes_of(members)
        self._rows = len(members) if isinstance(members, Tensor) else None
        try:
            return self.net(*inputs)
        finally:
            self._genes = self._rows = None

    def everyone(self, *inputs: Tensor) -> Tensor:
        """What every member makes of the same inputs, (N, B, ...), in one batched pass of N * B rows."""
        size, rows = len(self.gate), len(inputs[0])
        members = torch.arange(size, device=inputs[0].device).repeat_interleave(rows)
        outputs: Tensor = self(*(each.repeat(size, *[1] * (each.ndim - 1)) for each in inputs), members=members)
        return outputs.unflatten(0, (size, rows))

    def evolve(self, fitness: Sequence[float] | Tensor) -> int:
        """The next generation; see `GeneticGate.evolve`."""
        return self.gate.evolve(fitness)

    def extract(self, member: int | None = None) -> nn.Module:
        """A member (None: the elite) as an ordinary network of its own: a copy of the net, with its gates as constants.

        Each gated module becomes a sequence of itself and a constant mask; nothing of the population is in it.
        """
        twin = copy.deepcopy(self)
        net = twin.net
        genes = self.gate.genes_of(member)[0].split(self._widths)
        places = zip(self.at, self._axes, genes, strict=True)
        # the innermost first: a module that is wrapped gets another name
        for name, axis, part in sorted(places, key=lambda each: -each[0].count(".")):
            parent, _, last = name.rpartition(".")
            module = net.get_submodule(name)
            for key, hook in list(module._forward_hooks.items()):
                if isinstance(hook, partial) and getattr(hook.func, "__self__", None) is twin:
                    del module._forward_hooks[key]
            fixed = nn.Sequential(module, FixedGate(part, axis))
            fixed.training = fixed[1].training = module.training
            setattr(net.get_submodule(parent), last, fixed)
        return net

    def _gate_output(self, place: int, _module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        genes = self._genes if self._genes is not None else self.gate.genes_of(None)
        part = genes.split(self._widths, 1)[place]
        axis = self._axes[place]
        if _checked(output, self.at[place]).shape[axis] != part.shape[1]:
            raise UsageError(f"{self.at[place]} put out {output.shape[axis]} units, but {part.shape[1]} are gated")
        if self._rows not in (None, len(output)):
            raise UsageError(
                f"members are {len(part)}, but {self.at[place]} has {len(output)} rows: one for each is needed"
            )
        return gated(output, part, self._axes[place])


class FixedGate(nn.Module):
    """A constant mask: (B, ...) with the entries of one axis multiplied by genes, uint8 (G,)."""

    genes: Tensor

    def __init__(self, genes: Tensor, axis: int) -> None:
        super().__init__()
        self.axis = axis
        self.register_buffer("genes", genes.clone())

    def forward(self, hidden: Tensor) -> Tensor:
        """The same shape."""
        return gated(hidden, self.genes[None], self.axis)


def _checked(output: object, name: str) -> Tensor:
    if not isinstance(output, Tensor):
        raise UsageError(f"{name} puts out a {type(output).__name__}, but must put out a tensor")
    return output


def _width(module: nn.Module) -> int | None:
    """How many units a module puts out, where its kind says so."""
    for name in ("out_features", "out_channels", "num_features"):
        if isinstance(getattr(module, name, None), int):
            return int(getattr(module, name))
    return None


@torch.no_grad()
def _seen_widths(
    net: nn.Module, modules: list[nn.Module], axes: list[int], example: Tensor | None, at: tuple[str, ...]
) -> list[int | None]:
    """The same, from what the modules put out for an example."""
    if example is None:
        raise UsageError(
            f"how many units {', '.join(at)} put out cannot be read off their modules: give an example of the inputs"
        )
    seen: dict[int, int] = {}
    hooks = [
        module.register_forward_hook(
            lambda _m, _i, output, place=place, axis=axis: seen.__setitem__(
                place, _checked(output, at[place]).shape[axis]
            )
        )
        for place, (module, axis) in enumerate(zip(modules, axes, strict=True))
    ]
    training = [module for module in net.modules() if module.training]
    net.eval()
    try:
        net(example)
    finally:
        for module in training:
            module.training = True
        for hook in hooks:
            hook.remove()
    missing = [name for place, name in enumerate(at) if place not in seen]
    if missing:
        raise UsageError(f"at has {missing[0]!r}, which the net did not call for the example")
    return [seen[place] for place in range(len(at))]
