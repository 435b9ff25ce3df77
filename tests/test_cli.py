"""The command line: what it prints, writes and returns, and one sentence for every mistake."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import tenfold as package
from tenfold import __main__ as program
from tenfold.__main__ import COMMANDS, main

from .command import environment, in_words, small_training, tenfold

if TYPE_CHECKING:
    from .trained import Trained

pytest_plugins = ["tests.trained"]

Mistake = Callable[[list[Any]], str]


@pytest.fixture
def mistake(capsys: pytest.CaptureFixture[str]) -> Mistake:
    """Run a command that must end with exit code 2 and one sentence, and return the sentence."""

    def run(arguments: list[Any]) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        printed = capsys.readouterr()
        (*before, sentence) = printed.err.splitlines()
        assert not [line for line in before if not line.startswith(("run folder: ", "eval  ", "demo  "))], before
        assert sentence.startswith("tenfold: ")
        assert "Traceback" not in printed.err + printed.out
        return sentence.removeprefix("tenfold: ")

    return run


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of the kinds of pictures that people have."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    slope = Image.linear_gradient("L")
    slope.save(folder / "grey.png")
    slope.convert("RGB").resize((50, 31)).save(folder / "colour.jpg")
    Image.merge("RGBA", [slope] * 4).save(folder / "transparent.png")
    Image.fromarray(np.linspace(0, 65535, 400).reshape(20, 20).astype(np.uint16)).save(folder / "deep.png")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    overview = capsys.readouterr().out
    assert all(f"\n  {command} " in overview for command in COMMANDS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tenfold {package.__version__}\n"


def test_list_has_a_line_for_each_method() -> None:
    ended = tenfold("list")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [line.split()[0] for line in ended.stdout.splitlines()] == [
        "distill",
        "resize",
        "segment",
        "generate",
        "translate",
        "evolve",
        "govern",
        "design",
        "answer",
        "remember",
    ]
    assert "arXiv:1901.04687" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--help"], "tenfold COMMAND"),
        (["list", "--help"], "distill"),
        (["train", "--help"], "VERB is one of distill, resize, segment"),
        (["train", "resize", "--help"], "passes over the training images, at least 1"),
        (["train", "resize", "--preset", "paper", "--help"], "(default: resnet-110)"),
        (["train", "distill", "--preset", "paper-a", "--help"], "(default: wrn-16-4)"),
        (["train", "segment", "--preset", "voc", "--help"], "(default: voc)"),
        (["eval", "--help"], "tenfold eval RUN"),
        (["eval", "RUN", "--help"], "who decides"),
        (["demo", "RUN", "--help"], "picture files, or folders of them"),
        (["report", "--help"], "tenfold report RUN"),
        (["tour", "--help"], "verbs to train, separated by commas"),
    ],
    ids=in_words,
)
def test_help_is_instant_and_loads_no_torch(arguments: list[str], shown: str, smoke_run: Path) -> None:
    words = [str(smoke_run) if word == "RUN" else word for word in arguments]
    script = f"""
import sys, time
began = time.perf_counter()
from tenfold.__main__ import main
try:
    code = main({words!r})
except SystemExit as end:
    code = end.code
