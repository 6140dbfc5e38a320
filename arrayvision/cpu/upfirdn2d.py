"""Upsampling, filtering and downsampling of planes, a band at a time (`cpu/fir.py`)."""

import numpy as np

from arrayvision.cpu import fir, kernel
from arrayvision.cpu.fir import filter_band, room
from arrayvision.cpu.threads import claim, parallel_for


@kernel
def bands(first, second, steps, x, out, per_plane, turn, grain, n):
    height, width, rows, columns = x.shape[1], x.shape[2], out.shape[1], out.shape[2]
    tall = second.rows.outputs * second.rows.phases
    mine, other = room(first), room(second)
    between = np.empty(tall * width if steps == 2 else 0, x.dtype)
    start = claim(turn, grain)
    while start < n:
        for block in range(start, min(start + grain, n)):
            plane, band = block // per_plane, block % per_plane
            top = band * tall
            many = min(tall, rows - top)
            for step in range(steps):  # down the columns, and along the rows; or both at once
                last = step == steps - 1
                plan, memory = (first, mine) if step == 0 else (second, other)
                source, origin, high = (x.reshape(-1), -plane * height, height) if step == 0 else (between, top, rows)
                target, at, wide = (
                    (out.reshape(-1), (plane * rows + top) * columns, columns) if last else (between, 0, width)
                )
                filter_band(plan, source, origin, high, width, x.dtype.type(0), band, memory, target, at, many, wide)
        start = claim(turn, grain)


def upfirdn2d(x, weights, flip, gain, up, down, before, out):
    """Fill out (P, height, width) from x (P, H, W); `up`, `down` and `before` are for (rows, columns)."""
    planes, rows, columns = out.shape
    if out.size:
        height = fir.height(up[0], down[0], rows, columns)
        first, second, steps = fir.plans(weights, flip, gain, up, down, before, (height, columns, x.shape[2]))
        per_plane, area = -(-rows // height), height * columns
        cost = area * (0.5 + 0.06 * (fir.terms(first) + fir.terms(second) * (steps - 1)))
        parallel_for(
            bands, planes * per_plane, max(1, 8192 // area), first, second, steps, x, out, per_plane, cost=cost
        )
