"""`answer`: questions about a textbook, answered from its text and diagrams, adapted to a new book without labels (arXiv:1811.00232).

from tenfold.answer import Textbook, TextbookReader
book = Textbook.load("tqa_v1_val.json")             # or Textbook.from_markdown("chapters/") for your own text
reader = TextbookReader().adapt(book, train_book)    # self-supervised, no answers used
reader.fit(train_book)                               # supervised
answer = reader.answer("Which layer is hottest?", ["crust", "mantle", "core"], lesson="L_0002", explain=True)
answer.choice, answer.probabilities, answer.evidence
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.lazily import lazy_names

if TYPE_CHECKING:
    from .config import (
        PRESETS,
        Config,
        ContextSettings,
        FitSettings,
        NetSettings,
        ReaderSettings,
        SsocSettings,
        WordSettings,
    )
    from .demo import load
    from .diagram_graph import DiagramReader
    from .fusion import FusedGraph, Graphs
    from .markdown import write_markdown
    from .ocr import OcrReader
    from .parsing import DependencyParser, Parse, load_parser, parse_of
    from .reader import Answer, TextbookReader
    from .scores import Scores
    from .sentence_encoder import SentenceEncoder
    from .solver import Solver
    from .textbook import Diagram, Lesson, Paragraph, Part, Question, Textbook
    from .vectors import StaticVectors, WordVectors, load_vectors
    from .words import split_words

_HOME = {
    "PRESETS": "config",
    "Answer": "reader",
    "Config": "config",
    "ContextSettings": "config",
    "DependencyParser": "parsing",
    "Diagram": "textbook",
    "DiagramReader": "diagram_graph",
    "FitSettings": "config",
    "FusedGraph": "fusion",
    "Graphs": "fusion",
    "Lesson": "textbook",
    "NetSettings": "config",
    "OcrReader": "ocr",
    "Paragraph": "textbook",
    "Parse": "parsing",
    "Part": "textbook",
    "Question": "textbook",
    "ReaderSettings": "config",
    "Scores": "scores",
    "SentenceEncoder": "sentence_encoder",
    "Solver": "solver",
    "SsocSettings": "config",
    "StaticVectors": "vectors",
    "Textbook": "textbook",
    "TextbookReader": "reader",
    "WordSettings": "config",
    "WordVectors": "vectors",
    "load": "demo",
    "load_parser": "parsing",
    "load_vectors": "vectors",
    "parse_of": "parsing",
    "split_words": "words",
    "write_markdown": "markdown",
}
__all__ = [
    "PRESETS",
    "Answer",
    "Config",
    "ContextSettings",
    "DependencyParser",
    "Diagram",
    "DiagramReader",
    "FitSettings",
    "FusedGraph",
    "Graphs",
    "Lesson",
    "NetSettings",
    "OcrReader",
    "Paragraph",
    "Parse",
    "Part",
    "Question",
    "ReaderSettings",
    "Scores",
    "SentenceEncoder",
    "Solver",
    "SsocSettings",
    "StaticVectors",
    "Textbook",
    "TextbookReader",
    "WordSettings",
    "WordVectors",
    "load",
    "load_parser",
    "load_vectors",
    "parse_of",
    "split_words",
    "write_markdown",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
