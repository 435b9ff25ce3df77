"""What runs have to say: tables of method against baseline over seeds, and a page that needs nothing but itself.

Only the files of a run folder are read, so that a report can be made of a running, a broken or another machine's run.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checkpoint import replace_file
from .errors import UsageError
from .figures import INK, curves_figure
from .metrics import Cell, Table, mean_and_spread, plain_text, seed_names

if TYPE_CHECKING:
    from rich.console import Console

_PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
_SAMPLES_SHOWN = 24  # of one run; every picture is inside the page, and a page must still open
_PIPE_WIDTH = 10_000  # characters; more than any table has, so that a file or another program gets whole lines
_LABEL_WIDTH = 20  # characters that a table on a terminal leaves to the names of its rows, at the least
_NOT_METRICS = ("step", "stage", "time")


def comparison(runs: Sequence[Path]) -> list[Table]:
    """Final metrics of runs, one table for each verb, preset and set of settings; only the seed may differ inside one.

    Runs that are not done yet or failed belong to their table but not to its means. A run given twice counts once.

    Raises:
        UsageError: there are no runs, or a path is not a run folder; the message names the missing or broken file.
    """
    return [group.table for group in _groups(runs)]


def print_comparison(tables: Sequence[Table], *, console: Console | None = None) -> None:
    """Print tables to the terminal, or to the given rich console; into a pipe, lines are as long as they need to be."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=_PIPE_WIDTH)
    for table in tables:
        grid = Grid(box=box.SIMPLE_HEAD, title=Text(table.name), caption=Text(table.basis), title_justify="left")
        grid.caption_justify = "left"
        grid.add_column("")
        widths = [max(len(table.text(row, column)) for row in table.rows) for column in table.columns]
        # rich cuts off what its minimal widths leave no room for, and half a number looks like a whole one
        roomy = sum(width + 3 for width in widths) + _LABEL_WIDTH <= console.width
        for column, width in zip(table.columns, widths, strict=True):
            grid.add_column(Text(column), justify="right", overflow="fold", min_width=width if roomy else None)
        for row in table.rows:
            grid.add_row(Text(row), *(Text(table.text(row, column)) for column in table.columns))
        console.print(grid)


def write_report(runs: Sequence[Path], *, to: Path | None = None) -> Path:
    """Write one HTML page about the runs, which refers to no other file, and return its path.

    Args:
        runs: run folders; those of one verb, preset and settings become one section, a run given twice counts once.
        to: the page, or a folder that gets a report.html. None means the folder of a single run, or else the nearest
            folder that holds all the runs.

    Raises:
        UsageError: there are no runs, a path is not a run folder, or the runs share no folder but the root of the disk.
    """
    groups = _groups(runs)
    path = _destination([record.path for group in groups for record in group.records], to)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, _page(groups).encode())
    return path


@dataclass(frozen=True)
class _Record:
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
class _Group:
    table: Table
    records: list[_Record]

    def label(self, record: _Record) -> str:
        """The seed where that tells the runs of the group apart, otherwise the folder's name."""
        seeds = [other.seed for other in self.records]
        return record.path.name if record.seed is None or seeds.count(record.seed) > 1 else f"seed {record.seed}"


def _groups(runs: Sequence[Path]) -> list[_Group]:
    if not runs:
        raise UsageError("0 runs were given, but a report needs at least 1")
    grouped: dict[tuple[str, str, str], list[_Record]] = {}
    for path in dict.fromkeys(Path(run).resolve() for run in runs):
        record = _read(path)
        key = (record.verb, record.preset, json.dumps(record.settings, sort_keys=True))
        grouped.setdefault(key, []).append(record)
    heads = [records[0] for records in grouped.values()]
    return [_Group(_tabulate(records, heads), records) for records in grouped.values()]


def _tabulate(records: list[_Record], heads: list[_Record]) -> Table:
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


