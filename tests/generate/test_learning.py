"""A whole run: it repeats, goes on where it was stopped, and its pieces are those that the evaluation finds again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tenfold import commands
from tenfold.core.config import ComputeConfig, DataConfig
from tenfold.core.errors import UsageError
from tenfold.core.run import Run
from tenfold.generate.config import (
    Config,
    DemoOptions,
    DensitySettings,
    EvalOptions,
    FitSettings,
    MetricSettings,
    NetSettings,
    RivalSettings,
    TrainSettings,
)
from tenfold.generate.demo import load
from tenfold.generate.learned import load_run, read_latents
from tenfold.generate.stages import image_stages, pairs_of

pytest.importorskip("zuko")

TINY = Config(
    data=DataConfig(name="digits", limit=256),
    net=NetSettings(latent=3, width=4),
    train=TrainSettings(epochs=2, warmup=2, batch_size=64),
    density=DensitySettings(components=3),
    fit=FitSettings(epochs=3),
    rivals=RivalSettings(gmm_components=2, flow_transforms=1, flow_hidden=8),
    metrics=MetricSettings(samples=50, classifier_epochs=1),
)


def trained(config: Config, folder: Path) -> Run:
    return Run.open(commands.train("generate", config, root=folder))


def logged(run: Run) -> list[dict[str, Any]]:
    return [{name: str(value) for name, value in line.items() if name != "time"} for line in run.metrics()]


def test_the_same_seed_gives_the_same_metrics_and_another_does_not(tmp_path: Path) -> None:
    first, again = trained(TINY, tmp_path), trained(TINY, tmp_path)
    assert first.status["metrics"] == again.status["metrics"]
    assert logged(first) == logged(again)
    other = trained(replace(TINY, seed=1), tmp_path).status["metrics"]
    assert all(other[name] != value for name, value in first.status["metrics"].items() if name.endswith("fid"))


class StopError(Exception):
    pass


@pytest.mark.parametrize("wanted", [1, 5, 16, 27, 33])
def test_a_stopped_run_ends_as_the_straight_one(
    wanted: int, straight: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within an epoch, between epochs, between networks, within a fit, after all of them."""
    save, count = Run.save, 0

    def stopping(run: Run, *arguments: Any, **options: Any) -> None:
        nonlocal count
        save(run, *arguments, **options)
        count += 1
        if count == wanted:
            raise StopError

    monkeypatch.setattr(Run, "save", stopping)
    with pytest.raises(StopError):
        trained(STOPPED, tmp_path)
    monkeypatch.setattr(Run, "save", save)
    (folder,) = (tmp_path / "generate").iterdir()
    resumed = Run.open(commands.resume(folder))
    assert resumed.status["metrics"] == straight.status["metrics"]
    assert logged(resumed) == logged(straight)


STOPPED = replace(TINY, train=replace(TINY.train, save_every=3), autoencoders=("incremental", "vae", "rae"))


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(STOPPED, tmp_path_factory.mktemp("straight"))


def test_every_row_is_there(straight: Run) -> None:
    metrics = straight.status["metrics"]
    rows = list(dict.fromkeys(name.split("/")[0] for name in metrics))
    assert rows == [
        "classifier",
        "training pictures",
        *(f"{name} rebuilt" for name in STOPPED.autoencoders),
        "incremental first 1",
        "incremental first 2",
        *(" ".join(pair) for pair in pairs_of(STOPPED)),
    ]
    assert rows[-8:] == [
        *(f"incremental {density}" for density in ("lde", "normal", "gaussian", "gmm", "flow")),
        "vae prior",
        "rae gaussian",
        "rae gmm",
    ]
    assert "vae prior/latent log-likelihood" not in metrics
    assert {path.suffix for path in (straight.path / "samples").iterdir()} == {".png"}
    assert len(list((straight.path / "samples").iterdir())) == 6


def test_an_evaluation_of_some_rows_finds_their_metrics_again(straight: Run) -> None:
    metrics = straight.status["metrics"]
    found = commands.evaluate(straight.path, EvalOptions(rows=("vae prior", "incremental flow")))
    assert {name.split("/")[0] for name in found} == {"vae prior", "incremental flow"}
    assert found == {name: pytest.approx(metrics[name], rel=1e-6) for name in found}
    other = commands.evaluate(straight.path, EvalOptions(rows=("incremental lde",), samples=40, temperature=0.3))
    assert other["incremental lde/fid"] != metrics["incremental lde/fid"]
    assert other["incremental lde/latent log-likelihood"] == metrics["incremental lde/latent log-likelihood"]
    with pytest.raises(UsageError, match="rows has 'plain lde', but the run has classifier, training pictures, "):
        commands.evaluate(straight.path, EvalOptions(rows=("plain lde",)))


def test_latents_are_those_of_the_autoencoder_in_evaluation(straight: Run) -> None:
    from tenfold.generate.learned import load_pictures

    config, learned = load_run(straight.path)
    pictures = load_pictures(config)
    latents = read_latents(config, learned, pictures, torch.device("cpu"))
    images, _ = pictures.held_out.fetch(torch.arange(7))
    expected = learned.autoencoders["incremental"].encoder(images / 127.5 - 1)
    torch.testing.assert_close(latents["incremental"].held_out[:7], expected, rtol=1e-5, atol=1e-5)
    assert set(latents) == {"incremental", "vae", "rae"}
    assert latents["vae"].dim == 3


