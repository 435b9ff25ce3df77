from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tenfold.core.errors import UsageError
from tenfold.generate import IncrementalLatents

epochs = st.floats(0, 1000, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.floats(1, 500, exclude_min=True), epochs)
def test_as_many_latents_are_active_as_the_paper_has(dim: int, warmup: float, epoch: float) -> None:
    latents = IncrementalLatents(dim, warmup)
    wanted = min(dim, int(dim * epoch / warmup + 1))
    assert latents.step(epoch) == latents.active == wanted
    code = torch.ones(2, dim)
    assert latents(code).sum(1).tolist() == [wanted] * 2
    assert latents(code)[:, :wanted].all()


def test_one_latent_more_is_active_every_share_of_the_warm_up() -> None:
    latents = IncrementalLatents(4, 8)
    assert latents.active == 1
    found = [latents.step(epoch) for epoch in (0, 1.99, 2, 3.99, 4, 5.99, 6, 7.99, 8, 9, 1e6)]
    assert found == [1, 1, 2, 2, 3, 3, 4, 4, 4, 4, 4]
    assert latents.step(0) == 1  # it follows from the epoch alone


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 50), st.data(), st.floats(1, 50, exclude_min=True))
def test_the_warm_up_goes_from_the_start_to_all(dim: int, data: st.DataObject, warmup: float) -> None:
    start = data.draw(st.integers(1, dim))
    latents = IncrementalLatents(dim, warmup, start=start)
    assert latents.active == latents.step(0) == start
    moments = sorted(data.draw(st.lists(st.floats(0, warmup), min_size=2)))
    counts = [latents.step(moment) for moment in moments]
    assert all(start <= one <= other <= dim for one, other in pairwise(counts))
    assert latents.step(warmup) == dim


@pytest.mark.parametrize("warmup", [0, 0.5, 1])
def test_a_warm_up_of_an_epoch_or_less_has_all_active_at_once(warmup: float) -> None:
    latents = IncrementalLatents(6, warmup, start=2)
    assert latents.active == 6
    assert latents.step(0) == 6
    code = torch.randn(3, 6)
    assert torch.equal(latents(code), code)


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 1, 1), (5, 6, 2, 3), (5, 6, 4), (0, 6)])
def test_inactive_latents_are_zero_and_get_no_gradient(shape: tuple[int, ...]) -> None:
    latents = IncrementalLatents(6, 3)
    latents.step(1)
    code = torch.randn(shape, requires_grad=True)
    out, weights = latents(code), torch.randn(shape)
    (out * weights).sum().backward()
    assert code.grad is not None
    assert out.shape == shape
    assert torch.equal(out[:, :3], code[:, :3])
    assert torch.equal(code.grad[:, :3], weights[:, :3])
    assert not out[:, 3:].any()
    assert not code.grad[:, 3:].any()


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_inactive_latents_are_zero_whatever_the_encoder_gives(value: float) -> None:
    """A product with zero would let these through."""
    latents = IncrementalLatents(2, 3)
    code = torch.tensor([[1.0, value]], requires_grad=True)
    out = latents(code)
    out.sum().backward()
    assert out.tolist() == [[1.0, 0.0]]
    assert code.grad is not None
    assert code.grad.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_latents_keep_their_type(kind: torch.dtype) -> None:
    assert IncrementalLatents(6, 3)(torch.ones(2, 6, dtype=kind)).dtype == kind
    assert IncrementalLatents(6, 3).to(kind)(torch.ones(2, 6, dtype=kind)).sum() == 2


def test_evaluation_lets_everything_through() -> None:
    latents, code = IncrementalLatents(6, 10).eval(), torch.randn(4, 6)
    assert torch.equal(latents(code), code)
    assert latents.active == 1
    assert torch.equal(latents.train()(code)[:, 1:], torch.zeros(4, 5))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("active", [0, 1, 4, 6])
