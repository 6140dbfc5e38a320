"""Convex hulls of a few points, and the areas that two of them share."""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.polygons import AREA, CX, CY, EX, EY, under_both
from arrayvision.cpu.threads import claim, parallel_for

COUNT, CORNERS = (
    5,
    6,
)  # of a hull's row, after the numbers of `cpu/polygons.py`: how many corners, relative to the centre
WIDTH = 24


@kernel
def hull(points, chosen):
    """Fill `chosen` with the indices of the corners of some points' hull; returns how many.

    Corners run from +x to +y (counterclockwise where y points up), from the least y and, of these, the least x. Points
    within edges are no corners; of equal points the first is. One point has one corner, points in a line two.
    `chosen` has room for one more than the points. A. M. Andrew's monotone chain, 1979.
    """
    n = points.shape[0]
    order = np.empty(n, np.int64)
    m = 0
    for i in range(n):
        y, x, k = points[i, 1], points[i, 0], m
        while k > 0 and (points[order[k - 1], 1] > y or (points[order[k - 1], 1] == y and points[order[k - 1], 0] > x)):
            k -= 1
        if k > 0 and points[order[k - 1], 1] == y and points[order[k - 1], 0] == x:
            continue
        for j in range(m, k, -1):
            order[j] = order[j - 1]
        order[k] = i
        m += 1
    count = 0
    for step in range(m):  # up the side of greater x
        count = push(points, chosen, 0, count, order[step])
    if m > 1:
        top = count - 1
        for step in range(m - 2, -1, -1):  # and down the other
            count = push(points, chosen, top, count, order[step])
        count -= 1  # the first again
    return count


@kernel
def push(points, chosen, bottom, count, i):
    """Add a corner to a chain that began at `bottom`, without those that it makes superfluous."""
    while count > bottom + 1:
        a, b = points[chosen[count - 2]], points[chosen[count - 1]]
        if (b[0] - a[0]) * (points[i, 1] - a[1]) - (b[1] - a[1]) * (points[i, 0] - a[0]) > 0:
            break
        count -= 1
    chosen[count] = i
    return count + 1


@kernel
def load(row, points):
    """A row of numbers as points (N, 2) in float64; whether all are finite."""
    total = 0.0
    for k in range(points.shape[0]):
        points[k, 0], points[k, 1] = row[2 * k], row[2 * k + 1]
        total += (points[k, 0] - points[k, 0]) + (points[k, 1] - points[k, 1])
    return total == 0


@kernel
def twice_area(points, chosen, count):
    """Twice the area of a hull."""
    total = 0.0
    for k in range(1, count - 1):
        o, a, b = points[chosen[0]], points[chosen[k]], points[chosen[k + 1]]
        total += (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0])
    return total


@kernel
def shape_of(points, chosen, count, row):
    """Fill a hull's row."""
    row[AREA], row[COUNT] = 0.5 * twice_area(points, chosen, count), count
    left = right = points[0, 0]
    low = high = points[0, 1]
    for k in range(count):
        p = points[chosen[k]]
        left, right, low, high = min(left, p[0]), max(right, p[0]), min(low, p[1]), max(high, p[1])
    row[CX], row[CY] = 0.5 * left + 0.5 * right, 0.5 * low + 0.5 * high
    row[EX], row[EY] = 0.5 * (right - left), 0.5 * (high - low)
    for k in range(count):
        row[CORNERS + 2 * k], row[CORNERS + 2 * k + 1] = points[chosen[k], 0] - row[CX], points[chosen[k], 1] - row[CY]


@kernel
def fill_shapes(sets, shapes, turn, grain, n):
    size = sets.shape[1] // 2
    points, chosen = np.empty((size, 2)), np.empty(size + 1, np.int64)
    start = claim(turn, grain)
    while start < n:
        for i in range(start, min(start + grain, n)):
            fine = load(sets[i], points)
            shape_of(points, chosen, hull(points, chosen) if fine else 0, shapes[i])
        start = claim(turn, grain)


def hull_shapes(sets):
    """Rows for the hulls of sets of points (N, 2 * points); of area 0 where a number isn't finite."""
    shapes = np.empty((len(sets), WIDTH))
    parallel_for(fill_shapes, len(sets), 512, sets, shapes, cost=30 * sets.shape[1])
    return shapes


@kernel
def hull_overlap(p, q):
    """The area that two hulls share."""
    if not (p[AREA] > 0 and q[AREA] > 0) or abs(q[CX] - p[CX]) >= p[EX] + q[EX] or abs(q[CY] - p[CY]) >= p[EY] + q[EY]:
        return 0.0
    dx, dy, total = q[CX] - p[CX], q[CY] - p[CY], 0.0
    np_, nq = int(p[COUNT]), int(q[COUNT])
    for i in range(np_):
        a, b = CORNERS + 2 * i, CORNERS + 2 * (i + 1 if i + 1 < np_ else 0)
        for j in range(nq):
            c, d = CORNERS + 2 * j, CORNERS + 2 * (j + 1 if j + 1 < nq else 0)
            total += under_both(p[a], p[a + 1], p[b], p[b + 1], dx + q[c], dy + q[c + 1], dx + q[d], dy + q[d + 1])
    return min(max(total, 0.0), p[AREA], q[AREA])
