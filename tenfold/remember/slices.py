"""Builds, from one network taken apart, the ordinary networks that a stack consists of.

* a *slice*: what task j trains, its own channels only. Its layers are torch's own, as wide as the task's share; those that mix
  channels read the features of the earlier tasks beside their own.
* a *plain* network: what task j computes, the slices up to its own put together into layers of torch's own. An earlier filter
  has zeros where it would read a later task's channel: the weight is block triangular.
* its *trunk*: the same network, which gives what the mixing layers read, for the next task's slice.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from .anatomy import BATCH_NORMS, CONVOLUTIONS, INSTANCE_NORMS, Anatomy, Layer
from .channels import Cuts

OLDER = "older_scale"
"""Buffer of a slice's mixing layers: what each earlier feature is multiplied with before it is read."""


class SliceNorm(nn.Module):
    """A layer norm, or a group norm of one group, over each task's channels by themselves. (N, C, *) -> (N, C, *)."""

    def __init__(self, sizes: Sequence[int], *, eps: float, affine: bool, bias: bool) -> None:
        """`sizes`: channels of each task."""
        super().__init__()
        self.sizes = list(sizes)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(sum(sizes))) if affine else None
        self.bias = nn.Parameter(torch.zeros(sum(sizes))) if affine and bias else None

    def forward(self, features: Tensor) -> Tensor:
        normed = torch.cat([F.group_norm(part, 1, eps=self.eps) for part in features.split(self.sizes, 1)], 1)
        shape = (-1,) + (1,) * (features.ndim - 2)
        if self.weight is not None:
            normed = normed * self.weight.view(shape)
        return normed if self.bias is None else normed + self.bias.view(shape)


def make_slice(anatomy: Anatomy, cuts: Cuts, task: int, classes: int) -> fx.GraphModule:
    """The network of the task's own channels, with new weights: (images, *taps of the task before's trunk) -> logits."""
    modules = {
        name: (
            narrowed(
                anatomy.layers[name],
                reads=_read(anatomy.layers[name], cuts, task, since=-1 if anatomy.layers[name].mixes else task - 1),
                sizes=[classes]
                if name == anatomy.head
                else [cuts.width(anatomy.layers[name].gives, task, since=task - 1)],
            )
            if name in anatomy.layers
            else copy.deepcopy(module)
        )
        for name, module in anatomy.modules.items()
    }
    graph, copies = _copied(anatomy.graph)
    buffers: dict[str, Tensor] = {}
    if task > 0:
        for name, layer in _readers(anatomy):
            zeros = torch.zeros(cuts.width(layer.reads, task - 1))  # nothing of the earlier tasks is read before `meet`
            buffers[f"{name}.{OLDER}"] = zeros
        _join_older(anatomy, graph, copies, cuts, task)
    return fx.GraphModule({**modules, **buffers}, graph, class_name="Slice")


def make_plain(anatomy: Anatomy, cuts: Cuts, task: int, classes: int) -> fx.GraphModule:
    """The network that the task computes, images -> logits, in evaluation mode; its layers have no memory yet (meta)."""
    modules: dict[str, nn.Module] = {}
    with torch.device("meta"):
        for name, module in anatomy.modules.items():
            layer = anatomy.layers.get(name)
            if layer is None:
                modules[name] = copy.deepcopy(module)
            else:
                own = [cuts.width(layer.gives, j, since=j - 1) for j in range(task + 1)]
                modules[name] = narrowed(
                    layer, reads=_read(layer, cuts, task), sizes=[classes] if name == anatomy.head else own
                )
    return fx.GraphModule(modules, _copied(anatomy.graph)[0], class_name="TaskNetwork").eval()


def make_small(anatomy: Anatomy, cuts: Cuts, task: int, classes: int) -> nn.Module:
    """As `make_plain`, but where it can be a network of the model's own class, with thinner layers in their places."""
    plain = make_plain(anatomy, cuts, task, classes)
    if not anatomy.thins:
        return plain
    model = copy.deepcopy(anatomy.model)
    for name in anatomy.layers:
        model.set_submodule(name, plain.get_submodule(name))
    return model.eval()


