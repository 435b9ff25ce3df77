"""The fine-tuned rival and the one on a frozen encoder: what they read, that they learn, and that all follows from the seed."""

from __future__ import annotations

import copy
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tenfold.answer import cross_encoder
from tenfold.answer.cross_encoder import CrossEncoder, CrossExample, FrozenRival, pairs_of
from tenfold.answer.sentence_encoder import SentenceEncoder
from tenfold.core.errors import UsageError

from .tiny_encoder import DIM, write_encoder

pytest.importorskip("tokenizers", reason="sentence encoders need the library tokenizers")

THINGS = ("sun", "moon", "lava", "rock", "water", "ice", "earth")
CHOOSE = CrossExample(
    "what is hot?", ("lava", "ice", "the moon"), ("lava is hot", "ice is cold", "the moon is cold"), 0
)
TRUTH = CrossExample("lava is hot", ("true", "false"), ("the lava melted", "the lava melted"), 0)


def encoder(folder: Path, *, dropout: float = 0.1) -> SentenceEncoder:
    config = {"num_attention_heads": 4, "hidden_dropout_prob": dropout}
    return SentenceEncoder.load(write_encoder(folder, config=config, positions=40))


def true_or_false(count: int, seed: int) -> list[CrossExample]:
    """Whether a question and its context say the same of a thing; the order of the choices changes."""
    source = random.Random(seed)
    made = []
    for _ in range(count):
        thing, asked, said = source.choice(THINGS), source.choice(["hot", "cold"]), source.choice(["hot", "cold"])
        choices = source.choice([("true", "false"), ("False", "True ")])
        answer = [choice.strip().lower() == str(asked == said).lower() for choice in choices].index(True)
        made.append(CrossExample(f"the {thing} is {asked}", choices, (f"the {thing} is {said}",) * 2, answer))
    return made


def multiple_choice(count: int, seed: int) -> list[CrossExample]:
    """Which thing is hot, of three of which each has its own context."""
    source = random.Random(seed)
    made = []
    for _ in range(count):
        choices, answer = tuple(source.sample(THINGS, 3)), source.randrange(3)
        contexts = tuple(f"{thing} is {'hot' if place == answer else 'cold'}" for place, thing in enumerate(choices))
        made.append(CrossExample("what is hot?", choices, contexts, answer))
    return made


def share_right(scores: list[torch.Tensor], examples: list[CrossExample]) -> float:
    right = [int(score.argmax()) == example.answer for score, example in zip(scores, examples, strict=True)]
    return sum(right) / len(right)


def test_true_and_false_of_one_context_are_read_once_and_other_choices_each() -> None:
    assert pairs_of(TRUTH) == [("lava is hot", "the lava melted")]
    assert pairs_of(CHOOSE)[1] == ("what is hot? ice", "ice is cold")
    assert len(pairs_of(TRUTH._replace(contexts=("one", "another")))) == 2
    assert len(pairs_of(TRUTH._replace(choices=("true", "maybe")))) == 2


def test_scores_come_of_the_pairs_vectors_by_one_linear_layer(tmp_path: Path) -> None:
    rival = CrossEncoder(encoder(tmp_path), longest=40)
    inner = rival.encoder

    def columns(question: str, context: str) -> torch.Tensor:
        ids, mask, types = inner.padded(inner.cut([(question, context)], 40)[0])
        return (inner.pooled(inner.forward_ids(ids, mask, types), mask) @ rival.head.weight.T + rival.head.bias)[0]

    choose, truth, turned = rival.scores([CHOOSE, TRUTH, TRUTH._replace(choices=("False", "True"))])
    expected = torch.stack([columns(*pair)[0] for pair in pairs_of(CHOOSE)])
    assert torch.allclose(choose, expected, atol=1e-5)
    assert torch.allclose(truth, columns(*pairs_of(TRUTH)[0])[1:], atol=1e-5)
    assert torch.allclose(turned, truth.flip(0), atol=1e-6)
    for found, again in zip(rival([CHOOSE, TRUTH]), (choose, truth), strict=True):
        assert found.requires_grad
        assert torch.allclose(found, again, atol=1e-5)


