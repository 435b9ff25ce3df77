"""The plain networks of a stack's tasks, put together from its slices when they are asked for, and kept once they cannot change."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, fx, nn

from .anatomy import Anatomy
from .channels import Cuts
from .slices import make_plain, make_small, make_trunk, put_together

M = TypeVar("M", bound=nn.Module)


class Networks:
    """The networks of tasks 0, 1, ... of one stack. Not a module: its tensors are copies of the stack's."""

    def __init__(self, anatomy: Anatomy, cuts: Cuts, slices: nn.ModuleList, classes: list[int]) -> None:
        """`slices` and `classes` are the stack's own, and grow with it."""
        self._anatomy = anatomy
        self._cuts = cuts
        self._slices = slices
        self._classes = classes
        self._forms: dict[int, fx.GraphModule] = {}
        self._finished: dict[int, fx.GraphModule] = {}
        self._trunks: dict[int, fx.GraphModule] = {}

    def forget(self) -> None:
        """Put networks together anew: the slices have moved, or hold other values."""
        self._finished.clear()
        self._trunks.clear()

    def extracted(self, task: int) -> nn.Module:
        """A network of its own, its tensors copies."""
        return self._filled(make_small(self._anatomy, self._cuts, task, self._classes[task]), task)

    def finished(self, task: int) -> fx.GraphModule:
        """The network of a finished task; the same one until `forget`."""
        if task not in self._finished:
            self._finished[task] = self._plain(task)
        return self._finished[task]

    def trunk(self, task: int) -> fx.GraphModule:
        """What a finished task's layers read: images -> the taps."""
        if task not in self._trunks:
            self._trunks[task] = make_trunk(self._anatomy, self.finished(task))
        return self._trunks[task]

    def trunk_now(self, task: int) -> fx.GraphModule:
        """`trunk` of a task that is not finished."""
        return make_trunk(self._anatomy, self._plain(task))

    def run_now(self, task: int, images: Tensor) -> Tensor:
        """Evaluate a task that is not finished by the very operations of its finished network; gradients flow to its slice."""
        if task not in self._forms:
            self._forms[task] = make_plain(self._anatomy, self._cuts, task, self._classes[task])
        return torch.func.functional_call(self._forms[task], self.tensors(task), (images,))

    def _plain(self, task: int) -> fx.GraphModule:
        form = make_plain(self._anatomy, self._cuts, task, self._classes[task])
        return self._filled(form, task).requires_grad_(False)

    def _filled(self, network: M, task: int) -> M:
        tensors = self.tensors(task)
        network.load_state_dict({name: value.detach().clone() for name, value in tensors.items()}, assign=True)
        return network.requires_grad_(True)

    def tensors(self, task: int) -> dict[str, Tensor]:
        """What the task's network consists of, by name."""
        return put_together(self._anatomy, self._cuts, task, [*self._slices])
