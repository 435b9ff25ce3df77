"""Random crops and flips of whole batches. N images, C channels, H x W pixels."""

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
