"""A run: one folder that holds all a training emits. Nothing is written outside it, and no reader sees half a file.

runs/<verb>/<yyyymmdd-hhmmss>-<preset>-s<seed>/
  config.json      verb, package version, preset, every resolved setting
  env.json         git commit, python, torch, device, command line
  status.json      running | done | failed | stopped; final metrics; error
  metrics.jsonl    one JSON line per log call
  samples/         pictures, meshes, texts that the method makes
  checkpoints/     last/, best/, ... (see `checkpoint`)
  tensorboard/     event files, where tensorboard is installed
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import math
import os
import secrets
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import tenfold

from .checkpoint import load_state, replace_file, save_state, writing
from .config import ComputeConfig, from_dict, to_dict
from .environment import surroundings
from .errors import UsageError
from .progress import Meter, meter

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from .device import Fabric


class Run:
    """An open run folder. Of several processes only the first writes; for the others every write does nothing.

    Every writing method raises `UsageError` naming the file when it cannot be written, e.g. because the disk is full;
    what was written before stays readable.
    """

    def __init__(self, path: Path, *, verb: str, preset: str, fabric: Fabric | None = None) -> None:
        """Use `Run.create` or `Run.open`, which know what the folder holds."""
        self.path = path
        self.verb = verb
        self.preset = preset
        self._fabric = fabric
        self._boards: dict[str, SummaryWriter | None] = {}

    @classmethod
    def create(cls, root: Path, *, verb: str, preset: str, config: Any, command: Sequence[str] = ()) -> Run:
        """Make the folder `root/<verb>/<time>-<preset>-s<seed>` and note settings and surroundings in it.

        Call it in one process; the others `open` its path (under torchrun: broadcast the path from rank 0).

        Args:
            config: frozen dataclass with a `seed`.
            command: the command line that asked for the run.

        Raises:
            UsageError: the folder cannot be made.
        """
        folder = root / _file_name(verb)
        name = f"{datetime.now():%Y%m%d-%H%M%S}-{_file_name(preset)}-s{config.seed}"
        run = cls(_make_folder(folder, name), verb=verb, preset=preset)
        settings = {"verb": verb, "version": tenfold.__version__, "preset": preset, "config": to_dict(config)}
        run._replace("config.json", settings)
        run._replace("env.json", surroundings(command))
        run._replace("status.json", _status("running", started=_now()))
        return run

    @classmethod
    def open(cls, path: Path, *, fabric: Fabric | None = None) -> Run:
        """The run that a folder holds, to read it or to go on with it.

        Args:
            fabric: of the processes that share the run; None is this process alone.

        Raises:
            UsageError: the folder is not a run; the message says what is missing.
        """
        if not path.is_dir():
            raise UsageError(f"{path} is not a run folder: {'it is a file' if path.exists() else 'it does not exist'}")
        for name in ("config.json", "status.json"):
            if not (path / name).is_file():
                raise UsageError(f"{path} is not a run folder: it has no {name}")
        settings = _read_json(path / "config.json")
        for key in ("verb", "preset", "config"):
            if key not in settings:
                raise UsageError(f"{path / 'config.json'} is not of a run: it has no {key!r}")
        return cls(path, verb=settings["verb"], preset=settings["preset"], fabric=fabric)

    @property
    def settings(self) -> dict[str, Any]:
        """What config.json holds: verb, version, preset and config, the settings as plain values."""
        return _read_json(self.path / "config.json")

    @property
    def status(self) -> dict[str, Any]:
        """What status.json holds: state (running, done, failed, stopped), metrics, error or None, started, updated."""
        status = _read_json(self.path / "status.json")
        return status | {"metrics": _from_strict(status.get("metrics", {}))}

    @property
    def fabric(self) -> Fabric:
        """Device, precision and processes: those given to `open`, else one process by the run's own settings."""
        if self._fabric is None:
            from .device import make_fabric

            self._fabric = make_fabric(from_dict(ComputeConfig, self.settings["config"].get("compute", {}), "compute."))
        return self._fabric

    @property
    def is_writer(self) -> bool:
        """Whether this is the process that writes: the first of all."""
        return self._fabric is None or self._fabric.is_global_zero

    def log(self, step: int, values: Mapping[str, float], *, stage: str = "") -> None:
        """Append one line to metrics.jsonl. What a step logs comes before the `save` of that step.

        Args:
            values: names and numbers; not "step", "stage" or "time", which the line has already.
            stage: part of the training that counts its own steps.
        """
        reserved = {"step", "stage", "time"} & set(values)
        if reserved:
            raise ValueError(
                f"{sorted(reserved)[0]!r} cannot be logged: every line has a {sorted(reserved)[0]} of its own"
            )
        if not self.is_writer:
            return
        numbers = {name: float(value) for name, value in values.items()}
        line = {"step": step, "stage": stage, "time": _now(), **_to_strict(numbers)}
        board = self._board(stage)  # before the line is appended: it looks at the steps so far
        self._append((json.dumps(line, allow_nan=False) + "\n").encode())
        if board is not None:
            with writing(self.path / "tensorboard"):
                for name, number in numbers.items():
                    board.add_scalar(name, number, step)

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, each with step, stage, time and the values; a torn last line is left out.

        Raises:
            UsageError: another line is damaged.
        """
        if not self._metrics_path.exists():
            return []
        *lines, _torn = self._metrics_path.read_text(encoding="utf-8", errors="replace").split("\n")
        try:
            return [_from_strict(json.loads(line)) for line in lines]
        except (ValueError, AttributeError) as error:
            raise UsageError(f"{self._metrics_path} is damaged: {error}") from error

    @contextmanager
    def sample(self, name: str) -> Iterator[Path]:
        """Write the file `name` of samples/: the body writes to the path it is given, which then becomes that file.

        Raises:
            UsageError: `name` is not a plain file name.
        """
        path = self.path / "samples" / _file_name(name)
        # the ending stays last, because picture and mesh writers choose the format by it
        part = path.with_name(f".{secrets.token_hex(4)}-{name}")
        with writing(path):
            path.parent.mkdir(exist_ok=True)
            try:
                yield part
                if self.is_writer:
                    os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)

    def save(self, state: Mapping[str, Any], *, name: str = "last") -> None:
        """Replace the checkpoint `name`, together with how long metrics.jsonl is now.

        Args:
            state: what `checkpoint.save_state` takes.
        """
        if self.is_writer:
            save_state(self._checkpoint(name), {"metrics_bytes": self._synced_length(), "state": state})

    def load(self, *, name: str = "last") -> dict[str, Any] | None:
        """The state of the checkpoint `name`, or None where there is none. Changes nothing, unlike `restore`.

        Raises:
            UsageError: the checkpoint is damaged.
        """
        saved = self._load(name)
        return None if saved is None else dict(saved["state"])

    def restore(self, *, name: str = "last") -> dict[str, Any] | None:
        """Go on from the checkpoint `name`: its state, or None to start from the beginning. Called by every process.

        From "last", metrics.jsonl is cut back to what it was at the save, so that it ends as an uninterrupted run's.

        Raises:
            UsageError: the checkpoint is damaged.
        """
        saved = self._load(name)
        if self._fabric is not None:
            self._fabric.barrier()  # or the first process could save anew while another still reads
        if name == "last" and self.is_writer:
            self._cut_metrics(0 if saved is None else saved["metrics_bytes"])
        return None if saved is None else dict(saved["state"])

    def finish(self, metrics: Mapping[str, float]) -> None:
        """The run is done, with these final metrics."""
        self._end("done", metrics={name: float(value) for name, value in metrics.items()})

    def fail(self, error: BaseException) -> None:
        """The run ended by `error`."""
        self._end("failed", error=str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}")

    def stop(self) -> None:
        """The run was ended from outside before it was done."""
        self._end("stopped")

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Keep the status true while the body works: running; failed on an exception; stopped when ended from outside.

        From outside is Ctrl-C, SIGTERM, or that nobody reads the pipe any more which progress is printed to.
        The exception goes on its way; SIGTERM becomes a `SystemExit`. A body that succeeds calls `finish` itself.
        """
        self._set_status("running")
        try:
            with _sigterm_raises():
                yield
        except (KeyboardInterrupt, SystemExit, BrokenPipeError):
            with suppress(UsageError):  # the reason for the end matters more than a full disk
                self.stop()
            raise
        except BaseException as error:
            with suppress(UsageError):
                self.fail(error)
            raise

    def progress(self, label: str, total: int) -> AbstractContextManager[Meter]:
        """`with run.progress("train", 400) as meter:` shows what `meter.advance()` counts; only the writer shows it."""
        return meter(label, total, show=self.is_writer)

    @property
    def _metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    def _checkpoint(self, name: str) -> Path:
        return self.path / "checkpoints" / _file_name(name)

    def _load(self, name: str) -> dict[str, Any] | None:
        folder = self._checkpoint(name)
        if not (folder / "state.json").exists():
            return None
        saved = load_state(folder)
        if not isinstance(saved.get("state"), dict) or not isinstance(saved.get("metrics_bytes"), int):
            raise UsageError(f"{folder / 'state.json'} is not a checkpoint of a run")
        return saved

    def _replace(self, name: str, values: Mapping[str, Any]) -> None:
        if self.is_writer:
            replace_file(self.path / name, (json.dumps(values, indent=2, allow_nan=False) + "\n").encode())

    def _set_status(self, state: str, **rest: Any) -> None:
        if self.is_writer:
            self._replace("status.json", _status(state, started=self.status.get("started", _now()), **rest))

    def _end(self, state: str, **rest: Any) -> None:
        self._close_boards()
        self._set_status(state, **rest)

    def _append(self, line: bytes) -> None:
        with writing(self._metrics_path):
            file = os.open(self._metrics_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                before = os.fstat(file).st_size
                if os.write(file, line) < len(line):
                    os.ftruncate(file, before)  # the disk took half a line
                    raise OSError("the disk is full")
            finally:
                os.close(file)

    def _synced_length(self) -> int:
        """Bytes of metrics.jsonl, once the disk has them all."""
        if not self._metrics_path.exists():
            return 0
        with writing(self._metrics_path), self._metrics_path.open("rb+") as file:
            os.fsync(file.fileno())
            return os.fstat(file.fileno()).st_size

    def _cut_metrics(self, length: int) -> None:
        # truncating to more than there is would fill the file with zero bytes
        if self._metrics_path.exists() and self._metrics_path.stat().st_size > length:
            with writing(self._metrics_path):
                os.truncate(self._metrics_path, length)
        self._close_boards()

    def _board(self, stage: str) -> SummaryWriter | None:
        """The TensorBoard writer of a stage; what an interrupted run wrote after its last checkpoint is purged."""
        if stage not in self._boards:
            next_step = 1 + max((line["step"] for line in self.metrics() if line["stage"] == stage), default=-1)
            self._boards[stage] = _open_board(self.path / "tensorboard" / stage, next_step)
        return self._boards[stage]

    def _close_boards(self) -> None:
        for board in self._boards.values():
            if board is not None:
                with suppress(OSError):  # metrics.jsonl has it all
                    board.close()
        self._boards = {}


def _make_folder(parent: Path, name: str) -> Path:
    """The new folder `parent/name`, or name-2, name-3, ... where other runs were first."""
    with writing(parent / name):
        parent.mkdir(parents=True, exist_ok=True)
        for count in itertools.count(1):
            path = parent / (name if count == 1 else f"{name}-{count}")
            with suppress(FileExistsError):
                path.mkdir()
                return path
    raise AssertionError("unreachable: the count never ends")


def _file_name(name: str) -> str:
    """`name`, if it is one plain part of a path."""
    if not name or name.startswith(".") or any(mark in name for mark in ("/", "\\", "\0")):
        raise UsageError(f"{name!r} cannot name a file of a run: it must have no slashes and not begin with a dot")
    return name


def _status(
    state: str, *, started: str, metrics: Mapping[str, float] | None = None, error: str | None = None
) -> dict[str, Any]:
    return {
        "state": state,
        "metrics": _to_strict(metrics or {}),
        "error": error,
        "started": started,
        "updated": _now(),
    }


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def _to_strict(numbers: Mapping[str, float]) -> dict[str, float | str]:
    """JSON knows no nan and no infinity: they become the texts "nan", "inf" and "-inf"."""
    return {name: number if math.isfinite(number) else repr(number) for name, number in numbers.items()}


def _from_strict(line: Mapping[str, Any]) -> dict[str, Any]:
    return {name: float(value) if value in ("nan", "inf", "-inf") else value for name, value in line.items()}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is damaged: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path} is damaged: it holds no JSON object")
    return values


def _open_board(folder: Path, next_step: int) -> SummaryWriter | None:
    if importlib.util.find_spec("tensorboard") is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what tensorboard itself imports
        from torch.utils.tensorboard import SummaryWriter

    with writing(folder):
        return SummaryWriter(str(folder), purge_step=next_step, flush_secs=10)


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM raises `SystemExit` in the body; Python lets only the main thread arrange that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(signum: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + signum)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
