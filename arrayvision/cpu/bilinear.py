"""What pooling of bilinear samples shares: samples along an axis, and sums of whole channel vectors.

A bin's average over a grid of bilinear samples is a sum over rows and columns: sum_r sum_c wy[r] wx[c] x[r, c], where
samples that touch the same row share one weight. So a bin costs (rows x columns) vector operations, not 4 x samples, and
samples outside the map, which add nothing, are skipped by arithmetic.

Positions are float64. A sample at p takes pixels floor(p) and floor(p) + 1; below 0 and above the last pixel the border
pixel counts, and further than one pixel outside nothing does.
"""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.threads import claim, parallel_for
from arrayvision.cpu.transposes import transpose

SUMS = {"contract", "nsz", "arcp"}
TILE_PIXELS, TILE_CHANNELS = 64, 16  # what is transposed at once


@kernel
def to_last(src, dst, blocks, turn, grain, n):
    """dst (B, P, C) = src (B, C, P), a tile at a time; n = B * blocks."""
    channels, size = src.shape[1], src.shape[2]
    start = claim(turn, grain)
    while start < n:
        for k in range(start, min(start + grain, n)):
            b, p = k // blocks, (k % blocks) * TILE_PIXELS
            q = min(p + TILE_PIXELS, size)
            for c in range(0, channels, TILE_CHANNELS):
                transpose(src[b, c : c + TILE_CHANNELS, p:q], dst[b, p:q, c : c + TILE_CHANNELS])
        start = claim(turn, grain)


