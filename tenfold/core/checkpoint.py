"""Checkpoints: nested state as safetensors plus JSON, whole on disk at every moment, and never pickle.

A state folder holds `state.json` (the tree, without its tensors) and the `state-<random>.safetensors` that it names
with size and checksum. Replacing `state.json` is the one moment at which the new state takes the place of the old.

torch is imported where it is used, so that reading a run folder stays instant.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_FORMAT = 1
_INDEX = "state.json"
_TENSORS = "state-*.safetensors"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write (disk full, no permission, ...) into a sentence.

    Raises:
        UsageError: names `path` and the reason.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write to {path}: {error.strerror or error}") from error


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` in the place of whatever `path` held: a reader, or a crash, meets the old bytes or the new ones.

    Raises:
        UsageError: the file cannot be written; the old one is still there.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        try:
            _write_through(part, data)
            os.replace(part, path)
            _sync_folder(path.parent)
        finally:
            part.unlink(missing_ok=True)


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Replace the state in `folder`, made if need be, by `state`; a kill at any point leaves the old or the new one.

    Args:
        state: mappings with text or whole-number keys, lists, tuples, dense tensors of any device, type and memory
            order, numpy arrays and numbers, Python numbers, text, bools and None, nested as deep as wanted.

    Raises:
        UsageError: the folder cannot be written, e.g. the disk is full; the old state is still there.
        TypeError: `state` holds something else; the message says where.
    """
    import safetensors.torch

    tensors: dict[str, Tensor] = {}
    tree = _encode(state, "state", tensors)
    data = safetensors.torch.save(tensors)
    file = folder / _TENSORS.replace("*", secrets.token_hex(8))
    index = {
        "format": _FORMAT,
        "tensors": {"file": file.name, "bytes": len(data), "crc32": zlib.crc32(data)},
        "state": tree,
    }
    with writing(file):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            _write_through(file, data)
            replace_file(folder / _INDEX, json.dumps(index, allow_nan=False).encode())
        except BaseException:
            # the index may already name the new file when the interruption came late: then that file must stay
            if not _names(folder, file):
                file.unlink(missing_ok=True)
            raise
        for old in folder.glob(_TENSORS):
            if old != file:
                old.unlink(missing_ok=True)


def load_state(folder: Path, *, device: str | torch.device = "cpu") -> dict[str, Any]:
    """The state that `save_state` left in `folder`, with its tensors on `device`.

    Mappings come back as dicts in their order with text and whole-number keys told apart, tuples as tuples, tensors
    with value, shape and type, but contiguous and each with memory of its own. A save under way elsewhere does no harm.

    Raises:
        UsageError: nothing is saved there, or a file is missing, cut short or damaged; the message names the file.
    """
    import torch

    index = folder / _INDEX
    while True:
        text = _read(index)
        try:
            saved = json.loads(text)
            if saved["format"] != _FORMAT:
                raise UsageError(f"{index} has format {saved['format']!r}, but this version reads format {_FORMAT}")
            tensors = _read_tensors(folder, saved["tensors"])
            state = _decode(saved["state"], {key: value.to(torch.device(device)) for key, value in tensors.items()})
        except UsageError:
            if _read(index) == text:
                raise
            continue  # a newer state took the place of the one we were reading
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            raise UsageError(f"{index} is damaged: {error!r}") from error
        if not isinstance(state, dict):
            raise UsageError(f"{index} is damaged: it holds no mapping")
        return state


def save_weights(path: Path, module: nn.Module, about: Mapping[str, str] | None = None) -> None:
    """Write the parameters and buffers of `module` to a plain .safetensors file, whole or not at all.

    Args:
        about: short texts to keep in the file's header, such as the name of the architecture.

    Raises:
        UsageError: the file cannot be written.
    """
    import safetensors.torch

    weights = {name: _plain_copy(tensor) for name, tensor in module.state_dict().items()}
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, safetensors.torch.save(weights, dict(about or {})))


