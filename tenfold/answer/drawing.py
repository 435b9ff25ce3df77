"""What a person sees of an answer: the words it was read from and their links, the diagram, and a page with all of it.

Nothing is left to chance: the same input gives the same picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from PIL import Image, ImageChops

from ..core.config import require
from ..core.figures import FAINT, INK, PALETTE
from ..core.pictures import open_picture
from .canvas import (
    FINE,
    SMALL,
    TEXT,
    Canvas,
    Point,
    broken,
    fitted,
    font,
    heat,
    joint,
    middle,
    shares_of,
    strongest,
    wrapped,
)
from .diagram_graph import diagram_graph
from .words import split_sentences, split_words

if TYPE_CHECKING:
    from .text_graph import TextGraph
    from .textbook import Box, Diagram, Part

WIDTH = 1200
"""pixels of a picture of words, and of a page"""
MARGIN = 36
CHOSEN, OTHER = PALETTE[0], "#c3cedb"
PARAGRAPHS_APART = "\n\n"
"""between paragraphs of a text that is drawn: sentences end there"""
MOST_LINES = 40
"""of a paragraph on a page"""

_STEP, _HIGH = 15, 36  # pixels from an arc to the next one above it, and of a word's box
_LONGEST_WORD = 26  # letters
_LEAST_WIDTH = 640  # pixels, of what stands below a diagram


def draw_graph(graph: TextGraph, weights: Sequence[float] | None = None, *, title: str) -> Image.Image:
    """The words of a context graph in reading order, a line or more for each sentence, with arcs for the links.

    Words of the question or the choice have a strong frame, dots stand where words of a sentence are not in the graph, and
    the number of each sentence is at the left. Links within a line are arcs above it, links between lines are curves.

    Args:
        graph: up to about 60 words are easy to read.
        weights: attention of each word, not negative, shown as shares of their sum; None shows none.
        title: a line above it; empty for none.

    Raises:
        UsageError: another number of weights than words, or a negative or infinite one or NaN.
    """
    shares = shares_of(weights, len(graph.words), "words")
    words = [word if len(word) <= _LONGEST_WORD else f"{word[: _LONGEST_WORD - 1]}…" for word in graph.words]
    rows = _rows(graph, words)
    levels = [_levels(row, graph.links) for row in rows]
    heading = wrapped(title, TEXT, WIDTH - 2 * MARGIN)
    top = MARGIN / 2 + 1.3 * TEXT * len(heading)
    boxes: dict[int, Box] = {}
    for row, inside in zip(rows, levels, strict=True):
        top += 10 + _STEP * max(inside.values(), default=0)
        boxes |= {node: (left, top, right, top + _HIGH) for node, (left, right) in row.items()}
        top += _HIGH + 26
    canvas = Canvas(WIDTH, top + 2 * MARGIN)
    canvas.lines((MARGIN, MARGIN), heading)
    _draw_links(canvas, graph.links, levels, boxes)
    _draw_reading_marks(canvas, graph, rows, boxes)
    for node, box in boxes.items():
        is_anchor = node in graph.anchors
        canvas.box(box, heat(shares, node), INK if is_anchor else FAINT, 2 if is_anchor else 1)
        canvas.text(middle(box), words[node], anchor="mm")
    for node in strongest(shares):
        _write_number(canvas, shares[node], (middle(boxes[node])[0], boxes[node][3] + 12))
    place = canvas.attention((MARGIN, top + MARGIN), shares), top + MARGIN
    canvas.box((place[0], place[1] - 9, place[0] + 28, place[1] + 9), "white", INK, 2)
    canvas.text((place[0] + 38, place[1]), "word of the question or the choice", SMALL)
    return canvas.finished()


def draw_diagram(
    diagram: Diagram, weights: Sequence[float] | None = None, picture: Image.Image | None = None
) -> Image.Image:
    """A diagram as the network has it: each text in its box, the links between them, and the attention of each as colour.

    Drawn over the picture where there is one, whose own texts then stay to be seen.

    Args:
        diagram: links that are not given are those of nearness, as in `diagram_graph`.
        weights: attention of each part, not negative, shown as shares of their sum; None shows none.
        picture: of the same pixels as the boxes; None opens the diagram's own, if it has one.

    Raises:
        UsageError: another number of weights than parts, or a negative or infinite one or NaN, or the diagram's own picture
            cannot be opened.
    """
    shares = shares_of(weights, len(diagram.parts), "parts")
    if picture is None and diagram.picture is not None:
        picture = open_picture(diagram.picture)
    boxes, (width, height) = _placed(diagram, picture)
    canvas = Canvas(max(width, _LEAST_WIDTH), height + 1.5 * MARGIN)
    for node, box in enumerate(boxes):
        canvas.box(box, heat(shares, node))
    if picture is not None:
        shown = picture.convert("RGB").resize((width * FINE, height * FINE), Image.Resampling.LANCZOS)
        # multiplied, since a colour laid over the picture would hide its text
        canvas.image.paste(ImageChops.multiply(shown, canvas.image.crop((0, 0, *shown.size))))
    for i, j in diagram_graph(diagram, most=max(1, len(boxes))).links:
        canvas.line(joint(boxes[i], boxes[j]), width=2.5)
    for part, box in zip(diagram.parts, boxes, strict=True):
        canvas.box(box, None, FAINT)
        if picture is None:
            _write_inside(canvas, part.text, box)
    for node in strongest(shares):
        _write_number(canvas, shares[node], (boxes[node][2] - 18, boxes[node][3] + 11))
    _draw_diagram_key(canvas, diagram, shares, height + 0.75 * MARGIN)
    return canvas.finished()


def explanation_sheet(
    question: str,
    choices: Sequence[str],
    probabilities: Sequence[float],
    answer: int | None,
    paragraph: str,
    graph: TextGraph,
    weights: Sequence[float],
    diagram: Image.Image | None = None,
) -> Image.Image:
    """One page: the question, how probable each choice is, the paragraph it was read from, its graph, and the diagram.

    Args:
        question: its text.
        choices: N texts.
        probabilities: N numbers in [0, 1]; the choice with the greatest is said to be chosen, the first of equal ones.
        answer: place of the right choice, which is marked; None where it is not known.
        paragraph: the evidence, that the graph is of; after 40 lines it is cut.
        graph: drawn below it.
        weights: attention of each word of the graph, not negative; the paragraph's words are shaded by it.
        diagram: what `draw_diagram` has drawn.

    Raises:
        UsageError: another number of probabilities than choices, or one is not in [0, 1]; the answer is no choice; another number
            of weights than words, or one is negative, infinite or NaN.
    """
    count = len(choices)
    require(len(probabilities) == count > 0, "the number of probabilities", len(probabilities), f"{count}, at least 1")
    for probability in probabilities:
        require(0 <= probability <= 1, "a probability", probability, "in [0, 1]")
    require(answer is None or 0 <= answer < count, "answer", answer, f"None, or 0 to {count - 1}")
    parts = [
        _question_part(question, choices, probabilities, answer),
        _evidence_part(paragraph, graph, shares_of(weights, len(graph.words), "words")),
        _picture_part("Its words as a graph", draw_graph(graph, weights, title="")),
    ]
    if diagram is not None:
        parts.append(_picture_part("The diagram", diagram))
    page = Image.new("RGB", (WIDTH, sum(part.height for part in parts)), "white")
    top = 0
    for part in parts:
        page.paste(part, (0, top))
        top += part.height
    return page


def _rows(graph: TextGraph, words: Sequence[str]) -> list[dict[int, Point]]:
    """For each line, its nodes from left to right, with where they begin and end; lines of a sentence are about as long."""
    sentences: dict[int, list[int]] = {}
    for node in sorted(range(len(words)), key=lambda node: (graph.sentence[node], graph.position[node])):
        sentences.setdefault(graph.sentence[node], []).append(node)
    rows: list[dict[int, Point]] = []
    for nodes in sentences.values():
        limits = range(WIDTH - MARGIN, WIDTH // 3, -30)
        tried = [_filled(graph, words, nodes, limit) for limit in limits]
        rows += [lines for lines in tried if len(lines) == len(tried[0])][-1]
    return rows


def _filled(graph: TextGraph, words: Sequence[str], nodes: Sequence[int], limit: float) -> list[dict[int, Point]]:
    """The nodes of a sentence in lines that end before a limit, in pixels from the left."""
    rows: list[dict[int, Point]] = []
    left, before = limit, nodes[0]
    for node in nodes:
        width = font(TEXT).getlength(words[node]) + 20
        left += 30 if graph.position[node] > graph.position[before] + 1 else 12
        if left + width > limit:
            left = MARGIN + 28.0
            rows.append({})
        rows[-1][node] = (left, left + width)
        before, left = node, left + width
    return rows


def _levels(row: Mapping[int, Point], links: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """How high the arc of each link within a line goes, from 1: short ones low, and no two on each other."""
    places = {node: place for place, node in enumerate(row)}
    spans = {(i, j): sorted((places[i], places[j])) for i, j in links if i in places and j in places}
    levels: dict[tuple[int, int], int] = {}
    for pair in sorted(spans, key=lambda pair: (spans[pair][1] - spans[pair][0], spans[pair])):
        low, high = spans[pair]
        taken = {level for other, level in levels.items() if spans[other][0] < high and low < spans[other][1]}
        levels[pair] = next(level for level in range(1, len(taken) + 2) if level not in taken)
    return levels


def _draw_links(
    canvas: Canvas,
    links: Sequence[tuple[int, int]],
    levels: Sequence[Mapping[tuple[int, int], int]],
    boxes: Mapping[int, Box],
) -> None:
    within = {pair: level for inside in levels for pair, level in inside.items()}
    for pair in links:
        if pair not in within:
            upper, lower = sorted((boxes[node] for node in pair), key=lambda box: box[1])
            canvas.line(_curve((middle(upper)[0], upper[3]), (middle(lower)[0], lower[1])), OTHER)
    for pair, level in within.items():
        left, right = sorted(boxes[node] for node in pair)
        # off the middles, or the arcs of a word to its left and right would be one line
        start, end = (left[0] + 2 * left[2]) / 3, (2 * right[0] + right[2]) / 3
        canvas.line(_arc(start, end, left[1], _STEP * level))


def _arc(start: float, end: float, base: float, height: float) -> list[Point]:
    """Up, across and down again, with round corners."""
    radius = min(height, 12.0, (end - start) / 2)
    turns = [math.pi / 2 * step / 8 for step in range(9)]
    rise = [(start + radius * (1 - math.cos(turn)), base - height + radius * (1 - math.sin(turn))) for turn in turns]
    return [(start, base), *rise, *((start + end - x, y) for x, y in reversed(rise)), (end, base)]


def _curve(start: Point, end: Point) -> list[Point]:
    """Down from one line to another, upright at both ends."""
    steps = [step / 24 for step in range(25)]
    across, down = end[0] - start[0], end[1] - start[1]
    return [(start[0] + (3 - 2 * step) * step**2 * across, start[1] + step * down) for step in steps]


def _draw_reading_marks(
    canvas: Canvas, graph: TextGraph, rows: Sequence[Mapping[int, Point]], boxes: Mapping[int, Box]
) -> None:
    """The number of each sentence, and dots for words that are not in the graph."""
    numbered: set[int] = set()
    for row in rows:
        first = next(iter(row))
        if graph.sentence[first] not in numbered:
            numbered.add(graph.sentence[first])
            place = (MARGIN, middle(boxes[first])[1])
            canvas.text(place, str(graph.sentence[first] + 1), SMALL, colour=FAINT)
        for before, node in pairwise(row):
            if graph.position[node] > graph.position[before] + 1:
                between = (boxes[before][2] + boxes[node][0]) / 2
                canvas.text((between, middle(boxes[node])[1]), "…", SMALL, colour=FAINT, anchor="mm")


def _placed(diagram: Diagram, picture: Image.Image | None) -> tuple[list[Box], tuple[int, int]]:
    """The boxes in pixels of what is drawn, and its width and height: without a picture, as large as the texts need."""
    boxes = [part.box for part in diagram.parts]
    if picture is not None:
        left, top, right, bottom = 0.0, 0.0, float(picture.width), float(picture.height)
        edge, wanted = 0.0, 900 / max(picture.size)
    elif boxes:
        lefts, tops, rights, bottoms = zip(*boxes, strict=True)
        left, top, right, bottom = min(lefts), min(tops), max(rights), max(bottoms)
        edge, wanted = MARGIN, max(map(_scale_for, diagram.parts))
    else:
        return [], (_LEAST_WIDTH, 1)
    scale = min(wanted, 1400 / max(1.0, right - left, bottom - top))
    placed = [
        (edge + scale * (a - left), edge + scale * (b - top), edge + scale * (c - left), edge + scale * (d - top))
        for a, b, c, d in boxes
    ]
    return placed, (max(1, round(scale * (right - left) + 2 * edge)), max(1, round(scale * (bottom - top) + 2 * edge)))


def _scale_for(part: Part) -> float:
    """How many times as large a box must be for its text in a small font, in one line or several."""
    width, height = max(1.0, part.box[2] - part.box[0]), max(1.0, part.box[3] - part.box[1])
    needed = 1.5 * SMALL * font(SMALL).getlength(part.text)
    return max(1.5 * SMALL / height, math.sqrt(1.5 * needed / (width * height)))


def _write_inside(canvas: Canvas, text: str, box: Box) -> None:
    width, height = box[2] - box[0] - 6, box[3] - box[1]
    lines, size = fitted(text, width, height, largest=TEXT, smallest=11) or ([text], 11)
    across, down = middle(box)
    canvas.lines((across, down - 0.65 * size * (len(lines) - 1)), lines, size, anchor="mm")


def _write_number(canvas: Canvas, share: float, place: Point) -> None:
    """An attention, with its middle at a place, and white around it."""
    text = f"{share:.0%}"
    half = font(SMALL - 2).getlength(text) / 2 + 3
    canvas.box((place[0] - half, place[1] - 9, place[0] + half, place[1] + 9), "white", radius=4)
    canvas.text(place, text, SMALL - 2, anchor="mm")


def _draw_diagram_key(canvas: Canvas, diagram: Diagram, shares: Sequence[float], down: float) -> None:
    if not diagram.parts:
        canvas.text((MARGIN, down), "nothing is known of what is in this diagram", SMALL)
        return
    left = canvas.attention((MARGIN, down), shares)
    canvas.line([(left, down), (left + 28, down)], width=2.5)
    said = "joined, as the book says" if diagram.links is not None else "near to each other"
    canvas.text((left + 38, down), said, SMALL)


def _question_part(
    question: str, choices: Sequence[str], probabilities: Sequence[float], answer: int | None
) -> Image.Image:
    """The question, and a row for each choice: its text, a bar, and what is to be said of it."""
    asked = wrapped(question, 26, WIDTH - 2 * MARGIN)
    texts = [wrapped(f"{chr(97 + place)})  {choice}", TEXT, 600) for place, choice in enumerate(choices)]
    heights = [1.3 * TEXT * len(lines) + 16 for lines in texts]
    top = MARGIN + 1.3 * 26 * len(asked) + 12
    canvas = Canvas(WIDTH, top + sum(heights))
    canvas.lines((MARGIN, MARGIN + 6), asked, 26)
    best = max(range(len(choices)), key=lambda place: probabilities[place])
    for place, (lines, probability) in enumerate(zip(texts, probabilities, strict=True)):
        down = top + 8 + 0.65 * TEXT
        canvas.lines((MARGIN, down), lines)
        canvas.box(
            (680, down - 11, 680 + 2 + 240 * probability, down + 11), CHOSEN if place == best else OTHER, radius=3
        )
        said = [f"{probability:.0%}", *["chosen"] * (place == best), *["right"] * (place == answer)]
        canvas.text((690 + 240 * probability, down), ", ".join(said))
        top += heights[place]
    return canvas.finished()


def _evidence_part(paragraph: str, graph: TextGraph, shares: Sequence[float]) -> Image.Image:
    """The paragraph, with the words that were attended to shaded."""
    sentences = split_sentences(paragraph)
    text, shades = " ".join(sentences), _shades(sentences, graph, shares)
    lines = broken(text, TEXT, WIDTH - 2 * MARGIN)
    canvas = Canvas(WIDTH, 2 * MARGIN + 1.5 * TEXT * min(len(lines), MOST_LINES + 1))
    canvas.text((MARGIN, MARGIN), "What was read", SMALL, colour=FAINT)
    down = 2.0 * MARGIN
    for line in lines[:MOST_LINES]:
        for start, end, left in line:
            for (first, last), colour in shades.items():
                if first < end and start < last:
                    begin, width = (font(TEXT).getlength(text[a:b]) for a, b in ((start, first), (first, last)))
                    begin += MARGIN + left
                    canvas.box((begin - 2, down - 14, begin + width + 2, down + 14), colour, radius=3)
            canvas.text((MARGIN + left, down), text[start:end])
        down += 1.5 * TEXT
    if len(lines) > MOST_LINES:
        canvas.text((MARGIN, down), "…", colour=FAINT)
    return canvas.finished()


def _shades(sentences: Sequence[str], graph: TextGraph, shares: Sequence[float]) -> dict[tuple[int, int], str]:
    """Where attended words begin and end in the sentences put together with a space between them, and their colours."""
    begins = list(accumulate((len(sentence) + 1 for sentence in sentences), initial=0))
    words = [split_words(sentence) for sentence in sentences]
    shades = {}
    for node, (sentence, position) in enumerate(zip(graph.sentence, graph.position, strict=True)):
        # a graph may go on with sentences about the diagram, which are not in the paragraph
        if sentence < len(words) and position < len(words[sentence]) and shares[node] > 0.05 * max(shares):
            word, begin = words[sentence][position], begins[sentence]
            shades[begin + word.start, begin + word.end] = heat(shares, node)
    return shades


def _picture_part(heading: str, picture: Image.Image) -> Image.Image:
    """A picture of its own size, or as wide as the page, below a line."""
    width = min(picture.width, WIDTH)
    shown = picture.convert("RGB").resize(
        (width, max(1, picture.height * width // picture.width)), Image.Resampling.LANCZOS
    )
    canvas = Canvas(WIDTH, 2 * MARGIN)
    canvas.text((MARGIN, MARGIN), heading, SMALL, colour=FAINT)
    part = Image.new("RGB", (WIDTH, 2 * MARGIN + shown.height), "white")
    part.paste(canvas.finished())
    part.paste(shown, ((WIDTH - width) // 2, 2 * MARGIN))
    return part
