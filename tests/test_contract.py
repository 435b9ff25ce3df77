"""What every method of the catalog keeps to. A new one fails here until it has a `Promise` below."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import operator
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tenfold import __main__ as program
from tenfold import commands
from tenfold.catalog import METHODS, Method
from tenfold.core.config import explain, from_dict, to_dict
from tenfold.core.demo import Files, Pictures, Rows
from tenfold.core.errors import UsageError

from . import readme
from .command import ROOT

if typing.TYPE_CHECKING:
    from .trained import Trained

pytest_plugins = ["tests.trained"]

HEADINGS = ["Use", "From equations to code", "Metrics", "Results", "Fidelity"]
PARTS = ("config", "train", "evaluate", "demo")
PRESETS = ("smoke", "laptop", "paper")


@dataclass(frozen=True)
class Promise:
    """What a method's smoke run shows, and what its README takes for granted."""

    learned: tuple[tuple[str, Callable[[float, float], bool], float], ...]
    """(final metric, comparison, bound) that only a network which learned keeps"""
    eval_options: dict[str, Any]
    """of an evaluation that finds final metrics again"""
    same: dict[str, str]
    """the first word of a row of the evaluation -> the word that the final metrics have in its place"""
    demo_inputs: Callable[[Path], dict[str, Any]]
    """fields of `DemoOptions`, after writing the files that they name to a folder"""
    prelude: str = ""
    """what a reader of the README is expected to have already"""
    names: dict[str, Any] = field(default_factory=dict)


def a_picture(folder: Path) -> dict[str, Any]:
    Image.linear_gradient("L").resize((20, 30)).save(folder / "slope.png")
    return {"images": (folder / "slope.png",)}


