"""Pictures of graphs, diagrams and answers: what is written and shaded where, that nothing overlaps, and what is refused."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image, ImageColor

from tenfold.answer.canvas import BARE, FINE, HOT, LINK, Canvas, Point, broken, fitted, font, joint, wrapped
from tenfold.answer.drawing import WIDTH, draw_diagram, draw_graph, explanation_sheet
from tenfold.answer.text_graph import TextGraph
from tenfold.answer.textbook import Box, Diagram, Part
from tenfold.answer.words import split_sentences, split_words
from tenfold.core.errors import UsageError
from tenfold.core.figures import FAINT, INK

TEXT = "The crust is thin. Below the crust lies the mantle, a thick layer of hot rock."


@dataclass
class Drawn:
    """What has been put on canvases, in order."""

    texts: list[tuple[Point, str]] = field(default_factory=list)
    boxes: list[tuple[Box, str | None, str | None]] = field(default_factory=list)
    lines: list[tuple[Sequence[Point], str]] = field(default_factory=list)

    @property
    def written(self) -> list[str]:
        return [text for _, text in self.texts]

    def framed(self) -> list[Box]:
        """Of words and parts."""
        return [box for box, fill, outline in self.boxes if outline in (INK, FAINT) and fill != "white"]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    kept = Drawn()
    text, box, line = Canvas.text, Canvas.box, Canvas.line

    def keep_text(self: Canvas, place: Point, words: str, *args: Any, **options: Any) -> None:
        kept.texts.append((place, words))
        text(self, place, words, *args, **options)

    def keep_box(
        self: Canvas, where: Box, fill: str | None, outline: str | None = None, *args: Any, **options: Any
    ) -> None:
        kept.boxes.append((where, fill, outline))
        box(self, where, fill, outline, *args, **options)

    def keep_line(self: Canvas, points: Sequence[Point], colour: str = LINK, *args: Any, **options: Any) -> None:
        kept.lines.append((points, colour))
        line(self, points, colour, *args, **options)

    monkeypatch.setattr(Canvas, "text", keep_text)
    monkeypatch.setattr(Canvas, "box", keep_box)
    monkeypatch.setattr(Canvas, "line", keep_line)
    return kept


def graph_of(text: str, *, links: tuple[tuple[int, int], ...] = (), anchors: tuple[int, ...] = ()) -> TextGraph:
    """All words of a text."""
    found = [
        (word.text, place, position)
        for place, sentence in enumerate(split_sentences(text))
        for position, word in enumerate(split_words(sentence))
    ]
    words, sentence, position = zip(*found, strict=True)
    return TextGraph(words, links, anchors, sentence, position)


def large_graph(seed: int) -> TextGraph:
    """60 words of up to 22 letters in four sentences, with 80 links anywhere."""
    dice = random.Random(seed)
    words = tuple("m" * dice.randint(1, 22) for _ in range(60))
    links = tuple(sorted({tuple(sorted(dice.sample(range(60), 2))) for _ in range(80)}))
    return TextGraph(
        words, cast(tuple[tuple[int, int], ...], links), (3, 40), tuple(k // 15 for k in range(60)), (*range(60),)
    )


def cycle(*, links: tuple[tuple[int, int], ...] | None = None, picture: Path | None = None) -> Diagram:
    places = {"egg": (100, 10), "caterpillar (larva)": (180, 60), "pupa": (100, 110), "adult butterfly": (20, 60)}
    parts = tuple(Part(text, (x - 20.0, y - 8.0, x + 20.0, y + 8.0)) for text, (x, y) in places.items())
    return Diagram("cycle.png", parts, links, picture)


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def colour_at(picture: Image.Image, x: float, y: float) -> tuple[int, ...]:
    return cast(tuple[int, ...], picture.getpixel((round(x), round(y))))


def test_every_word_is_written_in_a_box_that_overlaps_no_other(drawn: Drawn) -> None:
    for seed in range(3):
        drawn.boxes.clear()
        drawn.texts.clear()
        graph = large_graph(seed)
        picture = draw_graph(graph, [1.0] * 60, title="words")
        boxes = drawn.framed()
        assert len(boxes) == 60
        assert not any(overlap(a, b) for a, b in combinations(boxes, 2))
        assert all(min(box) >= 0 and box[2] <= WIDTH and box[3] <= picture.height for box in boxes)
        middles = {((box[0] + box[2]) / 2, (box[1] + box[3]) / 2): box[2] - box[0] for box in boxes}
        written = [(text, middles[place]) for place, text in drawn.texts if place in middles]
        assert [text for text, _ in written] == list(graph.words)
        assert all(font(21).getlength(text) < width for text, width in written)


def test_words_are_in_reading_order_whatever_their_numbers(drawn: Drawn) -> None:
    graph = TextGraph(("mantle", "the", "crust", "the"), (), (), (1, 0, 0, 1), (1, 0, 1, 0))
    draw_graph(cast(Any, graph), title="")
    found = sorted((place[1], place[0], text) for place, text in drawn.texts if text in graph.words)
    assert [text for _, _, text in found] == ["the", "crust", "the", "mantle"]
    assert found[1][0] < found[2][0]


def test_dots_stand_for_words_that_are_not_in_the_graph(drawn: Drawn) -> None:
    draw_graph(TextGraph(("crust", "is", "thin"), (), (), (4, 4, 4), (1, 2, 5)), title="")
    row = [text for _, text in sorted((place, text) for place, text in drawn.texts if text in "crust is thin … 5")]
    assert row == ["5", "crust", "is", "…", "thin"]


def test_no_two_arcs_lie_on_each_other(drawn: Drawn) -> None:
    for seed in range(3):
        drawn.lines.clear()
        dice = random.Random(seed)
        links = tuple(sorted({(i, i + dice.randint(1, 6)) for i in range(24) for _ in range(2)}))
        draw_graph(TextGraph(("rock",) * 30, links, (), tuple(k // 10 for k in range(30)), (*range(30),)), title="")
        arcs = [points for points, colour in drawn.lines if colour == LINK]
        flat = [(min(y for _, y in points), points[0][0], points[-1][0]) for points in arcs]
        assert len(flat) > 10
        for (high, left, right), (other, begin, end) in combinations(flat, 2):
            assert high != other or right <= begin or end <= left


def test_every_link_is_drawn(drawn: Drawn) -> None:
    draw_graph(graph_of(TEXT, links=((0, 1), (1, 3), (2, 9))), title="")
    assert len(drawn.lines) == 3


def test_attention_is_colour_and_the_strongest_are_numbered(drawn: Drawn) -> None:
    weights = [0.0, 6.0, 1.0, 3.0, *[0.0] * 12]
    picture = draw_graph(graph_of(TEXT), weights, title="")
    left = {text: box for (text, _), box in zip(drawn_words(drawn), drawn.framed(), strict=False)}
    for text, colour in (("the", BARE), ("crust", HOT)):
        box = left[text]
        assert colour_at(picture, box[0] + 6, (box[1] + box[3]) / 2) == ImageColor.getrgb(colour)
    assert [text for text in drawn.written if text in ("60%", "30%", "10%", "0%")] == ["60%", "30%", "10%", "60%"]


def drawn_words(drawn: Drawn) -> list[tuple[str, Point]]:
    """The first sentence's, in order."""
    first = {"the", "crust", "is", "thin"}
    return [(text, place) for place, text in drawn.texts if text in first][:4]


