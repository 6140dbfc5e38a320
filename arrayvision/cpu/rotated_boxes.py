"""IoU and non-maximum suppression of rotated boxes and quadrilaterals: hulls first, in a vectorised loop; exact areas for
the few pairs whose hulls meet. Geometry: `cpu/polygons.py`; search: `cpu/strips.py`."""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.nms import ALIVE, ALL, emit, segments, share_segments, take_rows
from arrayvision.cpu.order import bits, by_falling_score
from arrayvision.cpu.polygons import (
    AREA,
    CX,
    CY,
    EX,
    EY,
    QUAD,
    ROTATED,
    WIDTH,
    iou,
    overlap,
    quad_shapes,
    rotated_shapes,
)
from arrayvision.cpu.strips import build, first_not_below
from arrayvision.cpu.threads import claim, parallel_for

__all__ = ["nms", "overlaps", "shapes_of", "take_rows"]

FEW = 700  # boxes in a segment from which strips pay


def shapes_of(boxes, clockwise=True):
    """Boxes (N, 5) or quadrilaterals (N, 8) as rows of `cpu/polygons.py`, and which of the two they are."""
    shapes = np.empty((len(boxes), WIDTH))
    if boxes.shape[1] == 5:
        rotated_shapes(boxes, 1.0 if clockwise else -1.0, shapes)
        return shapes, ROTATED
    quad_shapes(boxes, shapes)
    return shapes, QUAD


@kernel
def touch(near, cx, cy, ex, ey, x, y, a, b):
    """near[j] = whether hull j and the hull (x, y, a, b) share an area."""
    for j in range(near.shape[0]):
        near[j] = np.uint8(abs(cx[j] - x) < ex[j] + a) & np.uint8(abs(cy[j] - y) < ey[j] + b)


@kernel
def hulls(shapes):
    n = shapes.shape[0]
    cx, cy, ex, ey = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    for i in range(n):
        cx[i], cy[i] = shapes[i, CX], shapes[i, CY]
        ex[i], ey[i] = (shapes[i, EX], shapes[i, EY]) if shapes[i, AREA] > 0 else (-np.inf, -np.inf)
    return cx, cy, ex, ey


@kernel
def all_pairs(first, second, kind, foreground, out, turn, grain, n):
    cx, cy, ex, ey = hulls(second)
    near = np.empty(second.shape[0], np.uint8)
    start = claim(turn, grain)
    while start < n:
        for i in range(start, min(start + grain, n)):
            p = first[i]
            touch(near, cx, cy, ex, ey, p[CX], p[CY], p[EX], p[EY])
            for j in range(near.shape[0]):
                value = 0.0
                if near[j]:
                    inter = overlap(p, second[j], kind)
                    if inter > 0:
                        value = inter / (p[AREA] if foreground else p[AREA] + second[j, AREA] - inter)
                out[i, j] = value
        start = claim(turn, grain)


@kernel
def aligned_pairs(first, second, kind, foreground, out, turn, grain, n):
    start = claim(turn, grain)
    while start < n:
        for i in range(start, min(start + grain, n)):
            inter = overlap(first[i], second[i], kind)
            out[i] = (
                inter / (first[i, AREA] if foreground else first[i, AREA] + second[i, AREA] - inter)
                if inter > 0
                else 0.0
            )
        start = claim(turn, grain)


