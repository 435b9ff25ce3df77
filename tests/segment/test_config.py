from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tenfold.core.config import MaskedDataConfig, from_dict, to_dict
from tenfold.core.errors import UsageError
from tenfold.segment.config import PRESETS, Config, DemoOptions, EvalOptions, NetSettings, TrainSettings


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: NetSettings(rates=()), r"net\.rates is \(\), but must be one or more, each at least 1"),
        (lambda: NetSettings(rates=(2, 0)), r"net\.rates is \(2, 0\)"),
        (lambda: NetSettings(depths=(2,)), r"net\.depths is \(2,\), but must be two, each at least 0"),  # type: ignore[arg-type]
        (lambda: NetSettings(depths=(-1, 2)), r"net\.depths is \(-1, 2\)"),
        (lambda: NetSettings(width=0), r"net\.width is 0, but must be at least 1"),
        (lambda: TrainSettings(encoder_epochs=-1), r"train\.encoder_epochs is -1"),
        (lambda: TrainSettings(epochs=0), r"train\.epochs is 0, but must be at least 1"),
        (lambda: TrainSettings(batch_size=1), r"train\.batch_size is 1, but must be at least 2"),
        (lambda: TrainSettings(encoder_batch_size=1), r"train\.encoder_batch_size is 1"),
        (lambda: TrainSettings(learning_rate=0.0), r"train\.learning_rate is 0\.0, but must be above 0"),
        (lambda: TrainSettings(steps_at=(0.5, 1.0)), r"train\.steps_at is .* shares above 0 and below 1"),
        (lambda: TrainSettings(step_factor=1.0), r"train\.step_factor is 1\.0, but must be above 0 and below 1"),
        (lambda: TrainSettings(weight_decay=-1.0), r"train\.weight_decay is -1\.0"),
        (lambda: TrainSettings(norm_decay=-1.0), r"train\.norm_decay is -1\.0"),
        (lambda: TrainSettings(sizes=()), r"train\.sizes is \(\), but must be one or more, each from 0\.1 to 4"),
        (lambda: TrainSettings(sizes=(1.0, 5.0)), r"train\.sizes is"),
        (lambda: TrainSettings(crop=0.5), r"train\.crop is 0\.5, but must be between 0 and 0\.4"),
        (lambda: TrainSettings(save_every=0), r"train\.save_every is 0"),
        (lambda: Config(networks=()), r"networks is \(\), but must be at least one"),
        (lambda: Config(networks=("c3net", "c3net")), r"networks is .* but must be without repetition"),
        (lambda: Config(seed=-1), r"seed is -1, but must be at least 0"),
        (lambda: EvalOptions(batch_size=0), r"batch_size is 0, but must be at least 1"),
        (lambda: DemoOptions(images=(), opacity=1.01), r"opacity is 1\.01, but must be between 0 and 1"),
        (lambda: DemoOptions(images=(), opacity=-0.01), r"opacity is -0\.01"),
        (lambda: DemoOptions(images=(), opacity=float("nan")), r"opacity is nan"),
        (lambda: MaskedDataConfig(height=100), r"data\.width is None, but must be given together with data\.height"),
        (lambda: MaskedDataConfig(height=8, width=100), r"data\.height is 8, but must be none or 16 to 4096 pixels"),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(UsageError, match=f"^{sentence}"):
        make()


def test_settings_at_their_limits_are_taken() -> None:
    assert TrainSettings(encoder_epochs=0, epochs=1, batch_size=2, steps_at=(), crop=0.4, sizes=(0.1, 4.0))
    assert NetSettings(rates=(1,), depths=(0, 0), width=1)
    assert [DemoOptions(images=(), opacity=opacity).opacity for opacity in (0.0, 1.0)] == [0.0, 1.0]


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_trainable_by_name(preset: str) -> None:
    config = PRESETS[preset]
    assert from_dict(Config, to_dict(config)) == config
    # a tuple of two, read from a file, is checked as given
    with pytest.raises(UsageError, match=r"net\.depths is \(1, 2, 3\)"):
        from_dict(Config, to_dict(config) | {"net": {"depths": [1, 2, 3]}})


def test_the_paper_is_as_published() -> None:
    paper = PRESETS["paper"]
    assert (paper.net.rates, paper.net.depths) == ((2, 3, 7, 13), (2, 8))
    assert (paper.data.name, paper.data.height, paper.data.width) == ("cityscapes", 512, 1024)
    train = paper.train
    assert (train.learning_rate, train.step_factor, train.weight_decay) == (1e-3, 0.5, 2e-4)
    assert (train.epochs, train.encoder_epochs) == (300 * len(train.sizes), 300 * len(train.sizes))
    assert train.steps_at == pytest.approx((150 / 300, 250 / 300))
    for other in ("camvid", "voc"):
        assert replace(PRESETS[other], data=paper.data, train=train) == paper
