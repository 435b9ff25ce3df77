"""The trade-off surface: questions to it by hand, its file, its picture, and the sweep against a loop."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from tenfold.core.errors import UsageError
from tenfold.translate import Front, simplex_grid
from tenfold.translate.mixture import edge

NAMES = ("keep", "paint", "blur", "dim")


def front_of(rows: list[list[float]], names: tuple[str, ...] = ("a", "b")) -> Front:
    """A front with these losses along the edge of two."""
    return Front(names, simplex_grid(len(names), len(rows)), torch.tensor(rows, dtype=torch.float64))


def surface(losses: int, *, points: int = 6, mixes: Tensor | None = None) -> Front:
    """Each loss is the squared distance to its own corner."""
    mixes = simplex_grid(losses, points) if mixes is None else mixes
    return Front(NAMES[:losses], mixes, (mixes[:, None].double() - torch.eye(losses).double()).square().sum(2))


# questions


def test_the_losses_at_a_mixture_are_those_of_the_nearest_one() -> None:
    front = front_of([[0.0, 9.0], [1.0, 4.0], [5.0, 0.5]])  # all a, half, all b
    assert front.at([0.9, 0.1]) == {"a": 0.0, "b": 9.0}
    assert front.at([0.6, 0.4]) == {"a": 1.0, "b": 4.0}
    assert front.at(torch.tensor([0.0, 1.0])) == {"a": 5.0, "b": 0.5}


@pytest.mark.parametrize("mix", [[0.4], [0.2, 0.3, 0.5]])
def test_a_mixture_of_another_number_of_shares_is_refused(mix: list[float]) -> None:
    with pytest.raises(UsageError, match="shares"):
        front_of([[0.0, 9.0], [1.0, 4.0]]).at(mix)


def test_the_objective_is_weighted_by_the_mixture_and_regret_is_what_is_lost() -> None:
    front = front_of([[1.0, 9.0], [2.0, 4.0], [5.0, 0.5]])
    assert front.objective().tolist() == [1.0, 3.0, 0.5]
    assert front.regret(torch.tensor([1.0, 2.5, 0.0])).tolist() == [0.0, 0.5, 0.5]
    assert front.objective().dtype == torch.float64


def test_what_another_beats_everywhere_is_dominated() -> None:
    rows = [[1.0, 5.0], [2.0, 3.0], [2.0, 4.0], [3.0, 3.0], [6.0, 6.0], [4.0, 1.0], [4.0, 1.0]]
    # equal twins do not dominate each other
    assert front_of(rows).non_dominated().tolist() == [True, True, False, False, False, True, True]


@given(st.integers(0, 1000), st.integers(1, 3), st.integers(2, 12))
@settings(deadline=None)
def test_dominance_is_its_definition(seed: int, losses: int, count: int) -> None:
    random = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 4, (count, losses), generator=random).double()
    found = Front(NAMES[:losses], torch.rand(count, losses, generator=random), values).non_dominated()
    for own in range(count):
        beaten = any(
            all(values[other, n] <= values[own, n] for n in range(losses))
            and any(values[other, n] < values[own, n] for n in range(losses))
            for other in range(count)
        )
        assert bool(found[own]) is not beaten


def test_the_best_mixture_within_bounds_is_picked() -> None:
    front = front_of([[1.0, 9.0], [2.0, 4.0], [2.5, 3.0], [5.0, 0.5]])
    assert torch.equal(front.pick("a"), front.mixes[0])
    assert torch.equal(front.pick("b"), front.mixes[3])
    assert torch.equal(front.pick("a", b=4.0), front.mixes[1])
    assert torch.equal(front.pick("a", b=3.5), front.mixes[2])
    assert torch.equal(front.pick("b", a=2.0), front.mixes[1])
    assert torch.equal(front.pick("b", a=2.4, b=100), front.mixes[1])


def test_bounds_that_nothing_keeps_are_told_with_what_can_be_had() -> None:
    front = front_of([[1.0, 9.0], [2.0, 4.0], [5.0, 0.5]])
    with pytest.raises(UsageError, match=r"^b is at most 0.25 nowhere: the least is 0.5$"):
        front.pick("a", b=0.25)
    with pytest.raises(UsageError, match=r"no mixture keeps all of \{'a': 1.5, 'b': 1\}"):
        front.pick("a", a=1.5, b=1)
    for wrong in ({"minimize": "c"}, {"minimize": "a", "c": 1.0}):
        with pytest.raises(UsageError, match=r"there is no loss 'c'; the losses are a, b"):
            front.pick(**wrong)


def test_a_mixture_of_unknown_loss_is_neither_picked_nor_on_the_front() -> None:
    front = front_of([[1.0, 9.0], [math.nan, 4.0], [5.0, 0.5]])
    assert torch.equal(front.pick("a"), front.mixes[0])
    assert front.non_dominated().tolist() == [True, False, True]


@pytest.mark.parametrize(("mixes", "losses"), [((3, 2), (2, 2)), ((3, 3), (3, 3)), ((3, 2), (3, 3)), ((2,), (2,))])
def test_tables_that_do_not_fit_are_refused(mixes: tuple[int, ...], losses: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"must both be \(P, 2\)"):
        Front(("a", "b"), torch.zeros(mixes), torch.zeros(losses))


# the file


def test_a_file_has_a_column_for_each_share_and_loss(tmp_path: Path) -> None:
    front_of([[1.0, 9.5], [5.0, 0.25]]).save(tmp_path / "front.csv")
    assert (tmp_path / "front.csv").read_text(encoding="utf-8").splitlines() == [
        "share a,share b,loss a,loss b",
        "1.0,0.0,1.0,9.5",
        "0.0,1.0,5.0,0.25",
    ]


@pytest.mark.parametrize("losses", [1, 2, 3, 4])
def test_what_is_saved_comes_back(losses: int, tmp_path: Path) -> None:
    front = surface(losses)
    front.save(tmp_path / "front.csv")
    again = Front.load(tmp_path / "front.csv")
    assert again.names == front.names
    assert (again.mixes.dtype, again.losses.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(again.mixes, front.mixes, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(again.losses, front.losses, rtol=1e-6, atol=1e-7)
    assert Front.load(str(tmp_path / "front.csv")).names == front.names


def test_losses_keep_the_digits_that_are_written(tmp_path: Path) -> None:
    front_of([[1.23456789, 1e39], [1.23456788, 2.0]]).save(tmp_path / "front.csv")
    assert Front.load(tmp_path / "front.csv").losses.tolist() == [[1.23456789, 1e39], [1.23456788, 2.0]]


def test_names_may_have_commas(tmp_path: Path) -> None:
    front_of([[1.0, 9.0], [5.0, 0.5]], ("L1, mean", "style")).save(tmp_path / "front.csv")
    assert Front.load(tmp_path / "front.csv").names == ("L1, mean", "style")


def test_unknown_losses_come_back_as_such(tmp_path: Path) -> None:
    front_of([[1.0, 9.0], [math.nan, 0.5]]).save(tmp_path / "front.csv")
    assert Front.load(tmp_path / "front.csv").losses.isnan().tolist() == [[False, False], [True, False]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("", "not enough values"),
        ("share a,loss b\n1,2\n", "has the columns share a, loss b, but must have a share and a loss of each name"),
        ("share a,loss a,loss b\n1,2,3\n", "must have a share and a loss of each name"),
        ("1,2\n3,4\n", "must have a share and a loss of each name"),
        ("share a,loss a\n1,two\n", "could not convert string to float: 'two'"),
        ("share a,loss a\n1\n", "must have a share and a loss of each name"),
    ],
)
def test_a_damaged_file_is_named(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "front.csv"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=rf"front\.csv.*{message}"):
        Front.load(path)


# the picture


def size_of(data: bytes, path: Path) -> tuple[int, int]:
    """Checks that bytes are a whole PNG."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    path.write_bytes(data)
    with Image.open(path) as picture:
        picture.load()
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 2  # not an empty sheet
        return picture.size