def make_trunk(anatomy: Anatomy, plain: fx.GraphModule) -> fx.GraphModule:
    """`plain`, its modules shared, as a network that gives the taps as a tuple: images -> (taps of `anatomy`)."""
    graph, copies = _copied(anatomy.graph)
    (output,) = [node for node in graph.nodes if node.op == "output"]
    output.args = (tuple(copies[node] for node in anatomy.taps),)
    graph.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output"))
    called = {str(node.target) for node in graph.nodes if node.op == "call_module"}
    return fx.GraphModule({name: plain.get_submodule(name) for name in called}, graph, class_name="Trunk").eval()


def put_together(anatomy: Anatomy, cuts: Cuts, task: int, slices: Sequence[nn.Module]) -> dict[str, Tensor]:
    """The tensors of the task's plain network, by name, from the slices up to its own; gradients flow to the slices."""
    tensors: dict[str, Tensor] = {}
    for name, layer in anatomy.layers.items():
        parts = [_read_tensors(layer, cuts, j, slices[j].get_submodule(name)) for j in range(task + 1)]
        if name == anatomy.head:
            # copies: autocast keeps the casts of leaves, and within one region goes on using them after a step of training
            found = {key: value.clone() for key, value in parts[task].items()}
        else:
            found = _assembled(layer, cuts, task, parts)
        tensors |= {f"{name}.{key}": value for key, value in found.items()}
    return tensors


@torch.no_grad()
def meet(anatomy: Anatomy, part: nn.Module, older: Sequence[Tensor]) -> None:
    """Let a slice know how large the earlier tasks' features are on its own inputs: it reads each over its root mean square, if
    that is above 1.

    A norm whose statistics are fixed divides by what a channel varied in its own task. Where that was little, a later task's
    inputs make it huge, and a layer that reads it as it is cannot be trained.

    Args:
        older: the taps of the task before's trunk for some of the new task's inputs, (N, channels, ...) each.
    """
    taps = dict(zip(anatomy.taps, older, strict=True))
    for node in anatomy.graph.nodes:
        if node.op == "call_module" and hasattr(module := part.get_submodule(str(node.target)), OLDER):
            squares = taps[node.args[0]].float().square().transpose(0, 1).flatten(1).mean(1)
            getattr(module, OLDER).copy_(1 / squares.sqrt().clamp(min=1))


def freeze(module: nn.Module) -> None:
    """Put a module into evaluation mode for good: its parameters become buffers, and copies, which no optimiser holds."""
    for part in module.modules():
        for name, parameter in list(part._parameters.items()):
            if parameter is not None:
                delattr(part, name)
                part.register_buffer(name, parameter.detach().clone())
    module.eval()


def narrowed(layer: Layer, *, reads: int, sizes: Sequence[int]) -> nn.Module:
    """A layer of the same kind, for `reads` features and as many channels as the tasks' `sizes` together; new weights."""
    module, gives = layer.module, sum(sizes)
    kind: Any = type(module)
    if isinstance(module, CONVOLUTIONS):
        return kind(
            reads,
            gives,
            module.kernel_size,
            stride=module.stride,
            padding=module.padding,
            dilation=module.dilation,
            groups=1 if layer.mixes else reads // (module.in_channels // module.groups),
            bias=module.bias is not None,
            padding_mode=module.padding_mode,
        )
    if isinstance(module, nn.Linear):
        return kind(reads, gives, bias=module.bias is not None)
    if isinstance(module, (*BATCH_NORMS, *INSTANCE_NORMS)):
        return kind(gives, module.eps, module.momentum, module.affine, module.track_running_stats)
    if isinstance(module, nn.PReLU):
        return kind(1 if module.num_parameters == 1 and len(sizes) == 1 else gives)
    if isinstance(module, nn.LayerNorm):
        affine, bias = module.elementwise_affine, module.bias is not None
        if len(sizes) == 1:
            return kind(gives, module.eps, affine, bias)
        return SliceNorm(sizes, eps=module.eps, affine=affine, bias=bias)
    assert isinstance(module, nn.GroupNorm)
    if module.num_groups == 1 and len(sizes) > 1:
        return SliceNorm(sizes, eps=module.eps, affine=module.affine, bias=True)
    groups = 1 if module.num_groups == 1 else gives // (module.num_channels // module.num_groups)
    return kind(groups, gives, module.eps, module.affine)


