"""8-bit color images resized, normalized and laid out in planes, in one pass."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from arrayvision.cpu import kernel
from arrayvision.cpu.threads import claim


@intrinsic
def _eight_bytes(typingctx, row, start):
    """The 8 bytes of a row from `start` on, which must be inside, as one little-endian number."""

    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        place = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(64).as_pointer())
        return builder.load(place, align=1)

    return types.int64(row, types.int64), codegen


# ---- normalize -------------------------------------------------------------------------------------------------------
@kernel
def _normalize(src, dst, mean, scale):
    for i in range(dst.shape[0]):
        dst[i] = (np.float32(src[3 * i]) - mean) * scale


@kernel
def normalize_planes(img, mean, scale, swap, out, turn, grain, n):
    """``out[c, y, x] = (img[y, x, c'] - mean[c]) * scale[c]`` in float32, c' = 2 - c if `swap`.

    img : (H, W * 3) uint8
    out : (3, H, W) or more
    """
    width = img.shape[1] // 3
    start = claim(turn, grain)
    while start < n:
        rows, to = img[start : min(start + grain, n)], out[:, start:]
        for y in range(rows.shape[0]):
            for c in range(3):
                _normalize(rows[y, 2 - c if swap else c :], to[c, y, :width], mean[c], scale[c])
        start = claim(turn, grain)


# ---- resize and normalize --------------------------------------------------------------------------------------------
# Bilinear as OpenCV rounds it: weights in 11 bits; rows first, cut to 15 bits; then columns. Two pixels are gathered by
# one load into a line of 64-bit numbers, which a vectorized loop takes apart: gathering bytes one by one takes 4 times
# as long.
@kernel
def _gather(row, starts, pairs):
    for i in range(pairs.shape[0]):
        pairs[i] = _eight_bytes(row, np.int64(starts[i]))


@kernel
def _blend(pairs, left, right, b, g, r):
    byte, four = np.int64(255), np.int32(4)
    for i in range(pairs.shape[0]):
        p, u, v = pairs[i], left[i], right[i]
        b[i] = (np.int32(p & byte) * u + np.int32((p >> np.int64(24)) & byte) * v) >> four
        g[i] = (np.int32((p >> np.int64(8)) & byte) * u + np.int32((p >> np.int64(32)) & byte) * v) >> four
        r[i] = (np.int32((p >> np.int64(16)) & byte) * u + np.int32((p >> np.int64(40)) & byte) * v) >> four


@kernel
def _blend_and_normalize(upper, lower, a, b, mean, scale, dst):
    sixteen, two = np.int32(16), np.int32(2)
    for i in range(dst.shape[0]):
        value = (((np.int32(upper[i]) * a) >> sixteen) + ((np.int32(lower[i]) * b) >> sixteen) + two) >> two
        dst[i] = (np.float32(value) - mean) * scale


@kernel
def resize_to_planes(img, last, starts, left, right, rows, weights, mean, scale, swap, out, turn, grain, n):
    """``out[c, y, x] = (resized[y, x, c'] - mean[c]) * scale[c]`` in float32, c' = 2 - c if `swap`.

    img : (H, W * 3) uint8
    last : its last row, and 2 bytes more, since 8 are read where a pair of pixels has 6
    starts, left, right : (w,) int32, where a column's two pixels begin in a row, and their weights
    rows, weights : (h, 2) int32, a row's two rows in `img`, and their weights
    out : (3, h, w) or more
    """
    width, bottom = starts.shape[0], img.shape[0] - 1
    pairs = np.empty(width, np.int64)
    lines = np.empty((2, 3, width), np.int16)  # two rows of `img`, resized: even ones in the first place
    start = claim(turn, grain)
    while start < n:
        even, odd = -1, -1  # which they are; forgotten between blocks, so that each block is computed alike
        for y in range(start, min(start + grain, n)):
            for k in range(2):
                row = rows[y, k]
                place = row & 1
                if row != (odd if place else even):
                    _gather(last if row == bottom else img[row], starts, pairs)
                    _blend(pairs, left, right, lines[place, 0], lines[place, 1], lines[place, 2])
                    if place:
                        odd = row
                    else:
                        even = row
            upper, lower = lines[rows[y, 0] & 1], lines[rows[y, 1] & 1]
            for c in range(3):
                k = 2 - c if swap else c
                _blend_and_normalize(
                    upper[k], lower[k], weights[y, 0], weights[y, 1], mean[c], scale[c], out[c, y, :width]
                )
        start = claim(turn, grain)
