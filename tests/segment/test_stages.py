from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tenfold.core.errors import UsageError
from tenfold.core.task import Task
from tenfold.segment import ConcentratedConv2d
from tenfold.segment.config import Config, NetSettings, TrainSettings
from tenfold.segment.stages import build_network, stages_of

LIGHT = ("c3net", "c3netv2", "espnet", "depthwise")
DILATED = ("drn-d-22", "drn-c-26", "drn-a-50", "deeplab-50")
SMALL = Config(net=NetSettings(depths=(1, 1), width=4), train=TrainSettings(encoder_epochs=1))
TASK = Task((3, 32, 48), tuple("abcdefgh"), (0.5,) * 3, (0.25,) * 3)


def concentrated(network: torch.nn.Module) -> int:
    return sum(isinstance(module, ConcentratedConv2d) for module in network.modules())


@pytest.mark.parametrize("name", [*LIGHT, *DILATED, *(f"{name}+c3" for name in DILATED)])
def test_every_name_is_a_network_of_the_classes(name: str) -> None:
    network = build_network(name, SMALL, TASK).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 3, 32, 48)).shape == (2, 8, 32, 48)
    if name in DILATED:
        assert concentrated(network) == 0
    if name.endswith("+c3"):
        assert concentrated(network) > 0
        dilated = [
            module
            for module in network.modules()
            if isinstance(module, torch.nn.Conv2d) and module.groups == 1 and max(module.dilation) > 1
        ]
        assert not dilated


def test_settings_reach_the_networks() -> None:
    def count(name: str, **settings: object) -> int:
        config = replace(SMALL, net=replace(SMALL.net, **settings))  # type: ignore[arg-type]
        return sum(parameter.numel() for parameter in build_network(name, config, TASK).parameters())

    assert all(count(name, depths=(1, 2)) > count(name) for name in LIGHT)
    assert all(count(name, rates=(2, 3, 7, 13)) != count(name) for name in ("c3net", "c3netv2"))
    assert all(count(name, width=8) > count(name) for name in DILATED)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("unet", r"networks has 'unet', but must be of c3net, .*deeplab-50, perhaps with \+c3$"),
        ("+c3", r"networks has '\+c3', but must be of"),
        ("", r"networks has '', but must be of"),
        ("espnet+c3+c3", r"networks has 'espnet\+c3\+c3', but must be of"),
        ("c3net+c3", r"networks has 'c3net\+c3', but c3net has no dense dilated convolution to exchange"),
    ],
)
def test_what_is_no_network_is_named(name: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        build_network(name, SMALL, TASK)


@pytest.mark.parametrize("name", ["c3net", "drn-d-22", "drn-d-22+c3"])
def test_weights_follow_from_the_seed_alone(name: str) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = build_network(name, SMALL, TASK).state_dict()
    assert torch.equal(torch.get_rng_state(), state)  # nobody else's numbers are used up
    torch.manual_seed(2)
    again = build_network(name, SMALL, TASK).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    other = build_network(name, replace(SMALL, seed=1), TASK).state_dict()
    assert any(not torch.equal(value, other[key]) for key, value in first.items())


def test_a_converted_network_begins_with_the_weights_of_the_original() -> None:
    plain = build_network("drn-d-22", SMALL, TASK).state_dict()
    converted = build_network("drn-d-22+c3", SMALL, TASK).state_dict()
    shared = plain.keys() & converted.keys()
    assert 0 < len(shared) < len(plain)
    assert all(torch.equal(plain[key], converted[key]) for key in shared)


def test_stages_are_encoder_then_whole_for_each_network_in_turn() -> None:
    networks = {name: build_network(name, SMALL, TASK) for name in ("espnet", "drn-d-22", "c3net")}
    assert [stage.name for stage in stages_of(SMALL, networks)] == [
        *("espnet encoder", "espnet", "drn-d-22", "c3net encoder", "c3net"),
    ]
    alone = replace(SMALL, train=TrainSettings(encoder_epochs=0))
    assert [stage.name for stage in stages_of(alone, networks)] == ["espnet", "drn-d-22", "c3net"]
    assert all(stage.whole for stage in stages_of(alone, networks))
