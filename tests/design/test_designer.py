"""A designer learns, repeats, comes back from a folder, follows a wish, and picks the best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("stable_baselines3")

from tenfold.core.checkpoint import save_state
from tenfold.core.errors import UsageError
from tenfold.design import Designer, Portfolio
from tenfold.design.config import PolicySettings
from tenfold.design.designer import APART, _divisor
from tenfold.design.task import Goal

from .toy import Toy

TOY = Toy()
OWN = TOY.wish().weights


class Shifted(Toy):
    """With a goal more."""

    name = "Shifted"
    goals = (*Toy.goals, Goal("thin", "little wall"))


FAST = PolicySettings(designs=16, learning_rate=3e-3, hidden=(32, 32), n_epochs=6, batch_size=24)
UPDATE = 16 * 3
"""modelling steps"""


def designer_of(seed: int = 0, **options: Any) -> Designer:
    return Designer(TOY, seed=seed, policy=FAST, **options)


@pytest.fixture(scope="module")
def learned() -> Designer:
    return designer_of().train(25 * UPDATE)


def same(one: Designer, other: Designer) -> bool:
    return np.array_equal(one.archive.steps, other.archive.steps) and np.array_equal(
        one.archive.scores, other.archive.scores
    )


# learning


@pytest.mark.parametrize("seed", range(3))
def test_its_last_designs_are_clearly_better_than_its_first(seed: int) -> None:
    values = designer_of(seed).train(15 * UPDATE).archive.values(OWN)
    first, last = values[:64], values[-64:]
    assert last.mean() > first.mean() + 0.6 * first.std()


@pytest.mark.parametrize("vary", [True, False])
def test_the_same_seed_repeats_bit_for_bit_and_another_does_not(vary: bool) -> None:
    one, same_seed, other = (designer_of(seed, vary=vary).train(3 * UPDATE) for seed in (1, 1, 2))
    assert same(one, same_seed)
    assert one.design().recipe() == same_seed.design().recipe()
    assert not same(one, other)


@pytest.mark.slow
def test_the_workers_change_nothing() -> None:
    one, two = (Designer("Cup", policy=FAST, workers=workers).train(200) for workers in (1, 2))
    assert len(one.archive) == 32
    assert same(one, two)


@pytest.mark.parametrize(("steps", "updates"), [(1, 1), (UPDATE, 1), (UPDATE + 1, 2)])
def test_it_tests_whole_updates(steps: int, updates: int) -> None:
    designer = designer_of().train(steps)
    assert len(designer.archive) == 16 * updates
    assert designer.model is not None
    assert designer.model.num_timesteps == updates * UPDATE


def test_a_second_training_goes_on_with_new_designs() -> None:
    designer = designer_of().train(2 * UPDATE)
    before = designer.design().steps
    first = designer.archive.steps
    assert designer.train(2 * UPDATE) is designer
    assert len(designer.archive) == 64
    assert np.array_equal(designer.archive.steps[:32], first)
    assert len(np.unique(designer.archive.steps.reshape(64, -1), axis=0)) == 64
    assert len(set(designer.archive.fact("luck").tolist())) == 64  # and new tests
    assert not np.array_equal(designer.design().steps, before)
    assert designer.model is not None
    assert designer.model.num_timesteps == 4 * UPDATE


def test_it_is_a_policy_for_one_wish_where_that_is_asked_for() -> None:
    designer = designer_of(vary=False, goals={"large": 8}).train(15 * UPDATE)
    values = designer.archive.values({"large": 8, "low": 2})
    assert values[-64:].mean() > values[:64].mean() + 0.6 * values[:64].std()


# wishes


@pytest.mark.parametrize("seed", range(3))
def test_a_heavier_weight_moves_the_design_that_way(seed: int, learned: Designer) -> None:
    designer = learned if seed == 0 else designer_of(seed).train(25 * UPDATE)
    large, low = designer.design({"large": 8, "low": 1}), designer.design({"large": 0.25, "low": 8})
    assert large.verdict.facts["size_ml"] > low.verdict.facts["size_ml"]
    assert large.verdict.facts["height_mm"] > low.verdict.facts["height_mm"]
    assert large.wish.weights == {"large": 8, "low": 1}


def test_a_design_is_made_without_chance_and_tested_with_the_seed(learned: Designer) -> None:
    one, again, other = (learned.design({"low": 3}, seed=seed) for seed in (0, 0, 5))
    assert one.recipe() == again.recipe()
    assert np.array_equal(one.steps, other.steps)
    assert one.verdict.facts["luck"] != other.verdict.facts["luck"]
    assert len(learned.archive) == 400
    assert one.score > learned.archive.values(one.wish.weights)[:64].mean()


@pytest.mark.parametrize("call", ["design", "best"])
def test_another_want_than_it_learned_for_is_refused(call: str, learned: Designer) -> None:
    with pytest.raises(UsageError) as refused:
        getattr(learned, call)(goals={"low": 3, "size_ml": 75})
    assert str(refused.value) == (
        "size_ml is 75, but this designer learned for 60: Designer('Toy', goals={'size_ml': 75}) learns for another"
    )
    assert getattr(learned, call)(goals={"size_ml": 60})


def test_it_learns_for_the_want_that_it_was_made_for() -> None:
    designer = designer_of(goals={"size_ml": 90, "low": 3}).train(UPDATE)
    assert designer.design().wish.values == {"large": 1, "low": 3, "size_ml": 90}
    assert designer.design({"large": 2}).wish.values == {"large": 2, "low": 3, "size_ml": 90}
    assert all(design.wish.wants == {"size_ml": 90} for design in [*designer.best(2), *designer.front()])
    design = designer.front()[0]
    assert design.replay().verdict == design.verdict


@pytest.mark.parametrize("call", ["design", "best"])
def test_goals_that_the_task_does_not_have_are_refused(call: str, learned: Designer) -> None:
    with pytest.raises(UsageError, match="goals has 'soft', but Toy has large, low, size_ml"):
        getattr(learned, call)(goals={"soft": 1})
    with pytest.raises(UsageError, match="goals has 'soft'"):
        Designer(TOY, goals={"soft": 1})


# the best


@pytest.mark.parametrize("goals", [None, {"large": 6}, {"low": 0}])
def test_the_best_are_sorted_distinct_and_tested_anew(goals: dict[str, float] | None, learned: Designer) -> None:
    best = learned.best(8, goals=goals)
    assert isinstance(best, Portfolio)
    scores = [design.score for design in best]
    assert len(best) == 8
    assert scores == sorted(scores, reverse=True)
    weights = TOY.wish(goals).weights
    assert scores[0] >= np.quantile(learned.archive.values(weights), 0.9)
    tested = {steps.tobytes() for steps in learned.archive.steps}
    for number, design in enumerate(best):
        assert design.wish.weights == weights
        assert design.steps.tobytes() in tested
        for other in best[:number]:
            assert np.sqrt(((design.steps - other.steps) ** 2).mean()) >= APART
        again = TOY.judge(design.solid, design.wish.wants, np.random.default_rng(0))
        assert design.verdict.scores["large"] == pytest.approx(min(1, again.scores["large"]), abs=0.011)
    assert [design.score for design in learned.best(8, goals=goals)] == scores


def test_the_best_of_few_are_few() -> None:
    designer = designer_of().train(UPDATE)
    assert 1 <= len(designer.best(99)) <= 16
    assert len(designer.best(1, tests=1)) == 1


def test_new_tests_are_others_than_those_that_chose(learned: Designer) -> None:
    """The luck of the test is a fact of the toy; averaged over five it is neither the first nor an extreme."""
    chosen = learned.best(4)
    assert len({design.verdict.facts["luck"] for design in chosen}) == 1  # the same tests for all
    assert chosen[0].verdict.facts["luck"] not in learned.archive.fact("luck")
    assert learned.best(1, tests=2)[0].verdict.facts["luck"] != chosen[0].verdict.facts["luck"]


def test_the_front_is_not_dominated_and_sorted_by_the_wish(learned: Designer) -> None:
    front = learned.front()
    rows = np.array([[design.verdict.scores["large"], design.verdict.scores["low"]] for design in front])
    every = learned.archive.scores
    assert len(front) > 2
    for row in rows:
        assert not ((every >= row).all(1) & (every > row).any(1)).any()
    scores = [design.score for design in front]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(learned.archive.values(OWN).max())


def test_before_training_there_is_nothing_to_be_had() -> None:
    designer = designer_of()
    with pytest.raises(UsageError, match=r"the designer is not trained yet: call train\(\) first"):
        designer.design()
    with pytest.raises(UsageError, match=r"no design was tested yet: call train\(\) first"):
        designer.best(8)
    assert designer.front() == []


# there and back


def test_it_comes_back_from_a_folder_and_goes_on_as_if_it_had_stayed(tmp_path: Path) -> None:
    designer = designer_of(5, goals={"size_ml": 80, "low": 3}).train(3 * UPDATE)
    again = Designer.load(designer.save(tmp_path / "designer"), TOY)
    assert (again.goals, again.vary, again.seed, again.settings) == ({"size_ml": 80, "low": 3}, True, 5, FAST)
    assert same(again, designer)
    assert again.design({"large": 4}).recipe() == designer.design({"large": 4}).recipe()
    assert [design.recipe() for design in again.best(3)] == [design.recipe() for design in designer.best(3)]
    for each in (designer, again):
        each.train(2 * UPDATE)
    assert len(again.archive) == 80
    assert same(again, designer)
    assert again.design().recipe() == designer.design().recipe()


def test_it_comes_back_before_it_was_trained(tmp_path: Path) -> None:
    again = Designer.load(designer_of(2, vary=False).save(tmp_path / "designer"), TOY)
    assert (again.model, len(again.archive), again.vary) == (None, 0, False)
    assert same(again.train(UPDATE), designer_of(2, vary=False).train(UPDATE))


def test_one_that_comes_along_is_found_by_its_name(tmp_path: Path) -> None:
    designer = Designer("tenfold/Cup-v0", policy=FAST)
    assert Designer.load(designer.save(tmp_path / "designer")).task.name == "Cup"


def test_a_task_of_ones_own_has_to_be_given_and_is_not_imported(tmp_path: Path) -> None:
    folder = designer_of().save(tmp_path / "designer")
    with pytest.raises(UsageError) as refused:
        Designer.load(folder)
    assert str(refused.value) == f"{folder} is for the task tests.design.toy:Toy: give it as `task`"


def test_folders_without_a_designer_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        Designer.load(tmp_path)
    save_state(tmp_path / "other", {"task": "Cup", "goals": {}})
    with pytest.raises(UsageError, match="holds no designer"):
        Designer.load(tmp_path / "other")


def test_tasks_that_there_are_not_are_refused() -> None:
    with pytest.raises(UsageError, match="there is no task 'Chair-v0'; the tasks are Cup, Stool, Stand, Bridge"):
        Designer("Chair-v0")


@pytest.mark.parametrize(
    ("total", "wanted", "found"), [(48, 24, 24), (48, 20, 16), (48, 99, 48), (21, 8, 7), (13, 5, 13), (6, 2, 2)]
)
def test_batches_are_all_of_one_size(total: int, wanted: int, found: int) -> None:
    assert _divisor(total, wanted) == found


def test_it_designs_cups_from_training_to_the_mesh(tmp_path: Path) -> None:
    designer = Designer("Cup-v0", policy=PolicySettings(designs=16, n_epochs=2)).train(2 * 16 * 8)
    best = designer.best(3, goals={"light": 2}, tests=2)
    chance = designer.archive.values(designer.task.wish({"light": 2}).weights)
    assert best[0].score > chance.mean()
    assert best[0].report().watertight
    assert best[0].export(tmp_path / "cup.stl").stat().st_size > 10_000
    assert designer.design({"light": 4}).wish.weights["light"] == 4


# what it does not take


@pytest.mark.parametrize("options", [{"workers": 0}, {"seed": -1}], ids=str)
def test_settings_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        Designer(TOY, policy=FAST, **options)


@pytest.mark.parametrize("options", [{"count": 0}, {"count": -1}, {"tests": 0}], ids=str)
def test_no_best_designs_or_tests_are_refused(options: dict[str, int], learned: Designer) -> None:
    with pytest.raises(UsageError):
        learned.best(**options)


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_seeds_that_no_recipe_has_are_refused(seed: int, learned: Designer) -> None:
    with pytest.raises(UsageError):
        learned.design(seed=seed)


@pytest.mark.parametrize("steps", [0, -5])
def test_a_training_of_no_steps_is_refused(steps: int) -> None:
    with pytest.raises(UsageError):
        designer_of().train(steps)


def test_a_folder_of_another_task_than_the_one_given_is_refused(tmp_path: Path) -> None:
    folder = designer_of().train(UPDATE).save(tmp_path / "designer")
    with pytest.raises(UsageError):
        Designer.load(folder, Shifted())
