from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenfold.core.errors import UsageError
from tenfold.core.task import Task
from tenfold.generate import Config, Decoder, Encoder
from tenfold.generate.autoencoder import NormStart, Range, from_bytes, to_bytes, to_unit
from tenfold.generate.config import AUTOENCODERS, AutoencoderName
from tenfold.generate.models import Autoencoder, AutoencoderObjective
from tenfold.generate.stages import AutoencoderStage, build_autoencoder, image_stages

from ..nets.builders import parameters

SIZES = (8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128)


@pytest.mark.parametrize(
    ("size", "latent", "channels", "encoder", "decoder"),
    [
        (64, 100, 3, 3_577_636, 3_576_643),
        (128, 200, 3, 14_427_016, 14_424_899),
        (32, 256, 3, 1_708_480, 1_707_843),
        (28, 8, 1, 182_728, 182_593),
    ],
)
def test_the_papers_networks_have_their_numbers_of_parameters(
    size: int, latent: int, channels: int, encoder: int, decoder: int
) -> None:
    with torch.device("meta"):
        assert parameters(Encoder(size, latent, channels=channels)) == encoder
        assert parameters(Decoder(size, latent, channels=channels)) == decoder


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_pictures_become_latents_and_latents_pictures(size: int, channels: int) -> None:
    pictures = torch.rand(2, channels, size, size)
    latents = Encoder(size, 5, channels=channels, width=2)(pictures)
    assert latents.shape == (2, 5)
    assert Decoder(size, 5, channels=channels, width=2)(latents).shape == pictures.shape


@pytest.mark.parametrize("size", [0, 1, 4, 7, 9, 11, 18, 30, 36, 65, 100, 130])
def test_sizes_that_cannot_be_halved_are_refused(size: int) -> None:
    for make in (Encoder, Decoder):
        with pytest.raises(
            UsageError, match=rf"^pictures are {size} pixels wide, but must be such as 8, .*, 64, [^\n]*$"
        ):
            make(size, 5)


def kinds(network: nn.Module) -> list[str]:
    return [type(part).__name__ for part in network]  # type: ignore[attr-defined]


def test_what_lies_between_the_convolutions_is_the_papers() -> None:
    encoder, decoder = Encoder(32, 5, width=4), Decoder(32, 5, width=4)
    middle = ["BatchNorm2d", "LeakyReLU"]
    assert kinds(encoder) == ["Conv2d", "LeakyReLU", "Conv2d", *middle, "Conv2d", *middle, "Conv2d", "Flatten"]
    up = "ConvTranspose2d"
    assert kinds(decoder) == ["Unflatten", up, up, *middle, up, *middle, up, "Tanh"]
    assert kinds(Decoder(32, 5, output="sigmoid"))[-1] == "Sigmoid"
    slopes = [part.negative_slope for part in [*encoder, *decoder] if isinstance(part, nn.LeakyReLU)]
    assert slopes == [0.2] * 5


def test_convolutions_halve_and_double_up_to_the_last_that_covers_the_whole() -> None:
    downs: list[Any] = [part for part in Encoder(48, 5, channels=3) if isinstance(part, nn.Conv2d)]
    ups: list[Any] = [part for part in Decoder(48, 5, channels=3) if isinstance(part, nn.ConvTranspose2d)]
    halving, whole = ((4, 4), (2, 2), (1, 1)), ((6, 6), (1, 1), (0, 0))
    assert [(c.kernel_size, c.stride, c.padding) for c in downs] == [halving] * 3 + [whole]
    assert [(c.kernel_size, c.stride, c.padding) for c in ups] == [whole] + [halving] * 3
    assert [c.out_channels for c in downs] == [64, 128, 256, 5]
    assert [c.out_channels for c in ups] == [256, 128, 64, 3]
    assert all(c.bias is not None for c in [*downs, *ups])


def test_latents_are_unbounded() -> None:
    torch.manual_seed(0)
    encoder = Encoder(8, 4, width=4).eval()
    pictures = torch.rand(3, 1, 8, 8)
    # without biases and with norms that are new, all but the bound would grow with the pictures
    torch.testing.assert_close(encoder(1000 * pictures), 1000 * encoder(pictures), rtol=1e-3, atol=1e-3)
    assert encoder(1e4 * pictures).abs().max() > 100
    assert (encoder(pictures) < 0).any()