def _read(path: Path) -> _Record:
    config, status = _read_json(path, "config.json", holds="config"), _read_json(path, "status.json", holds="metrics")
    environment = _read_json(path, "env.json") if (path / "env.json").exists() else {}
    settings = dict(_flat(config["config"]))
    seed = settings.pop("seed", None)
    metrics = {key: _number(value) for key, value in status["metrics"].items()}
    curves, times = _read_curves(path / "metrics.jsonl")
    moments = [moment for time in (status.get("started"), *times, status.get("updated")) for moment in _moments(time)]
    return _Record(
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


def _destination(runs: list[Path], to: Path | None) -> Path:
    if to is None:
        to = runs[0] if len(runs) == 1 else Path(os.path.commonpath(runs))
        if to == Path(to.anchor):
            raise UsageError(f"the runs share no folder but {to}, so say where the report is to be written")
    return to / "report.html" if to.is_dir() else to


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60:02} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02} min"


def _page(groups: list[_Group]) -> str:
    first = groups[0].table
    title = f"{first.verb} · {first.preset}" if len(groups) == 1 else "Tenfold report"
    sections = "".join(_section(group, number, alone=len(groups) == 1) for number, group in enumerate(groups, start=1))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><main><h1>{escape(title)}</h1>"
        f"{_overview(groups) if len(groups) > 1 else ''}{sections}</main></body></html>\n"
    )


def _overview(groups: list[_Group]) -> str:
    rows = [
        (
            f'<a href="#part{number}">{escape(group.table.name)}</a>',
            _states(group),
            str(len(group.records)),
            _time(group),
        )
        for number, group in enumerate(groups, start=1)
    ]
    return _html_table(("part", "state", "runs", "time"), rows, "Parts of this report")


def _section(group: _Group, number: int, *, alone: bool) -> str:
    table, records = group.table, group.records
    heading = "" if alone else f"<h2>{escape(f'{table.verb} · {table.preset}')}</h2>"
    special = "".join(
        f"<code>{escape(name)} = {escape(plain_text(value))}</code> " for name, value in table.differing.items()
    )
    seeds = sorted(record.seed for record in records if record.seed is not None)
    facts = [f"{len(records)} run{'s' * (len(records) > 1)}", seed_names(seeds) if seeds else "", _time(group)]
    facts += dict.fromkeys(str(record.environment.get("device", "")) for record in records)
    facts += [*dict.fromkeys(f"tenfold {record.version}" for record in records), "" if table.rows else table.basis]
    errors = "".join(
        f'<div class="error"><strong>{escape(group.label(record))} {escape(record.state)}</strong>'
        f"<pre>{escape(record.error)}</pre></div>"
        for record in records
        if record.error
    )
    verdict = f"{_states(group)} {escape(' · '.join(filter(None, facts)))}"
    rows = [(escape(row), *(_html_cell(table.text(row, column)) for column in table.columns)) for row in table.rows]
    results = _html_table(("", *map(escape, table.columns)), rows, escape(table.basis)) if rows else ""
    return (
        f'<section id="part{number}">{heading}<p class="verdict">{verdict}</p>'
        f"{f'<p>{special}</p>' if special else ''}{errors}{results}{_samples(group)}{_charts(group, number)}"
        f"{_settings(group)}{_environment(group)}</section>\n"
    )


def _states(group: _Group) -> str:
    """The badge of every state in the group, with a count where runs are in different ones."""
    counts = Counter(record.state for record in group.records)
    return " ".join(
        f'<span class="state {escape(state)}">{f"{count} " if len(counts) > 1 else ""}{escape(state)}</span>'
        for state, count in counts.items()
    )


def _time(group: _Group) -> str:
    mean = sum(record.seconds for record in group.records) / len(group.records)
    return f"{_duration(mean)}{' a run' if len(group.records) > 1 else ''}"


