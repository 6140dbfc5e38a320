"""Which points lie inside which quadrilaterals: hulls first, in a vectorised loop, then the even-odd rule.

In float64: with float32 coordinates of like size the sign of every cross product is exact.
"""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.threads import claim, parallel_for


@kernel
def boxes(polygons):
    """The quadrilaterals in float64 and their axis-aligned hulls; empty ones where a corner isn't finite."""
    m = polygons.shape[0]
    corners, left, right, low, high = np.empty((m, 8)), np.empty(m), np.empty(m), np.empty(m), np.empty(m)
    for j in range(m):
        total = 0.0
        for k in range(8):
            corners[j, k] = polygons[j, k]
            total += corners[j, k] - corners[j, k]
        c = corners[j]
        left[j], right[j] = min(min(c[0], c[2]), min(c[4], c[6])), max(max(c[0], c[2]), max(c[4], c[6]))
        low[j], high[j] = min(min(c[1], c[3]), min(c[5], c[7])), max(max(c[1], c[3]), max(c[5], c[7]))
        if total != 0:
            left[j], right[j] = np.inf, -np.inf
    return corners, left, right, low, high


@kernel
def within(near, left, right, low, high, x, y):
    """near[j] = whether (x, y) lies strictly inside hull j."""
    for j in range(near.shape[0]):
        near[j] = (
            np.uint8(left[j] < x) & np.uint8(x < right[j]) & np.uint8(low[j] < y) & np.uint8(y < high[j])
        )  # fmt: skip


@kernel
def inside(corner, x, y):
    """Whether a point is strictly inside a quadrilateral, by the even-odd rule; on an edge it is not."""
    odd = False
    for k in range(4):
        a, b = 2 * k, 2 * ((k + 1) % 4)
        ax, ay, bx, by = corner[a], corner[a + 1], corner[b], corner[b + 1]
        side = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
        if side == 0 and min(ax, bx) <= x <= max(ax, bx) and min(ay, by) <= y <= max(ay, by):
            return False
        if (ay > y) != (by > y) and (side > 0) == (by > ay):
            odd = not odd
    return odd


@kernel
def all_pairs(points, polygons, out, turn, grain, n):
    corners, left, right, low, high = boxes(polygons)
    near = np.empty(polygons.shape[0], np.uint8)
    start = claim(turn, grain)
    while start < n:
        for i in range(start, min(start + grain, n)):
            x, y, row = np.float64(points[i, 0]), np.float64(points[i, 1]), out[i]
            within(near, left, right, low, high, x, y)
            for j in range(row.shape[0]):
                row[j] = 1 if near[j] and inside(corners[j], x, y) else 0
        start = claim(turn, grain)


def points_in_polygons(points, polygons, out):
    """Fill out (B, M) with 1 where the point is inside, else 0."""
    parallel_for(all_pairs, len(points), max(1, 65536 // len(polygons)), points, polygons, out, cost=2 * len(polygons))
