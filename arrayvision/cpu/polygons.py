"""Areas that rotated boxes and quadrilaterals share, as sums of integrals over edges: no clipping, no case that breaks.

Seen from one box's own frame, its partner's overlap with [-a, a] x [-b, b] is the integral over x in [-a, a] of the
length that the partner's vertical section has within [-b, b]: a signed sum, over the partner's edges, of the integral of
clamp(y, -b, b). Each term is at most the box's area, so the error is a few roundings of that area, also for needles,
shared edges and equal boxes. Two quadrilaterals: the sum, over pairs of edges, of the integral of the lower of the two;
it holds for concave ones and either orientation.

A shape is a row of float64: see `rotated_shapes` and `quad_shapes`. Its area is 0 if it isn't finite or has no extent.
"""

import math

import numpy as np

from arrayvision.cpu import kernel

CX, CY, EX, EY, AREA = 0, 1, 2, 3, 4  # centre and half extents of the axis-aligned hull, and the area
HALF_W, HALF_H, COS, SIN = 5, 6, 7, 8  # of a rotated box
CORNERS, SIGN = 5, 13  # of a quadrilateral, relative to the hull's centre; 1 or -1 by its orientation
ROTATED, QUAD = 0, 1
WIDTH = 14


@kernel
def rotated_shapes(boxes, sense, shapes):
    """Rows for boxes (cx, cy, w, h, angle); the angle turns from +x to +y where sense is 1, the other way where -1."""
    for i in range(boxes.shape[0]):
        cx, cy, w, h = (
            np.float64(boxes[i, 0]),
            np.float64(boxes[i, 1]),
            np.float64(boxes[i, 2]),
            np.float64(boxes[i, 3]),
        )
        angle = sense * np.float64(boxes[i, 4])
        c, s = math.cos(angle), math.sin(angle)
        ex, ey = 0.5 * (abs(w * c) + abs(h * s)), 0.5 * (abs(w * s) + abs(h * c))
        area = w * h
        fine = (
            w > 0 and h > 0 and math.isfinite(area) and math.isfinite(cx) and math.isfinite(cy) and math.isfinite(angle)
        )
        row = shapes[i]
        row[CX], row[CY], row[EX], row[EY] = cx, cy, ex, ey
        row[AREA] = area if fine else 0.0
        row[HALF_W], row[HALF_H], row[COS], row[SIN] = 0.5 * w, 0.5 * h, c, s


@kernel
def quad_shapes(boxes, shapes):
    """Rows for quadrilaterals (x1, y1, ..., x4, y4), corners in order, either way round."""
    for i in range(boxes.shape[0]):
        row = shapes[i]
        left = right = np.float64(boxes[i, 0])
        top = bottom = np.float64(boxes[i, 1])
        for k in range(1, 4):
            x, y = np.float64(boxes[i, 2 * k]), np.float64(boxes[i, 2 * k + 1])
            left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
        cx, cy = 0.5 * left + 0.5 * right, 0.5 * top + 0.5 * bottom
        total = 0.0
        for k in range(4):
            row[CORNERS + 2 * k], row[CORNERS + 2 * k + 1] = boxes[i, 2 * k] - cx, boxes[i, 2 * k + 1] - cy
            total += boxes[i, 2 * k] + boxes[i, 2 * k + 1]  # not finite where one is not
        p = row[CORNERS : CORNERS + 8]
        area = 0.5 * ((p[4] - p[0]) * (p[7] - p[3]) - (p[6] - p[2]) * (p[5] - p[1]))
        row[CX], row[CY], row[EX], row[EY] = cx, cy, 0.5 * (right - left), 0.5 * (bottom - top)
        row[AREA] = abs(area) if math.isfinite(area) and math.isfinite(total) else 0.0
        row[SIGN] = 1.0 if area > 0 else -1.0


@kernel
def under_edge(x1, y1, x2, y2, a, b):
    """The integral of clamp(y, -b, b) along an edge, over those x within [-a, a]; negative where x falls."""
    xa, xb = min(max(x1, -a), a), min(max(x2, -a), a)
    d = xb - xa
    if d == 0:
        return 0.0
    slope = (y2 - y1) / (x2 - x1)
    ya, yb = y1 + (xa - x1) * slope, y2 + (xb - x2) * slope
    low, high = min(ya, yb), max(ya, yb)
    if low >= b:
        return d * b
    if high <= -b:
        return -d * b
    if low >= -b and high <= b:
        return d * 0.5 * (ya + yb)
    below, above = max(-b - low, 0.0) / (high - low), max(high - b, 0.0) / (high - low)
    return d * ((above - below) * b + (1.0 - below - above) * 0.5 * (max(low, -b) + min(high, b)))


