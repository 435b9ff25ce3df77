"""Reading published word vectors: every layout, words that look odd, and files that are damaged."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tenfold.answer.glove import read_glove
from tenfold.core.errors import UsageError

TEXT = "the 0.5 -1 2e-3\nsun 1 2 3\n, 4 5 6\n"
ROWS = torch.tensor([[0.5, -1, 2e-3], [1, 2, 3], [4, 5, 6]])
WORDS = ("the", "sun", ",")


def text_file(folder: Path, text: str | bytes, name: str = "small.txt") -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def gz(folder: Path) -> Path:
    file = folder / "small.txt.gz"
    file.write_bytes(gzip.compress(TEXT.encode()))
    return file


def zipped(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "small.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("small.txt", TEXT)
    return folder / "small.zip"


def member(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "two.zip", "w") as archive:
        archive.writestr("other.txt", "the 9\n")
        archive.writestr("small.txt", TEXT)
    return folder / "two.zip" / "small.txt"


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "plain": lambda folder: text_file(folder, TEXT),
    "header": lambda folder: text_file(folder, "3 3\n" + TEXT),
    "spaces at the end, other line ends": lambda folder: text_file(folder, TEXT.replace("\n", " \r\n")),
    "no last line end": lambda folder: text_file(folder, TEXT.rstrip()),
    "gz": gz,
    "zip": zipped,
    "one of a zip": member,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_text_files_of_every_layout(layout: str, tmp_path: Path) -> None:
    found = read_glove(LAYOUTS[layout](tmp_path))
    assert found.words == WORDS
    assert torch.equal(found.table, ROWS)


def test_words_may_contain_spaces_and_marks_of_line_ends(tmp_path: Path) -> None:
    text = "the 1 2\n. . . 3 4\nat name@domain.com 5 6\na\u0085b 7 8\nc\u2028 9 10\n7 11 12\n"
    assert read_glove(text_file(tmp_path, text)).words == (
        "the",
        ". . .",
        "at name@domain.com",
        "a\u0085b",
        "c\u2028",
        "7",
    )


def test_of_a_word_that_is_there_twice_the_first_counts(tmp_path: Path) -> None:
    found = read_glove(text_file(tmp_path, "3 1\na 1\na 2\nb 3\n"))
    assert (found.words, found.table.tolist()) == (("a", "b"), [[1], [3]])


def test_only_the_words_asked_for_are_kept(tmp_path: Path) -> None:
    file = text_file(tmp_path, TEXT)
    found = read_glove(file, keep=["sun", "moon"])
    assert found.words == ("sun",)
    assert torch.equal(found.table, ROWS[1:2])
    with pytest.raises(UsageError, match=r"small.txt has none of the 1 words asked for"):
        read_glove(file, keep=["moon"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("the 1 2\nsun 1\n", "line 2: there must be a word and 2 numbers"),
        ("the 1 2\nsun 1 2 3\n", "line 2: there must be a word and 2 numbers"),
        ("the 1 2\n\nsun 1 2\n", "line 2: there must be a word"),
        ("the\nsun\n", "line 1: there must be a word and its numbers"),
        ("the 1 2\nsun 1 x\n", "line 2: 'x' is not a finite number"),
        ("the 1 nan\n", "line 1: 'nan' is not a finite number"),
        ("the 1 1_0\n", "line 1: '1_0' is not a finite number"),
        ("the 1 2\n 1 2\n", "line 2: there must be a word"),
        ("2 2\nthe 1 2\n", "has 1 words, but its first line promises 2"),
        ("1 3\nthe 1 2\n", "line 2: there must be a word and 3 numbers"),
        (b"the 1\n\xff\xfe 2\n", "line 2: .* is not text in UTF-8"),
        ("x" * (1 << 20), "too long, in line 1"),
    ],
)
def test_damaged_lines_are_named(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        read_glove(text_file(tmp_path, text))


def test_archives_that_are_damaged_or_hold_several_files_are_refused(tmp_path: Path) -> None:
    short = tmp_path / "short.txt.gz"
    short.write_bytes(gzip.compress(TEXT.encode())[:-9])
    with pytest.raises(UsageError, match=r"short.txt.gz cannot be read"):
        read_glove(short)
    with pytest.raises(UsageError, match=r"no.zip cannot be read"):
        read_glove(text_file(tmp_path, TEXT, "no.zip"))
    two = member(tmp_path).parent
    with pytest.raises(UsageError, match=r"two.zip holds other.txt, small.txt: name one of them"):
        read_glove(two)
    with pytest.raises(UsageError, match="name one of them"):
        read_glove(two / "third.txt")
    with pytest.raises(UsageError, match=r"missing.txt does not exist"):
        read_glove(tmp_path / "missing.txt")


def folder_of(folder: Path, *, table: str = "npy", words: str = "txt") -> Path:
    if table == "npy":
        np.save(folder / "small_emb.npy", ROWS.numpy())
    else:
        save_file({"embeddings": ROWS}, folder / "small.safetensors")
    if words == "txt":
        (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
        return folder
    arrow = pytest.importorskip("pyarrow", reason="reading .parquet needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet", reason="reading .parquet needs pyarrow")
    columns: dict[str, list[object]] = {"index": list(WORDS)}
    if words == "parquet with rows":
        columns = {"word": [WORDS[row] for row in (2, 0, 1)], "row": [2, 0, 1]}
    if words == "parquet with a gap":
        columns = {"index": ["the", None, ","]}
    if words == "parquet of numbers":
        columns = {"index": [1, 2, 3]}
    parquet.write_table(arrow.table(columns), folder / "small_index.parquet")
    return folder


@pytest.mark.parametrize("table", ["npy", "safetensors"])
@pytest.mark.parametrize("words", ["txt", "parquet", "parquet with rows"])
def test_folders_of_every_layout(table: str, words: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, table=table, words=words)
    found = read_glove(folder)
    assert found.words == WORDS
    assert torch.equal(found.table, ROWS)
    some = read_glove(folder, keep={",", "sun", "moon"})
    assert (some.words, some.table.tolist()) == (("sun", ","), ROWS[1:].tolist())


@pytest.mark.parametrize("words", ["parquet with a gap", "parquet of numbers"])
def test_columns_that_are_no_words_are_refused(words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="columns of text"):
        read_glove(folder_of(tmp_path, words=words))


def test_rows_without_a_word_are_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / "vocab.txt").write_text("the\nsun\n")
    with pytest.raises(UsageError, match=r"vocab.txt has 2 words, .* of which there are 3"):
        read_glove(folder)
    (folder / "vocab.txt").unlink()
    with pytest.raises(UsageError, match=r"one file of the words \(.parquet or .txt\), but it holds none"):
        read_glove(folder)
    save_file({"a": ROWS}, folder / "second.safetensors")
    with pytest.raises(UsageError, match=r"it holds second.safetensors, small_emb.npy"):
        read_glove(folder)


@pytest.mark.parametrize("array", [ROWS.int().numpy(), ROWS[0].numpy(), np.array([{"a": 1}], object)])
def test_tables_that_are_no_numbers_are_refused_and_nothing_is_unpickled(array: np.ndarray, tmp_path: Path) -> None:
    np.save(folder_of(tmp_path) / "small_emb.npy", array, allow_pickle=True)
    with pytest.raises(UsageError, match=r"small_emb.npy (holds|cannot be read)"):
        read_glove(tmp_path)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    np.save(folder_of(tmp_path) / "small_emb.npy", ROWS.log().numpy())
    with pytest.raises(UsageError, match="must have finite numbers only"):
        read_glove(tmp_path)
