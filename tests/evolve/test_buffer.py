"""Every sample is learned by the genes that it was acted with; and by `learn_from`, some samples are not learned at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3")

from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor

from tenfold.core.errors import UsageError
from tenfold.evolve import G2A2C, G2PPO, GeneticSettings
from tenfold.evolve.algorithms import GeneticGated
from tenfold.evolve.buffer import GatedDictRolloutBuffer, GatedRolloutBuffer, Remembering, gated_buffer
from tenfold.evolve.policy import ALL_OPEN

from ..core.rl_worlds import LEVER, NUMBERS, PICTURE, SEVERAL, worlds
from .worlds import Recorder

MIXED = GeneticSettings(elite_share=0.3, phase_steps=0, start_all_open=False, start_open=0.5, mutation_rate=0.1)
ARM = spaces.Box(-1, 1, (2,))

# the ratio is 1

CASES: dict[str, tuple[str, Any, Any, dict[str, Any]]] = {
    "discrete": ("MlpPolicy", NUMBERS, LEVER, {}),
    "continuous": ("MlpPolicy", NUMBERS, ARM, {}),
    "several choices": ("MlpPolicy", NUMBERS, spaces.MultiDiscrete([2, 3]), {}),
    "switches": ("MlpPolicy", NUMBERS, spaces.MultiBinary(3), {}),
    "gSDE": ("MlpPolicy", NUMBERS, ARM, {"use_sde": True, "sde_sample_freq": 4}),
    "own features": ("MlpPolicy", NUMBERS, LEVER, {"policy_kwargs": {"share_features_extractor": False}}),
    "dictionary": ("MultiInputPolicy", SEVERAL, LEVER, {}),
    "pictures": ("CnnPolicy", PICTURE, LEVER, {}),
}


class FirstPass(BaseCallback):
    """Before any step of a rollout's learning: the log probabilities of a first pass, with its genes and without."""

    model: GeneticGated

    def __init__(self) -> None:
        super().__init__()
        self.with_genes: list[float] = []
        self.without: list[float] = []
        self.rows = 0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        policy = self.model.policy
        for batch in self.model.rollout_buffer.get(10):
            actions = batch.actions
            if isinstance(self.model.action_space, spaces.Discrete):
                actions = actions.long().flatten()
            with torch.no_grad():
                _, new, _ = policy.evaluate_actions(batch.observations, actions)
                with policy.acting(None):
                    _, elites, _ = policy.evaluate_actions(batch.observations, actions)
            self.rows += len(new)
            self.with_genes.append(float((new - batch.old_log_prob).abs().max()))
            self.without.append(float((elites - batch.old_log_prob).abs().max()))


@pytest.mark.parametrize("case", CASES)
def test_in_the_first_pass_new_and_old_probability_are_the_same(case: str) -> None:
    policy, observation, action, given = CASES[case]
    env = worlds(3, observation, action)
    model = G2PPO(policy, env, n_steps=8, batch_size=24, n_epochs=1, population=5, genetics=MIXED, seed=0, **given)
    with torch.no_grad():
        model.policy.action_net.weight *= 50  # members differ visibly
    first = FirstPass()
    model.learn(24 * 8, callback=first)
    assert first.rows == 24 * 8
    assert max(first.with_genes) < 1e-4
    assert max(first.without) > 0.02


def test_the_learners_own_ratio_is_one() -> None:
    model = G2PPO("MlpPolicy", worlds(3), n_steps=8, batch_size=24, n_epochs=1, genetics=MIXED, seed=0)
    with torch.no_grad():
        model.policy.action_net.weight *= 50
    for _ in range(8):
        model.learn(24, reset_num_timesteps=False)
        assert model.logger.name_to_value["train/approx_kl"] == pytest.approx(0, abs=1e-6)
        assert model.logger.name_to_value["train/clip_fraction"] == 0


# genes go with their rows


class Listener:
    """In place of a policy: remembers what it was told."""

    def __init__(self) -> None:
        self.genes: Tensor | None = None

    def act_as(self, genes: Tensor | None) -> None:
        self.genes = genes


def filled(
    learned: NDArray[np.bool_] | None = None, *, steps: int = 6, environments: int = 4, kind: Any = RolloutBuffer
) -> tuple[Remembering, Listener]:
    """Each observation is the step and the environment; and so are the genes, bit by bit."""
    space = spaces.Box(0, 99, (2,))
    observation: Any = spaces.Dict({"place": space}) if issubclass(kind, DictRolloutBuffer) else space
    buffer, listener = gated_buffer(kind)(steps, observation, LEVER, device="cpu", n_envs=environments), Listener()
    buffer.follow(listener)  # type: ignore[arg-type]
    if learned is None:
        learned = np.ones((steps, environments), dtype=bool)
    for step in range(steps):
        places = np.array([[step, place] for place in range(environments)], dtype=np.float32)
        buffer.note(bits(places), learned[step])
        zeros = np.zeros(environments)
        given: Any = {"place": places} if isinstance(observation, spaces.Dict) else places
        buffer.add(given, zeros, zeros, zeros, torch.zeros(environments), torch.zeros(environments))
    return buffer, listener


