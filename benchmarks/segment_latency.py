"""Inference time of C3Net and C3NetV2 over ESPNet's, and of single concentrated convolutions over dense dilated ones.

    python benchmarks/segment_latency.py [--sizes 512x1024 360x480] [--threads 1 2] [--device cpu] [--rounds 15]

Everything in a table is timed in turns in one loop, so that a busy machine slows all of it; figures are medians. ESPNet's
time is that of its fastest form: as written or with norms folded, in either memory order. "As written" is the public
formulation: the layers one after the other, norms in eval mode, in PyTorch's default memory order. Batches of one picture,
float32, random weights. Times are never asserted.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tenfold.core.cost import alternating_seconds, executed_macs
from tenfold.segment import C3Net, C3NetV2, ConcentratedConv2d, DepthwiseNet, ESPNet
from tenfold.segment.fold import fuse

CLASSES = 19
CHANNELS = (16, 32, 64, 128, 256)
RATES = (2, 4, 8, 16)
MAP = (64, 128)

Run = Callable[[Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["512x1024", "360x480"], help="height x width of the pictures")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tables", nargs="+", default=["networks", "layers"], choices=["networks", "layers"])
    options = parser.parse_args()
    torch.manual_seed(0)
    print(f"{options.device}, torch {torch.__version__}, medians of {options.rounds} rounds")
    for threads in options.threads:
        torch.set_num_threads(threads)
        if "networks" in options.tables:
            for size in options.sizes:
                height, width = map(int, size.split("x"))
                print(f"\n{height} x {width}, {threads} thread{'s' * (threads > 1)}\n")
                network_table(height, width, options.device, options.rounds)
        if "layers" in options.tables:
            print(f"\nsingle layers, {MAP[0]} x {MAP[1]} map, {threads} thread{'s' * (threads > 1)}\n")
            layer_table(options.device, options.rounds)


def network_table(height: int, width: int, device: str, rounds: int) -> None:
    pictures = torch.randn(1, 3, height, width, device=device)
    rivals = forms(ESPNet(CLASSES).to(device))
    ours = {
        "C3Net 2 4 8 16": C3Net(CLASSES),
        "C3Net 2 3 7 13": C3Net(CLASSES, rates=(2, 3, 7, 13)),
        "C3NetV2": C3NetV2(CLASSES),
        "without concentration": DepthwiseNet(CLASSES),
    }
    runs: dict[tuple[str, str], Run] = {("ESPNet", form): run for form, run in rivals.items()}
    for name, net in ours.items():
        written = forms(net.to(device))
        runs |= {(name, form): written[form] for form in ("as written", "fused")}
    seconds = dict(zip(runs, alternating_seconds(list(runs.values()), pictures, repeats=rounds), strict=True))
    fastest = min((name for name in seconds if name[0] == "ESPNet"), key=lambda name: seconds[name])
    nets: dict[str, nn.Module] = {"ESPNet": ESPNet(CLASSES), **ours}
    print("| network | form | parameters | GMACs | ms | over ESPNet's fastest |")
    print("|---|---|---|---|---|---|")
    for (name, form), value in seconds.items():
        if name == "ESPNet" and (name, form) not in (fastest, ("ESPNet", "as written")):
            continue
        net = nets[name].eval().to(device)
        parameters = sum(parameter.numel() for parameter in net.parameters())
        macs = executed_macs(net, pictures) / 1e9
        ratio = value / seconds[fastest]
        print(f"| {name} | {form} | {parameters:,} | {macs:.2f} | {1e3 * value:.1f} | {ratio:.2f} |", flush=True)


def forms(net: nn.Module) -> dict[str, Run]:
    """The ways to run a network for inference."""
    net.eval()
    return {
        "as written": net,
        "fused": in_channels_last(fuse(net)),
        "as written, channels last": written_in_channels_last(net),
        "fused, default order": fuse(net).to(memory_format=torch.contiguous_format),
    }


def written_in_channels_last(net: nn.Module) -> Run:
    return in_channels_last(copy.deepcopy(net).to(memory_format=torch.channels_last))  # type: ignore[call-overload]


def in_channels_last(net: nn.Module) -> Run:
    return lambda pictures: net(pictures.contiguous(memory_format=torch.channels_last))


def layer_table(device: str, rounds: int) -> None:
    print("How many times as fast as the dense dilated convolution: the public formulation / fused here\n")
    print(f"| channels | {' | '.join(f'rate {rate}' for rate in RATES)} |")
    print(f"|---|{'---|' * len(RATES)}")
    for channels in CHANNELS:
        cells = []
        for rate in RATES:
            maps = torch.randn(1, channels, *MAP, device=device)
            dense = nn.Conv2d(channels, channels, 3, padding=rate, dilation=rate, bias=False).to(device)
            block = ConcentratedConv2d(channels, channels, dilation=rate).to(device).eval()
            dense_last = written_in_channels_last(dense)
            times = alternating_seconds([dense, dense_last, block, in_channels_last(fuse(block))], maps, repeats=rounds)
            fastest = min(times[:2])
            cells.append(f"{fastest / times[2]:.2f} / {fastest / times[3]:.2f}")
        print(f"| {channels} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
