"""Boxes in strips: finds those near a box without looking at all, whatever their sizes.

Boxes are grouped by size and form: a group spans a factor of 8 in its boxes' longer sides, and needles lying, needles
standing and all others are apart. A group is cut across its needles into strips of `STRIP` boxes, each sorted along them:
strips of lying boxes follow one another in y, those of standing ones in x, so that a long box is met in one strip.
Searching round a box visits, in each group, the strips within reach across and, by binary search, the boxes within reach
along. Memory is O(n); a single huge box, or a far one, widens the search in its own group only.
"""

import functools
from typing import NamedTuple

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.order import bits, by_rising_value, sort_by_key

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
def cut(group, ordered, starts, groups, strip_of):
    """Cut boxes `ordered` by group into strips; returns how many strips and groups there are."""
    n, strips, count, here = ordered.shape[0], 0, 0, 0
    for i in range(n):
        first = i == 0 or group[ordered[i]] != group[ordered[i - 1]]
        if first:
            groups[count] = strips
            count += 1
        if first or i - here == STRIP:
            starts[strips] = here = i
            strips += 1
        strip_of[ordered[i]] = strips - 1
    groups[count], starts[strips] = strips, n
    return strips, count


@functools.cache
def none(dtype):
    """Strips of no boxes: as an argument of the same type, where few boxes are not searched."""
    return build(*(np.empty(0, dtype),) * 4)


def build(cx, cy, w, h):
    """`Strips` of boxes given by centres and sizes."""
    n, stands = len(cx), h > NEEDLE * w
    standing = bool(stands.any())
    along, across = (np.where(stands, cy, cx), np.where(stands, cx, cy)) if standing else (cx, cy)
    group = (np.frexp(np.maximum(w, h))[1] + 1200) // 3 * 3 + stands + 2 * (w > NEEDLE * h)
    by_across, by_along = by_rising_value(across), by_rising_value(along)
    ordered = sort_by_key(group.astype(bits(cx).dtype)[by_across], by_across)  # by group, within it across
    starts, groups, strip_of = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64), np.empty(n, bits(cx).dtype)
    strips, count = cut(group, ordered, starts, groups, strip_of)
    order = sort_by_key(strip_of[by_along], by_along)
    starts, groups, at = starts[: strips + 1], groups[: count + 1], order.astype(np.int64)
    firsts, heads = starts[:-1], starts[groups[:-1]]  # each strip's first box, each group's
    w, h, stand = w[at], h[at], stands[at[heads]]
    extent = np.where(stands[at], h, w) if standing else w
    sizes = [f.reduceat(v, heads) for v in (w, h) for f in (np.minimum, np.maximum)]
    return Strips(
        order, along[at], starts, across[ordered[firsts]], across[ordered[starts[1:] - 1]],
        np.maximum.reduceat(extent, firsts), groups, stand.view(np.uint8), np.where(stand, sizes[1], sizes[3]),
        np.stack(sizes, 1),
    )  # fmt: skip
