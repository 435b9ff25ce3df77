from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.errors import UsageError
from tenfold.core.task import IMAGENET_MEAN, IMAGENET_STD, Task
from tenfold.generate import GenerativeAutoencoder, LatentDensity, PerceptualLoss
from tenfold.generate.config import MetricSettings, TrainSettings
from tenfold.generate.features import ClassifierFeatures, InceptionFeatures, build_classifier, feature_network
from tenfold.generate.generative import BATCH
from tenfold.generate.paths import likely_path, straight
from tenfold.generate.perceptual import perceptual_loss
from tenfold.nets import VGGFeatures

# latents of inputs (N, 3): their double; rebuilt by half


def rows(count: int, dim: int = 3, *, seed: int = 0) -> Tensor:
    """Rows whose dimensions go together, about 5."""
    noise = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))
    return noise.cumsum(1) + 5


SETTINGS: dict[str, Any] = {"epochs": 15, "learning_rate": 1e-2, "batch_size": 64}


def density(latents: Tensor, **options: Any) -> LatentDensity:
    torch.manual_seed(0)
    small = LatentDensity(latents.shape[1], 3, base_width=4, **options)
    return small.fit(latents, **SETTINGS)


@pytest.fixture(scope="module")
def fitted() -> dict[str, Any]:
    return density(2 * rows(600)).state_dict()


@pytest.fixture
def plain(fitted: dict[str, Any]) -> GenerativeAutoencoder:
    """Of plain callables."""
    learned = LatentDensity(3, 3, base_width=4)
    learned.load_state_dict(fitted)
    return GenerativeAutoencoder(lambda inputs: 2 * inputs, lambda latents: latents / 2, learned.eval())


