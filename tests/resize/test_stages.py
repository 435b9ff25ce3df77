from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from tenfold.core.config import DataConfig
from tenfold.core.cost import executed_macs
from tenfold.core.data import load_images
from tenfold.core.task import Task
from tenfold.nets import build_net
from tenfold.resize import Config, GateSettings, ResizableNet
from tenfold.resize.config import NetSettings, TrainSettings
from tenfold.resize.stages import Calibration, build_resizable, calibration_pictures, shallower, stages

TASK = Task((1, 16, 16), ("a", "b", "c"), (0.5,), (0.25,))
CONFIG = Config(net=NetSettings(name="resnet-20", width=8), train=TrainSettings(epochs=1))


def macs(blocks: tuple[int, ...] | None = None, name: str = "resnet-20") -> int:
    net = build_net(name, classes=3, channels=1, width=8, half_stem=True, blocks=blocks)
    return executed_macs(net.eval(), torch.zeros(1, 1, 16, 16))


@pytest.mark.parametrize("name", ["resnet-20", "preresnet-20"])
@pytest.mark.parametrize("cost", [0.4, 0.65, 0.8])
def test_a_shallower_network_has_the_nearest_cost_there_is(cost: float, name: str) -> None:
    config = replace(CONFIG, net=replace(CONFIG.net, name=name))
    blocks, achieved = shallower(config, TASK, cost)
    whole = macs(name=name)
    assert achieved == pytest.approx(macs(blocks, name) / whole, rel=1e-4)
    costs = [macs(counts, name) / whole for counts in itertools.product(range(1, 4), repeat=3)]
    assert abs(achieved - cost) <= min(abs(one - cost) for one in costs) + 0.0051


def test_the_cost_of_a_shallower_network_is_in_macs_whatever_the_gates_count() -> None:
    by_blocks = replace(CONFIG, gate=GateSettings(cost="blocks"))
    assert shallower(by_blocks, TASK, 0.65) == shallower(CONFIG, TASK, 0.65)


def test_every_network_of_a_run_starts_from_the_same_weights() -> None:
    made = {stage.name: stage for stage in stages(CONFIG, TASK)}
    assert list(made) == ["ungated", "shallow 0.65", "shallow 0.80", "random", "resizable"]
    ungated = made["ungated"].network
    x = torch.randn(4, 1, 16, 16)
    for name in ("random", "resizable"):
        network = made[name].network
        assert isinstance(network, ResizableNet)
        assert torch.equal(network.eval()(x, 1.0), ungated.eval()(x))
    assert made["random"].network.settings.form == "random"  # type: ignore[union-attr]
    assert made["ungated"].cost == 1.0
    assert made["shallow 0.65"].cost == pytest.approx(0.65, abs=0.06)


def test_only_the_baselines_asked_for_are_trained() -> None:
    assert [stage.name for stage in stages(replace(CONFIG, baselines=()), TASK)] == ["resizable"]


def test_weights_follow_from_the_seed_and_leave_the_global_one_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, again = build_resizable(CONFIG, TASK), build_resizable(CONFIG, TASK)
    assert torch.equal(torch.get_rng_state(), before)
    other = build_resizable(replace(CONFIG, seed=1), TASK)
    weights = [net.state_dict() for net in (first, again, other)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert not torch.equal(weights[0]["network.conv1.weight"], weights[2]["network.conv1.weight"])


def test_pictures_to_calibrate_by_are_plain_and_as_in_training() -> None:
    images = load_images(DataConfig(name="digits"), "train")
    task = Task.of(DataConfig(name="digits"), images)

    def chosen(pad: int, flip: bool) -> Calibration:
        config = replace(CONFIG, train=TrainSettings(epochs=1, pad=pad, flip=flip), calibration=40)
        return calibration_pictures(config, task, images)

    plain, still = chosen(0, False)
    known = task.normalized(images.fetch(torch.arange(len(images)))[0])
    assert plain.shape == (40, 1, 8, 8)
    assert all((one == known).flatten(1).all(1).any() for one in plain)
    assert torch.equal(still, plain)
    same_pictures, mirrored = chosen(0, True)
    assert torch.equal(same_pictures, plain)
    same = [torch.equal(one, other) for one, other in zip(plain, mirrored, strict=True)]
    back = [torch.equal(one, other.flip(2)) for one, other in zip(plain, mirrored, strict=True)]
    assert all(a or b for a, b in zip(same, back, strict=True))
    assert 5 < sum(same) < 35
    same_pictures, shifted = chosen(2, False)
    assert torch.equal(same_pictures, plain)
    moved = [not torch.equal(one, other) for one, other in zip(plain, shifted, strict=True)]
    assert sum(moved) > 30
    assert torch.equal(shifted, chosen(2, False).as_trained)
