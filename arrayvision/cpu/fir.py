"""Filters of planes after zeros are put between samples and before samples are dropped, a band of output rows at a time.

With `up` samples for each one of the input and one of `down` kept, outputs that lie ``up / gcd(up, down)`` apart along an axis
take the same taps of the filter (a phase), of inputs that lie ``down / gcd(up, down)`` apart. So the input rows of a band
are laid out in as many parts for each axis, with zeros round them, and a phase's outputs are a sum of runs of that memory,
each times one number, whole bands in one loop (with a few numbers at the end of each row that nobody wants).
"""

import functools
import math
from collections import namedtuple

import numpy as np

from arrayvision.cpu import kernel

SUMS = {"contract"}
ENOUGH = 8192  # outputs of a band, about: what is summed stays in the first cache
# How a band is filtered. An Axis has phases, parts, how many outputs of a phase and inputs of a part a band has, and where
# in the parts input 0 lies. Each phase of rows and columns has taps: how many, where their inputs begin, and their weights.
Axis = namedtuple("Axis", "phases parts outputs inputs first")
Plan = namedtuple("Plan", "rows columns counts at weights")


def _phases(up, down):
    """The phases and the parts of an axis."""
    common = math.gcd(up, down)
    return up // common, down // common


def _axis(up, down, before, size, band):
    """An axis, and for each phase its taps (k, i): weight k is for input i, counted in the order of the parts."""
    phases, parts = _phases(up, down)
    taps = []
    for phase in range(phases):
        position = phase * down - before
        taps.append([(k, (position + k) // up) for k in range(-position % up, size, up)])
    least = min((i for found in taps for _, i in found), default=0)
    first = -(least // parts) * parts
    outputs = -(-band // phases)
    inputs = max(((i + first) // parts for found in taps for _, i in found), default=0) + outputs
    return Axis(phases, parts, outputs, inputs, first), [[(k, i + first) for k, i in found] for found in taps]


@functools.lru_cache(256)
def _layout(size, up, down, before, band):
    """A plan but for its weights: (rows, columns, counts, at, which rows of the filter, which columns)."""
    (rows, row_taps), (columns, column_taps) = (_axis(*axis) for axis in zip(up, down, before, size, band, strict=True))
    taps = [[(ky, kx, iy, ix) for ky, iy in a for kx, ix in b] for a in row_taps for b in column_taps]
    table = np.zeros((len(taps), max(1, *map(len, taps)), 4), np.int64)
    for phase, found in enumerate(taps):
        table[phase, : len(found)] = np.array(found, np.int64).reshape(-1, 4)
    ky, kx, iy, ix = np.moveaxis(table, -1, 0)
    part = iy % rows.parts * columns.parts + ix % columns.parts
    at = (part * rows.inputs + iy // rows.parts) * columns.inputs + ix // columns.parts
    return rows, columns, np.array([len(found) for found in taps]), at, ky, kx


def _plan(weights, up, down, before, band):
    rows, columns, counts, at, ky, kx = _layout(weights.shape, up, down, before, band)
    return Plan(rows, columns, counts, at, np.ascontiguousarray(weights[ky, kx]))


def _factors(weights):
    """The column and the row whose product a filter is, up to rounding; None for one that is no such product."""
    size = np.abs(weights)
    i, j = np.unravel_index(size.argmax(), size.shape)
    if not 0 < size[i, j] < np.inf:
        return None
    column, row = weights[:, j], weights[i] / weights[i, j]
    near = np.abs(np.outer(column, row) - weights).max() <= 2 * np.finfo(weights.dtype).eps * size[i, j]
    return (column, row) if near else None


def height(up, down, rows, columns, enough=ENOUGH):
    """The rows of a band for outputs of this size: whole phases."""
    phases, _ = _phases(up, down)
    return -(-min(rows, max(16, enough // columns)) // phases) * phases


def plans(weights, flip, gain, up, down, before, band):
    """How planes are filtered: (the first step, the second, how many there are).

    A filter that is the product of a column and a row is applied in two steps where that is less work.

    Parameters
    ----------
    weights : array (n,) or (rows, columns)
        The filter; one of one axis is applied along both.
    flip : bool
        Whether weights are taken in their order (correlation), or in reverse (convolution).
    gain : float
        What results are multiplied by.
    up, down, before : (int, int)
        For rows and for columns; `before` zeros come first, or as many samples are left out.
    band : (int, int, int)
        The rows of a band of outputs, their columns, and the columns of inputs.
    """
    weights = weights if flip else np.flip(weights)
    rows, columns = weights.shape[0], weights.shape[-1]
    whole = -(-rows // up[0]) * -(-columns // up[1])  # terms of an output; 8 for what a second step costs
    apart = -(-rows // up[0]) * down[1] / up[1] + -(-columns // up[1]) + 8
    factors = None
    if weights.ndim == 1:
        factors, weights = (weights, weights), np.outer(weights, weights)
    if whole <= apart:
        factors = None
    elif factors is None:
        factors = _factors(weights)
    dtype, (height, width, inputs) = weights.dtype, band
    first = weights if factors is None else factors[0][:, None]
    with np.errstate(over="ignore"):  # what the dtype doesn't hold becomes infinite
        first = (first * gain).astype(dtype)
    if factors is None:
        only = _plan(first, up, down, before, (height, width))
        return only, only, 1
    row = factors[1]
    return (
        _plan(first, (up[0], 1), (down[0], 1), (before[0], 0), (height, inputs)),
        _plan(row[None], (1, up[1]), (1, down[1]), (0, before[1]), (height, width)),
        2,
    )


def terms(plan) -> int:
    """What an output is a sum of, at most."""
    return plan.at.shape[1]


@kernel
def room(plan):
    """Memory for `filter_band`: inputs in parts, and sums by phases of columns."""
    rows, columns = plan.rows, plan.columns
    dtype = plan.weights.dtype
    buffer = np.zeros(rows.parts * columns.parts * rows.inputs * columns.inputs, dtype)
    return buffer, np.empty((columns.phases, rows.outputs * columns.inputs), dtype)


@kernel(fastmath=SUMS)
def weigh(out, n, x, at, weights, count):
    """out[j] = the sum of weights[k] * x[at[k] + j] over k < count, for j < n."""
    k = 0
    if count < 4:
        for j in range(n):
            out[j] = 0
    while k + 4 <= count:
        a, b, c, d = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
        p, q, r, s = np.uint64(at[k]), np.uint64(at[k + 1]), np.uint64(at[k + 2]), np.uint64(at[k + 3])
        if k == 0:
            for j in range(n):
                out[j] = a * x[p + j] + b * x[q + j] + c * x[r + j] + d * x[s + j]
        else:
            for j in range(n):
                out[j] += a * x[p + j] + b * x[q + j] + c * x[r + j] + d * x[s + j]
        k += 4
    while k < count:
        a, p = weights[k], np.uint64(at[k])
        for j in range(n):
            out[j] += a * x[p + j]
        k += 1


@kernel
def lay(plan, x, origin, height, width, bias, band, buffer):
    """Lay the inputs of a band out: `x` holds rows (flat, `width` numbers each) from row `origin` on; those outside
    [0, height) are zeros. `buffer` has zeros where columns outside lie."""
    rows, parts, size, first = plan.rows, plan.columns.parts, plan.columns.inputs, plan.columns.first
    one, two, step = np.uint64(1), np.uint64(2), np.uint64(parts)
    for p in range(rows.parts):
        for r in range(rows.inputs):
            i = rows.parts * (band * rows.outputs + r) + p - rows.first
            line, source = (p * parts * rows.inputs + r) * size, (i - origin) * width - first
            if not 0 <= i < height:
                for part in range(parts):
                    to = np.uint64(line + part * rows.inputs * size)
                    for m in range(np.uint64(size)):
                        buffer[to + m] = 0
            elif parts == 2:  # pairs are read together
                low = max(0, first // 2)
                high = max(low, min(size, (width + first) // 2))
                even, odd = np.uint64(line + low), np.uint64(line + rows.inputs * size + low)
                at = np.uint64(source + 2 * low)
                for m in range(np.uint64(high - low)):
                    buffer[even + m] = x[at + two * m] + bias
                    buffer[odd + m] = x[at + two * m + one] + bias
                if (width + first) % 2 and high < size and 0 <= 2 * high - first < width:
                    buffer[line + high] = x[source + 2 * high] + bias
            else:
                for part in range(parts):
                    low = max(0, -((part - first) // parts))
                    high = max(low, min(size, -((part - first - width) // parts)))
                    to, at = np.uint64(line + low), np.uint64(source + part + parts * low)
                    if parts == 1:
                        for m in range(np.uint64(high - low)):
                            buffer[to + m] = x[at + m] + bias
                    else:
                        for m in range(np.uint64(high - low)):
                            buffer[to + m] = x[at + step * m] + bias
                    line += rows.inputs * size


@kernel
def filter_band(plan, x, origin, height, width, bias, band, room, out, start, rows, columns):
    """Fill `rows` rows of `out` (flat, `columns` numbers each, from `start` on) with a band's outputs.

    `x` (flat, `width` numbers a row) has the input's rows from `origin` on; it has `height` in all. `bias` is added to it.
    """
    buffer, sums = room
    lay(plan, x, origin, height, width, bias, band, buffer)
    size, n = plan.columns.inputs, plan.columns.phases
    many = np.uint64((plan.rows.outputs - 1) * size + plan.columns.outputs)
    two = np.uint64(2)
    for p in range(plan.rows.phases):
        for q in range(n):
            k = p * n + q
            weigh(sums[q], many, buffer, plan.at[k], plan.weights[k], plan.counts[k])
        for j in range((rows - p + plan.rows.phases - 1) // plan.rows.phases):
            to, at = np.uint64(start + (p + j * plan.rows.phases) * columns), np.uint64(j * size)
            if n == 1:
                a = sums[0]
                for m in range(np.uint64(columns)):
                    out[to + m] = a[at + m]
            elif n == 2:
                a, b = sums[0], sums[1]
                for m in range(np.uint64(columns // 2)):
                    out[to + two * m] = a[at + m]
                    out[to + two * m + np.uint64(1)] = b[at + m]
                if columns % 2:
                    out[to + np.uint64(columns - 1)] = a[at + np.uint64(columns // 2)]
            else:
                for q in range(n):
                    a = sums[q]
                    for m in range(np.uint64((columns - q + n - 1) // n)):
                        out[to + np.uint64(q) + np.uint64(n) * m] = a[at + m]
