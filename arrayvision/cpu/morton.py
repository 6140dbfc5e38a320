"""Points along a Z curve (G. Morton, 1966), by radix sort: those that follow one another lie near one another.

A cell of the curve is a thousandth of the points' extent. Where more points than wanted share one (a cluster, or a far
outlier that makes all others look alike) they are arranged again within their own extent, so the order is as fine in every
cloud. Points must be finite.
"""

import math

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.order import sort_by_key

CELLS = 1024  # along an axis, of an arrangement
SHARING = 16  # points that may share a cell


@kernel
def spread(v):
    """The 10 bits of a number with two zeros between any two."""
    v = (v | (v << np.uint32(16))) & np.uint32(0x030000FF)
    v = (v | (v << np.uint32(8))) & np.uint32(0x0300F00F)
    v = (v | (v << np.uint32(4))) & np.uint32(0x030C30C3)
    return (v | (v << np.uint32(2))) & np.uint32(0x09249249)


@kernel(_nrt=False)
def extent(x, order, low, high):
    """Fill low and high (3,) with the least and greatest coordinates of the points x (N, 3) that order names."""
    a = d = x[order[0], 0]
    b = e = x[order[0], 1]
    c = f = x[order[0], 2]
    for i in range(1, order.shape[0]):
        k = order[i]
        a, b, c = min(a, x[k, 0]), min(b, x[k, 1]), min(c, x[k, 2])
        d, e, f = max(d, x[k, 0]), max(e, x[k, 1]), max(f, x[k, 2])
    low[0], low[1], low[2], high[0], high[1], high[2] = a, b, c, d, e, f


@kernel
def cell(x, k, low, scale):
    """The number along the curve of the cell in which point k of x lies."""
    a, b, c = (x[k, 0] - low[0]) * scale, (x[k, 1] - low[1]) * scale, (x[k, 2] - low[2]) * scale
    return spread(np.uint32(a)) | spread(np.uint32(b)) << np.uint32(1) | spread(np.uint32(c)) << np.uint32(2)


@kernel
def arrange(x, order):
    """Sort order, which names points of x (N, 3), along the curve, until fewer than 2 * SHARING share a cell or all in it
    are equal. Of points in one cell those named first stay first."""
    n = order.shape[0]
    waiting = np.empty((n // (SHARING + 1) + 1, 2), np.int64)  # ranges of the order that are to be sorted
    waiting[0, 0], waiting[0, 1] = 0, n
    count = 1 if n > SHARING else 0
    low, high, keys = np.empty(3, x.dtype), np.empty(3, x.dtype), np.empty(n, np.uint32)
    while count:
        count -= 1
        first, stop = waiting[count, 0], waiting[count, 1]
        own, own_keys = order[first:stop], keys[first:stop]
        extent(x, own, low, high)
        side = max(high[0] - low[0], max(high[1] - low[1], high[2] - low[2]))
        scale = x.dtype.type(CELLS - 1) / side
        if not 0 < scale < math.inf:  # all are equal, or as far apart as floats can be
            continue
        for i in range(own.shape[0]):
            own_keys[i] = cell(x, own[i], low, scale)
        done = sort_by_key(own_keys, own)
        for i in range(own.shape[0]):
            own[i] = done[i]
        i = 0
        while i + SHARING < own.shape[0]:
            key = cell(x, own[i], low, scale)
            if key != cell(x, own[i + SHARING], low, scale):
                i += SHARING
                continue
            begin, i = i, i + SHARING
            while begin > 0 and cell(x, own[begin - 1], low, scale) == key:
                begin -= 1
            while i < own.shape[0] and cell(x, own[i], low, scale) == key:
                i += 1
            waiting[count, 0], waiting[count, 1] = first + begin, first + i
            count += 1
