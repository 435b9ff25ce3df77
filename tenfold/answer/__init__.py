"""`answer`: questions about a textbook, answered from its text and diagrams, adapted to a new book without labels (arXiv:1811.00232).

from tenfold.answer import Textbook, TextbookReader
book = Textbook.load("tqa_v1_val.json")             # or Textbook.from_markdown("chapters/") for your own text
reader = TextbookReader().adapt(book)                # self-supervised, no answers used
reader.fit(train_book)                               # supervised
answer = reader.answer("Which layer is hottest?", ["crust", "mantle", "core"], lesson="L_0002", explain=True)
answer.choice, answer.probabilities, answer.evidence
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.lazily import lazy_names

if TYPE_CHECKING:
    from .config import PRESETS, Config, ReaderSettings
    from .demo import load
    from .diagram_graph import DiagramReader
    from .fusion import FusedGraph
    from .markdown import write_markdown
    from .ocr import OcrReader
    from .parsing import DependencyParser, Parse, load_parser
    from .reader import Answer, TextbookReader
    from .scores import Scores
    from .sentence_encoder import SentenceEncoder
    from .solver import Solver
    from .textbook import Diagram, Lesson, Paragraph, Part, Question, Textbook
    from .vectors import WordVectors, load_vectors

_HOME = {
    "PRESETS": "config",
    "Answer": "reader",
    "Config": "config",
    "DependencyParser": "parsing",
    "Diagram": "textbook",
    "DiagramReader": "diagram_graph",
    "FusedGraph": "fusion",
    "Lesson": "textbook",
    "OcrReader": "ocr",
    "Paragraph": "textbook",
    "Parse": "parsing",
    "Part": "textbook",
    "Question": "textbook",
    "ReaderSettings": "config",
    "Scores": "scores",
    "SentenceEncoder": "sentence_encoder",
    "Solver": "solver",
    "Textbook": "textbook",
    "TextbookReader": "reader",
    "WordVectors": "vectors",
    "load": "demo",
    "load_parser": "parsing",
    "load_vectors": "vectors",
    "write_markdown": "markdown",
}
__all__ = [
    "PRESETS",
    "Answer",
    "Config",
    "DependencyParser",
    "Diagram",
    "DiagramReader",
    "FusedGraph",
    "Lesson",
    "OcrReader",
    "Paragraph",
    "Parse",
    "Part",
    "Question",
    "ReaderSettings",
    "Scores",
    "SentenceEncoder",
    "Solver",
    "Textbook",
    "TextbookReader",
    "WordVectors",
    "load",
    "load_parser",
    "load_vectors",
    "write_markdown",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
