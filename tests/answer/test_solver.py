"""The network around the graph: equations 4 to 6 by hand, padding, sharing, and orders that must not matter."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tenfold.answer.batching import collate, shuffled
from tenfold.answer.config import ContextSettings, NetSettings, ReaderSettings, SsocSettings
from tenfold.answer.examples import Encoder, Example
from tenfold.answer.fitting import answer_all, attend, attend_diagram
from tenfold.answer.loss import choice_loss
from tenfold.answer.parsing import load_parser
from tenfold.answer.reader import make_solver
from tenfold.answer.solver import Attention, Reading, Solver
from tenfold.answer.textbook import Lesson, Question, Textbook
from tenfold.answer.vectors import HashedVectors
from tenfold.answer.word_bank import WordBank

from .small_books import colour_book, diagram_book

DIM = 12
NETS = {
    "f-gcn1": NetSettings(hidden=8, characters=6),
    "f-gcn2": NetSettings(hidden=8, characters=6, graph="f-gcn2"),
    "none": NetSettings(hidden=8, characters=0, graph="none", node_flags=False),
    "compared": NetSettings(hidden=8, characters=6, compare=True),
}
every_net = pytest.mark.parametrize("net", NETS.values(), ids=NETS)


def encoder(**settings: object) -> Encoder:
    return Encoder(WordBank(HashedVectors(DIM)), load_parser("rules"), ContextSettings(**settings))  # type: ignore[arg-type]


def solver_for(net: NetSettings, made: Encoder) -> Solver:
    solver = make_solver(ReaderSettings(net=net), DIM, 0).eval()
    solver.features.read_from(made.bank)
    return solver


def both_books() -> Textbook:
    return diagram_book().and_also([colour_book(count=2)])


@every_net
def test_every_candidate_gets_a_score_and_padding_none(net: NetSettings) -> None:
    made = encoder()
    examples = made.questions(both_books())
    logits = solver_for(net, made)(collate(examples)).logits
    assert logits.shape == (len(examples), max(len(example.pairs) for example in examples))
    for row, example in zip(logits, examples, strict=True):
        assert row[: len(example.pairs)].isfinite().all()
        assert (row[len(example.pairs) :] == -torch.inf).all()


@every_net
def test_a_question_is_answered_alike_alone_and_beside_others(net: NetSettings) -> None:
    made = encoder()
    examples = made.questions(both_books())
    solver = solver_for(net, made)
    together = solver(collate(examples)).logits
    for row, example in zip(together, examples, strict=True):
        alone = solver(collate([example])).logits[0]
        assert torch.allclose(alone, row[: len(example.pairs)], atol=1e-5)


@every_net
def test_attention_is_a_distribution_over_the_nodes(net: NetSettings) -> None:
    made = encoder()
    examples = made.questions(both_books())
    attended = solver_for(net, made)(collate(examples))
    for weights in (attended.by_question, attended.by_choice):
        assert torch.allclose(weights.sum(1), torch.ones(len(weights)), atol=1e-5)
    pairs = [pair for example in examples for pair in example.pairs]
    for weights, pair in zip(attended.by_question, pairs, strict=True):
        assert not weights[len(pair.context.nodes.rows) :].any()


def test_the_attention_is_equation_5() -> None:
    attention = Attention(4, 3)
    h, nodes = torch.randn(2, 4), torch.randn(2, 5, 3)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    sums, weights = attention(h, nodes, mask)
    for row, length in enumerate((5, 3)):
        g = torch.stack([h[row] @ attention.weight @ nodes[row, k] for k in range(length)])
        alpha = g.exp() / g.exp().sum()
        assert torch.allclose(weights[row, :length], alpha, atol=1e-6)
        assert torch.allclose(sums[row], sum(alpha[k] * nodes[row, k] for k in range(length)), atol=1e-6)
    assert not weights[1, 3:].any()


def test_reading_is_the_largest_state_of_an_lstm_in_both_directions() -> None:
    reading = Reading(3, 4)
    words, mask = torch.randn(2, 6, 3), torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    found = reading(words, mask)
    for row, length in enumerate((6, 2)):
        states, _ = reading.lstm(words[row : row + 1, :length])
        assert torch.allclose(found[row], states[0].max(0).values, atol=1e-6)


def test_the_solving_rnn_gets_equation_6() -> None:
    made = encoder()
    example = made.questions(diagram_book())[0]
    solver = solver_for(NETS["f-gcn1"], made)
    seen: list[Tensor] = []
    solver.solving.register_forward_pre_hook(lambda module, given: seen.append(given[0].data))
    batch = collate([example])
    solver(batch)
    h = solver.settings.hidden
    assert seen[0].shape == (len(example.pairs), 2 * h + 2 * h + 2 * h + 2 * h + h + h)
    own = seen[0][:, 8 * h :]
    assert own.any()  # the question has a diagram
    without = made.questions(diagram_book())[1]
    solver(collate([without]))
    assert not seen[1][:, 8 * h :].any()


def test_the_lesson_diagram_reaches_the_text_nodes() -> None:
    book = diagram_book()
    plain = Textbook("plain", tuple(replace(lesson, diagrams=()) for lesson in book.lessons))
    made = encoder()
    with_it, without = made.questions(book)[2], made.questions(plain)[2]
    solver = solver_for(NETS["f-gcn1"], made)
    assert not torch.allclose(solver(collate([with_it])).logits, solver(collate([without])).logits)
    flat = solver_for(NETS["none"], made)
    assert torch.allclose(flat(collate([with_it])).logits, flat(collate([without])).logits)


def test_all_weights_learn() -> None:
    made = encoder()
    batch = collate(made.questions(both_books()))
    solver = solver_for(NETS["compared"], made).train()
    choice_loss(solver(batch).logits, batch.answers).backward()
    dead = {name for name, weight in solver.named_parameters() if weight.grad is None or not weight.grad.any()}
    # what is added to all choices alike changes no choice: rounding decides whether its gradient is 0
    assert dead <= {"score.bias"}
    logits = solver(batch).logits
    logits[logits.isfinite()].sum().backward()
    assert solver.score.bias.grad.any()  # so that one is seen by what is not blind to it


def test_what_pairs_share_is_in_a_batch_once() -> None:
    made = encoder()
    examples = made.questions(diagram_book())
    batch = collate(examples)
    statement = batch.parts[batch.place[:, 0] == 1]
    assert (statement[0, [0, 2, 3, 4]] == statement[1, [0, 2, 3, 4]]).all()
    assert statement[0, 1] != statement[1, 1]
    assert len(batch.contexts.links) < len(batch.parts)


def test_shuffling_moves_the_answer_with_its_candidate() -> None:
    example = encoder().questions(diagram_book())[2]
    random = torch.Generator().manual_seed(0)
    orders = set()
    for _ in range(20):
        turned = shuffled(example, random)
        assert turned.pairs[turned.answer] is example.pairs[example.answer]
        orders.add(tuple([id(pair) for pair in turned.pairs]))
    assert len(orders) > 5
    unknown = shuffled(Example(example.name, example.pairs, -1), random)
    assert unknown.answer == -1


def test_answers_come_back_in_the_order_given() -> None:
    made = encoder()
    examples = made.questions(both_books())
    solver = solver_for(NETS["f-gcn1"], made)
    found = answer_all(solver, examples)
    for row, example in zip(found, examples, strict=True):
        probabilities, by_question, _ = attend(solver, example)
        assert torch.allclose(row, probabilities, atol=1e-5)
        assert row.sum() == pytest.approx(1, abs=1e-5)
        assert [len(weights) for weights in by_question] == [len(pair.context.nodes.rows) for pair in example.pairs]


def test_a_lesson_without_text_is_answered_from_the_question_alone() -> None:
    question = Question("q", "Which is it?", ("this", "that"), 0)
    made = encoder()
    examples = made.questions(Textbook("empty", (Lesson("e", "Empty", (), (), (question,)),)))
    for net in NETS.values():
        solver = solver_for(net, made).train()
        logits = solver(collate(examples)).logits
        assert logits.isfinite().all()
        logits.sum().backward()
        assert all(weight.grad is None or weight.grad.isfinite().all() for weight in solver.parameters())


def test_the_loss_is_the_cross_entropy_over_candidates_with_a_known_answer() -> None:
    logits = torch.tensor([[1.0, 2.0, -torch.inf], [0.0, 1.0, 3.0], [5.0, 5.0, 5.0]], requires_grad=True)
    found = choice_loss(logits, torch.tensor([0, 2, -1]))
    first = -(torch.tensor(1.0).exp() / (torch.tensor(1.0).exp() + torch.tensor(2.0).exp())).log()
    second = -(torch.tensor(3.0).exp() / torch.tensor([0.0, 1.0, 3.0]).exp().sum()).log()
    assert found.item() == pytest.approx(float((first + second) / 2), abs=1e-6)
    nothing = choice_loss(logits, torch.tensor([-1, -1, -1]))
    nothing.backward()
    assert nothing.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_comprehension_is_the_same_network_over_paragraphs() -> None:
    made = encoder()
    book = colour_book(count=2)
    groups = made.comprehension(book, SsocSettings(paragraphs=4))
    solver = solver_for(NETS["f-gcn1"], made)
    logits = solver(collate([group[0] for group in groups])).logits
    assert logits.shape == (len(groups), 4)


@every_net
def test_the_labels_of_a_diagram_share_its_attention(net: NetSettings) -> None:
    made = encoder()
    with_it, without, _ = made.questions(diagram_book())
    solver = solver_for(net, made)
    for weights in attend_diagram(solver, with_it):
        assert weights.shape == (4,)
        assert weights.sum() == pytest.approx(1, abs=1e-5)
    assert [len(weights) for weights in attend_diagram(solver, without)] == [0, 0]
