"""Training of every method on one task after another: `train(config, run)`.

Every random number follows from (seed, step): a run that was killed and resumed ends as the uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..core.augment import augment
from ..core.batches import Batch, TrainBatches, derive_seed
from ..core.device import in_memory_order, sync_batch_norms, total
from ..core.schedule import learning_rate
from ..core.task import Task
from .config import Config, Method
from .evaluate import Evaluator, held_out_split
from .learner import Learner, Phase, StackLearner
from .pictures import draw_pictures
from .rivals import Joint
from .sequence import AllTasks, TaskImages, load_sequence, task_of
from .stages import TaskBatches, begin, build_learner, restored, saved

if TYPE_CHECKING:
    from ..core.run import Run


def train(config: Config, run: Run) -> dict[str, float]:
    """Teach every method the tasks in their order, evaluate all, and return the metrics.

    Metrics are named "row/column", such as "stack/inferred". Goes on from the run's last checkpoint where there is one. All
    learners are in the checkpoint "best".
    """
    images = load_sequence(config.sequence, "train")
    tasks = [task_of(each) for each in images]
    held_out = load_sequence(config.sequence, held_out_split(config))
    evaluator = Evaluator(config, tasks, held_out, run.fabric)
    state = run.restore() or {"learners": {}, "ended": [], "accuracies": {}, "progress": None}
    learners = {}
    for method in config.methods:
        learner = build_learner(method, config, tasks)
        if method in state["learners"]:
            restored(learner, state["learners"][method], config, tasks)
        learners[method] = _placed(learner, config, run)
        for number in range(1 if isinstance(learner, Joint) else len(tasks)):
            if f"{method} {number}" not in state["ended"]:
                state = teach(method, learner, number, config, run, images, tasks, evaluator, state)
    metrics, confusion = _final(config, learners, evaluator, state)
    best = {method: saved(learner) for method, learner in learners.items()}
    run.save({"learners": best, "tasks": [task.state() for task in tasks]}, name="best")
    draw_pictures(run, evaluator, learners, state["accuracies"], confusion, metrics)
    return metrics


def teach(
    method: Method,
    learner: Learner,
    number: int,
    config: Config,
    run: Run,
    images: Sequence[TaskImages],
    tasks: Sequence[Task],
    evaluator: Evaluator,
    state: dict[str, Any],
) -> dict[str, Any]:
    """Teach a learner one task (joint training: all), evaluate it on the tasks so far, and return the state after that."""
    joint = isinstance(learner, Joint)
    while learner.known < (len(tasks) if joint else number + 1):  # or it is resumed within the task
        begin(learner, config, tasks)
    _placed(learner, config, run)
    training = AllTasks(list(images)) if joint else images[number]
    if not joint and state["progress"] is None:
        learner.meet(next(iter(TaskBatches(images[number], tasks[number], config, run.fabric.device)))[0])
    for place, phase in enumerate(learner.phases(config.train.epochs)):
        if state["progress"] is None or place >= state["progress"]["phase"]:
            fit(f"{method}: {training.name}", learner, place, phase, config, run, training, tasks[number], state)
            state = state | {"progress": None}
    if not joint:
        learner.end(TaskBatches(images[number], tasks[number], config, run.fabric.device))
    accuracies = evaluator.accuracies(learner, tasks=learner.known)
    named = {f"accuracy {task}": value for task, value in zip(evaluator.names, accuracies, strict=False)}
    run.log(learner.known, named | {"average accuracy": sum(accuracies) / len(accuracies)}, stage=f"{method}: by tasks")
    state = {
        "learners": {**state["learners"], method: saved(learner)},
        "ended": [*state["ended"], f"{method} {number}"],
        "accuracies": {**state["accuracies"], method: [*state["accuracies"].get(method, []), accuracies]},
        "progress": None,
    }
    run.save(state)
    return state


def fit(
    name: str,
    learner: Learner,
    place: int,
    phase: Phase,
    config: Config,
    run: Run,
    images: TaskImages | AllTasks,
    task: Task,
    state: dict[str, Any],
) -> None:
    """Train a learner in place for one phase; goes on from `state["progress"]` where that is set."""
    settings, fabric = config.train, run.fabric
    batches = TrainBatches(
        images,
        settings.batch_size,
        # one order of batches for every method
        seed=derive_seed(config.seed, "batches", images.name, place),
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    progress = state["progress"]
    if progress is None:
        learner.enter(phase.name)
    optimizer = torch.optim.SGD(
        learner.trained(), settings.learning_rate, 0.9, weight_decay=settings.weight_decay, nesterov=True
    )
    stepping, optimizer = fabric.setup(learner, optimizer)
    steps = phase.epochs * batches.steps_per_epoch
    step, sums = 0, torch.zeros(2, device=fabric.device)
    if progress is not None:
        step, sums = progress["step"], progress["sums"].to(fabric.device)
        optimizer.load_state_dict(progress["optimizer"])

    stepping.train()
    with run.progress(f"{name}, {phase.name}", steps) as meter:
        meter.advance(step)
        for epoch in range(step // batches.steps_per_epoch, phase.epochs):
            for batch in batches.epoch(epoch, start=step % batches.steps_per_epoch):
                rate = learning_rate(settings.learning_rate, "cosine", step / steps)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                torch.manual_seed(batch.seed)  # for what a network draws itself, such as dropout
                pictures = _augmented(batch, images, config).to(fabric.device, non_blocking=True)
                inputs = task.normalized(pictures, channels_last=config.compute.channels_last)
                loss = stepping(inputs, batch.targets.to(fabric.device))
                optimizer.zero_grad(set_to_none=True)
                fabric.backward(loss)
                optimizer.step()
                learner.after_step()

                sums += torch.stack([loss.detach().float(), torch.ones_like(loss, dtype=torch.float32)])
                step += 1
                meter.advance()
                if step % settings.save_every == 0 and step % batches.steps_per_epoch:
                    _save(run, state, name, learner, place, step, sums, optimizer)
            loss_sum, count = total(fabric, sums).tolist()
            run.log(step, {"loss": loss_sum / count, "learning rate": rate}, stage=f"{name}, {phase.name}")
            sums = torch.zeros_like(sums)
            _save(run, state, name, learner, place, step, sums, optimizer)
    learner.eval()


def _save(
    run: Run,
    state: dict[str, Any],
    name: str,
    learner: Learner,
    place: int,
    step: int,
    sums: Tensor,
    optimizer: torch.optim.Optimizer,
) -> None:
    method = name.partition(":")[0]
    progress = {"phase": place, "step": step, "sums": sums, "optimizer": optimizer.state_dict()}
    run.save(state | {"learners": {**state["learners"], method: saved(learner)}, "progress": progress})


def _augmented(batch: Batch, images: TaskImages | AllTasks, config: Config) -> Tensor:
    """The batch's pictures, each shifted, and mirrored where its set may be."""
    settings = config.train
    if isinstance(images, TaskImages):
        return augment(batch, pad=settings.pad, flip=images.set in settings.flip)
    pictures = augment(batch, pad=settings.pad, flip=True)
    upright = augment(batch, pad=settings.pad, flip=False)
    owner = batch.targets // AllTasks.STRIDE
    mirrored = torch.tensor([task.set in settings.flip for task in images.tasks], device=owner.device)[owner]
    return torch.where(mirrored[:, None, None, None], pictures, upright)


