"""What runs have to say: tables of method against baseline over seeds, and a page that needs nothing but itself.

Only the files of a run folder are read, so that a report can be made of a running, a broken or another machine's run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .checkpoint import replace_file, writing
from .errors import UsageError
from .metrics import Table
from .page import render
from .records import grouped

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Grid

_PIPE_WIDTH = 10_000  # characters; more than any table has, so that a file or another program gets whole lines
_LABEL_WIDTH = 20  # characters that a table on a terminal leaves to the names of its rows, at the least


def comparison(runs: Sequence[Path]) -> list[Table]:
    """Final metrics of runs, one table for each verb, preset and set of settings; only the seed may differ inside one.

    Runs that are not done yet or failed belong to their table but not to its means. A run given twice counts once.

    Raises:
        UsageError: there are no runs, or a path is not a run folder; the message names the missing or broken file.
    """
    return [group.table for group in grouped(runs)]


def print_comparison(tables: Sequence[Table], *, console: Console | None = None) -> None:
    """Print tables to the terminal, or to the given rich console; into a pipe, lines are as long as they need to be."""
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    console = console or whole_lines()
    for table in tables:
        parts = table.parts() or [table]
        for number, part in enumerate(parts):
            grid = Grid(box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
            grid.title = Text(table.name) if number == 0 else None
            grid.caption = Text(table.basis) if number == len(parts) - 1 else None
            _fill(grid, part, console.width)
            console.print(grid)


def whole_lines() -> Console:
    """The terminal; into a pipe, lines are as long as they need to be."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=_PIPE_WIDTH)


def _fill(grid: Grid, table: Table, width: int) -> None:
    from rich.text import Text

    grid.add_column("")
    widths = [max(len(table.text(row, column)) for row in table.rows) for column in table.columns]
    # rich cuts off what its minimal widths leave no room for, and half a number looks like a whole one
    roomy = sum(each + 3 for each in widths) + _LABEL_WIDTH <= width
    for column, least in zip(table.columns, widths, strict=True):
        grid.add_column(Text(column), justify="right", overflow="fold", min_width=least if roomy else None)
    for row in table.rows:
        grid.add_row(Text(row), *(Text(table.text(row, column)) for column in table.columns))


def write_report(runs: Sequence[Path], *, to: Path | None = None) -> Path:
    """Write one HTML page about the runs, which refers to no other file, and return its path.

    Args:
        runs: run folders; those of one verb, preset and settings become one section, a run given twice counts once.
        to: the page, or a folder that gets a report.html. None means the folder of a single run, or else the nearest
            folder that holds all the runs.

    Raises:
        UsageError: there are no runs, a path is not a run folder, or the runs share no folder but the root of the disk.
    """
    groups = grouped(runs)
    path = _destination([record.path for group in groups for record in group.records], to)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, render(groups).encode())
    return path


def _destination(runs: list[Path], to: Path | None) -> Path:
    if to is None:
        to = runs[0] if len(runs) == 1 else Path(os.path.commonpath(runs))
        if to == Path(to.anchor):
            raise UsageError(f"the runs share no folder but {to}, so say where the report is to be written")
    return to / "report.html" if to.is_dir() else to
