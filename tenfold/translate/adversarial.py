"""The adversarial loss of one domain, with the discriminator that it is learned against. N pictures, L losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..core.batches import derive_seed
from ..core.errors import UsageError
from . import loss
from .discriminator import PatchDiscriminator
from .replay import MixtureReplay

Augmentation = Callable[[Tensor, torch.Generator], Tensor]
"""Samples (N, ...) and a CPU generator of random numbers -> samples of the same shape; gradients pass through it"""


class AdversarialLoss(nn.Module):
    """mean (D(g) - 1)^2 + w mean abs(G(t, S) - t): look like the domain, and leave what is of the domain as it is.

    `SymTrainer` calls it as any loss and, because it has `learn`, lets its discriminator learn after every step. The
    identity part uses the same S as g, as the authors' code does.

    Args:
        domain: gives a batch of the domain's samples t when called with how many are wanted, such as `Sampler`.
        discriminator: samples -> scores (N, ...); None makes a `PatchDiscriminator`.
        identity: w (paper: 5); 0 leaves it out, and saves a pass.
        learning_rate: of the discriminator's Adam with betas 0.5 and 0.999 (paper: 0.0002).
        augment: (samples, CPU generator) -> samples, differentiable; all that the discriminator sees while training goes through
            it, such as `ColourJitter` (paper: none). For domains of few samples.
        penalty: factor of the discriminator's gradient penalty (`loss.gradient_penalty`; paper: 0), for domains of few samples.
        clip: norm that the discriminator's gradients are clipped to; with a large penalty one step can blow it up. None clips nothing.
        replay: made samples that are kept with their mixtures (paper: 50).
        seed: of the replay's choices.

    Raises:
        UsageError: a number is out of range.
    """

    def __init__(
        self,
        domain: Callable[[int], Tensor],
        *,
        discriminator: nn.Module | None = None,
        identity: float = 5.0,
        learning_rate: float = 2e-4,
        augment: Augmentation | None = None,
        penalty: float = 0.0,
        clip: float | None = None,
        replay: int = 50,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(identity, penalty) < 0 or learning_rate <= 0:
            raise UsageError(
                f"identity is {identity}, penalty {penalty} and learning_rate {learning_rate}, but the first two must be at "
                "least 0, the last above 0"
            )
        if clip is not None and clip <= 0:
            raise UsageError(f"clip is {clip}, but must be none or above 0")
        self.discriminator = PatchDiscriminator() if discriminator is None else discriminator
        self.domain = domain
        self.identity = identity
        self.augment = augment
        self.random = torch.Generator().manual_seed(derive_seed(seed, "augment"))
        self.penalty = penalty
        self.clip = clip
        self.replay = MixtureReplay(replay, seed=seed)
        self.optimizer = torch.optim.Adam(self.discriminator.parameters(), learning_rate, betas=(0.5, 0.999))
        self._real: Tensor | None = None
        self._kept: Tensor | None = None
        self._keeping = False

    def forward(self, made: Tensor, *batch: Any, mix: Tensor, model: Callable[..., Tensor]) -> Tensor:
        """The loss of each sample, (N,).

        Args:
            made: what the model gave, (N, ...).
            batch: not looked at.
            mix: (N, L), under which it was made.
            model: called with the domain's samples under the same mixtures.
        """
        real = self._kept if self._kept is not None and len(self._kept) == len(made) else self.domain(len(made))
        self._real = real.to(made)
        if self._keeping:
            self._kept = self._real
        with without_gradients(self.discriminator):  # its parameters learn in `learn` alone
            found = loss.adversarial(self.discriminator(self._seen(made)))
        if self.identity > 0:
            found = found + self.identity * loss.reconstruction(model(self._real, mix=mix), self._real)
        return found

    def learn(self, made: Tensor, mix: Tensor, place: int) -> float:
        """One step of the discriminator after `forward`, on the same samples of the domain; returns its loss.

        Args:
            made: what the model gave, (N, ...).
            mix: (N, L), under which it was made.
            place: which of the L losses this one is.
        """
        assert self._real is not None, "forward comes first"
        shown, mixes = self.replay.exchange(made, mix)
        value = loss.discriminator_loss(
            self.discriminator, self._seen(self._real), self._seen(shown), mixes[:, place], penalty=self.penalty
        )
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.discriminator.parameters(), self.clip)
        self.optimizer.step()
        return float(value.detach())

    def _seen(self, samples: Tensor) -> Tensor:
        return samples if self.augment is None or not self.training else self.augment(samples, self.random)

    @contextmanager
    def same_samples(self) -> Iterator[None]:
        """Meanwhile the samples of the domain are drawn once and used again, and the draws of a training are not touched."""
        real, drawn = self._real, self.domain.random.get_state() if isinstance(self.domain, Sampler) else None
        self._keeping = True
        try:
            yield
        finally:
            self._keeping, self._kept, self._real = False, None, real
            if isinstance(self.domain, Sampler) and drawn is not None:
                self.domain.random.set_state(drawn)

    def extra_state(self) -> dict[str, Any]:
        """All beside the parameters that it needs to go on alike."""
        drawn = self.domain.random.get_state() if isinstance(self.domain, Sampler) else None
        return {
            "optimizer": self.optimizer.state_dict(),
            "replay": self.replay.state_dict(),
            "domain": drawn,
            "random": self.random.get_state(),
        }

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Go on from `extra_state`."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.random.set_state(state["random"].cpu())
        if isinstance(self.domain, Sampler) and state["domain"] is not None:
            self.domain.random.set_state(state["domain"].cpu())
        self.replay.load_state_dict(state["replay"], next(self.discriminator.parameters()).device)


@contextmanager
def without_gradients(module: nn.Module) -> Iterator[None]:
    """A module's parameters take no gradients meanwhile; what was frozen before stays so."""
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


class Sampler:
    """Draws batches from a tensor of samples, with repetition: `Sampler(paintings)(8)`.

    Args:
        samples: (M, ...), M at least 1.
        seed: of the draws.

    Raises:
        UsageError: there are none.
    """

    def __init__(self, samples: Tensor, *, seed: int = 0) -> None:
        if len(samples) == 0:
            raise UsageError("samples are 0, but must be at least 1")
        self.samples = samples
        self.random = torch.Generator().manual_seed(seed)

    def __call__(self, count: int) -> Tensor:
        """(count, ...)."""
        return self.samples[torch.randint(len(self.samples), (count,), generator=self.random)]
