"""Time of a picture with a dial over the same generator without one, and of a training step over a fixed-weight step.

    python benchmarks/translate_speed.py [--width 64 --blocks 9 --size 256] [--device cpu]

    plain       the generator alone
    dial        with conditional attention at three places, any mixture
    frozen      one mixture built in: squeeze-excitation blocks
    film, concat    rivals of the attention

    fixed step  a training step of the generator and its discriminator under one mixture of all losses
    dial step   the same with mixtures drawn for each sample

All are timed in turns in one loop, so that a busy machine slows all; the ratio is the median of the rounds'. Times are never
asserted.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from tenfold.translate import ResidualGenerator, SymGenerator, sample_mixes
from tenfold.translate.attention import CONDITIONINGS
from tenfold.translate.config import Config, NetSettings
from tenfold.translate.features import FilterBank, Looks
from tenfold.translate.loss import mixed_loss
from tenfold.translate.objective import Critics, PictureLosses, Translation
from tenfold.translate.replay import MixtureReplay
from tenfold.translate.stages import FixedGenerator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64, help="channels of the generator's stem")
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--size", type=int, default=256, help="pictures are size x size")
    parser.add_argument("--batch", type=int, default=1, help="pictures of a training step, of each set")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--channels-last", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    order = torch.channels_last if options.channels_last else torch.contiguous_format
    place = {"device": options.device, "memory_format": order}
    print(
        f"width {options.width}, {options.blocks} blocks, {options.size} x {options.size}, {options.device}, "
        f"{options.threads} threads, channels_last {options.channels_last}, torch {torch.__version__}"
    )
    shape = {"width": options.width, "blocks": options.blocks}
    picture = (torch.rand(1, 3, options.size, options.size) * 2 - 1).to(**place)
    mix = torch.tensor([0.5, 0.3, 0.2], device=options.device)
    dials = {name: SymGenerator(3, conditioning=name, **shape).to(**place).eval() for name in CONDITIONINGS}
    plain = ResidualGenerator(**shape).to(**place).eval()
    frozen = dials["attention"].freeze(mix)
    calls: dict[str, Callable[[], object]] = {"plain": lambda: plain(picture)}
    calls["dial"] = lambda: dials["attention"](picture, mix=mix)
    calls["frozen"] = lambda: frozen(picture)
    calls |= {name: lambda name=name: dials[name](picture, mix=mix) for name in ("film", "concat")}
    with torch.no_grad():
        show(calls, options.rounds, "plain", options.device)
    steps = {
        "fixed step": Step(FixedGenerator(NetSettings(**shape)), options.size, options.batch, place),
        "dial step": Step(SymGenerator(3, **shape), options.size, options.batch, place),
    }
    show(steps, options.rounds, "fixed step", options.device)


class Step:
    """One training step of a generator and its discriminator on made-up pictures."""

    def __init__(self, network: nn.Module, size: int, batch: int, place: dict[str, object]) -> None:
        config = Config()
        network.to(**place)  # type: ignore[call-overload]
        self.critics = Critics(1, config.net).to(**place)  # type: ignore[call-overload]
        style = torch.rand(1, 3, size, size) * 2 - 1
        settings = replace(config.loss, relative=True)
        losses = PictureLosses(Looks(FilterBank()), [style], settings).to(place["device"])  # type: ignore[arg-type]
        self.objective = Translation(network, losses, self.critics, identity=5.0, active=(True,) * 3)
        self.optimizer = torch.optim.Adam(network.parameters(), 2e-4)
        self.critic_optimizer = torch.optim.Adam(self.critics.parameters(), 2e-4)
        self.replay = MixtureReplay(50)
        pictures = torch.rand(2, batch, 3, size, size) * 2 - 1
        self.pictures: list[Tensor] = [part.to(**place) for part in pictures]  # type: ignore[call-overload]
        self.dial = isinstance(network, SymGenerator)

    def __call__(self) -> None:
        pictures, real = self.pictures
        count = len(pictures)
        mix = sample_mixes(count, (0.5,) * 3) if self.dial else torch.full((count, 3), 1 / 3)
        mix = mix.to(pictures.device)
        self.critics.requires_grad_(False)
        made, found = self.objective(pictures, [real], mix)
        self.optimizer.zero_grad(set_to_none=True)
        mixed_loss(found, mix).backward()
        self.optimizer.step()
        self.critics.requires_grad_(True)
        shown, shares = self.replay.exchange(made, mix)
        self.critic_optimizer.zero_grad(set_to_none=True)
        self.critics(shown, shares[:, 1:2], [real]).backward()
        self.critic_optimizer.step()


def show(calls: dict[str, Callable[[], object]], rounds: int, base: str, device: str) -> None:
    """Print the median time of each call, and its ratio to that of `base` in the same round."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if device != "cpu":
                torch.cuda.synchronize()
            if number:  # the first round warms up
                times[name].append(time.perf_counter() - started)
    print(f"| | time | over {base} |\n|---|---|---|")
    for name, found in times.items():
        ratio = statistics.median(one / other for one, other in zip(found, times[base], strict=True))
        print(f"| {name} | {1000 * statistics.median(found):.1f} ms | {ratio:.3f} |")


if __name__ == "__main__":
    main()
