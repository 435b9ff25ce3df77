"""A whole run: it repeats, goes on where it was stopped, and remembers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tenfold import commands
from tenfold.core.errors import UsageError
from tenfold.core.run import Run
from tenfold.remember.config import (
    METHODS,
    Config,
    DemoOptions,
    EvalOptions,
    IndexSettings,
    Method,
    NetSettings,
    RivalSettings,
    SequenceSettings,
    TrainSettings,
)
from tenfold.remember.demo import load
from tenfold.remember.evaluate import load_run
from tenfold.remember.learner import StackLearner

TINY = Config(
    sequence=SequenceSettings(tasks=("digits:0-2", "digits:3-5", "digits:6-9"), size=8, limit=96),
    net=NetSettings(name="resnet-8", width=4),
    rivals=RivalSettings(ewc_pictures=16),
    train=TrainSettings(epochs=2, batch_size=32, pad=1),
)


def trained(config: Config, folder: Path) -> Run:
    return Run.open(commands.train("remember", config, root=folder))


def logged(run: Run) -> list[dict[str, Any]]:
    return [{name: str(value) for name, value in line.items() if name != "time"} for line in run.metrics()]


def test_the_same_seed_gives_the_same_metrics_and_another_does_not(tmp_path: Path) -> None:
    config = replace(
        TINY, methods=("stack", "ewc"), index=IndexSettings(kind="generator", epochs=1, classifier_steps=3)
    )
    first, again = trained(config, tmp_path), trained(config, tmp_path)
    assert first.status["metrics"] == again.status["metrics"]
    assert logged(first) == logged(again)
    assert trained(replace(config, seed=1), tmp_path).status["metrics"] != first.status["metrics"]


class StopError(Exception):
    pass


@pytest.mark.parametrize(
    ("methods", "kind", "saves"),
    [
        # within a task, between tasks, after the last; a task has a save within, two after epochs, one when it is learned
        (("stack",), "density", [1, 4, 6, 8, 12]),
        (("stack",), "generator", [5, 9]),
        (("stack",), "autoencoder", [9]),
        (("lwf",), "density", [3, 5, 9]),
        (("ewc",), "density", [4, 9]),
        (("packnet",), "density", [1, 3, 4, 6, 9]),
        (("finetune", "joint"), "density", [5, 13, 15]),
    ],
)
def test_a_stopped_run_ends_as_the_straight_one(
    methods: tuple[Method, ...], kind: Any, saves: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = IndexSettings(kind=kind, epochs=1, classifier_steps=3)
    config = replace(TINY, methods=methods, index=index, train=replace(TINY.train, save_every=2))
    straight = trained(config, tmp_path / "straight")
    save = Run.save
    for wanted in saves:
        count = 0

        def stopping(run: Run, *arguments: Any, wanted: int = wanted, **options: Any) -> None:
            nonlocal count
            save(run, *arguments, **options)
            count += 1
            if count == wanted:
                raise StopError

        monkeypatch.setattr(Run, "save", stopping)
        root = tmp_path / f"stopped {wanted}"
        with pytest.raises(StopError):
            commands.train("remember", config, root=root)
        monkeypatch.setattr(Run, "save", save)
        (folder,) = (root / "remember").iterdir()
        resumed = Run.open(commands.resume(folder))
        assert resumed.status["metrics"] == straight.status["metrics"], wanted
        assert logged(resumed) == logged(straight), wanted


def test_rivals_start_alike_and_see_the_same_batches(tmp_path: Path) -> None:
    """On the first task, before anything could be forgotten, they are one training."""
    config = replace(TINY, methods=("finetune", "lwf", "ewc"))
    lines = trained(config, tmp_path).metrics()
    losses = {m: [line["loss"] for line in lines if line["stage"] == f"{m}: digits:0-2, train"] for m in config.methods}
    assert len(losses["finetune"]) == 2
    assert losses["finetune"] == losses["lwf"] == losses["ewc"]


def test_every_method_ends_with_its_row(tmp_path: Path) -> None:
    run = trained(replace(TINY, train=replace(TINY.train, epochs=1)), tmp_path)
    metrics = run.status["metrics"]
    assert {name.split("/")[0] for name in metrics} == {*METHODS, "index"}
    for method in METHODS:
        known = [metrics[f"{method}/{task} known"] for task in TINY.sequence.tasks]
        inferred = [metrics[f"{method}/{task} inferred"] for task in TINY.sequence.tasks]
        assert metrics[f"{method}/known"] == pytest.approx(sum(known) / 3)
        assert metrics[f"{method}/inferred"] == pytest.approx(sum(inferred) / 3)
        assert all(first <= second for first, second in zip(inferred, known, strict=True))
    assert metrics["stack/forgetting"] == 0
    assert metrics["packnet/forgetting"] == pytest.approx(0, abs=0.02)
    assert metrics["stack/parameters"] < metrics["finetune/parameters"]
    names = {path.name for path in (run.path / "samples").iterdir()}
    assert len(names) == 3


def test_inferred_accuracy_is_what_the_stack_itself_gives(tmp_path: Path) -> None:
    """Counted from the tasks inferred; here by calling the stack as a person does."""
    config = replace(TINY, methods=("stack",), index=IndexSettings(reject=0.1))
    run = trained(config, tmp_path)
    metrics = run.status["metrics"]
    from tenfold.remember.sequence import load_sequence

    _, tasks, learners = load_run(run.path)
    stack = learners["stack"]
    assert isinstance(stack, StackLearner)
    for number, images in enumerate(load_sequence(config.sequence, "test")):
        pictures, labels = images.fetch(torch.arange(len(images)))
        with torch.no_grad():
            found, logits = stack.net(tasks[number].normalized(pictures))
        right = (found == number) & (logits.argmax(1) == labels)
        assert metrics[f"stack/{images.name} inferred"] == pytest.approx(float(right.float().mean()))
        assert metrics[f"index/{images.name} inferred"] == pytest.approx(float((found == number).float().mean()))


def test_a_run_without_a_stack_infers_nothing(tmp_path: Path) -> None:
    run = trained(replace(TINY, methods=("finetune",)), tmp_path)
    assert not [name for name in run.status["metrics"] if "inferred" in name]
    assert "finetune/known" in commands.evaluate(run.path, EvalOptions())
    with pytest.raises(UsageError, match="without the method stack, which the demo needs; it has finetune"):
        load(run.path)
    with pytest.raises(UsageError, match=r"method is 'ewc', but .* has finetune"):
        commands.evaluate(run.path, EvalOptions(method=("ewc",)))


def test_the_demo_takes_a_task_or_infers_it(tmp_path: Path) -> None:
    from PIL import Image

    run = trained(replace(TINY, methods=("stack",), index=IndexSettings(reject=0.3)), tmp_path)
    Image.linear_gradient("L").save(tmp_path / "slope.png")
    demo = load(run.path)
    files = (tmp_path / "slope.png",)
    given = demo(DemoOptions(images=files, task="digits:3-5"))["predictions"]
    assert given.columns == ("picture", "task, given", "class")
    assert given.rows[0][1] == "digits:3-5"
    inferred = demo(DemoOptions(images=files))["predictions"]
    assert inferred.rows[0][1:] == ("none of them", "-")
    with pytest.raises(UsageError, match="task is 'mnist', but the run has digits:0-2, digits:3-5, digits:6-9"):
        demo(DemoOptions(images=files, task="mnist"))


@pytest.mark.slow
def test_a_stack_remembers_what_fine_tuning_forgets(tmp_path: Path) -> None:
    config = Config(
        sequence=SequenceSettings(tasks=("digits", "garments:0-4"), size=16, limit=1500),
        net=NetSettings(name="resnet-8", width=12, half_stem=True),
        train=TrainSettings(epochs=5, pad=1),
        methods=("stack", "finetune"),
    )
    gains = []
    for seed in range(2):
        metrics = trained(replace(config, seed=seed), tmp_path).status["metrics"]
        assert metrics["stack/digits known"] > 0.9
        assert metrics["index/inferred"] > 0.95
        gains.append(metrics["stack/inferred"] - metrics["finetune/known"])
    assert min(gains) > 0.1, gains
