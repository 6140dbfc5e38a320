"""Launches of filtered_lrelu.cu; the functions and arguments of `cpu/filtered_lrelu.py`."""

import math

from arrayvision.cuda import runtime
from arrayvision.cuda.loops import INDICES, divider, index
from arrayvision.cuda.types import DTYPES, accumulator, as_accumulator, c_type
from arrayvision.cuda.upfirdn2d import TYPES

KERNELS = runtime.Kernels("filtered_lrelu.cu", [f"filter_bent<{a}, {b}, {i}>" for a, b in TYPES for i in INDICES])
BETWEEN = 2**24  # numbers between the filters: as many planes at once as have no more
NOTHING, BEND, SLOPE = range(3)


def _filter(x, start, bias, one, then, t, numbers, out):
    """Fill out (P, height, width) from x (P, H, W), the planes from `start` on."""
    weights, flip, gain, up, down, before = one
    kind = accumulator(c_type(out))
    if len(weights.shape) == 1:
        taps, (planes, rows, _), width = weights.shape[0], out.shape, x.shape[2]
        between = runtime.empty(x, (planes, rows, width), DTYPES[kind])
        column = weights, flip, gain, (up[0], 1), (down[0], 1), (before[0], 0)
        _launch(x, start, bias, column, (taps, 1), NOTHING, None, numbers, between)
        row = weights, flip, 1.0, (1, up[1]), (1, down[1]), (0, before[1])
        _launch(between, start, None, row, (1, taps), then, t, numbers, out)
    else:
        _launch(x, start, bias, one, tuple(weights.shape), then, t, numbers, out)


def _launch(x, start, bias, one, taps, then, t, numbers, out):
    weights, flip, gain, up, down, before = one
    planes, rows, columns = out.shape
    n = planes * rows * columns
    kind = index(n, math.prod(x.shape), start + planes)
    axes = [number for axis in zip(up, down, before, taps, strict=True) for number in axis]
    number = accumulator(c_type(out))
    KERNELS.launch(
        f"filter_bent<{c_type(x)}, {c_type(out)}, {kind}>", n, n, divider(kind, columns), divider(kind, rows),
        divider(kind, 1 if bias is None else bias.shape[0]), x, *x.shape[1:], start, bias is not None,
        weights if bias is None else bias, weights, flip, as_accumulator(number, gain), *axes, then,
        weights if t is None else t, *(as_accumulator(number, v) for v in numbers), out,
    )  # fmt: skip


def filtered_lrelu(a, x, bias, filters, size, slope, gain, clamp, out):
    """Fill out (P, height, width): `a` (P, H, W) filtered, bent (or times the slope at x, filtered), and filtered again.

    `filters` are three, for a, for x and for what comes of it: (weights, flip, gain, up, down, before), as `upfirdn2d` takes
    them; `size` is that of what is between. The bias (C,), or None, is added to x if there is one, else to a.
    """
    planes = out.shape[0]
    if math.prod(out.shape) == 0:
        return
    dtype, numbers = DTYPES[accumulator(c_type(out))], (gain, gain * slope, clamp)
    many = min(planes, max(1, BETWEEN // math.prod(size)))
    for start in range(0, planes, many):
        part = slice(start, start + many) if many < planes else slice(None)
        count = min(many, planes - start)
        bent, t = runtime.empty(out, (count, *size), dtype), None
        if x is not None:
            t = runtime.empty(out, (count, *size), dtype)
            _filter(x[part], start, bias, filters[1], NOTHING, None, numbers, t)
        _filter(a[part], start, bias if x is None else None, filters[0], BEND if x is None else SLOPE, t, numbers, bent)
        _filter(bent, start, None, filters[2], NOTHING, None, numbers, out[part])
