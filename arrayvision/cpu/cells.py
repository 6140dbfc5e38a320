"""Points in the cells of a grid over each cloud, by one counting sort: what is near is in a few cells side by side.

Which cell a coordinate is in never falls where the coordinate rises, roundings included, so the cells of a range's ends hold
all between. There are no more than two cells a point: an outlier widens them, and others then share a few.
"""

import math
from typing import NamedTuple

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.threads import claim, parallel_for
from arrayvision.cpu.vectors import WIDE

ALONG = 2.0**20  # cells along an axis at most


class Cells(NamedTuple):
    """Clouds of points (points, 3) in cells of a cube's form. Cloud b's cells are numbered from ``2 * (starts[b] + b)``."""

    starts: np.ndarray  # (clouds + 1,) where each cloud's points begin
    low: np.ndarray  # (clouds, 3) the grids' lower ends
    scale: np.ndarray  # (clouds,) how many cells there are along a unit
    counts: np.ndarray  # (clouds, 3) and along x, y and z; 0 where no point is finite
    begins: np.ndarray  # (cells + 1,) where each cell's points begin; the next cell's is their end
    columns: np.ndarray  # (3, points + WIDE) their coordinates
    names: np.ndarray  # (points,) and their indices


@kernel(inline="always")
def along(v, low, scale, count):
    """The cell of a coordinate: the first or the last one if it is outside."""
    t = (v - low) * scale
    return np.int64(min(t, np.float64(count - 1))) if t > 0 else np.int64(0)


@kernel(_nrt=False)
def place_in_cells(points, side, numbers, starts, low, scale, counts, begins, columns, names, turn, grain, n):
    infinite = points.dtype.type(math.inf)
    start = claim(turn, grain)
    while start < n:
        for cloud in range(start, min(start + grain, n)):
            first, stop = starts[cloud], starts[cloud + 1]
            own, own_numbers = points[first:stop], numbers[first:stop]
            x0 = y0 = z0 = infinite
            x1 = y1 = z1 = -infinite
            for i in range(own.shape[0]):
                x, y, z = own[i, 0], own[i, 1], own[i, 2]
                if (x - x) + (y - y) + (z - z) == 0:
                    x0, y0, z0, x1, y1, z1 = min(x0, x), min(y0, y), min(z0, z), max(x1, x), max(y1, y), max(z1, z)
            low[cloud, 0], low[cloud, 1], low[cloud, 2], scale[cloud] = x0, y0, z0, 0
            nx = ny = nz = 0 if x1 < x0 else 1
            dx, dy, dz = np.float64(x1 - x0), np.float64(y1 - y0), np.float64(z1 - z0)
            width = max(side, max(dx, max(dy, dz)) / ALONG)
            if nx and 0 < width < math.inf:
                while True:
                    nx, ny, nz = 1 + np.int64(dx / width), 1 + np.int64(dy / width), 1 + np.int64(dz / width)
                    if nx * ny * nz <= 2 * own.shape[0]:
                        break
                    width *= 1.25
                scale[cloud] = 1 / width
            counts[cloud, 0], counts[cloud, 1], counts[cloud, 2] = nx, ny, nz
            # Behind each cell's place is first how many points it has, then where they end.
            begin = begins[2 * (first + cloud) :]
            for c in range(nx * ny * nz + 1):
                begin[c] = 0
            for i in range(own.shape[0]):
                x, y, z = own[i, 0], own[i, 1], own[i, 2]
                own_numbers[i] = -1
                if (x - x) + (y - y) + (z - z) == 0:
                    i0, i1 = along(x, x0, scale[cloud], nx), along(y, y0, scale[cloud], ny)
                    c = (along(z, z0, scale[cloud], nz) * ny + i1) * nx + i0
                    own_numbers[i] = c
                    begin[c + 1] += 1
            begin[0], total = first, first
            for c in range(nx * ny * nz):
                here = begin[c + 1]
                begin[c + 1] = total
                total += here
            for i in range(own.shape[0]):
                c = own_numbers[i]
                if c >= 0:
                    k = begin[c + 1]
                    begin[c + 1] = k + 1
                    columns[0, k], columns[1, k], columns[2, k], names[k] = own[i, 0], own[i, 1], own[i, 2], i
        start = claim(turn, grain)


def in_cells(points, starts, side):
    """The `Cells` of clouds: of points (points, 3), those of cloud b from ``starts[b]`` to ``starts[b + 1]``. A cell's side is
    this or, where there would be too many, longer."""
    clouds, n, real = len(starts) - 1, len(points), points.dtype
    cells = Cells(
        starts, np.empty((clouds, 3), real), np.empty(clouds, real), np.empty((clouds, 3), np.int64),
        np.empty(2 * (n + clouds), np.int32), np.empty((3, n + WIDE), real), np.empty(n, np.int32),
    )  # fmt: skip
    numbers = np.empty(n, np.int32)
    parallel_for(place_in_cells, clouds, 1, points, side, numbers, *cells, cost=6 * n // max(clouds, 1))
    return cells
