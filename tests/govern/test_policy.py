"""The policy that reads latents: its layers, which gradient reaches which of them, edits, and policies of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("stable_baselines3")

from gymnasium import spaces
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    BasePolicy,
    MultiInputActorCriticPolicy,
)
from torch.distributions import Categorical, Normal
from torch.nn import functional as F

from tenfold.core.errors import UsageError
from tenfold.govern import AuxiliarySettings, governed_policy
from tenfold.govern.policy import (
    Governed,
    GovernedActorCriticCnnPolicy,
    GovernedActorCriticPolicy,
    Lesson,
    ride_along,
    weigh_gradient,
)

from ..core.rl_worlds import LEVER, NUMBERS, PICTURE, SEVERAL

ARM = spaces.Box(-2, 2, (2,))
SCREEN = spaces.Box(0, 255, (1, 36, 36), PICTURE.dtype)  # channels first, as stable-baselines3 hands pictures on
ALPHA = 0.25


def policy_of(
    action: spaces.Space[Any] = ARM,
    observation: spaces.Space[Any] = NUMBERS,
    kind: type[Governed] = GovernedActorCriticPolicy,
    **given: Any,
) -> Governed:
    given = {"latent": 5, "net_arch": {"pi": [7, 6], "vf": [9, 8]}, "aux_weight": ALPHA} | given
    return kind(observation, action, lambda _: 1e-3, **given)


def sizes(layers: nn.Module) -> list[tuple[int, int]]:
    return [(each.in_features, each.out_features) for each in layers.modules() if isinstance(each, nn.Linear)]


def moved(policy: Governed) -> Governed:
    """Weights anywhere, so that sigma is not 1 and nothing is small."""
    with torch.no_grad():
        for each in policy.parameters():
            each.add_(0.3 * torch.randn_like(each))
    return policy


def states(count: int = 11) -> Tensor:
    return torch.rand(count, 3) * 2 - 1


# layers


def test_layers_are_encoder_latents_head_and_a_critic_on_the_raw_state() -> None:
    policy = policy_of()
    assert sizes(policy.latents.encoder) == [(3, 7), (7, 6), (6, 10)]
    assert sizes(policy.mlp_extractor.policy_net) == [(10, 6)]
    assert sizes(policy.mlp_extractor.value_net) == [(3, 9), (9, 8)]
    assert sizes(policy.action_net) == [(6, 2)]
    assert sizes(policy.value_net) == [(8, 1)]
    assert policy.features_extractor is policy.pi_features_extractor is policy.latents
    assert policy.vae.encoder is policy.latents.encoder


@pytest.mark.parametrize(
    ("net_arch", "encoder", "head", "critic"),
    [
        (None, [(3, 64), (64, 64), (64, 10)], [(10, 64)], [(3, 64), (64, 64)]),
        ([4], [(3, 4), (4, 10)], [(10, 4)], [(3, 4)]),
        ([], [(3, 10)], [], []),
        ({"vf": [4]}, [(3, 10)], [], [(3, 4)]),
        ({"pi": [4]}, [(3, 4), (4, 10)], [(10, 4)], []),
    ],
)
def test_widths_are_those_of_net_arch(net_arch: Any, encoder: Any, head: Any, critic: Any) -> None:
    policy = policy_of(net_arch=net_arch)
    assert sizes(policy.latents.encoder) == encoder
    assert sizes(policy.mlp_extractor.policy_net) == head
    assert sizes(policy.mlp_extractor.value_net) == critic
    policy(states())


def test_actor_and_critic_have_convolutions_of_their_own() -> None:
    policy = policy_of(LEVER, SCREEN, GovernedActorCriticCnnPolicy, net_arch=None)
    assert isinstance(policy.vf_features_extractor, type(policy.latents.encoder.base))
    own = {id(each) for each in policy.latents.parameters()}
    assert not own & {id(each) for each in policy.vf_features_extractor.parameters()}
    actions, values, log_prob = policy(torch.randint(0, 256, (2, 1, 36, 36), dtype=torch.uint8))
    assert (actions.shape, values.shape, log_prob.shape) == ((2,), (2, 1), (2,))
    assert policy.vae.target == (1, 36, 36)


@pytest.mark.parametrize("ortho_init", [True, False])
def test_sigma_is_one_at_first(ortho_init: bool) -> None:
    mu, sigma = policy_of(ortho_init=ortho_init).vae.posterior(10 * states())
    assert (sigma == 1).all()
    assert (mu.std(0) > 1e-3).all()


# what is computed


def by_hand(policy: Governed, obs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """mu, sigma, what the last layer of the actor gives, and values."""

    def through(layers: nn.Module, x: Tensor, *, end: bool) -> Tensor:
        linear = [each for each in layers.modules() if isinstance(each, nn.Linear)]
        for number, layer in enumerate(linear):
            x = x @ layer.weight.T + layer.bias
            x = x.tanh() if end or number < len(linear) - 1 else x
        return x

    raw = through(policy.latents.encoder, obs, end=False)
    mu, sigma = raw[:, :5], (raw[:, 5:] / 2).exp()
    head = through(policy.mlp_extractor.policy_net, torch.cat((mu, sigma), 1), end=True)
    values = through(policy.value_net, through(policy.mlp_extractor.value_net, obs, end=True), end=False)
    return mu, sigma, through(policy.action_net, head, end=False), values


@pytest.mark.parametrize("action", [ARM, LEVER])
def test_forward_and_evaluate_agree_with_the_equations(action: spaces.Space[Any]) -> None:
    policy, obs = moved(policy_of(action)), states()
    mu, sigma, last, expected = by_hand(policy, obs)
    assert (sigma - 1).abs().max() > 0.1
    chosen: Any = Normal(last, policy.log_std.exp()) if action is ARM else Categorical(logits=last)
    actions = chosen.sample()
    each = chosen.log_prob(actions).sum(1) if action is ARM else chosen.log_prob(actions)
    entropy = chosen.entropy().sum(1) if action is ARM else chosen.entropy()
    for found, by_equations in zip(policy.evaluate_actions(obs, actions), (expected, each, entropy), strict=True):
        torch.testing.assert_close(found, by_equations)
    best, values, log_prob = policy(obs, deterministic=True)
    torch.testing.assert_close(best, last if action is ARM else last.argmax(1))
    torch.testing.assert_close(values, expected)
    torch.testing.assert_close(policy.predict_values(obs), expected)
    torch.testing.assert_close(log_prob, policy.evaluate_actions(obs, best)[1])
    for found, by_equations in zip(policy.vae.posterior(obs), (mu, sigma), strict=True):
        torch.testing.assert_close(found, by_equations)


# gradients


def test_a_loss_rides_along_whatever_is_made_of_the_values() -> None:
    x = torch.randn(6, requires_grad=True)
    values, loss, weights = (3 * x).sin(), x.pow(4).mean(), torch.randn(6)
    for rest in (
        lambda v: (weights * v).mean(),
        lambda v: (weights * v).mean() + v.exp().sum() - 2 * v.min(),
        lambda v: (0 * v).sum(),
    ):
        found = ride_along(values, loss)
        assert torch.equal(found, values)
        (gradient,) = torch.autograd.grad(rest(found), x, retain_graph=True)
        (expected,) = torch.autograd.grad(rest(values) + loss, x, retain_graph=True)
        torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("weight", [0.0, 0.03, 2.0])
def test_a_weighed_gradient_is_that_of_a_weighed_loss(weight: float) -> None:
    x = torch.randn(6, requires_grad=True)
    mu, sigma = weigh_gradient(x.sin(), x.exp(), weight)
    assert torch.equal(mu, x.sin())
    assert torch.equal(sigma, x.exp())
    for found, given in (
        (mu.square() + 3 * sigma, x.sin().square() + 3 * x.exp()),
        (mu.square(), x.sin().square()),  # a model without noise reads no sigma
    ):
        (gradient,) = torch.autograd.grad(found.sum(), x, retain_graph=True)
        (expected,) = torch.autograd.grad(weight * given.sum(), x)
        torch.testing.assert_close(gradient, expected)


def lesson(mask: bool = False) -> Lesson:
    return Lesson(F.pad(torch.randn(11, 2), (0, 3)), torch.randn(11, 3), torch.arange(11) % 3 > 0 if mask else None)


def model_loss(policy: Governed, obs: Tensor, taught: Lesson, noise: Tensor, beta: float) -> Tensor:
    """The paper's, averaged over the rows that count."""
    mu, sigma, _, _ = by_hand(policy, obs)
    off = policy.vae.decoder(mu + sigma * noise + taught.moves) - taught.targets
    kl = 0.5 * (mu**2 + sigma**2 - 2 * sigma.log() - 1).sum(1)
    each = 0.5 * (off**2).sum(1) + beta * kl
    return each.mean() if taught.mask is None else each[taught.mask].mean()


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("detached", [False, True])
def test_each_part_has_the_gradient_of_its_own_losses(detached: bool, mask: bool) -> None:
    """Encoder: of the policy's (unless detached) and alpha times the model's; decoder: the model's; head and critic: none of it."""
    policy = moved(policy_of(auxiliary=AuxiliarySettings(beta=1.5, detach_policy=detached)))
    obs, actions, taught = states(), torch.randn(11, 2), lesson(mask)
    policy.act_on(taught)
    torch.manual_seed(5)
    values, log_prob, entropy = policy.evaluate_actions(obs, actions)
    assert entropy is not None
    weights = torch.randn(11)
    (-(weights * log_prob).mean() - 0.1 * entropy.mean() + values.square().mean()).backward()

    torch.manual_seed(5)
    aux = model_loss(policy, obs, taught, torch.randn(11, 5), 1.5)
    _, _, mean, critic = by_hand(policy, obs)
    chosen = Normal(mean, policy.log_std.exp())
    actor = -(weights * chosen.log_prob(actions).sum(1)).mean() - 0.1 * chosen.entropy().sum(1).mean()
    for name, weight in policy.named_parameters():
        of_actor, of_critic, of_model = (
            torch.autograd.grad(loss, weight, retain_graph=True, allow_unused=True)[0]
            for loss in (actor, critic.square().mean(), aux)
        )
        if "decoder" in name:
            assert of_actor is of_critic is None
            expected = of_model
        elif "latents" in name:
            assert of_critic is None
            expected = ALPHA * of_model + (0 if detached else of_actor)
            assert not torch.allclose(weight.grad, of_actor)
        elif "value_net" in name:
            assert of_actor is of_model is None
            expected = of_critic
        else:
            assert of_critic is of_model is None
            expected = of_actor
        torch.testing.assert_close(weight.grad, expected, msg=name)


