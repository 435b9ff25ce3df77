"""Which tensors a network makes of its input, in order, and which of them everything flows through. Ours.

One pass of the unmodified network is watched from outside, so functional activations, residual sums, shared and in-place
modules are all seen as what they do, whatever class they belong to.

    values      every tensor a torch function made, in the order of execution
    bottleneck  a value that every path from the input to the output passes: what comes later knows the input by it alone
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ..core.errors import UsageError

RELUS = {F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6}
SMOOTH = {F.gelu, F.silu, F.mish, F.hardswish, F.elu, F.selu, F.celu, F.leaky_relu, F.softplus}
SLOPED = {F.prelu, torch.prelu}
"""ReLUs that let some of what is negative through: a student may have them, what a teacher says of it there is another thing"""
CONVOLUTIONS = {F.conv1d, F.conv2d, F.conv3d, F.conv_transpose2d, torch.conv1d, torch.conv2d, torch.conv3d}
SUMS = {torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__iadd__, Tensor.__radd__}
POOLS = {F.adaptive_avg_pool2d, F.adaptive_max_pool2d, torch.mean, Tensor.mean}


def is_relu(function: Any, arguments: Sequence[Any], options: dict[str, Any]) -> bool:
    """Whether a call is a ReLU, ReLU6 or PReLU of feature maps (N, C, H, W)."""
    if function not in RELUS | SLOPED and not (function in (F.hardtanh, F.hardtanh_) and _is_relu6(arguments, options)):
        return False
    source = arguments[0] if arguments else options.get("input")
    return isinstance(source, Tensor) and source.dim() == 4


def _is_relu6(arguments: Sequence[Any], options: dict[str, Any]) -> bool:
    # nn.ReLU6 is a clamp to [0, 6]
    given = dict(zip(("input", "min_val", "max_val"), arguments, strict=False)) | options
    return given.get("min_val") == 0 and given.get("max_val") == 6


@dataclass(frozen=True)
class Value:
    """One tensor made in a pass. Sources are indices into the list of values; -1 is the network's input."""

    index: int
    function: Any
    shape: tuple[int, ...]
    sources: tuple[int, ...]
    owner: str
    """dotted name of the innermost module whose forward made it"""
    call: int
    """which call of the owner it belongs to, from 1"""
    affine: tuple[Tensor | None, Tensor | None] | None = None
    """weight and bias of a batch normalisation"""
    relu: int | None = None
    """of a ReLU: how many ReLUs of feature maps ran before it"""

    @property
    def is_convolution(self) -> bool:
        return self.function in CONVOLUTIONS

    @property
    def is_sum(self) -> bool:
        return self.function in SUMS

    @property
    def is_map(self) -> bool:
        return len(self.shape) == 4