@pytest.mark.parametrize(("output", "low"), [("tanh", -1.0), ("sigmoid", 0.0)])
def test_pictures_lie_in_the_range_of_the_last_step(output: Range, low: float) -> None:
    torch.manual_seed(0)
    decoder = Decoder(16, 4, width=4, output=output).eval().requires_grad_(False)
    pictures = decoder(torch.cat([torch.randn(8, 4), 1e4 * torch.randn(8, 4)]))
    assert low <= float(pictures.min()) < low + 1e-3
    assert 1 - 1e-3 < float(pictures.max()) <= 1
    middle = decoder(torch.zeros(1, 4))  # all biases are 0
    torch.testing.assert_close(middle, torch.full_like(middle, (low + 1) / 2))


@pytest.mark.parametrize("make", [Encoder, Decoder])
def test_convolutions_begin_orthogonal_and_without_bias(make: Any) -> None:
    for part in make(32, 5, width=8):
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            rows = part.weight.detach().flatten(1)
            small = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
            torch.testing.assert_close(small, torch.eye(len(small)), rtol=0, atol=1e-5)
            assert part.bias is not None
            assert not part.bias.any()


def norms(*networks: nn.Module) -> list[nn.BatchNorm2d]:
    return [part for network in networks for part in network.modules() if isinstance(part, nn.BatchNorm2d)]


@pytest.mark.parametrize("make", [Encoder, Decoder])
def test_the_papers_norms_begin_near_zero(make: Any) -> None:
    torch.manual_seed(0)
    scales = torch.cat([norm.weight for norm in norms(make(64, 100, norm_start="paper"))]).detach()
    assert len(scales) > 400
    assert abs(float(scales.mean())) < 0.004
    assert float(scales.std()) == pytest.approx(0.02, rel=0.15)
    assert all(bool((norm.weight == 1).all()) for norm in norms(make(64, 100)))
    assert not any(norm.bias.any() for norm in norms(make(64, 100, norm_start="paper")))


def test_latents_hardly_vary_where_norms_begin_as_the_papers() -> None:
    spread = {}
    starts: tuple[NormStart, ...] = ("standard", "paper")
    for start in starts:
        torch.manual_seed(0)
        encoder = Encoder(32, 16, width=16, norm_start=start).requires_grad_(False)
        spread[start] = float(encoder(torch.randn(64, 1, 32, 32)).std())
    assert spread["paper"] < 0.1 * spread["standard"]


@pytest.mark.parametrize(("output", "low"), [("tanh", -1.0), ("sigmoid", 0.0)])
def test_bytes_come_back_from_either_range(output: Range, low: float) -> None:
    pictures = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    values = from_bytes(pictures, output)
    assert values.dtype == torch.float32
    assert (float(values.min()), float(values.max())) == (low, 1.0)
    back = to_bytes(values, output)
    assert back.dtype == torch.uint8
    assert torch.equal(back, pictures)
    torch.testing.assert_close(to_unit(values, output), pictures / 255)


def test_values_become_the_nearest_byte_in_range() -> None:
    assert to_bytes(torch.tensor([-0.3, 0.4 / 255, 0.6 / 255, 254.6 / 255, 1.7]), "sigmoid").tolist() == [
        0,
        0,
        1,
        255,
        255,
    ]
    assert to_bytes(torch.tensor([-1.3, 0.001, 1.7]), "tanh").tolist() == [0, 128, 255]


# the autoencoders of a run


def config(**changed: Any) -> Config:
    base = Config()
    net = replace(base.net, latent=6, width=4)
    return replace(base, net=net, **changed)


def made(name: AutoencoderName, settings: Config | None = None) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(name, settings or config(), size=16, channels=1)


def batch() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.rand(5, 1, 16, 16, generator=random) * 2 - 1, torch.randn(5, 6, generator=random)


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_every_autoencoder_has_latents_of_the_settings(name: AutoencoderName) -> None:
    autoencoder, (images, normal) = made(name).eval(), batch()
    latents = autoencoder.encode(images)
    assert latents.shape == (5, 6)
    assert autoencoder.decode(latents).shape == images.shape
    rebuilt, code = autoencoder(images, normal)
    assert rebuilt.shape == images.shape
    assert code.shape == (5, 12 if name == "vae" else 6)