def test_scores_are_in_the_order_given_whatever_goes_through_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rival = CrossEncoder(encoder(tmp_path), longest=40)
    examples = (
        multiple_choice(5, 0) + true_or_false(5, 1) + [CHOOSE._replace(question="what is hot, what is cold, where?")]
    )
    together = rival.scores(examples)
    monkeypatch.setattr(cross_encoder, "_PIECES_AT_ONCE", 1)
    alone = rival.scores(examples)
    for first, second in zip(together, alone, strict=True):
        assert torch.allclose(first, second, atol=1e-5)
    assert rival.scores([]) == []


def test_the_fine_tuned_rival_learns_both_sorts_of_questions(tmp_path: Path) -> None:
    rival = CrossEncoder(encoder(tmp_path, dropout=0.0), longest=40, dropout=0.0)
    seen: list[tuple[int, float]] = []
    train = true_or_false(150, 0) + multiple_choice(60, 1)
    losses = rival.fit(
        train, epochs=8, learning_rate=4e-3, batch_size=16, after_epoch=lambda epoch, loss: seen.append((epoch, loss))
    )
    assert seen == list(enumerate(losses))
    assert losses[-1] < losses[0] / 2
    for test in (true_or_false(60, 2), multiple_choice(60, 3)):
        assert share_right(rival.scores(test), test) > 0.9


def trained(source: SentenceEncoder, seed: int, noise: int) -> tuple[list[float], list[torch.Tensor]]:
    torch.manual_seed(noise)
    rival = CrossEncoder(source, longest=40, seed=seed)
    state = torch.get_rng_state()
    losses = rival.fit(true_or_false(20, 0), epochs=2, learning_rate=1e-3, batch_size=8, seed=seed)
    assert torch.equal(torch.get_rng_state(), state)
    assert not rival.training
    return losses, rival.scores(true_or_false(4, 1))


def test_everything_random_follows_from_the_seed(tmp_path: Path) -> None:
    source = encoder(tmp_path)
    before = copy.deepcopy(source.state_dict())
    losses, scores = trained(source, seed=0, noise=1)
    again, same = trained(source, seed=0, noise=2)
    assert losses == again
    assert all(torch.equal(first, second) for first, second in zip(scores, same, strict=True))
    assert trained(source, seed=1, noise=1)[0] != losses
    assert all(torch.equal(before[name], value) for name, value in source.state_dict().items())


def test_a_batch_in_parts_takes_the_same_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = encoder(tmp_path, dropout=0.0)
    found = []
    for room in (16384, 60):
        monkeypatch.setattr(cross_encoder, "_PIECES_AT_ONCE", room)
        rival = CrossEncoder(source, longest=40, dropout=0.0)
        losses = rival.fit(true_or_false(8, 0) + multiple_choice(8, 1), epochs=2, learning_rate=1e-3, batch_size=16)
        found.append((losses, rival.scores([CHOOSE, TRUTH])))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-4)
    for first, second in zip(found[0][1], found[1][1], strict=True):
        assert torch.allclose(first, second, atol=1e-3)


def test_the_learning_rate_rises_then_falls_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    monkeypatch.setattr(
        CrossEncoder, "_step", lambda self, batch, optimizer: rates.append(optimizer.param_groups[1]["lr"]) or 0.0
    )
    CrossEncoder(encoder(tmp_path), longest=40).fit(true_or_false(30, 0), epochs=4, learning_rate=1.0, batch_size=6)
    assert len(rates) == 20
    assert rates[:2] == pytest.approx([0.25, 0.75])
    assert rates[2:] == pytest.approx([(19.5 - step) / 18 for step in range(2, 20)])


