"""Which packet holds which frame of a video: what follows from the container alone.

A packet's place is its rank in the order of decoding, a frame's number its rank in the order of showing.
"""

from __future__ import annotations

import zlib
from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np

REORDER = 16  # the most frames that codecs decode ahead of the order in which they are shown
NONE = -(1 << 63)  # no time, no position
KEY, SHOWN, DAMAGED, PARTIAL = 1, 2, 4, 8  # flags of rows


@dataclass
class Packets:
    """What a container tells of a video's packets, in the order of decoding."""

    time: np.ndarray  # when its frame is shown
    clock: np.ndarray  # when it is decoded
    position: np.ndarray  # in the file
    name: np.ndarray  # by which it is found again, 0 if it was not read
    key: np.ndarray  # whether decoding can begin there
    shown: np.ndarray  # whether it is of a frame that is shown
    damaged: np.ndarray  # whether the container says so, or its times can't be
    there: np.ndarray  # False: an index tells of it, or its time lacks among others, but it was not read
    unsure: np.ndarray  # its frame may have another's number
    partial: np.ndarray  # a key frame that is not decoded whole, from which on pictures are refreshed
    typed: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # places whose times others' types told

    def __len__(self) -> int:
        return len(self.time)

    def first(self) -> int:
        """The place of the first key frame, also one in part, 0 if there is none."""
        return int((self.key | self.partial).argmax()) if len(self) else 0


def of_rows(rows: array) -> Packets:
    """Packets of rows of five numbers: time, clock, position, name, flags."""
    table = np.frombuffer(rows, np.int64).reshape(-1, 5)
    name, flags = table[:, 3], table[:, 4]
    there, unsure = np.ones(len(table), bool), np.zeros(len(table), bool)
    key, shown, damaged, partial = (flags & flag > 0 for flag in (KEY, SHOWN, DAMAGED, PARTIAL))
    key &= ~partial
    time, clock, position = table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy()
    return Packets(time, clock, position, name.copy(), key, shown, damaged, there, unsure, partial)


def name(position: int | None, size: int, content: Any = b"") -> int:
    """How a packet is found again: by position and size, by its content where there is no position; never 0."""
    return ~(zlib.crc32(content) * 1009 + size) if position is None else (position + 1) * 1000003 + size


