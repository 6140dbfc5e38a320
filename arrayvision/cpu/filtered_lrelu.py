"""Leaky ReLUs between two filters, a band of output rows at a time: what lies between them stays in the second cache."""

import numpy as np

from arrayvision.cpu import fir, kernel
from arrayvision.cpu.fir import filter_rows, zeros
from arrayvision.cpu.threads import claim, parallel_for

BETWEEN = 98304  # numbers between the filters, about
ZERO = np.float32(0)  # takes the other operand's type


@kernel(inline="always")
def bend(t, high, low, clamp):
    """t = a leaky ReLU of slopes `high` and `low`, clamped."""
    for i in range(t.shape[0]):
        v = t[i] * (high if t[i] > ZERO else low)
        v = clamp if v > clamp else v
        t[i] = -clamp if v < -clamp else v


@kernel(inline="always")
def slope(x, t, high, low, clamp):
    """x *= the slope of that at t."""
    for i in range(x.shape[0]):
        s = high if t[i] > ZERO else low
        x[i] = ZERO if abs(t[i] * s) > clamp else x[i] * s


@kernel(fastmath=fir.SUMS)
def bands(ways, spaces, phases, a, x, bias, size, numbers, third, out, height, turn, grain, n):
    """out = the third way's filter of what comes by the first way from `a`, bent, or, where there is an x, times the slope at
    what comes from x by the second. `spaces` are the ways' memory; `phases` those of the first two ways' rows; `third` has the
    third filter's factor, padding and size down the columns."""
    high, low, clamp = numbers
    middle, wide = size
    down, before, taps = third
    rows, columns = out.shape[1], out.shape[2]
    per_plane, alone, zero = (rows + height - 1) // height, x.shape[1] == 0, out.dtype.type(0)
    memory = zeros(spaces[0] + spaces[1] + spaces[2], out.dtype)
    most = (height - 1) * down + taps + max(phases[0], phases[1])
    between, begun = np.empty(2 * most * wide, out.dtype).reshape(2, -1), np.empty(2, np.int64)
    begun[0] = begun[1] = 0
    start = claim(turn, grain)
    while start < n:
        for block in range(start, min(start + grain, n)):
            plane, top = block // per_plane, block % per_plane * height
            many = min(height, rows - top)
            first = max(0, top * down - before)
            last = max(first, min(middle, (top + many - 1) * down - before + taps))
            own = 0
            for stage in range(3):
                own += spaces[stage - 1] if stage else 0
                if stage == 1 and alone:
                    continue
                given = x if stage == 1 else a
                if stage < 2:
                    begun[stage] = first - first % phases[stage]
                    b = bias[plane % bias.shape[0]] if stage == 1 or alone else zero
                    source, origin, tall, broad = (
                        given.reshape(-1),
                        -plane * given.shape[1],
                        given.shape[1],
                        given.shape[2],
                    )
                    target, at, begin, end, width = between[stage], 0, begun[stage], last, wide
                else:
                    length = (last - first) * wide
                    t = between[0, (first - begun[0]) * wide :][:length]
                    if alone:
                        bend(t, high, low, clamp)
                    else:
                        slope(t, between[1, (first - begun[1]) * wide :][:length], high, low, clamp)
                    b = zero
                    source, origin, tall, broad = between[0], begun[0], last, wide
                    target, at, begin, end, width = (
                        out.reshape(-1),
                        (plane * rows + top) * columns,
                        top,
                        top + many,
                        columns,
                    )
                filter_rows(
                    ways[stage], memory[own:], source, origin, tall, broad, b, begin, end - begin, target, at, width
                )
        start = claim(turn, grain)


def filtered_lrelu(a, x, bias, filters, size, slope, gain, clamp, out):
    """Fill out (P, height, width): `a` (P, H, W) filtered, bent (or times the slope at x, filtered), and filtered again.

    `filters` are three, for a, for x and for what comes of it: (weights, flip, gain, up, down, before), as `upfirdn2d` takes
    them; `size` is that of what is between. The bias (C,), or None, is added to x if there is one, else to a.
    """
    planes, rows, columns = out.shape
    if out.size == 0:
        return
    if x is None:
        x = np.empty((planes, 0, 1), out.dtype)
        x.setflags(write=False)
    weights, _, _, _, down, before = filters[2]
    height = min(rows, max(4, (BETWEEN // size[1] - len(weights)) // down[0]))
    third = down[0], before[0], len(weights)
    sizes = size, size, (height, columns)
    ways = tuple(fir.way(*f, s, w) for f, s, w in zip(filters, sizes, (a.shape[2], x.shape[2], size[1]), strict=True))
    numbers = tuple(map(out.dtype.type, (gain, gain * slope, clamp)))
    cost = height * (
        down[0] * size[1] * (fir.cost(ways[0]) + fir.cost(ways[1]) * (x.shape[1] > 0)) + columns * fir.cost(ways[2])
    )
    bias = np.zeros(1, out.dtype) if bias is None else bias
    blocks = planes * -(-rows // height)
    spaces, phases = tuple(w.space for w in ways), tuple(w.first.rows.phases for w in ways[:2])
    parallel_for(bands, blocks, 1, ways, spaces, phases, a, x, bias, size, numbers, third, out, height, cost=cost)
