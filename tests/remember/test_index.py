"""Index modules: their scores against formulas written here, what they learn, what they reject, what they keep."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from tenfold.core.errors import UsageError
from tenfold.remember.autoencoder import AutoencoderIndex
from tenfold.remember.density import DensityIndex
from tenfold.remember.generator import GeneratorIndex
from tenfold.remember.index import EntropyIndex, GivenIndex, IndexModule
from tenfold.remember.stacknet import StackNet

from .stacks import NETWORKS, a_few_steps, stack_of

MAKE: dict[str, Callable[..., IndexModule]] = {
    "density": DensityIndex,
    "entropy": EntropyIndex,
    "autoencoder": lambda **options: AutoencoderIndex(epochs=20, code=8, **options),
    "generator": lambda **options: GeneratorIndex(
        epochs=12, classifier_steps=40, width=8, learning_rate=1e-3, **options
    ),
}


def pictures(task: int, count: int = 192, *, seed: int = 0) -> Tensor:
    """Stripes of another direction for each task, at another place in each picture: (count, 3, 16, 16) in [-1, 1]."""
    generator = torch.Generator().manual_seed(100 * seed + task)
    shift = torch.rand(count, 3, 1, 1, generator=generator) * 2 * math.pi
    down, across = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    direction = [down, across, (down + across) / 1.4][task]
    return torch.sin(direction + shift) * 0.8 + torch.randn(count, 3, 16, 16, generator=generator) * 0.05


def batches(inputs: Tensor, size: int = 32) -> list[tuple[Tensor, Tensor]]:
    return [(part, torch.arange(len(part)) % 3) for part in inputs.split(size)]


def shades(task: int, count: int = 192, *, seed: int = 0) -> Tensor:
    """Of another brightness for each task, which a generator learns in a moment."""
    return pictures(0, count, seed=seed) * 0.2 + (task - 1) * 0.7


def taught(index: IndexModule, tasks: int = 3, *, of: Callable[[int], Tensor] = pictures) -> StackNet:
    torch.manual_seed(0)
    net = stack_of(NETWORKS["residual"](), index=index)
    for task in range(tasks):
        net.add_task(str(task), num_classes=3)
        a_few_steps(net, str(task), pictures(task, 32), steps=3)
        net.finish_task(str(task))
        net.eval()
        net.learn_inputs(str(task), batches(of(task)))
    return net


@pytest.mark.parametrize("kind", ["density", "autoencoder"])
def test_tasks_that_look_different_are_told_apart(kind: str) -> None:
    net = taught(MAKE[kind]())
    for task in range(3):
        found = net.infer_task(pictures(task, 64, seed=1))
        assert float((found == task).float().mean()) > 0.9, task


@pytest.mark.parametrize("seed", [0, 1])
def test_classifiers_of_generated_pictures_know_real_ones(seed: int) -> None:
    net = taught(MAKE["generator"](seed=seed), of=shades)
    for task in range(3):
        found = net.infer_task(shades(task, 64, seed=1))
        assert float((found == task).float().mean()) > 0.9, task


def test_the_density_is_a_gaussians() -> None:
    index = DensityIndex(ridge=0.01)
    net = taught(index, tasks=2)
    held = pictures(0, 7, seed=2)
    scores = index.scores(held, net)
    for task in range(2):
        kinds = features_by_hand(pictures(task), net)
        scales = [spread_by_hand(kind) for kind in features_by_hand(pictures(0), net)]
        rows = torch.cat([kind / scale for kind, scale in zip(kinds, scales, strict=True)], 1).double()
        covariance = torch.cov(rows.T, correction=0) + 0.01 * torch.eye(rows.shape[1])
        normal = multivariate_normal(rows.mean(0).numpy(), covariance.numpy())
        asked = torch.cat([k / s for k, s in zip(features_by_hand(held, net), scales, strict=True)], 1)
        assert scores[:, task].tolist() == pytest.approx(normal.logpdf(asked.double().numpy()).tolist(), rel=1e-5)


def features_by_hand(inputs: Tensor, net: StackNet) -> list[Tensor]:
    """Means and spreads of what the first third of the first task's layers read, and 4 x 4 averages of the input."""
    seen: list[Tensor] = []
    small = net.extract("0")
    reading = [name for name, layer in net.anatomy.layers.items() if layer.mixes and not layer.reads.is_input]
    hooks = [
        small.get_submodule(name).register_forward_pre_hook(lambda _, args: seen.append(args[0])) for name in reading
    ]
    with torch.no_grad():
        small(inputs)
    for hook in hooks:
        hook.remove()
    # layers that read the same value read it once
    values = [value for place, value in enumerate(seen) if all(value is not other for other in seen[:place])]
    kinds = [inputs.reshape(-1, 3, 4, 4, 4, 4).mean((3, 5)).flatten(1)]
    for value in values[: round(len(values) / 3)]:
        kinds += [value.mean((2, 3)), value.std((2, 3), correction=0)]
    return kinds