def _html_cell(text: str) -> str:
    mean, sign, spread = escape(text.replace("-", "\N{MINUS SIGN}")).partition(" ± ")
    return f'{mean} <span class="faint">± {spread}</span>' if sign else mean


def _html_table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    """A table of ready HTML, which scrolls in a narrow window; the first cell of a row is its heading."""
    columns = "".join(f'<th scope="col">{name}</th>' if name else "<td></td>" for name in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{caption}"><table><caption>{caption}</caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _samples(group: _Group) -> str:
    """The samples of every run, those of the first open and the others folded."""
    parts: list[str] = []
    for record in group.records:
        folder = record.path / "samples"
        found = [path for path in folder.iterdir() if _is_sample(path)] if folder.is_dir() else []
        found.sort(
            key=lambda path: [int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", path.name)]
        )
        if found:
            note = f", the last {_SAMPLES_SHOWN} of {len(found)}" if len(found) > _SAMPLES_SHOWN else ""
            summary = f"<summary>{escape(group.label(record) + note)}</summary>"
            samples = "".join(map(_sample, found[-_SAMPLES_SHOWN:]))
            parts.append(f'<details{"" if parts else " open"}>{summary}<div class="samples">{samples}</div></details>')
    return f"<h3>Samples</h3>{''.join(parts)}" if parts else ""


def _is_sample(path: Path) -> bool:
    # a name with a leading dot is a file that a running training is still writing
    return path.suffix.lower() in {*_PICTURES, ".txt"} and not path.name.startswith(".")


def _sample(path: Path) -> str:
    caption = escape(re.sub(r"[_\s]+|(?<=\D)-|-(?=\D)", " ", path.stem).strip())
    if path.suffix.lower() == ".txt":
        content = f"<pre>{escape(path.read_text(encoding='utf-8', errors='replace'))}</pre>"
    else:
        data = base64.b64encode(path.read_bytes()).decode()
        content = f'<img src="data:{_PICTURES[path.suffix.lower()]};base64,{data}" alt="{caption}">'
    return f"<figure>{content}<figcaption>{caption}</figcaption></figure>"


def _charts(group: _Group, number: int) -> str:
    """One chart for each metric, with a line for each stage of each run; a stage has the same colour in all charts."""
    lines = {
        (name, f"{stage} {record.path}"): (stage, points)
        for record in group.records
        for name, stages in record.curves.items()
        for stage, points in stages.items()
    }
    stages = {line: stage for (_, line), (stage, _) in lines.items()}
    charts: list[str] = []
    for name in dict.fromkeys(name for name, _ in lines):
        series = {
            line: (sorted(points), [points[step] for step in sorted(points)])
            for (metric, line), (_, points) in lines.items()
            if metric == name
        }
        svg = curves_figure(name, series, x_label="step", y_label="", groups=stages).decode()
        # in one page the ids of all charts share one space, and the text must follow the page's colours
        svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>c{number}-{len(charts)}-", svg[svg.index("<svg") :])
        shown = ", ".join(filter(None, dict.fromkeys(stages[line] for line in series))) or "the run"
        label = escape(f"{name} by step, for {shown}")
        svg = svg.replace(INK, "currentColor").replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
        charts.append(f'<div class="chart">{svg}</div>')
    return f'<h3>Learning curves</h3><div class="charts">{"".join(charts)}</div>' if charts else ""


def _settings(group: _Group) -> str:
    """All settings; those that differ from other runs in the report are marked, in words and not by colour alone."""
    seeds = dict.fromkeys(str(record.seed) for record in group.records if record.seed is not None)
    rows = [("seed", ", ".join(seeds), len(seeds) > 1)] if seeds else []
    rows += [
        (name, plain_text(value), name in group.table.differing) for name, value in group.records[0].settings.items()
    ]
    marked = [
        (f"<mark>{escape(name)}</mark>" if differs else escape(name), escape(value), "differs" if differs else "")
        for name, value, differs in rows
    ]
    table = _html_table(("setting", "value", ""), marked, "Settings")
    return f'<details class="facts"><summary>Settings</summary>{table}</details>'


def _environment(group: _Group) -> str:
    rows = []
    for name in dict.fromkeys(name for record in group.records for name in record.environment):
        values: dict[str, list[str]] = {}
        for record in group.records:
            value = record.environment.get(name)
            text = shlex.join(map(str, value)) if name == "command" and isinstance(value, list) else plain_text(value)
            values.setdefault(text, []).append(group.label(record))
        told = "<br>".join(
            f"<code>{escape(text)}</code>" + (f" ({escape(', '.join(labels))})" if len(values) > 1 else "")
            for text, labels in values.items()
        )
        rows.append((escape(name), told))
    if not rows:
        return ""
    table = _html_table(("fact", "value"), rows, "Environment and command")
    return f'<details class="facts"><summary>Environment and command</summary>{table}</details>'


_STYLE = """
:root{--back:#f7f8f9;--card:#fff;--ink:#1f242d;--faint:#59636f;--line:#e2e5e9;
--link:#0b5cad;--good:#0c6b4a;--bad:#a8320e;--wait:#7a5200;--mark:#fff1c7}
@media(prefers-color-scheme:dark){:root{--back:#14171b;--card:#1c2026;--ink:#e7eaee;--faint:#a1abb7;--line:#313841;
--link:#7db8f5;--good:#5ecf9f;--bad:#ff9a76;--wait:#eabf5c;--mark:#4b3d12}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1040px;margin:0 auto;padding:40px 20px 80px}
h1{font-size:30px;line-height:1.2;letter-spacing:-.015em;margin:0 0 12px}
h2{font-size:23px;letter-spacing:-.01em;margin:64px 0 8px;padding-top:24px;border-top:1px solid var(--line)}
h3{font-size:17px;margin:36px 0 12px}
a{color:var(--link)}
code,pre{font:13.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
pre{white-space:pre-wrap;margin:4px 0 0;max-height:320px;overflow:auto}
.verdict{color:var(--faint);margin:0 0 16px}
.faint{color:var(--faint)}
.state{display:inline-block;padding:0 9px;border:1px solid;border-radius:99px;
font-size:14px;font-weight:600;color:var(--wait)}
.state.done{color:var(--good)}.state.failed{color:var(--bad)}
.error{border-left:3px solid var(--bad);background:var(--card);padding:10px 16px;margin:12px 0}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:8px;margin:12px 0}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
caption{caption-side:bottom;text-align:left;color:var(--faint);font-size:14px;
padding:8px 16px 10px;border-top:1px solid var(--line)}
th,td{padding:7px 16px;text-align:right;white-space:nowrap}
tbody tr+tr>*{border-top:1px solid var(--line)}
thead>tr>*{color:var(--faint);font-size:14px;font-weight:600;border-bottom:1px solid var(--line)}
th:first-child{text-align:left}tbody th{font-weight:500}
.samples{display:flex;flex-wrap:wrap;gap:16px;margin:12px 0}
figure{margin:0;max-width:100%;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px}
figure img{display:block;max-width:100%;min-width:112px;height:auto;margin:0 auto}
figcaption{color:var(--faint);font-size:14px;margin-top:8px}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:16px}
.chart{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px}
.chart svg{display:block;width:100%;height:auto;max-width:620px}
.chart text{font-family:inherit!important}
details{margin:12px 0}summary{cursor:pointer;color:var(--faint)}
.facts>summary{font-size:17px;font-weight:600;color:var(--ink);margin-top:28px}
.facts th,.facts td{text-align:left;white-space:normal;vertical-align:top}.facts caption{display:none}
mark{background:var(--mark);color:inherit;padding:1px 4px;border-radius:3px}
a:focus-visible,summary:focus-visible,.scroll:focus-visible{outline:2px solid var(--link);outline-offset:2px}
"""
