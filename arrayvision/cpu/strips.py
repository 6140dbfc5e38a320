"""Boxes in strips: finds those near a box without looking at all, whatever their sizes.

Boxes are grouped by size and form: a group spans a factor of 8 in its boxes' longer sides, and needles lying, needles
standing and all others are apart. A group is cut by y-centre into strips of `STRIP` boxes, each sorted by x-centre.
Searching round a box visits, in each group, the strips within reach in y and, by binary search, the boxes within reach in
x. Memory is O(n); a single huge box, or a far one, widens the search in its own group only.
"""

import math

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.order import by_rising_value, sort_by_key

STRIP = 256
NEEDLE = 8  # a needle is this many times as long as wide


@kernel
def group_of(w, h):
    """The group that a box of this size is in."""
    form = 0 if w > NEEDLE * h else 1 if h > NEEDLE * w else 2
    return np.uint64(3 * ((math.frexp(max(w, h))[1] + 1200) // 3) + form)


@kernel
def first_not_below(v, start, stop, x):
    """The first index in [start, stop) whose value isn't below x; v rises there. Without a branch to mispredict."""
    part = v[start:stop]
    left, n = 0, part.shape[0]
    while n > 1:
        half = n >> 1
        left += half if part[left + half - 1] < x else 0
        n -= half
    return start + left + (1 if n == 1 and part[left] < x else 0)


@kernel
def build(cx, cy, w, h, unsigned):
    """Strips over boxes given by centres and sizes; `unsigned` is an empty array of the dtype of their bits.

    Returns (order, sx, starts, low, high, wide, groups, sizes): boxes in strip order and their x-centres; for each strip
    where it starts, its y-centres' range and its greatest width; for each group its first strip, and its boxes' least
    and greatest width, least and greatest height.
    """
    n = cx.shape[0]
    by_y = by_rising_value(cy.view(unsigned.dtype))
    level = np.empty(n, np.uint64)
    for i in range(n):
        p = by_y[i]
        level[i] = group_of(w[p], h[p])
    ordered = sort_by_key(level.copy(), by_y)  # by size group, within it by y
    strip = np.empty(n, np.uint64)
    starts, groups = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
    strips, count, here = 0, 0, 0
    last = np.uint64(0)
    for i in range(n):
        p = ordered[i]
        own = group_of(w[p], h[p])
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
    wide = np.empty(strips, cx.dtype)
    sizes = np.empty((count, 4), cx.dtype)
    for g in range(count):
        sizes[g, 0] = sizes[g, 2] = math.inf
        sizes[g, 1] = sizes[g, 3] = 0
        for s in range(groups[g], groups[g + 1]):
            low[s], high[s] = cy[ordered[starts[s]]], cy[ordered[starts[s + 1] - 1]]
            wide[s] = 0
            for i in range(starts[s], starts[s + 1]):
                p = order[i]
                sx[i] = cx[p]
                wide[s] = max(wide[s], w[p])
                sizes[g, 0], sizes[g, 1] = min(sizes[g, 0], w[p]), max(sizes[g, 1], w[p])
                sizes[g, 2], sizes[g, 3] = min(sizes[g, 2], h[p]), max(sizes[g, 3], h[p])
    return order, sx, starts[: strips + 1], low, high, wide, groups[: count + 1], sizes
