"""Populations of other people's networks against loops over masks written here, extraction, copies, and that they learn."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.errors import UsageError
from tenfold.evolve import GeneticGate, GeneticSettings, Population

HALF_OPEN = GeneticSettings(start_open=0.5, start_all_open=False)
DTYPES = (torch.float32, torch.float64, torch.bfloat16)


class Residual(nn.Module):
    """Small, with names within names and a norm, over (B, 3, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(5, 5, 3, padding=1), nn.Dropout(0.5))
        self.head = nn.Linear(5, 2)

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)
        return self.head((features + self.block(features)).mean((2, 3)))


class Sequences(nn.Module):
    """Over (B, T, 4): linear layers and attention across the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.outside = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, steps: Tensor) -> Tensor:
        hidden = self.inside(steps).tanh()
        return self.outside((hidden @ hidden.transpose(1, 2)).softmax(-1) @ hidden)


def perceptron(outputs: int = 2, width: int = 7) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))


Case = tuple[Callable[[], nn.Module], dict[str, int], tuple[int, ...], bool]
"""how the network is built, what is gated and its width, the shape of an input, and whether an example is needed"""
CASES: dict[str, Case] = {
    "perceptron": (perceptron, {"2": 7}, (4,), False),
    "two layers": (perceptron, {"0": 7, "2": 7}, (4,), False),
    "in other order": (perceptron, {"2": 7, "0": 7}, (4,), False),
    "convolutions": (Residual, {"features.0": 5, "block.0": 5}, (3, 5, 6), False),
    "norm and dropout": (Residual, {"head": 2, "block.1": 5, "features.1": 5}, (3, 5, 6), True),
    "activation": (Residual, {"features.2": 5}, (3, 5, 6), True),
    "sequences": (Sequences, {"outside": 3, "inside": 6}, (3, 4), False),
}
every_case = pytest.mark.parametrize("name", CASES)


def populated(name: str) -> tuple[Population, Tensor]:
    """A population of a case, in evaluation, and inputs for it."""
    build, at, shape, by_example = CASES[name]
    torch.manual_seed(1)
    net, inputs = build().double().eval(), torch.randn(6, *shape, dtype=torch.float64)
    example = inputs[:2] if by_example else None
    return Population(net, at=list(at), size=5, genetics=HALF_OPEN, seed=1, example=example), inputs


def by_hand(name: str, inputs: Tensor, chromosome: Tensor) -> Tensor:
    """The same network anew, with masks that hooks of this test put on, one after another along the chromosome."""
    build, at, _, _ = CASES[name]
    torch.manual_seed(1)
    net = build().double().eval()
    for (place, width), genes in zip(at.items(), chromosome.double().split(list(at.values())), strict=True):
        module = net.get_submodule(place)
        mask = genes if isinstance(module, nn.Linear) else genes.view(width, 1, 1)
        module.register_forward_hook(lambda _module, _inputs, output, mask=mask: output * mask)
    return net(inputs)


# the equation


@every_case
@torch.no_grad()
def test_each_member_is_the_network_under_its_own_masks(name: str) -> None:
    population, inputs = populated(name)
    alone = torch.stack([by_hand(name, inputs, genes) for genes in population.gate.chromosomes])
    assert len({tuple(outputs.flatten().tolist()) for outputs in alone}) > 1
    own = GeneticGate(population.gate.genes, population=5, genetics=HALF_OPEN, seed=1)
    assert torch.equal(population.gate.chromosomes, own.chromosomes)
    for member, wanted in enumerate(alone):
        torch.testing.assert_close(population(inputs, members=member), wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(population.everyone(inputs), alone, rtol=1e-12, atol=1e-12)
    for members in ([0, 1, 2, 3, 4, 0], [3, 3, 0, 4, 4, 1]):
        mixed = population(inputs, members=torch.tensor(members))
        torch.testing.assert_close(mixed, alone[members, range(6)], rtol=1e-12, atol=1e-12)
    for elite in (0, 3):
        population.gate.elite.fill_(elite)
        torch.testing.assert_close(population.net(inputs), alone[elite], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(population(inputs), alone[elite], rtol=1e-12, atol=1e-12)


class Product(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(2, 5), nn.Linear(3, 5)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.left(left) * self.right(right)


def test_a_network_may_have_several_inputs() -> None:
    population = Population(Product(), at=["right", "left"], size=4, genetics=HALF_OPEN)
    found = population.everyone(torch.randn(3, 2), torch.randn(3, 3))
    open_in_both = population.gate.chromosomes[:, :5] & population.gate.chromosomes[:, 5:]
    assert torch.equal(found != 0, open_in_both[:, None].bool().expand(4, 3, 5))


@given(rows=st.integers(0, 4), size=st.integers(1, 5), dtype=st.sampled_from(DTYPES), data=st.data())
@settings(max_examples=25, deadline=None)
def test_shapes_and_precisions(rows: int, size: int, dtype: torch.dtype, data: st.DataObject) -> None:
    population = Population(Sequences().to(dtype), at=["inside"], size=size, genetics=HALF_OPEN, seed=rows)
    steps = data.draw(st.integers(1, 3))
    inputs = torch.randn(rows, steps, 4).to(dtype)
    together = population.everyone(inputs)
    assert (together.dtype, together.shape) == (dtype, (size, rows, steps, 3))
    members = data.draw(st.lists(st.integers(0, size - 1), min_size=rows, max_size=rows))
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 0.05}[dtype]
    each = population(inputs, members=torch.tensor(members, dtype=torch.int64))
    torch.testing.assert_close(each, together[members, range(rows)], rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(population(inputs), together[0], rtol=tolerance, atol=tolerance)


def test_nan_of_one_row_stays_in_that_row() -> None:
    population, inputs = populated("two layers")
    members = torch.tensor([4, 3, 2, 1, 0, 2])
    wanted = population(inputs, members=members)
    inputs[1] = torch.nan
    found = population(inputs, members=members)
    keep = [0, 2, 3, 4, 5]
    assert torch.equal(found[keep], wanted[keep])
    assert found[1].isnan().all()


# gradients


@pytest.mark.parametrize("members", [None, 2, torch.tensor([1, 2, 2, 1, 1, 2])], ids=["elite", "one", "each"])
def test_weights_of_closed_units_get_no_gradient(members: int | Tensor | None) -> None:
    population, inputs = populated("two layers")
    for ours, theirs in zip(population.parameters(), population.net.parameters(), strict=True):
        assert ours is theirs
    population(inputs, members=members).square().sum().backward()
    chosen = population.gate.chromosomes[torch.as_tensor(population.gate.elite if members is None else members)]
    is_open = chosen.view(-1, 14).bool().any(0)
    first, second, last = (population.net.get_submodule(name) for name in ("0", "2", "4"))
    for layer, reader, part in ((first, second, is_open[:7]), (second, last, is_open[7:])):
        assert 0 < int(part.sum()) < 7
        assert (layer.weight.grad[~part] == 0).all()
        assert (layer.bias.grad[~part] == 0).all()
        assert (reader.weight.grad[:, ~part] == 0).all()
    assert (last.bias.grad != 0).all()


def test_gradients_of_an_open_network_are_the_networks_own() -> None:
    torch.manual_seed(0)
    plain, images = Residual().eval(), torch.randn(4, 3, 5, 5)
    population = Population(copy.deepcopy(plain), at=["features.0", "block.0"])
    for net in (plain, population):
        net(images).square().sum().backward()
    for ours, theirs in zip(population.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)


# extraction and copies


@every_case
@torch.no_grad()
def test_an_extracted_member_is_that_member_and_nothing_of_the_population(name: str) -> None:
    population, inputs = populated(name)
    wanted = population.everyone(inputs)
    population.gate.elite.fill_(2)
    untouched = copy.deepcopy(population.state_dict())
    for member in (None, *range(5)):
        extracted = population.extract(member)
        torch.testing.assert_close(extracted(inputs), wanted[2 if member is None else member], rtol=1e-12, atol=1e-12)
        assert type(extracted) is type(population.net)
        held = pickle.dumps(extracted)
        assert b"FixedGate" in held
        assert b"Population" not in held
        assert b"GeneticGate" not in held
        for parameter in extracted.parameters():
            parameter.zero_()
    extracted = population.extract(1)
    population.evolve([0, 1, 2, 3, 4])
    torch.testing.assert_close(extracted(inputs), wanted[1], rtol=1e-12, atol=1e-12)
    for place, value in population.state_dict().items():
        assert not place.startswith("net.") or torch.equal(value, untouched[place])


@pytest.mark.parametrize("at", [("0.0", "0"), ("0", "0.0")])
def test_a_gated_module_within_another_is_extracted(at: tuple[str, str]) -> None:
    net, inputs = nn.Sequential(nn.Sequential(nn.Linear(4, 7), nn.Linear(7, 7)), nn.Linear(7, 2)), torch.randn(3, 4)
    population = Population(net, at=at, size=4, genetics=HALF_OPEN, example=inputs)
    for member in range(4):
        torch.testing.assert_close(population.extract(member)(inputs), population(inputs, members=member))


def test_hooks_of_others_are_extracted_too() -> None:
    net, inputs = perceptron(), torch.randn(3, 4)
    net[0].register_forward_hook(lambda _module, _inputs, output: output + 1)
    population = Population(net, at=["0"], size=3, genetics=HALF_OPEN)
    torch.testing.assert_close(population.extract(1)(inputs), population(inputs, members=1))


@pytest.mark.parametrize("training", [True, False])
def test_an_extracted_member_is_in_the_networks_mode(training: bool) -> None:
    population, _ = populated("norm and dropout")
    extracted = population.train(training).extract(1)
    assert {module.training for module in extracted.modules()} == {training}


@torch.no_grad()
def test_a_deep_copy_gates_by_its_own_genes() -> None:
    population, inputs = populated("two layers")
    before = population.everyone(inputs)
    twin = copy.deepcopy(population)
    assert torch.equal(twin.everyone(inputs), before)
    twin.evolve([0, 1, 2, 3, 4])
    assert not torch.equal(twin.everyone(inputs), before)
    assert torch.equal(twin(inputs), before[4])
    assert torch.equal(twin.net(inputs), before[4])
    assert torch.equal(population.everyone(inputs), before)
    population.gate.chromosomes.zero_()
    for parameter in population.parameters():
        parameter.zero_()
    assert torch.equal(twin(inputs), before[4])


# what it takes


def modes(net: nn.Module) -> list[bool]:
    return [module.training for module in net.modules()]


def test_an_example_tells_the_widths_and_leaves_no_trace() -> None:
    net, images = Residual().train(), torch.randn(2, 3, 4, 4)
    net.block.eval()
    state, before, random = copy.deepcopy(net.state_dict()), modes(net), torch.random.get_rng_state()
    with pytest.raises(RuntimeError):
        Population(net, at=["features.2"], example=images[:, :2])
    assert not any(module._forward_hooks for module in net.modules())
    population = Population(net, at=["features.2", "block.1", "head"], example=images)
    assert population.gate.genes == 12
    assert modes(net) == before
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert sorted(len(module._forward_hooks) for module in net.modules())[-4:] == [0, 1, 1, 1]
    population.evolve(range(8))
    population.extract()
    assert torch.equal(torch.random.get_rng_state(), random)


def refusal(net: nn.Module, at: Sequence[str], *, size: int = 8, example: Tensor | None = None) -> str:
    """What is said; and the network is as it was."""
    with pytest.raises(UsageError) as refused:
        Population(net, at=at, size=size, example=example)
    assert not any(module._forward_hooks for module in net.modules())
    assert all(modes(net))
    return str(refused.value)


def test_modules_that_cannot_be_gated_are_refused() -> None:
    net = perceptron()
    names = "but must name modules of Sequential: 0, 1, 2, 3, 4"
    assert refusal(net, ["0", "5"]) == f"at has '5', {names}"
    assert refusal(net, [""]) == f"at has '', {names}"
    once = "but must name at least one module, and none twice"
    assert refusal(net, []) == f"at is (), {once}"
    assert refusal(net, ["0", "2", "0"]) == f"at is ('0', '2', '0'), {once}"
    assert refusal(net, ["0", "1"]) == (
        "how many units 0, 1 put out cannot be read off their modules: give an example of the inputs"
    )
    assert refusal(net, ["0"], size=0) == "{'genes': 7, 'population': 0, 'seed': 0} must be at least 1, 1 and 0"
    net[0].spare = nn.ReLU()
    uncalled = refusal(net, ["1", "0.spare"], example=torch.zeros(1, 4))
    assert uncalled == "at has '0.spare', which the net did not call for the example"


class Wrong(nn.Module):
    """Tells another width than it has."""

    num_features = 3

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs


@pytest.mark.parametrize("true", [4, 1])
def test_outputs_of_another_width_than_expected_are_refused(true: int) -> None:
    """Of one unit the product would silently make three."""
    population = Population(nn.Sequential(Wrong()), at=["0"])
    with pytest.raises(UsageError, match=rf"{true}.* 3"):
        population(torch.ones(2, true))


def test_outputs_that_are_no_tensor_are_refused() -> None:
    message = refusal(nn.Sequential(nn.LSTM(4, 3)), ["0"], example=torch.zeros(2, 4))
    assert "tuple" in message


# members


def test_members_that_do_not_fit_are_refused_and_the_elite_is_back() -> None:
    population, inputs = populated("perceptron")
    elite = population(inputs)
    calls: dict[str, Callable[[], object]] = {
        "member is 5, but must be 0 to 4": lambda: population(inputs, members=5),
        "member is -1, but must be 0 to 4": lambda: population.extract(-1),
        "members are 0 to 5, but must be 0 to 4": lambda: population(inputs, members=torch.arange(6)),
    }
    for count in (0, 2, 7):
        each = torch.ones(count, dtype=torch.int64)
        message = f"members are {count}, but 2 has 6 rows: one for each is needed"
        calls[message] = lambda each=each: population(inputs, members=each)
    for message, call in calls.items():
        with pytest.raises(UsageError) as refused:
            call()
        assert str(refused.value) == message
        assert torch.equal(population.net(inputs), elite)
        assert torch.equal(population(inputs), elite)


def test_one_member_in_a_tensor_is_not_one_for_each_row() -> None:
    population, inputs = populated("perceptron")
    torch.testing.assert_close(population(inputs[:1], members=torch.tensor([3])), population(inputs[:1], members=3))
    with pytest.raises(UsageError) as refused:
        population(inputs, members=torch.tensor([3]))
    assert str(refused.value) == "members are 1, but 2 has 6 rows: one for each is needed"


@pytest.mark.parametrize("members", [torch.ones(6), torch.ones(6, 1, dtype=torch.int64), torch.tensor(1)])
def test_members_of_another_kind_are_refused_in_words(members: Tensor) -> None:
    population, inputs = populated("perceptron")
    with pytest.raises(UsageError) as refused:
        population(inputs, members=members)
    assert str(refused.value).startswith(f"members are {members.dtype} of shape {tuple(members.shape)}, but must be")
    assert "None" not in str(refused.value)


# learning, and going on


def fitness_of(population: Population, inputs: Tensor, targets: Tensor) -> Tensor:
    with torch.no_grad():
        return -(population.everyone(inputs) - targets).square().flatten(1).mean(1)


def hidden_task(seed: int) -> tuple[nn.Sequential, Tensor, Tensor]:
    """A network, and what one half of its units makes of some inputs."""
    torch.manual_seed(seed)
    net, inputs = perceptron(outputs=3, width=16).double(), torch.randn(64, 4).double()
    half = torch.arange(16) % 2
    with torch.no_grad():
        targets = net[4](net[3](net[2](net[1](net[0](inputs)))) * half)
    return net, inputs, targets


def test_generations_find_the_units_that_matter() -> None:
    ends: dict[str, float] = {}
    for selection in ("tournament", "roulette", "truncation", "random"):
        left = []
        for seed in range(5):
            net, inputs, targets = hidden_task(seed)
            chosen = GeneticSettings(selection=selection, start_open=0.7)
            population = Population(net, at=["2"], size=12, genetics=chosen, seed=seed)
            errors: list[float] = []
            for _ in range(25):
                fitness = fitness_of(population, inputs, targets)
                errors.append(-float(fitness.max()))
                assert population.evolve(fitness) == int(fitness.argmax())
            assert all(later <= earlier + 1e-12 for earlier, later in pairwise(errors))
            left.append(errors[-1] / errors[0])
        ends[selection] = sum(left) / len(left)
    assert max(ends[selection] for selection in ("tournament", "roulette", "truncation")) < 0.3, ends
    assert max(ends, key=lambda selection: ends[selection]) == "random", ends


@pytest.mark.parametrize("seed", range(3))
def test_weights_and_generations_learn_together(seed: int) -> None:
    torch.manual_seed(seed)
    inputs = torch.randn(96, 4)
    targets = (inputs[:, :1] * inputs[:, 1:2]).tanh().expand(96, 2)
    population = Population(perceptron(width=24), at=["2"], size=6, genetics=GeneticSettings(start_open=0.8), seed=seed)
    optimiser = torch.optim.Adam(population.parameters(), lr=0.01)
    first = fitness_of(population, inputs, targets)[0]
    for step in range(200):
        optimiser.zero_grad()
        F.mse_loss(population(inputs, members=torch.arange(96) % 6 if step % 2 else None), targets).backward()
        optimiser.step()
        if step % 20 == 19:
            population.evolve(fitness_of(population, inputs, targets))
    assert fitness_of(population, inputs, targets)[0] > first / 4
    assert int(population.gate.generation) == 10


@pytest.mark.parametrize("size", [12, 5])
def test_a_saved_population_continues_as_if_it_had_never_stopped(size: int) -> None:
    net, inputs, targets = hidden_task(0)
    straight = Population(net, at=["0", "2"], size=12, genetics=HALF_OPEN, seed=3)
    for _ in range(3):
        straight.evolve(fitness_of(straight, inputs, targets))
    fresh = Population(hidden_task(1)[0], at=["0", "2"], size=size, genetics=HALF_OPEN, seed=9)
    fresh.load_state_dict({name: value.clone() for name, value in straight.state_dict().items()})
    for _ in range(3):
        ours, theirs = (fitness_of(population, inputs, targets) for population in (straight, fresh))
        assert torch.equal(ours, theirs)
        assert straight.evolve(ours) == fresh.evolve(theirs)
        assert torch.equal(straight.gate.chromosomes, fresh.gate.chromosomes)
    assert int(fresh.gate.generation) == 6
