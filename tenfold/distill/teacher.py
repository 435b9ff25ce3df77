"""Running a teacher so that it comes out as it went in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

TeacherNorm = Literal["batch", "running"]


@contextmanager
def teaching(network: nn.Module, norm: TeacherNorm) -> Iterator[None]:
    """While the context lasts the network is a teacher: no gradients, no noise, and no buffer moves.

    Args:
        norm: `batch` normalises by the batch's own statistics, as the paper's teacher does, which stays in `train` mode;
            `running` by those it was trained with. Everything else, such as dropout, is in `eval` mode either way.
    """
    modules = list(network.modules())
    before = [module.training for module in modules]
    norms = [module for module in modules if isinstance(module, _BatchNorm) and module.track_running_stats]
    for module in modules:
        module.training = False
    if norm == "batch":
        for module in norms:
            module.training = True
            # a momentum of 0 would leave the means alone, but not the count of batches
            module.track_running_stats = False
    try:
        with torch.no_grad():
            yield
    finally:
        for module in norms:
            module.track_running_stats = True
        for module, training in zip(modules, before, strict=True):
            module.training = training