class Noted(nn.Module):
    """Notes how it is called, and changes in training as batch norm and dropout do."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.norm = nn.BatchNorm1d(3)
        self.calls: list[tuple[bool, bool, int]] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls.append((self.training, torch.is_grad_enabled(), len(inputs)))
        return self.norm(inputs) * self.factor


def test_plain_callables_sample_rebuild_and_score(plain: GenerativeAutoencoder) -> None:
    inputs = rows(7, seed=1)
    assert plain.sample(5, seed=1).shape == (5, 3)
    torch.testing.assert_close(plain.sample(5, seed=1), plain.density.sample(5, seed=1) / 2)
    torch.testing.assert_close(plain.encode(inputs), 2 * inputs)
    torch.testing.assert_close(plain.reconstruct(inputs), inputs)
    torch.testing.assert_close(plain.log_prob(inputs), plain.density.log_prob(2 * inputs).detach())
    torch.testing.assert_close(plain.typicality(inputs), plain.density.typicality(2 * inputs))
    torch.testing.assert_close(plain.outlier_score(inputs), plain.density.median - plain.log_prob(inputs))


def test_samples_look_like_the_inputs(plain: GenerativeAutoencoder) -> None:
    made, real = plain.sample(2000, seed=0), rows(2000, seed=2)
    torch.testing.assert_close(made.mean(0), real.mean(0), rtol=0, atol=0.5)
    torch.testing.assert_close(made.std(0), real.std(0), rtol=0.25, atol=0)


def test_strange_inputs_score_higher(plain: GenerativeAutoencoder) -> None:
    usual = rows(200, seed=3)
    swapped = usual.flip(1)  # each number likely by itself
    strange = usual + 20
    score = plain.outlier_score(usual)
    assert abs(float(score.median())) < 0.5
    assert plain.outlier_score(swapped).mean() > score.mean() + 0.4
    assert plain.outlier_score(strange).min() > score.max()
    assert plain.typicality(strange).max() < 0.05 < plain.typicality(usual).mean()


def test_modules_are_called_in_evaluation_and_without_gradients(fitted: dict[str, Any]) -> None:
    encoder, decoder = Noted(2.0), Noted(0.5)
    learned = LatentDensity(3, 3, base_width=4)
    learned.load_state_dict(fitted)
    autoencoder = GenerativeAutoencoder(encoder, decoder, learned)
    norms = [part.norm.running_mean.clone() for part in (encoder, decoder)]
    inputs = rows(4).requires_grad_()
    for call in (
        lambda: autoencoder.sample(2, seed=0),
        lambda: autoencoder.reconstruct(inputs, active=1),
        lambda: autoencoder.log_prob(inputs),
        lambda: autoencoder.typicality(inputs),
        lambda: autoencoder.outlier_score(inputs),
        lambda: autoencoder.interpolate(inputs[0], inputs[1], steps=3),
    ):
        autoencoder.train()
        assert not call().requires_grad
    assert len(encoder.calls) == 5
    assert not any(training or grads for training, grads, _ in [*encoder.calls, *decoder.calls])
    for part, before in zip((encoder, decoder), norms, strict=True):
        assert torch.equal(part.norm.running_mean, before)
        assert all(parameter.grad is None for parameter in part.parameters())


def test_scores_do_not_depend_on_what_is_scored_along_in_any_mode(plain: GenerativeAutoencoder) -> None:
    """The density has batch norms too, which would mix the rows and would go on learning."""
    inputs, state = rows(30, seed=4), {name: t.clone() for name, t in plain.density.state_dict().items()}
    calls: dict[str, Callable[[Tensor], Tensor]] = {
        "log_prob": plain.log_prob,
        "typicality": plain.typicality,
        "outlier_score": plain.outlier_score,
        "path": lambda inputs: plain.path(inputs[0], inputs[1], steps=4),
    }
    for name, call in calls.items():
        wanted = call(inputs)
        plain.train()
        torch.testing.assert_close(call(inputs), wanted, msg=name)
        plain.eval()
    assert all(torch.equal(state[name], tensor) for name, tensor in plain.density.state_dict().items())


def test_convolutional_latents_keep_their_shape() -> None:
    torch.manual_seed(0)
    encoder, decoder = nn.Conv2d(1, 2, 3, 2, 1), nn.ConvTranspose2d(2, 1, 2, 2)
    images = torch.rand(60, 1, 4, 4)
    latents = encoder(images).detach()
    autoencoder = GenerativeAutoencoder(encoder, decoder, LatentDensity(8, 2, base_width=2), latent_shape=(2, 2, 2))
    assert autoencoder.fit(images.split(25), epochs=2) is autoencoder
    torch.testing.assert_close(autoencoder.encode(images), latents.flatten(1))
    torch.testing.assert_close(autoencoder.reconstruct(images), decoder(latents).detach())
    assert autoencoder.sample(3).shape == (3, 1, 4, 4)
    assert autoencoder.log_prob(images).shape == (60,)
    assert autoencoder.interpolate(images[0], images[1], steps=4).shape == (4, 1, 4, 4)


def test_fitting_takes_the_latents_of_all_batches_of_a_loader(fitted: dict[str, Any]) -> None:
    inputs = rows(600)
    torch.manual_seed(0)
    autoencoder = GenerativeAutoencoder(lambda x: 2 * x, lambda z: z / 2, LatentDensity(3, 3, base_width=4))
    autoencoder.fit([(part, None) for part in inputs.split(64)], **SETTINGS)
    for name, tensor in autoencoder.density.state_dict().items():
        torch.testing.assert_close(tensor, fitted[name])


def test_the_first_latents_alone_rebuild_with_the_others_at_their_mean(plain: GenerativeAutoencoder) -> None:
    inputs, mean = rows(6, seed=1), rows(600).mean(0)
    for active in range(4):
        found = plain.reconstruct(inputs, active=active)
        torch.testing.assert_close(found[:, :active], inputs[:, :active])
        assert (found[:, active:] == found[0, active:]).all()
        torch.testing.assert_close(found[0, active:], mean[active:], rtol=0, atol=0.3)
    for active in (-1, 4):
        with pytest.raises(UsageError, match=f"active is {active}, but must be 0 to 3"):
            plain.reconstruct(inputs, active=active)


@pytest.mark.parametrize("order", ["variance", "pca"])
def test_the_first_latents_are_the_encoders_whatever_the_densitys_order(order: Any) -> None:
    latents = rows(200) * torch.tensor([1.0, 5.0, 2.0])
    autoencoder = GenerativeAutoencoder(lambda x: x, lambda z: z, density(latents, order=order))
    found = autoencoder.reconstruct(latents[:5], active=2)
    torch.testing.assert_close(found[:, :2], latents[:5, :2])
    assert (found[:, 2] == found[0, 2]).all()


def test_many_latents_are_decoded_in_parts(plain: GenerativeAutoencoder) -> None:
    decoder = Noted(1.0)
    autoencoder = GenerativeAutoencoder(lambda x: x, decoder, plain.density)
    latents = rows(2 * BATCH + 1)
    found = autoencoder.decode(latents)
    assert [count for _, _, count in decoder.calls] == [BATCH, BATCH, 1]
    torch.testing.assert_close(found, decoder.eval()(latents).detach())


def test_a_density_of_another_precision_fits_all_the_same(fitted: dict[str, Any]) -> None:
    encoder, decoder = nn.Linear(3, 3), nn.Linear(3, 3)
    learned = LatentDensity(3, 3, base_width=4)
    learned.load_state_dict(fitted)
    autoencoder = GenerativeAutoencoder(encoder, decoder, learned.double())
    inputs = rows(4)
    assert autoencoder.log_prob(inputs).dtype == torch.float64
    assert autoencoder.reconstruct(inputs).dtype == torch.float32
    assert autoencoder.sample(2).dtype == torch.float32
    assert autoencoder.interpolate(inputs[0], inputs[1], steps=3).dtype == torch.float32


def test_what_does_not_fit_the_density_is_refused(plain: GenerativeAutoencoder) -> None:
    with pytest.raises(
        UsageError, match=r"latent_shape is \(2, 2\), but must have 3 numbers: the density has that dim"
    ):
        GenerativeAutoencoder(lambda x: x, lambda z: z, plain.density, latent_shape=(2, 2))
    with pytest.raises(UsageError, match=r"the encoder gives latents of shape \(4, 5\), but must give 3 numbers a row"):
        plain.encode(torch.zeros(4, 5))
    unfitted = GenerativeAutoencoder(lambda x: x, lambda z: z, LatentDensity(3))
    for score in (unfitted.typicality, unfitted.outlier_score):
        with pytest.raises(UsageError, match="the density must be fitted first"):
            score(torch.zeros(2, 3))


def test_latents_to_decode_of_another_dimension_are_refused(plain: GenerativeAutoencoder) -> None:
    """Six rows of two numbers are not four of three."""
    with pytest.raises(UsageError, match=r"\(6, 2\)"):
        plain.decode(torch.zeros(6, 2))


def test_an_interpolation_passes_from_one_input_to_the_other(plain: GenerativeAutoencoder) -> None:
    ends = rows(2, seed=5)
    way = plain.interpolate(ends[0], ends[1], steps=5)
    assert way.shape == (5, 3)
    torch.testing.assert_close(way[[0, -1]], ends)
    line = plain.interpolate(ends[0], ends[1], steps=5, weight=0)
    torch.testing.assert_close(line, straight(ends[0], ends[1], 5))
    assert plain.interpolate(ends[0], ends[1]).shape == (9, 3)
    likely = likely_path(plain.density.log_prob, 2 * ends[0], 2 * ends[1], steps=5, scale=plain.density.spread)
    torch.testing.assert_close(plain.path(2 * ends[0], 2 * ends[1], steps=5), likely)


def test_paths_pass_dimensions_that_never_varied() -> None:
    latents = rows(200)
    latents[:, 1] = 2.0
    with pytest.warns(UserWarning, match="never vary"):
        learned = density(latents)
    autoencoder = GenerativeAutoencoder(lambda x: x, lambda z: z, learned)
    way = autoencoder.path(latents[0], latents[1], steps=5)
    assert way.isfinite().all()
    assert torch.equal(way[:, 1], torch.full((5,), 2.0))


# ways


def ring(points: Tensor) -> Tensor:
    """A density that is high at a distance of 1 from the origin."""
    return -0.5 * ((points.square().sum(-1) + 1e-12).sqrt() - 1).square() / 0.1**2


LEFT, RIGHT = torch.tensor([-1.0, 0.02]), torch.tensor([1.0, 0.02])


def mean_log_prob(path: Tensor) -> float:
    return float(ring(path).mean())


def test_without_weight_a_path_is_the_straight_line() -> None:
    found = likely_path(ring, LEFT, RIGHT, steps=5, weight=0)
    wanted = torch.tensor([[-1, 0.02], [-0.5, 0.02], [0, 0.02], [0.5, 0.02], [1, 0.02]])
    torch.testing.assert_close(found, wanted)
    assert torch.equal(found, straight(LEFT, RIGHT, 5))


def test_a_path_bends_to_where_the_density_is_high() -> None:
    line = straight(LEFT, RIGHT, 9)
    paths = [likely_path(ring, LEFT, RIGHT, weight=weight) for weight in (0.05, 1.0)]
    found = [mean_log_prob(line), *(mean_log_prob(path) for path in paths)]
    assert found[0] < found[1] < found[2]
    assert found[2] > -1 > -10 > found[0]
    bends = [float((path - line).norm()) for path in paths]
    assert 0 < bends[0] < bends[1]
    for path in paths:
        assert path.shape == (9, 2)
        assert not path.requires_grad
        assert torch.equal(path[0], LEFT)
        assert torch.equal(path[-1], RIGHT)


def test_a_path_is_short_and_even_where_the_density_is() -> None:
    flat = likely_path(lambda points: 0 * points.sum(-1), LEFT, RIGHT, steps=6)
    torch.testing.assert_close(flat, straight(LEFT, RIGHT, 6), rtol=0, atol=1e-4)
    gaps = (bent := likely_path(ring, LEFT, RIGHT, steps=9))[1:] - bent[:-1]
    lengths = gaps.norm(dim=1)
    assert float(lengths.max() / lengths.min()) < 1.5


def test_a_path_is_a_minimum_of_its_energy() -> None:
    def energy(path: Tensor) -> float:
        lengths = ((path[1:] - path[:-1]) / scale).square().sum()
        return float(0.5 * 6 * lengths - 0.7 / 6 * ring(path[1:-1]).sum())

    scale = torch.tensor([1.0, 0.5])
    path = likely_path(ring, LEFT, RIGHT, steps=7, weight=0.7, scale=scale, updates=2000)
    assert energy(path) < energy(straight(LEFT, RIGHT, 7))
    random = torch.Generator().manual_seed(0)
    for _ in range(50):
        step = 0.02 * torch.randn(7, 2, generator=random)
        step[[0, -1]] = 0
        assert energy(path + step) > energy(path) - 1e-4


def test_units_of_the_latents_do_not_change_a_path() -> None:
    wide = likely_path(lambda points: ring(points / 100), 100 * LEFT, 100 * RIGHT, scale=100.0)
    torch.testing.assert_close(wide / 100, likely_path(ring, LEFT, RIGHT), rtol=1e-3, atol=1e-3)


def test_weights_of_the_density_get_no_gradient_from_a_path() -> None:
    network = nn.Linear(2, 1)
    with torch.no_grad():
        likely_path(lambda points: -network(points).square()[:, 0], LEFT, RIGHT, steps=4, updates=3)
    assert all(parameter.grad is None for parameter in network.parameters())


numbers = st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3)


@settings(max_examples=60, deadline=None)
@given(numbers, numbers, st.integers(2, 9))
def test_both_ends_are_exactly_on_a_straight_line(first: list[float], last: list[float], steps: int) -> None:
    start, end = torch.tensor(first), torch.tensor(last)
    points = straight(start, end, steps)
    assert points.shape == (steps, 3)
    assert torch.equal(points[0], start)
    assert torch.equal(points[-1], end)
    gaps = points.double().diff(dim=0)
    wanted = (end.double() - start.double()) / (steps - 1)
    torch.testing.assert_close(gaps, wanted.expand_as(gaps), rtol=0, atol=1.0)


def test_lines_of_many_latents_are_drawn_at_once() -> None:
    start, end = torch.zeros(4, 2), torch.ones(4, 2)
    assert straight(start, end, 3)[1].tolist() == [[0.5, 0.5]] * 4


def test_ways_that_cannot_be_are_refused() -> None:
    for steps in (1, 0, -1):
        with pytest.raises(UsageError, match=f"steps is {steps}, but must be at least 2: both ends are among them"):
            straight(LEFT, RIGHT, steps)
    with pytest.raises(UsageError, match=r"the ends have shapes \(2,\) and \(1,\), but must have the same"):
        straight(LEFT, RIGHT[:1], 3)
    with pytest.raises(UsageError, match=r"weight is -0.1, but must be at least 0"):
        likely_path(ring, LEFT, RIGHT, weight=-0.1)
    assert torch.equal(likely_path(ring, LEFT, RIGHT, steps=2), torch.stack([LEFT, RIGHT]))


# the perceptual loss


class Edges(nn.Module):
    """Features by hand: differences of neighbours, and the mean of each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(2.0))
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.dropout(self.gain * images.diff(dim=-1)), images.mean((2, 3))]


