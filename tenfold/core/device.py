"""Devices, precision and processes. The only module that knows lightning-fabric; every training loop stays ours."""

from __future__ import annotations

import copy
import logging
import multiprocessing
import os
import warnings
from collections.abc import Callable
from typing import Any, Literal, TypeVar, cast

import torch
import torch.distributed as dist
from lightning_fabric import Fabric as Fabric
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessContext, ProcessException, start_processes

from .config import ComputeConfig
from .errors import UsageError
from .pointwise import guard_pointwise
from .processes import no_process_left, variables_for_children

R = TypeVar("R")
M = TypeVar("M", bound=nn.Module)

_PRECISION: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "float32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}


def make_fabric(compute: ComputeConfig) -> Fabric:
    """A fabric of this process alone, on the device and in the precision that were asked for.

    Raises:
        UsageError: a GPU is asked for, or needed by the precision, and there is none.
    """
    return _fabric(compute, devices=1)


def launch(function: Callable[..., R], compute: ComputeConfig, *args: Any) -> R:
    """Call `function(fabric, *args)` in every data-parallel process and return what the first process returns.

    The processes are those that torchrun started, if it did; else this one if `compute.processes` is 1; else new ones,
    which share the CPU threads of this one. New ones import `function` by its name and get copies of `args`: what they
    change is lost, and results come back only as the returned value, with its tensors on the CPU.

    Raises:
        UsageError: there are fewer GPUs than processes, or one of the processes raised it.
        torch.multiprocessing.ProcessRaisedException: a new process raised anything else; its traceback is the message.
    """
    if _torchrun_started_us():
        return _join(function, compute, args)
    if compute.processes == 1:
        return function(make_fabric(compute), *args)
    return _spawn(function, compute, args)


def total(fabric: Fabric, values: Tensor) -> Tensor:
    """`values`, of a shape that all processes share, summed over the processes. The given tensor is left as it is."""
    return fabric.all_reduce(values.clone(), reduce_op="sum")  # type: ignore[return-value]


