"""FFmpeg reads the file that was named, and no other: as a library, and as a program."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

import av
import av.error

from arrayvision.image import _files

NETWORK = ("http", "https", "httpproxy", "tcp", "tls", "crypto", "udp", "rtp", "srtp", "rtsp", "rtmp", "rtmps", "srt")
_LISTS = {"concat", "concatf", "dash", "hls", "imf", "lavfi", "rtp", "rtsp", "sap", "sdp", "vobsub"}  # name other files
_MANIFESTS = {".f4m", ".ffconcat", ".ism", ".isml", ".m3u", ".m3u8", ".mpd"}  # are written with others beside them
# What FFmpeg may take for a pattern or the end of a line, and what isn't text, on which OpenCV crashes.
_PATTERN = re.compile("[%*?{}\x00-\x1f\ud800-\udfff]")
_NUMBERED = re.compile(r"[^%]*%(0\d+)?d[^%]*")
_IMAGES = {".bmp", ".jpeg", ".jpg", ".jp2", ".pbm", ".pgm", ".png", ".ppm", ".tga", ".tif", ".tiff", ".webp"}


def is_address(source: str) -> bool:
    """Whether FFmpeg itself reads this as a stream."""
    return source.startswith(("http://", "https://", "rtsp://", "rtmp://"))


def is_text(path: str) -> bool:
    """Whether a name is text, rather than bytes that Python keeps as surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in path)


class _Bytes:
    """A file without a name: what FFmpeg is given has no directory, no extension and no protocol."""

    def __init__(self, path: str):
        file = open(path, "rb", buffering=0)  # noqa: SIM115
        self.read, self.seek, self.tell, self.close = file.read, file.seek, file.tell, file.close


def opened(function: str, source: str, **options: str) -> tuple[Any, Any]:
    """PyAV's container of a file or an address, and the file beneath it, to be closed after it.

    FFmpeg reads the bytes of a file through us, and no protocol is allowed besides, so whatever they say, no other file is
    read.

    Raises
    ------
    OSError
        If it can't be opened, or isn't what FFmpeg reads.
    """
    file: Any = None
    try:
        if is_address(source):
            options["protocol_whitelist"] = ",".join(NETWORK)
            return av.open(source, options=options, metadata_errors="replace", timeout=30), None
        options["protocol_whitelist"] = "none"
        file = _Bytes(source)
        return av.open(file, options=options, metadata_errors="replace", buffer_size=1 << 16), file
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if file is not None:
            file.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise OSError(f"{function}: {source} can't be opened as a video: {reason}") from None


# ---- the program -----------------------------------------------------------------------------------------------------
@functools.cache
def _formats(program: str) -> tuple[str, ...]:
    """What this ffmpeg reads."""
    said = subprocess.run([program, "-hide_banner", "-demuxers"], capture_output=True, text=True, errors="replace")
    names = re.findall(r"^ +D[ d]* +([\w,]+) ", said.stdout, re.MULTILINE)
    return tuple(dict.fromkeys(name for some in names for name in some.split(",")))


def confined(program: str, sources: list[str], also: tuple[str, ...] = ()) -> list[str]:
    """Options of an input that keep ffmpeg to it: a file's own bytes, or the network for an address.

    Parameters
    ----------
    program : str
        ffmpeg.
    sources : list of str
        What it reads.
    also : tuple of str
        Formats that the caller asked for.
    """
    schemes = [source.partition("://")[0] for source in sources if _files.is_url(source)]
    if schemes:
        local = ["file"] if len(schemes) < len(sources) else []
        return ["-protocol_whitelist", ",".join(dict.fromkeys([*local, *NETWORK, *schemes]))]
    formats = [name for name in _formats(program) if name not in _LISTS] + list(also)
    return ["-protocol_whitelist", "file", *(["-format_whitelist", ",".join(formats)] if formats else [])]


def check_one(function: str, path: str) -> None:
    """OSError unless a file can be read by itself."""
    container, file = opened(function, path)
    container.close()
    file.close()


@contextlib.contextmanager
def plain(paths: list[str]) -> Iterator[list[str]]:
    """Names of files that mean nothing but these files to ffmpeg; addresses stay as they are.

    A path is given with "file:", so that neither "-" nor ":" in it means something. One with characters of patterns, a
    newline or bytes that are no text is linked under another name.
    """
    with contextlib.ExitStack() as stack:
        names = []
        for number, path in enumerate(paths):
            if not _files.is_url(path):
                path = os.path.abspath(path)
                if _PATTERN.search(path):
                    folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
                    path = _linked(path, os.path.join(folder, f"{number}{_extension(path)}"))
                path = f"file:{path}"
            names.append(path)
        yield names


def _extension(path):
    extension = os.path.splitext(path)[1]
    return "" if _PATTERN.search(extension) else extension


def _linked(path, name):
    for put in (os.symlink, os.link, shutil.copyfile):
        try:
            put(path, name)
            return name
        except (OSError, NotImplementedError):
            if put is shutil.copyfile:
                raise
    return name


def numbered(target: str) -> bool:
    """Whether a name stands for numbered images, as "%03d.png" does."""
    name = os.path.basename(target)
    return _NUMBERED.fullmatch(name) is not None and os.path.splitext(name)[1].lower() in _IMAGES


def check_written(function: str, target: str, images: bool = True) -> None:
    """ValueError if a name is none, or of what is written with other files beside it.

    Parameters
    ----------
    function : str
        What was called.
    target : str
        The name of a file to write.
    images : bool
        Whether it may be an image.
    """
    if "\0" in target:
        raise ValueError(f"{function}: a path must hold no null byte, got {target!r}")
    extension = os.path.splitext(target)[1].lower()
    if extension in _MANIFESTS or (extension in _IMAGES and not images):
        what = "a list of other files" if extension in _MANIFESTS else "an image"
        raise ValueError(f"{function}: {target} would be {what}, not a video: use the extension of a container")
