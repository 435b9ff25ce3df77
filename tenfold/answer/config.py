"""Settings of `answer`. What the paper (arXiv:1811.00232) leaves open, nearly all of it, has a default that was measured."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ..core.config import ComputeConfig, CrewSettings, require

MethodName = Literal[
    "chance", "tf-idf", "encoder", "cross-encoder", "no text", "plain", "no ssoc", "no graph", "full", "full open"
]
METHODS: tuple[MethodName, ...] = (
    "chance",
    "tf-idf",
    "no text",
    "plain",
    "no ssoc",
    "no graph",
    "full",
    "full open",
)
SOLVERS: tuple[MethodName, ...] = ("no text", "plain", "no ssoc", "no graph", "full", "full open")
ENCODERS: tuple[MethodName, ...] = ("encoder", "cross-encoder")
Scope = Literal["lesson", "book"]


@dataclass(frozen=True)
class NetSettings:
    """The network that answers: `tenfold.answer.Solver`."""

    hidden: int = 64
    """width of a graph convolution and of each direction of the recurrent nets, at least 1"""
    characters: int = 32
    """width of the convolution over a word's characters; 0 leaves it out"""
    graph: Literal["f-gcn1", "f-gcn2", "none"] = "f-gcn1"
    """f-gcn1 puts text and diagram side by side, f-gcn2 convolves that once more; none reads the words without a graph"""
    node_flags: bool = True
    """graph nodes know whether they are words of the question or of the choice (ours)"""
    compare: bool = False
    """question and choice are compared with what they attended to, by product and distance (ours)"""
    dropout: float = 0.0
    """share of the numbers before and after the solving RNN that is dropped in training, in [0, 1); here it did harm"""

    def __post_init__(self) -> None:
        require(self.hidden >= 1, "net.hidden", self.hidden, "at least 1")
        require(self.characters == 0 or self.characters >= 3, "net.characters", self.characters, "0 or at least 3")
        require(0 <= self.dropout < 1, "net.dropout", self.dropout, "at least 0 and below 1")


@dataclass(frozen=True)
class WordSettings:
    """Where words get their vectors from."""

    vectors: Literal["hashed", "book", "glove", "encoder"] = "hashed"
    """hashed: a fixed random vector for each word; book: from the book's own text; glove: a file; encoder: a sentence encoder's, in context"""
    path: Path | None = None
    """of glove: file or folder of word vectors; of encoder: folder with model.safetensors and tokenizer.json"""
    dim: int = 64
    """width of hashed and book vectors, at least 1"""

    def __post_init__(self) -> None:
        require(self.dim >= 1, "words.dim", self.dim, "at least 1")
        require(
            self.vectors not in ("glove", "encoder") or self.path is not None,
            "words.path",
            self.path,
            f"given for {self.vectors}",
        )


@dataclass(frozen=True)
class ContextSettings:
    """What a candidate is judged by: the best paragraphs, and their graph."""

    paragraphs: int = 1
    """best paragraphs by TF-IDF that make up the context of a candidate, at least 1 (1 in our reconstruction)"""
    scope: Scope = "lesson"
    """where they are looked for: in the question's lesson, or in the whole book"""
    parser: str = "rules"
    """rules, window, link-grammar (the Debian package), or spacy:NAME of an installed pipeline or its folder"""
    reach: int = 2
    """words further than this many links from every word of question and choice are left out, at least 0 (2 in our reconstruction)"""
    nodes: int = 100
    """words of a graph, at most; at least 1"""
    cache: Path | None = None
    """folder that keeps parses and encoded words between runs; none keeps them in memory"""

    def __post_init__(self) -> None:
        for name, least in (("paragraphs", 1), ("reach", 0), ("nodes", 1)):
            require(getattr(self, name) >= least, f"context.{name}", getattr(self, name), f"at least {least}")
        known = self.parser in ("rules", "window", "link-grammar") or self.parser.startswith("spacy:")
        require(known, "context.parser", self.parser, "rules, window, link-grammar or spacy:NAME")


