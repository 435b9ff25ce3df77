"""Any network with a dial: `symmetrize` puts conditional attention behind named modules. N samples, C channels, L losses."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..core.errors import UsageError
from ..core.modes import evaluating
from .attention import Conditioning, ConditioningName, make_conditioning
from .mixture import Mix, as_mix, batched


class Dial(threading.local):
    """The mixture of the forward pass under way, for each thread its own: a server may turn it in several at once."""

    def __init__(self) -> None:
        self.mix: Tensor | None = (
            None  # of each thread; as an attribute of the class it would make compiled models recompile
        )

    def __reduce__(self) -> tuple[type[Dial], tuple[()]]:
        return Dial, ()  # a copied network gets a dial of its own


class Site:
    """A forward hook that conditions a module's output; a hook, so that the network keeps its modules and their names."""

    def __init__(self, name: str, dial: Dial, conditioning: nn.Module, channel_dim: int) -> None:
        self.name = name
        self.dial = dial
        self.conditioning = conditioning
        self.channel_dim = channel_dim

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Tensor:
        mix = self.dial.mix
        if mix is None:
            raise UsageError(
                f"{self.name!r} was called without a mixture: call the symmetrized model, not the network inside it"
                " (checkpointing inside the network does that too, in the backward pass)"
            )
        features = channels_second(output, self.channel_dim, self.name)
        found: Tensor = self.conditioning(features, per_row(mix, features).to(features.dtype))
        return found.movedim(1, self.channel_dim)


class FrozenSite:
    """As `Site`, for a conditioning with its mixture built in."""

    def __init__(self, name: str, conditioning: nn.Module, channel_dim: int) -> None:
        self.name = name
        self.conditioning = conditioning
        self.channel_dim = channel_dim

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Tensor:
        found: Tensor = self.conditioning(channels_second(output, self.channel_dim, self.name))
        return found.movedim(1, self.channel_dim)


class Symmetrized(nn.Module):
    """A network whose output depends on a mixture of losses; made by `symmetrize`.

    Args:
        network: given hooks in place; its parameters, modules and their names stay as they are.
        losses: L, or the name of each loss.
        at: names of modules of `network`, as in `named_modules`, that give one tensor.
        channels: C of each of them.
        conditioning: attention (the paper's), film, concat.
        reduction: see `ConditionalAttention`.
        channel_dim: where these tensors have their channels; 1, or -1 for tokens (N, T, C).

    Attributes:
        network: the network inside.
        conditionings: what was put behind each of the modules, in the order of `at`.

    Raises:
        UsageError: a number is out of range, or a name is unknown or given twice.
    """

    def __init__(
        self,
        network: nn.Module,
        losses: int | Sequence[str],
        at: Sequence[str],
        channels: Sequence[int],
        *,
        conditioning: ConditioningName = "attention",
        reduction: int = 4,
        channel_dim: int = 1,
    ) -> None:
        super().__init__()
        self.names = loss_names(losses)
        self.at = tuple(at)
        self.network = network
        modules = sites(network, self.at)
        if len(channels) != len(modules):
            raise UsageError(f"channels are {tuple(channels)}, but must be one number for each of {', '.join(self.at)}")
        self.conditionings = nn.ModuleList(
            make_conditioning(conditioning, count, len(self.names), reduction=reduction) for count in channels
        )
        self._dial = Dial()
        self._channel_dim = channel_dim
        # kept because a handle, unpickled, sees to it that new hooks do not take the numbers of old ones
        self._handles = [
            module.register_forward_hook(Site(name, self._dial, part, channel_dim))
            for name, module, part in zip(self.at, modules, self.conditionings, strict=True)
        ]

    def forward(self, *inputs: Any, mix: Mix, **rest: Any) -> Any:
        """What the network gives for these inputs under a mixture.

        Args:
            inputs: of the network; the first is a tensor (N, ...).
            mix: shares of the losses: L numbers or a mapping of names (what is not named has 0); a tensor (L,), or (N, L),
                a row for each sample; or a map (L, H, W) or (N, L, H, W), for networks of pictures (ours). Numbers off the
                simplex are allowed, with an `OffSimplexWarning`; tensors are not checked.
            rest: keyword arguments of the network.

        Raises:
            UsageError: the mixture has another number of losses, samples or dimensions.
        """
        shares = as_mix(mix, self.names)
        example = first_tensor(inputs, rest)
        shares = batched(shares.to(example.device), len(example))
        before, self._dial.mix = self._dial.mix, shares
        try:
            return self.network(*inputs, **rest)
        finally:
            self._dial.mix = before

    @torch.no_grad()
    def freeze(self, mix: Mix) -> nn.Module:
        """A copy of the network inside for one mixture, an ordinary module: torch.export and torch.compile work on it.

        Attention becomes squeeze-excitation blocks, exactly.

        Args:
            mix: L numbers, a mapping of names, or a tensor (L,); a map would need the picture's size.

        Raises:
            UsageError: it is of another shape.
        """
        shares = as_mix(mix, self.names)
        if shares.ndim != 1:
            raise UsageError(
                f"the mixture to freeze has the shape {tuple(shares.shape)}, but must be ({len(self.names)},)"
            )
        clone = copy.deepcopy(self)
        blocks = [part.fixed(shares.to(next(part.parameters()).device)) for part in clone._parts()]
        for name, module, block in zip(clone.at, sites(clone.network, clone.at), blocks, strict=True):
            block.train(module.training)
            hooks = module._forward_hooks
            for key, hook in hooks.items():
                if isinstance(hook, Site) and hook.dial is clone._dial:
                    hooks[key] = FrozenSite(name, block, self._channel_dim)  # in its place among a person's own hooks
        frozen = Frozen(clone.network, blocks, clone._handles)
        frozen.training = clone.training
        return frozen

    def _parts(self) -> list[Conditioning]:
        return list(self.conditionings)  # type: ignore[arg-type]


