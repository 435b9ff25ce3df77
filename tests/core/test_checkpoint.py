"""Checkpoints come back exactly, damaged ones are named, and a killed process never leaves half of one."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tenfold.core.checkpoint import load_state, load_weights, save_state, save_weights
from tenfold.core.errors import UsageError

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]


def same(left: Any, right: Any) -> bool:
    """Equal in type and value at every depth, with nan equal to nan."""
    if isinstance(left, Mapping):
        return list(left) == list(right) and all(
            type(a) is type(b) and same(left[a], right[b]) for a, b in zip(left, right, strict=True)
        )
    if isinstance(left, list | tuple):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and left.shape == right.shape and torch.equal(left, right)
    if isinstance(left, np.ndarray):
        return isinstance(right, np.ndarray) and left.dtype == right.dtype and np.array_equal(left, right)
    if isinstance(left, float | np.floating) and math.isnan(left):
        return type(left) is type(right) and math.isnan(right)
    return type(left) is type(right) and left == right


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    values = torch.arange(math.prod(shape)).reshape(shape).to(draw(st.sampled_from(DTYPES)))
    return values.transpose(0, -1) if len(shape) > 1 and draw(st.booleans()) else values


@st.composite
def numpy_numbers(draw: st.DrawFn) -> np.generic:
    kind = draw(st.sampled_from([np.float32, np.float64, np.float16, np.int64, np.uint8, np.bool_]))
    return kind(draw(st.integers(0, 100)))


keys = st.text(max_size=4) | st.integers() | st.sampled_from(["$tensor", "$dict", "1", "a.b"])
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | tensors() | numpy_numbers()
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)


@given(state=st.dictionaries(keys, values, max_size=4))
@settings(max_examples=100, deadline=None)
def test_every_state_comes_back_as_it_was(state: dict[Any, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        save_state(Path(folder), state)
        assert same(load_state(Path(folder)), state)


def test_arrays_and_tensors_of_every_memory_order_come_back(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    state = {
        "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "strided": torch.arange(10)[::3],
        "whole": shared,
        "part": shared[2:4],
        "expanded": torch.tensor([1.0]).expand(4),
        "with gradient": nn.Parameter(torch.ones(2)),
        "array": np.arange(6, dtype=np.uint32).reshape(2, 3).T,
        "number as array": np.array(2.5),
        "generator": np.random.Generator(np.random.MT19937(1)).bit_generator.state,
    }
    save_state(tmp_path, state)
    assert same(load_state(tmp_path), state | {"with gradient": torch.ones(2)})


def test_loaded_tensors_share_no_memory(tmp_path: Path) -> None:
    shared = torch.zeros(3)
    save_state(tmp_path, {"a": shared, "b": shared})
    loaded = load_state(tmp_path)
    loaded["a"] += 1
    assert loaded["b"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_an_optimizer_goes_on_as_if_never_interrupted(tmp_path: Path, kind: type[torch.optim.Optimizer]) -> None:
    def step(weight: nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()

    weight = nn.Parameter(torch.ones(3))
    optimizer = kind([{"params": [weight], "lr": 0.1, **({"momentum": 0.9} if kind is torch.optim.SGD else {})}])
    step(weight, optimizer)
    save_state(tmp_path, {"weight": weight, "optimizer": optimizer.state_dict()})
    saved = load_state(tmp_path)
    assert same(saved["optimizer"], optimizer.state_dict())

    other = nn.Parameter(saved["weight"])
    resumed = kind([{"params": [other]}], lr=1.0)
    resumed.load_state_dict(saved["optimizer"])
    step(weight, optimizer)
    step(other, resumed)
    assert torch.equal(weight, other)


def test_a_save_replaces_the_one_before_and_leaves_one_tensor_file(tmp_path: Path) -> None:
    for number in range(3):
        save_state(tmp_path, {"number": number, "tensor": torch.tensor(number)})
    assert load_state(tmp_path) == {"number": 2, "tensor": torch.tensor(2)}
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("state", "message"),
    [({"a": [object()]}, "state.'a'.0 is of type object"), ({"a": {1.5: 0}}, "state.'a' has the key 1.5")],
)
def test_what_a_checkpoint_cannot_hold_is_named_and_the_old_state_stays(
    tmp_path: Path, state: dict[str, Any], message: str
) -> None:
    save_state(tmp_path, {"old": 1})
    with pytest.raises(TypeError, match=message.replace("'", ".")):
        save_state(tmp_path, state)
    assert load_state(tmp_path) == {"old": 1}


def damage(folder: Path, how: str) -> Path:
    """Harm the state in `folder`; the file that the error has to name."""
    index, file = folder / "state.json", next(folder.glob("*.safetensors"))
    data = file.read_bytes()
    if how == "no index":
        index.unlink()
        return index
    if how == "index cut short":
        index.write_bytes(index.read_bytes()[:-5])
        return index
    if how == "unknown kind":
        index.write_text(json.dumps(json.loads(index.read_text()) | {"state": {"$pickle": "x"}}))
        return index
    if how == "not an index":
        index.write_text("[]")
        return index
    if how == "newer format":
        index.write_text(index.read_text().replace('"format": 1', '"format": 99'))
        return index
    if how == "path outside":
        index.write_text(index.read_text().replace(file.name, f"../{file.name}"))
        return index
    if how == "no tensors":
        file.unlink()
    elif how == "tensors cut short":
        file.write_bytes(data[:-1])
    elif how == "flipped bit":
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    return file


@pytest.mark.parametrize(
    "how",
    [
        "no index",
        "index cut short",
        "unknown kind",
        "not an index",
        "newer format",
        "path outside",
        "no tensors",
        "tensors cut short",
        "flipped bit",
    ],
)
def test_damage_is_one_sentence_that_names_the_file(tmp_path: Path, how: str) -> None:
    save_state(tmp_path, {"tensor": torch.ones(4)})
    file = damage(tmp_path, how)
    with pytest.raises(UsageError) as caught:
        load_state(tmp_path)
    assert str(file) in str(caught.value)
    assert (how == "tensors cut short") == ("bytes, but" in str(caught.value))


def test_a_full_disk_leaves_the_old_state(tmp_path: Path) -> None:
    script = """
