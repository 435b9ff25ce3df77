"""Actions of any Gymnasium space as the vectors that latents are moved by."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import UsageError


class ActionMap:
    """Turns actions into m numbers each, about one unit large.

    A choice of k becomes one-hot, m = k. A box becomes its own numbers, kept within the bounds, as the environment keeps them. Several choices
    at once (`MultiDiscrete`) become one number each, evenly from -1 to 1: they are taken for steps of a scale, as down, none, up.
    Switches (`MultiBinary`) become 0 or 1 each.

    Args:
        space: of the environment.

    Raises:
        UsageError: the space is another one.
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.space = space
        if isinstance(space, spaces.Discrete):
            self.width = int(space.n)
        elif isinstance(space, spaces.Box):
            self.width = int(np.prod(space.shape))
        elif isinstance(space, spaces.MultiDiscrete) and np.ndim(space.nvec) == 1:
            self.width = len(space.nvec)
        elif isinstance(space, spaces.MultiBinary):
            self.width = int(np.prod(space.shape))
        else:
            raise UsageError(
                f"actions are {space}, but must be Discrete, Box, MultiDiscrete with one row, or MultiBinary"
            )

    def __call__(self, actions: Tensor | NDArray[np.generic]) -> Tensor:
        """The vectors (B, m), float32, of B actions as the space has them; those of a `Discrete` may be (B,) or (B, 1)."""
        given = torch.as_tensor(actions)
        if isinstance(self.space, spaces.Discrete):
            return F.one_hot(given.long().flatten() - int(self.space.start), self.width).float()
        vectors = given.reshape(len(given), self.width).float()
        if isinstance(self.space, spaces.Box):
            low, high = (
                torch.as_tensor(bound.reshape(-1), dtype=torch.float32, device=vectors.device)
                for bound in (self.space.low, self.space.high)
            )
            return vectors.clamp(low, high)
        if isinstance(self.space, spaces.MultiDiscrete):
            steps = torch.as_tensor(self.space.nvec, device=vectors.device) - 1
            first = torch.as_tensor(self.space.start, device=vectors.device)
            return torch.where(steps > 0, 2 * (vectors - first) / steps.clamp_min(1) - 1, 0)  # no choice moves nothing
        return vectors
