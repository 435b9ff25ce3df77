"""What a run shows: accuracies with their intervals, learning curves, and sheets of single answers with their evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..core.figures import FAINT, INK, PALETTE, rendered, save_png
from ..core.legs import State, one_thread
from .config import SOLVERS, Config, MethodName
from .examples import Example
from .fitting import attend, attend_diagram
from .textbook import KINDS, Kind, Question
from .trainings import Training, Workbench, trained_solver, workbench

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..core.run import Run

SHOWN: tuple[MethodName, ...] = ("full", "full open", "no graph", "no ssoc", "plain", "no text")
"""whose answers are shown: the first of these that the run has"""


def draw_pictures(run: Run, config: Config, states: Mapping[Training, State], metrics: Mapping[str, float]) -> None:
    """Write the pictures of a run that has ended."""
    if not run.is_writer:
        return
    with run.sample("accuracy.png") as path:
        save_png(path, accuracy_chart(config.methods, metrics))
    method = next((method for method in SHOWN if method in config.methods), None)
    if method is None:
        return
    training = Training(method, 0)
    bench = workbench(config, 0)
    for kind, question in questions_to_show(bench):
        with one_thread(), run.sample(f"{kind.replace(' ', '-')}.png") as path:
            answer_sheet(config, training, bench, states[training], question).save(path)


def accuracy_chart(methods: Sequence[str], metrics: Mapping[str, float]) -> bytes:
    """A PNG: accuracy over all questions of each row, with its 95 % interval over questions; chance is a line."""
    from matplotlib.figure import Figure

    rows = [method for method in methods if f"{method}/all" in metrics and method != "chance"][::-1]
    figure = Figure(figsize=(7.0, 1.0 + 0.42 * len(rows)), dpi=110, layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        value, low, high = (100 * metrics[f"{row}/{column}"] for column in ("all", "low", "high"))
        colour = PALETTE[0] if row.startswith("full") else FAINT
        axes.barh(place, value, color=colour, height=0.62)
        axes.plot([low, high], [place, place], color=INK, linewidth=1.4)
        axes.annotate(f"{value:.1f}", (high, place), xytext=(6, 0), textcoords="offset points", va="center", fontsize=9)
    if "chance/all" in metrics:
        axes.axvline(100 * metrics["chance/all"], color=INK, linewidth=1, linestyle=":")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlim(0, 105)
    axes.set_xlabel("right answers, %, with 95 % interval over questions; dotted: chance")
    axes.spines[["top", "right"]].set_visible(False)
    return rendered(figure, "png")


def questions_to_show(bench: Workbench) -> list[tuple[Kind, Question]]:
    """The first answered question of each kind that there is."""
    found = []
    for kind in KINDS:
        question = next((each for _, each in bench.test.pairs() if each.kind == kind and each.answer is not None), None)
        if question is not None:
            found.append((kind, question))
    return found


def answer_sheet(config: Config, training: Training, bench: Workbench, state: State, question: Question) -> Image:
    """One question with its choices, the evidence and what was looked at in it."""
    from .drawing import PARAGRAPHS_APART, draw_diagram, explanation_sheet

    assert training.method in SOLVERS
    examples: list[Example] = bench.questions(training.method)
    example = next(each for each in examples if each.name == question.name)
    solver = trained_solver(config, training, bench, state)
    probabilities, by_question, by_choice = attend(solver, example)
    place = int(probabilities.argmax())
    pair = example.pairs[place]
    drawn = None
    if question.diagram is not None:
        weights = attend_diagram(solver, example)[place].tolist()
        drawn = draw_diagram(question.diagram, weights + [0.0] * (len(question.diagram.parts) - len(weights)))
    return explanation_sheet(
        question.text,
        question.choices,
        probabilities.tolist(),
        question.answer,
        PARAGRAPHS_APART.join(found.paragraph.text for found in pair.found),
        pair.context.graph,
        ((by_question[place] + by_choice[place]) / 2).tolist(),
        drawn,
    )