print("seconds", time.perf_counter() - began)
print("heavy", sorted({{"torch", "lightning_fabric", "matplotlib", "sklearn", "PIL"}} & set(sys.modules)))
sys.exit(code)
"""
    ended = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True)
    *text, seconds, heavy = ended.stdout.splitlines()
    assert (ended.returncode, ended.stderr, heavy) == (0, "", "heavy []")
    assert shown in " ".join(" ".join(text).replace("│", " ").split())
    assert float(seconds.split()[1]) < 1.0


def test_train_says_where_it_writes_how_far_it_is_and_what_came_out(
    trained: Callable[[str], Trained],
) -> None:
    ended = trained("resize")
    first, *progress = ended.progress.splitlines()
    assert first == f"run folder: {ended.folder}"
    # a busy machine shows more than the last line of each
    assert list(dict.fromkeys(line.split("  ")[0] for line in progress)) == ["ungated", "resizable"]
    *table, last = ended.printed.splitlines()
    assert last == f"report: {ended.folder / 'report.html'}"
    assert [line.split()[0] for line in table if line.startswith("  ungated")] == ["ungated"]
    assert "1 run, seed 0" in ended.printed
    command = json.loads((ended.folder / "env.json").read_text())["command"]
    assert command[:5] == ["tenfold", "train", "resize", "--preset", "smoke"]
    report = (ended.folder / "report.html").read_text()
    assert "<svg" in report or "data:image/png" in report
    assert "resizable 0.80" in report


def test_eval_prints_one_row_for_each_scale(smoke_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(smoke_run), "--scale", "0.65", "1", "--mode", "batch"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["accuracy", "relative", "cost"]
    assert [row.split()[:2] for row in rows] == [["batch", "0.65"], ["batch", "1.00"]]
    assert float(rows[1].split()[3]) == 1.0
    assert all(0.3 < float(row.split()[2]) <= 1 for row in rows)


@pytest.mark.parametrize(("terminal", "width", "turned"), [(True, 30, True), (True, 60, False), (False, 30, False)])
def test_eval_folds_no_number(
    terminal: bool, width: int, turned: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A narrow terminal gets rows as columns, a pipe gets whole lines."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("rich.console.Console.is_terminal", terminal)
    columns = ["", "accuracy", "relative cost", "largest gap"]
    program._print_numbers(columns, [["batch 0.65", "0.8123", "0.6501", "0.0312"]])
    printed = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)  # without bold and plain
    lines = [line.split() for line in printed.splitlines()]
    if turned:
        assert lines == [
            ["batch", "0.65"],
            ["accuracy", "0.8123"],
            ["relative", "cost", "0.6501"],
            ["largest", "gap", "0.0312"],
        ]
    else:
        assert lines == [" ".join(columns).split(), ["batch", "0.65", "0.8123", "0.6501", "0.0312"]]


def test_demo_takes_a_folder_of_any_pictures(
    smoke_run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", str(smoke_run), str(pictures), "--scale", "0.8", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    for name in ("colour.jpg", "deep.png", "grey.png", "transparent.png"):
        assert name in "".join(printed.split())
    assert "notes.txt" not in printed
    with Image.open(tmp_path / "out" / "sheet.png") as sheet:
        assert min(sheet.size) > 50


def test_demo_takes_files_and_does_not_need_the_data(
    copied: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((copied / "config.json").read_text())
    config["config"]["data"] |= {"name": "folder", "root": "/nowhere", "size": 8}
    (copied / "config.json").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    assert main(["demo", str(copied), str(pictures / "grey.png"), str(pictures / "deep.png")]) == 0
    assert "sheet: demo/sheet.png" in capsys.readouterr().out
    assert (tmp_path / "demo" / "sheet.png").is_file()


def test_demo_writes_pictures_as_they_are_made(
    trained: Callable[[str], Trained], pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = trained("segment").folder, tmp_path / "out"
    assert main(["demo", str(run), str(pictures / "colour.jpg"), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [f"overlay: 1 file in {out / 'overlay'}", f"mask: 1 file in {out / 'mask'}"]
    assert printed.err.startswith("demo  2/2")
    for name, mode in (("overlay/colour.jpg", "RGB"), ("mask/colour.png", "P")):
        with Image.open(out / name) as written:
            assert (written.mode, written.size) == (mode, (50, 31))
    assert main(["demo", str(run), str(pictures), "--out", str(out), "--opacity", "1"]) == 0
    assert f"mask: 4 files in {out / 'mask'}" in capsys.readouterr().out
    assert {path.name for path in (out / "mask").iterdir()} == {
        f"{stem}.png" for stem in ("colour", "deep", "grey", "transparent")
    }


def test_a_picture_that_cannot_be_made_or_written_ends_in_one_sentence(
    trained: Callable[[str], Trained], pictures: Path, tmp_path: Path, mistake: Mistake
) -> None:
    run, out = trained("segment").folder, tmp_path / "out"
    whole = (pictures / "grey.png").read_bytes()
    (pictures / "grey.png").write_bytes(whole[: len(whole) // 2])
    assert "grey.png cannot be read as a picture" in mistake(["demo", run, pictures, "--out", out])
    assert (out / "mask" / "colour.png").is_file()  # what was made before is kept
    assert "opacity is 2.0, but must be between 0 and 1" in mistake(["demo", run, pictures, "--opacity", "2"])
    assert "network is 'unet', but the run has c3net, espnet" in mistake(["demo", run, pictures, "--network", "unet"])
    (tmp_path / "file").write_text("")
    colour = pictures / "colour.jpg"
    sentence = mistake(["demo", run, colour, "--out", tmp_path / "file"])
    assert sentence.startswith(f"cannot write to {tmp_path / 'file' / 'overlay' / 'colour.jpg'}: ")


def test_report_of_one_run_goes_into_its_folder(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied / "report.html").unlink()
    assert main(["report", str(copied)]) == 0
    assert (copied / "report.html").is_file()
    assert "1 run, seed 0" in capsys.readouterr().out


def test_report_of_several_runs_compares_them(
    smoke_run: Path, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, status = (json.loads((copied / name).read_text()) for name in ("config.json", "status.json"))
    config["config"]["seed"] = 1
    status["metrics"]["ungated/accuracy"] -= 0.1
    (copied / "config.json").write_text(json.dumps(config))
    (copied / "status.json").write_text(json.dumps(status))
    assert main(["report", str(smoke_run), str(copied), "--to", str(tmp_path / "both.html")]) == 0
    printed = capsys.readouterr().out
    assert "seeds 0" in printed
    assert "±" in printed
    assert "±" in (tmp_path / "both.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["trian"], "no command 'trian'; the commands are list, train"),
        (["list", "all"], "takes no arguments, but was given 'all'"),
        (["train"], "needs VERB first"),
        (["train", "shrink"], "no method 'shrink'; the methods are distill, resize, segment"),
        (["train", "resize", "--preset", "tiny"], "preset is 'tiny', but resize has smoke, laptop, paper"),
        (["train", "resize", "--preset"], "'--preset'. Expected 1 value"),
        (["train", "resize", "--train.epoch", "3"], "Unrecognized options: --train.epoch"),
        (["train", "resize", "stray"], "Unrecognized options: stray"),
        (["train", "resize", "--train.epochs", "few"], "--train.epochs: invalid literal for int() with base 10: 'few'"),
        (["train", "resize", "--train.epochs", "0"], "train.epochs is 0, but must be at least 1"),
        (["train", "resize", "--preset=smoke", "--seed", "-1"], "seed is -1, but must be at least 0"),
        (["train", "resize", "--compute.device", "tpu"], "'tpu' for argument '--compute.device'"),
        (["train", "resize", "--compare-at", "0.5", "1.2"], "compare_at is 1.2, but must be above 0 and below 1"),
        (["train", "resize", "--train.scale-min", "0.0"], "above 0 and at most 1"),
        (["train", "segment", "--train.crop", "0.5"], "train.crop is 0.5, but must be between 0 and 0.4"),
        (["train", "resize", "--resume", "nowhere"], "nowhere is not a run folder: it does not exist"),
        (["eval"], "needs RUN first"),
        (["eval", "nowhere"], "nowhere is not a run folder: it does not exist"),
        (["eval", "RUN", "--scale", "1.5"], "scale is 1.5, but must be above 0 and at most 1"),
        (["eval", "RUN", "--scale", "0"], "scale is 0.0, but must be above 0 and at most 1"),
        (["eval", "RUN", "--scale", "nan"], "scale is nan, but must be above 0 and at most 1"),
        (["eval", "RUN", "--mode", "fast"], "'fast' for argument '--mode'"),
        (["demo", "RUN"], "--images"),
        (["demo", "RUN", "nothing.png"], "nothing.png does not exist, but must be a picture or a folder of pictures"),
        (["demo", "RUN", "nothing.png", "--scale", "-0.5"], "scale is -0.5, but must be above 0 and at most 1"),
        (["demo", "RUN", "RUN/status.json"], "status.json is not a picture"),
        (["demo", "RUN", "RUN/checkpoints"], "no picture in"),
        (["demo", "RUN", "RUN/samples", "--out", "RUN/status.json"], "cannot write to"),
        (["report"], "needs at least one run folder"),
        (["report", "RUN/samples"], "samples is not a run folder: it has no config.json"),
        (["tour", "--only", "resize,shrink"], "no method 'shrink'"),
        (["tour", "--preset", "tiny"], "preset is 'tiny', but distill has"),
    ],
    ids=in_words,
)
def test_a_mistake_gets_one_sentence(
    arguments: list[str], sentence: str, smoke_run: Path, tmp_path: Path, mistake: Mistake, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sentence in mistake([word.replace("RUN", str(smoke_run)) for word in arguments])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_an_unreadable_value_is_one_sentence_on_any_terminal(encoding: str) -> None:
    command = [sys.executable, "-m", "tenfold", "train", "resize", "--train.epochs", "few"]
    ended = subprocess.run(command, env=environment(PYTHONIOENCODING=encoding), capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr == (
        "tenfold: Error parsing --train.epochs: invalid literal for int() with base 10: 'few'; "
        "`tenfold train resize --help` lists what may be given\n"
    )


def test_a_run_without_its_checkpoint_is_not_trained_yet(copied: Path, mistake: Mistake) -> None:
    shutil.rmtree(copied / "checkpoints")
    assert "has no trained network yet" in mistake(["eval", copied])
    assert "has no trained network yet" in mistake(["demo", copied, copied / "samples"])


@pytest.mark.parametrize("command", ["eval", "demo"])
def test_a_truncated_checkpoint_is_named(command: str, copied: Path, mistake: Mistake) -> None:
    (file,) = (copied / "checkpoints" / "best").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:1000])
    sentence = mistake([command, copied, *([copied / "samples"] if command == "demo" else [])])
    assert sentence.startswith(f"{file} is damaged: it has 1000 bytes, but")


def test_a_damaged_settings_file_is_named(copied: Path, mistake: Mistake) -> None:
    (copied / "config.json").write_text('{"verb": "resize"')
    for command in (["eval", copied], ["report", copied], ["train", "resize", "--resume", copied]):
        assert "config.json" in mistake(command)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--data.name", "cifar11"], "data.name is 'cifar11', but must be one of garments, digits, pictures, cifar10"),
        (["--data.name", "cifar10"], "data.root is not given"),
        (
            ["--data.name", "cifar10", "--data.root", "nowhere"],
            "data.root is 'nowhere', but must be an existing folder",
        ),
        (["--data.name", "cifar10", "--data.root", "DATA"], "data_batch_1.bin"),
        (["--data.name", "mnist", "--data.root", "DATA"], "train-images"),
        (["--data.name", "folder", "--data.root", "DATA"], "data.size is none"),
        (["--data.name", "folder", "--data.root", "DATA", "--data.size", "8"], ".png is not a picture"),
        (["--train.batch-size", "99999"], "the batch size is 99999, but must be at most"),
        (["--net.name", "vgg-16"], "net is 'vgg-16', but must be one of resnet-N"),
        (["--net.name", "resnet-21"], "depth must be 6n+2"),
        (["--net.weights", "nowhere.safetensors"], "nowhere.safetensors does not exist"),
        (["--net.weights", "DATA/data_batch_1.bin"], "data_batch_1.bin is not a whole safetensors file"),
        (["--net.weights", "DATA/other.safetensors"], "other.safetensors lacks the weight conv1.weight"),
    ],
    ids=in_words,
)
def test_what_cannot_be_trained_is_named_and_noted(
    options: list[str], sentence: str, tmp_path: Path, mistake: Mistake
) -> None:
    data = tmp_path / "data"
    for name in ("one", "two"):
        (data / name).mkdir(parents=True)
        for number in range(4):
            (data / name / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n cut short")
    (data / "batches.meta.txt").write_text("\n".join("abcdefghij"))
    for file in [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]:
        (data / file).write_bytes(bytes(1000))
    (data / "train-images-idx3-ubyte").write_bytes(bytes(1000))
    (data / "train-labels-idx1-ubyte").write_bytes(bytes(1000))
    save_file({"weight": torch.zeros(3)}, data / "other.safetensors")
    words = [word.replace("DATA", str(data)) for word in options]
    given = mistake(small_training(tmp_path / "runs", *words))
    assert sentence in given
    (folder,) = (tmp_path / "runs" / "resize").iterdir()
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["error"]) == ("failed", given)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said(tmp_path: Path, mistake: Mistake) -> None:
    sentence = mistake(small_training(tmp_path, "--compute.device", "cuda"))
    assert sentence == "compute.device is 'cuda', but there is no GPU: it must be cpu or auto"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["a file", "a folder that takes no files"])
def test_a_place_that_cannot_be_written_is_named(place: str, tmp_path: Path, mistake: Mistake) -> None:
    # permissions do not bind root, which tests may run as
    root = Path("/proc/none") if place != "a file" else tmp_path / "file"
    if place == "a file":
        root.write_text("")
    elif not Path("/proc").is_dir():
        pytest.skip("needs /proc")
    assert mistake(small_training(root)).startswith(f"cannot write to {root}/resize")


def test_a_report_that_cannot_be_written_is_named(smoke_run: Path, tmp_path: Path, mistake: Mistake) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot write to" in mistake(["report", smoke_run, "--to", tmp_path / "file" / "report.html"])


@pytest.mark.parametrize("options", [["--seed", "3"], ["--preset", "smoke"], ["--preset=smoke"], ["--runs", "x"]])
def test_resume_takes_no_other_setting(options: list[str], smoke_run: Path, mistake: Mistake) -> None:
    for words in (["--resume", smoke_run, *options], [*options, "--resume", smoke_run]):
        assert "nothing else may be given" in mistake(["train", "resize", *words])


def test_resume_of_a_done_run_changes_nothing(copied: Path, mistake: Mistake) -> None:
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    assert "is done already" in mistake(["train", "resize", "--resume", copied])
    assert before == {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}


def test_a_run_of_another_method_is_not_resumed(copied: Path, mistake: Mistake) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"verb": "other"}))
    sentence = mistake(["train", "resize", "--resume", copied])
    assert sentence == f"{copied} is a run of other: tenfold train other --resume {copied}"


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "tyro", None)
    monkeypatch.delitem(sys.modules, "tyro", raising=False)

    class Absent:
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "tyro":
                raise ModuleNotFoundError("No module named 'tyro'", name="tyro")

    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    assert main(["tour", "--only", "resize"]) == 2
    assert capsys.readouterr().err.startswith("tenfold: this needs the package tyro, which is not installed")


def test_tour_trains_and_writes_one_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tour", "--preset", "smoke", "--only", "resize", "--runs", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("[1/1] resize: ")
    assert printed.out.splitlines()[-1] == f"report: {tmp_path / 'tour.html'}"
    assert (tmp_path / "tour.html").is_file()
    assert len(list((tmp_path / "resize").iterdir())) == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], []),
        (["--grid"], ["--grid", "True"]),
        (["--grid", "--tile", "256"], ["--grid", "True", "--tile", "256"]),
        (["--grid", "False"], ["--grid", "False"]),
        (["--tile", "256", "--data.flip"], ["--tile", "256", "--data.flip", "True"]),
        (["--images", "--other"], ["--images", "--other"]),
    ],
)
def test_a_switch_alone_is_on(given: list[str], expected: list[str]) -> None:
    assert program._switched_on(given, {"--grid", "--data.flip"}) == expected


def test_the_switches_of_settings_are_those_that_are_true_or_false() -> None:
    from tenfold.translate.config import Config, DemoOptions

    assert list(program._switches(DemoOptions)) == ["--grid"]
    found = set(program._switches(Config))
    assert {"--data.flip", "--net.skip", "--net.last", "--loss.relative", "--compute.channels-last"} == found
