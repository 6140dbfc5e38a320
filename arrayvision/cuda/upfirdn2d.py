"""Launches of upfirdn2d.cu; the functions and arguments of `cpu/upfirdn2d.py`."""

import math

from arrayvision.cuda import runtime
from arrayvision.cuda.constants import constant
from arrayvision.cuda.loops import INDICES, divider, index
from arrayvision.cuda.types import DTYPES, FLOATS, accumulator, as_accumulator, c_type

ROWS = constant("upfirdn2d.cu", "ROWS")
# From an array's type to the same, or through the type of sums where a filter is applied along one axis after the other.
TYPES = sorted({pair for T in FLOATS for A in (accumulator(T),) for pair in ((T, T), (T, A), (A, T))})
KERNELS = runtime.Kernels("upfirdn2d.cu", [f"filter_planes<{a}, {b}, {i}>" for a, b in TYPES for i in INDICES])


def filter_planes(x, weights, flip, gain, up, down, before, taps, out):
    """Fill out (P, height, width) from x (P, H, W) by taps (rows, columns)."""
    planes, rows, columns = out.shape
    bands = -(-rows // ROWS)
    n, kind = planes * bands * columns, index(planes * rows * columns, math.prod(x.shape))
    rows_first = zip(up, down, before, taps, strict=True)
    KERNELS.launch(
        f"filter_planes<{c_type(x)}, {c_type(out)}, {kind}>", n, n, divider(kind, columns), divider(kind, bands), rows, x,
        *x.shape[1:], weights, flip, as_accumulator(c_type(out), gain),
        *(number for axis in rows_first for number in axis), out,
    )  # fmt: skip


def upfirdn2d(x, weights, flip, gain, up, down, before, out):
    """Fill out (P, height, width) from x (P, H, W); `up`, `down` and `before` are for (rows, columns)."""
    if len(weights.shape) == 2:
        filter_planes(x, weights, flip, gain, up, down, before, tuple(weights.shape), out)
        return
    taps, dtype = weights.shape[0], DTYPES[accumulator(c_type(x))]
    between = runtime.empty(x, (x.shape[0], out.shape[1], x.shape[2]), dtype)
    filter_planes(x, weights, flip, gain, (up[0], 1), (down[0], 1), (before[0], 0), (taps, 1), between)
    filter_planes(between, weights, flip, 1.0, (1, up[1]), (1, down[1]), (0, before[1]), (1, taps), out)
