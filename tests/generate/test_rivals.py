from __future__ import annotations

import math
from typing import Any, Literal

import pytest
import torch
from sklearn.mixture import GaussianMixture as Fitted
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal

from tenfold.generate.config import FitSettings
from tenfold.generate.coordinates import Coordinates
from tenfold.generate.fitting import maximize_likelihood
from tenfold.generate.rivals import Flow, GaussianMixture, StandardNormal

Kind = Literal["full", "diag"]


def clusters(count: int = 400, dim: int = 3, *, seed: int = 0) -> Tensor:
    """Rows of two stretched clusters, away from zero."""
    random = torch.Generator().manual_seed(seed)
    mixing = torch.randn(2, dim, dim, generator=random) * 0.7
    places = torch.tensor([[4.0] * dim, [-3.0] * dim])
    which = torch.randint(2, (count,), generator=random)
    noise = torch.randn(count, dim, generator=random)
    return places[which] + (mixing[which] @ noise[..., None])[..., 0]


def fitted(rows: Tensor, components: int = 1, *, covariance: Kind = "full", seed: int = 0) -> GaussianMixture:
    mixture = GaussianMixture(rows.shape[1], components, covariance=covariance).double()
    mixture.fit(rows, seed=seed)
    return mixture


@pytest.mark.parametrize("components", [1, 2])
@pytest.mark.parametrize("covariance", ["full", "diag"])
def test_a_fitted_mixture_scores_as_scikit_learns(covariance: Kind, components: int) -> None:
    rows, asked = clusters(), clusters(50, seed=1).double()
    theirs = Fitted(components, covariance_type=covariance, random_state=0).fit(rows.double().numpy())
    wanted = torch.from_numpy(theirs.score_samples(asked.numpy()))
    found = fitted(rows, components, covariance=covariance)
    torch.testing.assert_close(found(asked), wanted, rtol=2e-3, atol=2e-2)  # what they add to variances may differ
    single = GaussianMixture(3, components, covariance=covariance)
    single.fit(rows, seed=0)
    assert single(asked.float()).dtype == torch.float32
    torch.testing.assert_close(single(asked.float()).double(), found(asked), rtol=1e-4, atol=1e-3)
    found.coordinates = Coordinates(3)  # theirs are of the rows as they are
    found.means.copy_(torch.from_numpy(theirs.means_))
    covariances = torch.from_numpy(theirs.covariances_)
    found.factors.copy_(torch.linalg.cholesky(covariances if covariance == "full" else covariances.diag_embed()))
    found.log_weights.copy_(torch.from_numpy(theirs.weights_).log())
    torch.testing.assert_close(found(asked), wanted)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
@pytest.mark.parametrize("covariance", ["full", "diag"])
def test_one_component_is_the_gaussian_of_mean_and_covariance(covariance: Kind, scale: float) -> None:
    """However little the rows vary: latents of some autoencoders have a spread of a thousandth."""
    rows, asked = scale * clusters().double(), scale * clusters(50, seed=1).double()
    spread = torch.cov(rows.T, correction=0)
    if covariance == "diag":
        spread = spread.diag().diag()
    wanted = MultivariateNormal(rows.mean(0), spread).log_prob(asked)
    torch.testing.assert_close(fitted(rows, covariance=covariance)(asked), wanted, rtol=1e-3, atol=1e-3)


def test_a_mixture_that_was_not_fitted_is_standard_normal() -> None:
    rows = clusters(20)
    wanted = Normal(0.0, 1.0).log_prob(rows).sum(1)
    torch.testing.assert_close(GaussianMixture(3, 4)(rows), wanted)
    torch.testing.assert_close(StandardNormal(3)(rows), wanted)


@pytest.mark.parametrize("covariance", ["full", "diag"])
def test_samples_of_a_mixture_have_its_moments(covariance: Kind) -> None:
    mixture = GaussianMixture(2, 2, covariance=covariance)
    mixture.means.copy_(torch.tensor([[5.0, 0.0], [-5.0, 3.0]]))
    factors = torch.tensor([[[1.0, 0.0], [0.5, 0.2]], [[0.3, 0.0], [-0.2, 1.0]]])
    mixture.factors.copy_(factors)
    mixture.log_weights.copy_(torch.tensor([0.8, 0.2]).log())
    rows = mixture.sample(20000, seed=0)
    assert rows.shape == (20000, 2)
    first = rows[:, 0] > 0
    assert float(first.float().mean()) == pytest.approx(0.8, abs=0.015)
    for part, mean, factor in zip((rows[first], rows[~first]), mixture.means, factors, strict=True):
        torch.testing.assert_close(part.mean(0), mean, rtol=0, atol=0.07)
        torch.testing.assert_close(torch.cov(part.T), factor @ factor.T, rtol=0, atol=0.07)


def test_a_standard_normal_draws_from_itself() -> None:
    rows = StandardNormal(3).sample(20000, seed=1)
    torch.testing.assert_close(rows.mean(0), torch.zeros(3), rtol=0, atol=0.04)
    torch.testing.assert_close(torch.cov(rows.T), torch.eye(3), rtol=0, atol=0.04)
    assert StandardNormal(3).double().sample(2, seed=1).dtype == torch.float64


