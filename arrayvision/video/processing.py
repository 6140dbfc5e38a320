"""Converting, resizing, cutting and joining videos with ffmpeg."""

from __future__ import annotations

import collections
import functools
import logging
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from arrayvision import check
from arrayvision.image import _files
from arrayvision.video import _names

_LEVELS = ("quiet", "panic", "fatal", "error", "warning", "info", "verbose", "debug", "trace")
_log = logging.getLogger("arrayvision.video")


@functools.cache
def ffmpeg() -> str:
    """The path of ffmpeg: that of imageio-ffmpeg, else one on the PATH; ImportError without either."""
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        found = shutil.which("ffmpeg")
        if found is None:
            raise ImportError(
                'imageio-ffmpeg (or ffmpeg on the PATH) is needed for this: pip install "arrayvision[video]"'
            ) from None
        return found


def _input(name, file):
    if not isinstance(file, (str, os.PathLike)):
        raise TypeError(f"{name}: a video must be a path, got {type(file).__name__}")
    file = os.fspath(file)
    if _files.is_url(file):
        return file
    if "\0" in file:
        raise ValueError(f"{name}: a path must hold no null byte, got {file!r}")
    if os.path.isdir(file):
        raise IsADirectoryError(f"{name}: {file} is a folder")
    if not os.path.exists(file):
        raise FileNotFoundError(f"{name}: there is no {file}")
    return file


def _level(name, level):
    return check.choice(name, "log_level", level, _LEVELS)


def _convert(name, in_file, out_file, print_cmd, before, options):
    """Run ffmpeg on a file, with a progress bar where a terminal is; its own words in the error if it fails."""
    source = _input(name, in_file)
    asked = tuple(before[at + 1] for at, option in enumerate(before[:-1]) if option == "-f")
    with _names.plain([source]) as (plain,):
        _write(name, [source], plain, out_file, print_cmd, before, options, asked)


def _write(name, sources, plain, out_file, print_cmd, before, options, formats):
    if not isinstance(out_file, (str, os.PathLike)):
        raise TypeError(f"{name}: out_file must be a path, got {type(out_file).__name__}")
    target = os.fspath(out_file)
    arguments = []
    for key, value in options.items():
        if key == "log_level":
            arguments += ["-loglevel", _level(name, value)]
        elif value is True:
            arguments.append(f"-{key}")
        elif value is not False:
            for one in value if isinstance(value, (list, tuple)) else [value]:
                arguments += [f"-{key}", str(one)]
    program = ffmpeg()
    if print_cmd:
        print(shlex.join([program, "-y", *before, "-i", plain, *arguments, target]))
    command = [program, "-nostdin", "-y", *_names.confined(program, sources, formats), *before, "-i", plain, *arguments]
    source = sources[0] if len(sources) == 1 else f"{len(sources)} videos"
    if _files.is_url(target):
        _run(name, command, target, source)
        return
    _names.check_written(name, target)
    folder, file = os.path.split(os.path.realpath(target))
    if _names.numbered(target):
        os.makedirs(folder, exist_ok=True)
        _run(name, command, f"file:{file}", source, folder)
        return
    if any(os.path.realpath(target) == os.path.realpath(one) for one in sources if not _files.is_url(one)):
        raise ValueError(f"{name}: out_file must be another than in_file, got {target}")
    with _files.replacing(target) as part:
        folder, file = os.path.split(part)
        _run(name, command, f"file:{file}", source, folder)  # what means something in a folder's name is not seen


