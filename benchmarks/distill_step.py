"""Time and peak memory of a distillation step over those of its parts, and over a direct transcription of the formula.

    python benchmarks/distill_step.py [--teacher wrn-28-4 --student wrn-16-2 --size 32 --batch 128] [--device cpu]

    student     one step of the student alone (forward, cross-entropy, backward)
    teacher     one forward pass of the teacher, normalising by the batch
    parts       both; the memory is the sum of both
    distiller   one step with `FeatureDistiller`
    formula     the same step with the loss written as in the paper, term by term

All are timed in turns in one loop, so that a busy machine slows all. Peak memory is what tensors hold at most beyond what the
networks hold, from the allocator's records. Times are never asserted.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from tenfold.distill import FeatureDistiller
from tenfold.distill.teacher import teaching
from tenfold.nets import build_net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="wrn-28-4", help="a network of tenfold.nets")
    parser.add_argument("--student", default="wrn-16-2", help="a network of tenfold.nets")
    parser.add_argument("--size", type=int, default=32, help="pictures are size x size")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--channels-last", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    order = torch.channels_last if options.channels_last else torch.contiguous_format
    teacher, student = (
        build_net(name, classes=options.classes).to(options.device, memory_format=order)
        for name in (options.teacher, options.student)
    )
    images = torch.randn(options.batch, 3, options.size, options.size, device=options.device)
    images = images.contiguous(memory_format=order)
    labels = torch.randint(options.classes, (options.batch,), device=options.device)
    distiller = FeatureDistiller(teacher.eval(), student, example=images[:2]).to(memory_format=order).train()
    distiller.balance.steps = 1  # the measurement of the gradients, once in 50 steps, is timed apart
    steps = {
        "student": lambda: learn(student, images, labels),
        "teacher": lambda: teach(teacher, images),
        "distiller": lambda: distill(distiller, images, labels),
        "formula": lambda: formula(distiller, images, labels),
        "measuring": lambda: measuring(distiller, images, labels),
    }
    times = timed(steps, options.rounds)
    peaks = {name: peak_bytes(step, distiller) for name, step in steps.items()}
    times["parts"] = [one + other for one, other in zip(times["student"], times["teacher"], strict=True)]
    peaks["parts"] = peaks["student"] + peaks["teacher"]
    print(
        f"{options.teacher} into {options.student}, batch {options.batch}, {options.size} x {options.size}, "
        f"{options.device}, {options.threads} threads, channels_last {options.channels_last}, torch {torch.__version__}"
    )
    print("| step | time | over parts | peak memory | over parts |")
    print("|---|---|---|---|---|")
    for name in ("student", "teacher", "parts", "distiller", "formula", "measuring"):
        ratio = statistics.median(one / base for one, base in zip(times[name], times["parts"], strict=True))
        print(
            f"| {name} | {1000 * statistics.median(times[name]):.1f} ms | {ratio:.3f} "
            f"| {peaks[name] / 2**20:.1f} MiB | {peaks[name] / peaks['parts']:.3f} |"
        )


def learn(student: nn.Module, images: Tensor, labels: Tensor) -> None:
    student.zero_grad(set_to_none=True)
    F.cross_entropy(student(images), labels).backward()


def teach(teacher: nn.Module, images: Tensor) -> None:
    with teaching(teacher, "batch"):
        teacher(images)


def distill(distiller: FeatureDistiller, images: Tensor, labels: Tensor) -> None:
    distiller.zero_grad(set_to_none=True)
    distiller.balance.steps = 1
    distiller(images, labels).total.backward()


def measuring(distiller: FeatureDistiller, images: Tensor, labels: Tensor) -> None:
    """The one step in 50 that also measures the gradients of both losses."""
    distiller.zero_grad(set_to_none=True)
    distiller.balance.steps = 0
    distiller(images, labels).total.backward()


def formula(distiller: FeatureDistiller, images: Tensor, labels: Tensor) -> None:
    """The loss as it is printed, left to autograd."""
    distiller.zero_grad(set_to_none=True)
    with distiller.reading() as seen:
        logits = distiller.student(images)
    loss = F.cross_entropy(logits, labels)
    targets = distiller._taught(images)
    parts = zip(seen.tensors, targets, distiller.connectors, distiller.margins, distiller.positions, strict=True)
    for features, target, connector, margin, pair in parts:
        taught = torch.max(target, margin.margin.view(1, -1, 1, 1))
        learned = connector(features)
        mask = ((learned > taught) | (taught > 0)).float()
        distance = (mask * (learned - taught) ** 2).sum()
        loss = loss + distiller.alpha / len(images) * pair.weight * distance
    loss.backward()


def timed(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each step in every round, one after another within a round."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            _wait()
            start = time.perf_counter()
            step()
            _wait()
            if number:  # the first round warms up
                found[name].append(time.perf_counter() - start)
    return found


def peak_bytes(step: Callable[[], None], module: nn.Module) -> int:
    """The most bytes that tensors hold at once during a step, gradients of parameters included."""
    module.zero_grad(set_to_none=True)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        step()
    events: Any = record.profiler.kineto_results.events()  # type: ignore[union-attr]
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    return max(accumulate(change for _, change in changes))


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
