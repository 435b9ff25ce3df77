"""The network that answers (arXiv:1811.00232): two recurrent nets around a fused graph. Equations as in `fusion`.

Shapes: B questions, K candidates of each (padded), P pairs of a question and a candidate that there are, T words, N nodes, F features.
What many pairs share (a question, a context) is computed once: each pair says which question, choice, context and diagrams are its own.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .config import NetSettings
from .fusion import FusedGraph, Graphs, masked_softmax
from .word_features import WordFeatures


@dataclass(frozen=True)
class Texts:
    """Word sequences, padded."""

    rows: Tensor
    """int64 (U, T): rows of the table of word vectors"""
    words: Tensor
    """int64 (U, T): words of the table of characters"""
    flags: Tensor
    """float (U, T, 2): whether the word occurs in the context, and if so how rare it is. Of nodes (U, N, 3): whether it is a word of
    the question, of the choice, and how rare it is"""
    mask: Tensor
    """bool (U, T); every sequence has at least one word"""


@dataclass(frozen=True)
class Contexts:
    """Text graphs, padded: a node is a word of a paragraph."""

    nodes: Texts
    links: Tensor
    """bool (U, N, N)"""


@dataclass(frozen=True)
class Drawings:
    """Diagram graphs, padded: a node is a label of some words."""

    rows: Tensor
    """int64 (U, V, T)"""
    words: Tensor
    """int64 (U, V, T)"""
    inside: Tensor
    """bool (U, V, T): which words a label has"""
    flags: Tensor
    """float (U, V, 3): whether the label has a word of the question, of the choice, and 1"""
    mask: Tensor
    """bool (U, V)"""
    links: Tensor
    """bool (U, V, V)"""


@dataclass(frozen=True)
class Batch:
    """Questions with their candidates; or, for SSOC, questions with a candidate and its paragraphs to choose from."""

    questions: Texts
    choices: Texts
    contexts: Contexts
    drawings: Drawings
    """of lessons"""
    own: Drawings
    """of questions"""
    parts: Tensor
    """int64 (P, 5): each pair's question, choice, context, drawing and own drawing among the above"""
    place: Tensor
    """int64 (P, 2): which question of the batch, and which of its candidates, a pair is"""
    shape: tuple[int, int]
    """(B, K)"""
    answers: Tensor
    """int64 (B): the right candidate, or -1 where that is not known"""

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        moved: Batch = _moved(self, device)
        return moved


class Attended(NamedTuple):
    """What the network looked at, for each pair."""

    logits: Tensor
    """float (B, K), minus infinity where there is no candidate"""
    by_question: Tensor
    """float (P, N): attention of the question over the context's nodes, which sums to 1 (equation 5)"""
    by_choice: Tensor
    """float (P, N): of the choice"""
    own_by_question: Tensor
    """float (P, V): of the question over the labels of its own diagram, which sums to 1, or to 0 where there is none"""
    own_by_choice: Tensor
    """float (P, V): of the choice"""


class Reading(nn.Module):
    """A bi-directional LSTM and the largest value over time: the comprehending RNN of equation 4 and the text below it."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, batch_first=True, bidirectional=True)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """(U, T, F) and bool (U, T), at least one word each -> (U, 2 hidden)."""
        states = run_lstm(self.lstm, features, mask.sum(1))
        return states.masked_fill(~mask[..., None], -torch.inf).amax(1)


class Attention(nn.Module):
    """g_k = h^T M H[k], a softmax over the nodes, and their weighted sum (equation 5)."""

    def __init__(self, reader: int, node: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(reader, node))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, h: Tensor, nodes: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(P, reader), (P, N, node) and bool (P, N) -> sums (P, node) and weights (P, N); zeros where there is no node."""
        scores = torch.einsum("pr,rn,pkn->pk", h, self.weight, nodes)
        weights = masked_softmax(scores, mask)
        return torch.einsum("pk,pkn->pn", weights, nodes), weights