class Table:
    """The packets of a video, and the numbers of their frames.

    Attributes
    ----------
    keys : array
        The places of key frames, rising.
    times, clocks : array
        When each packet's frame is shown, and when it is decoded.
    before : array
        Of each place, and of the end: how many frames are shown that are decoded before it.
    numbers : array or None
        Of each place: its frame's number, -1 if none is shown. None if that isn't known.
    lost : set of int
        Numbers of frames that can't be decoded.
    """

    def __init__(self, packets: Packets, order: np.ndarray | None = None):
        self.keys = np.flatnonzero(packets.key)
        if not len(self.keys):
            self.keys = np.zeros(1, np.int64)
        self.times, self.clocks = packets.time, packets.clock
        self.before = np.zeros(len(packets) + 1, np.int32)
        np.cumsum(packets.shown, out=self.before[1:])
        self.lost: set[int] = set()
        self.typed = packets.typed
        self._names = packets.name
        self._sorted: np.ndarray | None = None
        self.numbers: np.ndarray | None = None
        if order is not None:
            self.numbers = np.full(len(packets), -1, np.int32)
            self.numbers[order] = np.arange(len(order))
            for place in np.flatnonzero(packets.unsure | (packets.name == 0)).tolist():
                self.spoil(place, bool(packets.name[place]))

    def __len__(self) -> int:
        return len(self._names)

    @property
    def count(self) -> int:
        """How many frames there are."""
        return int(self.before[-1])

    def place(self, name: int, expected: int) -> int | None:
        """Where a packet is; `expected` if that can't be told, None if it is none of these."""
        if expected < len(self) and self._names[expected] == name:
            return expected
        if self._sorted is None:
            self._sorted = np.argsort(self._names, kind="stable")
        at = int(np.searchsorted(self._names, name, sorter=self._sorted))
        if at == len(self) or self._names[self._sorted[at]] != name:
            return None
        twice = at + 1 < len(self) and self._names[self._sorted[at + 1]] == name
        return expected if twice else int(self._sorted[at])

    def spoil(self, place: int, alone: bool) -> None:
        """A packet is damaged: frames until the next key frame, which are predicted from it, are lost.

        Parameters
        ----------
        place : int
            The packet's place.
        alone : bool
            Whether no other frame is predicted from this one.
        """
        if self.numbers is not None and place < len(self):
            lost = self.numbers[place : place + 1]
            at = int(np.searchsorted(self.keys, place, "right"))
            end = int(self.keys[at]) if at < len(self.keys) else len(self)
            key = self.numbers[self.keys[at - 1]] if at else -1
            start = int(np.searchsorted(self.typed, place)) - 1
            if start >= 0:  # of what the packet's type told, its damage makes nothing sure
                self.lost.update(n for n in self.numbers[self.typed[start] : place].tolist() if n >= 0)
            if 0 <= lost[0] < key:  # shown before the key frame: so are all that are predicted from it
                lost = self.numbers[place:end]
                lost = lost[lost < key]
            elif not alone:
                lost = self.numbers[place:end]
                if end < len(self):  # and those that are decoded after that key frame, but shown before it
                    late = self.numbers[end + 1 : end + 1 + REORDER]
                    lost = np.concatenate([lost, late[late < self.numbers[end]]])
            self.lost.update(lost[lost >= 0].tolist())

    def number(self, place: int) -> int:
        """That of a place's frame, -1 if none is shown or it isn't known."""
        return -1 if self.numbers is None or place >= len(self) else int(self.numbers[place])

    def numbers_from(self, place: int) -> list[int]:
        """Of the frames of a place and all after it."""
        numbers = self.numbers[place:] if self.numbers is not None else np.zeros(0, np.int32)
        return numbers[numbers >= 0].tolist()

    def group(self, number: int) -> int:
        """Which key frame a frame is decoded after."""
        return max(int(np.searchsorted(self.before[self.keys], number, "right")) - 1, 0)

    def drop(self, place: int) -> None:
        """Decoding can't begin at what says it is a key frame."""
        self.keys = self.keys[self.keys != place]


def by_time(packets: Packets) -> Table:
    """A table of packets that all have times."""
    shown = np.flatnonzero(packets.shown)
    return Table(packets, shown[np.lexsort((packets.time[shown], _recordings(packets)[shown]))])


def by_output(packets: Packets, came: list[int], damaged: set[int], fields: bool, indexed: bool) -> Table:
    """A table of packets whose times are not known, from the order in which a decoder gave their frames.

    Frames from one key frame to the next come one after another. Where all come, their order is known.

    Parameters
    ----------
    packets : Packets
        Whose `shown` is changed.
    came : list of int
        The places of frames, in the order in which they came.
    damaged : set of int
        The places of damaged packets.
    fields : bool
        Whether packets are fields, so that those of which no frame came are the second ones.
    indexed : bool
        Whether an index tells of all packets. Without one, nothing tells how many lack behind damage.
    """
    known = np.zeros(len(packets), bool)
    known[came] = True
    whole = not damaged and bool(packets.there.all())
    packets.shown &= known if whole or fields else True
    keys = np.flatnonzero(packets.key)
    starts = [0, *keys[keys > 0].tolist(), len(packets)]
    groups: list[list[int]] = [[] for _ in starts[1:]]
    for place, group in zip(came, (np.searchsorted(starts, came, "right") - 1).tolist(), strict=True):
        if packets.shown[place]:
            groups[group].append(place)
    order: list[int] = []
    doubtful = []
    for places, start, end in zip(groups, starts, starts[1:], strict=False):
        bad = [p for p in range(start, end) if p in damaged or (packets.shown[p] and not known[p])]
        sure = [p for p in places if not bad or p < min(bad) - REORDER]
        taken = set(sure)
        order += sure + [p for p in range(start, end) if packets.shown[p] and p not in taken]
        if bad:
            doubtful.append(max(min(bad) - REORDER, start))
    table = Table(packets, np.array(order, np.int64))
    for place in doubtful:
        table.spoil(place, False)
    if doubtful and not indexed:
        table.lost.update(table.numbers_from(doubtful[0]))
    return table