def load_weights(path: Path, module: nn.Module) -> None:
    """Fill `module` from a .safetensors file that has exactly its keys and shapes; the module keeps device and type.

    BatchNorm's `num_batches_tracked` alone may be missing; the module then keeps its own.

    Raises:
        UsageError: the file is missing or damaged, or a key or shape differs (the first one is named); the module
            is then unchanged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        weights = load(_read(path))
    except (SafetensorError, ValueError) as error:
        raise UsageError(f"{path} is not a whole safetensors file: {error}") from error
    expected = module.state_dict()
    for name, tensor in expected.items():
        if name not in weights and name.endswith("num_batches_tracked"):
            weights[name] = tensor  # BatchNorm's step counter: many published files leave it out, and results need none
        if name not in weights:
            raise UsageError(f"{path} lacks the weight {name}, which {type(module).__name__} needs")
        if weights[name].shape != tensor.shape:
            given, allowed = tuple(weights[name].shape), tuple(tensor.shape)
            raise UsageError(f"{path} has {name} of shape {given}, but {type(module).__name__} needs {allowed}")
    unknown = next((name for name in weights if name not in expected), None)
    if unknown is not None:
        raise UsageError(f"{path} has the weight {unknown}, which {type(module).__name__} does not have")
    module.load_state_dict(weights)


def _encode(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON; what JSON cannot say becomes {"$kind": ...}, and each tensor moves to `tensors`."""
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        tensors[where] = _plain_copy(value)
        return {"$tensor": where}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        # ascontiguousarray would turn a 0-dimensional array into a vector
        tensors[where] = torch.from_numpy(value.copy(order="C"))
        return {"$array": where}
    if isinstance(value, np.generic) and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
        return {"$numpy": [value.dtype.name, _encode(value.item(), where, tensors)]}
    if isinstance(value, Mapping):
        return _encode_mapping(value, where, tensors)
    if isinstance(value, list | tuple):
        items = [_encode(item, f"{where}.{place}", tensors) for place, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if type(value) is float and not math.isfinite(value):
        return {"$float": repr(value)}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"{where} is of type {type(value).__name__}, which a checkpoint cannot hold")


def _encode_mapping(value: Mapping[Any, Any], where: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    for key in value:
        if type(key) not in (str, int):
            raise TypeError(f"{where} has the key {key!r}, but a checkpoint holds only text and whole numbers as keys")
    # !r keeps apart the names below the keys 1 and "1", and below "a.b" and "a" then "b"
    pairs = [(key, _encode(item, f"{where}.{key!r}", tensors)) for key, item in value.items()]
    if all(isinstance(key, str) and not key.startswith("$") for key, _ in pairs):
        return dict(pairs)
    return {"$dict": [list(pair) for pair in pairs]}


def _decode(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `_encode`."""
    if isinstance(tree, list):
        return [_decode(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) != 1 or not next(iter(tree)).startswith("$"):
        return {key: _decode(item, tensors) for key, item in tree.items()}
    ((kind, body),) = tree.items()
    match kind:
        case "$tensor":
            return tensors[body]
        case "$array":
            return tensors[body].cpu().numpy()
        case "$numpy":
            return _numpy_number(body[0], _decode(body[1], tensors))
        case "$tuple":
            return tuple(_decode(item, tensors) for item in body)
        case "$float":
            return float(body)
        case "$dict":
            return {key: _decode(item, tensors) for key, item in body}
    raise ValueError(f"unknown kind {kind}")


def _numpy_number(name: str, value: float) -> Any:
    import numpy as np

    return np.dtype(name).type(value)


def _plain_copy(tensor: Tensor) -> Tensor:
    """A contiguous copy on the CPU: safetensors refuses tensors that share memory or skip through it."""
    import torch

    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _read_tensors(folder: Path, entry: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of the file that an index entry names, after its size and checksum were found right."""
    from safetensors.torch import load

    if Path(entry["file"]).name != entry["file"]:
        raise ValueError(f"{entry['file']} lies outside the folder")
    file = folder / entry["file"]
    data = _read(file)
    if len(data) != entry["bytes"]:
        raise UsageError(f"{file} is damaged: it has {len(data)} bytes, but {entry['bytes']} were saved")
    if zlib.crc32(data) != entry["crc32"]:
        raise UsageError(f"{file} is damaged: its checksum is not the one that was saved")
    return load(data)


def _names(folder: Path, file: Path) -> bool:
    """Whether the index of `folder` names `file` as its tensor file."""
    index = folder / _INDEX
    return index.is_file() and bool(json.loads(index.read_bytes())["tensors"]["file"] == file.name)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _write_through(path: Path, data: bytes) -> None:
    """Write `data` and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in `folder`, where the system can do that."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
