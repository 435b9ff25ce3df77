"""Reading a network's positions while it runs, wherever it is called from and without changing it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..core.errors import UsageError
from .dataflow import is_relu, main_output
from .positions import Position


class Reading:
    """What one pass gave; filled once the network has run."""

    def __init__(self, positions: Sequence[Position]) -> None:
        self._positions = positions
        self._found: dict[str, Tensor] = {}
        self.inputs: tuple[Any, ...] = ()
        """positional arguments that the network was called with"""
        self.options: dict[str, Any] = {}
        """arguments by name that it was called with"""
        self.passes = 0

    @property
    def tensors(self) -> list[Tensor]:
        """(N, C, H, W) of each position.

        Raises:
            UsageError: the network did not run, or not as it did when its positions were looked for.
        """
        if self.passes != 1:
            raise UsageError(f"the network ran {self.passes} times while it was read, but must run once")
        missing = [position.name for position in self._positions if position.name not in self._found]
        if missing:
            raise UsageError(
                f"the network never came to {missing[0]!r}, where it was to be read: it did not run as it did in the example"
            )
        found = [self._found[position.name] for position in self._positions]
        batch = next((len(given) for given in self.inputs if isinstance(given, Tensor)), None)
        for position, tensor in zip(self._positions, found, strict=True):
            if batch is not None and len(tensor) != batch:
                raise UsageError(
                    f"{position.name!r} gave {len(tensor)} pictures of {batch}: it ran for some of them only"
                )
            if tensor.dim() != 4 or tensor.shape[1] != position.shape[0]:
                raise UsageError(
                    f"{position.name!r} gave a tensor of shape {tuple(tensor.shape)}, but had {position.shape[0]} channels "
                    "in the example: the network ran its activations in another order"
                )
        return found

    def keep(self, position: Position, tensor: Tensor) -> None:
        """Keep a copy of the first tensor at a position: the network may write into its own later, as `x += ...` does."""
        self._found.setdefault(position.name, tensor.clone())


@contextmanager
def reading(network: nn.Module, positions: Sequence[Position]) -> Iterator[Reading]:
    """While the context lasts, the one pass of `network` is read: directly, or inside of a larger model."""
    result = Reading(positions)
    modes: list[_ReluReader] = []

    def enter(_module: nn.Module, args: Any, options: Any) -> None:
        result.inputs, result.options = args, options
        modes.append(_ReluReader(result, positions))
        modes[-1].__enter__()  # type: ignore[no-untyped-call]

    def leave(*_: Any) -> None:
        modes.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]
        result.passes += 1

    def keep(position: Position) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            result.keep(position, main_output(output))

        return hook

    hooks = [
        network.register_forward_pre_hook(enter, prepend=True, with_kwargs=True),
        network.register_forward_hook(leave, always_call=True),
    ]
    hooks += [
        network.get_submodule(position.module).register_forward_hook(keep(position))
        for position in positions
        if position.relu is None
    ]
    try:
        yield result
    finally:
        for hook in hooks:
            hook.remove()
        while modes:  # Ctrl-C within the pass: a mode left behind would read everything that runs later
            modes.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]


class _ReluReader(TorchFunctionMode):
    """Keeps what the chosen ReLUs read, in the order in which ReLUs run."""

    def __init__(self, result: Reading, positions: Sequence[Position]) -> None:
        super().__init__()
        self._result = result
        self._wanted = {position.relu: position for position in positions if position.relu is not None}
        self._count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        if not is_relu(func, args, options):
            return func(*args, **options)
        position = self._wanted.get(self._count)
        self._count += 1
        if position is not None:
            self._result.keep(position, args[0] if args else options["input"])
        return func(*args, **options)