def test_words_of_the_question_have_a_strong_frame(drawn: Drawn) -> None:
    draw_graph(graph_of(TEXT, anchors=(1, 3)), title="")
    framed = [outline for _, fill, outline in drawn.boxes if fill == BARE]
    assert [place for place, outline in enumerate(framed) if outline == INK] == [1, 3]


def test_no_weights_and_only_zeros_are_no_attention(drawn: Drawn) -> None:
    draw_graph(graph_of(TEXT), title="")
    draw_graph(graph_of(TEXT), [0.0] * 16, title="")
    assert not any("%" in text or "attention" in text for text in drawn.written)


def test_an_empty_graph_and_any_script_can_be_drawn() -> None:
    assert draw_graph(TextGraph((), (), (), (), ()), [], title="nothing").width == WIDTH
    graph = graph_of(f"地幔 热. Мантия горячая. {'x' * 200} λ.")
    assert draw_graph(graph, title="標題 " * 80).width == WIDTH


def test_the_same_input_gives_the_same_picture() -> None:
    first, second = (draw_graph(large_graph(1), [0.5] * 60, title="a") for _ in range(2))
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("weights", [[1.0], [-1.0] + [0.0] * 15, [float("nan")] * 16, [float("inf")] * 16])
def test_weights_must_be_one_for_each_word_and_not_negative(weights: list[float]) -> None:
    with pytest.raises(UsageError, match="weight"):
        draw_graph(graph_of(TEXT), weights, title="")
    with pytest.raises(UsageError, match="weight"):
        draw_diagram(cycle(), weights)


