"""The gene table of a population, and the gate that a member's genes are for a hidden layer: h = mu_i * h (arXiv:1903.01886).

Shapes: N members, G genes, B rows of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..core.batches import derive_seed
from ..core.errors import UsageError
from .config import GeneticSettings
from .genetics import diversity, first_generation, next_generation


class GeneticGate(nn.Module):
    """N binary chromosomes that gate G hidden units: `gate(h)` is the elite's view of a layer, `gate(h, members)` each row's own.

    It has no parameters. Chromosomes, fitness, elite, and generation are buffers, so they are in the state dict; no random
    state is needed, because the draws of a generation follow from the seed and its number.

    Args:
        genes: G, units that are gated, at least 1.
        population: N, at least 1.
        genetics: how generations follow each other.
        seed: of everything random, at least 0.
        axis: which axis of the gated tensor has G entries.
    """

    chromosomes: Tensor
    fitness: Tensor
    elite: Tensor
    generation: Tensor
    seed: Tensor

    def __init__(
        self,
        genes: int,
        *,
        population: int = 8,
        genetics: GeneticSettings | None = None,
        seed: int = 0,
        axis: int = 1,
    ) -> None:
        super().__init__()
        if genes < 1 or population < 1 or seed < 0:
            given = {"genes": genes, "population": population, "seed": seed}
            raise UsageError(f"{given} must be at least 1, 1 and 0")
        self.genetics = genetics or GeneticSettings()
        self.axis = axis
        chromosomes = first_generation(population, genes, self.genetics, _random(seed, 0))
        self.register_buffer("chromosomes", chromosomes)
        self.register_buffer("fitness", torch.full((population,), torch.nan, dtype=torch.float64))
        self.register_buffer("elite", torch.tensor(0))
        self.register_buffer("generation", torch.tensor(0))
        self.register_buffer("seed", torch.tensor(seed))

    def __len__(self) -> int:
        """N, the size of the population."""
        return len(self.chromosomes)

    @property
    def genes(self) -> int:
        """G, how many units are gated."""
        return self.chromosomes.shape[1]

    @property
    def elite_genes(self) -> Tensor:
        """The elite's chromosome, uint8 (G,)."""
        return self.chromosomes[self.elite].clone()

    @property
    def diversity(self) -> float:
        """Mean share of genes in which two different members differ, in [0, 1]."""
        return diversity(self.chromosomes.cpu())

    def forward(self, hidden: Tensor, members: int | Tensor | None = None) -> Tensor:
        """`hidden` with every unit multiplied by its gene.

        Args:
            hidden: (B, ...), with G entries on `axis`.
            members: which member's genes: one for all rows, or int64 (B,), one for each row; None is the elite.

        Raises:
            UsageError: a shape does not fit, or there is no such member.
        """
        there = hidden.ndim > 1 and -hidden.ndim < self.axis < hidden.ndim and self.axis != 0
        if not there or hidden.shape[self.axis] != self.genes:
            raise UsageError(
                f"what is to be gated has shape {tuple(hidden.shape)}, but must have {self.genes} entries on axis {self.axis}"
            )
        return gated(hidden, self.genes_of(members, len(hidden)), self.axis)

    def genes_of(self, members: int | Tensor | None, rows: int | None = None) -> Tensor:
        """Chromosomes uint8 (1, G) of one member (None: the elite), or (B, G) of int64 (B,) members.

        Raises:
            UsageError: there is no such member, or `rows` is given and there are not as many.
        """
        if members is None:
            return self.elite_genes[None]
        size = len(self)
        if isinstance(members, int):
            if not 0 <= members < size:
                raise UsageError(f"member is {members}, but must be 0 to {size - 1}")
            return self.chromosomes[members][None].clone()
        if members.ndim != 1 or members.dtype != torch.int64 or (rows is not None and len(members) != rows):
            each = "row" if rows is None else f"of {rows} rows"
            raise UsageError(
                f"members are {members.dtype} of shape {tuple(members.shape)}, but must be int64, one for each {each}"
            )
        if len(members) and not 0 <= int(members.min()) <= int(members.max()) < size:
            raise UsageError(f"members are {int(members.min())} to {int(members.max())}, but must be 0 to {size - 1}")
        return self.chromosomes[members]

    @torch.no_grad()
    def evolve(self, fitness: Sequence[float] | Tensor) -> int:
        """Replace the population by its next generation, in which the fittest is member 0 and the elite.

        Args:
            fitness: of every member, (N,); higher is better, and no NaN.

        Returns:
            The number that the new elite had in the old population; of equally fit ones, the old elite's.

        Raises:
            UsageError: there are not N finite values.
        """
        values = torch.as_tensor(fitness, dtype=torch.float64).cpu()
        if values.shape != (len(self),) or not bool(torch.isfinite(values).all()):
            raise UsageError(
                f"fitness is {values.tolist()}, but must be {len(self)} finite numbers, one for each member"
            )
        # the old elite goes first, so that it stays unless another is better, and not only as good
        order = torch.cat(
            [self.elite.cpu()[None], torch.arange(len(self))[torch.arange(len(self)) != self.elite.cpu()]]
        )
        generation = int(self.generation) + 1
        chromosomes, origin = next_generation(
            self.chromosomes.cpu()[order], values[order], self.genetics, _random(int(self.seed), generation)
        )
        self.chromosomes.copy_(chromosomes)
        self.fitness.copy_(values)
        self.elite.zero_()
        self.generation.fill_(generation)
        return int(order[origin[0]])

    def extra_repr(self) -> str:
        return f"genes={self.genes}, population={len(self)}, generation={int(self.generation)}"

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Take a population of any size, as long as its genes are as many."""
        saved = state.get(f"{prefix}chromosomes")
        if saved is not None and saved.ndim == 2 and saved.shape[1] == self.genes and len(saved) != len(self):
            self.chromosomes = self.chromosomes.new_zeros(saved.shape)
            self.fitness = self.fitness.new_zeros(len(saved))
        super()._load_from_state_dict(state, prefix, *rest)


def gated(hidden: Tensor, genes: Tensor, axis: int = 1) -> Tensor:
    """`hidden` (B, ...) with its `axis` of G entries multiplied by genes (1, G) or (B, G), 1 open and 0 closed."""
    shape = [1] * hidden.ndim
    shape[0], shape[axis] = genes.shape
    return hidden * genes.to(hidden.dtype).view(shape)


def _random(seed: int, generation: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(seed, "generation", generation))