def test_each_question_is_seen_once_an_epoch_in_batches_of_like_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[list[int]] = []

    def step(self: CrossEncoder, batch: list[cross_encoder._Read], optimizer: torch.optim.Optimizer) -> float:
        batches.append([read.longest for read in batch])
        return 0.0

    monkeypatch.setattr(CrossEncoder, "_step", step)
    examples = [TRUTH._replace(question=" ".join(["hot"] * count)) for count in range(1, 12)]
    CrossEncoder(encoder(tmp_path), longest=40).fit(examples, epochs=6, batch_size=4)
    assert sorted(map(len, batches[:3])) == [3, 4, 4]
    lengths = [length for batch in batches[:3] for length in batch]
    assert sorted(lengths) == list(range(min(lengths), min(lengths) + 11))
    assert all(max(batch) - min(batch) == len(batch) - 1 for batch in batches)
    epochs = [tuple(map(tuple, batches[at : at + 3])) for at in range(0, len(batches), 3)]
    assert len(set(epochs)) > 1


def test_what_is_cut_off_is_counted(tmp_path: Path) -> None:
    rival = CrossEncoder(encoder(tmp_path), longest=16)
    long = CHOOSE._replace(contexts=("lava", "ice " * 30, "moon"))
    assert rival.cut_short([CHOOSE, TRUTH, long]) == 1
    further = long._replace(contexts=("lava", "ice " * 99, "moon"))
    assert torch.equal(rival.scores([long])[0], rival.scores([further])[0])


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (CHOOSE._replace(contexts=("one",)), "has 3 choices and 1 contexts"),
        (CHOOSE._replace(choices=(), contexts=()), "has 0 choices and 0 contexts"),
    ],
)
def test_examples_that_are_not_whole_are_refused(example: CrossExample, message: str, tmp_path: Path) -> None:
    source = encoder(tmp_path)
    frozen = FrozenRival(source)
    frozen.fit([CHOOSE])
    for rival in (CrossEncoder(source, longest=40), frozen):
        with pytest.raises(UsageError, match=message):
            rival.scores([example])


def test_questions_without_answers_teach_nothing(tmp_path: Path) -> None:
    source = encoder(tmp_path)
    for rival in (CrossEncoder(source, longest=40), FrozenRival(source)):
        with pytest.raises(UsageError, match="no questions to learn from"):
            rival.fit([])
        for answer in (None, 3):
            with pytest.raises(UsageError, match=f"has the answer {answer}, but"):
                rival.fit([CHOOSE, CHOOSE._replace(answer=answer)])


def test_settings_out_of_range_are_refused(tmp_path: Path) -> None:
    source = encoder(tmp_path)
    with pytest.raises(UsageError, match="longest is 41, but must be 16 to 40"):
        CrossEncoder(source, longest=41)
    with pytest.raises(UsageError, match="dropout is 1"):
        CrossEncoder(source, longest=40, dropout=1)
    with pytest.raises(UsageError, match="folds is 1"):
        FrozenRival(source, folds=1)
    rival = CrossEncoder(source, longest=40)
    for name in ("epochs", "batch_size", "learning_rate"):
        with pytest.raises(UsageError, match=f"{name} is 0"):
            rival.fit([CHOOSE], **{name: 0})


def test_the_frozen_rival_is_a_logistic_regression_on_the_features_of_pairs(tmp_path: Path) -> None:
    source = encoder(tmp_path)
    rival = FrozenRival(source)
    train, test = multiple_choice(30, 0), multiple_choice(5, 1)

    def features(examples: list[CrossExample]) -> np.ndarray:
        rows = []
        for example in examples:
            for choice, context in zip(example.choices, example.contexts, strict=True):
                q, c = source.embed([f"{example.question} {choice}", context])
                rows.append(torch.cat([q, c, q * c, (q - c).abs(), torch.cosine_similarity(q, c, 0)[None]]))
        return torch.stack(rows).double().numpy()

    rival.fit(train)
    given = features(train)
    mean, spread = given.mean(0), given.std(0)
    labels = [int(place == example.answer) for example in train for place in range(3)]
    model = LogisticRegression(C=rival.strengths["multiple choice"], max_iter=2000, tol=1e-8)
    model.fit((given - mean) / spread, labels)
    expected = model.decision_function((features(test) - mean) / spread).reshape(-1, 3)
    assert torch.allclose(torch.stack(rival.scores(test)), torch.tensor(expected).float(), atol=2e-2)
    assert features(test).shape == (15, 4 * DIM + 1)


