"""Reading videos frame by frame, and making them of frames."""

from __future__ import annotations

import bisect
import itertools
import os
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from arrayvision import check
from arrayvision.image import _files
from arrayvision.image.io import imread, imwrite

NEAR = 16  # frames forward that are decoded rather than jumped over


class Cache:
    """The values put in last, by key; the oldest goes when there are more than `capacity`.

    Examples
    --------
    >>> cache = Cache(1)
    >>> cache.put("a", 1), cache.put("b", 2), cache.get("a"), cache.get("b")
    (None, None, None, 2)
    """

    def __init__(self, capacity: int):
        self._cache: OrderedDict = OrderedDict()
        self._capacity = int(capacity)
        if capacity <= 0:
            raise ValueError(f"Cache: capacity must be at least 1, got {capacity}")

    @property
    def capacity(self) -> int:
        """How many values are kept."""
        return self._capacity

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self._cache)

    def put(self, key: Any, val: Any) -> None:
        """Keep a value; one that is there under this key stays."""
        if key in self._cache:
            return
        if len(self._cache) >= self._capacity:
            self._cache.popitem(last=False)
        self._cache[key] = val

    def get(self, key: Any, default: Any = None) -> Any:
        """The value under a key, or the default."""
        return self._cache.get(key, default)


class VideoReader:
    """A video as a sequence of frames: indexed, sliced, iterated, (H, W, 3) BGR uint8.

    Parameters
    ----------
    filename : str or path
        A file or URL; http(s):// is read by FFmpeg as it streams, other schemes that fsspec knows are fetched first.
    cache_capacity : int
        How many decoded frames to keep, at least 1: memory doesn't grow with the video's length. A frame in the cache is
        the array that was returned: copy it before drawing on it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    OSError
        If it can't be opened as a video, or is cut off (then when reading gets there).
    ValueError
        If cache_capacity isn't positive.

    Notes
    -----
    Jumps are exact. FFmpeg finds a frame by its time, which is its number only where frames come at a fixed rate. So the
    first jump reads the times of all frames from the container (without decoding), and a jump is believed only if the
    frame it arrives at has the time of the one wanted; otherwise frames are decoded from the start.

    Examples
    --------
    >>> video = VideoReader("cat.mp4")  # doctest: +SKIP
    >>> len(video), video.fps, video[5].shape, len(video[10:20:2])  # doctest: +SKIP
    (120, 25.0, (240, 320, 3), 5)
    """

    def __init__(self, filename: str | os.PathLike, cache_capacity: int = 10):
        if not isinstance(filename, (str, os.PathLike)):
            raise TypeError(f"VideoReader: filename must be a path, got {type(filename).__name__}")
        self._filename = os.fspath(filename)
        check.integer("VideoReader", "cache_capacity", cache_capacity, 1)
        self._source = _local(self._filename)
        self._vcap = self._open()
        self._cache = Cache(cache_capacity)
        self._position = 0  # of the frame that `read` gives next
        self._at = 0  # of the frame that FFmpeg decodes next
        self._grabbed = False  # whether frame `_at` is decoded, but not yet taken
        self._origin: float | None = None  # the first frame's time
        self._jumps = True  # whether seeking has worked so far
        self._times: list[float] | None = None
        self._count: int | None = None
        vcap = self._vcap
        self._width, self._height = int(vcap.get(cv2.CAP_PROP_FRAME_WIDTH)), int(vcap.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self._fps, self._fourcc = vcap.get(cv2.CAP_PROP_FPS), vcap.get(cv2.CAP_PROP_FOURCC)
        if self._width <= 0 or self._height <= 0:
            raise OSError(f"VideoReader: {self._filename} has no frames")

    def _open(self):
        for backend in (cv2.CAP_FFMPEG, cv2.CAP_ANY):
            vcap = cv2.VideoCapture(self._source, backend)
            if vcap.isOpened():
                return vcap
        raise OSError(f"VideoReader: {self._filename} can't be opened as a video")

    # -- what it is --
    @property
    def vcap(self) -> cv2.VideoCapture:
        """OpenCV's reader."""
        return self._vcap

    @property
    def opened(self) -> bool:
        """Whether it is open."""
        return self._vcap.isOpened()

    @property
    def width(self) -> int:
        """Of frames, in pixels."""
        return self._width

    @property
    def height(self) -> int:
        """Of frames, in pixels."""
        return self._height

    @property
    def resolution(self) -> tuple[int, int]:
        """(width, height)."""
        return self._width, self._height

    @property
    def fps(self) -> float:
        """Frames a second, on average."""
        return self._fps

    @property
    def frame_cnt(self) -> int:
        """How many frames there are: as MP4 and AVI tell, counted in other containers, which only estimate it."""
        if self._count is None:
            told = self._vcap.get(cv2.CAP_PROP_FRAME_COUNT)
            self._count = int(told) if 0 < told < 1 << 40 else 0
            if not self._count or not _tells_count(self._source):
                self._count = len(self._index()) or self._count
        return self._count

    @property
    def fourcc(self) -> float:
        """The codec's "four character code", as OpenCV numbers it."""
        return self._fourcc

    @property
    def position(self) -> int:
        """The number of the frame that `read` gives next."""
        return self._position

    # -- decoding --
    def _index(self) -> list[float]:
        """The time of each frame in milliseconds, in order, from the container; empty where that can't be told."""
        if self._times is None:
            times = []
            vcap = cv2.VideoCapture(self._source, cv2.CAP_FFMPEG)
            if vcap.isOpened() and vcap.set(cv2.CAP_PROP_FORMAT, -1):  # packets, not decoded
                while vcap.grab():
                    times.append(vcap.get(cv2.CAP_PROP_POS_MSEC))
            vcap.release()
            self._times = sorted(times)
        return self._times

    def _grab(self) -> bool:
        """Decode frame `_at`, if it isn't yet."""
        if not self._grabbed:
            self._grabbed = self._vcap.grab()
            if self._grabbed and self._at == 0 and self._origin is None:
                self._origin = self._vcap.get(cv2.CAP_PROP_POS_MSEC)
        return self._grabbed

    def _skip(self, count: int) -> bool:
        """Pass over frames by decoding them."""
        for _ in range(count):
            if not self._grab():
                return False
            self._grabbed = False
            self._at += 1
        return True

    def _rewind(self):
        self._vcap.release()
        self._vcap, self._at, self._grabbed = self._open(), 0, False

    def _jump(self, frame: int) -> bool:
        """Seek to a frame; False if it isn't certain that we got there, and `_at` is then unknown."""
        if self._origin is None and (self._at != 0 or not self._grab()):
            return False
        times = self._index()
        step = min((b - a for a, b in itertools.pairwise(times)), default=0.0)
        if frame >= len(times) or step <= 0:
            return False
        self._grabbed = False
        if not self._vcap.set(cv2.CAP_PROP_POS_FRAMES, frame) or not self._vcap.grab():
            return False
        time = self._vcap.get(cv2.CAP_PROP_POS_MSEC) - self._origin + times[0]
        found = bisect.bisect_left(times, time - step / 4)
        if found >= len(times) or abs(times[found] - time) > step / 4 or found > frame:
            return False
        self._at, self._grabbed = found, True
        return self._skip(frame - found)

    def _go(self, frame: int) -> bool:
        """Make `_at` this frame; False if the video ends before."""
        if frame == self._at:
            return True
        if 0 < frame - self._at <= NEAR:
            return self._skip(frame - self._at)
        if frame > NEAR:
            if self._origin is None and self._at:
                self._rewind()
            if self._jumps and self._jump(frame):
                return True
            self._jumps = False  # transport streams can't be sought: don't try each time
        self._rewind()
        return self._skip(frame)

    def _take(self, frame: int) -> np.ndarray | None:
        """Decode a frame; None if the video ends before."""
        if not self._vcap.isOpened():
            raise ValueError(f"VideoReader: {self._filename} is closed")
        if not self._go(frame) or not self._grab():
            return None
        done, img = self._vcap.retrieve()
        if not done:
            return None
        self._grabbed = False
        self._at += 1
        return img

    def _ended(self, frame: int) -> None:
        """Raise if the file is shorter than its container tells, or the video has far fewer frames."""
        if _cut_off(self._source):
            raise OSError(f"VideoReader: {self._filename} is cut off: it ends after {frame} frames")
        told = self._vcap.get(cv2.CAP_PROP_FRAME_COUNT)
        if _tells_count(self._source) and 0 < told < 1 << 40 and frame < told - max(2, told / 100):
            raise OSError(
                f"VideoReader: {self._filename} is damaged: it has {int(told)} frames, and ends after {frame}"
            )

    def read(self) -> np.ndarray | None:
        """The next frame; None after the last.

        Raises
        ------
        OSError
            If the file is cut off.
        """
        img = self._cache.get(self._position)
        if img is None:
            img = self._take(self._position)
            if img is None:
                self._ended(self._position)
                return None
            self._cache.put(self._position, img)
        self._position += 1
        return img

    def get_frame(self, frame_id: int) -> np.ndarray:
        """A frame by its number, from 0; `position` is then the next.

        Raises
        ------
        IndexError
            If there is no such frame.
        OSError
            If it can't be decoded.
        """
        frame_id = check.integer("VideoReader.get_frame", "frame_id", frame_id)
        if frame_id < 0 or frame_id >= self.frame_cnt:
            raise IndexError(f"VideoReader.get_frame: frame_id must be from 0 to {self.frame_cnt - 1}, got {frame_id}")
        self._position = frame_id
        img = self.read()
        if img is None:
            raise OSError(f"VideoReader: {self._filename}: frame {frame_id} can't be decoded")
        return img

    def current_frame(self) -> np.ndarray | None:
        """The frame that was given last; None before the first."""
        return None if self._position == 0 else self._cache.get(self._position - 1)

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1, prefetch: int = 4) -> Iterator[np.ndarray]:
        """Iterate over frames that a thread in the background decodes ahead.

        Neither `position` nor the cache changes. Frames that `step` leaves out are not converted to BGR.

        Parameters
        ----------
        start, stop, step : int
            As in a slice; step must be at least 1. Without stop (and with a start that isn't negative) to the end.
        prefetch : int
            How many frames may wait, at least 1.

        Yields
        ------
        array (H, W, 3)
            A new array each time.

        Raises
        ------
        ValueError
            If step or prefetch isn't positive.
        OSError
            If the file is cut off.
        """
        name = "VideoReader.frames"
        start, step = check.integer(name, "start", start), check.integer(name, "step", step, 1)
        prefetch = check.integer(name, "prefetch", prefetch, 1)
        stop = None if stop is None else check.integer(name, "stop", stop)
        if start < 0 or (stop is not None and stop < 0):
            start, stop, _ = slice(start, stop).indices(self.frame_cnt)
        return self._ahead(start, stop, step, prefetch)

    def _ahead(self, start, stop, step, prefetch):
        other = VideoReader(self._filename, 1)
        other._times = self._times
        ready: queue.Queue = queue.Queue(prefetch)
        leave = threading.Event()

        def give(item):
            while not leave.is_set():
                try:
                    return ready.put(item, timeout=0.1)
                except queue.Full:
                    continue

        def decode():
            try:
                frame = start
                while not leave.is_set() and (stop is None or frame < stop):
                    if frame > start and step > 1 and not other._skip(frame - other._at):
                        img = None
                    else:
                        img = other._take(frame)
                    if img is None:
                        other._ended(other._at)
                        break
                    give(img)
                    frame += step
                give(None)
            except BaseException as error:
                give(error)
            finally:
                other._vcap.release()

        thread = threading.Thread(target=decode, daemon=True, name="arrayvision-video")
        thread.start()
        try:
            while True:
                item = ready.get()
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            leave.set()
            thread.join()

    def cvt2frames(
        self,
        frame_dir: str,
        file_start: int = 0,
        filename_tmpl: str = "{:06d}.jpg",
        start: int = 0,
        max_num: int = 0,
        show_progress: bool = True,
    ) -> None:
        """Write frames as images.

        Parameters
        ----------
        frame_dir : str or path
            Their folder; made if need be.
        file_start : int
            The number in the first file's name.
        filename_tmpl : str
            A template of names; its extension chooses the format.
        start : int
            The first frame.
        max_num : int
            How many at most; 0 for all.
        show_progress : bool
            Show a progress bar.

        Raises
        ------
        ValueError
            If start isn't less than the number of frames, or a number is negative.
        OSError
            If a frame can't be decoded or written.
        """
        name = "VideoReader.cvt2frames"
        for argument, value in (("file_start", file_start), ("start", start), ("max_num", max_num)):
            check.integer(name, argument, value, 0)
        count = self.frame_cnt - start
        if count <= 0:
            raise ValueError(f"{name}: start must be less than the {self.frame_cnt} frames, got {start}")
        count = min(count, max_num) if max_num else count
        os.makedirs(frame_dir, exist_ok=True)
        self._position = start
        for i in tqdm(range(count), desc="frames", disable=not show_progress):
            img = self.read()
            if img is None:
                break
            imwrite(img, os.path.join(frame_dir, filename_tmpl.format(file_start + i)))

    # -- as a sequence --
    def __len__(self) -> int:
        return self.frame_cnt

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self.get_frame(i) for i in range(*index.indices(self.frame_cnt))]
        index = check.integer("VideoReader", "index", index)
        if not -self.frame_cnt <= index < self.frame_cnt:
            raise IndexError(f"VideoReader: index must be from {-self.frame_cnt} to {self.frame_cnt - 1}, got {index}")
        return self.get_frame(index % self.frame_cnt)

    def __iter__(self) -> VideoReader:
        self._position = 0
        return self

    def __next__(self) -> np.ndarray:
        img = self.read()
        if img is None:
            raise StopIteration
        return img

    next = __next__

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *error: object) -> None:
        self._vcap.release()


