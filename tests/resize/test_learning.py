from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from tenfold import commands
from tenfold.core.config import DataConfig
from tenfold.core.run import Run
from tenfold.resize.config import Config, GateSettings, NetSettings, TrainSettings
from tenfold.resize.train import soft_probability

pytest_plugins = ["tests.trained"]

TINY = Config(
    data=DataConfig(name="digits", limit=300),
    net=NetSettings(name="resnet-8", width=4, half_stem=False),
    train=TrainSettings(epochs=2, batch_size=64, open_share=0.3, pad=1, flip=False, distill_weight=1.0),
    baselines=("ungated", "random"),
    calibration=32,
)


def final(config: Config, folder: Path) -> dict[str, float]:
    metrics: dict[str, float] = Run.open(commands.train("resize", config, root=folder)).status["metrics"]
    return metrics


@pytest.mark.slow
def test_the_smoke_preset_learns_and_keeps_to_its_requests(smoke_run: Path) -> None:
    metrics = Run.open(smoke_run).status["metrics"]
    assert metrics["resizable 0.80/accuracy"] > 0.85
    assert metrics["resizable 1.00/accuracy"] > 0.85
    assert metrics["resizable/largest cost gap"] <= 0.03
    costs = [metrics[f"resizable {scale:.2f}/relative cost"] for scale in (0.4, 0.5, 0.6, 0.65, 0.7, 0.8, 0.9, 1.0)]
    assert costs == sorted(costs)


@pytest.mark.slow
def test_the_losses_fall(smoke_run: Path) -> None:
    lines = [line for line in Run.open(smoke_run).metrics() if line.get("stage") == "resizable"]
    losses = [line["task loss"] for line in lines]
    assert len(losses) == 6
    assert losses[-1] < losses[0] / 2


def test_the_same_seed_gives_the_same_metrics_and_another_does_not(tmp_path: Path) -> None:
    first, again = final(TINY, tmp_path), final(TINY, tmp_path)
    assert first == again
    assert final(replace(TINY, seed=1), tmp_path) != first


@pytest.mark.parametrize(
    ("schedule", "points"),
    [
        ("constant", ((0.0, None), (0.39, None), (0.4, 0.6), (0.99, 0.6))),
        ("linear", ((0.39, None), (0.4, 0.6), (0.7, 0.3), (1.0, 0.0))),
    ],
)
def test_soft_gates_after_the_open_share(
    schedule: Literal["constant", "linear"], points: tuple[tuple[float, float | None], ...]
) -> None:
    train = TrainSettings(open_share=0.4, soft_schedule=schedule)
    config = Config(gate=GateSettings(soft_probability=0.6), train=train)
    for share, probability in points:
        found = soft_probability(config, share)
        assert found is None if probability is None else found == pytest.approx(probability)
