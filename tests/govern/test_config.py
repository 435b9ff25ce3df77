from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tenfold.core.config import ComputeConfig
from tenfold.core.errors import UsageError
from tenfold.govern.config import (
    KINDS,
    PRESETS,
    AuxiliarySettings,
    Config,
    DemoOptions,
    EvalOptions,
    ExploreSettings,
    GoverningSettings,
)

NAN = float("nan")
NOWHERE = ExploreSettings(envs=())


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: AuxiliarySettings(kind="gan"), r"kind is 'gan', but must be one of ac-beta-vae, "),  # type: ignore[arg-type]
        (lambda: AuxiliarySettings(beta=-1), r"beta is -1, but must be at least 0"),
        (lambda: AuxiliarySettings(beta=NAN), r"beta is nan"),
        (lambda: AuxiliarySettings(capacity=-0.1), r"capacity is -0\.1, but must be none or at least 0"),
        (lambda: AuxiliarySettings(capacity_weight=0), r"capacity_weight is 0, but must be above 0"),
        (lambda: AuxiliarySettings(action_scale=0), r"action_scale is 0, but must be above 0"),
        (lambda: AuxiliarySettings(decoder=(64, 0)), r"decoder is \(64, 0\), but must be widths of at least 1"),
        (lambda: AuxiliarySettings(frame_channels=-1), r"frame_channels is -1"),
        (lambda: ExploreSettings(latent=1), r"explore\.latent is 1, but must be at least 2"),
        (lambda: ExploreSettings(steps=0), r"explore\.steps is 0"),
        (lambda: ExploreSettings(scored=19), r"explore\.scored is 19, but must be at least 20"),
        (lambda: ExploreSettings(learning_rate=0), r"explore\.learning_rate is 0, but must be above 0"),
        (lambda: ExploreSettings(models=("vae", "vae")), r"explore\.models is .* but must be without repetition"),
        (lambda: ExploreSettings(models=()), r"explore\.models is \(\), but must be at least one"),
        (lambda: GoverningSettings(values=(1.0,)), r"governing\.values is \(1\.0,\), but must be at least two rising"),
        (lambda: GoverningSettings(values=(1.0, 1.0)), r"governing\.values"),
        (lambda: GoverningSettings(values=(2.0, 1.0)), r"governing\.values"),
        (lambda: GoverningSettings(frames=401), r"governing\.frames is 401, but must be 0 to 400"),
        (lambda: Config(envs=(), explore=NOWHERE), r"envs is \(\), but must be at least one, here or in explore\.envs"),
        (lambda: Config(envs=("tenfold/SmallHeart-v0",)), r"envs is .* but must be without repetition"),
        (lambda: Config(methods=()), r"methods is \(\), but must be at least one, where there are envs"),
        (lambda: Config(methods=("plain", "plain")), r"methods is .* but must be without repetition"),
        (lambda: Config(aux_weight=0.0), r"aux_weight is 0\.0, but must be above 0; plain is without a model"),
        (lambda: Config(latent=-1), r"latent is -1, but must be at least 0"),
        (lambda: Config(envs=("ALE/Pong-v5",)), r"learner\.normalize is True, but must be false for .*convolutions"),
        (lambda: Config(compute=ComputeConfig(processes=2)), r"compute\.processes is 2, but must be 1; crew\.workers"),
        (lambda: Config(compute=ComputeConfig(precision="bf16")), r"compute\.precision is 'bf16', but must be float32"),
        (lambda: Config(seed=-1), r"seed is -1, but must be at least 0"),
        (lambda: EvalOptions(episodes=0), r"episodes is 0, but must be none or at least 1"),
        (lambda: DemoOptions(latents=(0, 1)), r"values is \(3\.0,\), but must be one for each of \(0, 1\)"),
        (lambda: DemoOptions(latents=(0, 0), values=(1, 2)), r"latents is \(0, 0\), but must be without repetition"),
        (lambda: DemoOptions(replica=-1), r"replica is -1, but must be at least 0"),
        (lambda: DemoOptions(steps=0), r"steps is 0, but must be at least 1"),
        (lambda: DemoOptions(frames=65), r"frames is 65, but must be 1 to 64"),
        (lambda: DemoOptions(seed=-1), r"seed is -1"),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(UsageError, match=f"^{sentence}"):
        make()


def test_kinds_say_what_they_are() -> None:
    said = {
        kind: (each.conditional, each.deterministic, each.weight_of_kl)
        for kind in KINDS
        for each in [AuxiliarySettings(kind=kind, beta=7.0)]
    }
    assert said == {
        "ac-beta-vae": (True, False, 7.0),
        "ac-vae": (True, False, 1.0),
        "ac-ae": (True, True, 1.0),
        "beta-vae": (False, False, 7.0),
        "vae": (False, False, 1.0),
    }


@pytest.mark.parametrize("pixels", [True, False])
def test_auto_takes_the_likelihood_that_states_are_of(pixels: bool) -> None:
    assert AuxiliarySettings().likelihood_of(pixels=pixels) == ("bernoulli" if pixels else "gaussian")
    assert AuxiliarySettings(likelihood="gaussian").likelihood_of(pixels=pixels) == "gaussian"


def test_presets_have_what_they_promise() -> None:
    assert set(PRESETS["laptop"].methods) == {"ac-beta-vae", "beta-vae", "plain"}
    assert PRESETS["laptop"].train.replicas == 3
    assert set(PRESETS["laptop"].explore.models) == set(KINDS)
    paper = PRESETS["paper"].explore
    assert (paper.envs, paper.latent, paper.beta, paper.steps) == (("tenfold/Heart-v0",), 10, 6.0, 1_100_000)
    atari = PRESETS["atari"]
    assert (atari.aux_weight, atari.auxiliary.beta, atari.learner.algorithm) == (1e-3, 10.0, "a2c")
    assert len(PRESETS["mujoco"].envs) == 4
    assert replace(PRESETS["mujoco"], envs=("Hopper-v5",)).explore.envs == ()
