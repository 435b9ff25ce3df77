"""Rivals of our day: a sentence encoder fine-tuned to choose, and a linear choice on top of a frozen one.

Both read a question with a choice beside the choice's context and give the choice a score. Where the choices are true and false
and share their context, the question is read once, and both scores come of it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.batches import derive_seed
from ..core.config import require
from ..core.errors import UsageError
from ..core.modes import evaluating
from .sentence_encoder import Pieces, SentenceEncoder, batches_by_length

Numbers = np.ndarray[Any, np.dtype[Any]]
_TRUTHS = ("true", "false")
_WARM_UP = 0.1
"""share of the steps in which the learning rate rises"""
_SORTED_TOGETHER = 32
"""batches whose questions are sorted by length among themselves; the larger, the less padding and the less chance"""
_PIECES_AT_ONCE = 16384
"""what goes through the network at once, padding included; a batch of more goes in parts"""
_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
"""scikit-learn's C, the inverse of the regularisation, that `FrozenRival` chooses from"""


class CrossExample(NamedTuple):
    """A question with K choices, each with the context that it is judged by."""

    question: str
    choices: tuple[str, ...]
    contexts: tuple[str, ...]
    """one for each choice; they may be the same"""
    answer: int | None
    """place of the right choice, from 0; None where it is not known"""


