from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tenfold.core.batches import AHEAD, EvalBatches, TrainBatches, derive_seed, made_ahead
from tenfold.core.data import ImageSet, MemoryImages, Statistics
from tenfold.core.errors import UsageError


def numbered(count: int) -> MemoryImages:
    """Image i has the target i and its lowest pixel byte i % 256."""
    targets = torch.arange(count)
    images = (targets % 256).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    return MemoryImages("numbered", "train", classes=("only",), targets=targets, images=images)


class Slow(ImageSet):
    """A lazy set that records which thread fetched, and fails at the image `bad`."""

    lazy = True

    def __init__(self, count: int, bad: int = -1) -> None:
        statistics = Statistics((0.5,), (0.5,))
        targets = torch.arange(count)
        super().__init__("slow", "train", classes=("a",), targets=targets, shape=(1, 2, 2), measure=lambda: statistics)
        self.bad = bad
        self.threads: list[str] = []

    def fetch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        self.threads.append(threading.current_thread().name)
        if self.bad in indices.tolist():
            raise UsageError(f"picture {self.bad} is bad")
        return torch.zeros(len(indices), 1, 2, 2, dtype=torch.uint8), self.targets[indices]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 2
    while any(thread.name.startswith("batches") for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "a prefetch thread outlived its iterator"
        time.sleep(0.01)


def test_derived_seeds_are_the_same_everywhere_and_for_ever() -> None:
    assert derive_seed(0, "order", 1) == 116_889_601_432_050_504
    assert derive_seed(1) != derive_seed("1")
    assert derive_seed(1, 23) != derive_seed(12, 3)


@given(st.lists(st.integers(-(2**70), 2**70) | st.text()))
def test_derived_seeds_fit_a_generator(parts: list[int | str]) -> None:
    assert 0 <= derive_seed(*parts) < 2**63


@given(count=st.integers(4, 40), share=st.integers(1, 2), world=st.integers(1, 2), seed=st.integers(0, 9))
def test_an_epoch_is_a_shuffle_without_repeats_whatever_the_processes(
    count: int, share: int, world: int, seed: int
) -> None:
    whole = list(TrainBatches(numbered(count), share * world, seed=seed).epoch(0))
    assert len(whole) == count // (share * world)
    seen = torch.cat([batch.targets for batch in whole])
    assert len(set(seen.tolist())) == len(seen) == len(whole) * share * world
    ranks = [
        list(TrainBatches(numbered(count), share * world, seed=seed, rank=r, world=world).epoch(0))
        for r in range(world)
    ]
    for step, batch in enumerate(whole):
        parts = [rank[step] for rank in ranks]
        assert torch.equal(torch.cat([part.targets for part in parts]), batch.targets)
        assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
        drawn = [part.draw(lambda g, n: torch.rand(n, 3, generator=g), "noise") for part in parts]
        assert torch.equal(torch.cat(drawn), batch.draw(lambda g, n: torch.rand(n, 3, generator=g), "noise"))
        assert {part.size for part in parts} == {batch.size}
        assert torch.equal(batch.images[:, 0, 0, 0].long(), batch.targets % 256)


@pytest.mark.parametrize("images", [numbered(20), Slow(20)])
def test_an_epoch_resumes_at_any_step(images: ImageSet) -> None:
    batches = TrainBatches(images, 4, seed=1)
    straight = list(batches.epoch(2))
    for start in range(6):
        resumed = list(batches.epoch(2, start=start))
        assert [batch.seed for batch in resumed] == [batch.seed for batch in straight[start:]]
        for batch, expected in zip(resumed, straight[start:], strict=True):
            assert torch.equal(batch.targets, expected.targets)


def test_epochs_seeds_and_steps_differ_and_global_state_does_not_matter() -> None:
    def orders(seed: int, epoch: int) -> list[int]:
        return torch.cat([batch.targets for batch in TrainBatches(numbered(64), 16, seed=seed).epoch(epoch)]).tolist()

    torch.manual_seed(1)
    first = orders(0, 0)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert orders(0, 0) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert first != orders(0, 1) != orders(1, 0) != first
    seeds = [batch.seed for epoch in range(3) for batch in TrainBatches(numbered(64), 16, seed=0).epoch(epoch)]
    assert len(set(seeds)) == len(seeds) == 12


def test_purposes_are_independent_and_repeat() -> None:
    batch = next(TrainBatches(numbered(64), 64, seed=0).epoch(0))
    first = batch.draw(lambda g, n: torch.rand(n, generator=g), "crop")
    assert torch.equal(first, batch.draw(lambda g, n: torch.rand(n, generator=g), "crop"))
    assert not torch.equal(first, batch.draw(lambda g, n: torch.rand(n, generator=g), "flip"))


def test_batch_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match=r"batch size is 6, .* multiple of the number of processes, 4"):
        TrainBatches(numbered(20), 6, seed=0, world=4)
    with pytest.raises(UsageError, match=r"batch size is 21, .* at most 20, the images in numbered \(train\)"):
        TrainBatches(numbered(20), 21, seed=0)
    for size in (0, -4):
        with pytest.raises(UsageError, match=f"batch size is {size}"):
            TrainBatches(numbered(20), size, seed=0)
        with pytest.raises(UsageError, match=f"batch size is {size}"):
            EvalBatches(numbered(20), size)


