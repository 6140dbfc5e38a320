"""Upsampling, filtering and downsampling of planes, a band at a time (`cpu/fir.py`)."""

from arrayvision.cpu import fir, kernel
from arrayvision.cpu.fir import filter_rows, zeros
from arrayvision.cpu.threads import claim, parallel_for

MANY = 64  # bands of which a thread takes several that follow each other


@kernel(fastmath=fir.SUMS)
def bands(way, x, out, height, turn, grain, n):
    rows, columns = out.shape[1], out.shape[2]
    per_plane = (rows + height - 1) // height
    memory, source, target = zeros(way.space, x.dtype), x.reshape(-1), out.reshape(-1)
    start = claim(turn, grain)
    while start < n:
        for block in range(start, min(start + grain, n)):
            plane, top = block // per_plane, block % per_plane * height
            origin, many, at = -plane * x.shape[1], min(height, rows - top), (plane * rows + top) * columns
            filter_rows(
                way, memory, source, origin, x.shape[1], x.shape[2], x.dtype.type(0), top, many, target, at, columns
            )
        start = claim(turn, grain)


def upfirdn2d(x, weights, flip, gain, up, down, before, out):
    """Fill out (P, height, width) from x (P, H, W); `up`, `down` and `before` are for (rows, columns)."""
    planes, rows, columns = out.shape
    if out.size:
        way = fir.way(weights, flip, gain, up, down, before, (rows, columns), x.shape[2])
        height = fir.band(way)
        area = height * columns
        blocks = planes * -(-rows // height)
        grain = max(4 if blocks >= MANY else 1, 8192 // area)  # a thread has what it asked for
        parallel_for(bands, blocks, grain, way, x, out, height, cost=area * fir.cost(way))