def test_a_diagram_without_a_picture_has_its_texts_in_boxes_large_enough(drawn: Drawn) -> None:
    draw_diagram(cycle())
    boxes = drawn.framed()
    assert len(boxes) == 4
    assert all(box[3] - box[1] >= 24 for box in boxes)
    assert " ".join(drawn.written[:6]) == "egg caterpillar (larva) pupa adult butterfly"
    for place, _ in drawn.texts[:6]:
        assert sum(overlap(box, (*place, place[0] + 1, place[1] + 1)) for box in boxes) == 1
    assert len(drawn.lines) == 4 + 1  # with the key's


def test_given_links_are_drawn_and_said_to_be_given(drawn: Drawn) -> None:
    draw_diagram(cycle(links=((0, 2),)))
    assert len(drawn.lines) == 1 + 1
    assert "joined, as the book says" in drawn.written
    draw_diagram(cycle())
    assert "near to each other" in drawn.written


def test_a_picture_stays_to_be_seen_below_the_attention(drawn: Drawn, tmp_path: Path) -> None:
    Image.new("RGB", (200, 120), "#80c0ff").save(tmp_path / "cycle.png")
    drawn.boxes.clear()
    shown = draw_diagram(cycle(picture=tmp_path / "cycle.png"), [0.0, 0.0, 1.0, 0.0])
    scale = 900 / 200
    assert (shown.width, "egg" in drawn.written) == (900, False)
    assert colour_at(shown, 4, 4) == (0x80, 0xC0, 0xFF)
    hot, blue = ImageColor.getrgb(HOT), (0x80, 0xC0, 0xFF)
    expected = [round(a * b / 255) for a, b in zip(hot, blue, strict=True)]
    assert colour_at(shown, 92 * scale, 112 * scale) == pytest.approx(expected, abs=2)


def test_a_picture_that_is_given_goes_before_the_diagrams_own(tmp_path: Path) -> None:
    given = Image.new("RGB", (200, 120), "#80c0ff")
    assert colour_at(draw_diagram(cycle(picture=tmp_path / "gone.png"), picture=given), 4, 4) == (0x80, 0xC0, 0xFF)
    with pytest.raises(UsageError, match=r"gone\.png does not exist"):
        draw_diagram(cycle(picture=tmp_path / "gone.png"))


def test_a_diagram_of_nothing_says_so(drawn: Drawn) -> None:
    draw_diagram(Diagram("empty"))
    assert drawn.written == ["nothing is known of what is in this diagram"]


@pytest.mark.parametrize("box", [(5.0, 5.0, 5.0, 5.0), (-1e6, 0.0, 1e6, 1.0), (0.0, 0.0, 0.4, 3e5)])
def test_odd_boxes_give_a_picture_of_bounded_size(box: Box) -> None:
    shown = draw_diagram(Diagram("odd", (Part("a rather long label", box), Part("b", (0.0, 0.0, 30.0, 10.0)))), [1, 2])
    assert max(shown.size) < 1600


def sheet(**changes: Any) -> Image.Image:
    graph = graph_of(TEXT)
    options: dict[str, Any] = {
        "question": "Which layer is thin?",
        "choices": ["the crust", "the mantle"],
        "probabilities": [0.75, 0.25],
        "answer": 1,
        "paragraph": TEXT,
        "graph": graph,
        "weights": [0.0] * len(graph.words),
    }
    return explanation_sheet(**options | changes)


def test_a_page_says_what_was_chosen_and_what_is_right(drawn: Drawn) -> None:
    sheet()
    assert {"Which layer is thin?", "a) the crust", "b) the mantle", "75%, chosen", "25%, right"} <= {*drawn.written}
    drawn.texts.clear()
    sheet(answer=None, probabilities=[0.5, 0.5])
    assert {"50%, chosen", "50%"} <= {*drawn.written}
    assert not any("right" in text for text in drawn.written)