class Frozen(nn.Module):
    """A network with its mixture built in; made by `Symmetrized.freeze`, called as the network itself."""

    def __init__(self, network: nn.Module, blocks: Sequence[nn.Module], handles: Sequence[RemovableHandle]) -> None:
        super().__init__()
        self._handles = list(handles)
        self.network = network
        # registered, so that they move and are saved with the network; its hooks alone would leave them behind
        self.blocks = nn.ModuleList(blocks)

    def forward(self, *inputs: Any, **rest: Any) -> Any:
        """What the network gives."""
        return self.network(*inputs, **rest)


def symmetrize(
    network: nn.Module,
    *,
    losses: int | Sequence[str],
    at: Sequence[str],
    example: Any = None,
    conditioning: ConditioningName = "attention",
    reduction: int = 4,
    channel_dim: int = 1,
) -> Symmetrized:
    """Give any network a dial: conditional channel attention behind the modules named (the paper's CCAM).

    Args:
        network: MLP, CNN, U-Net, transformer; it is used, not copied, and keeps its modules and their names.
        losses: how many losses will be mixed, or the name of each.
        at: names of modules of `network`, as in `named_modules`, each giving one tensor (N, C, ...).
        example: an input, or a tuple of inputs, to find the number of channels at each module by a pass; without it, it is that of the
            last layer inside the module.
        conditioning: attention (the paper's), film, concat.
        reduction: by which attention's hidden layer is narrower than C (paper: 4).
        channel_dim: where these tensors have their channels; 1, or -1 for tokens (N, T, C).

    Raises:
        UsageError: a module is unknown, gives no tensor or is not reached by the example, or its channels cannot be told.
    """
    modules = sites(network, at)
    if example is not None:
        channels = _measured(network, at, modules, example, channel_dim)
    else:
        channels = [_declared(name, module) for name, module in zip(at, modules, strict=True)]
    made = Symmetrized(
        network,
        losses,
        at,
        channels,
        conditioning=conditioning,
        reduction=reduction,
        channel_dim=channel_dim,
    )
    some = next(network.parameters(), None)
    if some is not None:
        made.conditionings.to(some.device, some.dtype if some.is_floating_point() else None)
    return made