def test_a_vae_encodes_to_means_and_trains_on_draws() -> None:
    autoencoder, (images, normal) = made("vae").eval(), batch()
    means, log_variances = autoencoder.encoder(images).split(6, 1)
    assert torch.equal(autoencoder.encode(images), means)
    rebuilt, code = autoencoder(images, normal)
    torch.testing.assert_close(rebuilt, autoencoder.decode(means + log_variances.mul(0.5).exp() * normal))
    torch.testing.assert_close(code, torch.cat([means, log_variances], 1))
    again, _ = autoencoder(images, torch.zeros_like(normal))
    torch.testing.assert_close(again, autoencoder.decode(means))


def test_a_vae_survives_variances_that_overflow() -> None:
    autoencoder, (images, normal) = made("vae"), batch()
    last: Any = autoencoder.encoder[-2]
    nn.init.constant_(last.bias[6:9].detach(), 1000)
    nn.init.constant_(last.bias[9:].detach(), -1000)
    rebuilt, code = autoencoder(images, normal)
    losses = autoencoder.losses(images, rebuilt, code)
    losses.total.backward()
    assert losses.total.isfinite()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in autoencoder.parameters())
    assert code[:, 6:].amax() <= 12
    assert code[:, 6:].amin() >= -12


@pytest.mark.parametrize("name", ["plain", "incremental"])
def test_the_papers_loss_is_the_mean_squared_error(name: AutoencoderName) -> None:
    images, _ = batch()
    rebuilt, code = images.flip(0) * 0.5, torch.randn(5, 6)
    losses = made(name).losses(images, rebuilt, code)
    assert float(losses.total) == float(losses.error) == pytest.approx(float(F.mse_loss(rebuilt, images)))


@pytest.mark.parametrize("weight", [0.0, 1e-4, 0.3])
def test_the_regularised_loss_adds_half_the_squared_length_of_latents(weight: float) -> None:
    settings = config(rivals=replace(Config().rivals, rae_latent=weight))
    images, _ = batch()
    rebuilt, code = images * 0.5, torch.randn(5, 6)
    losses = made("rae", settings).losses(images, rebuilt, code)
    error = float(F.mse_loss(rebuilt, images))
    lengths = sum(float(row @ row) for row in code) / 5
    assert float(losses.error) == pytest.approx(error)
    assert float(losses.total) == pytest.approx(error + weight * 0.5 * lengths, rel=1e-5)


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.5])
def test_a_vaes_loss_is_the_evidence_bound_over_the_pixels(beta: float) -> None:
    settings = config(rivals=replace(Config().rivals, vae_beta=beta))
    images, _ = batch()
    rebuilt, code = images * 0.5, torch.randn(5, 12)
    losses = made("vae", settings).losses(images, rebuilt, code)
    variance = F.mse_loss(rebuilt, images)
    decoder = torch.distributions.Normal(rebuilt, variance.sqrt()).log_prob(images).flatten(1).sum(1).mean()
    posterior = torch.distributions.Normal(code[:, :6], code[:, 6:].mul(0.5).exp())
    prior = torch.distributions.Normal(0.0, 1.0)
    divergence = torch.distributions.kl_divergence(posterior, prior).sum(1).mean()
    assert float(losses.total) == pytest.approx(float(-decoder + beta * divergence) / 256, rel=1e-4)
    assert float(losses.error) == pytest.approx(float(variance))


def test_a_step_on_latents_with_a_perfect_picture_leaves_a_vae_finite() -> None:
    images, _ = batch()
    code = torch.zeros(5, 12, requires_grad=True)
    losses = made("vae").losses(images, images, code)
    losses.total.backward()
    assert losses.total.isfinite()
    assert code.grad is not None
    assert code.grad.isfinite().all()


def test_latents_are_held_back_in_training_only() -> None:
    autoencoder, (images, normal) = made("incremental"), batch()
    assert autoencoder.between.active == 1
    rebuilt, code = autoencoder(images, normal)
    first = torch.cat([code[:, :1], torch.zeros(5, 5)], 1)
    assert not code[:, 1:].eq(0).any()
    torch.testing.assert_close(rebuilt, autoencoder.decode(first))
    grads = torch.autograd.grad(rebuilt.square().sum(), code)[0]
    assert grads[:, 0].any()
    assert not grads[:, 1:].any()
    autoencoder.eval()
    rebuilt, code = autoencoder(images, normal)
    assert torch.equal(rebuilt, autoencoder.decode(code))
    assert torch.equal(autoencoder.encode(images), code)


