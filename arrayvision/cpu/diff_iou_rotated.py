"""IoU of rotated boxes, row by row, and its gradients for both boxes.

The area is that of `cpu/polygons.py`. Its gradient is an integral too: when an edge moves, the shared area grows by the
edge's speed outwards, integrated over the part of the edge inside the other box. So each of the eight edges is clipped by
the other box, to [t1, t2] along the edge; t2 - t1 is the derivative for a shift of the edge, the integral of t that for a
turn. Where two edges lie on each other the area has a kink, and the part counts half: the mean of the one-sided
derivatives, so that equal boxes, the maximum, have gradient 0.
"""

import math

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.polygons import under_edge
from arrayvision.cpu.threads import claim, parallel_for

ALIKE = 1e-13  # edges this near (relative to all extents) lie on each other


@kernel
def frame(p, q):
    """q = (x, y, w, h, angle) seen from p: its centre, and the cosine and sine of its angle."""
    dx, dy, c, s = q[0] - p[0], q[1] - p[1], math.cos(p[4]), math.sin(p[4])
    turn = q[4] - p[4]
    return dx * c + dy * s, dy * c - dx * s, math.cos(turn), math.sin(turn)


@kernel
def shared_area(p, q):
    """The area that two rotated boxes share."""
    u, v, cos, sin = frame(p, q)
    a, b = 0.5 * p[2], 0.5 * p[3]
    wx, wy, hx, hy = 0.5 * q[2] * cos, 0.5 * q[2] * sin, -0.5 * q[3] * sin, 0.5 * q[3] * cos
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
    return min(abs(area), p[2] * p[3], q[2] * q[3])


@kernel
def inside(x, y, tx, ty, half, a, b, alike):
    """The integrals of 1 and of t over those t within [-half, half] at which (x, y) + t (tx, ty) is in [-a, a] x [-b, b]."""
    low, high, weight = -half, half, 1.0
    if abs(tx) * half <= alike:
        if abs(x) > a + alike:
            return 0.0, 0.0
        if abs(x) >= a - alike:
            weight = 0.5
    else:
        left, right = (-a - x) / tx, (a - x) / tx
        low, high = max(low, min(left, right)), min(high, max(left, right))
    if abs(ty) * half <= alike:
        if abs(y) > b + alike:
            return 0.0, 0.0
        if abs(y) >= b - alike:
            weight = 0.5
    else:
        left, right = (-b - y) / ty, (b - y) / ty
        low, high = max(low, min(left, right)), min(high, max(left, right))
    if not high > low:
        return 0.0, 0.0
    return weight * (high - low), weight * 0.5 * (high - low) * (high + low)


@kernel
def edges(u, v, cos, sin, w, h, a, b, alike):
    """How the area shared with [-a, a] x [-b, b] grows with a box's centre, width, height and angle."""
    right, right_turn = inside(u + 0.5 * w * cos, v + 0.5 * w * sin, -sin, cos, 0.5 * h, a, b, alike)
    left, left_turn = inside(u - 0.5 * w * cos, v - 0.5 * w * sin, sin, -cos, 0.5 * h, a, b, alike)
    top, top_turn = inside(u - 0.5 * h * sin, v + 0.5 * h * cos, -cos, -sin, 0.5 * w, a, b, alike)
    bottom, bottom_turn = inside(u + 0.5 * h * sin, v - 0.5 * h * cos, cos, sin, 0.5 * w, a, b, alike)
    gu, gv = (right - left) * cos - (top - bottom) * sin, (right - left) * sin + (top - bottom) * cos
    return gu, gv, 0.5 * (right + left), 0.5 * (top + bottom), -(right_turn + left_turn + top_turn + bottom_turn)


@kernel
def area_gradient(p, q, gp, gq):
    """The derivatives of the shared area for (x, y, w, h, angle) of both boxes."""
    u, v, cos, sin = frame(p, q)
    a, b = 0.5 * p[2], 0.5 * p[3]
    alike = ALIKE * (abs(u) + abs(v) + p[2] + p[3] + q[2] + q[3])
    gu, gv, gq[2], gq[3], gq[4] = edges(u, v, cos, sin, q[2], q[3], a, b, alike)
    c, s = math.cos(p[4]), math.sin(p[4])
    gq[0], gq[1] = gu * c - gv * s, gu * s + gv * c
    # the other box, seen from this one; its place and angle follow: nothing changes when both move or turn together
    _, _, gp[2], gp[3], _ = edges(
        -u * cos - v * sin, u * sin - v * cos, cos, -sin, p[2], p[3], 0.5 * q[2], 0.5 * q[3], alike
    )
    gp[0], gp[1], gp[4] = -gq[0], -gq[1], -gq[4] + gu * v - gv * u


