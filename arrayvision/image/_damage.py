"""What is wrong with an image file, as far as its structure tells without decoding it.

Decoders differ in what they let pass: OpenCV gives a cut JPEG back half gray without a word. These checks read headers,
lengths and checksums, so that a damaged file is an error whatever decodes it; and a tiny file whose header promises
gigabytes is one before they are allocated.
"""

from __future__ import annotations

import struct
import zlib

_LARGE = 1 << 22  # pixels from which a header must be borne out by the file's size


def kind(content: bytes) -> str | None:
    """The format that the first bytes tell: "jpeg", "png", "tiff", "webp", "bmp", "gif" or None."""
    if content[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    if content[:2] == b"BM":
        return "bmp"
    if content[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    return None


def damage(content: bytes) -> str | None:
    """What is wrong with the file, in words; None if nothing that can be told."""
    check = _CHECKS.get(kind(content) or "")
    if check is None:
        return None
    try:
        return check(content)
    except (struct.error, IndexError):
        return "it is cut off"


# ---- JPEG ------------------------------------------------------------------------------------------------------------
_ALONE = (0x01, *range(0xD0, 0xD8))  # markers without a length


def segments(content):
    """(marker, start, stop) of each JPEG segment's content, the first scan's last."""
    at = 2
    while True:
        if content[at] != 0xFF:  # bytes between segments are passed over, as libjpeg does
            at = content.find(b"\xff", at)
            if at < 0:
                return
        while content[at + 1] == 0xFF:
            at += 1
        if content[at + 1] == 0:
            at += 2
            continue
        marker = content[at + 1]
        if marker in _ALONE:
            at += 2
            continue
        if marker == 0xD9:
            return
        (length,) = struct.unpack_from(">H", content, at + 2)
        yield marker, at + 4, at + 2 + length
        if marker == 0xDA:
            return
        at += 2 + length


def _jpeg(content):
    area = 0
    for marker, start, stop in segments(content):
        if stop > len(content):
            return "it is cut off"
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", content, start + 1)
            if not height or not width:
                return f"its header gives {width} x {height} pixels"
            area = height * width
        if marker == 0xDA:
            if not area:
                return "it has no frame header"
            if area > _LARGE and area // 2048 > len(content) - stop:  # a block of 64 pixels takes a bit or more
                return f"it is too short for the {width} x {height} pixels of its header"
            return None if content.rfind(b"\xff\xd9", stop) >= 0 else "it is cut off"
    return "it has no image data"


def orientation(content: bytes) -> int:
    """The orientation in a JPEG's EXIF data, 1 to 8; 1 without one."""
    try:
        for marker, start, stop in segments(content):
            if marker == 0xE1 and content[start : start + 6] == b"Exif\0\0":
                tiff = content[start + 6 : stop]
                order = ">" if tiff[:2] == b"MM" else "<"
                (at,) = struct.unpack_from(order + "I", tiff, 4)
                (count,) = struct.unpack_from(order + "H", tiff, at)
                for i in range(count):
                    tag, kind = struct.unpack_from(order + "HH", tiff, at + 2 + 12 * i)
                    if tag == 0x0112 and kind == 3:
                        (value,) = struct.unpack_from(order + "H", tiff, at + 10 + 12 * i)
                        return value if 1 <= value <= 8 else 1
                return 1
    except (struct.error, IndexError):
        pass
    return 1


# ---- PNG -------------------------------------------------------------------------------------------------------------
def _png(content):
    at, data, need = 8, 0, 0
    view = memoryview(content)
    while True:
        length, name = struct.unpack_from(">I4s", content, at)
        stop = at + 12 + length
        if stop > len(content):
            return "it is cut off"
        if not name[0] & 0x20:  # critical: the decoder can't do without
            (checksum,) = struct.unpack_from(">I", content, stop - 4)
            if zlib.crc32(view[at + 4 : stop - 4]) != checksum:
                return f"the checksum of its {name.decode('latin-1')} chunk is wrong"
        if at == 8:
            if name != b"IHDR" or length != 13:
                return "it has no header"
            width, height, depth, color = struct.unpack_from(">IIBB", content, at + 8)
            if not width or not height:
                return f"its header gives {width} x {height} pixels"
            need = width * height * depth * {2: 3, 4: 2, 6: 4}.get(color, 1) // 8
        elif name in (b"IDAT", b"fdAT"):
            data += length
        elif name == b"IEND":
            if not data:
                return "it has no image data"
            if need > _LARGE and need // 1100 > data:  # deflate packs 1032 to 1 at most
                return f"it is too short for the {width} x {height} pixels of its header"
            return None
        at = stop


# ---- TIFF ------------------------------------------------------------------------------------------------------------
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_DENSE = {1: 1, 5: 2000, 8: 1100, 32946: 1100, 32773: 70, 50000: 1 << 15}  # compression: the most it packs


def _tiff(content):
    order = "<" if content[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", content, 2)[0] == 43
    word, entry, count_code, head = ("Q", 20, "Q", 8) if big else ("I", 12, "H", 4)
    (at,) = struct.unpack_from(order + word, content, head)
    seen = set()
    while at:
        if at in seen or len(seen) > 1 << 12:
            return "its directories run in a circle"
        if at + struct.calcsize(count_code) > len(content):
            return "it is cut off"
        seen.add(at)
        (count,) = struct.unpack_from(order + count_code, content, at)
        start = at + struct.calcsize(count_code)
        if start + entry * count > len(content):
            return "it is cut off"
        tags = {}
        for i in range(count):
            here = start + entry * i
            tag, form = struct.unpack_from(order + "HH", content, here)
            (values,) = struct.unpack_from(order + word, content, here + 4)
            size = _SIZES.get(form, 1) * values
            inline = size <= (8 if big else 4)
            where = here + (12 if big else 8)
            if not inline:
                (where,) = struct.unpack_from(order + word, content, where)
                if where + size > len(content):
                    return "it is cut off"
            if form in _CODES and tag in (256, 257, 258, 259, 273, 277, 279, 324, 325):
                tags[tag] = struct.unpack_from(f"{order}{values}{_CODES[form]}", content, where)
        wrong = _directory(tags, len(content)) if len(seen) == 1 else None
        if wrong:
            return wrong
        (at,) = struct.unpack_from(order + word, content, start + entry * count)
    return None if seen else "it has no image"


def _directory(tags, length):
    width, height = (tags.get(t, (0,))[0] if tags.get(t) else 0 for t in (256, 257))
    if not width or not height:
        return f"its header gives {width} x {height} pixels"
    offsets = tags.get(273) or tags.get(324)
    counts = tags.get(279) or tags.get(325)
    if not offsets:
        return "it has no image data"
    if counts:
        if len(counts) != len(offsets):
            return "its strips have no lengths"
        if max(o + c for o, c in zip(offsets, counts, strict=True)) > length:
            return "it is cut off"
    bits = (tags.get(258) or (1,))[0] * (tags.get(277) or (1,))[0]
    dense = _DENSE.get((tags.get(259) or (1,))[0])
    need = width * height * bits // 8
    if dense and need > (_LARGE if dense > 1 else 0) and need // dense > length:
        return f"it is too short for the {width} x {height} pixels of its header"
    return None


# ---- others ----------------------------------------------------------------------------------------------------------
def _webp(content):
    return "it is cut off" if struct.unpack_from("<I", content, 4)[0] + 8 > len(content) else None


def _bmp(content):
    (start,) = struct.unpack_from("<I", content, 10)
    if start > len(content):
        return "it is cut off"
    if struct.unpack_from("<I", content, 14)[0] < 40:
        return None
    width, height, _, bits, packing = struct.unpack_from("<iiHHI", content, 18)
    if width <= 0 or not height:
        return f"its header gives {width} x {height} pixels"
    if packing in (0, 3) and (width * bits + 31) // 32 * 4 * abs(height) > len(content) - start:
        return "it is cut off"
    return None


def _gif(content):
    return None if content.rstrip(b"\0").endswith(b";") or b";" in content[-64:] else "it is cut off"


_CHECKS = {"jpeg": _jpeg, "png": _png, "tiff": _tiff, "webp": _webp, "bmp": _bmp, "gif": _gif}
