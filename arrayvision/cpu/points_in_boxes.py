"""Which points lie in which boxes: a box's tests of a point are a vectorised loop over boxes, whose columns are made first."""

import math

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.threads import claim, parallel_for

NONE = np.int32(2**31 - 1)


@kernel
def columns_of(boxes, columns):
    """Columns (8, T) of boxes (T, 7): centre, cosine and sine of the angle, half sizes."""
    half = boxes.dtype.type(0.5)
    for j in range(boxes.shape[0]):
        angle = np.float64(boxes[j, 6])
        columns[0, j], columns[1, j], columns[2, j] = boxes[j, 0], boxes[j, 1], boxes[j, 2] + half * boxes[j, 5]
        columns[3, j], columns[4, j] = math.cos(angle), math.sin(angle)
        total = angle
        for k in range(6):
            total += np.float64(boxes[j, k])
        for k in range(3):
            columns[5 + k, j] = half * boxes[j, 3 + k] if math.isfinite(total) else -half  # which holds nothing


@kernel
def first_of(x, y, z, cx, cy, cz, c, s, hx, hy, hz):
    """The first box in which a point lies, or NONE."""
    found = NONE
    for j in range(cx.shape[0]):
        dx, dy = x - cx[j], y - cy[j]
        u, v = dx * c[j] + dy * s[j], dy * c[j] - dx * s[j]
        inside = (abs(u) < hx[j]) & (abs(v) < hy[j]) & (abs(z - cz[j]) <= hz[j])
        found = min(found, np.int32(j) if inside else NONE)
    return found


@kernel
def each_of(x, y, z, cx, cy, cz, c, s, hx, hy, hz, out):
    """out[j] = whether a point lies in box j."""
    for j in range(out.shape[0]):
        dx, dy = x - cx[j], y - cy[j]
        u, v = dx * c[j] + dy * s[j], dy * c[j] - dx * s[j]
        out[j] = (abs(u) < hx[j]) & (abs(v) < hy[j]) & (abs(z - cz[j]) <= hz[j])


@kernel
def first_boxes(points, boxes, out, turn, grain, n):
    b = boxes
    start = claim(turn, grain)
    while start < n:
        for i in range(start, min(start + grain, n)):
            p = points[i]
            found = first_of(p[0], p[1], p[2], b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7])
            out[i] = -1 if found == NONE else found
        start = claim(turn, grain)


@kernel
def all_boxes(points, boxes, out, turn, grain, n):
    b = boxes
    start = claim(turn, grain)
    while start < n:
        for i in range(start, min(start + grain, n)):
            p = points[i]
            each_of(p[0], p[1], p[2], b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], out[i])
        start = claim(turn, grain)


def part(points, boxes, out):
    """Fill out (B, M) with each point's first box, or -1; points (B, M, 3), boxes (B, T, 7)."""
    _each(first_boxes, points, boxes, out)


def all(points, boxes, out):
    """Fill out (B, M, T) with whether each point lies in each box."""
    _each(all_boxes, points, boxes, out)


def _each(some, points, boxes, out):
    count, t = points.shape[1], boxes.shape[1]
    for p, b, o in zip(points, boxes, out, strict=True):
        columns = np.empty((8, t), boxes.dtype)
        columns_of(b, columns)
        parallel_for(some, count, max(1, 50_000 // (10 + t)), p, columns, o, cost=10 + t)
