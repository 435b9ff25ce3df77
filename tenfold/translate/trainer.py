"""Training of any model over all mixtures of a person's losses: `SymTrainer`. N samples, L losses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..core.batches import derive_seed
from ..core.errors import UsageError
from ..core.modes import evaluating
from . import loss as formulas
from .adversarial import AdversarialLoss
from .front import Front, grid_of, sweep
from .mixture import Mix, as_mix, batched, sample_mixes
from .scales import LossScales
from .symmetrized import loss_names

Loss = Callable[..., Tensor]
"""(output, *batch) -> (N,), one number for each sample; an `AdversarialLoss` also gets the mixtures and the model"""


class Judged(NamedTuple):
    """One batch under its mixtures."""

    value: Tensor
    """the objective, to be made small"""
    losses: Tensor
    """(N, L), each loss of each sample, before scales"""
    mix: Tensor
    """(N, L)"""
    output: Any
    """what the model gave"""


class SymTrainer:
    """Trains a model whose input is also the weighting of its losses: min E_S E_x sum_n S_n k_n L_n(f(x, S), x).

    A batch is a tensor x, or a tuple or list whose first element is the model's input x: the model is called as
    `model(x, mix=S)`, each loss as `loss(output, *batch)`.

    Args:
        model: made by `symmetrize`, a `SymGenerator`, or any module that takes `mix` (N, L) in a way of its own.
        losses: each loss by name; each must give one number for each sample, (N,), not their mean.
        optimizer: of the model's parameters; None is Adam with `learning_rate`.
        learning_rate: of that.
        alpha: concentration of the Dirichlet distribution, for all losses or each (paper: 0.5).
        vertices: share of the samples that get a single loss (ours; paper: 0).
        scales: fixed (paper: factors chosen by hand) or running (ours: losses are balanced, see `LossScales`).
        factors: of each loss by name; what is not named has 1.
        seed: of the mixtures.

    Raises:
        UsageError: the model and the losses do not fit, or a value is out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        losses: Mapping[str, Loss],
        *,
        optimizer: torch.optim.Optimizer | None = None,
        learning_rate: float = 2e-4,
        alpha: float | Sequence[float] = 0.5,
        vertices: float = 0.0,
        scales: Literal["fixed", "running"] = "fixed",
        factors: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.losses = dict(losses)
        self.names = loss_names(list(self.losses))
        _check_names(model, self.names, factors or {})
        self.alpha = (float(alpha),) * len(self.names) if isinstance(alpha, int | float) else tuple(alpha)
        if len(self.alpha) != len(self.names):
            raise UsageError(f"alpha has {len(self.alpha)} numbers, but must have one, or {len(self.names)}")
        self.vertices = vertices
        sample_mixes(0, self.alpha, vertices=vertices)  # complains now, not at the first step
        self.optimizer = optimizer or torch.optim.Adam(model.parameters(), learning_rate, betas=(0.5, 0.999))
        given = [(factors or {}).get(name, 1.0) for name in self.names]
        self.scales = LossScales(len(self.names), mode=scales, factors=given).to(self.device)
        for part in self._modules():
            part.to(self.device)
        self.random = torch.Generator().manual_seed(derive_seed(seed, "mixtures"))

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def judge(self, batch: Any, mix: Mix | None = None) -> Judged:
        """The losses of a batch; `value` has gradients. For a loop of your own.

        Running scales look at the losses first, unless the model is in `eval` mode.

        Args:
            batch: a tensor, or a tuple or list of which the first is the model's input.
            mix: the mixture of all samples, or of each; None draws one for each sample.

        Raises:
            UsageError: a loss gives something else than one number for each sample, or the mixture is a map.
        """
        parts = self._on_device(batch)
        count = len(parts[0])
        if mix is None:
            drawn = sample_mixes(count, self.alpha, generator=self.random, vertices=self.vertices)
        else:
            drawn = batched(as_mix(mix, self.names), count)
        if drawn.ndim != 2:
            raise UsageError(
                f"mix is a map of shape {tuple(drawn.shape)}, but losses are weighed by ({count}, {len(self.names)})"
            )
        shares = drawn.to(self.device)
        output = self.model(parts[0], mix=shares)
        found = self._losses(output, parts, shares)
        if self.model.training:
            self.scales.update(found, shares)
        return Judged(formulas.mixed_loss(found, shares, self.scales.factors), found, shares, output)

    def step(self, batch: Any) -> dict[str, float]:
        """One step of the optimizer, and of what the losses themselves learn; returns the objective and each mean loss."""
        self.model.train()
        judged = self.judge(batch)
        self.optimizer.zero_grad(set_to_none=True)
        judged.value.backward()
        self.optimizer.step()
        values = {"objective": float(judged.value.detach())}
        values |= dict(zip(self.names, judged.losses.detach().mean(0).tolist(), strict=True))
        for place, (name, one) in enumerate(self.losses.items()):
            if isinstance(one, AdversarialLoss):
                values[f"{name} discriminator"] = one.learn(judged.output, judged.mix, place)
        return values

    def fit(self, loader: Iterable[Any], *, epochs: int = 1, show: bool = False) -> list[dict[str, float]]:
        """Steps over the loader, so many times; returns the mean values of each pass.

        Args:
            loader: of batches.
            epochs: passes.
            show: print a line after each pass.

        Raises:
            UsageError: the loader gave no batch.
        """
        history = []
        for epoch in range(1, epochs + 1):
            steps = [self.step(batch) for batch in loader]
            if not steps:
                raise UsageError("the loader gave no batch")
            history.append({name: sum(values[name] for values in steps) / len(steps) for name in steps[0]})
            if show:
                print(f"epoch {epoch}: " + ", ".join(f"{name} {value:.4g}" for name, value in history[-1].items()))
        return history

    def sweep(self, loader: Iterable[Any], *, grid: int | Tensor = 21) -> Front:
        """Every loss at every mixture of a grid: the trade-off surface, with a picture (`Front.picture`).

        Args:
            loader: of batches, passed over once.
            grid: mixtures along each edge of the simplex, at least 2; or the mixtures themselves, (P, L).

        Raises:
            UsageError: the grid has more than 20,000 mixtures, or there is no batch.
        """
        mixes = grid_of(grid, len(self.names))
        with evaluating(*self._modules()), ExitStack() as stack:
            adversaries = [one for one in self.losses.values() if isinstance(one, AdversarialLoss)]
            for one in adversaries:
                stack.enter_context(one.same_samples())
            return sweep(
                self.model,
                lambda output, parts, shares: self._losses(output, parts, shares.to(self.device)),
                (self._on_device(batch) for batch in loader),
                names=self.names,
                mixes=mixes,
                forward=lambda parts, shares: self.model(parts[0], mix=shares.to(self.device)),
                count=lambda parts: len(parts[0]),
            )

    def state_dict(self) -> dict[str, Any]:
        """All that the training needs to go on alike: tensors, numbers and text, fit for `tenfold.core.checkpoint`."""
        learned = {name: one for name, one in self.losses.items() if isinstance(one, AdversarialLoss)}
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scales": self.scales.state_dict(),
            "random": self.random.get_state(),
            "losses": {
                name: {"parameters": one.discriminator.state_dict(), "rest": one.extra_state()}
                for name, one in learned.items()
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scales.load_state_dict(state["scales"])
        self.random.set_state(state["random"].cpu())
        for name, one in self.losses.items():
            if isinstance(one, AdversarialLoss):
                one.discriminator.load_state_dict(state["losses"][name]["parameters"])
                one.load_extra_state(state["losses"][name]["rest"])

    def _losses(self, output: Any, parts: Sequence[Any], shares: Tensor) -> Tensor:
        columns = []
        for name, one in self.losses.items():
            if isinstance(one, AdversarialLoss):
                value = one(output, *parts, mix=shares, model=self.model)
            else:
                value = one(output, *parts)
            if not isinstance(value, Tensor) or value.shape != (len(shares),):
                shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise UsageError(
                    f"loss {name!r} gave {shape}, but must give one number for each of {len(shares)} samples, "
                    f"({len(shares)},): leave out its mean over the batch"
                )
            columns.append(value)
        return torch.stack(columns, 1)

    def _on_device(self, batch: Any) -> list[Any]:
        parts = list(batch) if isinstance(batch, list | tuple) else [batch]
        return [part.to(self.device) if isinstance(part, Tensor) else part for part in parts]

    def _modules(self) -> list[nn.Module]:
        return [one for one in self.losses.values() if isinstance(one, nn.Module)]


def _check_names(model: nn.Module, names: tuple[str, ...], factors: Mapping[str, float]) -> None:
    unknown = next((name for name in factors if name not in names), None)
    if unknown is not None:
        raise UsageError(f"factors has {unknown!r}, but the losses are {', '.join(names)}")
    known = getattr(model, "names", None)
    if known is None:
        return
    numbered = tuple(map(str, range(len(known))))
    if len(known) != len(names) or known not in (names, numbered):
        raise UsageError(f"losses are {', '.join(names)}, but the model was made for {', '.join(known)}")
    if known == numbered:
        setattr(model, "names", names)  # noqa: B010 - not a parameter; so that mixtures may be written by name
