"""The report page: one HTML file with its pictures and style inside."""

from __future__ import annotations

import base64
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from .figures import INK, curves_figure
from .metrics import Table, plain_text, seed_names
from .records import Group

_PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
_SAMPLES_SHOWN = 24  # of one run; every picture is inside the page, and a page must still open


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60:02} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02} min"


def render(groups: list[Group]) -> str:
    """The page of one or more groups (at least one) as HTML that refers to no other file."""
    first = groups[0].table
    title = f"{first.verb} · {first.preset}" if len(groups) == 1 else "Tenfold report"
    sections = "".join(_section(group, number, alone=len(groups) == 1) for number, group in enumerate(groups, start=1))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><main><h1>{escape(title)}</h1>"
        f"{_overview(groups) if len(groups) > 1 else ''}{sections}</main></body></html>\n"
    )


def _overview(groups: list[Group]) -> str:
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


def _section(group: Group, number: int, *, alone: bool) -> str:
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
    results = "".join(_html_results(part) for part in table.parts())
    return (
        f'<section id="part{number}">{heading}<p class="verdict">{verdict}</p>'
        f"{f'<p>{special}</p>' if special else ''}{errors}{results}{_samples(group)}{_charts(group, number)}"
        f"{_settings(group)}{_environment(group)}</section>\n"
    )


def _html_results(table: Table) -> str:
    rows = [(escape(row), *(_html_cell(table.text(row, column)) for column in table.columns)) for row in table.rows]
    return _html_table(("", *map(escape, table.columns)), rows, escape(table.basis))


def _states(group: Group) -> str:
    """The badge of every state in the group, with a count where runs are in different ones."""
    counts = Counter(record.state for record in group.records)
    return " ".join(
        f'<span class="state {escape(state)}">{f"{count} " if len(counts) > 1 else ""}{escape(state)}</span>'
        for state, count in counts.items()
    )


def _time(group: Group) -> str:
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


def _samples(group: Group) -> str:
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


def _charts(group: Group, number: int) -> str:
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


def _settings(group: Group) -> str:
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


def _environment(group: Group) -> str:
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
