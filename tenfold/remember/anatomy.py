"""Reads how a network is built: its layers, how their channels depend on one another, and which layer names the classes.

The network is traced symbolically (torch.fx) and never run. What cannot be cut by task is refused with the reason.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import fx, nn

from ..core.errors import UsageError
from .reader import BATCH_NORMS, CONVOLUTIONS, INSTANCE_NORMS, LAYERS, Layer, Reader

__all__ = ["BATCH_NORMS", "CONVOLUTIONS", "INSTANCE_NORMS", "Anatomy", "Layer", "dissect"]

_BY_CHANNEL = {"StochasticDepth", "DropPath"}
"""modules of other libraries, by class name, that treat every channel by itself"""

_DROPOUTS: dict[Any, type[nn.Module]] = {
    F.dropout: nn.Dropout,
    F.dropout1d: nn.Dropout1d,
    F.dropout2d: nn.Dropout2d,
    F.dropout3d: nn.Dropout3d,
    F.alpha_dropout: nn.AlphaDropout,
    F.feature_alpha_dropout: nn.FeatureAlphaDropout,
}


@dataclass(frozen=True)
class Anatomy:
    """A network taken apart."""

    graph: fx.Graph
    modules: dict[str, nn.Module]
    """what the graph calls, by name, in order of the calls"""
    layers: dict[str, Layer]
    """those of them that have weights; the head's `gives` is not to be cut"""
    head: str
    """the layer that gives the classes"""
    model: nn.Module
    """a copy of the network itself, which may be given thinner layers where `thins` says so"""
    thins: bool
    """whether its own forward pass is right with layers of other widths: it names no width, and calls each layer it has"""

    @property
    def input(self) -> fx.Node:
        return next(node for node in self.graph.nodes if node.op == "placeholder")

    @property
    def classes(self) -> int:
        """How many classes the model itself has."""
        head = self.layers[self.head].module
        return head.out_features if isinstance(head, nn.Linear) else int(head.out_channels)  # type: ignore[arg-type]

    def keep_whole(self, multiple: int) -> None:
        """Let slices end at multiples of so many channels, in layers that have a multiple of them."""
        for name, layer in self.layers.items():
            for piece in layer.gives.pieces if name != self.head else ():
                if piece.group.channels % multiple == 0:
                    piece.group.whole(multiple)

    @property
    def taps(self) -> list[fx.Node]:
        """What the mixing layers read of other tasks: values of the graph, each once, in order."""
        readers = [node for node in self.graph.nodes if node.op == "call_module" and node.target in self.layers]
        mixing = [node for node in readers if self.layers[str(node.target)].mixes]
        return list(dict.fromkeys(n.args[0] for n in mixing if not self.layers[str(n.target)].reads.is_input))


def dissect(model: nn.Module, *, by_channel: Sequence[type[nn.Module]] = ()) -> Anatomy:
    """Take a network apart.

    Args:
        model: maps one tensor (N, C, ...) or (N, features) to scores (N, classes, ...); it is copied and left as it is.
        by_channel: classes of modules without weights that treat every channel by itself, such as an activation of your own;
            they are not looked into.

    Raises:
        UsageError: the model cannot be traced, or a part of it cannot be cut by task; the message names the part.
    """
    # a layer alone would be looked into: torch's own are left whole only inside of something
    model = nn.Sequential(copy.deepcopy(model)) if type(model) in LAYERS else copy.deepcopy(model)
    _norms_apart(model)
    for module in model.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]  # a layer of another task reads the value too
    tracer = _Tracer(tuple(by_channel))
    try:
        graph = tracer.trace(model)
    except Exception as error:
        raise UsageError(f"{type(model).__name__} cannot be traced, so its layers are not known: {error}") from error
    modules = dict(model.named_modules())
    _dropouts_as_modules(graph, modules)
    reader = Reader(graph, modules, tuple(by_channel))
    output = reader.read()
    head = reader.head(output)
    graph.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output"))
    for unused in [node for node in graph.nodes if node.op == "placeholder"][1:]:
        graph.erase_node(unused)
    called = dict.fromkeys(str(node.target) for node in graph.nodes if node.op == "call_module")
    layers = {name: layer for name, layer in reader.layers.items() if name in called}
    with_weights = [name for name, part in model.named_modules(remove_duplicate=False) if part._parameters]
    thins = not reader.names_widths and set(with_weights) == set(layers)
    return Anatomy(graph, {name: modules[name] for name in called}, layers, head, model, thins)


class _Tracer(fx.Tracer):
    """Looks into every module but torch's own and those that treat channels by themselves."""

    def __init__(self, by_channel: tuple[type[nn.Module], ...]) -> None:
        super().__init__()
        self._by_channel = by_channel

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, self._by_channel) or type(m).__name__ in _BY_CHANNEL:
            return True
        return type(m) in LAYERS or super().is_leaf_module(m, module_qualified_name)


def _norms_apart(model: nn.Module) -> None:
    """timm's batch norm with its activation inside, as the norm and the rest one behind the other."""
    for name, module in list(model.named_modules()):
        if type(module).__name__ == "BatchNormAct2d" and isinstance(module, nn.BatchNorm2d):
            norm = nn.BatchNorm2d(module.num_features, module.eps, module.momentum, module.affine)
            norm.load_state_dict(module.state_dict())
            rest = [part for part in (getattr(module, "drop", None), getattr(module, "act", None)) if part is not None]
            model.set_submodule(name, nn.Sequential(norm, *rest))


def _dropouts_as_modules(graph: fx.Graph, modules: dict[str, nn.Module]) -> None:
    """Functional dropout was traced with the mode that the model was in; a module keeps asking."""
    for node in graph.nodes:
        if node.op == "call_function" and node.target in _DROPOUTS:
            share = node.args[1] if len(node.args) > 1 else node.kwargs.get("p", 0.5)
            name = f"{node.name}_module"
            modules[name] = _DROPOUTS[node.target](float(share))
            node.op, node.target, node.args, node.kwargs = "call_module", name, node.args[:1], {}
