"""The frames of pictures, animations and videos, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from PIL import Image, ImageSequence

from .errors import UsageError
from .pictures import decoding, open_picture, to_rgb

VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
"""What is read as a video; anything else is a picture, perhaps an animated one."""


def is_video(path: Path) -> bool:
    """Whether a file is read by the video decoder, by its ending."""
    return path.suffix.lower() in VIDEOS


def count_frames(path: Path) -> int:
    """How many frames a file has: 1 for a picture; of a video as its header says, which may be a little off, or 0.

    Raises:
        UsageError: the file cannot be read, or is a video and PyAV is not installed.
    """
    if is_video(path):
        with _opened(path) as container:
            stream = container.streams.video[0]
            return int(
                stream.frames or (float(stream.duration or 0) * float(stream.time_base) * float(stream.average_rate))
            )
    with decoding(str(path)), Image.open(path) as picture:
        return getattr(picture, "n_frames", 1)


def frames(path: Path) -> Iterator[Image.Image]:
    """The frames of a file in mode RGB: a picture upright, every frame of an animated GIF, WebP or PNG, of a video.

    Raises:
        UsageError: as `count_frames`, or when a frame turns out to be damaged.
    """
    if is_video(path):
        with _opened(path) as container, decoding(str(path)):
            for frame in container.decode(video=0):
                yield frame.to_image()
    elif count_frames(path) == 1:
        yield open_picture(path)
    else:
        with decoding(str(path)), Image.open(path) as animation:
            for frame in ImageSequence.Iterator(animation):
                yield to_rgb(frame.copy())


def _opened(path: Path):  # type: ignore[no-untyped-def]
    try:
        av = import_module("av")
    except ImportError as error:
        raise UsageError(f"{path} is a video, which needs the package av: pip install 'tenfold[video]'") from error
    try:
        container = av.open(str(path))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as a video: {error}") from error
    if not container.streams.video:
        container.close()
        raise UsageError(f"{path} holds no video")
    return container