def test_a_page_shades_the_very_words_that_were_attended_to(drawn: Drawn) -> None:
    graph = graph_of(TEXT)
    second = [place for place, word in enumerate(graph.words) if word == "crust"][1]
    sheet(weights=[float(place == second) for place in range(len(graph.words))])
    shaded = [box for box, fill, outline in drawn.boxes if fill == HOT and outline is None and box[3] - box[1] > 20]
    assert len(shaded) == 1
    before = font(21).getlength("The crust is thin. Below the ")
    assert shaded[0][0] == pytest.approx(36 + before - 2, abs=3)
    assert shaded[0][2] - shaded[0][0] == pytest.approx(font(21).getlength("crust") + 4, abs=1)


def test_a_graph_may_hold_sentences_that_are_not_in_the_paragraph(drawn: Drawn) -> None:
    graph = graph_of(f"{TEXT} There are four stages.")
    sheet(graph=graph, weights=[1.0] * len(graph.words))
    shaded = [box for box, fill, outline in drawn.boxes if fill == HOT and outline is None and box[3] - box[1] > 20]
    assert len(shaded) == len(graph_of(TEXT).words)


def test_a_page_is_as_long_as_what_is_on_it(drawn: Drawn) -> None:
    short = sheet()
    assert short.width == WIDTH
    assert sheet(diagram=Image.new("RGB", (2400, 1000))).height == short.height + 500 + 72
    drawn.texts.clear()
    assert sheet(paragraph="Rock is hard. " * 2000).height < short.height + 41 * 32
    assert "…" in drawn.written


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probabilities": [1.0]}, "number of probabilities is 1"),
        ({"probabilities": [1.5, 0.0]}, "probability is 1.5"),
        ({"probabilities": [float("nan"), 0.0]}, "probability is nan"),
        ({"choices": [], "probabilities": []}, "number of probabilities is 0"),
        ({"answer": 2}, "answer is 2"),
        ({"weights": [1.0]}, "number of weights is 1"),
    ],
)
def test_a_page_of_things_that_do_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        sheet(**changes)


def test_lines_are_no_wider_than_asked_and_lose_no_letter() -> None:
    text = f"layers of the Earth, {'x' * 95} and\n\nmore"
    lines = broken(text, 20, 260)
    assert "".join(text[piece.start : piece.end] for line in lines for piece in line) == "".join(text.split())
    assert all(font(20).getlength(line) <= 260 for line in wrapped("the crust is the outermost layer of all", 20, 260))
    assert wrapped(" \n", 20, 260) == []


def test_a_fitted_text_is_as_large_as_fits() -> None:
    lines, size = fitted("caterpillar (larva)", 120, 60, largest=40, smallest=8) or ([], 0)
    assert lines == ["caterpillar", "(larva)"]
    assert font(size).getlength("caterpillar") <= 120
    assert font(size + 1).getlength("caterpillar") > 120
    assert fitted("caterpillar", 30, 60, largest=40, smallest=12) is None


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ((100.0, 5.0, 140.0, 15.0), ((43.0, 10.0), (97.0, 10.0))),
        ((10.0, 60.0, 30.0, 80.0), ((20.0, 23.0), (20.0, 57.0))),
        ((100.0, 80.0, 140.0, 100.0), ((36.25, 23.0), (103.75, 77.0))),
        ((100.0, 16.0, 140.0, 36.0), ((43.0, 13.68), (97.0, 22.32))),
    ],
    ids=["across", "down", "aslant", "hardly across"],
)
def test_a_joint_goes_from_edge_to_edge(second: Box, expected: tuple[Point, Point]) -> None:
    first = (0.0, 0.0, 40.0, 20.0)
    assert sum(joint(first, second), ()) == pytest.approx(sum(expected, ()))
    assert joint(second, first) == joint(first, second)[::-1]


def test_boxes_on_each_other_are_joined_in_a_point_between() -> None:
    start, end = joint((0.0, 0.0, 40.0, 20.0), (10.0, 15.0, 30.0, 35.0))
    assert start == end == (20.0, 17.5)


def test_a_canvas_comes_out_in_its_own_pixels() -> None:
    canvas = Canvas(30, 20.5)
    canvas.box((10, 5, 20, 15), HOT, radius=0)
    assert canvas.image.size == (30 * FINE, 21 * FINE)
    picture = canvas.finished()
    assert picture.size == (30, 21)
    assert colour_at(picture, 15, 10) == ImageColor.getrgb(HOT)
    assert colour_at(picture, 5, 10) == (255, 255, 255)
