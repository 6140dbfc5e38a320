"""Boxes in strips: finds those near a box without looking at all, whatever their sizes.

Boxes are grouped by size (each group spans a factor of 8 in its boxes' longer sides); a group is cut by y-centre into
strips of `STRIP` boxes, each sorted by x-centre. Searching round a box visits, in each group, the strips within reach in
y and, by binary search, the boxes within reach in x. Memory is O(n); a single huge box, or a far one, widens the search
in its own group only.
"""

import math

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.order import by_rising_value, sort_by_key

STRIP = 256


@kernel
def first_not_below(v, start, stop, x):
    """The first index in [start, stop) whose value isn't below x; v rises there."""
    while start < stop:
        middle = (start + stop) >> 1
        if v[middle] < x:
            start = middle + 1
        else:
            stop = middle
    return start


@kernel
def build(cx, cy, w, h, unsigned):
    """Strips over boxes given by centres and sizes; `unsigned` is an empty array of the dtype of their bits.

    Returns (order, sx, starts, low, high, wide, tall, groups, least, most): boxes in strip order and their x-centres;
    for each strip where it starts, its y-centres' range and its greatest width and height; for each group its first
    strip and the range of its boxes' longer sides.
    """
    n = cx.shape[0]
    by_y = by_rising_value(cy.view(unsigned.dtype))
    level = np.empty(n, np.uint64)
    for i in range(n):
        p = by_y[i]
        level[i] = np.uint64((math.frexp(max(w[p], h[p]))[1] + 1200) // 3)
    ordered = sort_by_key(level.copy(), by_y)  # by size group, within it by y
    strip = np.empty(n, np.uint64)
    starts, groups = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
    strips, count, here = 0, 0, 0
    last = np.uint64(0)
    for i in range(n):
        p = ordered[i]
        own = np.uint64((math.frexp(max(w[p], h[p]))[1] + 1200) // 3)
        if i == 0 or own != last:
            groups[count] = strips
            count += 1
        if i == 0 or own != last or i - here == STRIP:
            starts[strips] = here = i
            strips += 1
        last = own
    groups[count], starts[strips] = strips, n
    strip_of = np.empty(n, np.uint64)
    for s in range(strips):
        for i in range(starts[s], starts[s + 1]):
            strip_of[ordered[i]] = s
    by_x = by_rising_value(cx.view(unsigned.dtype))
    for i in range(n):
        strip[i] = strip_of[by_x[i]]
    order = sort_by_key(strip, by_x)
    sx = np.empty(n, cx.dtype)
    low, high = np.empty(strips, cx.dtype), np.empty(strips, cx.dtype)
    wide, tall = np.empty(strips, cx.dtype), np.empty(strips, cx.dtype)
    for s in range(strips):
        low[s], high[s] = cy[ordered[starts[s]]], cy[ordered[starts[s + 1] - 1]]
        wide[s] = tall[s] = 0
        for i in range(starts[s], starts[s + 1]):
            p = order[i]
            sx[i] = cx[p]
            wide[s], tall[s] = max(wide[s], w[p]), max(tall[s], h[p])
    least, most = np.empty(count, cx.dtype), np.empty(count, cx.dtype)
    for g in range(count):
        least[g], most[g] = math.inf, 0
        for s in range(groups[g], groups[g + 1]):
            most[g] = max(most[g], wide[s], tall[s])
            for i in range(starts[s], starts[s + 1]):
                p = order[i]
                least[g] = min(least[g], max(w[p], h[p]))
    return order, sx, starts[: strips + 1], low, high, wide, tall, groups[: count + 1], least, most
