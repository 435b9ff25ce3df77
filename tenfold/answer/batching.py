"""Examples put together into padded batches. What several pairs share, such as a context, is in a batch once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .examples import EncodedContext, EncodedDrawing, EncodedText, Example
from .solver import Batch, Contexts, Drawings, Texts

T = TypeVar("T")


class Shared(Generic[T]):
    """Different things in the order in which they came, each with its number."""

    def __init__(self) -> None:
        self.items: list[T] = []
        self._numbers: dict[Hashable, int] = {}

    def number(self, item: T) -> int:
        """The number of a thing; things are the same where they are one object, as the encoder makes equal ones."""
        number = self._numbers.setdefault(id(item), len(self.items))
        if number == len(self.items):
            self.items.append(item)
        return number


def collate(examples: Sequence[Example]) -> Batch:
    """A batch of examples, at least one."""
    questions, choices, contexts = Shared[EncodedText](), Shared[EncodedText](), Shared[EncodedContext]()
    drawings, own = Shared[EncodedDrawing](), Shared[EncodedDrawing]()
    parts, places = [], []
    for row, example in enumerate(examples):
        for column, pair in enumerate(example.pairs):
            parts.append(
                (
                    questions.number(pair.question),
                    choices.number(pair.choice),
                    contexts.number(pair.context),
                    drawings.number(pair.drawing),
                    own.number(pair.own),
                )
            )
            places.append((row, column))
    return Batch(
        _texts(questions.items),
        _texts(choices.items),
        Contexts(
            _texts([context.nodes for context in contexts.items]),
            _links([c.links for c in contexts.items], _most(c.nodes.rows for c in contexts.items)),
        ),
        _drawings(drawings.items),
        _drawings(own.items),
        torch.tensor(parts),
        torch.tensor(places),
        (len(examples), max(len(example.pairs) for example in examples)),
        torch.tensor([example.answer for example in examples]),
    )


def shuffled(example: Example, random: torch.Generator) -> Example:
    """The same candidates in a drawn order, unless theirs is to be kept.

    In the self-supervised stage the right paragraph comes first, and the recurrent solver would learn just that.
    """
    order = torch.randperm(len(example.pairs), generator=random).tolist()
    if example.ordered:
        return example
    answer = order.index(example.answer) if example.answer >= 0 else example.answer
    return Example(example.name, tuple(example.pairs[place] for place in order), answer)


def _texts(texts: Sequence[EncodedText]) -> Texts:
    mask = pad_sequence([torch.ones(len(text.rows), dtype=torch.bool) for text in texts], batch_first=True)
    return Texts(
        pad_sequence([text.rows for text in texts], batch_first=True),
        pad_sequence([text.words for text in texts], batch_first=True),
        pad_sequence([text.flags for text in texts], batch_first=True),
        mask,
    )


def _drawings(drawings: Sequence[EncodedDrawing]) -> Drawings:
    labels = _most(drawing.flags for drawing in drawings)
    longest = max((len(rows) for drawing in drawings for rows in drawing.rows), default=0)
    shape = (len(drawings), labels, longest)
    rows, words = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64)
    inside, mask = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape[:2], dtype=torch.bool)
    for number, drawing in enumerate(drawings):
        mask[number, : len(drawing.rows)] = True
        for label, (its_rows, its_words) in enumerate(zip(drawing.rows, drawing.words, strict=True)):
            rows[number, label, : len(its_rows)] = its_rows
            words[number, label, : len(its_words)] = its_words
            inside[number, label, : len(its_rows)] = True
    flags = pad_sequence([drawing.flags for drawing in drawings], batch_first=True)
    return Drawings(rows, words, inside, flags, mask, _links([drawing.links for drawing in drawings], labels))


def _links(pairs: Sequence[Tensor], nodes: int) -> Tensor:
    """bool (U, nodes, nodes), symmetric."""
    joined = torch.zeros((len(pairs), nodes, nodes), dtype=torch.bool)
    for number, links in enumerate(pairs):
        joined[number, links[:, 0], links[:, 1]] = True
    return joined | joined.transpose(1, 2)


def _most(parts: Iterable[Tensor]) -> int:
    return max(len(part) for part in parts)
