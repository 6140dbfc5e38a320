"""dynamic_scatter: points by the key of their voxel, sorted; each voxel reduces its own points in their order, in float64."""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.keys import bit_widths, fields_of, keys_for, pack, rising_runs, unpack
from arrayvision.cpu.prefetch import AHEAD, prefetch
from arrayvision.cpu.runs import average, greatest
from arrayvision.cpu.threads import claim, parallel_for


@kernel
def add(feats, keys, order, starts, fields, mean, out, voxel_coors, voxels, counts, turn, grain, n):
    channels, wanted = feats.shape[1], voxels.shape[0] > 0
    start = claim(turn, grain)
    while start < n:
        for v in range(start, min(start + grain, n)):
            first, stop = np.int64(starts[v]), np.int64(starts[v + 1])
            for k in range(first, stop):
                if k + AHEAD < order.shape[0]:
                    prefetch(feats, np.int64(order[k + AHEAD]))
                if wanted:
                    voxels[order[k]] = v
            average(feats, order, first, stop, np.float64(stop - first) if mean else 1.0, out, v, channels)
            unpack(keys[first], fields, voxel_coors, v)
            counts[v] = stop - first
        start = claim(turn, grain)


@kernel
def choose(feats, keys, order, starts, fields, out, voxel_coors, voxels, counts, argmax, turn, grain, n):
    channels, wanted, by_whom = feats.shape[1], voxels.shape[0] > 0, argmax.shape[0] > 0
    start = claim(turn, grain)
    while start < n:
        for v in range(start, min(start + grain, n)):
            first, stop = np.int64(starts[v]), np.int64(starts[v + 1])
            for k in range(first, stop):
                if k + AHEAD < order.shape[0]:
                    prefetch(feats, np.int64(order[k + AHEAD]))
                if wanted:
                    voxels[order[k]] = v
            greatest(feats, order, first, stop, out, argmax, v, by_whom, channels)
            unpack(keys[first], fields, voxel_coors, v)
            counts[v] = stop - first
        start = claim(turn, grain)


@kernel
def spread_rows(grad, voxels, counts, mean, out, turn, grain, n):
    start = claim(turn, grain)
    while start < n:
        for i in range(start, min(start + grain, n)):
            v, row = voxels[i], out[i]
            if v < 0:
                for c in range(row.shape[0]):
                    row[c] = 0
            else:
                by, of = grad.dtype.type(counts[v]) if mean else grad.dtype.type(1), grad[v]
                for c in range(row.shape[0]):
                    row[c] = of[c] / by
        start = claim(turn, grain)


@kernel
def spread_chosen(grad, argmax, out, turn, grain, n):
    start = claim(turn, grain)
    while start < n:
        for v in range(start, min(start + grain, n)):
            for c in range(grad.shape[1]):
                out[argmax[v, c], c] = grad[v, c]  # a point is of one voxel
        start = claim(turn, grain)


def group(coors):
    """The points of each voxel by rising coordinates: ((their sorted keys, all in that order, where a voxel's begin, the fields
    of a key), how many voxels); None if the keys would have more than 62 bits."""
    widths = bit_widths(coors)
    if sum(widths) > 62:
        return None
    cells, fields = 1 << sum(widths), fields_of(widths)
    keys = keys_for(len(coors), cells)
    parallel_for(pack, len(coors), 8192, coors, fields, np.uint64(cells), keys, cost=3)
    keys, order, starts = rising_runs(keys, cells)
    return (keys, order, starts, fields), len(starts) - 1


def reduce(feats, coors, groups, kind, out, voxel_coors, voxels, counts, argmax):
    """Fill out (V, C), voxel_coors (V, D), voxels (N, or 0 if not wanted) with each point's, counts (V), and for "max" argmax
    (V, C), or without rows if not wanted."""
    voxels.fill(-1)
    n = len(out)
    grain, cost = max(1, 16384 // (feats.shape[1] + 1)), 2 * feats.shape[1] + 20
    if kind == "max":
        args = feats, *groups, out, voxel_coors, voxels, counts, argmax
        parallel_for(choose, n, grain, *args, cost=cost)
    else:
        args = feats, *groups, kind == "mean", out, voxel_coors, voxels, counts
        parallel_for(add, n, grain, *args, cost=cost)


def backward(grad, voxels, counts, argmax, kind, out):
    """Fill out (N, C) with the gradient for the points from that for their voxels, grad (V, C)."""
    channels = max(1, grad.shape[1])
    if kind == "max":
        out.fill(0)
        parallel_for(spread_chosen, len(grad), max(1, 16384 // channels), grad, argmax, out, cost=2 * channels)
    else:
        args = grad, voxels, counts, kind == "mean", out
        parallel_for(spread_rows, len(voxels), max(1, 16384 // channels), *args, cost=channels)
