"""The tasks of a sequence: which sets, which classes, and how they are made alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from tenfold.core.config import DataConfig
from tenfold.core.data import load_images
from tenfold.core.errors import UsageError
from tenfold.remember.config import (
    METHODS,
    PRESETS,
    Config,
    IndexSettings,
    RivalSettings,
    SequenceSettings,
    StackSettings,
    TrainSettings,
)
from tenfold.remember.sequence import AllTasks, Wanted, load_sequence, task_of
from tenfold.remember.stacknet import StackNet


@pytest.mark.parametrize(
    ("text", "name", "of_set", "classes", "root"),
    [
        ("mnist", "mnist", "mnist", None, None),
        ("cifar100:20-29", "cifar100:20-29", "cifar100", range(20, 30), None),
        ("folder@/data/cats", "folder", "folder", None, Path("/data/cats")),
        ("folder:0-4@/data/a:b", "folder:0-4", "folder", range(5), Path("/data/a:b")),
        ("hf:someone/pictures:3-3", "hf:someone/pictures:3-3", "hf:someone/pictures", range(3, 4), None),
        ("hf:someone/pictures", "hf:someone/pictures", "hf:someone/pictures", None, None),
    ],
)
def test_a_task_is_named_in_one_word(
    text: str, name: str, of_set: str, classes: range | None, root: Path | None
) -> None:
    assert Wanted.of(text) == Wanted(name, of_set, classes, root)


@pytest.mark.parametrize("text", ["", "cifar10:4", "cifar10:5-3", "cifar10:a-b", "@/data", ":0-4"])
def test_what_names_no_task_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="names no task"):
        Wanted.of(text)


def test_classes_of_a_set_become_a_task_of_their_own() -> None:
    (tops,) = load_sequence(SequenceSettings(tasks=("garments:5-9",)), "test")
    whole = load_images(DataConfig(name="garments"), "test")
    assert tops.classes == whole.classes[5:]
    assert len(tops) == int((whole.targets >= 5).sum())
    images, targets = tops.fetch(torch.tensor([0, 17, 99]))
    rows = (whole.targets >= 5).nonzero()[:, 0][torch.tensor([0, 17, 99])]
    wanted, labels = whole.fetch(rows)
    assert torch.equal(images, wanted)
    assert torch.equal(targets, labels - 5)
    assert torch.equal(tops.targets[torch.tensor([0, 17, 99])], targets)


def test_sets_are_made_alike_in_size_and_channels(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label in ("red", "blue"):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for number in range(3):
                Image.new("RGB", (20, 20), label).save(folder / f"{number}.png")
    tasks = load_sequence(SequenceSettings(tasks=("digits", "garments"), limit=20), "train")
    assert [tuple(task.fetch(torch.tensor([0, 1]))[0].shape) for task in tasks] == [(2, 1, 28, 28)] * 2
    settings = SequenceSettings(tasks=("digits", f"folder@{tmp_path}"), size=16)
    tasks = load_sequence(settings, "train")
    assert [tuple(task.fetch(torch.tensor([0, 1]))[0].shape) for task in tasks] == [(2, 3, 16, 16)] * 2
    assert tasks[1].classes == ("blue", "red")
    grey = tasks[0].fetch(torch.tensor([4]))[0][0]
    assert torch.equal(grey[0], grey[1])
    # every set is normalised alike: with numbers of its own a set would give its task away
    assert {task_of(task).mean for task in tasks} == {(0.5, 0.5, 0.5)}
    assert {task_of(task).std for task in tasks} == {(0.5, 0.5, 0.5)}


def test_a_limit_is_even_over_the_tasks_own_classes() -> None:
    (tops,) = load_sequence(SequenceSettings(tasks=("garments:5-9",), limit=50), "train")
    assert torch.bincount(tops.targets).tolist() == [10] * 5
    images, targets = tops.fetch(torch.arange(50))
    assert torch.equal(targets, tops.targets)
    assert len(images) == 50


def test_a_holdout_is_apart_from_what_is_trained_on() -> None:
    settings = SequenceSettings(tasks=("digits:0-4",), holdout=0.2)
    (train,), (validation,) = load_sequence(settings, "train"), load_sequence(settings, "validation")
    seen = {bytes(image.numpy()) for image in train.fetch(torch.arange(len(train)))[0]}
    held = [bytes(image.numpy()) for image in validation.fetch(torch.arange(len(validation)))[0]]
    assert len(validation) > 100
    assert not [image for image in held if image in seen]


def test_classes_that_a_set_does_not_have_are_named() -> None:
    with pytest.raises(UsageError, match="garments:8-12 asks for class 12, but garments has classes 0 to 9"):
        load_sequence(SequenceSettings(tasks=("garments:8-12",)), "train")


def test_all_tasks_together_are_every_picture_once() -> None:
    tasks = load_sequence(SequenceSettings(tasks=("digits:0-4", "digits:5-9")), "train")
    both = AllTasks(tasks)
    assert len(both) == len(tasks[0]) + len(tasks[1])
    rows = torch.tensor([0, len(tasks[0]), 3, len(both) - 1])
    images, targets = both.fetch(rows)
    for place, (task, row) in enumerate([(0, 0), (1, 0), (0, 3), (1, len(tasks[1]) - 1)]):
        wanted, label = tasks[task].fetch(torch.tensor([row]))
        assert torch.equal(images[place], wanted[0])
        assert int(targets[place]) == task * AllTasks.STRIDE + int(label)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: SequenceSettings(tasks=()), "at least one set"),
        (lambda: SequenceSettings(tasks=("a", "a")), "without repetition"),
        (lambda: StackSettings(shares=(0.5, 0.0)), "stack.shares is .*all above 0"),
        (lambda: Config(stack=StackSettings(shares=(0.5, 0.5))), "stack.shares is .*3: one a task"),
        (lambda: RivalSettings(packnet_shares=(0.5, 0.0)), "rivals.packnet_shares is .*all above 0"),
        (lambda: Config(rivals=RivalSettings(packnet_shares=(1.0,))), "rivals.packnet_shares is .*3: one a task"),
        (lambda: IndexSettings(reject=0.7), "index.reject is 0.7"),
        (lambda: RivalSettings(lwf_temperature=0), "rivals.lwf_temperature is 0"),
        (lambda: RivalSettings(packnet_retrain=1.0), "rivals.packnet_retrain is 1.0"),
        (lambda: TrainSettings(batch_size=1), "train.batch_size is 1"),
        (lambda: Config(methods=()), "at least one"),
    ],
)
def test_settings_out_of_range_are_refused(make: object, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_a_budget_of_numbers_is_the_networks(count: int) -> None:
    """Two layers of a network so wide that rounding does not matter: all slices together hold the weights between them."""
    tasks = SequenceSettings(tasks=tuple(f"cifar100:{number}-{number}" for number in range(count)))
    config = Config(sequence=tasks, stack=StackSettings(budget="numbers"))
    first, *others = config.shares
    assert all(first == pytest.approx(1.2 * share) for share in others)
    net = StackNet(nn.Sequential(nn.Linear(1, 2000), nn.Linear(2000, 2000, bias=False), nn.Linear(2000, 1)), first=1.0)
    for number, share in enumerate(config.shares):
        net.add_task(str(number), num_classes=1, grow=share)
    own = sum(part.get_submodule("1").weight.numel() for part in net.slices)
    assert own == pytest.approx(2000**2, rel=0.01)
    assert config.packnet_shares == (1 / count,) * count
    assert sum(Config(sequence=tasks).shares) == pytest.approx(1)


def test_the_papers_sequences_stand_ready() -> None:
    assert PRESETS["paper"].sequence.tasks == ("mnist", "svhn", "cifar10")
    assert PRESETS["paper"].index.kind == "generator"
    assert PRESETS["paper-imagenet"].net.name == "resnet50"
    assert PRESETS["paper"].methods == METHODS
    assert PRESETS["split-cifar100"].shares == (0.1,) * 10