@pytest.mark.parametrize(("losses", "panels"), [(1, (1, 1)), (2, (1, 1)), (3, (3, 1)), (4, (3, 2))])
def test_a_picture_has_a_panel_for_each_triangle_or_pair(losses: int, panels: tuple[int, int], tmp_path: Path) -> None:
    front = surface(losses)
    data = front.picture(tmp_path / "front.png")
    assert (tmp_path / "front.png").read_bytes() == data
    width, height = size_of(data, tmp_path / "again.png")
    assert (round(width / 550), round(height / 473)) == panels
    assert front.picture() == data


@pytest.mark.parametrize("losses", [1, 2, 3, 4])
@pytest.mark.parametrize("value", [1.0, math.nan, math.inf])
@pytest.mark.parametrize("everywhere", [True, False])
def test_constant_unknown_and_boundless_losses_have_a_picture(
    losses: int, value: float, everywhere: bool, tmp_path: Path
) -> None:
    front = surface(losses, points=4)
    front.losses[slice(None) if everywhere else slice(1), :] = value
    size_of(front.picture(), tmp_path / "front.png")


@pytest.mark.parametrize(
    "mixes",
    [
        torch.eye(3)[:1],
        torch.eye(3).repeat(3, 1),
        edge(0, 1, losses=3, points=9),
        pytest.param(
            edge(1, 2, losses=3, points=9),
        ),
        pytest.param(
            torch.tensor([[0.2, 0.3, 0.5]]).repeat(7, 1),
        ),
    ],
    ids=["one", "corners", "edge", "lower edge", "the same"],
)
def test_mixtures_that_are_no_grid_have_a_picture(mixes: Tensor, tmp_path: Path) -> None:
    size_of(surface(3, mixes=mixes).picture(), tmp_path / "front.png")


@pytest.mark.parametrize(
    "names",
    [
        ("a_b", "50 %", "a^"),
        ("cost $", "c"),
        ("$\\frac$", "b", "c"),
        pytest.param(
            ("$\\frac$", "b"),
        ),
    ],
)
def test_names_are_no_formulas(names: tuple[str, ...], tmp_path: Path) -> None:
    front = surface(len(names))
    size_of(Front(names, front.mixes, front.losses).picture(), tmp_path / "front.png")


def test_pictures_of_other_losses_differ() -> None:
    front = surface(3)
    swapped: Any = Front(front.names, front.mixes, front.losses.flip(1))
    assert front.picture() != swapped.picture()
