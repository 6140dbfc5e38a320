"""Correlation of two maps, and its gradients: rows of both are copied side by side, and multiplied in registers.

A tile is 9 sums for each of 64 bytes of neighbouring positions. Forward these are 9 displacements, and the sum is over
channels; in the gradients they are 9 channels, and the sum is over the displacements of a row.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from arrayvision.cpu import kernel
from arrayvision.cpu.threads import claim, parallel_for

SUMS = 9  # of a tile; registers hold them
BYTES = 64
COLUMNS = 128  # positions of a row that are worked on together


@intrinsic
def tile(typingctx, a, at, step, b, start, apart, leap, count, out):
    """out[t * lanes + i] = the sum over k < count of a[at + k * step + i] * b[start + t * apart + k * leap + i], for t < SUMS
    and i < lanes. All arrays are one-dimensional."""
    kind = out.dtype
    size = kind.bitwidth // 8
    lanes = BYTES // size

    def codegen(context, builder, signature, args):
        left, right, target = (context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 3, 8))
        at, step, start, apart, leap, count = (args[i] for i in (1, 2, 4, 5, 6, 7))
        vector = ir.VectorType(context.get_value_type(kind), lanes)
        sums = [cgutils.alloca_once_value(builder, ir.Constant(vector, [0.0] * lanes)) for _ in range(SUMS)]
        starts = [builder.add(start, builder.mul(apart, ir.Constant(start.type, t))) for t in range(SUMS)]

        def place(data, *terms):
            first, *others = terms
            for term in others:
                first = builder.add(first, term)
            return builder.bitcast(builder.gep(data, [first]), vector.as_pointer())

        with cgutils.for_range(builder, count) as loop:
            one = builder.load(place(left, at, builder.mul(loop.index, step)), align=size)
            moved = builder.mul(loop.index, leap)
            for total, first in zip(sums, starts, strict=True):
                other = builder.load(place(right, first, moved), align=size)
                term = builder.fmul(one, other, flags=("contract",))
                builder.store(builder.fadd(builder.load(total), term, flags=("contract",)), total)
        for t, total in enumerate(sums):
            builder.store(builder.load(total), place(target, ir.Constant(at.type, t * lanes)), align=size)
        return context.get_dummy_value()

    n = types.int64
    return types.none(a, n, n, b, n, n, n, n, out), codegen


@kernel
def within(first, step, width, length):
    """For which of k < length the number first + k * step is at least 0 and below width: from the one up to the other."""
    low, high = -first, width - first
    if step > 1:
        low, high = (low + step - 1) // step, (high + step - 1) // step
    low = min(max(low, 0), length)
    return low, max(min(high, length), low)


@kernel
def copy_rows(x, y, first, step, target, start, pitch, length):
    """target[start + c * pitch + k] = x[c, y, first + k * step] for k < length, 0 outside."""
    low, high = within(first, step, x.shape[2], length)
    for c in range(x.shape[0]):
        values, begin = x[c, y], start + c * pitch
        for k in range(begin, begin + low):
            target[k] = 0
        if step == 1:
            part, source = target[begin + low : begin + high], values[first + low : first + high]
            for k in range(part.shape[0]):
                part[k] = source[k]
        else:
            for k in range(low, high):
                target[begin + k] = values[first + k * step]
        for k in range(begin + high, begin + length):
            target[k] = 0


@kernel
def copy_apart(values, first, step, target):
    """target[k] = values[(first + k) / step], 0 outside and between."""
    for k in range(target.shape[0]):
        at = first + k if step == 1 else (first + k) // step
        target[k] = values[at] if at * step == first + k and 0 <= at < values.shape[0] else 0


@kernel
def correlate(a, b, how, out, turn, grain, n):
    """out (N, P, P, h, w); a task is a stretch of an image's row of results."""
    (kh, kw), (sy, sx), (py, px), (dy, dx), (gy, gx) = how
    channels, height, width = a.shape[1:]
    patch, rows, columns = out.shape[2:]
    radius, lanes = patch // 2, BYTES // out.itemsize
    blocks = (columns + COLUMNS - 1) // COLUMNS
    whole = (min(columns, COLUMNS) + lanes - 1) // lanes * lanes
    # Where neighbouring results have neighbouring pixels, all displacements lie in one row of b; else each has a copy.
    shared = sx == 1
    pitch = whole + (patch + SUMS) * gx if shared else whole
    apart = gx if shared else channels * pitch
    left = np.zeros(channels * whole, out.dtype)
    right = np.zeros(channels * pitch if shared else (patch + SUMS) * apart, out.dtype)
    sums = np.empty(SUMS * lanes, out.dtype)
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            image, y, first = task // (rows * blocks), task // blocks % rows, task % blocks * COLUMNS
            count = min(COLUMNS, columns - first)
            for p in range(patch):
                for q in range(patch):
                    target = out[image, p, q, y, first : first + count]
                    for k in range(count):
                        target[k] = 0
            for tap in range(kh * kw):
                y1, x1 = y * sy - py + tap // kw * dy, first * sx - px + tap % kw * dx
                if y1 < 0 or y1 >= height:
                    continue
                copy_rows(a[image], y1, x1, sx, left, 0, whole, count)
                for p in range(patch):
                    y2 = y1 + (p - radius) * gy
                    if y2 < 0 or y2 >= height:
                        continue
                    if shared:
                        copy_rows(b[image], y2, x1 - radius * gx, 1, right, 0, pitch, count + (patch - 1) * gx)
                    else:
                        for q in range(patch):
                            copy_rows(b[image], y2, x1 + (q - radius) * gx, sx, right, q * apart, pitch, count)
                    for q in range(0, patch, SUMS):
                        for x in range(0, count, lanes):
                            tile(left, x, whole, right, q * apart + x, apart, pitch, channels, sums)
                            for t in range(min(SUMS, patch - q)):
                                # Only pixels that are there, and are moved to such.
                                by, at = (q + t - radius) * gx, x1 + x * sx
                                low, high = within(at, sx, width, min(lanes, count - x))
                                from_low, to_high = within(at + by, sx, width, min(lanes, count - x))
                                low, high = max(low, from_low), min(high, to_high)
                                target, found = out[image, p, q + t, y, first + x :], sums[t * lanes :]
                                for k in range(low, high):
                                    target[k] += found[k]
        start = claim(turn, grain)


