"""Loops over optical flow: quantization, warping, colors. Blocks are rows or runs of pixels that `take` hands out."""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.threads import take

GRAIN = 1 << 15


# ---- quantization ----------------------------------------------------------------------------------------------------
@kernel
def _quantize(flow, dx, dy, width, height, most, span):
    zero, levels, last = span - span, span.dtype.type(255), span.dtype.type(254)
    for i in range(dx.shape[0]):
        u, v = flow[2 * i] / width, flow[2 * i + 1] / height
        u = levels * (min(max(u, -most), most) + most) / span
        v = levels * (min(max(v, -most), most) + most) / span
        dx[i] = np.uint8(np.int32(max(min(u, last), zero)))  # fractions cut off: the floor, since none is negative
        dy[i] = np.uint8(np.int32(max(min(v, last), zero)))


@kernel
def quantize(flow, width, height, most, span, dx, dy, turn, grain, n):
    """dx, dy = levels of 255 for flow / (width, height) clipped to [-most, most]; span = 2 * most."""
    start = take(turn, grain)
    while start < n:
        stop = min(start + grain, n)
        _quantize(flow[2 * start : 2 * stop], dx[start:stop], dy[start:stop], width, height, most, span)
        start = take(turn, grain)


# ---- warping ---------------------------------------------------------------------------------------------------------
@kernel
def warp_nearest(img, flow, fill, out, turn, grain, n):
    """out[y, x] = the pixel of img nearest to (x, y) + flow[y, x]; `fill` where the cell of 4 around isn't in img."""
    height, width, channels = img.shape
    start = take(turn, grain)
    while start < n:
        for y in range(start, min(start + grain, n)):
            for x in range(width):
                sx, sy = x + np.float64(flow[y, x, 0]), y + np.float64(flow[y, x, 1])
                if sx >= 0 and sx < width - 1 and sy >= 0 and sy < height - 1:
                    i, j = np.int64(np.rint(sy)), np.int64(np.rint(sx))
                    for c in range(channels):
                        out[y, x, c] = img[i, j, c]
                else:
                    for c in range(channels):
                        out[y, x, c] = fill
        start = take(turn, grain)


@kernel(fastmath={"contract"})
def warp_bilinear(img, flow, fill, whole, out, turn, grain, n):
    """out[y, x] = img at (x, y) + flow[y, x] from the 4 pixels around; `fill` where they aren't in img."""
    height, width, channels = img.shape
    start = take(turn, grain)
    while start < n:
        for y in range(start, min(start + grain, n)):
            for x in range(width):
                sx, sy = x + np.float64(flow[y, x, 0]), y + np.float64(flow[y, x, 1])
                if sx >= 0 and sx < width - 1 and sy >= 0 and sy < height - 1:
                    i, j = np.int64(sy), np.int64(sx)
                    fy, fx = sy - i, sx - j
                    a, b, c, d = (1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx
                    for k in range(channels):
                        value = (
                            a * img[i, j, k] + b * img[i, j + 1, k] + c * img[i + 1, j, k] + d * img[i + 1, j + 1, k]
                        )
                        out[y, x, k] = np.rint(value) if whole else value
                else:
                    for k in range(channels):
                        out[y, x, k] = fill
        start = take(turn, grain)


# ---- colors ----------------------------------------------------------------------------------------------------------
# atan(t) / t on [0, 1] as a polynomial in t**2, by interpolation at Chebyshev nodes; error below 3e-9
A0, A1, A2, A3, A4 = 0.9999999972, -0.3333327629, 0.1999807528, -0.1426001609, 0.1093234151
A5, A6, A7, A8, A9 = -0.0834972500, 0.0570895563, -0.0303518651, 0.0104876494, -0.0017011701
RUN = 512  # pixels whose angles are computed together, in vectors


@kernel
def largest(flow, unknown, most, turn, grain, n):
    """most[block] = the greatest length of the block's known vectors, squared; 0 without one."""
    start = take(turn, grain)
    while start < n:
        found = np.float64(0)
        block = flow[2 * start : 2 * min(start + grain, n)]
        for i in range(block.shape[0] // 2):
            u, v = np.float64(block[2 * i]), np.float64(block[2 * i + 1])
            found = max(found, u * u + v * v if abs(u) <= unknown and abs(v) <= unknown else np.float64(0))
        most[start // grain] = found
        start = take(turn, grain)


@kernel(fastmath={"contract"})
def _turns(flow, unknown, scale, turns, lengths):
    """The angle of -flow as a part of the circle from -pi to pi, and flow's length times scale; -1 where unknown."""
    one, zero, half, quarter = np.float32(1), np.float32(0), np.float32(0.5), np.float32(0.25)
    over = np.float32(1 / (2 * np.pi))
    for i in range(turns.shape[0]):
        u, v = flow[2 * i], flow[2 * i + 1]
        known = (abs(u) <= unknown) & (abs(v) <= unknown)
        x = np.float32(-u * scale) if known else zero
        y = np.float32(-v * scale) if known else zero
        ax, ay = abs(x), abs(y)
        least, most = min(ax, ay), max(ax, ay)
        t = least / (most if most > zero else one)
        s = t * t
        p = np.float32(A8) + s * np.float32(A9)
        p = np.float32(A6) + s * (np.float32(A7) + s * p)
        p = np.float32(A4) + s * (np.float32(A5) + s * p)
        p = np.float32(A2) + s * (np.float32(A3) + s * p)
        p = (np.float32(A0) + s * (np.float32(A1) + s * p)) * t * over
        p = quarter - p if ay > ax else p
        p = half - p if x < zero else p
        # flow of no vertical part points at -pi, as atan2(-0, ...) does
        p = half - p if u * scale == zero and v * scale == zero else p
        p = -p if v >= zero else p
        turns[i] = p + half
        lengths[i] = min(np.sqrt(x * x + y * y), one) if known else -one


@kernel(fastmath={"contract"})
def colors(flow, wheel, unknown, scale, out, turn, grain, n):
    """out[p] = the wheel's color at the vector's angle, whiter the shorter it is; black where it isn't known."""
    bins = wheel.shape[0]
    one, zero, most = np.float32(1), np.float32(0), np.float32(bins - 1)
    turns, lengths = np.empty(RUN, np.float32), np.empty(RUN, np.float32)
    start = take(turn, grain)
    while start < n:
        stop = min(start + grain, n)
        for first in range(start, stop, RUN):
            count = min(RUN, stop - first)
            _turns(flow[2 * first : 2 * (first + count)], unknown, scale, turns[:count], lengths[:count])
            dst = out[3 * first : 3 * (first + count)]
            for i in range(count):
                at, length = turns[i] * most, lengths[i]
                low = np.int64(at)
                part = at - np.float32(low)
                high = low + 1 if low + 1 < bins else 0
                keep = one - length if length >= zero else zero  # how white
                length = max(length, zero)
                for c in range(3):
                    dst[3 * i + c] = keep + length * (wheel[low, c] * (one - part) + wheel[high, c] * part)
        start = take(turn, grain)
