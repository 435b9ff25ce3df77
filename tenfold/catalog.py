"""The methods of Tenfold: the only list of them. Loads a part of one by name when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Literal

from .core.errors import UsageError

Part = Literal["config", "train", "evaluate", "demo"]


@dataclass(frozen=True)
class Method:
    """One verb of the command line."""

    verb: str
    line: str
    """what a user gets"""
    paper: str

    def load(self, part: Part) -> ModuleType:
        """Import one module of the method's package; `config` alone loads no torch."""
        return import_module(f"tenfold.{self.verb}.{part}")


METHODS = (
    Method(
        "distill",
        "any teacher into any student, feature distillation before the ReLU",
        "arXiv:1904.01866 Comprehensive Overhaul",
    ),
    Method(
        "resize", "one residual network with a cost dial at run time, compute really skipped", "arXiv:1901.04687 URNet"
    ),
    Method(
        "segment",
        "light segmentation networks by concentrated convolution, and a converter for dilated ones",
        "arXiv:1812.04920 C3Net",
    ),
    Method(
        "generate",
        "an exact, fast density over any model's latents, and autoencoders that generate with it",
        "arXiv:1902.04294 latent density estimator",
    ),
    Method(
        "translate",
        "one network trained over every mixture of several losses, the mixture turned at run time",
        "arXiv:1811.12362 SGN",
    ),
    Method(
        "evolve",
        "genetic-gated A2C and PPO: a population of policies in one set of weights",
        "arXiv:1903.01886 Genetic-Gated Networks",
    ),
    Method(
        "govern",
        "an agent whose latents can be named, read and turned: PPO and A2C beside an action-conditional VAE",
        "arXiv:1811.04350 AC-beta-VAE",
    ),
    Method(
        "design",
        "an agent that designs 3D objects for a task, step by step, in physics, and hands over meshes",
        "arXiv:1903.05271 task-oriented design",
    ),
    Method(
        "answer",
        "questions about a textbook, answered from its text and diagrams, adapted to a new book without labels",
        "arXiv:1811.00232 f-GCN + SSOC",
    ),
    Method(
        "remember",
        "continual learning in which an old task's output never changes, and the task is inferred",
        "arXiv:1809.02441 StackNet",
    ),
)


def find(verb: str) -> Method:
    """The method of a verb.

    Raises:
        UsageError: there is no such verb; the message lists them.
    """
    for method in METHODS:
        if method.verb == verb:
            return method
    raise UsageError(f"there is no method {verb!r}; the methods are {', '.join(method.verb for method in METHODS)}")
