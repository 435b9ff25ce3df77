from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tenfold import commands
from tenfold.__main__ import main
from tenfold.core.config import MaskedDataConfig
from tenfold.core.errors import UsageError
from tenfold.core.masks import load_masked
from tenfold.core.run import Run
from tenfold.core.task import Task
from tenfold.segment.config import Config, NetSettings
from tenfold.segment.evaluate import load_run
from tenfold.segment.stages import build_network

from .pictures import TINY, tiny, write_set


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return tiny(tmp_path_factory.mktemp("streets"))


def trained(config: Config, folder: Path) -> Run:
    return Run.open(commands.train("segment", config, root=folder))


def logged(run: Run) -> list[dict[str, Any]]:
    return [{name: str(value) for name, value in line.items() if name != "time"} for line in run.metrics()]


# Learns


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_streets_are_learned(seed: int, tmp_path: Path) -> None:
    data = write_set(tmp_path / "data", train=[(32, 48)] * 48, test=[(32, 48)] * 16, seed=seed)
    settings = replace(TINY.train, encoder_epochs=4, epochs=12)
    metrics = trained(replace(TINY, data=data, train=settings, seed=seed), tmp_path).status["metrics"]
    assert metrics["c3net/mean iou"] > 0.6
    assert metrics["c3net/pixel accuracy"] > 0.85


@pytest.mark.slow
def test_streets_are_learned_by_a_converted_network(tmp_path: Path) -> None:
    data = write_set(tmp_path / "data", train=[(32, 48)] * 48, test=[(32, 48)] * 16)
    settings = replace(TINY.train, encoder_epochs=4, epochs=8, sizes=(1.0,))
    names = ("drn-d-22", "drn-d-22+c3")
    config = replace(TINY, data=data, net=NetSettings(width=4), train=settings, networks=names)
    metrics = trained(config, tmp_path).status["metrics"]
    assert all(metrics[f"{name}/mean iou"] > 0.5 for name in names), metrics
    assert metrics["drn-d-22+c3/parameters"] < metrics["drn-d-22/parameters"]
    assert metrics["drn-d-22+c3/GMACs"] < metrics["drn-d-22/GMACs"]


# Repeats


def test_the_same_seed_gives_the_same_numbers_and_another_does_not(config: Config, tmp_path: Path) -> None:
    first, again = trained(config, tmp_path), trained(config, tmp_path)
    assert first.status["metrics"] == again.status["metrics"]
    assert logged(first) == logged(again)
    assert trained(replace(config, seed=1), tmp_path).status["metrics"] != first.status["metrics"]


def test_a_network_learns_the_same_whoever_else_is_trained(config: Config, tmp_path: Path) -> None:
    alone = trained(config, tmp_path).status["metrics"]
    among = trained(replace(config, networks=("depthwise", "c3net")), tmp_path).status["metrics"]
    assert {name: value for name, value in among.items() if name.startswith("c3net/")} == alone


class StopError(Exception):
    pass


