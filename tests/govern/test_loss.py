"""The equations against numbers by hand and `torch.distributions`; what masked rows may hold."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from tenfold.core.errors import UsageError
from tenfold.govern.loss import (
    average,
    beta_objective,
    capacity_objective,
    kl_to_prior,
    map_action,
    negative_log_likelihood,
    reparametrize,
)

SEEDS = st.integers(0, 10_000)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# the action


def test_an_action_by_hand() -> None:
    action = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    assert map_action(action, 4).tolist() == [[1, -2, 0, 0], [0.5, 3, 0, 0]]
    assert map_action(action, 3, scale=2.0).tolist() == [[2, -4, 0], [1, 6, 0]]
    assert map_action(action, 2).tolist() == action.tolist()


def test_more_numbers_than_latents_are_refused() -> None:
    with pytest.raises(UsageError, match="an action has 3 numbers, but must have at most 2: one a latent"):
        map_action(torch.zeros(1, 3), 2)


@given(SEEDS, st.integers(0, 4), st.integers(1, 4), st.integers(0, 4), st.floats(0.1, 5))
@settings(deadline=None, max_examples=50)
def test_an_action_comes_first_and_zeros_behind(seed: int, rows: int, width: int, more: int, scale: float) -> None:
    action = normal(seed, rows, width)
    mapped = map_action(action, width + more, scale=scale)
    assert mapped.shape == (rows, width + more)
    assert torch.equal(mapped[:, :width], action * scale)
    assert (mapped[:, width:] == 0).all()


@given(SEEDS, st.integers(1, 3), st.integers(1, 3))
@settings(deadline=None, max_examples=30)
def test_an_action_moves_what_is_decoded_as_its_latent_does(seed: int, width: int, more: int) -> None:
    torch.manual_seed(seed)
    latents = width + more
    decoder = nn.Sequential(nn.Linear(latents, 5), nn.Tanh(), nn.Linear(5, 4)).double()
    z, action = normal(seed, 1, latents), normal(seed + 1, 1, width)
    by_latent, by_action = torch.autograd.functional.jacobian(
        lambda latent, moved: decoder(latent + map_action(moved, latents)), (z, action)
    )
    assert by_action.shape[-1] == width  # nothing of an action reaches the latents behind
    assert torch.equal(by_action, by_latent[..., :width])
    assert by_latent[..., width:].abs().sum() > 0


def test_a_scaled_action_moves_as_much_more() -> None:
    decoder = nn.Linear(3, 2).double()
    by_action = torch.autograd.functional.jacobian(
        lambda action: decoder(map_action(action, 3, scale=2.5)), normal(0, 1, 2)
    )
    assert torch.allclose(by_action[0, :, 0], 2.5 * decoder.weight[:, :2])


# latents


def test_drawing_by_hand() -> None:
    drawn = reparametrize(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 3.0]]), torch.tensor([[-2.0, 1.0]]))
    assert drawn.tolist() == [[0, 5]]


def test_the_kl_by_hand() -> None:
    found = kl_to_prior(torch.tensor([[0.0, 2.0, 0.0]]), torch.tensor([[1.0, 1.0, math.e]]))
    assert found.tolist() == [pytest.approx([0, 2, (math.e**2 - 3) / 2])]


@given(SEEDS, st.integers(1, 4), st.integers(1, 4))
@settings(deadline=None, max_examples=50)
def test_the_kl_is_that_of_two_normals_and_not_below_zero(seed: int, rows: int, latents: int) -> None:
    mu, sigma = normal(seed, rows, latents), normal(seed + 1, rows, latents).exp()
    found = kl_to_prior(mu, sigma)
    assert torch.allclose(found, kl_divergence(Normal(mu, sigma), Normal(0.0, 1.0)))
    assert (found >= -1e-12).all()


def test_the_gradient_of_the_kl_is_that_of_its_formula() -> None:
    mu, sigma = normal(0, 3, 2).requires_grad_(), normal(1, 3, 2).exp().requires_grad_()
    assert torch.autograd.gradcheck(kl_to_prior, (mu, sigma))
    weights = normal(2, 3, 2)
    ours = torch.autograd.grad((weights * kl_to_prior(mu, sigma)).sum(), (mu, sigma))
    formula = 0.5 * (mu**2 + sigma**2 - 1) - sigma.log()
    theirs = torch.autograd.grad((weights * formula).sum(), (mu, sigma))
    assert all(torch.allclose(one, other) for one, other in zip(ours, theirs, strict=True))


def test_the_second_gradient_of_the_kl_is_that_of_its_formula() -> None:
    mu, sigma = normal(0, 3, 2).requires_grad_(), normal(1, 3, 2).exp().requires_grad_()
    assert torch.autograd.gradgradcheck(kl_to_prior, (mu, sigma))


@pytest.mark.parametrize("sigma", [0.0, 1e-30, 1e-20, 1e-3, 1e3])
def test_the_kl_and_its_gradient_are_finite_whatever_sigma(sigma: float) -> None:
    mu, width = torch.zeros(1, 1, requires_grad=True), torch.full((1, 1), sigma, requires_grad=True)
    found = kl_to_prior(mu, width)
    found.sum().backward()
    assert found.isfinite().all()
    for leaf in (mu, width):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


# the likelihood


def test_the_likelihood_by_hand() -> None:
    predicted, target = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 4.0], [0.0, 1.0]])
    assert negative_log_likelihood(predicted, target, "gaussian").tolist() == [2.5, 0.5]
    logits = torch.tensor([[0.0, math.log(3)]])
    found = negative_log_likelihood(logits, torch.tensor([[1.0, 1.0]]), "bernoulli")
    assert found.tolist() == pytest.approx([math.log(2) - math.log(0.75)])


@given(SEEDS, st.integers(1, 4), st.lists(st.integers(1, 3), min_size=1, max_size=3))
@settings(deadline=None, max_examples=50)
def test_the_likelihoods_are_those_of_distributions(seed: int, rows: int, shape: list[int]) -> None:
    predicted, target = normal(seed, rows, *shape), normal(seed + 1, rows, *shape)
    constant = math.prod(shape) * 0.5 * math.log(2 * math.pi)
    wanted = -Normal(predicted, 1.0).log_prob(target).flatten(1).sum(1)
    assert torch.allclose(negative_log_likelihood(predicted, target, "gaussian") + constant, wanted)
    bits = (target > 0).double()
    wanted = -Bernoulli(logits=predicted).log_prob(bits).flatten(1).sum(1)
    assert torch.allclose(negative_log_likelihood(predicted, bits, "bernoulli"), wanted)


def test_logits_far_out_stay_finite() -> None:
    found = negative_log_likelihood(torch.tensor([[1e4, -1e4]]), torch.tensor([[0.0, 1.0]]), "bernoulli")
    assert found.tolist() == [2e4]


def test_pixels_between_are_likeliest_at_themselves() -> None:
    share = torch.tensor([[0.3]])
    losses = [
        float(negative_log_likelihood(torch.logit(torch.tensor([[p]])), share, "bernoulli")) for p in (0.2, 0.3, 0.4)
    ]
    assert min(losses) == losses[1]


# objectives


def test_objectives_by_hand() -> None:
    reconstruction, kl = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0])
    assert beta_objective(reconstruction, kl, beta=1.5).tolist() == [5.5, 9.5]
    assert beta_objective(reconstruction, kl, beta=0.0).tolist() == [1, 2]
    assert capacity_objective(reconstruction, kl, capacity=4.0, weight=10.0).tolist() == [11, 12]
    assert capacity_objective(reconstruction, kl, capacity=0.0, weight=1.0).tolist() == [4, 7]


@pytest.mark.parametrize(("kl", "slope"), [(3.0, -10.0), (5.0, 10.0)])
def test_capacity_draws_the_kl_from_both_sides(kl: float, slope: float) -> None:
    given_kl = torch.tensor(kl, requires_grad=True)
    capacity_objective(torch.tensor(1.0), given_kl, capacity=4.0, weight=10.0).backward()
    assert given_kl.grad == slope


# means


def test_an_average_by_hand() -> None:
    values = torch.tensor([1.0, math.nan, 5.0, math.inf])
    assert average(values[[0, 2]]) == 3
    assert average(values, torch.tensor([True, False, True, False])) == 3
    assert average(values, torch.tensor([False, False, True, False])) == 5


def test_an_average_of_nothing_is_zero() -> None:
    assert average(torch.zeros(0)) == 0
    assert average(torch.tensor([math.nan, 1.0]), torch.tensor([False, False])) == 0
    assert average(torch.zeros(0), torch.zeros(0, dtype=torch.bool)) == 0


@given(SEEDS, st.lists(st.booleans(), min_size=1, max_size=8))
@settings(deadline=None, max_examples=50)
def test_an_average_is_over_the_rows_that_count_and_so_is_its_gradient(seed: int, counts: list[bool]) -> None:
    mask = torch.tensor(counts)
    values = normal(seed, len(counts))
    values[~mask] = math.nan
    values.requires_grad_()
    found = average(values, mask)
    found.backward()
    assert values.grad is not None
    assert torch.equal(values.grad, mask.double() / max(1, sum(counts)))
    if any(counts):
        assert torch.isclose(found, values[mask].mean())
