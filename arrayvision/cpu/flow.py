"""Loops over optical flow: quantization, warping, colors. Blocks are rows or runs of pixels that `claim` hands out."""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.threads import claim

GRAIN = 1 << 15


# ---- quantization ----------------------------------------------------------------------------------------------------
@kernel
def _quantize(flow, dx, dy, width, height, most, span):
    zero, levels, last = flow.dtype.type(0), flow.dtype.type(255), flow.dtype.type(254)
    for i in range(dx.shape[0]):
        u, v = flow[2 * i] / width, flow[2 * i + 1] / height
        u = levels * (min(max(u, -most), most) + most) / span
        v = levels * (min(max(v, -most), most) + most) / span
        dx[i] = np.uint8(np.int32(max(min(u, last), zero)))  # fractions cut off: the floor, since none is negative
        dy[i] = np.uint8(np.int32(max(min(v, last), zero)))


@kernel
def quantize(flow, width, height, most, span, dx, dy, turn, grain, n):
    """dx, dy = levels of 255 for flow / (width, height) clipped to [-most, most]; span = 2 * most."""
    start = claim(turn, grain)
    while start < n:
        stop = min(start + grain, n)
        _quantize(flow[2 * start : 2 * stop], dx[start:stop], dy[start:stop], width, height, most, span)
        start = claim(turn, grain)


# ---- warping ---------------------------------------------------------------------------------------------------------
# Where a run of pixels comes from is computed in vectors; then the pixels are gathered. Indices are unsigned: Numba
# would ask each whether it counts from the end.
RUN = 512


@kernel
def _sources(flow, y, first, width, height, nearest, places, fx, fy):
    """places[k] = y' * width + x' of the pixel (the upper left of 4, or the nearest) that the flow points to, or -1."""
    for k in range(places.shape[0]):
        sx = np.float64(first + k) + np.float64(flow[2 * k])
        sy = np.float64(y) + np.float64(flow[2 * k + 1])
        inside = (sx >= 0) & (sx < width - 1) & (sy >= 0) & (sy < height - 1)
        sx, sy = sx if inside else np.float64(0), sy if inside else np.float64(0)
        jx, iy = np.rint(sx) if nearest else np.floor(sx), np.rint(sy) if nearest else np.floor(sy)
        fx[k], fy[k] = sx - jx, sy - iy
        places[k] = np.int64(iy) * width + np.int64(jx) if inside else -1


@kernel
def _copy3(img, places, fill, out):
    n0, n1, n2 = np.uint64(0), np.uint64(1), np.uint64(2)
    for k in range(places.shape[0]):
        j = 3 * k
        if places[k] >= 0:
            i = np.uint64(places[k] * 3)
            out[j], out[j + 1], out[j + 2] = img[i + n0], img[i + n1], img[i + n2]
        else:
            out[j], out[j + 1], out[j + 2] = fill, fill, fill


@kernel
def _copy(img, channels, places, fill, out):
    for k in range(places.shape[0]):
        at, to = np.uint64(places[k] * channels), np.uint64(k * channels)
        if places[k] >= 0:
            for c in range(np.uint64(channels)):
                out[to + c] = img[at + c]
        else:
            for c in range(np.uint64(channels)):
                out[to + c] = fill


@kernel(fastmath={"contract"})
def _blend(img, channels, stride, places, fx, fy, fill, whole, out):
    one = fx.dtype.type(1)
    row, step, end = np.uint64(stride), np.uint64(channels), np.uint64(channels)
    for k in range(places.shape[0]):
        at, to = np.uint64(places[k] * channels), np.uint64(k * channels)
        if places[k] >= 0:
            x, y = fx[k], fy[k]
            p, q = one - x, one - y
            a, b, c, d = p * q, x * q, p * y, x * y
            for ch in range(end):
                i = at + ch
                value = img[i] * a + img[i + step] * b + img[i + row] * c + img[i + row + step] * d
                out[to + ch] = np.rint(value) if whole else value
        else:
            for ch in range(end):
                out[to + ch] = fill


@kernel(fastmath={"contract"})
def _blend3(img, stride, places, fx, fy, fill, whole, out):
    """`_blend` of three channels, without a loop over them."""
    one = fx.dtype.type(1)
    row = np.uint64(stride)
    n0, n1, n2, n3, n4, n5 = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4), np.uint64(5)
    for k in range(places.shape[0]):
        j = 3 * k
        if places[k] >= 0:
            i = np.uint64(places[k] * 3)
            m = i + row
            x, y = fx[k], fy[k]
            p, q = one - x, one - y
            a, b, c, d = p * q, x * q, p * y, x * y
            u = img[i + n0] * a + img[i + n3] * b + img[m + n0] * c + img[m + n3] * d
            v = img[i + n1] * a + img[i + n4] * b + img[m + n1] * c + img[m + n4] * d
            w = img[i + n2] * a + img[i + n5] * b + img[m + n2] * c + img[m + n5] * d
            if whole:
                u, v, w = np.rint(u), np.rint(v), np.rint(w)
            out[j], out[j + 1], out[j + 2] = u, v, w
        else:
            out[j], out[j + 1], out[j + 2] = fill, fill, fill


# Three bytes at once: channels in 21 bits each of one word, weights of 13 bits that sum to 2**13.
BITS, UNIT = np.uint64(13), np.float32(1 << 13)
WHOLE, ROUND = np.int64(1 << 13), np.uint64((1 << 12) * (1 + (1 << 21) + (1 << 42)))


