"""What the command line does, as Python calls: train, evaluate, demo, report, tour."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .catalog import METHODS, find
from .core.config import from_dict
from .core.errors import UsageError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from .core.run import Run


def train(
    verb: str,
    config: Any,
    *,
    preset: str = "custom",
    root: Path = Path("runs"),
    command: Sequence[str] = (),
    started: Callable[[Path], None] | None = None,
) -> Path:
    """Train a method in a new run folder below `root`, with a report at the end, and return the folder.

    Args:
        verb: a verb of the catalog.
        config: the method's `Config`; its `compute` says on what device and in how many processes.
        preset: the name noted in the run; the settings that count are those of `config`.
        root: where runs are kept.
        command: the command line, noted in the run.
        started: called with the folder before the training begins, in the first process; a function of a module, such
            as `announce`, where new processes are started, because they import it by its name.

    Raises:
        UsageError: a setting, the data or the folder will not do.
    """
    from .core.device import launch

    find(verb)
    return launch(_new_run, config.compute, verb, config, preset, root, tuple(command), started)


def announce(folder: Path) -> None:
    """Print where a run is kept, to stderr."""
    print(f"run folder: {folder}", file=sys.stderr)


def resume(folder: Path) -> Path:
    """Go on with a run that was killed, stopped or failed, with its own settings, and return its folder.

    Raises:
        UsageError: the folder is not a run, or the run is done.
    """
    from .core.config import ComputeConfig
    from .core.device import launch
    from .core.run import Run

    run = Run.open(folder)
    if run.status["state"] == "done":
        raise UsageError(f"{folder} is done already; train anew, or choose a run that was stopped")
    compute = from_dict(ComputeConfig, run.settings["config"].get("compute", {}), "compute.")
    return launch(_resume_run, compute, folder)


def evaluate(folder: Path, options: Any = None) -> dict[str, float]:
    """Test a finished run on its held-out data with the method's `EvalOptions`; returns metrics named "row/column"."""
    method = find(verb_of(folder))
    metrics: dict[str, float] = method.load("evaluate").evaluate(folder, options or method.load("config").EvalOptions())
    return metrics


def load_demo(folder: Path) -> Any:
    """The `Demo` of a finished run: call it with the method's `DemoOptions`."""
    return find(verb_of(folder)).load("demo").load(folder)


def report(folders: Sequence[Path], *, to: Path | None = None) -> Path:
    """Write the report page of one run into its folder, or of several beside them, and return its path."""
    from .core.report import write_report

    return write_report(folders, to=to)


def tour(
    *, only: Iterable[str] = (), preset: str = "laptop", root: Path = Path("runs"), command: Sequence[str] = ()
) -> Path:
    """Train every method at a preset on its embedded data, then write one report page of all and return its path.

    Args:
        only: verbs; none takes all.

    Raises:
        UsageError: a verb or the preset is unknown.
    """
    methods = [find(verb) for verb in only] or list(METHODS)
    configs = [preset_of(method.verb, preset) for method in methods]  # all of them, before the first long training
    folders = []
    for number, (method, config) in enumerate(zip(methods, configs, strict=True), 1):
        print(f"[{number}/{len(methods)}] {method.verb}: {method.line}", file=sys.stderr)
        folders.append(train(method.verb, config, preset=preset, root=root, command=command))
    return report(folders, to=root / "tour.html")


def verb_of(folder: Path) -> str:
    """The method whose run a folder holds."""
    from .core.run import Run

    return Run.open(folder).verb


def preset_of(verb: str, preset: str) -> Any:
    """The settings of a method's preset, by name.

    Raises:
        UsageError: the verb or the preset is unknown.
    """
    presets = find(verb).load("config").PRESETS
    if preset not in presets:
        raise UsageError(f"preset is {preset!r}, but {verb} has {', '.join(presets)}")
    return presets[preset]


def _new_run(
    fabric: Fabric,
    verb: str,
    config: Any,
    preset: str,
    root: Path,
    command: tuple[str, ...],
    started: Callable[[Path], None] | None,
) -> Path:
    from .core.run import Run

    path: Path | UsageError | None = None
    if fabric.is_global_zero:
        try:
            path = Run.create(root, verb=verb, preset=preset, config=config, command=command).path
        except UsageError as error:
            path = error  # broadcast too: the other processes would wait for a folder that never comes
    path = fabric.broadcast(path)
    if isinstance(path, UsageError):
        raise path
    assert path is not None
    if started is not None and fabric.is_global_zero:
        started(path)
    return _train(Run.open(path, fabric=fabric))


def _resume_run(fabric: Fabric, folder: Path) -> Path:
    from .core.run import Run

    return _train(Run.open(folder, fabric=fabric))


def _train(run: Run) -> Path:
    method = find(run.verb)
    config = from_dict(method.load("config").Config, run.settings["config"])
    with run.recording():
        run.finish(method.load("train").train(config, run))
    if run.is_writer:
        report([run.path])
    return run.path