def _run(name, command, target, source, folder=None):
    words: collections.deque = collections.deque(maxlen=200)
    # Errors are always asked for, to raise them; they go to the log at the level the caller chose.
    if "-loglevel" in command and command[command.index("-loglevel") + 1] in ("quiet", "panic", "fatal"):
        at = command.index("-loglevel") + 1
        command = [*command[:at], "error", *command[at + 1 :]]
    process = subprocess.Popen(
        [*command, "-progress", "pipe:1", "-nostats", target],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    bar = tqdm(desc=name, unit="s", disable=None)

    def listen():
        for line in process.stderr:
            words.append(line.rstrip())
            _log.debug("%s", line.rstrip())
            length = re.search(r"Duration: (\d+):(\d+):(\d+)", line)
            if length and not bar.disable and not bar.total:
                h, m, s = map(int, length.groups())
                bar.total = 3600 * h + 60 * m + s

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        for line in process.stdout:
            key, _, value = line.strip().partition("=")
            if key == "out_time_us" and value.isdigit() and not bar.disable:
                bar.n = int(value) // 1_000_000
                bar.refresh()
        code = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        listener.join()
        process.stdout.close()
        process.stderr.close()
        bar.close()
    if code:
        said = "\n".join(list(words)[-12:]) or f"exit status {code}"
        raise OSError(f"{name}: ffmpeg failed on {source}:\n{said}")


def convert_video(in_file: str, out_file: str, print_cmd: bool = False, pre_options: str = "", **kwargs: Any) -> None:
    """Convert a video with ffmpeg: ``ffmpeg -y <pre_options> -i <in_file> <options> <out_file>``.

    Parameters
    ----------
    in_file : str or path
        The video, a path or an address that ffmpeg reads. Nothing else is read: a file that lists others is refused, unless
        its format is asked for in pre_options (``-f concat``).
    out_file : str or path
        The result; its extension chooses the container. Parent folders are made; a failed run leaves what was there. A name
        with ``%d`` or ``%03d`` and an image's extension stands for numbered images, one a frame.
    print_cmd : bool
        Print the command, without the options that keep ffmpeg to the file.
    pre_options : str
        Options before ``-i``, split as a shell does.
    **kwargs
        ffmpeg's options: ``key=value`` becomes ``-key value``, ``key=True`` ``-key``, ``key=False`` nothing, a list
        several; ``log_level`` becomes ``-loglevel``. No shell reads them. ffmpeg's output goes to the logger
        "arrayvision.video".

    Raises
    ------
    FileNotFoundError
        If there is no in_file.
    OSError
        If ffmpeg fails, with what it says.
    ValueError
        If out_file is in_file, or a playlist (".m3u8"), which is written with other files.
    ImportError
        If there is no ffmpeg; names the extra to install.

    Examples
    --------
    >>> convert_video("cat.avi", "cat.mp4", vcodec="libx264", crf=23, an=True)  # doctest: +SKIP
    """
    _convert("convert_video", in_file, out_file, print_cmd, shlex.split(pre_options), kwargs)


def resize_video(
    in_file: str,
    out_file: str,
    size: tuple | None = None,
    ratio: tuple | float | None = None,
    keep_ar: bool = False,
    log_level: str = "info",
    print_cmd: bool = False,
) -> None:
    """Resize a video.

    Parameters
    ----------
    in_file, out_file, print_cmd
        As for `convert_video`.
    size : (int, int), optional
        (w, h); -1 for one of them keeps the aspect ratio, -2 does so with an even number.
    ratio : float or (float, float), optional
        Factors of width and height. Give either size or ratio.
    keep_ar : bool
        Make it as large as fits into size with its aspect ratio.
    log_level : str
        ffmpeg's, from "quiet" to "trace".

    Raises
    ------
    ValueError
        If both or neither of size and ratio are given, or a number is out of range.
    OSError, ImportError
        As `convert_video`.
    """
    name = "resize_video"
    if (size is None) == (ratio is None):
        raise ValueError(f"{name}: give either size or ratio, got {'neither' if size is None else 'both'}")
    if size is not None:
        if not isinstance(size, (tuple, list)) or len(size) != 2:
            raise ValueError(f"{name}: size must be (w, h), got {size!r}")
        w, h = (check.integer(name, "size", s, -2) for s in size)
        if w == 0 or h == 0 or (w < 0 and h < 0):
            raise ValueError(f"{name}: size must have a positive number, and none that is 0, got {tuple(size)}")
        scale = f"scale=w={w}:h={h}" + (":force_original_aspect_ratio=decrease" if keep_ar else "")
    else:
        factors = ratio if isinstance(ratio, tuple) else (ratio, ratio)
        if len(factors) != 2:
            raise ValueError(f"{name}: ratio must be a number or two, got {len(factors)}")
        fw, fh = (check.number(name, "ratio", f, above=0) for f in factors)
        if fw == float("inf") or fh == float("inf"):
            raise ValueError(f"{name}: ratio must be finite, got {ratio}")
        scale = f"scale=w=trunc(iw*{fw!r}):h=trunc(ih*{fh!r})"
    _convert(name, in_file, out_file, print_cmd, [], {"log_level": log_level, "vf": scale})


def cut_video(
    in_file: str,
    out_file: str,
    start: float | None = None,
    end: float | None = None,
    vcodec: str | None = None,
    acodec: str | None = None,
    log_level: str = "info",
    print_cmd: bool = False,
) -> None:
    """Cut a piece out of a video.

    Parameters
    ----------
    in_file, out_file, print_cmd
        As for `convert_video`.
    start, end : float, optional
        Seconds; the beginning and the end by default.
    vcodec, acodec : str, optional
        Encoders; None copies the stream as it is, which can begin at key frames only.
    log_level : str
        ffmpeg's.

    Raises
    ------
    ValueError
        If start is negative, or end not greater.
    OSError, ImportError
        As `convert_video`.
    """
    name = "cut_video"
    first = check.number(name, "start", start, 0) if start is not None else 0.0
    options: dict = {"log_level": log_level, "vcodec": vcodec or "copy", "acodec": acodec or "copy"}
    if first:
        options["ss"] = first
    if end is not None and end != 0:
        options["t"] = check.number(name, "end", end, above=first) - first
    _convert(name, in_file, out_file, print_cmd, [], options)


def concat_video(
    video_list: Sequence,
    out_file: str,
    vcodec: str | None = None,
    acodec: str | None = None,
    log_level: str = "info",
    print_cmd: bool = False,
) -> None:
    """Join videos one after another.

    Parameters
    ----------
    video_list : sequence of str or path
        Videos of one size and codec.
    out_file, print_cmd
        As for `convert_video`.
    vcodec, acodec : str, optional
        Encoders; None copies the streams as they are.
    log_level : str
        ffmpeg's.

    Raises
    ------
    ValueError
        If there are none.
    OSError, ImportError
        As `convert_video`.
    """
    name = "concat_video"
    if isinstance(video_list, (str, bytes, os.PathLike)) or not hasattr(video_list, "__len__"):
        raise TypeError(f"{name}: video_list must be a sequence of paths, got {type(video_list).__name__}")
    if len(video_list) == 0:
        raise ValueError(f"{name}: video_list must have a video, got none")
    paths = [_input(name, video) for video in video_list]
    for path in paths:
        if not _files.is_url(path):
            _names.check_one(name, path)
    options = {"log_level": log_level, "vcodec": vcodec or "copy", "acodec": acodec or "copy"}
    with tempfile.TemporaryDirectory() as folder, _names.plain(paths) as plain:
        listing = os.path.join(folder, "videos.txt")
        with open(listing, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            for path in plain:
                quoted = path.replace("'", "'\\''")
                file.write(f"file '{quoted}'\n")
        before = ["-f", "concat", "-safe", "0"]
        sources = [listing, *paths]
        _write(name, sources, f"file:{listing}", out_file, print_cmd, before, options, ("concat",))
