"""voxelization: points by the key of their cell, sorted; voxels then gather their own points, each by one thread."""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.keys import keys_for, runs_by_first_row
from arrayvision.cpu.prefetch import AHEAD, prefetch
from arrayvision.cpu.threads import claim, parallel_for


@kernel
def along(p, low, size, cells):
    """The cell of a coordinate on an axis; -1 outside, and for NaN."""
    c = np.floor((p - low) / size)
    if not (c >= 0 and c < 2147483648.0):
        return np.int64(-1)
    c = np.int64(c)
    return c if c < cells else np.int64(-1)


@kernel
def cell_of(point, low, size, grid):
    """(x, y, z) of a point's cell; -1 on an axis where it is outside."""
    return (
        along(point[0], low[0], size[0], grid[0]),
        along(point[1], low[1], size[1], grid[1]),
        along(point[2], low[2], size[2], grid[2]),
    )


@kernel
def find_keys(points, low, size, grid, outside, keys, turn, grain, n):
    start = claim(turn, grain)
    while start < n:
        for i in range(start, min(start + grain, n)):
            x, y, z = cell_of(points[i], low, size, grid)
            key = outside
            if x >= 0 and y >= 0 and z >= 0:
                key = np.uint64((z * grid[1] + y) * grid[0] + x)
            keys[i] = key
        start = claim(turn, grain)


@kernel
def find_cells(points, low, size, grid, coors, turn, grain, n):
    start = claim(turn, grain)
    while start < n:
        for i in range(start, min(start + grain, n)):
            x, y, z = cell_of(points[i], low, size, grid)
            if x < 0 or y < 0 or z < 0:
                x, y, z = np.int64(-1), np.int64(-1), np.int64(-1)
            coors[i, 0], coors[i, 1], coors[i, 2] = z, y, x
        start = claim(turn, grain)


@kernel
def gather(points, low, size, grid, order, starts, lengths, voxels, coors, counts, turn, grain, n):
    slots, columns = voxels.shape[1], voxels.shape[2]
    start = claim(turn, grain)
    while start < n:
        for v in range(start, min(start + grain, n)):
            if v + AHEAD < n:
                prefetch(points, np.int64(order[starts[v + AHEAD]]))
            first, count, voxel = starts[v], min(lengths[v], slots), voxels[v]
            for s in range(count):
                point, row = points[order[first + s]], voxel[s]
                for k in range(columns):
                    row[k] = point[k]
            rest = voxel[count:]
            for s in range(rest.shape[0]):
                row = rest[s]
                for k in range(columns):
                    row[k] = 0
            x, y, z = cell_of(points[order[first]], low, size, grid)
            coors[v, 0], coors[v, 1], coors[v, 2] = z, y, x
            counts[v] = count
        start = claim(turn, grain)


def group(points, low, size, grid, most):
    """The points of each voxel: (all in some order, where a voxel's begin there, how many they are)."""
    n, cells = len(points), int(grid[0]) * int(grid[1]) * int(grid[2])
    keys = keys_for(n, cells)
    parallel_for(find_keys, n, 8192, points, low, size, grid, np.uint64(cells), keys, cost=8)
    return runs_by_first_row(keys, cells, most)


def fill(points, low, size, grid, order, starts, lengths, voxels, coors, counts):
    """Fill voxels (V, max_points, F) with their points and zeros, coors (V, 3) with (z, y, x), counts (V) with how many."""
    n, slots, columns = voxels.shape
    if n:
        values = max(1, slots * columns)
        grain = max(1, 32768 // values)
        parallel_for(
            gather, n, grain, points, low, size, grid, order, starts, lengths, voxels, coors, counts, cost=0.3 * values + 30
        )  # fmt: skip


def cells(points, low, size, grid, coors):
    """Fill coors (N, 3) with each point's cell (z, y, x), -1 for all three outside."""
    parallel_for(find_cells, len(points), 8192, points, low, size, grid, coors, cost=8)
