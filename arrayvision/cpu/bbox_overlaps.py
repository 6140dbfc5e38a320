"""IoU of axis-aligned boxes, all pairs or row by row."""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.threads import claim, parallel_for


@kernel
def areas(boxes, offset):
    """Areas; NaN where not finite or no side is positive."""
    area = np.empty(boxes.shape[0], boxes.dtype)
    for i in range(area.shape[0]):
        w, h = boxes[i, 2] - boxes[i, 0] + offset, boxes[i, 3] - boxes[i, 1] + offset
        own = w * h
        area[i] = own if w > 0 and h > 0 and own > 0 and own - own == 0 else np.nan
    return area


@kernel
def row(out, x1, y1, x2, y2, area, a, b, c, d, own, offset, foreground):
    """IoU (or intersection over its own area) of one box with all; 0 where either has no area."""
    zero = out.dtype.type(0)
    for j in range(out.shape[0]):
        w = max(min(c, x2[j]) - max(a, x1[j]) + offset, zero)
        h = max(min(d, y2[j]) - max(b, y1[j]) + offset, zero)
        inter = w * h
        value = inter / (own if foreground else own + area[j] - inter)
        out[j] = value if inter > 0 and area[j] > 0 else zero


@kernel
def all_pairs(first, second, offset, foreground, out, turn, grain, n):
    m = second.shape[0]
    x1, y1, x2, y2 = np.empty(m, out.dtype), np.empty(m, out.dtype), np.empty(m, out.dtype), np.empty(m, out.dtype)
    for j in range(m):
        x1[j], y1[j], x2[j], y2[j] = second[j, 0], second[j, 1], second[j, 2], second[j, 3]
    own, area = areas(first, offset), areas(second, offset)
    start = claim(turn, grain)
    while start < n:
        for i in range(start, min(start + grain, n)):
            if own[i] > 0:
                row(
                    out[i],
                    x1,
                    y1,
                    x2,
                    y2,
                    area,
                    first[i, 0],
                    first[i, 1],
                    first[i, 2],
                    first[i, 3],
                    own[i],
                    offset,
                    foreground,
                )
            else:
                out[i] = 0
        start = claim(turn, grain)


@kernel
def aligned_pairs(first, second, offset, foreground, out, turn, grain, n):
    start = claim(turn, grain)
    while start < n:
        a, b = first[start : min(start + grain, n)], second[start : min(start + grain, n)]
        own, area = areas(a, offset), areas(b, offset)
        for i in range(a.shape[0]):
            w = min(a[i, 2], b[i, 2]) - max(a[i, 0], b[i, 0]) + offset
            h = min(a[i, 3], b[i, 3]) - max(a[i, 1], b[i, 1]) + offset
            value = out.dtype.type(0)
            if own[i] > 0 and area[i] > 0 and w > 0 and h > 0:
                value = w * h / (own[i] if foreground else own[i] + area[i] - w * h)
            out[start + i] = value
        start = claim(turn, grain)


def overlaps(first, second, foreground, aligned, offset, out):
    """Fill out with IoUs, or with intersections over the first one's area."""
    offset = first.dtype.type(offset)
    if aligned:
        parallel_for(aligned_pairs, len(first), 16384, first, second, offset, foreground, out, cost=4)
    else:
        n = max(len(second), 1)
        parallel_for(all_pairs, len(first), max(1, 200_000 // n), first, second, offset, foreground, out, cost=n)