def channels_last(x):
    """A channels-last copy (B, H, W, C) of (B, C, H, W); not to be written to, as inputs are not: one compiled kernel for
    both."""
    b, c, h, w = x.shape
    out = np.empty((b, h, w, c), x.dtype)
    if x.size:
        blocks = -(-h * w // TILE_PIXELS)
        parallel_for(to_last, b * blocks, 16, x.reshape(b, c, h * w), out.reshape(b, h * w, c), blocks, cost=40 * c)
    out.flags.writeable = False
    return out


@kernel
def window(x, top, left, height, width, out):
    """out (height * width, C) = the window of x (C, H, W) at (top, left)."""
    for c in range(0, x.shape[0], TILE_CHANNELS):
        for r in range(height):
            transpose(
                x[c : c + TILE_CHANNELS, top + r, left : left + width],
                out[r * width : (r + 1) * width, c : c + TILE_CHANNELS],
            )


@kernel(fastmath=SUMS)
def weighted_sum(out, x, index, weight, count):
    """out += sum of weight[k] * x[index[k]] over k < count."""
    k = 0
    while k + 4 <= count:
        a, b, c, d = weight[k], weight[k + 1], weight[k + 2], weight[k + 3]
        p, q, r, s = x[index[k]], x[index[k + 1]], x[index[k + 2]], x[index[k + 3]]
        for i in range(out.shape[0]):
            out[i] += (a * p[i] + b * q[i]) + (c * r[i] + d * s[i])
        k += 4
    while k < count:
        a, p = weight[k], x[index[k]]
        for i in range(out.shape[0]):
            out[i] += a * p[i]
        k += 1


@kernel(fastmath=SUMS)
def scatter(out, index, weight, count, grad):
    """out[index[k]] += weight[k] * grad for k < count."""
    for k in range(count):
        a, p = weight[k], out[index[k]]
        for i in range(grad.shape[0]):
            p[i] += a * grad[i]


@kernel(fastmath=SUMS | {"reassoc"})
def dot(x, y):
    total = x.dtype.type(0)
    for i in range(x.shape[0]):
        total += x[i] * y[i]
    return total


@kernel
def neighbours(p, length):
    """The two pixels round a position, and the second's share; (-1, -1, 0) further than 1 outside."""
    if not (p >= -1 and p <= length):
        return -1, -1, 0.0
    p = max(p, 0.0)
    low = int(p)
    if low >= length - 1:
        return length - 1, length - 1, 0.0
    return low, low + 1, p - low


@kernel
def reach(start, size, g, low, high):
    """Samples start + (k + 0.5) * size / g of k < g that may fall inside [low, high]: the first k, and how many."""
    if not (np.isfinite(start) and np.isfinite(size) and np.isfinite(g) and g > 0):
        return 0.0, 0
    first, last, step = 0.0, g, size / g
    if step != 0:
        a, b = (low - start) / step - 0.5, (high - start) / step - 0.5
        first, last = max(first, np.floor(min(a, b)) - 1), min(last, np.ceil(max(a, b)) + 2)
    return first, int(max(last - first, 0.0))


@kernel
def samples(start, size, g, length, index, weight):
    """Average of the g samples of a bin along one axis: pixels and their weights. Returns how many pixels.

    `index` and `weight` hold `room(g, length)`.
    """
    first, many = reach(start, size, g, -1.0, np.float64(length))
    n, step, share = 0, size / g, 1 / g
    for k in range(many):
        low, high, f = neighbours(start + (first + k + 0.5) * step, length)
        if low < 0:
            continue
        if n > 0 and index[n - 1] == low:
            weight[n - 1] += (1 - f) * share
        elif n > 1 and index[n - 2] == low:
            weight[n - 2] += (1 - f) * share
        else:
            index[n], weight[n] = low, (1 - f) * share
            n += 1
        if f > 0:
            if index[n - 1] == high:
                weight[n - 1] += f * share
            elif n > 1 and index[n - 2] == high:
                weight[n - 2] += f * share
            else:
                index[n], weight[n] = high, f * share
                n += 1
    return n


@kernel
def slopes(start, size, g, length, index, weight, slope):
    """As `samples`, and the weights' derivatives by `start`; pixels may come twice."""
    first, many = reach(start, size, g, -1.0, np.float64(length))
    n, step, share = 0, size / g, 1 / g
    for k in range(many):
        p = start + (first + k + 0.5) * step
        low, high, f = neighbours(p, length)
        if low < 0:
            continue
        moves = share if p > 0 and high > low else 0.0
        if n > 1 and index[n - 2] == low and index[n - 1] == high:
            n -= 2
        else:
            weight[n] = weight[n + 1] = slope[n] = slope[n + 1] = 0
            index[n], index[n + 1] = low, high
        weight[n] += (1 - f) * share
        weight[n + 1] += f * share
        slope[n] -= moves
        slope[n + 1] += moves
        n += 2
    return n


@kernel
def room(g, length):
    """How many pixels `samples` and `slopes` can find."""
    return int(min(2 * max(g, 0.0), 2.0 * length + 2)) + 2 if g == g else 2


@kernel
def outer(rows, wy, ny, cols, wx, nx, top, left, stride, index, weight):
    """The taps of a bin from those along its axes, as positions in a window at (top, left). Returns how many."""
    n = 0
    for a in range(ny):
        base = (rows[a] - top) * stride - left
        for b in range(nx):
            index[n], weight[n] = base + cols[b], wy[a] * wx[b]
            n += 1
    return n


@kernel
def check_batch(rois, batch):
    """The first RoI whose batch index isn't in [0, batch), or -1."""
    for k in range(rois.shape[0]):
        if not (rois[k, 0] > -1 and rois[k, 0] < batch):
            return k
    return -1


@kernel
def all_finite(row):
    good = True
    for v in row:
        good &= np.isfinite(v)
    return good


@kernel
def scatter_four(total, yl, yh, fy, xl, xh, fx, g):
    """Add g to four pixels by their shares, leaving out those without one: 0 times infinity would be NaN."""
    total[yl, xl] += g * (1 - fy) * (1 - fx)
    if fx > 0:
        total[yl, xh] += g * (1 - fy) * fx
    if fy > 0:
        total[yh, xl] += g * fy * (1 - fx)
    if fx > 0 and fy > 0:
        total[yh, xh] += g * fy * fx


def pool_nothing(rois, out):
    """What regions of a map without pixels give."""
    out[:] = np.where(np.isfinite(rois).all(1), 0, np.nan).reshape(-1, 1, 1, 1)


def by_image(rois, batch):
    """The RoIs' order by image, and where each image's start."""
    images = rois[:, 0].astype(np.int64)
    return np.argsort(images, kind="stable"), np.searchsorted(np.sort(images), np.arange(batch + 1))
