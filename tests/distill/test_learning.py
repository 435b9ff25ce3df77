from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tenfold import commands
from tenfold.core.config import DataConfig
from tenfold.core.data import load_images
from tenfold.core.errors import UsageError
from tenfold.core.run import Run
from tenfold.distill.config import (
    METHODS,
    Config,
    EvalOptions,
    FeatureSettings,
    StudentSettings,
    TeacherSettings,
    TrainSettings,
)
from tenfold.distill.evaluate import Evaluator, load_run
from tenfold.nets import build_net

TINY = Config(
    data=DataConfig(name="digits", limit=256),
    teacher=TeacherSettings(name="resnet-8", width=4),
    student=StudentSettings(name="resnet-8", width=2),
    features=FeatureSettings(auto_alpha=True),
    train=TrainSettings(epochs=2, batch_size=64, schedule="cosine", pad=1, flip=False),
    methods=("alone", "features"),
)


def trained(config: Config, folder: Path) -> Run:
    return Run.open(commands.train("distill", config, root=folder))


def logged(run: Run) -> list[dict[str, Any]]:
    return [{name: str(value) for name, value in line.items() if name != "time"} for line in run.metrics()]


def test_the_same_seed_gives_the_same_metrics_and_another_does_not(tmp_path: Path) -> None:
    first, again = trained(TINY, tmp_path), trained(TINY, tmp_path)
    assert first.status["metrics"] == again.status["metrics"]
    assert logged(first) == logged(again)
    assert trained(replace(TINY, seed=1), tmp_path).status["metrics"] != first.status["metrics"]


class StopError(Exception):
    pass


