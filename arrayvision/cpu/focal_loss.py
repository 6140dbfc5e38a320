"""Focal losses and their gradients: one exponential and one logarithm an element, in vectorised loops.

With e = exp(-|x|), p = sigmoid(x) and q = 1 - p: -log q = max(x, 0) + log1p(e), -log p = max(-x, 0) + log1p(e), and powers
of p and q are exponentials of these. So nothing overflows, and no logarithm is cut off.
"""

import numpy as np

from arrayvision.cpu import kernel
from arrayvision.cpu.elementary import exp_down, largest, log1p_unit, log_up
from arrayvision.cpu.threads import claim, parallel_for

BLOCK = 8192  # elements
ZERO, ONE, MOST = np.float32(0), np.float32(1), np.float32(3e38)  # float32 takes the other operand's type


@kernel
def beyond(target, least, most):
    """How many labels lie outside [least, most]."""
    count = 0
    for i in range(target.shape[0]):
        count += (target[i] < least) | (target[i] > most)
    return count


@kernel(fastmath={"reassoc"})
def total(values):
    s = 0.0
    for i in range(values.shape[0]):
        s += np.float64(values[i])
    return s


# ---- sigmoid -------------------------------------------------------------------------------------------------------
@kernel(forceinline=True)
def parts(x):
    """p = sigmoid(x), 1 - p, -log(p), -log(1 - p)."""
    e = exp_down(-abs(x))
    near = ONE / (ONE + e)
    far = e * near
    small = log1p_unit(e)
    up = x >= ZERO
    p, q = near if up else far, far if up else near
    return p, q, (ZERO if up else -x) + small, (x if up else ZERO) + small


@kernel(forceinline=True)
def finite(x):
    """x, infinities as the greatest numbers: nothing times them is no NaN."""
    x = MOST if x > MOST else x
    return -MOST if x < -MOST else x


@kernel(forceinline=True)
def power(p, minus_log, gamma, square):
    """p to the power of gamma."""
    return p * p if square else exp_down(-gamma * finite(minus_log))


@kernel(forceinline=True)
def negative_loss(x, gamma, square):
    p, _, log_p, log_q = parts(x)
    return power(p, log_p, gamma, square) * log_q


@kernel(forceinline=True)
def positive_loss(x, gamma, square):
    _, q, log_p, log_q = parts(x)
    return power(q, log_q, gamma, square) * log_p


@kernel(forceinline=True)
def negative_slope(x, gamma, square):
    p, q, log_p, log_q = parts(finite(x))
    return power(p, log_p, gamma, square) * (gamma * q * log_q + p)


@kernel(forceinline=True)
def positive_slope(x, gamma, square):
    p, q, log_p, log_q = parts(finite(x))
    return -power(q, log_q, gamma, square) * (gamma * p * log_p + q)


@kernel
def weigh(x, target, weight, out):
    """Rows times their labels' weights."""
    classes = x.shape[0] // target.shape[0]
    for r in range(target.shape[0]):
        if 0 <= target[r] < classes:
            row = out[r * classes : (r + 1) * classes]
            for c in range(row.shape[0]):
                row[c] *= weight[target[r]]


@kernel
def sigmoid_rows(x, target, gamma, alpha, weight, out):
    """Losses of a block's rows, flat: all as negatives, then each row's own class."""
    classes, rest = x.shape[0] // target.shape[0], ONE - alpha
    if gamma == 2:  # a constant in each loop, which a branch would keep from being vectorised
        for i in range(out.shape[0]):
            out[i] = rest * negative_loss(x[i], gamma, True)
    else:
        for i in range(out.shape[0]):
            out[i] = rest * negative_loss(x[i], gamma, False)
    for r in range(target.shape[0]):
        if 0 <= target[r] < classes:
            i = r * classes + target[r]
            out[i] = alpha * positive_loss(x[i], gamma, gamma == 2)
    if weight.shape[0]:
        weigh(x, target, weight, out)


@kernel
def sigmoid_slopes(x, target, gamma, alpha, weight, out):
    """The derivatives of the same."""
    classes, rest = x.shape[0] // target.shape[0], ONE - alpha
    if gamma == 2:
        for i in range(out.shape[0]):
            out[i] = rest * negative_slope(x[i], gamma, True)
    else:
        for i in range(out.shape[0]):
            out[i] = rest * negative_slope(x[i], gamma, False)
    for r in range(target.shape[0]):
        if 0 <= target[r] < classes:
            i = r * classes + target[r]
            out[i] = alpha * positive_slope(x[i], gamma, gamma == 2)
    if weight.shape[0]:
        weigh(x, target, weight, out)