@pytest.mark.parametrize("name", ["plain", "rae", "vae"])
def test_the_others_train_all_latents_from_the_first_step(name: AutoencoderName) -> None:
    autoencoder, (images, normal) = made(name), batch()
    assert autoencoder.between.step(0) == 6
    rebuilt, _ = autoencoder(images, normal)
    last: Any = autoencoder.encoder[-2]
    assert torch.autograd.grad(rebuilt.square().sum(), last.bias)[0].all()


def test_a_perceptual_loss_is_added_to_the_total_alone() -> None:
    images, normal = batch()
    seen = []

    def perceptual(real: Tensor, rebuilt: Tensor) -> Tensor:
        seen.append((real, rebuilt))
        return torch.tensor(7.0)

    autoencoder = made("rae").eval().requires_grad_(False)
    plain = AutoencoderObjective(autoencoder)(images, normal)
    losses = AutoencoderObjective(autoencoder, perceptual)(images, normal)
    assert float(losses.total) == pytest.approx(float(plain.total) + 7)
    assert float(losses.error) == float(plain.error)
    assert torch.equal(seen[0][0], images)
    assert torch.equal(seen[0][1], autoencoder.decode(autoencoder.encode(images)))


TASK = Task((1, 16, 16), ("a", "b"), (0.5,), (0.25,))


def stages(**changed: Any) -> dict[str, AutoencoderStage]:
    found = image_stages(config(**changed), TASK, torch.device("cpu"))
    return {stage.name: stage for stage in found if isinstance(stage, AutoencoderStage)}


def test_all_autoencoders_of_a_seed_begin_alike() -> None:
    """Also the VAE's, as far as its weights have the shapes of the others': its decoder has all of them."""
    found = stages()
    assert tuple(found) == AUTOENCODERS
    plain = found["plain"].autoencoder.state_dict()
    for name, stage in found.items():
        state = stage.autoencoder.state_dict()
        assert state.keys() == plain.keys()
        for key, tensor in state.items():
            if tensor.shape == plain[key].shape and key != "between.count":
                assert torch.equal(tensor, plain[key]), (name, key)


def test_what_autoencoders_begin_with_follows_from_the_seed_alone() -> None:
    first = stages()["plain"].autoencoder.encoder[0].weight
    torch.manual_seed(123)
    before = torch.get_rng_state()
    again = stages(autoencoders=("plain",))["plain"].autoencoder.encoder[0].weight
    other = stages(seed=1)["plain"].autoencoder.encoder[0].weight
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_only_the_decoder_of_rae_is_penalised() -> None:
    found = stages(rivals=replace(Config().rivals, rae_decoder=3e-4))
    for name, stage in found.items():
        encoder, decoder = stage.optimizer().param_groups
        assert encoder["weight_decay"] == 0
        assert decoder["weight_decay"] == pytest.approx(6e-4 if name == "rae" else 0)
        assert encoder["betas"] == decoder["betas"] == (0.5, 0.999)
        assert len(encoder["params"]) + len(decoder["params"]) == len([*stage.network.parameters()])


def test_pictures_that_are_not_square_are_refused() -> None:
    with pytest.raises(UsageError, match=r"pictures are 16 x 24 pixels, but must be square; data\.size .*"):
        build_autoencoder("plain", config(), replace(TASK, shape=(1, 16, 24)))


def test_an_autoencoder_learns_to_rebuild() -> None:
    torch.manual_seed(0)
    images = torch.rand(64, 1, 4, 4).mul(2).sub(1).repeat_interleave(4, 2).repeat_interleave(4, 3)
    autoencoder = made("incremental", replace(config(), net=replace(Config().net, latent=16, width=16)))
    optimizer = torch.optim.Adam(autoencoder.parameters(), 3e-3, betas=(0.5, 0.999))
    errors = []
    for step in range(120):
        autoencoder.between.step(step / 6)
        losses = AutoencoderObjective(autoencoder)(images, torch.zeros(64, 16))
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        errors.append(losses.error.item())
    assert errors[-1] < 0.3 * errors[0]
    thirds = [sum(errors[at : at + 40]) for at in (0, 40, 80)]
    assert all(one > other for one, other in pairwise(thirds))
