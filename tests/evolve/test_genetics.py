"""The operators of a generation against theory, by counts of many draws, and what holds for every generation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any, Literal, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tenfold.core.errors import UsageError
from tenfold.evolve.config import GeneticSettings
from tenfold.evolve.genetics import crossover, diversity, first_generation, mutate, next_generation, select

Selection = Literal["tournament", "roulette", "truncation", "random"]
Crossing = Literal["uniform", "one-point"]
SELECTIONS: tuple[Selection, ...] = get_args(Selection)
PARENTED: tuple[Selection, ...] = ("tournament", "roulette", "truncation")
CROSSINGS: tuple[Crossing, ...] = get_args(Crossing)
MANY = 40_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(size: int, genes: int, seed: int = 0) -> Tensor:
    """Chromosomes of which none is all closed."""
    chromosomes = torch.randint(2, (size, genes), generator=seeded(seed), dtype=torch.uint8)
    chromosomes[chromosomes.sum(1) == 0, 0] = 1
    return chromosomes


def assert_frequencies(found: Tensor, expected: Tensor, draws: int) -> None:
    """Shares of independent draws lie within five standard deviations of their probabilities."""
    tolerance = 5 * (expected * (1 - expected) / draws).sqrt() + 1e-12
    assert ((found - expected).abs() <= tolerance).all(), (found, expected)


def frequencies(members: Tensor, size: int) -> Tensor:
    return torch.bincount(members, minlength=size).double() / len(members)


# the first generation


@pytest.mark.parametrize("start_open", [0.1, 0.5, 0.9])
def test_genes_of_the_first_generation_are_open_as_often_as_asked(start_open: float) -> None:
    chosen = GeneticSettings(start_open=start_open, start_all_open=False)
    chromosomes = first_generation(200, 500, chosen, seeded())
    assert chromosomes.dtype == torch.uint8
    assert chromosomes.shape == (200, 500)
    assert set(chromosomes.unique().tolist()) == {0, 1}
    expected = torch.tensor(start_open, dtype=torch.float64)
    assert_frequencies(chromosomes.double().mean(), expected, chromosomes.numel())
    assert_frequencies(chromosomes.double().mean(0), expected, 200)
    assert_frequencies(chromosomes.double().mean(1), expected, 500)


def test_only_the_first_member_can_be_the_whole_network() -> None:
    whole = first_generation(9, 50, GeneticSettings(start_open=0.5), seeded())
    partial = first_generation(9, 50, GeneticSettings(start_open=0.5, start_all_open=False), seeded())
    assert (whole[0] == 1).all()
    assert not (partial == 1).all(1).any()
    assert torch.equal(whole[1:], partial[1:])
    assert (first_generation(9, 50, GeneticSettings(start_open=1.0, start_all_open=False), seeded()) == 1).all()


def test_a_chromosome_without_an_open_gene_gets_one_anywhere() -> None:
    chosen = GeneticSettings(start_open=1e-12, start_all_open=False)
    chromosomes = first_generation(MANY, 4, chosen, seeded())
    assert (chromosomes.sum(1) == 1).all()
    assert_frequencies(chromosomes.double().mean(0), torch.full((4,), 0.25, dtype=torch.float64), MANY)


# selection

FITNESS = torch.tensor([-3.0, 1.0, 0.0, 5.0, -1.0], dtype=torch.float64)


def tournament_by_theory(fitness: Tensor, entrants: int) -> Tensor:
    """The best of k is the member that r others beat with probability ((N-r)^k - (N-r-1)^k) / N^k."""
    size = len(fitness)
    beaten_by = torch.tensor([int((fitness > value).sum()) for value in fitness], dtype=torch.float64)
    return ((size - beaten_by) ** entrants - (size - beaten_by - 1) ** entrants) / size**entrants


@pytest.mark.parametrize("entrants", [1, 2, 3, 7])
def test_a_tournament_is_won_by_the_best_of_those_drawn(entrants: int) -> None:
    chosen = GeneticSettings(selection="tournament", tournament_size=entrants)
    found = frequencies(select(FITNESS, MANY, chosen, seeded()), 5)
    assert_frequencies(found, tournament_by_theory(FITNESS, entrants), MANY)


def test_the_roulette_is_proportional_to_the_fitness_above_the_worst() -> None:
    chosen = GeneticSettings(selection="roulette")
    members = select(FITNESS, MANY, chosen, seeded())
    expected = torch.tensor([0, 4, 3, 8, 2], dtype=torch.float64) / 17
    assert_frequencies(frequencies(members, 5), expected, MANY)
    assert 0 not in members
    assert torch.equal(select(FITNESS * 8 + 1024, MANY, chosen, seeded()), members)


def test_the_roulette_takes_all_alike_where_all_are_equally_fit() -> None:
    members = select(torch.full((4,), -7.0, dtype=torch.float64), MANY, GeneticSettings(selection="roulette"), seeded())
    assert_frequencies(frequencies(members, 4), torch.full((4,), 0.25, dtype=torch.float64), MANY)


@pytest.mark.parametrize(
    ("fitness", "better"),
    [
        ([4.0], [0]),
        ([1.0, 2.0], [1]),
        ([1.0, 3.0, 2.0], [1]),
        ([0.0, 3.0, 2.0, 9.0], [1, 3]),
        ([-3.0, 1.0, 0.0, 5.0, -1.0], [1, 3]),
        ([2.0, 2.0, 2.0, 2.0], [0, 1]),
        ([1.0, 2.0, 2.0, 2.0], [1, 2]),
    ],
)
def test_truncation_takes_the_better_half_all_alike(fitness: list[float], better: list[int]) -> None:
    chosen = GeneticSettings(selection="truncation")
    found = frequencies(select(torch.tensor(fitness), MANY, chosen, seeded()), len(fitness))
    expected = torch.zeros(len(fitness), dtype=torch.float64)
    expected[better] = 1 / len(better)
    assert_frequencies(found, expected, MANY)


@pytest.mark.parametrize("selection", PARENTED)
def test_no_parents_can_be_selected(selection: Selection) -> None:
    chosen = GeneticSettings(selection=selection)
    members = select(FITNESS, 0, chosen, seeded())
    assert (members.dtype, members.shape) == (torch.int64, (0,))
    assert select(FITNESS, 3, chosen, seeded()).dtype == torch.int64


@pytest.mark.parametrize("selection", PARENTED)
@pytest.mark.parametrize("fitness", [[1.7e308, -1.7e308, 0.0], [1.7e308, 1.7e308, 0.0], [5e-324, 0.0, 0.0]])
def test_any_finite_fitness_can_be_selected_by(selection: Selection, fitness: list[float]) -> None:
    chosen = GeneticSettings(selection=selection, tournament_size=64)
    members = select(torch.tensor(fitness, dtype=torch.float64), 2000, chosen, seeded())
    best = {place for place, value in enumerate(fitness) if value == max(fitness)}
    assert set(members.tolist()) <= best | ({2} if selection == "roulette" and len(best) == 1 else set())
    assert frequencies(members, 3)[0] > 0.3


# crossover


def all_patterns(children: Tensor) -> Counter[str]:
    """How often each child came out, as digits 1 for the mother's genes."""
    return Counter("".join(map(str, child)) for child in children.tolist())


