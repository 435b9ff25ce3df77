"""Made pictures that a discriminator sees again, each with the mixture that it was made under."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..core.errors import UsageError


class MixtureReplay:
    """A buffer of made samples with their mixtures (paper: 50); half of what is asked for comes from the past.

    While it fills, samples pass through and are kept. Then each is, with probability 1/2, swapped for a kept one.

    Args:
        size: how many samples are kept; 0 passes everything through.
        seed: of the choices.

    Raises:
        UsageError: the size is below 0.
    """

    def __init__(self, size: int = 50, *, seed: int = 0) -> None:
        if size < 0:
            raise UsageError(f"size is {size}, but must be at least 0")
        self.size = size
        self._made: list[Tensor] = []
        self._mixes: list[Tensor] = []
        self._random = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self._made)

    def exchange(self, made: Tensor, mixes: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (N, ...) with their mixtures (N, L) in, as many out, each with the mixture that it was made under.

        Neither carries gradients.

        Raises:
            UsageError: their numbers differ.
        """
        if len(made) != len(mixes):
            raise UsageError(f"{len(made)} samples have {len(mixes)} mixtures, but each must have one")
        if self.size == 0:
            return made.detach(), mixes.detach()
        pairs = [self._swapped(*pair) for pair in zip(made.detach(), mixes.detach(), strict=True)]
        if not pairs:
            return made.detach(), mixes.detach()
        samples, shares = zip(*pairs, strict=True)
        return torch.stack(samples), torch.stack(shares)

    def _swapped(self, made: Tensor, mix: Tensor) -> tuple[Tensor, Tensor]:
        if len(self._made) < self.size:
            self._made.append(made.clone())
            self._mixes.append(mix.clone())
            return made, mix
        if float(torch.rand((), generator=self._random)) < 0.5:
            return made, mix
        place = int(torch.randint(self.size, (), generator=self._random))
        old = self._made[place], self._mixes[place]
        self._made[place], self._mixes[place] = made.clone(), mix.clone()
        return old

    def state_dict(self) -> dict[str, Any]:
        """All that it needs to go on alike."""
        return {
            "made": torch.stack(self._made) if self._made else None,
            "mixes": torch.stack(self._mixes) if self._mixes else None,
            "random": self._random.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device | str = "cpu") -> None:
        """Go on from `state_dict`, with the samples on `device`."""
        self._made = [] if state["made"] is None else list(state["made"].to(device).unbind())
        self._mixes = [] if state["mixes"] is None else list(state["mixes"].to(device).unbind())
        self._random.set_state(state["random"].cpu())
