"""The gate against an implementation written here, its gradients, and the generations of its table."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tenfold.core.errors import UsageError
from tenfold.evolve import GeneticGate, GeneticSettings

HALF_OPEN = GeneticSettings(start_open=0.5, start_all_open=False)
DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def gate_of(rows: Sequence[Sequence[int]], *, axis: int = 1, elite: int = 0) -> GeneticGate:
    """A gate with these chromosomes."""
    gate = GeneticGate(len(rows[0]), population=len(rows), axis=axis)
    gate.chromosomes.copy_(torch.tensor(rows))
    gate.elite.fill_(elite)
    return gate


def looped(hidden: Tensor, chromosomes: Tensor, members: Sequence[int], axis: int) -> Tensor:
    """Each unit of each row taken over where its gene is open, and zero where not."""
    result = torch.zeros_like(hidden)
    for row, member in enumerate(members):
        for unit in range(chromosomes.shape[1]):
            if chromosomes[member, unit]:
                result[row : row + 1].select(axis, unit).copy_(hidden[row : row + 1].select(axis, unit))
    return result


def states_equal(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(
        ours[name].dtype == theirs[name].dtype and torch.equal(ours[name].nan_to_num(-1), theirs[name].nan_to_num(-1))
        for name in ours
    )


# the equation


def test_by_hand() -> None:
    gate = gate_of([[1, 0, 1], [0, 1, 1], [1, 1, 1]])
    hidden = torch.tensor([[2.0, 3.0, -5.0], [7.0, -11.0, 13.0]])
    assert gate(hidden).tolist() == [[2, 0, -5], [7, 0, 13]]
    assert gate(hidden, 1).tolist() == [[0, 3, -5], [0, -11, 13]]
    assert gate(hidden, torch.tensor([1, 0])).tolist() == [[0, 3, -5], [7, 0, 13]]
    gate.elite.fill_(1)
    assert gate(hidden).tolist() == [[0, 3, -5], [0, -11, 13]]
    assert gate.elite_genes.tolist() == [0, 1, 1]
    assert gate.genes_of(None).tolist() == [[0, 1, 1]]
    assert gate.genes_of(0).tolist() == [[1, 0, 1]]
    assert gate.genes_of(torch.tensor([2, 2, 0])).tolist() == [[1, 1, 1], [1, 1, 1], [1, 0, 1]]
    assert gate.diversity == pytest.approx((2 / 3 + 1 / 3 + 1 / 3) / 3)


@given(data=st.data(), axis=st.sampled_from([1, 2, 3, -1, -2, -3]), dtype=st.sampled_from(DTYPES))
@settings(max_examples=60, deadline=None)
def test_shapes_axes_and_precisions(data: st.DataObject, axis: int, dtype: torch.dtype) -> None:
    least = axis + 1 if axis > 0 else 1 - axis
    shape = data.draw(st.lists(st.integers(1, 4), min_size=least, max_size=4), label="shape")
    shape[0] = rows = data.draw(st.integers(0, 4), label="rows")
    size, seed = data.draw(st.integers(1, 5), label="size"), data.draw(st.integers(0, 99), label="seed")
    gate = GeneticGate(shape[axis], population=size, genetics=HALF_OPEN, seed=seed, axis=axis)
    hidden = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    each = data.draw(st.lists(st.integers(0, size - 1), min_size=rows, max_size=rows), label="members")
    found = gate(hidden, torch.tensor(each, dtype=torch.int64))
    assert (found.dtype, found.shape) == (dtype, hidden.shape)
    assert torch.equal(found, looped(hidden, gate.chromosomes, each, axis))
    for member in range(size):
        assert torch.equal(gate(hidden, member), looped(hidden, gate.chromosomes, [member] * rows, axis))
    assert torch.equal(gate(hidden), gate(hidden, 0))


def test_nan_of_one_row_stays_in_that_row() -> None:
    gate = gate_of([[1, 0, 1], [0, 1, 1]])
    hidden = torch.ones(3, 3)
    hidden[1] = torch.nan
    found = gate(hidden, torch.tensor([0, 1, 1]))
    assert found[[0, 2]].tolist() == [[1, 0, 1], [0, 1, 1]]
    assert found[1, 1:].isnan().all()


# gradients


@pytest.mark.parametrize("members", [None, 1, torch.tensor([0, 2, 1, 2])], ids=["elite", "one", "each"])
@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 5)])
def test_closed_units_get_no_gradient_and_open_ones_all_of_it(
    members: int | Tensor | None, shape: tuple[int, ...]
) -> None:
    gate = GeneticGate(6, population=3, genetics=HALF_OPEN, seed=3)
    hidden = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (gate(hidden, members).exp() * weights).sum().backward()
    ungated = hidden.detach().exp() * weights
    each = members.tolist() if isinstance(members, Tensor) else [members or 0] * 4
    is_open = gate.chromosomes[each].bool().view(4, 6, *[1] * (len(shape) - 2)).expand(shape)
    assert hidden.grad is not None
    assert 0 < int(is_open.sum()) < is_open.numel()
    assert (hidden.grad[~is_open] == 0).all()
    torch.testing.assert_close(hidden.grad[is_open], ungated[is_open], rtol=1e-12, atol=0)


def test_an_all_open_gate_is_no_gate() -> None:
    gate = GeneticGate(5)
    hidden = torch.randn(3, 5, requires_grad=True)
    found = gate(hidden)
    assert torch.equal(found, hidden)
    found.sin().sum().backward()
    assert hidden.grad is not None
    assert torch.equal(hidden.grad, hidden.detach().cos())


def test_it_has_buffers_and_no_parameters() -> None:
    gate = GeneticGate(5, population=7, seed=11)
    assert list(gate.parameters()) == []
    state = gate.state_dict()
    assert {name: (value.dtype, tuple(value.shape)) for name, value in state.items()} == {
        "chromosomes": (torch.uint8, (7, 5)),
        "fitness": (torch.float64, (7,)),
        "elite": (torch.int64, ()),
        "generation": (torch.int64, ()),
        "seed": (torch.int64, ()),
    }
    assert (len(gate), gate.genes, int(gate.elite), int(gate.generation), int(gate.seed)) == (7, 5, 0, 0, 11)
    assert gate.fitness.isnan().all()
    assert repr(gate) == "GeneticGate(genes=5, population=7, generation=0)"
    assert len(GeneticGate(5)) == 8
    low = gate.to(torch.bfloat16)
    assert low.chromosomes.dtype == torch.uint8
    assert low(torch.ones(2, 5, dtype=torch.bfloat16)).dtype == torch.bfloat16


# generations


def fitness_for(gate: GeneticGate) -> Tensor:
    """In how many places a chromosome is 1, 0, 1, 0, ...; many are equally fit."""
    return (gate.chromosomes != torch.arange(gate.genes) % 2).double().sum(1)


@pytest.mark.parametrize("selection", ["tournament", "roulette", "truncation", "random"])
def test_the_elite_is_never_lost(selection: Literal["tournament", "roulette", "truncation", "random"]) -> None:
    gate = GeneticGate(40, population=6, genetics=GeneticSettings(selection=selection, start_open=0.4), seed=2)
    reached = []
    for number in range(25):
        before, fitness = gate.chromosomes.clone(), fitness_for(gate)
        came_from = gate.evolve(fitness)
        assert fitness[came_from] == fitness.max()
        assert int(gate.elite) == 0
        assert torch.equal(gate.elite_genes, before[came_from])
        assert torch.equal(gate.chromosomes[0], before[came_from])
        assert torch.equal(gate.fitness, fitness)
        assert int(gate.generation) == number + 1
        assert gate.chromosomes.shape == before.shape
        assert (gate.chromosomes.sum(1) > 0).all()
        reached.append(float(fitness.max()))
    assert reached == sorted(reached)
    assert reached[-1] > reached[0]


def test_an_equal_one_does_not_replace_the_elite_and_a_better_one_does() -> None:
    rows = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    for elite in range(4):
        gate = gate_of(rows, elite=elite)
        assert gate.evolve([3, 3, 3, 3]) == elite
        assert gate.elite_genes.tolist() == rows[elite]
    gate = gate_of(rows, elite=1)
    assert gate.evolve([3, 3, 3.001, 3]) == 2
    gate = gate_of(rows, elite=1)
    assert gate.evolve([3, 2, 2, 3]) == 0
    gate = gate_of(rows, elite=1)
    gate.genetics = GeneticSettings(elites=4)
    assert gate.evolve([5, 7, 7, 6]) == 1
    assert gate.chromosomes.tolist() == [rows[1], rows[2], rows[3], rows[0]]


def test_fitness_goes_with_its_member_wherever_the_elite_is() -> None:
    rows = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    for elite in range(4):
        gate = gate_of(rows, elite=elite)
        gate.genetics = GeneticSettings(elites=4)
        assert gate.evolve([1, 4, 2, 3]) == 1
        assert gate.chromosomes.tolist() == [rows[1], rows[3], rows[2], rows[0]]
        assert gate.fitness.tolist() == [1, 4, 2, 3]


@pytest.mark.parametrize(
    "fitness",
    [
        [1, 0, 5],
        (1.0, 0.0, 5.0),
        torch.tensor([1, 0, 5]),
        torch.tensor([1.0, 0.0, 5.0], dtype=torch.bfloat16),
        torch.tensor([1.0, 0.0, 5.0], requires_grad=True),
    ],
    ids=["list", "tuple", "whole", "bfloat16", "graph"],
)
def test_fitness_of_any_kind(fitness: Sequence[float] | Tensor) -> None:
    gate, twin = GeneticGate(4, population=3, seed=1), GeneticGate(4, population=3, seed=1)
    assert gate.evolve(fitness) == 2
    twin.evolve([1.0, 0.0, 5.0])
    assert states_equal(gate, twin)
    assert not gate.fitness.requires_grad


def test_everything_follows_from_the_seed_and_nothing_from_the_global_generator() -> None:
    def tables(seed: int, global_seed: int) -> list[Tensor]:
        torch.manual_seed(global_seed)
        state = torch.random.get_rng_state()
        gate = GeneticGate(30, population=6, genetics=GeneticSettings(start_open=0.6), seed=seed)
        seen = [gate.chromosomes.clone()]
        for _ in range(3):
            gate.evolve(gate.chromosomes.sum(1))
            seen.append(gate.chromosomes.clone())
        assert torch.equal(torch.random.get_rng_state(), state)
        return seen

    first = tables(4, 0)
    assert all(torch.equal(one, other) for one, other in zip(first, tables(4, 1), strict=True))
    assert not any(torch.equal(one, other) for one, other in zip(first, tables(5, 0), strict=True))


def test_each_generation_of_each_seed_draws_anew() -> None:
    seen: list[Tensor] = []
    for seed in range(3):
        gate = GeneticGate(200, population=4, genetics=GeneticSettings(selection="random", start_open=0.5), seed=seed)
        for _ in range(3):
            others = gate.chromosomes[1:].clone()
            assert all(((others != earlier).float().mean() - 0.5).abs() < 0.1 for earlier in seen)
            seen.append(others)
            gate.evolve([0.0] * 4)


@pytest.mark.parametrize("genes", [1, 3])
def test_a_population_of_one_stays_as_it_is(genes: int) -> None:
    gate = GeneticGate(genes, population=1, genetics=GeneticSettings(mutation_rate=1.0), seed=5)
    before = gate.chromosomes.clone()
    assert gate.evolve([-2.5]) == 0
    assert torch.equal(gate.chromosomes, before)
    assert gate.diversity == 0


def test_a_deep_copy_is_another_population() -> None:
    gate = GeneticGate(9, population=5, genetics=HALF_OPEN, seed=1)
    twin = copy.deepcopy(gate)
    assert states_equal(gate, twin)
    before = gate.chromosomes.clone()
    twin.evolve([0, 1, 2, 3, 4])
    assert torch.equal(gate.chromosomes, before)
    assert int(gate.generation) == 0
    gate.evolve([0, 1, 2, 3, 4])
    assert states_equal(gate, twin)


# the state dict


@pytest.mark.parametrize("size", [1, 4, 6, 9])
@pytest.mark.parametrize("within", [False, True])
def test_a_saved_population_continues_as_if_it_had_never_stopped(size: int, within: bool) -> None:
    straight = GeneticGate(15, population=6, genetics=HALF_OPEN, seed=8)
    for _ in range(2):
        straight.evolve(fitness_for(straight))
    fresh = GeneticGate(15, population=size, genetics=HALF_OPEN, seed=99)
    net: nn.Module = nn.Sequential(nn.Linear(2, 15), fresh) if within else fresh
    saved = {f"1.{name}" if within else name: value.clone() for name, value in straight.state_dict().items()}
    missing, unexpected = net.load_state_dict(saved, strict=not within)
    assert (missing, unexpected) == (["0.weight", "0.bias"] if within else [], [])
    assert states_equal(straight, fresh)
    for _ in range(3):
        assert straight.evolve(fitness_for(straight)) == fresh.evolve(fitness_for(fresh))
        assert states_equal(straight, fresh)


def test_loading_does_not_share_memory() -> None:
    source, target = GeneticGate(7, population=5, genetics=HALF_OPEN, seed=1), GeneticGate(7, population=3)
    target.load_state_dict(source.state_dict())
    target.evolve(range(5))
    assert int(source.generation) == 0
    assert states_equal(source, GeneticGate(7, population=5, genetics=HALF_OPEN, seed=1))


def test_other_genes_are_not_taken() -> None:
    gate = GeneticGate(7, population=3, genetics=HALF_OPEN)
    before = copy.deepcopy(gate)
    with pytest.raises(RuntimeError, match="size mismatch for chromosomes"):
        gate.load_state_dict(GeneticGate(8, population=5).state_dict())
    assert len(gate) == 3
    assert torch.equal(gate.chromosomes, before.chromosomes)


# errors


@pytest.mark.parametrize(("genes", "population", "seed"), [(0, 8, 0), (-1, 8, 0), (4, 0, 0), (4, 8, -1)])
def test_sizes_that_make_no_population_are_refused(genes: int, population: int, seed: int) -> None:
    with pytest.raises(UsageError) as refused:
        GeneticGate(genes, population=population, seed=seed)
    sizes = f"{{'genes': {genes}, 'population': {population}, 'seed': {seed}}}"
    assert str(refused.value) == f"{sizes} must be at least 1, 1 and 0"


@pytest.mark.parametrize(("shape", "axis"), [((3, 5), 1), ((4, 3), 1), ((4,), 1), ((4,), -1), ((2, 4, 3), -1), ((), 1)])
def test_what_has_another_shape_cannot_be_gated(shape: tuple[int, ...], axis: int) -> None:
    with pytest.raises(UsageError) as refused:
        GeneticGate(4, axis=axis)(torch.zeros(shape))
    assert str(refused.value) == f"what is to be gated has shape {shape}, but must have 4 entries on axis {axis}"


@pytest.mark.parametrize(("shape", "axis"), [((3, 4), 2), ((3, 4), -3), ((4, 4), 0), ((2, 3, 4), 5)])
def test_what_has_no_such_axis_of_units_cannot_be_gated(shape: tuple[int, ...], axis: int) -> None:
    with pytest.raises(UsageError, match=rf"axis.* {axis}"):
        GeneticGate(4, population=4, axis=axis)(torch.zeros(shape), torch.zeros(shape[0], dtype=torch.int64))


@pytest.mark.parametrize("member", [-1, 3, 100])
def test_members_that_are_not_there_are_refused(member: int) -> None:
    gate, hidden = GeneticGate(4, population=3), torch.ones(2, 4)
    with pytest.raises(UsageError) as refused:
        gate(hidden, member)
    assert str(refused.value) == f"member is {member}, but must be 0 to 2"
    with pytest.raises(UsageError) as refused:
        gate(hidden, torch.tensor([1, member]))
    least, most = sorted((1, member))
    assert str(refused.value) == f"members are {least} to {most}, but must be 0 to 2"


@pytest.mark.parametrize(
    "members",
    [torch.tensor([1]), torch.zeros(3, dtype=torch.int64), torch.zeros(2, 1, dtype=torch.int64), torch.tensor(1)],
)
def test_members_must_be_one_for_each_row(members: Tensor) -> None:
    with pytest.raises(UsageError) as refused:
        GeneticGate(4, population=3)(torch.ones(2, 4), members)
    assert str(refused.value) == (
        f"members are torch.int64 of shape {tuple(members.shape)}, but must be int64, one for each of 2 rows"
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.uint8, torch.complex64])
def test_members_must_be_whole_numbers_and_no_mask(dtype: torch.dtype) -> None:
    """PyTorch takes a tensor of bool or uint8 for a mask of the rows that are meant, and so gives other rows."""
    members = torch.tensor([1, 0, 1]).to(dtype)
    with pytest.raises(UsageError) as refused:
        gate_of([[1, 0], [0, 1], [1, 1]])(torch.ones(3, 2), members)
    assert str(refused.value) == f"members are {dtype} of shape (3,), but must be int64, one for each of 3 rows"


@pytest.mark.parametrize(
    "fitness",
    [
        [1.0, 2.0],
        [1.0, 2.0, 3.0, 4.0],
        [],
        [1.0, float("nan"), 3.0],
        [1.0, float("inf"), 3.0],
        [1.0, float("-inf"), 3.0],
        [[1.0], [2.0], [3.0]],
    ],
)
def test_fitness_must_be_a_finite_number_of_each(fitness: list[Any]) -> None:
    gate = GeneticGate(4, population=3)
    before = copy.deepcopy(gate)
    with pytest.raises(UsageError) as refused:
        gate.evolve(fitness)
    assert str(refused.value) == f"fitness is {fitness}, but must be 3 finite numbers, one for each member"
    assert states_equal(gate, before)
