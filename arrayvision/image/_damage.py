"""What is wrong with an image file, as far as its structure tells without decoding it.

Decoders differ in what they let pass: OpenCV gives a cut JPEG back half gray without a word. These checks read headers,
lengths and checksums, so that a damaged file is an error whatever decodes it; and a tiny file whose header promises
gigabytes is one before they are allocated.
"""

from __future__ import annotations

import contextlib
import re
import struct
import zlib

from arrayvision.image import _netpbm

CUT = "it is cut off"
_LARGE = 1 << 22  # pixels from which a header must be borne out by the file's size
DENSEST = 1 << 18  # bytes of pixels that a byte of any format stands for, at most


def kind(content: bytes) -> str | None:
    """The format that the first bytes tell: "jpeg", "png", "tiff", "webp", "bmp", "gif", "netpbm" or None."""
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
    if content[:1] == b"P" and content[1:2] in b"1234567Ff" and content[2:3] in b" \t\r\n#":
        return "netpbm"
    return None


def damage(content: bytes) -> str | None:
    """What is wrong with the file, in words; None if nothing that can be told."""
    check = _CHECKS.get(kind(content) or "")
    if check is None:
        return None
    try:
        return check(content)
    except (struct.error, IndexError, OverflowError):  # beyond the end, or beyond any
        return CUT


# ---- what headers promise ---------------------------------------------------------------------------------------------
def size(content: bytes) -> tuple[int, int, int] | None:
    """Width, height and channels that a file's header gives, whatever its format; None if it isn't known here."""
    for matches, read in _READERS:
        if matches(content):
            try:
                return read(content)
            except (struct.error, IndexError, OverflowError, ValueError, StopIteration):
                return None
    return None


def depth(content: bytes) -> int:
    """How many bits a sample of the file has, where its header says so in a way known here; 8 otherwise."""
    if kind(content) == "png":
        return content[24]
    if content[:2] == b"\x01\xda":  # SGI
        return 8 * content[3]
    if content[4:8] == b"ftyp":
        at = content.find(b"av1C")
        return (12 if content[at + 6] & 0x20 else 10) if at >= 0 and content[at + 6] & 0x40 else 8
    at = content.find(b"\xff\x4f\xff\x51") if content[4:8] == b"jP  " or content[:2] == b"\xff\x4f" else -1
    return (content[at + 42] & 0x7F) + 1 if at >= 0 else 8


def promise(width: int, height: int, channels: int, length: int, limit: int) -> str | None:
    """What is wrong with so many pixels in a file so long; more than four channels count as several pixels."""
    pixels = width * height * max(channels, 4) // 4
    if pixels > _LARGE and pixels // DENSEST > length:
        return f"it is too short for the {width} x {height} pixels of its header"
    if pixels > limit:
        what = f"{width} x {height} pixels" + (f" of {channels} channels" if channels > 4 else "")
        return (
            f"it has {what} by its header, more than the limit of {limit}: "
            f"image.set_max_pixels({pixels}), or ARRAYVISION_MAX_PIXELS={pixels}, allows them"
        )
    return None


def _jpeg_size(content):
    for marker, start, _ in segments(content):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width, channels = struct.unpack_from(">HHB", content, start + 1)
            return width, height, channels
    return None


def _tiff_size(content):
    tags = tiff_tags(content)
    return _first(tags, "width"), _first(tags, "height"), _first(tags, "samples", 1)


def _webp_size(content):
    name = content[12:16]
    if name == b"VP8X":
        w, h = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (24, 27))
        return w, h, 4
    if name == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, 4
    width, height = struct.unpack_from("<HH", content, 26)
    return width & 0x3FFF, height & 0x3FFF, 3


def _bmp_size(content):
    if struct.unpack_from("<I", content, 14)[0] == 12:
        return *struct.unpack_from("<HH", content, 18), 3
    width, height = struct.unpack_from("<ii", content, 18)
    return abs(width), abs(height), 4


