from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tenfold.core.errors import UsageError
from tenfold.distill.pairs import Pair, Pairs, pair_positions
from tenfold.distill.positions import Position
from tenfold.nets import build_net

from .handmade import Handmade, images


def pairs_of(
    teacher: nn.Module, student: nn.Module, names: Sequence[str | tuple[str, str]] | None = None
) -> list[tuple[str, str]]:
    found = pair_positions(teacher, student, images(32), names)
    return [(of_teacher.name, of_student.name) for of_teacher, of_student in found]


def test_positions_are_matched_from_the_deep_end() -> None:
    three = build_net("resnet-8", classes=5, width=4)
    two = build_net("wrn-10-1", classes=5, width=4, blocks=(1, 1))
    assert pairs_of(three, two) == [("layer2.0.relu#2", "layer2.0.relu"), ("layer3.0.relu#2", "final.1")]
    assert pairs_of(two, three) == [("layer2.0.relu", "layer2.0.relu#2"), ("final.1", "layer3.0.relu#2")]
    assert pairs_of(three, three) == [(f"layer{stage}.0.relu#2",) * 2 for stage in (1, 2, 3)]


def test_named_positions_are_matched_as_they_are_named() -> None:
    teacher, student = build_net("resnet-8", classes=5, width=4), build_net("wrn-10-1", classes=5, width=4)
    names = [("layer3", "final.1"), "layer1.0.relu", ("layer1", "layer3")]
    assert pairs_of(teacher, student, names) == [
        ("layer3.0.relu#2", "final.1"),
        ("layer1.0.relu", "layer1.0.relu"),
        ("layer1.0.relu#2", "layer3"),
    ]


def test_names_are_looked_for_in_the_network_they_belong_to() -> None:
    teacher, student = build_net("resnet-8", classes=5, width=4), build_net("wrn-10-1", classes=5, width=4)
    with pytest.raises(
        UsageError, match=r"^'final.1' is not a module or a ReLU of it; ResNet has the ReLUs relu, layer1"
    ):
        pairs_of(teacher, student, [("final.1", "layer1")])
    with pytest.raises(UsageError, match=r"^'layer1.0.relu#3' is not .* has the ReLUs layer1"):
        pairs_of(teacher, student, [("layer1", "layer1.0.relu#3")])


def test_an_empty_list_is_refused() -> None:
    network = build_net("resnet-8", classes=5, width=4)
    with pytest.raises(UsageError, match=r"^positions is empty, but must name at least one$"):
        pairs_of(network, network, [])


def noisy(net: Any, x: Tensor) -> Tensor:
    x = net.relu(net.norm(net.b(net.relu(net.a(x)))))
    return net.relu(net.other(nn.functional.dropout(net.down(x), training=net.training)))


@pytest.mark.parametrize("failing", [False, True])
def test_pairing_changes_neither_network_nor_the_random_numbers(failing: bool) -> None:
    networks = [Handmade(noisy), Handmade(noisy)]
    for network in networks:
        network.train()
        network.norm.eval()
    before = [{name: value.clone() for name, value in network.state_dict().items()} for network in networks]
    flags = [[module.training for module in network.modules()] for network in networks]
    torch.manual_seed(0)
    noise = torch.get_rng_state()
    if failing:
        with pytest.raises(UsageError):
            pairs_of(*networks, ["nowhere"])
    else:
        assert pairs_of(*networks) == [("relu#2", "relu#2"), ("relu#3", "relu#3")]
    assert torch.equal(torch.get_rng_state(), noise)
    for network, state, training in zip(networks, before, flags, strict=True):
        assert [module.training for module in network.modules()] == training
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
        assert network.norm.track_running_stats


def test_a_student_is_looked_at_as_it_trains_and_a_teacher_as_it_teaches() -> None:
    def steps(net: Any, x: Tensor) -> Tensor:
        x = net.relu(net.a(x)) if net.training else net.a(x)
        return net.relu(net.b(net.inplace(x)))

    teacher, student = Handmade(steps).train(), Handmade(steps).eval()
    ((of_teacher, of_student),) = pair_positions(teacher, student, images(), ["inplace"])
    assert (of_teacher.relu, of_student.relu) == (0, 1)


def test_pairs_print_as_a_table() -> None:
    wide = Position("layer1.0.relu#2", (256, 16, 16), 3, "", None, True)
    narrow = Position("a", (8, 4, 4), None, "a", None, False)
    table = str(Pairs([Pair(wide, narrow, 0.5, "bn of the residual branch"), Pair(narrow, wide, 1.0, "data")]))
    assert table.splitlines() == [
        "teacher          C x H x W      student          C x H x W      margin                     weight",
        "layer1.0.relu#2  256 x 16 x 16  a                8 x 4 x 4      bn of the residual branch  0.5",
        "a                8 x 4 x 4      layer1.0.relu#2  256 x 16 x 16  data                       1",
    ]
