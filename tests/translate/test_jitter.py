"""Colour shifts by hand, that gradients pass through them, and that few pictures are harder to learn by heart behind them."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from tenfold.core.batches import Batch
from tenfold.core.errors import UsageError
from tenfold.translate import AdversarialLoss, ColourJitter, FilterBank, Looks, Sampler, SymGenerator
from tenfold.translate.config import LossSettings, NetSettings
from tenfold.translate.jitter import colour_draws, jitter_colours
from tenfold.translate.objective import Critics, PictureLosses, Translation
from tenfold.translate.train import shifts


def pictures(count: int = 4, *, seed: int = 0, size: tuple[int, int] = (6, 5)) -> Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


windows = partial(pictures, 2, size=(32, 32))


def saturation(given: Tensor) -> Tensor:
    return (given - given.mean(1, keepdim=True)).square().mean((1, 2, 3)).sqrt()


def contrast(given: Tensor) -> Tensor:
    return given.flatten(1).std(1)


def test_it_is_the_formula() -> None:
    given, draws = pictures(), colour_draws(4, generator=torch.Generator().manual_seed(1))
    found = jitter_colours(given, draws)
    for picture, (b, s, c), shown in zip(given, draws.tolist(), found, strict=True):
        bright = picture + b
        grey = sum(bright) / 3
        coloured = torch.stack([grey + (1 + 2 * s) * (channel - grey) for channel in bright])
        wanted = coloured.mean() + (1 + c) * (coloured - coloured.mean())
        torch.testing.assert_close(shown, wanted)


def test_each_number_moves_what_it_is_named_for() -> None:
    given = pictures(1)
    torch.testing.assert_close(jitter_colours(given, torch.zeros(1, 3)), given)
    torch.testing.assert_close(jitter_colours(given, torch.tensor([[0.3, 0, 0]])), given + 0.3)
    paler, bolder = (jitter_colours(given, torch.tensor([[0, share, 0]])) for share in (-0.5, 0.5))
    torch.testing.assert_close(paler, given.mean(1, keepdim=True).expand_as(given))
    torch.testing.assert_close(saturation(bolder), 2 * saturation(given))
    flatter = jitter_colours(given, torch.tensor([[0, 0, -0.5]]))
    torch.testing.assert_close(contrast(flatter), contrast(given) / 2)
    for found in (paler, bolder, flatter):
        torch.testing.assert_close(found.mean(), given.mean())


def test_gradients_pass_through_it() -> None:
    draws = colour_draws(2, generator=torch.Generator().manual_seed(1)).double()
    given = pictures(2).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda shown: jitter_colours(shown, draws), [given])


def test_draws_are_uniform_and_follow_from_their_generator() -> None:
    drawn = colour_draws(2000, 2, strength=0.4, generator=torch.Generator().manual_seed(3))
    assert drawn.shape == (2000, 2, 3)
    assert -0.2 <= float(drawn.min()) < -0.19
    assert 0.19 < float(drawn.max()) <= 0.2
    torch.testing.assert_close(drawn.std((0, 1)), torch.full((3,), 0.4 / 12**0.5), rtol=0.05, atol=0)
    torch.manual_seed(7)
    assert torch.equal(drawn, colour_draws(2000, 2, strength=0.4, generator=torch.Generator().manual_seed(3)))
    assert not colour_draws(5, strength=0.0).any()


def test_a_jitter_is_the_shift_by_its_draws() -> None:
    given = pictures()
    found = ColourJitter(0.5)(given, torch.Generator().manual_seed(4))
    draws = colour_draws(4, strength=0.5, generator=torch.Generator().manual_seed(4))
    assert torch.equal(found, jitter_colours(given, draws))
    assert not torch.equal(found, given)


def test_critics_see_made_and_real_ones_shifted_each_by_its_own_draws() -> None:
    torch.manual_seed(0)
    critics = Critics(2, NetSettings(critic_width=4, critic_layers=1))
    made, real = windows(seed=0), [windows(seed=1), windows(seed=2)]
    shares = torch.tensor([[0.2, 0.5], [0.9, 0.1]])
    draws = colour_draws(2, 2, generator=torch.Generator().manual_seed(3))
    shown, seen = jitter_colours(made, draws[:, 0]), [jitter_colours(part, draws[:, 1]) for part in real]
    with torch.no_grad():
        found = critics(made, shares, real, draws)
        torch.testing.assert_close(found, critics(shown, shares, seen))
        assert not torch.isclose(found, critics(made, shares, seen), rtol=1e-4)
        assert not torch.isclose(found, critics(shown, shares, real), rtol=1e-4)
        assert torch.equal(critics.fooled(made, 1, draws[:, 0]), critics.fooled(shown, 1))


def test_the_shifts_are_for_the_critics_alone() -> None:
    torch.manual_seed(0)
    net, losses = NetSettings(critic_width=4, critic_layers=1), LossSettings(relative=True)
    critics, picture_losses = Critics(1, net), PictureLosses(Looks(FilterBank()), [windows()[:1]], losses)
    generator = SymGenerator(("photo", "ink", "style"), width=4, blocks=1)
    translation = Translation(generator, picture_losses, critics, identity=5.0, active=(True,) * 3)
    given, real, mix = windows(seed=1), [windows(seed=2)], torch.eye(3)[:2]
    draws = colour_draws(2, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        made, plain = translation(given, real, mix)
        again, shifted = translation(given, real, mix, draws)
        change = critics.fooled(made, 0, draws) - critics.fooled(made, 0)
    assert torch.equal(made, again)
    assert torch.equal(plain[:, [0, 2]], shifted[:, [0, 2]])
    torch.testing.assert_close(shifted[:, 1] - plain[:, 1], change, atol=1e-5, rtol=1e-4)
    assert change.abs().min() > 1e-4


def test_a_step_shifts_what_is_made_the_replays_and_the_domains_apart() -> None:
    batch = Batch(torch.zeros(3, 3, 8, 8), torch.zeros(3), rows=slice(0, 3), size=6, seed=5)
    made, both = shifts(batch, 0.4)
    assert made is not None
    assert both is not None
    assert (made.shape, both.shape) == ((3, 3), (3, 2, 3))
    assert len({round(value, 6) for value in (*made.flatten().tolist(), *both.flatten().tolist())}) == 27
    assert max(made.abs().max(), both.abs().max()) <= 0.2
    assert shifts(batch, 0) == (None, None)


@pytest.mark.parametrize("strength", [0.0, -0.1, 1.1, float("nan")])
def test_a_strength_out_of_range_is_refused(strength: float) -> None:
    with pytest.raises(UsageError, match=r"strength is .*, but must be above 0 and at most 1"):
        ColourJitter(strength)


def grey(count: int, seed: int) -> Tensor:
    return (torch.rand(count, 1, 1, 1, generator=torch.Generator().manual_seed(seed)) - 0.5).expand(-1, 3, 6, 5)


def judged(made: Tensor, augment: ColourJitter | None) -> nn.Module:
    """A discriminator of colours that knows six grey pictures, and was shown what is made beside them."""
    torch.manual_seed(0)
    layers = (nn.Linear(3, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    judge = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *layers)
    adversarial = AdversarialLoss(
        Sampler(grey(6, 0)), discriminator=judge, identity=0, learning_rate=3e-3, replay=0, augment=augment
    )
    everything = torch.ones(20, 1)
    for step in range(400):
        batch = made[torch.randint(200, (20,), generator=torch.Generator().manual_seed(step))]
        adversarial(batch, mix=everything, model=lambda shown, **_rest: shown)
        adversarial.learn(batch, everything, 0)
    return judge.requires_grad_(requires_grad=False)


def test_few_pictures_are_harder_to_learn_by_heart_behind_a_jitter() -> None:
    """Where made ones are as the domain's, there is nothing to know but the six: scores of grey should not differ."""
    scale = torch.linspace(-0.5, 0.5, 200)[:, None, None, None].expand(-1, 3, 6, 5)
    plain, shifted = (judged(grey(200, 1), augment)(scale).std() for augment in (None, ColourJitter()))
    assert shifted < plain / 2


def test_what_is_to_know_is_learned_behind_a_jitter() -> None:
    reddish = grey(200, 1) + torch.tensor([0.2, -0.1, -0.1])[:, None, None]
    judge = judged(reddish, ColourJitter())
    assert judge(grey(200, 2)).mean() - judge(reddish).mean() > 0.5