# ---- what the packets that were read lack ----------------------------------------------------------------------------
def _step(clock):
    """The usual time from one packet to the next, 0 if there is none."""
    steps = np.diff(clock[clock != NONE])
    steps = steps[steps > 0]
    return float(np.median(steps)) if len(steps) else 0.0


def _recordings(packets):
    """Which recording each packet is of: where times of decoding start anew, another one begins."""
    timed = np.flatnonzero(packets.clock != NONE)
    clock = packets.clock[timed]
    runs = np.zeros(len(packets), np.int64)
    if len(timed):
        runs[timed[1:]] = np.cumsum(np.diff(clock) < -REORDER * _step(clock))
    return np.maximum.accumulate(runs)


def cut(packets: Packets) -> None:
    """Packets before the first key frame show nothing: what they are predicted from was cut away."""
    packets.shown[: packets.first()] = False


def aligned(packets: Packets, index: Packets) -> Packets:
    """The packets that the container's index tells of, with the times of those that were read.

    FFmpeg counts chunks of AVI as it reads, and counts wrong behind one that is damaged; the index tells when each is
    decoded. Packets that it doesn't tell of are none.
    """
    order = np.argsort(index.name, kind="stable")
    names = index.name[order]
    if not len(packets) or not len(index) or (names[1:] == names[:-1]).any():
        return packets
    at = np.minimum(np.searchsorted(names, packets.name), len(names) - 1)
    read = np.flatnonzero(names[at] == packets.name)
    if 2 * len(read) <= len(packets):
        return packets
    places = order[at[read]]
    time, clock = packets.time[read], packets.clock[read]
    timed = (time != NONE) & (clock != NONE) & (index.clock[places] != NONE)
    index.time[places] = time + np.where(timed, index.clock[places] - clock, 0)
    index.there[:] = False
    index.there[places] = True
    index.key[places] &= ~packets.partial[read]
    index.partial[places] = packets.partial[read]
    index.damaged[places] = packets.damaged[read]  # whether they are key frames is counted wrong, too
    index.shown[places] &= packets.shown[read]
    return index


def check_times(packets: Packets, indexed: bool) -> None:
    """Mark times that can't be: far from that of decoding, of two packets, between those of a fixed rate.

    Such a packet is of no frame, since a gap among the others tells where it is missed. Where an index tells that there is
    one, its number is not known.
    """
    clock, time = packets.clock, packets.time
    step = _step(clock)
    if step <= 0 or len(packets) < 3:
        return
    # later than the packet after it, though that one is not before the packet before
    timed = (clock[:-2] != NONE) & (clock[1:-1] != NONE) & (clock[2:] != NONE)
    astray = np.zeros(len(packets), bool)
    astray[1:-1] = timed & (clock[1:-1] > clock[2:]) & (clock[:-2] <= clock[2:])
    clock[astray] = clock[np.flatnonzero(astray) - 1]
    known = packets.shown & (time != NONE) & (clock != NONE)
    wrong = astray | (np.abs(time - clock) > 4 * REORDER * step)
    if not indexed and known.any():
        start = time[known][0]
        off = np.abs((time - start + step / 2) % step - step / 2) > max(1, step / 4)
        if off[known].mean() < 0.1:
            wrong |= off
        placed = set(time[known & (packets.position != NONE)].tolist())
        unplaced = np.flatnonzero(known & (packets.position == NONE))
        wrong[[place for place in unplaced.tolist() if int(time[place]) in placed]] = True
    wrong &= known
    time[wrong] = clock[wrong]
    packets.damaged |= wrong
    packets.unsure |= wrong & indexed
    packets.shown &= ~wrong | indexed