import resource, sys, torch
from pathlib import Path
from tenfold.core.checkpoint import save_state
from tenfold.core.errors import UsageError
folder = Path(sys.argv[1])
save_state(folder, {"step": 1, "tensor": torch.ones(10)})
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))  # every larger file fails as on a full disk
try:
    save_state(folder, {"step": 2, "tensor": torch.ones(10_000)})
except UsageError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert f"cannot write to {tmp_path}" in done.stdout
    assert load_state(tmp_path)["step"] == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_a_process_killed_at_any_moment_leaves_a_whole_state(tmp_path: Path) -> None:
    script = """
import itertools, os, sys, torch
from pathlib import Path
from tenfold.core.checkpoint import save_state
folder = Path(sys.argv[1])
save_state(folder, {"step": 0, "tensors": [torch.zeros(1000)] * 20})
print("ready", flush=True)
for step in itertools.count(1):
    save_state(folder, {"step": step, "tensors": [torch.full((1000,), float(step))] * 20})
"""
    # one process imports torch and forks: a fresh interpreter for every kill would take a second each
    parent = f"""
import os, sys, torch, safetensors.torch, tenfold.core.checkpoint
sys.argv = ["-", {str(tmp_path)!r}]
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        exec({script!r})
    print(child, flush=True)
    os.waitpid(child, 0)
    print("dead", flush=True)
"""
    chance = random.Random(0)
    steps = []
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(10):
            print("go", file=process.stdin, flush=True)
            said = {process.stdout.readline().strip(), process.stdout.readline().strip()}
            child = int((said - {"ready"}).pop())
            deadline = time.monotonic() + chance.uniform(0.0, 0.15)
            while time.monotonic() < deadline:
                assert consistent(load_state(tmp_path))  # a reader meanwhile
            os.kill(child, signal.SIGKILL)
            assert process.stdout.readline() == "dead\n"
            state = load_state(tmp_path)
            assert consistent(state)
            steps.append(state["step"])
        process.stdin.close()
    assert max(steps) > 0


def consistent(state: dict[str, Any]) -> bool:
    return all(bool((tensor == state["step"]).all()) for tensor in state["tensors"])


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def test_weights_come_back_with_their_header(tmp_path: Path) -> None:
    from safetensors import safe_open

    module, other = network().to(memory_format=torch.channels_last), network()
    save_weights(tmp_path / "deep" / "weights.safetensors", module, {"architecture": "small"})
    load_weights(tmp_path / "deep" / "weights.safetensors", other)
    assert same(dict(other.state_dict()), dict(module.state_dict()))
    with safe_open(tmp_path / "deep" / "weights.safetensors", "pt") as file:
        assert file.metadata() == {"architecture": "small"}


def test_tied_weights_are_saved(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[1].weight = module[0].weight
    save_weights(tmp_path / "w.safetensors", module)
    other = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    load_weights(tmp_path / "w.safetensors", other)
    assert torch.equal(other[1].weight, module[0].weight)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)), r"has 0.weight of shape \(4, 3, 3, 3\).*\(5, 3, 3, 3\)"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), r"has the weight 2\.(weight|bias)"),
        (nn.ModuleDict({"body": nn.Linear(1, 1)}), r"lacks the weight body.weight"),
    ],
)
def test_weights_that_do_not_fit_are_named_and_change_nothing(tmp_path: Path, module: nn.Module, message: str) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, network())
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(UsageError, match=rf"w\.safetensors {message}"):
        load_weights(path, module)
    assert same(dict(module.state_dict()), before)


@pytest.mark.parametrize("how", ["missing", "cut short", "folder"])
def test_an_unreadable_weights_file_is_named(tmp_path: Path, how: str) -> None:
    path = tmp_path / "w.safetensors"
    if how == "cut short":
        save_weights(path, network())
        path.write_bytes(path.read_bytes()[:-3])
    elif how == "folder":
        path.mkdir()
    with pytest.raises(UsageError, match=r"w\.safetensors"):
        load_weights(path, network())
