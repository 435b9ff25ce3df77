"""Pictures of surfaces: what is where, by both engines, and what is left behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import manifold3d
import numpy as np
import pytest
from numpy.typing import NDArray

from tenfold.core.errors import UsageError
from tenfold.design import drawing
from tenfold.design.assembly import Assembly, surface_of
from tenfold.design.drawing import draw, draw_sheet, framed, shape_of, turntable
from tenfold.design.painting import rastered
from tenfold.design.solid import Part, Surface

from ..command import environment

SIZE = (96, 96)
Draw = Callable[..., NDArray[np.int64]]


@pytest.fixture(params=["opengl", "numpy"])
def drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Draw:
    """`draw` by one engine, as whole numbers."""
    if request.param == "numpy":
        monkeypatch.setattr(drawing, "_opengl", lambda: None)
    elif drawing._opengl() is None:
        pytest.skip("there is no OpenGL here")
    else:
        # what MuJoCo would refuse is not to be drawn by the other unseen
        monkeypatch.setattr(drawing, "paint_plainly", None)

    def take(surface: Surface, **more: object) -> NDArray[np.int64]:
        return np.asarray(draw(surface, **({"size": SIZE} | more))).astype(np.int64)  # type: ignore[arg-type]

    return take


def box(x: float = 0.1, y: float = 0.1, z: float = 0.1) -> Surface:
    return Assembly([Part("box", (x / 2, y / 2, z / 2), (0.0, 0.0, z / 2))]).surface()


def ball() -> Surface:
    return surface_of(manifold3d.Manifold.sphere(0.05, 64))


def corner() -> Surface:
    """A plate along x with a tower at its right end."""
    return Assembly(
        [Part("box", (0.1, 0.02, 0.01), (0, 0, 0.01)), Part("box", (0.02, 0.02, 0.1), (0.08, 0, 0.1))]
    ).surface()


def coloured(picture: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where the object is: the ground and its shadow are grey."""
    return picture.max(2) - picture.min(2) > 40


def test_the_object_fills_the_picture_and_stands_in_its_middle(drawn: Draw) -> None:
    for surface in (box(), box(0.02, 0.02, 0.3), box(0.3, 0.02, 0.02), ball()):
        rows, columns = np.nonzero(coloured(drawn(surface)))
        assert max(np.ptp(rows), np.ptp(columns)) == pytest.approx(0.84 * 96, abs=3)
        assert (rows.min() + rows.max()) / 2 == pytest.approx(47.5, abs=1.5)
        assert (columns.min() + columns.max()) / 2 == pytest.approx(47.5, abs=1.5)


def test_size_and_place_of_the_object_make_no_difference(drawn: Draw) -> None:
    picture = drawn(corner())
    for factor, by in ((1e-4, 0.0), (1e4, 0.0), (1.0, 3.0)):
        other = drawn(Surface(corner().vertices * factor + by, corner().faces))
        assert np.abs(other - picture).mean() < 0.3


def test_right_is_right_and_up_is_up(drawn: Draw) -> None:
    there = coloured(drawn(corner(), azimuth=0.0))
    rows, columns = np.nonzero(there)
    top = columns[rows < rows.min() + 20]
    assert top.mean() > 60  # the tower
    behind = np.nonzero(coloured(drawn(corner(), azimuth=180.0)))
    assert behind[1][behind[0] < behind[0].min() + 20].mean() < 36
    assert there[rows.max() - 2].sum() > there[rows.min() + 2].sum()


def test_walking_round_against_the_clock_one_comes_to_the_right_side(drawn: Draw) -> None:
    plate = Assembly([Part("box", (0.1, 0.02, 0.01), (0, 0, 0.01)), Part("box", (0.02, 0.02, 0.1), (0, 0.0, 0.1))])
    surface = plate.surface()
    wide, narrow = (np.nonzero(coloured(drawn(surface, azimuth=a, elevation=5.0)))[1] for a in (0.0, 90.0))
    assert np.ptp(wide) > np.ptp(narrow) * 2
    # at 90 degrees one stands on the side of x and has y at the right
    y_end = Assembly([Part("box", (0.02, 0.1, 0.01), (0, 0, 0.01)), Part("box", (0.02, 0.02, 0.1), (0, 0.08, 0.1))])
    rows, columns = np.nonzero(coloured(drawn(y_end.surface(), azimuth=90.0)))
    assert columns[rows < rows.min() + 20].mean() > 60