PROMISES = {
    "distill": Promise(
        learned=(
            # ten classes: chance is 0.1
            ("teacher/accuracy", operator.gt, 0.85),
            ("alone/accuracy", operator.gt, 0.6),
            ("features/accuracy", operator.gt, 0.6),
            ("features/relative cost", operator.lt, 0.3),
        ),
        eval_options={"batch_size": 128},
        same={},
        demo_inputs=a_picture,
        prelude="""
import torch
from tenfold.nets import build_net
torch.manual_seed(0)
teacher = build_net("wrn-16-2", classes=10)
student = build_net("resnet-8", classes=10)
images = torch.randn(8, 3, 32, 32)
labels = torch.randint(10, (8,))
""",
    ),
    "generate": Promise(
        learned=(
            ("classifier/accuracy", operator.gt, 0.85),
            # a picture of the mean has 0.075
            ("incremental rebuilt/reconstruction error", operator.lt, 0.045),
            ("plain rebuilt/reconstruction error", operator.lt, 0.045),
            # six latents; their Gaussian has -10.6
            ("incremental lde/latent log-likelihood", operator.gt, -10.2),
            ("incremental lde/fid", operator.lt, 13.0),
            ("incremental lde/precision", operator.gt, 0.5),
        ),
        eval_options={},
        same={},
        demo_inputs=a_picture,
        prelude="""
import torch
from tenfold.generate import Decoder, Encoder
torch.manual_seed(0)
encoder, decoder = Encoder(16, 16, width=4), Decoder(16, 16, width=4)
images = torch.rand(8, 1, 16, 16) * 2 - 1
loader = [(torch.rand(32, 1, 16, 16) * 2 - 1, torch.zeros(32)) for _ in range(4)]
latents = torch.randn(300, 16)
""",
    ),
    "translate": Promise(
        learned=(
            # photographs as they are have 1 and 4.9
            ("sgn/ink", operator.lt, 0.75),
            ("sgn/cypresses", operator.lt, 3.0),
            ("singles/photos", operator.lt, 0.2),
            ("singles/ink", operator.lt, 0.6),
            ("singles/cypresses", operator.lt, 2.5),
        ),
        eval_options={},
        same={},
        demo_inputs=a_picture,
        prelude="""
import torch
from torch import nn
torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1, self.layer3 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)
    def forward(self, x):
        return self.layer3(self.layer1(x).relu())
my_net = Net()
f1 = lambda y, x: (y - x).square().flatten(1).mean(1)
f2 = lambda y, x: (y - 0.5).square().flatten(1).mean(1)
f3 = lambda y, x: y.abs().flatten(1).mean(1)
x = pictures = torch.rand(4, 3, 32, 32) * 2 - 1
paintings = torch.rand(6, 3, 32, 32) * 2 - 1
poster = torch.rand(1, 3, 160, 200) * 2 - 1
shares = torch.tensor([[0.5, 0.3, 0.2]] * 4)
loader = [x, x]
""",
    ),
    "evolve": Promise(
        learned=(
            # a policy that draws its actions at random lasts 22 steps
            ("CartPole-v1 genetic/final return", operator.gt, 60),
            ("CartPole-v1 plain/final return", operator.gt, 60),
            ("CartPole-v1 random/final return", operator.gt, 60),
            ("CartPole-v1 genetic/generations", operator.ge, 1),
        ),
        eval_options={},
        same={},
        demo_inputs=lambda folder: {},
        prelude="""
import numpy as np
obs = np.zeros(3, np.float32)
""",
    ),
    "govern": Promise(
        learned=(
            # a policy that draws its actions at random lasts 22 steps
            ("CartPole-v1 ac-beta-vae/final return", operator.gt, 60),
            ("CartPole-v1 plain/final return", operator.gt, 60),
            ("CartPole-v1 ac-beta-vae/strongest shift", operator.gt, 1.0),
            # a picture of the mean has 480 nats
            ("tenfold-SmallHeart-v0 ac-beta-vae/reconstruction", operator.lt, 440),
            ("tenfold-SmallHeart-v0 beta-vae/reconstruction", operator.lt, 440),
        ),
        eval_options={},
        same={},
        demo_inputs=lambda folder: {},
        prelude="""
import numpy as np
obs = np.zeros((5, 3), np.float32)
from stable_baselines3 import PPO
frozen_agent = PPO("MlpPolicy", "Pendulum-v1", n_steps=64, batch_size=64, seed=0)
""",
    ),
    "design": Promise(
        learned=(
            # random designs have 0.5 in the mean, the best of 384 has 0.8
            ("Cup ppo/score", operator.gt, 0.82),
            ("Cup ppo - random/score", operator.gt, 0.0),
            ("Cup ppo/dial falls", operator.ge, 0.5),
        ),
        eval_options={},
        same={},
        demo_inputs=lambda folder: {},
    ),
    "answer": Promise(
        learned=(
            # three chapters that were not learned from; chance is 0.33
            ("full/all", operator.gt, 0.45),
            ("full - plain/all", operator.gt, 0.03),
            ("full/evidence", operator.gt, 0.75),
        ),
        eval_options={},
        same={},
        demo_inputs=lambda folder: {},
        prelude="""
from dataclasses import replace
from pathlib import Path
from tenfold.answer import Textbook, write_markdown
def short(name):
    (lesson,) = Textbook.embedded().only([name]).lessons
    return Textbook(name, (replace(lesson, questions=lesson.questions[::4]),))
write_markdown(short("03-volcanoes"), Path("schoolbook"))
write_markdown(short("01-layers-of-the-earth").without_answers(), Path("chapters"))
""",
    ),
    "remember": Promise(
        learned=(
            # five classes in each of two tasks: chance is 0.2
            ("stack/known", operator.gt, 0.85),
            ("stack/inferred", operator.gt, 0.75),
            ("stack/forgetting", operator.eq, 0.0),
            ("index/inferred", operator.gt, 0.85),
            ("joint/known", operator.gt, 0.85),
        ),
        eval_options={"batch_size": 256},
        same={},
        demo_inputs=a_picture,
        prelude="""
import torch
from tenfold.nets import build_net
torch.manual_seed(0)
model = build_net("resnet-8", classes=10)
images = torch.randn(8, 3, 32, 32)
loader = [(torch.randn(32, 3, 32, 32), torch.randint(10, (32,))) for _ in range(4)]
garments = [(torch.randn(32, 3, 32, 32) + 2, torch.randint(10, (32,))) for _ in range(4)]
trained = build_net("resnet-8", classes=10).eval()
""",
    ),
    "resize": Promise(
        learned=(
            # ten classes: chance is 0.1
            ("ungated/accuracy", operator.gt, 0.7),
            ("resizable 1.00/accuracy", operator.gt, 0.7),
            ("resizable 0.80/accuracy", operator.gt, 0.6),
            ("resizable/largest cost gap", operator.lt, 0.1),
        ),
        eval_options={"batch_size": 256},
        same={"sample": "resizable"},
        demo_inputs=a_picture,
        prelude="""
import torch
from tenfold.nets import build_net
torch.manual_seed(0)
resnet = build_net("resnet-20", classes=10)
images = torch.randn(8, 3, 32, 32)
labels = torch.randint(10, (8,))
calibration = torch.randn(64, 3, 32, 32)
augmented = calibration.flip(3)
""",
    ),
    "segment": Promise(
        learned=(
            # eleven classes of very different sizes
            ("c3net/pixel accuracy", operator.gt, 0.4),
            ("c3net/mean iou", operator.gt, 0.08),
            ("espnet/mean iou", operator.gt, 0.08),
        ),
        eval_options={"batch_size": 8},
        same={},
        demo_inputs=a_picture,
        prelude="""
import torch
from tenfold.nets import build_net
torch.manual_seed(0)
images = torch.randn(4, 3, 32, 64)
labels = torch.randint(19, (4, 32, 64))
from tenfold.segment.dense import DilatedSegmenter
model = DilatedSegmenter("drn-d-22", 19, width=2)
teacher = DilatedSegmenter("drn-d-22", 19, width=4)
""",
    ),
}

