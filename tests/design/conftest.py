"""What all tests of `design` begin with."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def fixed_start() -> None:
    """Networks made in a test have the same weights whatever ran before."""
    torch.manual_seed(0)
