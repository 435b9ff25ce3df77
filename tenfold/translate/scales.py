"""How large losses count beside each other: fixed factors, or balanced by running statistics. L losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ..core.errors import UsageError


class LossScales(nn.Module):
    """Factors k of the losses, so that equal shares of a mixture mean equal influence.

    `fixed` are those given (paper). `running` (ours) divides each loss by its running mean where other losses rule, that is
    over samples weighted by 1 - S_n: a loss that is ignored then counts about 1, whatever its unit. It is the largest such
    mean so far: were it to fall with a loss that the network makes small everywhere, that loss would weigh ever more.

    Args:
        losses: L.
        mode: fixed or running.
        factors: of each loss, multiplied with the above; None is 1.
        momentum: share of the past in a running mean, in [0, 1).

    Raises:
        UsageError: a number is out of range, or there are not as many factors as losses.
    """

    given: Tensor
    level: Tensor
    weight: Tensor
    peak: Tensor

    def __init__(
        self,
        losses: int,
        *,
        mode: Literal["fixed", "running"] = "fixed",
        factors: Sequence[float] | None = None,
        momentum: float = 0.99,
    ) -> None:
        super().__init__()
        factors = [1.0] * losses if factors is None else list(factors)
        if len(factors) != losses or not all(factor > 0 for factor in factors):
            raise UsageError(f"factors are {tuple(factors)}, but must be {losses} numbers above 0, one for each loss")
        if mode not in ("fixed", "running"):
            raise UsageError(f"mode is {mode!r}, but must be fixed or running")
        if not 0 <= momentum < 1:
            raise UsageError(f"momentum is {momentum}, but must be at least 0 and below 1")
        self.mode = mode
        self.momentum = momentum
        self.register_buffer("given", torch.tensor(factors, dtype=torch.float32))
        self.register_buffer("level", torch.zeros(losses))
        self.register_buffer("weight", torch.zeros(losses))
        self.register_buffer("peak", torch.zeros(losses))

    @property
    def factors(self) -> Tensor:
        """k, (L,); 1 (times what was given) for a loss that no statistics are known of yet."""
        if self.mode == "fixed":
            return self.given
        return self.given / torch.where(self.peak > 0, self.peak, torch.ones_like(self.peak))

    @torch.no_grad()
    def update(self, losses: Tensor, mix: Tensor) -> None:
        """Look at the losses (N, L) of samples with mixtures (N, L). Fixed scales stay."""
        self.fold(*self.statistics(losses, mix))

    @torch.no_grad()
    def statistics(self, losses: Tensor, mix: Tensor) -> tuple[Tensor, Tensor]:
        """What `fold` takes of a batch: sums that several processes may add up first."""
        others = (1 - mix).clamp_min(0)
        return (others * losses.detach().float().abs()).sum(0), others.sum(0)

    @torch.no_grad()
    def fold(self, level: Tensor, weight: Tensor) -> None:
        """Move the running means, and their peaks, by a batch's sums."""
        if self.mode == "running":
            self.level.mul_(self.momentum).add_(level, alpha=1 - self.momentum)
            self.weight.mul_(self.momentum).add_(weight, alpha=1 - self.momentum)
            self.peak.copy_(torch.maximum(self.peak, self.level / self.weight.clamp_min(1e-12)))
