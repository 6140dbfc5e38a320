"""Pixel loops that take one pass where OpenCV takes several. Images come as vectors (H * W * channels), channels last.

Each kernel works through blocks of pixels that `claim` hands out. Plain loops over vectors from 0, three channels at
`3 * i`: LLVM turns these into shuffles of whole registers.
"""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.threads import claim, parallel_for

GRAIN = 1 << 16  # pixels a block: a few hundred microseconds at most


# ---- normalize -------------------------------------------------------------------------------------------------------
# Two loops for the two orders of channels: with the order in a variable, LLVM gathers instead of shuffling.
@kernel(fastmath={"contract"})
def _normalize3(src, dst, s0, s1, s2, b0, b1, b2):
    for i in range(dst.shape[0] // 3):
        j = 3 * i
        x, y, z = np.float32(src[j]), np.float32(src[j + 1]), np.float32(src[j + 2])
        dst[j], dst[j + 1], dst[j + 2] = (x - b0) * s0, (y - b1) * s1, (z - b2) * s2


@kernel(fastmath={"contract"})
def _normalize3_swapped(src, dst, s0, s1, s2, b0, b1, b2):
    for i in range(dst.shape[0] // 3):
        j = 3 * i
        x, y, z = np.float32(src[j + 2]), np.float32(src[j + 1]), np.float32(src[j])
        dst[j], dst[j + 1], dst[j + 2] = (x - b0) * s0, (y - b1) * s1, (z - b2) * s2


@kernel
def normalize3(src, b, s, swap, dst, turn, grain, n):
    """dst[p, c] = (src[p, c'] - b[c]) * s[c] in float32, c' = 2 - c if `swap`; dst may be src."""
    start = claim(turn, grain)
    while start < n:
        stop = min(start + grain, n)
        x, y = src[3 * start : 3 * stop], dst[3 * start : 3 * stop]
        if swap:
            _normalize3_swapped(x, y, s[0], s[1], s[2], b[0], b[1], b[2])
        else:
            _normalize3(x, y, s[0], s[1], s[2], b[0], b[1], b[2])
        start = claim(turn, grain)


@kernel
def _restored(x, s, b, close):
    """x * s + b; a whole number where it is as near to one as its roundings are large, so that casts don't lose it.

    Near 0, casts don't, and a relative comparison would see the difference.
    """
    scaled = x * s
    value = scaled + b
    whole = np.rint(value)
    return whole if whole != 0 and abs(value - whole) <= close * (abs(scaled) + abs(b)) else value


@kernel
def _denormalize3(src, dst, s0, s1, s2, b0, b1, b2, close):
    for i in range(dst.shape[0] // 3):
        j = 3 * i
        x, y, z = (
            _restored(src[j], s0, b0, close),
            _restored(src[j + 1], s1, b1, close),
            _restored(src[j + 2], s2, b2, close),
        )
        dst[j], dst[j + 1], dst[j + 2] = x, y, z


@kernel
def _denormalize3_swapped(src, dst, s0, s1, s2, b0, b1, b2, close):
    for i in range(dst.shape[0] // 3):
        j = 3 * i
        x, y, z = (
            _restored(src[j], s0, b0, close),
            _restored(src[j + 1], s1, b1, close),
            _restored(src[j + 2], s2, b2, close),
        )
        dst[j], dst[j + 1], dst[j + 2] = z, y, x


@kernel
def denormalize3(src, s, b, close, swap, dst, turn, grain, n):
    """dst[p, c'] = src[p, c] * s[c] + b[c] by `_restored`, c' = 2 - c if `swap`."""
    start = claim(turn, grain)
    while start < n:
        stop = min(start + grain, n)
        x, y = src[3 * start : 3 * stop], dst[3 * start : 3 * stop]
        if swap:
            _denormalize3_swapped(x, y, s[0], s[1], s[2], b[0], b[1], b[2], close)
        else:
            _denormalize3(x, y, s[0], s[1], s[2], b[0], b[1], b[2], close)
        start = claim(turn, grain)


# ---- tables -----------------------------------------------------------------------------------------------------------
@kernel
def _look_up3(src, dst, a, b, c):
    for i in range(dst.shape[0] // 3):
        j = 3 * i
        dst[j], dst[j + 1], dst[j + 2] = a[src[j]], b[src[j + 1]], c[src[j + 2]]


@kernel
def look_up3(src, tables, dst, turn, grain, n):
    """dst[p, c] = tables[c, src[p, c]]: three channels, each by its own table of 256."""
    start = claim(turn, grain)
    while start < n:
        stop = min(start + grain, n)
        _look_up3(src[3 * start : 3 * stop], dst[3 * start : 3 * stop], tables[0], tables[1], tables[2])
        start = claim(turn, grain)


@kernel
def look_up(src, tables, dst, turn, grain, n):
    """dst[p, c] = tables[c, src[p, c]] for any number of channels."""
    channels = tables.shape[0]
    start = claim(turn, grain)
    while start < n:
        for i in range(start * channels, min(start + grain, n) * channels):
            dst[i] = tables[i % channels, src[i]]
        start = claim(turn, grain)


# ---- one value at a time ---------------------------------------------------------------------------------------------
@kernel
def _solarize(src, dst, threshold, top):
    for i in range(src.shape[0]):
        x = src[i]
        dst[i] = x if x < threshold else top - x


@kernel
def solarize(src, threshold, top, dst, turn, grain, n):
    """dst = src where it is less than the threshold, else top - src."""
    start = claim(turn, grain)
    while start < n:
        _solarize(src[start : start + grain], dst[start : start + grain], threshold, top)
        start = claim(turn, grain)


@kernel
def _fade(src, dst, factor, base):
    zero, top = np.int32(0), np.int32(255)
    for i in range(src.shape[0]):
        dst[i] = np.uint8(min(max(np.int32(np.float32(src[i]) * factor + base), zero), top))


@kernel
def fade(src, factor, base, dst, turn, grain, n):
    """dst = src * factor + base in float32, clipped to 0 to 255, fractions cut off; both less than 2**30."""
    start = claim(turn, grain)
    while start < n:
        _fade(src[start : start + grain], dst[start : start + grain], factor, base)
        start = claim(turn, grain)


# ---- gray ------------------------------------------------------------------------------------------------------------
# The luma of ITU-R BT.601 in 15 bits, as OpenCV rounds it.
BLUE, GREEN, RED = np.uint32(3735), np.uint32(19235), np.uint32(9798)
HALF, SHIFT = np.uint32(1 << 14), np.uint32(15)


@kernel
def _gray_sum(src):
    total = np.uint32(0)  # a block's pixels times 255 are less than 2**32
    for i in range(src.shape[0] // 3):
        j = 3 * i
        total += (
            np.uint32(src[j]) * BLUE + np.uint32(src[j + 1]) * GREEN + np.uint32(src[j + 2]) * RED + HALF
        ) >> SHIFT
    return total


@kernel
def gray_sums(src, sums, turn, grain, n):
    """sums[block] = the sum of the block's pixels in gray, from BGR bytes."""
    start = claim(turn, grain)
    while start < n:
        sums[start // grain] = _gray_sum(src[3 * start : 3 * min(start + grain, n)])
        start = claim(turn, grain)


@kernel(fastmath={"contract"})
def _blend_gray(src, dst, alpha, beta, gamma):
    zero, top = np.int32(0), np.int32(255)
    for i in range(src.shape[0] // 3):
        j = 3 * i
        b, g, r = src[j], src[j + 1], src[j + 2]
        gray = (np.uint32(b) * BLUE + np.uint32(g) * GREEN + np.uint32(r) * RED + HALF) >> SHIFT
        base = np.float32(np.int32(gray)) * beta + gamma
        # clipped as int32: LLVM turns that into vectors, floats and a cast to uint8 not so well
        dst[j] = np.uint8(min(max(np.int32(np.rint(np.float32(b) * alpha + base)), zero), top))
        dst[j + 1] = np.uint8(min(max(np.int32(np.rint(np.float32(g) * alpha + base)), zero), top))
        dst[j + 2] = np.uint8(min(max(np.int32(np.rint(np.float32(r) * alpha + base)), zero), top))


@kernel
def blend_gray(src, alpha, beta, gamma, dst, turn, grain, n):
    """dst = src * alpha + gray(src) * beta + gamma, rounded and clipped, from BGR bytes; weights up to 2**21."""
    start = claim(turn, grain)
    while start < n:
        stop = min(start + grain, n)
        _blend_gray(src[3 * start : 3 * stop], dst[3 * start : 3 * stop], alpha, beta, gamma)
        start = claim(turn, grain)


# ---- histograms ------------------------------------------------------------------------------------------------------
@kernel
def histograms3(src, counts, turn, grain, n):
    """counts[block, c, v] = how often channel c has the value v. Two tables in turn: runs of one value don't wait."""
    start = claim(turn, grain)
    while start < n:
        a = np.zeros((6, 256), np.int32)
        block = src[3 * start : 3 * min(start + grain, n)]
        pairs = block.shape[0] // 6
        for i in range(pairs):
            j = 6 * i
            a[0, block[j]] += 1
            a[1, block[j + 1]] += 1
            a[2, block[j + 2]] += 1
            a[3, block[j + 3]] += 1
            a[4, block[j + 4]] += 1
            a[5, block[j + 5]] += 1
        if block.shape[0] > 6 * pairs:
            for c in range(3):
                a[c, block[6 * pairs + c]] += 1
        for c in range(3):
            for v in range(256):
                counts[start // grain, c, v] = a[c, v] + a[c + 3, v]
        start = claim(turn, grain)


def histograms(pixels):
    """(3, 256) int64 counts of an (H * W * 3) vector of bytes."""
    n = pixels.size // 3
    counts = np.zeros((-(-n // GRAIN), 3, 256), np.int32)
    parallel_for(histograms3, n, GRAIN, pixels, counts, cost=3)
    return counts.sum(axis=0, dtype=np.int64)


def gray_mean(pixels):
    """The rounded mean gray of BGR bytes."""
    n = pixels.size // 3
    sums = np.zeros(-(-n // GRAIN), np.int64)
    parallel_for(gray_sums, n, GRAIN, pixels, sums, cost=0.5)
    return round(int(sums.sum()) / n)


# ---- YCbCr -----------------------------------------------------------------------------------------------------------
@kernel
def _mix3(src, dst, m, offset, scale, top, whole):
    a, b, c, d = m[0, 0], m[0, 1], m[0, 2], offset[0]
    e, f, g, h = m[1, 0], m[1, 1], m[1, 2], offset[1]
    k, o, p, q = m[2, 0], m[2, 1], m[2, 2], offset[2]
    for i in range(src.shape[0] // 3):
        j = 3 * i
        x, y, z = np.float32(src[j]), np.float32(src[j + 1]), np.float32(src[j + 2])
        u = x * a + y * b + z * c + d
        v = x * e + y * f + z * g + h
        w = x * k + y * o + z * p + q
        if whole:
            zero = np.float32(0)
            u, v, w = np.rint(min(max(u, zero), top)), np.rint(min(max(v, zero), top)), np.rint(min(max(w, zero), top))
        dst[j], dst[j + 1], dst[j + 2] = u, v, w


@kernel
def mix3(src, m, offset, top, whole, dst, turn, grain, n):
    """dst[p] = m @ src[p] + offset in float32; rounded and clipped to 0 to `top` if `whole`."""
    start = claim(turn, grain)
    while start < n:
        stop = min(start + grain, n)
        _mix3(src[3 * start : 3 * stop], dst[3 * start : 3 * stop], m, offset, top, top, whole)
        start = claim(turn, grain)


@kernel
def _dot3(src, dst, a, b, c, d, top, whole):
    for i in range(dst.shape[0]):
        j = 3 * i
        u = np.float32(src[j]) * a + np.float32(src[j + 1]) * b + np.float32(src[j + 2]) * c + d
        if whole:
            u = np.rint(min(max(u, np.float32(0)), top))
        dst[i] = u


@kernel
def dot3(src, m, offset, top, whole, dst, turn, grain, n):
    """dst[p] = m[0] @ src[p] + offset[0]: the first row of `mix3`."""
    start = claim(turn, grain)
    while start < n:
        stop = min(start + grain, n)
        _dot3(src[3 * start : 3 * stop], dst[start:stop], m[0, 0], m[0, 1], m[0, 2], offset[0], top, whole)
        start = claim(turn, grain)