def test_without_a_lesson_the_decoder_has_no_gradient() -> None:
    policy = policy_of()
    policy.act_on(lesson())
    policy.act_on(None)
    policy.evaluate_actions(states(), torch.randn(11, 2))[1].sum().backward()
    assert all(each.grad is None for each in policy.vae.decoder.parameters())
    assert policy.noted == []


def test_losses_are_noted_unweighed() -> None:
    policy, taught, obs = moved(policy_of()), lesson(), states()
    policy.act_on(taught)
    torch.manual_seed(2)
    policy.evaluate_actions(obs, torch.randn(11, 2))
    (found,) = policy.noted
    torch.manual_seed(2)
    torch.randn(11, 2)
    noise = torch.randn(11, 5)
    none, much = (model_loss(policy, obs, taught, noise, beta) for beta in (0.0, 1.0))
    torch.testing.assert_close(torch.stack(list(found)), torch.stack((none, much - none)))
    assert not any(each.requires_grad for each in found)


# edits


def test_an_edit_changes_what_the_actor_reads_and_nothing_else() -> None:
    policy, obs = moved(policy_of()), states()
    free, values, _ = policy(obs, deterministic=True)
    mu, sigma = policy.latents.take()
    with policy.latents.editing(lambda m, s: (m + 1, s * 2)):
        edited, same, _ = policy(obs, deterministic=True)
        seen = policy.latents.take()
        with policy.latents.editing(lambda m, s: (0 * m, s)):
            policy(obs)
        again, _, _ = policy(obs, deterministic=True)
    head = policy.mlp_extractor.policy_net(torch.cat((mu + 1, sigma * 2), 1))
    torch.testing.assert_close(edited, policy.action_net(head))
    assert not torch.allclose(edited, free)
    assert torch.equal(same, values)
    assert torch.equal(seen[0], mu)
    assert torch.equal(seen[1], sigma)
    assert torch.equal(again, edited)
    assert torch.equal(policy(obs, deterministic=True)[0], free)


