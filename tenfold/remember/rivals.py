"""The methods that a stack is compared with, each at full width: fine-tuning, LwF, EWC, PackNet and joint training."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .anatomy import BATCH_NORMS, CONVOLUTIONS, INSTANCE_NORMS
from .learner import Batches, Phase, SharedTrunk, some
from .loss import consolidation, old_heads_distance
from .sequence import AllTasks

_NORMS = (*BATCH_NORMS, *INSTANCE_NORMS, nn.GroupNorm, nn.LayerNorm)


class FineTuning(SharedTrunk):
    """Trains the trunk on each task as if there had been none before."""


class LearningWithoutForgetting(SharedTrunk):
    """Keeps what the old heads say about the new task's pictures (Li and Hoiem, arXiv:1606.09282)."""

    def __init__(self, model: nn.Module, head: str, *, weight: float, temperature: float) -> None:
        """`weight`: of the old heads' distance; `temperature`: their softening."""
        super().__init__(model, head)
        self.weight = weight
        self.temperature = temperature
        self.before: nn.ModuleList = nn.ModuleList()
        """the trunk and the heads as they were before the current task"""

    def begin(self, classes: int) -> None:
        if self.known:
            frozen = copy.deepcopy(nn.ModuleList([self.trunk, *self.heads]))
            self.before = frozen.requires_grad_(False).eval()
        super().begin(classes)

    def train(self, mode: bool = True) -> LearningWithoutForgetting:
        super().train(mode)
        self.before.eval()
        return self

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        features = self.trunk(images)
        loss = F.cross_entropy(self.heads[-1](features), labels)
        if len(self.before):
            with torch.no_grad():
                recalled = self.before[0](images)
                wanted = [head(recalled) for head in list(self.before)[1:]]
            given = [head(features) for head in list(self.heads)[:-1]]
            loss = loss + self.weight * old_heads_distance(given, wanted, temperature=self.temperature)
        return loss

    def trained(self) -> Iterator[nn.Parameter]:
        yield from self.trunk.parameters()
        yield from self.heads.parameters()


class ElasticConsolidation(SharedTrunk):
    """Holds each weight the firmer the more it mattered to earlier tasks (Kirkpatrick et al., arXiv:1612.00796)."""

    def __init__(self, model: nn.Module, head: str, *, weight: float, pictures: int, stiffest: float) -> None:
        """`weight`: of the penalty; `pictures`: of each task that the Fisher information is measured on.

        No weight is held with more than `stiffest`, the inverse of the learning rate: beyond it gradient descent diverges.
        """
        super().__init__(model, head)
        self.weight = weight
        self.pictures = pictures
        self.stiffest = stiffest
        self.anchors = nn.ModuleList()
        """for each task, the trunk's weights and then their Fisher information; zeros until the task is learned"""

    def begin(self, classes: int) -> None:
        super().begin(classes)
        self.anchors.append(_Held([torch.zeros_like(weight) for weight in self.trunk.parameters()] * 2))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        loss = super().forward(images, labels)
        weights, earlier = list(self.trunk.parameters()), list(self.anchors)[:-1]
        for anchor in earlier:
            values = list(anchor.buffers())
            limit = self.stiffest / len(earlier)
            stiffness = [(self.weight * value).clamp(max=limit) for value in values[len(weights) :]]
            loss = loss + consolidation(weights, values[: len(weights)], stiffness)
        return loss

    def end(self, batches: Batches) -> None:
        """Measure the Fisher information, picture by picture, with classes drawn from what the network itself says."""
        self.eval()
        weights = list(self.trunk.parameters())
        fisher, count = [torch.zeros_like(weight) for weight in weights], 0
        generator = torch.Generator().manual_seed(self.known)
        for images, _ in some(batches, self.pictures):
            for image in images:
                logits = self.logits(image[None], self.known - 1)
                # a network that diverged says NaN, of which no class can be drawn
                chances = logits[0].detach().float().softmax(0).nan_to_num(1.0).cpu()
                drawn = torch.multinomial(chances, 1, generator=generator)
                loss = F.cross_entropy(logits, drawn.to(logits.device))
                for total, gradient in zip(fisher, torch.autograd.grad(loss, weights), strict=True):
                    total += gradient.square()
                count += 1
        _fill(self.anchors[-1], [*weights, *(total / count for total in fisher)])


