from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tenfold.nets import BasicBlock, ResNet, build_net
from tenfold.resize import ResizableNet, make_resizable
from tenfold.resize.statistics import POINTS, estimate_statistics, nearest_points

from .builders import CLASSES, assert_near, calibrated_net, dialled, pictures, plain

SCALES = (0.4, 0.43, 0.5, 0.57, 0.65, 0.7, 0.77, 0.8, 0.84, 0.9, 0.94, 0.96, 0.98, 1.0)


@pytest.fixture(scope="module")
def uncalibrated() -> ResizableNet:
    """Nobody may change it."""
    return dialled()


@pytest.fixture(scope="module")
def calibrated() -> ResizableNet:
    """Nobody may change it."""
    return calibrated_net()


def test_the_achieved_cost_is_the_requested_one_on_other_pictures(
    uncalibrated: ResizableNet, calibrated: ResizableNet
) -> None:
    held_out = pictures(256, seed=2)
    assert len(calibrated.blocks) >= 9
    assert uncalibrated.cost_report(held_out, scales=SCALES).largest_gap > 0.06
    assert calibrated.cost_report(held_out, scales=SCALES).largest_gap <= 0.03


def test_the_achieved_cost_never_falls_as_the_request_grows(calibrated: ResizableNet) -> None:
    scales = [step / 50 for step in range(15, 51)]
    achieved = [row.achieved for row in calibrated.cost_report(pictures(256, seed=1), scales=scales).rows]
    falls = [before - after for before, after in itertools.pairwise(achieved)]
    assert max(falls) <= 0.01
    assert achieved[-1] == 1.0


def test_batches_meet_the_request_as_nearly_as_whole_blocks_can(calibrated: ResizableNet) -> None:
    report = calibrated.cost_report(pictures(256, seed=2), scales=SCALES, mode="batch")
    assert report.largest_gap <= float(calibrated.block_costs.max()) / 2 + 0.03


def test_below_its_lowest_cost_everything_is_closed() -> None:
    net = dialled(build_net("resnet-14", classes=CLASSES, width=8)).calibrate(pictures(48))
    assert 0 < net.lowest_cost < 0.1
    outputs = net.outputs(pictures(16, seed=2), net.lowest_cost / 4)
    assert float(outputs.gates.mean()) < 0.1


def test_weights_stay_as_they_are(uncalibrated: ResizableNet, calibrated: ResizableNet) -> None:
    before = dict(uncalibrated.named_parameters())
    assert all(torch.equal(parameter, before[name]) for name, parameter in calibrated.named_parameters())
    assert calibrated.calibrated
    assert not uncalibrated.calibrated


def test_calibrating_twice_is_calibrating_once() -> None:
    images = pictures(64, seed=1)
    once = dialled(plain("resnet-14")).calibrate(images)
    twice = copy.deepcopy(once).calibrate(images)
    scales = (0.4, 0.55, 0.7, 0.85, 0.95)
    reports = [net.cost_report(images, scales=scales).rows for net in (once, twice)]
    for first, second in zip(*reports, strict=True):
        assert first.achieved == pytest.approx(second.achieved, abs=0.01)
    torch.testing.assert_close(once.statistics.means[-1], twice.statistics.means[-1], atol=1e-5, rtol=1e-5)


def test_the_mode_a_network_is_in_stays() -> None:
    net = dialled(plain("resnet-8")).train()
    assert net.calibrate(pictures(16)).training
    assert not net.eval().calibrate(pictures(16)).training


@pytest.mark.parametrize("count", [1, 2])
def test_few_pictures_do(count: int) -> None:
    net = dialled(plain("resnet-8")).calibrate(pictures(count))
    assert bool(net(pictures(4), 0.6).isfinite().all())


def test_stages_of_one_pixel_do() -> None:
    # a single kept picture of 1 x 1 has no variance
    network = ResNet(BasicBlock, (1, 1, 2, 2), classes=CLASSES, width=4, stem="half")
    net = dialled(network).calibrate(pictures(18, 16), batch_size=3)
    assert bool(net(pictures(4, 16), 0.6).isfinite().all())


def test_cost_by_blocks_is_calibrated_too() -> None:
    net = dialled(plain("resnet-14"), cost="blocks").calibrate(pictures(96, seed=1))
    assert net.cost_report(pictures(192, seed=2), scales=(0.45, 0.6, 0.8)).largest_gap <= 0.06


# the statistics of the norms