class Recorder(TorchFunctionMode):
    """Notes every tensor that is made of the watched input, while it is active."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.values: list[Value] = []
        self.stack: list[tuple[str, int]] = [("", 1)]
        self.relus = 0
        # tensors by their identity; kept alive, so that no other gets the same
        self._alive: list[Tensor] = list(inputs)
        self._made: dict[int, int] = {id(tensor): -1 for tensor in inputs}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        sources = tuple(dict.fromkeys(self._made[id(t)] for t in _tensors((args, options)) if id(t) in self._made))
        relu = is_relu(func, args, options)
        result = func(*args, **options)
        if sources:
            # an assignment to a slice returns nothing: what it makes is the tensor that it writes into
            for tensor in _tensors(args[0] if func is Tensor.__setitem__ else result):
                self._note(tensor, func, sources, args, options, self.relus if relu else None)
        # counted whether or not it reads the input, as the taps of a training step count
        self.relus += relu
        return result

    def index_of(self, tensor: Tensor) -> int | None:
        """The value that a tensor holds now."""
        return self._made.get(id(tensor))

    def _note(
        self, tensor: Tensor, func: Any, sources: tuple[int, ...], args: Any, options: dict[str, Any], relu: int | None
    ) -> None:
        affine = None
        if func is F.batch_norm:
            given = dict(zip(("input", "running_mean", "running_var", "weight", "bias"), args, strict=False)) | options
            affine = (given.get("weight"), given.get("bias"))
        index = len(self.values)
        owner, call = self.stack[-1]
        self.values.append(Value(index, func, tuple(tensor.shape), sources, owner, call, affine, relu))
        self._alive.append(tensor)
        self._made[id(tensor)] = index  # an in-place operation gives the same tensor a new value


@dataclass(frozen=True)
class Dataflow:
    """What one pass did, as far as it lies between the input and the output."""

    values: tuple[Value, ...]
    """all values, by index"""
    useful: frozenset[int]
    """those that the output follows from"""
    bottlenecks: tuple[Value, ...]
    """in order of execution"""
    outputs: dict[str, int]
    """the first value that each module returned, by its dotted name"""

    def ancestors(self, index: int) -> set[int]:
        """All values that one follows from, itself included."""
        seen, waiting = set(), [index]
        while waiting:
            here = waiting.pop()
            if here >= 0 and here not in seen:
                seen.add(here)
                waiting += self.values[here].sources
        return seen

    def convolutions(self, index: int) -> int:
        """How many convolutions a value follows from."""
        return sum(self.values[each].is_convolution for each in self.ancestors(index))


@torch.no_grad()
def watch(network: nn.Module, *inputs: Tensor) -> Dataflow:
    """Run `network(*inputs)` once, in the mode it is in, and return what happened. Its buffers are left as they were.

    Raises:
        UsageError: the network is scripted, which hides what it does, or returns no tensor.
    """
    if any(isinstance(module, torch.jit.ScriptModule) for module in network.modules()):
        raise UsageError(
            f"{type(network).__name__} is scripted, which hides what it computes; give the network it was scripted from"
        )
    before = _buffers(network)
    outputs: dict[str, int] = {}
    settled: dict[str, Tensor] = {}
    try:
        network(*(tensor.clone() for tensor in inputs))  # whatever a network does only in its first pass
        settled = _buffers(network)
        own = tuple(tensor.clone() for tensor in inputs)  # it may begin by writing into its input
        recorder = Recorder(own)
        with _owners(network, recorder, outputs), recorder:
            result = network(*own)
    finally:
        for name, value in network.named_buffers():
            # what every pass changes, such as running means, goes back; what the first one settled for all others stays
            if name in before and not _same(value, settled[name] if settled else None):
                value.copy_(before[name])
    found = recorder.index_of(main_output(result))
    values = tuple(recorder.values)
    flow = Dataflow(values, frozenset(), (), outputs)
    useful = flow.ancestors(found) if found is not None and found >= 0 else set()
    return Dataflow(values, frozenset(useful), tuple(_bottlenecks(values, useful)), outputs)


def main_output(result: Any) -> Tensor:
    """The first tensor in what a network returns; "out" of a mapping, as segmentation networks of torchvision name it.

    Raises:
        UsageError: there is no tensor.
    """
    if isinstance(result, dict) and "out" in result:
        result = result["out"]
    found = next(_tensors(result), None)
    if found is None:
        raise UsageError(f"the network returned {type(result).__name__} without a tensor, but must return one")
    return found


def _bottlenecks(values: Sequence[Value], useful: set[int]) -> Iterator[Value]:
    """In order of execution a value is one when nothing made before it is read after it."""
    last_read = dict.fromkeys([-1, *useful], -1)
    for index in sorted(useful):
        for source in values[index].sources:
            if source in last_read:
                last_read[source] = index
    pending = last_read[-1]  # how far values made so far, but the present one, are still read
    for index in sorted(useful):
        if pending <= index:
            yield values[index]
        pending = max(pending, last_read[index])


@contextmanager
def _owners(network: nn.Module, recorder: Recorder, outputs: dict[str, int]) -> Iterator[None]:
    """Let the recorder know whose forward is running."""
    calls: dict[str, int] = {}
    hooks = []

    def enter(name: str) -> Any:
        def hook(*_: Any) -> None:
            calls[name] = calls.get(name, 0) + 1
            recorder.stack.append((name, calls[name]))

        return hook

    def leave(name: str) -> Any:
        def hook(_module: nn.Module, _args: Any, result: Any) -> None:
            recorder.stack.pop()
            for tensor in _tensors(result):
                index = recorder.index_of(tensor)
                if index is not None and index >= 0:
                    outputs.setdefault(name, index)
                    break

        return hook

    for name, module in network.named_modules():
        hooks.append(module.register_forward_pre_hook(enter(name)))
        hooks.append(module.register_forward_hook(leave(name)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _buffers(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.named_buffers()}


def _same(one: Tensor, other: Tensor | None) -> bool:
    """Equal, where a NaN equals a NaN."""
    return other is not None and bool(((one == other) | ((one != one) & (other != other))).all())


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)
