"""The demo on pictures of all kinds: which files it writes, what it says, what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tenfold import commands
from tenfold.core.demo import Pictures
from tenfold.core.errors import UsageError
from tenfold.translate.config import DemoOptions
from tenfold.translate.demo import TranslateDemo, load, parsed, to_picture
from tenfold.translate.pictures import canonical, described, triangle
from tenfold.translate.task import to_bytes, to_signed

from .test_run import TINY

NAMES = ("photos", "ink", "cypresses")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> TranslateDemo:
    return load(commands.train("translate", TINY, root=tmp_path_factory.mktemp("demo")))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Of odd sides."""
    pixels = np.random.default_rng(0).integers(0, 256, (53, 71, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def written(demo: TranslateDemo, **options: Any) -> dict[str, Image.Image]:
    answer = demo(DemoOptions(**options))
    assert set(answer) == {output.name for output in demo.outputs}
    pictures = answer["pictures"]
    assert isinstance(pictures, Pictures)
    found = dict(pictures.made)
    assert len(found) == pictures.count
    return found


def test_a_mixture_gives_one_picture_of_the_same_size(demo: TranslateDemo, photo: Path) -> None:
    found = written(demo, images=(photo,), mix=("ink=0.3", "photos=0.7"))
    assert list(found) == ["translated/photo.png"]
    picture = found["translated/photo.png"]
    assert picture.size == (71, 53)
    wanted = demo.learned.networks["sgn"](to_picture(Image.open(photo).convert("RGB"), 2048), mix=[0.7, 0.3, 0.0])
    assert np.array_equal(np.asarray(picture), to_bytes(wanted.detach())[0].permute(1, 2, 0).numpy())


def test_other_mixtures_give_other_pictures(demo: TranslateDemo, photo: Path) -> None:
    first = written(demo, images=(photo,), mix=("ink=1",))["translated/photo.png"]
    second = written(demo, images=(photo,), mix=("cypresses=1",))["translated/photo.png"]
    assert not np.array_equal(np.asarray(first), np.asarray(second))


def test_without_a_mixture_every_corner_and_middle_has_a_folder(demo: TranslateDemo, photo: Path) -> None:
    found = written(demo, images=(photo,))
    assert list(found) == [f"{described(mix, NAMES)}/photo.png" for mix in canonical(3)]
    assert [name.split("/")[0] for name in found][:4] == ["photos", "ink", "cypresses", "photos 50% ink 50%"]


def test_a_grid_is_one_sheet_a_picture(demo: TranslateDemo, photo: Path) -> None:
    found = written(demo, images=(photo,), grid=True)
    assert list(found) == ["grid/photo.png"]
    assert found["grid/photo.png"].width > 5 * 71


def test_folders_and_animations_are_walked_through_and_names_kept_apart(demo: TranslateDemo, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (40, 40), (folder == "one" and "red") or "blue").save(tmp_path / folder / "same.png")
    frames = [Image.new("RGB", (36, 36), (60 * number, 0, 0)) for number in range(3)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    found = written(demo, images=(tmp_path / "one", tmp_path / "two", tmp_path / "film.gif"), mix=("photos=1",))
    assert list(found) == [
        "translated/same.png",
        "translated/same~2.png",
        *(f"translated/film-{number:05d}.png" for number in (1, 2, 3)),
    ]


def test_a_large_picture_is_made_smaller_and_passed_in_tiles(demo: TranslateDemo, tmp_path: Path) -> None:
    Image.linear_gradient("L").resize((300, 200)).convert("RGB").save(tmp_path / "large.png")
    found = written(demo, images=(tmp_path / "large.png",), mix=("ink=1",), largest=240, tile=130)
    assert found["translated/large.png"].size == (240, 160)


def test_a_tiny_picture_is_made_large_enough_and_small_again(demo: TranslateDemo, tmp_path: Path) -> None:
    Image.new("RGB", (9, 60), "green").save(tmp_path / "thin.png")
    assert written(demo, images=(tmp_path / "thin.png",), mix=("ink=1",))["translated/thin.png"].size == (9, 60)


def test_a_single_network_translates_without_a_dial(demo: TranslateDemo, photo: Path) -> None:
    found = written(demo, images=(photo,), network="single ink")
    assert list(found) == ["translated/photo.png"]
    with pytest.raises(
        UsageError, match=r"network is 'single ink', which knows one mixture; those with a dial are sgn"
    ):
        demo(DemoOptions(images=(photo,), network="single ink", mix=("ink=1",)))


def test_the_answer_says_the_mixture_and_whether_it_was_covered(demo: TranslateDemo, photo: Path) -> None:
    assert demo(DemoOptions(images=(photo,), mix=("ink=1",)))["mixture"] == "photos 0, ink 1, cypresses 0"
    beyond = demo(DemoOptions(images=(photo,), mix=("ink=1.5",)))["mixture"]
    assert (
        beyond == "photos 0, ink 1.5, cypresses 0: off the simplex (shares at least 0, of sum 1) that training covered"
    )
    assert demo(DemoOptions(images=(photo,)))["mixture"] == "the dial has the corners photos, ink, cypresses"


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        (("monet=1",), "mix has 'monet', but the losses are photos, ink, cypresses"),
        (("ink",), "mix has 'ink', but must be NAME=SHARE such as photos=0.5"),
        (("ink=much",), "mix has 'ink=much', but must be NAME=SHARE"),
        (("ink=nan",), "mix has 'ink=nan'"),
        (("ink=inf",), "must be finite"),
        (("ink=1", "ink=0"), "mix names 'ink' twice"),
    ],
)
def test_wrong_mixtures_are_named(mix: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parsed(mix, NAMES)


def test_unknown_networks_are_named(demo: TranslateDemo, photo: Path) -> None:
    with pytest.raises(UsageError, match="network is 'unet', but the run has sgn, single photos"):
        demo(DemoOptions(images=(photo,), network="unet"))


def test_a_triangle_has_each_corner_where_it_says() -> None:
    """The first loss on top, the second at the left, the third at the right."""
    colours = torch.eye(3) * 2 - 1

    def answer(mix: torch.Tensor) -> torch.Tensor:
        return (mix @ colours).view(3, 1, 1).expand(3, 20, 20)

    sheet = np.asarray(triangle(answer, ("a", "b", "c"), points=3))
    height, width = sheet.shape[:2]
    top = sheet[26 + 8 + 10, width // 2]
    left, right = sheet[height - 26 - 8 - 15, 20], sheet[height - 26 - 8 - 15, width - 20]
    assert top.tolist() == [255, 0, 0]
    assert left.tolist() == [0, 255, 0]
    assert right.tolist() == [0, 0, 255]


def test_mixtures_in_words() -> None:
    assert described(torch.tensor([0.0, 1.0, 0.0]), NAMES) == "ink"
    assert described(torch.tensor([0.25, 0.75, 0.0]), NAMES) == "photos 25% ink 75%"
    assert described(torch.tensor([0.0, 1.5, 0.0]), NAMES) == "ink 150%"
    assert described(torch.zeros(3), NAMES) == "nothing"
    assert len(canonical(3)) == 7
    assert len(canonical(2)) == 3
    assert len(canonical(4)) == 11


def test_pixels_survive_the_way_to_the_network_and_back() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.equal(to_bytes(to_signed(pixels)), pixels)
    assert to_bytes(torch.tensor([[-3.0, 3.0]])).tolist() == [[0, 255]]
