"""The learners of a run, each from the seed, and how one is put into a saved state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..core.batches import Fetchable, TrainBatches, derive_seed
from ..core.task import Task
from ..nets import build_net
from .anatomy import dissect
from .autoencoder import AutoencoderIndex
from .config import Config, Method
from .density import DensityIndex
from .generator import GeneratorIndex
from .index import EntropyIndex, IndexModule
from .learner import Learner, StackLearner
from .rivals import ElasticConsolidation, FineTuning, Joint, LearningWithoutForgetting, PackNet
from .stacknet import StackNet


def build_learner(method: Method, config: Config, tasks: Sequence[Task]) -> Learner:
    """A learner that knows no task yet. Rivals start from the same weights."""
    channels = tasks[0].shape[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "network"))
        # the classes are the model's only where it is cut by task: each task gets a head of its own
        model = build_net(
            config.net.name,
            classes=len(tasks[0].classes),
            channels=channels,
            width=config.net.width,
            half_stem=config.net.half_stem,
        )
    if method == "stack":
        net = StackNet(model, first=min(1.0, config.shares[0]), index=build_index(config))
        return StackLearner(net, [text.partition("@")[0] for text in config.sequence.tasks], config.shares)
    return _rival(method, config, model)


def _rival(method: Method, config: Config, model: nn.Module) -> Learner:
    head, rivals = dissect(model).head, config.rivals
    match method:
        case "finetune":
            return FineTuning(model, head)
        case "lwf":
            return LearningWithoutForgetting(model, head, weight=rivals.lwf_weight, temperature=rivals.lwf_temperature)
        case "ewc":
            stiffest = 1 / config.train.learning_rate
            return ElasticConsolidation(
                model, head, weight=rivals.ewc_weight, pictures=rivals.ewc_pictures, stiffest=stiffest
            )
        case "packnet":
            own = rivals.packnet_norms == "own"
            return PackNet(model, head, shares=config.packnet_shares, retrain=rivals.packnet_retrain, own_norms=own)
        case "joint":
            return Joint(model, head)
    raise ValueError(f"{method} is no rival")


def build_index(config: Config) -> IndexModule:
    """The index module of the settings; it knows no task yet."""
    settings = config.index
    match settings.kind:
        case "density":
            return DensityIndex(reject=settings.reject)
        case "entropy":
            return EntropyIndex(reject=settings.reject)
        case "autoencoder":
            return AutoencoderIndex(reject=settings.reject, epochs=settings.epochs, seed=config.seed)
        case "generator":
            return GeneratorIndex(
                reject=settings.reject,
                epochs=settings.epochs,
                classifier_steps=settings.classifier_steps,
                seed=config.seed,
            )


def begin(learner: Learner, config: Config, tasks: Sequence[Task]) -> None:
    """Let a learner make room for its next task, with weights that follow from the seed and the task's number."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "task", learner.known))
        learner.begin(len(tasks[learner.known].classes))


def saved(learner: Learner) -> dict[str, Any]:
    """What `restored` takes: only tensors, numbers and text."""
    index = None
    if isinstance(learner, StackLearner):
        index = learner.net.index.state(learner.net.index.tasks)
    return {"known": learner.known, "tensors": learner.state_dict(), "index": index}


def restored(learner: Learner, state: dict[str, Any], config: Config, tasks: Sequence[Task]) -> Learner:
    """Bring a new learner to what `saved` gave; returns it."""
    for _ in range(state["known"]):
        begin(learner, config, tasks)
    if isinstance(learner, StackLearner):
        # before the tensors, which are of the index module's networks too
        learner.net.index.load_state(state["index"])
    learner.load_state_dict(state["tensors"])
    return learner


class TaskBatches:
    """Normalised training pictures of one task, without augmentation, and labels; each pass has an order of its own."""

    def __init__(self, images: Fetchable, task: Task, config: Config, device: torch.device) -> None:
        """`images`: the task's training set."""
        size = min(config.train.batch_size, len(images))
        self._batches = TrainBatches(images, size, seed=derive_seed(config.seed, "passes", images.name))
        self._task = task
        self._config = config
        self._device = device
        self._passes = 0

    def __len__(self) -> int:
        return self._batches.steps_per_epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self._passes += 1
        channels_last = self._config.compute.channels_last
        for batch in self._batches.epoch(self._passes):
            images = self._task.normalized(batch.images.to(self._device), channels_last=channels_last)
            yield images, batch.targets.to(self._device)
