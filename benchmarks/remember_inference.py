r"""What a task costs: its extracted network beside the whole one, in time, multiply-accumulates and memory.

    python benchmarks/remember_inference.py [--net resnet-32] [--size 32] [--batch 16] [--tasks 3] [--threads 1] \
        [--width 16] [--multiple 1]

Times are medians of runs in turns, as ratios to the network at full width. Memory is in numbers (float32: times 4 bytes), beside one
full copy of the network for each task.
"""

from __future__ import annotations

import argparse

import torch

from tenfold.core.cost import alternating_seconds
from tenfold.nets import build_net
from tenfold.remember import EntropyIndex, StackNet


def main() -> None:
    """Print one line for each task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="resnet-32")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--tasks", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--multiple", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    model = build_net(given.net, classes=10, width=given.width).eval()
    stack = StackNet(model, first=1 / given.tasks, index=EntropyIndex(), multiple=given.multiple)
    for number in range(given.tasks):
        stack.add_task(f"task {number + 1}", num_classes=10)
    stack.finish_task(stack.tasks[-1])
    stack.eval()
    images = torch.randn(given.batch, 3, given.size, given.size)
    small = [stack.extract(name) for name in stack.tasks]
    seconds = alternating_seconds([model, *small], images, repeats=given.repeats)
    capacity = stack.capacity(example=images)
    assert capacity.model_macs is not None
    print(
        f"{given.net}, {given.size} pixels, batch {given.batch}, {given.threads} thread(s): {1000 * seconds[0]:.1f} ms whole\n"
    )
    print(f"{'':8} {'time':>6} {'MACs':>6} {'own numbers':>12} {'kept so far':>12} {'copies so far':>14}")
    kept = 0
    for place, (use, taken) in enumerate(zip(capacity.tasks, seconds[1:], strict=True), 1):
        kept += use.own
        macs = (use.macs or 0) / capacity.model_macs
        copies = place * capacity.model
        print(f"{use.name:8} {taken / seconds[0]:6.2f} {macs:6.2f} {use.own:12,} {kept:12,} {copies:14,}")
    print(f"\nall tasks: {kept / (len(capacity.tasks) * capacity.model):.2f} of a full copy for each task")


if __name__ == "__main__":
    main()
