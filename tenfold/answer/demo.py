"""One question, answered by what a run has learned: from the embedded book or a person's own chapters, with the evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.demo import Output, Rows
from ..core.errors import UsageError
from ..core.legs import State, one_thread
from .config import SOLVERS, Config, DemoOptions, MethodName
from .evaluate import load_run
from .markdown import read_diagram
from .reader import TextbookReader
from .textbook import Diagram, Textbook
from .trainings import Training, reader_settings

PREFERRED: tuple[MethodName, ...] = ("full", "full open", "no graph", "no ssoc", "plain")
"""whose network answers: the first of these that the run has"""
STRONGEST = 12
"""attended words that are listed"""


class AnswerDemo:
    """Answers on request; made by `load`."""

    outputs = (
        Output("answer", "text", "the most probable choice"),
        Output("choices", "table", "how probable each choice is"),
        Output("evidence", "table", "the paragraphs it was judged by"),
        Output("attended", "table", "the words, and the diagram's labels, that were looked at most"),
        Output("page", "picture", "question, choices, evidence and its graph on one page"),
    )

    def __init__(self, config: Config, method: MethodName, state: State) -> None:
        self._config, self._method, self._state = config, method, state

    def reader(self) -> TextbookReader:
        """A reader with what the run has learned, to go on with in Python."""
        reader = TextbookReader(reader_settings(self._config, self._method), diagrams=_reads_pictures())
        reader.restore(self._state)
        return reader

    def __call__(self, options: DemoOptions) -> dict[str, Any]:
        """Answer; see `outputs`.

        Raises:
            UsageError: the book or the lesson is not there or cannot be read, or the question will not do.
        """
        book = Textbook.embedded() if options.book is None else Textbook.load(options.book)
        with one_thread():
            reader = self.reader().read(book)
            if options.adapt:
                reader.adapt(book, epochs=options.adapt)
            answer = reader.answer(
                options.ask,
                options.choices,
                lesson=options.lesson,
                book=book,
                diagram=None if options.diagram is None else _diagram(options.diagram),
                explain=True,
            )
        looks = sorted((*answer.attended, *answer.labels), key=lambda look: -look.weight)[:STRONGEST]
        rows = zip(options.choices, answer.probabilities, strict=True)
        return {
            "answer": answer.choice,
            "choices": Rows(("choice", "probability"), tuple((choice, f"{share:.3f}") for choice, share in rows)),
            "evidence": Rows(
                ("paragraph", "topic", "text"), tuple((each.name, each.topic, each.text) for each in answer.evidence)
            ),
            "attended": Rows(("word", "attention"), tuple((look.word, f"{look.weight:.3f}") for look in looks)),
            "page": answer.picture,
        }


def load(folder: Path) -> AnswerDemo:
    """What a run folder has learned.

    Raises:
        UsageError: the folder is not a run of this method, it has learned nothing yet, or it has no network.
    """
    config, trainings = load_run(folder)
    method = next((method for method in PREFERRED if method in config.methods), None)
    if method is None:
        known = ", ".join(method for method in SOLVERS if method in PREFERRED)
        raise UsageError(f"{folder} has {', '.join(config.methods)}, but a demo needs one of {known}")
    return AnswerDemo(config, method, trainings[Training(method, 0)])


def _diagram(picture: Path) -> Diagram:
    """The picture of a question, with the labels that a file beside it gives."""
    if not picture.is_file():
        raise UsageError(f"diagram is {picture}, but there is no such file")
    return read_diagram(picture, picture.name)


def _reads_pictures() -> Any:
    """The reader of pictures, where its library is installed."""
    from importlib.util import find_spec

    from .ocr import OcrReader

    installed = any(find_spec(name) is not None for name in ("rapidocr", "rapidocr_onnxruntime"))
    return OcrReader() if installed else None
