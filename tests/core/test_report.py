from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from tenfold.core.errors import UsageError
from tenfold.core.report import comparison, print_comparison, write_report

EVIL = '<script>alert("x")</script>&'
VOID = {"meta", "img", "br"}


def make_run(
    path: Path,
    *,
    verb: str = "verb",
    preset: str = "laptop",
    seed: int = 0,
    settings: dict[str, Any] | None = None,
    state: str = "done",
    metrics: dict[str, Any] | None = None,
    error: str | None = None,
    lines: list[Any] | None = None,
    command: list[str] | None = None,
) -> Path:
    """A run folder as a training leaves it, with a torn last line of metrics."""
    path.mkdir(parents=True)
    config = {"verb": verb, "version": "0.1", "preset": preset, "config": {**(settings or {"lr": 0.1}), "seed": seed}}
    env = {"python": "3.11", "device": "cpu", "command": command or ["tenfold", "train", verb]}
    times = {"started": "2025-01-01T10:00:00.000+00:00", "updated": "2025-01-01T10:01:12.000+00:00"}
    status = {"state": state, "metrics": metrics or {}, "error": error, **times}
    for name, values in (("config", config), ("env", env), ("status", status)):
        (path / f"{name}.json").write_text(json.dumps(values))
    whole = [line if isinstance(line, str) else json.dumps(line) for line in lines or []]
    (path / "metrics.jsonl").write_text("".join(f"{line}\n" for line in whole) + '{"step": 9, "lo')
    return path


def page(runs: list[Path], to: Path) -> str:
    return write_report(runs, to=to).read_text(encoding="utf-8")


def test_mean_and_spread_over_seeds(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / str(seed), seed=seed, metrics={"base/accuracy": 0.5, "ours/accuracy": 0.6 + seed / 10})
        for seed in range(3)
    ]
    (table,) = comparison(runs)
    cell = table.cells["ours", "accuracy"]
    assert (cell.mean, cell.spread, cell.n) == pytest.approx((0.7, 0.1, 3))
    assert table.seeds == (0, 1, 2)
    assert table.runs == tuple(run.resolve() for run in runs)


def test_rows_and_columns_stand_in_order_of_first_appearance(tmp_path: Path) -> None:
    metrics = {"z/b": 1.0, "a/b": 2.0, "a/images/s": 3.0, "z/a": 4.0, "plain": 5.0}
    (table,) = comparison([make_run(tmp_path / "run", metrics=metrics)])
    assert table.rows == ("z", "a", "result")
    assert table.columns == ("b", "images/s", "a", "plain")
    assert ("z", "images/s") not in table.cells


def test_only_finished_runs_count(tmp_path: Path) -> None:
    done = make_run(tmp_path / "a", seed=0, metrics={"m/x": 1.0})
    others = [
        make_run(tmp_path / state, seed=seed, state=state, metrics={"m/x": 9.0})
        for seed, state in enumerate(("failed", "stopped", "running"), start=1)
    ]
    (table,) = comparison([done, *others])
    assert (table.cells["m", "x"].mean, table.cells["m", "x"].n, table.seeds) == (1.0, 1, (0,))
    assert len(table.runs) == 4


def test_other_settings_make_another_table_that_names_them(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / "a", settings={"data": {"name": "x"}, "lr": 0.1}),
        make_run(tmp_path / "b", settings={"data": {"name": "y"}, "lr": 0.1}),
        make_run(tmp_path / "c", settings={"data": {"name": "x"}, "lr": 0.1}, seed=1),
        make_run(tmp_path / "d", settings={"data": {"name": "z"}, "lr": 0.1}, preset="smoke"),
    ]
    tables = comparison(runs)
    assert [dict(table.differing) for table in tables] == [{"data.name": "x"}, {"data.name": "y"}, {}]
    assert [len(table.runs) for table in tables] == [2, 1, 1]