def complete_times(packets: Packets, typed: bool, ordered: bool) -> bool:
    """Give packets the times that the container lacks; False if they don't follow.

    A frame that others are predicted from is shown when the next such frame is decoded. So it has no time of its own in
    AVI, nor often in MPEG program streams. FFmpeg knows such frames if their type is in their header.

    Parameters
    ----------
    packets : Packets
        Whose times are changed.
    typed : bool
        Whether FFmpeg knows the types of frames of this codec.
    ordered : bool
        Whether frames are shown in the order of decoding.
    """
    time, clock = packets.time, packets.clock
    if ordered:
        time[time == NONE] = clock[time == NONE]
    if (time[packets.shown] != NONE).all():
        return True
    if not typed or (clock == NONE).any():
        return False
    away = (time == NONE) & ~packets.there  # one that isn't there may be such a frame
    time[away] = clock[away]
    base = np.flatnonzero(packets.shown & (time != clock))
    following = np.append(clock[base[1:]], clock[-1] + 1)
    passed = np.append(0, np.cumsum(away))
    lacking = time[base] == NONE
    packets.unsure[base] |= lacking & (passed[np.append(base[1:], len(packets))] > passed[base])
    time[base[lacking]] = following[lacking]
    packets.typed = base[lacking]
    return True


def gaps(packets: Packets) -> list[tuple[int, int, int]]:
    """Where frames at a fixed rate have gaps: the places of the frames around each, and how many lack."""
    if not packets.shown.any() or _recordings(packets).any():
        return []
    shown = np.flatnonzero(packets.shown)
    order = shown[np.argsort(packets.time[shown], kind="stable")]
    steps = np.diff(packets.time[order])
    step = float(np.median(steps)) if len(steps) else 0.0
    if step <= 0:
        return []
    uneven = np.abs(steps - np.round(steps / step) * step) > max(1, step / 4)
    wide = np.flatnonzero((steps > 1.5 * step) & (steps < step * (1000 + 4 * len(steps))))  # else the time is made up
    if uneven.sum() > 0.1 * len(steps) or len(wide) > max(3, 0.3 * len(steps)):
        return []
    return [(int(order[at]), int(order[at + 1]), round(float(steps[at]) / step) - 1) for at in wide.tolist()]


def holes(pieces: array, size: int, headers: float) -> list[int]:
    """The places after which bytes of the file belong to no packet, more than headers take, or an index at the end.

    Parameters
    ----------
    pieces : array
        Of all packets, also those of sound: position, size, and the place of the video's last packet before.
    size : int
        The file's.
    headers : float
        How much of a packet containers that cut it to pieces may need for theirs.
    """
    table = np.frombuffer(pieces, np.int64).reshape(-1, 3)
    table = table[np.argsort(table[:, 0], kind="stable")]
    between = np.diff(table[:, 0]) - table[:-1, 1]
    usual = max(float(np.median(between)), 0) if len(between) else 0
    places = table[:-1, 2][between > max(48, 2 * usual) + headers * table[:-1, 1]].tolist()
    if len(table) and size - table[-1, :2].sum() > max(512, size / 50):
        places.append(int(table[-1, 2]))
    return places


