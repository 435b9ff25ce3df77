"""A run folder tells the truth at every moment, and a resumed run ends as an uninterrupted one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tenfold
from tenfold.core import progress
from tenfold.core import run as run_module
from tenfold.core.config import ComputeConfig
from tenfold.core.errors import UsageError
from tenfold.core.run import Run


@dataclass(frozen=True)
class Config:
    seed: int = 3
    rate: float = 0.5
    root: Path = Path("data")
    compute: ComputeConfig = field(default_factory=lambda: ComputeConfig(device="cpu"))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path, verb="resize", preset="smoke", config=Config(), command=["tenfold", "train"])


@pytest.fixture
def reader(run: Run) -> Run:
    """The run as a process that is not the first sees it."""
    return Run.open(run.path, fabric=SimpleNamespace(is_global_zero=False, barrier=lambda: None))  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, bytes]:
    """What is in them; of TensorBoard's the names alone, as its writer has a thread of its own, which may come to them later."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): b"" if path.parent.name == "tensorboard" else path.read_bytes() for path in found
    }


def lines(run: Run) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in run.metrics()]


def test_a_new_run_says_what_it_is(run: Run, tmp_path: Path) -> None:
    assert re.fullmatch(r"\d{8}-\d{6}-smoke-s3", run.path.name)
    assert run.path.parent == tmp_path / "resize"
    assert run.settings["config"] == {
        "seed": 3,
        "rate": 0.5,
        "root": "data",
        "compute": {"device": "cpu", "processes": 1, "precision": "float32", "channels_last": False},
    }
    assert (run.settings["verb"], run.settings["preset"], run.settings["version"]) == (
        "resize",
        "smoke",
        tenfold.__version__,
    )
    assert run.status["state"] == "running"
    environment = json.loads((run.path / "env.json").read_text())
    assert environment["command"] == ["tenfold", "train"]
    assert set(environment) == {"git", "python", "torch", "device", "command"}