def pictures(channels: int, *, seed: int) -> Tensor:
    return torch.rand(4, channels, 8, 8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_the_perceptual_loss_is_the_weighted_sum_over_layers(weight: float, channels: int) -> None:
    images, rebuilt = pictures(channels, seed=0), pictures(channels, seed=1)
    wanted = 0.0
    ready = []
    for part in (images, rebuilt):
        colour = part if channels == 3 else torch.cat([part] * 3, 1)
        parts = [(colour[:, c] - IMAGENET_MEAN[c]) / IMAGENET_STD[c] for c in range(3)]
        ready.append(torch.stack(parts, 1))
    wanted += float(F.mse_loss(2 * ready[0].diff(dim=-1), 2 * ready[1].diff(dim=-1)))
    wanted += float(F.mse_loss(ready[0].mean((2, 3)), ready[1].mean((2, 3))))
    loss = PerceptualLoss(Edges(), weight=weight)
    assert float(loss(images, rebuilt)) == pytest.approx(weight * wanted, rel=1e-5)
    assert float(loss(images, images)) == 0
    halved = PerceptualLoss(lambda x: [x], weight=1, mean=(0, 0, 0), std=(0.5, 0.5, 0.5))
    assert float(halved(images, rebuilt)) == pytest.approx(4 * float(F.mse_loss(images, rebuilt)), rel=1e-5)


def test_half_the_sum_is_the_papers_weight() -> None:
    loss = PerceptualLoss(lambda x: [x, x], mean=(0, 0, 0), std=(1, 1, 1))
    assert float(loss(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4))) == 1


