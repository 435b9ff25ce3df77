"""Incremental activation of latents: the first are learned first, so that they carry what matters most (paper, arXiv v1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..core.errors import UsageError


class IncrementalLatents(nn.Module):
    """Lets more and more latents through while an autoencoder learns; put it between any encoder and decoder.

    After e epochs, n = int((D + 1 - start) e / W + start) of the D latents are active (start = 1 is the paper's int(D e / W + 1));
    the others are zero, and get no gradient. In evaluation all are active, unless `forward` is told how many.

    Example::

        latents = IncrementalLatents(64, warmup_epochs=10)
        for epoch in range(30):
            for step, images in enumerate(loader):
                latents.step(epoch + step / len(loader))
                loss = (decoder(latents(encoder(images))) - images).square().mean()

    Args:
        dim: D.
        warmup_epochs: W, epochs until all are active; 1 or less has them active at once, as in the released code.
        start: how many are active in the beginning, 1 to D.

    Raises:
        UsageError: an argument is out of range.
    """

    count: Tensor

    def __init__(self, dim: int, warmup_epochs: float, *, start: int = 1) -> None:
        super().__init__()
        if dim < 1:
            raise UsageError(f"dim is {dim}, but must be at least 1")
        if not 1 <= start <= dim:
            raise UsageError(f"start is {start}, but must be 1 to {dim}: there are {dim} latents")
        if not warmup_epochs >= 0:
            raise UsageError(f"warmup_epochs is {warmup_epochs}, but must be at least 0")
        self.dim = dim
        self.warmup_epochs = warmup_epochs
        self.start = start
        self.register_buffer("count", torch.tensor(start if warmup_epochs > 1 else dim))

    @property
    def active(self) -> int:
        """How many latents are active in training, 1 to D."""
        return int(self.count)

    def step(self, epoch: float) -> int:
        """Activate as many latents as belong to a moment of the training, and return how many.

        Args:
            epoch: epochs done, with the share of the present one that is done; at least 0.

        Raises:
            UsageError: `epoch` is below 0.
        """
        if not epoch >= 0:
            raise UsageError(f"epoch is {epoch}, but must be at least 0")
        if self.warmup_epochs > 1:
            grown = int((self.dim + 1 - self.start) * epoch / self.warmup_epochs + self.start)
            self.count.fill_(min(self.dim, grown))
        return self.active

    def forward(self, latents: Tensor, active: int | None = None) -> Tensor:
        """The latents with the inactive ones at zero.

        Args:
            latents: (N, D) or (N, D, ...).
            active: only the first so many, in training and in evaluation; None is `self.active` in training, all in evaluation.

        Raises:
            UsageError: there are not D latents, or `active` is out of range.
        """
        if latents.ndim < 2 or latents.shape[1] != self.dim:
            raise UsageError(
                f"latents have shape {tuple(latents.shape)}, but must be (N, {self.dim}) or (N, {self.dim}, ...)"
            )
        if active is not None and not 0 <= active <= self.dim:
            raise UsageError(f"active is {active}, but must be 0 to {self.dim}")
        if active is None and not self.training:
            return latents
        kept = torch.arange(self.dim, device=latents.device) < (self.count if active is None else active)
        # not a product: 0 times the infinity of a latent that nobody looks at would be NaN
        return torch.where(kept.view(-1, *[1] * (latents.ndim - 2)), latents, 0.0)

    def extra_repr(self) -> str:
        return f"{self.dim}, warmup_epochs={self.warmup_epochs}, start={self.start}"