def test_runs_made_at_the_same_moment_get_folders_of_their_own(tmp_path: Path) -> None:
    made: list[Path] = []
    threads = [
        threading.Thread(target=lambda: made.append(run_module._make_folder(tmp_path / "new", "same")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path.name for path in made} == {"same"} | {f"same-{number}" for number in range(2, 9)}


def test_a_root_that_cannot_hold_a_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write to .*file"):
        Run.create(tmp_path / "file", verb="resize", preset="smoke", config=Config())


def test_an_opened_run_equals_the_created_one(run: Run) -> None:
    opened = Run.open(run.path)
    assert (opened.path, opened.verb, opened.preset) == (run.path, "resize", "smoke")
    assert opened.settings == run.settings


def test_reading_a_run_loads_no_torch(run: Run) -> None:
    script = f"""
import sys
from pathlib import Path
from tenfold.core.run import Run
run = Run.open(Path({str(run.path)!r}))
run.settings, run.status, run.metrics()
assert not {{"torch", "lightning_fabric", "rich"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_fabric_is_made_from_the_settings(run: Run) -> None:
    assert run.fabric.device.type == "cpu"
    assert run.fabric is run.fabric
    assert run.is_writer


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: path / "no", "does not exist"),
        (lambda path: path / "config.json", "is a file"),
        (lambda path: (path / "config.json").unlink() or path, "has no config.json"),
        (lambda path: (path / "status.json").unlink() or path, "has no status.json"),
        (lambda path: (path / "config.json").write_text("{}") and path, "has no 'verb'"),
        (lambda path: (path / "config.json").write_text("{") and path, "config.json is damaged"),
        (lambda path: (path / "config.json").write_text("[]") and path, "config.json is damaged"),
    ],
)
def test_a_folder_that_is_no_run_is_named_with_what_it_lacks(
    run: Run, harm: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        Run.open(harm(run.path))


def test_logged_values_come_back_in_order(run: Run) -> None:
    run.log(0, {"loss": 1.5, "accuracy": 0.25})
    run.log(1, {"loss": float("nan"), "top": float("-inf")}, stage="student")
    first, second = run.metrics()
    assert {key: first[key] for key in ("step", "stage", "loss", "accuracy")} == {
        "step": 0,
        "stage": "",
        "loss": 1.5,
        "accuracy": 0.25,
    }
    assert second["stage"] == "student"
    assert repr(second["loss"]) == "nan"
    assert second["top"] == float("-inf")


def test_every_line_is_strict_json(run: Run) -> None:
    run.log(0, {"loss": float("nan"), "top": float("inf")})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    line = json.loads((run.path / "metrics.jsonl").read_text(), parse_constant=refuse)
    assert (line["loss"], line["top"]) == ("nan", "inf")


def test_the_words_of_a_line_cannot_be_logged_as_values(run: Run) -> None:
    with pytest.raises(ValueError, match="'stage' cannot be logged"):
        run.log(0, {"stage": 1.0})


def test_a_torn_last_line_is_left_out_and_a_damaged_one_is_named(run: Run) -> None:
    run.log(0, {"loss": 1.0})
    run.log(1, {"loss": 2.0})
    path = run.path / "metrics.jsonl"
    whole = path.read_bytes()
    for cut in range(1, 30):
        path.write_bytes(whole[:-cut])
        assert lines(run) == [(0, 1.0)]
    path.write_bytes(b"{}x\n" + whole)
    with pytest.raises(UsageError, match=r"metrics\.jsonl is damaged"):
        run.metrics()


def test_half_a_line_on_a_full_disk_is_taken_back(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.log(0, {"loss": 1.0})
    before = (run.path / "metrics.jsonl").read_bytes()
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:10]))
    with pytest.raises(UsageError, match=r"cannot write to .*metrics\.jsonl"):
        run.log(1, {"loss": 2.0})
    assert (run.path / "metrics.jsonl").read_bytes() == before


def train(run: Run, *, until: int, save_at: int | None = None) -> None:
    """A training whose loss depends on its state, saving after one step."""
    state = run.restore() or {"step": 0, "loss": 1.0}
    step, loss = state["step"], state["loss"]
    while step < until:
        loss *= 0.5
        run.log(step, {"loss": loss})
        step += 1
        if step == save_at:
            run.save({"step": step, "loss": loss})


@pytest.mark.parametrize("save_at", [None, 3, 5])
def test_a_resumed_run_logs_what_an_uninterrupted_one_does(run: Run, tmp_path: Path, save_at: int | None) -> None:
    train(run, until=5, save_at=save_at)
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')  # the process died here
    train(Run.open(run.path), until=8)
    straight = Run.create(tmp_path / "straight", verb="resize", preset="smoke", config=Config())
    train(straight, until=8)
    assert lines(run) == lines(straight)


def test_a_metrics_file_that_lost_its_end_is_not_filled_up(run: Run) -> None:
    run.log(0, {"loss": 1.0})
    run.save({"step": 1})
    (run.path / "metrics.jsonl").write_bytes(b"")
    run.restore()
    assert (run.path / "metrics.jsonl").read_bytes() == b""


def test_only_restoring_the_last_checkpoint_cuts_the_metrics(run: Run) -> None:
    run.save({"step": 1}, name="best")
    run.save({"step": 2})
    run.log(2, {"loss": 1.0})
    assert run.restore(name="best") == {"step": 1}
    assert run.load() == {"step": 2}
    assert len(run.metrics()) == 1
    assert run.restore() == {"step": 2}
    assert run.metrics() == []


def test_there_is_no_checkpoint_before_the_first_save(run: Run) -> None:
    assert run.load() is None
    assert run.restore(name="best") is None


def test_tensorboard_shows_the_resumed_run_only(run: Run) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(run, until=5, save_at=3)
    run.stop()
    train(run, until=6)
    run.log(0, {"loss": 7.0}, stage="student")
    run.finish({})
    events = accumulator.EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == lines(run)[:6]
    student = accumulator.EventAccumulator(str(run.path / "tensorboard" / "student"))
    student.Reload()
    assert [(event.step, event.value) for event in student.Scalars("loss")] == [(0, 7.0)]


def test_logging_needs_no_tensorboard(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module.importlib.util, "find_spec", lambda name: None)
    run.log(0, {"loss": 1.0})
    assert lines(run) == [(0, 1.0)]
    assert not (run.path / "tensorboard").exists()


def test_a_sample_appears_when_it_is_whole(run: Run) -> None:
    with run.sample("curve.png") as path:
        assert path.suffix == ".png"
        path.write_bytes(b"half")
        assert not (run.path / "samples" / "curve.png").exists()
    assert files(run.path / "samples") == {"curve.png": b"half"}


def test_a_sample_that_fails_leaves_the_one_before(run: Run) -> None:
    with run.sample("curve.png") as path:
        path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), run.sample("curve.png") as path:
        path.write_bytes(b"new")
        raise ZeroDivisionError
    assert files(run.path / "samples") == {"curve.png": b"old"}


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "/a", "a\\b", "a\0"])
def test_names_that_lead_elsewhere_are_refused(run: Run, name: str) -> None:
    before = files(run.path)
    with pytest.raises(UsageError, match="cannot name"), run.sample(name):
        pass
    with pytest.raises(UsageError, match="cannot name"):
        run.save({}, name=name)
    assert files(run.path) == before


def test_processes_that_are_not_the_first_write_nothing(
    run: Run, reader: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run.log(0, {"loss": 1.0})
    run.save({"step": 1})
    run.log(1, {"loss": 1.0})
    before = files(run.path)
    reader.log(2, {"loss": 2.0})
    reader.save({"step": 2})
    assert reader.restore() == {"step": 1}
    with reader.sample("a.txt") as path:
        path.write_text("a")
    with reader.recording(), reader.progress("train", 3) as meter:
        meter.advance()
    reader.finish({"loss": 0.0})
    assert files(run.path) == before
    assert capsys.readouterr().err == ""


def test_a_finished_run_has_its_metrics(run: Run) -> None:
    started = run.status["started"]
    with run.recording():
        run.finish({"accuracy": 0.5, "loss": float("inf")})
    assert run.status["state"] == "done"
    assert run.status["metrics"] == {"accuracy": 0.5, "loss": float("inf")}
    assert run.status["started"] == started


@pytest.mark.parametrize(
    ("error", "state", "text"),
    [
        (ValueError("odd"), "failed", "ValueError: odd"),
        (UsageError("One sentence."), "failed", "One sentence."),
        (KeyboardInterrupt(), "stopped", None),
    ],
)
def test_an_exception_goes_on_and_into_the_status(run: Run, error: BaseException, state: str, text: str | None) -> None:
    with pytest.raises(type(error)), run.recording():
        raise error
    assert (run.status["state"], run.status["error"]) == (state, text)
    with run.recording():
        assert (run.status["state"], run.status["error"]) == ("running", None)


def test_a_terminated_run_is_stopped(run: Run) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught, run.recording():
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.code == 143
    assert run.status["state"] == "stopped"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_full_disk_is_one_sentence_and_loses_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.log(0, {"loss": 1.0})
    before = {}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(ZeroDivisionError), run.recording():
        before = files(run.path)
        monkeypatch.setattr(os, "fsync", full)
        raise ZeroDivisionError  # not the sentence of the status that could not be written
    with pytest.raises(UsageError, match=r"cannot write to .*status\.json: No space left on device"):
        run.finish({"loss": 0.0})
    assert files(run.path) == before


def test_plain_progress_is_a_line_now_and_then_and_one_at_the_end(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with run.progress("train gated", 400) as meter:
        for _ in range(25):
            now += 1.0
            meter.advance(16, note="loss 0.53")
            meter.advance(0)
    assert capsys.readouterr().err.splitlines() == [
        "train gated  160/400  16/s  15 s left  loss 0.53",
        "train gated  320/400  16/s  5 s left  loss 0.53",
        "train gated  400/400  16/s  25 s in all  loss 0.53",
    ]


def test_a_terminal_shows_a_bar(run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with run.progress("train [gated]", 4) as meter:
        for _ in range(4):
            meter.advance(note="loss [0.53]")
    shown = capsys.readouterr().err
    assert "train [gated]" in shown
    assert "4/4" in shown
    assert "loss [0.53]" in shown
