"""The training loop: it learns, repeats exactly, and may be cut anywhere; adapting helps where there is little to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from tenfold.answer import fitting
from tenfold.answer.batching import collate
from tenfold.answer.config import ContextSettings, FitSettings, NetSettings, ReaderSettings, SsocSettings, WordSettings
from tenfold.answer.examples import Encoder, Example
from tenfold.answer.fitting import Stage, answer_all, answer_stage, learn, make_optimizer
from tenfold.answer.parsing import load_parser
from tenfold.answer.reader import TextbookReader, make_solver
from tenfold.answer.solver import Batch, Solver
from tenfold.answer.vectors import HashedVectors
from tenfold.answer.word_bank import WordBank
from tenfold.core.schedule import learning_rate

from .small_books import colour_book, diagram_book

SMALL = ReaderSettings(
    net=NetSettings(hidden=8, characters=0),
    words=WordSettings(dim=16),
    ssoc=SsocSettings(epochs=15, learning_rate=1e-2),
    fit=FitSettings(epochs=8, batch_size=8, learning_rate=1e-2),
)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(WordBank(HashedVectors(8)), load_parser("rules"), ContextSettings())


@pytest.fixture(scope="module")
def examples(encoder: Encoder) -> list[Example]:
    return encoder.questions(colour_book(count=2).and_also([diagram_book()]))


def fresh(encoder: Encoder, dropout: float = 0.3) -> Solver:
    settings = ReaderSettings(net=NetSettings(hidden=8, characters=6, dropout=dropout))
    solver = make_solver(settings, encoder.bank.vectors.dim, 0)
    solver.features.read_from(encoder.bank)
    return solver


FIT = FitSettings(epochs=4, batch_size=4, learning_rate=1e-2)


def learned(
    encoder: Encoder, stage: Stage, parts: Sequence[range], *, seed: int = 0, settings: FitSettings = FIT
) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Weights and losses after these epochs; the optimizer goes through its state between parts."""
    solver, losses, state = fresh(encoder), [], None
    for part in parts:
        optimizer = make_optimizer(solver, settings)
        if state is not None:
            optimizer.load_state_dict(state)
        torch.manual_seed(99 + part.start)  # what is drawn elsewhere makes no difference
        losses += learn(solver, optimizer, stage, part, settings, seed=seed)
        state = optimizer.state_dict()
    return solver.state_dict(), losses


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_small_book_is_learned() -> None:
    settings = replace(SMALL, fit=replace(SMALL.fit, epochs=30), net=replace(SMALL.net, hidden=16))
    reader = TextbookReader(settings).fit(colour_book())
    assert reader.score(colour_book()).columns()["all"] > 0.95
    assert reader.score(colour_book(20, 6)).columns()["all"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("net", ["f-gcn1", "f-gcn2"])
def test_a_small_book_is_learned_from_any_start(net: str, seed: int) -> None:
    made = replace(SMALL.net, hidden=16, graph=net)  # type: ignore[arg-type]
    settings = replace(SMALL, fit=replace(SMALL.fit, epochs=40), net=made)
    assert TextbookReader(settings, seed=seed).fit(colour_book()).score(colour_book()).columns()["all"] > 0.95


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_comprehension_of_an_unseen_book_helps_to_answer_it(seed: int) -> None:
    """Few answers to learn from: what the text says together has to come from somewhere else."""
    known, unseen = colour_book(0, 2), colour_book(20, 6)
    alone = TextbookReader(SMALL, seed=seed).fit(known).score(unseen).columns()["all"]
    adapted = TextbookReader(SMALL, seed=seed).adapt(known, unseen).fit(known).score(unseen).columns()["all"]
    assert adapted > alone + 0.1


def test_the_same_seed_repeats_exactly_and_another_does_not(encoder: Encoder, examples: list[Example]) -> None:
    stage = answer_stage(examples, FIT)
    first, losses = learned(encoder, stage, [range(4)])
    again, same_losses = learned(encoder, stage, [range(4)])
    assert same(first, again)
    assert losses == same_losses
    assert len(losses) == 4
    assert not same(first, learned(encoder, stage, [range(4)], seed=1)[0])


@pytest.mark.parametrize("cut", [1, 2, 3])
@pytest.mark.parametrize("name", ["answers", "comprehension"])
def test_epochs_cut_in_two_are_as_in_one_go(encoder: Encoder, examples: list[Example], name: str, cut: int) -> None:
    groups = (
        encoder.comprehension(colour_book(count=2), SsocSettings())
        if name == "comprehension"
        else answer_stage(examples, FIT).groups
    )
    stage = Stage(name, groups, 4, 1e-2)
    whole, losses = learned(encoder, stage, [range(4)])
    parted, part_losses = learned(encoder, stage, [range(cut), range(cut, 4)])
    assert same(whole, parted)
    assert losses == part_losses


def test_no_epoch_changes_nothing(encoder: Encoder, examples: list[Example]) -> None:
    stage = answer_stage(examples, FIT)
    found, losses = learned(encoder, stage, [range(0)])
    assert same(found, fresh(encoder).state_dict())
    assert losses == []


def test_stages_of_other_names_draw_otherwise(encoder: Encoder, examples: list[Example]) -> None:
    stage = answer_stage(examples, FIT)
    first = learned(encoder, stage, [range(1)])[0]
    assert not same(first, learned(encoder, stage._replace(name="comprehension"), [range(1)])[0])


def test_questions_without_an_answer_are_passed_over(encoder: Encoder) -> None:
    book = colour_book(count=2)
    blank = book._with_questions(lambda each: replace(each, answer=None) if each.name.endswith("q1") else each)
    known = book._with_questions(lambda each: None if each.name.endswith("q1") else each)
    stage = answer_stage(encoder.questions(blank), FIT)
    assert [group[0].name for group in stage.groups] == [each.name for _, each in known.pairs()]
    assert answer_stage(encoder.questions(book.without_answers()), FIT).groups == []
    other = answer_stage(encoder.questions(known), FIT)
    assert (stage.name, stage.epochs, stage.rate) == ("answers", 4, 1e-2)
    for one, two in zip(learned(encoder, stage, [range(2)])[1], learned(encoder, other, [range(2)])[1], strict=True):
        assert one == pytest.approx(two, rel=1e-5)


def test_every_epoch_has_every_question_once_in_another_order(
    encoder: Encoder, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def recording(batch: Sequence[Example]) -> Batch:
        seen.append([example.name for example in batch])
        return collate(batch)

    monkeypatch.setattr(fitting, "collate", recording)
    stage = answer_stage(examples, FIT)
    learned(encoder, stage, [range(3)])
    steps = -(-len(examples) // 4)
    assert [len(batch) for batch in seen[:steps]] == [4] * (len(examples) // 4) + [len(examples) % 4] * (
        steps - len(examples) // 4
    )
    epochs = [[name for batch in seen[start : start + steps] for name in batch] for start in range(0, 3 * steps, steps)]
    assert all(sorted(epoch) == sorted(example.name for example in examples) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_rate_follows_the_schedule_of_the_whole_stage(encoder: Encoder, examples: list[Example]) -> None:
    stage, rates = answer_stage(examples, FIT), []
    solver = fresh(encoder)
    optimizer = make_optimizer(solver, FIT)
    learn(
        solver,
        optimizer,
        stage,
        range(4),
        FIT,
        seed=0,
        after_step=lambda: rates.append(optimizer.param_groups[0]["lr"]),
    )
    steps = -(-len(examples) // 4)
    assert rates == pytest.approx([learning_rate(1e-2, "cosine", k / (4 * steps)) for k in range(4 * steps)])
    assert max(rates) <= 1e-2


def test_the_loss_is_the_mean_over_questions(encoder: Encoder, examples: list[Example]) -> None:
    """Without dropout and steps that count, it is that of the network as it is."""
    settings = replace(FIT, learning_rate=1e-12, weight_decay=0.0, batch_size=3)
    solver = fresh(encoder, dropout=0.0)
    stage = Stage("answers", [[example] for example in examples if example.ordered], 1, 1e-12)
    (loss,) = learn(solver, make_optimizer(solver, settings), stage, range(1), settings, seed=0)
    wanted = [
        -row[example.answer].log()
        for example, row in zip(examples, answer_all(solver, examples), strict=True)
        if example.ordered
    ]
    assert loss == pytest.approx(float(sum(wanted)) / len(wanted), rel=1e-4)


def test_a_large_gradient_is_shortened(encoder: Encoder, examples: list[Example]) -> None:
    solver, lengths = fresh(encoder), []
    settings = replace(FIT, clip=1e-3)

    def note() -> None:
        lengths.append(torch.stack([w.grad.norm() for w in solver.parameters() if w.grad is not None]).norm().item())

    learn(
        solver,
        make_optimizer(solver, settings),
        answer_stage(examples, FIT),
        range(1),
        settings,
        seed=0,
        after_step=note,
    )
    assert lengths == pytest.approx([1e-3] * len(lengths), rel=1e-2)


def test_answering_draws_nothing_and_many_are_answered_in_parts(
    encoder: Encoder, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    solver = fresh(encoder).train()
    first = answer_all(solver, examples)
    monkeypatch.setattr(fitting, "TOGETHER", 3)
    for one, other in zip(first, answer_all(solver.train(), examples), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert answer_all(solver, []) == []


def test_the_place_of_an_answer_is_drawn_but_for_true_and_false(
    encoder: Encoder, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Example] = []

    def recording(batch: Sequence[Example]) -> Batch:
        seen.extend(batch)
        return collate(batch)

    monkeypatch.setattr(fitting, "collate", recording)
    stage = answer_stage(examples, FIT)._replace(epochs=12)
    learned(encoder, stage, [range(12)])
    whole = {example.name: example for example in examples}
    places: dict[str, set[int]] = {}
    for example in seen:
        original = whole[example.name]
        assert example.pairs[example.answer] is original.pairs[original.answer]
        places.setdefault(example.name, set()).add(example.answer)
    assert {name for name, found in places.items() if len(found) == 1} == {"w/q2"}
