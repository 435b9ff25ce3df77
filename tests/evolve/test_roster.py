"""Who acts where: members one after the other, guests, resets, and what is counted."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tenfold.evolve.config import GeneticSettings
from tenfold.evolve.roster import ELITE, Roster


def genes_of(members: int) -> NDArray[np.uint8]:
    """A chromosome for each, all different: the member's number in binary."""
    return ((np.arange(members)[:, None] >> np.arange(6)) & 1).astype(np.uint8)


def roster_of(environments: int, members: int, *, elite: int = 1, **changes: Any) -> Roster:
    return Roster(environments, GeneticSettings(**({"phase_steps": 0} | changes)), genes_of(members), elite)


def acting(roster: Roster) -> list[int]:
    """Whose genes each environment has, by the genes."""
    return (roster.genes @ (1 << np.arange(6))).tolist()


def end(roster: Roster, ended: list[tuple[int, float]]) -> None:
    """Episodes end, and their environments are handed on."""
    roster.note(ended)
    roster.assign([place for place, _ in ended])


def populated(environments: int, members: int, **changes: Any) -> Roster:
    """In a population phase whose first members have begun."""
    roster = roster_of(environments, members, **changes)
    roster.enter(populating=True)
    end(roster, [(place, -100.0) for place in range(environments)])
    return roster


# assignment


def test_at_first_every_environment_is_the_elites() -> None:
    roster = roster_of(3, 5, elite=4)
    assert acting(roster) == [4, 4, 4]
    assert roster.member.tolist() == [ELITE] * 3
    assert not roster.populating
    assert roster.returns == [[]] * 5
    assert roster.genes.dtype == np.uint8


def test_members_take_free_environments_in_order_and_the_rest_is_the_elites() -> None:
    roster = roster_of(3, 4, elite=2)
    roster.enter(populating=True)
    assert acting(roster) == [2, 2, 2]
    end(roster, [(1, 5.0)])
    assert acting(roster) == [2, 0, 2]
    end(roster, [(0, 6.0), (2, 7.0)])
    assert acting(roster) == [1, 0, 2]
    assert roster.member.tolist() == [1, 0, 2]
    assert roster.returns == [[], [], [], []]  # what ended had begun before the phase
    end(roster, [(2, 8.0)])
    assert roster.member.tolist() == [1, 0, 3]
    end(roster, [(2, 9.0), (0, 10.0)])
    assert roster.member.tolist() == [ELITE, 0, ELITE]
    assert acting(roster) == [2, 0, 2]
    assert roster.returns == [[], [10.0], [8.0], [9.0]]
    assert not roster.phase_is_over()
    end(roster, [(2, 11.0)])
    assert roster.returns[2] == [8.0]
    end(roster, [(1, 12.0)])
    assert roster.phase_is_over()
    assert roster.fitness.tolist() == [12, 10, 8, 9]


def test_members_with_the_fewest_episodes_come_first() -> None:
    roster = populated(2, 3, episodes=2)
    order = []
    while (roster.member != ELITE).any():
        order.append(int(roster.member[0]))
        end(roster, [(0, 1.0)])
        if roster.member[0] == ELITE:
            end(roster, [(1, 1.0)])
    assert order == [0, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("environments", "members", "episodes", "each"),
    [(1, 8, 1, 1), (8, 8, 1, 1), (9, 8, 1, 2), (16, 8, 1, 2), (17, 8, 1, 3), (17, 8, 5, 5), (4, 2, 1, 2)],
)
def test_no_environment_is_left_without_a_member(environments: int, members: int, episodes: int, each: int) -> None:
    roster = populated(environments, members, episodes=episodes)
    assert roster.quota == each
    at_work = min(environments, members * each)
    assert (roster.member != ELITE).sum() == at_work == environments


# fitness


