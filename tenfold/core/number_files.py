"""Rows of numbers from the files that people keep them in. Nothing is unpickled, and a bad file is named."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .errors import UsageError


def check_finite(rows: Tensor, what: str) -> None:
    """Raise a `UsageError` that names the first number, of rows (N, D), that is NaN or infinite."""
    bad = ~rows.isfinite()
    if bad.any():
        row, column = bad.nonzero()[0].tolist()
        value = float(rows[row, column])
        raise UsageError(f"row {row} of {what} has {value} in column {column}, but must have finite numbers only")


def read_rows(path: Path, *, array: str = "latents") -> Tensor:
    """The numbers (N, D), float32, in a file: .csv (a first line of names is passed over), .npy, .npz or .safetensors.

    An .npz or .safetensors file holds one two-dimensional array, or one called `array`. Nothing is unpickled.

    Raises:
        UsageError: the file is missing, of another kind, damaged, or holds other things; it is named.
    """
    readers = {".csv": _read_csv, ".npy": _read_npy, ".npz": _read_npz, ".safetensors": _read_safetensors}
    if path.suffix.lower() not in readers:
        raise UsageError(f"{path} ends in {path.suffix!r}, but must be one of {', '.join(readers)}")
    if not path.is_file():
        raise UsageError(f"{path} does not exist, but must be a file of {array}")
    try:
        rows = readers[path.suffix.lower()](path, array)
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


def _read_csv(path: Path, _array: str) -> Tensor:
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


def _read_npy(path: Path, _array: str) -> Tensor:
    return torch.from_numpy(np.load(path, allow_pickle=False))


def _read_npz(path: Path, array: str) -> Tensor:
    with np.load(path, allow_pickle=False) as arrays:
        return torch.from_numpy(arrays[_only(list(arrays.files), path, array)])


def _read_safetensors(path: Path, array: str) -> Tensor:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as arrays:
        return arrays.get_tensor(_only(list(arrays.keys()), path, array))


def _only(names: list[str], path: Path, array: str) -> str:
    if array in names:
        return array
    if len(names) != 1:
        raise UsageError(
            f"{path} holds {', '.join(names) or 'nothing'}, but must hold one array, or one called {array}"
        )
    return names[0]
