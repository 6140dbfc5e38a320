"""Biases and activations, and their derivatives: a thread takes a piece of a row, which stays in the first cache.

The sigmoid function of t is 1 / (1 + exp(-t)): where that overflows, it is 0. Derivatives need it beside 1: with e = exp(-|t|), it
is 1 / (1 + e) of |t|, and e / (1 + e) of -|t|, and nothing cancels.
"""

import functools
import math

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.addresses import alike_at, longs_at, room_alike_at
from arrayvision.cpu.elementary import exp_any, exp_parts, log1p_unit
from arrayvision.cpu.threads import claim, parallel_for

SUMS = {"contract"}
PIECE = 4096  # elements
LONG = 256  # a row with one bias is as long as this, or many rows are taken for one, with their biases along it
SHORT = 16  # where runs of one bias, or of all, are shorter than this, biases are written out first
SINGLE = np.dtype(np.float32)
ORDERED = 10  # numbers of `_how` that are no constants
SMALL = 16384  # elements that one call does without threads
ZERO, ONE, TWO, MOST = np.float32(0), np.float32(1), np.float32(2), np.float32(3e38)  # take the other operand's type
INFINITY = np.float32(np.inf)
LINES, EXPONENTIAL, TANH, SIGMOID, SOFTPLUS, SWISH = range(6)  # as `ops.bias_act.KINDS` numbers them


@kernel(forceinline=True)
def clamped(v, clamp):
    v = clamp if v > clamp else v
    return -clamp if v < -clamp else v


@kernel(forceinline=True)
def bounded(t):
    t = -MOST if t < -MOST else t
    return MOST if t > MOST else t


@kernel(fastmath=SUMS)
def activate(kind, above, below, floor, gain, clamp, x, b, out):
    """out = gain * act(x + b), clamped."""
    n = out.shape[0]
    if kind == LINES:
        up, down = gain * above, gain * below
        if up == down and clamp > MOST:
            for i in range(n):
                out[i] = (x[i] + b) * up
        else:
            for i in range(n):
                t = x[i] + b
                t = floor if t < floor else t
                out[i] = clamped(t * (up if t > ZERO else down), clamp)
    elif kind == EXPONENTIAL:
        for i in range(n):
            t = x[i] + b
            _, less = exp_parts(-abs(t))
            out[i] = clamped(gain * (above * t if t > ZERO else below * less), clamp)
    elif kind == TANH:
        for i in range(n):
            t = x[i] + b
            _, less = exp_parts(-TWO * abs(t))
            size = gain * less / (TWO + less)
            out[i] = clamped(size if t < ZERO else -size, clamp)
    elif kind == SOFTPLUS:
        for i in range(n):
            t = x[i] + b
            e, _ = exp_parts(-abs(t))
            out[i] = clamped(gain * ((ZERO if t < ZERO else t) + log1p_unit(e)), clamp)
    elif kind == SIGMOID:
        for i in range(n):
            out[i] = clamped(gain / (ONE + exp_any(-(x[i] + b))), clamp)
    else:
        for i in range(n):
            t = x[i] + b
            t = -MOST if t < -MOST else t  # infinity times 0 is 0
            out[i] = clamped(gain * (t / (ONE + exp_any(-t))), clamp)


@kernel
def add(x, biases, inner, place, out):
    """out = x plus biases, each `inner` times in turn, of which x begins at a place: where one begins, unless `inner` is 1."""
    n, channel = out.shape[0], place // inner
    width = inner if inner > 1 else min(biases.shape[0] - place, n)
    rows = n // width
    values, sums = alike_at(x.ctypes.data, (rows, width), x), room_alike_at(out.ctypes.data, (rows, width), x)
    if inner > 1:
        for row in range(rows):
            b, source, target = biases[channel], values[row], sums[row]
            for k in range(width):
                target[k] = source[k] + b
            channel += 1
            channel = 0 if channel == biases.shape[0] else channel
        return
    own, rest, last = biases[place:], x[rows * width :], out[rows * width :]
    for row in range(rows):
        source, target = values[row], sums[row]
        for k in range(width):
            target[k] = source[k] + own[k]
    for k in range(last.shape[0]):
        last[k] = rest[k] + own[k]