def stopped_after(saves: int, config: Config, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A training that ends after its n-th checkpoint."""
    save, count = Run.save, 0

    def stopping(run: Run, *arguments: Any, **options: Any) -> None:
        nonlocal count
        save(run, *arguments, **options)
        count += 1
        if count == saves:
            raise StopError

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", stopping)
        with pytest.raises(StopError):
            commands.train("segment", config, root=folder)
    (run,) = (folder / "segment").iterdir()
    return run


# two steps an epoch and a checkpoint after each; one epoch of encoder, two of the whole; one more at the end of a stage
@pytest.mark.parametrize(
    ("saves", "done", "step"),
    [
        (1, [], 1),  # within the encoder's epoch
        (3, ["c3net encoder"], None),  # between encoder and whole
        (4, ["c3net encoder"], 1),  # within the whole
        (6, ["c3net encoder"], 3),  # in the second epoch, of another size
        (8, ["c3net encoder", "c3net"], None),  # between two networks
        (17, ["c3net encoder", "c3net", "depthwise encoder", "depthwise"], None),  # "best" is there, the end is not
    ],
)
def test_a_stopped_run_ends_as_the_straight_one(
    saves: int,
    done: list[str],
    step: int | None,
    config: Config,
    straight: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = stopped_after(saves, straight_settings(config), tmp_path, monkeypatch)
    state: Any = Run.open(folder).load()
    assert state["done"] == done
    assert (state["progress"] and state["progress"]["step"]) == step
    resumed = Run.open(commands.resume(folder))
    assert resumed.status["metrics"] == straight.status["metrics"]
    assert logged(resumed) == logged(straight)
    ours, theirs = load_run(resumed.path).networks, load_run(straight.path).networks
    for name, network in theirs.items():
        for key, value in network.state_dict().items():
            assert torch.equal(ours[name].state_dict()[key], value), (name, key)


def straight_settings(config: Config) -> Config:
    return replace(config, networks=("c3net", "depthwise"), train=replace(config.train, save_every=1))


@pytest.fixture(scope="module")
def straight(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run that nobody stopped."""
    return trained(straight_settings(config), tmp_path_factory.mktemp("straight"))


# What a run does


def test_every_stage_is_logged_with_its_steps(straight: Run) -> None:
    lines = [(line["stage"], line["step"]) for line in straight.metrics()]
    assert lines == [
        (stage, step)
        for name in ("c3net", "depthwise")
        for stage, steps in ((f"{name} encoder", (2,)), (name, (2, 4)))
        for step in steps
    ]
    for line in straight.metrics():
        assert line["loss"] > 0
        assert 0 <= line["pixel accuracy"] <= 1
        assert 0 < line["learning rate"] <= TINY.train.learning_rate


def test_pictures_of_the_run_are_drawn(straight: Run) -> None:
    with Image.open(straight.path / "samples" / "held-out pictures.png") as sheet:
        assert sheet.width > 4 * 48
    assert (straight.path / "samples" / "classes.png").is_file()


def test_a_network_without_encoder_gets_the_passes_of_both_stages(config: Config, tmp_path: Path) -> None:
    small = replace(config, net=NetSettings(width=2), networks=("drn-d-22",))
    lines = trained(small, tmp_path).metrics()
    assert [(line["stage"], line["step"]) for line in lines] == [("drn-d-22", 2), ("drn-d-22", 4), ("drn-d-22", 6)]


def test_a_network_may_be_trained_without_its_encoder_first(config: Config, tmp_path: Path) -> None:
    lines = trained(replace(config, train=replace(config.train, encoder_epochs=0)), tmp_path).metrics()
    assert [(line["stage"], line["step"]) for line in lines] == [("c3net", 2), ("c3net", 4)]


def test_the_encoder_stage_trains_nothing_but_the_encoder(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state: Any = Run.open(stopped_after(2, config, tmp_path, monkeypatch)).load()
    assert state["done"] == ["c3net encoder"]
    fresh = build_network("c3net", config, Task.of(config.data, load_masked(config.data, "train"))).state_dict()
    after = state["networks"]["c3net"]
    changed = {name.split(".")[0] for name, value in fresh.items() if not torch.equal(after[name], value)}
    assert changed == {"encoder"}


def test_validation_is_of_pictures_that_were_not_trained_on(config: Config, tmp_path: Path) -> None:
    held = replace(config, data=replace(config.data, holdout=0.5))
    run = trained(held, tmp_path)
    assert {line["step"] for line in run.metrics() if line["stage"] == "c3net"} == {1, 2}  # half of the pictures


def test_class_weights_matter_and_may_be_left_out(config: Config, tmp_path: Path) -> None:
    settings = replace(config.train, epochs=1, class_weights=False)
    plain = trained(replace(config, train=settings), tmp_path)
    weighed = trained(replace(config, train=replace(settings, class_weights=True)), tmp_path)
    assert logged(plain)[0]["loss"] != logged(weighed)[0]["loss"]


# What cannot be trained


def refused(root: Path, capsys: pytest.CaptureFixture[str], *more: object) -> str:
    """The sentence that `tenfold train segment` on a folder ends with."""
    options = ["--data.name", "folder", "--data.root", root / "data", "--data.classes", root / "data" / "classes.txt"]
    small = ["--data.height", 32, "--data.width", 48, "--train.batch-size", 8, "--train.encoder-batch-size", 8]
    words = ["train", "segment", "--preset", "smoke", "--runs", root / "runs", *options, *small, *more]
    assert main([str(word) for word in words]) == 2
    printed = capsys.readouterr()
    (sentence,) = [line for line in printed.err.splitlines() if line.startswith("tenfold: ")]
    assert printed.err.splitlines()[-1] == sentence
    assert "Traceback" not in printed.err + printed.out
    (run,) = (root / "runs" / "segment").iterdir()
    status = json.loads((run / "status.json").read_text())
    assert (status["state"], status["error"]) == ("failed", sentence.removeprefix("tenfold: "))
    return sentence


@pytest.fixture
def streets(tmp_path: Path) -> MaskedDataConfig:
    return write_set(tmp_path / "data", train=[(32, 48)] * 8, test=[(32, 48)] * 2)


def test_a_mask_of_another_size_is_named(streets: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (40, 30)).save(tmp_path / "data/train/masks/03.png")
    assert "masks/03.png is 40 x 30 pixels, but its picture" in refused(tmp_path, capsys)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_label_out_of_range_is_named(
    streets: object, split: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.full((32, 48), 9, np.uint8)).save(tmp_path / f"data/{split}/masks/01.png")
    sentence = refused(tmp_path, capsys)
    assert "masks/01.png" in sentence
    assert " 9 9 9 " in sentence or "label 9" in sentence


@pytest.mark.parametrize(
    ("file", "data", "words"),
    [
        ("train/images/02.png", b"\x89PNG\r\n\x1a\n cut short", "images/02.png"),
        ("train/masks/02.png", b"dear reader", "masks/02.png cannot be read as a mask"),
        ("test/masks/01.png", b"", "masks/01.png cannot be read as a mask"),
        ("classes.txt", b"", "classes.txt is empty"),
        ("classes.txt", b"sky\nsky", "classes.txt has the name sky more than once"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    streets: object, file: str, data: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / file).write_bytes(data)
    assert words in refused(tmp_path, capsys)


def test_missing_files_are_named(streets: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data/classes.txt").unlink()
    assert "classes.txt does not exist, but must be a text file" in refused(tmp_path, capsys)


def test_an_empty_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "classes.txt").write_text("a\nb\nc\nd\ne")
    assert "data has no folder images, but must have images and masks" in refused(tmp_path, capsys)
    for name in ("images", "masks"):
        (tmp_path / "data" / name).mkdir()
    (tmp_path / "runs").rename(tmp_path / "earlier")
    assert "no picture in" in refused(tmp_path, capsys)


def test_settings_that_do_not_fit_the_set_are_named(
    streets: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "the batch size is 9, but must be at most 8" in refused(tmp_path, capsys, "--train.encoder-batch-size", 9)
    (tmp_path / "runs").rename(tmp_path / "earlier")
    assert "networks has 'unet', but must be of c3net" in refused(tmp_path, capsys, "--networks", "unet")


def test_a_set_of_which_nothing_is_labelled_is_named(
    streets: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(8):
        Image.new("L", (48, 32), 255).save(tmp_path / f"data/train/masks/{number:02d}.png")
    assert "no pixel of folder (train) is labelled" in refused(tmp_path, capsys)


def test_a_folder_without_its_classes_says_what_it_needs(tmp_path: Path) -> None:
    data = write_set(tmp_path, train=[(32, 48)] * 8, test=[(32, 48)] * 2)
    with pytest.raises(UsageError, match=r"data\.classes is not given, but must name a text file"):
        commands.train("segment", replace(TINY, data=replace(data, classes=None)), root=tmp_path / "runs")


def test_pictures_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    data = write_set(tmp_path, train=[(32, 48), (40, 48)] * 8, test=[(32, 48)] * 2)
    with pytest.raises(UsageError, match=r"pictures of several sizes need data\.height and data\.width$"):
        commands.train("segment", replace(TINY, data=replace(data, height=None, width=None)), root=tmp_path / "runs")
