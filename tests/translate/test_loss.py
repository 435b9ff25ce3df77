"""The losses against numbers by hand and loops written from the formulas; the scales that make shares mean influence."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.errors import UsageError
from tenfold.translate import LossScales
from tenfold.translate.loss import (
    adversarial,
    discrimination,
    discriminator_loss,
    gradient_penalty,
    gram,
    mixed_loss,
    per_sample,
    perceptual,
    reconstruction,
    style,
)

SEEDS = st.integers(0, 10_000)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def shares(seed: int, rows: int, losses: int) -> Tensor:
    return normal(seed, rows, losses).softmax(1)


# the objective


def test_the_objective_by_hand() -> None:
    losses, mix = torch.tensor([[1.0, 10.0], [3.0, 20.0]]), torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    # (0.25 + 7.5 + 3) / 2, then with the second loss counted ten times as much
    assert float(mixed_loss(losses, mix)) == pytest.approx(5.375)
    assert float(mixed_loss(losses, mix, torch.tensor([2.0, 0.1]))) == pytest.approx((0.5 + 0.75 + 6) / 2)


@given(SEEDS, st.integers(1, 5), st.integers(1, 4))
@settings(deadline=None)
def test_the_objective_is_a_sum_over_losses_and_a_mean_over_samples(seed: int, rows: int, count: int) -> None:
    losses, mix, factors = normal(seed, rows, count), shares(seed + 1, rows, count), normal(seed + 2, count).exp()
    wanted = 0.0
    for row in range(rows):
        for n in range(count):
            wanted += float(mix[row, n] * factors[n] * losses[row, n]) / rows
    assert float(mixed_loss(losses, mix, factors)) == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_a_share_of_zero_gives_exactly_no_gradient_and_others_their_share() -> None:
    values = normal(0, 3, 2).requires_grad_()
    mix = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
    mixed_loss(values.exp(), mix).backward()
    assert values.grad is not None
    assert (values.grad[mix == 0] == 0).all()
    torch.testing.assert_close(values.grad, mix * values.detach().exp() / 3)


# of pictures


@pytest.mark.parametrize(
    ("one", "wanted"),
    [(reconstruction, [(1 + 2 + 3 + 0) / 4, 5.0]), (perceptual, [(1 + 4 + 9 + 0) / 4, 25.0])],
)
def test_differences_by_hand_one_number_for_each_picture(one: Any, wanted: list[float]) -> None:
    made = torch.tensor([[[[1.0, -2.0], [3.0, 0.0]]], [[[5.0, 5.0], [5.0, 5.0]]]])
    found = one(made, torch.zeros_like(made))
    assert found.tolist() == pytest.approx(wanted)
    assert one(torch.zeros_like(made), made).tolist() == pytest.approx(wanted)


@given(SEEDS, st.integers(1, 3), st.lists(st.integers(1, 4), min_size=1, max_size=3))
@settings(deadline=None)
def test_no_picture_has_a_part_in_the_loss_of_another(seed: int, rows: int, rest: list[int]) -> None:
    made, wanted = normal(seed, rows, *rest), normal(seed + 1, rows, *rest)
    for one in (reconstruction, perceptual):
        alone = torch.cat([one(made[row : row + 1], wanted[row : row + 1]) for row in range(rows)])
        torch.testing.assert_close(one(made, wanted), alone)
    torch.testing.assert_close(per_sample(made), made.flatten(1).sum(1) / math.prod(rest))


def test_the_generator_wants_scores_of_one() -> None:
    scores = torch.tensor([[[[1.0, 1.0]]], [[[0.0, 3.0]]]])
    assert adversarial(scores).tolist() == [0.0, (1 + 4) / 2]


def test_the_discriminator_by_hand() -> None:
    real = torch.tensor([[[[0.5, 1.0]]], [[[3.0, 1.0]]]])
    made = torch.tensor([[[[1.0, 2.0]]], [[[0.0, 0.0]]]])
    # (0.25 + 0) / 2 + (1 + 4) / 2 = 2.625 and (4 + 0) / 2 + 0 = 2, each by its share, halved, over two samples
    found = discrimination(real, made, torch.tensor([0.2, 0.7]))
    assert float(found) == pytest.approx(0.5 * (0.2 * 2.625 + 0.7 * 2) / 2)
    assert float(discrimination(torch.ones(2, 1, 3, 3), torch.zeros(2, 1, 3, 3), torch.ones(2))) == 0


@given(SEEDS, st.integers(1, 4))
@settings(deadline=None)
def test_the_discriminator_is_the_formula(seed: int, rows: int) -> None:
    real, made, share = normal(seed, rows, 1, 2, 3), normal(seed + 1, rows, 1, 2, 3), normal(seed + 2, rows).sigmoid()
    wanted = sum(
        float(share[b]) * (float(((real[b] - 1) ** 2).mean()) + float((made[b] ** 2).mean())) for b in range(rows)
    )
    assert float(discrimination(real, made, share)) == pytest.approx(0.5 * wanted / rows)


def test_a_share_of_zero_takes_both_the_real_and_the_made_one_from_the_discriminator() -> None:
    real, made = normal(0, 2, 1, 3, 3).requires_grad_(), normal(1, 2, 1, 3, 3).requires_grad_()
    discrimination(real, made, torch.tensor([0.0, 0.4], dtype=torch.float64)).backward()
    for scores, pull in ((real, 2 * (real - 1)), (made, 2 * made)):
        assert scores.grad is not None
        assert (scores.grad[0] == 0).all()
        torch.testing.assert_close(scores.grad[1], (0.5 * 0.4 / 2 / 9 * pull[1]).detach())


@given(SEEDS, st.floats(0.1, 10.0))
@settings(deadline=None)
def test_the_gradient_penalty_of_a_linear_discriminator_is_its_weights(seed: int, factor: float) -> None:
    """The mean over P patches of D(t) = w . t has the gradient w / P at every patch: |w|^2 / P in all, whatever t is."""
    real, made, weight = normal(seed, 3, 2, 4, 4), normal(seed + 1, 3, 2, 4, 4), normal(seed + 2, 1, 2, 2, 2)
    share = torch.tensor([0.2, 0.0, 0.7], dtype=torch.float64)

    def discriminator(pictures: Tensor) -> Tensor:
        return F.conv2d(pictures, weight, stride=2)

    plain = discrimination(discriminator(real), discriminator(made), share)
    found = discriminator_loss(discriminator, real, made, share, penalty=factor).detach()
    assert float(found - plain) == pytest.approx(factor * 0.5 * float(weight.square().sum()) / 4 * 0.9 / 3)
    assert float(discriminator_loss(discriminator, real, made, share, penalty=0)) == float(plain)


def test_the_gradient_penalty_teaches_the_discriminator_and_not_the_pictures() -> None:
    real, made = normal(0, 2, 2, 4, 4), normal(1, 2, 2, 4, 4)
    layer = nn.Conv2d(2, 1, 2).double()
    slopes = []
    for _ in range(20):
        layer.zero_grad()
        with torch.no_grad():  # as in a caller that wants the value alone
            assert discriminator_loss(layer, real, made, torch.ones(2), penalty=1.0).isfinite()
        scores = layer(leaf := real.clone().requires_grad_())
        value = gradient_penalty(scores, leaf, torch.ones(2))
        value.backward()
        slopes.append(float(value.detach()))
        assert layer.weight.grad is not None
        layer.weight.data -= layer.weight.grad
    assert slopes[-1] < slopes[0] / 10
    assert not real.requires_grad


# of style


def test_gram_by_hand() -> None:
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]])  # C = 2, H = 1, W = 2
    assert gram(features).tolist() == [[[5 / 4, 1 / 4], [1 / 4, 10 / 4]]]


@given(SEEDS, st.integers(1, 2), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
@settings(deadline=None)
def test_gram_is_a_sum_over_positions(seed: int, rows: int, channels: int, height: int, width: int) -> None:
    features = normal(seed, rows, channels, height, width)
    found = gram(features)
    assert found.shape == (rows, channels, channels)
    for b in range(rows):
        for i in range(channels):
            for j in range(channels):
                wanted = float((features[b, i] * features[b, j]).sum()) / (channels * height * width)
                assert float(found[b, i, j]) == pytest.approx(wanted, abs=1e-12)


def test_where_things_are_does_not_matter_to_gram() -> None:
    features = normal(0, 1, 3, 4, 5)
    moved = features.flatten(2)[:, :, torch.randperm(20, generator=torch.Generator().manual_seed(1))].view(1, 3, 4, 5)
    torch.testing.assert_close(gram(moved), gram(features))


@pytest.mark.parametrize("batched", [True, False])
def test_style_sums_the_weighted_layers_for_each_picture(batched: bool) -> None:
    grams, goals, weights = [normal(0, 2, 3, 3), normal(1, 2, 4, 4)], [normal(2, 3, 3), normal(3, 4, 4)], (0.5, 10.0)
    found = style(grams, [goal[None] if batched else goal for goal in goals], weights)
    assert found.shape == (2,)
    for b in range(2):
        wanted = 0.5 * float(((grams[0][b] - goals[0]) ** 2).sum()) / 9
        wanted += 10 * float(((grams[1][b] - goals[1]) ** 2).sum()) / 16
        assert float(found[b]) == pytest.approx(wanted)


def test_style_has_a_weight_for_each_layer() -> None:
    with pytest.raises(ValueError, match="zip"):
        style([normal(0, 1, 2, 2)], [normal(1, 2, 2)], (1.0, 2.0))


# scales


def test_fixed_scales_are_those_given_whatever_is_seen() -> None:
    scales = LossScales(2, factors=[2.0, 0.5])
    scales.update(torch.tensor([[100.0, 1.0]]), torch.tensor([[0.5, 0.5]]))
    assert scales.factors.tolist() == [2.0, 0.5]
    assert LossScales(3).factors.tolist() == [1, 1, 1]


def test_running_scales_by_hand() -> None:
    scales = LossScales(2, mode="running", factors=[1.0, 3.0], momentum=0.5)
    assert scales.factors.tolist() == [1.0, 3.0]
    scales.update(torch.tensor([[10.0, 1.0], [20.0, 4.0]]), torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
    # means where other losses rule: (0.25 x 10 + 0.5 x 20) / 0.75 and (0.75 x 1 + 0.5 x 4) / 1.25
    assert scales.factors.tolist() == pytest.approx([0.75 / 12.5, 3 * 1.25 / 2.75])
    scales.update(torch.tensor([[40.0, -8.0]]), torch.tensor([[0.0, 1.0]]))
    # half of the past, and of the new one, where the second loss rules alone and so tells nothing of itself
    larger = (0.75 + 2) / (12.5 + 80)
    assert scales.factors.tolist() == pytest.approx([larger, 3 * 1.25 / 2.75])
    scales.update(torch.tensor([[1.0, 1.0]]), torch.tensor([[0.0, 0.0]]))
    assert scales.factors.tolist() == pytest.approx([larger, 3 * 1.25 / 2.75])  # a loss that falls keeps its weight


def test_running_scales_make_ignored_losses_of_any_unit_count_one() -> None:
    scales, mix = LossScales(2, mode="running"), shares(0, 512, 2).float()
    units = torch.tensor([1.0, 1000.0])
    for seed in range(5):
        scales.update(units * normal(seed, 512, 2).exp().float(), mix)
    expected = math.exp(0.5)  # the mean of a log-normal
    assert (scales.factors * units * expected).tolist() == pytest.approx([1, 1], rel=0.1)


def test_running_scales_forget_with_their_momentum() -> None:
    scales, mix = LossScales(1, mode="running", momentum=0.9), torch.zeros(4, 1)
    scales.update(torch.ones(4, 1), mix)
    for _ in range(7):
        scales.update(torch.full((4, 1), 100.0), mix)
    past = 0.1 * 0.9**7 / (1 - 0.9**8)
    assert float(1 / scales.factors) == pytest.approx(past + 100 * (1 - past), rel=1e-5)


def test_a_loss_that_is_always_alone_keeps_its_factor() -> None:
    scales = LossScales(2, mode="running", factors=[5.0, 1.0])
    scales.update(torch.tensor([[40.0, 8.0]]), torch.tensor([[1.0, 0.0]]))
    assert scales.factors.tolist() == pytest.approx([5.0, 1 / 8])


def test_sums_of_two_processes_folded_at_once_are_one_batch() -> None:
    losses, mix = normal(0, 8, 3).abs().float(), shares(1, 8, 3).float()
    whole, shared = LossScales(3, mode="running"), LossScales(3, mode="running")
    whole.update(losses, mix)
    parts = [shared.statistics(losses[rows], mix[rows]) for rows in (slice(0, 3), slice(3, 8))]
    shared.fold(parts[0][0] + parts[1][0], parts[0][1] + parts[1][1])
    torch.testing.assert_close(shared.factors, whole.factors)


def test_scales_are_saved_and_carry_no_gradients() -> None:
    scales, again = LossScales(2, mode="running"), LossScales(2, mode="running")
    scales.update(normal(0, 4, 2).float().requires_grad_(), shares(1, 4, 2).float())
    assert not scales.factors.requires_grad
    again.load_state_dict(scales.state_dict())
    assert torch.equal(again.factors, scales.factors)
    assert not torch.equal(again.factors, LossScales(2).factors)


@pytest.mark.parametrize("mixes_off", [1.5, 2.0])
def test_mixtures_off_the_simplex_do_not_turn_the_means_around(mixes_off: float) -> None:
    scales = LossScales(1, mode="running")
    scales.update(torch.tensor([[2.0], [50.0]]), torch.tensor([[0.0], [mixes_off]]))
    assert float(scales.factors) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"factors": [1.0]}, r"factors are \(1.0,\), but must be 2 numbers above 0, one for each loss"),
        ({"factors": [1.0, 0.0]}, "must be 2 numbers above 0"),
        ({"factors": [1.0, -1.0]}, "must be 2 numbers above 0"),
        ({"factors": [1.0, math.nan]}, "must be 2 numbers above 0"),
        ({"mode": "moving"}, "mode is 'moving', but must be fixed or running"),
        ({"momentum": 1.0}, "momentum is 1.0, but must be at least 0 and below 1"),
        ({"momentum": -0.1}, "momentum is -0.1"),
    ],
)
def test_scales_that_make_no_sense_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LossScales(2, **given)
