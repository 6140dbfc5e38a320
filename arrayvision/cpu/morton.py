"""Points along a Z curve (G. Morton, 1966), by radix sort: those that follow one another lie near one another.

A cell of the curve is a thousandth of the points' extent. Where more points than wanted share one (a cluster, or a far
outlier that makes all others look alike) they are arranged again within their own extent, so the order is as fine in every
cloud. Points must be finite.
"""

import math

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.order import sort_pairs

CELLS = 1024  # along an axis, of an arrangement
SHARING = 16  # points that may share a cell


@kernel(inline="always")
def spread(v):
    """The 10 bits of a number with two zeros between any two."""
    v = (v | (v << np.uint32(16))) & np.uint32(0x030000FF)
    v = (v | (v << np.uint32(8))) & np.uint32(0x0300F00F)
    v = (v | (v << np.uint32(4))) & np.uint32(0x030C30C3)
    return (v | (v << np.uint32(2))) & np.uint32(0x09249249)


@kernel(inline="always")
def coordinate(points, k, axis):
    """Of point k along an axis; 0 along one that isn't there."""
    return points[k, axis] if axis < points.shape[1] else points.dtype.type(0)


@kernel(_nrt=False)
def extent(points, axis, order):
    """The least and the greatest coordinate along an axis of the points that order names."""
    low = high = coordinate(points, order[0], axis)
    for i in range(1, order.shape[0]):
        x = coordinate(points, order[i], axis)
        low, high = min(low, x), max(high, x)
    return low, high


@kernel(inline="always")
def arrange(points, axes, order):
    """Sort order, which names points (N, D), along the curve of three axes, until fewer than 2 * SHARING share a cell or all in
    it are equal. Of points in one cell those named first stay first."""
    n = order.shape[0]
    waiting = np.empty((n // (SHARING + 1) + 1, 2), np.int64)  # ranges of the order that are to be sorted
    waiting[0, 0], waiting[0, 1] = 0, n
    count = 1 if n > SHARING else 0
    low, keys, spreads = np.empty(3, points.dtype), np.empty(n, np.uint32), np.empty(CELLS, np.uint32)
    for i in range(CELLS):  # a table takes a quarter of the time of the arithmetic
        spreads[i] = spread(np.uint32(i))
    a, b, c = axes[0], axes[1], axes[2]
    while count:
        count -= 1
        first, stop = waiting[count, 0], waiting[count, 1]
        own, own_keys = order[first:stop], keys[first:stop]
        side = points.dtype.type(0)
        for k in range(3):
            low[k], high = extent(points, axes[k], own)
            side = max(side, high - low[k])
        scale = points.dtype.type(CELLS - 1) / side
        if not 0 < scale < math.inf:  # all are equal, or as far apart as floats can be
            continue
        for i in range(own.shape[0]):
            x, y, z = coordinate(points, own[i], a), coordinate(points, own[i], b), coordinate(points, own[i], c)
            i0, i1, i2 = np.int64((x - low[0]) * scale), np.int64((y - low[1]) * scale), np.int64((z - low[2]) * scale)
            own_keys[i] = spreads[i0] | (spreads[i1] << 1) | (spreads[i2] << 2)
        own_keys, done = sort_pairs(own_keys, own, 30)
        for i in range(own.shape[0]):
            own[i] = done[i]
        i = 0
        while i + SHARING < own.shape[0]:
            key = own_keys[i]
            if key != own_keys[i + SHARING]:
                i += SHARING
                continue
            begin, i = i, i + SHARING
            while begin > 0 and own_keys[begin - 1] == key:
                begin -= 1
            while i < own.shape[0] and own_keys[i] == key:
                i += 1
            waiting[count, 0], waiting[count, 1] = first + begin, first + i
            count += 1