def first_mean(network: nn.Module) -> Tensor:
    """The running mean of the norm behind the stem, which no gate touches."""
    return network.get_buffer("bn1.running_mean")


def test_statistics_are_the_mean_over_batches() -> None:
    network = plain("resnet-8")
    batches = [pictures(8, seed=seed) for seed in range(3)]
    estimate_statistics(network, network, batches)
    seen = [network.conv1(batch).transpose(0, 1).flatten(1) for batch in batches]
    assert_near(first_mean(network), torch.stack([one.mean(1) for one in seen]).mean(0))
    assert_near(network.get_buffer("bn1.running_var"), torch.stack([one.var(1) for one in seen]).mean(0))
    assert not network.get_submodule("bn1").training
    assert network.get_submodule("bn1").momentum == 0.1


def test_a_norm_that_nothing_reaches_keeps_its_statistics() -> None:
    network, idle = plain("resnet-8"), nn.BatchNorm2d(3)
    assert idle.running_mean is not None
    idle.running_mean.fill_(7.0)
    estimate_statistics(nn.ModuleList([network, idle]), network, [pictures(8)])
    assert idle.running_mean.tolist() == [7.0] * 3


def test_every_scale_uses_the_statistics_of_the_nearest_point(calibrated: ResizableNet) -> None:
    net, x = copy.deepcopy(calibrated), pictures(4)
    for scale in (0.2, 0.53, 0.81, 1.0):
        net(x, scale)
        point = int(nearest_points(torch.tensor([scale])))
        assert POINTS[point] == min(POINTS, key=lambda one: abs(one - scale))
        assert torch.equal(first_mean(net.network), net.statistics.means[point][: len(first_mean(net.network))])
        last = net.network.get_buffer("layer3.2.block.bn2.running_mean")
        assert any(torch.equal(last, part) for part in net.statistics.means[point].unfold(0, len(last), 1))


def test_the_whole_network_is_the_wrapped_one_with_statistics_of_these_pictures(calibrated: ResizableNet) -> None:
    network, x = plain(), pictures(8, seed=3)
    estimate_statistics(network, network, pictures(256, seed=1).split(64))
    assert_near(calibrated(x, 1.0), network(x))
    assert_near(calibrated.full(x), network(x))


def test_statistics_are_of_one_set_of_pictures_and_thresholds_of_another() -> None:
    seen, trained = pictures(192, seed=1), 2 * pictures(192, seed=2) + 1
    net = dialled().calibrate(seen, as_trained=trained)
    whole = plain()
    estimate_statistics(whole, whole, trained.split(64))
    assert_near(net(seen[:8], 1.0), whole(seen[:8]))
    assert net.cost_report(seen, scales=(0.5, 0.65, 0.8)).largest_gap <= 0.01
    assert net.cost_report(trained, scales=(0.5, 0.65, 0.8)).largest_gap > 0.02


def test_points_differ_behind_gates_and_agree_before_them(calibrated: ResizableNet) -> None:
    means = calibrated.statistics.means
    stem = len(first_mean(calibrated.network))
    torch.testing.assert_close(means[:, :stem], means[:1, :stem].expand(len(POINTS), -1), atol=1e-5, rtol=1e-5)
    assert float((means[0, stem:] - means[-1, stem:]).abs().max()) > 0.05


def test_training_after_calibration_is_seen_by_the_next_calibration() -> None:
    net, x = dialled(plain("resnet-8")).calibrate(pictures(16)), pictures(16)
    net.train()
    net(x * 3 + 1, 1.0)
    trained = first_mean(net.network).clone()
    net.eval()
    net(x, 1.0)
    assert not torch.equal(first_mean(net.network), trained)
    net.calibrate(x * 3 + 1)
    net(x, 1.0)
    seen = net.network.get_submodule("conv1")(x * 3 + 1).mean((0, 2, 3)).detach()
    assert_near(first_mean(net.network), seen)


def test_a_network_without_batch_norm_is_calibrated() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 3, padding=1)

        def forward(self, x: Tensor) -> Any:
            return x + torch.relu(self.conv(x))

    network = nn.Sequential(nn.Conv2d(3, 8, 3), *(Block() for _ in range(9)), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net = dialled(network, norm="none").calibrate(pictures(64, 16, seed=1))
    assert net.cost_report(pictures(128, 16, seed=2), scales=(0.5, 0.77)).largest_gap <= 0.06


def test_an_uncalibrated_copy_has_no_statistics_of_its_own() -> None:
    net = make_resizable(plain("resnet-8"))
    assert not net.statistics.in_use
    assert not net.calibrated
