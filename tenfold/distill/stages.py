"""The networks of one run, the teacher first: all students start from the same weights and see the same batches."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ..core.batches import derive_seed
from ..core.checkpoint import load_weights
from ..core.data import ImageSet
from ..core.task import Task
from ..nets import build_net
from .config import Config

TEACHER = "teacher"
EXAMPLES = 64
"""training images by which positions are found and margins from data begin"""


def build_teacher(config: Config, task: Task, *, weights: bool = True) -> nn.Module:
    """The teacher of the settings: with its `weights`, where there are some, or else from the seed."""
    net = _build(config.teacher.name, config.teacher.width, config.teacher.half_stem, task, config.seed, TEACHER)
    if weights and config.teacher.weights is not None:
        load_weights(Path(config.teacher.weights), net)
    return net


def build_student(config: Config, task: Task) -> nn.Module:
    """The student of the settings, from the seed: the same for every method."""
    return _build(config.student.name, config.student.width, config.student.half_stem, task, config.seed, "student")


def stage_names(config: Config) -> list[str]:
    """The networks of the run, in the order of their training. There is no teacher where every student learns alone."""
    return [*config.methods] if set(config.methods) == {"alone"} else [TEACHER, *config.methods]


def example_images(config: Config, task: Task, images: ImageSet) -> Tensor:
    """Some training images in an order of the seed's, normalised: (N, C, H, W)."""
    generator = torch.Generator().manual_seed(derive_seed(config.seed, "example"))
    rows = torch.randperm(len(images), generator=generator)[:EXAMPLES]
    return task.normalized(images.fetch(rows)[0], channels_last=config.compute.channels_last)


def _build(name: str, width: int, half_stem: bool, task: Task, seed: int, purpose: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, purpose))
        return build_net(name, classes=len(task.classes), channels=task.shape[0], width=width, half_stem=half_stem)
