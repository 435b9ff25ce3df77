"""Who else answers: chance, TF-IDF, and a sentence encoder as it is and fine-tuned. Each sees the same paragraphs as the method."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .config import EncoderSettings
from .cross_encoder import CrossEncoder, CrossExample, FrozenRival
from .examples import Example
from .sentence_encoder import SentenceEncoder
from .textbook import Textbook

LONGEST = 256
"""pieces of question, choice and context that are read together, at most"""
SHARPNESS = 20.0
"""makes similarities into probabilities; what is most probable does not depend on it"""


def chance(_book: Textbook, examples: Sequence[Example]) -> list[Tensor]:
    """Equal probabilities (K,) for each example."""
    return [torch.full((len(example.pairs),), 1 / len(example.pairs)) for example in examples]


def nearest(_book: Textbook, examples: Sequence[Example]) -> list[Tensor]:
    """Probabilities (K,) that rise with the TF-IDF similarity of question and candidate to the candidate's best paragraph."""
    rows = []
    for example in examples:
        similar = [pair.found[0].similarity if pair.found else 0.0 for pair in example.pairs]
        rows.append((torch.tensor(similar) * SHARPNESS).softmax(0))
    return rows


def frozen(
    settings: EncoderSettings,
    train: Textbook,
    learned: Sequence[Example],
    test: Textbook,
    asked: Sequence[Example],
    *,
    seed: int,
) -> list[Tensor]:
    """A sentence encoder as it is, and a logistic regression on its vectors. Probabilities (K,) for each example that is asked.

    Args:
        settings: where the encoder is.
        train: the book that the regression learns from.
        learned: its questions.
        test: the book that is answered.
        asked: its questions.
        seed: of the regression's folds.
    """
    assert settings.path is not None
    rival = FrozenRival(SentenceEncoder.load(settings.path), seed=seed)
    rival.fit([each for each in readable(train, learned) if each.answer is not None])
    return [row.softmax(0) for row in rival.scores(readable(test, asked))]


def fine_tuned(
    settings: EncoderSettings,
    train: Textbook,
    learned: Sequence[Example],
    test: Textbook,
    asked: Sequence[Example],
    *,
    seed: int,
) -> list[Tensor]:
    """A sentence encoder that reads question, candidate and paragraphs together, all of it trained. Arguments as of `frozen`."""
    assert settings.path is not None
    encoder = SentenceEncoder.load(settings.path)
    rival = CrossEncoder(encoder, longest=min(LONGEST, encoder.positions), seed=seed)
    rival.fit(
        [each for each in readable(train, learned) if each.answer is not None],
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        seed=seed,
    )
    return [row.softmax(0) for row in rival.scores(readable(test, asked))]


def readable(book: Textbook, examples: Sequence[Example]) -> list[CrossExample]:
    """Examples as text: each candidate with the paragraphs it is judged by. A question's own diagram is read as its labels."""
    questions = {question.name: question for _, question in book.pairs()}
    made = []
    for example in examples:
        question = questions[example.name]
        labels = ", ".join(part.text for part in question.diagram.parts) if question.diagram is not None else ""
        contexts = tuple(
            " ".join([*(found.paragraph.text for found in pair.found), *([labels] if labels else [])])
            for pair in example.pairs
        )
        made.append(CrossExample(question.text, question.choices, contexts, question.answer))
    return made
