"""Tasks by name: those that come along, and a person's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenfold.core.errors import UsageError

from .toy import Toy

pytest.importorskip("mujoco")

from tenfold.design.tasks import HOME, find_task


@pytest.mark.parametrize("name", HOME)
def test_a_task_has_three_names(name: str) -> None:
    for given in (name, f"{name}-v0", f"tenfold/{name}-v0", f"tenfold.design.{HOME[name]}:{name}"):
        assert find_task(given).name == name


def test_a_task_is_found_as_itself() -> None:
    toy = Toy()
    assert find_task(toy) is toy


@pytest.mark.parametrize("name", HOME)
def test_what_a_task_says_of_itself_fits_together(name: str) -> None:
    task = find_task(name)
    names = [goal.name for goal in task.goals] + [want.name for want in task.wants]
    assert len(set(names)) == len(names)
    assert task.light in {"", *(goal.name for goal in task.goals)}
    assert all(goal.weight >= 0 and goal.about for goal in task.goals)
    assert all(want.low <= want.value <= want.high and want.about for want in task.wants)
    wish = task.wish()
    assert wish.weights == {goal.name: goal.weight for goal in task.goals}
    assert wish.wants == {want.name: want.value for want in task.wants}


@pytest.mark.parametrize("name", ["", "cup", "Cup-v1", "tenfold/", "Cup Stool", "tenfold/tenfold/Cup", "Cup-v0-v0"])
def test_names_of_no_task_are_refused(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        find_task(name)
    assert (
        str(refused.value)
        == f"there is no task {name!r}; the tasks are Cup, Stool, Stand, Bridge, or package.module:Class"
    )


def test_a_class_and_an_object_of_a_module_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_tasks.py").write_text("from tests.design.toy import Toy\nmine = Toy()\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert type(find_task("own_tasks:Toy")) is Toy
    assert find_task("own_tasks:mine") is find_task("own_tasks:mine")


@pytest.mark.parametrize("name", ["no_such_module:Task", "tests.design.toy:Nothing", ":Toy", "tests.design.toy:"])
def test_what_cannot_be_imported_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"the task '{name}' cannot be imported: "):
        find_task(name)


@pytest.mark.parametrize("name", ["os:path", "math:pi", "tests.design.toy:ShortProfile"])
def test_what_is_no_task_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"must be a tenfold\.design\.Task"):
        find_task(name)


def test_a_relative_name_is_refused() -> None:
    with pytest.raises(UsageError, match=r"the task '\.toy:Toy'"):
        find_task(".toy:Toy")


def test_a_class_that_cannot_judge_is_refused() -> None:
    with pytest.raises(UsageError, match=r"tenfold\.design\.task:Task"):
        find_task("tenfold.design.task:Task")