def test_only_the_rebuilt_pictures_learn_from_the_perceptual_loss() -> None:
    features = Edges()
    loss = PerceptualLoss(features)
    images, rebuilt = pictures(3, seed=0).requires_grad_(), pictures(3, seed=1).requires_grad_()
    loss(images, rebuilt).backward()
    assert images.grad is None
    assert rebuilt.grad is not None
    assert rebuilt.grad.any()
    assert features.gain.grad is None
    assert not any(parameter.requires_grad for parameter in loss.parameters())


def test_features_stay_in_evaluation_while_what_they_judge_trains() -> None:
    """As a part of a model that is put to training, they would else drop out features, or learn new statistics."""
    loss = PerceptualLoss(Edges())
    model = nn.ModuleList([loss]).train()
    images = pictures(3, seed=0)
    assert float(loss(images, images)) == 0
    assert len(model) == 1


@pytest.mark.parametrize("output", ["tanh", "sigmoid"])
def test_the_settings_loss_reads_pictures_in_the_decoders_range(output: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = VGGFeatures(["relu1_1", "relu2_1", "relu3_1"])
    save_file(network.state_dict(), tmp_path / "vgg.safetensors")
    asked = TrainSettings(perceptual=0.1, perceptual_weights=tmp_path / "vgg.safetensors")
    loss = perceptual_loss(asked, output, torch.device("cpu"))
    assert loss is not None
    images, rebuilt = pictures(1, seed=0), pictures(1, seed=1)
    as_given = [2 * part - 1 if output == "tanh" else part for part in (images, rebuilt)]
    wanted = 0.1 * float(PerceptualLoss(network)(images, rebuilt))
    assert float(loss(*as_given)) == pytest.approx(wanted, rel=1e-4)
    assert wanted > 0
    assert perceptual_loss(TrainSettings(), output, torch.device("cpu")) is None


# features that samples are judged by


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (32, 3)])
def test_a_classifiers_features_are_what_its_last_layer_reads(size: int, channels: int) -> None:
    torch.manual_seed(0)
    task = Task((channels, size, size), ("a", "b", "c"), (0.4,) * channels, (0.2,) * channels)
    classifier = build_classifier("resnet-8", task).eval()
    images = torch.rand(3, channels, size, size)
    last: Any = [part for part in classifier.modules() if isinstance(part, nn.Linear)][-1]
    with torch.no_grad():
        logits = classifier((images - 0.4) / 0.2)
        chosen = feature_network(MetricSettings(), classifier.train(), task)
        assert not any(part.training for part in chosen.modules())
        for network in (ClassifierFeatures(classifier, task), chosen):
            found = network(images)
            assert found.shape == (3, last.in_features)
            torch.testing.assert_close(F.linear(found, last.weight, last.bias), logits, rtol=1e-4, atol=1e-4)
            assert not torch.equal(network(images.flip(0)), found)


