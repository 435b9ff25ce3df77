from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tenfold.distill import normal_margin
from tenfold.distill.margin import FAR, GivenMargin, MarginForm, StreamingMargin


def one(mean: float, spread: float, form: MarginForm = "paper") -> float:
    numbers = torch.tensor([mean, spread], dtype=torch.float64)
    return float(normal_margin(numbers[:1], numbers[1:], form=form))


def integrated(ratio: float) -> float:
    """E[x | x < 0] / sigma of a normal x with mean / sigma = ratio, by the trapezoidal rule over -x / sigma."""
    peak = max(0.0, -ratio)
    begin, end = max(0.0, peak - 14), peak + min(14.0, 40 / max(ratio, 1.0))
    grid = torch.linspace(begin, end, 100_001, dtype=torch.float64)
    # the density, but for a factor that keeps it from underflowing
    density = torch.exp(-((grid + ratio).square() - (peak + ratio) ** 2) / 2)
    return -float(torch.trapezoid(grid * density, grid) / torch.trapezoid(density, grid))


# the normal margin

RATIOS = [*(float(ratio) for ratio in range(-40, 41, 5)), -3.1, -1.0, -0.01, 0.5, 1.0, 2.0, 3.0, 3.08, 3.10, 6.0, 8.3]


@pytest.mark.parametrize("ratio", [*RATIOS, 29.99, 30.01])
def test_it_is_the_mean_below_zero_by_integration(ratio: float) -> None:
    expected = integrated(ratio)
    for spread in (1e-4, 0.03, 1.0, 37.0, 1e3):
        assert one(ratio * spread, spread, "exact") == pytest.approx(expected * spread, rel=1e-6)
        fallback = 0.5 * math.erfc(ratio / math.sqrt(2)) <= 0.001
        paper = -3 * spread if fallback else expected * spread
        assert one(ratio * spread, spread) == pytest.approx(paper, rel=1e-6)


@pytest.mark.parametrize(("ratio", "margin"), [(-1, -1.2876), (0, -0.7979), (1, -0.5251), (3.08, -0.278)])
def test_it_by_hand(ratio: float, margin: float) -> None:
    for spread in (0.5, 1.0, 8.0):
        assert one(ratio * spread, spread) == pytest.approx(margin * spread, abs=6e-4 * spread)
        assert one(ratio * spread, spread, "exact") == pytest.approx(margin * spread, abs=6e-4 * spread)


def test_the_paper_jumps_where_a_negative_value_has_a_chance_of_a_thousandth() -> None:
    edge = 3.0902323061678132  # Phi(-edge) = 0.001
    assert one(3.08, 1.0) == pytest.approx(-0.278, abs=1e-3)
    assert one(edge - 1e-9, 1.0) == pytest.approx(one(edge - 1e-9, 1.0, "exact"))
    assert one(edge + 1e-9, 1.0) == one(3.10, 1.0) == -3.0
    assert one(3.10, 1.0, "exact") == pytest.approx(integrated(3.10))


def test_the_exact_form_is_continuous_where_the_series_takes_over() -> None:
    before, behind = (one(FAR * (1 + step), 1.0, "exact") for step in (-1e-12, 1e-12))
    assert before == pytest.approx(behind, rel=3e-7)


