"""Whole runs, small ones: they repeat, resume, take people's folders, and are evaluated and shown as they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tenfold import commands
from tenfold.core.config import ComputeConfig
from tenfold.core.errors import UsageError
from tenfold.core.run import Run
from tenfold.translate import train as training_module
from tenfold.translate.config import (
    Config,
    EvalOptions,
    LossSettings,
    NetSettings,
    PictureSettings,
    TrainSettings,
)
from tenfold.translate.evaluate import Evaluator, evaluate, falling
from tenfold.translate.learned import load_run
from tenfold.translate.task import Task, Unpaired

from ..killed import KilledError, killed_after, logged

TINY = Config(
    data=PictureSettings(size=40, crop=32, style_size=48, limit=8),
    net=NetSettings(width=4, blocks=1, critic_width=4, critic_layers=1),
    loss=LossSettings(perceptual=0.5, style=(0.5, 0.5, 0.5, 0.5), relative=True),
    train=TrainSettings(epochs=3, batch_size=4, learning_rate=2e-3, replay=6, critic_jitter=0.5),
    methods=("sgn", "singles", "middle"),
)


def trained(config: Config, folder: Path) -> Run:
    return Run.open(commands.train("translate", config, root=folder))


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(TINY, tmp_path_factory.mktemp("straight"))


def test_the_same_seed_gives_the_same_run_and_another_does_not(straight: Run, tmp_path: Path) -> None:
    again = trained(TINY, tmp_path)
    assert again.status["metrics"] == straight.status["metrics"]
    assert logged(again) == logged(straight)
    other = trained(replace(TINY, seed=1, methods=("sgn",)), tmp_path)
    assert other.status["metrics"]["sgn/photos"] != straight.status["metrics"]["sgn/photos"]


# Adam divides by the size of the gradients: only a clip near its epsilon shows in so short a run
@pytest.mark.parametrize("settings", [{"critic_jitter": 0.0}, {"critic_penalty": 100.0}, {"critic_clip": 1e-8}])
def test_shifts_a_penalty_and_a_clip_reach_the_discriminators(
    settings: dict[str, float], straight: Run, tmp_path: Path
) -> None:
    run = trained(replace(TINY, train=replace(TINY.train, **settings), methods=("sgn",)), tmp_path)
    assert run.status["metrics"]["sgn/ink"] != straight.status["metrics"]["sgn/ink"]


@pytest.mark.parametrize("saves", [1, 2, 3, 5, 9])
def test_a_killed_run_goes_on_to_the_same_end(
    saves: int, straight: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a network's training, at its end, and in later ones; checkpoints of critics, optimizers, replay and scales."""
    config = replace(TINY, train=replace(TINY.train, save_every=3))
    with killed_after(saves, monkeypatch), pytest.raises(KilledError):
        commands.train("translate", config, root=tmp_path)
    (folder,) = (tmp_path / "translate").iterdir()
    commands.resume(folder)
    resumed = Run.open(folder)
    assert resumed.status["metrics"] == straight.status["metrics"]
    assert logged(resumed) == logged(straight)


def test_running_scales_survive_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(TINY, methods=("sgn",), loss=replace(TINY.loss, scales="running"))
    whole = trained(config, tmp_path / "whole")
    with killed_after(2, monkeypatch), pytest.raises(KilledError):
        commands.train("translate", config, root=tmp_path / "killed")
    (folder,) = (tmp_path / "killed" / "translate").iterdir()
    commands.resume(folder)
    assert Run.open(folder).status["metrics"] == whole.status["metrics"]
    scales = Run.open(folder).load(name="best")["scales"]["sgn"]  # type: ignore[index]
    assert not torch.equal(scales, torch.ones(3))


