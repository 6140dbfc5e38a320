"""Files that lack only what follows their pixels: most readers show them, and so does this one, with a warning."""

from __future__ import annotations

import re
import struct
import zlib

import cv2
import numpy as np

from arrayvision.image._damage import CUT, damage, gif_blocks, kind, segments


def completed(content: bytes) -> tuple[bytes, str] | None:
    """The file with its end, and what it lacked; None if pixels are missing, too, or it can't be told."""
    complete = _ENDS.get(kind(content) or "")
    if complete is None or damage(content) != CUT:
        return None
    try:
        return complete(content)
    except (struct.error, IndexError, OverflowError, ValueError, zlib.error):  # the damage is not at the end alone
        return None


_FILLINGS = tuple(bytes([byte]) * 64 for byte in (0x00, 0x55, 0xAA, 0xF7))
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def _jpeg(content):
    """What follows the last scan says nothing about it: so if nothing that could follow changes a pixel, all is there."""
    if not _all_scans(content):
        return None
    content = content.rstrip(b"\xff")
    restarts = [b"\xff" + bytes([marker]) for marker in range(0xD0, 0xD8)]
    restarts = restarts if any(marker == 0xDD for marker, _, _ in segments(content)) else []
    first = None
    for filling in (*_FILLINGS, *(restart + filling for restart in restarts for filling in _FILLINGS[1:3])):
        img = cv2.imdecode(np.frombuffer(content + filling + b"\xff\xd9", np.uint8), cv2.IMREAD_UNCHANGED)
        if img is None or (first is not None and not np.array_equal(img, first)):
            return None
        first = img
    return content + b"\xff\xd9", "its end marker"


def _all_scans(content):
    """Whether each coefficient of each component has come to its last bit."""
    waiting: set[tuple[int, int]] = set()
    start = 2
    while match := _MARKER.search(content, start):
        marker, at = content[match.start() + 1], match.end()
        (length,) = struct.unpack_from(">H", content, at)
        start = at + length
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            names = [content[at + 8 + 3 * i] for i in range(content[at + 7])]
            waiting = {(name, k) for name in names for k in range(64)}
        elif marker == 0xDA:
            count = content[at + 2]
            first, last, bits = content[at + 3 + 2 * count : at + 6 + 2 * count]
            if bits & 0x0F == 0:
                for i in range(count):
                    waiting -= {(content[at + 3 + 2 * i], k) for k in range(first, last + 1)}
    return not waiting


def _png(content):
    """The stream of pixels has an end of its own."""
    at, stream = 8, zlib.decompressobj()
    while at + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, at)
        stop = at + 12 + length
        if stop > len(content):
            break
        data = content[at + 8 : stop - 4] if name == b"IDAT" else b""
        while data:
            stream.decompress(data, 1 << 20)
            data = stream.unconsumed_tail
        at = stop
    return (content[:at] + b"\0\0\0\0IEND\xae\x42\x60\x82", "its IEND chunk") if stream.eof else None


def _gif(content):
    at, frames = gif_blocks(content)
    return (content + b";", "its trailer") if frames and at == len(content) else None


def _webp(content):
    at, size = 12, 1
    while at < len(content):
        (size,) = struct.unpack_from("<I", content, at + 4)
        at += 8 + size + size % 2
    lacks = size % 2 and at == len(content) + 1 == struct.unpack_from("<I", content, 4)[0] + 8
    return (content + b"\0", "its last, empty byte") if lacks else None


def _bmp(content):
    (start,) = struct.unpack_from("<I", content, 10)
    width, height, _, bits, packing = struct.unpack_from("<iiHHI", content, 18)
    padding = -((width * bits + 7) // 8) % 4
    lacks = (width * bits + 31) // 32 * 4 * abs(height) - (len(content) - start)
    return (content + bytes(lacks), "its last, empty bytes") if packing in (0, 3) and 0 < lacks <= padding else None


_ENDS = {"jpeg": _jpeg, "png": _png, "gif": _gif, "webp": _webp, "bmp": _bmp}
