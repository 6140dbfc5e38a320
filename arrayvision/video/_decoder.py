"""Frames by their number, decoded by PyAV: exactly that frame, or an error.

The decoder is given the places of packets instead of times, so each frame that comes out tells of which packet it is.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import re
import weakref
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter

from arrayvision.video import _checks, _names, _table
from arrayvision.video._table import DAMAGED, KEY, NONE, PARTIAL, REORDER, SHOWN, Packets, Table

NEAR = 16  # frames forward that are decoded rather than jumped over
_GENPTS = 1  # AVFMT_FLAG_GENPTS: FFmpeg makes up times that the container lacks
_PROGRESSIVE = 1  # AV_FIELD_PROGRESSIVE
_B = 3  # AV_PICTURE_TYPE_B
_THREADS = 8  # frames decoded at once, at most
_DELAYED = 15  # frames that FFmpeg's decoder of H.264 can hold back
_TYPED = {"mpeg1video", "mpeg2video", "mpeg4", "msmpeg4", "msmpeg4v2", "flv", "h263", "vc1", "wmv3", "rv30", "rv40"}
_MARKED = {"h264", "mpeg4", "rv30", "rv40"}  # decoded by frame threads, which mark frames as damaged
_PACKED = re.compile(rb"DivX\d+(Build|b)\d+p")
_RESYNC = re.compile(rb"\0\0[^\1\0]")  # between pieces of a picture of MPEG-4 that are decoded on their own

_decoders: weakref.WeakSet[Decoder] = weakref.WeakSet()


def _forked() -> None:
    """In a forked process: keep the parent's decoders for ever, since to close one is to wait for threads of the parent."""
    for decoder in list(_decoders):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(decoder))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class _Damage(Exception):
    """Decode again without frame threads, whose errors don't tell which packet they are of."""


class _Late(Exception):
    """Frames were not held back for as long as other frame threads may still mark them."""


class _Brief(Exception):
    """So few packets were sent that frame threads may still mark frames when they come at the end."""


class _Doubt(Exception):
    """The first packet has an error: others may have it, too, as this encoder's way."""


class _NoKey(Exception):
    """Decoding began at a packet that says it is a key frame, and gave another frame first."""


class _Untimed(Exception):
    """Frames don't come in the order of the times that the container gives."""


class _Uncounted(Exception):
    """Frames can't be counted as they come: all packets must be looked at first."""


class _Count:
    """Counts frames as they come, from the beginning, while nothing is odd."""

    def __init__(self, gaps: bool):
        self._gaps = gaps  # whether packets may lack where times do
        self._times: dict[int, int | None] = {}  # of frames that are to come, by place
        self.last: int | None = None  # the time of the frame that came last
        self._step: int | None = None  # the least time from one to the next
        self._clock: int | None = None  # when the last packet was decoded
        self._tick: int | None = None  # the least time from one packet to the next
        self.came = 0

    def expect(self, place: int, time: int | None, clock: int | None) -> None:
        """A packet is about to be sent."""
        if self._gaps and clock is not None:
            if self._clock is not None:
                tick = clock - self._clock
                if self._tick is not None and tick > 1.5 * self._tick:
                    raise _Uncounted  # what others are predicted from may lack
                self._tick = tick if self._tick is None or 0 < tick < self._tick else self._tick
            self._clock = clock
        self._times[place] = time

    def take(self, place: int) -> int | None:
        """The number of a packet's frame, which came; None if it isn't to be shown."""
        if place not in self._times:
            return None
        time = self._times.pop(place)
        for other, when in self._times.items():
            if other < place - 2 * REORDER or (when is not None and time is not None and when < time):
                raise _Uncounted  # that one should have come before
        if self._gaps and time is not None:
            if self.last is not None:
                step = time - self.last
                if self._step is not None and step > 1.5 * self._step:
                    raise _Uncounted
                self._step = step if self._step is None else min(step, self._step)
            self.last = time
        self.came += 1
        return self.came - 1

    def all_came(self) -> bool:
        """Whether no frame is still to come."""
        return not self._times


