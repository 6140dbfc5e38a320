"""roiaware_pool3d: each box finds its points, and adds each, in the points' order, to the cell of the box that it is in."""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.boxes3d import frame_of, members, sorted_along_x, turned
from arrayvision.cpu.threads import claim, parallel_for

CHANNELS = 16  # of the gradient, that a thread adds up


@kernel
def cell_along(distance, size, cells):
    """The cell at a distance from a box's side, which is of that size."""
    c = np.floor(distance / (size / cells))
    if not c > 0:  # also of a box without a height
        return np.int64(0)
    return np.int64(c) if c < cells else np.int64(cells - 1)


@kernel
def cell_of(frame, x, y, z, nx, ny, nz):
    """The number of a point's cell in the box, z running fastest."""
    lx, ly = turned(frame, x, y)
    cx = cell_along(lx + frame[3], 2 * frame[3], nx)
    cy = cell_along(ly + frame[4], 2 * frame[4], ny)
    return (cx * ny + cy) * nz + cell_along(z - frame[2], 2 * frame[5], nz)


@kernel
def pool(rois, points, order, feats, nx, ny, nz, most, mean, out, counts, argmax, turn, grain, n):
    channels = feats.shape[1]
    found = np.empty(order.shape[0], np.int32)
    start = claim(turn, grain)
    while start < n:
        for b in range(start, min(start + grain, n)):
            pooled, count, which = out[b], counts[b], argmax[0 if mean else b]
            for c in range(count.shape[0]):
                count[c] = 0
                for k in range(channels):
                    pooled[c, k] = 0
                if not mean:
                    for k in range(channels):
                        which[c, k] = -1
            frame = frame_of(rois[b])
            for m in range(members(points, order, frame, found)):
                i = found[m]
                c = cell_of(frame, points[i, 0], points[i, 1], points[i, 2], nx, ny, nz)
                if count[c] == most:
                    continue
                feat, row, first = feats[i], pooled[c], count[c] == 0
                count[c] += 1
                if mean:
                    for k in range(channels):
                        row[k] += feat[k]
                else:
                    chosen = which[c]
                    for k in range(channels):
                        value = feat[k]
                        if first or value > row[k] or (value != value and row[k] == row[k]):  # a NaN is above all
                            row[k], chosen[k] = value, i
            if mean:
                for c in range(count.shape[0]):
                    if count[c] > 1:
                        by = out.dtype.type(count[c])
                        for k in range(channels):
                            pooled[c, k] /= by
        start = claim(turn, grain)


@kernel
def spread(rois, points, order, nx, ny, nz, most, grad, counts, out, turn, grain, n):
    seen, found = np.empty(counts.shape[1], np.int32), np.empty(order.shape[0], np.int32)
    start = claim(turn, grain)
    while start < n:
        stop = min(start + grain, n)
        for b in range(rois.shape[0]):
            for c in range(seen.shape[0]):
                seen[c] = 0
            frame = frame_of(rois[b])
            for m in range(members(points, order, frame, found)):
                i = found[m]
                c = cell_of(frame, points[i, 0], points[i, 1], points[i, 2], nx, ny, nz)
                if seen[c] == most:
                    continue
                seen[c] += 1
                by = grad.dtype.type(max(1, counts[b, c]))
                for k in range(start, stop):
                    out[i, k] += grad[b, c, k] / by
        start = claim(turn, grain)


@kernel
def spread_chosen(grad, argmax, out, turn, grain, n):
    start = claim(turn, grain)
    while start < n:
        stop = min(start + grain, n)
        for b in range(grad.shape[0]):
            for c in range(grad.shape[1]):
                for k in range(start, stop):
                    i = argmax[b, c, k]
                    if i >= 0:
                        out[i, k] += grad[b, c, k]
        start = claim(turn, grain)


def forward(rois, points, feats, size, most, mean, out, counts, argmax):
    """Fill out (K, cells, C), counts (K, cells) and, unless `mean`, argmax (K, cells, C)."""
    n, cells, channels = out.shape
    order = sorted_along_x(points, points.view(np.uint64))
    if mean:
        argmax = np.empty((1, 0, 0), np.int32)
    args = rois, points, order, feats, *size, most, mean, out, counts, argmax
    parallel_for(pool, n, 1, *args, cost=cells * (channels + 1) + len(points))


def backward(grad, rois, points, size, most, mean, counts, argmax, out):
    """Fill out (N, C) with the gradient for the features, from that of the result, grad (K, cells, C)."""
    out.fill(0)
    channels, cost = grad.shape[2], grad.shape[0] * grad.shape[1]
    if mean:
        order = sorted_along_x(points, points.view(np.uint64))
        args = rois, points, order, *size, most, grad, counts, out
        parallel_for(spread, channels, CHANNELS, *args, cost=cost)
    else:
        parallel_for(spread_chosen, channels, CHANNELS, grad, argmax, out, cost=cost)