def _local(filename):
    """What FFmpeg opens: a path, or an address it reads itself."""
    if filename.startswith(("http://", "https://", "rtsp://", "rtmp://")):
        return filename
    if _files.is_url(filename):
        import fsspec

        return fsspec.open_local(f"simplecache::{filename}")
    if os.path.isdir(filename):
        raise IsADirectoryError(f"VideoReader: {filename} is a folder")
    if not os.path.isfile(filename):
        raise FileNotFoundError(f"VideoReader: there is no {filename}")
    if os.path.getsize(filename) == 0:
        raise OSError(f"VideoReader: {filename} is empty")
    return filename


def _tells_count(source):
    """Whether a file is of a container that stores the number of frames: MP4 and its kin, AVI."""
    try:
        with open(source, "rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return head[4:8] == b"ftyp" or (head[:4] == b"RIFF" and head[8:] == b"AVI ")


def _cut_off(source):
    """Whether a file is shorter than the sizes in its MP4, AVI or Matroska structure tell."""
    try:
        size = os.path.getsize(source)
        with open(source, "rb") as file:
            head = file.read(64)
            if head[:4] == b"RIFF":
                return int.from_bytes(head[4:8], "little") + 8 > size
            if head[:4] == b"\x1a\x45\xdf\xa3":  # EBML's header, then the segment with everything else
                length, start = _vint(head, 4)
                at = start + length
                length, start = _vint(head, at + 4)
                return head[at : at + 4] == b"\x18\x53\x80\x67" and length is not None and start + length > size
            at = 0
            while head[4:8] == b"ftyp" and at + 8 <= size:  # boxes, one after another
                file.seek(at)
                box = file.read(16)
                length = int.from_bytes(box[:4], "big")
                if length == 1:
                    length = int.from_bytes(box[8:16], "big")
                if length < 8:  # 0: to the end of the file
                    return False
                at += length
            return at > size
    except (OSError, IndexError, TypeError):
        return False


def _vint(data, at):
    """An EBML number (None if it is unknown), and where it ends."""
    width = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + width], "big") & (1 << 7 * width) - 1
    return (None if value == (1 << 7 * width) - 1 else value), at + width


