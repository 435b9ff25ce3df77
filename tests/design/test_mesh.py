"""What a printer asks of a surface, and the files that are written of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import manifold3d
import numpy as np
import pytest
import trimesh

from tenfold.core.errors import UsageError
from tenfold.design.assembly import Assembly, surface_of
from tenfold.design.mesh import ENDINGS, check, export, mesh_bytes, watertight
from tenfold.design.solid import Part, Surface


def box(x: float = 0.02, y: float = 0.03, z: float = 0.04) -> Surface:
    """Standing on the ground, metres."""
    return Assembly([Part("box", (x / 2, y / 2, z / 2), (0.0, 0.0, z / 2))]).surface()


def shell(outer: float, inner: float) -> Surface:
    return surface_of(manifold3d.Manifold.sphere(outer, 96) - manifold3d.Manifold.sphere(inner, 96))


def cup(wall: float) -> Surface:
    whole = manifold3d.Manifold.cylinder(0.08, 0.04, 0.04, 64)
    hole = manifold3d.Manifold.cylinder(0.08, 0.04 - wall, 0.04 - wall, 64).translate((0, 0, 0.006))
    return surface_of(whole - hole)


def together(*surfaces: Surface) -> Surface:
    starts = np.cumsum([0, *(len(each.vertices) for each in surfaces)])
    faces = [each.faces + start for each, start in zip(surfaces, starts, strict=False)]
    return Surface(np.concatenate([each.vertices for each in surfaces]), np.concatenate(faces))


def moved(surface: Surface, by: tuple[float, float, float]) -> Surface:
    return Surface(surface.vertices + by, surface.faces)


# measures


def test_a_box_is_measured() -> None:
    report = check(box())
    assert report.watertight
    assert report.bodies == 1
    assert report.volume_ml == pytest.approx(24, rel=1e-5)
    assert report.area_cm2 == pytest.approx(52, rel=1e-5)
    assert report.box_mm == pytest.approx((20, 30, 40), rel=1e-5)
    assert report.thinnest_mm == pytest.approx(20, rel=1e-5)
    assert report.overhang_share == 0
    assert report.printable()


def test_where_it_is_makes_no_difference() -> None:
    here, there = check(cup(0.002)), check(moved(cup(0.002), (7.0, -3.0, 2.0)))
    assert there.volume_ml == pytest.approx(here.volume_ml, rel=1e-6)
    assert there.thinnest_mm == pytest.approx(here.thinnest_mm, rel=1e-3)
    assert there.overhang_share == pytest.approx(here.overhang_share, abs=1e-6)


@pytest.mark.parametrize("wall", [0.0004, 0.0012, 0.003])
def test_walls_are_as_thin_as_they_are_made(wall: float) -> None:
    report = check(cup(wall))
    assert report.thinnest_mm == pytest.approx(wall * 1000, rel=0.02)
    assert report.printable() == (wall > 0.0008)
    assert report.printable(least_wall_mm=2) == (wall > 0.002)


def test_the_same_surface_gives_the_same_report() -> None:
    assert check(cup(0.002)) == check(cup(0.002))


def test_a_sharp_edge_is_no_thin_wall() -> None:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0.5, 0.87, 0], [0.5, 0.29, 0.82]]) / 10
    report = check(Surface(corners, np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])))
    assert report.watertight
    assert report.volume_ml > 0
    assert np.isfinite(report.thinnest_mm)
    prism = surface_of(manifold3d.Manifold.extrude(manifold3d.CrossSection([[(0, 0), (0.04, 0), (0, 0.04)]]), 0.05))
    assert check(prism).thinnest_mm > 0.2


def test_a_hollow_is_no_body_but_two_things_are() -> None:
    hollow = shell(0.03, 0.028)
    assert check(hollow).bodies == 1
    assert check(hollow).thinnest_mm == pytest.approx(2, rel=0.03)
    apart = check(together(box(), moved(box(), (0.1, 0.0, 0.0))))
    assert (apart.watertight, apart.bodies, apart.printable()) == (True, 2, False)


def test_overhangs_are_what_faces_down_and_has_nothing_below() -> None:
    # a table's top of 10 x 10 on a foot of 2 x 2, centimetres
    table = Assembly([Part("box", (0.05, 0.05, 0.005), (0, 0, 0.055)), Part("box", (0.01, 0.01, 0.03), (0, 0, 0.03))])
    report = check(table.surface())
    assert report.overhang_share * report.area_cm2 == pytest.approx(96, rel=1e-4)
    ball = check(surface_of(manifold3d.Manifold.sphere(0.03, 256)))
    assert ball.overhang_share == pytest.approx((1 - np.cos(np.pi / 4)) / 2, abs=0.01)


@pytest.mark.parametrize(("half_angle", "supported"), [(40, False), (50, True)])
def test_what_leans_less_than_45_degrees_needs_no_support(half_angle: float, supported: bool) -> None:
    radius = 0.05 * np.tan(np.radians(half_angle))
    cone = surface_of(manifold3d.Manifold.cylinder(0.05, 0.0005, radius, 128))
    assert (check(cone).overhang_share > 0.1) == supported


# what is not closed


def test_a_missing_face_a_turned_face_and_a_double_face_are_found() -> None:
    whole = box()
    turned = whole.faces.copy()
    turned[3] = turned[3, ::-1]
    assert watertight(whole)
    for faces in (whole.faces[1:], turned, np.concatenate([whole.faces, whole.faces[:1]]), whole.faces[:0]):
        surface = Surface(whole.vertices, faces)
        assert not watertight(surface)
        assert not check(surface).watertight
        assert not check(surface).printable()


def test_an_edge_of_four_faces_is_not_closed() -> None:
    joined = together(box(), moved(box(), (0.02, 0.03, 0.0)))
    _, which = np.unique(joined.vertices.round(6), axis=0, return_inverse=True)
    assert watertight(joined)
    assert not watertight(Surface(joined.vertices, which.ravel()[joined.faces]))


def test_turned_inside_out_is_no_body() -> None:
    report = check(Surface(box().vertices, box().faces[:, ::-1]))
    assert (report.watertight, report.bodies, report.printable()) == (True, 0, False)
    assert report.volume_ml == pytest.approx(-24, rel=1e-5)


def test_nothing_and_what_has_no_area_can_be_looked_over() -> None:
    for surface in (
        Surface(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)),
        Surface(np.zeros((3, 3)), np.array([[0, 1, 2]])),
        Surface(np.eye(3), np.array([[0, 1, 2]])),
    ):
        report = check(surface)
        assert not report.printable()
        assert report.thinnest_mm == 0


# files


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_are_in_millimetres(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"box{ending}"
    export(moved(box(), (0.01, 0.015, 0.0)), path, name="a box")
    mesh: Any = trimesh.load(path, force="mesh")
    sides = [20, 40, 30] if ending == ".glb" else [20, 30, 40]
    assert mesh.extents == pytest.approx(sides, rel=1e-5)
    low = [0, 0, -30] if ending == ".glb" else [0, 0, 0]
    assert mesh.bounds[0] == pytest.approx(low, abs=1e-4)
    mesh.merge_vertices()
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(24000, rel=1e-5)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_surface_gives_the_same_file_with_its_name(ending: str, tmp_path: Path) -> None:
    for number in (0, 1):
        export(box(), str(tmp_path / f"{number}{ending.upper()}"), name="Élan\nvital")
    first, second = (file.read_bytes() for file in sorted(tmp_path.iterdir()))
    assert first == second
    names = {".stl": "?lan vital", ".obj": "Élan vital", ".glb": r"\u00c9lan vital"}
    assert names[ending].encode() in first
    assert first == mesh_bytes(box(), ending[1:], name="Élan vital")
    assert not first.startswith(b"solid")


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "box.stl"
    path.write_text("old")
    export(box(), path)
    assert len(path.read_bytes()) == 84 + 50 * 12


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"box\.step ends in '\.step', but must end in \.stl, \.obj, \.glb"):
        export(box(), tmp_path / "box.step")
    with pytest.raises(UsageError, match="ends in 'nothing'"):
        export(box(), tmp_path / "box")
    with pytest.raises(UsageError, match="there is no folder"):
        export(box(), tmp_path / "none" / "box.stl")
    with pytest.raises(UsageError, match="is not closed"):
        export(Surface(box().vertices, box().faces[1:]), tmp_path / "box.stl")
    with pytest.raises(UsageError, match="kind is 'step', but must be one of stl, obj, glb"):
        mesh_bytes(box(), "step")
    assert not list(tmp_path.iterdir())
