"""The nearest points of points, in the way that is soonest done: by a tree (`cpu/tree.py`); where there are few queries, by
looking at all points of each; for up to three neighbours in a small cloud, by looking at all points of many queries at once.

All give the same, to the bit. In the last, everything that a block of queries needs lies in one array at constant offsets:
LLVM then needs no checks of whether arrays overlap, which would take longer than the work.
"""

import math

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.threads import claim, parallel_for
from arrayvision.cpu.tree import build, fill, search

WIDTH = 64  # queries side by side


@kernel
def scan(queries, points, found, near, blocks, turn, grain, n):
    count, dimensions, size, wanted = queries.shape[1], queries.shape[2], points.shape[1], found.shape[2]
    seen = np.empty(wanted, np.bool_)
    s = np.empty(9 * WIDTH, found.dtype)  # x, y, z; the least squares; their indices, exact below 2**24
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            cloud, first = task // blocks, task % blocks * WIDTH
            some = min(WIDTH, count - first)
            for i in range(WIDTH):
                row = first + min(i, some - 1)
                s[i] = queries[cloud, row, 0]
                s[WIDTH + i] = queries[cloud, row, 1] if dimensions > 1 else 0
                s[2 * WIDTH + i] = queries[cloud, row, 2] if dimensions > 2 else 0
                s[3 * WIDTH + i] = s[4 * WIDTH + i] = s[5 * WIDTH + i] = math.inf
                s[6 * WIDTH + i] = s[7 * WIDTH + i] = s[8 * WIDTH + i] = 0
            for p in range(size):
                zero = s.dtype.type(0)
                x, y = points[cloud, p, 0], points[cloud, p, 1] if dimensions > 1 else zero
                z, index = points[cloud, p, 2] if dimensions > 2 else zero, s.dtype.type(p)
                if wanted == 1:
                    for i in range(WIDTH):
                        dx, dy, dz = s[i] - x, s[WIDTH + i] - y, s[2 * WIDTH + i] - z
                        d, d0 = dx * dx + dy * dy + dz * dz, s[3 * WIDTH + i]
                        s[6 * WIDTH + i] = index if d < d0 else s[6 * WIDTH + i]
                        s[3 * WIDTH + i] = d if d < d0 else d0
                    continue
                for i in range(WIDTH):
                    dx, dy, dz = s[i] - x, s[WIDTH + i] - y, s[2 * WIDTH + i] - z
                    d = dx * dx + dy * dy + dz * dz
                    d0, d1, d2 = s[3 * WIDTH + i], s[4 * WIDTH + i], s[5 * WIDTH + i]
                    i0, i1, i2 = s[6 * WIDTH + i], s[7 * WIDTH + i], s[8 * WIDTH + i]
                    s[5 * WIDTH + i] = d1 if d < d1 else (d if d < d2 else d2)
                    s[8 * WIDTH + i] = i1 if d < d1 else (index if d < d2 else i2)
                    s[4 * WIDTH + i] = d0 if d < d0 else (d if d < d1 else d1)
                    s[7 * WIDTH + i] = i0 if d < d0 else (index if d < d1 else i1)
                    s[3 * WIDTH + i] = d if d < d0 else d0
                    s[6 * WIDTH + i] = index if d < d0 else i0
            for i in range(some):
                squares, index = found[cloud, first + i], near[cloud, first + i]
                for k in range(wanted):
                    squares[k], index[k] = s[(3 + k) * WIDTH + i], np.int32(s[(6 + k) * WIDTH + i])
                if squares[wanted - 1] == math.inf:
                    fill(squares, index, size, seen)
        start = claim(turn, grain)


def soonest(count, size, wanted, dimensions):
    """How to find the `wanted` nearest of `size` points for `count` queries: "scan" all for many queries at once, make a "tree"
    or do without (a "bare" one). What each takes, in nanoseconds, is measured."""
    pair, query = (0.06, 150) if wanted == 1 else (0.15, 260)
    if wanted <= 3 and dimensions <= 3 and size < 2**24 and pair * max(count, WIDTH) * size < 75 * size + query * count:
        return "scan"
    return "bare" if count * (0.2 * size + 40 * wanted) < 68 * size else "tree"


def nearest(queries, points, found, near):
    """Fill found and near (B, N, k) with squares of distances to, and indices of, the k points of (B, M, D) that are nearest
    to each query of (B, N, D). Of equal squares the lower index is nearer; a square that is NaN or too large is infinite.
    Missing points are infinitely far and have index 0."""
    (clouds, count, wanted), size, dimensions = found.shape, points.shape[1], points.shape[2]
    if not found.size:
        return
    way = soonest(count, size, wanted, dimensions)
    if way == "scan":
        blocks = -(-count // WIDTH)
        cost = WIDTH * (20 + 0.15 * size)
        parallel_for(scan, clouds * blocks, 1, queries, points, found, near, blocks, cost=cost)
        return
    starts = np.arange(clouds + 1) * count
    flat = queries.reshape(clouds * count, dimensions)
    how = "halved" if way == "tree" else "bare"
    tree = build(points.reshape(clouds * size, dimensions), np.arange(clouds + 1) * size, how)
    search(tree, flat, starts, found.reshape(-1, wanted), near.reshape(-1, wanted))