def test_all_autoencoders_begin_with_the_same_decoder() -> None:
    from tenfold.generate.learned import load_pictures

    stages = image_stages(TINY, load_pictures(TINY).task, torch.device("cpu"))
    decoders = [dict(stage.network.named_parameters()) for stage in stages[1:]]
    first = [weights["encoder.0.weight"] for weights in decoders]
    assert all(torch.equal(first[0], weight) for weight in first)
    plain, incremental = decoders[1], decoders[0]
    assert all(torch.equal(plain[name], incremental[name]) for name in plain)


def test_rows_of_a_file_get_densities_alone(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    angles = random.uniform(0, 2 * np.pi, 600)
    rows = np.stack([np.cos(angles), np.sin(angles)], 1) * 50 + random.normal(size=(600, 2)) + 7
    np.savetxt(tmp_path / "ring.csv", rows, delimiter=",", header="x,y", comments="")
    config = replace(TINY, latents=tmp_path / "ring.csv", fit=FitSettings(epochs=30))
    run = trained(config, tmp_path)
    metrics = run.status["metrics"]
    assert list(metrics) == [f"rows {name}/latent log-likelihood" for name in TINY.densities]
    assert metrics["rows lde/latent log-likelihood"] > metrics["rows gaussian/latent log-likelihood"] + 0.5
    assert commands.evaluate(run.path, EvalOptions()) == pytest.approx(metrics, rel=1e-6)
    drawn = load(run.path)(DemoOptions(count=5))["rows"]
    assert drawn.columns == ("0", "1", "log-density")
    radii = [np.hypot(float(row[0]) - 7, float(row[1]) - 7) for row in drawn.rows]
    assert all(40 < radius < 60 for radius in radii)
    with pytest.raises(UsageError, match="but the run learned rows of numbers: there must be none"):
        load(run.path)(DemoOptions(images=(tmp_path / "ring.csv",)))


def test_a_file_with_too_few_rows_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "few.npy", np.arange(40.0).reshape(20, 2))
    with pytest.raises(UsageError, match="leaves 16 rows to learn from and 4 to test on, but must leave 20 and 1"):
        trained(replace(TINY, latents=tmp_path / "few.npy"), tmp_path)


def test_the_demo_takes_pictures_or_makes_its_own(straight: Run, tmp_path: Path) -> None:
    from PIL import Image

    for number in range(3):
        Image.linear_gradient("L").rotate(90 * number).save(tmp_path / f"{number}.png")
    demo = load(straight.path)
    given = demo(DemoOptions(images=(tmp_path,), count=5, steps=4))
    assert [row[0] for row in given["scores"].rows] == [str(tmp_path / f"{number}.png") for number in range(3)]
    assert all(0 <= float(row[2]) <= 1 for row in given["scores"].rows)
    own = demo(DemoOptions(count=5, steps=4, bend=0))
    assert [row[0] for row in own["scores"].rows] == [f"generated {number}" for number in range(1, 6)]
    assert own["samples"].tobytes() == given["samples"].tobytes()
    again = demo(DemoOptions(count=5, steps=4, bend=0, seed=1))
    assert own["samples"].tobytes() != again["samples"].tobytes()


def test_a_run_without_the_method_has_no_demo(tmp_path: Path) -> None:
    config = replace(TINY, autoencoders=("vae",), train=replace(TINY.train, epochs=1, warmup=0))
    run = trained(config, tmp_path)
    with pytest.raises(UsageError, match="without the density lde, which the demo needs; it has vae prior"):
        load(run.path)


def test_pictures_that_are_not_square_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pictures are 13 pixels wide, but must be such as 8, 16, 24"):
        trained(replace(TINY, data=DataConfig(name="digits", size=13)), tmp_path)


def test_what_is_missing_is_said_before_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    inception = replace(TINY.metrics, features="inception", inception=tmp_path / "inception.pt")
    with pytest.raises(UsageError, match=r"inception\.pt does not exist, but must be a TorchScript file"):
        trained(replace(TINY, metrics=inception), tmp_path)
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(ModuleNotFoundError, match="zuko"):
        trained(TINY, tmp_path)
    for folder in (tmp_path / "generate").iterdir():
        assert not Run.open(folder).metrics()


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    """Batch norm sees all processes' pictures, and densities all rows: the same losses but for rounding."""
    alone = trained(replace(TINY, compute=ComputeConfig(device="cpu")), tmp_path)
    shared = trained(replace(TINY, compute=ComputeConfig(device="cpu", processes=2)), tmp_path)
    assert len(alone.metrics()) == len(shared.metrics())
    for one, two in zip(alone.metrics(), shared.metrics(), strict=True):
        assert (one["step"], one["stage"]) == (two["step"], two["stage"])
        for name in set(one) - {"step", "stage", "time"}:
            assert two[name] == pytest.approx(one[name], rel=0.02, abs=0.02), (one["stage"], name)