def test_an_edit_ends_with_an_error_too() -> None:
    policy, obs = moved(policy_of()), states()
    free, _, _ = policy(obs, deterministic=True)
    with pytest.raises(ZeroDivisionError), policy.latents.editing(lambda m, s: (0 * m, s)):
        raise ZeroDivisionError
    assert torch.equal(policy(obs, deterministic=True)[0], free)


def test_latents_are_taken_once() -> None:
    policy, obs = policy_of(), states()
    policy(obs)
    mu, _ = policy.latents.take()
    assert mu.requires_grad
    with pytest.raises(AssertionError):
        policy.latents.take()


# the decoder's place


def test_the_decoder_is_optimized_and_saved() -> None:
    policy = policy_of()
    optimized = [each for group in policy.optimizer.param_groups for each in group["params"]]
    decoder = list(policy.vae.decoder.parameters())
    assert len({id(each) for each in optimized}) == len(optimized)
    assert {id(each) for each in decoder} < {id(each) for each in optimized}
    saved = policy.state_dict()
    for name, value in policy.vae.decoder.state_dict().items():
        assert torch.equal(saved[f"vae.decoder.{name}"], value)


@pytest.mark.parametrize(
    ("kind", "quicker"), [(torch.optim.Adam, "fused"), (torch.optim.AdamW, "fused"), (torch.optim.RMSprop, "foreach")]
)
def test_weights_are_stepped_together_where_there_is_a_model(kind: Any, quicker: str) -> None:
    def stepped(**options: Any) -> tuple[dict[str, Any], Tensor]:
        torch.manual_seed(3)
        policy = policy_of(optimizer_class=kind, **options)
        for step in range(3):
            for number, weight in enumerate(policy.optimizer.param_groups[0]["params"]):
                weight.grad = torch.full_like(weight, 0.1 * (number + 1) * (-1) ** step)
            policy.optimizer.step()
        weights = [each.detach().flatten() for each in policy.optimizer.param_groups[0]["params"]]
        return policy.optimizer.param_groups[0], torch.cat(weights)

    group, weights = stepped()
    assert group[quicker]
    plain, expected = stepped(aux_weight=0.0)  # without a model every bit is the plain algorithm's
    assert not plain[quicker]
    torch.testing.assert_close(weights, expected)
    chosen, _ = stepped(optimizer_kwargs={"foreach": False})  # as somebody wants it
    assert not chosen.get("fused")
    assert chosen["foreach"] is False


