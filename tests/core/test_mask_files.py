from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tenfold.core.errors import UsageError
from tenfold.core.mask_files import read_labels, read_legend, usual_colours

from .mask_writers import HEIGHT, RANDOM, WIDTH, grey_png, mask, mode_of

# Legends


def test_classes_are_read_with_and_without_colours(tmp_path: Path) -> None:
    file = tmp_path / "classes"
    texts = [
        "road 1 2 3\nVoid 0 0 0\ntraffic light 4 5 6",
        "name,r,g,b\nroad,1,2,3\nVoid,0,0,0\ntraffic light,4,5,6\n",
        "\ufeffName, R, G, B\r\n# all of them\r\n\r\nroad, 1, 2, 3 # grey\r\nVoid, 0, 0, 0\r\ntraffic light, 4, 5, 6",
    ]
    for text in texts:
        file.write_text(text, encoding="utf-8")
        legend = read_legend(file)
        assert legend.classes == ("road", "traffic light")
        assert legend.colours.tolist() == [[1, 2, 3], [4, 5, 6]]
        assert legend.labels == (0, 255, 1)
        assert legend.by_colour == {(1, 2, 3): 0, (0, 0, 0): 255, (4, 5, 6): 1}
    file.write_text("road\ntraffic light\nunlabelled\nIGNORE\nroute 66")
    legend = read_legend(file)
    assert legend.classes == ("road", "traffic light", "route 66")
    assert legend.labels == (0, 1, 255, 255, 2)
    assert not legend.by_colour
    assert legend.colours.tolist() == usual_colours(3).tolist()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("# nothing\n\n", "is empty"),
        ("name,r,g,b\n", r"has 0 scored classes in 0 lines, but must have 1 to 255"),
        ("void\nignore", r"has 0 scored classes in 2 lines"),
        ("\n".join(f"c{i}" for i in range(256)), r"has 256 scored classes in 256 lines"),
        ("road 1 2 3\ncar", r"gives car no colour, but must give every class one, or none"),
        ("road\ncar\nroad", r"has the name road more than once"),
        ("road 1 2 3\nvoid 1 2 3", r"has the colour \(1, 2, 3\) more than once"),
        ("road 1 2 256", r"has the line 'road 1 2 256', but must have lines NAME or NAME R G B, colours from 0 to 255"),
        ("road,1,2", r"has the line 'road,1,2'"),
        ("1 2 3", r"has the line '1 2 3'"),
    ],
)
def test_a_file_of_classes_that_is_wrong_says_so(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(UsageError, match=rf"classes\.txt {words}"):
        read_legend(tmp_path / "classes.txt")


def test_a_file_of_classes_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.txt does not exist"):
        read_legend(tmp_path / "gone.txt")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UsageError, match=r"binary cannot be read as text"):
        read_legend(tmp_path / "binary")


def test_usual_colours_are_distinct() -> None:
    assert len({tuple(colour) for colour in usual_colours(256).tolist()}) == 256
    assert usual_colours(256)[[0, 15, 255]].tolist() == [[0, 0, 0], [192, 128, 128], [224, 224, 192]]


# Masks


def folder(root: Path, classes: str, write: Callable[[Path], object]) -> None:
    """A mask that `write` writes, and a file of classes."""
    write(root / "a.png")
    (root / "classes.txt").write_text(classes)


def one(root: Path) -> list[list[int]]:
    """The labels in the mask."""
    (file,) = root.glob("a.*")
    labels = read_labels(file, read_legend(root / "classes.txt"))
    assert labels.dtype == np.uint8
    return labels.tolist()


STAIRS = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 4


@pytest.mark.parametrize(
    "write",
    [
        lambda file: mask(file, STAIRS),
        lambda file: mask(file, STAIRS, palette=RANDOM.randint(0, 256, (256, 3))),
        lambda file: mask(file, STAIRS, palette=RANDOM.randint(0, 256, (4, 3))),  # which Pillow packs into 2 bits
        lambda file: grey_png(file, STAIRS, bits=2),
        lambda file: grey_png(file, STAIRS, bits=4),
        lambda file: grey_png(file, STAIRS, bits=16),
        lambda file: Image.fromarray(STAIRS.astype(np.int32)).save(file, format="TIFF"),
        lambda file: Image.merge(
            "LA", [Image.fromarray(STAIRS.astype(np.uint8)), Image.new("L", (WIDTH, HEIGHT), 255)]
        ).save(file),
        lambda file: mask(file.with_suffix(".bmp"), STAIRS),
    ],
    ids=["grey", "palette", "short palette", "2 bits", "4 bits", "16 bits", "32 bits", "alpha", "bmp"],
)
def test_values_are_read_as_stored(tmp_path: Path, write: Callable[[Path], object]) -> None:
    folder(tmp_path, "a\nb\nvoid\nc", write)
    assert one(tmp_path) == np.array([0, 1, 255, 2])[STAIRS].tolist()