@dataclass(frozen=True)
class SsocSettings:
    """Self-supervised open-set comprehension: choosing a paragraph where the answer is not known."""

    epochs: int = 8
    """passes over the questions before any answer is seen, at least 1; each takes one candidate of every question"""
    paragraphs: int = 4
    """to choose among, at least 2 (paper: not stated)"""
    scope: Scope = "lesson"
    """where they come from: the question's lesson, or the whole book"""
    learning_rate: float = 3e-3
    """of AdamW, at its peak"""

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "ssoc.epochs", self.epochs, "at least 1")
        require(self.paragraphs >= 2, "ssoc.paragraphs", self.paragraphs, "at least 2")
        require(self.learning_rate > 0, "ssoc.learning_rate", self.learning_rate, "above 0")


@dataclass(frozen=True)
class FitSettings:
    """Learning from questions whose answers are known."""

    epochs: int = 4
    """passes over the questions, at least 1"""
    batch_size: int = 32
    """questions of a step, at least 1; also of the self-supervised stage"""
    learning_rate: float = 1e-3
    """of AdamW, at its peak; it warms up over the first tenth and falls to 0"""
    weight_decay: float = 0.01
    """of AdamW, at least 0"""
    clip: float = 5.0
    """gradients are shortened to this length, above 0"""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            require(getattr(self, name) >= 1, f"fit.{name}", getattr(self, name), "at least 1")
        for name in ("learning_rate", "clip"):
            require(getattr(self, name) > 0, f"fit.{name}", getattr(self, name), "above 0")
        require(self.weight_decay >= 0, "fit.weight_decay", self.weight_decay, "at least 0")


@dataclass(frozen=True)
class EncoderSettings:
    """The modern rivals: a sentence encoder as it is, and fine-tuned."""

    path: Path | None = None
    """folder with model.safetensors and tokenizer.json, such as all-MiniLM-L6-v2"""
    epochs: int = 4
    """passes of the fine-tuning, at least 1"""
    batch_size: int = 32
    """questions of a step of the fine-tuning, at least 1"""
    learning_rate: float = 5e-5
    """of AdamW in the fine-tuning, at its peak"""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            require(getattr(self, name) >= 1, f"encoder.{name}", getattr(self, name), "at least 1")
        require(self.learning_rate > 0, "encoder.learning_rate", self.learning_rate, "above 0")


@dataclass(frozen=True)
class ReaderSettings:
    """All that `TextbookReader` is made by."""

    net: NetSettings = field(default_factory=NetSettings)
    """the network"""
    words: WordSettings = field(default_factory=WordSettings)
    """word vectors"""
    context: ContextSettings = field(default_factory=ContextSettings)
    """paragraphs, parser and graph"""
    ssoc: SsocSettings = field(default_factory=SsocSettings)
    """self-supervised stage"""
    fit: FitSettings = field(default_factory=FitSettings)
    """supervised stage"""


@dataclass(frozen=True)
class BookSettings:
    """Which book is learned from, and which is answered."""

    train: Path | None = None
    """TQA file, its folder or zip, a file of retrieved true/false sentences, or markdown chapters; none takes the embedded book"""
    train_split: str | None = None
    """train, val or test, where the path has several; none takes all of it"""
    test: Path | None = None
    """the book that is answered; none holds lessons of `train` out"""
    test_split: str | None = None
    """train, val or test, where the path has several; none takes all of it"""
    folds: int = 4
    """without `test`: replica r answers every lesson whose number, modulo this, is r; at least 2"""
    holdout: float = 0.0
    """share of the training lessons that is answered in place of `test`, for choosing settings; in [0, 0.5]"""

    def __post_init__(self) -> None:
        require(self.folds >= 2, "book.folds", self.folds, "at least 2")
        require(0 <= self.holdout <= 0.5, "book.holdout", self.holdout, "between 0 and 0.5")