def frames2video(
    frame_dir: str,
    video_file: str,
    fps: float = 30,
    fourcc: str = "XVID",
    filename_tmpl: str = "{:06d}.jpg",
    start: int = 0,
    end: int = 0,
    show_progress: bool = True,
) -> None:
    """Join images to a video.

    Parameters
    ----------
    frame_dir : str or path
        Their folder.
    video_file : str or path
        The video; its extension chooses the container. Parent folders are made; a failed write leaves what was there.
    fps : float
        Frames a second, greater than 0.
    fourcc : str
        The codec's "four character code", one that the container takes ("XVID" for .avi, "mp4v" for .mp4).
    filename_tmpl : str
        The template of the images' names.
    start, end : int
        Numbers of the first image, and of the one after the last; 0 as end counts the folder's files of that extension.
    show_progress : bool
        Show a progress bar.

    Raises
    ------
    FileNotFoundError
        If an image is missing.
    ValueError
        If a number is out of range, images are of different sizes, or one is damaged.
    OSError
        If the video can't be written with this codec.
    """
    name = "frames2video"
    fps = check.number(name, "fps", fps, above=0)
    if not np.isfinite(fps):
        raise ValueError(f"{name}: fps must be finite, got {fps}")
    if not isinstance(fourcc, str) or len(fourcc) != 4:
        raise ValueError(f"{name}: fourcc must be a string of 4 characters, got {fourcc!r}")
    start, end = check.integer(name, "start", start, 0), check.integer(name, "end", end, 0)
    if not os.path.isdir(frame_dir):
        raise FileNotFoundError(f"{name}: there is no folder {os.fspath(frame_dir)}")
    if end == 0:
        extension = os.path.splitext(filename_tmpl)[1]
        end = sum(entry.name.endswith(extension) and entry.is_file() for entry in os.scandir(frame_dir))
    path: Callable[[int], str] = lambda i: os.path.join(frame_dir, filename_tmpl.format(i))  # noqa: E731
    if not os.path.isfile(path(start)):
        raise FileNotFoundError(f"{name}: there is no first image {path(start)}")
    if end <= start:
        raise ValueError(f"{name}: end must be greater than start, got {end} and {start}")
    h, w = imread(path(start), backend="cv2").shape[:2]
    with _files.replacing(os.fspath(video_file)) as part:
        writer = cv2.VideoWriter(part, cv2.VideoWriter.fourcc(*fourcc), fps, (w, h))
        try:
            if not writer.isOpened():
                raise OSError(f"{name}: {os.fspath(video_file)} can't be written with fourcc {fourcc!r}")
            for i in tqdm(range(start, end), desc="frames", disable=not show_progress):
                img = imread(path(i), backend="cv2")
                if img.shape[:2] != (h, w):
                    raise ValueError(f"{name}: {path(i)} must be {w} x {h} pixels, got {img.shape[1]} x {img.shape[0]}")
                writer.write(img)
        finally:
            writer.release()
        if os.path.getsize(part) == 0:
            raise OSError(f"{name}: {os.fspath(video_file)} can't be written with fourcc {fourcc!r}")