def overlaps(first, second, foreground, aligned, clockwise, out):
    """Fill out with IoUs, or with intersections over the first one's area."""
    p, kind = shapes_of(first, clockwise)
    q, _ = shapes_of(second, clockwise)
    if aligned:
        parallel_for(aligned_pairs, len(p), 1024, p, q, kind, foreground, out, cost=200)
    else:
        parallel_for(
            all_pairs, len(p), max(1, min(64, 100_000 // max(len(q), 1))), p, q, kind, foreground, out, cost=10 * len(q)
        )


@kernel
def strike_near(owner, near, shapes, i, p, kind, threshold, single):
    """Strike out those near ones whose IoU with p exceeds the threshold."""
    for j in range(owner.shape[0]):
        if near[j] and owner[j] == ALIVE:
            q = shapes[j]
            if min(p[AREA], q[AREA]) >= 0.9999 * threshold * max(p[AREA], q[AREA]):
                value = iou(p, q, kind)
                if single:
                    value = np.float64(np.float32(value))
                if value > threshold:
                    owner[j] = i


@kernel
def sweep(owner, shapes, kind, threshold, single, most):
    """Strike out box by box until `most` are kept; returns where it stopped. `single`: IoUs count as float32."""
    n = owner.shape[0]
    cx, cy, ex, ey = hulls(shapes)
    near = np.empty(n, np.uint8)
    kept, i = 0, 0
    while i < n and kept < most:
        if owner[i] == ALIVE:
            kept += 1
            p = shapes[i]
            if p[AREA] > 0:
                j = i + 1
                touch(near[j:], cx[j:], cy[j:], ex[j:], ey[j:], p[CX], p[CY], p[EX], p[EY])
                strike_near(owner[j:], near[j:], shapes[j:], np.int32(i), p, kind, threshold, single)
        i += 1
    return i


@kernel
def sweep_strips(owner, position, shapes, moved, strips, kind, threshold, single, most):
    """The same, by strips, in which shapes without an area don't stand. `moved` are the others in the strips' order, in
    which `owner` is, and in which shape i is at position[i]. A kept shape is its own owner."""
    _, centres, starts, low, high, longest, groups, standing, broadest, _ = strips
    n = shapes.shape[0]
    cx, cy, ex, ey = hulls(moved)
    near = np.empty(owner.shape[0], np.uint8)
    kept, i = 0, 0
    while i < n and kept < most:
        p = shapes[i]
        if not p[AREA] > 0:
            kept += 1
        elif owner[position[i]] == ALIVE:
            kept += 1
            owner[position[i]] = i
            for g in range(standing.shape[0]):
                along, half_length = (p[CY], p[EY]) if standing[g] else (p[CX], p[EX])
                across, half_breadth = (p[CX], p[EX]) if standing[g] else (p[CY], p[EY])
                far, stop = half_breadth + 0.5 * broadest[g], groups[g + 1]
                s = first_not_below(high, groups[g], stop, across - far)
                while s < stop and low[s] <= across + far:
                    reach = half_length + 0.5 * longest[s]
                    a = first_not_below(centres, starts[s], starts[s + 1], along - reach)
                    b = first_not_below(centres, a, starts[s + 1], along + reach)
                    touch(near[a:b], cx[a:b], cy[a:b], ex[a:b], ey[a:b], p[CX], p[CY], p[EX], p[EY])
                    strike_near(owner[a:b], near[a:b], moved[a:b], np.int32(i), p, kind, threshold, single)
                    s += 1
        i += 1
    return i


@kernel
def sweep_segments(shapes, kind, order, starts, threshold, single, most, owner, turn, grain, n):
    """As `cpu.nms.sweep_segments`."""
    start = claim(turn, grain)
    while start < n:
        for s in range(start, min(start + grain, n)):
            a, b = starts[s], starts[s + 1]
            if b - a < FEW:
                ranked = np.empty((b - a, shapes.shape[1]))
                for k in range(b - a):
                    for c in range(shapes.shape[1]):
                        ranked[k, c] = shapes[order[a + k], c]
                stop = sweep(owner[a:b], ranked, kind, threshold, single, most)
                for k in range(a + stop, b):
                    owner[k] = -1
        start = claim(turn, grain)


def suppress_many(shapes, kind, threshold, single, most, owner):
    """As `cpu.nms.suppress_many`, of shapes in falling score."""
    inside = np.flatnonzero(shapes[:, AREA] > 0)
    some = shapes[inside]
    strips = build(*some[:, [CX, CY]].T.copy(), *(2 * some[:, [EX, EY]]).T.copy())
    position = np.empty(len(shapes), np.int32)
    position[inside[strips.order]] = np.arange(len(inside), dtype=np.int32)
    local = np.full(len(inside), ALIVE, np.int32)
    stop = sweep_strips(local, position, shapes, some[strips.order], strips, kind, threshold, single, most)
    struck = local[position[inside]]
    others = struck != inside
    owner[inside[others]] = struck[others]
    owner[stop:] = -1


def nms(boxes, scores, labels, threshold, clockwise, score_threshold, max_num):
    """Indices of the kept boxes (N, 5) or (N, 8) by falling score; arguments as `cpu.nms.nms`."""
    dtype, most = boxes.dtype.type, ALL if max_num < 0 else max_num
    least, filtered = bits(np.array([score_threshold or 0], dtype))[0], score_threshold is not None
    order, count = by_falling_score(bits(scores), least, filtered)
    order = order[:count]
    grouped, starts = (order, np.array([0, count])) if labels is None else segments(labels, order, bits(scores).dtype)
    shapes, kind = shapes_of(boxes, clockwise)
    owner, how = np.full(count, ALIVE, np.int32), (float(dtype(threshold)), dtype is np.float32, most)
    share_segments(
        starts, FEW, lambda _, own: suppress_many(shapes[grouped[own]], kind, *how, owner[own]),
        sweep_segments, shapes, kind, grouped, starts, *how, owner, each=500 * count / max(len(starts) - 1, 1),
    )  # fmt: skip
    return emit(order, grouped, owner, len(boxes), most)
