"""torchvision and timm for tests, also where torchvision's compiled operators cannot load (a CPU-only torch)."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

import pytest
import torch

_LIBRARIES: list[torch.library.Library] = []  # kept alive: a library that is collected takes its schemas along
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def load_zoo(name: str) -> ModuleType:
    """Import `torchvision`, `timm` or a part of them; skips the test where the package is not installed."""
    package = name.partition(".")[0]
    if importlib.util.find_spec(package) is None or importlib.util.find_spec("torchvision") is None:
        pytest.skip(f"{package} is not installed")
    _import_torchvision()
    return importlib.import_module(name)


def _import_torchvision() -> None:
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in _SCHEMAS:
            library.define(schema)
        _LIBRARIES.append(library)
        for part in [part for part in sys.modules if part.partition(".")[0] == "torchvision"]:
            del sys.modules[part]  # what the failed import left half-made
        importlib.import_module("torchvision")
