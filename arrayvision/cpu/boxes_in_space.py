"""Overlaps and suppression of upright boxes in space: turned rectangles seen from above (`cpu/rotated_boxes.py`), and heights."""

import numpy as np

from arrayvision.cpu import kernel, rotated_boxes
from arrayvision.cpu.polygons import AREA, CX, CY, EX, EY, ROTATED, overlap
from arrayvision.cpu.rotated_boxes import hulls, touch
from arrayvision.cpu.threads import claim, parallel_for

__all__ = ["from_above", "nms", "overlaps"]

SHARED, FLAT_IOU, IOU = 0, 1, 2  # what `overlaps` gives


@np.errstate(over="ignore", invalid="ignore")  # what isn't finite overlaps nothing
def from_above(boxes, turned=True):
    """Rectangles (N, 5), as `rotated_boxes` takes them, and heights (N, 2), bottom and top, in float64.

    Boxes (N, 7) are (x, y, z, dx, dy, dz, angle); those (N, 5) are (x1, y1, x2, y2, angle), flat. Not `turned`: angles are 0.
    """
    b = boxes.astype(np.float64).T
    if len(b) == 7:
        x, y, z, dx, dy, dz, angle = b
        heights = np.stack([z - dz / 2, z + dz / 2], 1)
    else:
        left, top, right, bottom, angle = b
        x, y, dx, dy = left / 2 + right / 2, top / 2 + bottom / 2, right - left, bottom - top
        heights = np.zeros((len(boxes), 2))
    return np.stack([x, y, dx, dy, angle if turned else np.zeros_like(x)], 1), heights


@kernel
def all_pairs(first, second, low, high, lows, highs, measure, out, turn, grain, n):
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
                    shared, p_size, q_size = overlap(p, second[j], ROTATED), p[AREA], second[j, AREA]
                    if measure == IOU:
                        tall, taller = high[i] - low[i], highs[j] - lows[j]
                        common = min(min(high[i], highs[j]) - max(low[i], lows[j]), min(tall, taller))
                        shared *= common if tall < np.inf and taller < np.inf else 0.0  # NaN neither
                        p_size, q_size = p_size * tall, q_size * taller
                    if shared > 0:
                        value = shared if measure == SHARED else shared / (p_size + q_size - shared)
                out[i, j] = value
        start = claim(turn, grain)


def overlaps(first, second, measure, out):
    """Fill out (M, N) with what boxes (M, 7) or (M, 5) share with others: areas, or IoUs seen from above, or in space."""
    (p, heights), (q, others) = from_above(first), from_above(second)
    (p, _), (q, _) = rotated_boxes.shapes_of(p), rotated_boxes.shapes_of(q)
    columns = [np.ascontiguousarray(h[:, k]) for h in (heights, others) for k in (0, 1)]
    grain = max(1, min(64, 100_000 // max(len(q), 1)))
    parallel_for(all_pairs, len(p), grain, p, q, *columns, measure, out, cost=10 * len(q))


def nms(boxes, scores, threshold, turned):
    """Indices of the boxes kept by their IoU seen from above, by falling score; float64 scores."""
    return rotated_boxes.nms(from_above(boxes, turned)[0], scores, None, threshold, True, None, -1)