@pytest.mark.slow
def test_two_processes_train(tmp_path: Path) -> None:
    """Each keeps a replay of its own, so that only what no discriminator sees is the same as in one process."""
    config = replace(TINY, methods=("singles",), data=replace(TINY.data, domains=()))
    alone = trained(config, tmp_path / "alone").status["metrics"]
    together = trained(replace(config, compute=ComputeConfig(processes=2)), tmp_path / "two").status["metrics"]
    for name, value in alone.items():
        assert together[name] == pytest.approx(value, rel=2e-2, abs=1e-3), name


def test_metrics_have_a_row_for_each_network_and_rival(straight: Run) -> None:
    metrics = straight.status["metrics"]
    rows = list(dict.fromkeys(name.split("/")[0] for name in metrics))
    assert rows == ["untranslated", "sgn", "outputs", "weights", "middle", "singles"]
    assert metrics["untranslated/photos"] == 0
    assert metrics["untranslated/ink"] == pytest.approx(1)
    # at a corner a blend is the single network
    for corner in ("photos", "ink", "cypresses"):
        assert metrics[f"outputs/{corner}"] == pytest.approx(metrics[f"singles/{corner}"], rel=1e-4)
        assert metrics[f"weights/{corner}"] == pytest.approx(metrics[f"singles/{corner}"], rel=1e-4)
    assert 0 <= metrics["sgn/falling"] <= 1
    assert {path.name for path in (straight.path / "samples").iterdir()} == {
        "dial.png",
        "edges.png",
        "rivals.png",
        "triangle.png",
    }


def test_all_generators_begin_with_the_same_weights() -> None:
    from tenfold.translate.stages import build_generator, stages_of

    corners = Task.of(TINY.data).corners
    config = replace(TINY, methods=("sgn", "film", "concat", "singles", "middle"))
    networks = [build_generator(stage, config, corners).network for stage in stages_of(config, corners)]
    first = networks[0].state_dict()
    for network in networks[1:]:
        assert all(torch.equal(value, first[name]) for name, value in network.state_dict().items())


def test_only_domains_only_styles_and_more_than_three_corners(tmp_path: Path) -> None:
    for number, data in enumerate(
        (
            replace(TINY.data, styles=()),
            replace(TINY.data, domains=()),
            replace(TINY.data, domains=("ink", "paintings"), styles=("circus",)),
        )
    ):
        config = replace(TINY, data=data, train=replace(TINY.train, epochs=1), methods=("sgn", "singles"))
        run = trained(config, tmp_path / str(number))
        corners = load_run(run.path).corners
        assert corners.names == ("photos", *data.domains, *data.styles)
        assert all(f"sgn/{name}" in run.status["metrics"] for name in corners.names)


def test_a_persons_folders_are_translated(tmp_path: Path) -> None:
    """CycleGAN's layout for one side, a plain folder for the other, and a style file."""
    generator = torch.Generator().manual_seed(0)
    for folder, count in (("zebra/trainA", 5), ("zebra/testA", 3), ("sketches", 12)):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(count):
            pixels = torch.randint(256, (50, 44, 3), generator=generator, dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(tmp_path / folder / f"{number}.png")
    Image.linear_gradient("L").save(tmp_path / "slope.png")
    data = replace(
        TINY.data,
        source=f"horse={tmp_path / 'zebra' / 'trainA'}",
        domains=(str(tmp_path / "sketches"),),
        styles=(str(tmp_path / "slope.png"),),
    )
    task = Task.of(data)
    assert task.corners.names == ("horse", "sketches", "slope")
    assert [len(images) for images in task.sets("train")] == [5, 8]  # the limit is 8
    assert [len(images) for images in task.sets("test")] == [3, 2]
    run = trained(replace(TINY, data=data, methods=("sgn",), train=replace(TINY.train, epochs=1)), tmp_path / "runs")
    assert "sgn/slope" in run.status["metrics"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "nowhere/photos"}, "data.source has 'nowhere/photos', but must be NAME=PATH"),
        ({"domains": ("photos",)}, "two corners are called 'photos'"),
        (
            {"styles": ("night",)},
            "data.styles has 'night', but must be NAME=PATH or PATH of what exists, or one of circus",
        ),
    ],
)
def test_wrong_sets_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Task.of(replace(TINY.data, **changes))


