"""The graph of a text for a question: its words, those that depend on one another joined, around the words that were asked about.

The paper builds it from the dependency trees of a paragraph; that words more than two links from any word of the question or the
candidate are dropped is reconstructed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from itertools import accumulate
from typing import NamedTuple

from ..core.errors import UsageError
from .parsing import Parse
from .words import STOP_WORDS, stem


class TextGraph(NamedTuple):
    """Words of a paragraph that are near to what is asked, in the order of the text, and their links. Nodes count from 0."""

    words: tuple[str, ...]
    """of each node, lower case; a word that occurs twice is two nodes"""
    links: tuple[tuple[int, int], ...]
    """pairs of nodes (i, j) with i < j, sorted, none twice"""
    anchors: tuple[int, ...]
    """nodes whose word is asked about, in order"""
    sentence: tuple[int, ...]
    """which sentence of the paragraph each node is from"""
    position: tuple[int, ...]
    """which word of that sentence each node is"""


def text_graph(parses: Sequence[Parse], asked: Collection[str], *, reach: int = 2, most: int = 120) -> TextGraph:
    """The graph of a paragraph around the words that are asked about.

    Anchors are the words whose stem is that of an asked word, stop words left out. Kept are the words at most `reach` links from
    an anchor, stop words among them, since the trees go through those; without any anchor, all words are. Of more than `most`,
    those nearest to an anchor are kept, and of equally near ones the first.

    Args:
        parses: of the paragraph's sentences, in order; no link goes from one to another.
        asked: words of the question and the candidate, lower case.
        reach: links, at least 0; 0 keeps the anchors alone.
        most: nodes, at least 1.

    Raises:
        UsageError: `reach` is below 0 or `most` below 1.
    """
    if reach < 0:
        raise UsageError(f"reach is {reach}, but must be at least 0")
    if most < 1:
        raise UsageError(f"most is {most}, but must be at least 1")
    words = [word for parse in parses for word in parse.words]
    starts = list(accumulate((len(parse.words) for parse in parses), initial=0))
    links = [(start + i, start + j) for start, parse in zip(starts, parses, strict=False) for i, j in parse.links]
    wanted = {stem(word) for word in asked if word not in STOP_WORDS}
    anchors = [place for place, word in enumerate(words) if word not in STOP_WORDS and stem(word) in wanted]
    kept = _kept(_distances(len(words), links, anchors), reach, most) if anchors else range(min(most, len(words)))
    node_of = {place: node for node, place in enumerate(kept)}
    places = [(sentence, at) for sentence, parse in enumerate(parses) for at in range(len(parse.words))]
    return TextGraph(
        words=tuple(words[place] for place in kept),
        links=tuple(sorted((node_of[i], node_of[j]) for i, j in links if i in node_of and j in node_of)),
        anchors=tuple(node_of[place] for place in anchors if place in node_of),
        sentence=tuple(places[place][0] for place in kept),
        position=tuple(places[place][1] for place in kept),
    )


def _kept(distances: Sequence[int | None], reach: int, most: int) -> list[int]:
    """The places of at most `most` words within reach, in the order of the text."""
    near = [(distance, place) for place, distance in enumerate(distances) if distance is not None and distance <= reach]
    return sorted(place for _, place in sorted(near)[:most])


def _distances(count: int, links: Sequence[tuple[int, int]], anchors: Sequence[int]) -> list[int | None]:
    """Links from each of `count` words to the nearest anchor; None where no way leads to one."""
    neighbours: list[list[int]] = [[] for _ in range(count)]
    for one, other in links:
        neighbours[one].append(other)
        neighbours[other].append(one)
    distances: list[int | None] = [None] * count
    for anchor in anchors:
        distances[anchor] = 0
    waiting = deque((anchor, 0) for anchor in anchors)
    while waiting:
        place, distance = waiting.popleft()
        for neighbour in neighbours[place]:
            if distances[neighbour] is None:
                distances[neighbour] = distance + 1
                waiting.append((neighbour, distance + 1))
    return distances