def test_the_mode_reaches_every_module() -> None:
    policy = policy_of()
    for mode in (False, True, False):
        assert policy.train(mode) is policy
        assert {module.training for module in policy.modules()} == {mode}


def test_parameters_leave_the_decoder_out() -> None:
    policy = policy_of()
    decoder = {id(each) for each in policy.vae.decoder.parameters()}
    assert not decoder & {id(each) for each in policy.parameters()}


def test_the_policy_draws_what_it_would_draw_without_a_decoder() -> None:
    def drawn(decoder: tuple[int, ...]) -> tuple[Governed, Tensor]:
        torch.manual_seed(4)
        return policy_of(auxiliary=AuxiliarySettings(decoder=decoder)), torch.randn(3)

    (one, after), (other, after_too) = drawn((8,)), drawn((16, 16))
    assert torch.equal(after, after_too)
    for name, weight in one.named_parameters():
        assert "decoder" in name or torch.equal(weight, other.get_parameter(name))


def test_a_saved_policy_is_the_same(tmp_path: Path) -> None:
    policy = moved(policy_of(auxiliary=AuxiliarySettings(beta=3.0, decoder=(8,))))
    policy.save(str(tmp_path / "policy.pt"))
    other = GovernedActorCriticPolicy.load(str(tmp_path / "policy.pt"), device="cpu")
    obs = states().numpy()
    assert (policy.predict(obs, deterministic=True)[0] == other.predict(obs, deterministic=True)[0]).all()
    assert other.vae.settings == policy.vae.settings
    for name, value in policy.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)


# policies of one's own


class Narrow(ActorCriticPolicy):
    """Somebody's policy."""

    def __init__(self, *args: Any, extra: int = 4, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs | {"net_arch": [extra], "activation_fn": nn.ReLU})

    def shout(self) -> str:
        return "!"


class Screen(ActorCriticCnnPolicy):
    """Somebody's policy of pictures."""


def test_a_derived_policy_is_governed_as_it_is() -> None:
    kind = governed_policy(Narrow)
    assert issubclass(kind, Governed)
    assert issubclass(kind, Narrow)
    assert governed_policy(Narrow) is kind is governed_policy(kind)
    policy: Any = policy_of(kind=kind, extra=11)
    assert sizes(policy.latents.encoder) == [(3, 11), (11, 10)]
    assert any(isinstance(each, nn.ReLU) for each in policy.latents.encoder.modules())
    assert policy.shout() == "!"
    screen = policy_of(LEVER, SCREEN, governed_policy(Screen), net_arch=None)
    assert type(screen.latents.encoder.base).__name__ == "NatureCNN"


def test_known_policies_have_their_known_classes() -> None:
    assert governed_policy(ActorCriticPolicy) is GovernedActorCriticPolicy
    assert governed_policy(ActorCriticCnnPolicy) is GovernedActorCriticCnnPolicy


@pytest.mark.parametrize("given", [BasePolicy, nn.Module, "MlpPolicy", None])
def test_anything_else_is_refused(given: Any) -> None:
    with pytest.raises(UsageError, match="ActorCriticPolicy"):
        governed_policy(given)


def test_other_observations_and_too_few_latents_are_refused() -> None:
    with pytest.raises(UsageError, match="Box"):
        policy_of(observation=SEVERAL, kind=governed_policy(MultiInputActorCriticPolicy))
    with pytest.raises(UsageError, match="Box"):
        policy_of(observation=spaces.Discrete(4))
    with pytest.raises(UsageError, match="latent"):
        policy_of(LEVER, latent=3)
    policy_of(LEVER, latent=4)
