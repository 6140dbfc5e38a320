"""Boxes in strips: finds those near a box without looking at all, whatever their sizes.

Boxes are grouped by size and form: a group spans a factor of 8 in its boxes' longer sides, and needles lying, needles
standing and all others are apart. A group is cut across its needles into strips of `STRIP` boxes, each sorted along them:
strips of lying boxes follow one another in y, those of standing ones in x, so that a long box is met in one strip.
Searching round a box visits, in each group, the strips within reach across and, by binary search, the boxes within reach
along. Memory is O(n); a single huge box, or a far one, widens the search in its own group only.
"""

import math
from typing import NamedTuple

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.order import by_rising_value, sort_by_key

STRIP = 256  # boxes
NEEDLE = 8  # a needle is this many times as long as wide


class Strips(NamedTuple):
    """Boxes in strips, as `build` makes them. Along is x and across is y, but in groups of standing boxes the other way."""

    order: np.ndarray  # the boxes in strip order
    along: np.ndarray  # their centres along the strip
    starts: np.ndarray  # where each strip starts in that order, the count last
    low: np.ndarray  # each strip's least centre across
    high: np.ndarray  # and its greatest
    longest: np.ndarray  # its boxes' greatest extent along
    groups: np.ndarray  # each group's first strip, the number of strips last
    standing: np.ndarray  # whether the group's boxes stand
    broadest: np.ndarray  # its boxes' greatest extent across
    sizes: np.ndarray  # (groups, 4): its boxes' least and greatest width, least and greatest height


@kernel
def form_of(w, h):
    """0 for a lying needle, 1 for a standing one, 2 for any other box."""
    return 0 if w > NEEDLE * h else 1 if h > NEEDLE * w else 2


@kernel
def group_of(w, h):
    """A number that boxes of one group share."""
    return np.uint64(3 * ((math.frexp(max(w, h))[1] + 1200) // 3) + form_of(w, h))


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
    """`Strips` of boxes given by centres and sizes; `unsigned` is an empty array of the dtype of their bits."""
    n = cx.shape[0]
    along, across = np.empty_like(cx), np.empty_like(cx)
    for i in range(n):
        standing = form_of(w[i], h[i]) == 1
        along[i], across[i] = cy[i] if standing else cx[i], cx[i] if standing else cy[i]
    by_across = by_rising_value(across.view(unsigned.dtype))
    level = np.empty(n, unsigned.dtype)  # small numbers; in one dtype with the bits, the sort is compiled once
    for i in range(n):
        p = by_across[i]
        level[i] = group_of(w[p], h[p])
    ordered = sort_by_key(level, by_across)  # by group, within it across
    starts, groups, strip_of = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64), np.empty(n, np.int32)
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
        strip_of[p] = strips - 1
        last = own
    groups[count], starts[strips] = strips, n
    by_along = by_rising_value(along.view(unsigned.dtype))
    strip = np.empty(n, unsigned.dtype)
    for i in range(n):
        strip[i] = strip_of[by_along[i]]
    order = sort_by_key(strip, by_along)
    ranked = np.empty_like(cx)
    low, high, longest = np.empty(strips, cx.dtype), np.empty(strips, cx.dtype), np.empty(strips, cx.dtype)
    standing, broadest, sizes = np.empty(count, np.uint8), np.empty(count, cx.dtype), np.empty((count, 4), cx.dtype)
    for g in range(count):
        p = order[starts[groups[g]]]
        standing[g] = form_of(w[p], h[p]) == 1
        sizes[g, 0] = sizes[g, 2] = math.inf
        sizes[g, 1] = sizes[g, 3] = 0
        for s in range(groups[g], groups[g + 1]):
            low[s], high[s] = across[ordered[starts[s]]], across[ordered[starts[s + 1] - 1]]
            longest[s] = 0
            for i in range(starts[s], starts[s + 1]):
                p = order[i]
                ranked[i] = along[p]
                longest[s] = max(longest[s], h[p] if standing[g] else w[p])
                sizes[g, 0], sizes[g, 1] = min(sizes[g, 0], w[p]), max(sizes[g, 1], w[p])
                sizes[g, 2], sizes[g, 3] = min(sizes[g, 2], h[p]), max(sizes[g, 3], h[p])
        broadest[g] = sizes[g, 1] if standing[g] else sizes[g, 3]
    return Strips(
        order, ranked, starts[: strips + 1], low, high, longest, groups[: count + 1], standing, broadest, sizes
    )
