"""The three nearest points of each point: many targets side by side in vectors, each source compared with all of them.

Everything that a block of targets needs lies in one array at constant offsets: LLVM then needs no checks of whether arrays
overlap, which would take longer than the work. Indices are kept as floats there, exact below 2**24.
"""

import math

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.threads import claim, parallel_for

WIDTH = 64  # targets side by side


@kernel
def scan(target, source, distances, indices, blocks, turn, grain, n):
    count, points = target.shape[1], source.shape[1]
    s = np.empty(9 * WIDTH, distances.dtype)  # x, y, z; the three least squares of distances; their indices
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            cloud, first = task // blocks, task % blocks * WIDTH
            some, known = target[cloud], source[cloud]
            size = min(WIDTH, count - first)
            for i in range(WIDTH):
                row = first + min(i, size - 1)
                s[i], s[WIDTH + i], s[2 * WIDTH + i] = some[row, 0], some[row, 1], some[row, 2]
                s[3 * WIDTH + i] = s[4 * WIDTH + i] = s[5 * WIDTH + i] = math.inf
                s[6 * WIDTH + i] = s[7 * WIDTH + i] = s[8 * WIDTH + i] = 0
            for p in range(points):
                x, y, z, index = known[p, 0], known[p, 1], known[p, 2], s.dtype.type(p)
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
            for i in range(size):
                found, near = distances[cloud, first + i], indices[cloud, first + i]
                other = 0  # the lowest index that isn't found yet: such points are infinitely far
                for k in range(3):
                    found[k], near[k] = math.sqrt(s[(3 + k) * WIDTH + i]), np.int32(s[(6 + k) * WIDTH + i])
                    if found[k] == math.inf:
                        j = 0
                        while j < k:
                            j += 1
                            if near[j - 1] == other:
                                other, j = other + 1, 0
                        near[k] = other if other < points else 0
                        other += 1
        start = claim(turn, grain)


def nearest(target, source, distances, indices):
    """Fill distances and indices (B, N, 3) with those of the points of source (B, M, 3) nearest to target (B, N, 3)."""
    clouds, count = target.shape[:2]
    blocks = -(-count // WIDTH)
    if clouds and count:
        parallel_for(
            scan, clouds * blocks, 1, target, source, distances, indices, blocks, cost=20 * WIDTH + 10 * source.shape[1]
        )
