"""Upsampling, filtering and downsampling of planes, a band at a time (`cpu/fir.py`)."""

import numpy as np

from arrayvision.cpu import fir, kernel
from arrayvision.cpu.fir import filter_band, room
from arrayvision.cpu.threads import claim, parallel_for


@kernel
def bands(first, second, two, x, out, per_plane, turn, grain, n):
    height, width, rows, columns = x.shape[1], x.shape[2], out.shape[1], out.shape[2]
    zero, source, target = first.weights.dtype.type(0), x.reshape(-1), out.reshape(-1)
    tall = second.rows.outputs * second.rows.phases
    mine, next_ = room(first), room(second)
    between = np.empty(tall * width if two else 0, first.weights.dtype)
    start = claim(turn, grain)
    while start < n:
        for block in range(start, min(start + grain, n)):
            plane, band = block // per_plane, block % per_plane
            top = band * tall
            many, at = min(tall, rows - top), (plane * rows + top) * columns
            if two:
                filter_band(first, source, -plane * height, height, width, zero, band, mine, between, 0, many, width)
                filter_band(second, between, top, rows, width, zero, band, next_, target, at, many, columns)
            else:
                filter_band(first, source, -plane * height, height, width, zero, band, mine, target, at, many, columns)
        start = claim(turn, grain)


def upfirdn2d(x, weights, flip, gain, up, down, before, out):
    """Fill out (P, height, width) from x (P, H, W); `up`, `down` and `before` are for (rows, columns)."""
    planes, rows, columns = out.shape
    if out.size:
        height = fir.height(up[0], down[0], rows, columns)
        first, second, two = fir.plans(weights, flip, gain, up, down, before, (height, columns, x.shape[2]))
        per_plane, area = -(-rows // height), height * columns
        cost = area * (0.3 + 0.05 * (fir.terms(first) + fir.terms(second) * two))
        parallel_for(bands, planes * per_plane, max(1, 8192 // area), first, second, two, x, out, per_plane, cost=cost)
