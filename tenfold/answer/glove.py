"""Reader of published word vectors: the text format of GloVe and word2vec, and folders of a table and its words.

Nothing is unpickled. What is cut short or damaged is named in a `UsageError`.
"""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from array import array
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
import torch

from ..core.errors import UsageError
from .vectors import StaticVectors

Numbers = np.ndarray[Any, np.dtype[Any]]
_MOST_BYTES = 1 << 20
"""of one line"""
_MOST_WORDS = 20_000_000


def read_glove(path: Path, *, keep: Collection[str] | None = None) -> StaticVectors:
    """Word vectors (V, D) from a file or folder, in its order; of a word that is there twice, the first.

    A file has a line for each word: the word, which may contain spaces, and D numbers, all separated by single spaces. A first line
    of two whole numbers is the count of words and D. The file may be compressed as .gz, or lie in a .zip; one of several files in
    a .zip is named as if the .zip were a folder: `glove.6B.zip/glove.6B.50d.txt`.

    A folder has the numbers in one .npy or .safetensors file, (V, D), and the words in one .parquet file (a column of words,
    and, if the rows are in another order than the words, a column of row numbers from 0) or one .txt file (a word in each line).

    Args:
        path: the file or folder.
        keep: read only these words, which saves memory; lines of other words are checked for their length alone. None reads all.

    Raises:
        UsageError: the path is missing or not of this kind, the file or line named is damaged, or no word is left.
        ModuleNotFoundError: the words are in a .parquet file, and pyarrow is not installed.
    """
    if path.is_dir():
        words, table = _read_folder(path, keep)
    else:
        words, table = _read_text(path, None if keep is None else frozenset(keep))
    if not words:
        raise UsageError(f"{path} has none of the {len(keep or ())} words asked for")
    return StaticVectors(path.name, words, torch.from_numpy(table))


# The text format


def _read_text(path: Path, keep: frozenset[str] | None) -> tuple[list[str], Numbers]:
    words: dict[str, None] = {}
    numbers = array("f")
    with _opened(path) as file:
        lines = _lines(file, path)
        promised, dim = None, 0
        for number, line in lines:
            if number == 1 and (header := _header(line)):
                promised, dim = header
                continue
            dim = dim or line.count(b" ")
            word, row = _word_and_row(line, dim, f"{path}, line {number}")
            if word not in words and (keep is None or word in keep):
                numbers.extend(_numbers(row, f"{path}, line {number}"))
                words[word] = None
        read = number - (promised is not None)
    if promised not in (None, read):
        raise UsageError(f"{path} has {read} words, but its first line promises {promised}: it is cut short or damaged")
    return list(words), np.frombuffer(numbers, np.float32).reshape(len(words), dim)


