"""Running maxima of maps, side by side in their columns: where they run along rows, a few rows are transposed first.

`rising` says that they run with the index.
"""

import math

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.addresses import listed, longs_at, numbers_at, room_at
from arrayvision.cpu.threads import claim, parallel_for
from arrayvision.cpu.transposes import transpose

ROWS = 16  # that are transposed together


@kernel
def pool_columns(x, rising, out):
    height = x.shape[0]
    for step in range(height):
        y = step if rising else height - 1 - step
        before = y if step == 0 else y - 1 if rising else y + 1
        values, best, target = x[y], x[y] if step == 0 else out[before], out[y]
        for k in range(target.shape[0]):
            v, b = values[k], best[k]
            target[k] = v if (v >= b) | (v != v) else b


@kernel
def collect_columns(grad, x, pooled, rising, out):
    """Sums run back, and stop where a maximum is: where input and result are one number, or the input is NaN."""
    height = x.shape[0]
    for step in range(height):
        y = height - 1 - step if rising else step
        target = out[y]
        waiting = target if step == height - 1 else out[y - 1 if rising else y + 1]  # for what has found no maximum
        g, values, best = grad[y], x[y], pooled[y]
        for k in range(target.shape[0]):
            v, total = values[k], g[k] if step == 0 else target[k] + g[k]
            own = (v == best[k]) | (v != v)
            waiting[k] = 0 if own else total
            target[k] = total if own else 0


@kernel
def carry_columns(tangent, x, pooled, rising, out):
    height = x.shape[0]
    for step in range(height):
        y = step if rising else height - 1 - step
        moves, values, best, target = tangent[y], x[y], pooled[y], out[y]
        before = moves if step == 0 else out[y - 1 if rising else y + 1]
        for k in range(target.shape[0]):
            v, moved, stays = values[k], moves[k], before[k]
            target[k] = moved if (v == best[k]) | (v != v) else stays


@kernel
def pool(x, vertical, rising, out, turn, grain, n):
    height, width = x.shape[1:]
    a, b = np.zeros((width, ROWS), out.dtype), np.empty((width, ROWS), out.dtype)
    start = claim(turn, grain)
    while start < n:
        for plane in range(start, min(start + grain, n)):
            if vertical:
                pool_columns(x[plane], rising, out[plane])
                continue
            for y in range(0, height, ROWS):
                transpose(x[plane, y : y + ROWS], a)
                pool_columns(a, rising, b)
                rows = out[plane, y : y + ROWS]
                transpose(b[:, : rows.shape[0]], rows)
        start = claim(turn, grain)


@kernel
def pool_at(x, out, how):
    """All of them without threads, at addresses; at `how` is what `small` says."""
    numbers = longs_at(how, (5,))
    shape, vertical, rising = (numbers[0], numbers[1], numbers[2]), numbers[3] != 0, numbers[4] != 0
    pool(numbers_at(x, shape), vertical, rising, room_at(out, shape), np.zeros(1, np.int64), shape[0], shape[0])


@kernel
def along_maxima(moving, x, pooled, vertical, rising, back, out, turn, grain, n):
    """`collect_columns` of gradients, or `carry_columns` of tangents if not `back`."""
    height, width = x.shape[1:]
    a, b = np.zeros((width, ROWS), out.dtype), np.zeros((width, ROWS), out.dtype)
    c, d = np.zeros((width, ROWS), out.dtype), np.empty((width, ROWS), out.dtype)
    start = claim(turn, grain)
    while start < n:
        for plane in range(start, min(start + grain, n)):
            if vertical:
                if back:
                    collect_columns(moving[plane], x[plane], pooled[plane], rising, out[plane])
                else:
                    carry_columns(moving[plane], x[plane], pooled[plane], rising, out[plane])
                continue
            for y in range(0, height, ROWS):
                transpose(moving[plane, y : y + ROWS], a)
                transpose(x[plane, y : y + ROWS], b)
                transpose(pooled[plane, y : y + ROWS], c)
                if back:
                    collect_columns(a, b, c, rising, d)
                else:
                    carry_columns(a, b, c, rising, d)
                rows = out[plane, y : y + ROWS]
                transpose(d[:, : rows.shape[0]], rows)
        start = claim(turn, grain)


def small(shape, mode):
    """The address of the numbers that `pool_at` reads, and the array that they are in."""
    return listed(math.prod(shape[:2]), *shape[2:], *_runs(mode))


def _runs(mode):
    return mode in ("top", "bottom"), mode in ("bottom", "right")


def _run(kernel, arrays, mode, out, *how):
    height, width = out.shape[2:]
    n = math.prod(out.shape[:2])
    if out.size:
        planes = [x.reshape(n, height, width) for x in (*arrays, out)]
        grain = max(1, 16384 // (height * width))
        parallel_for(kernel, n, grain, *planes[:-1], *_runs(mode), *how, planes[-1], cost=height * width)


def forward(x, mode, out):
    """Fill out (N, C, H, W) with the running maxima of x."""
    _run(pool, (x,), mode, out)


def backward(grad, x, pooled, mode, out):
    """Fill out (N, C, H, W) with the gradient for x."""
    _run(along_maxima, (grad, x, pooled), mode, out, True)


def tangent(tangent, x, pooled, mode, out):
    """Fill out (N, C, H, W) with the tangent where each maximum came from."""
    _run(along_maxima, (tangent, x, pooled), mode, out, False)
