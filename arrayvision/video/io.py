"""Reading videos frame by frame, and making them of frames."""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from arrayvision import check
from arrayvision.image import _files
from arrayvision.image.io import imread, imwrite
from arrayvision.video import _names
from arrayvision.video._decoder import Decoder


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


_readers: weakref.WeakSet[VideoReader] = weakref.WeakSet()


def _forked() -> None:
    for reader in list(_readers):
        reader._fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


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
    A number always gives that frame, or an OSError. Frames that an edit list hides have no number. Behind a damaged packet
    all frames that are predicted from it are errors, which is until the next key frame; those after it have the numbers
    that they have in the whole file.

    Limits, where a file has nothing that would tell more:

    - Damage that no decoder sees gives wrong pixels, in frames up to the next key frame. H.264 and MPEG-1, 2 and 4 show
      nearly all but single bytes, HEVC with hashes, FFV1 of version 3, PNG and DV all of it; VP8, VP9, AV1, HEVC, Theora,
      WMV, MS-MPEG4, Motion JPEG, FFV1 of version 1 and GIF take many bytes for other pictures; raw video, Huffyuv, Ut Video
      and JPEG 2000 any.
    - Raw streams (.h264, .hevc, .m2v) and MPEG program streams (.mpg, .vob) don't number frames. What is behind a packet
      that is seen to be damaged is an error to the end. A packet that vanished unseen shifts the numbers behind it; so do
      damaged blocks of GIF, NUT and ASF that still look like some.
    - Where the beginning of a file without an index was lost (Matroska, TS, FLV, ASF, MXF; AVI too, if the header of its
      first chunk is damaged, for which FFmpeg lets go of the index), numbers count from what is left; where its end was,
      `len` counts what is left, and reading past it is an OSError.
    - H.264 of a stream refreshed bit by bit, without other key frames, gives errors from damage to the end, and is decoded
      from the beginning at a jump.
    - In AVI, MPEG-4 whose B-frames are packed in pairs (old DivX and XviD) has errors around damage, and one more frame or
      less there. H.264 in AVI, and that of which packets are fields, is decoded once as a whole at the first jump, since
      its packets have no times.

    Threads may share a reader: one reads at a time. A forked process goes on with a decoder of its own. A reader is pickled
    as path, capacity and position, and opened again when it is used.

    A file that lists others (a playlist, a script of FFmpeg's) is refused: nothing but the file is read.

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
        self._capacity = check.integer("VideoReader", "cache_capacity", cache_capacity, 1)
        self._source = _local(self._filename)
        self._position = 0  # of the frame that `read` gives next
        self._closed = False
        self._count: int | None = None
        self._size: tuple[int, int] | None = None
        self._fourcc: float | None = None
        self._start()
        self._fps = self._open().fps

    def _start(self) -> None:
        """What neither a pickle nor a forked process takes over."""
        self._lock = threading.RLock()
        self._cache = Cache(self._capacity)
        self._decoder: Decoder | None = None
        self._table: Any = None
        self._seen: cv2.VideoCapture | None = None
        _readers.add(self)

    def _fork(self) -> None:
        cache, table = self._cache, self._table
        if self._seen is not None:  # OpenCV's would wait for threads of the parent, too
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._seen))
        self._start()
        self._cache, self._table = cache, table

    def __getstate__(self) -> dict:
        live = ("_lock", "_cache", "_decoder", "_table", "_seen")
        return {name: value for name, value in self.__dict__.items() if name not in live}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._start()

    def _open(self) -> Decoder:
        """The decoder, opened if it isn't."""
        if self._closed:
            raise ValueError(f"VideoReader: {self._filename} is closed")
        if self._decoder is None:
            if not os.path.exists(self._source):
                self._source = _local(self._filename)
            self._decoder = Decoder(self._source, self._table)
        return self._decoder

    # -- what it is --
    @property
    def vcap(self) -> cv2.VideoCapture:
        """A reader of OpenCV's, opened for the same file when this is first asked for; its position is its own."""
        with self._lock:
            if self._seen is None:
                with _names.plain([self._source]) as (name,):
                    self._seen = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
                if self._closed:
                    self._seen.release()
            return self._seen

    @property
    def opened(self) -> bool:
        """Whether it is open."""
        return not self._closed

    @property
    def width(self) -> int:
        """Of frames, in pixels."""
        return self.resolution[0]

    @property
    def height(self) -> int:
        """Of frames, in pixels."""
        return self.resolution[1]

    @property
    def resolution(self) -> tuple[int, int]:
        """(width, height)."""
        if self._size is None:
            with self._lock:
                self._size = self._open().size()
        return self._size

    @property
    def fps(self) -> float:
        """Frames a second, on average."""
        return self._fps

    @property
    def frame_cnt(self) -> int:
        """How many frames are shown: as MP4 and AVI tell, counted in other containers, which only estimate it."""
        if self._count is None:
            with self._lock:
                self._count = self._open().count()
        return self._count

    @property
    def fourcc(self) -> float:
        """The codec's "four character code", as OpenCV numbers it."""
        if self._fourcc is None:
            self._fourcc = self.vcap.get(cv2.CAP_PROP_FOURCC)
        return self._fourcc

    @property
    def position(self) -> int:
        """The number of the frame that `read` gives next."""
        return self._position

    # -- decoding --
    def _take(self, decoder: Decoder, number: int) -> np.ndarray | None:
        """Frame `number`; None after the last."""
        try:
            frame = decoder.take(number)
        except OSError:
            if _cut_off(self._source):
                raise OSError(f"VideoReader: {self._filename} is cut off: frame {number} can't be decoded") from None
            raise
        finally:
            if decoder.numbered:
                self._table = decoder.table
        if frame is not None:
            return decoder.picture(frame)
        count = decoder.count()
        if _cut_off(self._source):
            raise OSError(f"VideoReader: {self._filename} is cut off: it ends after {count} frames")
        fault = decoder.fault() if count else "it has no frame that can be read"
        if fault is not None:
            raise OSError(f"VideoReader: {self._filename} is damaged: {fault}")
        return None

    def read(self) -> np.ndarray | None:
        """The next frame; None after the last.

        Raises
        ------
        OSError
            If it can't be decoded, and `position` is then that of the one after it; or if the file is cut off.
        ValueError
            If the reader is closed.
        """
        with self._lock:
            decoder, number = self._open(), self._position
            img = self._cache.get(number)
            if img is None:
                try:
                    img = self._take(decoder, number)
                except OSError:
                    if number < decoder.count():
                        self._position = number + 1
                    raise
                if img is None:
                    return None
                self._cache.put(number, img)
            self._position = number + 1
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
        with self._lock:
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
            If a frame can't be decoded, or the file is cut off.
        """
        name = "VideoReader.frames"
        start, step = check.integer(name, "start", start), check.integer(name, "step", step, 1)
        prefetch = check.integer(name, "prefetch", prefetch, 1)
        stop = None if stop is None else check.integer(name, "stop", stop)
        if start < 0 or (stop is not None and stop < 0):
            start, stop, _ = slice(start, stop).indices(self.frame_cnt)
        return self._ahead(start, stop, step, prefetch)

    def _ahead(self, start, stop, step, prefetch):
        frame, going = start, True
        while going:
            process, going = os.getpid(), False
            with contextlib.closing(self._decoded(frame, stop, step, prefetch)) as ready:
                for img in ready:
                    yield img
                    frame += step
                    if os.getpid() != process:  # forked in between: the thread is the parent's, begin another
                        going = True
                        break

    def _decoded(self, start, stop, step, prefetch):
        with self._lock:
            self._open()
        ready: queue.Queue = queue.Queue(prefetch)
        leave = threading.Event()

        def give(item):
            while not leave.is_set():
                try:
                    return ready.put(item, timeout=0.1)
                except queue.Full:
                    continue

        def decode():
            decoder = None
            try:
                decoder, frame = Decoder(self._source, self._table), start
                while not leave.is_set() and (stop is None or frame < stop):
                    img = self._take(decoder, frame)
                    if img is None:
                        break
                    give(img)
                    frame += step
                give(None)
            except BaseException as error:
                give(error)
            finally:
                if decoder is not None:
                    decoder.close()

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
        for i in tqdm(range(count), desc="frames", disable=not show_progress):
            img = self.get_frame(start + i)
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
        with self._lock:
            self._closed = True
            if self._decoder is not None:
                self._decoder.close()
            if self._seen is not None:
                self._seen.release()


def _local(filename):
    """What FFmpeg opens: a path, or an address it reads itself."""
    if _names.is_address(filename):
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
    return os.path.abspath(filename)  # which stays the file if the working directory changes


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
        If a number is out of range, images are of different sizes, one is damaged, or video_file's extension is that of an
        image or a playlist.
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
    _names.check_written(name, os.fspath(video_file), images=False)
    h, w = imread(path(start), backend="cv2").shape[:2]
    with _files.replacing(os.fspath(video_file)) as part:
        if not _names.is_text(part):  # on which OpenCV crashes
            raise ValueError(
                f"{name}: video_file's folder must have a name that is text, got {os.path.dirname(part)!r}"
            )
        writer = cv2.VideoWriter(part, cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*fourcc), fps, (w, h))
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