@settings(max_examples=60, deadline=None)
@given(
    environments=st.integers(1, 9),
    lengths=st.lists(st.integers(1, 40), min_size=2, max_size=7),
    episodes=st.integers(1, 4),
    phase_steps=st.sampled_from([0, 30, 400]),
    data=st.randoms(use_true_random=False),
)
def test_long_episodes_count_as_much_as_short_ones(
    environments: int, lengths: list[int], episodes: int, phase_steps: int, data: Any
) -> None:
    """A member's episodes all have its own length; returns are drawn, and all of exactly equally many count."""
    roster = roster_of(environments, len(lengths), elite=0, episodes=episodes, phase_steps=phase_steps)
    left = [data.randint(1, 40) for _ in range(environments)]
    began_in_phase = [False] * environments
    worth: dict[int, list[float]] = {member: [] for member in range(len(lengths))}
    roster.enter(populating=True)
    for _ in range(10_000):
        roster.advance()
        left = [steps - 1 for steps in left]
        ended = [(place, data.uniform(-9, 9)) for place in range(environments) if left[place] == 0]
        for place, value in ended:
            if began_in_phase[place] and roster.member[place] != ELITE:
                worth[acting(roster)[place]].append(value)
            began_in_phase[place] = True
        roster.note(ended)
        if ended and roster.phase_is_over():
            break
        roster.assign([place for place, _ in ended])
        for place, _ in ended:
            left[place] = lengths[acting(roster)[place]]
    least = max(episodes, -(-environments // len(lengths)))
    assert {len(values) for values in worth.values()} == {roster.quota}
    assert roster.quota == least if phase_steps == 0 else roster.quota >= least
    assert roster.returns == list(worth.values())
    assert roster.fitness == pytest.approx([np.mean(values) for values in worth.values()])


def test_without_an_episode_there_is_no_fitness() -> None:
    roster = populated(2, 3)
    end(roster, [(1, 4.0)])
    assert np.array_equal(roster.fitness, [np.nan, 4.0, np.nan], equal_nan=True)


def test_only_episodes_begun_in_the_elite_phase_are_the_elites() -> None:
    roster = populated(2, 2)
    end(roster, [(0, 1.0), (1, 2.0)])
    end(roster, [(0, 3.0)])
    assert roster.elite_returns == []  # an environment left over in the population phase
    roster.renew(genes_of(2), 0)
    roster.enter(populating=False)
    end(roster, [(0, 4.0)])
    assert roster.elite_returns == []
    end(roster, [(0, 5.0), (1, 6.0)])
    assert roster.elite_returns == [5.0]
    roster.enter(populating=True)
    assert roster.elite_returns == [5.0]
    end(roster, [(0, 7.0), (1, 8.0)])
    assert roster.elite_returns == [5.0]
    roster.renew(genes_of(2), 1)
    roster.enter(populating=False)
    assert roster.elite_returns == []


def test_environments_keep_their_genes_until_their_episode_ends() -> None:
    roster = populated(3, 3)
    before = roster.genes.copy()
    roster.renew(1 - genes_of(3), 2)
    roster.enter(populating=False)
    assert (roster.genes == before).all()
    assert roster.returns == [[], [], []]
    end(roster, [(1, 5.0)])
    assert (roster.genes[[0, 2]] == before[[0, 2]]).all()
    assert (roster.genes[1] == 1 - genes_of(3)[2]).all()
    assert roster.returns == [[], [], []]


def test_a_reset_forgets_what_was_played_and_gives_it_out_again() -> None:
    roster = populated(3, 5)
    end(roster, [(1, 8.0)])
    assert roster.member.tolist() == [0, 3, 2]
    roster.release()
    assert roster.returns == [[], [8.0], [], [], []]
    assert roster.member.tolist() == [0, 2, 3]
    for worth in range(4):
        end(roster, [(0, float(worth))])
        end(roster, [(1, float(worth)), (2, float(worth))])
    assert roster.phase_is_over()
    assert [len(returns) for returns in roster.returns] == [1] * 5


def test_a_reset_in_the_elite_phase_makes_all_environments_the_elites() -> None:
    roster = populated(3, 3)
    roster.renew(genes_of(3), 0)
    roster.enter(populating=False)
    roster.release()
    assert acting(roster) == [0, 0, 0]
    end(roster, [(2, 6.0)])
    assert roster.elite_returns == [6.0]


# phases


def test_phases_end_by_the_share_of_steps_and_by_complete_generations() -> None:
    roster = roster_of(2, 2, elite_share=0.75)
    roster.advance()
    assert roster.phase_is_over()
    roster.enter(populating=True)
    roster.advance()
    assert (roster.steps, roster.elite_steps) == (4, 2)
    assert not roster.phase_is_over()
    end(roster, [(0, 1.0), (1, 1.0)])
    end(roster, [(0, 1.0)])
    assert not roster.phase_is_over()
    end(roster, [(1, 1.0)])
    assert roster.phase_is_over()
    roster.renew(genes_of(2), 0)
    roster.enter(populating=False)
    over = []
    for _ in range(4):
        roster.advance()
        over.append(roster.phase_is_over())
    assert over == [False, True, True, True]  # 4 of 6 steps, 6 of 8


def test_an_elite_phase_is_to_the_least_population_phase_as_its_share_is() -> None:
    roster = roster_of(2, 2, elite_share=0.25, phase_steps=12)  # 4 of 16 steps
    over = []
    for _ in range(3):
        roster.advance()
        over.append(roster.phase_is_over())
    assert over == [False, True, True]


@pytest.mark.parametrize("environments", [1, 2, 5])
def test_a_population_phase_is_long_enough(environments: int) -> None:
    """All environments' episodes end in every step; members play more of them until the phase has lasted."""
    roster = roster_of(environments, 3, phase_steps=20)
    roster.enter(populating=True)
    while not roster.phase_is_over():
        roster.advance()
        roster.note([(place, 1.0) for place in range(environments)])
        if not roster.phase_is_over():
            roster.assign(range(environments))
    assert 20 <= roster.phase_steps <= 20 + 3 * 3
    assert len({len(returns) for returns in roster.returns}) == 1
    least = max(1, -(-environments // 3))
    assert len(roster.returns[0]) == roster.quota > least
    roster.renew(genes_of(3), 0)
    assert roster.quota == least
    roster.enter(populating=False)
    assert roster.phase_steps == 0


# samples


def test_whose_samples_the_weights_learn_from() -> None:
    for learn_from, first, elite_phase in (
        ("all", [True] * 4, [True] * 4),
        ("elite", [False, True, False, False], [True, True, False, False]),
        ("none", [False] * 4, [True] * 4),
    ):
        roster = populated(4, 4, learn_from=learn_from)
        assert roster.learned.tolist() == first
        assert roster.learned.dtype == np.bool_
        roster.renew(genes_of(4), 1)
        roster.enter(populating=False)
        end(roster, [(0, 1.0)])
        assert roster.learned.tolist() == elite_phase


def test_what_is_learned_follows_the_new_elite_at_once() -> None:
    roster = populated(3, 3, learn_from="elite")
    roster.renew(genes_of(3), 2)
    roster.enter(populating=False)
    roster.assign([])
    assert roster.learned.tolist() == [False, False, True]


# files and arrays


def test_a_state_comes_back_through_a_file() -> None:
    roster = populated(3, 4, episodes=2)
    end(roster, [(0, 1.5), (1, 2.5)])
    end(roster, [(0, 3.5)])
    roster.elite_returns, roster.quota = [4.0], 3
    for _ in range(10):
        roster.advance()
    state = json.loads(json.dumps(roster.state()))
    for environments in (1, 3, 6):
        other = roster_of(environments, 4, episodes=2)
        other.load_state(state)
        assert other.state() == state
        assert other.genes.shape == (environments, 6)
        assert (other.member != ELITE).sum() == environments
        for _ in range(40):
            if not other.phase_is_over():
                end(other, [(place, 9.0) for place in range(environments)])
        assert [returns[: len(old)] for returns, old in zip(other.returns, state["returns"], strict=True)] == state[
            "returns"
        ]
        assert {len(returns) for returns in other.returns} == {3}
    other.returns[0].append(7.0)
    other.elite_returns.append(7.0)
    assert json.loads(json.dumps(roster.state())) == state


def test_a_state_does_not_follow_the_roster() -> None:
    roster = populated(2, 3)
    state = roster.state()
    end(roster, [(0, 1.0)])
    roster.elite_returns.append(3.0)
    assert state["returns"] == [[], [], []]
    assert state["elite_returns"] == []


def test_arrays_that_a_buffer_may_keep_are_never_changed() -> None:
    chromosomes = genes_of(3)
    roster = Roster(4, GeneticSettings(learn_from="elite", phase_steps=0), chromosomes, 0)
    kept: list[tuple[NDArray[Any], NDArray[Any]]] = []

    def keep() -> None:
        kept.extend((array, array.copy()) for array in (roster.genes, roster.learned))

    keep()
    for populating in (True, False, True):
        roster.enter(populating=populating)
        keep()
        for place in (0, 1, 2, 3, 2, 1):
            end(roster, [(place, 1.0)])
            keep()
        roster.release()
        keep()
        roster.renew(genes_of(3), 1)
        keep()
    assert all((array == copy).all() for array, copy in kept)
    assert (chromosomes == genes_of(3)).all()


def test_nothing_changes_where_nothing_ends() -> None:
    roster = populated(2, 2)
    genes, member = roster.genes, roster.member.copy()
    end(roster, [])
    assert (roster.genes == genes).all()
    assert (roster.member == member).all()
