"""Rollout buffers that keep with each sample the genes it was acted with, so that it is judged by the same policy again.

PPO's ratio of new to old probability is 1 in the first pass only because of that; with dropout, say, it never is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from torch import Tensor

from ..core.errors import UsageError
from .policy import ALL_OPEN

if TYPE_CHECKING:
    from .policy import Gated

Genes = NDArray[np.uint8]


class Remembering(RolloutBuffer):
    """What makes a rollout buffer remember genes; mixed into its class by `gated_buffer`.

    It tells the policy the genes of each batch that it gives out, just before the batch is used.
    """

    _policy: Gated | None = None

    def follow(self, policy: Gated) -> None:
        """Tell this policy from now on."""
        self._policy = policy

    def reset(self) -> None:
        """Forget the rollout."""
        super().reset()
        self._steps: list[tuple[Genes, NDArray[np.bool_]]] = []
        self._table: Tensor | None = None
        self._learned: NDArray[np.bool_] | None = None

    def note(self, genes: Genes, learned: NDArray[np.bool_]) -> None:
        """Say of the step that `add` is about to store which genes acted; called once a step.

        Args:
            genes: uint8 (environments, H). The array is kept, so it must not be changed.
            learned: whether the weights learn from each environment's sample, (environments,); kept likewise.
        """
        self._steps.append((genes, learned))

    @property
    def has_lessons(self) -> bool:
        """Whether there are samples that the weights learn from: all, or two at least, as one alone has no spread of advantages."""
        learned = [each for _, each in self._steps]
        return all(each.all() for each in _distinct(learned)) or sum(int(each.sum()) for each in learned) > 1

    def get(self, batch_size: int | None = None) -> Iterator[Any]:  # type: ignore[override]
        """Batches in random order, as the parent's; the policy has the genes of a batch while it is in use.

        Where the weights learn from some samples only, the others are left out, and every batch but the last is full.
        """
        if self._table is None:
            self._prepare()
        if self._learned is None:
            yield from super().get(batch_size)
            return
        # from the generator that the parent shuffles with, which the seed of the algorithm sets
        order = np.random.permutation(np.flatnonzero(self._learned))  # noqa: NPY002
        if not self.generator_ready:
            next(super().get(1))  # lays the samples out one after the other
        for start in range(0, len(order), batch_size or len(order)):
            yield self._get_samples(order[start : start + (batch_size or len(order))])

    def _get_samples(self, batch_inds: NDArray[Any], env: Any = None) -> Any:
        if self._policy is not None and self._table is not None:
            for_all = len(self._table) == 1
            self._policy.act_as(
                self._table
                if for_all
                else self._table.index_select(0, torch.from_numpy(batch_inds).to(self._table.device))
            )
        return super()._get_samples(batch_inds, env)

    def _prepare(self) -> None:
        """Lay the genes out as the samples are: (environments * steps, H); where all are equal, one row."""
        if not self._steps:
            return  # nobody said: the policy is left to act as it does
        if len(self._steps) != self.buffer_size:
            raise UsageError(f"genes of {len(self._steps)} steps are known, but the rollout has {self.buffer_size}")
        genes, learned = zip(*self._steps, strict=True)
        first = genes[0][0]
        if all((each == first).all() for each in _distinct(genes)):
            self._table = ALL_OPEN if first.all() else self._floats(first[None])
        else:
            self._table = self._floats(self.swap_and_flatten(np.stack(genes)))
        if not all(each.all() for each in _distinct(learned)):
            self._learned = self.swap_and_flatten(np.stack(learned)[..., None]).squeeze(1)

    def _floats(self, genes: Genes) -> Tensor:
        return torch.from_numpy(genes).to(self.device, torch.float32)


def _distinct(arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Each array once, as an object: most steps have the one of the step before."""
    return list({id(each): each for each in arrays}.values())


class GatedRolloutBuffer(Remembering, RolloutBuffer):
    """`RolloutBuffer` that remembers genes."""


class GatedDictRolloutBuffer(Remembering, DictRolloutBuffer):  # type: ignore[misc] # samples of another kind
    """`DictRolloutBuffer` that remembers genes."""


_OWN: dict[type[RolloutBuffer], type[Remembering]] = {
    RolloutBuffer: GatedRolloutBuffer,
    DictRolloutBuffer: GatedDictRolloutBuffer,
}


@cache
def gated_buffer(buffer: type[RolloutBuffer]) -> type[Remembering]:
    """A class of rollout buffers as one that remembers genes."""
    if issubclass(buffer, Remembering):
        return buffer
    return _OWN.get(buffer) or cast(type[Remembering], type(f"Gated{buffer.__name__}", (Remembering, buffer), {}))
