from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tenfold.core.errors import UsageError
from tenfold.core.frames import count_frames, frames, is_video

from .filmed import STEP, animation, sound, turned, video


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_endings_decide_what_is_a_video() -> None:
    assert all(is_video(Path(name)) for name in ("a.mp4", "B.MOV", "c.d.webm"))
    assert not any(is_video(Path(name)) for name in ("a.gif", "mp4", "a.mp4.png", "a"))


@pytest.mark.parametrize(
    ("ending", "codec"), [("mp4", "mpeg4"), ("mov", "mpeg4"), ("avi", "mpeg4"), ("mkv", "mpeg4"), ("webm", "libvpx")]
)
def test_every_frame_of_a_video_comes_in_order(tmp_path: Path, ending: str, codec: str) -> None:
    file = video(tmp_path / f"film.{ending}", codec=codec)
    assert count_frames(file) == 10  # webm and mkv say how long they are, not how many frames they have
    found = list(frames(file))
    assert [(frame.mode, frame.size) for frame in found] == [("RGB", (64, 48))] * 10
    for number, frame in enumerate(found):
        assert frame.getpixel((50, 24)) == pytest.approx((STEP * number,) * 3, abs=12)
        assert frame.getpixel((10, 24)) == pytest.approx((0,) * 3, abs=12)


def test_what_a_phone_filmed_is_turned_upright(tmp_path: Path) -> None:
    pytest.importorskip("av", minversion="14")  # earlier ones do not tell
    *_, last = frames(turned(video(tmp_path / "film.mp4")))
    assert last.size == (48, 64)
    # its black left half is on top now
    assert last.getpixel((24, 10)) == pytest.approx((0,) * 3, abs=12)
    assert last.getpixel((24, 50)) == pytest.approx((9 * STEP,) * 3, abs=12)


@pytest.mark.parametrize("ending", ["gif", "webp", "png"])
def test_every_frame_of_an_animation_comes_in_order(tmp_path: Path, ending: str) -> None:
    file = animation(tmp_path / f"moving.{ending}")
    assert count_frames(file) == 3
    found = list(frames(file))
    assert [(frame.mode, frame.size) for frame in found] == [("RGB", (8, 6))] * 3
    assert [frame.getpixel((4, 3)) for frame in found] == [(STEP * number, 0, 0) for number in (1, 2, 3)]


@pytest.mark.parametrize("kind", ["TIFF", "MPO"])
def test_pages_and_second_pictures_of_a_photo_are_no_frames(tmp_path: Path, kind: str) -> None:
    pictures = [Image.new("RGB", (8, 6), (200, 0, 0)), Image.new("RGB", (8, 6), (0, 0, 200))]
    pictures[0].save(tmp_path / "photo", kind, save_all=True, append_images=pictures[1:])
    with Image.open(tmp_path / "photo") as stored:
        assert (stored.format, getattr(stored, "n_frames", 1)) == (kind, 2)
    assert count_frames(tmp_path / "photo") == 1
    (only,) = frames(tmp_path / "photo")
    assert only.getpixel((0, 0)) == pytest.approx((200, 0, 0), abs=4)


def test_a_picture_is_one_upright_frame(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    Image.new("RGB", (16, 8)).save(tmp_path / "photo.jpg", exif=exif)
    assert count_frames(tmp_path / "photo.jpg") == 1
    assert [frame.size for frame in frames(tmp_path / "photo.jpg")] == [(8, 16)]


@pytest.mark.parametrize("read", [count_frames, lambda file: list(frames(file))], ids=["count_frames", "frames"])
@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("letter.png", b"dear reader", "is not a picture in a format that can be read"),
        ("nothing.gif", b"", "is not a picture"),
        ("letter.mp4", b"dear reader", r"cannot be read as a video: Invalid data found when processing input"),
        ("nothing.webm", b"", "cannot be read as a video"),
        ("gone.png", None, "does not exist, but must be a picture"),
        ("gone.mp4", None, "does not exist, but must be a video"),
    ],
)
def test_what_is_neither_is_named(tmp_path: Path, read: object, name: str, data: bytes | None, words: str) -> None:
    if is_video(Path(name)):
        pytest.importorskip("av")
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UsageError, match=rf"{name} {words}"):
        read(tmp_path / name)  # type: ignore[operator]