def opposite_parents(genes: int, count: int = MANY) -> tuple[Tensor, Tensor]:
    """Mothers of ones and fathers of zeros, so that a child tells whose genes it has."""
    return torch.ones(count, genes, dtype=torch.uint8), torch.zeros(count, genes, dtype=torch.uint8)


def test_uniform_crossover_gives_every_mixture_with_equal_chance() -> None:
    chosen = GeneticSettings(crossover="uniform", crossover_rate=1.0)
    found = all_patterns(crossover(*opposite_parents(3), chosen, seeded()))
    assert len(found) == 8
    shares = torch.tensor([count / MANY for count in found.values()], dtype=torch.float64)
    assert_frequencies(shares, torch.full((8,), 1 / 8, dtype=torch.float64), MANY)


@pytest.mark.parametrize("genes", [2, 3, 7])
def test_one_point_crossover_switches_once_from_mother_to_father_at_any_place(genes: int) -> None:
    chosen = GeneticSettings(crossover="one-point", crossover_rate=1.0)
    found = all_patterns(crossover(*opposite_parents(genes), chosen, seeded()))
    assert set(found) == {"1" * point + "0" * (genes - point) for point in range(1, genes)}
    shares = torch.tensor([count / MANY for count in found.values()], dtype=torch.float64)
    assert_frequencies(shares, torch.full((genes - 1,), 1 / (genes - 1), dtype=torch.float64), MANY)


