"""The trainer: mixtures drawn, steps against a loop by hand, resumption, batches of any form, the sweep, errors."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tenfold.core.checkpoint import load_state, save_state
from tenfold.core.errors import UsageError
from tenfold.translate import AdversarialLoss, Sampler, Symmetrized, SymTrainer, sample_mixes, simplex_grid, symmetrize

SIDE = 3


def stay(found: Tensor, x: Tensor, *_rest: Any) -> Tensor:
    return (found - x).square().mean(1)


def shrink(found: Tensor, *_rest: Any) -> Tensor:
    return found.square().mean(1)


LOSSES: dict[str, Callable[..., Tensor]] = {"stay": stay, "shrink": shrink}


def model(losses: Any = 2, *, seed: int = 0, norm: bool = False) -> Symmetrized:
    torch.manual_seed(seed)
    middle: nn.Module = nn.BatchNorm1d(8) if norm else nn.ReLU()
    network = nn.Sequential(nn.Linear(SIDE, 8), middle, nn.Linear(8, SIDE))
    return symmetrize(network, losses=losses, at=["1"], example=torch.zeros(2, SIDE))


def samples(count: int = 6, *, seed: int = 0) -> Tensor:
    return torch.randn(count, SIDE, generator=torch.Generator().manual_seed(seed))


def critic(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(SIDE, 8), nn.LeakyReLU(), nn.Linear(8, 1))


def test_the_package_gives_the_function_and_not_a_module_of_its_name() -> None:
    from tenfold import translate

    assert callable(translate.symmetrize)


# the mixtures


def test_each_sample_gets_a_mixture_of_its_own_that_follows_from_the_seed() -> None:
    first, twin, other = (SymTrainer(model(), LOSSES, seed=seed) for seed in (3, 3, 4))
    mix, again = first.judge(samples()).mix, twin.judge(samples()).mix
    assert mix.shape == (6, 2)
    assert len({tuple(row) for row in mix.tolist()}) == 6
    torch.testing.assert_close(mix.sum(1), torch.ones(6))
    assert torch.equal(mix, again)
    assert not torch.equal(mix, other.judge(samples()).mix)
    assert not torch.equal(mix, first.judge(samples()).mix)  # the next batch draws anew
    torch.manual_seed(99)
    twin.judge(samples())
    assert torch.equal(first.judge(samples()).mix, twin.judge(samples()).mix)  # nothing comes from the global generator


@pytest.mark.parametrize("alpha", [0.2, (5.0, 0.5)])
def test_mixtures_have_the_concentration_asked_for(alpha: Any) -> None:
    mix = SymTrainer(model(), LOSSES, alpha=alpha).judge(samples(4000)).mix
    pair = (alpha, alpha) if isinstance(alpha, float) else alpha
    total = sum(pair)
    assert mix.mean(0).tolist() == pytest.approx([value / total for value in pair], abs=0.03)
    variance = pair[0] * pair[1] / (total**2 * (total + 1))
    assert float(mix[:, 0].var()) == pytest.approx(variance, rel=0.1)


def test_corners_are_drawn_as_often_as_asked() -> None:
    mix = SymTrainer(model(), LOSSES, alpha=5.0, vertices=0.4).judge(samples(4000)).mix
    assert float((mix == 1).any(1).float().mean()) == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize(
    "mix",
    [[0.25, 0.75], {"shrink": 0.75, "stay": 0.25}, torch.tensor([0.25, 0.75]), torch.tensor([[0.25, 0.75]] * 6)],
    ids=["list", "names", "tensor", "rows"],
)
def test_a_mixture_may_be_given_in_any_form(mix: Any) -> None:
    trainer = SymTrainer(model(), LOSSES)
    judged, x = trainer.judge(samples(), mix=mix), samples()
    found = trainer.model(x, mix=torch.tensor([0.25, 0.75]))
    assert torch.equal(judged.output, found)
    assert judged.mix.tolist() == [[0.25, 0.75]] * 6
    torch.testing.assert_close(judged.losses, torch.stack([stay(found, x), shrink(found)], 1))
    torch.testing.assert_close(judged.value, (0.25 * stay(found, x) + 0.75 * shrink(found)).mean())


def test_a_loss_of_share_zero_teaches_nothing() -> None:
    trainer = SymTrainer(model(), {"stay": stay, "far": lambda found, x: 1e6 * (found - 7).square().mean(1)})
    judged = trainer.judge(samples(), mix=[1.0, 0.0])
    weight = trainer.model.network[0].weight
    ours, of_losses = torch.autograd.grad(judged.value, [weight, judged.losses])
    alone = stay(trainer.model(samples(), mix=[1.0, 0.0]), samples()).mean()
    torch.testing.assert_close(ours, torch.autograd.grad(alone, weight)[0])
    assert (of_losses[:, 1] == 0).all()
    torch.testing.assert_close(of_losses[:, 0], torch.full((6,), 1 / 6))


# steps


def test_a_step_is_that_of_a_loop_by_hand() -> None:
    trainer, twin = SymTrainer(model(), LOSSES, learning_rate=0.01, factors={"shrink": 4.0}, seed=5), model()
    adam = torch.optim.Adam(twin.parameters(), 0.01, betas=(0.5, 0.999))
    random = copy.deepcopy(trainer.random)
    for number in range(3):
        x = samples(seed=number)
        values = trainer.step(x)
        mix = sample_mixes(6, (0.5, 0.5), generator=random)
        found = twin(x, mix=mix)
        value = (mix[:, 0] * stay(found, x) + 4 * mix[:, 1] * shrink(found)).mean()
        adam.zero_grad()
        value.backward()
        adam.step()
        assert list(values) == ["objective", "stay", "shrink"]
        assert values["objective"] == pytest.approx(value.item())
        assert values["stay"] == pytest.approx(stay(found, x).mean().item())
        assert values["shrink"] == pytest.approx(shrink(found).mean().item())
    for ours, theirs in zip(trainer.model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_given_optimizer_is_used() -> None:
    one = model()
    trainer = SymTrainer(one, LOSSES, optimizer=torch.optim.SGD(one.network[2].parameters(), 0.1))
    before = copy.deepcopy(one.state_dict())
    trainer.step(samples())
    moved = {name for name, value in one.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"network.2.weight", "network.2.bias"}


def test_steps_train_in_training_mode() -> None:
    trainer = SymTrainer(model(norm=True).eval(), LOSSES)
    trainer.step(samples())
    assert trainer.model.training
    assert trainer.model.network[1].num_batches_tracked == 1


def between(unit: float, scales: Any) -> float:
    """How far from x a dial between x + 1 and x - 1, whose loss has another unit, stands at equal shares."""
    losses: dict[str, Any] = {"up": lambda found, x: (found - x - 1).square().mean(1)}
    losses["down"] = lambda found, x: unit * (found - x + 1).square().mean(1)
    trainer = SymTrainer(model(), losses, learning_rate=0.01, alpha=1.0, scales=scales)
    trainer.fit([samples(128, seed=number) for number in range(10)], epochs=40)
    x = samples(512, seed=77)
    return float((trainer.judge(x, mix=[0.5, 0.5]).output - x).detach().mean())


def test_running_scales_make_units_not_matter() -> None:
    # the best answer is (1 - unit) / (1 + unit) with fixed scales, and 0 for losses that count alike
    assert between(1000.0, "fixed") < -0.9
    assert abs(between(1000.0, "running")) < 0.4
    assert abs(between(1.0, "running")) < 0.4


def test_scales_see_the_losses_and_mixtures_of_every_step() -> None:
    trainer = SymTrainer(model(), LOSSES, scales="running", factors={"stay": 2.0})
    judged = SymTrainer(model(), LOSSES).judge(samples())
    trainer.step(samples())
    others = 1 - judged.mix
    means = (others * judged.losses.detach()).sum(0) / others.sum(0)
    assert trainer.scales.factors.tolist() == pytest.approx([2 / float(means[0]), 1 / float(means[1])], rel=1e-4)


def test_fit_gives_the_means_of_each_pass(capsys: pytest.CaptureFixture[str]) -> None:
    trainer, twin = SymTrainer(model(), LOSSES, seed=1), SymTrainer(model(), LOSSES, seed=1)
    batches = [samples(seed=0), samples(seed=1)]
    history = trainer.fit(batches, epochs=2)
    steps = [twin.step(batch) for batch in batches * 2]
    for passed, pair in zip(history, (steps[:2], steps[2:]), strict=True):
        assert passed == pytest.approx({name: (pair[0][name] + pair[1][name]) / 2 for name in pair[0]})
    assert capsys.readouterr().out == ""
    trainer.fit(batches, show=True)
    assert capsys.readouterr().out.startswith("epoch 1: objective ")


@pytest.mark.parametrize("form", [tuple, list])
def test_a_batch_of_several_parts_goes_whole_to_the_losses_and_its_first_to_the_model(form: Any) -> None:
    seen = []

    def watching(found: Tensor, x: Tensor, wanted: Tensor, words: list[str]) -> Tensor:
        seen.append((x, wanted, words))
        return (found - wanted).square().mean(1)

    trainer = SymTrainer(model(), {"watch": watching, "stay": stay})
    x, wanted, words = samples(), samples(seed=9), list("abcdef")
    judged = trainer.judge(form((x, wanted, words)), mix=[1.0, 0.0])
    assert torch.equal(judged.output, trainer.model(x, mix=[1.0, 0.0]))
    torch.testing.assert_close(judged.value, (judged.output - wanted).square().mean())
    assert torch.equal(seen[0][0], x)
    assert torch.equal(seen[0][1], wanted)
    assert seen[0][2] == words
    front = trainer.sweep([form((x, wanted, words))], grid=2)
    assert front.at([1.0, 0.0])["watch"] == pytest.approx(float(judged.value.detach()), rel=1e-5)


def test_any_module_that_takes_the_mixture_will_do() -> None:
    class Blend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2))

        def forward(self, x: Tensor, *, mix: Tensor) -> Tensor:
            return x + (mix @ self.weight)[:, None]

    targets: dict[str, Any] = {"up": lambda y, x: (y - x - 1).square().mean(1)}
    targets["down"] = lambda y, x: (y - x + 1).square().mean(1)
    trainer = SymTrainer(Blend(), targets, learning_rate=0.05)
    trainer.fit([samples(64)], epochs=150)
    torch.testing.assert_close(trainer.model.weight.detach(), torch.tensor([1.0, -1.0]), rtol=0, atol=0.05)


def test_a_model_of_numbered_losses_learns_their_names() -> None:
    one = model(2)
    SymTrainer(one, LOSSES)
    assert one.names == ("stay", "shrink")
    assert torch.equal(one(samples(), mix={"shrink": 1.0}), one(samples(), mix=[0.0, 1.0]))
    SymTrainer(one, LOSSES)  # again, with the same
    SymTrainer(model(["stay", "shrink"]), LOSSES)


# going on


def trainer_of(kind: str, seed: int) -> SymTrainer:
    if kind == "plain":
        return SymTrainer(model(seed=seed), LOSSES, seed=seed)
    if kind == "running":
        return SymTrainer(model(seed=seed), LOSSES, scales="running", vertices=0.3, seed=seed)
    adversarial = AdversarialLoss(
        Sampler(3 + samples(20), seed=seed), discriminator=critic(seed), replay=8, seed=seed, learning_rate=0.01
    )
    return SymTrainer(model(["stay", "fool"], seed=seed), {"stay": stay, "fool": adversarial}, seed=seed)


@pytest.mark.parametrize("kind", ["plain", "running", "adversarial"])
def test_a_stopped_training_goes_on_as_if_it_had_not(kind: str, tmp_path: Path) -> None:
    straight, fresh = trainer_of(kind, 1), trainer_of(kind, 2)
    for number in range(3):
        straight.step(samples(seed=number))
    save_state(tmp_path, straight.state_dict())
    fresh.step(samples(seed=50))
    fresh.load_state_dict(load_state(tmp_path))
    for number in range(3, 8):
        assert straight.step(samples(seed=number)) == fresh.step(samples(seed=number))
    for ours, theirs in zip(straight.model.parameters(), fresh.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


# the sweep


def test_a_sweep_is_a_loop_by_hand_over_all_samples() -> None:
    trainer = SymTrainer(model(norm=True), LOSSES)
    trainer.fit([samples()], epochs=3)
    batches = [samples(5, seed=1), samples(2, seed=2)]  # of different sizes: the mean is over samples
    front = trainer.sweep(batches, grid=4)
    assert front.names == ("stay", "shrink")
    assert torch.equal(front.mixes, simplex_grid(2, 4))
    x = torch.cat(batches)
    trainer.model.eval()
    with torch.no_grad():
        for row, mix in enumerate(simplex_grid(2, 4)):
            found = trainer.model(x, mix=mix)
            wanted = [float(stay(found, x).mean()), float(shrink(found).mean())]
            assert front.losses[row].tolist() == pytest.approx(wanted, rel=1e-5)


def test_a_sweep_leaves_the_model_as_it_was() -> None:
    trainer = SymTrainer(model(norm=True), LOSSES)
    trainer.step(samples())
    trainer.model.network[0].eval()  # half in training
    modes = [part.training for part in trainer.model.modules()]
    before, random = copy.deepcopy(trainer.model.state_dict()), trainer.random.get_state()
    trainer.sweep([samples(seed=3)], grid=3)
    assert [part.training for part in trainer.model.modules()] == modes
    assert True in modes
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
    assert torch.equal(trainer.random.get_state(), random)
    with pytest.raises(UsageError, match="must give one number"):
        SymTrainer(trainer.model, {"stay": stay, "shrink": lambda found, x: found.mean()}).sweep([samples()], grid=2)
    assert [part.training for part in trainer.model.modules()] == modes


def test_a_sweep_may_be_over_mixtures_of_ones_own_and_any_iterable() -> None:
    trainer, mixes = SymTrainer(model(), LOSSES), torch.tensor([[0.3, 0.7], [1.2, -0.2]])
    front = trainer.sweep((samples(seed=number) for number in range(2)), grid=mixes)
    assert torch.equal(front.mixes, mixes)
    judged = trainer.judge(torch.cat([samples(seed=0), samples(seed=1)]), mix=mixes[1])
    assert front.losses[1].tolist() == pytest.approx(judged.losses.detach().mean(0).tolist(), rel=1e-5)


def sweeping(norm: bool) -> tuple[SymTrainer, AdversarialLoss]:
    judge = nn.Sequential(nn.Linear(SIDE, 8), nn.BatchNorm1d(8) if norm else nn.ReLU(), nn.Linear(8, 1))
    adversarial = AdversarialLoss(Sampler(samples(20)), discriminator=judge)
    trainer = SymTrainer(model(["stay", "fool"]), {"stay": stay, "fool": adversarial})
    trainer.step(samples())
    return trainer, adversarial


def test_a_sweep_leaves_what_the_losses_learned_as_it_was() -> None:
    trainer, adversarial = sweeping(norm=True)
    before = copy.deepcopy(adversarial.state_dict())
    trainer.sweep([samples(seed=3)], grid=3)
    assert all(torch.equal(value, before[name]) for name, value in adversarial.state_dict().items())


def test_a_training_that_is_swept_now_and_then_is_the_same_training() -> None:
    (watched, _), (unwatched, _) = sweeping(norm=False), sweeping(norm=False)
    for trainer in (watched, unwatched):
        trainer.load_state_dict(copy.deepcopy(watched.state_dict()))
    watched.sweep([samples(seed=3)], grid=3)
    assert watched.step(samples(seed=4)) == unwatched.step(samples(seed=4))


# errors


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"losses": {}}, "must be at least 1, each of another name"),
        ({"losses": {"stay": stay}}, "losses are stay, but the model was made for 0, 1"),
        ({"losses": {"a": stay, "b": stay, "c": stay}}, "losses are a, b, c, but the model was made for 0, 1"),
        ({"factors": {"strike": 2.0}}, "factors has 'strike', but the losses are stay, shrink"),
        ({"factors": {"stay": 0.0}}, "must be 2 numbers above 0"),
        ({"alpha": (1.0, 2.0, 3.0)}, "alpha has 3 numbers, but must have one, or 2"),
        ({"alpha": 0.0}, "must be numbers above 0"),
        ({"alpha": (1.0, math.inf)}, "must be numbers above 0"),
        ({"vertices": 1.5}, "vertices is 1.5, but must be between 0 and 1"),
        ({"scales": "moving"}, "mode is 'moving', but must be fixed or running"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SymTrainer(model(), **({"losses": LOSSES} | given))


def test_names_that_the_model_has_in_another_order_are_refused() -> None:
    with pytest.raises(UsageError, match="losses are stay, shrink, but the model was made for shrink, stay"):
        SymTrainer(model(["shrink", "stay"]), LOSSES)


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (lambda found, x: found.mean(), r"\(\)"),
        (lambda found, x: found, r"\(6, 3\)"),
        (lambda found, x: found.mean(1, keepdim=True), r"\(6, 1\)"),
        (lambda found, x: found[:3].mean(1), r"\(3,\)"),
        (lambda found, x: 0.0, "float"),
    ],
)
def test_a_loss_must_give_one_number_for_each_sample(value: Any, shape: str) -> None:
    trainer = SymTrainer(model(), {"stay": stay, "odd": value})
    with pytest.raises(UsageError, match=rf"loss 'odd' gave {shape}, but must give one number for each of 6 samples"):
        trainer.step(samples())


def test_nothing_to_train_on_or_to_sweep_over_is_told() -> None:
    trainer = SymTrainer(model(), LOSSES)
    with pytest.raises(UsageError, match="the loader gave no batch"):
        trainer.fit([])
    once = iter([samples()])
    with pytest.raises(UsageError, match="the loader gave no batch"):
        trainer.fit(once, epochs=2)  # an iterator has no second pass
    with pytest.raises(UsageError, match="there is nothing to sweep over"):
        trainer.sweep([])
    for grid, message in ((1, "at least 2"), (20_001, "more than 20,000 mixtures")):
        with pytest.raises(UsageError, match=message):
            trainer.sweep([samples()], grid=grid)


@pytest.mark.parametrize("mix", [[1.0], {"strike": 1.0}, torch.ones(3, 2) / 2, [math.nan, 1.0]])
def test_a_mixture_that_does_not_fit_is_refused(mix: Any) -> None:
    with pytest.raises(UsageError, match="mix"):
        SymTrainer(model(), LOSSES).judge(samples(), mix=mix)


def test_a_map_of_mixtures_has_no_objective() -> None:
    def level(found: Tensor, x: Tensor) -> Tensor:
        return found.flatten(1).mean(1)

    one = symmetrize(nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 1, 1)), losses=2, at=["0"])
    trainer = SymTrainer(one, {"level": level, "again": level})
    with pytest.raises(UsageError, match="map"):
        trainer.judge(torch.rand(5, 1, 5, 2), mix=torch.rand(2, 5, 2))


@pytest.mark.parametrize("grid", [torch.tensor([0.5, 0.5]), torch.zeros(0, 2)])
def test_mixtures_to_sweep_over_are_rows(grid: Tensor) -> None:
    with pytest.raises(UsageError, match="grid"):
        SymTrainer(model(), LOSSES).sweep([samples()], grid=grid)
