"""What every method that learns task after task is asked for, and this method as one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from .capacity import size_of
from .stacknet import StackNet

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Phase:
    """One stretch of training on a task, with its own optimiser and schedule."""

    name: str
    epochs: int


class Learner(nn.Module, ABC):
    """A network that is taught one task after another. Its forward pass is the loss of a batch of the current task."""

    known: int = 0
    """tasks begun so far; the current one is the last of them"""

    @abstractmethod
    def begin(self, classes: int) -> None:
        """Make room for the next task. After this the state dict has its final keys until the next call."""

    @abstractmethod
    def logits(self, images: Tensor, task: int) -> Tensor:
        """(N, C, H, W) -> (N, classes of the task), as the learner now knows it."""

    @abstractmethod
    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch of the current task."""

    @abstractmethod
    def kept(self) -> int:
        """Numbers that have to be kept to answer all tasks so far."""

    def meet(self, images: Tensor) -> None:
        """Called before the first phase with some pictures of the current task, the same on every process."""

    def phases(self, epochs: int) -> list[Phase]:
        """How the epochs of the current task are spent."""
        return [Phase("train", epochs)]

    def enter(self, phase: str) -> None:
        """Called before each phase, and not again where it is resumed."""

    def trained(self) -> Iterator[nn.Parameter]:
        """The parameters that the current task changes."""
        return self.parameters()

    def after_step(self) -> None:
        """Called after each step of the optimiser."""

    def end(self, batches: Batches) -> None:
        """The current task is learned; `batches` are some of its training pictures, without augmentation, and labels."""


class StackLearner(Learner):
    """This method: a slice of the channels for each task."""

    def __init__(self, net: StackNet, names: Sequence[str], shares: Sequence[float]) -> None:
        """`names` of the tasks; `shares` of the width for each."""
        super().__init__()
        self.net = net
        self.names = list(names)
        self.shares = list(shares)

    def begin(self, classes: int) -> None:
        self.net.add_task(self.names[self.known], classes, grow=self.shares[self.known])
        self.known += 1

    def logits(self, images: Tensor, task: int) -> Tensor:
        return self.net(images, task=self.names[task])

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.logits(images, self.known - 1), labels)

    def meet(self, images: Tensor) -> None:
        self.net.meet_inputs(self.names[self.known - 1], images)

    def trained(self) -> Iterator[nn.Parameter]:
        return self.net.task_parameters(self.names[self.known - 1])

    def end(self, batches: Batches) -> None:
        self.net.finish_task(self.names[self.known - 1])
        self.net.learn_inputs(self.names[self.known - 1], batches)

    def kept(self) -> int:
        return size_of(self.net.slices)


class SharedTrunk(Learner):
    """One trunk at full width and a head for each task: what the rivals are made of."""

    def __init__(self, model: nn.Module, head: str) -> None:
        """`head`: name of the model's Linear that gives the classes."""
        super().__init__()
        last = model.get_submodule(head)
        assert isinstance(last, nn.Linear), "the networks by name end in a Linear"
        model.set_submodule(head, nn.Identity())
        self.trunk = model
        self.heads = nn.ModuleList()
        self._features = last.in_features

    def begin(self, classes: int) -> None:
        where = next(self.trunk.parameters())
        self.heads.append(nn.Linear(self._features, classes).to(where.device))
        self.known += 1

    def logits(self, images: Tensor, task: int) -> Tensor:
        return self.heads[task](self.trunk(images))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.logits(images, self.known - 1), labels)

    def trained(self) -> Iterator[nn.Parameter]:
        yield from self.trunk.parameters()
        yield from self.heads[-1].parameters()

    def kept(self) -> int:
        return size_of(self.trunk) + size_of(self.heads)


def some(batches: Batches, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The first `count` pictures of batches."""
    left = count
    for images, labels in batches:
        if left <= 0:
            return
        yield images[:left], labels[:left]
        left -= len(images)