class _OverAllProcesses(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation by the statistics of all processes' batches together; its state dict is the parent's.

    In evaluation, and in a single process, it is its parent. Shapes: N batch, C channels, * any. It works on CPUs
    (gloo), where `nn.SyncBatchNorm` does not. Every process has to call it equally often.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the parent's name
        """Normalise `input`, of shape (N, C, *), N perhaps different on every process; the output has its type."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        count, mean, variance = _statistics_of_all(values)
        if self.track_running_stats:
            self._track(count, mean.detach(), variance.detach())
        shape = (1, -1) + (1,) * (input.ndim - 2)
        output = (values - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            output = output * self.weight.view(shape)
            output = output if self.bias is None else output + self.bias.view(shape)
        return output.to(input.dtype)

    @torch.no_grad()
    def _track(self, count: Tensor, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards those of this batch, as the parent does: with the unbiased variance."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased = variance * (count / (count - 1).clamp(min=1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


class SyncedBatchNorm1d(_OverAllProcesses, nn.BatchNorm1d):
    """`nn.BatchNorm1d` over the batches of all processes. Shapes: (N, C) or (N, C, L)."""


class SyncedBatchNorm2d(_OverAllProcesses, nn.BatchNorm2d):
    """`nn.BatchNorm2d` over the batches of all processes. Shapes: (N, C, H, W)."""


_SYNCED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: SyncedBatchNorm1d,
    nn.BatchNorm2d: SyncedBatchNorm2d,
}


def in_memory_order(module: M, compute: ComputeConfig) -> M:
    """Put a module's convolutions into channels-last memory order, in place, where the settings say so.

    Returns:
        The same module.
    """
    if not compute.channels_last:
        return module
    # Module.to has no annotation for a memory format alone
    return guard_pointwise(module).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def sync_batch_norms(module: M) -> M:
    """Make every `nn.BatchNorm1d` and `nn.BatchNorm2d` in `module` take its statistics over all processes, in place.

    Subclasses keep their own forward pass and so their own process's statistics.

    Returns:
        The same module, with the same parameters, buffers, hooks and state-dict keys.
    """
    for part in module.modules():
        # a change of class, not of object: whoever already holds this layer or its parameters keeps the right ones
        part.__class__ = _SYNCED.get(type(part), type(part))
    return module


def _statistics_of_all(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count, and per channel mean and biased variance, of `values` (N, C, *) over all processes; differentiable."""
    axes = [0, *range(2, values.ndim)]
    count = values.new_tensor([values.numel() // values.shape[1]])
    mean = values.sum(axes) / count.clamp(min=1)
    squares = (values - mean.view(1, -1, *[1] * (values.ndim - 2))).square().sum(axes)
    own = torch.cat([count, mean, squares])
    # each process fills its own row, so that the sum over processes is the table of all
    here = torch.arange(dist.get_world_size(), device=own.device) == dist.get_rank()
    table: Tensor = _SumOverProcesses.apply(here[:, None] * own)  # type: ignore[no-untyped-call]
    counts, means, squares = torch.split(table, [1, mean.numel(), mean.numel()], dim=1)
    everything = counts.sum()
    mean = (counts * means).sum(0) / everything
    # Chan et al. 1983: squares about the common mean from those about each process's own, without cancellation
    variance = (squares + counts * (means - mean).square()).sum(0) / everything
    return everything, mean, variance


class _SumOverProcesses(torch.autograd.Function):
    """Sum of a tensor over all processes. Every process's loss depends on it, so gradients are summed likewise."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _SumOverProcesses.forward(ctx, gradient)


def _fabric(compute: ComputeConfig, *, devices: int, **rest: Any) -> Fabric:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "GPU available but not used")  # who asks for the CPU has decided
        accelerator = _accelerator(compute, devices=devices)
        return Fabric(accelerator=accelerator, devices=devices, precision=_PRECISION[compute.precision], **rest)


def _accelerator(compute: ComputeConfig, *, devices: int) -> Literal["cpu", "cuda"]:
    """Where to compute with so many processes on this machine, after it was found possible."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if compute.device == "cpu" or (compute.device == "auto" and gpus == 0):
        if compute.precision == "fp16":
            raise UsageError("compute.precision is 'fp16', but without a GPU it must be float32 or bf16")
        return "cpu"
    if gpus == 0:
        raise UsageError("compute.device is 'cuda', but there is no GPU: it must be cpu or auto")
    if gpus < devices:
        raise UsageError(f"compute.processes is {devices}, but must be at most {gpus}: one for each GPU")
    return "cuda"


def _torchrun_started_us() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ or {"LOCAL_RANK", "WORLD_SIZE"} <= os.environ.keys()


def _join(function: Callable[..., R], compute: ComputeConfig, args: tuple[Any, ...]) -> R:
    """Call `function` as one of the processes that the variables torchrun sets (RANK, WORLD_SIZE, ...) speak of."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces every process in a banner
    here = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
    fabric = _fabric(
        compute,
        devices=here,
        num_nodes=int(os.environ["WORLD_SIZE"]) // here,
        strategy=DDPStrategy(find_unused_parameters=True),
        plugins=[TorchElasticEnvironment()],
    )
    fabric.launch()
    result = function(fabric, *args)
    dist.destroy_process_group()
    return result


def _spawn(function: Callable[..., R], compute: ComputeConfig, args: tuple[Any, ...]) -> R:
    """Call `function` in `compute.processes` new processes on this machine."""
    # Fabric's own spawning refuses frozen dataclasses as arguments and stalls on large results. Spawned, not forked:
    # a fork would inherit the locks of torch's threads and a CUDA that cannot be used.
    _accelerator(compute, devices=compute.processes)  # too few GPUs is said here, once
    # this process keeps the meeting point, so that its port cannot be taken by another between choice and use
    meeting = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    spawning = multiprocessing.get_context("spawn")
    sentences = spawning.SimpleQueue()
    receiver, sender = spawning.Pipe()
    with no_process_left():
        with variables_for_children(threads=max(1, torch.get_num_threads() // compute.processes)):
            processes = start_processes(
                _child,
                args=(function, compute, args, meeting.port, sentences, sender),
                nprocs=compute.processes,
                join=False,
            )
        try:
            return cast(R, _await(processes, receiver))
        except ProcessException:
            if sentences.empty():
                raise
            raise UsageError(sentences.get()) from None


def _child(
    rank: int,
    function: Callable[..., Any],
    compute: ComputeConfig,
    args: tuple[Any, ...],
    port: int,
    sentences: Any,
    sender: Any,
) -> None:
    count = str(compute.processes)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    try:
        # torch passes tensors to processes as shared memory: without a copy they would all train the same one
        result = _join(function, compute, copy.deepcopy(args))
    except UsageError as error:
        sentences.put(str(error))
        raise
    if rank == 0:
        sender.send(result)
        sender.recv()  # shared memory in the result lasts as long as this process: stay until it was taken


def _await(processes: ProcessContext, receiver: Any) -> Any:
    """The result of the first process, once all have ended."""
    results: list[Any] = []
    ended = False
    while not ended:
        ended = processes.join(timeout=0.1)
        if not results and receiver.poll():
            results.append(receiver.recv())
            receiver.send("taken")
    if not results:
        raise RuntimeError("the processes ended without a result: they were interrupted")
    return results[0]