def test_a_run_given_twice_counts_once(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", metrics={"m/x": 1.0})
    (table,) = comparison([run, run / "." / ".." / "run"])
    assert table.cells["m", "x"].n == 1


def test_metrics_that_json_cannot_hold_are_read_from_text(tmp_path: Path) -> None:
    (table,) = comparison([make_run(tmp_path / "run", metrics={"m/x": "nan", "m/y": "inf", "m/z": None})])
    assert [table.text("m", column) for column in table.columns] == ["nan", "inf"]


@pytest.mark.parametrize("missing", ["config.json", "status.json"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    run = make_run(tmp_path / "run")
    (run / missing).unlink()
    with pytest.raises(UsageError, match=f"run is not a run folder: it has no {missing}"):
        write_report([run])


@pytest.mark.parametrize("content", ["{", "[]", '{"config": 3}', "\x00"])
def test_a_broken_file_is_named(tmp_path: Path, content: str) -> None:
    run = make_run(tmp_path / "run")
    (run / "config.json").write_text(content)
    with pytest.raises(UsageError, match=r"config\.json"):
        comparison([run])


def test_no_folder_and_no_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such folder"):
        comparison([tmp_path / "nowhere"])
    with pytest.raises(UsageError, match="at least 1"):
        comparison([])


def test_a_run_without_environment_and_curves_still_has_a_report(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", state="running")
    (run / "env.json").unlink()
    (run / "metrics.jsonl").unlink()
    text = write_report([run]).read_text(encoding="utf-8")
    assert "no finished run yet" in text
    assert '<span class="state running">running</span>' in text


def test_the_page_lies_in_the_run_or_beside_the_runs_or_where_one_says(tmp_path: Path) -> None:
    first, second = make_run(tmp_path / "verb" / "a"), make_run(tmp_path / "verb" / "b", seed=1)
    assert write_report([first]) == (first / "report.html").resolve()
    assert write_report([first, second]) == (tmp_path / "verb" / "report.html").resolve()
    assert write_report([first], to=tmp_path / "new" / "x.html") == tmp_path / "new" / "x.html"
    assert write_report([first], to=tmp_path) == tmp_path / "report.html"
    assert sorted(entry.name for entry in (tmp_path / "verb").iterdir()) == ["a", "b", "report.html"]


class Checker(HTMLParser):
    """Collects links, and sees to it that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def full_runs(tmp_path: Path) -> list[Path]:
    lines = [{"step": step, "stage": EVIL, "time": step, EVIL: step, "loss": "nan"} for step in range(3)]
    runs = []
    for seed in range(2):
        run = make_run(
            tmp_path / f"{EVIL.replace('/', '')}{seed}",
            verb=EVIL,
            preset=EVIL,
            seed=seed,
            settings={EVIL: EVIL},
            metrics={f"{EVIL}/{EVIL}": 1.0},
            state=EVIL if seed else "done",
            error=EVIL,
            lines=lines,
            command=[EVIL],
        )
        (run / "samples").mkdir()
        (run / "samples" / "<b>step_10.txt").write_text(EVIL)
        Image.new("RGB", (4, 4), "red").save(run / "samples" / "step_2-left.png")
        (run / "samples" / ".half.png").write_bytes(b"half")
        runs.append(run)
    return runs


def test_the_page_is_escaped_whole_and_needs_no_other_file(tmp_path: Path) -> None:
    text = page(full_runs(tmp_path), tmp_path / "report.html")
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert not {"script", "b", "link"} & checker.tags
    assert "half" not in text
    assert len(checker.ids) == len(set(checker.ids))
    for link in checker.links:
        assert link.startswith("data:") or link[1:] in checker.ids, link
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(checker.ids)
    assert "url(http" not in text
    assert "@import" not in text


def test_samples_stand_in_natural_order_with_captions(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "samples").mkdir()
    for step in (10, 9, 100):
        Image.new("RGB", (4, 4)).save(run / "samples" / f"step_{step}-left.png")
    text = page([run], tmp_path / "x.html")
    assert re.findall(r"<figcaption>(.*?)</figcaption>", text) == ["step 9 left", "step 10 left", "step 100 left"]
    assert text.count('alt="step ') == 3


def test_too_many_samples_are_left_out_and_counted(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "samples").mkdir()
    for number in range(30):
        (run / "samples" / f"{number}.txt").write_text("text")
    text = page([run], tmp_path / "x.html")
    assert text.count("<figcaption>") == 24
    assert "the last 24 of 30" in text


def test_curves_take_the_last_value_of_a_repeated_step_and_skip_damaged_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, Any] = {}

    def curves_figure(title: str, series: Any, **options: Any) -> bytes:
        drawn[title] = list(series.values())
        return b"<svg></svg>"

    monkeypatch.setattr("tenfold.core.page.curves_figure", curves_figure)
    lines = [
        {"step": 2, "stage": "s", "loss": 5.0},
        {"step": 1, "stage": "s", "loss": 4.0},
        '{"step": 3, "sta{"step": 3}',
        {"step": 2, "stage": "s", "loss": "inf", "note": "words"},
        {"stage": "s", "loss": 1.0},
        "[1]",
    ]
    page([make_run(tmp_path / "run", lines=lines)], tmp_path / "x.html")
    assert drawn == {"loss": [([1.0, 2.0], [4.0, float("inf")])]}


def test_the_verdict_names_state_seeds_and_time(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a", seed=3), make_run(tmp_path / "b", seed=4, state="failed", error="disk full")]
    text = page(runs, tmp_path / "x.html")
    assert '<span class="state done">1 done</span> <span class="state failed">1 failed</span>' in text
    assert "2 runs · seeds 3 and 4 · 1 min 12 s a run · cpu" in text
    assert "<strong>seed 4 failed</strong><pre>disk full</pre>" in text


def test_times_are_read_as_numbers_too(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lines=[{"step": 0, "time": 1000.0}, {"step": 1, "time": 8265.0}])
    (run / "status.json").write_text(json.dumps({"state": "running"}))
    assert "2 h 01 min" in page([run], tmp_path / "x.html")


def test_differing_settings_are_marked(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, settings={"lr": lr, "same": 1}) for name, lr in (("a", 0.1), ("b", 0.2))]
    text = page(runs, tmp_path / "x.html")
    assert text.count("<mark>lr</mark>") == 2
    assert "<mark>same</mark>" not in text
    assert "<mark>" not in page(runs[:1], tmp_path / "y.html")


def test_a_comparison_in_a_pipe_keeps_every_row_on_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {f"[bold]row/a rather long column {number}": 0.25 for number in range(12)}
    print_comparison(comparison([make_run(tmp_path / "run", metrics=metrics)]))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "[bold]row" in line]
    assert line.count("0.2500") == 12


@pytest.mark.parametrize(("width", "whole"), [(78, True), (60, False)])
def test_a_terminal_wraps_words_before_numbers_and_never_cuts_them(tmp_path: Path, width: int, whole: bool) -> None:
    constant = {f"row name/{name} long column name": 0.5 for name in "xyz"}
    runs = [
        make_run(tmp_path / str(seed), seed=seed, metrics={"row name/w": seed / 3, **constant}) for seed in range(2)
    ]
    screen = io.StringIO()
    print_comparison(
        comparison(runs), console=Console(file=screen, width=width, force_terminal=True, color_system=None)
    )
    text = screen.getvalue()
    assert ("0.1667 ± 0.2357" in text) == whole
    assert (text.count("0.1667"), text.count("0.2357"), text.count("0.5000")) == (1, 1, 3)
