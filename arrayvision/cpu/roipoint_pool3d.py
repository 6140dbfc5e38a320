"""roipoint_pool3d: each box finds its points and takes as many of them as are asked for, the first ones again and again."""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.boxes3d import frame_of, members, sorted_along_x
from arrayvision.cpu.threads import claim, parallel_for


@kernel
def sort_examples(points, points_bits, order, counts):
    for e in range(points.shape[0]):
        found = sorted_along_x(points[e], points_bits[e])
        for k in range(found.shape[0]):
            order[e, k] = found[k]
        counts[e] = found.shape[0]


@kernel
def sample(points, coordinates, feats, boxes, order, counts, out, empty, turn, grain, n):
    per, channels = boxes.shape[1], feats.shape[2]
    found = np.empty(points.shape[1], np.int32)
    start = claim(turn, grain)
    while start < n:
        for b in range(start, min(start + grain, n)):
            e, m = b // per, b % per
            rows = out[e, m]
            count = members(points[e], order[e, : counts[e]], frame_of(boxes[e, m]), found)
            empty[e, m] = count == 0
            for s in range(rows.shape[0]):
                row = rows[s]
                if count == 0:
                    for k in range(3 + channels):
                        row[k] = 0
                else:
                    i = found[s % count]
                    point, feat = coordinates[e, i], feats[e, i]
                    for k in range(3):
                        row[k] = point[k]
                    row = row[3:]
                    for k in range(channels):
                        row[k] = feat[k]
        start = claim(turn, grain)


def roipoint_pool3d(points, coordinates, feats, boxes, out, empty):
    """Fill out (B, M, S, 3 + C) and empty (B, M); points and boxes in float64, coordinates are the points in out's dtype."""
    examples, n = points.shape[:2]
    order, counts = np.empty((examples, n), np.int32), np.empty(examples, np.int32)
    sort_examples(points, points.view(np.uint64), order, counts)
    args = points, coordinates, feats, boxes, order, counts, out, empty
    parallel_for(sample, examples * boxes.shape[1], 1, *args, cost=n + out.shape[2] * (out.shape[3] + 5))