every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.verb)


def dataclasses_of(method: Method) -> Iterator[type]:
    """The settings of a method and all the groups inside them."""
    module = method.load("config")
    waiting = [module.Config, module.EvalOptions, module.DemoOptions]
    while waiting:
        cls = waiting.pop()
        yield cls
        waiting += [hint for hint in typing.get_type_hints(cls).values() if dataclasses.is_dataclass(hint)]


def test_every_method_has_a_promise() -> None:
    assert set(PROMISES) == {method.verb for method in METHODS}


@every_method
def test_a_package_has_the_files_of_its_neighbours(method: Method) -> None:
    folder = ROOT / "tenfold" / method.verb
    assert {f"{name}.py" for name in ("__init__", *PARTS)} | {"README.md"} <= {file.name for file in folder.iterdir()}
    assert f"arXiv:{method.paper.split('arXiv:')[1].split()[0]}" in (folder / "__init__.py").read_text(encoding="utf-8")
    expected = {"train": ["config", "run"], "evaluate": ["folder", "options"], "demo": ["folder"]}
    for part, function in (("train", "train"), ("evaluate", "evaluate"), ("demo", "load")):
        assert list(inspect.signature(getattr(method.load(part), function)).parameters) == expected[part]


@every_method
def test_every_setting_is_explained_in_one_line(method: Method) -> None:
    for cls in dataclasses_of(method):
        texts = explain(cls)
        unexplained = [each.name for each in dataclasses.fields(cls) if not texts.get(each.name)]
        assert not unexplained, cls
        assert not [text for text in texts.values() if text.endswith(".") or len(text) > 200], cls
        assert cls.__dataclass_params__.frozen, cls


@every_method
def test_presets_are_settings_that_survive_their_file(method: Method) -> None:
    module = method.load("config")
    assert list(module.PRESETS)[: len(PRESETS)] == list(PRESETS)
    for config in module.PRESETS.values():
        stored = json.loads(json.dumps(to_dict(config), allow_nan=False))
        assert from_dict(module.Config, stored) == config


@every_method
def test_a_wrong_setting_in_a_file_is_named(method: Method) -> None:
    config = method.load("config").Config
    with pytest.raises(UsageError, match=r"unknown setting compute\.speed"):
        from_dict(config, {"compute": {"speed": 3}})
    with pytest.raises(UsageError, match="seed is 'one'"):
        from_dict(config, {"seed": "one"})


@every_method
def test_the_smoke_run_is_done_and_learned(method: Method, trained: Callable[[str], Trained]) -> None:
    folder = trained(method.verb).folder
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["error"]) == ("done", None)
    metrics = status["metrics"]
    assert all(math.isfinite(value) for value in metrics.values())
    for name, compare, bound in PROMISES[method.verb].learned:
        assert compare(metrics[name], bound), (name, metrics[name])


@every_method
def test_a_smoke_run_leaves_what_a_run_folder_has(method: Method, trained: Callable[[str], Trained]) -> None:
    ended = trained(method.verb)
    names = {path.name for path in ended.folder.iterdir()} - {"tensorboard"}
    files = {"config.json", "env.json", "status.json", "metrics.jsonl", "report.html", "samples", "checkpoints"}
    assert names == files
    assert {path.name for path in (ended.folder / "checkpoints").iterdir()} >= {"last", "best"}
    assert any((ended.folder / "samples").iterdir())
    assert not [path for path in ended.folder.rglob("*") if path.suffix in (".pt", ".pth", ".pkl")]
    assert not list(ended.folder.rglob(".*")), "a temporary file was left"
    assert "Warning" not in ended.progress