def test_one_bit_and_ignored_values_are_read_as_stored(tmp_path: Path) -> None:
    folder(tmp_path, "a\nb", lambda file: grey_png(file, STAIRS % 2, bits=1))
    assert mode_of(tmp_path / "a.png") == "1"
    assert one(tmp_path) == (STAIRS % 2).tolist()
    mask(tmp_path / "a.png", [[0, 1, 255, 0]] * HEIGHT)
    assert one(tmp_path) == [[0, 1, 255, 0]] * HEIGHT
    mask(tmp_path / "a.png", 2)
    with pytest.raises(UsageError, match=r"label 2 at pixel x = 0, y = 0, but must have labels 0 to 1 or 255"):
        one(tmp_path)


COLOURED = "sky 0 0 0\nvoid 9 9 9\nroad 200 100 50\ncar 50 100 200"
TABLE = np.array([[0, 0, 0], [9, 9, 9], [200, 100, 50], [50, 100, 200]], np.uint8)
BY_COLOUR = np.array([0, 255, 1, 2])[STAIRS].tolist()


def in_colour(file: Path, **how: object) -> None:
    Image.fromarray(TABLE[STAIRS]).save(file, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "write",
    [
        in_colour,
        lambda file: Image.fromarray(TABLE[STAIRS]).convert("RGBA").save(file),
        lambda file: Image.fromarray(TABLE[STAIRS]).save(file, format="WEBP", lossless=True),
        # what tools that shrink PNGs make of a colour mask: a palette in an order of its own
        lambda file: Image.fromarray(TABLE[STAIRS]).quantize(4).save(file),
        lambda file: mask(file, STAIRS, palette=TABLE),
        lambda file: mask(file, STAIRS),
    ],
    ids=["RGB", "RGBA", "WebP", "shuffled palette", "palette", "values"],
)
def test_colours_are_read_by_the_file_of_classes(tmp_path: Path, write: Callable[[Path], object]) -> None:
    folder(tmp_path, COLOURED, write)
    assert one(tmp_path) == BY_COLOUR


def test_grey_masks_may_be_in_the_colours_of_the_classes(tmp_path: Path) -> None:
    folder(tmp_path, "thing 255 255 255\nrest 0 0 0", lambda file: mask(file, STAIRS % 2 * 255))
    assert one(tmp_path) == (1 - STAIRS % 2).tolist()
    grey_png(tmp_path / "a.png", STAIRS % 2 * 3, bits=2)
    assert one(tmp_path) == (1 - STAIRS % 2).tolist()
    grey_png(tmp_path / "a.png", STAIRS % 2, bits=1)
    assert one(tmp_path) == (1 - STAIRS % 2).tolist()


def test_a_colour_of_no_class_is_named(tmp_path: Path) -> None:
    folder(tmp_path, COLOURED, in_colour)
    file = tmp_path / "a.png"
    pixels = TABLE[STAIRS]
    pixels[1, 2] = 201, 100, 50
    Image.fromarray(pixels).save(file)
    with pytest.raises(UsageError, match=r"a\.png has colour 201 100 50 at pixel x = 2, y = 1, which is no class's$"):
        one(tmp_path)
    in_colour(file, format="JPEG")
    with pytest.raises(UsageError, match=r"which is no class's: it is a JPEG, which changes colours"):
        one(tmp_path)
    Image.fromarray(np.dstack([TABLE[STAIRS], np.full((HEIGHT, WIDTH), 128, np.uint8)])).save(file)
    with pytest.raises(UsageError, match=r"cannot be read as a mask: some of its pixels are transparent"):
        one(tmp_path)
    (tmp_path / "classes.txt").write_text("sky\nvoid\nroad\ncar")
    in_colour(file)
    with pytest.raises(
        UsageError, match=r"is a colour picture, but must be grey or palette.*may give each class a col"
    ):
        one(tmp_path)