@pytest.mark.parametrize("saves", [1, 3, 4, 5, 6, 7])
def test_a_stopped_run_ends_as_the_straight_one(saves: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after the n-th checkpoint: within the teacher, between networks, within the features, before the end."""
    config = replace(TINY, train=replace(TINY.train, save_every=3))
    straight = trained(config, tmp_path / "straight")
    save, count = Run.save, 0

    def stopping(run: Run, *arguments: Any, **options: Any) -> None:
        nonlocal count
        save(run, *arguments, **options)
        count += 1
        if count == saves:
            raise StopError

    monkeypatch.setattr(Run, "save", stopping)
    with pytest.raises(StopError):
        commands.train("distill", config, root=tmp_path / "stopped")
    monkeypatch.setattr(Run, "save", save)
    (folder,) = (tmp_path / "stopped" / "distill").iterdir()
    resumed = Run.open(commands.resume(folder))
    assert resumed.status["metrics"] == straight.status["metrics"]
    assert logged(resumed) == logged(straight)


@pytest.mark.filterwarnings("ignore:the feature loss pulls")
def test_students_start_alike_and_see_the_same_batches(tmp_path: Path) -> None:
    """Without a teacher's pull two methods are the same training."""
    config = replace(TINY, methods=("alone", "features"), features=FeatureSettings(alpha=1e-30))
    metrics = trained(config, tmp_path).status["metrics"]
    assert metrics["features/accuracy"] == metrics["alone/accuracy"]
    assert metrics["features/agreement"] == metrics["alone/agreement"]


def test_alone_needs_no_teacher(tmp_path: Path) -> None:
    run = trained(replace(TINY, methods=("alone",)), tmp_path)
    assert set(run.status["metrics"]) == {"alone/accuracy"}
    assert {line["stage"] for line in run.metrics()} == {"alone"}
    assert set(commands.evaluate(run.path, EvalOptions())) == {"alone/accuracy"}


def test_every_method_ends_with_its_row(tmp_path: Path) -> None:
    config = replace(TINY, methods=METHODS, train=replace(TINY.train, epochs=1))
    metrics = trained(config, tmp_path).status["metrics"]
    rows = {name.split("/")[0] for name in metrics}
    assert rows == {"teacher", *METHODS}
    assert metrics["teacher/agreement"] == metrics["teacher/relative cost"] == 1.0
    assert metrics["features/relative cost"] == metrics["alone/relative cost"] < 0.5


def test_a_teacher_with_weights_is_not_trained(tmp_path: Path) -> None:
    torch.manual_seed(5)
    teacher = build_net("resnet-8", classes=10, channels=1, width=4)
    save_file(teacher.state_dict(), tmp_path / "teacher.safetensors")
    config = replace(TINY, teacher=replace(TINY.teacher, weights=tmp_path / "teacher.safetensors"))
    run = trained(config, tmp_path)
    assert {line["stage"] for line in run.metrics()} == {"alone", "features"}
    (tmp_path / "teacher.safetensors").unlink()  # a finished run does not need it any more
    _, _, networks = load_run(run.path)
    for name, value in networks["teacher"].state_dict().items():
        assert torch.equal(value, teacher.state_dict()[name]), name


def test_momentum_starts_anew_where_the_rate_falls(tmp_path: Path) -> None:
    steps = TrainSettings(epochs=2, batch_size=64, schedule="steps", steps_at=(0.5,), pad=1, flip=False)
    kept = trained(replace(TINY, train=steps, methods=("alone",)), tmp_path)
    reset = trained(replace(TINY, train=replace(steps, reset_momentum=True), methods=("alone",)), tmp_path)
    first, second = ([line["total loss"] for line in run.metrics()] for run in (kept, reset))
    assert first[0] == second[0]
    assert first[1] != second[1]


def test_what_the_balance_does_is_logged(tmp_path: Path) -> None:
    lines = [line for line in trained(TINY, tmp_path).metrics() if line["stage"] == "features"]
    assert all(line["alpha"] > 0 and line["gradient ratio"] > 0 for line in lines)
    assert not [line for line in trained(TINY, tmp_path).metrics() if line["stage"] == "alone" and "alpha" in line]


def test_an_unknown_network_is_named(tmp_path: Path) -> None:
    run = trained(replace(TINY, methods=("alone",)), tmp_path)
    with pytest.raises(UsageError, match=r"network is 'hints', but .* has alone"):
        commands.evaluate(run.path, EvalOptions(network=("hints",)))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: FeatureSettings(alpha=0.0), "features.alpha is 0.0, but must be above 0"),
        (lambda: TrainSettings(steps_at=(0.5, 1.0)), r"train.steps_at is .*shares above 0 and below 1"),
        (lambda: Config(methods=()), r"methods is .*at least one"),
        (lambda: Config(methods=("alone", "alone")), r"methods is .*without repetition"),
        (lambda: TeacherSettings(epochs=0), "teacher.epochs is 0"),
    ],
)
def test_settings_out_of_range_are_refused(make: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        make()


@pytest.mark.slow
def test_a_teacher_is_worth_points_to_a_student_with_few_images(tmp_path: Path) -> None:
    config = Config(
        data=DataConfig(name="digits"),
        teacher=TeacherSettings(name="resnet-14", width=8, epochs=6),
        student=StudentSettings(name="resnet-8", width=8, images=100),
        features=FeatureSettings(auto_alpha=True),
        train=TrainSettings(epochs=150, batch_size=50, schedule="cosine", pad=1, flip=False),
        methods=("alone", "features"),
    )
    gains = []
    for seed in range(3):
        metrics = trained(replace(config, seed=seed), tmp_path).status["metrics"]
        gains.append(metrics["features/accuracy"] - metrics["alone/accuracy"])
    assert sum(gains) / 3 > 0.01, gains


def test_students_may_see_fewer_images_than_their_teacher(tmp_path: Path) -> None:
    config = replace(TINY, student=replace(TINY.student, images=128), methods=("alone", "logits"))
    steps = {line["stage"]: line["step"] for line in trained(config, tmp_path).metrics()}
    assert steps == {"teacher": 2 * (256 // 64), "alone": 2 * (128 // 64), "logits": 2 * (128 // 64)}


def test_a_diverged_network_is_right_about_nothing(tmp_path: Path) -> None:
    run = trained(replace(TINY, methods=("alone",)), tmp_path)
    config, task, networks = load_run(run.path)
    for parameter in networks["alone"].parameters():
        torch.nn.init.constant_(parameter, torch.nan)
    row = Evaluator(config, task, load_images(config.data, "test"), run.fabric, None).row("alone", networks["alone"])
    assert row == {"alone/accuracy": 0.0}
