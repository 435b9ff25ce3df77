"""How near a dial comes to exact optima that are known for every mixture, beside networks trained for one mixture each.

    python benchmarks/translate_toys.py [--steps 3000] [--seeds 0 1 2]

    squares         f(x) = sum_n S_n y_n(x) is the least of sum_n S_n (f - y_n)^2
    cross-entropies softmax f(x) = sum_n S_n q_n(x) is the least of sum_n S_n H(q_n, softmax f)
    pinballs        of levels 0.1 and 0.9 the mixture is the pinball loss of level 0.1 S_1 + 0.9 S_2: a quantile dial

One small network (two hidden layers of 64) is trained over all mixtures, with each conditioning; rivals of the same size know one
mixture of the grid each, and have as many steps each. Printed is the root of the mean squared difference to the exact answer, over
the inputs, at the mean and at the worst mixture of the grid.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.translate import SymTrainer, simplex_grid, symmetrize
from tenfold.translate.attention import CONDITIONINGS

PLACES = 201
"""inputs in [-1, 1] that answers are compared at"""


class Toy(NamedTuple):
    """A problem whose answer is known for every mixture."""

    losses: dict[str, Callable[..., Tensor]]
    outputs: int
    batch: Callable[[torch.Generator], tuple[Tensor, ...]]
    exact: Callable[[Tensor, Tensor], Tensor]
    """inputs (P, 1), one mixture (L,) -> answers (P, outputs)"""
    answer: Callable[[Tensor], Tensor] = lambda output: output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--points", type=int, default=11, help="mixtures along each edge of the grid")
    parser.add_argument("--rivals", type=int, default=3, help="mixtures that a network of their own is trained for")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| toy | network | mean error | worst error |\n|---|---|---|---|")
    for name, toy in (("squares", squares()), ("cross-entropies", cross_entropies()), ("pinballs", pinballs())):
        grid = simplex_grid(len(toy.losses), options.points)
        for conditioning in CONDITIONINGS:
            found = [dial_errors(toy, conditioning, grid, options.steps, seed) for seed in options.seeds]
            show(name, f"dial, {conditioning}", found)
        chosen = grid[torch.linspace(0, len(grid) - 1, options.rivals).long()]
        found = [[alone_error(toy, mix, options.steps, seed) for mix in chosen] for seed in options.seeds]
        show(name, f"one for each of {len(chosen)} mixtures", found)


def squares() -> Toy:
    def targets(x: Tensor) -> Tensor:
        return torch.cat([(3 * x).sin(), x.square(), (2 * x).cos() - 0.5], 1)

    losses = {f"y{n}": lambda y, x, n=n: (y[:, 0] - targets(x)[:, n]).square() for n in range(3)}
    return Toy(losses, 1, lambda random: (inputs(random),), lambda x, mix: targets(x) @ mix[:, None])


def cross_entropies() -> Toy:
    def labels(x: Tensor) -> Tensor:
        """(B, 3 losses, 4 classes)."""
        places = torch.tensor([[0.0, 1.0, -1.0, 2.0], [1.0, -1.0, 2.0, 0.0], [2.0, 0.0, 1.0, -1.0]])
        return (2 * x[:, :, None] * places).softmax(2)

    losses = {f"q{n}": lambda y, x, n=n: -(labels(x)[:, n] * y.log_softmax(1)).sum(1) for n in range(3)}
    exact = lambda x, mix: (labels(x) * mix[:, None]).sum(1)  # noqa: E731
    return Toy(losses, 4, lambda random: (inputs(random),), exact, lambda output: output.softmax(1))


def pinballs() -> Toy:
    def batch(random: torch.Generator) -> tuple[Tensor, ...]:
        x = inputs(random)
        return x, (2 * x).sin() + (0.5 + 0.3 * x) * torch.randn(x.shape, generator=random)

    def loss(level: float) -> Callable[..., Tensor]:
        return lambda y, _x, wanted: torch.maximum(level * (wanted - y), (level - 1) * (wanted - y))[:, 0]

    def exact(x: Tensor, mix: Tensor) -> Tensor:
        level = 0.1 * mix[0] + 0.9 * mix[1]
        return (2 * x).sin() + (0.5 + 0.3 * x) * torch.special.ndtri(level)

    return Toy({"low": loss(0.1), "high": loss(0.9)}, 1, batch, exact)


def inputs(random: torch.Generator) -> Tensor:
    return torch.rand(256, 1, generator=random) * 2 - 1


def network(outputs: int, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, outputs))


def dial_errors(toy: Toy, conditioning: str, grid: Tensor, steps: int, seed: int) -> list[float]:
    """The error at each mixture of the grid of a network trained over all mixtures."""
    example = torch.zeros(2, 1)
    model = symmetrize(
        network(toy.outputs, seed),
        losses=list(toy.losses),
        at=["1", "3"],
        example=example,
        conditioning=conditioning,  # type: ignore[arg-type]
    )
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    trainer = SymTrainer(model, toy.losses, optimizer=optimizer, alpha=1.0, seed=seed)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    random = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        trainer.step(toy.batch(random))
        schedule.step()
    x = torch.linspace(-1, 1, PLACES)[:, None]
    with torch.no_grad():
        return [error(toy.answer(model(x, mix=mix)), toy.exact(x, mix)) for mix in grid]


def alone_error(toy: Toy, mix: Tensor, steps: int, seed: int) -> float:
    """The error of a network trained for one mixture."""
    model = network(toy.outputs, seed)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    random = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        batch = toy.batch(random)
        output = model(batch[0])
        optimizer.zero_grad(set_to_none=True)
        (torch.stack([loss(output, *batch) for loss in toy.losses.values()], 1) @ mix).mean().backward()
        optimizer.step()
        schedule.step()
    x = torch.linspace(-1, 1, PLACES)[:, None]
    with torch.no_grad():
        return error(toy.answer(model(x)), toy.exact(x, mix))


def error(found: Tensor, wanted: Tensor) -> float:
    return float(F.mse_loss(found, wanted).sqrt())


def show(toy: str, name: str, seeds: list[list[float]]) -> None:
    """A line of the table: mean over the seeds, and their sample standard deviation."""
    cells = []
    for values in ([statistics.mean(errors) for errors in seeds], [max(errors) for errors in seeds]):
        spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.4f}{spread}")
    print(f"| {toy} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
