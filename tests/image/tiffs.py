"""A writer of TIFFs with any tags, for tests: plain steps, one sample after another."""

import io
import lzma
import struct
import zlib

import numpy as np
from PIL import Image


def lzw(data, mode="tiff_lzw"):
    """Bytes as libtiff packs them, taken out of a file that Pillow writes."""
    buffer = io.BytesIO()
    Image.frombytes("L", (len(data), 1), data).save(buffer, "TIFF", compression=mode)
    picture = Image.open(buffer)
    (start,), (count,) = picture.tag_v2[273], picture.tag_v2[279]
    return buffer.getvalue()[start : start + count]


PACKERS = {
    1: bytes,
    5: lzw,
    8: zlib.compress,
    32946: zlib.compress,
    32773: lambda data: lzw(data, "packbits"),
    34925: lzma.compress,
    50000: lambda data: lzw(data, "zstd"),
}


def packed(values, bits):
    """Lines of whole numbers (rows, n) as strings of bits."""
    lines = ("".join(format(int(v), f"0{bits}b") for v in line) for line in values)
    return b"".join(
        int(line.ljust(-(-len(line) // 8) * 8, "0"), 2).to_bytes(-(-len(line) // 8), "big") for line in lines
    )


def predicted(values, predictor, order):
    """What the predictor makes of a segment (rows, columns, channels), as bytes."""
    kind = values.dtype
    if predictor == 2:
        whole = values.view(f"u{kind.itemsize}")
        whole = np.concatenate([whole[:, :1], whole[:, 1:] - whole[:, :-1]], axis=1)
        return whole.astype(whole.dtype.newbyteorder(order)).tobytes()
    planes = np.ascontiguousarray(values).astype(kind.newbyteorder(">")).view(np.uint8)
    planes = planes.reshape(len(values), -1, kind.itemsize).swapaxes(1, 2).reshape(len(values), -1, values.shape[2])
    return np.concatenate([planes[:, :1], planes[:, 1:] - planes[:, :-1]], axis=1).tobytes()


def tiff(
    img,
    photometric=1,
    bits=None,
    planes=False,
    tile=None,
    rows=None,
    order="<",
    big=False,
    compression=1,
    predictor=1,
    mirrored=False,
    more=(),
):
    """A file of an image (H, W, C); `more` has further tags, as (tag, type, values)."""
    h, w, c = img.shape
    bits = bits or img.dtype.itemsize * 8
    tall, wide = tile or (rows or h, w)
    padded = np.zeros((-(-h // tall) * tall if tile else h, -(-w // wide) * wide, c), img.dtype)
    padded[:h, :w] = img
    segments = []
    for layer in [slice(i, i + 1) for i in range(c)] if planes else [slice(None)]:
        for top in range(0, h, tall):
            for left in range(0, w, wide):
                part = np.ascontiguousarray(padded[top : top + tall, left : left + wide, layer])
                if predictor > 1:
                    data = predicted(part, predictor, order)
                elif bits in (8, 16, 32, 64) and bits == img.dtype.itemsize * 8:
                    data = part.astype(part.dtype.newbyteorder(order)).tobytes()
                else:
                    data = packed(part.reshape(len(part), -1), bits)
                data = PACKERS[compression](data)
                segments.append(bytes(int(f"{b:08b}"[::-1], 2) for b in data) if mirrored else data)
    head = 16 if big else 8
    offsets = [head + sum(map(len, segments[:i])) for i in range(len(segments))]
    where = (324, 325) if tile else (273, 279)
    tags = [
        (256, 4, (w,)),
        (257, 4, (h,)),
        (258, 3, (bits,) * c),
        (259, 3, (compression,)),
        (262, 3, (photometric,)),
        (where[0], 4, offsets),
        (277, 3, (c,)),
        (where[1], 4, list(map(len, segments))),
        (284, 3, (2 if planes else 1,)),
        (339, 3, ({"u": 1, "i": 2, "f": 3}[img.dtype.kind],) * c),
        *([(322, 4, (wide,)), (323, 4, (tall,))] if tile else [(278, 4, (tall,))]),
        *([(317, 3, (predictor,))] if predictor > 1 else []),
        *([(266, 3, (2,))] if mirrored else []),
        *more,
    ]
    return written(b"".join(segments), sorted(tags), order, big)


def written(data, tags, order="<", big=False):
    """A file of pixels' bytes and a directory."""
    word, count_code, head = ("Q", "Q", 16) if big else ("I", "H", 8)
    data += bytes(len(data) % 2)
    at = head + len(data)
    after = at + struct.calcsize(count_code) + (20 if big else 12) * len(tags) + struct.calcsize(word)
    entries = rest = b""
    for tag, kind, values in tags:
        raw = struct.pack(f"{order}{len(values)}{ {3: 'H', 4: 'I', 16: 'Q'}[kind] }", *values)
        entries += struct.pack(f"{order}HH{word}", tag, kind, len(values))
        if len(raw) > (8 if big else 4):
            entries += struct.pack(order + word, after + len(rest))
            rest += raw
        else:
            entries += raw.ljust(8 if big else 4, b"\0")
    mark = b"II" if order == "<" else b"MM"
    start = struct.pack(f"{order}HHHQ", 43, 8, 0, at) if big else struct.pack(f"{order}HI", 42, at)
    return (
        mark + start + data + struct.pack(order + count_code, len(tags)) + entries + struct.pack(order + word, 0) + rest
    )