@kernel
def shared_height(p, q):
    """The length that (centre, length) p and q share, and its derivatives for p's and q's ends: low, high, low, high."""
    low_p, high_p, low_q, high_q = p[0] - 0.5 * p[1], p[0] + 0.5 * p[1], q[0] - 0.5 * q[1], q[0] + 0.5 * q[1]
    length = min(high_p, high_q) - max(low_p, low_q)
    if length < 0:
        return 0.0, 0.0, 0.0, 0.0, 0.0
    half = 1.0 if length > 0 else 0.5  # touching: a kink, as where ends are equal
    top = 1.0 if high_p < high_q else 0.5 if high_p == high_q else 0.0
    bottom = 1.0 if low_p > low_q else 0.5 if low_p == low_q else 0.0
    return length, -half * bottom, half * top, -half * (1.0 - bottom), half * (1.0 - top)


@kernel
def load(row, flat, height):
    """A box's (x, y, w, h, angle), and its (z, l), which are (0, 1) of a flat one; 1 if it is fine, 0 if without extent."""
    total = 0.0
    for k in range(row.shape[0]):
        total += row[k] - row[k]
    if row.shape[0] == 5:
        for k in range(5):
            flat[k] = row[k]
        height[0], height[1] = 0.0, 1.0
    else:
        flat[0], flat[1], flat[2], flat[3], flat[4] = row[0], row[1], row[3], row[4], row[6]
        height[0], height[1] = row[2], row[5]
    if total != 0:
        return -1
    return 1 if flat[2] > 0 and flat[3] > 0 and height[1] > 0 else 0


@kernel
def ious(first, second, out, turn, grain, n):
    p, q, zp, zq = np.empty(5), np.empty(5), np.empty(2), np.empty(2)
    start = claim(turn, grain)
    while start < n:
        for i in range(start, min(start + grain, n)):
            fine = min(load(first[i], p, zp), load(second[i], q, zq))
            value = 0.0 if fine >= 0 else np.nan
            if fine == 1:
                inter = shared_area(p, q) * shared_height(zp, zq)[0]
                if inter > 0:
                    value = inter / (p[2] * p[3] * zp[1] + q[2] * q[3] * zq[1] - inter)
            out[i] = value
        start = claim(turn, grain)


@kernel
def store(row, g, gz, gl):
    if row.shape[0] == 5:
        for k in range(5):
            row[k] = g[k]
    else:
        row[0], row[1], row[2], row[3], row[4], row[5], row[6] = g[0], g[1], gz, g[2], g[3], gl, g[4]


@kernel
def gradients(grad, first, second, out_first, out_second, turn, grain, n):
    p, q, zp, zq, gp, gq = np.empty(5), np.empty(5), np.empty(2), np.empty(2), np.empty(5), np.empty(5)
    start = claim(turn, grain)
    while start < n:
        for i in range(start, min(start + grain, n)):
            fine = min(load(first[i], p, zp), load(second[i], q, zq))
            if fine != 1:
                out_first[i], out_second[i] = (0.0, 0.0) if fine == 0 else (np.nan, np.nan)
                continue
            area, (height, low_p, high_p, low_q, high_q) = shared_area(p, q), shared_height(zp, zq)
            area_gradient(p, q, gp, gq)
            inter, whole = area * height, p[2] * p[3] * zp[1] + q[2] * q[3] * zq[1]
            union = whole - inter
            # iou = inter / (whole - inter)
            rise, fall = grad[i] * whole / (union * union), grad[i] * inter / (union * union)
            for k in range(5):
                gp[k] *= rise * height
                gq[k] *= rise * height
            gp[2] -= fall * p[3] * zp[1]
            gp[3] -= fall * p[2] * zp[1]
            gq[2] -= fall * q[3] * zq[1]
            gq[3] -= fall * q[2] * zq[1]
            store(
                out_first[i],
                gp,
                rise * area * (low_p + high_p),
                0.5 * rise * area * (high_p - low_p) - fall * p[2] * p[3],
            )
            store(
                out_second[i],
                gq,
                rise * area * (low_q + high_q),
                0.5 * rise * area * (high_q - low_q) - fall * q[2] * q[3],
            )
        start = claim(turn, grain)


def iou(first, second, out):
    """Fill out (N,) with the IoUs of boxes (N, 5) or (N, 7)."""
    parallel_for(ious, len(first), 1024, first, second, out, cost=150)


def iou_backward(grad, first, second, out_first, out_second):
    """Fill the gradients for the boxes, from the gradient (N,) of the IoUs."""
    parallel_for(gradients, len(first), 512, grad, first, second, out_first, out_second, cost=350)
