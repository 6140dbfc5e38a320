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
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from arrayvision.cpu import kernel
from arrayvision.cpu.blocks import BYTES, wide_registers
from arrayvision.cpu.prefetch import prefetch_at

SUMS = {"contract"}  # for kernels that call what is here, which is compiled as part of them, once and not in each step
LANES = 16  # of a vector, of the smallest numbers
VECTORS = 8  # of sums
CACHED = 2**17  # numbers that need not be asked for
ENOUGH = 8192  # outputs of a band, about: what is summed stays in the first cache
# How a band is filtered. An Axis has phases, parts, how many outputs of a phase and inputs of a part a band has, and where
# in the parts input 0 lies. Each phase of rows and columns has taps: how many, where their inputs begin, and their weights.
# `sums` is where in a thread's memory sums lie, behind the inputs in parts.
# A Way is a plan for both axes, or one down the columns and a second along the rows. It takes `space` numbers of a thread's
# memory, zeros at first: for the first plan, for the second from `second_at`, for what is between from `between_at`.
Axis = namedtuple("Axis", "phases parts outputs inputs first")
Plan = namedtuple("Plan", "rows columns counts at weights sums")
Way = namedtuple("Way", "steps first second second_at between_at space")


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
    sums = rows.parts * columns.parts * rows.inputs * columns.inputs
    return Plan(rows, columns, counts, at, np.ascontiguousarray(weights[ky, kx]), sums)


def _space(plan):
    return plan.sums + plan.columns.phases * plan.rows.outputs * plan.columns.inputs + LANES


def _factors(weights):
    """The column and the row whose product a filter is, up to rounding; None for one that is no such product."""
    size = np.abs(weights)
    i, j = np.unravel_index(size.argmax(), size.shape)
    if not 0 < size[i, j] < np.inf:
        return None
    column, row = weights[:, j], weights[i] / weights[i, j]
    near = np.abs(np.outer(column, row) - weights).max() <= 2 * np.finfo(weights.dtype).eps * size[i, j]
    return (column, row) if near else None


def way(weights, flip, gain, up, down, before, size, inputs):
    """How planes are filtered, in bands.

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
    size : (int, int)
        Rows and columns of the outputs.
    inputs : int
        Columns of the inputs.
    """
    # A network's filters stay what they are, and finding their way takes as long as filtering a small image.
    key = weights.tobytes(), weights.dtype.name, weights.shape, flip, gain, math.copysign(1, gain)
    return _way(*key, up, down, before, size, inputs)