def spread_by_hand(kind: Tensor) -> float:
    return float(kind.double().var(0, correction=0).mean().sqrt())


def test_learning_by_batches_is_learning_at_once() -> None:
    first, second = DensityIndex(), DensityIndex()
    net = taught(first, tasks=1)
    second.learn_task(lambda: pictures(0).split([1, 70, 0, 121]), net)
    held = pictures(1, 9)
    torch.testing.assert_close(first.scores(held, net), second.scores(held, net), rtol=1e-6, atol=1e-4)


def test_what_was_learned_of_a_task_stays_when_others_come() -> None:
    for kind in ("density", "autoencoder"):
        net = taught(MAKE[kind](), tasks=1)
        held = pictures(0, 9, seed=3)
        before = net.index.scores(held, net)[:, 0]
        net.add_task("1", num_classes=3)
        a_few_steps(net, "1", pictures(1, 32))
        net.eval().learn_inputs("1", batches(pictures(1)))
        assert torch.equal(net.index.scores(held, net)[:, 0], before), kind


def test_the_entropy_index_takes_the_surest_head() -> None:
    index = EntropyIndex()
    net = taught(index, tasks=2)
    held = pictures(0, 5)
    for task in range(2):
        chances = net(held, task=str(task)).detach().double().softmax(1)
        wanted = (chances * chances.log()).sum(1) / math.log(3)
        assert index.scores(held, net)[:, task].tolist() == pytest.approx(wanted.tolist(), rel=1e-4)


def test_autoencoders_score_by_their_error() -> None:
    index = AutoencoderIndex(epochs=1, code=4)
    net = taught(index, tasks=1)
    autoencoder, all_inputs = index.autoencoders[0], pictures(0)
    errors = (autoencoder(all_inputs) - all_inputs).square().mean((1, 2, 3))
    wanted = -errors[:6] / errors.mean()
    assert index.scores(all_inputs[:6], net)[:, 0].tolist() == pytest.approx(wanted.tolist(), rel=1e-4)


def test_flat_inputs_have_their_index_modules_too() -> None:
    for index in (DensityIndex(), AutoencoderIndex(epochs=60, code=8, learning_rate=1e-2)):
        torch.manual_seed(0)
        net = stack_of(NETWORKS["perceptron"](), index=index)
        points = torch.randn(256, 30)
        for task in range(2):
            net.add_task(str(task), num_classes=3)
            a_few_steps(net, str(task), points + 2 * task)
            net.finish_task(str(task))
            net.eval().learn_inputs(str(task), batches(points + 2 * task))
        fresh = torch.randn(64, 30)
        found = torch.cat([net.infer_task(fresh), net.infer_task(fresh + 2)])
        assert float((found == torch.arange(2).repeat_interleave(64)).float().mean()) > 0.85, type(index)
    with pytest.raises(UsageError, match=r"needs pictures .* of shape \(32, 30\)"):
        GeneratorIndex(epochs=1).learn_task(lambda: iter([torch.zeros(32, 30)]), net)


def test_generators_stay_within_their_tasks_values_and_repeat() -> None:
    first, second = (MAKE["generator"](seed=5) for _ in range(2))
    for index in (first, second):
        net = taught(index, tasks=1)
    assert isinstance(first, GeneratorIndex)
    assert isinstance(second, GeneratorIndex)
    made = first.generate(0, 50, generator=torch.Generator().manual_seed(0))
    assert made.shape == (50, 3, 16, 16)
    assert float(made.min()) >= float(pictures(0).min())
    assert float(made.max()) <= float(pictures(0).max())
    assert torch.equal(made, second.generate(0, 50, generator=torch.Generator().manual_seed(0)))
    assert net.index is second


@pytest.mark.parametrize("sides", [(8, 8), (9, 14), (28, 28)])
def test_generators_and_autoencoders_of_odd_sizes(sides: tuple[int, int]) -> None:
    inputs = torch.rand(8, 1, *sides)
    for index in (GeneratorIndex(epochs=1, classifier_steps=2, width=4), AutoencoderIndex(epochs=1)):
        net = stack_of(nn.Sequential(nn.Flatten(), nn.Linear(sides[0] * sides[1], 2)), index=index)
        net.add_task("a", num_classes=2)
        net.finish_task("a")
        net.eval().learn_inputs("a", [(inputs, torch.zeros(8))])
        assert index.scores(inputs, net).shape == (8, 1)