@kernel
def _sources_bytes(flow, y, first, width, height, places, b, c, d):
    """`_sources` in float32, with the weights of the 4 pixels but the first, which has what they leave."""
    for k in range(places.shape[0]):
        sx, sy = np.float32(first + k) + np.float32(flow[2 * k]), np.float32(y) + np.float32(flow[2 * k + 1])
        inside = (sx >= 0) & (sx < np.float32(width - 1)) & (sy >= 0) & (sy < np.float32(height - 1))
        sx, sy = sx if inside else np.float32(0), sy if inside else np.float32(0)
        jx, iy = np.int32(sx), np.int32(sy)
        fx, fy = sx - np.float32(jx), sy - np.float32(iy)
        both = fx * fy
        b[k] = np.int32((fx - both) * UNIT)
        c[k] = np.int32((fy - both) * UNIT)
        d[k] = np.int32(both * UNIT)
        places[k] = np.int64(iy) * width + np.int64(jx) if inside else -1


@kernel
def _blend_bytes(img, stride, places, b, c, d, fill, out):
    n0, n1, n2, n3, n4, n5 = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4), np.uint64(5)
    row, s1, s2, mask = np.uint64(stride), np.uint64(21), np.uint64(42), np.uint64(255)
    for k in range(places.shape[0]):
        j = 3 * k
        if places[k] >= 0:
            i = np.uint64(places[k] * 3)
            m = i + row
            p = np.uint64(img[i + n0]) | np.uint64(img[i + n1]) << s1 | np.uint64(img[i + n2]) << s2
            q = np.uint64(img[i + n3]) | np.uint64(img[i + n4]) << s1 | np.uint64(img[i + n5]) << s2
            r = np.uint64(img[m + n0]) | np.uint64(img[m + n1]) << s1 | np.uint64(img[m + n2]) << s2
            s = np.uint64(img[m + n3]) | np.uint64(img[m + n4]) << s1 | np.uint64(img[m + n5]) << s2
            wb, wc, wd = np.int64(b[k]), np.int64(c[k]), np.int64(d[k])
            wa = WHOLE - wb - wc - wd
            t = p * np.uint64(wa) + q * np.uint64(wb) + r * np.uint64(wc) + s * np.uint64(wd) + ROUND
            out[j] = np.uint8((t >> BITS) & mask)
            out[j + 1] = np.uint8((t >> (BITS + s1)) & mask)
            out[j + 2] = np.uint8((t >> (BITS + s2)) & mask)
        else:
            out[j], out[j + 1], out[j + 2] = fill, fill, fill


@kernel
def warp_bytes(img, flow, width, height, fill, out, turn, grain, n):
    """`warp`, bilinear, of three channels of bytes; within 0.1 of the exact value before it is rounded."""
    places = np.empty(RUN, np.int64)
    b, c, d = np.empty(RUN, np.int32), np.empty(RUN, np.int32), np.empty(RUN, np.int32)
    start = claim(turn, grain)
    while start < n:
        for y in range(start, min(start + grain, n)):
            for first in range(0, width, RUN):
                count = min(RUN, width - first)
                at = y * width + first
                here = places[:count]
                _sources_bytes(flow[2 * at : 2 * (at + count)], y, first, width, height, here, b, c, d)
                _blend_bytes(img, width * 3, here, b, c, d, fill, out[3 * at : 3 * (at + count)])
        start = claim(turn, grain)


@kernel
def warp(img, flow, width, height, channels, nearest, whole, kind, fill, out, turn, grain, n):
    """out[y, x] = img at (x, y) + flow[y, x], nearest or from the 4 pixels around; `fill` where they aren't in img.

    `kind` is an array of the dtype to compute in; `whole` rounds.
    """
    places = np.empty(RUN, np.int64)
    fx, fy = np.empty(RUN, kind.dtype), np.empty(RUN, kind.dtype)
    start = claim(turn, grain)
    while start < n:
        for y in range(start, min(start + grain, n)):
            for first in range(0, width, RUN):
                count = min(RUN, width - first)
                at = y * width + first
                where, part = places[:count], out[at * channels : (at + count) * channels]
                _sources(
                    flow[2 * at : 2 * (at + count)], y, first, width, height, nearest, where, fx[:count], fy[:count]
                )
                if nearest and channels == 3:
                    _copy3(img, where, fill, part)
                elif nearest:
                    _copy(img, channels, where, fill, part)
                elif channels == 3:
                    _blend3(img, width * channels, where, fx, fy, fill, whole, part)
                else:
                    _blend(img, channels, width * channels, where, fx, fy, fill, whole, part)
        start = claim(turn, grain)


# ---- colors ----------------------------------------------------------------------------------------------------------
# atan(t) / t on [0, 1] as a polynomial in t**2, by interpolation at Chebyshev nodes; error below 3e-9
A0, A1, A2, A3, A4 = 0.9999999972, -0.3333327629, 0.1999807528, -0.1426001609, 0.1093234151
A5, A6, A7, A8, A9 = -0.0834972500, 0.0570895563, -0.0303518651, 0.0104876494, -0.0017011701


@kernel
def largest(flow, unknown, most, turn, grain, n):
    """most[block] = the greatest length of the block's known vectors, squared; 0 without one."""
    start = claim(turn, grain)
    while start < n:
        found = np.float64(0)
        block = flow[2 * start : 2 * min(start + grain, n)]
        for i in range(block.shape[0] // 2):
            u, v = np.float64(block[2 * i]), np.float64(block[2 * i + 1])
            found = max(found, u * u + v * v if abs(u) <= unknown and abs(v) <= unknown else np.float64(0))
        most[start // grain] = found
        start = claim(turn, grain)


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
    start = claim(turn, grain)
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
        start = claim(turn, grain)