def interrupted(content: bytes, stream: int, count: int) -> bool:
    """Whether a piece of an MPEG transport stream is damaged.

    Its packets are damaged, or those of one stream don't follow one another, or more frames begin than were read.

    Parameters
    ----------
    content : bytes
        From the beginning of a packet to that of another.
    stream : int
        The stream's identifier.
    count : int
        How many of its frames were read.
    """
    size = 188 if content[188:189] in (b"", b"G") else 192
    last = None
    for at in range(0, len(content) - 3, size):
        if content[at] != 0x47:
            return True
        head = int.from_bytes(content[at + 1 : at + 3], "big")
        if head & 0x1FFF == stream and content[at + 3] & 0x10:
            number = content[at + 3] & 15
            if last is not None and number not in (last, (last + 1) % 16):
                return True
            last = number
            count -= head >> 14 & 1
    return count < 0


def filled(packets: Packets, missing: list[tuple[int, int, int]], hollow: list[int], exact: bool) -> Packets:
    """Packets with those that lack put in where bytes of the file lack too.

    Parameters
    ----------
    packets : Packets
    missing : list of (int, int, int)
        What `gaps` gives.
    hollow : list of int
        Places after which bytes or packets lack.
    exact : bool
        Whether these are just the places. If not, packets that are missed are put where the times of decoding have a gap
        nearby, so that they come before all that may be predicted from them.
    """
    where: list[int] = []
    times: list[int] = []
    empty, clock = set(hollow), packets.clock
    timed = (clock[1:] != NONE) & (clock[:-1] != NONE)
    jumps = np.flatnonzero(timed & (np.diff(clock) > 1.5 * max(_step(clock), 1))).tolist()
    elsewhere = 0
    for before, after, count in missing:
        near = range(max(min(before, after) - REORDER, 0), min(max(before, after) + REORDER, len(packets)))
        places = [place for place in near if place in empty or packets.damaged[place]]
        if places:
            first, last = int(packets.time[before]), int(packets.time[after])
            leaps = [] if exact else [place for place in jumps if place in near]
            where += [min(leaps or places, key=lambda place: abs(place - before)) + 1] * count
            times += [round(first + (last - first) * (k + 1) / (count + 1)) for k in range(count)]
        elsewhere += not places
    if elsewhere > max(1, 0.1 * packets.shown.sum()):  # frames were left out on purpose
        return packets
    clock = packets.clock[np.array(where, np.int64) - 1]
    put = lambda column, values: np.insert(column, where, values)  # noqa: E731
    return Packets(
        put(packets.time, times),
        put(packets.clock, clock),
        put(packets.position, NONE),
        put(packets.name, 0),
        put(packets.key, False),
        put(packets.shown, True),
        put(packets.damaged, False),
        put(packets.there, False),
        put(packets.unsure, False),
        put(packets.partial, False),
    )


# ---- what is written in headers --------------------------------------------------------------------------------------
def may_turn(source: str) -> bool:
    """Whether an MP4 or Matroska file may say that its pictures are to be turned."""
    with open(source, "rb") as file:
        head = file.read(1 << 16)
        if head[:4] == b"\x1a\x45\xdf\xa3":
            at = head.find(b"\x16\x54\xae\x6b") + 4  # tracks, with their length
            width = 9 - head[at].bit_length()
            length = int.from_bytes(head[at : at + width], "big") & (1 << 7 * width) - 1
            return at < 4 or b"\x76\x75" in head[at : at + width + length]  # one with a roll
        size, at = file.seek(0, 2), 0
        while at + 8 <= size:  # boxes, one after another
            file.seek(at)
            box = file.read(16)
            length = int.from_bytes(box[8:16] if box[:4] == b"\0\0\0\1" else box[:4], "big")
            if box[4:8] == b"moov":
                file.seek(at)
                return _turns(file.read(length))
            if length < 8:
                break
            at += length
    return True


def _turns(moov):
    at = moov.find(b"tkhd")
    while at >= 0:
        matrix = at + (44 if moov[at + 4 : at + 5] == b"\0" else 56)
        if moov[matrix : matrix + 16] != b"\0\1\0\0" + bytes(12):  # the first row of one that turns nothing
            return True
        at = moov.find(b"tkhd", at + 4)
    return False