def test_light_comes_from_above_and_the_left(drawn: Draw) -> None:
    picture = drawn(ball(), ground=False).sum(2)
    there = coloured(drawn(ball(), ground=False))
    rows, columns = np.indices(SIZE)
    bright = picture[there & (rows < 48) & (columns < 48)].mean()
    assert bright > picture[there & (rows >= 48) & (columns >= 48)].mean() + 60


def test_a_ball_is_smooth_and_a_box_has_edges(drawn: Draw) -> None:
    picture = drawn(surface_of(manifold3d.Manifold.sphere(0.05, 40)), ground=False).sum(2)[30:66, 48]
    assert np.abs(np.diff(picture, n=2)).max() < 25
    middle = drawn(box(), azimuth=45.0, ground=False).sum(2)[60]
    steps = np.abs(np.diff(middle[20:76]))
    assert steps.max() > 60  # from one side to the other
    assert (steps > 20).sum() <= 3


def test_the_ground_is_light_with_a_shadow_at_the_right(drawn: Draw) -> None:
    bare, standing = drawn(box(), ground=False), drawn(box())
    darker = (bare - standing).sum(2)
    assert darker.min() >= -6
    outside = ~coloured(bare)
    columns = np.indices(SIZE)[1]
    assert darker[outside & (columns > 48)].sum() > 3 * darker[outside & (columns < 48)].sum()
    assert bare[0].min() > 235
    assert standing[0].min() > 235


@pytest.mark.parametrize("size", [(16, 16), (120, 60), (60, 121)])
def test_sizes_and_colours(drawn: Draw, size: tuple[int, int]) -> None:
    picture = drawn(ball(), size=size, colour="#3060d0")
    assert picture.shape == (size[1], size[0], 3)
    middle = picture[size[1] // 2, size[0] // 2]
    assert middle.argmax() == 2


def test_what_is_flat_open_tiny_or_nothing_is_drawn(drawn: Draw) -> None:
    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1]])
    flat = Surface(square, np.array([[0, 1, 2], [0, 2, 3], [1, 1, 2]]))
    assert coloured(drawn(flat)).mean() > 0.3
    assert coloured(drawn(Surface(square, flat.faces[:, ::-1]))).mean() > 0.3  # from behind
    broken = Surface(np.vstack([square, [[np.nan] * 3]]), np.vstack([flat.faces, [[0, 1, 4]]]))
    assert np.array_equal(drawn(broken), drawn(flat))
    empty = drawn(Surface(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)))
    assert not coloured(empty).any()


def test_the_same_surface_gives_the_same_picture(drawn: Draw) -> None:
    first = drawn(corner())
    drawn(ball(), size=(64, 32))
    assert np.array_equal(drawn(corner()), first)


def test_both_engines_show_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    if drawing._opengl() is None:
        pytest.skip("there is no OpenGL here")
    one = np.asarray(draw(corner(), size=SIZE)).astype(int)
    monkeypatch.setattr(drawing, "_opengl", lambda: None)
    other = np.asarray(draw(corner(), size=SIZE)).astype(int)
    assert np.abs(one - other).mean() < 6
    assert (coloured(one) != coloured(other)).mean() < 0.01


def test_what_opengl_refuses_is_drawn_by_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def paint(self, *_: object) -> None:
            raise RuntimeError("no")

    monkeypatch.setattr(drawing, "_opengl", lambda: None)
    wanted = np.asarray(draw(box(), size=SIZE))
    monkeypatch.setattr(drawing, "_opengl", Broken)
    assert np.array_equal(np.asarray(draw(box(), size=SIZE)), wanted)


