"""The graph of a diagram: its texts are the nodes, and what a line joins, or what is near, is linked.

The paper finds lines with a network of its own, which was never published. Where a book says what is joined (or a reader
of pictures that somebody plugs in), that is taken; elsewhere nearness decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.config import require
from .textbook import Box, Diagram
from .words import split_words

_SMALL = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


class DiagramGraph(NamedTuple):
    """Nodes, each with its words, and undirected links between them."""

    texts: tuple[tuple[str, ...], ...]
    """the words of each part, in the order of the parts; empty for a part that is only signs"""
    links: tuple[tuple[int, int], ...]
    """pairs (i, j) with i < j, sorted, each once"""


class DiagramReader(Protocol):
    """Finds what is in a picture: a reader of text such as `OcrReader`, or a detector that finds lines as well."""

    def __call__(self, picture: Path) -> Diagram: ...


def completed(diagram: Diagram, reader: DiagramReader | None) -> Diagram:
    """The diagram with the parts and links that a reader finds in its picture, if it has a picture but no parts.

    Raises:
        UsageError: the reader cannot open the picture.
    """
    if reader is None or diagram.parts or diagram.picture is None:
        return diagram
    found = reader(diagram.picture)
    return replace(diagram, parts=found.parts, links=found.links)


def diagram_graph(diagram: Diagram, *, most: int = 40) -> DiagramGraph:
    """A_d of eq. (1), without loops; a diagram without parts has the empty graph.

    Links that are given are taken as they are. Where they are None, two parts are linked unless a third is nearer to
    both than they are to each other (the relative neighbourhood graph), "ours". It has no setting, it contains every
    minimum spanning tree and so is in one piece, it joins the steps of a cycle all the way round where a tree would
    leave a gap, and equal distances do not make it depend on the order of the parts. Near means a small gap between the
    boxes, not between their centres, or long labels would be far from everything; equal gaps go by the centres.

    Args:
        diagram: of which every box has finite sides.
        most: nodes; parts beyond it, in the diagram's order, are left out with their links.

    Raises:
        UsageError: `most` is less than 1.
    """
    require(most >= 1, "most", most, "at least 1")
    parts = diagram.parts[:most]
    texts = tuple(tuple(word.text for word in split_words(part.text)) for part in parts)
    if diagram.links is None:
        return DiagramGraph(texts, _near([part.box for part in parts]))
    pairs = {(min(pair), max(pair)) for pair in diagram.links}
    return DiagramGraph(texts, tuple(sorted((i, j) for i, j in pairs if i != j and j < len(parts))))


def count_sentences(diagram: Diagram) -> tuple[str, ...]:
    """What a diagram shows, said in sentences, so that a question about numbers can be answered from text.

    How many things there are; that and how the paper says so is our reconstruction. A ring of at least three parts is said to
    be of stages, everything else of objects; labels that are there twice count once. The number is said twice, in a
    word (up to ninety-nine) and in digits, since a choice may have either. What is joined is "ours", and said only of
    links that were given: of nearness it would be a guess. A diagram without words has no sentences.
    """
    labels = [" ".join(part.text.split()) for part in diagram.parts]
    count = len({label.casefold() for label in labels if split_words(label)})
    if not count:
        return ()
    thing = "stage" if _is_ring(diagram_graph(diagram, most=len(labels))) else "object"
    numbers = [_in_words(count), str(count)] if count < 100 else [str(count)]
    there = f"There {'is' if count == 1 else 'are'}"
    counted = [f"{there} {number} {thing if count == 1 else thing + 's'}." for number in numbers]
    joined: dict[frozenset[str], str] = {}
    for i, j in diagram.links or ():
        if labels[i] and labels[j] and labels[i] != labels[j]:
            joined.setdefault(frozenset((labels[i], labels[j])), f"{labels[i]} is joined with {labels[j]}.")
    return (*counted, *joined.values())


def _near(boxes: Sequence[Box]) -> tuple[tuple[int, int], ...]:
    """The relative neighbourhood graph of boxes."""
    if len(boxes) < 2:
        return ()
    rank = _ranks(np.array(boxes, dtype=np.float64))
    between = np.array([np.maximum(rank, row).min(1) for row in rank])
    return tuple((int(i), int(j)) for i, j in np.argwhere(np.triu(rank <= between, 1)))


def _ranks(boxes: NDArray[np.float64]) -> NDArray[np.int64]:
    """(N, N): how near each two of N boxes (N, 4) are, the nearest first; the same number for equally near ones."""
    corner, opposite = boxes[:, :2], boxes[:, 2:]
    apart = np.maximum(corner[:, None] - opposite[None], corner[None] - opposite[:, None]).clip(0)
    centres = (corner + opposite) / 2
    between = np.abs(centres[:, None] - centres[None])
    distances = np.stack([np.hypot(*apart.transpose(2, 0, 1)), np.hypot(*between.transpose(2, 0, 1))], -1)
    _, order = np.unique(distances.reshape(-1, 2), axis=0, return_inverse=True)
    return order.reshape(len(boxes), len(boxes)).astype(np.int64)


def _is_ring(graph: DiagramGraph) -> bool:
    """Whether the links go round once through all nodes; of fewer than 3, no node has two others."""
    near: dict[int, list[int]] = {node: [] for node in range(len(graph.texts))}
    for i, j in graph.links:
        near[i].append(j)
        near[j].append(i)
    if any(len(others) != 2 for others in near.values()):
        return False
    before, here, length = 0, near[0][0], 1
    while here != 0:
        before, here = here, next(node for node in near[here] if node != before)
        length += 1
    return length == len(near)


def _in_words(number: int) -> str:
    """Of 0 to 99."""
    if number < 20:
        return _SMALL[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_SMALL[ones]}" if ones else "")