def _gif_size(content):
    """The screen, or the first frame if that is larger: decoders allocate either."""
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    with contextlib.suppress(struct.error, IndexError):  # the screen's size stands
        while content[at] == 0x21:
            at += 2
            while content[at]:
                at += content[at] + 1
            at += 1
        if content[at] == 0x2C:
            left, top, w, h = struct.unpack_from("<HHHH", content, at + 1)
            width, height = max(width, left + w), max(height, top + h)
    return width, height, 3


def _netpbm_size(content):
    head = _netpbm.header(content)
    return head.width, head.height, head.channels


def _radiance_size(content):
    match = re.search(rb"\n[-+]([XY]) (\d+) [-+][XY] (\d+)\s*\n", content[: 1 << 16])
    if match is None:
        return None
    first, second = int(match[2]), int(match[3])
    return (second, first, 3) if match[1] == b"Y" else (first, second, 3)


def _exr_size(content):
    at = content.index(b"dataWindow\0box2i\0") + 21
    left, top, right, bottom = struct.unpack_from("<iiii", content, at)
    return right - left + 1, bottom - top + 1, 4


def _jpeg2000_size(content):
    at = content.find(b"\xff\x4f\xff\x51")  # the codestream's own, which a decoder allocates
    if at < 0:
        return None
    right, bottom, left, top = struct.unpack_from(">IIII", content, at + 8)
    (channels,) = struct.unpack_from(">H", content, at + 40)
    return right - left, bottom - top, channels


def _heif_size(content):
    sizes = [struct.unpack_from(">II", content, m.end() + 4) for m in re.finditer(b"ispe", content[: 1 << 20])]
    return (*max(sizes, key=lambda s: s[0] * s[1]), 4) if sizes else None


_READERS = [
    (lambda c: c[:3] == b"\xff\xd8\xff", _jpeg_size),
    (lambda c: c[:8] == b"\x89PNG\r\n\x1a\n", lambda c: (*struct.unpack_from(">II", c, 16), 4)),
    (lambda c: kind(c) == "tiff", _tiff_size),
    (lambda c: kind(c) == "webp", _webp_size),
    (lambda c: c[:2] == b"BM", _bmp_size),
    (lambda c: kind(c) == "gif", _gif_size),
    (lambda c: kind(c) == "netpbm", _netpbm_size),
    (lambda c: c[:2] == b"#?", _radiance_size),
    (lambda c: c[:4] == b"\x59\xa6\x6a\x95", lambda c: (*struct.unpack_from(">II", c, 4), 3)),
    (lambda c: c[:4] == b"\x76\x2f\x31\x01", _exr_size),
    (lambda c: c[:4] == b"\xff\x4f\xff\x51" or c[4:8] == b"jP  ", _jpeg2000_size),
    (lambda c: c[4:8] == b"ftyp", _heif_size),
]


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
            return CUT
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
            return None if content.rfind(b"\xff\xd9", stop) >= 0 else CUT
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
            return CUT
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
# Compression: the most bytes that one packs. Of others `DENSEST`: CCITT, WebP, LERC, JPEG XL pack empty areas into bits.
_DENSE = {1: 1, 5: 2000, 6: 4096, 7: 4096, 8: 1100, 32946: 1100, 32773: 70, 34925: 1 << 14, 50000: 1 << 15}
_GENERAL = (8, 32946, 34925, 50000)  # a strip of these may unpack to more than its pixels


_TAGS = {  # what of a directory is read
    256: "width",
    257: "height",
    258: "bits",
    259: "compression",
    262: "photometric",
    266: "fill order",
    273: "offsets",
    274: "orientation",
    277: "samples",
    278: "rows",
    279: "counts",
    284: "planar",
    317: "predictor",
    320: "colors",
    322: "tile width",
    323: "tile height",
    324: "offsets",
    325: "counts",
    339: "format",
}