@torch.no_grad()
def initialise(layer: Layer, cuts: Cuts, task: int, part: nn.Module) -> None:
    """Start a slice's layer: the first task's with the model's first channels, later ones with weights like the model's.

    Weights of a layer that reads fewer features than in the model are larger by the root of the ratio, so that what it gives
    spreads as it does in the model. Later weights are drawn from a normal distribution of the model's spread, those that read
    earlier tasks' features are 0: a later task begins as a network of its own, whose head alone reads all, and takes of the
    others what it needs.
    """
    given = _tensors(layer.module)
    if task == 0:
        rows = cuts.places(layer.gives, 0, since=-1, frame=None)
        columns = None if layer.reads.is_input or not layer.mixes else cuts.places(layer.reads, 0, since=-1, frame=None)
        for name, value in _tensors(part).items():
            value.copy_(_first_channels(given[name], value, rows, columns))
        return
    for name, value in part.named_parameters():
        model = given[name].float()
        if name == "weight" and layer.mixes:
            own = slice(None) if layer.reads.is_input else cuts.places(layer.reads, task, since=task - 1, frame=task)
            spread = float(model.std()) * math.sqrt(model[0].numel() / value[0, own].numel())
            value.zero_()[:, own] = spread * torch.randn_like(value[:, own])
        elif isinstance(layer.module, (*CONVOLUTIONS, nn.Linear)):
            value.normal_(float(model.mean()), float(model.std(correction=0)))
        else:
            value.fill_(float(model.mean()))


def _first_channels(given: Tensor, value: Tensor, rows: Tensor, columns: Tensor | None) -> Tensor:
    if given.ndim == 0 or (len(given) == 1 == len(value)):
        return given
    chosen = given[rows.to(given.device)]
    if columns is None or given.ndim == 1:
        return chosen
    return chosen[:, columns.to(given.device)] * math.sqrt(given.shape[1] / len(columns))


def _readers(anatomy: Anatomy) -> list[tuple[str, Layer]]:
    """The layers of a slice that read earlier tasks' features."""
    return [(name, layer) for name, layer in anatomy.layers.items() if layer.mixes and not layer.reads.is_input]


def _read_tensors(layer: Layer, cuts: Cuts, task: int, part: nn.Module) -> dict[str, Tensor]:
    """A slice's tensors of one layer as a plain network has them: what scales the features that are read is in the weight."""
    tensors = _tensors(part)
    scale = tensors.pop(OLDER, None)
    if scale is not None:
        columns = cuts.places(layer.reads, task - 1, since=-1, frame=task).to(scale.device)
        whole = scale.new_ones(cuts.width(layer.reads, task)).index_copy(0, columns, scale)
        weight = tensors["weight"]
        tensors["weight"] = weight * whole.to(weight.dtype).view(1, -1, *[1] * (weight.ndim - 2))
    return tensors


def _read(layer: Layer, cuts: Cuts, task: int, *, since: int = -1) -> int:
    if not layer.reads.is_input:
        return cuts.width(layer.reads, task, since=since)
    module = layer.module
    return module.in_features if isinstance(module, nn.Linear) else int(module.in_channels)  # type: ignore[arg-type]


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.named_parameters()) | dict(module.named_buffers())


