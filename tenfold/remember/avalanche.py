"""A stack inside an Avalanche strategy (https://avalanche.continualai.org, `pip install avalanche-lib`); importing this needs it.

from tenfold.remember.avalanche import AvalancheStack, StackPlugin
module = AvalancheStack(StackNet(model, first=0.2))       # infer=True where the task is not to be told
strategy = Naive(model=module, optimizer=SGD(module.parameters(), 0.1), plugins=[StackPlugin()], ...)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from avalanche.models import MultiTaskModule
from avalanche.training.plugins import SupervisedPlugin
from torch import Tensor, nn

from ..core.errors import UsageError
from .stacknet import UNKNOWN, StackNet


class AvalancheStack(MultiTaskModule):  # type: ignore[misc]
    """A `StackNet` as Avalanche's kind of module: each training experience is a task.

    Scores are over the benchmark's class numbers, (N, classes so far), -inf for classes of other tasks; NaN where the index module
    knows no task for an input.
    """

    def __init__(self, net: StackNet, *, infer: bool = False) -> None:
        """Wrap a stack that has no task yet.

        Args:
            net: the stack.
            infer: infer the tasks of inputs in evaluation (class-incremental benchmarks), instead of taking the task labels
                that the benchmark gives (task-incremental ones).

        Raises:
            UsageError: the stack has tasks already.
        """
        super().__init__()
        if net.tasks:
            raise UsageError(f"the stack has the tasks {', '.join(net.tasks)} already, but must have none")
        self.net = net
        self.infer = infer
        self.of_task: list[list[int]] = []
        """the benchmark's class numbers of each task, in the order of its head"""
        self.numbers: dict[int, int] = {}
        """task label, or number of the experience, -> task"""
        # optimisers refuse to be made of nothing, and strategies want one before the first experience
        self.placeholder = nn.Parameter(torch.zeros(0))

    def adaptation(self, experience: Any) -> None:
        """Called by strategies before each experience: in training a new one becomes a task."""
        super().adaptation(experience)
        if not self.training:
            return
        key = self._key(experience)
        classes = sorted({int(label) for label in experience.classes_in_this_experience})
        if key not in self.numbers:
            self.numbers[key] = len(self.of_task)
            self.of_task.append(classes)
            self.net.add_task(str(key), num_classes=len(classes))
        elif self.net.is_finished(str(key)):
            raise UsageError(f"task {key} comes a second time, but a finished task cannot be trained any more")

    def finish(self, experience: Any, *, batch_size: int) -> None:
        """The experience is learned: its task is fixed, and the index module learns its inputs."""
        name = str(self._key(experience))
        self.net.finish_task(name)
        self.net.eval()
        self.net.learn_inputs(name, _Batches(experience.dataset, batch_size))

    def forward(self, x: Tensor, task_labels: Tensor | None = None) -> Tensor:
        """See the class."""
        width = 1 + max((label for classes in self.of_task for label in classes), default=-1)
        numbers = self._numbers(x, task_labels)
        local = self.net(x, task=numbers)
        scores = local.new_full((len(x), width), -torch.inf)
        for number, classes in enumerate(self.of_task):
            rows = (numbers == number).nonzero()[:, 0]
            places = torch.tensor(classes, device=x.device)
            scores = scores.index_put((rows[:, None], places), local[rows, : len(classes)])
        return scores.masked_fill((numbers == UNKNOWN)[:, None], torch.nan)

    def _numbers(self, x: Tensor, task_labels: Tensor | None) -> Tensor:
        if self.training:
            return torch.full((len(x),), len(self.of_task) - 1, device=x.device)
        if self.infer or task_labels is None:
            return self.net.infer_task(x)
        labels = torch.as_tensor(task_labels).expand(len(x)).tolist()
        # a task that is still to come, which Avalanche evaluates too, is answered with no class
        return torch.tensor([self.numbers.get(label, UNKNOWN) for label in labels], device=x.device)

    def _key(self, experience: Any) -> int:
        if self.infer:
            return int(experience.current_experience)
        if len(experience.task_labels) != 1:
            raise UsageError(
                f"an experience has the task labels {experience.task_labels}, but must have one; infer=True needs none"
            )
        return int(experience.task_labels[0])


class StackPlugin(SupervisedPlugin):  # type: ignore[misc]
    """Finishes each task after its experience; every strategy that trains an `AvalancheStack` needs it."""

    def after_training_exp(self, strategy: Any, *args: Any, **options: Any) -> None:
        """Called by strategies."""
        strategy.model.finish(strategy.experience, batch_size=strategy.train_mb_size)


class _Batches:
    """(inputs, None) batches of an Avalanche dataset."""

    def __init__(self, dataset: Any, size: int) -> None:
        self._dataset = dataset
        self._size = size

    def __iter__(self) -> Iterator[tuple[Tensor, Any]]:
        loader: Any = torch.utils.data.DataLoader(
            self._dataset, self._size, shuffle=True, collate_fn=lambda rows: torch.stack([row[0] for row in rows])
        )
        for inputs in loader:
            yield inputs, None
