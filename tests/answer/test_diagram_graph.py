"""Graphs of diagrams: what nearness links, what is taken as given, and what is said of the number of things."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from tenfold.answer.diagram_graph import DiagramGraph, completed, count_sentences, diagram_graph
from tenfold.answer.textbook import Box, Diagram, Part
from tenfold.core.errors import UsageError


def diagram_of(boxes: Sequence[Box], *, links: tuple[tuple[int, int], ...] | None = None) -> Diagram:
    return Diagram("drawn", tuple(Part(f"label {number}", box) for number, box in enumerate(boxes)), links)


def labelled(*texts: str, links: tuple[tuple[int, int], ...] | None = None) -> Diagram:
    """Labels in a row."""
    parts = tuple(Part(text, (100.0 * place, 0.0, 100.0 * place + 50, 20.0)) for place, text in enumerate(texts))
    return Diagram("drawn", parts, links)


def scattered(count: int, seed: int) -> list[Box]:
    """Boxes on a grid, so that many distances are equal, and some overlap."""
    dice = random.Random(seed)
    corners = [(20.0 * dice.randrange(12), 20.0 * dice.randrange(12)) for _ in range(count)]
    return [(x, y, x + dice.choice((10, 30, 60)), y + dice.choice((10, 15))) for x, y in corners]


def around(count: int) -> list[Box]:
    """Equal boxes on a circle, as in a picture of a cycle."""
    middles = [(300 * math.cos(turn), 300 * math.sin(turn)) for turn in (2 * math.pi * k / count for k in range(count))]
    return [(x - 40, y - 12, x + 40, y + 12) for x, y in middles]


def is_in_one_piece(graph: DiagramGraph) -> bool:
    reached = {0}
    for _ in graph.texts:
        reached |= {end for pair in graph.links if reached & {*pair} for end in pair}
    return len(reached) == len(graph.texts)


def gap(a: Box, b: Box) -> float:
    return math.hypot(max(a[0] - b[2], b[0] - a[2], 0), max(a[1] - b[3], b[1] - a[3], 0))


def between_centres(a: Box, b: Box) -> float:
    return math.hypot(a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3])


def test_a_part_is_a_node_of_its_words() -> None:
    graph = diagram_graph(labelled("Outer core", "→", "the Earth's crust"))
    assert graph.texts == (("outer", "core"), (), ("the", "earth's", "crust"))


def test_given_links_are_taken_as_they_are() -> None:
    diagram = diagram_of(around(5), links=((3, 1), (0, 2), (1, 3), (2, 2)))
    assert diagram_graph(diagram).links == ((0, 2), (1, 3))


def test_that_nothing_is_joined_can_be_given() -> None:
    assert diagram_graph(diagram_of(around(5), links=())).links == ()


@pytest.mark.parametrize("seed", range(6))
def test_nearness_links_two_unless_a_third_is_nearer_to_both(seed: int) -> None:
    boxes = scattered(18, seed)

    def distance(i: int, j: int) -> tuple[float, float]:
        return gap(boxes[i], boxes[j]), between_centres(boxes[i], boxes[j])

    expected = tuple(
        (i, j)
        for i, j in combinations(range(18), 2)
        if not any(max(distance(i, k), distance(j, k)) < distance(i, j) for k in range(18) if k not in (i, j))
    )
    assert diagram_graph(diagram_of(boxes)).links == expected


@pytest.mark.parametrize("count", [1, 2, 3, 17, 40])
def test_nearness_gives_one_piece(count: int) -> None:
    for seed in range(8):
        assert is_in_one_piece(diagram_graph(diagram_of(scattered(count, seed))))


@pytest.mark.parametrize("seed", range(6))
def test_another_order_of_the_parts_gives_the_same_graph(seed: int) -> None:
    boxes = scattered(20, seed)
    order = random.Random(seed).sample(range(20), 20)
    graph, moved = diagram_graph(diagram_of(boxes)), diagram_graph(diagram_of([boxes[old] for old in order]))
    assert {tuple(sorted((order[i], order[j]))) for i, j in moved.links} == {*graph.links}


def test_a_long_label_is_near_to_what_is_beside_it_though_its_centre_is_far() -> None:
    long, beside, far = (0.0, 0.0, 400.0, 20.0), (410.0, 0.0, 440.0, 20.0), (410.0, 60.0, 440.0, 80.0)
    below = (0.0, 90.0, 40.0, 110.0)
    assert (0, 1) in diagram_graph(diagram_of([long, beside, far, below])).links


def test_labels_on_each_other_are_not_all_linked() -> None:
    stacked: list[Box] = [(0.0, float(down), 50.0, down + 30.0) for down in range(0, 60, 5)]
    assert len(diagram_graph(diagram_of(stacked)).links) == len(stacked) - 1


def test_parts_beyond_the_limit_are_left_out_with_their_links() -> None:
    graph = diagram_graph(diagram_of(around(6), links=((0, 1), (1, 5))), most=3)
    assert len(graph.texts) == 3
    assert graph.links == ((0, 1),)
    with pytest.raises(UsageError, match="most is 0"):
        diagram_graph(diagram_of(around(6)), most=0)


def test_without_parts_there_is_no_graph_and_nothing_to_say() -> None:
    assert diagram_graph(Diagram("empty")) == DiagramGraph((), ())
    assert count_sentences(Diagram("empty")) == ()
    assert count_sentences(labelled("→", "?")) == ()


def test_the_number_of_labels_is_said_in_a_word_and_in_digits() -> None:
    assert count_sentences(labelled("crust", "Mantle", " mantle ", "core")) == (
        "There are three objects.",
        "There are 3 objects.",
    )
    assert count_sentences(labelled("crust")) == ("There is one object.", "There is 1 object.")


@pytest.mark.parametrize(("count", "word"), [(13, "thirteen"), (20, "twenty"), (42, "forty-two"), (99, "ninety-nine")])
def test_numbers_have_words_up_to_ninety_nine(count: int, word: str) -> None:
    assert count_sentences(diagram_of(around(count)))[0].startswith(f"There are {word} ")


def test_from_a_hundred_on_there_are_digits_alone() -> None:
    assert count_sentences(labelled(*map(str, range(100)))) == ("There are 100 objects.",)


@pytest.mark.parametrize("count", [4, 5, 8])
def test_a_ring_has_stages_whether_it_is_given_or_near(count: int) -> None:
    ring = tuple((place, (place + 1) % count) for place in range(count))
    for links in (None, ring):
        assert count_sentences(diagram_of(around(count), links=links))[1] == f"There are {count} stages."


@pytest.mark.parametrize(
    "links",
    [
        ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5)),
        ((0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3)),
        ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0), (0, 3)),
    ],
    ids=["a chain", "two rings", "a ring with a bridge"],
)
def test_what_is_no_ring_has_objects(links: tuple[tuple[int, int], ...]) -> None:
    assert count_sentences(diagram_of(around(6), links=links))[1] == "There are 6 objects."


def test_two_things_are_no_ring() -> None:
    assert count_sentences(labelled("day", "night", links=((0, 1), (1, 0))))[1] == "There are 2 objects."


def test_what_is_joined_is_said_once_and_only_where_it_was_given() -> None:
    given = labelled("crust", "mantle", "core", "", links=((1, 0), (0, 1), (1, 2), (2, 3), (2, 2)))
    assert count_sentences(given)[2:] == ("mantle is joined with crust.", "mantle is joined with core.")
    assert len(count_sentences(replace(given, links=None))) == 2


def test_a_reader_fills_what_has_a_picture_but_no_parts() -> None:
    found = labelled("crust", "mantle", links=((0, 1),))
    asked: list[Path] = []

    def reader(picture: Path) -> Diagram:
        asked.append(picture)
        return found

    bare = Diagram("layers.png", picture=Path("layers.png"), caption="cut open")
    assert completed(bare, reader) == replace(bare, parts=found.parts, links=found.links)
    assert asked == [Path("layers.png")]
    for complete in (replace(bare, picture=None), replace(bare, parts=found.parts)):
        assert completed(complete, reader) is complete
    assert completed(bare, None) is bare
    assert len(asked) == 1
