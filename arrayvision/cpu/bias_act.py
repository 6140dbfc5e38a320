"""Biases and activations, and their derivatives: a thread takes a piece of a row, which stays in the first cache.

With e = exp(-|t|), the sigmoid function of |t| is 1 / (1 + e), and of -|t| e / (1 + e): nothing overflows or cancels.
"""

import functools

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.addresses import numbers_at, room_at
from arrayvision.cpu.elementary import exp_parts, log1p_unit
from arrayvision.cpu.threads import claim, parallel_for

SUMS = {"contract"}
PIECE = 4096  # elements
LONG = 256  # a row with one bias is as long as this, or many rows are taken for one, with their biases along it
SMALL = 16384  # elements that one call does without threads
NOTHING = np.zeros(1, np.float32)  # which stands for a bias that isn't given
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
def activate(kind, above, below, gain, clamp, x, b, out):
    """out = gain * act(x + b), clamped, of the kinds that take exponentials."""
    n = out.shape[0]
    if kind == EXPONENTIAL:
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
    else:
        alone = kind == SIGMOID
        for i in range(n):
            t = x[i] + b
            e, _ = exp_parts(-abs(t))
            v = ONE if alone else bounded(t) if t < ZERO else t  # infinity times 0 is 0
            out[i] = clamped(gain * (v * (e if t < ZERO else ONE) / (ONE + e)), clamp)


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
def piece(kind, order, numbers, even, odd, grad, x, b, memory, out):
    """A piece of `out`, from pieces of x (plus b) and of grad."""
    above, below, floor, high, decay, share, gain, clamp = numbers
    n = out.shape[0]
    if kind == LINES:
        up, down = gain * above, gain * below
        if order == 0 and up == down and clamp > MOST:
            for i in range(n):
                out[i] = (x[i] + b) * up
        elif order == 0:
            for i in range(n):
                t = x[i] + b
                t = floor if t < floor else t
                out[i] = clamped(t * (up if t > ZERO else down), clamp)
        else:
            factor = ONE if order == 1 else ZERO
            for i in range(n):
                t = x[i] + b
                slope = up if t > ZERO else down
                out[i] = ZERO if abs(t * slope) > clamp else factor * slope * grad[i]
    elif order == 0:
        activate(kind, above, below, gain, clamp, x, b, out)
    else:
        differentiate(kind, high, decay, share, gain, even, odd, grad, x, b, memory, out)
        if clamp < MOST:
            acted = memory[1, :n]
            activate(kind, above, below, gain, INFINITY, x, b, acted)
            for i in range(n):
                out[i] = ZERO if abs(acted[i]) > clamp else out[i]


@kernel
def repeated(bias, inner, size):
    """A bias for each of `size` places, each `inner` times in turn, over and over."""
    out, period = np.empty(size, bias.dtype), bias.shape[0] * inner
    if inner == 1:
        once = out[: min(period, size)]
        for c in range(once.shape[0]):
            once[c] = bias[c]
    else:
        for c in range(bias.shape[0]):
            places = out[min(c * inner, size) : min((c + 1) * inner, size)]
            for k in range(places.shape[0]):
                places[k] = bias[c]
    for start in range(period, size, period):
        places, before = out[start : min(start + period, size)], out[start - period :]
        for k in range(places.shape[0]):
            places[k] = before[k]
    return out


@kernel
def pieces(grad, x, bias, inner, kind, order, constants, out, length, size, turn, grain, n):
    """x, out: flat, in rows of this length, taken in pieces of this size. A row has one of the biases, in turn, if it is as
    long as `inner`; else it has all of them, each `inner` times, over and over."""
    total, each, along = x.shape[0], (constants.shape[0] - 8) // 2, length > inner
    numbers = (
        constants[0], constants[1], constants[2], constants[3], constants[4], constants[5], constants[6], constants[7],
    )  # fmt: skip
    even, odd = constants[8 : 8 + each], constants[8 + each :]
    per_row = (length + size - 1) // size
    places = repeated(bias, inner, min(length, max(size, bias.shape[0] * inner))) if along else bias
    memory = np.empty((4, size), x.dtype)
    start = claim(turn, grain)
    while start < n:
        for k in range(start, min(start + grain, n)):
            row, at = k // per_row, k % per_row * size
            first, last = row * length + at, min(row * length + min(at + size, length), total)
            source = x[first:last]
            if along:
                sums, own, b = memory[0, : last - first], places[at % places.shape[0] :], x.dtype.type(0)
                for i in range(last - first):
                    sums[i] = source[i] + own[i]
            else:
                sums, b = source, bias[row % bias.shape[0]]
            piece(kind, order, numbers, even, odd, grad[first:last], sums, b, memory, out[first:last])
        start = claim(turn, grain)


@functools.lru_cache(256)
def _constants(form, gain, clamp, dtype):
    """What is the same for all pieces, and None as a bias."""
    numbers = form.above, form.below, form.floor, form.high, form.decay, form.share, gain, clamp
    with np.errstate(over="ignore"):  # what the dtype doesn't hold becomes infinite
        constants, nothing = np.array([*numbers, *form.even, *form.odd]).astype(dtype), np.zeros(1, dtype)
    nothing.setflags(write=False)  # as biases are: kernels are compiled once for both
    return constants, nothing


@kernel
def pieces_at(x, bias, out, nothing, total, biases, inner, kind, constants, length, size, n):
    """All of them without threads, of x + bias without a gradient, at addresses; with `nothing` for a bias at 0."""
    source, own = numbers_at(x, (total,)), numbers_at(bias if bias != 0 else nothing, (biases,))
    turn = np.zeros(1, np.int64)
    pieces(source, source, own, inner, kind, 0, constants, room_at(out, (total,)), length, size, turn, n, n)


def _cut(total, channels, inner, biased, most=PIECE):
    """How many places a bias has, the length of rows and of pieces, and how many pieces there are."""
    period, length, size = channels * inner, inner, most
    if not biased:
        inner, length = total, total
    elif inner < LONG and period < most:  # pieces of whole periods
        length, size = total, most // period * period
    elif inner < LONG:
        length = period
    size = min(size, length)
    return inner, length, size, -(-total // length) * -(-length // size)


def small(parts, biased, form, gain, clamp):
    """What `pieces_at` takes beside addresses, for x (N, C, size) of these parts: worth remembering."""
    outer, channels, inner = parts
    total = outer * channels * inner
    inner, length, size, n = _cut(total, channels, inner, biased, 1024)
    constants, _ = _constants(form, gain, clamp, np.dtype(np.float32))
    return NOTHING.ctypes.data, total, channels if biased else 1, inner, form.kind, constants, length, size, n


def bias_act(grad, x, bias, form, gain, clamp, out):
    """Fill out (N, C, size) with the activation of x plus bias (C,) or None; or, given grad, with its derivative times that."""
    total = x.size
    if total == 0:
        return
    constants, nothing = _constants(form, gain, clamp, x.dtype)
    inner, length, size, n = _cut(total, x.shape[1], x.shape[2], bias is not None)
    arguments = (
        (x if grad is None else grad).reshape(-1), x.reshape(-1), nothing if bias is None else bias, inner, form.kind,
        form.order, constants, out.reshape(-1), length, size,
    )  # fmt: skip
    cost = size * (0.2 if form.kind == LINES else 0.4 if form.order == 0 else 0.6)
    parallel_for(pieces, n, max(1, 16384 // size), *arguments, cost=cost)
