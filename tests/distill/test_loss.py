from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tenfold.distill import attention_distance, hint_distance, logit_distance, partial_l2
from tenfold.distill.loss import plain_l2, position_weights

from .networks import three_terms


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def features(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """A student's, a teacher's (3, 4, 5, 6) and a margin (1, 4, 1, 1)."""
    return drawn(3, 4, 5, 6, dtype=dtype), drawn(3, 4, 5, 6, seed=1, dtype=dtype), -drawn(1, 4, 1, 1, seed=2).abs()


# the partial distance


def test_the_partial_distance_by_hand() -> None:
    student = torch.tensor([2.0, -1.0, -3.0, 0.5, -0.2, -0.5, 0.0, 0.0])
    teacher = torch.tensor([1.0, 1.0, -1.0, -1.0, -9.0, -9.0, 0.0, 2.0])
    # with margin -0.5: targets 1, 1, -0.5, -0.5, -0.5, -0.5, 0, 2
    counted = torch.tensor([1.0, -2.0, 0.0, 1.0, 0.3, 0.0, 0.0, -2.0])
    student = student.view(1, 1, 2, 4).requires_grad_()
    loss = partial_l2(student, teacher.view(1, 1, 2, 4), torch.full((1, 1, 1, 1), -0.5))
    torch.autograd.backward(loss)
    assert float(loss.detach()) == pytest.approx(1 + 4 + 1 + 0.09 + 4)
    torch.testing.assert_close(student.grad, 2 * counted.view(1, 1, 2, 4))


VALUE = st.one_of(st.floats(-4, 4, width=32), st.sampled_from([-0.5, 0.0, 1.0]))


@given(st.lists(st.tuples(VALUE, VALUE), min_size=1, max_size=24), st.sampled_from([0.0, -0.5, -3.0]))
def test_the_partial_distance_is_the_sum_of_its_three_terms(pairs: list[tuple[float, float]], margin: float) -> None:
    student, teacher = torch.tensor(pairs, dtype=torch.float64).T.reshape(2, 1, 1, 1, -1)
    limit = torch.full((1, 1, 1, 1), margin, dtype=torch.float64)
    leaf, reference = student.clone().requires_grad_(), student.clone().requires_grad_()
    loss, expected = partial_l2(leaf, teacher, limit), three_terms(reference, teacher, limit)
    torch.testing.assert_close(loss, expected)
    torch.autograd.backward([loss, expected])
    torch.testing.assert_close(leaf.grad, reference.grad)


def test_what_is_left_alone_has_a_gradient_of_exactly_0() -> None:
    student, teacher, margin = features()
    student.requires_grad_()
    torch.autograd.backward(partial_l2(student, teacher, margin))
    target = teacher.maximum(margin)
    alone = (student <= target) & (target <= 0)
    assert student.grad is not None
    assert 0.1 < float(alone.float().mean()) < 0.9
    assert torch.equal(student.grad == 0, alone)
    torch.testing.assert_close(student.grad[~alone], (2 * (student - target))[~alone].detach())


def test_its_gradient_is_that_of_finite_differences() -> None:
    student, teacher, margin = features(torch.float64)
    # away from the kinks, where differences mean nothing
    student = torch.where((student - teacher.maximum(margin)).abs() < 1e-3, student + 0.01, student)
    assert torch.autograd.gradcheck(lambda x: partial_l2(x, teacher, margin), student.requires_grad_())
    assert torch.autograd.gradcheck(lambda x: 3 * partial_l2(x, teacher, margin) ** 2, student)


def test_the_partial_distance_of_low_precision_is_summed_in_float32() -> None:
    # bfloat16 has no number between 4096 and 4128, and 4096 ones after another do not go above 256
    student = torch.ones(1, 1, 64, 64, dtype=torch.bfloat16)
    student[0, 0, 0, 0] = 3.0
    loss = partial_l2(student.requires_grad_(), torch.zeros_like(student), torch.zeros(1, 1, 1, 1))
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(4095 + 9)
    torch.autograd.backward(loss)
    assert student.grad is not None
    assert student.grad.dtype == torch.bfloat16
    assert float(student.grad[0, 0, 0, 0]) == 6.0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_costs_no_more_than_its_own_rounding(dtype: torch.dtype) -> None:
    student, teacher, margin = features()
    low, high = student.to(dtype), teacher.to(dtype)
    torch.testing.assert_close(partial_l2(low, high, margin), partial_l2(low.float(), high.float(), margin))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(partial_l2(student, high, margin), partial_l2(student, high.float(), margin))


def test_double_precision_is_kept() -> None:
    student, teacher, margin = features(torch.float64)
    loss = partial_l2(student, teacher, margin)
    assert loss.dtype == torch.float64
    torch.testing.assert_close(loss, three_terms(student, teacher, margin.double()), rtol=1e-12, atol=0)


def test_teacher_and_margin_get_no_gradient() -> None:
    student, teacher, margin = (each.requires_grad_() for each in features())
    torch.autograd.backward([partial_l2(student, teacher, margin), plain_l2(student, teacher)])
    assert teacher.grad is None
    assert margin.grad is None


def test_the_inputs_are_left_as_they_were() -> None:
    student, teacher, margin = features()
    copies = [each.clone() for each in (student, teacher, margin)]
    torch.autograd.backward(partial_l2(student.requires_grad_(), teacher, margin))
    assert all(map(torch.equal, (student, teacher, margin), copies))


def test_memory_order_does_not_matter() -> None:
    student, teacher, margin = features()
    last = student.to(memory_format=torch.channels_last).requires_grad_()
    loss = partial_l2(last, teacher, margin)
    torch.autograd.backward(loss)
    first = student.clone().requires_grad_()
    expected = partial_l2(first, teacher.to(memory_format=torch.channels_last), margin)
    torch.autograd.backward(expected)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(last.grad, first.grad)


def test_the_sum_of_many_is_as_exact_as_of_few() -> None:
    # one sum after another would drift by a thousandth
    student, teacher = torch.full((64, 64, 32, 32), 1.1), torch.ones(64, 64, 32, 32)
    difference = float(student[0, 0, 0, 0].double() - 1)
    loss = partial_l2(student, teacher, torch.zeros(1, 64, 1, 1))
    assert float(loss) == pytest.approx(teacher.numel() * difference**2, rel=1e-4)


@pytest.mark.parametrize("count", [1, 5, 130])
def test_the_distance_of_a_batch_is_the_sum_of_its_pictures(count: int) -> None:
    student, teacher = drawn(count, 16, 16, 16), drawn(count, 16, 16, 16, seed=1)
    margin = -drawn(1, 16, 1, 1, seed=2).abs()
    parts = [partial_l2(student[row : row + 1], teacher[row : row + 1], margin) for row in range(count)]
    torch.testing.assert_close(partial_l2(student, teacher, margin), torch.stack(parts).sum(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("last", [False, True])
def test_memory_that_may_be_overwritten_changes_no_number(dtype: torch.dtype, last: bool) -> None:
    student, teacher, margin = (each.to(dtype) for each in features())
    if last:
        student, teacher = (each.to(memory_format=torch.channels_last) for each in (student, teacher))
    found = []
    for overwrite in (False, True):
        leaf = student.clone().requires_grad_()
        loss = partial_l2(leaf * 1, teacher.clone(), margin, overwrite=overwrite)
        torch.autograd.backward(3 * loss)
        found.append((loss.detach(), leaf.grad))
    assert all(map(torch.equal, *found))


def test_of_no_pictures_the_sum_is_0() -> None:
    student = torch.zeros(0, 4, 5, 6, requires_grad=True)
    loss = partial_l2(student, torch.zeros(0, 4, 5, 6), torch.zeros(1, 4, 1, 1))
    torch.autograd.backward(loss)
    assert float(loss.detach()) == 0
    assert student.grad is not None
    assert student.grad.shape == (0, 4, 5, 6)


def test_a_perfect_student_has_no_loss_and_no_gradient() -> None:
    _, teacher, margin = features()
    student = teacher.maximum(margin).requires_grad_()
    loss = partial_l2(student, teacher, margin)
    torch.autograd.backward(loss)
    assert float(loss.detach()) == 0
    assert student.grad is not None
    assert not student.grad.any()


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_what_is_not_finite_does_not_hide(broken: float) -> None:
    student, teacher, margin = features()
    student[0, 0, 0, 0] = broken
    assert not math.isfinite(float(partial_l2(student, teacher, margin)))


# the others


def test_the_plain_distance_is_the_sum_of_squares_in_float32() -> None:
    student, teacher, _ = features()
    assert float(plain_l2(student, teacher)) == pytest.approx(float(((student - teacher) ** 2).double().sum()))
    ones = torch.ones(1, 1, 64, 65, dtype=torch.bfloat16)
    assert float(plain_l2(ones, torch.zeros_like(ones))) == 64 * 65


def test_each_position_weighs_half_of_the_next_deeper_one() -> None:
    assert position_weights(4) == (1 / 8, 1 / 4, 1 / 2, 1)
    assert position_weights(1) == (1,)
    assert position_weights(0) == ()


def test_logit_distance_by_hand() -> None:
    student, teacher = torch.tensor([[0.0, math.log(3)]]), torch.tensor([[math.log(4), 0.0]])
    # the teacher's chances are 4/5 and 1/5, the student's 1/4 and 3/4
    expected = 0.8 * math.log(0.8 / 0.25) + 0.2 * math.log(0.2 / 0.75)
    assert float(logit_distance(student, teacher, 1.0)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_logit_distance_is_the_mean_divergence_times_the_squared_temperature(temperature: float) -> None:
    student, teacher = drawn(5, 7), drawn(5, 7, seed=1)
    p, q = (teacher / temperature).softmax(1), (student / temperature).softmax(1)
    expected = (p * (p / q).log()).sum() / 5 * temperature**2
    torch.testing.assert_close(logit_distance(student, teacher, temperature), expected)


def test_the_logit_distance_of_maps_is_the_mean_over_pixels() -> None:
    student, teacher = drawn(2, 5, 3, 4), drawn(2, 5, 3, 4, seed=1)
    rows = [each.permute(0, 2, 3, 1).reshape(-1, 5) for each in (student, teacher)]
    torch.testing.assert_close(logit_distance(student, teacher, 4.0), logit_distance(rows[0], rows[1], 4.0))


def test_the_gradient_of_the_logit_distance_is_the_difference_of_chances() -> None:
    student, teacher = drawn(4, 3).requires_grad_(), drawn(4, 3, seed=1).requires_grad_()
    torch.autograd.backward(logit_distance(student, teacher, 1.0))
    assert teacher.grad is None
    torch.testing.assert_close(student.grad, (student.softmax(1) - teacher.softmax(1)).detach() / 4)


def test_the_logit_distance_survives_low_precision_and_certainty() -> None:
    student, teacher = drawn(4, 3).bfloat16(), drawn(4, 3, seed=1).bfloat16()
    expected = logit_distance(student.float(), teacher.float(), 2.0)
    assert torch.equal(logit_distance(student, teacher, 2.0), expected)
    certain = torch.tensor([[1000.0, -1000.0]])
    assert float(logit_distance(certain, certain, 1.0)) == 0
    assert math.isfinite(float(logit_distance(-certain, certain, 1.0)))


def test_hint_distance_is_the_mean_square_and_teaches_the_student_only() -> None:
    student, teacher, _ = (each.requires_grad_() for each in features())
    loss = hint_distance(student, teacher)
    torch.autograd.backward(loss)
    difference = (student - teacher).detach()
    torch.testing.assert_close(loss.detach(), difference.square().sum() / difference.numel())
    torch.testing.assert_close(student.grad, 2 * difference / difference.numel())
    assert teacher.grad is None
    assert hint_distance(student.bfloat16(), teacher.bfloat16()).dtype == torch.float32


def test_attention_distance_by_its_formula() -> None:
    student, teacher = drawn(3, 4, 5, 6).requires_grad_(), drawn(3, 9, 5, 6, seed=1).requires_grad_()
    expected = 0.0
    for own, other in zip(student.detach(), teacher.detach(), strict=True):
        maps = [(each**2).sum(0).flatten() for each in (own, other)]
        unit = [each / (each**2).sum().sqrt() for each in maps]
        expected += float(((unit[0] - unit[1]) ** 2).sum()) / (3 * 30)
    loss = attention_distance(student, teacher)
    torch.autograd.backward(loss)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    assert teacher.grad is None
    assert student.grad is not None


def test_attention_knows_neither_order_nor_number_of_channels_nor_scale() -> None:
    student, teacher = drawn(3, 4, 5, 6), drawn(3, 8, 5, 6, seed=1)
    expected = attention_distance(student, teacher)
    assert float(expected) > 0
    torch.testing.assert_close(attention_distance(student[:, [2, 0, 3, 1]], teacher.flip(1)), expected)
    torch.testing.assert_close(attention_distance(torch.cat([student, student], 1), teacher), expected)
    torch.testing.assert_close(attention_distance(student * 100, teacher * -0.01), expected)
    assert float(attention_distance(student, -student)) == 0


def test_attention_to_nothing_is_not_a_division_by_0() -> None:
    student = torch.zeros(2, 3, 4, 4, requires_grad=True)
    loss = attention_distance(student, drawn(2, 3, 4, 4))
    torch.autograd.backward(loss)
    assert math.isfinite(float(loss.detach()))
    assert student.grad is not None
    assert bool(student.grad.isfinite().all())
