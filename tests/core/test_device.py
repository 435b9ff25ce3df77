"""Two processes with half the batch each compute what one process computes with all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tenfold.core.config import ComputeConfig
from tenfold.core.device import (
    Fabric,
    SyncedBatchNorm1d,
    SyncedBatchNorm2d,
    in_memory_order,
    launch,
    make_fabric,
    sync_batch_norms,
    total,
)
from tenfold.core.errors import UsageError

CPU = ComputeConfig(device="cpu")
PAIR = ComputeConfig(device="cpu", processes=2)


@dataclass(frozen=True)
class Task:
    """A frozen dataclass, as every method's settings are, with what both processes start from."""

    images: Tensor
    weights: Tensor
    rows: tuple[int, int]
    """images of the first process and of the second"""
    marks: Tensor = field(default_factory=lambda: torch.zeros(2))


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3),
        nn.Flatten(),
        nn.Linear(64, 6),
        nn.BatchNorm1d(6, momentum=None),
    )


def normalise(fabric: Fabric, task: Task) -> dict[str, Tensor]:
    """One pass, forward and back, through batch normalisation; each process has its rows of the images."""
    norm = sync_batch_norms(nn.BatchNorm2d(3))
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
    first = task.rows[0]
    mine = slice(first) if fabric.global_rank == 0 else slice(first, None)
    images = (task.images if fabric.world_size == 1 else task.images[mine]).clone().requires_grad_()
    weights = task.weights if fabric.world_size == 1 else task.weights[mine]
    output = norm(images)
    (output * weights).sum().backward()
    assert images.grad is not None
    return {
        "output": gathered(fabric, output.detach(), len(task.images), first),
        "input gradient": gathered(fabric, images.grad, len(task.images), first),
        "weight gradient": total(fabric, norm.weight.grad),
        "mean": norm.running_mean,
        "variance": norm.running_var,
        "count": norm.num_batches_tracked,
    }


def gathered(fabric: Fabric, rows: Tensor, count: int, first: int) -> Tensor:
    """The rows of all processes below each other."""
    everything = rows.new_zeros(count, *rows.shape[1:])
    start = 0 if fabric.global_rank == 0 else first
    everything[start : start + len(rows)] = rows
    return total(fabric, everything)


def train(fabric: Fabric, task: Task) -> dict[str, Tensor]:
    """Five steps of SGD on the mean loss, as a method would write them."""
    network = sync_batch_norms(small_network())
    model, optimizer = fabric.setup(network, torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9))
    mine = slice(fabric.global_rank, None, fabric.world_size)
    for _ in range(5):
        optimizer.zero_grad()
        loss = (model(task.images[mine]) - task.weights[mine].flatten(1)[:, :6]).square().mean()
        fabric.backward(loss)
        optimizer.step()
    return dict(network.state_dict())


def both(fabric: Fabric, tasks: list[Task]) -> dict[str, Any]:
    """All that two processes are asked for, in one start of them; the result is larger than a pipe holds."""
    task = tasks[0]
    task.marks[fabric.global_rank] = 1.0  # a process that changes its arguments must not change another's
    fabric.barrier()
    return {
        "rank": fabric.global_rank,
        "world": fabric.world_size,
        "threads": torch.get_num_threads(),
        "marks": task.marks,
        "normalised": [normalise(fabric, task) for task in tasks],
        "trained": train(fabric, task),
        "large": bytes(1_000_000),
        "sum": total(fabric, torch.tensor([fabric.global_rank + 1, 10])),
    }


def refuse_in_the_second(fabric: Fabric) -> None:
    if fabric.global_rank == 1:
        raise UsageError("data.root is 'x', but must be a folder")
    fabric.barrier()


def rank_and_world(fabric: Fabric, factor: int) -> int:
    return factor * int(total(fabric, torch.tensor(1)))


def task(rows: tuple[int, int], *, mean: float = 0.0) -> Task:
    torch.manual_seed(1)
    images = torch.randn(sum(rows), 3, 8, 8) + mean
    return Task(images, torch.randn(sum(rows), 3, 8, 8), rows)