def bits(places: NDArray[Any]) -> NDArray[np.uint8]:
    numbers = places.astype(int) + 1
    return np.concatenate([(numbers[:, [column]] >> np.arange(5)) & 1 for column in (0, 1)], axis=1).astype(np.uint8)


def batches(buffer: Remembering, listener: Listener, size: int | None) -> Iterator[NDArray[Any]]:
    """The observations of each batch, whose genes are checked."""
    for batch in buffer.get(size):
        places = batch.observations["place"] if isinstance(batch.observations, dict) else batch.observations
        assert listener.genes is not None
        assert (listener.genes.numpy() == bits(places.numpy())).all()
        assert len(batch.actions) == len(batch.old_log_prob) == len(batch.returns) == len(places)
        yield places.numpy()


@pytest.mark.parametrize("kind", [RolloutBuffer, DictRolloutBuffer])
@pytest.mark.parametrize("size", [1, 7, 24, None])
def test_genes_are_given_out_with_their_rows(kind: Any, size: int | None) -> None:
    buffer, listener = filled(kind=kind)
    orders = [np.concatenate(list(batches(buffer, listener, size))) for _ in range(2)]
    for order in orders:
        assert len(np.unique(order, axis=0)) == len(order) == 24
    assert (orders[0] != orders[1]).any()


@pytest.mark.parametrize("kind", [RolloutBuffer, DictRolloutBuffer])
@pytest.mark.parametrize("size", [1, 4, 24, None])
def test_only_samples_to_be_learned_are_given_out(kind: Any, size: int | None) -> None:
    learned = np.random.default_rng(0).random((6, 4)) < 0.4
    buffer, listener = filled(learned, kind=kind)
    assert buffer.has_lessons
    for _ in range(2):
        given = list(batches(buffer, listener, size))
        places = np.concatenate(given).astype(int)
        assert sorted(map(tuple, places.tolist())) == sorted(zip(*np.nonzero(learned), strict=True))
        assert all(len(batch) == (size or learned.sum()) for batch in given[:-1])


def test_with_nothing_to_learn_there_are_no_batches() -> None:
    buffer, listener = filled(np.zeros((6, 4), dtype=bool))
    assert not buffer.has_lessons
    assert list(batches(buffer, listener, 4)) == []