class Decoder:
    """A file and what decodes it, for one thread at a time.

    Frames are counted as they come, from the beginning. When one is asked for that isn't near, or something is odd, all
    packets are read once, without decoding, and make a table that gives each its number.

    Parameters
    ----------
    source : str
        A path or an address.
    table : Table, optional
        What another decoder of the same file found out.

    Raises
    ------
    OSError
        If it can't be opened as a video.
    """

    _packets: Iterator[Any]

    def __init__(self, source: str, table: Table | None = None):
        self.source, self.table = source, table
        self._careful = False  # after an error: without threads
        self._brief = False  # without threads, since few packets are left
        self._threads = 1  # frames that are decoded at once, where these are held back
        self._reorder = 2  # how far frames are out of order, as far as is known
        self._strict: bool | None = None  # whether decoders are asked to tell of all errors; None if that isn't settled
        self._vouched = False  # whether packets carry checksums: one that was right came
        self._timed = True  # whether the container's times are believed
        self._total: int | None = None  # how many frames came, if all did
        self._end = 0  # of the last packet that was read, in bytes
        self._reformatter, self._graph, self._graph_of = VideoReformatter(), None, None
        self._container: Any = None
        self._fields = False
        self._open()
        stream, context = self._stream, self._context
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate
        self.fps = float(rate) if rate else 0.0
        self.told = int(stream.frames or 0)  # how many frames the container says that there are
        self._size = context.width, context.height
        if min(self._size) <= 0:
            self.close()
            raise OSError(f"VideoReader: {source} has no frames")
        # MPEG-4 has packets that say "nothing new". Where frames are packed in pairs they stand for the second ones.
        self._packed = context.name == "mpeg4" and bool(_PACKED.search(context.extradata or b""))
        self._idle = 8 if context.name == "mpeg4" and not self._packed else 0  # the size of a packet without a frame
        # In H.264 the two fields of a frame may be packets of their own.
        self._fields = context.name == "h264" and context.field_order != _PROGRESSIVE and self._has_fields()
        self._check = _checks.packet_check(self._context.name)
        self._sound = None if _names.is_address(source) else _checks.sound(source, self._kind)
        if table is None and self._kind == "avi":
            self.table = self._outline()
        _decoders.add(self)

    def _open(self) -> None:
        self._container, self._file = _names.opened("VideoReader", self.source)
        videos = [s for s in self._container.streams.video if not s.disposition & s.disposition.attached_pic]
        if not videos or videos[0].codec_context is None:
            self._release()
            raise OSError(f"VideoReader: {self.source} can't be opened as a video: it has none that FFmpeg decodes")
        self._stream, self._context = videos[0], videos[0].codec_context
        self._kind = self._container.format.name.split(",")[0]
        self._container.flags &= ~_GENPTS
        for stream in self._container.streams:
            if stream is not self._stream:
                stream.discard = av.stream.Discard.all
        self._begin(0, self._read())
        self._context.thread_type = "AUTO"
        if self._strict is not False and self._context.name in _checks.STRICT:
            self._context.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
        self._threads = 1
        if self._careful or self._brief:
            # Not several for slices either: FFmpeg's decoders then don't look whether all of a frame came.
            self._context.thread_count = 1
        elif self._context.name in _MARKED:
            self._mark_in_time()

    def _mark_in_time(self) -> None:
        """Let frame threads mark no frame as damaged too late.

        A frame is often given out by the thread of a later packet, with the marks that it has when that thread has
        finished. Its own thread may still be at work then.
        """
        context = self._context
        if context.name == "h264":
            # Packet k is begun when k - threads is finished. So a frame has all its marks that is held back so long.
            self._threads = context.thread_count = max(min(os.cpu_count() or 1, _THREADS, _DELAYED - self._reorder), 1)
            if self._threads > 1:
                context.options = {"has_b_frames": str(self._reorder + self._threads)}
            return
        # An error comes in its packet's turn. But that pieces of a picture lack between others is only a mark.
        head = list(itertools.islice(self._packets, 1))
        self._packets = itertools.chain(head, self._packets)
        if context.name != "mpeg4" or any(_RESYNC.search(memoryview(packet)) for packet in head):
            context.thread_count = 1
        else:
            context.options = {"err_detect": "explode"}

    def close(self) -> None:
        """Let the file go."""
        if self._container is not None:
            # After this frame threads rest. One at work might want Python's lock, to log something, while we hold it and
            # wait for the thread's end.
            self._context.flush_buffers()
            self._packets = iter(())
            self._ready.clear()
            self._held.clear()
            self._release()

    def _release(self):
        self._container.close()
        if self._file is not None:
            self._file.close()
        self._container = self._stream = self._context = None

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    def _restart(self) -> None:
        self.close()
        self._open()

    @property
    def indexed(self) -> bool:
        """Whether the container has an index of all packets: MP4 and its kin, AVI."""
        return self._kind in ("mov", "avi")

    @property
    def numbered(self) -> bool:
        """Whether frames have numbers by a table."""
        return self.table is not None and self.table.numbers is not None

    # -- packets -------------------------------------------------------------------------------------------------------
    def _begin(self, place: int, packets: Iterator[Any]) -> None:
        """Packets come from this place on."""
        self._packets = packets
        self._start = place
        self._place = place - 1  # of the packet that was sent last
        self._next = self._least = 0  # the least number that may come yet, and that may come at all
        self._key = -1  # the number that has to come first
        table: Any = self.table
        if self.numbered and place:
            self._next = int(table.before[place])
            self._least = max(int(table.numbers[place]), 0)  # frames before the key frame lack what they need
            self._key = int(table.numbers[place]) if table.numbers[place] not in table.lost else -1
        self._highest = -1  # the number that came last
        self._ready: deque[tuple[int, Any]] = deque()  # numbers and frames
        self._held: deque[tuple[int, int, Any]] = deque()  # places, numbers and frames that aren't ready
        self._sent: set[int] = set()  # places of packets whose frames are still to come
        self._ended = False
        self._alone: set[int] = set()  # places of packets of which no other frame is predicted
        self._recent: deque[int] = deque()  # places of packets whose frames other threads may still mark
        self._sends = 0  # how many packets were sent
        self._count = _Count(gaps=not self.indexed)

    def _read(self) -> Iterator[Any]:
        """The video's packets; what can't be read is passed over."""
        faults = 0
        while faults < 16:
            try:
                for packet in self._container.demux(self._stream):
                    faults = 0
                    if packet.size:
                        self._end = max(self._end, (packet.pos or 0) + packet.size)
                        yield packet
                return
            except (av.error.EOFError, IndexError):  # PyAV doesn't know streams that appear in damaged bytes
                return
            except av.error.FFmpegError as error:
                if _names.is_address(self.source):
                    raise OSError(f"VideoReader: {self.source} can't be read: {error.strerror}") from None
                faults += 1

    def _shown(self, packet: Any) -> bool:
        """Whether a packet is of a frame that is shown: edit lists hide some, and codecs have others."""
        if packet.is_discard:
            return False
        if self._context.name in ("vp8", "libvpx"):
            return bool(memoryview(packet)[0] >> 4 & 1)
        return packet.size > self._idle

    def _enter(self, packet: Any) -> bool:
        """Find the place of a packet that is about to be sent; False if it is none of the video's."""
        place = self._place + 1
        if self.table is not None:
            found = self.table.place(_name(packet), place)
            if found is None and self.indexed:
                return False
            if found is not None and found != place:  # packets of the table aren't there
                if not self.numbered:
                    raise _Uncounted
                self._skip(range(place, found))
                place = found
        if self._careful and (packet.is_disposable or _disposable(self._context, packet)):
            self._alone.add(place)
        if not self.numbered and self._shown(packet):
            if place == 0 and not packet.is_keyframe:
                raise _Uncounted  # what it is predicted from was cut away
            if not self._fields:
                self._count.expect(
                    place, packet.pts, packet.dts if self._kind in ("mpegts", "flv", "nut", "asf") else None
                )
                self._sent.add(place)
        if self.table is not None and not self._fields and self.table.number(place) >= self._least:
            self._sent.add(place)
        self._place = packet.pts = place
        if self._threads > 1:
            self._sends += 1
            self._recent.append(place)
            if len(self._recent) >= 2 * self._threads + self._fields:
                self._recent.popleft()
        if self._check is not None or self._sound is not None:
            self._examine(packet)
        return True

    def _examine(self, packet):
        right = self._check is not None and self._check(memoryview(packet))
        self._vouched |= right
        beyond = self._sound is not None and packet.pos is not None and packet.pos + packet.size > self._sound
        if beyond or (self._vouched and not right):
            self._damaged(self._place, False)

    def _skip(self, places: Iterable[int]) -> None:
        table: Any = self.table
        for place in places:
            if table.numbers[place] >= self._least and int(table.numbers[place]) not in table.lost:
                self._damaged(place, False)

    def _number(self, place: int) -> int | None:
        """The number of the frame that came of a packet; None if it isn't to be given."""
        if not self.numbered:
            if not self._fields:
                return self._count.take(place)
            self._count.came += 1
            return self._count.came - 1
        table: Any = self.table
        number = int(table.numbers[place]) if place < len(table) else -1
        if number < self._least or number in table.lost:
            return None
        if number > self._key >= 0:
            raise _NoKey
        if number < self._highest:
            if self._timed and not table.lost:
                raise _Untimed
            return None  # out of order behind damage
        self._key, self._highest = -1, number
        return number

    def _pull(self) -> tuple[int, Any] | None:
        """The frame that comes next, with its number; None at the end."""
        while not self._ready and not self._ended:
            packet = next(self._packets, None)
            if packet is not None and not self._enter(packet):
                continue
            for place, frame in self._decoded(packet):
                self._sent.discard(place)
                number = self._number(place)
                if number is not None:
                    self._held.append((place, number, frame))
            self._ended = packet is None
            self._settle()
        return self._ready[0] if self._ready else None

    def _settle(self) -> None:
        """Let those frames be ready before which no packet was sent whose own frame may still turn out to be damaged.

        A frame that is shown before one that it is predicted from comes before what tells of that one's damage.
        """
        table, lost = self.table, set() if self.table is None else self.table.lost
        if table is not None and lost:
            self._sent = {place for place in self._sent if table.number(place) not in lost}
        self._sent = {place for place in self._sent if place > self._place - 2 * REORDER}
        first = min(self._sent, default=self._place + 1)
        while self._held and (self._held[0][0] < first or len(self._held) > REORDER or self._ended):
            _, number, frame = self._held.popleft()
            if number not in lost:
                self._ready.append((number, frame))

    def _decoded(self, packet: Any) -> Iterator[tuple[int, Any]]:
        """The frames that come when a packet is sent, with their places."""
        if packet is None and 0 < self._sends < self._threads + self._reorder:
            raise _Brief
        try:
            frames = self._context.decode(packet)
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            if self._careful and self._place == 0 and self._strict is None:
                raise _Doubt from None
            if packet is not None or not self._careful:
                self._damaged(self._place, False)
            return
        for frame in frames:
            if packet is not None and frame.pts in self._recent:
                raise _Late
            if frame.is_corrupt:
                self._damaged(frame.pts, self._context.name in _TYPED and frame.pict_type == _B)
            if frame.pts is not None:
                yield frame.pts, frame

    def _damaged(self, place, alone):
        if not self._careful:
            raise _Damage
        if not self.numbered:
            raise _Uncounted
        if place is not None and place < len(self.table) and self.table.numbers[place] >= self._least:
            self.table.spoil(place, alone or place in self._alone)

    # -- frames --------------------------------------------------------------------------------------------------------
    def take(self, number: int) -> Any:
        """The decoded frame of that number; None if the video has fewer.

        Raises
        ------
        OSError
            If it can't be decoded.
        """
        while True:
            try:
                return self._take(number) if self.numbered else self._take_counted(number)
            except _Damage:
                self._careful = True
                self._restart()
            except _Late:
                self._reorder += 1
                self._restart()
            except _Brief:
                self._brief = True
                self._restart()
            except _Doubt:
                self._strict = not self._peculiar()
                self._restart()
            except _Uncounted:
                self._scan()
            except _Untimed:
                self._scan(timed=False)

    def _find(self, number: int) -> Any:
        """The frame of that number, decoding on from here; None if it doesn't come."""
        lost = self.table.lost if self.table is not None else ()
        while (item := self._pull()) is not None and item[0] <= number and number not in lost:
            self._ready.popleft()
            self._next = item[0] + 1
            if item[0] == number:
                return item[1]
        return None

    def _take_counted(self, number):
        if self._total is not None and number >= self._total:
            return None
        if number < self._next and number <= NEAR:
            self._restart()
        if not self._next <= number <= self._next + NEAR:
            raise _Uncounted
        frame = self._find(number)
        if frame is None:
            table = self.table or (self._outline() if self.indexed else None)
            if not self._count.all_came() or (table is not None and table.count > self._count.came):
                raise _Uncounted
            self._total = self._count.came
        return frame

    def _take(self, number):
        table: Any = self.table
        if number >= table.count:
            return None
        frame, back, group = None, 0, table.group(number)
        near = number >= self._next and (self._ready or not self._ended) and table.keys[group] <= self._place + NEAR
        # A frame that is shown before the key frame that it is decoded after needs the one before. Some need more.
        while frame is None and number not in table.lost and back <= min(2, group):
            if not near:
                self._seek(group - back)
                back += 1
            try:
                frame = self._find(number)
            except _NoKey:  # a stream that is refreshed bit by bit
                table.drop(self._start)
                group, back = table.group(number), 0
            near = False
        if frame is None and number not in table.lost:
            if not self._careful:
                raise _Damage
            self._find(number + 2 * REORDER)  # so that it is seen if it only comes late
            table.lost.add(number)
        if frame is None:
            raise OSError(f"VideoReader: {self.source} is damaged: frame {number} can't be decoded")
        return frame

    def _seek(self, group: int) -> None:
        """Go to a key frame, or to one before it."""
        table: Any = self.table
        place = int(table.keys[group])
        if self._brief and len(table) - place >= _DELAYED:
            self._brief = False
            self._restart()
        for goal in self._goals(group):
            try:
                self._container.seek(goal, stream=self._stream)
            except av.error.FFmpegError:
                continue
            packets = self._read()
            for packet in packets:
                found = table.place(_name(packet), -1)
                if found is not None and (found > place or (packet.is_keyframe and found in table.keys)):
                    if found <= place:
                        self._begin(found, itertools.chain([packet], packets))
                        return
                    break
        self._restart()

    def _goals(self, group):
        """Times to seek for a key frame: its own, and those of the two before, each once."""
        table: Any = self.table
        places = table.keys[max(group - 2, 0) : group + 1][::-1]
        goals = [int(time) for place in places for time in (table.times[place], table.clocks[place]) if time != NONE]
        return list(dict.fromkeys(goals))

    def count(self) -> int:
        """How many frames there are."""
        if self._total is not None:
            return self._total
        if self.table is None and self.indexed and not self._fields:
            self.table = self._outline()
        if self.table is None:
            self._scan()
        table: Any = self.table
        return table.count

    def fault(self) -> str | None:
        """What the file lacks after the last frame, of what its container tells of."""
        there = self._place + 1 if self.table is None else len(self.table)
        if not self.indexed:
            return self._rest()
        if self._kind == "avi" and len(self._stream.index_entries):  # which counts the empty packets of frames left out
            there = max(there, self._stream.index_entries[-1].timestamp + 1)
        few = max(2, self.told / 100)
        if self._kind == "mov" and there < self.told - few:  # an edit list may leave frames out
            container, file = _names.opened("VideoReader", self.source, ignore_editlist="1")
            there = len(container.streams[self._stream.index].index_entries)
            container.close()
            if file is not None:
                file.close()
        return f"{self.told - there} of {self.told} frames are missing" if there < self.told - few else None

    def _rest(self):
        """Whether much of the file, and of the time that it tells of, is behind the last packet that could be read."""
        duration = self._container.duration
        if _names.is_address(self.source) or not self._end or not duration:
            return None
        times = self.table.times if self.numbered else np.zeros(0)
        last = int(times.max()) if len(times) else self._count.last
        begin = self._container.start_time or 0
        size = os.path.getsize(self.source)
        most = max(1024, size / 5)
        if last is None or size - self._end < most:
            return None
        if float(last * self._stream.time_base) > (begin + 0.8 * duration) / av.time_base:
            return None
        pieces = np.frombuffer(self._pieces(), np.int64).reshape(-1, 3)  # of sound, too
        end = int((pieces[:, 0] + pieces[:, 1]).max()) if len(pieces) else 0
        return f"nothing can be read after byte {end} of {size}" if size - end > most else None

    # -- tables --------------------------------------------------------------------------------------------------------
    def _index(self) -> Packets:
        """What the container's index tells of packets, all but when their frames are shown."""
        header = 8 if self._kind == "avi" else 0
        rows = array("q")
        for entry in self._stream.index_entries:
            if entry.size:
                shown = SHOWN if entry.size > self._idle and not entry.is_discard else 0
                key = KEY if entry.is_keyframe else 0
                position = entry.pos + header
                rows.extend((NONE, entry.timestamp, position, _table.name(position, entry.size), shown | key))
        return _table.of_rows(rows)

    def _outline(self) -> Table | None:
        """A table of the container's index, without numbers; None if it doesn't tell all."""
        index = self._index()
        if self._fields or not len(index) or len(index) != self.told or not index.key[0]:
            return None
        if self._place < 0:
            head: list[Any] = list(itertools.islice(self._packets, 3))
            self._packets = itertools.chain(head, self._packets)
            if not head or _name(head[0]) != index.name[0] or _cut_before(self._context, head):
                return None
        return Table(index) if self._kind == "avi" or index.shown.all() else None

    def _rows(self, packets: Iterable[Any]) -> array:
        rows = array("q")
        for packet in packets:
            time, clock, position, size = packet.pts, packet.dts, packet.pos, packet.size
            clock = NONE if clock is None else clock
            time = clock if self._packed and size <= 8 else NONE if time is None else time
            flags = (
                KEY * packet.is_keyframe
                + PARTIAL * _partial(self._context, packet)
                + SHOWN * self._shown(packet)
                + DAMAGED * packet.is_corrupt
            )
            rows.extend((time, clock, NONE if position is None else position, _name(packet), flags))
        return rows

    def _scan(self, timed: bool = True) -> None:
        """Look at all packets, and make the table, by times or by decoding all."""
        if self._place >= 0 or self._ended:
            self._restart()
        head: list[Any] = list(itertools.islice(self._packets, 3))
        begins = _cut_before(self._context, head)
        packets = _table.of_rows(self._rows(itertools.chain(head, self._packets)))
        typed, ordered = self._context.name in _TYPED, not self._context.has_b_frames
        if head and _broken(self._context, head[0]):
            packets.key[0] = True  # nobody cut there
        if self.indexed:
            packets = _table.aligned(packets, self._index())
        _table.cut(packets)
        _table.check_times(packets, self.indexed)
        complete = not self._fields and _table.complete_times(packets, typed, ordered)
        if complete and begins:
            complete = self._begun(packets)
        if complete and not self.indexed and (missing := _table.gaps(packets)):
            exact = self._kind not in ("mpeg", "mpegts")
            packets = _table.filled(packets, missing, self._hollow(packets, missing), exact)
        self._timed = timed and complete
        if self._timed:
            self.table = _table.by_time(packets)
        else:
            self.table = _table.by_output(packets, *self._output(packets), self._fields, self.indexed)
        self._begin(0, iter(()))
        self._ended = True  # so that the next frame is sought

    def _begun(self, packets: Packets) -> bool:
        """Take away frames at the beginning that don't come, since what they need was cut away; False if frames come in
        another order than that of their times."""
        first, size = packets.first(), 2 * REORDER
        came: list[int] = []
        while not came and size < 2 * len(packets):
            size *= 2
            came, _ = self._output(packets, first + size)
        times = packets.time[came]
        if (np.diff(times) < 0).any():
            return False
        if came:
            head = np.arange(len(packets)) < first + size
            head[came] = False
            # Only those before the key frame: that which is shown later and doesn't come is damaged.
            packets.shown &= ~(head & (packets.time < min(times[0], packets.time[first])))
        return True

    def _output(self, packets: Packets, stop: int | None = None) -> tuple[list[int], set[int]]:
        """Decode from the beginning: the places of frames in the order in which they come, and those of damaged packets."""
        table = Table(packets)
        while True:
            self._restart()
            came: list[int] = []
            damaged: set[int] = set()
            place = -1
            try:
                for packet in itertools.chain(itertools.islice(self._read(), stop), [None]):
                    if packet is not None:
                        found = table.place(_name(packet), place + 1)
                        place = packet.pts = place + 1 if found is None else found
                    frames = []
                    try:
                        frames = self._context.decode(packet)
                    except av.error.EOFError:
                        pass
                    except av.error.FFmpegError:
                        if not self._careful:
                            raise _Damage from None
                        damaged.add(place)
                    came += [frame.pts for frame in frames if frame.pts is not None]
                    damaged |= {frame.pts for frame in frames if frame.is_corrupt and frame.pts is not None}
                    if damaged and not self._careful:
                        raise _Damage
                return came, damaged
            except _Damage:
                self._careful = True

    def _hollow(self, packets, missing):
        """Places after which packets may lack, where times do."""
        if self._kind == "mpeg":  # whose frames come at a fixed rate, but at the end if that was cut off
            last = len(packets) - REORDER
            return [place for before, after, _ in missing for place in (before, after) if max(before, after) < last]
        if self._kind != "mpegts":
            size = 0 if _names.is_address(self.source) else os.path.getsize(self.source)
            return _table.holes(self._pieces(), size, 0.06 if self._kind in ("asf", "rm") else 0.01)
        result = []
        for before, after, _ in missing:
            at = packets.position[max(min(before, after) - REORDER, 0) : max(before, after) + REORDER]
            at = at[at != NONE]
            if len(at) and not _names.is_address(self.source):
                with open(self.source, "rb") as file:
                    file.seek(int(at.min()))
                    content = file.read(int(at.max() - at.min()))
                if _table.interrupted(content, self._stream.id, len(np.unique(at)) - 1):
                    result.append(before)
        return result

    def _pieces(self) -> array:
        """All packets, of other streams too: their positions and sizes, and the place of the video's last one before."""
        self._restart()
        for stream in self._container.streams:
            stream.discard = av.stream.Discard.default
        pieces, place = array("q"), -1
        with contextlib.suppress(av.error.FFmpegError, IndexError):
            for packet in self._container.demux():
                place += packet.stream is self._stream and packet.size > 0
                if packet.pos is not None and packet.size:
                    pieces.extend((packet.pos, packet.size, place))
        self._restart()
        return pieces

    def _peculiar(self) -> bool:
        """Whether all of some key frames behind the first have errors that a lenient decoder passes over."""
        if self._context.name not in _checks.STRICT:
            return False
        self._restart()
        wrong: list[bool] = []
        for packet in itertools.islice(self._read(), 1, None):
            if packet.is_keyframe:
                wrong.append(False)
                self._context.flush_buffers()
                try:
                    self._context.decode(packet)
                except av.error.FFmpegError:
                    wrong[-1] = True
                if not wrong[-1] or len(wrong) == 3:
                    break
        return bool(wrong) and all(wrong)

    def _has_fields(self) -> bool:
        """Whether packets are fields rather than frames."""
        sent = came = 0
        packet: Any
        for packet in itertools.chain(itertools.islice(self._read(), 12), [None]):
            sent += packet is not None
            with contextlib.suppress(av.error.FFmpegError):
                came += len(self._context.decode(packet))
        self._restart()
        return came < 0.75 * sent

    # -- pictures ------------------------------------------------------------------------------------------------------
    def picture(self, frame: Any) -> np.ndarray:
        """(H, W, 3) BGR of a decoded frame, upright.

        Raises
        ------
        OSError
            If FFmpeg can't convert it.
        """
        w, h = self._size
        try:
            if frame.interlaced_frame and frame.format.chroma_height(2) == 1:
                img = self._converted(frame).to_ndarray()
            else:
                img = self._reformatter.reformat(frame, w, h, "bgr24", interpolation="BICUBIC").to_ndarray()
        except (av.error.FFmpegError, ValueError) as error:
            raise OSError(f"VideoReader: {self.source}: a frame can't be converted to BGR: {error}") from None
        turn = self._turn(frame)
        return np.ascontiguousarray(np.rot90(img, turn)) if turn else img

    def _converted(self, frame):
        """An interlaced frame in BGR, its chroma interpolated over the whole frame, as ffmpeg does."""
        kind = frame.format.name, frame.width, frame.height
        if self._graph_of != kind:
            w, h = self._size
            graph = av.filter.Graph()
            source = graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=self._stream.time_base
            )
            chain = [
                source,
                graph.add("scale", f"w={w}:h={h}:flags=bicubic:interl=0"),
                graph.add("format", "bgr24"),
                graph.add("buffersink"),
            ]
            for a, b in itertools.pairwise(chain):
                a.link_to(b)
            graph.configure()
            self._graph, self._graph_of = graph, kind
        self._graph.push(frame)
        return self._graph.pull()

    def _turn(self, frame):
        """How many quarters a frame is to be turned to the left."""
        return round(frame.rotation / 90) % 4 if self._kind in ("mov", "matroska") else 0

    def size(self) -> tuple[int, int]:
        """(width, height) of pictures. Whether they are turned is known of the first frame."""
        turned = False
        if self._kind in ("mov", "matroska") and (_names.is_address(self.source) or _table.may_turn(self.source)):
            with contextlib.suppress(OSError):
                frame = self.take(0)
                if frame is not None:
                    turned = self._turn(frame) % 2 == 1
                    self._ready.appendleft((0, frame))  # it is likely to be wanted next
                    self._next = 0
        return self._size[::-1] if turned else self._size