@given(count=st.integers(1, 30), batch_size=st.integers(1, 9), world=st.integers(1, 5))
def test_evaluation_sees_every_image_exactly_once_in_order(count: int, batch_size: int, world: int) -> None:
    seen: list[int] = []
    for rank in range(world):
        batches = EvalBatches(numbered(count), batch_size, rank=rank, world=world)
        parts = [targets for _, targets in batches]
        assert len(parts) == len(batches) == len(list(batches))
        assert all(len(part) == batch_size for part in parts[:-1])
        seen += [int(target) for part in parts for target in part]
    assert seen == list(range(count))


def test_lazy_sets_are_fetched_in_the_background_and_memory_is_not() -> None:
    lazy = Slow(20)
    assert len(list(TrainBatches(lazy, 4, seed=0).epoch(0))) == 5
    assert len(list(EvalBatches(lazy, 8))) == 3
    assert all(name.startswith("batches") for name in lazy.threads)
    assert len(lazy.threads) == 8
    iterator = TrainBatches(numbered(20), 4, seed=0).epoch(0)
    next(iterator)
    assert not any(thread.name.startswith("batches") for thread in threading.enumerate())


def test_no_more_than_two_batches_are_made_ahead_and_dropping_the_iterator_ends_the_thread() -> None:
    lazy = Slow(400)
    iterator = TrainBatches(lazy, 4, seed=0).epoch(0)
    next(iterator)
    deadline = time.monotonic() + 5
    while len(lazy.threads) < 1 + AHEAD and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)  # long enough for a further batch, were one to be made
    assert len(lazy.threads) == 1 + AHEAD
    del iterator  # the fixture checks that the thread ends


def test_dropping_the_iterator_cancels_what_was_not_begun() -> None:
    release, begun = threading.Event(), []

    def make(item: int) -> int:
        begun.append(item)
        if item == 1:
            release.wait(5)
        return item

    iterator = made_ahead(make, range(100))
    assert next(iterator) == 0
    threading.Timer(0.05, release.set).start()
    del iterator
    assert begun in ([0, 1], [0])


def test_an_error_while_fetching_ahead_reaches_the_caller_at_its_step() -> None:
    batches = iter(EvalBatches(Slow(20, bad=9), 4))
    assert [int(next(batches)[1][0]) for _ in range(2)] == [0, 4]
    with pytest.raises(UsageError, match="picture 9 is bad"):
        next(batches)