class PackNet(SharedTrunk):
    """Prunes after each task, and trains the next one with what was freed (Mallya and Lazebnik, arXiv:1711.05769)."""

    pruned: Tensor

    def __init__(
        self, model: nn.Module, head: str, *, shares: tuple[float, ...], retrain: float, own_norms: bool
    ) -> None:
        """`shares`: of the weights that each task keeps; `retrain`: share of the epochs that is spent after pruning.

        With `own_norms` each task has norm layers and biases of its own; else they are frozen after the first task.
        """
        super().__init__(model, head)
        self.shares = shares
        self.retrain = retrain
        self.own_norms = own_norms
        self.owners = _Held([torch.zeros_like(weight, dtype=torch.uint8) for weight in self._weights.values()])
        """for each weight the number of the task that it belongs to, from 1; 0 is free"""
        self.fixed = _Held([torch.zeros_like(weight) for weight in self._weights.values()])
        """the weights of earlier tasks"""
        self.rest = nn.ModuleList()
        """for each task, all that is not pruned: norm layers, their statistics, biases"""
        self.register_buffer("pruned", torch.zeros((), dtype=torch.bool))

    @property
    def _weights(self) -> dict[str, nn.Parameter]:
        """What is pruned: the weights of convolutions and Linears."""
        kinds = (*CONVOLUTIONS, nn.Linear)
        found = [f"{name}.weight" for name, part in self.trunk.named_modules() if isinstance(part, kinds)]
        return {name: self.trunk.get_parameter(name) for name in found}

    @property
    def _unpruned(self) -> dict[str, Tensor]:
        return {name: value for name, value in self.trunk.state_dict().items() if name not in self._weights}

    def begin(self, classes: int) -> None:
        super().begin(classes)
        self.rest.append(_Held([torch.zeros_like(value) for value in self._unpruned.values()]))
        _fill(self.fixed, self._weights.values())
        self.pruned.fill_(False)

    def phases(self, epochs: int) -> list[Phase]:
        # the last task keeps all that is left; a single epoch cannot be divided
        if self._kept_of_free() >= 1 or epochs < 2:
            return [Phase("train", epochs)]
        again = min(epochs - 1, max(1, round(self.retrain * epochs)))
        return [Phase("train", epochs - again), Phase("retrain", again)]

    @torch.no_grad()
    def enter(self, phase: str) -> None:
        if phase == "retrain":
            self._prune()

    @torch.no_grad()
    def after_step(self) -> None:
        """Put back what momentum, weight decay or the gradient moved of other tasks' weights."""
        for weight, owner, fixed in zip(
            self._weights.values(), self.owners.buffers(), self.fixed.buffers(), strict=True
        ):
            weight.copy_(torch.where((owner > 0) & (owner < self.known), fixed, weight))
            if bool(self.pruned):
                weight.copy_(torch.where(owner > 0, weight, 0.0))
        if self.known > 1 and not self.own_norms:
            for value, first in zip(self._unpruned.values(), self.rest[0].buffers(), strict=True):
                value.copy_(first)

    @torch.no_grad()
    def end(self, batches: Batches) -> None:
        if not bool(self.pruned):
            self._prune()
            self.after_step()
        _fill(self.rest[-1], self._unpruned.values())

    def train(self, mode: bool = True) -> PackNet:
        super().train(mode)
        if self.known > 1 and not self.own_norms:
            for part in self.trunk.modules():
                if isinstance(part, _NORMS):
                    part.eval()
        return self

    def logits(self, images: Tensor, task: int) -> Tensor:
        if task == self.known - 1:
            return super().logits(images, task)
        masked = {
            # not a product: a later task that diverged would reach earlier ones as NaN times 0
            name: torch.where((owner > 0) & (owner <= task + 1), weight, 0.0)
            for (name, weight), owner in zip(self._weights.items(), self.owners.buffers(), strict=True)
        }
        rest = dict(zip(self._unpruned, self.rest[task].buffers(), strict=True))
        features = torch.func.functional_call(self.trunk, {**masked, **rest}, (images,))
        return self.heads[task](features)

    def kept(self) -> int:
        return super().kept() + sum(value.numel() for part in list(self.rest)[:-1] for value in part.buffers())

    def _kept_of_free(self) -> float:
        """The share of the weights still free that the current task keeps."""
        left = sum(self.shares[self.known - 1 :])
        return self.shares[self.known - 1] / left

    def _prune(self) -> None:
        """In each layer, give the largest of the free weights to the current task."""
        for weight, owner in zip(self._weights.values(), self.owners.buffers(), strict=True):
            free = owner == 0
            count = round(self._kept_of_free() * int(free.sum()))
            sizes = torch.where(free, weight.abs(), -1.0).flatten()
            chosen = torch.zeros_like(sizes, dtype=torch.bool)
            chosen[sizes.topk(count).indices] = True
            owner[chosen.view(owner.shape)] = self.known
        self.pruned.fill_(True)


class Joint(SharedTrunk):
    """All tasks at once, with all data: an upper bound, not a continual learner. Trained on `AllTasks` after all `begin`s."""

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """`labels`: task * AllTasks.STRIDE + class."""
        features = self.trunk(images)
        owner, classes = labels // AllTasks.STRIDE, labels % AllTasks.STRIDE
        loss = features.new_zeros(())
        for task, head in enumerate(self.heads):
            rows = owner == task
            # a sum over an empty selection is 0, with a gradient of 0: every head takes part on every process
            loss = loss + F.cross_entropy(head(features[rows]), classes[rows], reduction="sum")
        return loss / len(labels)

    def trained(self) -> Iterator[nn.Parameter]:
        return self.parameters()


class _Held(nn.Module):
    """Tensors kept in the state dict."""

    def __init__(self, values: Sequence[Tensor]) -> None:
        super().__init__()
        for place, value in enumerate(values):
            self.register_buffer(f"value_{place}", value.detach().clone())


@torch.no_grad()
def _fill(held: nn.Module, values: Iterable[Tensor]) -> None:
    for buffer, value in zip(held.buffers(), values, strict=True):
        buffer.copy_(value)