@functools.lru_cache(64)
@np.errstate(all="ignore")  # what the dtype doesn't hold becomes infinite
def _way(content, kind, shape, flip, gain, _sign, up, down, before, size, inputs):
    weights = np.frombuffer(content, kind).reshape(shape)
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
    dtype, phases = weights.dtype, _phases(up[0], down[0])[0]
    band = -(-min(size[0], max(16, ENOUGH // size[1])) // phases) * phases
    first = weights if factors is None else factors[0][:, None]
    first = (first * gain).astype(dtype)
    if factors is None:
        plan = _plan(first, up, down, before, (band, size[1]))
        return Way(1, plan, plan, 0, 0, _space(plan))
    column = _plan(first, (up[0], 1), (down[0], 1), (before[0], 0), (band, inputs))
    row = _plan(factors[1][None], (1, up[1]), (1, down[1]), (0, before[1]), (band, size[1]))
    row_at = _space(column)
    between = row_at + _space(row)
    return Way(2, column, row, row_at, between, between + band * inputs)


def band(way) -> int:
    """The rows of a band."""
    return way.second.rows.outputs * way.second.rows.phases


def cost(way) -> float:
    """About the nanoseconds that an output takes."""
    return 0.5 + 0.06 * (way.first.at.shape[1] + way.second.at.shape[1] * (way.steps - 1))


@kernel(inline="always")
def zeros(count, dtype):
    """A thread's memory. (np.zeros takes a quarter of a second to compile.)"""
    out = np.empty(count, dtype)
    for i in range(count):
        out[i] = 0
    return out


@intrinsic
def weigh(typingctx, out, to, n, x, at, weights, count, ask, stride):
    """out[to + j] = the sum of weights[k] * x[at[k] + j] over k < count, for j < n and up to LANES more.

    Sums of several vectors stay in registers, in LLVM's vectors: Numba's loops would keep them in memory. Meanwhile memory
    is asked for, `stride` bytes further on in each step, from the address `ask` on; none if that is 0.
    """
    kind = out.dtype

    def codegen(context, builder, signature, args):
        target, source, places, numbers = (
            context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 3, 4, 5)
        )
        to, n, count, stride = args[1], args[2], args[6], args[8]
        asked = cgutils.alloca_once_value(builder, args[7])
        align = kind.bitwidth // 8
        lanes = BYTES // align
        vector = ir.VectorType(context.get_value_type(kind), lanes)
        none, zero = ir.Constant(vector, ir.Undefined), ir.Constant(vector, [0.0] * lanes)
        first_lane = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)

        def place(data, first, k):
            start = builder.add(first, ir.Constant(first.type, k * lanes))
            return builder.bitcast(builder.gep(data, [start]), vector.as_pointer())

        begun = cgutils.alloca_once_value(builder, ir.Constant(n.type, 0))
        for many in (VECTORS if wide_registers(context) else VECTORS // 2, 1):
            sums = [cgutils.alloca_once(builder, vector) for _ in range(many)]
            step = ir.Constant(n.type, many * lanes)
            rest = builder.sub(n, builder.load(begun))
            if many == 1:
                rest = builder.add(rest, ir.Constant(n.type, lanes - 1))
            with cgutils.for_range(builder, builder.sdiv(rest, step)):
                j = builder.load(begun)
                for total in sums:
                    builder.store(zero, total)
                with cgutils.for_range(builder, count) as loop:
                    if many > 1:
                        with builder.if_then(builder.icmp_signed("!=", stride, ir.Constant(stride.type, 0))):
                            here = builder.load(asked)
                            for line in range(2):
                                address = builder.add(here, ir.Constant(here.type, line * BYTES))
                                prefetch_at(builder, builder.inttoptr(address, ir.IntType(8).as_pointer()))
                            builder.store(builder.add(here, stride), asked)
                    first = builder.add(builder.load(builder.gep(places, [loop.index])), j)
                    one = builder.insert_element(
                        none, builder.load(builder.gep(numbers, [loop.index])), ir.Constant(ir.IntType(32), 0)
                    )
                    weight = builder.shuffle_vector(one, none, first_lane)
                    for k, total in enumerate(sums):
                        term = builder.fmul(
                            weight, builder.load(place(source, first, k), align=align), flags=("contract",)
                        )
                        builder.store(builder.fadd(builder.load(total), term, flags=("contract",)), total)
                for k, total in enumerate(sums):
                    builder.store(builder.load(total), place(target, builder.add(to, j), k), align=align)
                builder.store(builder.add(j, step), begun)
        return context.get_dummy_value()

    size = types.int64
    return types.none(out, size, size, x, at, weights, size, size, size), codegen


@kernel(inline="always")
def lay(plan, x, origin, height, width, bias, top, buffer):
    """Lay the inputs of a band whose first output is row `top` out: `x` holds rows (flat, `width` numbers each) from row
    `origin` (or 0, if that is negative) to `height`; others are zeros, or not asked for. `buffer` has zeros where columns
    outside lie."""
    rows, parts, size, first = plan.rows, plan.columns.parts, plan.columns.inputs, plan.columns.first
    one, two, step = np.uint64(1), np.uint64(2), np.uint64(parts)
    for p in range(rows.parts):
        for r in range(rows.inputs):
            i = rows.parts * (top // rows.phases + r) + p - rows.first
            line, source = (p * parts * rows.inputs + r) * size, (i - origin) * width - first
            if not max(origin, 0) <= i < height:
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


@kernel(inline="always")
def filter_rows(way, memory, x, origin, height, width, bias, top, rows, out, start, columns):
    """Fill `rows` rows of `out` (flat, `columns` numbers each, from `start` on) with outputs from row `top` on, a multiple of
    the rows' phases.

    `x` (flat, `width` numbers a row) has the input's rows from `origin` (or 0, if that is negative) to `height`; those outside
    are zeros. `bias` is added to it.
    """
    between = memory[way.between_at :]
    tall = way.second.rows.outputs * way.second.rows.phases
    one, two = np.uint64(1), np.uint64(2)
    for y in range(top, top + rows, tall):
        here = min(tall, top + rows - y)
        for step in range(way.steps):
            plan, own = (way.first, memory) if step == 0 else (way.second, memory[way.second_at :])
            source, low, high, b = (x, origin, height, bias) if step == 0 else (between, y, y + here, bias * 0)
            last = step == way.steps - 1
            target, at, wide = (out, start + (y - top) * columns, columns) if last else (between, 0, width)
            lay(plan, source, low, high, width, b, y, own)
            size, count, n = plan.columns.inputs, plan.columns.phases, plan.rows.phases
            each, many = plan.rows.outputs * size, (plan.rows.outputs - 1) * size + plan.columns.outputs
            # The next band's inputs are asked for meanwhile: asked for at once when they are laid out, they are waited for.
            after = (
                plan.rows.parts * ((y + tall) // plan.rows.phases + plan.rows.inputs - plan.rows.outputs)
                - plan.rows.first
            )
            share = (
                plan.rows.parts * plan.rows.outputs * width * x.itemsize // (n * count) if source.size > CACHED else 0
            )
            ask = np.int64(source.ctypes.data) + (after - low) * width * x.itemsize
            for p in range(n):
                for q in range(count):
                    k = p * count + q
                    stride = share // max(1, many // (VECTORS * LANES) * plan.counts[k])
                    weigh(
                        own, plan.sums + q * each, many, own, plan.at[k], plan.weights[k], plan.counts[k], ask + k * share,
                        stride,
                    )  # fmt: skip
                for j in range((here - p + n - 1) // n):
                    to, a = np.uint64(at + (p + j * n) * wide), np.uint64(plan.sums + j * size)
                    if count == 1:
                        for m in range(np.uint64(wide)):
                            target[to + m] = own[a + m]
                    elif count == 2:
                        odd = a + np.uint64(each)
                        for m in range(np.uint64(wide // 2)):
                            target[to + two * m] = own[a + m]
                            target[to + two * m + one] = own[odd + m]
                        if wide % 2:
                            target[to + np.uint64(wide - 1)] = own[a + np.uint64(wide // 2)]
                    else:
                        for q in range(count):
                            for m in range(np.uint64((wide - q + count - 1) // count)):
                                target[to + np.uint64(q) + np.uint64(count) * m] = own[a + m]
                            a += np.uint64(each)
