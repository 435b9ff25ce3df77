"""Opens a textbook of any layout that is known, by looking at what is there."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path, PurePosixPath

from ..core.errors import UsageError
from .json_values import MOST_BYTES, described, parse_json, read_json_file
from .markdown import ENDINGS, read_markdown
from .retrieved import read_retrieved
from .textbook import PUBLISHED_COUNTS, PUBLISHED_QUESTIONS, Kind, Textbook
from .tqa import read_tqa

SPLITS = ("train", "val", "test")

_KNOWN = (
    "a TQA file, its folder or zip, a file of true/false questions with retrieved sentences, a markdown file, "
    "or a folder of them"
)
_SPLIT_OF_NAME = re.compile(rf"(?:^|[^a-z])({'|'.join(SPLITS)})$")
_TQA_FILE = re.compile(
    rf"(?:[^./][^/]*/)?(?:(?:{'|'.join(SPLITS)})/)?tqa_v(?P<version>[0-9]+)_(?P<split>{'|'.join(SPLITS)})\.json"
)


def open_book(path: Path, split: str | None) -> Textbook:
    """A textbook from a file or folder; see `Textbook.load`.

    Args:
        path: a .json file of TQA or of retrieved sentences; TQA's folder or zip; a markdown file, or a folder of them.
        split: train, val or test, where the path holds several; None takes all of it. Pictures in a zip are not taken.

    Raises:
        UsageError: the path is missing, of no known layout, damaged, or has no such split.
    """
    if split is not None and split not in SPLITS:
        raise UsageError(f"split is {split!r}, but must be one of {', '.join(SPLITS)}, or none for all")
    if not path.exists():
        raise UsageError(f"{path} does not exist, but must be {_KNOWN}")
    if path.is_dir():
        return _open_folder(path, split)
    ending = path.suffix.lower()
    if ending == ".json":
        return _open_json(path, split)
    if ending == ".zip":
        return _open_zip(path, split)
    if ending in ENDINGS:
        _refuse_split(path, split)
        return read_markdown(path)
    raise UsageError(f"{path} ends in {path.suffix!r}, but must be {_KNOWN}")


def check_counts(book: Textbook, split: str) -> str | None:
    """A sentence that says how a book differs from a split of TQA in its numbers of questions; None where it does not.

    Questions that were left out are counted in. Where the published numbers of each kind are known, they are compared too.
    """
    diagrams_left_out = sum(name.startswith("DQ_") for name, _ in book.left_out)
    found, published = sum(book.counts.values()), PUBLISHED_QUESTIONS.get(split)
    if published is not None and found + len(book.left_out) != published:
        return (
            f"{book.name} has {found} questions and {len(book.left_out)} more that were left out, "
            f"but TQA's {split} split has {published}"
        )
    missing = {kind: count - book.counts[kind] for kind, count in PUBLISHED_COUNTS.get(split, {}).items()}
    # whether a question that was left out was true/false or multiple choice is not known
    if min(missing.values(), default=0) < 0 or missing.get("diagram", diagrams_left_out) != diagrams_left_out:
        return (
            f"{book.name} has {_listed(book.counts)} questions and {len(book.left_out)} more that were left out, "
            f"but TQA's {split} split has {_listed(PUBLISHED_COUNTS[split])}"
        )
    return None


def remarks_on(book: Textbook, split: str | None = None) -> list[str]:
    """Sentences that somebody who uses the book should know: what was left out, and whether a split of TQA is whole.

    Args:
        book: as it was loaded.
        split: of TQA that it should be; None takes it from a name such as tqa_v1_val.
    """
    remarks = []
    if book.left_out:
        name, reason = book.left_out[0]
        remarks.append(f"{book.name}: {len(book.left_out)} left out, the first is {name}: {reason}")
    split = split or next((each for each in PUBLISHED_QUESTIONS if book.name.endswith(f"_{each}")), None)
    is_tqa = bool(book.lessons) and all(lesson.name.startswith("L_") for lesson in book.lessons)
    difference = check_counts(book, split) if is_tqa and split is not None else None
    return [*remarks, difference] if difference is not None else remarks


def _listed(counts: Mapping[Kind, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def _refuse_split(path: Path, split: str | None) -> None:
    if split is not None:
        raise UsageError(f"split is {split!r}, but {path} is markdown, which has no splits")


def _open_json(path: Path, split: str | None) -> Textbook:
    entries = read_json_file(path)
    if not isinstance(entries, list):
        raise UsageError(f"{path} holds {described(entries)}, but must be {_KNOWN}")
    first = entries[0] if entries else "nothing"
    if not isinstance(first, dict):
        holds = described(first) if entries else first
        raise UsageError(f"{path} holds a list of {holds}, but must be {_KNOWN}")
    if "globalID" in first:
        _check_split(path, split)
        return read_tqa(entries, path.stem, str(path), path.parent)
    if "question" in first and "correct_answer" in first:
        return read_retrieved(entries, path.stem, str(path), split)
    raise UsageError(f"{path} holds a list of objects with {_first_few(first)}, but must be {_KNOWN}")


def _check_split(path: Path, split: str | None) -> None:
    named = _SPLIT_OF_NAME.search(path.stem.lower())
    if split is not None and (named is None or named[1] != split):
        own = f"is the split {named[1]}" if named else "does not name its split"
        raise UsageError(f"split is {split!r}, but {path}, by its name, {own}")


def _open_folder(folder: Path, split: str | None) -> Textbook:
    names = sorted(entry.name for entry in folder.iterdir())
    below = [f"{base}{part}" for base in ("", "tqa_train_val_test/") for part in ("", *(f"{name}/" for name in SPLITS))]
    found = [file.relative_to(folder).as_posix() for part in below for file in folder.glob(f"{part}tqa_v*.json")]
    files = _newest(found)
    if files:
        chosen = [folder / file for file in _chosen(files, split, str(folder))]
        return _joined([read_tqa(read_json_file(file), file.stem, str(file), file.parent) for file in chosen])
    if any(Path(name).suffix.lower() in ENDINGS for name in names):
        _refuse_split(folder, split)
        return read_markdown(folder)
    raise UsageError(f"the folder {folder} holds {_first_few(names)}, but must be {_KNOWN}")


def _open_zip(path: Path, split: str | None) -> Textbook:
    try:
        entries = _read_zip(path, split)
    except UsageError:
        raise
    except Exception as error:  # the decoders raise almost anything on a damaged file
        raise UsageError(f"{path} cannot be read as a zip file: {error}") from error
    return _joined(
        [
            read_tqa(parse_json(data, f"{path}, entry {file}"), PurePosixPath(file).stem, f"{path}, entry {file}", None)
            for file, data in entries.items()
        ]
    )


def _read_zip(path: Path, split: str | None) -> dict[str, bytes]:
    """The files of TQA in it. Nothing is unpacked to disk, and no more is unpacked than is allowed."""
    with zipfile.ZipFile(path) as archive:
        files = _newest(archive.namelist())
        if not files:
            raise UsageError(f"{path} holds {_first_few(archive.namelist())}, but must be {_KNOWN}")
        entries = {}
        for file in _chosen(files, split, str(path)):
            with archive.open(file) as entry:
                entries[file] = entry.read(MOST_BYTES + 1)
            if len(entries[file]) > MOST_BYTES:
                raise UsageError(
                    f"{path}, entry {file} has more than {MOST_BYTES} bytes, which is the most that is read"
                )
    return entries


def _first_few(names: Iterable[str]) -> str:
    return ", ".join(islice(names, 5))[:200] or "nothing"


def _newest(names: Iterable[str]) -> dict[str, str]:
    """Split -> the file of it, of the highest version: the answers of the test came with a later one."""
    newest: dict[str, tuple[int, str]] = {}
    for name in names:
        match = _TQA_FILE.fullmatch(name)
        if match and int(match["version"][:9]) > newest.get(match["split"], (-1, ""))[0]:
            newest[match["split"]] = int(match["version"][:9]), name
    return {split: newest[split][1] for split in SPLITS if split in newest}


def _chosen(files: dict[str, str], split: str | None, where: str) -> list[str]:
    if split is None:
        return list(files.values())
    if split not in files:
        raise UsageError(f"split is {split!r}, but {where} has {', '.join(files)}")
    return [files[split]]


def _joined(books: list[Textbook]) -> Textbook:
    return books[0] if len(books) == 1 else books[0].and_also(books[1:])
