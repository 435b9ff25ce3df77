"""Recipes: written, read, replayed; and files that are none are refused with a sentence and run nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tenfold.core.errors import UsageError

from .toy import Toy

pytest.importorskip("mujoco")

from tenfold.design import Design, Portfolio, Task
from tenfold.design.recipe import caption, task_name
from tenfold.design.tasks import find_task

TOY = Toy()


def design_of(task: Task = TOY, *, seed: int = 0, goals: dict[str, float] | None = None) -> Design:
    steps = np.random.default_rng(seed).uniform(-1, 1, (task.space.steps, task.space.width))
    return Design.tested(task, steps, task.wish(goals), [seed])


def written(folder: Path, change: Callable[[dict[str, Any]], Any] = lambda recipe: recipe) -> Path:
    """A recipe in a file, changed before."""
    path = folder / "design.json"
    path.write_text(json.dumps(change(design_of().recipe())))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UsageError) as refused:
        Design.load(path, TOY)
    return str(refused.value)


# there and back


@pytest.mark.parametrize("name", ["Cup", "Stool", "Stand", "Bridge"])
def test_a_saved_design_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    task = find_task(name)
    design = design_of(task, seed=3, goals={task.goals[0].name: 0.3})
    path = design.save(tmp_path / "design.json")
    again = Design.load(path)
    assert type(again.task) is type(task)
    assert np.array_equal(again.steps, design.steps)
    assert (again.wish, again.seeds, again.verdict, again.score) == (design.wish, (3,), design.verdict, design.score)
    written = json.loads(path.read_text())
    assert written["words"] == design.words
    assert len(design.words) == task.space.steps
    assert [part.name for part in tmp_path.iterdir()] == ["design.json"]


def test_what_a_recipe_says_of_its_scores_is_not_believed(tmp_path: Path) -> None:
    path = written(tmp_path, lambda recipe: recipe | {"score": 1.0, "scores": {"large": 1.0, "low": 1.0}, "facts": {}})
    assert Design.load(path, TOY).recipe() == design_of().recipe()


def test_goals_that_a_recipe_does_not_name_are_as_the_task_has_them(tmp_path: Path) -> None:
    path = written(tmp_path, lambda recipe: recipe | {"goals": {"low": 7}})
    assert Design.load(path, TOY).wish == TOY.wish({"low": 7})


def test_numbers_beyond_the_range_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, lambda recipe: recipe | {"steps": [[0.5, -7.5, 0.25]] * 3})
    assert refusal(path) == f"{path} has steps with numbers beyond -1 and 1, such as -7.5"


@pytest.mark.parametrize("name", ["Cup", "Stool", "Stand", "Bridge"])
def test_an_unfinished_design_can_be_replayed(name: str) -> None:
    recipe = design_of(find_task(name), seed=1).recipe()
    recipe["steps"] = recipe["steps"][:1]
    design = Design.from_recipe(recipe)
    assert 0 <= design.score <= 1
    assert len(design.words) == 1


def test_a_score_is_the_weighted_mean_of_its_scores() -> None:
    design = design_of(goals={"large": 3, "low": 1})
    scores = design.verdict.scores
    assert design.score == pytest.approx((3 * scores["large"] + scores["low"]) / 4)
    assert caption(design) == f"{design.score:.3f}: large {scores['large']:.2f}, low {scores['low']:.2f}"


def test_new_tests_are_averaged_and_leave_the_design_as_it_was() -> None:
    design = design_of(goals={"low": 1})
    luck = [TOY.test(design.solid, design.wish, seed).facts["luck"] for seed in (4, 5, 6)]
    scores = [TOY.test(design.solid, design.wish, seed).scores["large"] for seed in (4, 5, 6)]
    again = design.retested([4, 5, 6])
    assert again.verdict.facts["luck"] == pytest.approx(sum(luck) / 3)
    assert again.verdict.scores["large"] == pytest.approx(sum(scores) / 3)
    assert (again.wish, again.seeds) == (design.wish, (4, 5, 6))
    assert again.replay().verdict == again.verdict
    assert design.verdict == design_of().verdict
    other = design.retested([4], {"low": 9})
    assert other.wish == TOY.wish({"low": 9})


def test_how_tasks_are_named_in_recipes() -> None:
    assert task_name(find_task("Stool")) == "Stool"
    assert task_name(TOY) == "tests.design.toy:Toy"
    assert type(find_task(task_name(TOY))) is Toy


# refusals


@pytest.mark.parametrize("content", [b"", b"{", b"solid cup\n", b"\xff\xfe\x00{", b"[1, 2"])
def test_a_file_that_is_no_json_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "design.json"
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path} is not a recipe of a design: ")


def test_no_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        assert refusal(path).startswith(f"{path} is not a recipe of a design: ")


@pytest.mark.parametrize("content", ["[]", "3", "null", '"recipe"', "{}", '{"format": 2}', '{"format": "1"}'])
def test_json_of_another_kind_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "design.json"
    path.write_text(content)
    assert refusal(path) == f"{path} is not a recipe of format 1"


@pytest.mark.parametrize("key", ["task", "goals", "seeds", "steps"])
def test_a_recipe_that_lacks_something_is_refused(key: str, tmp_path: Path) -> None:
    path = written(tmp_path, lambda recipe: {name: value for name, value in recipe.items() if name != key})
    assert refusal(path) == f"{path} has no {key}"


@pytest.mark.parametrize(
    "seeds", [*([seed] for seed in (-1, True, 1.0, "1", None, 2**31, [1])), [], 3, None, [0] * 1001]
)
def test_seeds_that_are_none_are_refused(seeds: Any, tmp_path: Path) -> None:
    path = written(tmp_path, lambda recipe: recipe | {"seeds": seeds})
    assert refusal(path).startswith(
        f"{path} has the seeds {str(seeds)[:60]}, but must have 1 to 1000 whole numbers from 0"
    )


def test_the_first_and_the_last_seed_are_taken(tmp_path: Path) -> None:
    for seed in (0, 2**31 - 1):
        path = written(tmp_path, lambda recipe, seed=seed: recipe | {"seeds": [seed]})
        assert Design.load(path, TOY).seeds == (seed,)


@pytest.mark.parametrize("goals", [[], "low", 3, None, [["low", 1]]])
def test_goals_that_are_no_names_and_numbers_are_refused(goals: Any, tmp_path: Path) -> None:
    path = written(tmp_path, lambda recipe: recipe | {"goals": goals})
    assert refusal(path) == f"{path} has the goals {goals!r}, but must have a name and a number for each"


@pytest.mark.parametrize("goals", [{"soft": 1}, {"low": "1"}, {"low": None}, {"low": -1}, {"size_ml": 1e9}])
def test_goals_that_the_task_does_not_have_or_of_no_value_are_refused(goals: Any, tmp_path: Path) -> None:
    message = refusal(written(tmp_path, lambda recipe: recipe | {"goals": goals}))
    assert next(iter(goals)) in message
    assert "but" in message


@pytest.mark.parametrize(
    ("steps", "shape"),
    [
        ([], "(0,)"),
        ([[]], "(1, 0)"),
        ([0.0] * 3, "(3,)"),
        ([[0.0] * 2] * 3, "(3, 2)"),
        ([[0.0] * 3] * 4, "(4, 3)"),
        ([[[0.0] * 3] * 3], "(1, 3, 3)"),
        (0.5, "()"),
    ],
)
def test_steps_of_another_shape_are_refused(steps: Any, shape: str, tmp_path: Path) -> None:
    path = written(tmp_path, lambda recipe: recipe | {"steps": steps})
    assert refusal(path) == f"{path} has steps of shape {shape}, but Toy has 1 to 3 steps of 3 numbers"


@pytest.mark.parametrize("steps", ["many", [["a", 0, 0]], [[0.0, 0.0], [0.0]], {"0": [0, 0, 0]}, [[{}, 0, 0]]])
def test_steps_that_are_no_numbers_are_refused(steps: Any, tmp_path: Path) -> None:
    path = written(tmp_path, lambda recipe: recipe | {"steps": steps})
    assert refusal(path).startswith(f"{path} has steps that are no numbers: ")


@pytest.mark.parametrize(
    "number", [float("nan"), float("inf"), None, "0.5", 10**400], ids=["nan", "inf", "null", "text", "huge"]
)
def test_single_numbers_that_are_none_are_refused(number: Any, tmp_path: Path) -> None:
    path = written(tmp_path, lambda recipe: recipe | {"steps": [[number, 0.0, 0.0]] * 3})
    assert "steps" in refusal(path)


def test_a_weight_that_is_too_large_for_a_number_is_refused(tmp_path: Path) -> None:
    assert "low" in refusal(written(tmp_path, lambda recipe: recipe | {"goals": {"low": 10**400}}))


def test_json_that_is_nested_too_deep_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "design.json"
    path.write_text("[" * 100_000)
    assert refusal(path).startswith(f"{path} is not a recipe of a design")


@pytest.mark.parametrize("task", ["Chair", "", "os", "../cup", None, 3, ["Cup"]])
def test_a_task_that_there_is_not_is_refused(task: Any, tmp_path: Path) -> None:
    path = written(tmp_path, lambda recipe: recipe | {"task": task})
    with pytest.raises(UsageError, match=r"there is no task .*; the tasks are Cup, Stool, Stand, Bridge"):
        Design.load(path)


def test_a_recipe_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = tmp_path / "trace"
    (tmp_path / "noisy_task.py").write_text(f"open({str(trace)!r}, 'w').close()\nfrom tests.design.toy import Toy\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = written(tmp_path, lambda recipe: recipe | {"task": "noisy_task:Toy"})
    with pytest.raises(UsageError) as refused:
        Design.load(path)
    assert str(refused.value) == f"{path} is for the task noisy_task:Toy: give it as `task`"
    with pytest.raises(UsageError):
        Design.from_recipe(json.loads(path.read_text()))
    assert "noisy_task" not in sys.modules
    assert not trace.exists()
    assert Design.load(path, TOY).task is TOY
    assert not trace.exists()
    find_task("noisy_task:Toy")  # it would have been seen
    assert trace.exists()
    del sys.modules["noisy_task"]


# several


def test_a_portfolio_is_written_with_meshes_and_recipes(tmp_path: Path) -> None:
    designs = Portfolio(design_of(seed=seed) for seed in range(2))
    paths = designs.export(tmp_path / "new" / "folder", kind="obj")
    assert [path.name for path in paths] == ["toy-1.obj", "toy-2.obj"]
    assert all(path.stat().st_size > 1000 for path in paths)
    again = [Design.load(path.with_suffix(".json"), TOY) for path in paths]
    assert [each.score for each in again] == [each.score for each in designs]


def test_a_sheet_has_a_picture_of_each_step_and_is_written(tmp_path: Path) -> None:
    from PIL import Image

    sheet = design_of().sheet(tmp_path / "steps.png")
    with Image.open(tmp_path / "steps.png") as seen:
        assert seen.size == sheet.size
    alone = Portfolio([design_of()]).sheet(columns=4)
    assert sheet.width > 2 * alone.width


def test_a_mesh_cannot_be_written_where_there_is_no_folder_or_kind(tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "toy.stl", tmp_path / "toy.step"):
        with pytest.raises(UsageError):
            design_of().export(path)
    with pytest.raises(UsageError):
        design_of().save(tmp_path / "none" / "toy.json")