@pytest.mark.parametrize("kind", ["density", "autoencoder"])
def test_inputs_of_no_known_task_are_rejected(kind: str) -> None:
    net = taught(MAKE[kind](reject=0.05), tasks=2)
    own = torch.cat([net.infer_task(pictures(task, 200, seed=4)) for task in range(2)])
    assert 0 < float((own == -1).float().mean()) < 0.25
    noise = torch.rand(50, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    strange = net.infer_task(noise)
    assert float((strange == -1).float().mean()) > 0.95
    tasks, logits = net(noise)
    assert torch.equal(tasks, strange)
    assert bool(logits[strange == -1].isnan().all())
    never = taught(MAKE[kind](), tasks=2)
    assert not bool((never.infer_task(noise) == -1).any())


@pytest.mark.parametrize("kind", MAKE)
def test_an_input_of_nans_is_of_no_task(kind: str) -> None:
    net = taught(MAKE[kind](), tasks=2)
    inputs = pictures(0, 3)
    inputs[1] = torch.nan
    found = net.infer_task(inputs)
    assert found[1] == -1
    assert bool((found[[0, 2]] >= 0).all())


@pytest.mark.parametrize("kind", MAKE)
def test_a_saved_index_module_says_the_same(kind: str, tmp_path: Path) -> None:
    net = taught(MAKE[kind](reject=0.1), tasks=2)
    held = pictures(1, 20, seed=6)
    net.save(tmp_path / "stack")
    again = stack_of(NETWORKS["residual"](), index=MAKE[kind](reject=0.1)).restore(tmp_path / "stack").eval()
    assert torch.equal(again.index.scores(held, again), net.index.scores(held, net))
    assert torch.equal(again.infer_task(held), net.infer_task(held))
    assert again.index.size() == net.index.size()
    net.save(tmp_path / "first", up_to="0")
    first = stack_of(NETWORKS["residual"](), index=MAKE[kind](reject=0.1)).restore(tmp_path / "first").eval()
    assert first.index.tasks == 1
    assert bool((first.infer_task(held) <= 0).all())


def test_an_empty_batch_has_no_tasks() -> None:
    for kind in MAKE:
        net = taught(MAKE[kind](), tasks=2)
        tasks, logits = net(pictures(0, 4)[:0])
        assert tasks.shape == (0,)
        assert logits.shape == (0, 3)


def test_tasks_come_in_their_order() -> None:
    net = taught(DensityIndex(), tasks=1)
    net.add_task("1", num_classes=3)
    net.add_task("2", num_classes=3)
    with pytest.raises(UsageError, match="is to learn 2, but the next one it must learn is 1"):
        net.learn_inputs("2", batches(pictures(2)))
    with pytest.raises(UsageError, match="has learned 0 so far"):
        net(pictures(0, 2))
    with pytest.raises(UsageError, match="no inputs of the task"):
        net.learn_inputs("1", [])


def test_arguments_out_of_range_are_refused() -> None:
    for make, sentence in (
        (lambda: DensityIndex(reject=0.6), "reject is 0.6, but must be between 0 and 0.5"),
        (lambda: DensityIndex(ridge=0), "ridge is 0, but must be above 0"),
        (lambda: DensityIndex(layers=2), "layers is 2"),
    ):
        with pytest.raises(UsageError, match=sentence):
            make()


def test_an_index_module_of_ones_own_is_two_methods() -> None:
    class Brightness(IndexModule):
        """The task whose mean brightness is nearest."""

        def __init__(self) -> None:
            super().__init__()
            self.means: list[Tensor] = []

        def _learn(self, inputs: Callable[[], Iterable[Tensor]], net: StackNet) -> None:
            self.means.append(torch.cat([batch.mean((1, 2, 3)) for batch in inputs()]).mean())

        def scores(self, inputs: Tensor, net: StackNet) -> Tensor:
            return torch.stack([-(inputs.mean((1, 2, 3)) - mean).abs() for mean in self.means], 1)

    net = stack_of(NETWORKS["residual"](), index=Brightness())
    for task in range(2):
        net.add_task(str(task), num_classes=2)
        net.eval().learn_inputs(str(task), batches(pictures(0) + task))
    assert net.infer_task(torch.ones(2, 3, 16, 16)).tolist() == [1, 1]


def test_a_perfect_index_is_worth_the_known_task() -> None:
    answer = torch.tensor([1, 0, 1])
    net = taught(GivenIndex(lambda inputs: answer[: len(inputs)]), tasks=2)
    tasks, logits = net(pictures(0, 3))
    assert torch.equal(tasks, answer)
    assert torch.equal(logits, net(pictures(0, 3), task=answer))
