"""The command line: `tenfold COMMAND ...`. Reads arguments, calls `tenfold.commands`, prints."""

from __future__ import annotations

import dataclasses
import io
import os
import re
import sys
import typing
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import redirect_stderr
from itertools import dropwhile, takewhile, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from . import __version__, commands
from .catalog import METHODS, find
from .core.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from .core.demo import Files, Pictures

Arguments = list[str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code.

    0; 2 after a mistake, which one sentence on stderr explains; 130 after Ctrl-C; 1 where the reader of a pipe left.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    try:
        _dispatch(given)
        sys.stdout.flush()  # or a reader that left would be noticed only after the last line of this function
        return 0
    except UsageError as error:
        if debug:
            raise
        print(f"tenfold: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if debug or not error.name or error.name.startswith("tenfold"):
            raise
        missing = f"this needs the package {error.name}, which is not installed; tenfold[all] has them all"
        print(f"tenfold: {missing}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tenfold: stopped; a training goes on with `tenfold train VERB --resume RUN`", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the reader of a pipe left (`tenfold list | head -1`): the interpreter's own exit must not write to it again
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        return 1


def _dispatch(given: Arguments) -> None:
    if not given or given[0] in ("-h", "--help", "help"):
        print(_overview())
        return
    if given[0] in ("-V", "--version"):
        print(f"tenfold {__version__}")
        return
    command, rest = given[0], given[1:]
    if command not in COMMANDS:
        raise UsageError(f"there is no command {command!r}; the commands are {', '.join(COMMANDS)}")
    COMMANDS[command][1](rest)


def _overview() -> str:
    lines = [
        "usage: tenfold COMMAND ...",
        "",
        "Published neural-network methods on your own model, data or environment.",
        "",
    ]
    lines += [f"  {name:8} {about}" for name, (about, _) in COMMANDS.items()]
    return "\n".join([*lines, "", "`tenfold COMMAND --help` explains one; --debug shows the traceback of an error."])


def _list(given: Arguments) -> None:
    _no_more(given, "tenfold list")
    for method in METHODS:
        print(f"{method.verb:10} {method.line}  ({method.paper})")


def _train(given: Arguments) -> None:
    verb, rest = _leading(given, "train", "VERB", [method.verb for method in METHODS])
    settings = find(verb).load("config")
    preset = _peek(rest, "--preset", "laptop")
    config = commands.preset_of(verb, preset)
    options = _parse(
        f"tenfold train {verb}",
        f"Train {verb}: {find(verb).line}.",
        rest,
        preset=(str, preset, f"starting point of all settings: {', '.join(settings.PRESETS)}"),
        runs=(Path, Path("runs"), "where run folders are kept"),
        resume=(Path | None, None, "run folder to go on with, by its own settings; no other option goes with it"),
        config=(settings.Config, config, ""),
    )
    if options.resume is not None:
        if not (len(rest) == 1 or (len(rest) == 2 and rest[0] == "--resume")):
            raise UsageError("--resume goes on with the run's own settings, so nothing else may be given with it")
        if commands.verb_of(options.resume) != verb:
            found = commands.verb_of(options.resume)
            raise UsageError(f"{options.resume} is a run of {found}: tenfold train {found} --resume {options.resume}")
        _finished(commands.resume(options.resume))
        return
    command = ["tenfold", "train", *given]
    _finished(
        commands.train(
            verb, options.config, preset=preset, root=options.runs, command=command, started=commands.announce
        )
    )


def _finished(folder: Path) -> None:
    if int(os.environ.get("RANK", "0")) == 0:  # under torchrun every process comes here
        _print_comparison([folder])
        print(f"report: {folder / 'report.html'}")


def _eval(given: Arguments) -> None:
    folder, rest = _leading(given, "eval", "RUN")
    verb = commands.verb_of(Path(folder))
    options = find(verb).load("config").EvalOptions
    about = f"Test a finished run of {verb} on its held-out data."
    chosen = _parse(f"tenfold eval {folder}", about, rest, options=(options, options(), ""))
    metrics = commands.evaluate(Path(folder), chosen.options)
    rows: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        row, _, column = name.partition("/")
        rows.setdefault(row, {})[column] = value
    columns = list(dict.fromkeys(column for values in rows.values() for column in values))
    cells = [[f"{values[name]:.4f}" if name in values else "" for name in columns] for values in rows.values()]
    _print_numbers(["", *columns], [[row, *own] for row, own in zip(rows, cells, strict=True)])


def _demo(given: Arguments) -> None:
    folder, rest = _leading(given, "demo", "RUN")
    verb = commands.verb_of(Path(folder))
    options = find(verb).load("config").DemoOptions
    first = dataclasses.fields(options)[0].name
    chosen = _parse(
        f"tenfold demo {folder}",
        f"One prediction of a trained {verb}; {first} may stand in front without their flag.",
        _flag_first(rest, first),
        out=(Path, Path("demo"), "folder that pictures and other files are written to"),
        options=(options, dataclasses.MISSING, ""),
    )
    _show(commands.load_demo(Path(folder))(chosen.options), chosen.out)


def _flag_first(given: Arguments, name: str) -> Arguments:
    """Values without a flag, in front, belong to the demo's first input."""
    flag = f"--{name.replace('_', '-')}"
    return [flag, *given] if given and not given[0].startswith("-") else given


def _show(values: dict[str, Any], folder: Path) -> None:
    from PIL.Image import Image

    from .core.checkpoint import writing
    from .core.demo import Files, Pictures, Rows

    for name, value in values.items():
        if isinstance(value, Rows):
            _print_table(list(value.columns), [list(row) for row in value.rows])
        elif isinstance(value, Image):
            with writing(folder / f"{name}.png"):
                folder.mkdir(parents=True, exist_ok=True)
                value.save(folder / f"{name}.png")
            print(f"{name}: {folder / f'{name}.png'}")
        elif isinstance(value, Pictures):
            _write_pictures(value, folder)
        elif isinstance(value, Files):
            _write_files(name, value, folder)
        else:
            print(value)


def _write_files(name: str, files: Files, folder: Path) -> None:
    from .core.checkpoint import replace_file, writing

    for file, data in files.made.items():
        with writing(folder / file):
            folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / file, data)
        print(f"{name}: {folder / file}")


def _write_pictures(pictures: Pictures, folder: Path) -> None:
    """Write pictures as they are made, with progress, and print how many there are of each kind."""
    from .core.checkpoint import writing
    from .core.progress import meter

    written: dict[Path, int] = {}
    with meter("demo", pictures.count) as progress:
        for name, picture in pictures.made:
            path = folder / name
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                picture.save(path)
            written[path.parent] = written.get(path.parent, 0) + 1
            progress.advance()
    for parent, count in written.items():
        print(f"{parent.name}: {count} file{'s' * (count > 1)} in {parent}")


def _report(given: Arguments) -> None:
    names: list[Path] = []
    while given and not given[0].startswith("-"):
        names.append(Path(given.pop(0)))
    about = "Write the report page of one run, or compare several: tenfold report RUN... [--to PAGE.html]"
    where = "file to write; by default report.html in the run's folder, or in the folder that holds all the runs"
    chosen = _parse("tenfold report RUN...", about, given, to=(Path | None, None, where))
    if not names:
        raise UsageError("report needs at least one run folder: tenfold report RUN...")
    page = commands.report(names, to=chosen.to)
    _print_comparison(names)
    print(f"report: {page}")


def _tour(given: Arguments) -> None:
    chosen = _parse(
        "tenfold tour",
        "Train every method on its embedded data beside its baselines, then write one report page.",
        given,
        only=(str, "", "verbs to train, separated by commas; empty trains all"),
        preset=(str, "laptop", "the preset of each method"),
        runs=(Path, Path("runs"), "where run folders are kept"),
    )
    only = [verb for verb in chosen.only.split(",") if verb]
    page = commands.tour(only=only, preset=chosen.preset, root=chosen.runs, command=["tenfold", "tour", *given])
    print(f"report: {page}")


COMMANDS: dict[str, tuple[str, Callable[[Arguments], None]]] = {
    "list": ("the methods, one line each", _list),
    "train": ("train a method beside its baselines: tenfold train VERB [--preset laptop] [settings]", _train),
    "eval": ("test a finished run: tenfold eval RUN [options]", _eval),
    "demo": ("use a finished run on your own files: tenfold demo RUN FILE... [options]", _demo),
    "report": ("write the report page of runs: tenfold report RUN...", _report),
    "tour": ("every method on its embedded data, then one report page", _tour),
}


def _parse(program: str, about: str, given: Arguments, **fields: tuple[Any, Any, str]) -> Any:
    """Parse flags into an object with these fields; a dataclass among them gives its own fields as flags."""
    import tyro

    shown = []
    for name, (kind, default, text) in fields.items():
        inline = dataclasses.is_dataclass(kind)
        note = tyro.conf.arg(name="") if inline else tyro.conf.arg(help=text)
        entry = (name, Annotated[kind, note])
        shown.append(entry if default is dataclasses.MISSING else (*entry, dataclasses.field(default=default)))
    options = dataclasses.make_dataclass("Options", shown, kw_only=True, frozen=True)
    drawn = io.StringIO()
    try:
        with redirect_stderr(drawn):
            args = _switched_on(given, {flag for kind, _, _ in fields.values() for flag in _switches(kind)})
            return tyro.cli(options, prog=program, description=about, args=args, config=(tyro.conf.FlagConversionOff,))
    except SystemExit as end:
        if end.code:
            raise UsageError(_sentence(end, drawn.getvalue(), program)) from end
        raise


def _switches(kind: Any, prefix: str = "--") -> Iterator[str]:
    """The flags of a dataclass of settings that are true or false."""
    for name, hint in typing.get_type_hints(kind).items() if dataclasses.is_dataclass(kind) else ():
        flag = prefix + name.replace("_", "-")
        if hint is bool:
            yield flag
        yield from _switches(hint, f"{flag}.")


def _switched_on(given: Arguments, switches: Collection[str]) -> Arguments:
    """A switch without a value is on: `--grid` is `--grid True`."""
    found = []
    for word, after in zip_longest(given, given[1:], fillvalue="--"):
        found += [word, "True"] if word in switches and after.startswith("-") else [word]
    return found


def _sentence(end: BaseException, box: str, program: str) -> str:
    """Why tyro ended: the `UsageError` of a setting that was out of range, or else the text of the box it drew."""
    cause: BaseException | None = end
    while cause is not None:
        if isinstance(cause, UsageError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    rows = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip("│ ") for line in box.splitlines()[1:]]  # without its title
    below = dropwhile(_is_rule, rows)
    reason = " ".join(takewhile(lambda row: not _is_rule(row), below)).rstrip(".")
    return f"{reason}; `{program} --help` lists what may be given"


def _is_rule(row: str) -> bool:
    return not row.strip("-─╰╯")


def _leading(given: Arguments, command: str, what: str, choices: Sequence[str] = ()) -> tuple[str, Arguments]:
    """The word a command starts with, and the rest."""
    allowed = f"; {what} is one of {', '.join(choices)}" if choices else ""
    if given and given[0] in ("-h", "--help"):
        print(f"usage: tenfold {command} {what} [options]{allowed}\n\n{COMMANDS[command][0]}")
        print(f"\n`tenfold {command} {what} --help` lists the options.")
        raise SystemExit(0)
    if not given or given[0].startswith("-"):
        raise UsageError(f"{command} needs {what} first: tenfold {command} {what} [options]{allowed}")
    return given[0], given[1:]


def _peek(given: Arguments, flag: str, default: str) -> str:
    """The value of a flag that decides how the others are read."""
    for index, argument in enumerate(given):
        if argument == flag and index + 1 < len(given):
            return given[index + 1]
        if argument.startswith(f"{flag}="):
            return argument.partition("=")[2]
    return default


def _no_more(given: Arguments, usage: str) -> None:
    if given and given[0] not in ("-h", "--help"):
        raise UsageError(f"{usage} takes no arguments, but was given {given[0]!r}")


def _print_comparison(folders: Sequence[Path]) -> None:
    from .core.report import comparison, print_comparison

    print_comparison(comparison(folders))


def _print_table(columns: list[str], rows: list[list[str]], console: Console | None = None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    (console or Console()).print(table)


def _print_numbers(columns: list[str], rows: list[list[str]]) -> None:
    """A table whose cells are never folded if that can be helped, as half a number on a line looks like a whole one: in a terminal
    that is too narrow, rows become columns."""
    from .core.report import whole_lines

    console = whole_lines()
    whole = [columns, *rows]
    turned = [list(line) for line in zip(*whole, strict=True)]
    first, *others = whole if _width(whole) <= max(console.width, _width(turned)) else turned
    _print_table(first, others, console)


def _width(lines: list[list[str]]) -> int:
    return sum(max(map(len, column)) + 2 for column in zip(*lines, strict=True))


def console() -> NoReturn:
    """The entry point of the installed `tenfold` command."""
    raise SystemExit(main())


if __name__ == "__main__":
    console()
