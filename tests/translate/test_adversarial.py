"""The adversarial loss by hand, who learns when, the pairs of the replay, and that a discriminator learns to tell sets apart."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.errors import UsageError
from tenfold.translate import AdversarialLoss, PatchDiscriminator, Sampler, SymTrainer, symmetrize

SIDE = 3
LEFT = torch.tensor([-1.0, 0.0, 0.0])


def samples(count: int = 6, *, seed: int = 0) -> Tensor:
    return torch.randn(count, SIDE, generator=torch.Generator().manual_seed(seed))


def shares(count: int = 6, *, seed: int = 1) -> Tensor:
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)).softmax(1)


def critic(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(SIDE, 8), nn.LeakyReLU(), nn.Linear(8, 1))


def faded(x: Tensor, *, mix: Tensor) -> Tensor:
    """A model without parameters: x times its second share."""
    return x * mix[:, 1:]


def domain(count: int) -> Tensor:
    return samples(count, seed=7)


def moved(module: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


# the loss


@pytest.mark.parametrize("identity", [0.0, 5.0])
def test_it_is_the_formula_with_the_same_mixture_for_the_identity(identity: float) -> None:
    judge = critic()
    adversarial = AdversarialLoss(domain, discriminator=judge, identity=identity)
    made, mix, real = samples(seed=2), shares(), domain(6)
    found = adversarial(made, "not", "looked at", mix=mix, model=faded)
    with torch.no_grad():
        for row in range(6):
            wanted = float(judge(made[row]) - 1) ** 2
            wanted += identity * float((real[row] * mix[row, 1] - real[row]).abs().mean())
            assert float(found[row].detach()) == pytest.approx(wanted, rel=1e-5)


def test_without_an_identity_the_model_is_not_called() -> None:
    def fails(*_inputs: Any, **_rest: Any) -> Tensor:
        raise AssertionError

    found = AdversarialLoss(domain, discriminator=critic(), identity=0)(samples(), mix=shares(), model=fails)
    assert found.shape == (6,)


def test_patches_of_a_picture_are_one_number() -> None:
    torch.manual_seed(0)
    judge, made = PatchDiscriminator(width=4, layers=2), torch.rand(2, 3, 32, 32)
    adversarial = AdversarialLoss(lambda count: torch.rand(count, 3, 32, 32), discriminator=judge, identity=0)
    found = adversarial(made, mix=shares(2), model=faded)
    scores = judge(made)
    assert scores.shape[1:] > (1, 1, 1)
    torch.testing.assert_close(found, torch.stack([((score - 1) ** 2).mean() for score in scores]))


def test_the_papers_discriminator_is_the_default() -> None:
    adversarial = AdversarialLoss(domain)
    assert sum(parameter.numel() for parameter in adversarial.parameters()) == 2_764_737
    assert (adversarial.identity, adversarial.replay.size) == (5.0, 50)
    assert adversarial.optimizer.param_groups[0]["lr"] == 2e-4
    assert adversarial.optimizer.param_groups[0]["betas"] == (0.5, 0.999)


# who learns


def test_the_generators_step_gives_the_discriminator_no_gradient() -> None:
    judge = critic()
    adversarial = AdversarialLoss(domain, discriminator=judge)
    made = samples(seed=2).requires_grad_()
    adversarial(made, mix=shares(), model=faded).sum().backward()
    assert all(parameter.grad is None for parameter in judge.parameters())
    assert all(parameter.requires_grad for parameter in judge.parameters())
    assert made.grad is not None
    wanted = made.detach().clone().requires_grad_()
    F.mse_loss(judge(wanted), torch.ones(6, 1), reduction="sum").backward()
    torch.testing.assert_close(made.grad, wanted.grad)


def test_the_discriminators_step_gives_the_generator_no_gradient_and_is_adams() -> None:
    judge, mix, real = critic(), shares(), domain(6)
    twin = copy.deepcopy(judge)
    adam = torch.optim.Adam(twin.parameters(), 0.01, betas=(0.5, 0.999))
    adversarial = AdversarialLoss(domain, discriminator=judge, learning_rate=0.01, replay=0)
    for number in range(3):
        made = samples(seed=number).requires_grad_()
        adversarial(made, mix=mix, model=faded)
        found = adversarial.learn(made, mix, 1)
        assert made.grad is None
        value = 0.5 * (mix[:, 1:] * ((twin(real) - 1) ** 2 + twin(made.detach()) ** 2)).mean()
        adam.zero_grad()
        value.backward()
        adam.step()
        assert found == pytest.approx(value.item())
    for ours, theirs in zip(judge.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_penalty_keeps_the_discriminator_flat() -> None:
    slopes = []
    for penalty in (0.0, 3.0):
        judge, mix = critic(), shares()
        adversarial = AdversarialLoss(domain, discriminator=judge, learning_rate=0.01, replay=0, penalty=penalty)
        for number in range(30):
            adversarial(samples(seed=number), mix=mix, model=faded)
            adversarial.learn(samples(seed=number), mix, 1)
        real = domain(6).requires_grad_()
        (slope,) = torch.autograd.grad(judge(real).sum(), real)
        slopes.append(float(slope.square().mean()))
    assert slopes[1] < slopes[0] / 2


def test_the_discriminators_gradients_are_clipped_together() -> None:
    norms = []
    for clip in (None, 0.01):
        judge, mix = critic(), shares()
        adversarial = AdversarialLoss(domain, discriminator=judge, clip=clip)
        adversarial(samples(), mix=mix, model=faded)
        adversarial.learn(samples(), mix, 1)
        norms.append(float(nn.utils.get_total_norm([value.grad for value in judge.parameters()])))
    assert norms[0] > 0.02
    assert norms[1] == pytest.approx(0.01, rel=1e-3)


def test_the_discriminator_sees_everything_augmented_and_the_identity_nothing() -> None:
    judge, mix, made, numbers = critic(), shares(), samples(seed=2), iter(range(1, 99))

    def augment(given: Tensor, generator: torch.Generator) -> Tensor:
        assert generator.device.type == "cpu"
        return given * next(numbers)

    adversarial = AdversarialLoss(domain, discriminator=judge, learning_rate=1e-9, replay=0, augment=augment)
    real = domain(6)
    with torch.no_grad():
        found = adversarial(made, mix=mix, model=faded)
        kept = 5.0 * (real * mix[:, 1:] - real).abs().mean(1)
        torch.testing.assert_close(found, (judge(made)[:, 0] - 1) ** 2 + kept)
        each = (judge(2 * real) - 1) ** 2 + judge(3 * made) ** 2
    assert adversarial.learn(made, mix, 1) == pytest.approx(0.5 * float((mix[:, 1:] * each).mean()))
    with torch.no_grad():
        plain = adversarial.eval()(made, mix=mix, model=faded)  # what is measured is not augmented
    torch.testing.assert_close(plain, found)
    assert next(numbers) == 4


@pytest.mark.parametrize("place", [0, 1])
def test_samples_that_were_not_asked_to_be_of_the_domain_teach_nothing(place: int) -> None:
    mix = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    judge = critic()
    before = copy.deepcopy(judge.state_dict())
    adversarial = AdversarialLoss(lambda count: 5 + domain(count), discriminator=judge, replay=0, learning_rate=0.1)
    others = mix[[1 - place, 1 - place]]
    adversarial(samples(2), mix=others, model=faded)
    assert adversarial.learn(samples(2), others, place) == 0
    assert moved(judge, before) == set()
    adversarial(samples(2), mix=mix, model=faded)
    twice = adversarial.learn(samples(2), mix[[place, place]], place)
    judge.load_state_dict(before)
    adversarial(samples(2), mix=mix, model=faded)
    assert 0 < adversarial.learn(samples(2), mix, place) < twice  # only one of the two counts


def test_what_a_person_froze_in_a_discriminator_stays_frozen() -> None:
    judge = critic()
    judge[0].requires_grad_(False)
    before = judge[0].weight.clone()
    adversarial = AdversarialLoss(domain, discriminator=judge)
    adversarial(samples(), mix=shares(), model=faded)
    adversarial.learn(samples(), shares(), 1)
    assert torch.equal(judge[0].weight, before)


def test_the_trainer_lets_each_discriminator_learn_by_its_own_share() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(SIDE, 8), nn.ReLU(), nn.Linear(8, SIDE))
    model = symmetrize(network, losses=["plain", "left", "right"], at=["1"], example=torch.zeros(1, SIDE))
    both = {name: AdversarialLoss(domain, discriminator=critic(seed)) for seed, name in enumerate(("left", "right"))}
    trainer = SymTrainer(model, {"plain": lambda found, x: (found - x).abs().mean(1), **both})
    seen: list[tuple[float, Tensor]] = []
    trainer.random.manual_seed(5)
    mix = trainer.judge(samples()).mix
    trainer.random.manual_seed(5)
    for number, one in enumerate(both.values()):
        judge = copy.deepcopy(one.discriminator)
        made = model(samples(), mix=mix).detach()
        scores = (judge(domain(6)) - 1) ** 2 + judge(made) ** 2
        seen.append((0.5 * float((mix[:, 1 + number] * scores[:, 0]).mean().detach()), mix))
    values = trainer.step(samples())
    assert set(values) == {"objective", "plain", "left", "right", "left discriminator", "right discriminator"}
    assert values["left discriminator"] == pytest.approx(seen[0][0], rel=1e-5)
    assert values["right discriminator"] == pytest.approx(seen[1][0], rel=1e-5)


# the replay


def test_a_sample_from_the_past_comes_with_its_own_mixture() -> None:
    judge = critic()
    shown: list[Tensor] = []
    judge.register_forward_hook(lambda _module, inputs, _output: shown.append(inputs[0].detach()))
    adversarial = AdversarialLoss(domain, discriminator=judge, replay=4, learning_rate=1e-9)
    old = 0
    for number in range(30):
        # each sample says in its first place which mixture it was made under
        mix = torch.stack([torch.full((4,), 1 - number / 100), torch.full((4,), number / 100)], 1)
        made = samples(4, seed=number)
        made[:, 0] = mix[:, 1]
        adversarial(made, mix=mix, model=faded)
        value = adversarial.learn(made, mix, 1)
        real, past = shown[-2:]
        with torch.no_grad():
            each = (judge(real) - 1) ** 2 + judge(past) ** 2
        assert value == pytest.approx(0.5 * float((past[:, :1] * each).mean()), rel=1e-4, abs=1e-7)
        old += int((past[:, 0] != made[:, 0]).sum())
    assert len(adversarial.replay) == 4
    assert 30 < old < 100  # of 116, half and a little less are from the past


def test_it_goes_on_as_if_it_had_not_stopped() -> None:
    def fresh(seed: int) -> AdversarialLoss:
        return AdversarialLoss(
            Sampler(samples(30, seed=3), seed=seed),
            discriminator=critic(seed),
            replay=5,
            seed=seed,
            learning_rate=0.01,
            augment=lambda given, generator: given + torch.rand(len(given), 1, generator=generator),
        )

    def learned(one: AdversarialLoss, numbers: range) -> list[float]:
        found = []
        for number in numbers:
            made, mix = samples(seed=number), shares(seed=number)
            found += one(made, mix=mix, model=faded).tolist()
            found.append(one.learn(made, mix, 0))
        return found

    straight, other = fresh(1), fresh(2)
    learned(straight, range(4))
    learned(other, range(2))
    other.load_state_dict(copy.deepcopy(straight.state_dict()))
    other.load_extra_state(copy.deepcopy(straight.extra_state()))
    assert learned(straight, range(4, 9)) == learned(other, range(4, 9))


def test_a_domain_of_ones_own_has_no_state_to_keep() -> None:
    one = AdversarialLoss(domain, discriminator=critic())
    assert one.extra_state()["domain"] is None
    one.load_extra_state(one.extra_state())
    sampled = AdversarialLoss(Sampler(samples()), discriminator=critic())
    sampled.load_extra_state(one.extra_state())


# learning


def test_it_learns_to_tell_two_sets_apart_and_the_model_to_cross_over() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(SIDE, 32), nn.ReLU(), nn.Linear(32, SIDE))
    model = symmetrize(network, losses=["stay", "left"], at=["1"], example=torch.zeros(1, SIDE))
    pictures, goal = LEFT + 0.2 * samples(200), -LEFT + 0.2 * samples(200, seed=1)
    judge = critic()
    adversarial = AdversarialLoss(Sampler(goal), discriminator=judge, identity=0.1, learning_rate=2e-3)
    losses = {"stay": lambda found, x: (found - x).abs().mean(1), "left": adversarial}
    # the judge first, of made ones as they are
    everything = torch.tensor([[0.0, 1.0]]).expand(50, -1)
    for _ in range(200):
        adversarial(pictures[:50], mix=everything, model=faded)
        adversarial.learn(pictures[:50], everything, 1)
    with torch.no_grad():
        assert judge(goal).mean() > 0.9
        assert judge(pictures[100:]).mean() < 0.1  # those it has not seen
    trainer = SymTrainer(model, losses, learning_rate=3e-3, alpha=0.5)
    trainer.fit([pictures[start : start + 50] for start in range(0, 200, 50)], epochs=150)
    with torch.no_grad():
        stayed, crossed = (model(pictures, mix=mix)[:, 0].mean() for mix in ([1.0, 0.0], [0.0, 1.0]))
    assert stayed < -0.7
    assert crossed > 0.5


# the sampler and errors


def test_a_sampler_gives_samples_that_are_there_each_as_often() -> None:
    draw = Sampler(torch.arange(5.0)[:, None], seed=3)
    found = draw(5000)
    assert found.shape == (5000, 1)
    counts = torch.bincount(found[:, 0].long(), minlength=5)
    assert counts.sum() == 5000
    assert ((counts - 1000).abs() < 130).all()
    again, other = Sampler(torch.arange(5.0)[:, None], seed=3), Sampler(torch.arange(5.0)[:, None], seed=4)
    torch.manual_seed(1)
    assert torch.equal(again(5000), found)
    assert not torch.equal(other(5000), found)
    assert not torch.equal(draw(5000), found)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"identity": -1.0}, "identity is -1.0, penalty 0.0 and learning_rate 0.0002, but the first two must be at"),
        ({"learning_rate": 0.0}, "identity is 5.0, penalty 0.0 and learning_rate 0.0, but .* the last above 0"),
        ({"penalty": -1.0}, "identity is 5.0, penalty -1.0 and"),
        ({"clip": 0.0}, "clip is 0.0, but must be none or above 0"),
        ({"replay": -1}, "size is -1, but must be at least 0"),
    ],
)
def test_numbers_out_of_range_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        AdversarialLoss(domain, discriminator=critic(), **given)


def test_a_sampler_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="samples are 0, but must be at least 1"):
        Sampler(torch.zeros(0, 3))
