"""What a person sees of a run: pictures of every kind, meshes that open, recipes that build the same, and a page with all."""

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

from tenfold import commands
from tenfold.core.config import CrewSettings
from tenfold.core.legs import State
from tenfold.core.rl_training import Training
from tenfold.core.run import Run
from tenfold.design import pictures as module
from tenfold.design.config import Config, JudgeSettings, PolicySettings
from tenfold.design.drawing import draw_sheet
from tenfold.design.pictures import curves_picture, dial_picture, draw_pictures, front_picture, wishes_picture
from tenfold.design.recipe import Design
from tenfold.design.tasks import find_task
from tenfold.design.trainings import DIAL, chosen_design, leg, trainings_of, wishes_of

TOY, LUCKY = "tests.design.toy:Toy", "tests.design.test_trainings:Lucky"
PLAIN = {TOY: "tests.design.toy-Toy", LUCKY: "tests.design.test_trainings-Lucky"}
CONFIG = Config(
    tasks=(LUCKY, TOY),
    methods=("ppo", "climbing"),
    calls=16,
    replicas=1,
    evaluations=2,
    policy=PolicySettings(designs=8, batch_size=24, n_epochs=1, hidden=(8, 8), elites=2),
    judge=JudgeSettings(finalists=2, tests=1, held_out=2, resamples=100),
    crew=CrewSettings(workers=1),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all that the command makes of it."""
    return commands.train("design", CONFIG, root=tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def states() -> dict[Training, State]:
    found = {}
    for training in trainings_of(CONFIG):
        state = None
        for _ in range(CONFIG.evaluations):
            state = leg(CONFIG, training, state)
        assert state is not None
        found[training] = state
    return found


class Drawn(list[Any]):
    """The arguments of every sheet, in place of the picture."""

    def __call__(self, *given: Any) -> Image.Image:
        self.append(given)
        return Image.new("RGB", (4, 4))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    sheets = Drawn()
    monkeypatch.setattr(module, "draw_sheet", sheets)
    return sheets


# files


def test_samples_of_every_kind_and_task_are_there(folder: Path) -> None:
    wanted = {"learning curves.png", f"dial of {PLAIN[LUCKY]}.png"}  # the toy has no goal of little material
    for plain in PLAIN.values():
        wanted |= {f"{kind} {plain}.png" for kind in ("front of", "wishes for", "designs of", "steps of")}
        wanted |= {f"best {plain}.{ending}" for ending in ("stl", "glb", "json", "webp")}
    assert {path.name for path in (folder / "samples").iterdir()} == wanted
    for path in (folder / "samples").glob("*.png"):
        with Image.open(path) as picture:
            assert min(picture.size) >= 100
            assert len(np.unique(np.asarray(picture.convert("L")))) > 10, path


def test_the_page_shows_them(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    for path in (folder / "samples").glob("*.png"):
        assert path.stem.replace("_", " ").replace("-", " ") in page
    assert page.count("data:image/png;base64,") >= 10
    for row in ("Toy ppo", "Toy climbing", "Toy ppo - climbing", "Lucky ppo"):
        assert row in page


@pytest.mark.parametrize("task", [TOY, LUCKY])
def test_meshes_open_and_are_the_design_that_was_chosen(task: str, folder: Path) -> None:
    samples, name = folder / "samples", f"best {PLAIN[task]}"
    design = Design.load(samples / f"{name}.json", find_task(task))
    box = np.sort(np.array(design.report().box_mm))
    for ending in ("stl", "glb"):
        mesh: Any = trimesh.load(samples / f"{name}.{ending}", force="mesh")
        assert mesh.is_watertight
        size = mesh.extents * (1 if ending == "stl" else 1000 if mesh.extents.max() < 1 else 1)
        assert np.sort(size) == pytest.approx(box, rel=1e-3)
    state = Run.open(folder).load(name="best")
    assert state is not None
    own = state["trainings"][Training(task, "ppo", 0).file]
    chosen = chosen_design(find_task(task), own, find_task(task).wish(), "own")
    assert np.array_equal(chosen.steps, design.steps)
    kept = json.loads((samples / f"{name}.json").read_text())
    assert kept["words"] == design.words
    metrics = Run.open(folder).status["metrics"]
    assert kept["score"] == pytest.approx(metrics[f"{task} ppo/own wish"], abs=1e-12)


def test_a_kept_recipe_replays_to_its_score(folder: Path) -> None:
    path = folder / "samples" / f"best {PLAIN[LUCKY]}.json"
    assert Design.load(path, find_task(LUCKY)).score == json.loads(path.read_text())["score"]


def test_a_run_without_a_policy_has_all_but_the_dial(
    states: dict[Training, State], drawn: Drawn, tmp_path: Path
) -> None:
    config = replace(CONFIG, tasks=(LUCKY,), methods=("climbing",))
    run = Run.create(tmp_path, verb="design", preset="custom", config=config)
    draw_pictures(run, config, states)
    assert {path.name.split()[0] for path in (run.path / "samples").iterdir()} == {
        "learning",
        "front",
        "wishes",
        "designs",
        "steps",
        "best",
    }


# what is in them


def test_a_row_for_each_method_and_a_column_for_each_wish(states: dict[Training, State], drawn: Drawn) -> None:
    task = find_task(LUCKY)
    wishes_picture(CONFIG, task, LUCKY, states)
    ((surfaces, captions, columns),) = drawn
    assert columns == 4
    begin = [caption.split(":")[0] for caption in captions]
    wanted = ["own weights", "more large", "more low", "more spare"]
    assert begin == [f"{method}, {wish}" for method in ("PPO", "hill climbing") for wish in wanted]
    for number, (name, wish) in enumerate(wishes_of(CONFIG, task).items()):
        design = chosen_design(task, states[Training(LUCKY, "climbing", 0)], wish, name)
        assert np.array_equal(surfaces[4 + number].vertices, design.solid.surface().vertices)
        assert f": {design.score:.3f}: large " in captions[4 + number]


def test_a_dial_shows_a_design_for_each_turn_with_its_mass(states: dict[Training, State], drawn: Drawn) -> None:
    task, state = find_task(LUCKY), states[Training(LUCKY, "ppo", 0)]
    dial_picture(CONFIG, task, state)
    ((surfaces, captions, columns),) = drawn
    assert columns == len(surfaces) == len(DIAL)
    assert captions[0] == f"weight of spare x 0.25: {state['dial'][0]:.0f} g"
    assert captions[-1] == f"weight of spare x 4: {state['dial'][-1]:.0f} g"
    for surface, mass in zip(surfaces, state["dial"], strict=True):
        corners = surface.vertices[surface.faces]
        volume = np.einsum("ni,ni->n", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
        assert 1000 * volume * task.material.density == pytest.approx(mass, rel=0.05)


def test_a_picture_of_curves_and_of_the_front_opens_and_repeats(states: dict[Training, State]) -> None:
    first, again = (
        [curves_picture(CONFIG, states), front_picture(CONFIG, find_task(TOY), TOY, states)] for _ in range(2)
    )
    for data in first:
        with Image.open(io.BytesIO(data)) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 300
    assert again == first


class Plotted:
    """What a front is drawn from, as matplotlib is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from matplotlib.axes import Axes

        self.lines: list[tuple[Any, Any, Any]] = []
        plot = Axes.plot

        def kept(panel: Any, x: Any, y: Any, *given: Any, **options: Any) -> Any:
            self.lines.append((np.asarray(x), np.asarray(y), options.get("label")))
            return plot(panel, x, y, *given, **options)

        monkeypatch.setattr(Axes, "plot", kept)


@pytest.mark.parametrize(("task", "across"), [(TOY, 0), (LUCKY, 2)])
def test_a_front_is_of_little_material_or_the_first_goal_and_the_mean_of_the_others(
    task: str, across: int, states: dict[Training, State], monkeypatch: pytest.MonkeyPatch
) -> None:
    plotted = Plotted(monkeypatch)
    front_picture(CONFIG, find_task(task), task, states)
    every, front = plotted.lines[2:4]
    scores = states[Training(task, "climbing", 0)]["archive"]["scores"].numpy()
    weights = np.array([1.0, 2.0, 0.0][: scores.shape[1]])
    weights[across] = 0
    assert every[0] == pytest.approx(scores[:, across])
    assert every[1] == pytest.approx(scores @ weights / weights.sum())
    assert front[2] == "hill climbing"
    assert (np.diff(front[0]) > 0).all()
    assert (np.diff(front[1]) < 0).all()
    for x, y in zip(every[0], every[1], strict=True):
        assert ((front[0] >= x) & (front[1] >= y)).any()


def test_a_front_where_the_other_goals_count_nothing_weighs_them_equally(
    states: dict[Training, State], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = find_task(LUCKY)
    goals = tuple(replace(goal, weight=0.0 if goal.name != "spare" else 1.0) for goal in task.goals)
    monkeypatch.setattr(type(task), "goals", goals)
    plotted = Plotted(monkeypatch)
    front_picture(CONFIG, task, LUCKY, states)
    scores = states[Training(LUCKY, "ppo", 0)]["archive"]["scores"].numpy()
    assert plotted.lines[0][1] == pytest.approx(scores[:, :2].mean(1))


def test_curves_are_drawn_for_each_task_and_method(
    states: dict[Training, State], monkeypatch: pytest.MonkeyPatch
) -> None:
    plotted = Plotted(monkeypatch)
    curves_picture(CONFIG, states)
    for (x, y, label), training in zip(plotted.lines, trainings_of(CONFIG), strict=True):
        assert label == {"ppo": "PPO", "climbing": "hill climbing"}[training.method]
        assert np.stack([x, y], 1) == pytest.approx(np.array(states[training]["curve"]))


def test_sheets_take_one_design_and_many() -> None:
    surface = find_task(TOY).space.build(np.zeros((3, 3))).surface()
    one, five = draw_sheet([surface], ["one"], 4), draw_sheet([surface] * 5, ["each"] * 5, 4)
    assert five.size[0] > one.size[0]
    assert five.size[1] > one.size[1]
