"""Find the residual blocks of an unmodified network and split each where its two branches part and meet.

Nothing here knows a class by name. A residual block is a module whose own forward, traced symbolically with its children
left whole, adds two branches that both come from its input, one of them with convolutions the other does not have:

    x -> entry -> residual branch ----\\
              \\-> shortcut branch ---- + -> exit

Post-activation blocks have an empty entry and an activation as exit; pre-activation blocks with a projection have norm and
activation as entry and an empty exit. Working on the graph covers torchvision, timm and a person's own blocks alike.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

_ADDITIONS = {operator.add, operator.iadd, torch.add}
_IN_PLACE_OPERATORS = {operator.iadd, operator.isub, operator.imul, operator.itruediv}
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Split:
    """One residual block in three callables that share the block's own sub-modules (and so its parameters)."""

    entry: fx.GraphModule
    """block input -> (shortcut, *what the residual branch reads)"""
    residual: fx.GraphModule
    """what `entry` carried over -> residual, of the shortcut's shape"""
    exit: fx.GraphModule
    """shortcut + residual -> block output"""


class _ShallowTracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True  # only the block's own forward is traced: norms and activations of other libraries stay opaque


def split_block(block: nn.Module) -> Split | None:
    """Split a module into entry, residual branch and exit; None when it is not one residual block."""
    try:
        graph = _ShallowTracer().trace(block)
    except Exception:
        return None
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    (output,) = [node for node in graph.nodes if node.op == "output"]
    if not inputs or any(node.users for node in inputs[1:]):
        return None
    addition = _last_addition(output)
    if addition is None:
        return None
    first, second = addition.all_input_nodes
    first_ancestors, second_ancestors = _ancestors(first), _ancestors(second)
    shared = first_ancestors & second_ancestors
    if inputs[0] not in shared:
        return None
    if any(_overwritten(block, node) in shared for node in (first_ancestors | second_ancestors) - shared):
        return None  # x + conv(relu_(x)): what the one branch adds would depend on whether the other runs
    depths = [_convolutions(block, nodes - shared) for nodes in (first_ancestors, second_ancestors)]
    if depths[0] == depths[1]:
        return None
    branch, shortcut = (first, second) if depths[0] > depths[1] else (second, first)
    inside = (first_ancestors if branch is first else second_ancestors) - shared
    return _cut(block, graph, inputs[0], inside, branch, shortcut, addition, output)


def residual_blocks(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The innermost residual blocks of a network with their dotted names, in the order the modules were registered."""

    def visit(module: nn.Module, prefix: str) -> tuple[list[tuple[str, nn.Module]], bool]:
        found: list[tuple[str, nn.Module]] = []
        has_convolution = isinstance(module, _CONVOLUTIONS)
        for name, child in module.named_children():
            inner, convolution = visit(child, f"{prefix}.{name}" if prefix else name)
            found += inner
            has_convolution = has_convolution or convolution
        container = isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
        if prefix and not found and has_convolution and not container and split_block(module) is not None:
            found = [(prefix, module)]
        return found, has_convolution

    yield from visit(network, "")[0]


def input_channels(split: Split) -> int:
    """Channels of the block input, read off the residual branch's first convolution or, before it, its norm."""
    for module in split.residual.modules():
        if isinstance(module, _CONVOLUTIONS):
            return module.in_channels
    raise ValueError("a residual branch without a convolution")  # split_block lets none through


def _last_addition(output: fx.Node) -> fx.Node | None:
    """Walk back from the output through one-input operations to the addition where the branches meet."""
    node = output
    while len(node.all_input_nodes) == 1:
        node = node.all_input_nodes[0]
        if node.op == "placeholder":
            return None
    is_addition = (node.op == "call_function" and node.target in _ADDITIONS) or (
        node.op == "call_method" and node.target in ("add", "add_")
    )
    # a third argument or alpha= would scale a branch, and a gate could not tell
    plain = len(node.args) == 2 and not node.kwargs and len(node.all_input_nodes) == 2
    return node if is_addition and plain else None


def _ancestors(node: fx.Node) -> set[fx.Node]:
    seen: set[fx.Node] = set()
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting += current.all_input_nodes
    return seen


def _overwritten(block: nn.Module, node: fx.Node) -> fx.Node | None:
    """The value that a node changes in place, if it does."""
    if node.op == "call_module":
        module = block.get_submodule(str(node.target))
        while isinstance(module, nn.Sequential) and len(module):
            module = module[0]
        in_place = bool(getattr(module, "inplace", False))
    else:
        name = str(getattr(node.target, "__name__", node.target))
        in_place = bool(node.kwargs.get("inplace")) or name.endswith("_") or node.target in _IN_PLACE_OPERATORS
    return node.all_input_nodes[0] if in_place and node.all_input_nodes else None


def _convolutions(block: nn.Module, nodes: set[fx.Node]) -> int:
    modules = [block.get_submodule(str(node.target)) for node in nodes if node.op == "call_module"]
    return sum(isinstance(inner, _CONVOLUTIONS) for module in modules for inner in module.modules())


def _cut(
    block: nn.Module,
    graph: fx.Graph,
    x: fx.Node,
    inside: set[fx.Node],
    branch: fx.Node,
    shortcut: fx.Node,
    addition: fx.Node,
    output: fx.Node,
) -> Split | None:
    order = list(graph.nodes)
    after = order[order.index(addition) + 1 : -1]
    outside = [node for node in order[: order.index(addition)] if node not in inside]
    carried = [node for node in outside if any(user in inside for user in node.users)]
    leaks = any(user is not addition and user not in inside for node in inside for user in node.users)
    exit_reads = {source for node in after for source in node.all_input_nodes} - {addition, *after}
    if leaks or exit_reads:
        return None
    result = output.args[0]
    assert isinstance(result, fx.Node)
    return Split(
        entry=_graph_module(block, outside, [x], (shortcut, *carried)),
        residual=_graph_module(block, [node for node in order if node in inside], carried, branch),
        exit=_graph_module(block, after, [addition], result),
    )


def _graph_module(block: nn.Module, nodes: list[fx.Node], inputs: list[fx.Node], result: Any) -> fx.GraphModule:
    """A callable made of some nodes of the block's graph, over the block's own sub-modules."""
    piece = fx.Graph()
    copies = {node: piece.placeholder(node.name) for node in inputs}
    for node in nodes:
        if node not in copies and node.op != "placeholder":
            copies[node] = piece.node_copy(node, lambda source: copies[source])
    piece.output(fx.map_arg(result, lambda source: copies[source]))
    piece.lint()
    return fx.GraphModule(block, piece)


def is_tensor_batch(value: object, size: int) -> bool:
    """Whether a carried value is a tensor with one row for each picture of the batch."""
    return isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == size