@kernel
def spread(grad, other, sign, how, out, turn, grain, n):
    """The gradient for the first map (sign 1), or the second (-1), of which a task is a stretch of an image's row."""
    (kh, kw), (sy, sx), (py, px), (dy, dx), (gy, gx) = how
    channels, height, width = out.shape[1:]
    patch, rows = grad.shape[2:4]
    radius, lanes = patch // 2, BYTES // out.itemsize
    blocks = (width + COLUMNS - 1) // COLUMNS
    whole = (min(width, COLUMNS) + lanes - 1) // lanes * lanes
    reach = radius * gx
    pitch = whole + 2 * reach
    left = np.zeros(patch * whole, out.dtype)
    right = np.zeros((channels + SUMS) * pitch, out.dtype)
    sums = np.empty(SUMS * lanes, out.dtype)
    start = claim(turn, grain)
    while start < n:
        for task in range(start, min(start + grain, n)):
            image, r, first = task // (height * blocks), task // blocks % height, task % blocks * COLUMNS
            count = min(COLUMNS, width - first)
            for c in range(channels):
                target = out[image, c, r, first : first + count]
                for k in range(count):
                    target[k] = 0
            for p in range(patch):
                moved = r + sign * (p - radius) * gy  # the other map's row
                if moved < 0 or moved >= height:
                    continue
                copy_rows(other[image], moved, first - reach, 1, right, 0, pitch, count + 2 * reach)
                for tap in range(kh * kw):
                    y = (r if sign > 0 else moved) + py - tap // kw * dy
                    if y < 0 or y % sy != 0 or y // sy >= rows:
                        continue
                    for q in range(patch):
                        x = first + px - tap % kw * dx - (0 if sign > 0 else (q - radius) * gx)
                        copy_apart(grad[image, p, q, y // sy], x, sx, left[q * whole : q * whole + count])
                    for c in range(0, channels, SUMS):
                        for x in range(0, count, lanes):
                            begin = c * pitch + x + (0 if sign > 0 else 2 * reach)
                            tile(left, x, whole, right, begin, pitch, sign * gx, patch, sums)
                            for t in range(min(SUMS, channels - c)):
                                target, found = out[image, c + t, r, first + x :], sums[t * lanes :]
                                for k in range(min(lanes, count - x)):
                                    target[k] += found[k]
        start = claim(turn, grain)


def _stretches(columns):
    return -(-columns // COLUMNS)


def forward(a, b, how, out):
    """Fill out (N, P, P, h, w) with sums of products of a and b (N, C, H, W); `how` has pairs: the kernel's size, stride,
    padding and dilation, and the distance of displacements."""
    if out.size:
        n, p, _, h, w = out.shape
        each = how[0][0] * how[0][1] * p * p * a.shape[1] * min(w, COLUMNS) * 0.05 + p * p * w
        parallel_for(correlate, n * h * _stretches(w), 1, a, b, how, out, cost=each)


def backward(grad, other, first, how, out):
    """Fill out (N, C, H, W) with the gradient for the first map, or the second; `other` is the other one."""
    if out.size:
        n, c, h, w = out.shape
        each = how[0][0] * how[0][1] * grad.shape[1] ** 2 * c * min(w, COLUMNS) * 0.05 + c * w
        parallel_for(spread, n * h * _stretches(w), 1, grad, other, 1 if first else -1, how, out, cost=each)
