"""TIFF files whose samples are stored one by one: any depth, number of channels, arrangement and byte order.

OpenCV takes planes of 16 bits for pixels, multiplies colors with alpha, knows no fifth channel, and turns an image whose
flag says not to; Pillow drops half of 16 bits and leaves white at zero. So samples are read here, exactly. What no rule
can take apart (JPEG, fax, subsampled YCbCr, logarithms) goes to whichever of the readers can.
"""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from arrayvision.image._damage import tiff_tags

_NONE, _LZW, _PACKBITS, _LZMA, _ZSTD = 1, 5, 32773, 34925, 50000
_DEFLATE = (8, 32946)
_SAMPLED = (_NONE, _LZW, *_DEFLATE, _PACKBITS, _LZMA, _ZSTD)  # compressions that give bytes back
_PICTURES = (2, 3, 4, 6, 7, 32766, 32771, 32809, 32909, 34676, 34677)  # those that the readers' own libtiff knows
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _INKS = 0, 1, 2, 3, 5
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # bits from the least, FillOrder 2


@dataclass
class _Layout:
    """What a directory says of its samples."""

    order: str  # "<" or ">"
    width: int
    height: int
    bits: int
    channels: int
    kind: str  # "u", "i" or "f"
    photometric: int
    compression: int
    predictor: int
    mirrored: bool
    planes: bool  # each channel on its own
    tiled: bool
    columns: int  # of a tile or strip
    rows: int
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    colors: tuple[int, ...]

    @property
    def dtype(self):
        """Of a sample as it is given back."""
        size = next(size for size in (8, 16, 32, 64) if size >= self.bits) // 8
        return np.dtype(f"{self.kind}{size}")


def orientation(content: bytes) -> int:
    """How the first image is to be turned, 1 to 8."""
    turn = (tiff_tags(content).get("orientation") or (1,))[0]
    return turn if 1 <= turn <= 8 else 1


def upright(content: bytes) -> bytes:
    """The same file, whose tag says that nothing is to be turned."""
    at = tiff_tags(content).get("orientation at")
    if at is None or orientation(content) == 1:
        return content
    return content[: at[0]] + struct.pack("<H" if content[:2] == b"II" else ">H", 1) + content[at[0] + 2 :]


def _layout(content):
    """The file's layout; None if the readers' own libtiff is to read it."""
    tags = tiff_tags(content)

    def first(name, default):
        return (tags.get(name) or (default,))[0]

    width, height, channels = first("width", 0), first("height", 0), first("samples", 1)
    bits, formats = set(tags.get("bits") or (1,)), set(tags.get("format") or (1,))
    kind = {1: "u", 2: "i", 3: "f", 4: "u"}.get(next(iter(formats)))
    photometric, compression = first("photometric", _BLACK_IS_ZERO), first("compression", _NONE)
    depth = next(iter(bits))
    known = {"u": (*range(1, 17), 32, 64), "i": (8, 16, 32, 64), "f": (16, 32, 64)}.get(kind or "", ())
    least = {_RGB: 3, _INKS: 4}.get(photometric, 1)
    if (
        len(bits) > 1
        or len(formats) > 1
        or depth not in known
        or (compression in _PICTURES and first("planar", 1) == 1 and (channels in (1, 3) or photometric == _INKS))
        or photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _INKS)
        or channels < least
        or (photometric == _PALETTE and (channels > 1 or depth > 16 or kind != "u"))
        or (photometric == _INKS and (depth not in (8, 16) or kind != "u"))
    ):
        return None
    tiled = "tile width" in tags
    columns = first("tile width", 0) if tiled else width
    rows = first("tile height", 0) if tiled else min(first("rows", height) or height, height)
    if not columns or not rows or (columns * rows - 4 * width * height) * channels > 1 << 22:
        raise ValueError(f"it has tiles of {columns} x {rows} pixels")
    predictor = first("predictor", 1) if compression not in (_NONE, _PACKBITS) else 1
    if (
        predictor not in (1, 2, 3)
        or (predictor == 2 and depth not in (8, 16, 32, 64))
        or (predictor == 3) > (kind == "f")
    ):
        return None
    return _Layout(
        order="<" if content[:2] == b"II" else ">",
        width=width,
        height=height,
        bits=depth,
        channels=channels,
        kind=kind or "u",
        photometric=photometric,
        compression=compression,
        predictor=predictor,
        mirrored=first("fill order", 1) == 2,
        planes=first("planar", 1) == 2 and channels > 1,
        tiled=tiled,
        columns=columns,
        rows=rows,
        offsets=tags.get("offsets", ()),
        counts=tags.get("counts", ()),
        colors=tags.get("colors", ()),
    )