def test_one_gene_cannot_be_switched_within() -> None:
    chosen = GeneticSettings(crossover="one-point", crossover_rate=1.0)
    assert (crossover(*opposite_parents(1, 100), chosen, seeded()) == 1).all()


@pytest.mark.parametrize("kind", CROSSINGS)
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.8, 1.0])
def test_as_many_pairs_are_crossed_as_asked_and_the_others_keep_their_mothers_genes(
    kind: Crossing, rate: float
) -> None:
    chosen = GeneticSettings(crossover=kind, crossover_rate=rate)
    children = crossover(*opposite_parents(40, 10_000), chosen, seeded())
    mixed = (children == 0).any(1)
    assert_frequencies(mixed.double().mean(), torch.tensor(rate, dtype=torch.float64), 10_000)
    assert not (children == 0).all(1).any()
    if kind == "uniform" and rate:
        assert_frequencies(children[mixed].double().mean(0), torch.tensor(0.5, dtype=torch.float64), int(mixed.sum()))


@pytest.mark.parametrize("kind", CROSSINGS)
def test_a_child_has_at_each_place_a_gene_of_its_own_parents(kind: Crossing) -> None:
    mothers, fathers = drawn(300, 11, 1), drawn(300, 11, 2)
    children = crossover(mothers, fathers, GeneticSettings(crossover=kind, crossover_rate=1.0), seeded())
    assert children.dtype == torch.uint8
    assert ((children == mothers) | (children == fathers)).all()
    alike = mothers == fathers
    assert torch.equal(children[alike], mothers[alike])


# mutation


@pytest.mark.parametrize("rate", [0.0, 0.03, 0.5, 1.0])
def test_as_many_genes_flip_as_asked_open_or_closed(rate: float) -> None:
    before = drawn(400, 500)
    kept = before.clone()
    after = mutate(before, rate, seeded(1))
    assert torch.equal(before, kept)
    assert after.dtype == torch.uint8
    flipped = (after != before).double()
    expected = torch.tensor(rate, dtype=torch.float64)
    for gene in (0, 1):
        assert_frequencies(flipped[before == gene].mean(), expected, int((before == gene).sum()))
    assert_frequencies(flipped.mean(0), expected, 400)
    assert_frequencies(flipped.mean(1), expected, 500)


# a generation


