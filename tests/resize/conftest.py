"""Networks that many tests of `resize` look at."""

from __future__ import annotations

import pytest

from tenfold.resize import ResizableNet

from .builders import calibrated_net, dialled


@pytest.fixture(scope="module")
def shared() -> ResizableNet:
    """Nobody may change it."""
    return dialled()


@pytest.fixture(scope="module")
def calibrated() -> ResizableNet:
    """Nobody may change it."""
    return calibrated_net()
