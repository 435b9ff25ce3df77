"""Any network's dilated convolutions, exchanged for concentrated ones where that pays: `convert_dilated`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ..core.cost import alternating_seconds, executed_macs
from ..core.errors import UsageError
from .concentrated import KERNEL, ConcentratedConv2d
from .fold import fuse
from .least_squares import fit_concentrated

Keep = Literal["faster", "all"]
Initialise = Literal["activations", "random"]
REPEATS = 15


@dataclass(frozen=True)
class ConvertedLayer:
    """One dilated convolution and what would take its place."""

    name: str
    channels: tuple[int, int]
    """read and given"""
    dilation: int
    parameters: tuple[int, int]
    """before and after"""
    macs: tuple[int, int]
    """multiply-accumulates for the example, before and after"""
    seconds: tuple[float, float]
    """for the example, medians measured in turns: as it was, and fused for inference"""
    error: float
    """relative squared error of the output before any fine-tuning; NaN for random weights"""
    kept: bool
    """whether the concentrated convolution is in the network now"""


@dataclass(frozen=True)
class Conversion:
    """What `convert_dilated` did; `print` shows a table."""

    layers: tuple[ConvertedLayer, ...]

    @property
    def converted(self) -> tuple[str, ...]:
        """The names of the layers that were exchanged."""
        return tuple(layer.name for layer in self.layers if layer.kept)

    def __str__(self) -> str:
        if not self.layers:
            return "no dilated 3x3 convolution was found"
        width = max(5, *(len(layer.name) for layer in self.layers))
        lines = [
            f"{'layer':{width}}  {'channels':>9}  rate  {'parameters':>17}  {'MMACs':>15}  {'ms':>13}  faster  error  kept"
        ]
        for layer in self.layers:
            first, last = layer.seconds
            lines.append(
                f"{layer.name:{width}}  {layer.channels[0]:4}>{layer.channels[1]:4}  {layer.dilation:4}"
                f"  {layer.parameters[0]:8,}>{layer.parameters[1]:8,}  {layer.macs[0] / 1e6:7.1f}>{layer.macs[1] / 1e6:7.1f}"
                f"  {first * 1e3:6.2f}>{last * 1e3:6.2f}  {first / last:5.2f}x  {layer.error:5.2f}  {'yes' if layer.kept else 'no'}"
            )
        return "\n".join(lines)


@torch.no_grad()
def convert_dilated(
    model: nn.Module,
    example: Any,
    *,
    keep: Keep = "faster",
    initialise: Initialise = "activations",
    wanted: Callable[[str, nn.Conv2d], bool] | None = None,
    repeats: int = REPEATS,
) -> Conversion:
    """Exchange the dilated 3x3 convolutions of a network, in place, for concentrated ones (`ConcentratedConv2d`).

    Looked at are ungrouped 3x3 convolutions of dilation 2 or more whose padding keeps the resolution, in the order in which
    the network calls them; each new one is fitted to what it will read, those before it already exchanged. The network
    should be fine-tuned afterwards: a concentrated convolution cannot do all that a dense one does. Then `fuse(model)` is
    the network for inference, whose times are the ones measured here.

    Args:
        model: any network; its mode, its other weights and its buffers stay as they are.
        example: what `model(example)` takes: a batch of real inputs (N, C, H, W) of the size that counts, 4 or more for a
            good fit, or a tuple of arguments.
        keep: `faster` exchanges layers that then take less time here and now, on the example's device; `all` exchanges all.
        initialise: `activations` fits the new weights to the old layer's outputs by least squares; `random` draws them.
        wanted: (name, convolution) -> whether to look at it; none looks at all.
        repeats: times that each layer is run for its median.

    Raises:
        UsageError: an argument is out of range, or the network does not run on the example.
    """
    if keep not in get_args(Keep):
        raise UsageError(f"keep is {keep!r}, but must be one of {', '.join(get_args(Keep))}")
    if initialise not in get_args(Initialise):
        raise UsageError(f"initialise is {initialise!r}, but must be one of {', '.join(get_args(Initialise))}")
    if repeats < 1:
        raise UsageError(f"repeats is {repeats}, but must be at least 1")
    _refuse_bare(model)
    arguments = example if isinstance(example, tuple) else (example,)
    modes = {name: module.training for name, module in model.named_modules()}
    model.eval()
    try:
        layers = tuple(
            _convert(model, name, arguments, keep=keep, initialise=initialise, repeats=repeats)
            for name in _dilated(model, arguments, wanted)
        )
    finally:
        # parents come before their children, so that a new part has the mode of the one whose place it took
        for name, training in modes.items():
            model.get_submodule(name).train(training)
    return Conversion(layers)


def exchange_dilated(model: nn.Module) -> int:
    """Exchange all convertible convolutions of a network, in place, for concentrated ones with weights drawn anew.

    Returns:
        How many there were.
    """
    _refuse_bare(model)
    found = [module for module in model.modules() if is_convertible(module)]
    for module in found:
        assert isinstance(module, nn.Conv2d)
        _exchange(model, module, _block_like(module))
    return len(found)


def _refuse_bare(model: nn.Module) -> None:
    if is_convertible(model):
        raise UsageError(
            "the model is itself the convolution, but must contain it, so that it can be exchanged in place"
        )


def is_convertible(module: nn.Module) -> bool:
    """Whether a concentrated convolution has the same shapes: 3x3, ungrouped, dilated, padded to keep the resolution."""
    if not isinstance(module, nn.Conv2d) or type(module) is not nn.Conv2d:
        return False
    rate = module.dilation[0]
    padded = module.padding in ("same", (rate, rate)) and module.padding_mode == "zeros"
    alike = module.dilation == (rate, rate) and module.stride[0] == module.stride[1]
    # of a single input channel, it is depthwise already
    dense = module.groups == 1 and module.in_channels > 1
    return module.kernel_size == (KERNEL, KERNEL) and dense and rate > 1 and padded and alike


def _dilated(
    model: nn.Module, arguments: tuple[Any, ...], wanted: Callable[[str, nn.Conv2d], bool] | None
) -> list[str]:
    """The names of the layers to look at, in the order in which they are called; those never called are left out."""
    called: dict[str, None] = {}
    handles = []
    for name, module in model.named_modules():
        if is_convertible(module) and (wanted is None or wanted(name, module)):
            handles.append(
                module.register_forward_pre_hook(lambda _module, _inputs, name=name: called.setdefault(name))
            )
    try:
        model(*arguments)
    except Exception as error:
        raise UsageError(f"the network does not run on the example: {error}") from error
    finally:
        for handle in handles:
            handle.remove()
    return list(called)


def _convert(
    model: nn.Module, name: str, arguments: tuple[Any, ...], *, keep: Keep, initialise: Initialise, repeats: int
) -> ConvertedLayer:
    convolution = model.get_submodule(name)
    assert isinstance(convolution, nn.Conv2d)
    inputs = _inputs_of(model, convolution, arguments)
    if inputs.numel() == 0:
        raise UsageError(f"{name} reads {tuple(inputs.shape)}, but must read one picture or more")
    block = _block_like(convolution).eval()
    error = fit_concentrated(block, convolution, inputs) if initialise == "activations" else float("nan")
    first, last = alternating_seconds([convolution, fuse(block)], inputs, repeats=repeats)
    kept = keep == "all" or last < first
    if kept:
        _exchange(model, convolution, block)
    return ConvertedLayer(
        name=name,
        channels=(convolution.in_channels, convolution.out_channels),
        dilation=convolution.dilation[0],
        parameters=(_size(convolution), _size(block)),
        macs=(executed_macs(convolution, inputs), executed_macs(block, inputs)),
        seconds=(first, last),
        error=error,
        kept=kept,
    )


def _block_like(convolution: nn.Conv2d) -> ConcentratedConv2d:
    block = ConcentratedConv2d(
        convolution.in_channels,
        convolution.out_channels,
        dilation=convolution.dilation[0],
        stride=convolution.stride[0],
        bias=convolution.bias is not None,
    )
    return block.to(convolution.weight.device, convolution.weight.dtype)


def _inputs_of(model: nn.Module, module: nn.Module, arguments: tuple[Any, ...]) -> Tensor:
    """What the module reads while the model runs; where it is called more than once, the first time."""
    read: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _module, inputs: read.append(inputs[0].clone()))
    try:
        model(*arguments)
    finally:
        handle.remove()
    return read[0]


def _exchange(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put `new` wherever `old` is; a layer that several parents share stays shared."""
    for parent in list(model.modules()):
        # not named_children, which names a child that has two names once
        for name, child in list(parent._modules.items()):
            if child is old:
                setattr(parent, name, new)


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