@every_method
def test_the_best_checkpoint_gives_the_final_metrics_again(method: Method, trained: Callable[[str], Trained]) -> None:
    folder, promise = trained(method.verb).folder, PROMISES[method.verb]
    final = json.loads((folder / "status.json").read_text())["metrics"]
    found = commands.evaluate(folder, method.load("config").EvalOptions(**promise.eval_options))
    assert len(found) >= 2
    for name, value in found.items():
        first, space, rest = name.partition(" ")
        assert final[f"{promise.same.get(first, first)}{space}{rest}"] == pytest.approx(value, abs=1e-6), name


@every_method
def test_the_demo_gives_what_it_declares(method: Method, trained: Callable[[str], Trained], tmp_path: Path) -> None:
    demo = commands.load_demo(trained(method.verb).folder)
    inputs = PROMISES[method.verb].demo_inputs(tmp_path)
    values = demo(method.load("config").DemoOptions(**inputs))
    assert list(values) == [output.name for output in demo.outputs]
    kinds = {"picture": Image.Image, "pictures": Pictures, "table": Rows, "text": str, "mesh": Files}
    for output in demo.outputs:
        value = values[output.name]
        assert output.about
        assert isinstance(value, kinds[output.kind]), output
        if isinstance(value, Rows):
            assert value.rows
            assert all(len(row) == len(value.columns) for row in value.rows)
            assert all(isinstance(text, str) for row in value.rows for text in row)
        if isinstance(value, Files):
            assert value.made
            assert all(data and name == Path(name).name for name, data in value.made.items())
        if isinstance(value, Pictures):
            made = dict(value.made)
            assert len(made) == value.count > 0
            assert all(isinstance(picture, Image.Image) for picture in made.values())
            assert not [name for name in made if Path(name).is_absolute() or ".." in Path(name).parts]


@every_method
def test_the_readme_has_its_headings(method: Method) -> None:
    text = (ROOT / "tenfold" / method.verb / "README.md").read_text(encoding="utf-8")
    assert [heading for heading in readme.headings(text) if heading in HEADINGS] == HEADINGS
    assert method.paper.split("arXiv:")[1].split()[0] in text


@every_method
def test_the_python_of_the_readme_runs(method: Method, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # what it writes is not for the source tree
    blocks = readme.blocks((ROOT / "tenfold" / method.verb / "README.md").read_text(encoding="utf-8"), "python")
    assert blocks
    namespace: dict[str, Any] = {}
    for number, block in enumerate([PROMISES[method.verb].prelude, *blocks]):
        exec(compile(block, f"python block {number} of the README", "exec"), namespace)


@every_method
def test_the_commands_of_the_readme_are_understood(
    method: Method, trained: Callable[[str], Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "tenfold" / method.verb / "README.md").read_text(encoding="utf-8")
    called = understood(readme.commands(text, "tenfold"), method.verb, trained(method.verb).folder, monkeypatch)
    assert {"train", "evaluate", "load_demo", "report"} <= set(called)
    scripts = [words[0] for words in readme.commands(text, "python") if words and words[0].endswith(".py")]
    assert not [script for script in scripts if not (ROOT / script).is_file()]


def test_the_commands_of_the_first_page_are_understood(
    trained: Callable[[str], Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    verb = "resize"
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    called = understood(readme.commands(text, "tenfold"), verb, trained(verb).folder, monkeypatch)
    assert {"train", "evaluate", "load_demo", "report", "tour"} <= set(called)


def test_the_python_of_the_first_page_runs() -> None:
    blocks = readme.blocks((ROOT / "README.md").read_text(encoding="utf-8"), "python")
    assert blocks
    namespace: dict[str, Any] = {}
    for block in [PROMISES["resize"].prelude, *blocks]:
        exec(compile(block, "README.md", "exec"), namespace)


def understood(lines: list[list[str]], verb: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run command lines up to where the work would begin, and return the names of the calls that they come to."""
    called: list[str] = []

    def note(name: str, value: Any) -> None:
        monkeypatch.setattr(commands, name, lambda *args, **options: called.append(name) or value)

    note("train", folder)
    note("resume", folder)
    note("evaluate", {})
    note("load_demo", lambda options: {})
    note("report", folder / "report.html")
    note("tour", folder / "report.html")
    monkeypatch.setattr(commands, "verb_of", lambda folder: verb)
    monkeypatch.setattr(program, "_print_comparison", lambda folders: None)
    for words in lines:
        # without `main`, which would turn the sentence of a mistake into an exit code
        program._dispatch(words)
    return called