class Solver(nn.Module):
    """Scores of candidates, from the words of question and choice, the fused graph of the context and the question's own diagram.

    Args:
        settings: widths, and which parts there are.
        features: turns words into vectors (equation 4).

    Example:
        solver = Solver(NetSettings(), WordFeatures(vectors=64, characters=32))
        logits = solver(batch).logits
    """

    def __init__(self, settings: NetSettings, features: WordFeatures) -> None:
        super().__init__()
        hidden = settings.hidden
        self.settings = settings
        self.features = features
        self.fused: FusedGraph | None = None
        self.flat: nn.Linear | None = None
        flagged = features.width + (3 if settings.node_flags else 0)
        if settings.graph == "none":
            self.flat = nn.Linear(flagged, 2 * hidden, bias=False)
            node = 2 * hidden
        else:
            self.fused = FusedGraph(flagged, hidden, settings.graph)
            node = self.fused.width
        self.comprehending = Reading(features.width + 2, hidden)
        self.context_by_question = Attention(2 * hidden, node)
        self.context_by_choice = Attention(2 * hidden, node)
        self.own_by_question = Attention(2 * hidden, hidden)
        self.own_by_choice = Attention(2 * hidden, hidden)
        self.own_alone = None if self.fused is not None else nn.Linear(flagged, hidden, bias=False)
        self.compare = Comparison(2 * hidden, node, hidden) if settings.compare else None
        width = 4 * hidden + 2 * node + 2 * hidden + (self.compare.width if self.compare is not None else 0)
        self.dropout = nn.Dropout(settings.dropout)
        self.solving = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
        self.score = nn.Linear(2 * hidden, 1)

    def forward(self, batch: Batch) -> Attended:
        """Scores of each candidate, and what was attended."""
        question, choice, context, drawing, own = batch.parts.unbind(1)
        h_q = self._read(batch.questions)[question]
        h_a = self._read(batch.choices)[choice]
        nodes, mask = self._context(batch, context, drawing)
        by_q, alpha_q = self.context_by_question(h_q, nodes, mask)
        by_a, alpha_a = self.context_by_choice(h_a, nodes, mask)
        drawn, drawn_mask = self._own(batch.own)
        own_q, beta_q = self.own_by_question(h_q, drawn[own], drawn_mask[own])
        own_a, beta_a = self.own_by_choice(h_a, drawn[own], drawn_mask[own])
        inputs = [
            h_q,
            h_a,
            by_q,
            by_a,
            own_q,
            own_a,
        ]  # equation 6; of a question without a diagram the last two are zero
        if self.compare is not None:
            inputs.append(self.compare(h_q, by_q, h_a, by_a))
        return Attended(self._solve(torch.cat(inputs, dim=1), batch), alpha_q, alpha_a, beta_q, beta_a)

    def _read(self, texts: Texts) -> Tensor:
        features = torch.cat([self.features(texts.rows, texts.words), texts.flags], dim=-1)
        return self.comprehending(features, texts.mask)

    def _context(self, batch: Batch, context: Tensor, drawing: Tensor) -> tuple[Tensor, Tensor]:
        """Nodes of each pair's context (P, N, node), and which there are."""
        texts = batch.contexts.nodes
        features = self._flagged(self.features(texts.rows, texts.words), texts.flags) * texts.mask[..., None]
        if self.fused is None:
            assert self.flat is not None
            return self.flat(features).tanh()[context], texts.mask[context]
        # a pair of context and drawing, not of question and candidate: most pairs share theirs
        kinds, which = torch.stack([context, drawing], 1).unique(dim=0, return_inverse=True)
        text = Graphs(features[kinds[:, 0]], batch.contexts.links[kinds[:, 0]], texts.mask[kinds[:, 0]])
        visual = _chosen(self._drawn(batch.drawings), kinds[:, 1])
        return self.fused(text, visual)[which], text.mask[which]

    def _own(self, drawings: Drawings) -> tuple[Tensor, Tensor]:
        """Nodes of questions' own diagrams (U, V, hidden), and which there are."""
        graphs = self._drawn(drawings)
        if self.fused is None:
            assert self.own_alone is not None
            return self.own_alone(graphs.features).tanh(), graphs.mask
        return self.fused.alone(graphs), graphs.mask

    def _drawn(self, drawings: Drawings) -> Graphs:
        """A label's features are the mean of its words'."""
        words = self.features(drawings.rows, drawings.words) * drawings.inside[..., None]
        features = words.sum(2) / drawings.inside.sum(2, keepdim=True).clamp_min(1)
        return Graphs(self._flagged(features, drawings.flags), drawings.links, drawings.mask)

    def _flagged(self, features: Tensor, flags: Tensor) -> Tensor:
        return torch.cat([features, flags], dim=-1) if self.settings.node_flags else features

    def _solve(self, inputs: Tensor, batch: Batch) -> Tensor:
        """The solving RNN goes over the candidates of each question: (P, width) -> (B, K)."""
        grid = inputs.new_zeros((*batch.shape, inputs.shape[1]))
        grid[batch.place[:, 0], batch.place[:, 1]] = self.dropout(inputs)
        there = torch.zeros(batch.shape, dtype=torch.bool, device=inputs.device)
        there[batch.place[:, 0], batch.place[:, 1]] = True
        states = run_lstm(self.solving, grid, there.sum(1))
        return self.score(self.dropout(states)).squeeze(-1).masked_fill(~there, -torch.inf)


class Comparison(nn.Module):
    """How a text and what it attended to differ: product and distance of both, brought to one width. Ours, not the paper's."""

    def __init__(self, reader: int, node: int, hidden: int) -> None:
        super().__init__()
        self.text = nn.Linear(reader, hidden)
        self.node = nn.Linear(node, hidden)
        self.width = 4 * hidden

    def forward(self, h_q: Tensor, by_q: Tensor, h_a: Tensor, by_a: Tensor) -> Tensor:
        """(P, reader) and (P, node), twice -> (P, 4 hidden)."""
        pairs = [(self.text(h), self.node(by)) for h, by in ((h_q, by_q), (h_a, by_a))]
        return torch.cat([each for h, by in pairs for each in (h * by, (h - by).abs())], dim=1)


def run_lstm(lstm: nn.LSTM, inputs: Tensor, lengths: Tensor) -> Tensor:
    """States (U, T, 2 hidden) of a bi-directional LSTM, zero after each sequence's end.

    Packed, because the backward direction of a padded sequence would begin in the padding.
    """
    packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
    states, _ = pad_packed_sequence(lstm(packed)[0], batch_first=True, total_length=inputs.shape[1])
    return states


def _chosen(graphs: Graphs, which: Tensor) -> Graphs:
    return Graphs(*(part[which] for part in graphs))


def _moved(tree: Any, device: torch.device) -> Any:
    if isinstance(tree, Tensor):
        return tree.to(device)
    if isinstance(tree, Batch | Texts | Contexts | Drawings):
        return replace(tree, **{each.name: _moved(getattr(tree, each.name), device) for each in fields(tree)})
    return tree
