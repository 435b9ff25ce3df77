from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tenfold import commands
from tenfold.core.errors import UsageError
from tenfold.core.masks import load_masked
from tenfold.core.run import Run
from tenfold.core.task import Task
from tenfold.segment.config import Config, EvalOptions
from tenfold.segment.evaluate import Evaluator, evaluate, held_out_split, load_run
from tenfold.segment.stages import build_network

from .pictures import CLASSES, TINY, tiny, write_set

UNEQUAL = [(32, 48), (32, 48), (20, 60), (64, 96), (64, 96), (64, 96), (50, 33)]


class Guess(nn.Module):
    """Classes by brightness, at half of the resolution; notes how many pictures came at once."""

    def __init__(self) -> None:
        super().__init__()
        self.edges = nn.Parameter(torch.tensor([0.3, -0.1, -0.3, 0.7, -0.8]))
        self.batches: list[tuple[int, ...]] = []

    def forward(self, pictures: Tensor) -> Tensor:
        self.batches.append(tuple(pictures.shape))
        grey = F.avg_pool2d(pictures.mean(1, keepdim=True), 2)
        return -(grey - self.edges.view(1, -1, 1, 1)).square()


def evaluator(config: Config, *, rank: int = 0, world: int = 1) -> Evaluator:
    images = load_masked(config.data, held_out_split(config))
    fabric = SimpleNamespace(
        global_rank=rank, world_size=world, device=torch.device("cpu"), all_reduce=lambda value, **_: value
    )
    return Evaluator(config, Task.of(config.data, images), images, fabric)  # type: ignore[arg-type]


def scored(config: Config, network: nn.Module) -> tuple[list[float], float]:
    """The intersection over union of each class and the pixel accuracy, one picture and one class at a time."""
    found = evaluator(config)
    both, either = [0] * len(CLASSES), [0] * len(CLASSES)
    right = labelled = 0
    for index in range(len(found.images)):
        picture, truth = found.images.picture(index)
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (found.task.mean, found.task.std))
        with torch.no_grad():
            logits = network((picture[None] / 255 - mean) / std)
        answer = F.interpolate(logits, truth.shape, mode="bilinear", align_corners=False).argmax(1)[0]
        known = truth != 255
        for label in range(len(CLASSES)):
            both[label] += int(((answer == label) & (truth == label) & known).sum())
            either[label] += int((((answer == label) | (truth == label)) & known).sum())
        right += int((answer == truth)[known].sum())
        labelled += int(known.sum())
    return [a / b if b else math.nan for a, b in zip(both, either, strict=True)], right / labelled


@pytest.fixture
def unequal(tmp_path: Path) -> Config:
    return replace(TINY, data=write_set(tmp_path, train=[(32, 48)], test=UNEQUAL))