def flow(dim: int = 2, **options: Any) -> Any:
    pytest.importorskip("zuko")
    torch.manual_seed(0)
    return Flow(dim, **({"transforms": 2, "hidden": 16} | options))


def made(kind: str) -> Any:
    if kind == "mixture":
        mixture = GaussianMixture(2, 3)
        mixture.fit(clusters(200, 2), seed=0)
        return mixture
    if kind == "flow":
        network = flow()
        network.prepare(clusters(200, 2))
        return network
    return StandardNormal(2)


KINDS = ["mixture", "flow", "standard"]


@pytest.mark.parametrize("kind", KINDS)
def test_samples_repeat_with_their_seed_alone(kind: str) -> None:
    density = made(kind)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = density.sample(10, seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(density.sample(10, seed=4), first)
    assert not torch.equal(density.sample(10, seed=5), first)
    assert first.shape == (10, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_bring_a_density_back(kind: str) -> None:
    density = made(kind)
    torch.manual_seed(7)  # a new flow, of other weights
    pristine = {"mixture": lambda: GaussianMixture(2, 3), "standard": lambda: StandardNormal(2)}
    other: nn.Module = Flow(2, transforms=2, hidden=16) if kind == "flow" else pristine[kind]()
    rows = clusters(20, 2, seed=3)
    if kind != "standard":
        assert not torch.equal(other(rows), density(rows))
    other.load_state_dict(density.state_dict())
    assert torch.equal(other(rows), density(rows))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_the_rows(kind: str) -> None:
    density, rows = made(kind), clusters(6, 2).requires_grad_()
    (found,) = torch.autograd.grad(density(rows).sum(), rows)
    assert found.abs().sum(1).all()


def test_a_fit_of_a_mixture_repeats() -> None:
    one, other = fitted(clusters(), 4, seed=3), fitted(clusters(), 4, seed=3)
    assert torch.equal(one.means, other.means)
    assert torch.equal(one.factors, other.factors)


def bent(count: int, *, seed: int = 0) -> Tensor:
    """A crescent of mean about 3 and spread 0.1, which no Gaussian has."""
    random = torch.Generator().manual_seed(seed)
    first = torch.randn(count, generator=random)
    second = first.square() - 1 + 0.3 * torch.randn(count, generator=random)
    return 3 + 0.1 * torch.stack([first, second / 1.45], 1)


def learned(epochs: int = 12) -> Any:
    network, rows = flow(hidden=24), bent(1500)
    network.prepare(rows[150:])
    settings = FitSettings(epochs=epochs, learning_rate=5e-3, patience=epochs)
    maximize_likelihood(network, rows[150:], rows[:150], settings, seed=0)
    return network


def test_a_flow_learns_a_density_of_latents_in_their_own_units() -> None:
    network, held = learned(), bent(1000, seed=1)
    with torch.no_grad():
        across, down = torch.linspace(2.2, 3.8, 401), torch.linspace(2.2, 6, 951)
        grid = torch.cartesian_prod(across, down)
        mass = float(network(grid).exp().sum()) * float(across[1] - across[0]) * float(down[1] - down[0])
        likely = float(network(held).mean())
    assert mass == pytest.approx(1, abs=0.02)
    gaussian = MultivariateNormal(held.mean(0), torch.cov(held.T))
    assert likely > float(gaussian.log_prob(held).mean()) + 0.3
    rows = network.sample(4000, seed=0)
    shares = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])  # of a flow's few far samples, moments would be
    torch.testing.assert_close(rows.quantile(shares, 0), held.quantile(shares, 0), rtol=0, atol=0.04)


def test_samples_of_a_flow_are_its_transforms_inverse() -> None:
    """What it samples is the noise, sent the way back that densities are computed by."""
    network = flow(3).double()
    network.prepare(3 + 0.1 * clusters(100).double())
    rows = network.sample(20, seed=2)
    noise = torch.randn(20, 3, generator=torch.Generator().manual_seed(2)).double()
    rows.requires_grad_()
    values = network.flow().transform(network.coordinates(rows))
    torch.testing.assert_close(values, noise, rtol=1e-6, atol=1e-6)
    jacobian = torch.stack([torch.autograd.grad(values[:, i].sum(), rows, retain_graph=True)[0] for i in range(3)], 1)
    wanted = Normal(0.0, 1.0).log_prob(noise).sum(1) + jacobian.det().abs().log()
    torch.testing.assert_close(network(rows), wanted, rtol=1e-6, atol=1e-6)


def test_a_flows_density_follows_the_units_of_the_rows() -> None:
    network, rows = flow().double(), clusters(200, 2).double()
    network.prepare(rows)
    before = network(rows)
    factors = torch.tensor([10.0, 0.01], dtype=torch.float64)
    network.prepare(rows * factors + 5)
    torch.testing.assert_close(network(rows * factors + 5), before - factors.log().sum())


def test_the_standard_normals_density_by_hand() -> None:
    rows = torch.tensor([[0.0, 0.0], [3.0, -4.0]])
    assert StandardNormal(2)(rows).tolist() == pytest.approx([-math.log(2 * math.pi), -math.log(2 * math.pi) - 12.5])