@kernel
def written_out(biases, inner, size):
    """Each of the biases `inner` times in turn, over and over."""
    out = np.empty(size, biases.dtype)
    for k in range(size):
        out[k] = biases[k // inner % biases.shape[0]]
    return out


@kernel
def pieces(x, bias, out, like, how):
    """Arrays of like's dtype at addresses, flat, in rows that are taken in pieces; at `how` is what `_how` says. A row has one of the
    biases, in turn, if it is as long as `inner`; else it has all of them, each `inner` times, over and over."""
    numbers, constants, none = longs_at(how, (ORDERED,)), alike_at(how + 8 * ORDERED, (8,), like), like * ZERO
    total, channels, inner, pattern, kind = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    length, size, grain, n = numbers[5], numbers[6], numbers[7], numbers[8]
    above, below, floor, gain, clamp = constants[0], constants[1], constants[2], constants[6], constants[7]
    source, target, biases = (
        alike_at(x, (total,), like),
        room_alike_at(out, (total,), like),
        alike_at(bias, (channels,), like),
    )
    along = length > inner
    linear = (kind == LINES) & (gain * above == ONE) & (gain * below == ONE) & (clamp > MOST)
    if pattern:
        biases, inner = written_out(biases, inner, pattern), 1
    room = np.empty(size, source.dtype) if along and not linear else target
    per_row, turn = (length + size - 1) // size, longs_at(how + 72, (1,))
    start = 0 if grain >= n else claim(turn, grain)
    while start < n:
        for k in range(start, min(start + grain, n)):
            row, at = k // per_row, k % per_row * size
            first, last = row * length + at, min(row * length + min(at + size, length), total)
            values, results = source[first:last], target[first:last]
            if along:
                sums = results if linear else room[: last - first]
                add(values, biases, inner, at % (biases.shape[0] * inner), sums)
                if not linear:
                    activate(kind, above, below, floor, gain, clamp, sums, none, results)
            else:
                b = biases[row % channels] if channels else none
                activate(kind, above, below, floor, gain, clamp, values, b, results)
        start = n if grain >= n else claim(turn, grain)


@kernel(forceinline=True)
def parts(t, scale):
    """exp(-scale * |t|), 1 / (1 + that), and the sigmoid function of scale * t."""
    e, _ = exp_parts(-scale * abs(t))
    near = ONE / (ONE + e)
    return e, near, e * near if t < ZERO else near


@kernel(fastmath=SUMS)
def differentiate(kind, high, decay, share, gain, even, odd, grad, x, b, memory, out):
    """out = gain * grad * a derivative of act at x + b, of the same kinds."""
    n, last = out.shape[0], even.shape[0] - 1
    scale = TWO if kind == TANH else ONE
    constant, linear = even[last], odd[last]
    if kind == EXPONENTIAL:
        for i in range(n):
            t = x[i] + b
            e, _ = exp_parts(-abs(t))
            out[i] = gain * grad[i] * (high if t > ZERO else decay * e)
    elif last == 0:
        for i in range(n):
            t = x[i] + b
            e, near, s = parts(t, scale)
            out[i] = gain * grad[i] * (share * s + e * near * near * (constant + linear * bounded(t)))
    else:  # no share
        d, p, value = memory[1, :n], memory[2, :n], memory[3, :n]
        for i in range(n):
            t = x[i] + b
            e, near, s = parts(t, scale)
            d[i] = s + s - ONE
            p[i] = constant + linear * bounded(t)
            value[i] = e * near * near
        for k in range(last - 1, -1, -1):
            constant, linear = even[k], odd[k]
            for i in range(n):
                p[i] = p[i] * d[i] + (constant + linear * bounded(x[i] + b))
        for i in range(n):
            out[i] = gain * grad[i] * value[i] * p[i]


@kernel(fastmath=SUMS)
def derivative(kind, order, numbers, even, odd, grad, x, b, memory, out):
    """A piece of `out`, from pieces of x (plus b) and of grad."""
    above, below, floor, high, decay, share, gain, clamp = numbers
    n = out.shape[0]
    if kind == LINES:
        up, down, factor = gain * above, gain * below, ONE if order == 1 else ZERO
        for i in range(n):
            t = x[i] + b
            slope = up if t > ZERO else down
            out[i] = ZERO if abs(t * slope) > clamp else factor * slope * grad[i]
    else:
        differentiate(kind, high, decay, share, gain, even, odd, grad, x, b, memory, out)
        if clamp < MOST:
            acted = memory[1, :n]
            activate(kind, above, below, floor, gain, INFINITY, x, b, acted)
            for i in range(n):
                out[i] = ZERO if abs(acted[i]) > clamp else out[i]


@kernel
def derivatives(grad, x, biases, inner, pattern, kind, order, constants, out, length, size, turn, grain, n):
    """As `pieces`, of arrays; no biases for none."""
    total, each, along = x.shape[0], (constants.shape[0] - 8) // 2, length > inner
    numbers = (
        constants[0], constants[1], constants[2], constants[3], constants[4], constants[5], constants[6], constants[7],
    )  # fmt: skip
    even, odd, none = constants[8 : 8 + each], constants[8 + each :], constants.dtype.type(0)
    per_row = (length + size - 1) // size
    if pattern:
        biases, inner = written_out(biases, inner, pattern), 1
    memory = np.empty((4, size), x.dtype)
    start = claim(turn, grain)
    while start < n:
        for k in range(start, min(start + grain, n)):
            row, at = k // per_row, k % per_row * size
            first, last = row * length + at, min(row * length + min(at + size, length), total)
            sums, b = x[first:last], none
            if along:
                sums = memory[0, : last - first]
                add(x[first:last], biases, inner, at % (biases.shape[0] * inner), sums)
            elif biases.shape[0]:
                b = biases[row % biases.shape[0]]
            derivative(kind, order, numbers, even, odd, grad[first:last], sums, b, memory, out[first:last])
        start = claim(turn, grain)


@functools.lru_cache(256)
def _constants(form, gain, clamp, dtype):
    """What is the same for all pieces."""
    numbers = form.above, form.below, form.floor, form.high, form.decay, form.share, gain, clamp
    with np.errstate(over="ignore"):  # what the dtype doesn't hold becomes infinite
        return np.array([*numbers, *form.even, *form.odd]).astype(dtype)


def _cut(total, channels, inner, biased, most=PIECE):
    """How many places a bias has, how many places of biases are written out, the length of rows and of pieces, and how many
    pieces there are. Pieces begin where a bias begins, or what was written out."""
    period, pattern, length, size = channels * inner, 0, inner, most
    if not biased:
        inner, length = total, total
    elif inner < LONG:
        if inner < SHORT and (inner > 1 or channels < SHORT):
            pattern = -(-min(LONG, total) // period) * period
        step = max(period, pattern)
        length, size = (total, most // step * step) if step < most else (period, most // inner * inner)
    size = min(size, length)
    return inner, pattern, length, size, -(-total // length) * -(-length // size)


@functools.lru_cache(256)
def _how(parts, biased, form, gain, clamp, dtype):
    """What `pieces` reads for x (N, C, size) of these parts: numbers, among them a 0 from which turns are claimed; constants."""
    outer, channels, inner = parts
    total = outer * channels * inner
    inner, pattern, length, size, n = _cut(total, channels, inner, biased, 1024 if total <= SMALL else PIECE)
    grain = n if total <= SMALL else max(1, 16384 // size)
    numbers = total, channels if biased else 0, inner, pattern, form.kind, length, size, grain, n, 0
    constants = _constants(form, gain, clamp, dtype)[:8]
    return np.concatenate([np.array(numbers, np.int64).view(np.uint8), constants.view(np.uint8)])


def filling(parts, biased, form, gain, clamp, dtype=SINGLE):
    """What fills a result, and what it takes behind the addresses of x, the bias (or 0) and the result, and an array that this
    refers to: worth remembering."""
    how, like = _how(parts, biased, form, gain, clamp, dtype), dtype.type(0)
    if math.prod(parts) <= SMALL:
        return pieces, (like, how.ctypes.data), how
    return _spread, (like, how, form.kind), how


def _spread(x, bias, out, like, how, kind):
    """Over threads, which claim pieces from a copy of their own."""
    own = how.copy()
    size, grain, n = own[48:72].view(np.int64).tolist()
    parallel_for(_claiming, n, grain, x, bias, out, like, own, cost=_cost(kind, 0, size))


def _claiming(x, bias, out, like, how, *_):
    pieces(x, bias, out, like, how.ctypes.data)


def _cost(kind, order, size):
    """Nanoseconds of a piece."""
    return size * (0.1 if kind == LINES and order == 0 else 0.2 if kind == LINES or order == 0 else 0.6)


def bias_act(grad, x, bias, form, gain, clamp, out):
    """Fill out (N, C, size) with the activation of x plus bias (C,) or None; or, given grad, with its derivative times that."""
    if x.size == 0:
        return
    if grad is None:
        fill, sizes, _kept = filling(x.shape, bias is not None, form, gain, clamp, x.dtype)
        fill(x.ctypes.data, 0 if bias is None else bias.ctypes.data, out.ctypes.data, *sizes)
        return
    inner, pattern, length, size, n = _cut(x.size, x.shape[1], x.shape[2], bias is not None)
    arguments = (
        grad.reshape(-1), x.reshape(-1), x.reshape(-1)[:0] if bias is None else bias, inner, pattern, form.kind, form.order,
        _constants(form, gain, clamp, x.dtype), out.reshape(-1), length, size,
    )  # fmt: skip
    parallel_for(derivatives, n, max(1, 16384 // size), *arguments, cost=_cost(form.kind, form.order, size))
