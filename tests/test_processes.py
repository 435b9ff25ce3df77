"""Two processes train what one process trains, started by the settings or by torchrun."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tenfold import commands
from tenfold.core.config import ComputeConfig, DataConfig, to_dict
from tenfold.core.run import Run
from tenfold.resize.config import EvalOptions

from .command import environment
from .segment.pictures import TINY, write_set

EPOCHS = 3


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of noise; plain backgrounds would put thousands of values on a ReLU's kink at once."""
    root = tmp_path_factory.mktemp("noise")
    draw = np.random.default_rng(0)
    for split, count in (("train", 64), ("test", 31)):
        for name, brightness in (("dark", 0), ("bright", 60)):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                values = draw.integers(brightness, 196 + brightness, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(values).save(root / split / name / f"{number}.png")
    return root


def settings(noise: Path, *, processes: int = 1) -> Any:
    """A training of twelve steps for each network."""
    smoke = commands.preset_of("resize", "smoke")
    return replace(
        smoke,
        data=DataConfig(name="folder", root=noise, size=16),
        train=replace(smoke.train, epochs=EPOCHS, batch_size=32, learning_rate=0.01, save_every=3),
        compute=ComputeConfig(device="cpu", processes=processes),
        calibration=64,
        seed=3,
    )


@pytest.fixture(scope="module")
def alone(noise: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    return commands.train("resize", settings(noise), root=tmp_path_factory.mktemp("alone"))


def assert_same(folder: Path, alone: Path) -> None:
    """The run of two processes has the losses of one's, and its results are those of its own network.

    Sums in another order differ in the last bit, which a ReLU at its kink makes 0.001 of a loss within an epoch, in two
    processes as in one with weights changed by 1e-7. A mistake in what is shared shows as 0.015 and more.
    """
    ours, theirs = Run.open(folder), Run.open(alone)
    assert ours.status["state"] == "done"
    assert len(ours.metrics()) == len(theirs.metrics()) == 2 * EPOCHS
    for line, expected in zip(ours.metrics(), theirs.metrics(), strict=True):
        assert (line["stage"], line["step"]) == (expected["stage"], expected["step"])
        for name in ("total loss", "task loss", "scale loss", "learning rate"):
            assert line[name] == pytest.approx(expected[name], rel=1e-2), (line["stage"], line["step"], name)
    final, wanted = ours.status["metrics"], theirs.status["metrics"]
    assert list(final) == list(wanted)
    assert final["ungated/accuracy"] == pytest.approx(wanted["ungated/accuracy"], abs=0.05)
    for name, value in commands.evaluate(folder, EvalOptions(batch_size=256)).items():
        shared = name.replace("sample", "resizable")
        assert final[shared] == pytest.approx(value, abs=1e-6), name
        if name.endswith("cost"):
            assert final[shared] == pytest.approx(wanted[shared], abs=0.03), name


def test_two_processes_train_as_one(noise: Path, alone: Path, tmp_path: Path) -> None:
    folder = commands.train("resize", settings(noise, processes=2), root=tmp_path)
    assert [path.name for path in (tmp_path / "resize").iterdir()] == [folder.name]
    assert_same(folder, alone)
    assert (folder / "report.html").is_file()


def test_two_processes_distil_as_one(noise: Path, tmp_path: Path) -> None:
    smoke = commands.preset_of("distill", "smoke")
    config = replace(
        smoke,
        data=DataConfig(name="folder", root=noise, size=16),
        train=replace(smoke.train, epochs=2, batch_size=32, learning_rate=0.01),
        features=replace(smoke.features, auto_alpha=True, margin="data"),
        methods=("hints", "features"),
        compute=ComputeConfig(device="cpu"),
    )
    one = Run.open(commands.train("distill", config, root=tmp_path / "one"))
    both = replace(config, compute=ComputeConfig(device="cpu", processes=2))
    two = Run.open(commands.train("distill", both, root=tmp_path / "two"))
    assert len(two.metrics()) == len(one.metrics()) == 3 * 2
    for line, expected in zip(two.metrics(), one.metrics(), strict=True):
        assert set(line) == set(expected)
        for name in set(line) - {"time", "stage"}:
            assert line[name] == pytest.approx(expected[name], rel=1e-2), (line["stage"], line["step"], name)


def test_two_processes_segment_as_one(tmp_path: Path) -> None:
    config = replace(TINY, data=write_set(tmp_path, train=[(32, 48)] * 16, test=[(32, 48), (20, 60), (64, 96)]))
    one = Run.open(commands.train("segment", config, root=tmp_path / "one"))
    both = replace(config, compute=ComputeConfig(device="cpu", processes=2))
    two = Run.open(commands.train("segment", both, root=tmp_path / "two"))
    assert len(two.metrics()) == len(one.metrics()) == 1 + 2
    for line, expected in zip(two.metrics(), one.metrics(), strict=True):
        assert (line["stage"], line["step"]) == (expected["stage"], expected["step"])
        for name in ("loss", "pixel accuracy", "learning rate"):
            assert line[name] == pytest.approx(expected[name], rel=1e-2), (line["stage"], line["step"], name)
    final, wanted = two.status["metrics"], one.status["metrics"]
    assert list(final) == list(wanted)
    assert final["c3net/pixel accuracy"] == pytest.approx(wanted["c3net/pixel accuracy"], abs=0.02)
    # three pictures shared by two processes are each counted once
    assert commands.evaluate(two.path) == pytest.approx(final, abs=1e-6)


def test_torchrun_trains_the_same(noise: Path, alone: Path, tmp_path: Path) -> None:
    config = to_dict(settings(noise))
    options = [
        *("--preset", "smoke", "--data.name", "folder", "--data.root", str(noise), "--data.size", "16"),
        *("--train.epochs", str(EPOCHS), "--train.batch-size", "32", "--train.learning-rate", "0.01"),
        *(
            "--train.save-every",
            "3",
            "--calibration",
            "64",
            "--seed",
            "3",
            "--compute.device",
            "cpu",
            "--runs",
            str(tmp_path),
        ),
    ]
    command = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tenfold", "train", "resize"]
    ended = subprocess.run(
        [sys.executable, "-m", *command, *options], env=environment(), capture_output=True, text=True, timeout=500
    )
    assert ended.returncode == 0, ended.stderr
    (folder,) = (tmp_path / "resize").iterdir()
    assert json.loads((folder / "config.json").read_text())["config"] == config
    assert_same(folder, alone)
    assert ended.stdout.count("report: ") == 1
    assert ended.stderr.count("run folder: ") == 1


def test_a_mistake_in_two_processes_is_one_sentence(noise: Path, tmp_path: Path) -> None:
    options = ["--preset", "smoke", "--train.batch-size", "33", "--compute.device", "cpu", "--compute.processes", "2"]
    command = [sys.executable, "-m", "tenfold", "train", "resize", *options, "--runs", str(tmp_path)]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=500)
    assert ended.returncode == 2
    sentences = [line for line in ended.stderr.splitlines() if line.startswith("tenfold: ")]
    assert sentences == ["tenfold: the batch size is 33, but must be a multiple of the number of processes, 2"]
    (folder,) = (tmp_path / "resize").iterdir()
    assert Run.open(folder).status["state"] == "failed"