@dataclass(frozen=True)
class Config:
    """Everything an `answer` training needs."""

    methods: tuple[MethodName, ...] = METHODS
    """who answers; see the README for each, `encoder` and `cross-encoder` need encoder.path"""
    book: BookSettings = field(default_factory=BookSettings)
    """which book is learned from, and which is answered"""
    reader: ReaderSettings = field(default_factory=ReaderSettings)
    """the method"""
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    """the modern rivals"""
    replicas: int = 4
    """trainings of each method, each with a seed of its own, at least 1"""
    legs: int = 4
    """parts that each training is cut into, with a checkpoint and an evaluation after each, at least 1"""
    resamples: int = 2000
    """bootstrap samples of the 95 % intervals, at least 100"""
    crew: CrewSettings = field(default_factory=lambda: CrewSettings(workers=2))
    """where trainings run"""
    compute: ComputeConfig = field(default_factory=lambda: ComputeConfig(device="cpu"))
    """the network's device; processes and precision stay as they are, as `crew` is what spreads the work"""
    seed: int = 0
    """everything random follows from it, at least 0"""

    def __post_init__(self) -> None:
        require(self.methods != (), "methods", self.methods, "at least one")
        require(len(set(self.methods)) == len(self.methods), "methods", self.methods, "without repetition")
        needed = [method for method in self.methods if method in ENCODERS]
        require(
            not needed or self.encoder.path is not None,
            "encoder.path",
            self.encoder.path,
            f"given where methods has {needed[0] if needed else ''}",
        )
        require(self.replicas >= 1, "replicas", self.replicas, "at least 1")
        require(self.legs >= 1, "legs", self.legs, "at least 1")
        require(self.resamples >= 100, "resamples", self.resamples, "at least 100")
        require(
            self.compute.processes == 1, "compute.processes", self.compute.processes, "1; crew.workers spreads the work"
        )
        require(self.compute.precision == "float32", "compute.precision", self.compute.precision, "float32")
        require(self.seed >= 0, "seed", self.seed, "at least 0")


@dataclass(frozen=True)
class EvalOptions:
    """What `tenfold eval RUN` can be asked."""

    book: Path | None = None
    """another book to answer; none takes the run's own, and so finds its final metrics again"""
    split: str | None = None
    """train, val or test, of that book or of the run's own; none takes what the run took"""
    rows: tuple[str, ...] = ()
    """which methods; none takes all the run has"""


@dataclass(frozen=True)
class DemoOptions:
    """What `tenfold demo RUN` can be asked."""

    ask: str = "Which layer of the Earth is the thinnest?"
    """the question"""
    choices: tuple[str, ...] = ("crust", "mantle", "outer core", "inner core")
    """its candidates, 1 to 12; true and false for a statement"""
    book: Path | None = None
    """chapters or file that it is answered from; none takes the embedded book"""
    lesson: str | None = None
    """name or title of the lesson that it is about; none looks through the whole book"""
    diagram: Path | None = None
    """picture that the question is about; its labels come from a .json beside it, or from reading it (extra)"""
    adapt: int = 0
    """passes of self-supervised comprehension over the book's own questions before the answer, at least 0; needs no answers"""

    def __post_init__(self) -> None:
        require(bool(self.ask.strip()), "ask", self.ask, "a question")
        require(1 <= len(self.choices) <= 12, "choices", self.choices, "1 to 12 candidates")
        require(self.adapt >= 0, "adapt", self.adapt, "at least 0")


PRESETS = {
    "smoke": Config(
        methods=("tf-idf", "plain", "full"),
        replicas=1,
        legs=2,
        reader=ReaderSettings(net=NetSettings(hidden=32), ssoc=SsocSettings(epochs=5), fit=FitSettings(epochs=3)),
        crew=CrewSettings(workers=1),
    ),
    "laptop": Config(),
}
PRESETS["paper"] = replace(
    PRESETS["laptop"],
    # our reconstruction: neither widths nor schedule are known to us; give word vectors by reader.words.vectors and path
    reader=ReaderSettings(
        net=NetSettings(hidden=128, characters=64, node_flags=False),
        words=WordSettings(dim=300),
        ssoc=SsocSettings(paragraphs=5),
        fit=FitSettings(epochs=10),
    ),
)
PRESETS["true-false"] = replace(
    PRESETS["laptop"],
    replicas=3,
    reader=ReaderSettings(
        context=ContextSettings(paragraphs=3),
        ssoc=SsocSettings(epochs=3, paragraphs=3),
        fit=FitSettings(epochs=6, batch_size=16, learning_rate=2e-3),
    ),
)
"""true-false: statements with three retrieved sentences each, of which chapters and other questions are not known"""
