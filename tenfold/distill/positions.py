"""Where to distil: the tensors before a ReLU at the end of each stage of an unmodified network.

The paper's rule is a place, "between the end of a stage and the first ReLU after it"; finding it in any network is ours. A
stage is a stretch of bottlenecks (see `dataflow`) of one resolution. It also ends where the width changes behind a residual
sum, so that dilated networks keep their stages. Its position is

    the last bottleneck that a ReLU reads, unless two or more convolutions of the stage come behind it;
    else, from the stage's last bottleneck on, what the first ReLU at that resolution reads,
    else the last batch normalisation at that resolution.

A first stage of a single convolution is a stem and has no position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError
from .dataflow import POOLS, SLOPED, SMOOTH, Dataflow, Value

Affine = tuple[Tensor | None, Tensor | None]


@dataclass(frozen=True)
class Position:
    """One tensor of a network that can be read in every pass. C channels, H x W pixels."""

    name: str
    """`module` or `module#k`: what the k-th ReLU of that module reads, or else what the module returns"""
    shape: tuple[int, int, int]
    """(C, H, W) of the example"""
    relu: int | None
    """how many ReLUs of feature maps run before the one that reads it; None where none does"""
    module: str
    """dotted name of the module that returns it, where no ReLU reads it"""
    affine: Affine | None
    """weight and bias (C,) of the batch normalisation that the values come from; None where there is none"""
    from_sum: bool
    """a residual sum: `affine` is that of its residual branch"""


def find_positions(network: nn.Module, flow: Dataflow, *, learns: bool = False) -> tuple[Position, ...]:
    """The positions of a network from one watched pass, from its input on.

    Args:
        network: the one that was watched.
        flow: what was seen.
        learns: it is a student, for which a PReLU is as good as a ReLU: it is compared before its activation.

    Raises:
        UsageError: it has none, or it is built with activations that this method has no meaning for.
    """
    name = type(network).__name__
    refused = SMOOTH if learns else SMOOTH | SLOPED
    smooth = {value.function for value in flow.bottlenecks} & refused
    found = [] if smooth else [position for run in _stages(flow) if (position := _of_stage(flow, run)) is not None]
    if found:
        return tuple(found)
    smooth = smooth or {value.function for value in flow.values} & refused
    if smooth:
        used = ", ".join(sorted(function.__name__ for function in smooth))
        raise UsageError(
            f"{name} is built with {used}, and what lies before a ReLU has no counterpart there; "
            'name positions and take form="plain", which matches them by their plain L2 distance'
        )
    named = ", ".join(relu_names(flow)) or "none"
    raise UsageError(f"no stage of {name} ends in a ReLU that all of it flows through; name positions, of {named}")


def named_positions(network: nn.Module, flow: Dataflow, names: Sequence[str]) -> tuple[Position, ...]:
    """The positions with these names: of ReLUs such as `layer1.2.relu#2`, or of modules such as `layer1`.

    A module that ends in a ReLU stands for what that ReLU reads.

    Raises:
        UsageError: there is no such module or ReLU, or it makes no feature map.
    """
    relus = relu_names(flow)
    return tuple(_named(network, flow, relus, name) for name in names)


def relu_names(flow: Dataflow) -> dict[str, Value]:
    """Every ReLU of a feature map that the output follows from, by name."""
    counts: dict[str, int] = {}
    names: dict[str, Value] = {}
    for value in flow.values:
        if value.relu is not None:
            counts[value.owner] = counts.get(value.owner, 0) + 1
            if value.index in flow.useful:
                names[_relu_name(value.owner, counts[value.owner])] = value
    return names


def _named(network: nn.Module, flow: Dataflow, relus: dict[str, Value], name: str) -> Position:
    if name in relus:
        return _before(flow, relus[name])
    index = flow.outputs.get(name)
    if index is None:
        known = name in dict(network.named_modules())
        reason = "returns no tensor that follows from the input" if known else "is not a module or a ReLU of it"
        raise UsageError(f"{name!r} {reason}; {type(network).__name__} has the ReLUs {', '.join(relus)}")
    value = flow.values[index]
    if value.relu is not None:
        return _before(flow, value)
    if not value.is_map:
        raise UsageError(f"{name!r} makes a tensor of shape {value.shape}, but must make a feature map (N, C, H, W)")
    reader = _reader(flow, value)
    return _position(flow, value, name, None) if reader is None else _before(flow, reader)


def _stages(flow: Dataflow) -> Iterator[list[Value]]:
    """The bottlenecks of each stage that has a convolution of its own, without the stem and all that is pooled."""
    read = {source for value in flow.values if value.relu is not None for source in value.sources}
    runs: list[list[Value]] = []
    for value in flow.bottlenecks:
        if value.function in POOLS or not value.is_map:
            break
        if runs and runs[-1][-1].shape[2:] == value.shape[2:] and not _width_changes(runs[-1], value, read):
            runs[-1].append(value)
        else:
            runs.append([value])
    for number, run in enumerate(runs):
        own = flow.convolutions(run[-1].index) - (flow.convolutions(runs[number - 1][-1].index) if number else 0)
        if own >= (1 if number else 2):
            yield run


def _width_changes(run: list[Value], value: Value, read: set[int]) -> bool:
    """Whether a value has another width than the residual sum which the ReLU before it read."""
    before = next((each for each in reversed(run) if each.index in read), None)
    return before is not None and before.is_sum and before.shape[1] != value.shape[1]


def _of_stage(flow: Dataflow, run: list[Value]) -> Position | None:
    last = run[-1]
    for value in reversed(run):
        reader = _reader(flow, value)
        if reader is not None:
            behind = flow.convolutions(last.index) - flow.convolutions(value.index)
            if behind < 2:
                return _before(flow, reader)
            break
    return _behind(flow, last)


def _behind(flow: Dataflow, end: Value) -> Position | None:
    """The position where no ReLU is a bottleneck, as in pre-activation networks with plain shortcuts."""
    follows, norm = {end.index}, None
    for value in flow.values[end.index + 1 :]:
        if value.index not in flow.useful or follows.isdisjoint(value.sources):
            continue
        follows.add(value.index)
        if value.relu is not None:
            source = flow.values[value.sources[0]]
            if source.shape[2:] == end.shape[2:]:
                return _before(flow, value)
            break
        if value.function is F.batch_norm and value.shape[2:] == end.shape[2:]:
            norm = value
    return None if norm is None else _position(flow, norm, norm.owner, None)


def _reader(flow: Dataflow, value: Value) -> Value | None:
    """The first ReLU that reads a value."""
    readers = (other for other in flow.values[value.index + 1 :] if value.index in other.sources)
    return next((other for other in readers if other.relu is not None and other.index in flow.useful), None)


def _before(flow: Dataflow, relu: Value) -> Position:
    source = relu.sources[0]
    names = {value.index: name for name, value in relu_names(flow).items()}
    if source < 0:
        raise UsageError(f"{names[relu.index]!r} reads the network's input, which there is nothing to learn of")
    return _position(flow, flow.values[source], names[relu.index], relu.relu)


def _position(flow: Dataflow, value: Value, name: str, relu: int | None) -> Position:
    _, channels, height, width = value.shape
    source = value
    if value.is_sum:
        summands = [flow.values[index] for index in value.sources if index >= 0]
        # the residual branch is the one with more convolutions; a norm of the shortcut says nothing about it
        source = max(summands, key=lambda summand: flow.convolutions(summand.index), default=value)
    affine = source.affine if source.affine is not None and source.affine[0] is not None else None
    return Position(name, (channels, height, width), relu, "" if relu is not None else name, affine, value.is_sum)


def _relu_name(owner: str, count: int) -> str:
    owner = owner or "forward"  # of the network itself, in functional form
    return f"{owner}#{count}" if count > 1 else owner
