"""Shapes of encoders and decoders; what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tenfold.core.errors import UsageError
from tenfold.govern.networks import FlatDecoder, FlatEncoder, ScreenDecoder, dense, halves_at_zero

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)
WIDTHS = st.lists(st.integers(1, 5), max_size=3)
SIDES = st.integers(36, 90)


@given(SHAPES, WIDTHS, st.integers(1, 4), st.integers(0, 3))
@settings(deadline=None, max_examples=40)
def test_layers_take_and_give_states_of_any_shape(
    shape: tuple[int, ...], hidden: list[int], latent: int, rows: int
) -> None:
    encoder, decoder = FlatEncoder(shape, hidden, latent), FlatDecoder(latent, hidden, shape)
    assert encoder.shape == shape
    assert encoder(torch.zeros(rows, *shape)).shape == (rows, 2 * latent)
    assert decoder(torch.zeros(rows, latent)).shape == (rows, *shape)
    assert encoder.last.out_features == 2 * latent
    linear = [layer for layer in encoder.layers if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in linear] == [math.prod(shape), *hidden]
    assert linear[-1] is encoder.last


def test_an_activation_lies_between_any_two_layers_and_not_behind_the_last() -> None:
    kinds = [type(layer) for layer in dense((2, 3, 4, 5), nn.Tanh)]
    assert kinds == [nn.Linear, nn.Tanh, nn.Linear, nn.Tanh, nn.Linear]
    assert [type(layer) for layer in dense((2, 3), nn.Tanh)] == [nn.Linear]
    assert sum(isinstance(layer, nn.Tanh) for layer in FlatEncoder((2,), (3, 3), 2, activation=nn.Tanh).modules()) == 2
    assert sum(isinstance(layer, nn.ReLU) for layer in FlatDecoder(2, (3,), (2,)).modules()) == 1


@given(SIDES, SIDES, st.integers(1, 4), st.integers(1, 3))
@settings(deadline=None, max_examples=12)
def test_screens_have_the_size_asked_for(height: int, breadth: int, channels: int, latent: int) -> None:
    decoder = ScreenDecoder(latent, channels, (height, breadth), width=4)
    assert decoder(torch.zeros(2, latent)).shape == (2, channels, height, breadth)


@pytest.mark.parametrize("size", [(36, 36), (37, 39), (84, 84), (210, 160), (36, 100)])
def test_every_pixel_of_a_screen_of_known_size_can_be_learnt(size: tuple[int, int]) -> None:
    decoder = ScreenDecoder(2, 1, size, width=4)
    found = decoder(torch.zeros(1, 2))
    assert found.shape == (1, 1, *size)
    last = decoder.layers[-1]
    assert isinstance(last, nn.ConvTranspose2d)
    assert last.bias is not None
    (slope,) = torch.autograd.grad(found.sum(), last.bias)
    assert slope.item() == size[0] * size[1]


@given(st.integers(1, 35), SIDES, st.booleans())
@settings(deadline=None, max_examples=20)
def test_pictures_below_36_are_refused(least: int, other: int, turned: bool) -> None:
    size = (other, least) if turned else (least, other)
    with pytest.raises(UsageError, match=f"pictures have {size[0]} x {size[1]} pixels, but must have at least 36"):
        ScreenDecoder(2, 1, size)


def test_the_second_half_begins_at_zero_and_the_first_as_it_was() -> None:
    layer = nn.Linear(3, 4)
    before = layer.weight.detach().clone(), layer.bias.detach().clone()
    halves_at_zero(layer)
    given_rows = torch.randn(5, 3)
    assert (layer(given_rows)[:, 2:] == 0).all()
    assert torch.equal(layer.weight[:2], before[0][:2])
    assert torch.equal(layer.bias[:2], before[1][:2])
    layer(given_rows).sum().backward()
    assert layer.weight.grad is not None
    assert (layer.weight.grad[2:] != 0).any()  # and it learns
