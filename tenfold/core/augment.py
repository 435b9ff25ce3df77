"""Random crops and flips of whole batches, and of labels with them. N images, C channels, H x W pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .batches import Batch


def augment(batch: Batch, *, pad: int, flip: bool, reflect: bool = False) -> Tensor:
    """The batch's images, each shifted by up to `pad` pixels either way and, if `flip`, mirrored half of the time.

    What comes in at the border is black, or with `reflect` the image mirrored.

    The numbers drawn follow from the batch's seed and the image's place in the global batch, not from the process.

    Returns:
        (N, C, H, W), same dtype and device as `batch.images`.
    """
    offsets = batch.draw(lambda generator, n: torch.randint(0, 2 * pad + 1, (n, 2), generator=generator), "crop")
    flips = batch.draw(lambda generator, n: torch.rand(n, generator=generator) < (0.5 if flip else 0.0), "flip")
    return random_crop_flip(batch.images, offsets=offsets, flips=flips, pad=pad, reflect=reflect)


def random_crop_flip(
    batch_images: Tensor, *, offsets: Tensor, flips: Tensor, pad: int, reflect: bool = False
) -> Tensor:
    """Pad every image by `pad` pixels, cut its own H x W window out, then mirror it left to right where asked.

    Args:
        batch_images: (N, C, H, W), any dtype.
        offsets: (N, 2) int64, top and left of each window in [0, 2 * pad]; (pad, pad) leaves the image in place.
        flips: (N,) bool.
        pad: pixels added on each side, at least 0 and, reflected, below H and W.
        reflect: add the image's own pixels, mirrored at its border, instead of zeros.

    Returns:
        (N, C, H, W), a new tensor of the same dtype and device.
    """
    count, channels, height, width = batch_images.shape
    across = torch.arange(width, device=batch_images.device)
    rows = offsets[:, :1] + torch.arange(height, device=batch_images.device)
    columns = offsets[:, 1:] + torch.where(flips[:, None], across.flip(0), across)
    if reflect:
        rows, columns = _reflected(rows - pad, height), _reflected(columns - pad, width)
        pad = 0
    # one gather over flattened pixels: two to four times as fast as indexing with rows and columns
    pixels = (rows[:, :, None] * (width + 2 * pad) + columns[:, None, :]).view(count, 1, height * width)
    padded = F.pad(batch_images, (pad, pad, pad, pad)).flatten(2)
    return padded.gather(2, pixels.expand(-1, channels, -1)).view(batch_images.shape)


def _reflected(places: Tensor, size: int) -> Tensor:
    """Places outside of 0 .. size - 1, mirrored at the border pixel, which is not repeated."""
    return (size - 1) - ((size - 1) - places.abs()).abs()


def augment_masked(batch: Batch, *, size: tuple[int, int], crop: float, flip: bool) -> tuple[Tensor, Tensor]:
    """The batch's images and labels, each cut at its four sides, mirrored half of the time if `flip`, and resized.

    The numbers drawn follow from the batch's seed and the image's place in the global batch, not from the process.

    Args:
        batch: its targets are labels (N, H, W), of any integer type.
        size: height and width to resize to.
        crop: up to this share of the height or width is cut off at each side, in [0, 0.5).
        flip: mirror left to right.

    Returns:
        Images float32 (N, C, *size) in [0, 255], bilinear, and labels int64 (N, *size), nearest.
    """
    cuts = batch.draw(lambda generator, n: torch.rand(n, 4, generator=generator) * crop, "cut")
    flips = batch.draw(lambda generator, n: torch.rand(n, generator=generator) < (0.5 if flip else 0.0), "flip")
    return resized_windows(batch.images, batch.targets, cuts=cuts, flips=flips, size=size)


def resized_windows(
    images: Tensor, labels: Tensor, *, cuts: Tensor, flips: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """`augment_masked` with given numbers.

    Args:
        images: (N, C, H, W), any type.
        labels: (N, H, W), any integer type.
        cuts: (N, 4), the shares cut off at the top, bottom, left and right, each in [0, 0.5).
        flips: (N,) bool.
        size: height and width to resize to.
    """
    top, bottom, left, right = (2 * cuts).unbind(1)  # from -1 to 1 are 2 units
    across, middle = (2 - left - right) / 2, (left - right) / 2
    zero = torch.zeros_like(top)
    across = torch.where(flips, -across, across)
    window = torch.stack([across, zero, middle, zero, (2 - top - bottom) / 2, (top - bottom) / 2], 1).view(-1, 2, 3)
    places = F.affine_grid(window, [len(images), 1, *size], align_corners=False)
    pixels = F.grid_sample(images.float(), places, mode="bilinear", padding_mode="border", align_corners=False)
    # labels are at most 255, which float32 holds exactly
    nearest = F.grid_sample(labels[:, None].float(), places, mode="nearest", padding_mode="border", align_corners=False)
    return pixels, nearest[:, 0].long()


def random_windows(batch: Batch, *, size: int, flip: bool) -> Tensor:
    """A square window of each of the batch's images, at a random place, mirrored half of the time if `flip`.

    The numbers drawn follow from the batch's seed and the image's place in the global batch, not from the process.

    Args:
        batch: its images are (N, C, H, W) of any type.
        size: pixels of each side, at most H and W.
        flip: mirror left to right.

    Returns:
        (N, C, size, size), same dtype and device as `batch.images`.
    """
    count, channels, height, width = batch.images.shape
    places = batch.draw(lambda generator, n: torch.rand(n, 2, generator=generator), "window")
    flips = batch.draw(lambda generator, n: torch.rand(n, generator=generator) < (0.5 if flip else 0.0), "flip")
    room = torch.tensor([height - size + 1, width - size + 1], device=places.device)
    corners = (places * room).long()
    across = torch.arange(size, device=places.device)
    rows = corners[:, :1] + across
    columns = corners[:, 1:] + torch.where(flips[:, None], across.flip(0), across)
    pixels = (rows[:, :, None] * width + columns[:, None, :]).view(count, 1, size * size)
    found = batch.images.flatten(2).gather(2, pixels.expand(-1, channels, -1))
    return found.view(count, channels, size, size)
