"""The smallest rectangle round points: one of its sides lies on an edge of their hull, so each edge is tried."""

import math

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.hulls import hull, load
from arrayvision.cpu.threads import claim, parallel_for


@kernel
def rectangle(points, chosen, count, corners):
    """Fill corners (8,) with those of the smallest rectangle; of equally small ones, of the first edge's."""
    ox, oy = points[chosen[0], 0], points[chosen[0], 1]
    best, best_c, best_s = np.inf, 1.0, 0.0
    left, right, low, high = 0.0, 0.0, 0.0, 0.0
    for k in range(count if count > 1 else 1):
        a, b = points[chosen[k]], points[chosen[k + 1 if k + 1 < count else 0]]
        c, s = b[0] - a[0], b[1] - a[1]
        length = math.hypot(c, s)
        c, s = (c / length, s / length) if length > 0 else (1.0, 0.0)
        for _ in range(3):  # the side whose direction is within [0, 90) degrees
            if not (c > 0 and s >= 0):
                c, s = s, -c
        x0 = x1 = y0 = y1 = 0.0
        for j in range(count):
            dx, dy = points[chosen[j], 0] - ox, points[chosen[j], 1] - oy
            x, y = dx * c + dy * s, dy * c - dx * s
            x0, x1, y0, y1 = min(x0, x), max(x1, x), min(y0, y), max(y1, y)
        area = (x1 - x0) * (y1 - y0)
        if k == 0 or area < best * (1.0 - 1e-12):  # not by a rounding
            best, best_c, best_s, left, right, low, high = area, c, s, x0, x1, y0, y1
    for k in range(4):
        x, y = right if k == 0 or k == 3 else left, low if k < 2 else high
        corners[2 * k] = ox + (x * best_c - y * best_s)
        corners[2 * k + 1] = oy + (x * best_s + y * best_c)


@kernel
def rectangles(pointsets, out, turn, grain, n):
    size = pointsets.shape[1] // 2
    points, chosen = np.empty((size, 2)), np.empty(size + 1, np.int64)
    start = claim(turn, grain)
    while start < n:
        for i in range(start, min(start + grain, n)):
            if load(pointsets[i], points):
                rectangle(points, chosen, hull(points, chosen), out[i])
            else:
                out[i] = np.nan
        start = claim(turn, grain)


def min_area_polygons(pointsets, out):
    """Fill out (N, 8)."""
    parallel_for(rectangles, len(pointsets), 512, pointsets, out, cost=600)