def test_a_folder_called_like_a_video_is_named(tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "films.mov").mkdir()
    with pytest.raises(UsageError, match=r"films\.mov cannot be read as a video: Is a directory$"):
        count_frames(tmp_path / "films.mov")


def test_a_file_of_sound_holds_no_moving_picture(tmp_path: Path) -> None:
    file = sound(tmp_path / "song.mp4")
    for read in (count_frames, lambda file: list(frames(file))):
        with pytest.raises(UsageError, match=r"song\.mp4 holds no moving picture$"):
            read(file)  # type: ignore[operator]


def test_a_video_cut_short_gives_what_it_has_or_is_named(tmp_path: Path) -> None:
    data = video(tmp_path / "film.mkv").read_bytes()
    (tmp_path / "film.mkv").write_bytes(data[: len(data) // 2])
    assert 0 < len(list(frames(tmp_path / "film.mkv"))) < 10
    (tmp_path / "film.mkv").write_bytes(data[: data.index(b"\x1f\x43\xb6\x75") + 40])  # within the first frame
    with pytest.raises(UsageError, match=r"film\.mkv has no frame that can be read$"):
        list(frames(tmp_path / "film.mkv"))
    data = video(tmp_path / "film.mp4").read_bytes()  # its table of contents is at the end
    (tmp_path / "film.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(UsageError, match=r"film\.mp4 "):
        list(frames(tmp_path / "film.mp4"))


def test_an_animation_cut_short_is_named(tmp_path: Path) -> None:
    pictures = [Image.fromarray(np.random.RandomState(i).randint(0, 256, (32, 32, 3), np.uint8)) for i in range(3)]
    pictures[0].save(tmp_path / "moving.gif", save_all=True, append_images=pictures[1:])
    data = (tmp_path / "moving.gif").read_bytes()
    (tmp_path / "moving.gif").write_bytes(data[: len(data) // 2])
    with pytest.raises(UsageError, match=r"moving\.gif cannot be read as a picture"):
        list(frames(tmp_path / "moving.gif"))


@settings(deadline=None, max_examples=40)
@given(
    places=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), min_size=1, max_size=20), cut=st.booleans()
)
def test_damage_anywhere_either_decodes_or_is_a_usage_error(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[int, int]], cut: bool
) -> None:
    folder = tmp_path_factory.getbasetemp()
    whole = folder / "whole.avi"
    data = bytearray(whole.read_bytes() if whole.exists() else video(whole, count=3, size=(32, 16)).read_bytes())
    for place, value in places:
        data[place % len(data)] = value
    damaged = folder / "damaged.avi"
    damaged.write_bytes(data[: places[0][0]] if cut else data)
    try:
        assert count_frames(damaged) >= 0
        assert all(frame.mode == "RGB" for frame in frames(damaged))
    except UsageError as error:
        assert str(damaged) in str(error)  # noqa: PT017  either is right


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_files_are_closed_however_it_ends(tmp_path: Path) -> None:
    film = video(tmp_path / "film.mp4")
    before = open_files()
    for file in (film, animation(tmp_path / "moving.gif"), sound(tmp_path / "song.mp4")):
        walk = frames(file)
        if file.name == "song.mp4":
            with pytest.raises(UsageError):
                next(walk)
        else:
            next(walk)
            walk.close()  # type: ignore[attr-defined]  # a generator
        assert open_files() == before
    count_frames(film)
    assert open_files() == before


def test_without_the_package_a_video_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    for read in (count_frames, lambda file: list(frames(file))):
        with pytest.raises(UsageError, match=r"film\.mp4 is a video, which needs the package av: pip install 'tenfold"):
            read(tmp_path / "film.mp4")  # type: ignore[operator]
    assert count_frames(animation(tmp_path / "moving.gif")) == 3
