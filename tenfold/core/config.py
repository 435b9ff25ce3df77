"""Settings: frozen dataclasses with a one-line string under every field, checked when made, saved as plain JSON.

This module imports no torch, so that `--help` and reading a run's settings stay instant.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import types
import typing
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from .errors import UsageError

T = TypeVar("T")


def require(condition: bool, name: str, given: object, allowed: str) -> None:
    """Raise a `UsageError` naming the setting, the value given and the values allowed, unless `condition` holds."""
    if not condition:
        raise UsageError(f"{name} is {given!r}, but must be {allowed}")


@dataclass(frozen=True)
class DataConfig:
    """Which images to learn from. `embedded` sets need no files; every other one is read from `root`."""

    name: str = "garments"
    """embedded: garments, digits, pictures; from root: cifar10, cifar100, svhn, mnist, fashion-mnist, kmnist, folder; or hf:OWNER/NAME"""
    root: Path | None = None
    """folder that holds the files in their official layout; not used by embedded sets"""
    size: int | None = None
    """images are resized to size x size pixels; none keeps the set's own size (a folder of classes needs one)"""
    normalize: Literal["own", "imagenet"] = "own"
    """mean and spread that images are normalised with: the set's own, or ImageNet's for weights trained so"""
    holdout: float = 0.0
    """share of the training images kept aside as the validation split, in [0, 0.5]"""
    limit: int | None = None
    """use at most this many images of each split, chosen evenly over the classes; none uses all"""

    def __post_init__(self) -> None:
        require(self.size is None or 8 <= self.size <= 1024, "data.size", self.size, "none or 8 to 1024 pixels")
        require(0.0 <= self.holdout <= 0.5, "data.holdout", self.holdout, "between 0 and 0.5")
        require(self.limit is None or self.limit >= 1, "data.limit", self.limit, "none or at least 1")


@dataclass(frozen=True)
class MaskedDataConfig:
    """Which pictures with a class for every pixel to learn from; all but `scenes` are read from `root`."""

    name: str = "scenes"
    """embedded: scenes (composed); from root, in their usual layout: camvid, cityscapes, voc, folder"""
    root: Path | None = None
    """folder that holds the files; not used by embedded sets"""
    height: int | None = None
    """pictures are resized to fit into height x width pixels; none keeps the set's own size, if it has one"""
    width: int | None = None
    """pictures are resized to fit into height x width pixels; none keeps the set's own size, if it has one"""
    classes: Path | None = None
    """of a folder: text file, a line NAME or NAME R G B for each label from 0; void and ignore are not scored"""
    normalize: Literal["own", "imagenet"] = "own"
    """mean and spread that pictures are normalised with: the set's own, or ImageNet's for weights trained so"""
    holdout: float = 0.0
    """share of the training pictures kept aside as the validation split, in [0, 0.5]"""
    limit: int | None = None
    """use at most this many pictures of each split, chosen evenly over the set; none uses all"""

    def __post_init__(self) -> None:
        for side in ("height", "width"):
            given = getattr(self, side)
            require(given is None or 16 <= given <= 4096, f"data.{side}", given, "none or 16 to 4096 pixels")
        require(
            (self.height is None) == (self.width is None), "data.width", self.width, "given together with data.height"
        )
        require(0.0 <= self.holdout <= 0.5, "data.holdout", self.holdout, "between 0 and 0.5")
        require(self.limit is None or self.limit >= 1, "data.limit", self.limit, "none or at least 1")


@dataclass(frozen=True)
class ComputeConfig:
    """Where and how precisely to compute. The same training runs on a CPU, on one GPU and in several processes."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes a GPU when there is one"""
    processes: int = 1
    """data-parallel processes on this machine, at least 1; under torchrun the number torchrun started is used"""
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    """bf16 and fp16 are automatic mixed precision; fp16 needs a GPU"""
    channels_last: bool = False
    """keep images and convolutions in channels-last memory order"""

    def __post_init__(self) -> None:
        require(self.processes >= 1, "compute.processes", self.processes, "at least 1")
        require(
            self.precision != "fp16" or self.device != "cpu", "compute.precision", "fp16", "float32 or bf16 on a CPU"
        )


@dataclass(frozen=True)
class CrewSettings:
    """Where trainings run: they are independent, and come out the same wherever they do."""

    workers: int = 1
    """trainings at a time, at least 1; each in a process of its own with one thread"""
    engine: Literal["processes", "ray"] = "processes"
    """processes of this machine, or Ray: this machine, or the cluster that RAY_ADDRESS names"""

    def __post_init__(self) -> None:
        require(self.workers >= 1, "crew.workers", self.workers, "at least 1")


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass as plain JSON values: paths become text, tuples become lists."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def from_dict(cls: type[T], values: dict[str, Any], where: str = "") -> T:
    """The inverse of `to_dict`.

    Raises:
        UsageError: a setting is unknown, or a value does not fit its type; the message names the setting.
    """
    hints = typing.get_type_hints(cls)
    known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise UsageError(f"unknown setting {where}{unknown[0]}; {cls.__name__} has {', '.join(sorted(known))}")
    return cls(**{name: _typed(hints[name], value, f"{where}{name}") for name, value in values.items()})


@cache
def explain(cls: type) -> dict[str, str]:
    """The one-line string under each field of a dataclass, by field name; an unexplained field is missing."""
    body = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(body, ast.ClassDef)
    texts: dict[str, str] = {}
    for field, below in pairwise(body.body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            texts[field.target.id] = " ".join(str(below.value.value).split())
    return texts


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _typed(hint: Any, value: Any, name: str) -> Any:
    """`value`, as read from JSON, made into what the type hint asks for."""
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        if value is None and len(options) < len(typing.get_args(hint)):
            return None
        return _typed(options[0], value, name)
    if origin is Literal:
        require(value in typing.get_args(hint), name, value, f"one of {', '.join(map(str, typing.get_args(hint)))}")
        return value
    if origin is tuple:
        require(isinstance(value, list | tuple), name, value, "a list")
        inner = typing.get_args(hint)[0]
        return tuple(_typed(inner, item, name) for item in value)
    if dataclasses.is_dataclass(hint):
        require(isinstance(value, dict), name, value, "a group of settings")
        return from_dict(typing.cast(type, hint), value, f"{name}.")
    if hint is Path:
        require(isinstance(value, str), name, value, "a path")
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # bool is a subclass of int: without the exact comparison `true` would pass as the number 1
    require(type(value) is hint, name, value, f"of type {getattr(hint, '__name__', hint)}")
    return value
