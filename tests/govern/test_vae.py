"""The model: kinds, masks and units against numbers worked out here; a linear one, of which everything is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tenfold.core.errors import UsageError
from tenfold.govern import ActionConditionalVAE, ActionMap, AuxiliarySettings
from tenfold.govern.config import KINDS, Kind
from tenfold.govern.loss import Likelihood
from tenfold.govern.networks import FlatDecoder, FlatEncoder
from tenfold.govern.vae import split_latents

BOX = spaces.Box(-1, 1, (2,))
WEIGHTS = torch.tensor([[1.0, 0.0, 2.0], [0.0, -3.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 0.0]])
"""(D, n) of the linear decoder; m is 2"""
SPREAD_OF_TURNS = math.sqrt(10)
"""standard deviation of -5, -4, ..., 5"""


class Fixed(nn.Module):
    """Of states (B, 4) the latents: mu their first three numbers, and a logarithm of sigma squared that is given."""

    def __init__(self, log_variance: float) -> None:
        super().__init__()
        self.shape = (4,)
        self.log_variance = nn.Parameter(torch.full((3,), log_variance))
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, states: Tensor) -> Tensor:
        return torch.cat([self.gain * states[:, :3], self.log_variance.expand(len(states), 3)], 1)


def linear(kind: Kind = "ac-beta-vae", *, log_variance: float = 0.0, **given_settings: Any) -> ActionConditionalVAE:
    decoder = nn.Linear(3, 4, bias=False)
    with torch.no_grad():
        decoder.weight.copy_(WEIGHTS)
    auxiliary = AuxiliarySettings(kind=kind, **given_settings)
    encoder = Fixed(log_variance)
    return ActionConditionalVAE(encoder, decoder, latent=3, actions=ActionMap(BOX), target=(4,), settings=auxiliary)


def small(
    space: spaces.Space[Any] = BOX,
    shape: tuple[int, ...] = (4,),
    *,
    latent: int = 5,
    likelihood: Likelihood = "gaussian",
    **given_settings: Any,
) -> ActionConditionalVAE:
    return ActionConditionalVAE(
        FlatEncoder(shape, (6,), latent),
        FlatDecoder(latent, (6,), shape),
        latent=latent,
        actions=ActionMap(space),
        target=shape,
        likelihood=likelihood,
        settings=AuxiliarySettings(**given_settings),
    )


def rows(seed: int, count: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    states, following = (torch.randn(count, 4, generator=generator) for _ in range(2))
    return states, torch.rand(count, 2, generator=generator) * 2 - 1, following


def padded(actions: Tensor) -> Tensor:
    return torch.cat([actions, torch.zeros(len(actions), 1)], 1)


# the losses


@pytest.mark.parametrize("kind", KINDS)
def test_the_losses_of_every_kind_by_their_formulas(kind: Kind) -> None:
    vae = linear(kind, log_variance=0.5, beta=4.0)
    states, actions, following = rows(1)
    torch.manual_seed(7)
    noise = torch.randn(6, 3)
    torch.manual_seed(7)
    found = vae(states, actions, following)
    mu, sigma = states[:, :3], math.exp(0.25)
    z = mu if kind == "ac-ae" else mu + sigma * noise
    if kind.startswith("ac"):
        z = z + padded(actions)
    reconstruction = 0.5 * (z @ WEIGHTS.T - following).square().sum(1).mean()
    kl = 0.5 * (mu.square() + sigma**2 - 0.5 - 1).sum(1).mean()
    weight = {"ac-beta-vae": 4.0, "ac-vae": 1.0, "ac-ae": 0.0, "beta-vae": 4.0, "vae": 1.0}[kind]
    assert found.reconstruction.item() == pytest.approx(reconstruction.item(), rel=1e-5)
    assert found.kl.item() == pytest.approx(0 if kind == "ac-ae" else kl.item(), rel=1e-5)
    assert found.total.item() == pytest.approx((reconstruction + weight * kl).item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["beta-vae", "vae"])
def test_models_that_rebuild_do_not_care_for_actions(kind: Kind) -> None:
    vae = linear(kind)
    states, actions, _ = rows(2)
    found = []
    for given_actions in (actions, -actions):
        torch.manual_seed(0)
        found.append(vae(states, given_actions, states).total.item())
    assert found[0] == found[1]
    torch.manual_seed(0)
    first = linear("ac-vae")(states, actions, states).total.item()
    torch.manual_seed(0)
    assert first != linear("ac-vae")(states, -actions, states).total.item()


def test_without_noise_nothing_random_is_drawn() -> None:
    vae, before = linear("ac-ae"), torch.get_rng_state()
    first, second = (vae(*rows(3)) for _ in range(2))
    assert first == second
    assert torch.equal(torch.get_rng_state(), before)
    assert linear("ac-vae")(*rows(3)).total != linear("ac-vae")(*rows(3)).total


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_the_kl_is_led_to_a_capacity_that_grows(progress: float) -> None:
    vae = linear(capacity=8.0, capacity_weight=10.0)
    vae.progress.fill_(progress)
    found = vae(*rows(4))
    wanted = found.reconstruction + 10 * abs(found.kl - 8 * progress)
    assert found.total.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_scaled_actions_add_as_much_more() -> None:
    assert linear(action_scale=3.0).map_action(np.array([[0.5, -2.0]])).tolist() == [[1.5, -3, 0]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_what_follows_in_another_episode_changes_nothing(kind: Kind, value: float) -> None:
    vae = linear(kind)
    states, actions, following = rows(5)
    mask = torch.tensor([True, False, True, True, False, False])
    slopes, losses = [], []
    for filled in (0.0, value):
        vae.zero_grad()
        torch.manual_seed(0)
        found = vae(states, actions, torch.where(mask[:, None], following, filled), mask)
        found.total.backward()
        losses.append([each.item() for each in found])
        slopes.append([parameter.grad for parameter in vae.parameters() if parameter.grad is not None])
    assert losses[0] == losses[1]
    assert all(torch.equal(one, other) for one, other in zip(*slopes, strict=True))
    assert all(slope.isfinite().all() for slope in slopes[1])


def test_masked_rows_are_as_if_they_were_not_there() -> None:
    vae = linear("ac-ae")
    states, actions, following = rows(6)
    mask = torch.tensor([True, False, True, True, False, True])
    assert vae(states, actions, following, mask).total.item() == pytest.approx(
        vae(states[mask], actions[mask], following[mask]).total.item()
    )
    kept, whole = (
        linear("vae")(states[chosen], actions[chosen], following[chosen]).kl for chosen in (mask, mask | True)
    )
    assert linear("vae")(states, actions, following, mask).kl.item() == pytest.approx(kept.item())
    assert kept.item() != pytest.approx(whole.item())
    nothing = vae(states, actions, following, torch.zeros(6, dtype=torch.bool))
    assert [each.item() for each in nothing] == [0, 0, 0]


def test_a_masked_row_may_be_nan_for_models_that_rebuild_it() -> None:
    vae = linear("beta-vae")
    states, actions, _ = rows(6)
    states[1] = math.nan
    mask = torch.tensor([True, False, True, True, True, True])
    vae(states, actions, states, mask).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in vae.parameters())


def test_pixels_have_the_likelihood_of_coins() -> None:
    vae = small(shape=(2, 3), likelihood="bernoulli", kind="ac-ae")
    states, following = torch.rand(4, 2, 3), torch.rand(4, 2, 3)
    logits = vae.decoder(vae.posterior(states)[0])
    wanted = nn.functional.binary_cross_entropy(logits.sigmoid(), following, reduction="sum") / 4
    assert vae(states, torch.zeros(4, 2), following).reconstruction.item() == pytest.approx(wanted.item(), rel=1e-4)
    assert torch.equal(vae.as_targets(following), following)


def test_sigma_is_kept_within_reach() -> None:
    mu, sigma = split_latents(torch.tensor([[1.0, -2.0, 3.0, 0.0, -1e9, 1e9]]))
    assert mu.tolist() == [[1, -2, 3]]
    assert sigma[0].tolist() == pytest.approx([1, math.exp(-7), math.exp(3)])


def test_too_few_latents_are_refused() -> None:
    for latent in (1, 2):
        with pytest.raises(UsageError, match=f"latent is {latent}, but must be above 2"):
            small(latent=latent)
    assert small(latent=3).mapped == 2


# units


@given(st.integers(0, 999), st.integers(5, 50))
@settings(deadline=None, max_examples=30)
def test_one_call_finds_mean_and_spread(seed: int, count: int) -> None:
    vae = small()
    random = np.random.default_rng(seed)
    states = (random.normal(size=(count, 4)) * [1e-3, 1, 100, 0] + [5, -2, 1e3, 7]).astype(np.float32)
    vae.observe_targets(torch.from_numpy(states))
    assert vae.center.numpy() == pytest.approx(states.astype(np.float64).mean(0), rel=1e-5, abs=1e-5)
    assert vae.spread[:3].numpy() == pytest.approx(states.astype(np.float64).std(0)[:3], rel=1e-4)
    assert vae.spread[3] == 1
    targets = vae.as_targets(torch.from_numpy(states))
    assert targets[:, :3].std(0, correction=0).numpy() == pytest.approx(np.ones(3), rel=1e-2)
    assert (targets[:, 3] == 0).all()


def test_two_calls_are_as_one_and_the_far_past_is_forgotten() -> None:
    vae, states = small(), torch.randn(60, 4) * 3 + 1
    for part in states.split([10, 50]):
        vae.observe_targets(part)
    assert torch.allclose(vae.center, states.mean(0), atol=1e-5)
    assert torch.allclose(vae.spread, states.std(0, correction=0), atol=1e-5)
    for _ in range(150):
        vae.observe_targets(100 + 5 * states[:10])
    assert torch.allclose(vae.center, 100 + 5 * states[:10].mean(0), rtol=1e-3)
    assert torch.allclose(vae.spread, 5 * states[:10].std(0, correction=0), rtol=1e-2)


def test_a_number_that_never_changes_has_spread_one_for_ever() -> None:
    vae = small()
    states = torch.randn(20, 4)
    states[:, 1] = 3
    for _ in range(5):
        vae.observe_targets(states)
        assert vae.spread[1] == 1


def test_nothing_seen_and_pixels_leave_units_as_they_were() -> None:
    vae, pixels = small(), small(likelihood="bernoulli")
    vae.observe_targets(torch.zeros(0, 4))
    pixels.observe_targets(torch.rand(9, 4))
    for each in (vae, pixels):
        assert (each.center == 0).all()
        assert (each.spread == 1).all()


def test_the_decoder_speaks_in_raw_units() -> None:
    vae = linear("ac-ae")
    vae.observe_targets(torch.randn(200, 4) * torch.tensor([1.0, 10.0, 0.1, 5.0]) + torch.tensor([0.0, 3.0, 9.0, -4.0]))
    z, actions = torch.randn(3, 3), torch.rand(3, 2)
    assert torch.allclose(vae.decode(z), z @ WEIGHTS.T * vae.spread + vae.center)
    assert torch.allclose(vae.decode(z, actions), (z + padded(actions)) @ WEIGHTS.T * vae.spread + vae.center)
    states = torch.randn(3, 4)
    perfect = vae.predict(states, actions)
    assert vae(states, actions, perfect).reconstruction.item() == pytest.approx(0, abs=1e-8)


# reading


def test_one_observation_or_many() -> None:
    vae = small()
    many = torch.randn(3, 4)
    mu, sigma = vae.encode(many)
    assert mu.shape == sigma.shape == (3, 5)
    assert (sigma > 0).all()
    for given_one in (many[1], many[1:2], many[1].numpy(), many[1].double().numpy()):
        found = vae.encode(given_one)
        assert torch.allclose(found[0], mu[1:2], atol=1e-6)
        assert torch.allclose(found[1], sigma[1:2], atol=1e-6)
    assert not mu.requires_grad
    assert vae.training


@pytest.mark.parametrize("training", [True, False])
def test_reading_is_without_dropout_and_leaves_the_mode(training: bool) -> None:
    vae = small()
    vae.encoder = nn.Sequential(nn.Dropout(0.5), vae.encoder)
    vae.train(training)
    states = torch.randn(3, 4)
    assert torch.equal(vae.predict(states), vae.predict(states))
    assert all(module.training == training for module in vae.modules())


def test_pictures_come_either_way_in_bytes_or_not() -> None:
    vae = small(shape=(3, 5, 6), likelihood="bernoulli")
    bytes_ = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3), dtype=np.uint8)
    first = np.ascontiguousarray(bytes_.transpose(0, 3, 1, 2))
    wanted = vae.posterior(torch.from_numpy(first).float() / 255)[0]
    for pictures in (bytes_, first, first.astype(np.float32) / 255, torch.from_numpy(bytes_)):
        assert torch.allclose(vae.encode(pictures)[0], wanted, atol=1e-6)
        assert torch.allclose(vae.encode(pictures[1])[0], wanted[1:], atol=1e-6)
    decoded = vae.predict(bytes_)
    assert decoded.shape == (2, 3, 5, 6)
    assert decoded.min() > 0
    assert decoded.max() < 1


def test_an_array_that_runs_backwards_is_an_observation_too() -> None:
    vae, many = small(), torch.randn(6, 4)
    assert torch.allclose(vae.encode(many.numpy()[::-1])[0], vae.encode(many.flip(0))[0])


@pytest.mark.parametrize("shape", [(3,), (2, 5), (2, 2, 4), ()])
def test_observations_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"observations have shape .*, but must have \(B, 4\)"):
        small().encode(np.zeros(shape))


def test_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(UsageError, match=r"must have \(B, 3, 5, 6\)"):
        small(shape=(3, 5, 6)).encode(np.zeros((2, 9, 9, 3), np.uint8))


def test_vectors_where_pictures_are_asked_for_are_refused() -> None:
    with pytest.raises(UsageError):
        small(shape=(3, 5, 6)).encode(np.zeros((2, 9), np.uint8))


@pytest.mark.parametrize("shape", [(3,), (2, 4), (1, 2, 3)])
def test_latents_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"z has shape .*, but must be \(B, 3\)"):
        linear().decode(torch.zeros(shape))


def test_turning_a_latent_of_a_linear_model() -> None:
    vae, (states, actions, _) = linear(), rows(8, 2)
    found = vae.traverse(states, 1, torch.tensor([-1.0, 0.0, 4.0]), actions)
    assert found.shape == (3, 2, 4)
    for place, value in enumerate((-1.0, 0.0, 4.0)):
        z = states[:, :3].clone()
        z[:, 1] = value
        assert torch.allclose(found[place], (z + padded(actions)) @ WEIGHTS.T, atol=1e-6)
    free = vae.traverse(states[0], 2)
    assert free.shape == (11, 1, 4)
    assert torch.allclose(free[:, 0, 0], states[0, 0] + 2 * torch.linspace(-5, 5, 11), atol=1e-5)


@pytest.mark.parametrize("dim", [-1, 3])
def test_a_latent_that_is_not_there_is_refused(dim: int) -> None:
    with pytest.raises(UsageError, match=f"dim is {dim}, but must be between 0 and 2"):
        linear().traverse(torch.zeros(1, 4), dim)


def test_sensitivity_and_share_of_a_linear_model() -> None:
    vae, states = linear(), torch.randn(4, 4)
    assert torch.allclose(vae.sensitivity(states), SPREAD_OF_TURNS * WEIGHTS.T.abs(), atol=1e-5)
    assert vae.mapped_share(states) == pytest.approx(4.5 / 6.5)
    vae.spread.copy_(torch.tensor([10.0, 1.0, 2.0, 1.0]))
    assert torch.allclose(vae.sensitivity(states), SPREAD_OF_TURNS * WEIGHTS.T.abs() * vae.spread, atol=1e-4)
    assert vae.mapped_share(states) == pytest.approx(4.5 / 6.5)  # the units of a number do not count
    values = torch.tensor([0.0, 2.0])
    assert torch.allclose(vae.sensitivity(states, values), WEIGHTS.T.abs() * vae.spread, atol=1e-5)


def test_the_share_of_models_in_which_nothing_or_one_side_moves() -> None:
    states = torch.zeros(2, 4)
    for kept, wanted in ((range(2), 1.0), ([2], 0.0), ([], math.nan)):
        vae = linear()
        with torch.no_grad():
            vae.decoder.weight.zero_()
            for dim in kept:
                vae.decoder.weight[:, dim] = 1
        assert vae.mapped_share(states) == pytest.approx(wanted, nan_ok=True)


@pytest.mark.parametrize("shape", [(4,), (2, 3)])
def test_sensitivity_has_the_shape_of_a_state(shape: tuple[int, ...]) -> None:
    vae = small(shape=shape)
    assert vae.sensitivity(torch.randn(3, *shape)).shape == (5, *shape)
    assert 0 <= vae.mapped_share(torch.randn(3, *shape)) <= 1


# draws


def test_draws_of_a_linear_model_are_of_its_prior_or_around_an_observation() -> None:
    vae = linear(log_variance=2 * math.log(0.1))
    action = np.array([0.5, -0.5])
    free = vae.sample_next(action, 4000, seed=0)
    mean = torch.tensor([0.5, 1.5, 0.25, 0.0])
    assert torch.allclose(free.mean(0), mean, atol=0.2)
    assert torch.allclose(free.std(0), WEIGHTS.norm(dim=1), rtol=0.1)
    seen = torch.tensor([2.0, 1.0, -1.0, 9.0])
    near = vae.sample_next(action, 4000, observations=seen, seed=0)
    assert torch.allclose(near.mean(0), mean + WEIGHTS @ seen[:3], atol=0.02)
    assert torch.allclose(near.std(0), 0.1 * WEIGHTS.norm(dim=1), rtol=0.1)


@pytest.mark.parametrize(
    ("space", "action"),
    [
        (BOX, np.array([0.1, 0.2])),
        (spaces.Discrete(3), 2),
        (spaces.Discrete(3), np.array([2])),
        (spaces.MultiDiscrete([3, 3]), np.array([0, 2])),
        (spaces.MultiBinary(2), [0, 1]),
    ],
    ids=str,
)
def test_draws_repeat_by_seed_for_actions_of_any_space(space: spaces.Space[Any], action: Any) -> None:
    vae = small(space)
    one, same, other = (vae.sample_next(action, 5, seed=seed) for seed in (3, 3, 4))
    assert one.shape == (5, 4)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert vae.sample_next(action).shape == (64, 4)
    assert not torch.equal(vae.sample_next(action), vae.sample_next(action))


def test_a_seeded_draw_leaves_the_global_generator() -> None:
    vae = linear()
    before = torch.get_rng_state()
    vae.sample_next(np.zeros(2), 2, seed=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_draw_without_seed_leaves_what_was_seeded_repeatable() -> None:
    vae, found = linear(), []
    for _ in range(2):
        torch.manual_seed(0)
        vae.sample_next(np.zeros(2), 2)
        found.append(torch.rand(3).tolist())
    assert found[0] == found[1]


def test_draws_around_two_observations_are_refused() -> None:
    with pytest.raises(UsageError, match="observations are 2, but must be one"):
        linear().sample_next(np.zeros(2), observations=torch.zeros(2, 4))


def test_a_model_comes_back_from_its_state() -> None:
    vae, again = small(), small()
    vae.observe_targets(torch.randn(30, 4) * 7 + 2)
    vae.progress.fill_(0.25)
    again.load_state_dict(vae.state_dict())
    states = torch.randn(2, 4)
    assert torch.equal(again.predict(states), vae.predict(states))
    assert again.progress == 0.25
    assert again.seen == 30