@pytest.mark.parametrize("selection", SELECTIONS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_what_holds_for_every_generation(selection: Selection, data: st.DataObject) -> None:
    size, genes = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    chosen = GeneticSettings(
        selection=selection,
        tournament_size=data.draw(st.integers(1, 5)),
        crossover=data.draw(st.sampled_from(CROSSINGS)),
        crossover_rate=data.draw(st.sampled_from([0.0, 0.8, 1.0])),
        mutation_rate=data.draw(st.sampled_from([0.0, 0.03, 1.0])),
        elites=data.draw(st.integers(1, 11)),
        start_open=data.draw(st.sampled_from([0.01, 0.9])),
    )
    fitness = torch.tensor(data.draw(st.lists(st.integers(-3, 3), min_size=size, max_size=size)), dtype=torch.float64)
    seed = data.draw(st.integers(0, 1000))
    before, given_fitness, global_state = drawn(size, genes, seed), fitness.clone(), torch.random.get_rng_state()
    kept = before.clone()
    after, origin = next_generation(before, fitness, chosen, seeded(seed))
    assert torch.equal(before, kept)
    assert torch.equal(fitness, given_fitness)
    assert torch.equal(torch.random.get_rng_state(), global_state)
    assert (after.dtype, after.shape) == (torch.uint8, (size, genes))
    assert (origin.dtype, origin.shape) == (torch.int64, (size,))
    assert set(after.unique().tolist()) <= {0, 1}
    assert (after.sum(1) > 0).all()
    best = sorted(range(size), key=lambda member: (-float(fitness[member]), member))[: chosen.elites]
    assert origin[: len(best)].tolist() == best
    assert torch.equal(after[: len(best)], before[best])
    assert ((origin >= 0) & (origin < size)).all()
    for repeated, first in zip(next_generation(before, fitness, chosen, seeded(seed)), (after, origin), strict=True):
        assert torch.equal(repeated, first)


@pytest.mark.parametrize("selection", PARENTED)
@pytest.mark.parametrize("kind", CROSSINGS)
def test_children_that_are_not_changed_are_their_mothers(selection: Selection, kind: Crossing) -> None:
    before, fitness = drawn(50, 20), torch.randn(50, generator=seeded()).double()
    chosen = GeneticSettings(selection=selection, crossover=kind, crossover_rate=0.0, mutation_rate=0.0, elites=3)
    after, origin = next_generation(before, fitness, chosen, seeded())
    assert torch.equal(after, before[origin])
    assert len(set(origin[3:].tolist())) > 5


@pytest.mark.parametrize("selection", PARENTED)
def test_mothers_are_those_that_selection_takes(selection: Selection) -> None:
    size = 4001
    fitness = torch.arange(size, dtype=torch.float64) // 1000  # 0 to 3, and one of 4
    chosen = GeneticSettings(selection=selection, tournament_size=2)
    _, origin = next_generation(torch.ones(size, 1, dtype=torch.uint8), fitness, chosen, seeded())
    expected = {
        "tournament": torch.tensor([1, 3, 5, 7]) / 16,
        "roulette": torch.tensor([0, 1, 2, 3]) / 6,
        "truncation": torch.tensor([0, 0, 1, 1]) / 2,
    }[selection].double()
    found = frequencies(fitness[origin[1:]].long().clamp(max=3), 4)
    assert ((found - expected).abs() < 0.04).all(), found


def test_father_and_mother_are_drawn_apart() -> None:
    """Of two members, the parents differ in half the pairs, and one-point crossover mixes all of those."""
    before = torch.cat([torch.tensor([[1, 1, 0, 0]]).expand(1000, 4), torch.tensor([[0, 0, 1, 1]]).expand(1000, 4)])
    chosen = GeneticSettings(tournament_size=1, crossover="one-point", crossover_rate=1.0, mutation_rate=0.0)
    after, origin = next_generation(before.to(torch.uint8), torch.zeros(2000), chosen, seeded())
    mixed = (after[1:] != before[origin[1:]]).any(1).double().mean()
    assert_frequencies(mixed, torch.tensor(0.5, dtype=torch.float64), 1999)


def test_children_mutate_and_elites_do_not() -> None:
    before = torch.ones(2000, 10, dtype=torch.uint8)
    chosen = GeneticSettings(mutation_rate=0.2, elites=500)
    after, _ = next_generation(before, torch.zeros(2000), chosen, seeded())
    assert (after[:500] == 1).all()
    assert_frequencies(after[500:].double().mean(), torch.tensor(0.8, dtype=torch.float64), 15_000)


def test_random_selection_keeps_elites_and_draws_all_others_anew() -> None:
    before, fitness = torch.ones(2000, 50, dtype=torch.uint8), torch.randn(2000, generator=seeded()).double()
    chosen = GeneticSettings(selection="random", elites=5, start_open=0.3, mutation_rate=1.0)
    after, origin = next_generation(before, fitness, chosen, seeded())
    assert (after[:5] == 1).all()
    expected = torch.tensor(0.3, dtype=torch.float64)
    assert_frequencies(after[5:].double().mean(), expected, 1995 * 50)
    assert_frequencies(after[5:].double().mean(0), expected, 1995)
    assert sorted(origin.tolist()) == list(range(2000))
    others, _ = next_generation(drawn(2000, 50), fitness, chosen, seeded())
    assert torch.equal(others[5:], after[5:])
    nearly_closed, _ = next_generation(before, fitness, replace(chosen, start_open=1e-9), seeded())
    assert (nearly_closed[5:].sum(1) == 1).all()


@pytest.mark.parametrize("operate", ["first", "random", "mutate", "crossover"])
def test_draws_do_not_depend_on_the_default_precision(operate: str) -> None:
    chosen = GeneticSettings(selection="random" if operate == "random" else "tournament")
    calls: dict[str, Callable[[], Tensor]] = {
        "first": lambda: first_generation(20, 30, chosen, seeded()),
        "random": lambda: next_generation(drawn(20, 30), torch.zeros(20), chosen, seeded())[0],
        "mutate": lambda: mutate(drawn(20, 30), 0.4, seeded()),
        "crossover": lambda: crossover(drawn(20, 30, 1), drawn(20, 30, 2), chosen, seeded()),
    }
    found = calls[operate]()
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(calls[operate](), found)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("kind", CROSSINGS)
def test_generations_find_a_pattern_and_never_lose_the_best(selection: Selection, kind: Crossing) -> None:
    wanted, chosen = drawn(1, 40, 9)[0], GeneticSettings(selection=selection, crossover=kind, start_open=0.5)
    ends = []
    for seed in range(5):
        chromosomes, best = first_generation(16, 40, chosen, seeded(seed)), []
        for generation in range(40):
            matches = (chromosomes == wanted).double().sum(1)
            best.append(int(matches.max()))
            chromosomes, _ = next_generation(chromosomes, matches, chosen, seeded(1000 * seed + generation))
        assert best == sorted(best)
        ends.append(best[-1])
    assert min(ends) >= 36 if selection != "random" else max(ends) < 36, ends


# diversity


@given(size=st.integers(2, 9), genes=st.integers(1, 9), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_diversity_is_the_mean_share_in_which_pairs_differ(size: int, genes: int, seed: int) -> None:
    chromosomes = drawn(size, genes, seed)
    distances = [
        sum(ours != theirs for ours, theirs in zip(one, other, strict=True)) / genes
        for one, other in combinations(chromosomes.tolist(), 2)
    ]
    assert diversity(chromosomes) == pytest.approx(sum(distances) / len(distances), rel=1e-12, abs=1e-12)


def test_diversity_of_one_of_equals_and_of_opposites() -> None:
    assert diversity(torch.ones(1, 5, dtype=torch.uint8)) == 0
    assert diversity(torch.ones(300, 5, dtype=torch.uint8)) == 0
    assert diversity(torch.tensor([[0, 1], [1, 0]], dtype=torch.uint8)) == 1
    # 300 members and more do not fit the sum of uint8
    many = torch.cat([torch.ones(300, 5, dtype=torch.uint8), torch.zeros(300, 5, dtype=torch.uint8)])
    assert diversity(many) == pytest.approx(300 * 300 / (600 * 599 / 2))


# settings


@pytest.mark.parametrize(
    ("name", "values", "allowed"),
    [
        ("elite_share", (-0.01, 1.01, float("nan")), "between 0 and 1"),
        ("episodes", (0, -1), "at least 1"),
        ("tournament_size", (0, -2), "at least 1"),
        ("crossover_rate", (-0.1, 1.5), "between 0 and 1"),
        ("mutation_rate", (-0.1, 1.5), "between 0 and 1"),
        ("elites", (0, -1), "at least 1"),
        ("start_open", (0.0, -0.5, 1.01, float("nan")), "above 0 and at most 1"),
    ],
)
def test_settings_out_of_range_are_refused(name: str, values: tuple[float, ...], allowed: str) -> None:
    for value in values:
        given_settings: dict[str, Any] = {name: value}
        with pytest.raises(UsageError) as refused:
            GeneticSettings(**given_settings)
        assert str(refused.value) == f"{name} is {value!r}, but must be {allowed}"


def test_settings_at_the_ends_of_their_ranges_are_not() -> None:
    GeneticSettings(elite_share=0, tournament_size=1, crossover_rate=0, mutation_rate=0, start_open=1e-9)
    GeneticSettings(elite_share=1, episodes=1, crossover_rate=1, mutation_rate=1, elites=1, start_open=1)