def _name(packet: Any) -> int:
    return _table.name(packet.pos, packet.size, packet if packet.pos is None else b"")


def _units(context: Any, packet: Any) -> Iterator[bytes]:
    """The beginnings of an H.264 packet's units."""
    content = memoryview(packet)
    if context.extradata and context.extradata[0] == 1:  # lengths before units
        at, width = 0, (context.extradata[4] & 3) + 1
        while at + width < len(content):
            yield bytes(content[at + width : at + width + 9])
            at += width + int.from_bytes(content[at : at + width], "big")
    else:
        for unit in bytes(content).split(b"\0\0\1")[1:]:
            if unit:
                yield unit[:9]


def _broken(context: Any, packet: Any) -> bool:
    """Whether the lengths of an H.264 packet's units don't add up to its own."""
    if context.name != "h264" or not context.extradata or context.extradata[0] != 1:
        return False
    content, at, width = memoryview(packet), 0, (context.extradata[4] & 3) + 1
    while at + width <= len(content):
        at += width + int.from_bytes(content[at : at + width], "big")
    return at != len(content)


def _disposable(context: Any, packet: Any) -> bool:
    """Whether an H.264 packet says that no other frame is predicted from its own."""
    if context.name != "h264":
        return False
    slices = (unit[0] for unit in _units(context, packet) if 1 <= unit[0] & 31 <= 5)
    return next(slices, 255) >> 5 == 0