# ---- samples ---------------------------------------------------------------------------------------------------------
def _samples(content, layout):
    """(height, width, channels) as they are stored, in the machine's byte order."""
    if layout.compression not in _SAMPLED:
        return _by_imagecodecs(content, layout)
    across, down = -(-layout.width // layout.columns), -(-layout.height // layout.rows)
    layers = layout.channels if layout.planes else 1
    if len(layout.offsets) < across * down * layers:
        raise ValueError(f"it has {len(layout.offsets)} of {across * down * layers} strips or tiles")
    out = np.zeros((layout.height, layout.width, layout.channels), layout.dtype)
    for i in range(across * down * layers):
        layer, place = divmod(i, across * down)
        top, left = place // across * layout.rows, place % across * layout.columns
        rows = layout.rows if layout.tiled else min(layout.rows, layout.height - top)
        segment = _segment(content, layout, i, rows)
        if segment is None:
            continue
        into = out[
            top : top + layout.rows,
            left : left + layout.columns,
            slice(layer, layer + 1) if layout.planes else slice(None),
        ]
        into[...] = segment[: into.shape[0], : into.shape[1]]
    return out


def _segment(content, layout, i, rows):
    """(rows, columns, channels) of a strip or tile; None if it is left out, which stands for zeros."""
    channels = 1 if layout.planes else layout.channels
    line = -(-layout.columns * channels * layout.bits // 8)
    need = rows * line
    start = layout.offsets[i]
    length = layout.counts[i] if layout.counts else need if layout.compression == _NONE else len(content) - start
    if not length:
        return None
    data = content[start : start + length]
    if layout.mirrored:
        data = data.translate(_MIRRORED)
    data = _unpacked(data, layout, line, rows)
    if len(data) < need:
        raise ValueError(f"strip or tile {i} has {len(data)} of {need} bytes")
    lines = np.frombuffer(data, np.uint8, need).reshape(rows, line)
    if layout.predictor == 3:
        return _floats(lines, layout, channels)
    if layout.bits not in (8, 16, 32, 64):
        return _bits(lines, layout, channels)
    values = lines.view(layout.dtype.newbyteorder(layout.order)).reshape(rows, layout.columns, channels)
    if layout.predictor == 2:
        whole = np.dtype(f"u{layout.bits // 8}")  # sums wrap round, floats' too
        values = np.cumsum(values.astype(layout.dtype, copy=False).view(whole), axis=1, dtype=whole).view(layout.dtype)
    return values


def _bits(lines, layout, channels):
    """Samples that don't fill their bytes, the highest bit first."""
    count = layout.columns * channels
    if layout.bits == 1:
        return np.unpackbits(lines, axis=1, count=count).reshape(len(lines), layout.columns, channels)
    single = np.unpackbits(lines, axis=1, count=count * layout.bits).reshape(len(lines), count, layout.bits)
    parts = np.packbits(single[..., ::-1], axis=-1, bitorder="little")
    parts = parts.reshape(len(lines), layout.columns, channels, -1)
    out = np.zeros((*parts.shape[:3], layout.dtype.itemsize), np.uint8)
    out[..., : parts.shape[3]] = parts
    return out.view(layout.dtype.newbyteorder("<"))[..., 0]


def _floats(lines, layout, channels):
    """Undo the predictor of floats: bytes of one significance lie together, and differ from those before."""
    size = layout.bits // 8
    moved = np.cumsum(lines.reshape(len(lines), -1, channels), axis=1, dtype=np.uint8)
    planes = moved.reshape(len(lines), size, layout.columns * channels)
    values = np.ascontiguousarray(planes.swapaxes(1, 2)).view(f">{layout.kind}{size}")
    return values.reshape(len(lines), layout.columns, channels)


def _unpacked(data, layout, line, rows):
    """The bytes of a strip or tile, no more than a whole one has, and a little, so that checksums are looked at."""
    most = line * layout.rows + 4096
    if layout.compression == _NONE:
        return data
    if layout.compression in _DEFLATE:
        inflating = zlib.decompressobj()
        data = inflating.decompress(data, most)
        if len(data) == most and not inflating.eof:
            raise ValueError(f"a strip or tile has more than its {line * rows} bytes")
        return data
    if layout.compression == _LZMA:
        return lzma.LZMADecompressor(memlimit=1 << 28).decompress(data, most)
    return _by_libtiff(data, layout.compression, line, rows)


def _by_libtiff(data, compression, line, rows):
    """By the readers' own libtiff, as a gray image of bytes."""
    tags = ((256, line), (257, rows), (258, 8), (259, compression), (262, 1), (273, 8), (277, 1), (278, rows))
    tags = (*tags, (279, len(data)), (284, 1))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    at = 8 + len(data) + len(data) % 2
    file = b"II*\0" + struct.pack("<I", at) + data + bytes(len(data) % 2) + struct.pack("<H", len(tags)) + entries
    file += bytes(4)
    if compression != _ZSTD:
        img = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
        if img is not None and img.shape == (rows, line):
            return img.tobytes()
    from arrayvision.image.io import pillow

    try:
        picture = pillow("Image").open(io.BytesIO(file))
        return picture.tobytes()
    except ImportError:
        raise ValueError(f"its compression {compression} is read by Pillow: pip install pillow") from None


def _by_imagecodecs(content, layout):
    """By tifffile, which asks imagecodecs for what a newer or rarer compression stands for."""
    try:
        import imagecodecs  # noqa: F401
        import tifffile
    except ImportError:
        raise ValueError(
            f"its compression {layout.compression} takes imagecodecs: pip install imagecodecs tifffile"
        ) from None
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        samples = np.asarray(file.pages[0].asarray())
    shape = layout.height, layout.width, layout.channels
    samples = np.moveaxis(samples, 0, -1) if layout.planes else samples
    if samples.size != np.prod(shape) or samples.dtype != layout.dtype:
        raise ValueError(f"tifffile gives {samples.dtype} of shape {samples.shape} for it")
    return samples.reshape(shape).copy()


# ---- pictures --------------------------------------------------------------------------------------------------------
def suits_opencv(content: bytes) -> bool:
    """Whether it is of the commonest form, pixels of three colors in 8 or 16 bits, which OpenCV reads right and fast."""
    layout = _layout(content)
    return (
        layout is not None
        and (layout.photometric, layout.channels, layout.kind, layout.planes) == (_RGB, 3, "u", False)
        and layout.bits in (8, 16)
        and layout.compression in (_NONE, _LZW, _PACKBITS, *_DEFLATE)
    )


def opencv_reads(content: bytes) -> bool:
    """Whether OpenCV gives what is stored: interleaved gray or three colors, in whole bytes."""
    layout = _layout(content)
    if layout is None:
        return True  # as far as is known
    forms = ((_BLACK_IS_ZERO, 1), (_RGB, 3), *([(_WHITE_IS_ZERO, 1)] if layout.bits == 8 else []))
    return (
        (layout.photometric, layout.channels) in forms
        and layout.bits in (8, 16, 32, 64)
        and not layout.planes
        and layout.compression in (_NONE, _LZW, _PACKBITS, *_DEFLATE)
    )


def read(content: bytes, flag: str, order: str) -> np.ndarray | None:
    """The image as `imread` gives it, but not turned; None if its samples can't be told apart here.

    Raises
    ------
    ValueError
        If it is damaged, or has no picture of 8 bits to give.
    """
    layout = _layout(content)
    if layout is None:
        tags = tiff_tags(content)
        compression, planes = tags.get("compression", (_NONE,))[0], tags.get("planar") == (2,)
        if compression not in (*_SAMPLED, *_PICTURES) or (planes and set(tags.get("bits", ())) != {8}):
            raise ValueError(
                f"its samples of {tags.get('bits', (1,))} bits in compression {compression} are of no known form"
            )
        return None
    if flag != "unchanged":
        why = _colorless(layout)
        if why:
            raise ValueError(f"{why}: read it with flag 'unchanged'")
    img = _shown(_samples(content, layout), layout)
    if flag != "unchanged":
        img = _eight_bits(img, layout)[..., : 3 if _colored(layout) else 1]
        if flag.startswith("gray"):
            return cv2.cvtColor(img, cv2.COLOR_RGB2GRAY) if img.shape[2] == 3 else np.ascontiguousarray(img[..., 0])
        if img.shape[2] == 1:
            return np.repeat(img, 3, axis=2)
    if order == "bgr" and _colored(layout):
        img[..., :3] = img[..., 2::-1].copy()
    return np.ascontiguousarray(img[..., 0] if img.shape[2] == 1 else img)


def _colored(layout):
    return layout.photometric in (_RGB, _PALETTE, _INKS)


def _colorless(layout):
    """Why there is no picture of 8 bits; None if there is."""
    if layout.kind != "u" or layout.bits > 16:
        return f"its {layout.dtype} values have no form of 8 bits"
    if not _colored(layout) and layout.channels > 2:
        return f"its {layout.channels} channels are no color picture"
    return None


def _shown(samples, layout):
    """Samples as light: more is lighter; palettes and inks as RGB."""
    if layout.photometric == _PALETTE:
        colors = np.array(layout.colors, np.uint16).reshape(3, -1).T
        if len(colors) < 1 << layout.bits:
            raise ValueError(f"its palette has {len(colors)} of {1 << layout.bits} colors")
        colors = (colors >> 8 if (colors > 255).any() else colors).astype(np.uint8)
        return colors[samples[..., 0]]
    if layout.photometric == _INKS:
        most = (1 << layout.bits) - 1
        inks = most - samples[..., :4].astype(np.uint32)
        return ((inks[..., :3] * inks[..., 3:] + most // 2) // most).astype(layout.dtype)
    if layout.photometric == _WHITE_IS_ZERO and layout.kind == "u":
        samples[..., 0] = layout.dtype.type((1 << layout.bits) - 1) - samples[..., 0]
    if layout.bits < 8:
        samples = (samples.astype(np.uint16) * 255 // ((1 << layout.bits) - 1)).astype(np.uint8)
    return samples


def _eight_bits(img, layout):
    if img.dtype == np.uint8:
        return img
    if layout.bits == 16 and _colored(layout):  # as libtiff has it, and so OpenCV
        return ((img.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return (img >> (layout.bits - 8)).astype(np.uint8)