def test_a_channel_without_spread_has_its_mean_where_that_is_negative() -> None:
    mean = torch.tensor([-2.0, -0.0, 0.0, 3.0])
    for form in ("paper", "exact"):
        assert normal_margin(mean, torch.zeros(4), form=form).tolist() == [-2.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("form", ["paper", "exact"])
def test_the_sign_of_the_spread_does_not_matter(form: MarginForm) -> None:
    mean, spread = torch.randn(50), torch.randn(50)
    assert torch.equal(normal_margin(mean, spread, form=form), normal_margin(mean, -spread, form=form))


def test_it_is_an_answer_however_far_mean_and_spread_are_apart() -> None:
    for spread in (1e-30, 1e-38, 1e-300, 5e-324):
        assert one(-0.5, spread) == one(-0.5, spread, "exact") == -0.5
        assert -1e-29 <= one(0.5, spread) <= 0
        assert one(0.5, spread, "exact") == 0
    assert one(1e6, 1.0) == -3.0
    assert one(1e6, 1.0, "exact") == pytest.approx(-1e-6, rel=1e-6)
    assert one(-1e6, 1.0, "exact") == one(-1e6, 1.0) == -1e6
    assert one(1e-30, 1.0) == pytest.approx(-math.sqrt(2 / math.pi))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_it_is_float32_and_has_no_gradient(dtype: torch.dtype) -> None:
    mean = torch.tensor([-1.0, 0.0, 1.0], dtype=dtype, requires_grad=True)
    margin = normal_margin(mean, torch.ones(3, dtype=dtype, requires_grad=True))
    assert margin.dtype == torch.float32
    assert not margin.requires_grad
    torch.testing.assert_close(margin, torch.tensor([-1.2876, -0.7979, -0.5251]), atol=1e-4, rtol=0)


NUMBER = st.floats(-1e6, 1e6, width=32)
TINY = 1e-44  # float32 has few digits so close to 0


@given(NUMBER, NUMBER)
def test_it_lies_below_zero_and_below_the_mean_but_not_far(mean: float, spread: float) -> None:
    rounding = 1e-6 * (abs(mean) + abs(spread)) + TINY
    exact, paper = one(mean, spread, "exact"), one(mean, spread)
    below = min(mean, 0.0)
    assert below - math.sqrt(2 / math.pi) * abs(spread) - rounding <= exact <= min(0.0, below + rounding)
    assert paper in (exact, pytest.approx(-3 * abs(spread), rel=1e-6, abs=TINY))
    assert paper <= 0


@given(NUMBER, NUMBER, NUMBER)
def test_the_exact_form_rises_with_the_mean(first: float, second: float, spread: float) -> None:
    low, high = sorted([first, second])
    lower, higher = one(low, spread, "exact"), one(high, spread, "exact")
    assert lower <= higher + 1e-6 * abs(higher) + TINY


@given(NUMBER, NUMBER, st.sampled_from([2.0**-10, 0.5, 4.0, 2.0**10]))
def test_it_knows_no_unit(mean: float, spread: float, unit: float) -> None:
    for form in ("paper", "exact"):
        assert one(mean * unit, spread * unit, form) == pytest.approx(
            one(mean, spread, form) * unit, rel=1e-6, abs=1e-38
        )


def test_it_is_that_of_many_normal_numbers() -> None:
    mean, spread = torch.tensor([-0.7, 0.2, 1.5]), torch.tensor([0.5, 2.0, 1.0])
    drawn = torch.randn(1_000_000, 3, generator=torch.Generator().manual_seed(0)) * spread + mean
    expected = torch.stack([column[column < 0].mean() for column in drawn.T])
    torch.testing.assert_close(normal_margin(mean, spread), expected, atol=5e-3, rtol=0)


def test_a_given_margin_is_a_copy_that_stays_as_it_is() -> None:
    given_one = torch.tensor([-1.0, 0.0], requires_grad=True)
    margin = GivenMargin(given_one)
    margin.update(torch.full((2, 2, 3, 3), -5.0))
    with torch.no_grad():
        given_one.fill_(7)
    assert margin.margin.tolist() == [-1.0, 0.0]
    assert GivenMargin(given_one.double()).margin.dtype == torch.float32
    assert not list(margin.parameters())
    assert list(margin.state_dict()) == ["margin"]


# the margin of data


def features(count: int = 12, channels: int = 3, *, seed: int = 0) -> Tensor:
    """Maps (N, C, 4, 5) that are negative more or less often, by channel."""
    drawn = torch.randn(count, channels, 4, 5, generator=torch.Generator().manual_seed(seed))
    return drawn + torch.linspace(-1, 1, channels).view(1, -1, 1, 1)


def streamed(batches: list[Tensor], **options: Any) -> StreamingMargin:
    margin = StreamingMargin(batches[0].shape[1], **options)
    for each in batches:
        margin.update(each)
    return margin


def test_it_is_the_mean_of_the_negative_values_of_each_channel() -> None:
    x = features()
    by_channel = x.transpose(0, 1).flatten(1)
    expected = torch.stack([row[row < 0].mean() for row in by_channel])
    torch.testing.assert_close(streamed([x]).margin, expected)


@given(st.lists(st.integers(0, 11), max_size=4), st.permutations(range(12)))
def test_neither_order_nor_size_of_batches_matters(cuts: list[int], order: list[int]) -> None:
    x = features()
    parts = [part for part in x[order].tensor_split(sorted(cuts)) if len(part)]
    torch.testing.assert_close(streamed(parts).margin, streamed([x]).margin)


def test_a_channel_that_was_never_negative_has_margin_0() -> None:
    x = features().abs()
    x[:, 1] *= -1
    margin = streamed([x, x]).margin
    assert margin[[0, 2]].tolist() == [0.0, 0.0]
    assert float(margin[1]) == pytest.approx(float(x[:, 1].mean()))
    assert StreamingMargin(2).margin.tolist() == [0.0, 0.0]


def test_from_the_limit_on_it_stays_as_it_is() -> None:
    first, second, third = (features(seed=seed) for seed in range(3))
    limited = streamed([first, second, third], limit=2)
    assert torch.equal(limited.margin, streamed([first, second]).margin)
    assert not torch.equal(limited.margin, streamed([first, second, third]).margin)


def test_it_goes_on_from_its_saved_state() -> None:
    batches = [features(seed=seed) for seed in range(4)]
    begun = streamed(batches[:2], limit=3)
    resumed = StreamingMargin(3, limit=3)
    resumed.load_state_dict(begun.state_dict())
    assert torch.equal(resumed.margin, begun.margin)
    for each in batches[2:]:
        resumed.update(each)
    assert torch.equal(resumed.margin, streamed(batches[:3]).margin)


def test_low_precision_and_gradients_do_not_reach_it() -> None:
    x = features(seed=3).bfloat16()
    margin = streamed([x.requires_grad_()] * 8)
    assert margin.margin.dtype == torch.float32
    assert not margin.margin.requires_grad
    torch.testing.assert_close(margin.margin, streamed([x.detach().float()]).margin)


def test_each_process_learns_from_the_pictures_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, others = features(seed=0), features(seed=1)
    elsewhere = streamed([others])

    def all_reduce(tensor: Tensor) -> None:
        tensor += torch.stack([elsewhere.sums, elsewhere.counts])

    expected = streamed([torch.cat([mine, others])]).margin
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.all_reduce", all_reduce)
    torch.testing.assert_close(streamed([mine]).margin, expected)
