"""IoU and generalized IoU of the hulls of 9 points and quadrilaterals, and the latter's gradient for the points.

The gradient of an area is the integral over its edges of their speed outwards. An edge of the points' hull moves the area
shared with the quadrilateral where it lies inside that.
"""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.hulls import WIDTH, hull, hull_overlap, hull_shapes, load, shape_of, twice_area
from arrayvision.cpu.polygons import AREA, CX, CY, EX, EY
from arrayvision.cpu.rotated_boxes import hulls, touch
from arrayvision.cpu.threads import claim, parallel_for

ALIKE = 1e-12  # edges this near (relative to the extents) lie on each other


@kernel
def all_pairs(first, second, out, turn, grain, n):
    cx, cy, ex, ey = hulls(second)
    near = np.empty(second.shape[0], np.uint8)
    start = claim(turn, grain)
    while start < n:
        for i in range(start, min(start + grain, n)):
            p, row = first[i], out[i]
            touch(near, cx, cy, ex, ey, p[CX], p[CY], p[EX], p[EY])
            for j in range(row.shape[0]):
                inter = hull_overlap(p, second[j]) if near[j] else 0.0
                row[j] = inter / (p[AREA] + second[j, AREA] - inter) if inter > 0 else 0.0
        start = claim(turn, grain)


def iou(pointsets, polygons, out):
    """Fill out (N, K) with IoUs."""
    p, q = hull_shapes(pointsets), hull_shapes(polygons)
    parallel_for(all_pairs, len(p), max(1, 4096 // len(q)), p, q, out, cost=20 * len(q))


@kernel
def inside(a, b, corners, chosen, count, alike):
    """The part [low, high] of the edge from a to b, in fractions of it, within a hull; and whether it lies on an edge of it."""
    low, high, along = 0.0, 1.0, False
    for k in range(count):
        c, d = corners[chosen[k]], corners[chosen[k + 1 if k + 1 < count else 0]]
        ex, ey = d[0] - c[0], d[1] - c[1]
        fa, fb = ex * (a[1] - c[1]) - ey * (a[0] - c[0]), ex * (b[1] - c[1]) - ey * (b[0] - c[0])
        least = alike * (abs(ex) + abs(ey))
        if abs(fa) <= least and abs(fb) <= least:
            if ex * (b[0] - a[0]) + ey * (b[1] - a[1]) < 0:  # they touch from outside
                return 0.0, 0.0, False
            along = True
        elif fa <= 0 and fb <= 0:
            return 0.0, 0.0, False
        elif fa < 0:
            low = max(low, fa / (fa - fb))
        elif fb < 0:
            high = min(high, fa / (fa - fb))
    return low, high, along


@kernel
def add_area_gradient(points, chosen, count, factor, mine, grad):
    """grad += factor times the derivatives of a hull's area, for those corners that are among the first `mine` points."""
    if count < 3:
        return
    for k in range(count):
        i = chosen[k]
        if i < mine:
            before, after = points[chosen[k - 1 if k > 0 else count - 1]], points[chosen[k + 1 if k + 1 < count else 0]]
            grad[2 * i] += factor * 0.5 * (after[1] - before[1])
            grad[2 * i + 1] += factor * 0.5 * (before[0] - after[0])


@kernel
def add_shared_gradient(points, chosen, count, corners, ring, around, factor, grad):
    """grad += factor times the derivatives of the area that the points' hull shares with another."""
    if count < 3 or around < 3:
        return
    size = 0.0
    for k in range(count):
        for j in range(around):
            p, q = points[chosen[k]], corners[ring[j]]
            size = max(size, abs(p[0] - q[0]) + abs(p[1] - q[1]))
    for k in range(count):
        i, j = chosen[k], chosen[k + 1 if k + 1 < count else 0]
        low, high, along = inside(points[i], points[j], corners, ring, around, ALIKE * size)
        if not high > low:
            continue
        nx, ny = points[j, 1] - points[i, 1], points[i, 0] - points[j, 0]
        part = 0.5 * factor * (high - low)
        of_i, of_j = part * (2.0 - low - high), part * (low + high)
        if along and high < 1.0:  # the common edge ends in the other's corner, which stays
            of_i, of_j = part * (1.0 - low), part * low
        grad[2 * i] += of_i * nx
        grad[2 * i + 1] += of_i * ny
        grad[2 * j] += of_j * nx
        grad[2 * j + 1] += of_j * ny


@kernel
def gious(pointsets, polygons, out, grads, turn, grain, n):
    both, g, p, q = np.empty((13, 2)), np.empty(18), np.empty(WIDTH), np.empty(WIDTH)
    points, corners = both[:9], both[9:]  # of equal ones, the points count as the common hull's corners
    chosen, ring, outer = np.empty(10, np.int64), np.empty(5, np.int64), np.empty(14, np.int64)
    start = claim(turn, grain)
    while start < n:
        for i in range(start, min(start + grain, n)):
            fine = load(pointsets[i], points)
            fine = load(polygons[i], corners) and fine
            if not fine:
                out[i], grads[i] = np.nan, np.nan
                continue
            count, around, outside = hull(points, chosen), hull(corners, ring), hull(both, outer)
            shape_of(points, chosen, count, p)
            shape_of(corners, ring, around, q)
            inter, enclosing = hull_overlap(p, q), 0.5 * twice_area(both, outer, outside)
            union = p[AREA] + q[AREA] - inter
            g[:] = 0
            value = 0.0
            if enclosing > 0:
                value = union / enclosing - 1.0
                of_union, of_inter = 1.0 / enclosing, 0.0
                if union > 0:
                    value += inter / union
                    of_union -= inter / (union * union)
                    of_inter = 1.0 / union
                add_area_gradient(points, chosen, count, of_union, 9, g)
                add_area_gradient(both, outer, outside, -union / (enclosing * enclosing), 9, g)
                add_shared_gradient(points, chosen, count, corners, ring, around, of_inter - of_union, g)
            out[i] = value
            for k in range(18):
                grads[i, k] = g[k]
        start = claim(turn, grain)


def giou(pointsets, polygons, out, grads):
    """Fill out (N,) with generalized IoUs and grads (N, 18) with their gradients for the points."""
    parallel_for(gious, len(pointsets), 256, pointsets, polygons, out, grads, cost=1500)
