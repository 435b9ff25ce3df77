from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tenfold.core.augment import augment, augment_masked, random_crop_flip, random_windows, resized_windows
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


# With labels


def none_cut(count: int) -> Tensor:
    return torch.zeros(count, 4)


def unflipped(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.bool)


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 99),
)
def test_windows_of_everything_at_the_same_size_change_nothing(shape: tuple[int, int, int, int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 256, (shape[0], *shape[2:]), generator=generator, dtype=torch.uint8)
    flips = torch.rand(shape[0], generator=generator) < 0.5
    pixels, found = resized_windows(images, labels, cuts=none_cut(shape[0]), flips=flips, size=shape[2:])
    assert (pixels.dtype, found.dtype) == (torch.float32, torch.int64)
    assert torch.equal(found, torch.where(flips[:, None, None], labels.flip(-1), labels).long())
    expected = torch.where(flips[:, None, None, None], images.flip(-1), images).float()
    assert torch.allclose(pixels, expected, rtol=0, atol=0.01)  # of 255; places are float32


def test_windows_by_hand() -> None:
    labels = torch.arange(32, dtype=torch.uint8).view(1, 4, 8)
    cuts = torch.tensor([[0.25, 0.25, 0.0, 0.5]])  # a row at the top and one at the bottom, the right half
    pixels, found = resized_windows(labels[:, None], labels, cuts=cuts, flips=unflipped(1), size=(2, 4))
    assert found[0].tolist() == [[8, 9, 10, 11], [16, 17, 18, 19]]
    assert torch.allclose(pixels[0, 0], found[0].float(), atol=1e-3)
    pixels, found = resized_windows(labels[:, None], labels, cuts=cuts, flips=~unflipped(1), size=(2, 4))
    assert found[0].tolist() == [[11, 10, 9, 8], [19, 18, 17, 16]]
    assert torch.allclose(pixels[0, 0], found[0].float(), atol=1e-3)
    # twice as large: pixels are mixed, labels repeated
    ramp = torch.tensor([[[0, 100]]], dtype=torch.uint8)
    pixels, found = resized_windows(ramp[:, None], ramp, cuts=none_cut(1), flips=unflipped(1), size=(1, 4))
    assert pixels[0, 0, 0].tolist() == pytest.approx([0, 25, 75, 100], abs=1e-3)
    assert found[0, 0].tolist() == [0, 0, 100, 100]
    # half as large: each pixel is the mean of four
    square = torch.tensor([[[10, 20, 0, 0], [30, 40, 0, 8]]], dtype=torch.uint8)
    pixels, _ = resized_windows(square[:, None], square, cuts=none_cut(1), flips=unflipped(1), size=(1, 2))
    assert pixels[0, 0, 0].tolist() == pytest.approx([25, 2], abs=1e-3)


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 30), st.integers(1, 30)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    crop=st.floats(0, 0.45),
    seed=st.integers(0, 99),
)
def test_nearest_labels_are_labels_that_were_there(
    shape: tuple[int, int, int], size: tuple[int, int], crop: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.tensor([0, 3, 254, 255])
    labels = chosen[torch.randint(0, 4, shape, generator=generator)].to(torch.uint8)
    cuts = torch.rand(shape[0], 4, generator=generator) * crop
    flips = torch.rand(shape[0], generator=generator) < 0.5
    pixels, found = resized_windows(labels[:, None], labels, cuts=cuts, flips=flips, size=size)
    assert (pixels.shape, found.shape) == ((shape[0], 1, *size), (shape[0], *size))
    assert pixels.min() >= 0
    assert pixels.max() <= 255.01
    for ours, theirs in zip(found, labels, strict=True):
        assert set(ours.unique().tolist()) <= set(theirs.unique().tolist())


def painted(count: int = 64, seed: int = 3, rows: slice = slice(0, 64)) -> Batch:
    """Pictures of two smooth blobs, painted in the colour of their label."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 1, 3, 4, generator=generator)
    labels = (F.interpolate(coarse, (24, 32), mode="bilinear")[:, 0] > 0.5).to(torch.uint8)
    return Batch((labels[:, None] * 200)[rows], labels[rows], rows, count, seed)


@pytest.mark.parametrize("size", [(24, 32), (12, 16), (48, 64), (17, 53)])
def test_labels_stay_on_their_pixels(size: tuple[int, int]) -> None:
    pixels, labels = augment_masked(painted(), size=size, crop=0.2, flip=True)
    assert (pixels.shape, labels.shape) == ((64, 1, *size), (64, *size))
    agree = (pixels[:, 0] > 100) == (labels == 1)
    assert agree.float().mean() > 0.97  # but for the seams, where pixels are mixed
    sure = (pixels[:, 0] < 10) | (pixels[:, 0] > 190)
    assert agree[sure].all()
    # a shift of a pixel would show
    moved = (pixels[:, 0, :, 2:] > 100) == (labels[:, :, :-2] == 1)
    assert moved.float().mean() < agree.float().mean() - 0.02


def test_what_happens_to_labels_does_not_depend_on_the_number_of_processes() -> None:
    whole = augment_masked(painted(), size=(20, 20), crop=0.1, flip=True)
    shares = [
        augment_masked(painted(rows=slice(start, start + 16)), size=(20, 20), crop=0.1, flip=True)
        for start in range(0, 64, 16)
    ]
    for part, expected in zip(zip(*shares, strict=True), whole, strict=True):
        assert torch.equal(torch.cat(part), expected)
    assert not torch.equal(augment_masked(painted(seed=4), size=(20, 20), crop=0.1, flip=True)[1], whole[1])


def test_masked_pictures_are_flipped_and_cut_only_when_asked() -> None:
    batch = painted()
    pixels, labels = augment_masked(batch, size=(24, 32), crop=0.0, flip=False)
    assert torch.equal(labels, batch.targets.long())
    assert torch.allclose(pixels, batch.images.float(), atol=0.01)
    _, flipped = augment_masked(batch, size=(24, 32), crop=0.0, flip=True)
    mirrored = (flipped == labels.flip(-1)).flatten(1).all(1)
    assert (mirrored | (flipped == labels).flatten(1).all(1)).all()
    assert 0.3 < mirrored.float().mean() < 0.7


def test_cuts_are_at_all_four_sides_and_at_most_as_large_as_asked() -> None:
    places = torch.arange(101 * 101).view(1, 101, 101).expand(200, -1, -1)
    batch = Batch(torch.zeros(200, 1, 101, 101), places % 101, slice(0, 200), 200, 0)
    _, columns = augment_masked(batch, size=(101, 101), crop=0.1, flip=False)
    left, right = columns[:, 0, 0], 100 - columns[:, 0, -1]
    _, rows = augment_masked(batch._replace(targets=places // 101), size=(101, 101), crop=0.1, flip=False)
    top, bottom = rows[:, 0, 0], 100 - rows[:, -1, 0]
    for cut in (left, right, top, bottom):
        assert (cut.min(), cut.max()) == (0, 10)
        assert 4 < cut.float().mean() < 6
    assert torch.corrcoef(torch.stack([left, right, top, bottom]).float()).fill_diagonal_(0).abs().max() < 0.25


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_cuts_as_the_cpu() -> None:
    batch = painted()
    on_gpu = batch._replace(images=batch.images.cuda(), targets=batch.targets.cuda())
    pixels, labels = augment_masked(on_gpu, size=(17, 20), crop=0.1, flip=True)
    expected, truth = augment_masked(batch, size=(17, 20), crop=0.1, flip=True)
    assert torch.allclose(pixels.cpu(), expected, atol=0.05)
    assert (labels.cpu() == truth).float().mean() > 0.999


# Windows


def numbered(count: int = 64, height: int = 9, width: int = 12, *, rows: slice | Tensor | None = None) -> Batch:
    """Images of which no two pixels are equal."""
    images = torch.arange(count * 2 * height * width, dtype=torch.int32).view(count, 2, height, width)
    rows = slice(0, count) if rows is None else rows
    return Batch(images[rows], torch.zeros(len(images[rows]), dtype=torch.int64), rows, count, 3)


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    size=st.integers(1, 9),
    flip=st.booleans(),
    dtype=st.sampled_from([torch.uint8, torch.int32, torch.float32, torch.bfloat16]),
    channels_last=st.booleans(),
)
def test_windows_are_parts_of_their_images_or_mirrored_parts(
    height: int, width: int, size: int, flip: bool, dtype: torch.dtype, channels_last: bool
) -> None:
    size = min(size, height, width)
    batch = numbered(6, height, width)
    images = batch.images.to(dtype)
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    found = random_windows(batch._replace(images=images), size=size, flip=flip)
    assert (found.shape, found.dtype) == ((6, 2, size, size), dtype)
    for window, image in zip(found, images, strict=True):
        parts = [
            image[:, top : top + size, left : left + size]
            for top in range(height - size + 1)
            for left in range(width - size + 1)
        ]
        assert any(torch.equal(window, part) or (flip and torch.equal(window, part.flip(-1))) for part in parts)


def corners_of(batch: Batch, size: int, *, flip: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Top, left and whether mirrored, read off the numbers of the pixels."""
    count, channels, height, width = batch.images.shape
    found = random_windows(batch, size=size, flip=flip).long()
    within = (found - torch.arange(count).view(-1, 1, 1, 1) * channels * height * width)[:, 0]
    mirrored = within[:, 0, 0] > within[:, 0, -1]
    return within[:, 0].amin(1) // width, within[:, 0].amin(1) % width, mirrored


def test_windows_are_everywhere_equally_often_and_half_of_them_mirrored() -> None:
    top, left, mirrored = corners_of(numbered(3000), 7, flip=True)
    counts = torch.bincount(top * 6 + left, minlength=18)  # 3 x 6 places
    assert len(counts) == 18
    assert ((counts - 3000 / 18).abs() < 55).all()
    assert 0.46 < mirrored.float().mean() < 0.54
    drawn = torch.stack([top, left, mirrored.long()]).float()
    assert torch.corrcoef(drawn).fill_diagonal_(0).abs().max() < 0.08
    assert not corners_of(numbered(3000), 7, flip=False)[2].any()


def test_a_window_of_the_size_of_the_image_is_the_image_mirrored_or_not() -> None:
    batch = numbered(64, 5, 5)
    assert torch.equal(random_windows(batch, size=5, flip=False), batch.images)
    mirrored = (random_windows(batch, size=5, flip=True) == batch.images.flip(-1)).flatten(1).all(1)
    assert 0 < mirrored.sum() < 64


def test_a_window_is_the_same_however_many_processes_share_the_batch() -> None:
    whole = random_windows(numbered(), size=4, flip=True)
    shares = [random_windows(numbered(rows=slice(start, start + 16)), size=4, flip=True) for start in range(0, 64, 16)]
    assert torch.equal(torch.cat(shares), whole)
    some = torch.tensor([40, 3, 17])
    assert torch.equal(random_windows(numbered(rows=some), size=4, flip=True), whole[some])
    assert torch.equal(random_windows(numbered(), size=4, flip=True), whole)
    assert not torch.equal(random_windows(numbered()._replace(seed=4), size=4, flip=True), whole)


def test_an_empty_share_has_no_windows() -> None:
    assert random_windows(numbered(rows=slice(64, 64)), size=4, flip=True).shape == (0, 2, 4, 4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_cuts_windows_as_the_cpu() -> None:
    batch = numbered()
    on_gpu = batch._replace(images=batch.images.cuda())
    assert torch.equal(random_windows(on_gpu, size=4, flip=True).cpu(), random_windows(batch, size=4, flip=True))
