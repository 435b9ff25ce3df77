"""One training loop for both stages: `learn` goes over examples, whether they choose an answer or a paragraph.

Everything random follows from (seed, stage, epoch): a training that is cut into epochs and resumed ends as one in one go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from ..core.batches import derive_seed
from ..core.schedule import learning_rate
from .batching import collate, shuffled
from .config import FitSettings
from .examples import Example
from .loss import choice_loss
from .solver import Solver

TOGETHER = 64
"""questions that are answered at once"""


class Stage(NamedTuple):
    """One of the two stages of a training."""

    name: str
    """comprehension or answers"""
    groups: Sequence[Sequence[Example]]
    """of each question its examples, of which every epoch takes one"""
    epochs: int
    rate: float
    """the learning rate at its peak"""


def learn(
    solver: Solver,
    optimizer: torch.optim.Optimizer,
    stage: Stage,
    epochs: range,
    settings: FitSettings,
    *,
    seed: int,
    after_step: Callable[[], None] = lambda: None,
) -> list[float]:
    """Go over a stage's examples for some of its epochs, and return the mean loss of each.

    Args:
        solver: is left in training mode.
        optimizer: of its weights.
        stage: what is learned.
        epochs: which of `range(stage.epochs)`.
        settings: batch size and clipping.
        seed: of order, candidates and dropout.
        after_step: is called after each step.
    """
    device = next(solver.parameters()).device
    steps = -(-len(stage.groups) // settings.batch_size)
    losses = []
    solver.train()
    for epoch in epochs:
        torch.manual_seed(derive_seed(seed, stage.name, epoch, "dropout"))
        total = 0.0
        for step, examples in enumerate(_batches(stage, epoch, settings.batch_size, seed)):
            share = (epoch + step / steps) / stage.epochs
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(stage.rate, "cosine", share)
            batch = collate(examples).to(device)
            loss = choice_loss(solver(batch).logits, batch.answers)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            clip_grad_norm_(solver.parameters(), settings.clip)
            optimizer.step()
            total += float(loss.detach()) * len(examples)
            after_step()
        losses.append(total / max(1, len(stage.groups)))
    return losses


def make_optimizer(solver: Solver, settings: FitSettings) -> torch.optim.Optimizer:
    """AdamW over all weights."""
    return torch.optim.AdamW(solver.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)


def answer_stage(examples: Sequence[Example], settings: FitSettings) -> Stage:
    """The supervised stage, over the questions whose answer is known."""
    known = [[example] for example in examples if example.answer >= 0]
    return Stage("answers", known, settings.epochs, settings.learning_rate)


@torch.no_grad()
def answer_all(solver: Solver, examples: Sequence[Example]) -> list[Tensor]:
    """Probabilities float (K,) of each example's candidates, on the CPU, in its order."""
    device = next(solver.parameters()).device
    solver.eval()
    # examples with as many candidates stand together, or most of a batch would be padding
    order = sorted(range(len(examples)), key=lambda place: len(examples[place].pairs))
    found: dict[int, Tensor] = {}
    for start in range(0, len(order), TOGETHER):
        places = order[start : start + TOGETHER]
        logits = solver(collate([examples[place] for place in places]).to(device)).logits.softmax(-1).cpu()
        for place, row in zip(places, logits, strict=True):
            found[place] = row[: len(examples[place].pairs)]
    return [found[place] for place in range(len(examples))]


@torch.no_grad()
def attend(solver: Solver, example: Example) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Probabilities (K,) of one example, and the attention of question and of choice over each candidate's nodes (N,)."""
    device = next(solver.parameters()).device
    batch = collate([example])
    attended = solver.eval()(batch.to(device))
    lengths = [len(pair.context.nodes.rows) for pair in example.pairs]
    by_question, by_choice = (
        [weights[:length].cpu() for weights, length in zip(each, lengths, strict=True)]
        for each in (attended.by_question, attended.by_choice)
    )
    return attended.logits[0].softmax(-1).cpu(), by_question, by_choice


@torch.no_grad()
def attend_diagram(solver: Solver, example: Example) -> list[Tensor]:
    """Of each candidate, the attention over the labels of the question's own diagram (V,): the mean of question's and choice's."""
    attended = solver.eval()(collate([example]).to(next(solver.parameters()).device))
    weights = (attended.own_by_question + attended.own_by_choice) / 2
    return [row[: len(pair.own.rows)].cpu() for row, pair in zip(weights, example.pairs, strict=True)]


def _batches(stage: Stage, epoch: int, size: int, seed: int) -> Iterator[list[Example]]:
    """Every question once, in a drawn order, each with one of its examples, whose candidates are in a drawn order too.

    The candidates of a question are shuffled as well as the paragraphs: the place of an answer is no knowledge of a book.
    """
    random = torch.Generator().manual_seed(derive_seed(seed, stage.name, epoch))
    order = torch.randperm(len(stage.groups), generator=random).tolist()
    for start in range(0, len(order), size):
        chosen = []
        for place in order[start : start + size]:
            group = stage.groups[place]
            example = group[int(torch.randint(len(group), (), generator=random))]
            chosen.append(shuffled(example, random))
        yield chosen