def test_scores_are_exact_over_pictures_of_unequal_sizes(unequal: Config) -> None:
    assert len({evaluator(unequal).images.picture(index)[1].shape for index in range(len(UNEQUAL))}) == 4
    network = Guess()
    iou, accuracy = scored(unequal, network)
    assert len({0.0, 1.0, *iou}) == 2 + len(CLASSES)
    row = evaluator(unequal).row("guess", network)
    assert row["guess/mean iou"] == pytest.approx(sum(iou) / len(iou), abs=1e-6)
    assert row["guess/pixel accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert row["guess/parameters"] == len(CLASSES)
    for batch_size in (1, 2, 16):
        confusion = evaluator(unequal).confusion(network, batch_size=batch_size)
        assert confusion.iou == pytest.approx(iou, abs=1e-6), batch_size
        assert confusion.counts.sum() == sum(height * width - 4 for height, width in UNEQUAL)


def test_neighbours_of_one_size_come_at_once(unequal: Config) -> None:
    network = Guess()
    advanced: list[int] = []
    meter = SimpleNamespace(advance=lambda n=1, note="": advanced.append(n))
    evaluator(unequal).confusion(network, batch_size=2, meter=meter)
    assert [shape[0] for shape in network.batches] == [2, 1, 2, 1, 1]
    assert advanced == [2, 1, 2, 1, 1]
    # pictures are seen as they were trained on, fitted but not filled
    assert [shape[2:] for shape in network.batches] == [(32, 48), (16, 48), (32, 48), (32, 48), (32, 21)]


@pytest.mark.parametrize("world", [1, 2, 3, 7, 9])
def test_processes_share_every_picture_once(unequal: Config, world: int) -> None:
    shares = [evaluator(unequal, rank=rank, world=world).share() for rank in range(world)]
    assert [index for share in shares for index in share] == list(range(len(UNEQUAL)))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    counts = [evaluator(unequal, rank=rank, world=world).confusion(Guess()).counts for rank in range(world)]
    assert torch.equal(sum(counts, torch.zeros_like(counts[0])), evaluator(unequal).confusion(Guess()).counts)


def test_networks_are_evaluated_in_eval_mode_and_without_gradients(unequal: Config) -> None:
    network = build_network("c3net", unequal, evaluator(unequal).task).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = evaluator(unequal)
    found.confusion(network)
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not found.logits(network, torch.zeros(1, 3, 32, 48, dtype=torch.uint8), (10, 11)).requires_grad


def test_results_are_of_the_test_split_unless_settings_are_chosen_by_them(tmp_path: Path) -> None:
    config = replace(TINY, data=write_set(tmp_path, train=[(32, 48)] * 10, val=[(32, 48)] * 3, test=[(32, 48)] * 2))
    assert held_out_split(config) == "test"
    assert len(evaluator(config).images) == 2
    assert held_out_split(replace(config, validate=True)) == "validation"
    assert len(evaluator(replace(config, validate=True)).images) == 3
    held = replace(config, data=replace(config.data, holdout=0.4))
    assert held_out_split(held) == "validation"
    assert len(evaluator(held).images) == 4


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two networks; nobody may change it."""
    root = tmp_path_factory.mktemp("run")
    config = replace(tiny(root / "data"), networks=("c3net", "depthwise"))
    return commands.train("segment", replace(config, train=replace(config.train, epochs=1)), root=root)


def test_a_finished_run_gives_its_final_metrics_again(run: Path) -> None:
    final = Run.open(run).status["metrics"]
    assert set(final) == {
        f"{name}/{column}"
        for name in ("c3net", "depthwise")
        for column in ("mean iou", "pixel accuracy", "parameters", "GMACs")
    }
    for batch_size in (1, 3):
        assert evaluate(run, EvalOptions(batch_size=batch_size)) == pytest.approx(final, abs=1e-6)


def test_one_network_may_be_asked_for_and_each_class(run: Path) -> None:
    final = Run.open(run).status["metrics"]
    one = evaluate(run, EvalOptions(network=("depthwise",)))
    assert one == pytest.approx({name: value for name, value in final.items() if name.startswith("depthwise/")})
    classes = evaluate(run, EvalOptions(per_class=True))
    assert list(classes) == [f"{row}/{name}" for name in ("c3net", "depthwise") for row in (*CLASSES, "mean")]
    for name in ("c3net", "depthwise"):
        values = [classes[f"{row}/{name}"] for row in CLASSES]
        known = [value for value in values if not math.isnan(value)]
        assert classes[f"mean/{name}"] == pytest.approx(sum(known) / len(known))
        assert classes[f"mean/{name}"] == pytest.approx(final[f"{name}/mean iou"], abs=1e-6)


def test_what_a_run_does_not_have_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"network is 'espnet', but \S+ has c3net, depthwise$"):
        evaluate(run, EvalOptions(network=("c3net", "espnet")))
    other = Run.create(tmp_path, verb="other", preset="none", config=TINY).path
    with pytest.raises(UsageError, match=r"is a run of other, but must be one of segment$"):
        load_run(other)
    fresh = Run.create(tmp_path, verb="segment", preset="none", config=TINY).path
    with pytest.raises(UsageError, match=r"has no trained network yet; its status is"):
        load_run(fresh)


def test_a_trained_run_needs_no_data(run: Path) -> None:
    trained = load_run(run)
    assert trained.task.classes == CLASSES
    assert trained.colours.shape == (len(CLASSES), 3)
    assert list(trained.networks) == ["c3net", "depthwise"]
    assert not any(network.training for network in trained.networks.values())
