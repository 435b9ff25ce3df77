"""The frames of pictures, animations and videos, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageSequence

from .errors import UsageError
from .names import free_name
from .pictures import decoding, open_picture, to_rgb

if TYPE_CHECKING:
    from av.container import InputContainer

VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
"""What is read as a video; anything else is a picture, perhaps an animated one."""
ANIMATIONS = ("GIF", "PNG", "WEBP")
"""Formats whose further pictures are frames; those of others are pages, thumbnails or depth maps."""


def is_video(path: Path) -> bool:
    """Whether a file is read by the video decoder, by its ending."""
    return path.suffix.lower() in VIDEOS


def count_frames(path: Path) -> int:
    """How many frames a file has: 1 for a picture; of a video what its header says, which may be a little off, or 0.

    Raises:
        UsageError: the file is missing or cannot be read, or it is a video and PyAV is not installed.
    """
    if is_video(path):
        with _opened(path) as container:
            return _announced(container)
    with decoding(str(path)), Image.open(path) as picture:
        return int(getattr(picture, "n_frames", 1)) if picture.format in ANIMATIONS else 1


def frames(path: Path) -> Iterator[Image.Image]:
    """The frames of a file, upright and in mode RGB: a picture, every frame of an animated GIF, WebP or PNG, of a video.

    Raises:
        UsageError: as `count_frames`, or when a frame turns out to be damaged.
    """
    if is_video(path):
        yield from _video_frames(path)
    elif count_frames(path) == 1:
        yield open_picture(path)
    else:
        with decoding(str(path)), Image.open(path) as animation:
            for frame in ImageSequence.Iterator(animation):
                yield to_rgb(frame.copy())


def named_frames(files: Iterable[Path]) -> Iterator[tuple[str, Image.Image]]:
    """Every frame of the files, as `frames` gives it, with a name that no other has: the file's, numbered where it has several.

    Raises:
        UsageError: as `frames`.
    """
    stems: set[str] = set()
    names: set[str] = set()
    for file in files:
        stem, alone = free_name(file.stem, stems), not is_video(file) and count_frames(file) == 1
        for number, frame in enumerate(frames(file), 1):
            yield free_name(stem if alone else f"{stem}-{number:05d}", names), frame


def _video_frames(path: Path) -> Iterator[Image.Image]:
    found = 0
    with _opened(path) as container:
        for frame in container.decode(video=0):
            # phones store what they filmed upright as lying, with a note; early PyAV does not read the note
            turned = int(getattr(frame, "rotation", 0))
            yield Image.fromarray(frame.to_ndarray(format="rgb24")).rotate(turned, expand=True)
            found += 1
    if not found:
        raise UsageError(f"{path} has no frame that can be read")


def _announced(container: InputContainer) -> int:
    """Frames by the header: their number where it has one, or else the duration times the rate, or else 0."""
    stream = container.streams.video[0]
    if stream.frames > 0:
        return stream.frames
    seconds = 0.0
    if stream.duration is not None and stream.time_base is not None:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        seconds = container.duration / 1e6  # FFmpeg's clock of whole files
    return max(0, round(seconds * float(stream.average_rate or 0)))


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    """A video that has a picture, closed at the end; whatever the body's decoder raises becomes one sentence."""
    try:
        import av
    except ImportError as error:
        raise UsageError(f"{path} is a video, which needs the package av: pip install 'tenfold[video]'") from error
    with decoding(str(path), kind="video"), av.open(str(path)) as container:
        if not container.streams.video:
            raise UsageError(f"{path} holds no moving picture")
        yield container
