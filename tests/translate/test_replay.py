"""The replay buffer: each sample keeps its own mixture, none is lost, and a saved one goes on alike."""

from __future__ import annotations

import io
import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tenfold.core.errors import UsageError
from tenfold.translate import MixtureReplay

SIZES = st.integers(0, 6)
BATCHES = st.lists(st.integers(0, 5), max_size=12)


def batch(start: int, count: int) -> tuple[Tensor, Tensor]:
    """Samples whose pixels are all their number, with mixtures that can be told from it."""
    numbers = torch.arange(start, start + count, dtype=torch.float32)
    made = numbers.view(-1, 1, 1, 1).expand(-1, 3, 2, 2).clone()
    return made, torch.stack([numbers, 1 - numbers], 1)


def numbers_of(made: Tensor, mixes: Tensor) -> list[int]:
    """The numbers of the samples; each must be whole and have its own mixture."""
    numbers = made[:, 0, 0, 0]
    assert (made == numbers.view(-1, 1, 1, 1)).all()
    assert torch.equal(mixes, torch.stack([numbers, 1 - numbers], 1))
    return [int(number) for number in numbers]


def kept(replay: MixtureReplay) -> list[int]:
    state = replay.state_dict()
    return [] if state["made"] is None else numbers_of(state["made"], state["mixes"])


@given(SIZES, st.integers(0, 99), BATCHES)
@settings(deadline=None)
def test_each_sample_keeps_its_mixture_and_none_is_lost(size: int, seed: int, counts: list[int]) -> None:
    replay, start = MixtureReplay(size, seed=seed), 0
    given_out: list[int] = []
    for count in counts:
        made, mixes = replay.exchange(*batch(start, count))
        assert (made.shape, mixes.shape) == ((count, 3, 2, 2), (count, 2))
        found = numbers_of(made, mixes)
        # each row is its own sample or one from before it
        assert all(number <= start + row for row, number in enumerate(found))
        given_out += found
        start += count
    assert len(replay) == min(size, start)
    # while it fills, a sample is both kept and passed; afterwards it is one of the two
    wanted = Counter(range(start)) + Counter(range(min(size, start)))
    assert Counter(given_out) + Counter(kept(replay)) == wanted


def test_while_it_fills_samples_pass() -> None:
    replay = MixtureReplay(6)
    for start in (0, 3):
        made, mixes = batch(start, 3)
        found = replay.exchange(made, mixes)
        assert torch.equal(found[0], made)
        assert torch.equal(found[1], mixes)
    assert kept(replay) == list(range(6))


def test_half_comes_from_the_past_and_every_place_is_used() -> None:
    size, count = 10, 4_000
    replay = MixtureReplay(size, seed=1)
    replay.exchange(*batch(0, size))
    found = numbers_of(*replay.exchange(*batch(size, count)))
    past = sum(number != size + row for row, number in enumerate(found))
    assert past / count == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(count))
    assert set(range(size)) <= set(found), "each place is swapped sooner or later"
    # a sample waits for a swap of its place: with probability 1/2 and one of ten places, 20 steps in the mean
    waits = [size + row - number for row, number in enumerate(found) if size <= number != size + row]
    assert sum(waits) / len(waits) == pytest.approx(20, rel=0.1)


def test_a_full_buffer_passes_a_sample_or_swaps_it_for_a_kept_one() -> None:
    replay = MixtureReplay(1, seed=0)
    replay.exchange(*batch(0, 1))
    passed = swapped = 0
    for number in range(1, 60):
        before = kept(replay)
        found = numbers_of(*replay.exchange(*batch(number, 1)))
        if found == [number]:
            assert kept(replay) == before
            passed += 1
        else:
            assert found == before
            assert kept(replay) == [number]
            swapped += 1
    assert passed > 10
    assert swapped > 10


