"""How much a learner remembers: with the task known and inferred, after every task and of a finished run (`tenfold eval`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor

from ..core.batches import EvalBatches
from ..core.device import in_memory_order, total
from ..core.errors import UsageError
from ..core.run import Run
from ..core.sources import Split
from ..core.task import Task
from ..core.trained import open_trained
from .config import Config, EvalOptions, Method
from .learner import Learner, StackLearner
from .sequence import TaskImages, load_sequence
from .stacknet import StackNet
from .stages import build_learner, restored


@dataclass
class Evaluator:
    """Measures learners of one run on the held-out pictures of its tasks, shared among the processes."""

    config: Config
    tasks: Sequence[Task]
    held_out: Sequence[TaskImages]
    fabric: Fabric
    batch_size: int = 256
    inferred: list[Tensor] = field(default_factory=list)
    """for each task, the tasks that the index module takes this process's share of its pictures for"""

    @property
    def names(self) -> list[str]:
        return [images.name for images in self.held_out]

    @torch.no_grad()
    def accuracies(self, learner: Learner, *, tasks: int) -> list[float]:
        """The accuracy on each of the first `tasks` tasks, its task known."""
        learner.eval()
        return [self._shares(self._right(learner, task))[0] for task in range(tasks)]

    @torch.no_grad()
    def row(self, name: str, learner: Learner) -> dict[str, float]:
        """Accuracy with the task known and, where it was inferred before, inferred; of each task and on average."""
        learner.eval()
        known, inferred = [], []
        for task in range(len(self.held_out)):
            right = self._right(learner, task)
            masks = [right]
            if self.inferred:
                # a picture taken for another task is given a class of that task: it cannot be right
                masks.append(right & (self.inferred[task] == task))
            shares = self._shares(*masks)
            known.append(shares[0])
            inferred += shares[1:]
        found = {f"{name}/known": _mean(known)} | ({f"{name}/inferred": _mean(inferred)} if inferred else {})
        found |= {f"{name}/{task} known": value for task, value in zip(self.names, known, strict=True)}
        if inferred:
            found |= {f"{name}/{task} inferred": value for task, value in zip(self.names, inferred, strict=True)}
        return found

    @torch.no_grad()
    def infer(self, net: StackNet) -> Tensor:
        """Infer the tasks of all held-out pictures; float64 (tasks, tasks + 1): what share of a task's is taken for which.

        The last column is of those taken for none.
        """
        net.eval()
        count = len(self.held_out)
        self.inferred = [
            torch.cat([net.infer_task(images) for images, _ in self._batches(task)] or [torch.empty(0)]).cpu()
            for task in range(count)
        ]
        rows = [torch.bincount(found.long() % (count + 1), minlength=count + 1) for found in self.inferred]
        counts = total(self.fabric, torch.stack(rows).float().to(self.fabric.device)).double().cpu()
        return counts / counts.sum(1, keepdim=True)

    def index_row(self, confusion: Tensor) -> dict[str, float]:
        """Share of pictures whose task is inferred rightly, of each task and on average."""
        right = confusion.diagonal().tolist()
        named = {f"index/{task} inferred": value for task, value in zip(self.names, right, strict=True)}
        return {"index/inferred": _mean(right)} | named

    def _right(self, learner: Learner, task: int) -> Tensor:
        found = []
        for images, labels in self._batches(task):
            logits = learner.logits(images, task)
            found.append(((logits.argmax(1) == labels) & ~logits.isnan().any(1)).cpu())
        return torch.cat(found) if found else torch.empty(0, dtype=torch.bool)

    def _shares(self, *masks: Tensor) -> list[float]:
        """The share of true values in each, over all processes."""
        sums = [float(mask.sum()) for mask in masks]
        values = torch.tensor([*sums, float(len(masks[0]))], device=self.fabric.device)
        *right, count = total(self.fabric, values).tolist()
        return [value / count for value in right]

    def _batches(self, task: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of a task's held-out pictures, as the networks read them, and their labels."""
        device, channels_last = self.fabric.device, self.config.compute.channels_last
        rank, world = self.fabric.global_rank, self.fabric.world_size
        for images, labels in EvalBatches(self.held_out[task], self.batch_size, rank=rank, world=world):
            inputs = self.tasks[task].normalized(images.to(device), channels_last=channels_last)
            yield inputs, labels.to(device)


def held_out_split(config: Config) -> Split:
    """The split that results are of."""
    return "validation" if config.sequence.holdout else "test"


def evaluate(folder: Path, options: EvalOptions) -> dict[str, float]:
    """Test the learners of a finished run on its held-out pictures (`tenfold eval`).

    Returns:
        "<method>/known", "<method>/inferred" and both of each task; "index/..." where the run has a stack.

    Raises:
        UsageError: the folder is not a run of this method, it has no trained network yet, or its data is missing.
    """
    config, tasks, learners = load_run(folder)
    unknown = sorted(set(options.method) - set(learners))
    if unknown:
        raise UsageError(f"method is {unknown[0]!r}, but {folder} has {', '.join(learners)}")
    run = Run.open(folder)
    held_out = load_sequence(config.sequence, held_out_split(config))
    evaluator = Evaluator(config, tasks, held_out, run.fabric, options.batch_size)
    metrics: dict[str, float] = {}
    for learner in learners.values():
        in_memory_order(learner, config.compute).to(run.fabric.device)
    stack = learners.get("stack")
    if isinstance(stack, StackLearner):
        metrics |= evaluator.index_row(evaluator.infer(stack.net))
    chosen = options.method or tuple(learners)
    with run.progress("eval", len(chosen)) as meter:
        for name in chosen:
            metrics |= evaluator.row(name, learners[name])
            meter.advance()
    return metrics


def load_run(folder: Path) -> tuple[Config, list[Task], dict[Method, Learner]]:
    """The settings, the tasks and the learners of a run folder by method, in `eval` mode on the CPU.

    Raises:
        UsageError: the folder is not a run of this method, or it has no trained network yet.
    """
    config, state = open_trained(folder, "remember", Config)
    tasks = [Task.from_state(task) for task in state["tasks"]]
    learners: dict[Method, Learner] = {}
    for method in config.methods:
        learner = restored(build_learner(method, config, tasks), state["learners"][method], config, tasks)
        if isinstance(learner, StackLearner):
            learner.net.finish_task(learner.net.tasks[-1])
        learners[method] = learner.eval()
    return config, tasks, learners


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
