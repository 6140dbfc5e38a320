"""Features of chosen points: a channel of a cloud a thread, or where clouds are stacked some rows of indices. Gradients are added
in the order of the indices by the one thread that holds a cloud's channels."""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.addresses import indices_at, listed, longs_at, numbers_at, room_at
from arrayvision.cpu.threads import claim, parallel_for

CHANNELS = 16  # of a task that adds gradients of stacked clouds


@kernel
def gather_some(features, indices, out, turn, grain, n):
    channels = features.shape[1]
    start = claim(turn, grain)
    while start < n:
        for row in range(start, min(start + grain, n)):
            x, at, y = (
                features[row // channels, row % channels],
                indices[row // channels],
                out[row // channels, row % channels],
            )
            for i in range(at.shape[0]):
                y[i] = x[np.uint32(at[i])]
        start = claim(turn, grain)


@kernel
def gather_at(features, indices, size, out, how):
    """All of them without threads, at addresses; whether the indices, of so many bytes each, are within [0, points). At `how` are
    the numbers of `small`."""
    numbers = longs_at(how, (4,))
    batch, channels, points, count = numbers[0], numbers[1], numbers[2], numbers[3]
    at = np.empty(batch * count, np.int32)
    fit = indices_at(indices, size, points, at)
    if fit:
        source, target = numbers_at(features, (batch, channels, points)), room_at(out, (batch, channels, count))
        n = batch * channels
        gather_some(source, at.reshape(batch, count), target, np.zeros(1, np.int64), n, n)
    return fit


def small(batch, channels, points, count):
    """The address of the numbers that `gather_at` reads, and the array that they are in."""
    return listed(batch, channels, points, count)


@kernel
def scatter_some(grad, indices, out, turn, grain, n):
    channels = grad.shape[1]
    start = claim(turn, grain)
    while start < n:
        for row in range(start, min(start + grain, n)):
            g, at, total = (
                grad[row // channels, row % channels],
                indices[row // channels],
                out[row // channels, row % channels],
            )
            for i in range(total.shape[0]):
                total[i] = 0
            for i in range(at.shape[0]):
                total[np.uint32(at[i])] += g[i]
        start = claim(turn, grain)


@kernel
def gather_rows_some(features, indices, starts, index_starts, out, turn, grain, n):
    cloud = 0
    start = claim(turn, grain)
    while start < n:
        for row in range(start, min(start + grain, n)):
            while row >= index_starts[cloud + 1]:
                cloud += 1
            first, size = starts[cloud], starts[cloud + 1] - starts[cloud]
            for c in range(out.shape[1]):
                for s in range(out.shape[2]):
                    i = indices[row, s]
                    out[row, c, s] = features[np.uint64(first + i), c] if 0 <= i < size else 0
        start = claim(turn, grain)


@kernel
def scatter_rows_some(grad, indices, starts, index_starts, blocks, out, turn, grain, n):
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            cloud, first = task // blocks, task % blocks * CHANNELS
            stop = min(first + CHANNELS, out.shape[1])
            for i in range(starts[cloud], starts[cloud + 1]):
                for c in range(first, stop):
                    out[i, c] = 0
            for row in range(index_starts[cloud], index_starts[cloud + 1]):
                for s in range(indices.shape[1]):
                    target = starts[cloud] + indices[row, s]
                    if starts[cloud] <= target < starts[cloud + 1]:
                        for c in range(first, stop):
                            out[np.uint64(target), c] += grad[row, c, s]
        start = claim(turn, grain)


def gather(features, indices, out):
    """Fill out (B, C, M) with features (B, C, N) at indices (B, M)."""
    batch, channels, count = out.shape
    if out.size:
        parallel_for(gather_some, batch * channels, max(1, 20_000 // count), features, indices, out, cost=count)


def scatter(grad, indices, out):
    """Fill out (B, C, N) with the gradient of `gather` for its features, given that of its result (B, C, M)."""
    batch, channels, size = out.shape
    if out.size:
        each = size + 2 * grad.shape[2]
        parallel_for(scatter_some, batch * channels, max(1, 20_000 // each), grad, indices, out, cost=each)


def _starts(counts):
    return np.concatenate([[0], np.cumsum(counts)])


def gather_rows(features, indices, counts, index_counts, out):
    """Fill out (M, C, S) with features (N, C) at indices (M, S): of clouds of so many points, and so many rows of indices. An
    index out of its cloud gives 0."""
    each = out.shape[1] * out.shape[2]
    if out.size:
        starts = _starts(counts), _starts(index_counts)
        parallel_for(gather_rows_some, len(out), max(1, 20_000 // each), features, indices, *starts, out, cost=2 * each)


def scatter_rows(grad, indices, counts, index_counts, out):
    """Fill out (N, C) with the gradient of `gather_rows` for its features, given that of its result (M, C, S)."""
    if out.size:
        blocks, starts = -(-out.shape[1] // CHANNELS), (_starts(counts), _starts(index_counts))
        tasks = len(counts) * blocks
        cost = (out.size + 3 * grad.size) // tasks
        parallel_for(scatter_rows_some, tasks, 1, grad, indices, *starts, blocks, out, cost=cost)
