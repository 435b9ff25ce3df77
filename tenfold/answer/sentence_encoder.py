"""Sentence encoders of BERT's architecture from a folder: vectors of whole texts, and of words in their sentence.

MiniLM, BGE, E5 and many others are of it. The network is torch's own encoder of transformers with the folder's weights; the
folder's `tokenizer.json` cuts texts into pieces of words. A text of more pieces than the network has positions is read in
windows, one after another, so that nothing of it is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UsageError
from ..core.modes import evaluating
from .encoder_files import EncoderFiles, Sizes, read_encoder_files
from .vectors import WordVectors

_USUAL = 128
"""pieces of each text that a batch has room for; of longer texts fewer go into a batch"""


class SentenceEncoder(nn.Module):
    """Turns texts into vectors. Made by `load`, in evaluation mode, with weights that can be trained further.

    Example:
        encoder = SentenceEncoder.load("all-MiniLM-L6-v2")
        encoder.embed(["Rocks melt in the mantle.", "Magma is molten rock."])    # (2, 384), rows of length 1
    """

    def __init__(self, sizes: Sizes, files: EncoderFiles, name: str) -> None:
        """The network of these sizes, its weights not set. Use `load`."""
        super().__init__()
        self.name = name
        self.dim = sizes.dim
        """D, the numbers of a vector"""
        self.positions = sizes.positions
        """the most pieces that are read at once, those that mark a text's ends included"""
        self.pooling = files.pooling
        """what of the last layer stands for the whole text: the mean of its rows, or the row of its first piece"""
        self.notes = files.notes
        """what the folder does not say, and what was taken instead; a sentence each"""
        self.tokenizer = files.tokenizer
        self.piece = nn.Embedding(sizes.pieces, sizes.dim)
        self.place = nn.Embedding(sizes.positions, sizes.dim)
        self.side = nn.Embedding(sizes.types, sizes.dim)
        self.norm = nn.LayerNorm(sizes.dim, files.epsilon)
        self.dropout = nn.Dropout(files.dropout)
        layer = nn.TransformerEncoderLayer(
            sizes.dim, sizes.heads, sizes.hidden, files.dropout, "gelu", files.epsilon, batch_first=True
        )
        layer.dropout.p = 0.0  # BERT drops nothing between the two layers of a block's perceptron, torch does
        self.encoder = nn.TransformerEncoder(layer, sizes.layers, enable_nested_tensor=False)

    @classmethod
    def load(cls, folder: str | Path, *, device: str | torch.device = "cpu") -> SentenceEncoder:
        """The encoder in a folder that has `model.safetensors` and `tokenizer.json`.

        `config.json` gives the number of heads (12 where it does not) and may be missing; how a text's vector is formed is read
        from it or from `1_Pooling/config.json` (the mean where neither says it). `notes` says what was not given.

        Raises:
            UsageError: a file is missing or damaged, or the network is of another architecture.
            ModuleNotFoundError: the library tokenizers is not installed.
        """
        folder = Path(folder)
        files = read_encoder_files(folder)
        with torch.device("meta"):  # draws no random numbers, and takes no memory, for weights that are replaced
            encoder = cls(files.sizes, files, folder.resolve().name)
        encoder.load_state_dict(files.weights, assign=True)
        return encoder.requires_grad_().to(device).eval()

    def forward_ids(self, ids: Tensor, mask: Tensor, types: Tensor | None = None) -> Tensor:
        """The last layer: float32 (N, L, D), differentiable.

        Args:
            ids: numbers of pieces, int64 (N, L), L at most `positions`.
            mask: which of them are there, bool or 0 and 1, (N, L); others may be of any number and have no effect on those.
            types: int64 (N, L), 0 in a first text and 1 in a second; None is 0 everywhere.

        Raises:
            UsageError: there are more pieces than positions.
        """
        length = ids.shape[1]
        if length > self.positions:
            raise UsageError(f"{self.name} was given {length} pieces at once, but takes at most {self.positions}")
        places = torch.arange(length, device=ids.device)
        types = torch.zeros_like(ids) if types is None else types
        inputs = self.dropout(self.norm(self.piece(ids) + self.place(places) + self.side(types)))
        return self.encoder(inputs, src_key_padding_mask=~mask.bool())

    def pooled(self, rows: Tensor, mask: Tensor) -> Tensor:
        """The vectors (N, D) that stand for whole texts, from their rows (N, L, D) and mask (N, L); differentiable."""
        if self.pooling == "first":
            return rows[:, 0]
        there = mask.to(rows.dtype).unsqueeze(2)
        return (rows * there).sum(1) / there.sum(1)

    @torch.no_grad()
    def embed(self, texts: Sequence[str], batch_size: int = 64) -> Tensor:
        """The vectors of texts: float32 (N, D) on the CPU, each of length 1, in the order given.

        Each different text is read once. Of a text in several windows the mean is over the rows of all of them.
        """
        different = list(dict.fromkeys(texts))
        sums, counts = torch.zeros(len(different), self.dim), torch.zeros(len(different), 1)
        for text, _, rows in self._read(different, batch_size, in_words=False):
            counted = rows if self.pooling == "mean" else rows[:1]
            sums[text] += counted.sum(0)
            counts[text] += len(counted)
        vectors = dict(zip(different, F.normalize(sums / counts), strict=True))
        return torch.stack([vectors[text] for text in texts]) if texts else sums

    @torch.no_grad()
    def embed_words(self, texts: Sequence[Sequence[str]], batch_size: int = 64) -> list[Tensor]:
        """The vectors of the words of texts: float32 (words, D) on the CPU for each, in the order given.

        A word's vector is the mean of the last layer's rows of its pieces; a word without pieces, such as one of control
        characters, gets zeros. Each different text is read once.
        """
        different = list(dict.fromkeys(tuple(words) for words in texts))
        sums = [torch.zeros(len(words), self.dim) for words in different]
        counts = [torch.zeros(len(words), 1) for words in different]
        for text, pieces, rows in self._read(different, batch_size, in_words=True):
            inside = [place for place, word in enumerate(pieces.words) if word is not None]
            words = torch.tensor([word for word in pieces.words if word is not None], dtype=torch.int64)
            sums[text].index_add_(0, words, rows[inside])
            counts[text].index_add_(0, words, torch.ones(len(words), 1))
        means = [total / count.clamp(min=1) for total, count in zip(sums, counts, strict=True)]
        vectors = dict(zip(different, means, strict=True))
        return [vectors[tuple(words)] for words in texts]

    def cut(self, inputs: Sequence[Any], longest: int, *, in_words: bool = False) -> list[list[Pieces]]:
        """Texts, or pairs of texts, as pieces: for each its windows, of at most `longest` pieces, one after another.

        Args:
            inputs: texts, or pairs (first, second); with `in_words` texts as their words.
            longest: at most `positions`. A pair's further windows are of no use: they may hold rests of either text.
        """
        self.tokenizer.enable_truncation(min(longest, self.positions))
        inputs = [list(words) for words in inputs] if in_words else list(inputs)
        encoded = self.tokenizer.encode_batch(inputs, is_pretokenized=in_words)
        return [[Pieces(part.ids, part.type_ids, part.word_ids) for part in (one, *one.overflowing)] for one in encoded]

    def padded(self, batch: Sequence[Pieces]) -> tuple[Tensor, Tensor, Tensor]:
        """What `forward_ids` takes, (ids, mask, types), on the device of the weights."""
        length = max(len(pieces.ids) for pieces in batch)
        ids, mask, types = (torch.zeros(len(batch), length, dtype=torch.int64) for _ in range(3))
        for row, pieces in enumerate(batch):
            count = len(pieces.ids)
            ids[row, :count] = torch.tensor(pieces.ids)
            types[row, :count] = torch.tensor(pieces.types)
            mask[row, :count] = 1
        device = self.piece.weight.device
        return ids.to(device), mask.bool().to(device), types.to(device)

    def _read(self, texts: Sequence[Any], batch_size: int, *, in_words: bool) -> Iterator[tuple[int, Pieces, Tensor]]:
        """(number of the text, a window of it, the last layer's rows (L, D)), in no order that matters."""
        cut = self.cut(texts, self.positions, in_words=in_words)
        windows = [(text, pieces) for text, parts in enumerate(cut) for pieces in parts]
        with evaluating(self):
            lengths = [len(pieces.ids) for _, pieces in windows]
            for batch in batches_by_length(lengths, batch_size=batch_size, room=batch_size * _USUAL):
                ids, mask, types = self.padded([windows[place][1] for place in batch])
                for place, rows in zip(batch, self.forward_ids(ids, mask, types).float().cpu(), strict=True):
                    text, pieces = windows[place]
                    yield text, pieces, rows[: len(pieces.ids)]