@kernel
def rotated_overlap(p, q):
    """The area that two rotated boxes share."""
    c, s = p[COS], p[SIN]
    dx, dy = q[CX] - p[CX], q[CY] - p[CY]
    u, v = dx * c + dy * s, dy * c - dx * s  # q's centre in p's frame
    cos, sin = c * q[COS] + s * q[SIN], c * q[SIN] - s * q[COS]
    wx, wy, hx, hy = q[HALF_W] * cos, q[HALF_W] * sin, -q[HALF_H] * sin, q[HALF_H] * cos
    a, b = p[HALF_W], p[HALF_H]
    if abs(u) >= a + abs(wx) + abs(hx) or abs(v) >= b + abs(wy) + abs(hy):
        return 0.0
    x1, y1, x2, y2 = u + wx + hx, v + wy + hy, u - wx + hx, v - wy + hy
    x3, y3, x4, y4 = u - wx - hx, v - wy - hy, u + wx - hx, v + wy - hy
    area = (
        under_edge(x1, y1, x2, y2, a, b)
        + under_edge(x2, y2, x3, y3, a, b)
        + under_edge(x3, y3, x4, y4, a, b)
        + under_edge(x4, y4, x1, y1, a, b)
    )
    return abs(area)


@kernel
def under_both(x1, y1, x2, y2, u1, v1, u2, v2):
    """The integral of the lower of two edges over the x that both span; signed by their directions."""
    left, right = max(min(x1, x2), min(u1, u2)), min(max(x1, x2), max(u1, u2))
    d = right - left
    if not d > 0:
        return 0.0
    if (x2 > x1) != (u2 > u1):
        d = -d
    m, k = (y2 - y1) / (x2 - x1), (v2 - v1) / (u2 - u1)
    ya, yb = y1 + (left - x1) * m, y2 + (right - x2) * m
    if x2 < x1:
        ya, yb = y2 + (left - x2) * m, y1 + (right - x1) * m
    va, vb = v1 + (left - u1) * k, v2 + (right - u2) * k
    if u2 < u1:
        va, vb = v2 + (left - u2) * k, v1 + (right - u1) * k
    fa, fb = ya - va, yb - vb
    if fa <= 0 and fb <= 0:
        return d * 0.5 * (ya + yb)
    if fa >= 0 and fb >= 0:
        return d * 0.5 * (va + vb)
    t = fa / (fa - fb)
    return d * 0.5 * (va + vb + (fa * t if fa < 0 else fb * (1.0 - t)))


@kernel
def quad_overlap(p, q):
    """The area that two quadrilaterals share."""
    dx, dy = q[CX] - p[CX], q[CY] - p[CY]
    total = 0.0
    for i in range(4):
        j = (i + 1) % 4
        for m in range(4):
            n = (m + 1) % 4
            total += under_both(
                p[CORNERS + 2 * i], p[CORNERS + 2 * i + 1], p[CORNERS + 2 * j], p[CORNERS + 2 * j + 1],
                dx + q[CORNERS + 2 * m], dy + q[CORNERS + 2 * m + 1], dx + q[CORNERS + 2 * n], dy + q[CORNERS + 2 * n + 1],
            )  # fmt: skip
    return total * p[SIGN] * q[SIGN]


@kernel
def overlap(p, q, kind):
    """The area that two shapes share: within [0, the smaller one's area]."""
    if not (p[AREA] > 0 and q[AREA] > 0) or abs(q[CX] - p[CX]) >= p[EX] + q[EX] or abs(q[CY] - p[CY]) >= p[EY] + q[EY]:
        return 0.0
    area = rotated_overlap(p, q) if kind == ROTATED else quad_overlap(p, q)
    return min(max(area, 0.0), p[AREA], q[AREA])


@kernel
def iou(p, q, kind):
    """Intersection over union, 0 for a shape without an area."""
    inter = overlap(p, q, kind)
    return inter / (p[AREA] + q[AREA] - inter) if inter > 0 else 0.0
