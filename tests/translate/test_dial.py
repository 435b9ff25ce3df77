"""A symmetrized network as an object: copies, files, threads, networks in networks, frozen ones, devices, compilers."""

from __future__ import annotations

import copy
import io
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.hooks import RemovableHandle

from tenfold.core.errors import UsageError
from tenfold.translate.attention import CONDITIONINGS, ConditioningName
from tenfold.translate.symmetrized import Symmetrized, symmetrize

from .networks import Meeting, mlp, normal, shaken, shares

each_kind = pytest.mark.parametrize("kind", CONDITIONINGS)
ONE, OTHER = [0.7, 0.2, 0.1], [0.0, 0.3, 0.7]


def model_of(kind: ConditioningName = "attention", *, at: tuple[str, ...] = ("0", "2")) -> Any:
    return shaken(symmetrize(mlp(), losses=3, at=at, conditioning=kind, reduction=1))


def inputs() -> Tensor:
    return normal(7, 5, 4)


class Turned(nn.Module):
    """A network with a dial inside, whose mixture it sets by itself."""

    def __init__(self, inner: Symmetrized) -> None:
        super().__init__()
        self.inner = inner
        self.head = nn.Linear(2, 3).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.inner(x, mix=[0.25, 0.75, 0.0]))


class Recomputing(nn.Module):
    """Computes a part anew on the way back, which spares memory."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.last = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(checkpoint(self.first, x, use_reentrant=False))


# copies and files


@each_kind
def test_a_copy_has_a_dial_and_weights_of_its_own(kind: ConditioningName) -> None:
    model, x = model_of(kind), inputs()
    wanted = model(x, mix=ONE)
    twin = copy.deepcopy(model)
    assert torch.equal(twin(x, mix=ONE), wanted)
    refused: list[bool] = []

    def call_the_copys_network(*_: Any) -> None:
        with pytest.raises(UsageError, match="called without a mixture"):
            twin.network(x)
        refused.append(True)

    handle = model.network.register_forward_pre_hook(call_the_copys_network)
    model(x, mix=ONE)
    handle.remove()
    assert refused == [True]
    for value in twin.parameters():
        value.data.zero_()
    assert torch.equal(model(x, mix=ONE), wanted)
    assert not torch.equal(twin(x, mix=ONE), wanted)


@each_kind
def test_pickles_and_files_give_the_same_network(kind: ConditioningName) -> None:
    model, x = model_of(kind), inputs()
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for twin in (pickle.loads(pickle.dumps(model)), torch.load(file, weights_only=False)):
        for mix in (ONE, OTHER):
            assert torch.equal(twin(x, mix=mix), model(x, mix=mix))
        torch.testing.assert_close(twin.float().freeze(ONE)(x.float()), model(x, mix=ONE).float())


def test_a_hook_put_to_a_loaded_network_does_not_replace_its_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = model_of(at=("0",)), inputs()
    data, number = pickle.dumps(model), next(iter(model.network[0]._forward_hooks))
    monkeypatch.setattr(RemovableHandle, "next_id", number)  # as another process may be at
    twin = pickle.loads(data)
    twin.network[0].register_forward_hook(lambda *_: None)
    assert torch.equal(twin(x, mix=ONE), model(x, mix=ONE))
    assert not torch.equal(twin(x, mix=ONE), twin(x, mix=OTHER))


@each_kind
def test_a_state_dict_carries_network_and_conditionings(kind: ConditioningName) -> None:
    model, x = model_of(kind), inputs()
    fresh = symmetrize(mlp(), losses=["a", "b", "c"], at=["0", "2"], conditioning=kind, reduction=1)
    assert not torch.equal(fresh(x, mix=ONE), model(x, mix=ONE))
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(x, mix=ONE), model(x, mix=ONE))


# threads and passes within passes


@each_kind
def test_two_threads_turn_one_dial_to_their_own_mixtures(kind: ConditioningName) -> None:
    meeting = Meeting()
    network = nn.Sequential(meeting, *mlp(), meeting)
    model: Any = shaken(symmetrize(network, losses=3, at=["1", "3"], conditioning=kind, reduction=1))
    x = inputs()
    wanted = [model(x, mix=mix) for mix in (ONE, OTHER)]
    assert not torch.equal(*wanted)
    meeting.barrier = threading.Barrier(2)  # both have set their mixtures before either reaches a site

    def turn(mix: list[float]) -> list[Tensor]:
        return [model(x, mix=mix) for _ in range(10)]

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(turn, (ONE, OTHER)))
    for all_of_one, own in zip(found, wanted, strict=True):
        assert all(torch.equal(one, own) for one in all_of_one)


def test_a_pass_within_a_pass_has_its_own_mixture() -> None:
    model, x = model_of(), inputs()
    wanted, within = model(x, mix=ONE), model(x, mix=OTHER)
    seen: list[Tensor] = []

    def again(*_: Any) -> None:
        if not seen:
            seen.append(torch.empty(0))
            seen.append(model(x, mix=OTHER))

    model.network[1].register_forward_hook(again)
    assert torch.equal(model(x, mix=ONE), wanted)
    assert torch.equal(seen[1], within)


def test_a_network_that_fails_leaves_no_mixture_behind() -> None:
    model = model_of()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        model(normal(0, 3, 5), mix=ONE)
    with pytest.raises(UsageError, match="called without a mixture"):
        model.network(inputs())


def test_recomputing_activations_on_the_way_back_is_refused_rather_than_done_under_another_mixture() -> None:
    model: Any = shaken(symmetrize(Recomputing().double(), losses=3, at=["first"], reduction=1))
    found = model(inputs(), mix=ONE)
    model(inputs(), mix=OTHER)
    with pytest.raises(UsageError, match="'first' was called without a mixture"):
        found.sum().backward()


@pytest.mark.parametrize("inner_kind", CONDITIONINGS)
def test_a_dial_in_a_dial(inner_kind: ConditioningName) -> None:
    inner, x = model_of(inner_kind), inputs().float()
    model: Any = shaken(symmetrize(Turned(inner), losses=2, at=["head", "inner.network.0"], reduction=1)).float()
    head, first = model.conditionings
    mix = torch.tensor([0.4, 0.6])
    rows, fixed = mix.expand(5, 2), torch.tensor([0.25, 0.75, 0.0]).expand(5, 3)

    def by_hand() -> Tensor:
        layers = [part.forward for part in inner.network]
        features = first(inner.conditionings[0](layers[0](x), fixed), rows)  # hooks in the order of their registration
        features = inner.conditionings[1](layers[2](layers[1](features)), fixed)
        return head(model.network.head.forward(layers[4](layers[3](features))), rows)

    wanted = by_hand()
    torch.testing.assert_close(model(x, mix=mix), wanted)
    frozen = model.freeze(mix)
    for value in model.parameters():
        value.data.mul_(0.5)
    torch.testing.assert_close(frozen(x), wanted)
    torch.testing.assert_close(model(x, mix=mix), by_hand())


# frozen networks


@each_kind
def test_freezing_is_a_copy_that_leaves_the_dial_working(kind: ConditioningName) -> None:
    model, x = model_of(kind).float(), inputs().float()
    wanted, other = model(x, mix=ONE), model(x, mix=OTHER)
    frozen, second = model.freeze(ONE), model.freeze(OTHER)
    assert torch.equal(model(x, mix=OTHER), other)
    for value in model.parameters():
        value.data.zero_()
    torch.testing.assert_close(frozen(x), wanted)
    torch.testing.assert_close(second(x), other)


@each_kind
def test_a_frozen_network_is_trained_saved_and_copied(kind: ConditioningName) -> None:
    model, x = model_of(kind).float(), inputs().float()
    frozen, fresh = model.freeze(ONE), model_of(kind).float().freeze(OTHER)
    fresh.load_state_dict(frozen.state_dict())
    for twin in (fresh, copy.deepcopy(frozen), pickle.loads(pickle.dumps(frozen))):
        assert torch.equal(twin(x), frozen(x))
        for value in twin.parameters():
            value.data.zero_()
        assert not torch.equal(twin(x), frozen(x))
    frozen(x).square().sum().backward()
    reached = [name for name, value in frozen.named_parameters() if value.grad is not None]
    assert reached == [name for name, _ in frozen.named_parameters()]
    assert any(name.startswith("blocks.") for name in reached)


def test_a_persons_own_hooks_keep_their_place() -> None:
    network, x = mlp(), inputs().float()
    seen: list[Tensor] = []
    network[0].register_forward_hook(lambda _m, _i, out: out + 1)
    model: Any = shaken(symmetrize(network, losses=3, at=["0"], reduction=1)).float()
    network[0].register_forward_hook(lambda _m, _i, out: seen.append(out))
    model(x, mix=ONE)
    model.freeze(ONE)(x)
    wanted = model.conditionings[0](network[0].forward(x) + 1, torch.tensor(ONE).expand(5, 3))
    assert len(seen) == 2
    for features in seen:
        torch.testing.assert_close(features, wanted)


# modes and devices


@each_kind
@pytest.mark.parametrize("training", [True, False])
def test_conditionings_and_blocks_are_in_the_networks_mode(kind: ConditioningName, training: bool) -> None:
    model = model_of(kind).train(training)
    assert {module.training for module in model.modules()} == {training}
    frozen = model.freeze(ONE)
    assert {module.training for module in frozen.network.modules()} == {training}
    assert {module.training for module in frozen.blocks} == {training}


def test_a_frozen_network_is_in_evaluation_mode_where_the_network_was() -> None:
    assert model_of().eval().freeze(ONE).training is False


def test_only_the_network_in_evaluation_stays_so() -> None:
    network = mlp().eval()
    model = symmetrize(network, losses=3, at=["0"], example=inputs())
    assert not any(module.training for module in network.modules())
    network[1].train()
    model.freeze(ONE)
    assert [module.training for module in network] == [False, True, False, False, False]


@each_kind
@pytest.mark.parametrize("with_example", [True, False])
def test_conditionings_are_where_the_network_is(kind: ConditioningName, with_example: bool) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, device="meta", dtype=torch.bfloat16))
    x = torch.zeros(2, 3, 6, 6, device="meta", dtype=torch.bfloat16)
    example = x if with_example else None
    model: Any = symmetrize(network, losses=3, at=["0"], conditioning=kind, example=example)
    assert {(value.device.type, value.dtype) for value in model.parameters()} == {("meta", torch.bfloat16)}
    for mix in (ONE, torch.tensor(ONE), torch.rand(3, 6, 6), torch.rand(2, 3)):  # on the CPU
        found = model(x, mix=mix)
        assert (found.device.type, found.dtype, found.shape) == ("meta", torch.bfloat16, (2, 8, 4, 4))
    assert {value.device.type for value in model.freeze(ONE).state_dict().values()} == {"meta"}


def test_a_network_without_parameters_is_conditioned_too() -> None:
    model: Any = symmetrize(nn.Sequential(nn.Flatten()), losses=2, at=["0"], example=torch.zeros(1, 2, 3))
    x = normal(0, 4, 2, 3).float()
    wanted = model.conditionings[0](x.flatten(1), torch.tensor([0.5, 0.5]).expand(4, 2))
    torch.testing.assert_close(model(x, mix=[0.5, 0.5]), wanted)


# compilers


@each_kind
def test_a_symmetrized_network_is_compiled_whole(kind: ConditioningName) -> None:
    torch.compiler.reset()
    model, x = model_of(kind), inputs()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for mix in (torch.tensor(ONE), torch.tensor(OTHER), shares(1, 5, 3)):
        torch.testing.assert_close(compiled(x, mix=mix), model(x, mix=mix))
    with pytest.raises(UsageError, match="called without a mixture"):
        model.network(x)


def test_a_compiled_network_takes_numbers() -> None:
    torch.compiler.reset()
    model, x = model_of(), inputs()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, mix=ONE), model(x, mix=ONE))


@each_kind
def test_a_frozen_network_is_compiled_whole(kind: ConditioningName) -> None:
    torch.compiler.reset()
    frozen, x = model_of(kind).float().freeze(ONE), inputs().float()
    compiled = torch.compile(frozen, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), frozen(x))
