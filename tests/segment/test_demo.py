from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from tenfold import commands
from tenfold.core.demo import Pictures
from tenfold.core.errors import UsageError
from tenfold.segment.config import DemoOptions
from tenfold.segment.demo import LARGEST, SegmentDemo, load

from ..core.filmed import animation, video
from .pictures import CLASSES, street, tiny

RANDOM = np.random.RandomState(0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two networks; nobody may change it."""
    root = tmp_path_factory.mktemp("run")
    config = replace(tiny(root / "data"), networks=("c3net", "depthwise"))
    return commands.train("segment", replace(config, train=replace(config.train, epochs=1)), root=root)


@pytest.fixture(scope="module")
def demo(run: Path) -> SegmentDemo:
    return load(run)


def made(demo: SegmentDemo, *images: Path, **options: object) -> dict[str, Image.Image]:
    """All that the demo makes, by name, which must be as much as it says."""
    pictures = demo(DemoOptions(images=images, **options))["pictures"]  # type: ignore[arg-type]
    assert isinstance(pictures, Pictures)
    found = list(pictures.made)
    assert pictures.count == len(found)
    assert len({name for name, _ in found}) == len(found), "one overwrites another"
    return dict(found)


def photo(file: Path, *, size: tuple[int, int] = (96, 64), mode: str = "RGB") -> Path:
    pixels, _ = street(RANDOM, size[1], size[0])
    Image.fromarray(pixels).convert(mode).save(file)
    return file


def deep(file: Path) -> Path:
    Image.fromarray(RANDOM.randint(0, 65536, (40, 50)).astype(np.uint16)).save(file)
    return file


PHOTOS: dict[str, tuple[Callable[[Path], Path], tuple[int, int]]] = {
    "colour.jpg": (photo, (96, 64)),
    "grey.png": (lambda file: photo(file, mode="L"), (96, 64)),
    "clear.png": (lambda file: photo(file, mode="RGBA"), (96, 64)),
    "palette.gif": (lambda file: photo(file, mode="P"), (96, 64)),
    "print.jpg": (lambda file: photo(file, mode="CMYK"), (96, 64)),
    "bit.png": (lambda file: photo(file, mode="1"), (96, 64)),
    "deep.png": (deep, (50, 40)),
    "dot.png": (lambda file: photo_of(file, (1, 1)), (1, 1)),
    "pole.png": (lambda file: photo_of(file, (3, 5000)), (1, LARGEST)),
    "wall.png": (lambda file: photo_of(file, (5000, 3)), (LARGEST, 1)),
    "large.png": (lambda file: photo_of(file, (4096, 1024)), (LARGEST, 512)),
}


def photo_of(file: Path, size: tuple[int, int]) -> Path:
    Image.linear_gradient("L").resize(size).save(file)
    return file


@pytest.mark.parametrize("name", PHOTOS)
def test_any_picture_gets_a_mask_and_an_overlay(demo: SegmentDemo, tmp_path: Path, name: str) -> None:
    write, size = PHOTOS[name]
    stem = Path(name).stem
    found = made(demo, write(tmp_path / name))
    assert list(found) == [f"overlay/{stem}.jpg", f"mask/{stem}.png"]
    overlay, mask = found.values()
    assert (overlay.mode, overlay.size) == ("RGB", size)
    assert (mask.mode, mask.size) == ("P", size)
    assert np.asarray(mask).max() < len(CLASSES)


@pytest.mark.parametrize("network", ["c3net", "depthwise", None])
def test_labels_are_those_of_the_network_itself(demo: SegmentDemo, tmp_path: Path, network: str | None) -> None:
    file = photo(tmp_path / "same.png", size=(48, 32))  # the size of the training pictures
    mask = np.asarray(made(demo, file, network=network)["mask/same.png"])
    pixels = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)[None].float() / 255
    task = demo.trained.task
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (task.mean, task.std))
    with torch.no_grad():
        logits = demo.trained.networks[network or "c3net"]((pixels - mean) / std)
    # the demo's network is fused, which changes the last bits
    best, second = logits.topk(2, dim=1).values.unbind(1)
    sure = (best - second > 1e-3)[0].numpy()
    assert sure.mean() > 0.9
    assert np.array_equal(mask[sure], logits.argmax(1)[0].numpy()[sure])


def test_other_sizes_are_seen_at_the_size_of_the_training_pictures(demo: SegmentDemo, tmp_path: Path) -> None:
    file = photo(tmp_path / "wide.png", size=(192, 64))
    mask = np.asarray(made(demo, file)["mask/wide.png"])
    task = demo.trained.task
    small = Image.open(file).resize((48, 16), Image.Resampling.BILINEAR)  # fits into 48 x 32
    pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None]
    with torch.no_grad():
        logits = F.interpolate(demo.trained.networks["c3net"](task.normalized(pixels)), (64, 192), mode="bilinear")
    assert (mask == logits.argmax(1)[0].numpy()).mean() > 0.99


def test_overlays_are_in_the_colours_of_the_masks(demo: SegmentDemo, tmp_path: Path) -> None:
    file = photo(tmp_path / "a.png")
    opaque = made(demo, file, opacity=1.0)
    assert np.array_equal(np.asarray(opaque["overlay/a.jpg"]), np.asarray(opaque["mask/a.png"].convert("RGB")))
    plain = made(demo, file, opacity=0.0)
    assert np.array_equal(np.asarray(plain["overlay/a.jpg"]), np.asarray(Image.open(file)))


def test_a_folder_is_searched_and_equal_names_are_numbered(demo: SegmentDemo, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    photo(tmp_path / "a.png", size=(10, 10))
    photo(tmp_path / "a.jpg", size=(20, 10))
    photo(tmp_path / "deep" / "a.png", size=(30, 10))
    photo(tmp_path / "b.png", size=(40, 10))
    (tmp_path / "notes.txt").write_text("no picture")
    found = made(demo, tmp_path)
    masks = {name: picture.size[0] for name, picture in found.items() if name.startswith("mask/")}
    assert masks == {"mask/a.png": 20, "mask/a~2.png": 10, "mask/b.png": 40, "mask/a~3.png": 30}


def test_numbered_names_do_not_meet_names_that_look_numbered(demo: SegmentDemo, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("a.png", "a~2.png", "deep/a.png"):
        photo(tmp_path / name, size=(10, 10))
    assert len(made(demo, tmp_path)) == 6


def test_frames_do_not_meet_pictures_of_their_names(demo: SegmentDemo, tmp_path: Path) -> None:
    animation(tmp_path / "a.gif")
    photo(tmp_path / "a-00002.png", size=(10, 10))
    assert len(made(demo, tmp_path)) == 8


@pytest.mark.parametrize("ending", ["gif", "webp", "png"])
def test_every_frame_of_an_animation_is_segmented(demo: SegmentDemo, tmp_path: Path, ending: str) -> None:
    found = made(demo, animation(tmp_path / f"moving.{ending}"))
    assert [name for name in found if name.startswith("mask/")] == [
        f"mask/moving-0000{number}.png" for number in (1, 2, 3)
    ]
    assert all(picture.size == (8, 6) for picture in found.values())


@pytest.mark.parametrize("count", [1, 4])
def test_every_frame_of_a_video_is_segmented(demo: SegmentDemo, tmp_path: Path, count: int) -> None:
    found = made(demo, video(tmp_path / "film.mp4", count=count))
    numbers = range(1, count + 1)
    assert [name for name in found if name.startswith("overlay/")] == [f"overlay/film-{n:05d}.jpg" for n in numbers]
    assert all(picture.size == (64, 48) for picture in found.values())


def test_pictures_are_made_while_they_are_taken(demo: SegmentDemo, tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    whole = photo(tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    pictures = demo(DemoOptions(images=(tmp_path,)))["pictures"]
    assert [next(pictures.made)[0] for _ in range(2)] == ["overlay/a.jpg", "mask/a.png"]
    with pytest.raises(UsageError, match=r"b\.png cannot be read as a picture"):
        next(pictures.made)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("gone.png", None, "does not exist, but must be a picture"),
        ("letter.png", b"dear reader", "is not a picture in a format"),
        ("nothing.jpg", b"", "is not a picture in a format"),
        ("letter.mp4", b"dear reader", "cannot be read as a video"),
    ],
)
def test_what_cannot_be_read_is_named_before_the_work(
    demo: SegmentDemo, tmp_path: Path, name: str, data: bytes | None, words: str
) -> None:
    if name.endswith("mp4"):
        pytest.importorskip("av")
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UsageError, match=rf"{name} {words}"):
        demo(DemoOptions(images=(photo(tmp_path / "a.png"), tmp_path / name)))


def test_what_is_not_there_is_named(demo: SegmentDemo, run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no picture in \S+; looked for"):
        demo(DemoOptions(images=(tmp_path,)))
    with pytest.raises(UsageError, match=r"network is 'espnet', but the run has c3net, depthwise$"):
        demo(DemoOptions(images=(photo(tmp_path / "a.png"),), network="espnet"))
    with pytest.raises(UsageError, match="is not a run folder"):
        load(run / "samples")


def test_the_network_stays_as_it_was(demo: SegmentDemo, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in demo.trained.networks["c3net"].state_dict().items()}
    made(demo, photo(tmp_path / "a.png"))
    after = demo.trained.networks["c3net"].state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
