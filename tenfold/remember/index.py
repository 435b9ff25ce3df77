"""Which task an input is of: the interface of index modules, and the two that learn nothing.

An index module gives every input a score for each task. It learns task after task from the task's inputs and never sees an
earlier task's again. `GeneratorIndex` is the paper's; `DensityIndex` is the default; `AutoencoderIndex` is Expert Gate's;
`EntropyIndex` and `GivenIndex` are what they are compared with.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..core.errors import UsageError

if TYPE_CHECKING:
    from .stacknet import StackNet

Inputs = Callable[[], Iterable[Tensor]]
"""each call goes through the batches of a task's inputs once more"""


class IndexModule(nn.Module, ABC):
    """Tells the tasks of inputs apart. Subclasses learn a task and score inputs; everything else is here."""

    def __init__(self, *, reject: float = 0.0) -> None:
        """An index module that knows no task yet.

        Args:
            reject: share of a known task's own inputs that may be taken for unknown, in [0, 0.5]; an input is unknown where
                its best task's score is lower than that of this share of the task's training inputs. 0 rejects nothing.
        """
        super().__init__()
        if not 0 <= reject <= 0.5:
            raise UsageError(f"reject is {reject}, but must be between 0 and 0.5")
        self.reject = reject
        self.tasks = 0
        """how many tasks it has learned"""
        self._floors: list[float] = []

    @abstractmethod
    def scores(self, inputs: Tensor, net: StackNet) -> Tensor:
        """(N, ...) -> (N, tasks): the higher, the likelier."""

    @abstractmethod
    def _learn(self, inputs: Inputs, net: StackNet) -> Tensor | None:
        """Learn the next task, number `self.tasks`, from its inputs.

        Returns:
            The task's own scores (n,) of inputs that were kept aside, by which its floor is chosen; None where none were.
        """

    def learn_task(self, inputs: Inputs, net: StackNet) -> None:
        """Learn the next task of the stack.

        Raises:
            UsageError: there are no inputs.
        """
        if next(iter(inputs()), None) is None:
            raise UsageError("the index module was given no inputs of the task")
        aside = self._learn(inputs, net)
        self.tasks += 1
        floor = -torch.inf
        if self.reject > 0:
            if aside is None:
                with torch.no_grad():
                    aside = torch.cat([self.scores(batch, net)[:, self.tasks - 1] for batch in inputs()])
            place = int(self.reject * (len(aside) - 1))
            floor = float(aside.sort().values[place])  # `quantile` refuses more than 16 million
        self._floors.append(floor)

    @torch.no_grad()
    def infer(self, inputs: Tensor, net: StackNet) -> Tensor:
        """The task of each input, int64 (N,); -1 for an input of no known task."""
        best, task = self.scores(inputs, net).max(1)
        floors = torch.tensor(self._floors, device=best.device, dtype=best.dtype)
        # written so that a score of NaN, of an input of NaNs, is unknown too
        return torch.where(best >= floors[task], task, torch.full_like(task, -1))

    def size(self) -> int:
        """Numbers kept for all tasks together."""
        return sum(value.numel() for value in self._kept())

    def state(self, tasks: int) -> dict[str, Any]:
        """What the module knows of its first `tasks` tasks, for a checkpoint."""
        return {"kind": type(self).__name__, "floors": self._floors[:tasks], "learned": self._state(tasks)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave.

        Raises:
            UsageError: it is of another kind of index module.
        """
        if state["kind"] != type(self).__name__:
            raise UsageError(f"a {state['kind']} was saved, but the index module is a {type(self).__name__}")
        self._load(state["learned"])
        self._floors = [float(value) for value in state["floors"]]
        self.tasks = len(self._floors)

    def _kept(self) -> Iterator[Tensor]:
        yield from self.parameters()
        yield from self.buffers()

    def _state(self, tasks: int) -> Any:
        return None

    def _load(self, learned: Any) -> None:
        return None


class EntropyIndex(IndexModule):
    """The task whose head is surest: minus the entropy of its softmax, over the logarithm of its classes. Learns nothing."""

    def _learn(self, inputs: Inputs, net: StackNet) -> Tensor | None:
        return None

    def scores(self, inputs: Tensor, net: StackNet) -> Tensor:
        columns = []
        for name, classes in zip(net.tasks, net.classes, strict=True):
            logits = net(inputs, task=name).float()
            entropy = torch.special.entr(logits.softmax(1)).sum(1)
            columns.append(-entropy / max(torch.tensor(float(classes)).log().item(), 1e-6))
        return torch.stack(columns[: max(1, self.tasks)], 1)


class GivenIndex(IndexModule):
    """Tells what it is told: what a perfect index module would be worth."""

    def __init__(self, answer: Callable[[Tensor], Tensor]) -> None:
        """`answer`: inputs (N, ...) -> their tasks, int64 (N,)."""
        super().__init__()
        self.answer = answer

    def _learn(self, inputs: Inputs, net: StackNet) -> Tensor | None:
        return None

    def scores(self, inputs: Tensor, net: StackNet) -> Tensor:
        return nn.functional.one_hot(self.answer(inputs), max(1, self.tasks)).float()
