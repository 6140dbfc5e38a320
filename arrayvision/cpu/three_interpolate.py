"""The three nearest points of each point, by a tree; weighted sums of features, whose weights serve a block's channels."""

import numpy as np

from arrayvision.cpu import kernel, neighbours
from arrayvision.cpu.threads import claim, parallel_for

WIDTH = 256  # points of a block


def nearest(target, source, distances, indices):
    """Fill distances and indices (B, N, 3) with those of the points of source (B, M, 3) nearest to target (B, N, 3)."""
    neighbours.nearest(target, source, distances, indices)
    np.sqrt(distances, out=distances)


@kernel
def sums(features, indices, weight, out, blocks, turn, grain, n):
    channels, count = out.shape[1], out.shape[2]
    at, share = np.empty((3, WIDTH), np.uint32), np.empty((3, WIDTH), weight.dtype)
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            b, first = task // blocks, task % blocks * WIDTH
            size = min(WIDTH, count - first)
            for k in range(3):
                for i in range(size):
                    at[k, i], share[k, i] = indices[b, first + i, k], weight[b, first + i, k]
            at0, at1, at2, share0, share1, share2 = at[0], at[1], at[2], share[0], share[1], share[2]
            for c in range(channels):
                x, y = features[b, c], out[b, c, first : first + size]
                for i in range(y.shape[0]):
                    y[i] = share0[i] * x[at0[i]] + share1[i] * x[at1[i]] + share2[i] * x[at2[i]]
        start = claim(turn, grain)


@kernel
def spread_rows(grad, indices, weight, out, turn, grain, n):
    channels, size = out.shape[1], out.shape[2]
    start = claim(turn, grain)
    while start < n:
        for row in range(start, min(start + grain, n)):
            b, c = row // channels, row % channels
            g, near, share, total = grad[b, c], indices[b], weight[b], out[b, c]
            for i in range(size):
                total[i] = 0
            for i in range(g.shape[0]):
                for k in range(3):
                    total[np.uint32(near[i, k])] += share[i, k] * g[i]
        start = claim(turn, grain)


def interpolate(features, indices, weight, out):
    """Fill out (B, C, N) with sums of features (B, C, M) at indices (B, N, 3) by weight (B, N, 3)."""
    batch, channels, count = out.shape
    blocks = -(-count // WIDTH)
    if out.size:
        parallel_for(sums, batch * blocks, 1, features, indices, weight, out, blocks, cost=WIDTH * (5 + 1.5 * channels))


def spread(grad, indices, weight, out):
    """Fill out (B, C, M) with the gradient of `interpolate` for its features, given that of its result (B, C, N)."""
    batch, channels, size = out.shape
    if out.size:
        each = size + 4 * grad.shape[2]
        parallel_for(spread_rows, batch * channels, max(1, 20_000 // each), grad, indices, weight, out, cost=each)