def sites(network: nn.Module, at: Sequence[str]) -> list[nn.Module]:
    """The modules of these names.

    Raises:
        UsageError: there are no names, one is unknown (the message has those like it), or one module is named twice.
    """
    known = dict(network.named_modules(remove_duplicate=False))
    known.pop("")
    if not at or isinstance(at, str):
        raise UsageError(f"at is {at!r}, but must be a list of module names such as {', '.join(list(known)[:4])}")
    for name in at:
        if name not in known:
            like = [other for other in known if name.split(".")[0] in other] or list(known)
            raise UsageError(f"at has {name!r}, which the network lacks; it has {', '.join(like[:8])}")
    found = [known[name] for name in at]
    if len({id(module) for module in found}) < len(found):
        raise UsageError(f"at is {tuple(at)}, which names one module twice")
    return found


def loss_names(losses: int | Sequence[str]) -> tuple[str, ...]:
    """The names of the losses: those given, or "0", "1", ...

    Raises:
        UsageError: there are none, or one is given twice.
    """
    if isinstance(losses, str):
        raise UsageError(f"losses are {losses!r}, but must be a number, or a list of names such as [{losses!r}, ...]")
    names = tuple(map(str, range(losses))) if isinstance(losses, int) else tuple(losses)
    if not names or len(set(names)) < len(names):
        raise UsageError(f"losses are {losses!r}, but must be at least 1, each of another name")
    return names


def first_tensor(inputs: Sequence[Any], rest: dict[str, Any]) -> Tensor:
    """The first tensor among a network's arguments, whose length is the number of samples.

    Raises:
        UsageError: there is none.
    """
    for value in (*inputs, *rest.values()):
        if isinstance(value, Tensor):
            return value
    raise UsageError("a symmetrized network needs a tensor among its inputs")


def channels_second(output: Any, channel_dim: int, name: str) -> Tensor:
    """A module's output with its channels at dimension 1.

    Raises:
        UsageError: it is no tensor of two dimensions or more.
    """
    if not isinstance(output, Tensor) or output.ndim < 2:
        what = f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise UsageError(f"module {name!r} gives {what}, but must give one tensor (N, C, ...)")
    return output.movedim(channel_dim, 1)


def per_row(mix: Tensor, features: Tensor) -> Tensor:
    """The mixtures (N, ...) for features whose rows are parts of samples, such as windows: each repeated for its parts.

    Raises:
        UsageError: the rows are no multiple of the samples.
    """
    if len(mix) == len(features):
        return mix
    if len(mix) == 0 or len(features) % len(mix):
        raise UsageError(f"features have {len(features)} rows, which do not divide among {len(mix)} mixtures")
    return mix.repeat_interleave(len(features) // len(mix), 0)


@torch.no_grad()
def _measured(
    network: nn.Module, at: Sequence[str], modules: Sequence[nn.Module], example: Any, channel_dim: int
) -> list[int]:
    found: dict[str, int] = {}

    def watch(name: str) -> Callable[..., None]:
        def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
            found[name] = channels_second(output, channel_dim, name).shape[1]

        return note

    handles = [module.register_forward_hook(watch(name)) for name, module in zip(at, modules, strict=True)]
    try:
        with evaluating(network):  # batch norms keep their statistics
            network(*example) if isinstance(example, tuple) else network(example)
    finally:
        for handle in handles:
            handle.remove()
    missing = next((name for name in at if name not in found), None)
    if missing is not None:
        raise UsageError(f"module {missing!r} took no part in the network's pass over the example")
    return [found[name] for name in at]


def _declared(name: str, module: nn.Module) -> int:
    """Channels of the last layer inside that says how many it gives."""
    for part in reversed(list(module.modules())):
        for attribute in ("out_channels", "out_features", "num_features", "num_channels"):
            count = getattr(part, attribute, None)
            if isinstance(count, int) and count > 0:
                return count
        shape = getattr(part, "normalized_shape", None)
        if shape:
            return int(shape[-1])
    raise UsageError(f"the channels of module {name!r} cannot be told by its layers: give an example input")