def test_the_frozen_rival_learns_both_sorts_of_questions(tmp_path: Path) -> None:
    rival = FrozenRival(encoder(tmp_path))
    rival.fit(true_or_false(200, 0) + multiple_choice(150, 1))
    assert set(rival.strengths) == {"true or false", "multiple choice"}
    for test in (true_or_false(60, 2), multiple_choice(60, 3)):
        assert share_right(rival.scores(test + test[:1]), test + test[:1]) > 0.8
    (truth,) = rival.scores([TRUTH])
    (turned,) = rival.scores([TRUTH._replace(choices=("false", "true"))])
    assert torch.equal(truth, turned.flip(0))
    assert float(truth[0]) == -float(truth[1])


def test_the_regularisation_is_chosen_on_folds_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, float]] = []
    fit = cross_encoder._regression

    def recorded(rows: list[np.ndarray], labels: list[np.ndarray], strength: float) -> object:
        seen.append((len(rows), strength))
        return fit(rows, labels, strength)

    monkeypatch.setattr(cross_encoder, "_regression", recorded)
    rival = FrozenRival(encoder(tmp_path), folds=3)
    rival.fit(multiple_choice(9, 0))
    assert [count for count, _ in seen] == [6] * 12 + [9]
    assert seen[-1][1] == rival.strengths["multiple choice"]
    seen.clear()
    rival.fit(multiple_choice(1, 0))
    assert seen == [(1, 1e-3)]


def test_the_frozen_rival_says_what_it_cannot_learn_or_answer(tmp_path: Path) -> None:
    rival = FrozenRival(encoder(tmp_path))
    with pytest.raises(UsageError, match="the true or false questions given all have the same answer"):
        rival.fit([TRUTH, TRUTH])
    rival.fit([CHOOSE])
    with pytest.raises(UsageError, match="was fitted on no true or false questions"):
        rival.scores([TRUTH])


def test_the_regularisation_that_answers_most_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fitted:
        def __init__(self, strength: float) -> None:
            self.sign = 1 if strength == 1e-2 else -1

        def decision_function(self, rows: np.ndarray) -> np.ndarray:
            return self.sign * rows[:, 0]

    monkeypatch.setattr(cross_encoder, "_regression", lambda rows, labels, strength: Fitted(strength))
    labels = [np.eye(3)[place % 3] for place in range(6)]
    assert FrozenRival(encoder(tmp_path))._strength([one[:, None] for one in labels], labels) == 1e-2


def test_scores_of_a_rival_in_training_drop_nothing(tmp_path: Path) -> None:
    rival = CrossEncoder(encoder(tmp_path), longest=40)
    expected = rival.scores([CHOOSE])[0]
    rival.train()
    assert torch.equal(rival.scores([CHOOSE])[0], expected)
    assert rival.encoder.training


def test_a_step_has_its_own_batchs_gradient_cut_to_length_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = encoder(tmp_path, dropout=0.0)
    seen: list[torch.Tensor] = []

    def step(optimizer: torch.optim.AdamW) -> None:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        seen.append(torch.cat([weight.grad.flatten() for weight in weights if weight.grad is not None]))

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    for examples in ([CHOOSE, TRUTH], [CHOOSE], [TRUTH]):
        rival = CrossEncoder(source, longest=40, dropout=0.0)
        torch.nn.init.normal_(
            rival.head.weight, generator=torch.Generator().manual_seed(0)
        )  # for gradients that are long
        rival.fit(examples, epochs=1, batch_size=1)
    first, second, choose, truth = seen
    assert choose.norm() == pytest.approx(1, abs=1e-4)
    assert truth.norm() == pytest.approx(1, abs=1e-4)
    pairs = [(choose, truth), (truth, choose)]
    assert any(torch.allclose(first, a, atol=1e-4) and torch.allclose(second, b, atol=1e-4) for a, b in pairs)