def test_the_order_is_that_of_the_plain_buffer() -> None:
    buffer, listener = filled()
    np.random.seed(4)  # noqa: NPY002
    found = np.concatenate(list(batches(buffer, listener, 5)))
    np.random.seed(4)  # noqa: NPY002
    order = np.random.permutation(24)  # noqa: NPY002
    assert (found == np.stack([order % 6, order // 6], axis=1)).all()


def test_where_all_have_the_same_genes_one_row_is_enough() -> None:
    for genes in (np.array([[0, 1]], np.uint8), np.array([[1, 1]], np.uint8)):
        buffer, listener = filled()
        buffer._steps = [(genes.repeat(4, 0), each) for _, each in buffer._steps]
        for _ in buffer.get(5):
            assert listener.genes is not None
            assert (listener.genes is ALL_OPEN) == bool(genes.all())
            assert listener.genes.all() == bool(genes.all())
            assert len(listener.genes) == 1


def test_a_buffer_that_was_told_nothing_leaves_the_policy_alone() -> None:
    buffer, listener = filled()
    buffer._steps = []
    assert buffer.has_lessons
    assert sum(len(batch.actions) for batch in buffer.get(5)) == 24
    assert listener.genes is None


def test_a_reset_forgets_genes_and_lessons() -> None:
    buffer, _ = filled(np.zeros((6, 4), dtype=bool))
    list(buffer.get(5))
    buffer.reset()
    assert buffer.has_lessons
    again, _ = filled()
    for genes, learned in again._steps:
        buffer.note(genes, learned)
        zeros = np.zeros(4)
        buffer.add(np.zeros((4, 2)), zeros, zeros, zeros, torch.zeros(4), torch.zeros(4))
    assert sum(len(batch.actions) for batch in buffer.get(5)) == 24


def test_genes_of_some_steps_only_are_refused() -> None:
    buffer, _ = filled()
    buffer._steps.pop()
    with pytest.raises(UsageError, match="5 steps"):
        next(buffer.get(4))


# classes of others


class Counting(RolloutBuffer):
    """Someone's own buffer with an argument of its own."""

    def __init__(self, *args: Any, label: str, **kwargs: Any) -> None:
        self.label, self.added = label, 0
        super().__init__(*args, **kwargs)

    def add(self, *args: Any, **kwargs: Any) -> None:
        self.added += 1
        super().add(*args, **kwargs)


def test_a_class_is_made_once() -> None:
    assert gated_buffer(RolloutBuffer) is GatedRolloutBuffer
    assert gated_buffer(DictRolloutBuffer) is GatedDictRolloutBuffer
    assert gated_buffer(GatedRolloutBuffer) is GatedRolloutBuffer
    own = gated_buffer(Counting)
    assert own is gated_buffer(Counting) is gated_buffer(own)
    assert issubclass(own, Counting)
    assert issubclass(own, Remembering)


@pytest.mark.parametrize("kind", [G2PPO, G2A2C])
def test_an_own_buffer_class_works_and_is_saved(kind: type[GeneticGated], tmp_path: Path) -> None:
    given: dict[str, Any] = {"rollout_buffer_class": Counting, "rollout_buffer_kwargs": {"label": "mine"}}
    given |= {"batch_size": 24} if kind is G2PPO else {}
    model = kind("MlpPolicy", worlds(3), n_steps=8, genetics=MIXED, seed=0, **given)
    model.learn(96)
    model.save(tmp_path / "model")
    for each in (model, kind.load(tmp_path / "model", env=worlds(3))):
        buffer: Any = each.rollout_buffer
        assert isinstance(buffer, Counting)
        assert buffer.label == "mine"
        before = buffer.added
        each.learn(24, reset_num_timesteps=False)
        assert buffer.added == before + 8


# learn_from


@pytest.mark.parametrize("kind", [G2PPO, G2A2C])
@pytest.mark.parametrize("learn_from", ["all", "elite", "none"])
def test_whose_samples_reach_the_weights(
    learn_from: Any, kind: type[GeneticGated], monkeypatch: pytest.MonkeyPatch
) -> None:
    genetics = GeneticSettings(learn_from=learn_from, elite_share=0.4, phase_steps=0, start_open=0.5, episodes=3)
    given = {"batch_size": 16, "n_epochs": 2} if kind is G2PPO else {}
    model = kind("MlpPolicy", worlds(4), n_steps=8, population=4, genetics=genetics, seed=0, **given)
    policy, watch = model.policy, Recorder()
    told: list[Tensor | None] = [None]
    learned: list[tuple[int, Tensor]] = []
    act_as, evaluate, train = policy.act_as, policy.evaluate_actions, model.train

    def listening(genes: Tensor | None) -> None:
        told[0] = genes
        act_as(genes)

    def counting(obs: Any, actions: Tensor) -> Any:
        assert told[0] is not None
        learned.append((len(actions), told[0]))
        return evaluate(obs, actions)

    untouched: list[bool] = []

    def training() -> None:
        learned.clear()
        before = policy.parameters_to_vector()
        train()
        this = [step for step in watch.steps if step.rollout == watch.rollout]
        elites = [watch.chromosomes[step.generation][watch.elites[step.generation]] for step in this]
        of_elite = sum(int((step.genes == elite).all(1).sum()) for step, elite in zip(this, elites, strict=True))
        expected = {"all": 32, "elite": of_elite, "none": 4 * sum(not step.populating for step in this)}[learn_from]
        assert sum(rows for rows, _ in learned) == expected * (2 if kind is G2PPO else 1)
        if learn_from == "elite":
            assert {tuple(row) for _, told in learned for row in told.expand(-1, 64).int().tolist()} <= {
                *map(tuple, elites)
            }
        assert (policy.parameters_to_vector() == before).all() == (expected == 0)
        untouched.append(expected == 0)

    monkeypatch.setattr(policy, "act_as", listening)
    monkeypatch.setattr(policy, "evaluate_actions", counting)
    monkeypatch.setattr(model, "train", training)
    model.learn(800, callback=watch)
    assert len(model.history) > 2
    assert any(untouched) or learn_from != "none"


@pytest.mark.parametrize("kind", [G2PPO, G2A2C])
def test_one_sample_alone_does_not_spoil_the_weights(kind: type[GeneticGated]) -> None:
    """Its advantage cannot be normalised."""
    genetics = GeneticSettings(learn_from="elite", elite_share=0.5, phase_steps=0, start_open=0.5, mutation_rate=0.2)
    given: dict[str, Any] = {"batch_size": 6, "n_epochs": 1} if kind is G2PPO else {}
    env = worlds(3, going_on=0.6)
    model = kind(
        "MlpPolicy", env, n_steps=2, population=6, genetics=genetics, normalize_advantage=True, seed=0, **given
    )
    model.learn(600, log_interval=None)
    assert np.isfinite(model.policy.parameters_to_vector()).all()