class Pieces(NamedTuple):
    """A window of a text, or of a pair of texts, as the network reads it."""

    ids: list[int]
    types: list[int]
    """0 in the first text, 1 in the second"""
    words: list[int | None]
    """the number of the word each piece is of; None where it marks an end"""


class EncoderVectors(WordVectors):
    """Word vectors that depend on the sentence: those of a sentence encoder's last layer."""

    contextual = True

    def __init__(self, encoder: SentenceEncoder) -> None:
        self.encoder = encoder
        self.name = encoder.name
        self.dim = encoder.dim

    def of(self, texts: Sequence[Sequence[str]]) -> list[Tensor]:
        """See `WordVectors.of` and `SentenceEncoder.embed_words`."""
        return self.encoder.embed_words(texts)


def batches_by_length(
    lengths: Sequence[int], *, batch_size: int, room: int, counts: Sequence[int] | None = None
) -> list[list[int]]:
    """Places of `lengths` in batches of like length, the longest first: what is too much for the memory fails at once.

    Args:
        lengths: of the rows at each place, in pieces.
        batch_size: the most places in a batch.
        room: the most pieces in a batch, with all its rows padded to its longest; one place may have more.
        counts: rows at each place; None is one row at each.
    """
    batches: list[list[int]] = []
    rows, longest = 0, 0
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        count = 1 if counts is None else counts[place]
        if batches and len(batches[-1]) < batch_size and (rows + count) * longest <= room:
            batches[-1].append(place)
            rows += count
        else:
            batches.append([place])
            rows, longest = count, lengths[place]
    return batches
