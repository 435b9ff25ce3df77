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


def test_steps_may_fall_by_another_factor() -> None:
    for share, rate in ((0.0, 1.0), (0.5, 0.5), (0.75, 0.25), (0.99, 0.25)):
        assert learning_rate(1.0, "steps", share, factor=0.5) == pytest.approx(rate)
    assert learning_rate(3.0, "steps", 0.9, steps_at=(), factor=0.5) == 3.0


def test_poly_falls_to_nothing_to_the_power_of_nine_tenths() -> None:
    assert learning_rate(0.2, "poly", 0.0) == 0.2
    assert learning_rate(0.2, "poly", 0.5) == pytest.approx(0.2 * 0.5358867)
    assert learning_rate(0.2, "poly", 0.99) == pytest.approx(0.2 * 10**-1.8)
    # what the other schedules are told does not matter
    assert learning_rate(0.2, "poly", 0.9, steps_at=(0.1,), factor=0.5) == learning_rate(0.2, "poly", 0.9)
    rates = [learning_rate(0.2, "poly", share / 100) for share in range(100)]
    assert rates == sorted(rates, reverse=True)


def test_linear_stays_for_the_first_half_and_falls_to_nothing() -> None:
    for share, rate in ((0.0, 0.2), (0.25, 0.2), (0.5, 0.2), (0.625, 0.15), (0.75, 0.1), (0.99, 0.004)):
        assert learning_rate(0.2, "linear", share) == pytest.approx(rate)
    # what the other schedules are told does not matter
    assert learning_rate(0.2, "linear", 0.9, steps_at=(0.1,), factor=0.5) == learning_rate(0.2, "linear", 0.9)