def _lines(file: IO[bytes], path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines and their numbers from 1. Split at line feeds alone: published words contain other marks of a line's end."""
    number = 0
    while line := file.readline(_MOST_BYTES):
        number += 1
        if len(line) == _MOST_BYTES or number > _MOST_WORDS:
            raise UsageError(f"{path} is too long, in line {number}, to be a file of word vectors")
        yield number, line.rstrip(b" \r\n")
    if not number:
        raise UsageError(f"{path} is empty, but must have a line for each word")


def _header(line: bytes) -> tuple[int, int] | None:
    fields = line.split(b" ")
    if len(fields) == 2 and all(field.isdigit() for field in fields):
        return int(fields[0]), int(fields[1])
    return None


def _word_and_row(line: bytes, dim: int, where: str) -> tuple[str, list[bytes]]:
    first, *row = line.rsplit(b" ", dim) if dim else [line]
    # what precedes the numbers is a word of several parts, unless these are numbers too: then there are too many
    if not first or len(row) != dim or not dim or any(_is_number(part) for part in first.split(b" ")[1:]):
        raise UsageError(f"{where}: there must be a word and {dim or 'its'} numbers, but it is {_shown(line)}")
    try:
        return first.decode(), row
    except UnicodeDecodeError as error:
        raise UsageError(f"{where}: {_shown(first)} is not text in UTF-8") from error


def _numbers(row: list[bytes], where: str) -> list[float]:
    wrong = next((field for field in row if not _is_number(field)), None)
    if wrong is not None:
        raise UsageError(f"{where}: {_shown(wrong)} is not a finite number")
    return [float(field) for field in row]


def _is_number(field: bytes) -> bool:
    try:
        return b"_" not in field and math.isfinite(float(field))
    except ValueError:
        return False


def _shown(text: bytes) -> str:
    return repr(text[:60].decode(errors="replace") + ("..." if len(text) > 60 else ""))


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a plain, gzipped or zipped file; damage that shows while it is read becomes a `UsageError` too."""
    archive, member = (path.parent, path.name) if path.parent.suffix.lower() == ".zip" else (path, None)
    if not archive.is_file():
        raise UsageError(
            f"{path} does not exist, but must be a file of word vectors or a folder of a table and its words"
        )
    try:
        with ExitStack() as stack:
            if archive.suffix.lower() == ".zip":
                files = stack.enter_context(zipfile.ZipFile(archive))
                yield stack.enter_context(files.open(_member(files, archive, member)))
            elif archive.suffix.lower() == ".gz":
                yield cast(IO[bytes], stack.enter_context(gzip.open(archive)))
            else:
                yield stack.enter_context(archive.open("rb"))
    # a zip that is encrypted or packed in an unknown way raises one of the last two
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise UsageError(f"{archive} cannot be read: {error}") from error


def _member(files: zipfile.ZipFile, archive: Path, member: str | None) -> str:
    names = [info.filename for info in files.infolist() if not info.is_dir()]
    found = names if member is None else [name for name in names if name == member]
    if len(found) != 1:
        raise UsageError(
            f"{archive} holds {', '.join(names) or 'nothing'}: name one of them, such as {archive / 'NAME'}"
        )
    return found[0]


# A folder of a table and its words


class _Words(NamedTuple):
    words: list[str]
    rows: list[int]
    """of the table, one for each word"""


def _read_folder(folder: Path, keep: Collection[str] | None) -> tuple[list[str], Numbers]:
    table_file = _only(folder, (".npy", ".safetensors"), "the numbers")
    table = _table(table_file)
    if table.ndim != 2 or 0 in table.shape or table.dtype.kind != "f":
        raise UsageError(
            f"{table_file} holds {table.dtype} of shape {table.shape}, but must hold decimal numbers (V, D)"
        )
    words_file = _only(folder, (".parquet", ".txt"), "the words")
    listed = _parquet_words(words_file) if words_file.suffix.lower() == ".parquet" else _text_words(words_file)
    if sorted(listed.rows) != list(range(len(table))):
        raise UsageError(
            f"{words_file} has {len(listed.words)} words, but must have one for each row of {table_file.name}, of which there "
            f"are {len(table)}"
        )
    wanted: dict[str, int] = {}
    for word, row in zip(*listed, strict=True):
        if keep is None or word in keep:
            wanted.setdefault(word, row)
    # sorted, for the file is on disk and read where a row is asked for
    words = sorted(wanted, key=wanted.__getitem__)
    return words, np.array(table[[wanted[word] for word in words]], np.float32)


def _only(folder: Path, endings: tuple[str, ...], what: str) -> Path:
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in endings and file.is_file())
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise UsageError(f"{folder} must hold one file of {what} ({' or '.join(endings)}), but it holds {names}")
    return found[0]


def _table(file: Path) -> Numbers:
    try:
        if file.suffix.lower() == ".npy":
            return np.load(file, mmap_mode="r", allow_pickle=False)
        from safetensors import safe_open

        with safe_open(file, framework="np") as arrays:
            names = list(arrays.keys())
            if len(names) == 1:
                return arrays.get_tensor(names[0])
    except Exception as error:  # the decoders raise almost anything on a damaged file
        raise UsageError(f"{file} cannot be read as a table of numbers: {error}") from error
    raise UsageError(f"{file} holds {', '.join(names) or 'nothing'}, but must hold one array")


def _text_words(file: Path) -> _Words:
    try:
        # bytes, and line feeds alone: published words contain other marks of a line's end
        words = file.read_bytes().decode().removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not text in UTF-8") from error
    return _Words([word.rstrip("\r") for word in words], list(range(len(words))))


def _parquet_words(file: Path) -> _Words:
    parquet = import_module("pyarrow.parquet")
    types = import_module("pyarrow").types
    try:
        columns = parquet.read_table(file).columns
    except Exception as error:  # of a damaged file
        raise UsageError(f"{file} cannot be read as a parquet file: {error}") from error
    texts = [column for column in columns if types.is_string(column.type) or types.is_large_string(column.type)]
    numbers = [column for column in columns if types.is_integer(column.type)]
    if len(texts) != 1 or len(numbers) > 1 or any(column.null_count for column in (*texts, *numbers)):
        raise UsageError(
            f"{file} has {len(texts)} columns of text and {len(numbers)} of whole numbers, but must have one of words and at most "
            "one of their rows, without gaps"
        )
    words = texts[0].to_pylist()
    return _Words(words, numbers[0].to_pylist() if numbers else list(range(len(words))))