@kernel
def sigmoid_forward(x, target, gamma, alpha, weight, each, out, sums, turn, grain, n):
    classes = x.shape[0] // max(n, 1)
    buffer = np.empty(0 if each else grain * classes, x.dtype)
    start = claim(turn, grain)
    while start < n:
        stop = min(start + grain, n)
        a, b = start * classes, stop * classes
        losses = out[a:b] if each else buffer[: b - a]
        sigmoid_rows(x[a:b], target[start:stop], gamma, alpha, weight, losses)
        if not each:
            sums[start // grain] = total(losses)
        start = claim(turn, grain)


@kernel
def sigmoid_gradient(grad, x, target, gamma, alpha, weight, each, share, out, turn, grain, n):
    classes = x.shape[0] // max(n, 1)
    start = claim(turn, grain)
    while start < n:
        stop = min(start + grain, n)
        a, b = start * classes, stop * classes
        slopes = out[a:b]
        sigmoid_slopes(x[a:b], target[start:stop], gamma, alpha, weight, slopes)
        if each:
            above = grad[a:b]
            for i in range(slopes.shape[0]):
                slopes[i] *= above[i]
        else:
            factor = grad[0] * share
            for i in range(slopes.shape[0]):
                slopes[i] *= factor
        start = claim(turn, grain)


# ---- softmax -------------------------------------------------------------------------------------------------------
# Rows are taken in blocks, and each step is a loop over a block's rows: the next row doesn't wait for what is reduced over
# this one, as it would if a row went through all steps before the next.
@kernel
def softmax_sums(x, memory, target, exponentials, own, others, gap):
    """Of each row x (its label t < 0 being none): exp(x - max), 0 for its label; in own and others the label's and the sum
    of the rest; in gap max - x[t]. `memory` is that of x, as signed integers.
    """
    classes = x.shape[0] // target.shape[0]
    for r in range(target.shape[0]):
        gap[r] = largest(memory[r * classes : (r + 1) * classes])
    for r in range(target.shape[0]):
        row, to, most = x[r * classes : (r + 1) * classes], exponentials[r * classes : (r + 1) * classes], gap[r]
        for c in range(to.shape[0]):
            to[c] = exp_down(row[c] - most)
    for r in range(target.shape[0]):
        if target[r] < 0:  # as if it were certain
            own[r], gap[r] = 1, 0
        else:
            i = r * classes + target[r]
            own[r], gap[r] = exponentials[i], gap[r] - x[i]
            exponentials[i] = 0  # the rest without the digits that a subtraction loses
    for r in range(target.shape[0]):
        others[r] = total(exponentials[r * classes : (r + 1) * classes]) if target[r] >= 0 else 0.0


@kernel(forceinline=True)
def minus_log_softmax(own, others, gap):
    """-log(own / (own + others))."""
    far = gap + log_up(max(own + others, ONE))
    return log1p_unit(others / own) if others <= own else far


@kernel
def softmax_losses(own, others, gap, gamma, alpha, losses):
    if gamma == 2:  # a constant in each loop, as above
        for r in range(losses.shape[0]):
            q = others[r] / (own[r] + others[r])
            losses[r] = alpha * (q * q) * minus_log_softmax(own[r], others[r], gap[r])
    else:
        for r in range(losses.shape[0]):
            q = others[r] / (own[r] + others[r])
            losses[r] = alpha * q**gamma * minus_log_softmax(own[r], others[r], gap[r])


@kernel
def softmax_slopes(own, others, gap, gamma, alpha, slopes):
    """Of the losses, by x[t] and divided by -q."""
    if gamma == 2:
        for r in range(slopes.shape[0]):
            p, q = own[r] / (own[r] + others[r]), others[r] / (own[r] + others[r])
            steep = gamma * p * minus_log_softmax(own[r], others[r], gap[r])
            slopes[r] = alpha * q * (q + (steep if p != 0 else ZERO))  # where p is 0, the logarithm may be infinite
    else:
        for r in range(slopes.shape[0]):
            p, q = own[r] / (own[r] + others[r]), others[r] / (own[r] + others[r])
            slope = q**gamma
            if gamma > 0 and p > 0 and q > 0:  # else the limit is 0
                slope += gamma * p * (slope / q) * minus_log_softmax(own[r], others[r], gap[r])
            slopes[r] = alpha * slope


@kernel
def softmax_forward(x, memory, target, gamma, alpha, weight, each, out, sums, turn, grain, n):
    classes = x.shape[0] // max(n, 1)
    exponentials, rows = np.empty(grain * classes, x.dtype), np.empty((4, grain), x.dtype)
    start = claim(turn, grain)
    while start < n:
        stop = min(start + grain, n)
        labels, losses = target[start:stop], out[start:stop] if each else rows[3, : stop - start]
        own, others, gap = rows[0, : stop - start], rows[1, : stop - start], rows[2, : stop - start]
        a, b = start * classes, stop * classes
        softmax_sums(x[a:b], memory[a:b], labels, exponentials[: b - a], own, others, gap)
        softmax_losses(own, others, gap, gamma, alpha, losses)
        if weight.shape[0]:
            for r in range(labels.shape[0]):
                losses[r] *= weight[max(labels[r], 0)]
        sums[start // grain] = total(losses)
        start = claim(turn, grain)


@kernel
def softmax_gradient(grad, x, memory, target, gamma, alpha, weight, each, share, out, turn, grain, n):
    classes = x.shape[0] // max(n, 1)
    rows = np.empty((4, grain), x.dtype)
    start = claim(turn, grain)
    while start < n:
        stop = min(start + grain, n)
        labels, slopes = target[start:stop], rows[3, : stop - start]
        own, others, gap = rows[0, : stop - start], rows[1, : stop - start], rows[2, : stop - start]
        a, b = start * classes, stop * classes
        block = out[a:b]
        softmax_sums(x[a:b], memory[a:b], labels, block, own, others, gap)
        softmax_slopes(own, others, gap, gamma, alpha, slopes)
        for r in range(labels.shape[0]):
            t, row = labels[r], block[r * classes : (r + 1) * classes]
            if t < 0:
                row[:] = 0
                continue
            slope = slopes[r] * (grad[start + r] if each else grad[0] * share)
            if weight.shape[0]:
                slope *= weight[t]
            factor = slope / (own[r] + others[r])
            for c in range(row.shape[0]):
                row[c] *= factor
            row[t] = -factor * others[r]
        start = claim(turn, grain)


# ---- what ops calls --------------------------------------------------------------------------------------------------
def _flat(input, weight):
    if weight is None:
        weight = np.empty(0, input.dtype)
        weight.flags.writeable = False  # of the type of those that are given: kernels are compiled once
    return input.reshape(-1), input.dtype.type, weight


def _signed(x):
    return x.view(f"i{x.itemsize}")


def _reduced(sums, rows, reduction, out):
    value = sums.sum()
    with np.errstate(all="ignore"):
        out[()] = value / rows if reduction == "mean" else value


def sigmoid_focal_loss(input, target, gamma, alpha, weight, reduction, out):
    """Fill out (N, C), or out () with the sum, or the sum over N."""
    (n, classes), (x, T, weight) = input.shape, _flat(input, weight)
    grain, each = max(1, BLOCK // max(classes, 1)), reduction == "none"
    sums = np.zeros(-(-n // grain))
    flat = out.reshape(-1) if each else np.empty(0, input.dtype)
    parallel_for(
        sigmoid_forward, n, grain, x, target, T(gamma), T(alpha), weight, each, flat, sums, cost=2 * classes
    )  # fmt: skip
    if not each:
        _reduced(sums, n, reduction, out)


def sigmoid_focal_loss_backward(grad, input, target, gamma, alpha, weight, reduction, out):
    """Fill out (N, C) with gradients."""
    (n, classes), (x, T, weight) = input.shape, _flat(input, weight)
    grain, share = max(1, BLOCK // max(classes, 1)), T(1 / n if reduction == "mean" else 1)
    parallel_for(
        sigmoid_gradient, n, grain, grad.reshape(-1), x, target, T(gamma), T(alpha), weight, reduction == "none", share,
        out.reshape(-1), cost=2 * classes,
    )  # fmt: skip


def softmax_focal_loss(input, target, gamma, alpha, weight, reduction, out):
    """Fill out (N,), or out () with the sum, or the sum over N."""
    (n, classes), (x, T, weight) = input.shape, _flat(input, weight)
    grain, each = max(1, BLOCK // max(classes, 1)), reduction == "none"
    sums = np.zeros(-(-n // grain))
    flat = out if each else np.empty(0, input.dtype)
    parallel_for(
        softmax_forward, n, grain, x, _signed(x), target, T(gamma), T(alpha), weight, each, flat, sums,
        cost=50 + 2 * classes,
    )  # fmt: skip
    if not each:
        _reduced(sums, n, reduction, out)


def softmax_focal_loss_backward(grad, input, target, gamma, alpha, weight, reduction, out):
    """Fill out (N, C) with gradients."""
    (n, classes), (x, T, weight) = input.shape, _flat(input, weight)
    grain, share = max(1, BLOCK // max(classes, 1)), T(1 / n if reduction == "mean" else 1)
    parallel_for(
        softmax_gradient, n, grain, grad.reshape(-1), x, _signed(x), target, T(gamma), T(alpha), weight,
        reduction == "none", share, out.reshape(-1), cost=50 + 3 * classes,
    )  # fmt: skip
