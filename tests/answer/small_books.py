"""Small books for tests, with known answers."""

from __future__ import annotations

from tenfold.answer.textbook import Diagram, Lesson, Paragraph, Part, Question, Textbook

COLOURS = ("red", "blue", "green", "yellow", "white", "black", "brown", "purple")
THINGS = ("lamp", "chair", "door", "boat", "kite", "drum", "vase", "coat", "bench", "fence", "wheel", "shelf")


def colour_lesson(number: int) -> Lesson:
    """Four paragraphs, each of which says what colour a thing has; questions ask for it."""
    name = f"c{number}"
    things = [THINGS[(number * 5 + k) % len(THINGS)] for k in range(4)]
    colours = [COLOURS[(number * 3 + k * (1 + number % 3)) % len(COLOURS)] for k in range(4)]
    paragraphs = tuple(
        Paragraph(f"{name}/{k}", f"The {thing} of this house is {colour}. Everybody has seen the {thing} by now.")
        for k, (thing, colour) in enumerate(zip(things, colours, strict=True))
    )
    questions = []
    for k, (thing, colour) in enumerate(zip(things, colours, strict=True)):
        choices = tuple(dict.fromkeys([colour, *colours, *COLOURS]))[:3]
        turned = choices[k % 3 :] + choices[: k % 3]
        questions.append(
            Question(
                f"{name}/q{k}", f"Which colour is the {thing}?", turned, turned.index(colour), evidence=(f"{name}/{k}",)
            )
        )
    return Lesson(name, f"House {number}", paragraphs, (), tuple(questions))


def colour_book(first: int = 0, count: int = 6, name: str = "houses") -> Textbook:
    """A book whose questions are answered by a word beside the thing that they name."""
    return Textbook(name, tuple(colour_lesson(number) for number in range(first, first + count)))


def ring(name: str = "ring") -> Diagram:
    """Four stages in a ring. Of three, convolution would make all nodes alike, as each is joined with each."""
    labels = ("vapour rises", "clouds form", "rain falls", "rivers run")
    parts = tuple(Part(label, (100.0 * k, 40.0 * k, 100.0 * k + 60, 40.0 * k + 20)) for k, label in enumerate(labels))
    return Diagram(name, parts, ((0, 1), (1, 2), (2, 3), (0, 3)))


def diagram_book() -> Textbook:
    """One lesson with a diagram, a question about one, one of true or false and one of multiple choice."""
    paragraphs = (
        Paragraph("w/1", "Water vapour rises from the sea. The sun warms the sea.", "Evaporation"),
        Paragraph("w/2", "Clouds form where the vapour cools high in the air.", "Condensation"),
        Paragraph("w/3", "Rain falls from heavy clouds and runs back to the sea.", "Rain"),
    )
    questions = (
        Question("w/q1", "What comes after clouds form?", ("rain falls", "vapour rises"), 0, "diagram", ring()),
        Question("w/q2", "Rain falls from heavy clouds.", ("true", "false"), 0, "true or false", evidence=("w/3",)),
        Question("w/q3", "What warms the sea?", ("the moon", "the sun", "rain", "clouds"), 1, evidence=("w/1",)),
    )
    return Textbook("water", (Lesson("w", "Water", paragraphs, (ring("lesson"),), questions),))