@pytest.mark.parametrize(
    ("group", "changes", "message"),
    [
        (PictureSettings, {"crop": 300}, "data.crop is 300"),
        (PictureSettings, {"crop": 50, "size": 64}, "data.crop is 50, but must be a multiple of 4"),
        (PictureSettings, {"domains": (), "styles": ()}, "data.domains is"),
        (PictureSettings, {"domains": tuple("abcdefgh")}, "at most seven"),
        (LossSettings, {"style": (1.0, 1.0)}, "loss.style is .* four numbers"),
        (LossSettings, {"reconstruction": 0.0}, "loss.reconstruction is 0.0"),
        (TrainSettings, {"alpha": 0.0}, "train.alpha is 0.0"),
        (TrainSettings, {"vertices": 1.5}, "train.vertices is 1.5"),
        (NetSettings, {"blocks": 0}, "net.blocks is 0"),
    ],
)
def test_wrong_settings_are_refused(group: type, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        group(**changes)


def test_every_set_goes_through_orders_of_its_own_and_any_step_can_be_resumed() -> None:
    sets = Task.of(TINY.data).sets("train")
    batches = Unpaired(sets, TINY)
    walked = batches.from_step(0)
    first = [next(walked) for _ in range(7)]
    later = batches.from_step(5)
    for step in (5, 6):
        batch, windows = next(later)
        assert batch.seed == first[step][0].seed
        assert all(torch.equal(one, other) for one, other in zip(windows, first[step][1], strict=True))
    assert all(part.shape == (4, 3, 32, 32) and -1 <= part.min() < part.max() <= 1 for part in first[0][1])


def test_evaluation_finds_the_final_metrics_again_and_shows_edges(straight: Run) -> None:
    found = evaluate(straight.path, EvalOptions(rows=("sgn", "singles")))
    assert found == {name: straight.status["metrics"][name] for name in found}
    assert {name.split("/")[0] for name in found} == {"sgn", "singles"}
    edges = evaluate(straight.path, EvalOptions(rows=("sgn",), edges=True, points=3))
    assert {name.split("/")[0] for name in edges} == {
        f"sgn {first} {share} {last}"
        for first, last in (("photos", "ink"), ("photos", "cypresses"), ("ink", "cypresses"))
        for share in ("0.00", "0.50", "1.00")
    }
    assert edges["sgn photos 0.00 ink/photos"] == pytest.approx(straight.status["metrics"]["sgn/photos"], rel=1e-5)
    with pytest.raises(UsageError, match="rows has 'middle'"):
        evaluate(straight.path, EvalOptions(rows=("middle",), edges=True))
    with pytest.raises(UsageError, match="rows has 'resnet', but the run has untranslated, sgn"):
        evaluate(straight.path, EvalOptions(rows=("resnet",)))


def test_the_domains_own_pictures_have_a_distance_near_zero(straight: Run) -> None:
    evaluator = Evaluator.of(load_run(straight.path), straight)
    domain = evaluator._features(
        training_module.Task.of(TINY.data).sets("train")[1].fetch(torch.arange(8))[0] / 127.5 - 1
    )
    assert evaluator._distance(evaluator._domain_features[0], evaluator._domain_features[0]) < 1e-6
    assert evaluator._distance(domain, evaluator._domain_features[0]) < evaluator._untranslated[0]


def test_falling_counts_steps_towards_each_corner() -> None:
    curve = [{"a": 1.0, "b": 5.0}, {"a": 2.0, "b": 4.0}, {"a": 1.5, "b": 3.0}]
    # towards b: 5, 4, 3 falls twice; towards a, backwards: 1.5, 2 rises, 2, 1 falls
    assert falling({("a", "b"): curve}) == pytest.approx(3 / 4)
