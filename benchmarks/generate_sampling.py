r"""Samples per second: the cached sampler beside the naive one and a masked autoregressive flow.

    python benchmarks/generate_sampling.py [--dims 16 32 64 128 256 512] [--batches 1 1024] [--max-width 512] [--threads 1] \
        [--fit 64] [--paper-widths]

The naive sampler runs the whole network over all dimensions so far for every dimension, as the released code does. Its work in a
step is in proportion to the dimensions so far, so that two of its D steps, at a quarter and at three quarters, are timed and
multiplied. The flow (zuko's MAF, three transforms of two hidden layers) needs D passes for a row. Of large batches both are timed on
64 rows, where they are as fast a row as they will be. Up to `--fit` dimensions both are fitted to the same rows and their held-out likelihoods
printed, to show that it is a like model; time does not depend on what was learned. Times are medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from tenfold.generate import FitSettings, LatentDensity
from tenfold.generate.fitting import log_likelihoods, maximize_likelihood
from tenfold.generate.loss import mixture_draw, mixture_of
from tenfold.generate.network import look_again
from tenfold.generate.rivals import Flow

SOME_ROWS = 64
ROWS = 4000


def main() -> None:
    """Print a line for each number of dimensions and each batch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", type=int, nargs="+", default=[16, 32, 64, 128, 256, 512])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 1024])
    parser.add_argument("--max-width", type=int, default=512)
    parser.add_argument("--paper-widths", action="store_true", help="channels double to the end, as in the paper")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fit", type=int, default=0, help="fit both up to so many dimensions; 0 fits none")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"{given.threads} thread(s); rows a second\n")
    titles = ("dim", "parameters", "batch", "cached", "naive", "ratio", "flow", "ratio", "cached, ms a dim")
    print(" ".join(f"{title:>16}" for title in titles))
    for dim in given.dims:
        torch.manual_seed(0)
        density = LatentDensity(dim, max_width=None if given.paper_widths else given.max_width).eval()
        flow = Flow(dim, hidden=max(128, 2 * dim)).eval()
        if dim <= given.fit:
            print(fitted(density, flow, dim))
        for batch in given.batches:
            print(line(density, flow, batch, given.repeats), flush=True)


def line(density: LatentDensity, flow: Flow, batch: int, repeats: int) -> str:
    """What is printed of one number of dimensions and one batch."""
    cached = timed(lambda: density.sample(batch, seed=0), repeats)
    naive = naive_seconds(density, batch, repeats)
    some = min(batch, SOME_ROWS)
    flowing = timed(lambda: flow.sample(some, seed=0), repeats) * batch / some
    values = (
        f"{density.dim}",
        f"{sum(parameter.numel() for parameter in density.net.parameters()):,}",
        f"{batch}",
        f"{batch / cached:,.1f}",
        f"{batch / naive:,.2f}",
        f"{naive / cached:.1f}",
        f"{batch / flowing:,.1f}",
        f"{flowing / cached:.2f}",
        f"{1000 * cached / density.dim:.3f}",
    )
    return " ".join(f"{value:>16}" for value in values)


@torch.no_grad()
def naive_seconds(density: LatentDensity, batch: int, repeats: int) -> float:
    """The time in which the naive sampler draws `batch` rows, from two of its steps."""
    count, dim = min(batch, SOME_ROWS), density.dim
    rows, uniform, normal = torch.randn(count, dim), torch.rand(count), torch.randn(count)

    def step(place: int) -> None:
        mixture_draw(mixture_of(look_again(density.net, rows, place), floor=density.floor), uniform, normal)

    steps = [timed(lambda place=place: step(place), repeats) for place in (dim // 4, 3 * dim // 4)]
    return statistics.mean(steps) * dim * batch / count


def timed(function: Callable[[], object], repeats: int) -> float:
    """Median seconds of a call, after one that does not count."""
    taken = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def fitted(density: LatentDensity, flow: Flow, dim: int) -> str:
    """Fit both to the same rows; returns their held-out log-likelihoods."""
    rows = wandering(ROWS + 1000, dim)
    train, held_out, test = rows[: ROWS - 400], rows[ROWS - 400 : ROWS], rows[ROWS:]
    settings = FitSettings(epochs=30)
    density.fit(train, validation=held_out, settings=settings)
    flow.prepare(train)
    maximize_likelihood(flow, train, held_out, settings, seed=0)
    ours, theirs = (float(log_likelihoods(each, test).mean()) for each in (density, flow))
    return f"{dim} dims, held-out log-likelihood: {ours:.2f} (this), {theirs:.2f} (flow)"


def wandering(count: int, dim: int) -> Tensor:
    """Rows (count, dim) in which each number follows from the one before, one of two ways."""
    random = torch.Generator().manual_seed(0)
    columns = [torch.randn(count, generator=random)]
    for _ in range(dim - 1):
        sign = (torch.rand(count, generator=random) < 0.5).float() * 2 - 1
        columns.append(0.8 * torch.tanh(columns[-1]) + sign * 0.5 + 0.2 * torch.randn(count, generator=random))
    return torch.stack(columns, 1)


if __name__ == "__main__":
    main()