def test_a_turntable_goes_round_at_one_scale() -> None:
    frames = [np.asarray(frame).astype(int) for frame in turntable(box(0.1, 0.02, 0.1), 4, size=SIZE)]
    assert len(frames) == 4
    assert np.abs(frames[0] - frames[2]).mean() < 1  # a box from behind
    assert np.abs(frames[0] - frames[1]).mean() > 3
    for frame in frames:
        there = coloured(frame)
        assert not there[:4].any()
        assert not there[-4:].any()
        assert not there[:, :4].any()
        assert not there[:, -4:].any()


def test_a_sheet_has_all_of_them() -> None:
    sheet = draw_sheet([box(), ball(), corner()], ["box", "ball", "corner"], 2, size=(120, 120))
    assert sheet.width > 240
    assert sheet.height > 240
    with pytest.raises(UsageError, match="captions"):
        draw_sheet([box()], [], 1)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="size is 8 x 96, but each must be between 16 and 2048"):
        draw(box(), size=(8, 96))
    with pytest.raises(UsageError, match="colour is 'claylike', but must be a name or #rrggbb"):
        draw(box(), colour="claylike")
    with pytest.raises(UsageError, match="elevation is 90, but must be between -89 and 89"):
        draw(box(), elevation=90)
    with pytest.raises(UsageError, match="frames is 0, but must be at least 1"):
        turntable(box(), 0)


def test_the_frame_is_exact() -> None:
    points = np.random.default_rng(0).normal(size=(50, 3)) * [1, 2, 3]
    seen, away = framed(points, (200, 100), 20, 30).sight(points)
    assert away.min() > 0
    assert seen[:, 1].min() == pytest.approx(8)
    assert seen[:, 1].max() == pytest.approx(92)
    assert seen[:, 0].min() + seen[:, 0].max() == pytest.approx(200, abs=1)


def test_pixels_go_to_the_nearest_face_and_none_is_left_between() -> None:
    square = np.array([[[2.0, 2], [8, 2], [8, 8]], [[2, 2], [8, 8], [2, 8]]])
    depths = np.array([[1.0, 1, 1], [1, 1, 1]])
    face, first, second = rastered(square, depths, 10, 12)
    assert face.shape == (12, 10)
    assert ((face >= 0).sum(), (face[2:8, 2:8] >= 0).all()) == (36, True)
    assert (first[face >= 0] >= -1e-9).all()
    assert (second[face >= 0] >= -1e-9).all()
    before = rastered(np.concatenate([square, square[:1]]), np.array([[1.0] * 3, [1.0] * 3, [0.5] * 3]), 10, 12)[0]
    assert set(before.ravel().tolist()) == {-1, 1, 2}


def test_normals_bend_on_what_is_round_and_not_at_edges() -> None:
    shape = shape_of(ball())
    outwards = shape.corners - [0, 0, shape.corners[..., 2].max() / 2]
    outwards /= np.linalg.norm(outwards, axis=2, keepdims=True)
    assert (outwards * shape.normals).sum(2).min() > 0.995
    edges = np.sort(np.abs(shape_of(box()).normals), axis=2)
    assert edges == pytest.approx(np.broadcast_to([0, 0, 1], edges.shape), abs=1e-6)


@pytest.mark.parametrize("variables", [{}, {"MUJOCO_GL": "off"}, {"__EGL_VENDOR_LIBRARY_FILENAMES": "/nothing"}])
def test_nothing_is_said_when_python_ends(variables: dict[str, str]) -> None:
    code = """
import mujoco, numpy as np
from tenfold.design.drawing import draw
from tenfold.design.solid import Surface
print(draw(Surface(np.eye(3), np.array([[0, 1, 2]])), size=(32, 32)).size, end="")
"""
    command = [sys.executable, "-W", "error", "-c", code]
    ended = subprocess.run(command, env=environment(**variables), capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "(32, 32)", "")
