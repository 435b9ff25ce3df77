"""Evaluation mode for a while: whatever is used, not trained, is left as it was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(*parts: object) -> Iterator[None]:
    """Modules among the parts are in `eval` mode while the body works; then each of their modules is as it was before.

    A module that is half in training, such as one with frozen norms, comes back so.
    """
    modules = [module for part in parts if isinstance(part, nn.Module) for module in part.modules()]
    before = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module, was_training in zip(modules, before, strict=True):
            module.training = was_training
