"""Rows of numbers from what a person has: an array, a model and its data, or a file. Checked before anything is learned."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import UsageError
from .modes import evaluating

FEWEST = 20
"""rows that a density is learned from, at least; a tenth of them is held out"""

Encoder = Callable[[Tensor], Any]
Source = Tensor | np.ndarray[Any, Any] | Sequence[Sequence[float]] | tuple[Encoder, Iterable[Any]]


def as_rows(source: Source, dim: int, *, fewest: int = 1, what: str = "latents") -> Tensor:
    """Rows (N, D) on the CPU, float32 or what they were, from an array or from (encoder, loader).

    Args:
        source: (N, D) numbers; or an encoder and the batches it reads, see `encode`.
        dim: D.
        fewest: N has to be at least this.
        what: the name of the rows in errors.

    Raises:
        UsageError: the shape is another, there are too few rows, or a number is not finite.
    """
    if isinstance(source, tuple) and len(source) == 2 and callable(source[0]):
        rows = encode(*source)
    else:
        rows = _as_tensor(source, what).detach().cpu()
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise UsageError(f"{what} have shape {tuple(rows.shape)}, but must be (N, {dim}): the density has dim {dim}")
    if len(rows) < fewest:
        raise UsageError(f"there are {len(rows)} rows of {what}, but must be at least {fewest}")
    rows = rows if rows.is_floating_point() and rows.dtype.itemsize >= 4 else rows.float()
    check_finite(rows, what)
    return rows


def _as_tensor(source: Any, what: str) -> Tensor:
    try:
        rows = torch.as_tensor(source)
    except (TypeError, ValueError, RuntimeError):
        raise UsageError(
            f"{what} are of type {type(source).__name__}, but must be numbers (N, D), or a pair of an encoder and a loader"
        ) from None
    if rows.is_complex():
        raise UsageError(f"{what} are complex numbers, but must be real")
    return rows


def check_finite(rows: Tensor, what: str) -> None:
    """Raise a `UsageError` that names the first number, of rows (N, D), that is NaN or infinite."""
    bad = ~rows.isfinite()
    if bad.any():
        row, column = bad.nonzero()[0].tolist()
        value = float(rows[row, column])
        raise UsageError(f"row {row} of {what} has {value} in column {column}, but must have finite numbers only")


@torch.no_grad()
def encode(encoder: Encoder, loader: Iterable[Any]) -> Tensor:
    """The latents (N, D) of all batches of a loader, on the CPU.

    Args:
        encoder: batch -> latents, (n, D) or (n, D, 1, 1); a module is called in `eval` mode, on its own device, and left in
            the mode it was in.
        loader: gives batches, or tuples or lists whose first is the batch.

    Raises:
        UsageError: the loader gives nothing, or the encoder something else than one tensor.
    """
    device = device_of(encoder)
    parts = []
    with evaluating(encoder):
        for item in loader:
            batch = item[0] if isinstance(item, list | tuple) else item
            latents = encoder(batch if device is None else batch.to(device))
            if not isinstance(latents, Tensor) or latents.ndim < 2:
                given = f"of shape {tuple(latents.shape)}" if isinstance(latents, Tensor) else type(latents).__name__
                raise UsageError(f"the encoder gives {given}, but must give one tensor (N, D) or (N, D, ...)")
            parts.append(latents.flatten(1).cpu())
    if not parts:
        raise UsageError("the loader gave no batch, but must give at least one")
    return torch.cat(parts)


def device_of(part: object) -> torch.device | None:
    """Where a module's weights are; None for what has none."""
    parameters = part.parameters() if isinstance(part, nn.Module) else iter(())
    return next((tensor.device for tensor in parameters), None)


def read_rows(path: Path) -> Tensor:
    """The numbers (N, D), float32, in a file: .csv (a first line of names is passed over), .npy, .npz or .safetensors.

    An .npz or .safetensors file holds one two-dimensional array, or one called `latents`. Nothing is unpickled.

    Raises:
        UsageError: the file is missing, of another kind, damaged, or holds other things; it is named.
    """
    readers = {".csv": _read_csv, ".npy": _read_npy, ".npz": _read_npz, ".safetensors": _read_safetensors}
    if path.suffix.lower() not in readers:
        raise UsageError(f"{path} ends in {path.suffix!r}, but must be one of {', '.join(readers)}")
    if not path.is_file():
        raise UsageError(f"{path} does not exist, but must be a file of latents")
    try:
        rows = readers[path.suffix.lower()](path)
    except UsageError:
        raise
    except Exception as error:  # the decoders raise almost anything on a damaged file
        raise UsageError(f"{path} cannot be read as a file of numbers: {error}") from error
    if rows.ndim != 2 or 0 in rows.shape:
        raise UsageError(f"{path} holds an array of shape {tuple(rows.shape)}, but must hold (N, D)")
    if rows.is_complex():
        raise UsageError(f"{path} holds complex numbers, but must hold real ones")
    rows = rows.float()
    check_finite(rows, str(path))
    return rows


def _read_csv(path: Path) -> Tensor:
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = [(number, line) for number, line in enumerate(csv.reader(file), 1) if line]
    width = len(lines[0][1]) if lines else 0
    if lines and not any(_is_number(text) for text in lines[0][1]):
        lines = lines[1:]
    if not lines:
        raise UsageError(f"{path} has no line of numbers")
    for number, line in lines:
        if len(line) != width:
            raise UsageError(f"{path} has {len(line)} columns in line {number}, but {width} in the lines before")
        wrong = next((text for text in line if not _is_number(text)), None)
        if wrong is not None:
            raise UsageError(f"{path} has {wrong!r} in line {number}, but must have numbers only")
    return torch.tensor([[float(text) for text in line] for _, line in lines], dtype=torch.float64)


def _is_number(text: str) -> bool:
    try:
        return "_" not in text and (not math.isnan(float(text)) or text.strip().lower() == "nan")
    except ValueError:
        return False


def _read_npy(path: Path) -> Tensor:
    return torch.from_numpy(np.load(path, allow_pickle=False))


def _read_npz(path: Path) -> Tensor:
    with np.load(path, allow_pickle=False) as arrays:
        return torch.from_numpy(arrays[_only(list(arrays.files), path)])


def _read_safetensors(path: Path) -> Tensor:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as arrays:
        return arrays.get_tensor(_only(list(arrays.keys()), path))


def _only(names: list[str], path: Path) -> str:
    if "latents" in names:
        return "latents"
    if len(names) != 1:
        raise UsageError(
            f"{path} holds {', '.join(names) or 'nothing'}, but must hold one array, or one called latents"
        )
    return names[0]