def test_a_number_of_latents_can_be_asked_for(active: int, training: bool) -> None:
    latents, code = IncrementalLatents(6, 10).train(training), torch.randn(4, 6)
    out = latents(code, active=active)
    assert torch.equal(out[:, :active], code[:, :active])
    assert not out[:, active:].any()
    assert latents.active == 1  # what belongs to the training stays


def test_the_count_is_kept_with_the_weights() -> None:
    latents = IncrementalLatents(6, 10)
    latents.step(5)
    other = IncrementalLatents(6, 10)
    other.load_state_dict(latents.state_dict())
    assert other.active == latents.active == 4
    assert other(torch.ones(1, 6)).sum() == 4
    assert [*latents.parameters()] == []


def test_what_it_is_can_be_read() -> None:
    assert repr(IncrementalLatents(6, 2.5, start=2)) == "IncrementalLatents(6, warmup_epochs=2.5, start=2)"


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="dim is 0, but must be at least 1"):
        IncrementalLatents(0, 10)
    for start in (0, 7):
        with pytest.raises(UsageError, match=f"start is {start}, but must be 1 to 6"):
            IncrementalLatents(6, 10, start=start)
    for warmup in (-1, float("nan")):
        with pytest.raises(UsageError, match=f"warmup_epochs is {warmup}, but must be at least 0"):
            IncrementalLatents(6, warmup)
    latents = IncrementalLatents(6, 10)
    for wrong in (torch.ones(6), torch.ones(2, 5), torch.ones(2, 5, 6)):
        with pytest.raises(UsageError, match=r"latents have shape \(.*\), but must be \(N, 6\) or \(N, 6, ...\)"):
            latents(wrong)
    for active in (-1, 7):
        with pytest.raises(UsageError, match=f"active is {active}, but must be 0 to 6"):
            latents(torch.ones(2, 6), active=active)


def test_time_before_the_training_is_refused() -> None:
    with pytest.raises(UsageError, match=r"epoch is -1.*, but must be at least 0"):
        IncrementalLatents(6, 2).step(-1)


def errors_of_prefixes(warmup: float, *, dim: int = 6, seed: int = 0) -> list[float]:
    """What a linear autoencoder misses with its first 1, 2, ... latents, after it learned to rebuild numbers whose variances fall."""
    torch.manual_seed(seed)
    spread = torch.tensor([3.0, 2.2, 1.6, 1.2, 0.8, 0.5, 0.3, 0.2, 0.1, 0.1])
    turn = torch.linalg.qr(torch.randn(10, 10)).Q
    rows = torch.randn(512, 10) * spread @ turn
    encoder, decoder, latents = nn.Linear(10, dim), nn.Linear(dim, 10), IncrementalLatents(dim, warmup)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 0.01)
    for epoch in range(40):
        for step, batch in enumerate(rows.split(32)):
            latents.step(epoch + step / 16)
            loss = (decoder(latents(encoder(batch))) - batch).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    latents.eval()
    with torch.no_grad():
        return [_missed(rows, decoder(latents(encoder(rows), active=count))) for count in range(1, dim + 1)]


def _missed(rows: Tensor, rebuilt: Tensor) -> float:
    return float((rows - rebuilt).square().sum() / rows.square().sum())


def test_latents_that_were_active_first_carry_the_most() -> None:
    learned, plain = errors_of_prefixes(30), errors_of_prefixes(0)
    for count in range(4):
        assert learned[count] < 0.9 * plain[count], count + 1
    # the best that any first latents can do are the principal components; with all, both come near them
    variances = torch.tensor([3.0, 2.2, 1.6, 1.2, 0.8, 0.5, 0.3, 0.2, 0.1, 0.1]).square()
    best = (1 - variances.cumsum(0) / variances.sum()).tolist()
    assert learned[0] < best[0] + 0.15
    assert learned[1] < best[1] + 0.15
    assert learned[5] == pytest.approx(best[5], abs=0.02)
    assert plain[5] == pytest.approx(best[5], abs=0.02)
    assert all(one > other for one, other in pairwise(learned))
