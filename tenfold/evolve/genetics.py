"""One generation of a genetic algorithm on binary chromosomes: selection, crossover, mutation, elitism.

Shapes: N members, G genes. Chromosomes are uint8 (N, G), 1 for an open gene and 0 for a closed one; fitness is (N,), higher
is better. Everything random comes from the generator given, so a generation repeats by its seed. The operators are the
textbook ones; which of them the paper (arXiv:1903.01886) uses is not known.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .config import GeneticSettings


def first_generation(size: int, genes: int, settings: GeneticSettings, random: torch.Generator) -> Tensor:
    """Chromosomes (N, G) whose genes are open with probability `start_open`; member 0 has them all open if `start_all_open`."""
    chromosomes = (_uniform(random, size, genes) < settings.start_open).to(torch.uint8)
    chromosomes = _revived(chromosomes, random)
    if settings.start_all_open:
        chromosomes[0] = 1
    return chromosomes


def next_generation(
    chromosomes: Tensor, fitness: Tensor, settings: GeneticSettings, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The members after one generation, and where each comes from.

    The `elites` best come first, unchanged and best first (equal ones in their order); all others are children.

    Returns:
        chromosomes (N, G), and the row of `chromosomes` that each begins as, int64 (N,).
    """
    size = len(chromosomes)
    ranked = torch.sort(fitness, descending=True, stable=True).indices
    kept = ranked[: min(settings.elites, size)]
    if settings.selection == "random":
        fresh = (_uniform(random, size - len(kept), chromosomes.shape[1]) < settings.start_open).to(torch.uint8)
        return torch.cat([chromosomes[kept], _revived(fresh, random)]), torch.cat([kept, ranked[len(kept) :]])
    mothers, fathers = (select(fitness, size - len(kept), settings, random) for _ in range(2))
    children = crossover(chromosomes[mothers], chromosomes[fathers], settings, random)
    children = _revived(mutate(children, settings.mutation_rate, random), random)
    return torch.cat([chromosomes[kept], children]), torch.cat([kept, mothers])


def select(fitness: Tensor, count: int, settings: GeneticSettings, random: torch.Generator) -> Tensor:
    """Members that become parents, int64 (count,), drawn with repetition.

    * tournament: the best of `tournament_size` drawn at random.
    * roulette: with probability proportional to the fitness above the worst; all alike where all are equally fit.
    * truncation: at random among the better half.
    """
    size = len(fitness)
    if settings.selection == "tournament":
        drawn = torch.randint(size, (count, settings.tournament_size), generator=random)
        return drawn.gather(1, fitness[drawn].argmax(1, keepdim=True)).squeeze(1)
    if settings.selection == "roulette":
        # divided first: a difference of two finite numbers can be infinite
        scaled = fitness.double() / fitness.double().abs().max().clamp(min=torch.finfo(torch.float64).tiny)
        above = scaled - scaled.min()
        shares = above if bool(above.sum() > 0) else torch.ones_like(above)
        return (
            torch.multinomial(shares, count, replacement=True, generator=random)
            if count
            else fitness.new_empty(0).long()
        )
    better = torch.sort(fitness, descending=True, stable=True).indices[: max(1, size // 2)]
    return better[torch.randint(len(better), (count,), generator=random)]


def crossover(mothers: Tensor, fathers: Tensor, settings: GeneticSettings, random: torch.Generator) -> Tensor:
    """Children (C, G) of parents (C, G) each; a pair is crossed with probability `crossover_rate`, else the mother's is kept.

    * uniform: every gene is the mother's or the father's with equal chance.
    * one-point: the mother's genes up to a point, the father's after it; at least one gene of each.
    """
    count, genes = mothers.shape
    crossed = _uniform(random, count, 1) < settings.crossover_rate
    if settings.crossover == "uniform":
        from_father = _uniform(random, count, genes) < 0.5
    else:
        point = torch.randint(1, max(genes, 2), (count, 1), generator=random)
        from_father = torch.arange(genes) >= point
    return torch.where(crossed & from_father, fathers, mothers)


def mutate(chromosomes: Tensor, rate: float, random: torch.Generator) -> Tensor:
    """Every gene flipped with probability `rate`, (N, G)."""
    flipped = _uniform(random, *chromosomes.shape) < rate
    return chromosomes ^ flipped.to(torch.uint8)


def diversity(chromosomes: Tensor) -> float:
    """Mean share of genes in which two different members differ, in [0, 1]; 0 for one member."""
    size, genes = chromosomes.shape
    if size < 2:
        return 0.0
    open_count = chromosomes.sum(0, dtype=torch.int64)
    differing = (open_count * (size - open_count)).sum()  # pairs of members that differ in a gene, over all genes
    return float(differing) / (genes * size * (size - 1) / 2)


def _uniform(random: torch.Generator, *shape: int) -> Tensor:
    """Draws from [0, 1), the same whatever torch's default precision is."""
    return torch.rand(shape, generator=random, dtype=torch.float32)


def _revived(chromosomes: Tensor, random: torch.Generator) -> Tensor:
    """The same, but a chromosome without an open gene gets one: it would be a network that sees nothing."""
    drawn = torch.randint(chromosomes.shape[1], (len(chromosomes), 1), generator=random)
    closed = chromosomes.sum(1, keepdim=True) == 0
    return torch.where(closed, torch.zeros_like(chromosomes).scatter_(1, drawn, 1), chromosomes)