def test_two_processes_compute_what_one_does() -> None:
    # the second: unequal shares; the third: a mean a thousand times the deviation, where E[x^2] - E[x]^2 would lose it
    tasks = [task((4, 4)), task((5, 2)), task((2, 4), mean=1000.0)]
    found = launch(both, PAIR, tasks)
    assert (found["rank"], found["world"], len(found["large"])) == (0, 2, 1_000_000)
    assert found["threads"] == max(1, torch.get_num_threads() // 2)
    assert found["marks"].tolist() == [1, 0]
    assert found["sum"].tolist() == [3, 20]
    fabric = make_fabric(CPU)
    for given, result in zip(tasks, found["normalised"], strict=True):
        large_mean = float(given.images.mean()) > 100
        for name, expected in normalise(fabric, given).items():
            torch.testing.assert_close(result[name], expected, atol=5e-3 if large_mean else 1e-5, rtol=1e-5, msg=name)
    for name, expected in train(fabric, tasks[0]).items():
        torch.testing.assert_close(found["trained"][name], expected, atol=1e-5, rtol=1e-5, msg=name)


def test_the_sentence_of_a_new_process_reaches_the_caller() -> None:
    with pytest.raises(UsageError, match=r"^data\.root is 'x', but must be a folder$"):
        launch(refuse_in_the_second, PAIR)


def test_under_torchrun_its_processes_are_used(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("""
import sys
from pathlib import Path
import torch
from tenfold.core.config import ComputeConfig
from tenfold.core.device import launch, total

def count(fabric, folder):
    found = int(total(fabric, torch.tensor(1)))
    Path(folder, str(fabric.global_rank)).write_text(str(found))

launch(count, ComputeConfig(device="cpu", processes=7), sys.argv[1])
""")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [*command, str(script), str(tmp_path)],
        check=True,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (tmp_path / "0").read_text() == (tmp_path / "1").read_text() == "2"


def test_one_process_is_this_one() -> None:
    assert launch(rank_and_world, CPU, 5) == 5
    values = torch.tensor([1.0, 2.0])
    assert torch.equal(total(make_fabric(CPU), values), values)


def test_a_single_process_normalises_as_the_parent_does() -> None:
    plain, synced = small_network(), sync_batch_norms(small_network())
    images = torch.randn(4, 3, 8, 8)
    for _ in range(2):
        assert torch.equal(plain(images), synced(images))
    assert torch.equal(plain.eval()(images), synced.eval()(images))


def test_layers_are_replaced_in_place_with_the_same_state() -> None:
    network = nn.ModuleDict({"net": small_network(), "norm": nn.BatchNorm2d(2)})
    parameters, before = list(network.parameters()), list(network.state_dict())
    assert sync_batch_norms(network) is network
    assert all(a is b for a, b in zip(network.parameters(), parameters, strict=True))
    assert list(network.state_dict()) == before
    assert type(network["norm"]) is SyncedBatchNorm2d
    assert type(network["net"][6]) is SyncedBatchNorm1d
    assert type(sync_batch_norms(nn.BatchNorm2d(1))) is SyncedBatchNorm2d


def test_precision_is_that_of_the_setting() -> None:
    fabric = make_fabric(ComputeConfig(device="cpu", precision="bf16"))
    model = fabric.setup(nn.Linear(2, 2))
    with fabric.autocast():
        assert torch.mm(torch.ones(1, 2), torch.ones(2, 1)).dtype == torch.bfloat16
    assert next(model.parameters()).dtype == torch.float32


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (ComputeConfig(device="cuda"), "compute.device is 'cuda', but there is no GPU"),
        (ComputeConfig(precision="fp16"), "compute.precision is 'fp16', but without a GPU"),
        (ComputeConfig(device="cuda", processes=2), "compute.device is 'cuda', but there is no GPU"),
    ],
)
def test_a_missing_gpu_is_one_sentence(compute: ComputeConfig, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        launch(rank_and_world, compute, 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_auto_takes_the_gpu() -> None:
    assert make_fabric(ComputeConfig()).device.type == "cuda"
    assert make_fabric(CPU).device.type == "cpu"


def test_memory_order_is_what_the_settings_say() -> None:
    convolution = nn.Conv2d(4, 4, 3)
    assert in_memory_order(convolution, ComputeConfig()) is convolution
    assert convolution.weight.is_contiguous()
    assert in_memory_order(convolution, ComputeConfig(channels_last=True)) is convolution
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
