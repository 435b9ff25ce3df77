"""Run folders read as they are: settings, status and curves of each, and groups of runs that may be compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from .errors import UsageError
from .metrics import Cell, Table, mean_and_spread

_NOT_METRICS = ("step", "stage", "time")


@dataclass(frozen=True)
class Record:
    """What the files of one run folder say."""

    path: Path
    verb: str
    version: str
    preset: str
    settings: dict[str, Any]
    """without the seed, by dotted name"""
    seed: int | None
    environment: dict[str, Any]
    state: str
    error: str | None
    metrics: dict[str, float]
    curves: dict[str, dict[str, dict[float, float]]]
    """metric -> stage -> step -> value"""
    seconds: float


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone, and the table of their means."""

    table: Table
    records: list[Record]

    def label(self, record: Record) -> str:
        """The seed where that tells the runs of the group apart, otherwise the folder's name."""
        seeds = [other.seed for other in self.records]
        return record.path.name if record.seed is None or seeds.count(record.seed) > 1 else f"seed {record.seed}"


def grouped(runs: Sequence[Path]) -> list[Group]:
    """The runs read and sorted into groups of one verb, preset and settings.

    Raises:
        UsageError: there are no runs, or a path is not a run folder.
    """
    if not runs:
        raise UsageError("0 runs were given, but a report needs at least 1")
    grouped: dict[tuple[str, str, str], list[Record]] = {}
    for path in dict.fromkeys(Path(run).resolve() for run in runs):
        record = _read(path)
        key = (record.verb, record.preset, json.dumps(record.settings, sort_keys=True))
        grouped.setdefault(key, []).append(record)
    heads = [records[0] for records in grouped.values()]
    return [Group(tabulated(records, heads), records) for records in grouped.values()]


def tabulated(records: list[Record], heads: list[Record]) -> Table:
    """The table of `records`; `heads` has one record of every group, to tell what is special about this one."""
    done = [record for record in records if record.state == "done"]
    values: dict[tuple[str, str], list[float]] = {}
    for record in done:
        for key, value in record.metrics.items():
            row, _, column = key.partition("/") if "/" in key else ("result", "", key)
            values.setdefault((row, column), []).append(value)
    first = records[0]
    peers = [head for head in heads if (head.verb, head.preset) == (first.verb, first.preset)]
    names = dict.fromkeys(name for peer in peers for name in peer.settings)
    return Table(
        verb=first.verb,
        preset=first.preset,
        runs=tuple(record.path for record in records),
        seeds=tuple(sorted(record.seed for record in done if record.seed is not None)),
        rows=tuple(dict.fromkeys(row for row, _ in values)),
        columns=tuple(dict.fromkeys(column for _, column in values)),
        cells={place: Cell(*mean_and_spread(found), len(found)) for place, found in values.items()},
        differing={
            name: first.settings.get(name)
            for name in names
            if any(peer.settings.get(name) != first.settings.get(name) for peer in peers)
        },
    )


def _read(path: Path) -> Record:
    config, status = _read_json(path, "config.json", holds="config"), _read_json(path, "status.json", holds="metrics")
    environment = _read_json(path, "env.json") if (path / "env.json").exists() else {}
    settings = dict(_flat(config["config"]))
    seed = settings.pop("seed", None)
    metrics = {key: _number(value) for key, value in status["metrics"].items()}
    curves, times = _read_curves(path / "metrics.jsonl")
    moments = [moment for time in (status.get("started"), *times, status.get("updated")) for moment in _moments(time)]
    return Record(
        path=path,
        verb=str(config.get("verb", "unknown")),
        version=str(config.get("version", "unknown")),
        preset=str(config.get("preset", "unknown")),
        settings=settings,
        seed=seed if isinstance(seed, int) else None,
        environment=environment,
        state=str(status.get("state", "unknown")),
        error=str(status["error"]) if status.get("error") else None,
        metrics={key: value for key, value in metrics.items() if value is not None},
        curves=curves,
        seconds=max(moments) - min(moments) if moments else 0.0,
    )


def _read_json(folder: Path, name: str, *, holds: str = "") -> dict[str, Any]:
    """The JSON object in a file, in which `holds` names another one; a missing or null one is made empty."""
    path = folder / name
    if not path.is_file():
        problem = f"it has no {name}" if folder.is_dir() else "there is no such folder"
        raise UsageError(f"{folder} is not a run folder: {problem}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} holds a {type(found).__name__}, but must hold a JSON object")
    if not isinstance(found.get(holds) or {}, dict):
        raise UsageError(f"{path} has {holds} {found[holds]!r}, but must have a JSON object there")
    return {**found, holds: found.get(holds) or {}} if holds else found


def _read_curves(path: Path) -> tuple[dict[str, dict[str, dict[float, float]]], list[object]]:
    """The curves of a metrics.jsonl and the times of its lines.

    A line cut short by a kill is passed over. Where a resumed run did steps again, the later values stand.
    """
    curves: dict[str, dict[str, dict[float, float]]] = {}
    times: list[object] = []
    for text in path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else ():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        step = _number(line.get("step")) if isinstance(line, dict) else None
        if step is None:
            continue
        times.append(line.get("time"))
        for name, value in line.items():
            number = None if name in _NOT_METRICS else _number(value)
            if number is not None:
                curves.setdefault(name, {}).setdefault(str(line.get("stage") or ""), {})[step] = number
    return curves, times


def _moments(time: object) -> Iterator[float]:
    """A time in seconds, from a number or an ISO 8601 text; nothing for what is neither."""
    with suppress(ValueError):
        if isinstance(time, int | float):
            yield float(time)
        elif isinstance(time, str):
            yield datetime.fromisoformat(time).timestamp()


def _flat(settings: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{where}{name}.")
        else:
            yield f"{where}{name}", value


def _number(value: object) -> float | None:
    """A float, also from the text "nan" or "inf" that JSON needs for them; None for what is no number."""
    try:
        return float(value) if isinstance(value, int | float | str) else None
    except ValueError:
        return None