def _assembled(layer: Layer, cuts: Cuts, task: int, parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """One layer's tensors over all tasks up to `task`, each channel at its place."""
    own = [cuts.width(layer.gives, j, since=j - 1) for j in range(task + 1)]
    rows = torch.cat([cuts.places(layer.gives, j, since=j - 1, frame=task) for j in range(task + 1)])
    order = rows.argsort()
    in_order = bool((order == torch.arange(len(order))).all())
    found = {}
    for name, last in parts[task].items():
        if last.ndim == 0:  # BatchNorm's count of batches
            found[name] = last.clone()
            continue
        values = [part[name] for part in parts]
        if task > 0 and isinstance(layer.module, nn.PReLU):
            values = [value.expand(size) for value, size in zip(values, own, strict=True)]
        elif name == "weight" and layer.mixes and not layer.reads.is_input:
            values = [_widened(value, layer, cuts, j, task) for j, value in enumerate(values)]
        whole = torch.cat(values) if in_order else torch.cat(values)[order.to(last.device)]
        if last.ndim == 4 and last.is_contiguous(memory_format=torch.channels_last) and not last.is_contiguous():
            whole = whole.contiguous(memory_format=torch.channels_last)
        found[name] = whole
    return found


def _widened(weight: Tensor, layer: Layer, cuts: Cuts, task: int, frame: int) -> Tensor:
    """A slice's weight (own, read, ...) as rows for all channels of task `frame`: zero where a later task's would be read."""
    if task == frame:
        return weight
    columns = cuts.places(layer.reads, task, since=-1, frame=frame).to(weight.device)
    zeros = weight.new_zeros((len(weight), cuts.width(layer.reads, frame), *weight.shape[2:]))
    return zeros.index_copy(1, columns, weight)


def _join_older(anatomy: Anatomy, graph: fx.Graph, copies: Mapping[fx.Node, fx.Node], cuts: Cuts, task: int) -> None:
    """Let the mixing layers of a slice's graph read the earlier tasks' features, new inputs of the graph, as well."""
    with graph.inserting_after(copies[anatomy.input]):
        older = {node: graph.placeholder(f"older_{place}") for place, node in reversed([*enumerate(anatomy.taps)])}
    readers = dict(_readers(anatomy))
    for node in anatomy.graph.nodes:
        layer = readers.get(str(node.target)) if node.op == "call_module" else None
        if layer is None:
            continue
        mine, (source,) = copies[node], node.args
        sizes = cuts.sizes(layer.reads, task - 1), cuts.sizes(layer.reads, task, since=task - 1)
        with graph.inserting_before(mine):
            scale = graph.get_attr(f"{node.target}.{OLDER}")
            mine.args = (graph.call_function(join_features, (older[source], copies[source], scale, *sizes)),)
    graph.lint()


def join_features(older: Tensor, own: Tensor, scale: Tensor, older_sizes: list[int], own_sizes: list[int]) -> Tensor:
    """Earlier tasks' features, scaled, and a task's own, as one tensor in the order of the task's plain network.

    Args:
        older: (N, sum of `older_sizes`, *), piece by piece.
        own: (N, sum of `own_sizes`, *).
        scale: (sum of `older_sizes`), what each earlier feature is multiplied with.
    """
    older = older * scale.to(older.dtype).view(1, -1, *[1] * (older.ndim - 2))
    if len(older_sizes) == 1:
        return torch.cat([older, own], 1)
    pieces = zip(older.split(older_sizes, 1), own.split(own_sizes, 1), strict=True)
    return torch.cat([part for pair in pieces for part in pair], 1)


def _copied(graph: fx.Graph) -> tuple[fx.Graph, dict[fx.Node, fx.Node]]:
    copies: dict[fx.Node, fx.Node] = {}
    new = fx.Graph()
    new.output(new.graph_copy(graph, copies))
    return new, copies