class CrossEncoder(nn.Module):
    """A sentence encoder, all of whose weights are trained, with one linear layer that gives scores. In evaluation mode.

    Example:
        rival = CrossEncoder(SentenceEncoder.load("all-MiniLM-L6-v2"))
        rival.fit(train, epochs=3, learning_rate=5e-5, batch_size=32, seed=0)
        [int(scores.argmax()) for scores in rival.scores(test)]
    """

    def __init__(self, encoder: SentenceEncoder, *, longest: int = 256, dropout: float = 0.1, seed: int = 0) -> None:
        """A rival that has not been trained yet.

        Args:
            encoder: to start from; it stays as it is, a copy is trained.
            longest: pieces of a question, choice and context together, at least 16; what is more is cut off, the longer text
                first. `cut_short` counts the questions that this concerns.
            dropout: share of a text's vector that is left out in training before the scores, in [0, 1).
            seed: of the linear layer's first weights.

        Raises:
            UsageError: a setting is out of its range.
        """
        super().__init__()
        require(16 <= longest <= encoder.positions, "longest", longest, f"16 to {encoder.positions}")
        require(0 <= dropout < 1, "dropout", dropout, "at least 0 and below 1")
        self.longest = longest
        self.encoder = copy.deepcopy(encoder)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.utils.skip_init(nn.Linear, encoder.dim, 3)
        generator = torch.Generator().manual_seed(derive_seed(seed, "head"))
        nn.init.normal_(self.head.weight, std=0.02, generator=generator)
        nn.init.zeros_(self.head.bias)
        self.head.to(next(self.encoder.parameters()).device)
        self.eval()

    def forward(self, examples: Sequence[CrossExample]) -> list[Tensor]:
        """The scores (K,) of each question's choices, differentiable; a softmax makes probabilities of them.

        Raises:
            UsageError: an example has no choices, or not a context for each.
        """
        return self._choose(self._prepare(examples))

    def fit(
        self,
        examples: Sequence[CrossExample],
        *,
        epochs: int = 3,
        learning_rate: float = 5e-5,
        batch_size: int = 32,
        seed: int = 0,
        weight_decay: float = 0.01,
        after_epoch: Callable[[int, float], None] | None = None,
    ) -> list[float]:
        """Train by AdamW on the cross-entropy of the right choice among a question's choices.

        The learning rate rises linearly in the first tenth of the steps and falls linearly to 0 in the others; gradients are cut
        to the length 1. All that is random follows from the seed.

        Args:
            examples: each with its answer.
            epochs: times that each question is seen, at least 1.
            learning_rate: the highest, above 0.
            batch_size: questions of a step, at least 1.
            seed: of the order and of what is dropped.
            weight_decay: of matrices; vectors, such as those of norms, have none.
            after_epoch: called with the number of the epoch, from 0, and its mean loss.

        Returns:
            The mean loss of each epoch.

        Raises:
            UsageError: there are no examples, one is not whole or has no answer, or a setting is out of its range.
        """
        for name, value in (("epochs", epochs), ("batch_size", batch_size)):
            require(value >= 1, name, value, "at least 1")
        require(learning_rate > 0, "learning_rate", learning_rate, "above 0")
        _check_answers(examples)
        prepared = self._prepare(examples)
        optimizer = self._optimizer(learning_rate, weight_decay)
        steps = epochs * -(-len(prepared) // batch_size)
        losses = []
        self.train()
        with torch.random.fork_rng(devices=[]):
            for epoch in range(epochs):
                total = 0.0
                for step, batch in enumerate(_batches(prepared, batch_size, derive_seed(seed, "order", epoch))):
                    done = (epoch * steps // epochs + step + 0.5) / steps
                    for group in optimizer.param_groups:
                        group["lr"] = learning_rate * min(done / _WARM_UP, (1 - done) / (1 - _WARM_UP))
                    torch.manual_seed(derive_seed(seed, "dropout", epoch, step))
                    total += self._step(batch, optimizer)
                losses.append(total / len(prepared))
                if after_epoch is not None:
                    after_epoch(epoch, losses[-1])
        self.eval()
        return losses

    @torch.no_grad()
    def scores(self, examples: Sequence[CrossExample]) -> list[Tensor]:
        """The scores, float32 (K,) on the CPU, of each question's choices, in the order given.

        Raises:
            UsageError: an example has no choices, or not a context for each.
        """
        prepared = self._prepare(examples)
        found: dict[int, Tensor] = {}
        with evaluating(self):
            for places in _parts(prepared):
                scores = self._choose([prepared[place] for place in places])
                found |= {place: score.float().cpu() for place, score in zip(places, scores, strict=True)}
        return [found[place] for place in range(len(prepared))]

    def cut_short(self, examples: Sequence[CrossExample]) -> int:
        """How many of the questions are longer than `longest` with one of their choices and contexts."""
        windows = iter(self._cut(examples))
        return sum(max([len(next(windows)) for _ in pairs_of(example)]) > 1 for example in examples)

    def _cut(self, examples: Sequence[CrossExample]) -> list[list[Pieces]]:
        return self.encoder.cut([pair for example in examples for pair in pairs_of(example)], self.longest)

    def _prepare(self, examples: Sequence[CrossExample]) -> list[_Read]:
        pieces = (windows[0] for windows in self._cut(examples))
        return [_Read([next(pieces) for _ in pairs_of(one)], _truths(one), one.answer) for one in examples]

    def _choose(self, prepared: Sequence[_Read]) -> list[Tensor]:
        """The scores of the choices of questions that fit through the network at once."""
        ids, mask, types = self.encoder.padded([pieces for read in prepared for pieces in read.pairs])
        texts = self.encoder.pooled(self.encoder.forward_ids(ids, mask, types), mask)
        rows = iter(self.head(self.dropout(texts)).split([len(read.pairs) for read in prepared]))
        # the columns are: this choice is right, the question is true, the question is false
        return [next(rows)[:, 0] if read.truths is None else next(rows)[0, 1:][list(read.truths)] for read in prepared]

    def _step(self, batch: Sequence[_Read], optimizer: torch.optim.Optimizer) -> float:
        """One step of the optimizer; the sum of the losses of the batch."""
        optimizer.zero_grad()
        total = 0.0
        for places in _parts(batch):
            part = [batch[place] for place in places]
            losses = [
                F.cross_entropy(scores, torch.tensor(read.answer, device=scores.device))
                for scores, read in zip(self._choose(part), part, strict=True)
            ]
            loss = torch.stack(losses).sum()
            (loss / len(batch)).backward()
            total += float(loss.detach())
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        optimizer.step()
        return total

    def _optimizer(self, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
        matrices = [weight for weight in self.parameters() if weight.ndim > 1]
        vectors = [weight for weight in self.parameters() if weight.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=learning_rate)


class FrozenRival:
    """Logistic regression on what a frozen sentence encoder makes of a question with a choice (q) and of its context (c).

    The features of a pair are q, c, their product and the size of their difference, number by number, and their cosine; each is
    scaled by its mean and spread in training. Questions of true or false have a regression of their own, whose q is the question
    alone: with the choice in q, what the context says would be the same for both choices and cancel out.
    """

    def __init__(self, encoder: SentenceEncoder, *, folds: int = 3, seed: int = 0) -> None:
        """A rival that has not been fitted yet.

        Args:
            encoder: stays as it is.
            folds: of the cross-validation that chooses the regularisation, at least 2.
            seed: which questions are in which fold.

        Raises:
            UsageError: a setting is out of its range.
        """
        require(folds >= 2, "folds", folds, "at least 2")
        self.encoder = encoder
        self.folds = folds
        self.seed = seed
        self.strengths: dict[str, float] = {}
        """the C chosen for each sort of questions; the more, the less regularisation"""
        self._models: dict[str, Any] = {}

    def fit(self, examples: Sequence[CrossExample]) -> None:
        """Fit a regression for each sort of questions that occurs; C is the one that answers most questions of left-out folds.

        Where there are too few questions for that, C is the second of the smallest that are tried.

        Raises:
            UsageError: there are no examples, one is not whole or has no answer, or all of a sort have the same answer and no
                other choice.
        """
        _check_answers(examples)
        self.strengths, self._models = {}, {}
        features = self._features(examples)
        for sort in dict.fromkeys(map(_sort, examples)):
            chosen = [place for place, example in enumerate(examples) if _sort(example) == sort]
            rows = [features[place] for place in chosen]
            labels = [_labels(examples[place]) for place in chosen]
            if len(np.unique(np.concatenate(labels))) < 2:
                raise UsageError(
                    f"the {sort} questions given all have the same answer, so that nothing can be learned of them"
                )
            self.strengths[sort] = self._strength(rows, labels)
            self._models[sort] = _regression(rows, labels, self.strengths[sort])

    def scores(self, examples: Sequence[CrossExample]) -> list[Tensor]:
        """The scores, float32 (K,), of each question's choices, in the order given: log odds that the choice is right.

        Raises:
            UsageError: an example is not whole, or no question of its sort was there to fit.
        """
        strange = next((sort for sort in map(_sort, examples) if sort not in self._models), None)
        if strange is not None:
            raise UsageError(f"the rival was fitted on no {strange} questions, so that it cannot answer one")
        found = []
        for example, rows in zip(examples, self._features(examples), strict=True):
            odds = torch.from_numpy(self._models[_sort(example)].decision_function(rows)).float()
            truths = _truths(example)
            found.append(odds if truths is None else torch.cat([odds, -odds])[list(truths)])
        return found

    def _features(self, examples: Sequence[CrossExample]) -> list[Numbers]:
        """float32 (pairs, 4 D + 1) for each question."""
        pairs = [pairs_of(example) for example in examples]
        q = self.encoder.embed([left for some in pairs for left, _ in some])
        c = self.encoder.embed([right for some in pairs for _, right in some])
        rows = torch.cat([q, c, q * c, (q - c).abs(), (q * c).sum(1, keepdim=True)], 1)
        return [part.numpy() for part in rows.split([len(some) for some in pairs])]

    def _strength(self, rows: list[Numbers], labels: list[Numbers]) -> float:
        order = np.random.default_rng(derive_seed(self.seed, "folds")).permutation(len(rows))
        folds = [set(order[number :: self.folds].tolist()) for number in range(self.folds)]
        right = dict.fromkeys(_STRENGTHS, 0)
        for fold in folds:
            rest = [place for place in range(len(rows)) if place not in fold]
            if not rest or len(np.unique(np.concatenate([labels[place] for place in rest]))) < 2:
                return _STRENGTHS[1]
            for strength in _STRENGTHS:
                model = _regression([rows[place] for place in rest], [labels[place] for place in rest], strength)
                right[strength] += sum(_answers(model.decision_function(rows[place]), labels[place]) for place in fold)
        return max(_STRENGTHS, key=right.__getitem__)


def pairs_of(example: CrossExample) -> list[tuple[str, str]]:
    """What is read together: (question, context) of true or false, else (question and choice, context) for each choice.

    Raises:
        UsageError: there are no choices, or not a context for each.
    """
    if not example.choices or len(example.choices) != len(example.contexts):
        raise UsageError(
            f"the question {example.question!r} has {len(example.choices)} choices and {len(example.contexts)} contexts, but must "
            "have a context for each choice"
        )
    if _truths(example) is not None:
        return [(example.question, example.contexts[0])]
    pairs = zip(example.choices, example.contexts, strict=True)
    return [(f"{example.question} {choice}", context) for choice, context in pairs]


class _Read(NamedTuple):
    """An example as the network reads it."""

    pairs: list[Pieces]
    truths: tuple[int, ...] | None
    answer: int | None

    @property
    def longest(self) -> int:
        """Pieces of the longest pair."""
        return max(len(pieces.ids) for pieces in self.pairs)


def _truths(example: CrossExample) -> tuple[int, ...] | None:
    """For each choice 0 where it is true, 1 where it is false; None where the question is of another sort."""
    choices = [choice.strip().lower() for choice in example.choices]
    if sorted(choices) != sorted(_TRUTHS) or len(set(example.contexts)) != 1:
        return None
    return tuple(_TRUTHS.index(choice) for choice in choices)


def _sort(example: CrossExample) -> str:
    return "multiple choice" if _truths(example) is None else "true or false"


def _labels(example: CrossExample) -> Numbers:
    """What the regression is to tell of each pair: 1 where the choice, or of true or false the question, is right."""
    truths = _truths(example)
    assert example.answer is not None
    if truths is not None:
        return np.array([1 - truths[example.answer]])
    return np.eye(len(example.choices), dtype=np.int64)[example.answer]


def _answers(odds: Numbers, labels: Numbers) -> bool:
    """Whether a question is answered rightly: the right choice has the highest odds, or a single row is on the right side."""
    return bool((odds[0] > 0) == labels[0]) if len(odds) == 1 else bool(odds.argmax() == labels.argmax())


def _regression(rows: Sequence[Numbers], labels: Sequence[Numbers], strength: float) -> Any:
    pipeline = import_module("sklearn.pipeline").make_pipeline(
        import_module("sklearn.preprocessing").StandardScaler(),
        import_module("sklearn.linear_model").LogisticRegression(C=strength, max_iter=2000),
    )
    return pipeline.fit(np.concatenate(rows), np.concatenate(labels))


def _check_answers(examples: Sequence[CrossExample]) -> None:
    if not examples:
        raise UsageError("there are no questions to learn from")
    wrong = next((one for one in examples if one.answer is None or not 0 <= one.answer < len(one.choices)), None)
    if wrong is not None:
        raise UsageError(
            f"the question {wrong.question!r} has the answer {wrong.answer}, but to learn from it one of its choices must be right"
        )


def _batches(prepared: Sequence[_Read], batch_size: int, seed: int) -> Iterator[list[_Read]]:
    """The questions once, in batches of like length in an order that the seed decides."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(prepared), generator=generator).tolist()
    together = batch_size * _SORTED_TOGETHER
    sorted_parts = (
        sorted(order[at : at + together], key=lambda place: prepared[place].longest)
        for at in range(0, len(order), together)
    )
    batches = [part[at : at + batch_size] for part in sorted_parts for at in range(0, len(part), batch_size)]
    for number in torch.randperm(len(batches), generator=generator).tolist():
        yield [prepared[place] for place in batches[number]]


def _parts(prepared: Sequence[_Read]) -> list[list[int]]:
    """Places of questions that go through the network together."""
    lengths, counts = [read.longest for read in prepared], [len(read.pairs) for read in prepared]
    return batches_by_length(lengths, batch_size=len(prepared), room=_PIECES_AT_ONCE, counts=counts)