def test_a_buffer_of_no_size_passes_everything() -> None:
    replay = MixtureReplay(0)
    for start in range(5):
        assert numbers_of(*replay.exchange(*batch(start, 4))) == list(range(start, start + 4))
    assert len(replay) == 0
    assert replay.state_dict()["made"] is None


def test_the_papers_buffer_has_50_places() -> None:
    replay = MixtureReplay()
    replay.exchange(*batch(0, 80))
    assert len(replay) == 50


@pytest.mark.parametrize("size", [0, 2, 9])
def test_neither_carries_gradients(size: int) -> None:
    replay = MixtureReplay(size)
    for start in range(0, 12, 3):
        made, mixes = batch(start, 3)
        found = replay.exchange(made.requires_grad_(), mixes.requires_grad_())
        assert not any(part.requires_grad for part in found)
    state = replay.state_dict()
    assert not any(part.requires_grad for part in (state["made"], state["mixes"]) if part is not None)


def test_what_is_kept_does_not_change_with_what_was_given() -> None:
    replay = MixtureReplay(3)
    made, mixes = batch(0, 3)
    out, turned = replay.exchange(made, mixes)
    for part in (made, mixes, out, turned):
        part.fill_(77)
    assert kept(replay) == [0, 1, 2]


def test_maps_of_mixtures_stay_with_their_samples() -> None:
    replay = MixtureReplay(2, seed=1)
    for number in range(20):
        made = torch.full((1, 3, 4, 4), float(number))
        found, mixes = replay.exchange(made, torch.full((1, 2, 4, 4), float(number)))
        assert torch.equal(found[:, :2], mixes)


def test_choices_follow_from_the_seed_alone() -> None:
    def run(seed: int, global_seed: int) -> list[int]:
        torch.manual_seed(global_seed)
        state = torch.random.get_rng_state()
        replay = MixtureReplay(4, seed=seed)
        found = [number for start in range(0, 40, 4) for number in numbers_of(*replay.exchange(*batch(start, 4)))]
        assert torch.equal(torch.random.get_rng_state(), state)
        return found

    assert run(3, 0) == run(3, 1)
    assert run(3, 0) != run(4, 0)


@pytest.mark.parametrize("before", [0, 3, 5, 23])
def test_a_saved_buffer_goes_on_as_if_it_had_never_stopped(before: int) -> None:
    straight = MixtureReplay(5, seed=7)
    for start in range(before):
        straight.exchange(*batch(start, 1))
    file = io.BytesIO()
    torch.save(straight.state_dict(), file)
    file.seek(0)
    resumed = MixtureReplay(5, seed=99)
    resumed.exchange(*batch(500, 7))
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert len(resumed) == len(straight)
    for start in range(before, before + 40, 4):
        ours, theirs = straight.exchange(*batch(start, 4)), resumed.exchange(*batch(start, 4))
        assert numbers_of(*ours) == numbers_of(*theirs)
    assert kept(straight) == kept(resumed)


def test_a_state_does_not_change_when_its_buffer_goes_on() -> None:
    replay = MixtureReplay(3, seed=2)
    replay.exchange(*batch(0, 3))
    state = replay.state_dict()
    random = state["random"].clone()
    twin = MixtureReplay(3)
    twin.load_state_dict(state)
    for one in (replay, twin):
        one.exchange(*batch(3, 30))
    assert numbers_of(state["made"], state["mixes"]) == [0, 1, 2]
    assert torch.equal(state["random"], random)


@pytest.mark.parametrize(("samples", "mixtures"), [(3, 2), (0, 1), (2, 3)])
def test_samples_without_a_mixture_each_are_refused(samples: int, mixtures: int) -> None:
    with pytest.raises(UsageError, match=f"{samples} samples have {mixtures} mixtures, but each must have one"):
        MixtureReplay().exchange(torch.zeros(samples, 3, 2, 2), torch.zeros(mixtures, 3))


def test_a_size_below_0_is_refused() -> None:
    with pytest.raises(UsageError, match="size is -1, but must be at least 0"):
        MixtureReplay(-1)