@contextmanager
def scripting() -> Iterator[None]:
    """TorchScript is out of favour, but is what the files with Inception's features are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


class StandIn(nn.Module):
    """Means, ranges and sizes in place of 2,048 features."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        low, high = images.amin((1, 2, 3)), images.amax((1, 2, 3))
        sides = torch.full_like(low, float(images.shape[2] * images.shape[3]))
        return self.dropout(torch.cat([images.mean((2, 3)), torch.stack([low, high, sides], 1)], 1))


class Pair(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images.mean((2, 3)), images


class Maps(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images


class Grey(nn.Module):
    """Of another input."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images).mean((2, 3))


def saved(network: nn.Module, folder: Path) -> Path:
    path = folder / "network.pt"
    with scripting():
        torch.jit.script(network).save(str(path))
    return path


@pytest.mark.parametrize("channels", [1, 3])
def test_inceptions_features_are_of_large_pictures_between_minus_one_and_one(channels: int, tmp_path: Path) -> None:
    network = InceptionFeatures(saved(StandIn(), tmp_path))
    images = torch.rand(2, channels, 8, 8)
    images[:, :, :3, :3], images[:, :, -3:, -3:] = 0, 1
    found = network(images)
    assert found.shape == (2, 6)
    torch.testing.assert_close(found[:, :3], (2 * images.mean((2, 3)) - 1).expand(-1, 3), rtol=0, atol=0.02)
    torch.testing.assert_close(found[:, 3:5], torch.tensor([[-1.0, 1.0]] * 2))
    assert found[:, 5].tolist() == [299 * 299] * 2
    assert torch.equal(network(images), found)


def test_large_pictures_are_shrunk_without_aliases(tmp_path: Path) -> None:
    network = InceptionFeatures(saved(StandIn(), tmp_path))
    stripes = (torch.arange(3.0 * 299) % 2).expand(1, 3, 4, -1)  # every third pixel alone would be stripes again
    low, high = network(stripes)[0, 3:5].tolist()
    assert low > -0.5
    assert high < 0.5


def test_the_settings_choose_the_features(tmp_path: Path) -> None:
    path = saved(StandIn(), tmp_path)
    task = Task((3, 8, 8), ("a",), (0.5,) * 3, (0.5,) * 3)
    network = feature_network(MetricSettings(features="inception", inception=path), None, task)
    assert isinstance(network, InceptionFeatures)
    assert not any(part.training for part in network.modules())


def test_files_that_are_not_inceptions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"missing.pt does not exist, but must be a TorchScript file of Inception-V3's"
    ):
        InceptionFeatures(tmp_path / "missing.pt")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "weights.pt")
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "empty.pt").write_bytes(b"")
    for name in ("weights", "text", "empty"):
        with pytest.raises(UsageError, match=rf"{name}.pt is not a TorchScript file: [^\n]+$"):
            InceptionFeatures(tmp_path / f"{name}.pt")


@pytest.mark.parametrize("network", [Pair(), Maps(), Grey()])
def test_networks_of_another_kind_are_refused(network: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError,
        match=r"network.pt (is a network of another kind|does not take pictures \(N, 3, 299, 299\)): [^\n]+$",
    ):
        InceptionFeatures(saved(network, tmp_path))


def test_log_densities_are_of_latents_in_nats(plain: GenerativeAutoencoder) -> None:
    """The entropy of a random walk of steps with variance 4 is that of its steps: 3 / 2 log(2 pi e 4)."""
    found = plain.log_prob(rows(2000, seed=6)).mean()
    assert float(found) == pytest.approx(-1.5 * math.log(2 * math.pi * math.e * 4), abs=0.35)