def _partial(context: Any, packet: Any) -> bool:
    """Whether an H.264 key frame is one only in part: pictures are refreshed bit by bit from it on."""
    if context.name != "h264" or not packet.is_keyframe:
        return False
    return any(unit[0] & 31 == 1 and not _intra(unit) for unit in _units(context, packet))


def _intra(unit):
    """Whether a slice is predicted from no other frame: its header begins with two Exp-Golomb numbers."""
    bits = f"{int.from_bytes(unit[1:], 'big'):0{8 * len(unit) - 8}b}"
    for _ in range(2):
        zeros = len(bits) - len(bits.lstrip("0"))
        number, bits = int(bits[zeros : 2 * zeros + 1] or "1", 2) - 1, bits[2 * zeros + 1 :]
    return number % 5 in (2, 4)


def _cut_before(context: Any, head: list[Any]) -> bool:
    """Whether the first frames of a video may be predicted from others before, which were cut away."""
    if not head:
        return False
    if context.name == "h264" and not any(unit[0] & 31 == 5 for unit in _units(context, head[0])):
        return True
    times = [packet.pts for packet in head]
    if times[0] is None:  # of a frame that others are predicted from, in containers that give no time then
        return len(times) > 1 and times[1] is not None
    if context.has_b_frames and times[0] == head[0].dts:
        return True  # it would be shown later than it is decoded: times were made up
    return not head[0].is_keyframe or min(time for time in times if time is not None) < times[0]
