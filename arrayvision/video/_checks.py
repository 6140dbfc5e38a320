"""Damage that FFmpeg's decoders pass over, told by what codecs and containers carry for it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np

# Decoders that drop what an error leaves undecoded, and say so only if they are asked for it.
STRICT = {"hevc", "mjpeg", "msmpeg4v1", "msmpeg4v2", "msmpeg4", "wmv1", "wmv2"}
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def packet_check(codec: str) -> Callable[[memoryview], bool] | None:
    """What tells whether a codec's packet has all that is checked of it; None if nothing is.

    A packet may have no sums at all: only after one that is right, one that isn't means damage.
    """
    return {"ffv1": _ffv1, "dvvideo": _dv}.get(codec)


def _ffv1(packet):
    """The checksum of each slice of version 3, which end with size (3 bytes), status, checksum (4)."""
    end = len(packet)
    while end > 8:
        start = end - 8 - int.from_bytes(packet[end - 8 : end - 5], "big")
        # The checksum of IEEE, highest bit first and from 0: that of the mirrored bytes, with neither complement of zlib's.
        if start < 0 or zlib.crc32(bytes(packet[start:end]).translate(_REVERSED), 0xFFFFFFFF) != 0xFFFFFFFF:
            return False
        end = start
    return end == 0


def _dv(packet):
    """The identifiers of blocks: 80 bytes each, 150 a sequence."""
    blocks = np.frombuffer(packet, np.uint8)
    if len(blocks) == 0 or len(blocks) % 12000:
        return False
    blocks = blocks.reshape(-1, 150, 80)
    return bool((blocks[:, :, 0] >> 5 == _SECTIONS).all() and (blocks[:, :, 2] == _NUMBERS).all())


_SECTIONS = np.array([0, 1, 1, 2, 2, 2, *([3] + [4] * 15) * 9])
_NUMBERS = np.array([0, 0, 1, 0, 1, 2, *(n for k in range(9) for n in (k, *range(15 * k, 15 * k + 15)))])


def sound(path: str, container: str) -> int | None:
    """How many bytes at a file's beginning are whole; None if all are, or nothing tells.

    GIF and animated PNG have no index, and each frame needs those before it.
    """
    if container not in ("gif", "apng"):
        return None
    with open(path, "rb") as file:
        content = file.read()
    return _gif(content) if container == "gif" else _apng(content)


def _gif(content):
    good = 0
    try:
        at = good = 13 + (3 << (content[10] & 7) + 1 if content[10] & 0x80 else 0)
        while content[at] in (0x21, 0x2C):
            picture = content[at] == 0x2C
            at += 10 + (3 << (content[at + 9] & 7) + 1 if content[at + 9] & 0x80 else 0) + 1 if picture else 2
            while content[at]:
                at += content[at] + 1
            at += 1
            if picture and content[at] in (0x21, 0x2C, 0x3B):
                good = at
        return None if content[at] == 0x3B else good
    except IndexError:
        return None if at == len(content) == good else good


def _apng(content):
    at = 8
    while at + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, at)
        stop = at + 12 + length
        if stop > len(content) or zlib.crc32(content[at + 4 : stop - 4]) != int.from_bytes(
            content[stop - 4 : stop], "big"
        ):
            return at
        if name == b"IEND":
            return None
        at = stop
    return at