def _placed(learner: Learner, config: Config, run: Run) -> Learner:
    return sync_batch_norms(in_memory_order(learner, config.compute)).to(run.fabric.device)


def _final(
    config: Config, learners: dict[Method, Learner], evaluator: Evaluator, state: dict[str, Any]
) -> tuple[dict[str, float], Tensor | None]:
    """All metrics at the end, and the index module's confusion matrix where there is a stack."""
    metrics: dict[str, float] = {}
    confusion, index_size = None, 0
    stack = learners.get("stack")
    if isinstance(stack, StackLearner):
        confusion, index_size = evaluator.infer(stack.net), stack.net.index.size()
    for method in config.methods:
        learner = learners[method]
        row = evaluator.row(method, learner)
        forgotten = forgetting(state["accuracies"][method])
        head = {key: value for key, value in row.items() if key in (f"{method}/known", f"{method}/inferred")}
        metrics |= head | {f"{method}/forgetting": forgotten, f"{method}/parameters": float(learner.kept())} | row
    if confusion is not None:
        metrics |= evaluator.index_row(confusion)
        metrics["index/parameters"] = float(index_size)
    return metrics, confusion


def forgetting(accuracies: Sequence[Sequence[float]]) -> float:
    """How much accuracy was lost on average since each task was learned: mean over tasks but the last of a_jj - a_Tj.

    Args:
        accuracies: for each time a task was learned, the accuracies on the tasks so far; joint training learns once, 0.
    """
    last = accuracies[-1]
    lost = [then[-1] - now for then, now in zip(accuracies[:-1], last, strict=False)]
    return sum(lost) / len(lost) if lost else 0.0
