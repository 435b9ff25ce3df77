from __future__ import annotations

import math

import pytest

from tenfold.core.schedule import learning_rate


def test_steps_divide_the_rate_by_ten_at_one_half_and_three_quarters() -> None:
    for share, rate in ((0.0, 0.2), (0.49, 0.2), (0.5, 0.02), (0.74, 0.02), (0.75, 0.002), (0.99, 0.002)):
        assert learning_rate(0.2, "steps", share) == pytest.approx(rate)


def test_cosine_warms_up_and_falls_to_nothing() -> None:
    assert 0 < learning_rate(0.2, "cosine", 0.0) < 0.03
    assert learning_rate(0.2, "cosine", 0.1) == pytest.approx(0.2)
    assert learning_rate(0.2, "cosine", 0.55) == pytest.approx(0.1)
    assert learning_rate(0.2, "cosine", 0.4) == pytest.approx(0.1 * (1 + math.cos(math.pi / 3)))
    assert learning_rate(0.2, "cosine", 0.9999) == pytest.approx(0.0, abs=1e-6)
    rates = [learning_rate(0.2, "cosine", share / 100) for share in range(100)]
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_steps_may_stand_elsewhere() -> None:
    assert learning_rate(1.0, "steps", 0.4, steps_at=(0.3, 0.6, 0.9)) == pytest.approx(0.1)
    assert learning_rate(1.0, "steps", 0.95, steps_at=(0.3, 0.6, 0.9)) == pytest.approx(0.001)
