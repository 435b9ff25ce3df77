"""Follows the channels through a network's graph: the layout of every value, and what cannot be cut by task, with the reason."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import Argument, Target

from ..core.errors import UsageError
from .channels import Group, Layout, Piece, Places

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
LAYERS: tuple[type[nn.Module], ...] = (
    *CONVOLUTIONS,
    nn.Linear,
    *BATCH_NORMS,
    *INSTANCE_NORMS,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.PReLU,
)
"""what has weights and can be cut; a subclass cannot, because its forward pass may be another"""

_BETWEEN_CHANNELS = (nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin, nn.LocalResponseNorm, nn.CrossMapLRN2d)
_REARRANGING = (nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.Unflatten, nn.Fold, nn.Unfold, nn.GLU)
_COMBINING = {
    getattr(module, name)
    for module in (operator, torch)
    for name in ("add", "sub", "mul", "truediv", "maximum", "minimum", "iadd", "isub", "imul", "itruediv", "div")
    if hasattr(module, name)
}
_COMBINING_METHODS = {name + end for name in ("add", "sub", "mul", "div", "maximum", "minimum") for end in ("", "_")}
_ELEMENTWISE = {
    *("relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "elu", "elu_", "selu", "celu", "gelu", "silu", "mish"),
    *(
        "hardswish",
        "hardsigmoid",
        "hardtanh",
        "sigmoid",
        "sigmoid_",
        "tanh",
        "tanh_",
        "softplus",
        "softsign",
        "logsigmoid",
    ),
    *("threshold", "rrelu", "abs", "neg", "exp", "square", "sqrt", "pow", "clamp", "clamp_"),
    *("contiguous", "clone", "detach", "float", "half", "bfloat16", "double", "to", "type_as"),
}
_POOLING = {
    *(f"{kind}_pool{dims}d" for kind in ("max", "avg", "adaptive_avg", "adaptive_max", "lp") for dims in (1, 2, 3)),
    *("interpolate", "upsample", "instance_norm"),
    *("boolean_dispatch", "fn"),  # torch dispatches max pooling by whether the indices are asked for
}


@dataclass(frozen=True)
class Layer:
    """One layer with weights."""

    module: nn.Module
    """as in the model"""
    reads: Layout
    gives: Layout

    @property
    def mixes(self) -> bool:
        """Whether each of its outputs reads all inputs; else each channel, or group of channels, is by itself."""
        return isinstance(self.module, nn.Linear) or (isinstance(self.module, CONVOLUTIONS) and self.module.groups == 1)


class Reader:
    """Walks through a graph and finds the layout of every value."""

    def __init__(self, graph: fx.Graph, modules: dict[str, nn.Module], by_channel: tuple[type[nn.Module], ...]) -> None:
        self.graph = graph
        self.modules = modules
        self.by_channel = by_channel
        self.layouts: dict[fx.Node, Layout | None] = {}
        self.layers: dict[str, Layer] = {}
        self.names_widths = False
        """whether the network gives a tensor a shape by numbers that only fit its own width"""

    def read(self) -> Layout:
        """The layout of what the network returns."""
        for node in self.graph.nodes:
            if node.op == "output":
                result = node.args[0]
                layout = self.layouts.get(result) if isinstance(result, fx.Node) else None
                if layout is None:
                    raise UsageError(f"the network returns {result}, but must return one tensor of class scores")
                return layout
            self.layouts[node] = self._layout(node)
        raise AssertionError("unreachable: every graph has an output")

    def head(self, output: Layout) -> str:
        """The one layer that gives what the network returns."""
        ends = {piece.group.root for piece in output.pieces}
        found = [name for name, layer in self.layers.items() if ends & {p.group.root for p in layer.gives.pieces}]
        if len(found) != 1 or len(output.pieces) != 1 or not self.layers[found[0]].mixes:
            listed = f"{', '.join(found)} together" if found else "something else"
            raise UsageError(
                f"the network must end in one Linear or convolution that gives the scores, not in {listed}"
            )
        return found[0]

    def _layout(self, node: fx.Node) -> Layout | None:
        match node.op:
            case "placeholder":
                earlier = [other for other in self.layouts if other.op == "placeholder"]
                if earlier and node.users:
                    raise UsageError(
                        f"the network takes {node.name} beside {earlier[0].name}, but must take one tensor"
                    )
                return None if earlier else Layout()
            case "get_attr":
                raise UsageError(f"{node.target} is a tensor of its own, outside of a layer; it cannot be cut by task")
            case "call_module":
                return self._module(node, str(node.target), self.modules[str(node.target)])
        return self._operation(node)

    def _module(self, node: fx.Node, name: str, module: nn.Module) -> Layout | None:
        reads = self._only(node)
        if type(module) in LAYERS:
            if name in self.layers:  # called a second time: with channels cut alike
                return self.layers[name].reads.tie(reads, name) and self.layers[name].gives
            gives = self._cut(name, module, reads)
            self.layers[name] = Layer(module, reads, gives)
            return gives
        if any(True for _ in module.parameters()) or any(True for _ in module.buffers()):
            raise UsageError(f"{name} is a {type(module).__name__}, which cannot be cut by task")
        if isinstance(module, nn.Flatten):
            return self._flattened(node, reads, module.start_dim, module.end_dim)
        if isinstance(module, (*_BETWEEN_CHANNELS, *_REARRANGING)) and not _is_last(node):
            raise UsageError(f"{name} is a {type(module).__name__}, which mixes channels of several tasks")
        return reads

    def _cut(self, name: str, module: nn.Module, reads: Layout) -> Layout:
        """Check that a layer can be cut, and give the layout of its output."""
        if isinstance(module, CONVOLUTIONS) and module.groups > 1:
            return self._grouped(name, module, reads)
        if isinstance(module, (*CONVOLUTIONS, nn.Linear)):
            flat = isinstance(module, nn.Linear)
            if flat and not (reads.flat or reads.is_input):
                raise UsageError(f"{name} is a Linear over the last of several dimensions; it must read (N, features)")
            features, outputs = (
                (module.in_features, module.out_features)
                if isinstance(module, nn.Linear)
                else (module.in_channels, module.out_channels)
            )
            reads.fit(features, name)
            return Layout((Piece(Group(outputs)),), flat)
        if isinstance(module, nn.PReLU):
            if module.num_parameters > 1:
                reads.fit(module.num_parameters, name)
        elif isinstance(module, nn.LayerNorm | nn.GroupNorm):
            self._normalised(name, module, reads)
        else:
            reads.fit(int(module.num_features), name)  # type: ignore[arg-type]
        if reads.is_input:
            raise UsageError(f"{name} has weights for the channels of the network's input, which no task owns")
        return reads

    def _grouped(self, name: str, module: nn.Module, reads: Layout) -> Layout:
        """A depthwise convolution gives each channel `repeat` times; others must give as many channels as they read."""
        assert isinstance(module, CONVOLUTIONS)
        inputs, outputs, groups = module.in_channels, module.out_channels, module.groups
        if reads.is_input:
            raise UsageError(f"{name} convolves the network's input in {groups} groups; the first layer must have one")
        reads.fit(inputs, name)
        if groups == inputs:
            more = outputs // inputs
            return Layout(tuple(Piece(p.group, p.repeat * more, p.places) for p in reads.pieces), reads.flat)
        if inputs != outputs or len(reads.pieces) > 1 or reads.pieces[0].features > 1:
            raise UsageError(
                f"{name} convolves {inputs} channels to {outputs} in {groups} groups; to be cut by task it must give as many"
                " channels as it reads, of one layer, or be depthwise"
            )
        reads.pieces[0].group.whole(inputs // groups)
        return reads

    def _normalised(self, name: str, module: nn.LayerNorm | nn.GroupNorm, reads: Layout) -> None:
        if isinstance(module, nn.LayerNorm):
            if not reads.flat or len(module.normalized_shape) != 1:
                raise UsageError(f"{name} normalises over {tuple(module.normalized_shape)}; it must be (N, features)")
            reads.fit(module.normalized_shape[0], name)
        else:
            reads.fit(module.num_channels, name)
        groups = module.num_groups if isinstance(module, nn.GroupNorm) else 1
        if groups == 1:  # each task's slice is then normalised by itself
            if len(reads.pieces) != 1:
                raise UsageError(f"{name} normalises over the channels of several layers at once")
            return
        assert isinstance(module, nn.GroupNorm)
        size = module.num_channels // groups
        for piece in reads.pieces:
            if size % piece.features:
                raise UsageError(f"{name} has groups of {size} features, of which a channel has {piece.features}")
            whole = size // piece.features
            if piece.group.channels % whole:
                raise UsageError(f"{name} has groups of {size} channels, which do not end where its inputs do")
            piece.group.whole(whole)

    def _operation(self, node: fx.Node) -> Layout | None:
        name = _name(node.target)
        known = [layout for layout in map(self.layouts.get, node.all_input_nodes) if layout is not None]
        if not node.users and known:
            # a check of shapes that was kept whole: it goes, and with it the right to other widths in the model's own forward
            self.names_widths = True
            return None
        if not known or name in ("size", "dim", "shape") or (node.target is getattr and node.args[1] == "shape"):
            return None
        if node.target in _COMBINING or (node.op == "call_method" and name in _COMBINING_METHODS):
            return known[0] if len(known) == 1 else known[0].tie(known[1], node.name)
        if name in _ELEMENTWISE | _POOLING or (name in ("softmax", "log_softmax") and _is_last(node)):
            return self._only(node)
        handlers: dict[str, Callable[[fx.Node], Layout]] = {
            "cat": self._joined,
            "concat": self._joined,
            "concatenate": self._joined,
            "flatten": self._flatten,
            "view": self._viewed,
            "reshape": self._viewed,
            "mean": self._reduced,
            "sum": self._reduced,
            "amax": self._reduced,
            "squeeze": self._squeezed,
            "getitem": self._indexed,
            "pad": self._padded,
        }
        if all(layout.is_input for layout in known):
            return known[0]  # whatever is made of the input alone is the same for every task
        if name not in handlers:
            raise UsageError(f"{node.name} ({name}) is an operation that is not known to keep channels apart")
        return handlers[name](node)

    def _only(self, node: fx.Node) -> Layout:
        layouts = [layout for layout in map(self.layouts.get, node.all_input_nodes) if layout is not None]
        if len(layouts) != 1:
            raise UsageError(f"{node.name} reads {len(layouts)} tensors, but only one can be followed")
        return layouts[0]

    def _joined(self, node: fx.Node) -> Layout:
        parts = node.args[0] if node.args else node.kwargs["tensors"]
        dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        assert isinstance(parts, list | tuple), "torch.cat takes a sequence"
        layouts = [self.layouts.get(part) or Layout() for part in parts if isinstance(part, fx.Node)]
        if any(layout.is_input for layout in layouts):
            raise UsageError(f"{node.name} joins the network's input with features, which cannot be cut by task")
        if dim not in (1, -3) and not (dim == -1 and all(layout.flat for layout in layouts)):
            raise UsageError(
                f"{node.name} joins tensors along dimension {dim}, but only 1, the channels, is understood"
            )
        return Layout(tuple(piece for layout in layouts for piece in layout.pieces), layouts[0].flat)

    def _flatten(self, node: fx.Node) -> Layout:
        places = [*node.args[1:], *([0, -1][len(node.args) - 1 :])]
        start, end = node.kwargs.get("start_dim", places[0]), node.kwargs.get("end_dim", places[1])
        return self._flattened(node, self._only(node), start, end)

    def _viewed(self, node: fx.Node) -> Layout:
        """`x.view(len(x), -1)`, or with a number that only fits the whole model: a flattening, and written as one."""
        layout = self._only(node)
        shape: Any = node.args[1:]
        if len(shape) == 1 and isinstance(shape[0], tuple | list):
            shape = shape[0]
        self.names_widths |= any(isinstance(size, int) and size > 1 for size in shape[1:])
        if len(shape) > 2 and layout.flat and all(size == 1 for size in shape[2:]):
            places = (slice(None), slice(None), *[None for _ in shape[2:]])
            node.op, node.target, node.args, node.kwargs = "call_function", operator.getitem, (node.args[0], places), {}
            return Layout(layout.pieces)
        if len(shape) != 2:
            raise UsageError(
                f"{node.name} gives a tensor another shape; only (N, features) and (N, channels, 1, ...) are understood"
            )
        node.op, node.target, node.args, node.kwargs = "call_function", torch.flatten, (node.args[0], 1), {}
        return self._flattened(node, layout, 1, -1)

    def _flattened(self, node: fx.Node, layout: Layout, start: Argument, end: Argument) -> Layout:
        if (start, end) != (1, -1) and not (layout.flat and start == 1):
            raise UsageError(f"{node.name} flattens dimensions {start} to {end}; only 1 to -1 is understood")
        if layout.is_input or layout.flat:
            return layout
        places = Places()
        return Layout(tuple(Piece(piece.group, piece.repeat, places) for piece in layout.pieces), flat=True)

    def _reduced(self, node: fx.Node) -> Layout:
        layout = self._only(node)
        dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        listed = list(dims) if isinstance(dims, tuple | list) else [dims]
        if None in listed or {0, 1} & set(listed) or layout.flat:
            raise UsageError(
                f"{node.name} takes the {_name(node.target)} over dimensions {dims}, not those of the picture"
            )
        keeps = node.args[2] if len(node.args) > 2 else node.kwargs.get("keepdim", False)
        return Layout(layout.pieces, flat=not keeps)

    def _squeezed(self, node: fx.Node) -> Layout:
        dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        if dim in (None, 0, 1):
            raise UsageError(f"{node.name} squeezes dimension {dim}, which may be the batch or the channels")
        return Layout(self._only(node).pieces, flat=True)

    def _indexed(self, node: fx.Node) -> Layout:
        index = node.args[1]
        parts = index if isinstance(index, tuple) else (index,)
        layout = self._only(node)
        if any(part != slice(None) for part in parts[:2]) or not all(isinstance(p, slice | None) for p in parts[2:]):
            raise UsageError(f"{node.name} takes some of the channels by their numbers, which change with the task")
        return Layout(layout.pieces) if None in parts[2:] else layout

    def _padded(self, node: fx.Node) -> Layout:
        pad: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("pad", ())
        if self._only(node).flat or any(pad[4:]):
            raise UsageError(
                f"{node.name} pads channels with zeros, which cannot be cut by task: use a projection there"
            )
        return self._only(node)


def _is_last(node: fx.Node) -> bool:
    return all(user.op == "output" for user in node.users)


def _name(target: Target | Tensor) -> str:
    return target if isinstance(target, str) else str(getattr(target, "__name__", target))
