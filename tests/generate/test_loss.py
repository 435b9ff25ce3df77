"""The equations against torch.distributions, against numbers by hand, and far out where sums of exponentials fail."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from tenfold.generate.loss import (
    HALF_LOG_TAU,
    Mixture,
    mixture_draw,
    mixture_log_prob,
    mixture_of,
    normal_divergence,
    regularised_loss,
    squared_error,
    variational_loss,
)

SEEDS = st.integers(0, 2**31)
BELOW_ONE = 1 - 2**-24
"""the largest number that torch.rand gives"""


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def reference(raw: Tensor, *, floor: float = 0.0, temperature: float = 1.0) -> MixtureSameFamily:
    """What (..., 3K) outputs describe, by the definition: mu, log sigma and logits, one after the other."""
    count = raw.shape[-1] // 3
    means, logs, logits = raw[..., :count], raw[..., count : 2 * count], raw[..., 2 * count :]
    spread = (logs.exp() + floor) * math.sqrt(temperature)
    weights = (logits / temperature).exp() / (logits / temperature).exp().sum(-1, keepdim=True)
    return MixtureSameFamily(Categorical(weights), Normal(means, spread))


@given(
    SEEDS,
    st.sampled_from([(), (1,), (4,), (3, 2)]),
    st.integers(1, 6),
    st.sampled_from([0.0, 1e-3, 0.5]),
    st.sampled_from([1.0, 0.25, 3.0]),
)
@settings(deadline=None)
def test_log_densities_are_those_of_torch_distributions(
    seed: int, shape: tuple[int, ...], components: int, floor: float, temperature: float
) -> None:
    raw, values = normal(seed, *shape, 3 * components), 3 * normal(seed + 1, *shape)
    found = mixture_log_prob(values, mixture_of(raw, floor=floor, temperature=temperature))
    assert found.shape == shape
    wanted = reference(raw, floor=floor, temperature=temperature).log_prob(values)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_outputs_are_means_then_log_scales_then_weights() -> None:
    raw = torch.tensor([1.0, 2.0, math.log(3.0), math.log(4.0), 0.0, math.log(3.0)], dtype=torch.float64)
    means, log_scales, log_weights = mixture_of(raw)
    assert means.tolist() == [1.0, 2.0]
    assert log_scales.exp().tolist() == pytest.approx([3.0, 4.0])
    assert log_weights.exp().tolist() == pytest.approx([0.25, 0.75])


def test_a_density_by_hand() -> None:
    mixture = mixture_of(torch.tensor([0.0, 1.0, 0.0, math.log(2.0), 0.0, 0.0], dtype=torch.float64))
    found = float(mixture_log_prob(torch.tensor(1.0, dtype=torch.float64), mixture))
    # half of N(1; 0, 1) = 0.2419707 and half of N(1; 1, 4) = 0.1994711
    assert math.exp(found) == pytest.approx(0.5 * 0.24197072 + 0.5 * 0.19947114, rel=1e-7)


@given(st.floats(-300, 300), st.sampled_from([1e-6, 1e-3, 0.1, 0.9]))
@settings(deadline=None)
def test_the_floor_is_added_to_the_standard_deviation(raw: float, floor: float) -> None:
    outputs = torch.tensor([0.0, raw, 0.0], dtype=torch.float64, requires_grad=True)
    log_scale = mixture_of(outputs, floor=floor).log_scales
    assert float(log_scale.detach().exp()) == pytest.approx(math.exp(raw) + floor, rel=1e-9)
    log_scale.sum().backward()
    assert outputs.grad is not None
    assert float(outputs.grad[1]) == pytest.approx(math.exp(raw) / (math.exp(raw) + floor), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("shape", [(0,), (2, 0)])
def test_of_no_values_there_are_no_densities(shape: tuple[int, ...]) -> None:
    assert mixture_log_prob(torch.zeros(shape), mixture_of(torch.zeros(*shape, 6))).shape == shape


def test_a_low_temperature_sharpens_weights_and_narrows_components() -> None:
    raw = torch.tensor([0.0, 0.0, 0.5, 0.5, 1.0, 0.0], dtype=torch.float64)
    mixture = mixture_of(raw, floor=0.1, temperature=0.25)
    assert mixture.log_scales.exp().tolist() == pytest.approx([0.5 * (math.exp(0.5) + 0.1)] * 2)
    weights = mixture.log_weights.exp()
    assert float(weights.sum()) == pytest.approx(1.0)
    assert float(weights[0] / weights[1]) == pytest.approx(math.exp(1.0 / 0.25))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("distance", [-20.0, -8.0, 0.5, 8.0, 20.0, 1000.0])
def test_the_gradient_is_right_at_any_distance(distance: float, dtype: torch.dtype) -> None:
    sigma = 0.3
    raw = torch.tensor([1.2, math.log(sigma), 7.0], dtype=dtype, requires_grad=True)
    value = torch.tensor(1.2 + distance * sigma, dtype=dtype, requires_grad=True)
    found = mixture_log_prob(value, mixture_of(raw))
    assert float(found.detach()) == pytest.approx(-0.5 * distance**2 - math.log(sigma) - HALF_LOG_TAU, rel=1e-4)
    found.backward()
    assert raw.grad is not None
    assert value.grad is not None
    assert raw.grad.tolist() == pytest.approx([distance / sigma, distance**2 - 1, 0.0], rel=1e-4, abs=1e-5)
    assert float(value.grad) == pytest.approx(-distance / sigma, rel=1e-4)


@given(SEEDS, st.sampled_from([0.0, 1e-2]))
@settings(max_examples=20, deadline=None)
def test_gradients_are_those_of_differences(seed: int, floor: float) -> None:
    raw, values = normal(seed, 2, 9).requires_grad_(), normal(seed + 1, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda raw, z: mixture_log_prob(z, mixture_of(raw, floor=floor)), (raw, values))


@pytest.mark.parametrize("size", [100.0, 1e4])
def test_large_logits_leave_the_one_component(size: float) -> None:
    raw = torch.tensor([1.0, -1.0, 0.0, 0.0, size, -size], requires_grad=True)
    mixture = mixture_of(raw, floor=1e-3, temperature=0.5)
    mixture = mixture._replace(log_scales=torch.zeros(2))
    found = mixture_log_prob(torch.tensor(0.0), mixture)
    assert float(found.detach()) == pytest.approx(-0.5 - HALF_LOG_TAU)
    found.backward()
    assert raw.grad is not None
    assert raw.grad[:2].tolist() == [-1.0, 0.0]
    assert raw.grad.isfinite().all()
    with torch.no_grad():
        assert float(mixture_draw(mixture, torch.tensor(BELOW_ONE), torch.tensor(0.0))) == 1.0


@pytest.mark.parametrize("value", [0.0, 0.7])
@pytest.mark.parametrize("floor", [0.0, 1e-3])
def test_extreme_scales_give_no_nan(floor: float, value: float) -> None:
    raw = torch.tensor([0.0, 0.0, 0.0, -200.0, 0.0, 200.0, 0.0, 0.0, 0.0], requires_grad=True)
    found = mixture_log_prob(torch.tensor(value), mixture_of(raw, floor=floor))
    assert found.isfinite()
    if value or floor:
        with torch.no_grad():
            wanted = mixture_log_prob(torch.tensor(value).double(), mixture_of(raw.double(), floor=floor))
        assert float(found.detach()) == pytest.approx(float(wanted), rel=1e-5)
    else:
        assert found > 20  # on the mean of a spike whose density, e^200, single precision does not have
    found.backward()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()


def test_a_draw_inverts_the_cumulated_weights() -> None:
    weights = torch.tensor([0.2, 0.0, 0.5, 0.3], dtype=torch.float64)
    means, scales = torch.tensor([0.0, 10.0, 20.0, 30.0]).double(), torch.tensor([1.0, 2.0, 3.0, 4.0]).double()
    mixture = Mixture(means, scales.log(), weights.log())
    for uniform, noise, wanted in [
        (0.0, 1.0, 1.0),
        (0.19, -1.0, -1.0),
        (0.21, 0.5, 21.5),
        (0.69, 0.0, 20.0),
        (0.71, 2.0, 38.0),
        (BELOW_ONE, 0.0, 30.0),
    ]:
        found = mixture_draw(mixture, torch.tensor(uniform).double(), torch.tensor(noise).double())
        assert float(found) == pytest.approx(wanted), uniform


@pytest.mark.parametrize("uniform", [0.0, 0.5, BELOW_ONE])
def test_a_component_without_weight_is_never_drawn(uniform: float) -> None:
    for weights in ([0.0, 0.5, 0.0, 0.5, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0]):
        mixture = Mixture(torch.arange(5.0), torch.full((5,), -50.0), torch.tensor(weights).log())
        place = round(float(mixture_draw(mixture, torch.tensor(uniform), torch.tensor(0.0))))
        assert weights[place] > 0


def test_weights_that_sum_to_less_than_one_are_drawn_by_their_shares() -> None:
    weights = torch.tensor([0.5, 0.25]) * 0.9
    mixture = Mixture(torch.tensor([0.0, 1.0]), torch.full((2,), -50.0), weights.log())
    uniform = torch.tensor([0.0, 0.66, 0.67, 0.95, BELOW_ONE])
    repeated = Mixture(*(part.expand(5, 2) for part in mixture))
    assert mixture_draw(repeated, uniform, torch.zeros(5)).round().tolist() == [0.0, 0.0, 1.0, 1.0, 1.0]


def test_many_equal_components_are_all_reached_and_none_beyond_the_last() -> None:
    mixture = Mixture(torch.arange(1000.0), torch.full((1000,), -50.0), torch.full((1000,), -math.log(1000.0)))
    uniform = torch.tensor([0.0, 0.25, BELOW_ONE])
    found = mixture_draw(Mixture(*(part.expand(3, 1000) for part in mixture)), uniform, torch.zeros(3))
    assert found.round().tolist() == pytest.approx([0.0, 250.0, 999.0], abs=1.0)
    assert found[2].round() == 999.0


def test_draws_have_the_mixtures_distribution() -> None:
    raw = torch.tensor([-2.0, 0.5, 3.0, -0.5, -1.5, 0.3, 0.0, 1.0, -0.5], dtype=torch.float64)
    count, generator = 20_000, torch.Generator().manual_seed(0)
    uniform, noise = torch.rand(count, generator=generator).double(), torch.randn(count, generator=generator).double()
    drawn = mixture_draw(Mixture(*(part.expand(count, 3) for part in mixture_of(raw))), uniform, noise)
    drawn = drawn.sort().values
    steps = torch.arange(count + 1, dtype=torch.float64) / count
    wanted = reference(raw.expand(count, 9)).cdf(drawn)
    distance = float(torch.maximum((wanted - steps[:-1]).abs(), (wanted - steps[1:]).abs()).max())
    assert distance < 1.63 / math.sqrt(count)  # Kolmogorov-Smirnov, 1 %


@given(SEEDS, st.sampled_from([(), (3,), (2, 4), (0,)]))
@settings(deadline=None)
def test_draws_have_the_shape_of_the_values(seed: int, shape: tuple[int, ...]) -> None:
    mixture = mixture_of(normal(seed, *shape, 6))
    assert mixture_draw(mixture, torch.rand(shape).double(), torch.randn(shape).double()).shape == shape


def test_the_squared_error_by_hand() -> None:
    assert float(squared_error(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 5.0]]))) == 3.5


@given(SEEDS, st.integers(1, 5), st.integers(1, 5))
@settings(deadline=None)
def test_the_divergence_is_that_of_torch_distributions(seed: int, count: int, dim: int) -> None:
    means, logs = normal(seed, count, dim), normal(seed + 1, count, dim)
    posterior = Independent(Normal(means, (logs / 2).exp()), 1)
    prior = Independent(Normal(torch.zeros_like(means), torch.ones_like(means)), 1)
    torch.testing.assert_close(normal_divergence(means, logs), kl_divergence(posterior, prior).mean())


def test_the_divergence_of_a_standard_normal_is_zero() -> None:
    assert float(normal_divergence(torch.zeros(3, 2), torch.zeros(3, 2))) == 0.0


@given(SEEDS, st.sampled_from([0.0, 1.0, 2.5]))
@settings(deadline=None)
def test_the_variational_loss_is_the_bound_with_the_best_variance(seed: int, beta: float) -> None:
    images, rebuilt = normal(seed, 4, 1, 3, 5), normal(seed + 1, 4, 1, 3, 5)
    means, logs = normal(seed + 2, 4, 2), normal(seed + 3, 4, 2)

    def bound(variance: float) -> float:
        likelihood = Normal(rebuilt, math.sqrt(variance)).log_prob(images).sum((1, 2, 3)).mean()
        divergence = kl_divergence(Normal(means, (logs / 2).exp()), Normal(0.0, 1.0)).sum(1).mean()
        return float(-likelihood + beta * divergence) / 15

    best = float((images - rebuilt).square().mean())
    found = float(variational_loss(images, rebuilt, means, logs, beta))
    assert found == pytest.approx(bound(best), rel=1e-9)
    assert found < min(bound(best * 1.1), bound(best / 1.1))


def test_a_perfect_rebuild_has_a_finite_loss() -> None:
    images = torch.rand(2, 1, 4, 4)
    rebuilt = images.clone().requires_grad_()
    loss = variational_loss(images, rebuilt, torch.zeros(2, 3), torch.zeros(2, 3), 1.0)
    loss.backward()
    assert loss.isfinite()
    assert rebuilt.grad is not None
    assert rebuilt.grad.isfinite().all()


def test_the_regularised_loss_by_hand() -> None:
    images, rebuilt = torch.zeros(2, 1, 1, 2), torch.tensor([[[[1.0, 1.0]]], [[[2.0, 0.0]]]])
    latents = torch.tensor([[1.0, 2.0], [3.0, 0.0]])  # squared lengths 5 and 9
    assert float(regularised_loss(images, rebuilt, latents, 0.1)) == pytest.approx(6 / 4 + 0.1 * 0.5 * 7)
