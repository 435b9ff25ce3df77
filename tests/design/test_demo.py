"""The demo: designs of a run for any wish, what its policy makes of one, and a recipe that is built again."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

pytest.importorskip("mujoco")
pytest.importorskip("stable_baselines3")

from tenfold.core.config import CrewSettings
from tenfold.core.errors import UsageError
from tenfold.core.rl_training import Training, resume_learner
from tenfold.core.run import Run
from tenfold.design import train as training_module
from tenfold.design.archive import Archive
from tenfold.design.config import Config, DemoOptions, JudgeSettings, PolicySettings
from tenfold.design.demo import DesignDemo, load
from tenfold.design.designer import APART, finalists, most_likely_steps, seeds_of, untrained
from tenfold.design.evaluate import load_run
from tenfold.design.recipe import Design, Portfolio
from tenfold.design.tasks import find_task

from ..command import tenfold
from .toy import Toy

TOY, LUCKY = "tests.design.toy:Toy", "tests.design.test_trainings:Lucky"
SMALL = Config(
    tasks=(TOY, LUCKY),
    methods=("random", "ppo"),
    calls=48,
    replicas=2,
    evaluations=1,
    wants=("size_ml=70",),
    crew=CrewSettings(workers=1),
    policy=PolicySettings(designs=8, batch_size=24, n_epochs=2, hidden=(8, 8), elites=2),
    judge=JudgeSettings(finalists=2, tests=1, held_out=2, resamples=100),
)


def learned(config: Config, folder: Path) -> Path:
    run = Run.create(folder, verb="design", preset="custom", config=config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_module, "draw_pictures", lambda *_: None)
        run.finish(training_module.train(config, run))
    return run.path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learned(SMALL, tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def demo(folder: Path) -> DesignDemo:
    return load(folder)


def found(demo: DesignDemo, options: DemoOptions) -> Portfolio:
    """The designs alone, as drawing them takes time."""
    return demo._designs(options)


def rows_of(shown: dict[str, Any], name: str) -> dict[str, str]:
    return {row[0]: row[1] for row in shown[name].rows}


# by archive


@pytest.mark.parametrize("kind", ["stl", "obj", "glb"])
def test_what_is_shown_belongs_to_the_best_design(kind: Any, demo: DesignDemo) -> None:
    options = DemoOptions(goals=("low=6",), count=2, kind=kind)
    shown = demo(options)
    assert set(shown) == {output.name for output in demo.outputs}
    best = found(demo, options)[0]
    assert isinstance(shown["designs"], Image.Image)
    assert isinstance(shown["steps"], Image.Image)
    assert shown["recipe"].rows == tuple((str(number), words) for number, words in enumerate(best.words, 1))
    scores = rows_of(shown, "scores")
    assert scores["score"] == f"{best.score:.3f}"
    assert list(scores)[:3] == ["score", "large", "low"]
    assert scores["watertight"] == "yes"
    assert float(scores["volume ml"]) == pytest.approx(best.verdict.facts["size_ml"], rel=0.05)
    files = shown["mesh"].made
    assert set(files) == {f"toy.{kind}", "toy.json"}
    mesh: Any = trimesh.load(io.BytesIO(files[f"toy.{kind}"]), file_type=kind, force="mesh")
    assert np.sort(mesh.extents) == pytest.approx(np.sort(np.array(best.report().box_mm)), rel=0.01)
    recipe = json.loads(files["toy.json"])
    assert recipe["words"] == best.words
    assert np.array_equal(Design.from_recipe(recipe, Toy()).steps, best.steps)
    assert recipe["goals"] == {"large": 1.0, "low": 6.0, "size_ml": 70.0}


def test_the_best_of_all_that_the_run_has_tested_come_best_first(demo: DesignDemo, folder: Path) -> None:
    """Whichever method and replica found them; their tests are new and the same for all."""
    _, states = load_run(folder)
    archives = [Archive.from_state(Toy(), state["archive"]) for each, state in states.items() if each.env == TOY]
    assert len(archives) == 4
    wish = Toy().wish({"large": 5, "size_ml": 70})
    best = found(demo, DemoOptions(goals=("large=5",), count=3))
    scores = [design.score for design in best]
    assert scores == sorted(scores, reverse=True)
    seeds = seeds_of(SMALL.seed, "demo", count=3)
    tops = [finalists(archive, wish, 3, seeds=seeds, spare=1)[0].score for archive in archives]
    assert scores[0] == max(tops)
    assert all(design.wish == wish for design in best)
    assert all(design.retested(seeds).verdict == design.verdict for design in best)


@pytest.mark.parametrize("count", [1, 5, 24])
def test_so_many_designs_come_as_were_asked_for(count: int, demo: DesignDemo) -> None:
    best = found(demo, DemoOptions(count=count))
    assert len(best) == count
    assert len({design.steps.tobytes() for design in best}) == count


def test_designs_of_one_training_are_not_alike(tmp_path: Path) -> None:
    config = replace(SMALL, tasks=(TOY,), methods=("random",), replicas=1)
    best = found(load(learned(config, tmp_path)), DemoOptions(count=6))
    apart = [np.sqrt(((a.steps - b.steps) ** 2).mean()) for n, a in enumerate(best) for b in best[:n]]
    assert min(apart) >= APART


def test_another_wish_gives_other_designs(demo: DesignDemo) -> None:
    large, low = (found(demo, DemoOptions(goals=goals, count=1))[0] for goals in (("low=0",), ("large=0",)))
    assert large.verdict.scores["large"] >= low.verdict.scores["large"]
    assert low.verdict.scores["low"] > large.verdict.scores["low"]


def test_a_task_is_chosen_by_its_name(demo: DesignDemo) -> None:
    assert found(demo, DemoOptions())[0].task.name == "Toy"
    assert found(demo, DemoOptions(task=LUCKY, count=2))[0].task.name == "Lucky"


# by policy


@pytest.mark.parametrize("replica", [0, 1])
def test_a_policy_makes_one_design_at_once(replica: int, demo: DesignDemo, folder: Path) -> None:
    (design,) = found(demo, DemoOptions(by="policy", goals=("low=3",), replica=replica, count=5))
    wish = Toy().wish({"low": 3, "size_ml": 70})
    _, states = load_run(folder)
    model = untrained(Toy(), SMALL.policy)
    resume_learner(model, states[Training(TOY, "ppo", replica)]["model"])
    assert np.array_equal(design.steps, most_likely_steps(model, Toy(), wish))
    assert design.wish == wish
    assert design.replay().verdict == design.verdict
    again = found(demo, DemoOptions(by="policy", goals=("low=3",), replica=replica))[0]
    assert again.recipe() == design.recipe()
    other = found(demo, DemoOptions(by="policy", goals=("low=3",), replica=1 - replica))[0]
    assert not np.array_equal(other.steps, design.steps)


# a recipe


@pytest.mark.parametrize("place", [0, 1])
def test_a_recipe_is_built_and_tested_again(place: int, demo: DesignDemo, tmp_path: Path) -> None:
    name = (TOY, LUCKY)[place]
    design = Design.tested(find_task(name), np.full((3, 3), 0.3), find_task(name).wish({"low": 5}), [11])
    design.save(tmp_path / "mine.json")
    (again,) = found(demo, DemoOptions(task=name, recipe=tmp_path / "mine.json", goals=("large=9",), count=7))
    assert again.recipe() == design.recipe()


def test_a_recipe_of_a_task_that_comes_along_needs_no_run_of_it(tmp_path: Path) -> None:
    config = replace(SMALL, tasks=("Cup",), methods=("random",), replicas=1, calls=2, wants=())
    demo = load(learned(config, tmp_path))
    stool = find_task("Stool")
    design = Design.tested(stool, np.full((stool.space.steps, stool.space.width), 0.1), stool.wish(), [3])
    design.save(tmp_path / "stool.json")
    (again,) = found(demo, DemoOptions(recipe=tmp_path / "stool.json"))
    assert (again.task.name, again.score) == ("Stool", design.score)


def test_a_recipe_of_another_task_is_not_taken_for_the_runs(demo: DesignDemo, tmp_path: Path) -> None:
    task = find_task(LUCKY)
    recipe = Design.tested(task, np.full((3, 3), 0.3), task.wish(), [11]).recipe()
    del recipe["goals"]["spare"]
    (tmp_path / "lucky.json").write_text(json.dumps(recipe))
    with pytest.raises(UsageError, match="is for the task"):
        found(demo, DemoOptions(recipe=tmp_path / "lucky.json"))


def test_a_recipe_that_is_written_comes_back_with_its_score(demo: DesignDemo, tmp_path: Path) -> None:
    recipe = json.loads(demo(DemoOptions(task=LUCKY, count=1))["mesh"].made["lucky.json"])
    (tmp_path / "lucky.json").write_text(json.dumps(recipe))
    (again,) = found(demo, DemoOptions(task=LUCKY, recipe=tmp_path / "lucky.json"))
    assert again.score == recipe["score"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1, "task": "Cup"}', '{"format": 99}'])
def test_a_damaged_recipe_is_refused(text: str, demo: DesignDemo, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(UsageError, match=r"bad\.json (is not a recipe|has no)"):
        found(demo, DemoOptions(recipe=tmp_path / "bad.json"))


def test_a_recipe_that_is_not_there_is_refused(demo: DesignDemo, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\.json is not a recipe of a design"):
        found(demo, DemoOptions(recipe=tmp_path / "nothing.json"))


# what it does not take


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (DemoOptions(task="Cup"), f"task is 'Cup', but the run has {TOY}, {LUCKY}"),
        (DemoOptions(goals=("soft=1",)), "goals has 'soft', but Toy has large, low, size_ml"),
        (DemoOptions(goals=("low=-1",)), "the weight of low is -1, but must be at least 0"),
        (DemoOptions(goals=("low=nan",)), "low is nan, but must be a number"),
        (DemoOptions(goals=("low=0", "large=0")), "all goals of Toy have the weight 0, but one must have more"),
        (
            DemoOptions(goals=("low=2", "size_ml=80")),
            "goals has size_ml, but the run was trained for what it wants: train one with --wants",
        ),
        (
            DemoOptions(by="policy", replica=2),
            "by is policy and replica is 2, but the run has 2 trainings of each of random, ppo",
        ),
    ],
)
def test_what_the_run_has_not_is_named(options: DemoOptions, sentence: str, demo: DesignDemo) -> None:
    with pytest.raises(UsageError) as refused:
        demo(options)
    assert str(refused.value) == sentence


def test_a_run_without_a_policy_has_designs_all_the_same(tmp_path: Path) -> None:
    demo = load(learned(replace(SMALL, tasks=(TOY,), methods=("climbing",), replicas=1), tmp_path))
    assert len(found(demo, DemoOptions(count=2))) == 2
    with pytest.raises(UsageError, match="by is policy and replica is 0, but the run has 1 trainings of each of climb"):
        demo(DemoOptions(by="policy"))


def test_a_run_that_has_found_nothing_has_no_demo(tmp_path: Path) -> None:
    run = Run.create(tmp_path, verb="design", preset="custom", config=SMALL)
    with pytest.raises(UsageError, match="has no trained network yet; its status is running"):
        load(run.path)


# the command


@pytest.mark.slow
def test_the_command_writes_files_and_prints_tables(folder: Path, tmp_path: Path) -> None:
    ended = tenfold("demo", folder, "--goals", "low=3", "--count", 2, "--kind", "glb", "--out", tmp_path / "out")
    assert ended.returncode == 0, ended.stderr
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {"designs.png", "steps.png", "toy.glb", "toy.json"}
    for name in ("designs", "steps"):
        with Image.open(out / f"{name}.png") as picture:
            assert picture.size[0] > 100
        assert f"{name}: {out / name}.png" in ended.stdout
    for name in ("toy.glb", "toy.json"):
        assert f"mesh: {out / name}" in ended.stdout
    assert not trimesh.load(out / "toy.glb", force="mesh").is_empty
    words = json.loads((out / "toy.json").read_text())["words"]
    for text in ("what is done", words[0].split()[0], "value", "watertight", "printable"):
        assert text in ended.stdout
    refused = tenfold("demo", folder, "--goals", "soft=3", "--out", tmp_path / "none")
    assert refused.returncode != 0
    assert "goals has 'soft', but Toy has large, low, size_ml" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "none").exists()
