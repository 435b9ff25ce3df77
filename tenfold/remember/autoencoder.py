"""An index module by reconstruction: a small autoencoder of each task's inputs, as in Expert Gate (arXiv:1611.06194).

Expert Gate's autoencoders read features of a pretrained network; these read the inputs, since no other network is at hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..core.batches import derive_seed
from .index import IndexModule, Inputs

if TYPE_CHECKING:
    from .stacknet import StackNet


class AutoencoderIndex(IndexModule):
    """The task whose autoencoder gives an input back best: minus the mean squared error, over the task's own mean error."""

    def __init__(
        self, *, reject: float = 0.0, code: int = 32, epochs: int = 5, learning_rate: float = 1e-3, seed: int = 0
    ) -> None:
        """A code of `code` numbers; `epochs` passes of Adam at `learning_rate`; `reject`: see `IndexModule`."""
        super().__init__(reject=reject)
        self.code = code
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.seed = seed
        self.autoencoders = nn.ModuleList()
        self._errors: list[float] = []

    def scores(self, inputs: Tensor, net: StackNet) -> Tensor:
        pairs = zip(self.autoencoders, self._errors, strict=True)
        return torch.stack([-_error(autoencoder, inputs) / error for autoencoder, error in pairs], 1)

    def _learn(self, inputs: Inputs, net: StackNet) -> Tensor | None:
        example = next(iter(inputs()))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.seed, "autoencoder", self.tasks))
            autoencoder = _autoencoder(tuple(example.shape[1:]), self.code).to(example.device)
        optimizer = torch.optim.Adam(autoencoder.parameters(), self.learning_rate)
        autoencoder.train()
        for _ in range(self.epochs):
            for batch in inputs():
                loss = _error(autoencoder, batch).mean()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
        self.autoencoders.append(autoencoder.requires_grad_(False).eval())
        self._errors.append(max(1e-9, _mean_error(autoencoder, inputs())))
        return None

    def _state(self, tasks: int) -> Any:
        networks = [network.state_dict() for network in list(self.autoencoders)[:tasks]]
        shapes = [list(network.shape) for network in list(self.autoencoders)[:tasks]]  # type: ignore[arg-type]
        return {"errors": self._errors[:tasks], "shapes": shapes, "networks": networks, "code": self.code}

    def _load(self, learned: Any) -> None:
        self._errors = [float(error) for error in learned["errors"]]
        self.code = int(learned["code"])
        self.autoencoders = nn.ModuleList()
        for shape, values in zip(learned["shapes"], learned["networks"], strict=True):
            autoencoder = _autoencoder(tuple(shape), self.code)
            autoencoder.load_state_dict(values)
            self.autoencoders.append(autoencoder.requires_grad_(False).eval())


def _autoencoder(shape: tuple[int, ...], code: int) -> nn.Module:
    return ConvAutoencoder(shape, code) if len(shape) == 3 else FlatAutoencoder(shape, code)


class ConvAutoencoder(nn.Module):
    """Two strided convolutions to a code and back; (N, *shape) -> (N, *shape)."""

    def __init__(self, shape: tuple[int, ...], code: int) -> None:
        """`shape`: (C, H, W)."""
        super().__init__()
        self.shape = shape
        channels, height, width = shape
        quarter = (-(-height // 4), -(-width // 4))
        inner = 32 * quarter[0] * quarter[1]
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(inner, code),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(code, inner), nn.ReLU(), nn.Unflatten(1, (32, *quarter)),
            nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, channels, 4, 2, 1),
        )  # fmt: skip

    def forward(self, inputs: Tensor) -> Tensor:
        return self.decoder(self.encoder(inputs))[:, :, : self.shape[1], : self.shape[2]]


class FlatAutoencoder(nn.Module):
    """One hidden layer each way; (N, *shape) -> (N, *shape)."""

    def __init__(self, shape: tuple[int, ...], code: int) -> None:
        """`shape`: of one input."""
        super().__init__()
        self.shape = shape
        size = int(torch.Size(shape).numel())
        hidden = min(256, max(2 * code, size // 2))
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, code),
            nn.Linear(code, hidden), nn.ReLU(), nn.Linear(hidden, size), nn.Unflatten(1, shape),
        )  # fmt: skip

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layers(inputs)


def _error(network: nn.Module, inputs: Tensor) -> Tensor:
    """Mean squared error of each input, (N,)."""
    return (network(inputs) - inputs).square().flatten(1).mean(1)


@torch.no_grad()
def _mean_error(network: nn.Module, batches: Iterable[Tensor]) -> float:
    errors = torch.cat([_error(network, batch) for batch in batches])
    return float(errors.mean())
