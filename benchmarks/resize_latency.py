"""Wall time of a resizable network over the ungated network's, beside the ratio of executed multiply-accumulates.

    python benchmarks/resize_latency.py [--net resnet-56 --size 32] [--batch 1 16 64] [--scales 0.5 0.8] [--device cpu]

Every cell is a ratio to the unmodified network, timed in turns with it in the same loop, so that a busy machine slows both.
Gates are random and calibrated on the same random pictures: what a block costs does not depend on what it has learned.
`executed` counts what ran (torch.utils.flop_counter), gates included. Times are never asserted.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tenfold.core.cost import executed_macs
from tenfold.nets import build_net
from tenfold.resize import ResizableNet, make_resizable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="resnet-56", help="a network of tenfold.nets")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--size", type=int, default=32, help="pictures are size x size")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--scales", type=float, nargs="+", default=[0.4, 0.5, 0.65, 0.8, 1.0])
    parser.add_argument("--pictures", type=int, default=128, help="random pictures that set the dial, at least a batch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    plain = build_net(options.net, classes=10, width=options.width).to(options.device).eval()
    pictures = torch.randn(options.pictures, 3, options.size, options.size, device=options.device)
    net = varied(plain, pictures)
    print(
        f"{options.net}, {options.size} x {options.size}, {options.device}, {options.threads} threads, torch {torch.__version__}"
    )
    print("| batch | mode | scale | executed MACs | time | time / MACs |")
    print("|---|---|---|---|---|---|")
    for batch in options.batch:
        images = pictures[:batch]
        for scale in options.scales:
            for mode, run in candidates(net, pictures, scale):
                macs = executed_macs(run, images) / executed_macs(plain, images)
                took = time_ratio(
                    lambda run=run, images=images: run(images), lambda images=images: plain(images), options.rounds
                )
                print(f"| {batch} | {mode} | {scale:.2f} | {macs:.3f} | {took:.3f} | {took / macs:.2f} |", flush=True)


def varied(plain: nn.Module, pictures: Tensor) -> ResizableNet:
    """A resizable copy whose gates decide differently for different pictures, with a calibrated dial."""
    net = make_resizable(plain).to(pictures.device)
    for block in net.blocks:
        nn.init.normal_(block.gate.decide.weight, std=2.0)
    net.train()
    with torch.no_grad():
        for _ in range(8):  # the norms, of the gates above all, must have seen such pictures
            net(pictures, 0.7)
    return net.eval().calibrate(pictures)


def candidates(net: ResizableNet, pictures: Tensor, scale: float) -> list[tuple[str, Callable[[Tensor], Tensor]]]:
    return [
        ("sample", lambda images: net(images, scale, mode="sample")),
        ("batch", lambda images: net(images, scale, mode="batch")),
        ("frozen", net.freeze(scale, pictures, refresh=False)),
    ]


@torch.no_grad()
def time_ratio(one: Callable[[], object], other: Callable[[], object], rounds: int) -> float:
    """The median over rounds of (time of `one`) / (time of `other`), each timed for at least 0.1 s a round, in turns."""
    repeats = max(1, round(0.1 / max(_time(other, 1), 1e-6)))
    _time(one, repeats)
    return statistics.median(_time(one, repeats) / _time(other, repeats) for _ in range(rounds))


def _time(function: Callable[[], object], repeats: int) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