def _directories(content):
    """The tags in `_TAGS` of each directory, as tuples of ints; of those after the first none, only their structure."""
    order = "<" if content[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", content, 2)[0] == 43
    word, entry, count_code, head = ("Q", 20, "Q", 8) if big else ("I", 12, "H", 4)
    (at,) = struct.unpack_from(order + word, content, head)
    seen: set[int] = set()
    while at:
        if at in seen or len(seen) > 1 << 12:
            raise ValueError("its directories run in a circle")
        (count,) = struct.unpack_from(order + count_code, content, at)
        start = at + struct.calcsize(count_code)
        if start + entry * count > len(content):
            raise IndexError
        tags = {}
        for i in range(count):
            here = start + entry * i
            tag, form = struct.unpack_from(order + "HH", content, here)
            (values,) = struct.unpack_from(order + word, content, here + 4)
            size = _SIZES.get(form, 1) * values
            where = here + (12 if big else 8)
            if size > (8 if big else 4):
                (where,) = struct.unpack_from(order + word, content, where)
                if where + size > len(content):
                    raise IndexError
            if not seen and form in _CODES and tag in _TAGS and (tag != 274 or form == 3):
                tags[_TAGS[tag]] = struct.unpack_from(f"{order}{values}{_CODES[form]}", content, where)
                if tag == 274:
                    tags["orientation at"] = (where,)
        seen.add(at)
        yield tags
        (at,) = struct.unpack_from(order + word, content, start + entry * count)


def tiff_tags(content: bytes) -> dict[str, tuple[int, ...]]:
    """The first directory of a TIFF: `_TAGS`' names and their values, where it has them."""
    return next(_directories(content))


def _tiff(content):
    first = None
    try:
        for tags in _directories(content):
            first = tags if first is None else first
    except ValueError as error:
        return str(error)
    return "it has no image" if first is None else _directory(first, len(content))


def _first(tags, name, default=0):
    return (tags.get(name) or (default,))[0]


def _directory(tags, length):
    width, height = _first(tags, "width"), _first(tags, "height")
    if not width or not height:
        return f"its header gives {width} x {height} pixels"
    offsets, counts = tags.get("offsets"), tags.get("counts")
    if not offsets:
        return "it has no image data"
    samples = _first(tags, "samples", 1)
    need = width * height * _first(tags, "bits", 1) * samples // 8
    packing = _first(tags, "compression", 1)
    if counts:
        if len(counts) != len(offsets):
            return "its strips have no lengths"
        if max(o + c for o, c in zip(offsets, counts, strict=True)) > length:
            return CUT
        if packing in _GENERAL and sum(counts) > 4 * need + (1 << 16):
            return f"its {sum(counts)} bytes of data are more than {width} x {height} pixels take"
    dense = _DENSE.get(packing, DENSEST)
    if need > (_LARGE if dense > 1 else 0) and need // dense > length:
        return f"it is too short for the {width} x {height} pixels of its header"
    return None


# ---- others ----------------------------------------------------------------------------------------------------------
def _webp(content):
    return CUT if struct.unpack_from("<I", content, 4)[0] + 8 > len(content) else None


def _bmp(content):
    (start,) = struct.unpack_from("<I", content, 10)
    if start > len(content):
        return CUT
    if struct.unpack_from("<I", content, 14)[0] < 40:
        return None
    width, height, _, bits, packing = struct.unpack_from("<iiHHI", content, 18)
    if width <= 0 or not height:
        return f"its header gives {width} x {height} pixels"
    if packing in (0, 3) and (width * bits + 31) // 32 * 4 * abs(height) > len(content) - start:
        return CUT
    return None


def gif_blocks(content: bytes) -> tuple[int, int]:
    """Where a GIF's blocks end, and how many frames are among them; what runs over the end is an IndexError."""
    at, frames = 13 + (3 << (content[10] & 7) + 1 if content[10] & 0x80 else 0), 0
    while at < len(content) and content[at] in (0x21, 0x2C):
        if content[at] == 0x2C:
            at += 11 + (3 << (content[at + 9] & 7) + 1 if content[at + 9] & 0x80 else 0)
            frames += 1
        else:
            at += 2
        while content[at]:
            at += content[at] + 1
        at += 1
    return at, frames


def _gif(content):
    at, frames = gif_blocks(content)
    if at >= len(content):
        return CUT
    return None if frames else "it has no image data"  # what follows the blocks but the trailer is passed over


_CHECKS = {"jpeg": _jpeg, "png": _png, "tiff": _tiff, "webp": _webp, "bmp": _bmp, "gif": _gif}
