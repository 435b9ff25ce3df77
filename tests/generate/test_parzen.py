from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal

from tenfold.core.errors import UsageError
from tenfold.generate import parzen_log_likelihood
from tenfold.generate.parzen import WIDTHS, parzen


def naive(samples: Tensor, rows: Tensor, width: float) -> Tensor:
    """The log of the mean density, one row and one sample at a time."""
    found = []
    for row in rows.double():
        logs = torch.stack([Normal(sample, width).log_prob(row).sum() for sample in samples.double()])
        found.append(logs.logsumexp(0) - math.log(len(samples)))
    return torch.stack(found)


def pictures(count: int, pixels: int = 6, *, seed: int = 0) -> Tensor:
    return torch.rand(count, pixels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 6), st.floats(0.05, 2), st.integers(0, 1000))
def test_the_density_is_the_mean_of_gaussians_around_the_samples(
    count: int, rows: int, pixels: int, width: float, seed: int
) -> None:
    samples, asked = pictures(count, pixels, seed=seed), pictures(rows, pixels, seed=seed + 1)
    found = parzen(samples, asked, width)
    assert found.shape == (rows,)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, naive(samples, asked, width), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("width", [0.03, 0.2])
def test_the_density_integrates_to_one(width: float) -> None:
    line = torch.linspace(-2, 3, 20001, dtype=torch.float64)[:, None]
    density = parzen(pictures(7, 1), line, width).exp()
    assert float(torch.trapezoid(density, line[:, 0])) == pytest.approx(1, abs=1e-6)


def test_a_row_far_from_all_samples_has_a_finite_density() -> None:
    found = parzen(torch.zeros(3, 784), torch.ones(1, 784), 0.01)  # the density itself underflows
    wanted = -784 / (2 * 0.01**2) - 784 * math.log(0.01 * math.sqrt(2 * math.pi))
    assert float(found) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("width", [0.001, 0.005, 0.1])
def test_single_precision_pictures_are_scored_as_double_ones(width: float) -> None:
    """Widths as small as the paper's for faces, and rows as near to a sample as such a width makes likely."""
    samples = pictures(40, 784).float()
    rows = samples[:5] + width * torch.randn(5, 784, generator=torch.Generator().manual_seed(1))
    assert parzen(samples, rows, width).tolist() == pytest.approx(naive(samples, rows, width).tolist(), abs=0.1)


def test_samples_and_rows_may_be_of_different_types() -> None:
    samples, rows = pictures(4), pictures(4, seed=1)
    wanted = parzen(samples.float().double(), rows, 0.1)
    torch.testing.assert_close(parzen(samples.float(), rows, 0.1), wanted, rtol=1e-9, atol=1e-9)


def test_many_rows_are_scored_as_if_at_once() -> None:
    samples, rows = pictures(9), pictures(600, seed=1)
    found = parzen(samples, rows, 0.1)
    assert found.shape == (600,)
    for place in (0, 255, 256, 511, 512, 599):
        assert float(found[place]) == pytest.approx(float(naive(samples, rows[place : place + 1], 0.1)), rel=1e-5)


def test_the_width_is_the_best_of_the_validation_rows() -> None:
    # test rows that would have another width best
    samples, validation, test = pictures(40), pictures(30, seed=1), pictures(30, seed=2) * 3
    widths = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6]
    means = [float(naive(samples, validation, width).mean()) for width in widths]
    mean, error, width = parzen_log_likelihood(samples, validation, test, widths=widths)
    assert width == widths[means.index(max(means))]
    assert width not in (widths[0], widths[-1])
    found = naive(samples, test, width)
    assert mean == pytest.approx(float(found.mean()), rel=1e-5)
    assert error == pytest.approx(float(found.std(correction=1)) / math.sqrt(30), rel=1e-4)
    assert max(widths, key=lambda other: float(naive(samples, test, other).mean())) != width


def test_the_paper_tries_widths_from_a_tenth_to_three_tenths() -> None:
    assert pytest.approx([0.1 + step / 100 for step in range(21)]) == list(WIDTHS)
    samples = pictures(200, 2)
    assert parzen_log_likelihood(samples, samples + 0.2, samples)[2] in WIDTHS
    assert parzen_log_likelihood(samples, samples + 50, samples)[2] == 0.3


def test_one_test_row_has_no_standard_error() -> None:
    mean, error, _ = parzen_log_likelihood(pictures(4), pictures(4, seed=1), pictures(1, seed=2))
    assert math.isfinite(mean)
    assert math.isnan(error)


@pytest.mark.parametrize("name", ["samples", "validation", "test"])
def test_sets_that_do_not_fit_are_refused(name: str) -> None:
    for wrong in (torch.zeros(0, 6), torch.zeros(6), torch.zeros(3, 2, 3)):
        sets = {"samples": pictures(3), "validation": pictures(3), "test": pictures(3), name: wrong}
        with pytest.raises(UsageError, match=rf"{name} have shape \(.*\), but must be \(N, .*\), N above 0"):
            parzen_log_likelihood(**sets)
    for other in ("validation", "test"):
        sets = {"samples": pictures(3), "validation": pictures(3), "test": pictures(3), other: pictures(3, 5)}
        with pytest.raises(UsageError, match=rf"{other} have shape \(3, 5\), but must be \(N, 6\)"):
            parzen_log_likelihood(**sets)


@pytest.mark.parametrize("widths", [(), (0.1, 0.0), (-0.1,)])
def test_widths_must_be_above_zero(widths: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match=r"widths are \(.*\), but must be numbers above 0"):
        parzen_log_likelihood(pictures(3), pictures(3), pictures(3), widths=widths)
