from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tenfold.core.augment import augment, random_crop_flip
from tenfold.core.batches import Batch


def one_by_one(images: Tensor, offsets: Tensor, flips: Tensor, pad: int) -> Tensor:
    height, width = images.shape[-2:]
    results = []
    for image, (top, left), flip in zip(images, offsets.tolist(), flips.tolist(), strict=True):
        window = F.pad(image, (pad,) * 4)[:, top : top + height, left : left + width]
        results.append(window.flip(-1) if flip else window)
    return torch.stack(results)


@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 7), st.integers(1, 7)),
    pad=st.integers(0, 5),
    dtype=st.sampled_from([torch.uint8, torch.float32, torch.bfloat16]),
    channels_last=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_equals_cropping_and_flipping_one_image_at_a_time(
    shape: tuple[int, int, int, int], pad: int, dtype: torch.dtype, channels_last: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(1, 256, shape, generator=generator).to(dtype)
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    offsets = torch.randint(0, 2 * pad + 1, (shape[0], 2), generator=generator)
    flips = torch.rand(shape[0], generator=generator) < 0.5
    moved = random_crop_flip(images, offsets=offsets, flips=flips, pad=pad)
    assert moved.dtype == dtype
    assert torch.equal(moved, one_by_one(images, offsets, flips, pad))


def test_an_empty_batch_stays_empty() -> None:
    empty = torch.empty(0, 3, 8, 8, dtype=torch.uint8)
    offsets, flips = torch.empty(0, 2, dtype=torch.int64), torch.empty(0, dtype=torch.bool)
    assert random_crop_flip(empty, offsets=offsets, flips=flips, pad=2).shape == (0, 3, 8, 8)


def batch(rows: slice = slice(0, 64), seed: int = 3) -> Batch:
    images = torch.arange(64 * 25, dtype=torch.float32).view(64, 1, 5, 5)[rows]
    return Batch(images, torch.zeros(len(images), dtype=torch.int64), rows, 64, seed)


def test_what_happens_to_an_image_does_not_depend_on_the_number_of_processes() -> None:
    whole = augment(batch(), pad=2, flip=True)
    shares = [augment(batch(slice(start, start + 16)), pad=2, flip=True) for start in range(0, 64, 16)]
    assert torch.equal(torch.cat(shares), whole)
    assert not torch.equal(augment(batch(seed=4), pad=2, flip=True), whole)


def test_flips_only_when_asked_and_about_half() -> None:
    images = batch().images
    flipped = augment(batch(), pad=0, flip=True)
    share = (flipped == images.flip(-1)).flatten(1).all(1).float().mean()
    assert 0.3 < share < 0.7
    assert torch.equal(augment(batch(), pad=0, flip=False), images)


def test_every_offset_occurs_and_the_two_directions_are_independent() -> None:
    ones = Batch(torch.ones(400, 1, 3, 3), torch.zeros(400, dtype=torch.int64), slice(0, 400), 400, 0)
    moved = augment(ones, pad=1, flip=False)
    assert len({image.numpy().tobytes() for image in moved}) == 9


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_equals_cpu() -> None:
    on_gpu = batch()._replace(images=batch().images.cuda())
    assert torch.equal(augment(on_gpu, pad=2, flip=True).cpu(), augment(batch(), pad=2, flip=True))
